//! The routes, as far as they answer without the services: who may enter, and what is refused.

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use serde_json::Value;
use tower::ServiceExt;

use super::*;

const KEY: &str = "the-key";

/// The routes of a gateway that reaches no service.
fn gateway() -> Router {
    let settings = Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        api_key: KEY.to_owned(),
        answer_within: ANSWER_WITHIN,
        drain_within: ANSWER_WITHIN,
    };
    let client = || panic!("a request that had to be refused was sent on");
    routes(Arc::new(Door::new(client, &settings, CancellationToken::new())))
}

async fn answer(request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
    let response = gateway().oneshot(request).await.expect("never fails");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.expect("is in memory");
    let document = serde_json::from_slice(&bytes).expect("is JSON");
    (parts.status, parts.headers, document)
}

fn request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .body(body.into())
        .expect("is valid")
}

/// Expects the problem `code` with these wrong fields, and gives the rest to look at.
async fn refused(
    request: Request<Body>,
    status: u16,
    code: &str,
    fields: &[&str],
) -> (HeaderMap, Value) {
    let (got, headers, document) = answer(request).await;
    assert_eq!((got.as_u16(), &document["code"]), (status, &code.into()), "{document}");
    assert_eq!(document["status"], status);
    assert_eq!(document["type"], format!("urn:tradewind:problem:{code}"));
    assert_eq!(headers["content-type"], "application/problem+json");
    let errors = document["errors"].as_array().into_iter().flatten();
    let named: Vec<_> = errors.filter_map(|error| error["field"].as_str()).collect();
    assert_eq!(named, fields, "{document}");
    (headers, document)
}

#[tokio::test]
async fn who_has_not_the_key_stays_outside() {
    for path in ["/v1/shops/acme/orders", "/v1/shops/acme/totals", "/v1/nothing"] {
        for key in [None, Some("Bearer wrong"), Some("Basic the-key"), Some("the-key")] {
            let mut request = Request::get(path);
            if let Some(key) = key {
                request = request.header("authorization", key);
            }
            let request = request.body(Body::empty()).expect("is valid");
            let (headers, _) = refused(request, 401, "unauthorized", &[]).await;
            assert_eq!(headers["www-authenticate"], "Bearer");
        }
    }
}

#[tokio::test]
async fn the_process_says_that_it_is_up_to_anybody() {
    let request = Request::get("/healthz").body(Body::empty()).expect("is valid");
    let (status, _, document) = answer(request).await;
    assert_eq!((status, &document["status"]), (StatusCode::OK, &"up".into()));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let nothing = request("GET", "/v1/shops/acme/nothing", "");
    let (_, document) = refused(nothing, 404, "not_found", &[]).await;
    let detail = "nothing is at /v1/shops/acme/nothing: docs/http.md lists what is";
    assert_eq!(document["detail"], detail);
    refused(request("GET", "/v2/shops/acme/orders", ""), 404, "not_found", &[]).await;
}

#[tokio::test]
async fn a_method_that_does_not_apply_is_refused_with_those_that_do() {
    let request = request("DELETE", "/v1/shops/acme/products/A", "");
    let (headers, _) = refused(request, 405, "method_not_allowed", &[]).await;
    let allowed = headers["allow"].to_str().expect("is text");
    assert!(allowed.contains("GET") && allowed.contains("PUT"), "{allowed}");
}

#[tokio::test]
async fn what_stands_in_the_path_is_checked() {
    refused(request("GET", "/v1/shops/ACME/totals", ""), 422, "invalid_fields", &["shop"]).await;
    let sku = request("GET", "/v1/shops/acme/products/a%20b", "");
    refused(sku, 422, "invalid_fields", &["sku"]).await;
    let id = request("GET", "/v1/shops/acme/orders/17", "");
    refused(id, 422, "invalid_fields", &["id"]).await;
    let broken = request("GET", "/v1/shops/acme/products/%ff", "");
    refused(broken, 422, "invalid_fields", &["sku"]).await;
    let broken = request("GET", "/v1/shops/%ff/products/A", "");
    refused(broken, 422, "invalid_fields", &["shop"]).await;
}

#[tokio::test]
async fn what_stands_in_the_query_is_checked() {
    let page = request("GET", "/v1/shops/acme/products?limit=0&after=a%20b&from=1", "");
    refused(page, 422, "invalid_fields", &["after", "limit", "from"]).await;
    let orders = request("GET", "/v1/shops/acme/orders", "");
    refused(orders, 422, "invalid_fields", &["reference"]).await;
}

#[tokio::test]
async fn malformed_json_is_refused_with_its_place() {
    let request = request("POST", "/v1/shops/acme/orders", "{\n \"currency\": GBP}");
    let (_, document) = refused(request, 400, "malformed_json", &[]).await;
    assert_eq!(document["detail"], "malformed JSON at line 2, column 14: expected value",);
}

