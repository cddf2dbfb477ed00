//! What a client says of an upload beside its lines.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use protocol::id::ParseError;

use crate::{
    body::{Media, media},
    extract::query,
    fields::text,
    problem::Problem,
};

/// What a client says of an upload beside its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UploadOptions {
    /// Whether the lines are CSV; otherwise they are NDJSON.
    pub(crate) is_csv: bool,
    /// How their results are answered.
    pub(crate) results: Results,
    /// The lines before this one are passed over: they were answered before.
    pub(crate) from_line: usize,
}

/// How the results of lines are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Results {
    /// As one report, at the end.
    Report,
    /// As NDJSON, while the upload runs.
    Ndjson,
}

/// The options of an upload; `None` where the body is one JSON value.
pub(crate) struct MaybeUpload(pub(crate) Option<UploadOptions>);

impl<S: Sync> FromRequestParts<S> for MaybeUpload {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let media = media(&parts.headers)?;
        if media == Media::Json {
            return Ok(Self(None));
        }
        let from_line = query(&parts.uri, |fields| {
            Some(fields.optional("from_line", text(line_number)).unwrap_or_default())
        })?;
        let results =
            if accepts_ndjson(&parts.headers) { Results::Ndjson } else { Results::Report };
        Ok(Self(Some(UploadOptions { is_csv: media == Media::Csv, results, from_line })))
    }
}

fn line_number(text: &str) -> Result<usize, ParseError> {
    let rule = "must be the number of a line: 0 or more";
    text.parse().map_err(|_| ParseError::new("from_line", rule, text))
}

fn accepts_ndjson(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = values.flat_map(|value| value.split(','));
    types.any(|of| {
        let essence = of.split(';').next().unwrap_or_default().trim();
        ["application/x-ndjson", "application/ndjson"]
            .iter()
            .any(|ndjson| essence.eq_ignore_ascii_case(ndjson))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn read(content_type: &str, accept: &str, uri: &str) -> Option<UploadOptions> {
        let request = Request::post(uri).header("content-type", content_type);
        let (mut parts, ()) =
            request.header("accept", accept).body(()).expect("is valid").into_parts();
        let read = MaybeUpload::from_request_parts(&mut parts, &());
        futures::executor::block_on(read).ok().and_then(|read| read.0)
    }

    #[test]
    fn the_head_says_how_lines_are_written_and_answered() {
        let of = |is_csv, results, from_line| Some(UploadOptions { is_csv, results, from_line });
        let results = "application/json;q=0.5, Application/X-NDJSON";
        assert_eq!(read("text/csv", "*/*", "/"), of(true, Results::Report, 0));
        assert_eq!(
            read("application/x-ndjson", results, "/?from_line=7"),
            of(false, Results::Ndjson, 7)
        );
        assert_eq!(read("application/json", results, "/"), None);
        assert_eq!(read("text/csv", "*/*", "/?from_line=-1"), None);
        assert_eq!(read("text/csv", "*/*", "/?line=1"), None);
    }
}
