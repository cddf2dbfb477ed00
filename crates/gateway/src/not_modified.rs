//! Reads on a condition: `ETag`, `If-None-Match` and 304 (RFC 9110, sections 8.8.3, 13.1.2 and 15.4.5).
//!
//! What has no tag of its own, such as the version of a shop, gets one of its bytes: whatever may change in an answer, the
//! tag does too. It is a weak one: the same answer has it with and without compression.

use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// The largest body that gets a tag of its bytes. A longer one is a page of many things, which changes all the time.
const MAX_TAGGED_BYTES: u64 = 64 * 1024;
/// The bytes of a digest that are in a tag: enough that no two answers have the same.
const TAG_BYTES: usize = 16;

/// Of an answer whose tag is the version of a part of it, and says nothing of the rest: it is never answered 304.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TagOfPart;

/// Adds `ETag` to what is read, and answers 304 when the client has it.
pub(crate) async fn tag(request: Request, next: Next) -> Response {
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    let is_of_part = response.extensions().get::<TagOfPart>().is_some();
    if !is_read || response.status() != StatusCode::OK || is_of_part {
        return response;
    }
    let response = match with_tag(response).await {
        Ok(response) => response,
        Err(error) => return Problem::internal(&error).into_response(),
    };
    match (known, response.headers().get(header::ETAG)) {
        (Some(known), Some(tag)) if names(&known, tag) => not_modified(response.headers()),
        _ => response,
    }
}

async fn with_tag(mut response: Response) -> Result<Response, axum::Error> {
    let is_small = response.body().size_hint().exact().is_some_and(|it| it <= MAX_TAGGED_BYTES);
    if response.headers().contains_key(header::ETAG) || !is_small {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await?;
    let tag = tag_of(&bytes);
    response = Response::from_parts(parts, Body::from(bytes));
    response.headers_mut().extend(HeaderValue::try_from(tag).map(|tag| (header::ETAG, tag)));
    Ok(response)
}

/// The tag of an answer with these bytes.
pub(crate) fn tag_of(bytes: &[u8]) -> String {
    format!("W/\"{}\"", HEXLOWER.encode(&Sha256::digest(bytes)[..TAG_BYTES]))
}

/// Whether a client that sends this in `If-None-Match` has what has this tag.
fn names(known: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(known), Ok(tag)) = (known.to_str(), tag.to_str()) else { return false };
    // The weak comparison of RFC 9110, section 8.8.3.2.
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known.trim() == "*" || known.split(',').any(|it| opaque(it) == opaque(tag))
}

/// What the answer would have said of itself, without its body.
fn not_modified(headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    for name in [header::ETAG, header::CACHE_CONTROL, header::VARY] {
        response.headers_mut().extend(headers.get(&name).map(|value| (name, value.clone())));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::{Extension, Json, Router, middleware, routing::get};
    use serde_json::json;
    use tower::ServiceExt;

    use super::*;

    /// What a route that answers `value` is answered with.
    async fn ask(value: i64, known: Option<&str>) -> (StatusCode, String, usize) {
        let routes = Router::new()
            .route("/", get(move || async move { Json(json!({"value": value})) }))
            .layer(middleware::from_fn(tag));
        let mut request = Request::get("/");
        if let Some(known) = known {
            request = request.header("if-none-match", known);
        }
        let request = request.body(Body::empty()).expect("is valid");
        let response = routes.oneshot(request).await.expect("never fails");
        let (parts, body) = response.into_parts();
        let tag = parts.headers["etag"].to_str().expect("is text").to_owned();
        (parts.status, tag, to_bytes(body, usize::MAX).await.expect("is in memory").len())
    }

    #[tokio::test]
    async fn who_has_it_gets_no_body_and_who_has_another_gets_it() {
        let (status, tag, length) = ask(1, None).await;
        assert_eq!((status, length), (StatusCode::OK, 11));
        let strong = tag.trim_start_matches("W/").to_owned();
        for known in [tag.clone(), strong, format!("\"x\", {tag}"), "*".to_owned()] {
            let expected = (StatusCode::NOT_MODIFIED, tag.clone(), 0);
            assert_eq!(ask(1, Some(&known)).await, expected, "{known}");
        }
        let (status, other, length) = ask(2, Some(&tag)).await;
        assert_eq!((status, length), (StatusCode::OK, 11));
        assert_ne!(other, tag);
    }

    #[tokio::test]
    async fn what_has_the_tag_of_a_part_is_always_answered() {
        let shown = || async { ([(header::ETAG, "\"7\"")], Extension(TagOfPart), Json(1)) };
        let routes = Router::new().route("/", get(shown)).layer(middleware::from_fn(tag));
        for known in ["\"7\"", "*"] {
            let request = Request::get("/").header("if-none-match", known).body(Body::empty());
            let response = routes.clone().oneshot(request.expect("is valid")).await;
            let response = response.expect("never fails");
            assert_eq!(response.status(), StatusCode::OK, "{known}");
            assert_eq!(response.headers()["etag"], "\"7\"");
        }
    }
}