#[tokio::test]
async fn all_wrong_fields_of_an_order_are_listed() {
    let body = r#"{"currency":"GBP","lines":[{"sku":"A","quantity":0},{"quantity":1}],"coupon":1}"#;
    let request = request("POST", "/v1/shops/acme/orders", body);
    let wrong = ["lines[0].quantity", "lines[1].sku", "coupon"];
    let (_, document) = refused(request, 422, "invalid_fields", &wrong).await;
    assert_eq!(document["errors"][0]["detail"], "quantity must be 1 to 1000000000, got \"0\"");
}

#[tokio::test]
async fn all_wrong_fields_of_a_product_are_listed() {
    let body = r#"{"title":"","price":{"minor":1.5},"active":"yes"}"#;
    let request = request("PUT", "/v1/shops/acme/products/A", body);
    let wrong = ["title", "price.minor", "price.currency", "active"];
    refused(request, 422, "invalid_fields", &wrong).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_the_limit() {
    let body = vec![b' '; body::JSON_LIMIT + 1];
    let whole = request("POST", "/v1/shops/acme/orders", body.clone());
    let (_, document) = refused(whole, 413, "too_large", &[]).await;
    assert!(document["detail"].as_str().is_some_and(|detail| detail.contains("1048576")));

    let frames = body.chunks(1000).map(|frame| Ok::<_, std::io::Error>(frame.to_vec()));
    let frames: Vec<_> = frames.collect();
    let streamed = Body::from_stream(futures::stream::iter(frames));
    refused(request("POST", "/v1/shops/acme/orders", streamed), 413, "too_large", &[]).await;

    let mut announced = request("POST", "/v1/shops/acme/inventory", "");
    let headers = announced.headers_mut();
    headers.insert("content-type", "application/x-ndjson".parse().expect("is valid"));
    headers.insert("content-length", (body::NDJSON_LIMIT + 1).into());
    refused(announced, 413, "too_large", &[]).await;
}

#[tokio::test]
async fn a_content_type_that_is_not_taken_is_refused() {
    for (path, media) in [
        ("/v1/shops/acme/orders", "application/x-www-form-urlencoded"),
        ("/v1/shops/acme/orders", "application/x-ndjson"),
        ("/v1/shops/acme/products", "text/csv"),
    ] {
        let mut request = request("POST", path, "{}");
        request.headers_mut().insert("content-type", media.parse().expect("is valid"));
        refused(request, 415, "unsupported_media_type", &[]).await;
    }
}

#[tokio::test]
async fn an_idempotency_key_that_is_none_is_refused() {
    let mut request = request("POST", "/v1/shops/acme/orders", "{}");
    request.headers_mut().insert("idempotency-key", "a b".parse().expect("is valid"));
    refused(request, 400, "invalid_header", &["Idempotency-Key"]).await;
}

#[tokio::test]
async fn an_upload_whose_lines_are_all_wrong_is_answered_line_by_line() {
    let body =
        "{\"sku\":\"A\",\"title\":\"A\",\"price\":{\"minor\":1,\"currency\":\"gbp\"}}\n\n5\n{";
    let mut request = request("POST", "/v1/shops/acme/products", body);
    let media = "application/x-ndjson".parse().expect("is valid");
    request.headers_mut().insert("content-type", media);
    let (status, headers, document) = answer(request).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(
        document,
        serde_json::json!({
            "accepted": 0,
            "rejected": 3,
            "results": [
                {"line": 0, "result": "rejected", "errors": [{
                    "field": "price.currency",
                    "detail": "currency must be an ISO 4217 code such as GBP, got \"gbp\"",
                }]},
                {"line": 2, "result": "rejected", "errors": [{
                    "field": "", "detail": "the line must be an object, got 5",
                }]},
                {"line": 3, "result": "rejected", "errors": [{
                    "field": "",
                    "detail": "malformed JSON at column 1: EOF while parsing an object",
                }]},
            ],
        })
    );
}

#[tokio::test]
async fn every_answer_has_an_id_and_the_trace_context() {
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (sent, echoed) in [(Some(given), Some(given)), (Some("00-1-2-3"), None), (None, None)] {
        let mut request = Request::get("/healthz");
        if let Some(sent) = sent {
            request = request.header("traceparent", sent);
        }
        let request = request.body(Body::empty()).expect("is valid");
        let (_, headers, _) = answer(request).await;
        assert_eq!(headers["x-request-id"].len(), 36);
        let traceparent = headers["traceparent"].to_str().expect("is text");
        match echoed {
            Some(echoed) => assert_eq!(traceparent, echoed),
            None => assert_ne!(Some(traceparent), sent),
        }
        assert_eq!(traceparent.len(), given.len());
    }
}

#[tokio::test]
async fn a_panic_is_a_problem_of_ours() {
    let order = r#"{"currency":"GBP","lines":[{"sku":"A","quantity":1}]}"#;
    let request = request("POST", "/v1/shops/acme/orders", order);
    refused(request, 500, "internal", &[]).await;
}

#[test]
fn the_key_is_not_shown() {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let api_key = KEY.to_owned();
    let (answer_within, drain_within) = (ANSWER_WITHIN, ANSWER_WITHIN);
    let settings = Settings { listen, api_key, answer_within, drain_within };
    assert!(!format!("{settings:?}").contains(KEY));
}
