//! Reads on a condition, without a body, compressed, and by scripts on other sites' pages.

use async_compression::tokio::bufread::GzipDecoder;
use axum::http::Method;
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use super::*;

const SHOP: &str = "https://shop.example";

/// Sends a request without a body to a gateway with these settings.
async fn ask(
    settings: &Settings,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = request(method.as_str(), path, Body::empty());
    for (name, value) in headers {
        let name = axum::http::HeaderName::try_from(*name).expect("is a name");
        request.headers_mut().insert(name, value.parse().expect("is a value"));
    }
    send(settings, request).await
}

async fn send(settings: &Settings, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let response = routes(state(settings)).oneshot(request).await.expect("never fails");
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, to_bytes(body, usize::MAX).await.expect("is in memory"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().expect("is text"))
}

#[tokio::test]
async fn who_has_the_answer_gets_304() {
    for path in ["/healthz", "/openapi.json", "/docs"] {
        let (status, headers, body) = ask(&settings(), Method::GET, path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!body.is_empty(), "{path}");
        let tag = text(&headers, "etag").expect(path);
        for method in [Method::GET, Method::HEAD] {
            let known = [("if-none-match", tag)];
            let (status, headers, body) = ask(&settings(), method, path, &known).await;
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
            assert_eq!(text(&headers, "etag"), Some(tag), "{path}");
        }
        let other = [("if-none-match", "W/\"other\"")];
        let (status, _, again) = ask(&settings(), Method::GET, path, &other).await;
        assert_eq!((status, again), (StatusCode::OK, body), "{path}");
    }
}

#[tokio::test]
async fn a_problem_has_no_tag() {
    let (status, headers, _) = ask(&settings(), Method::GET, "/v1/nothing", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(text(&headers, "etag"), None);
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body() {
    for path in ["/healthz", "/openapi.json", "/v1/event-types"] {
        let (status, of_get, body) = ask(&settings(), Method::GET, path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let (status, of_head, none) = ask(&settings(), Method::HEAD, path, &[]).await;
        assert_eq!((status, none.len()), (StatusCode::OK, 0), "{path}");
        let length = body.len().to_string();
        assert_eq!(text(&of_head, "content-length"), Some(&*length), "{path}");
        for name in ["content-type", "etag"] {
            assert_eq!(text(&of_head, name), text(&of_get, name), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn what_is_large_is_compressed_for_those_who_accept_it() {
    let accepts = [("accept-encoding", "gzip")];
    let (_, headers, compressed) = ask(&settings(), Method::GET, "/openapi.json", &accepts).await;
    assert_eq!(text(&headers, "content-encoding"), Some("gzip"));
    assert_eq!(text(&headers, "vary"), Some("accept-encoding"));
    let mut read = Vec::new();
    let mut decoder = GzipDecoder::new(&*compressed);
    decoder.read_to_end(&mut read).await.expect("is gzip");

    let (_, headers, plain) = ask(&settings(), Method::GET, "/openapi.json", &[]).await;
    assert_eq!(text(&headers, "content-encoding"), None);
    assert_eq!(read, plain);
    assert!(compressed.len() * 4 < plain.len(), "{} of {}", compressed.len(), plain.len());
    let (_, headers, _) = ask(&settings(), Method::GET, "/healthz", &accepts).await;
    assert_eq!(text(&headers, "content-encoding"), None);
}

#[tokio::test]
async fn lines_are_not_held_back_for_compressing_them() {
    let mut request = request("POST", "/v1/shops/acme/products", "{}\n".repeat(100));
    let headers = request.headers_mut();
    headers.insert("content-type", "application/x-ndjson".parse().expect("is a value"));
    headers.insert("accept", "application/x-ndjson".parse().expect("is a value"));
    headers.insert("accept-encoding", "gzip".parse().expect("is a value"));
    let (status, headers, body) = send(&settings(), request).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(text(&headers, "content-encoding"), None);
    assert!(body.len() > 10_000, "{}", body.len());
}

fn cross_origin(origins: &str) -> Settings {
    Settings { cors_origins: Some(origins.parse().expect("are origins")), ..settings() }
}

/// What a browser asks before a script of that page may place an order.
async fn preflight(settings: &Settings, origin: &str) -> (StatusCode, HeaderMap) {
    let request = Request::options("/v1/shops/acme/orders")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,idempotency-key")
        .body(Body::empty());
    let (status, headers, _) = send(settings, request.expect("is valid")).await;
    (status, headers)
}

#[tokio::test]
async fn scripts_of_the_named_origins_may_use_the_api() {
    let settings = cross_origin("https://shop.example,https://admin.example");
    let (status, headers) = preflight(&settings, SHOP).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(text(&headers, "access-control-allow-origin"), Some(SHOP));
    let allowed = text(&headers, "access-control-allow-headers").expect("are named");
    for name in ["authorization", "content-type", "idempotency-key", "if-match"] {
        assert!(allowed.split(',').any(|it| it == name), "{name} is not in {allowed}");
    }
    assert!(text(&headers, "access-control-allow-methods").expect("are named").contains("POST"));

    let from = [("origin", SHOP)];
    let (_, headers, _) = ask(&settings, Method::GET, "/v1/event-types", &from).await;
    assert_eq!(text(&headers, "access-control-allow-origin"), Some(SHOP));
    let read = text(&headers, "access-control-expose-headers").expect("are named");
    assert!(read.split(',').any(|it| it == "tradewind-position"), "{read}");
    // A script reads why it was refused, too.
    let (status, headers, _) = ask(&settings, Method::GET, "/v1/nothing", &from).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(text(&headers, "access-control-allow-origin"), Some(SHOP));
}

#[tokio::test]
async fn scripts_of_other_origins_may_not() {
    let named = cross_origin("https://admin.example");
    for settings in [&named, &settings()] {
        let (_, headers) = preflight(settings, SHOP).await;
        assert_eq!(text(&headers, "access-control-allow-origin"), None);
        let (_, headers, _) = ask(settings, Method::GET, "/healthz", &[("origin", SHOP)]).await;
        assert_eq!(text(&headers, "access-control-allow-origin"), None);
    }
    let (_, headers) = preflight(&cross_origin("*"), SHOP).await;
    assert_eq!(text(&headers, "access-control-allow-origin"), Some("*"));
}
