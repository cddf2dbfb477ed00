//! The bytes of a body: their content type, their compression, and how many there may be.

use std::{io, pin::Pin};

use async_compression::tokio::bufread::GzipDecoder;
use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::problem::{Code, Problem};

/// The largest body that is one JSON value, in bytes.
pub(crate) const MAX_JSON_BYTES: usize = 1024 * 1024;
/// The largest upload that is answered with one report, in bytes.
pub(crate) const MAX_NDJSON_BYTES: usize = 32 * 1024 * 1024;
/// The bytes that are inflated at once.
const INFLATED_BYTES: usize = 64 * 1024;
/// The most bytes that are read of a body that is refused.
const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;

/// The content types that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// One JSON value.
    Json,
    /// A JSON value on each line.
    Ndjson,
    /// Comma-separated values with a header.
    Csv,
}

/// The bytes of a body as they arrive, inflated where they were compressed.
pub(crate) type Frames = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// Its end did not arrive.
    #[error("the body is incomplete")]
    Incomplete,
    /// It is not what `Content-Encoding` says.
    #[error("the body is not gzip")]
    NotGzip(#[source] io::Error),
}

/// The bytes of a body that is one JSON value; empty where there is none.
pub(crate) struct JsonBytes(pub(crate) Bytes);

impl<S: Sync> FromRequest<S> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        match media(&parts.headers)? {
            Media::Json => read_json(&parts.headers, body).await.map(Self),
            Media::Ndjson | Media::Csv => Err(unsupported("application/json")),
        }
    }
}

/// Reads the content type; a body without one is read as JSON.
pub(crate) fn media(headers: &HeaderMap) -> Result<Media, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Media::Json) };
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    if is("application/json") {
        Ok(Media::Json)
    } else if is("application/x-ndjson") || is("application/ndjson") {
        Ok(Media::Ndjson)
    } else if is("text/csv") {
        Ok(Media::Csv)
    } else {
        Err(unsupported(
            "application/json, or application/x-ndjson or text/csv for products and inventory",
        ))
    }
}

fn unsupported(accepted: &str) -> Problem {
    Problem::new(Code::UnsupportedMediaType, format!("send the content type {accepted}"))
}

/// Reads the bytes of a body that is one JSON value.
pub(crate) async fn read_json(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let mut frames = open(headers, body, MAX_JSON_BYTES).await?;
    let mut whole = BytesMut::new();
    while let Some(frame) = frames.next().await {
        let frame = frame?;
        if whole.len() + frame.len() > MAX_JSON_BYTES {
            discard(&mut frames).await;
            return Err(too_large(MAX_JSON_BYTES));
        }
        whole.extend_from_slice(&frame);
    }
    Ok(whole.freeze())
}

/// Begins to read a body, unless its `Content-Length` is above `limit`.
pub(crate) async fn open(headers: &HeaderMap, body: Body, limit: usize) -> Result<Frames, Problem> {
    let is_gzip = is_gzip(headers)?;
    let frames = body.into_data_stream();
    let mut frames: Frames = if is_gzip {
        Box::pin(inflate(frames.map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))))
    } else {
        Box::pin(frames.map_err(|_| BodyError::Incomplete))
    };
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > limit => {
            // A client that sent `Expect: 100-continue` has not begun to send the body.
            if !headers.contains_key(header::EXPECT) {
                discard(&mut frames).await;
            }
            Err(too_large(limit))
        }
        _ => Ok(frames),
    }
}

/// Whether the body is compressed by gzip; refuses any other compression.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(false) };
    let value = value.to_str().unwrap_or_default().trim();
    if value.eq_ignore_ascii_case("gzip") || value.eq_ignore_ascii_case("x-gzip") {
        return Ok(true);
    }
    if value.is_empty() || value.eq_ignore_ascii_case("identity") {
        return Ok(false);
    }
    let detail = "send the body as it is, or compressed with `Content-Encoding: gzip`";
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

/// Inflates a body while it arrives: whatever it inflates to, [`INFLATED_BYTES`] are in memory.
fn inflate(
    frames: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    let mut decoder = GzipDecoder::new(StreamReader::new(Box::pin(frames)));
    // Some programs compress in blocks, and files that were compressed may be concatenated.
    decoder.multiple_members(true);
    ReaderStream::with_capacity(decoder, INFLATED_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionAborted => BodyError::Incomplete,
        _ => BodyError::NotGzip(error),
    })
}

/// Reads the rest of a body that is refused, up to [`MAX_DISCARDED_BYTES`]. Most clients read the
/// response only after they have sent the whole body; were the connection closed before, they would
/// see an error of the connection instead of the problem.
pub(crate) async fn discard(frames: &mut Frames) {
    let mut rest = MAX_DISCARDED_BYTES;
    while let Some(Ok(frame)) = frames.next().await
        && frame.len() < rest
    {
        rest -= frame.len();
    }
}

/// The problem of a body that is too large.
pub(crate) fn too_large(limit: usize) -> Problem {
    let detail = format!(
        "the body must be at most {limit} bytes: send it in parts ({MAX_JSON_BYTES} bytes as \
         application/json, {MAX_NDJSON_BYTES} as application/x-ndjson for products and inventory)"
    );
    Problem::new(Code::TooLarge, detail)
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Incomplete => {
                let detail =
                    "the connection ended or no more bytes came in time: send the request again";
                Self::new(Code::IncompleteBody, detail)
            }
            BodyError::NotGzip(error) => {
                let detail = format!(
                    "the body is not what `Content-Encoding: gzip` says ({error}): compress it \
                     anew, or send it as it is without that header"
                );
                Self::new(Code::MalformedEncoding, detail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_content_type_selects_the_format() {
        let of = |value: &'static str| {
            media(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]))
                .ok()
        };
        assert_eq!(of("application/json; charset=utf-8"), Some(Media::Json));
        assert_eq!(of("Application/X-NDJSON"), Some(Media::Ndjson));
        assert_eq!(of("text/csv; charset=utf-8"), Some(Media::Csv));
        assert_eq!(of("text/plain"), None);
        assert_eq!(media(&HeaderMap::new()).ok(), Some(Media::Json));
    }
}
