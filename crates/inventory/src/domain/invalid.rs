//! Lines that are no stock lines: they cannot be read, or a field of them is wrong.

use events::id::{Connector, DocumentId, DocumentLine, Sku};
use serde::{Deserialize, Serialize};

use super::{DocumentKey, Sequence};

/// A line that is no stock line: what can be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidLine {
    /// The connector.
    pub connector: Connector,
    /// The document, where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentId>,
    /// The line of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<DocumentLine>,
    /// The stock keeping unit, where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<Sku>,
    /// The connector's own number, where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// The number of the line in what was sent, from 0.
    pub upload_line: u64,
    /// What was sent, as JSON, as far as it may be kept.
    pub text: String,
    /// What is wrong.
    pub errors: Vec<LineError>,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineError {
    /// The field; empty for the line as a whole.
    pub field: String,
    /// The same as a JSON pointer; empty where the line is no JSON.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl InvalidLine {
    /// The name of the line in the connector's system, where it can be read.
    pub(crate) fn document_key(&self) -> Option<DocumentKey> {
        let (connector, line) = (self.connector.clone(), self.line.clone());
        self.document.clone().map(|id| DocumentKey { connector, id, line })
    }
}
