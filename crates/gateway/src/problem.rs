//! The response to a request that fails: a problem document of RFC 9457.
//!
//! A new code goes into the list of docs/http.md, too.

mod code;
mod field_error;

use std::{borrow::Cow, error::Error, sync::Arc};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) use self::{code::Code, field_error::FieldError};

/// The header `Retry-After` of temporary failures, in seconds.
pub(crate) const RETRY_AFTER_S: u32 = 1;

/// The same of a third party that does not answer.
const THIRD_PARTY_RETRY_AFTER_S: u32 = 10;

/// The media type of the documents.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why the server failed; for the log, never for the client.
#[derive(Debug, Clone)]
pub(crate) struct Cause(pub(crate) Arc<str>);

/// A request that failed.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    members: Map<String, Value>,
    location: Option<String>,
    /// `Retry-After` of what is temporary, in seconds.
    retry_after_s: u32,
    cause: Option<Cause>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl Problem {
    /// A problem. The `detail` says how to correct it.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            members: Map::new(),
            location: None,
            retry_after_s: RETRY_AFTER_S,
            cause: None,
        }
    }

    /// The shop has nothing of that name.
    pub(crate) fn not_found(what: &str, name: &str) -> Self {
        Self::new(Code::NotFound, format!("the shop has no {what} {name}"))
    }

    /// A failure of the server that would happen again.
    pub(crate) fn internal(cause: &dyn Error) -> Self {
        let detail = "report it with the X-Request-Id of this response";
        Self::new(Code::Internal, detail).caused_by(cause)
    }

    /// The caller's key has none of these scopes, of which one is needed; the problem names the first. `what` is
    /// what the caller wants.
    pub(crate) fn missing_scope(scopes: &[&'static str], what: &str) -> Self {
        let detail = format!("{what}: use an API key with the scope {}", scopes.join(" or "));
        Self::new(Code::Forbidden, detail)
            .with("scope", scopes.first().copied().unwrap_or_default())
    }

    /// A temporary failure of the server.
    pub(crate) fn unavailable(cause: &dyn Error) -> Self {
        let detail = "send the request again, with the same Idempotency-Key if it had one";
        Self::new(Code::Unavailable, detail).caused_by(cause)
    }

    /// A system of somebody else does not answer. `what` names it, and says what is known of it.
    pub(crate) fn third_party(what: &str) -> Self {
        let detail = format!("{what}; it is run by a third party: send the request again later");
        Self::new(Code::ThirdPartyUnavailable, detail).retry_after(THIRD_PARTY_RETRY_AFTER_S)
    }

    /// Invalid fields.
    pub(crate) fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => only.detail.clone(),
            all => format!("correct the {} fields that errors names", all.len()),
        };
        Self::new(Code::InvalidFields, detail).naming(errors)
    }

    /// Adds the invalid fields.
    pub(crate) fn naming(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// The stable code, and the detail: for a stream, which has no status any more.
    pub(crate) fn code_and_detail(&self) -> (&'static str, String) {
        (self.code.code_and_title().0, self.detail.to_string())
    }

    /// The status code of the response.
    pub(crate) fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// Its kind.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// Where the command can be followed that it is about, if it is about one.
    pub(crate) fn command_url(&self) -> Option<&str> {
        self.members.get("command_url")?.as_str()
    }

    /// The invalid fields.
    #[cfg(test)]
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Adds a member to the document.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds the header `Location`.
    pub(crate) fn at(mut self, location: &str) -> Self {
        self.location = Some(location.to_owned());
        self
    }

    /// Says when to send the request again, if the problem is temporary.
    pub(crate) fn retry_after(self, retry_after_s: u32) -> Self {
        Self { retry_after_s, ..self }
    }

    /// The document, for whoever answers without the routes.
    pub(crate) fn document(&self) -> impl Serialize {
        let (code, title) = self.code.code_and_title();
        Document {
            r#type: format!("urn:tradewind:problem:{code}"),
            title,
            status: self.code.status().as_u16(),
            detail: &self.detail,
            code,
            errors: &self.errors,
            members: &self.members,
        }
    }

    /// Keeps the error and its sources for the log.
    pub(crate) fn caused_by(mut self, cause: &dyn Error) -> Self {
        let mut text = cause.to_string();
        let mut source = cause.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        self.cause = Some(Cause(text.into()));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let mut response = (status, Json(self.document())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        let is_temporary = self.code != Code::NoPersonKeys;
        if is_temporary
            && matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
        {
            headers.insert(header::RETRY_AFTER, self.retry_after_s.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(Ok(location)) = self.location.map(HeaderValue::try_from) {
            headers.insert(header::LOCATION, location);
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fields::Path;

    #[track_caller]
    fn check(problem: Problem, status: u16, headers: &[(&str, &str)], document: &Value) {
        let response = problem.into_response();
        assert_eq!(response.status(), status);
        for (name, value) in headers {
            assert_eq!(response.headers().get(*name).expect("is set"), value, "{name}");
        }
        let body = axum::body::to_bytes(response.into_body(), usize::MAX);
        let body = futures::executor::block_on(body).expect("is in memory");
        assert_eq!(serde_json::from_slice::<Value>(&body).expect("is JSON"), *document);
    }

    #[test]
    fn all_invalid_fields_are_named() {
        let lines = Path::Member(&Path::BODY, "lines");
        let quantity = FieldError::at(&Path::Member(&Path::Item(&lines, 0), "quantity"), "bad");
        check(
            Problem::fields(vec![quantity, FieldError::named("limit", "bad")]),
            422,
            &[("content-type", "application/problem+json")],
            &json!({
                "type": "urn:tradewind:problem:invalid_fields",
                "title": "Some fields are invalid",
                "status": 422,
                "detail": "correct the 2 fields that errors names",
                "code": "invalid_fields",
                "errors": [
                    {"field": "lines[0].quantity", "pointer": "#/lines/0/quantity", "detail": "bad"},
                    {"field": "limit", "detail": "bad"},
                ],
            }),
        );
    }

    #[test]
    fn a_conflict_has_the_location_of_the_other_order() {
        check(
            Problem::new(Code::ReferenceTaken, "use another").with("order_id", "1").at("/v1/o/1"),
            409,
            &[("location", "/v1/o/1")],
            &json!({
                "type": "urn:tradewind:problem:reference_taken",
                "title": "The reference is in use",
                "status": 409,
                "detail": "use another",
                "code": "reference_taken",
                "order_id": "1",
            }),
        );
    }

    #[test]
    fn the_cause_is_for_the_log_alone() {
        let cause = std::io::Error::other("10.0.0.7 refused");
        let response = Problem::unavailable(&cause).into_response();
        let logged = response.extensions().get::<Cause>().expect("is kept");
        assert_eq!(&*logged.0, "10.0.0.7 refused");
        check(
            Problem::unavailable(&cause),
            503,
            &[("retry-after", "1")],
            &json!({
                "type": "urn:tradewind:problem:unavailable",
                "title": "A service is unavailable",
                "status": 503,
                "detail": "send the request again, with the same Idempotency-Key if it had one",
                "code": "unavailable",
            }),
        );
    }
}
