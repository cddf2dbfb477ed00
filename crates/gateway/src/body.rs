//! The bytes of a body: what they say that they are, and how many there may be.

use axum::{
    body::{Body, BodyDataStream},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use crate::problem::{Code, Problem};

/// The largest body that is one JSON value, in bytes.
pub(crate) const JSON_LIMIT: usize = 1024 * 1024;
/// The largest NDJSON body, in bytes.
pub(crate) const NDJSON_LIMIT: usize = 32 * 1024 * 1024;
/// The most bytes that are read of a body that is refused.
const DISCARD_LIMIT: usize = 64 * 1024 * 1024;

/// What a body says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// One JSON value.
    Json,
    /// A JSON value a line.
    Ndjson,
}

/// The bytes of a body that is one JSON value; empty where there is none.
pub(crate) struct JsonBytes(pub(crate) Bytes);

impl<S: Sync> FromRequest<S> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        match media(&parts.headers)? {
            Media::Json => read_json(&parts.headers, body).await.map(Self),
            Media::Ndjson => Err(unsupported("application/json")),
        }
    }
}

/// Reads the content type; a body without one is taken for JSON.
pub(crate) fn media(headers: &HeaderMap) -> Result<Media, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Media::Json) };
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    if is("application/json") {
        Ok(Media::Json)
    } else if is("application/x-ndjson") || is("application/ndjson") {
        Ok(Media::Ndjson)
    } else {
        Err(unsupported("application/json, or application/x-ndjson for products and inventory"))
    }
}

fn unsupported(taken: &str) -> Problem {
    Problem::new(Code::UnsupportedMediaType, format!("send it with the content type {taken}"))
}

/// Reads the bytes of a body that is one JSON value.
pub(crate) async fn read_json(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let mut frames = open(headers, body, JSON_LIMIT).await?;
    let mut whole = BytesMut::new();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| incomplete())?;
        if whole.len() + frame.len() > JSON_LIMIT {
            discard(&mut frames).await;
            return Err(too_large(JSON_LIMIT));
        }
        whole.extend_from_slice(&frame);
    }
    Ok(whole.freeze())
}

/// Begins to read a body, unless it says itself that it is larger than `limit`.
pub(crate) async fn open(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<BodyDataStream, Problem> {
    let mut frames = body.into_data_stream();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > limit => {
            // Who expects to be told whether to send at all has not begun to.
            if !headers.contains_key(header::EXPECT) {
                discard(&mut frames).await;
            }
            Err(too_large(limit))
        }
        _ => Ok(frames),
    }
}

/// Reads on in a body that is refused, within limits: whoever is still sending when the connection
/// ends does not get to read why.
pub(crate) async fn discard(frames: &mut BodyDataStream) {
    let mut rest = DISCARD_LIMIT;
    while let Some(Ok(frame)) = frames.next().await
        && frame.len() < rest
    {
        rest -= frame.len();
    }
}

/// The problem of a body that is too large.
pub(crate) fn too_large(limit: usize) -> Problem {
    let detail = format!(
        "the body may have {limit} bytes; send less at once ({JSON_LIMIT} as application/json, \
         {NDJSON_LIMIT} as application/x-ndjson for products and inventory)"
    );
    Problem::new(Code::TooLarge, detail)
}

/// The problem of a body that broke off.
pub(crate) fn incomplete() -> Problem {
    Problem::new(Code::IncompleteBody, "send the request again")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_content_type_tells_what_comes() {
        let of = |value: &'static str| {
            media(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]))
                .ok()
        };
        assert_eq!(of("application/json; charset=utf-8"), Some(Media::Json));
        assert_eq!(of("Application/X-NDJSON"), Some(Media::Ndjson));
        assert_eq!(of("text/plain"), None);
        assert_eq!(media(&HeaderMap::new()).ok(), Some(Media::Json));
    }
}
