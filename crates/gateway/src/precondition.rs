//! Conditional requests: `ETag`, `If-Match` and `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1).
//!
//! A condition of a request that writes is never passed over: an operation that describes `If-Match` reads it, and
//! every other is refused with one.

use std::{collections::HashSet, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, Method, header},
    middleware::Next,
    response::Response,
};
use utoipa::openapi::{OpenApi, RefOr, path::Operation};

use crate::problem::{Code, FieldError, Problem};

/// In which state something must be for a request to be carried out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// In any.
    None,
    /// It must not exist: `If-None-Match: *`.
    IsNew,
    /// It must exist: `If-Match: *`.
    Exists,
    /// It must have this version: `If-Match: "7"`.
    Version(u64),
}

impl Precondition {
    /// Reads the headers of a request.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let value = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
        let version = |tag: &str| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
        match (value(header::IF_NONE_MATCH), value(header::IF_MATCH)) {
            (None, None) => Ok(Self::None),
            (Some("*"), None) => Ok(Self::IsNew),
            (None, Some("*")) => Ok(Self::Exists),
            (None, Some(tag)) => version(tag).map(Self::Version).ok_or_else(|| {
                let detail = "If-Match must be * or the ETag of a response, such as \"7\"";
                invalid(&header::IF_MATCH, detail)
            }),
            (Some(_), None) => Err(invalid(&header::IF_NONE_MATCH, "If-None-Match must be *")),
            (Some(_), Some(_)) => {
                Err(invalid(&header::IF_MATCH, "send If-Match or If-None-Match, not both"))
            }
        }
    }

    /// Reads the headers of a request that puts something: the version that it must have, 0 if it must not
    /// exist, if the client names one.
    pub(crate) fn version_to_put(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
        match Self::read(headers)? {
            Self::None => Ok(None),
            Self::IsNew => Ok(Some(0)),
            Self::Version(version) => Ok(Some(version)),
            Self::Exists => {
                let detail = "If-Match must be the ETag of a response here, such as \"7\"";
                Err(invalid(&header::IF_MATCH, detail))
            }
        }
    }

    /// Reads the headers of a request that changes what exists: the version that it must have, if the
    /// client names one.
    pub(crate) fn version(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
        match Self::read(headers)? {
            Self::None | Self::Exists => Ok(None),
            Self::Version(version) => Ok(Some(version)),
            Self::IsNew => {
                let detail = "If-None-Match is not for a change of what exists: send If-Match";
                Err(invalid(&header::IF_NONE_MATCH, detail))
            }
        }
    }
}

/// The operations that read conditions: those that describe `If-Match`.
#[derive(Debug, Clone)]
pub(crate) struct ConditionalOperations(Arc<HashSet<(Method, String)>>);

impl ConditionalOperations {
    /// Those of a description.
    pub(crate) fn of(description: &OpenApi) -> Self {
        let is_conditional = |operation: &Operation| {
            let mut parameters = operation.parameters.iter().flatten();
            parameters.any(|it| match it {
                RefOr::T(own) => own.name.eq_ignore_ascii_case(header::IF_MATCH.as_str()),
                RefOr::Ref(_) => false,
            })
        };
        let of_each = description.paths.paths.iter().flat_map(|(path, item)| {
            let operations = [
                (Method::PUT, &item.put),
                (Method::POST, &item.post),
                (Method::PATCH, &item.patch),
                (Method::DELETE, &item.delete),
            ];
            let conditional = operations
                .into_iter()
                .filter(move |(_, operation)| operation.as_ref().is_some_and(is_conditional));
            conditional.map(|(method, _)| (method, path.clone()))
        });
        Self(Arc::new(of_each.collect()))
    }
}

/// Refuses a request that writes on a condition where none is read.
pub(crate) async fn refuse_unread(
    State(conditional): State<ConditionalOperations>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let operation = (request.method().clone(), path.as_str().to_owned());
    if !is_read && !conditional.0.contains(&operation) {
        let given = [header::IF_MATCH, header::IF_NONE_MATCH];
        if let Some(name) = given.iter().find(|name| request.headers().contains_key(*name)) {
            let detail =
                "nothing is compared with a version here: send no If-Match and no If-None-Match";
            return Err(invalid(name, detail));
        }
    }
    Ok(next.run(request).await)
}

/// What was to be put has another version than the client named.
pub(crate) fn other_version(what: &str, version: u64) -> Problem {
    let detail = match version {
        0 => format!("there is no such {what} yet: send no If-Match to create it"),
        _ => format!(
            "the version of the {what} is {version}: read it, and send its ETag as If-Match"
        ),
    };
    Problem::new(Code::PreconditionFailed, detail).with("version", version)
}

/// The header that names a version.
pub(crate) fn entity_tag(version: u64) -> (HeaderName, String) {
    (header::ETAG, format!("\"{version}\""))
}

fn invalid(name: &HeaderName, detail: &'static str) -> Problem {
    let error = FieldError::named(name.as_str(), detail);
    Problem::new(Code::InvalidHeader, detail).naming(vec![error])
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(headers: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = headers.iter();
        pairs.map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_condition_is_in_the_headers() {
        let of = |pairs: &[(HeaderName, &'static str)]| Precondition::read(&headers(pairs)).ok();
        let (new, known) = (header::IF_NONE_MATCH, header::IF_MATCH);
        assert_eq!(of(&[]), Some(Precondition::None));
        assert_eq!(of(&[(new.clone(), "*")]), Some(Precondition::IsNew));
        assert_eq!(of(&[(known.clone(), "*")]), Some(Precondition::Exists));
        assert_eq!(of(&[(known.clone(), "\"7\"")]), Some(Precondition::Version(7)));
        for wrong in ["7", "\"x\"", "W/\"7\"", ""] {
            assert_eq!(of(&[(known.clone(), wrong)]), None, "{wrong:?}");
        }
        assert_eq!(of(&[(new.clone(), "\"7\"")]), None);
        assert_eq!(of(&[(new, "*"), (known, "*")]), None);
    }

    #[test]
    fn what_is_put_may_have_to_be_new_or_of_a_version() {
        let of = |pairs: &[(HeaderName, &'static str)]| {
            Precondition::version_to_put(&headers(pairs)).ok()
        };
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&[(header::IF_NONE_MATCH, "*")]), Some(Some(0)));
        assert_eq!(of(&[(header::IF_MATCH, "\"7\"")]), Some(Some(7)));
        assert_eq!(of(&[(header::IF_MATCH, "*")]), None);
    }

    #[test]
    fn a_change_may_name_the_version() {
        let of = |pairs: &[(HeaderName, &'static str)]| Precondition::version(&headers(pairs)).ok();
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&[(header::IF_MATCH, "*")]), Some(None));
        assert_eq!(of(&[(header::IF_MATCH, "\"7\"")]), Some(Some(7)));
        assert_eq!(of(&[(header::IF_NONE_MATCH, "*")]), None);
    }
}
