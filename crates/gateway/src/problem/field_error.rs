//! A field, parameter or header that is wrong.

use serde::Serialize;
use utoipa::ToSchema;

use crate::fields::path::Path;

/// An invalid field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Its path in the body, for example `lines[0].quantity`, or the name of the parameter or header;
    /// empty for the body as a whole.
    pub(crate) field: String,
    /// Of a field of a JSON body: the same as a JSON pointer (RFC 6901) in a URI fragment, for example
    /// `#/lines/0/quantity`. Of NDJSON, within the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// What is wrong with it.
    pub(crate) detail: String,
}

impl FieldError {
    /// A parameter, a header, or a field of a body that is no JSON.
    pub(crate) fn named(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: name.into(), pointer: None, detail: detail.into() }
    }

    /// A field of a body.
    pub(crate) fn at(path: &Path<'_>, detail: impl Into<String>) -> Self {
        Self { field: path.to_string(), pointer: path.pointer(), detail: detail.into() }
    }

    /// A member of the object that is the body.
    pub(crate) fn of_member(name: &str, detail: impl Into<String>) -> Self {
        Self::at(&Path::Member(&Path::BODY, name), detail)
    }
}
