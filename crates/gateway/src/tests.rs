//! The routes, as far as they answer without the services: what is refused, and why.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use protocol::time::Timestamp;
use serde_json::Value;
use tower::ServiceExt;

mod reads;

use super::*;
use crate::{limits::RequestClass, request::ShopFacts, state::AccessError};

pub(crate) const KEY: &str = "the-key";

fn keys(key: &str) -> Vec<ApiKeySetting> {
    vec![ApiKeySetting::of_everything("shop", key.into())]
}

pub(crate) fn settings() -> Settings {
    Settings {
        person_keys: None,
        webhooks: webhook_http::Policy::default(),
        cors_origins: None,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: None,
        jwt: None,
        allow_plain_http: false,
        api_keys: keys(KEY),
        answer_timeout: Duration::from_secs(10),
        drain_timeout: Duration::from_secs(10),
        limits: Limits::default(),
        readiness: Arc::new(Readiness::default),
        clock: engine::Clock::from(|| Timestamp::from_millis(0)),
    }
}

/// The state of a gateway whose handlers panic when they need a service.
pub(crate) fn state(settings: &Settings) -> Arc<AppState> {
    let client = || panic!("a request that had to be refused reached a service");
    let state = AppState::new(client, settings, CancellationToken::new());
    let state = state.expect("the key is valid");
    let acme = protocol::id::Shop::parse("acme").expect("valid");
    state.shops.remember(&acme, (1, 0), ShopFacts::default(), tokio::time::Instant::now());
    Arc::new(state)
}

async fn answer(request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
    answer_of(routes(state(&settings())), request).await
}

async fn answer_of(router: Router, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
    let response = router.oneshot(request).await.expect("never fails");
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
async fn a_request_without_the_key_is_refused() {
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
async fn the_metrics_of_the_process_are_not_for_clients() {
    for key in ["Bearer the-key", "Bearer wrong"] {
        let request = Request::get("/metrics").header("authorization", key);
        refused(request.body(Body::empty()).expect("is valid"), 404, "not_found", &[]).await;
    }
}

#[tokio::test]
async fn healthz_needs_no_key() {
    let request = Request::get("/healthz").body(Body::empty()).expect("is valid");
    let (status, _, document) = answer(request).await;
    assert_eq!((status, &document["status"]), (StatusCode::OK, &"up".into()));
}

#[tokio::test]
async fn an_unknown_route_is_not_found() {
    let nothing = request("GET", "/v1/shops/acme/nothing", "");
    let (_, document) = refused(nothing, 404, "not_found", &[]).await;
    let detail = "there is no route /v1/shops/acme/nothing: /openapi.json lists all";
    assert_eq!(document["detail"], detail);
    refused(request("GET", "/v2/shops/acme/orders", ""), 404, "not_found", &[]).await;
}

#[tokio::test]
async fn a_suspended_shop_is_refused_on_every_route_below_it() {
    let state = state(&settings());
    let acme = protocol::id::Shop::parse("acme").expect("valid");
    state.shops.remember(
        &acme,
        (2, 0),
        ShopFacts { suspended: true, ..ShopFacts::default() },
        tokio::time::Instant::now(),
    );
    let routes = routes(state);
    for (method, path) in operations_of_shop() {
        // The shop itself can be looked at, changed and resumed, and what became of that be followed.
        if ["", "/suspend", "/resume"].contains(&path.as_str()) || path.starts_with("/commands/") {
            continue;
        }
        let request = request(&method, &format!("/v1/shops/acme{path}"), "{}");
        let (status, _, document) = answer_of(routes.clone(), request).await;
        let refused = (status.as_u16(), &document["code"]);
        assert_eq!(refused, (403, &"shop_suspended".into()), "{method} {path}");
    }
}

#[tokio::test]
async fn a_method_that_a_route_does_not_have_is_refused_with_those_it_has() {
    let request = request("DELETE", "/v1/shops/acme/products/A", "");
    let (headers, _) = refused(request, 405, "method_not_allowed", &[]).await;
    let allowed = headers["allow"].to_str().expect("is text");
    assert!(allowed.contains("GET") && allowed.contains("PUT"), "{allowed}");
}

#[tokio::test]
async fn parameters_of_the_path_are_checked() {
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
async fn parameters_of_the_query_are_checked() {
    let page = request("GET", "/v1/shops/acme/products?limit=0&after=a%20b&from=1", "");
    refused(page, 422, "invalid_fields", &["after", "limit", "from"]).await;
    let wrong = "status=PLACED&payment_status=open&sku=a%20b&q=%00&on_hold=yes&placed_from=today";
    let orders = format!("/v1/shops/acme/orders?{wrong}&sort=up&after=x&limit=0&reference=");
    let fields = [
        "status",
        "payment_status",
        "sku",
        "reference",
        "q",
        "on_hold",
        "placed_from",
        "sort",
        "after",
        "limit",
    ];
    refused(request("GET", &orders, ""), 422, "invalid_fields", &fields).await;
    let payments = "/v1/shops/acme/payments?status=unspecified&order_id=1&begun_until=1";
    let fields = ["status", "order_id", "begun_until"];
    refused(request("GET", payments, ""), 422, "invalid_fields", &fields).await;
}

#[tokio::test]
async fn malformed_json_is_refused_with_its_position() {
    let request = request("POST", "/v1/shops/acme/orders", "{\n \"currency\": GBP}");
    let (_, document) = refused(request, 400, "malformed_json", &[]).await;
    assert_eq!(document["detail"], "malformed JSON at line 2, column 14: expected value",);
}

#[tokio::test]
async fn all_invalid_fields_of_an_order_are_listed() {
    let body = r#"{"currency":"GBP","lines":[{"sku":"A","quantity":0},{"quantity":1}],"coupon":1}"#;
    let request = request("POST", "/v1/shops/acme/orders", body);
    let wrong = ["lines[0].quantity", "lines[1].sku", "coupon"];
    let (_, document) = refused(request, 422, "invalid_fields", &wrong).await;
    assert_eq!(document["errors"][0]["detail"], "quantity must be 1 to 1000000000, got \"0\"");
    let pointer = |index: usize| &document["errors"][index]["pointer"];
    assert_eq!([pointer(0), pointer(1)], ["#/lines/0/quantity", "#/lines/1/sku"]);
    assert_eq!(pointer(2), "#/coupon");
}

#[tokio::test]
async fn all_invalid_fields_of_a_product_are_listed() {
    let body = r#"{"title":"","price":{"minor":1.5},"active":"yes"}"#;
    let request = request("PUT", "/v1/shops/acme/products/A", body);
    let wrong = ["title", "price.minor", "price.currency", "active"];
    refused(request, 422, "invalid_fields", &wrong).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_the_limit() {
    let body = vec![b' '; body::MAX_JSON_BYTES + 1];
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
    headers.insert("content-length", (body::MAX_NDJSON_BYTES + 1).into());
    refused(announced, 413, "too_large", &[]).await;
}

#[tokio::test]
async fn a_content_type_that_is_not_supported_is_refused() {
    for (path, media) in [
        ("/v1/shops/acme/orders", "application/x-www-form-urlencoded"),
        ("/v1/shops/acme/orders", "application/x-ndjson"),
        ("/v1/shops/acme/orders", "text/csv"),
        ("/v1/shops/acme/products", "text/plain"),
    ] {
        let mut request = request("POST", path, "{}");
        request.headers_mut().insert("content-type", media.parse().expect("is valid"));
        refused(request, 415, "unsupported_media_type", &[]).await;
    }
}

#[tokio::test]
async fn an_invalid_idempotency_key_is_refused() {
    let mut request = request("POST", "/v1/shops/acme/orders", "{}");
    request.headers_mut().insert("idempotency-key", "a b".parse().expect("is valid"));
    refused(request, 400, "invalid_header", &["Idempotency-Key"]).await;
}

#[tokio::test]
async fn an_upload_of_invalid_lines_is_answered_line_by_line() {
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
            "stale": 0,
            "rejected": 3,
            "status": "complete",
            "next_line": 4,
            "results": [
                {"line": 0, "result": "rejected", "errors": [{
                    "field": "price.currency",
                    "pointer": "#/price/currency",
                    "detail": "currency must be the ISO 4217 code of a currency in use, such as GBP, got \"gbp\"",
                }]},
                {"line": 2, "result": "rejected", "errors": [{
                    "field": "", "pointer": "#", "detail": "the line must be an object, got 5",
                }]},
                {"line": 3, "result": "rejected", "errors": [{
                    "field": "",
                    "pointer": "#",
                    "detail": "malformed JSON at column 1: EOF while parsing an object",
                }]},
            ],
        })
    );
}

#[tokio::test]
async fn every_response_has_an_id_and_the_trace_context() {
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
async fn a_panic_becomes_an_internal_error() {
    let order = r#"{"currency":"GBP","lines":[{"sku":"A","quantity":1}]}"#;
    let request = request("POST", "/v1/shops/acme/orders", order);
    refused(request, 500, "internal", &[]).await;
}

#[test]
fn the_key_is_not_shown() {
    assert!(!format!("{:?}", settings()).contains(KEY));
    assert!(!format!("{:?}", state(&settings())).contains(KEY));
}

/// With one request of a class in progress, `refused` get 503, and `others` are handled.
async fn check_full(
    class: RequestClass,
    limits: Limits,
    refused: Vec<Request<Body>>,
    others: Vec<Request<Body>>,
) {
    let state = state(&Settings { limits, ..settings() });
    let _permit = state.concurrency.try_acquire(class, "other").expect("nothing else runs");
    for request in refused {
        let (status, headers, document) = answer_of(routes(state.clone()), request).await;
        assert_eq!((status.as_u16(), &document["code"]), (503, &"overloaded".into()));
        assert_eq!(headers["retry-after"], "1");
    }
    for request in others {
        // Beyond the limits, the handler panics for want of a service.
        let (status, _, document) = answer_of(routes(state.clone()), request).await;
        assert_ne!(document["code"], "overloaded", "{class:?}: {status}");
    }
}

#[tokio::test]
async fn a_shop_with_half_of_the_requests_is_refused_and_another_handled() {
    let limits = Limits { max_reads: 2, ..Limits::default() };
    let state = state(&Settings { limits, ..settings() });
    let _permit = state.concurrency.try_acquire(RequestClass::Read, "acme").expect("is the first");
    let (status, headers, document) = answer_of(routes(state.clone()), read()).await;
    assert_eq!((status.as_u16(), &document["code"]), (429, &"too_many_requests".into()));
    assert_eq!(headers["retry-after"], "1");
    // Beyond the limits, the handler panics for want of a service.
    let other = request("GET", "/v1/shops/other/products/A", "");
    let (status, ..) = answer_of(routes(state), other).await;
    assert_eq!(status, 500);
}

const ORDER: &str = r#"{"currency":"GBP","lines":[{"sku":"A","quantity":1}]}"#;
const LIST: &str = r#"{"lines":[{"type":"count"}]}"#;

#[tokio::test]
async fn a_request_beyond_the_rate_is_refused_and_says_when_to_come_again() {
    let limits = Limits { shop_rate: "1:3".parse().ok(), ..Limits::default() };
    let state = state(&Settings { limits, ..settings() });
    // Three, unless they take so long that there are more.
    let (status, headers, document) = loop {
        let answer = answer_of(routes(state.clone()), read()).await;
        if answer.0 == StatusCode::TOO_MANY_REQUESTS {
            break answer;
        }
    };
    assert_eq!((status.as_u16(), &document["code"]), (429, &"too_many_requests".into()));
    assert_eq!(document["violated-policies"], serde_json::json!(["shop"]));
    assert_eq!(headers["retry-after"], "1");
    assert_eq!(headers["ratelimit-policy"], "\"shop\";q=3;w=3");
    assert_eq!(headers["ratelimit"], "\"shop\";r=0;t=1");
}

fn read() -> Request<Body> {
    request("GET", "/v1/shops/acme/products/A", "")
}

fn command() -> Request<Body> {
    request("POST", "/v1/shops/acme/orders", ORDER)
}

fn wait() -> Request<Body> {
    let mut request = command();
    request.headers_mut().insert("prefer", "wait=10".parse().expect("is valid"));
    request
}

fn upload() -> Request<Body> {
    let mut request = request("POST", "/v1/shops/acme/products", "{}");
    let media = "application/x-ndjson".parse().expect("is valid");
    request.headers_mut().insert("content-type", media);
    request
}

fn list() -> Request<Body> {
    request("POST", "/v1/shops/acme/inventory", LIST)
}

fn totals() -> Request<Body> {
    request("GET", "/v1/shops/acme/totals", "")
}

#[tokio::test]
async fn waits_at_their_limit_leave_reads_commands_and_uploads() {
    let limits = Limits { max_waits: 1, ..Limits::default() };
    let others = vec![read(), command(), upload(), list(), totals()];
    check_full(RequestClass::Wait, limits, vec![wait()], others).await;
}

#[tokio::test]
async fn commands_at_their_limit_leave_reads_waits_and_uploads() {
    let limits = Limits { max_commands: 1, ..Limits::default() };
    let others = vec![read(), wait(), upload(), totals()];
    check_full(RequestClass::Command, limits, vec![command(), list()], others).await;
}

#[tokio::test]
async fn uploads_at_their_limit_leave_reads_commands_and_waits() {
    let limits = Limits { max_uploads: 1, ..Limits::default() };
    let others = vec![read(), command(), wait(), totals()];
    check_full(RequestClass::Upload, limits, vec![upload(), list()], others).await;
}

#[tokio::test]
async fn totals_at_their_limit_leave_all_others() {
    let limits = Limits { max_totals: 1, ..Limits::default() };
    let others = vec![read(), command(), wait(), upload(), list()];
    check_full(RequestClass::Totals, limits, vec![totals()], others).await;
}

#[tokio::test]
async fn readers_of_the_feed_at_their_limit_leave_all_others() {
    let limits = Limits { max_feeds: 1, ..Limits::default() };
    let others = vec![read(), command(), wait(), upload(), list(), totals()];
    let feed = || request("GET", "/v1/shops/acme/events", "");
    let mut stream = feed();
    stream.headers_mut().insert("accept", "text/event-stream".parse().expect("is valid"));
    check_full(RequestClass::Feed, limits, vec![feed(), stream], others).await;
}

#[tokio::test]
async fn parameters_of_the_feed_are_checked() {
    let page = request("GET", "/v1/shops/acme/events?after=x&types=x&limit=0&wait=31&to=1", "");
    refused(page, 422, "invalid_fields", &["after", "types", "limit", "wait", "to"]).await;
    let mut stream = request("GET", "/v1/shops/acme/events?limit=10&wait=1", "");
    stream.headers_mut().insert("accept", "text/event-stream".parse().expect("is valid"));
    refused(stream, 422, "invalid_fields", &["limit", "wait"]).await;
    let mut stream = request("GET", "/v1/shops/acme/events", "");
    stream.headers_mut().insert("accept", "text/event-stream".parse().expect("is valid"));
    stream.headers_mut().insert("last-event-id", "42".parse().expect("is valid"));
    refused(stream, 400, "invalid_header", &["Last-Event-ID"]).await;
}

#[tokio::test]
async fn an_upload_counts_until_its_report_is_sent() {
    let limits = Limits { max_uploads: 1, ..Limits::default() };
    let state = state(&Settings { limits, ..settings() });
    let response = routes(state.clone()).oneshot(upload()).await.expect("never fails");
    let (status, ..) = answer_of(routes(state.clone()), upload()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    drop(response);
    let (status, ..) = answer_of(routes(state), upload()).await;
    assert_eq!(status, StatusCode::OK);
}

/// A body that begins and never ends.
fn stalled() -> Body {
    let begin = futures::stream::iter([Ok::<_, std::io::Error>("{")]);
    Body::from_stream(futures::StreamExt::chain(begin, futures::stream::pending()))
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let limits = Limits { body_read_timeout: Duration::from_millis(1), ..Limits::default() };
    let state = state(&Settings { limits, ..settings() });
    let request = request("POST", "/v1/shops/acme/orders", stalled());
    let (status, _, document) = answer_of(routes(state), request).await;
    assert_eq!((status.as_u16(), &document["code"]), (400, &"incomplete_body".into()));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let limits = Limits { request_timeout: Duration::from_millis(1), ..Limits::default() };
    let state = state(&Settings { limits, ..settings() });
    let request = request("POST", "/v1/shops/acme/orders", stalled());
    let (status, _, document) = answer_of(routes(state), request).await;
    assert_eq!((status.as_u16(), &document["code"]), (504, &"timed_out".into()));
}

#[tokio::test]
async fn a_process_that_drains_is_alive_and_not_ready() {
    let state = state(&settings());
    state.shutdown.cancel();
    let get = |path: &str| Request::get(path).body(Body::empty()).expect("is valid");
    let (status, _, document) = answer_of(routes(state.clone()), get("/readyz")).await;
    assert_eq!((status.as_u16(), &document["code"]), (503, &"not_ready".into()));
    let (status, ..) = answer_of(routes(state), get("/healthz")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_without_the_scope_does_not_say_what_an_order_costs() {
    for lines in [
        r#""lines":[{"sku":"A","quantity":1,"unit_price":1}]"#,
        r#""lines":[{"sku":"A","quantity":1,"discounts":[{"code":"D","amount":1}]}]"#,
        r#""charges":[{"code":"D","amount":-1}]"#,
    ] {
        let body = format!(r#"{{"currency":"GBP",{lines}}}"#);
        let key = ApiKeySetting {
            scopes: vec![Scope::Orders],
            ..ApiKeySetting::of_everything("shop", KEY.into())
        };
        let settings = Settings { api_keys: vec![key], ..settings() };
        let request = request("POST", "/v1/shops/acme/orders", body);
        let (status, _, document) = answer_of(routes(state(&settings)), request).await;
        assert_eq!((status.as_u16(), &document["code"]), (403, &"forbidden".into()), "{lines}");
        assert_eq!(document["scope"], "prices-as-sold");
    }
}

#[test]
fn a_gateway_with_an_empty_key_does_not_start() {
    let settings = Settings { api_keys: keys(""), ..settings() };
    let state = AppState::new(|| panic!("nothing is asked"), &settings, CancellationToken::new());
    let refused = state.err();
    let is_empty = matches!(refused, Some(AccessError::ApiKeys(ApiKeyError::Empty)));
    assert!(is_empty, "{refused:?}");
}

/// Every operation of a shop, with the path below it, as the description has them: that of every route.
fn operations_of_shop() -> Vec<(String, String)> {
    let document = openapi_document();
    let paths = document["paths"].as_object().expect("there are paths").iter();
    let of_path = |(path, item): (&String, &Value)| {
        let below = path.strip_prefix("/v1/shops/{shop}")?;
        let segments = below.split('/');
        let concrete = segments.map(|it| if it.starts_with('{') { "1" } else { it });
        let concrete = concrete.collect::<Vec<_>>().join("/");
        let methods = ["get", "put", "post", "patch", "delete"].into_iter();
        let methods: Vec<_> = methods.filter(|it| item.get(it).is_some()).collect();
        let methods = methods.into_iter().map(str::to_uppercase);
        Some(methods.map(move |method| (method, concrete.clone())).collect::<Vec<_>>())
    };
    let found: Vec<_> = paths.filter_map(of_path).flatten().collect();
    assert!(found.len() > 50, "{found:?}");
    found
}

/// What a key with these limits is answered to a request.
async fn answer_to(setting: ApiKeySetting, (method, path): (&str, &str)) -> (StatusCode, Value) {
    let settings = Settings { api_keys: vec![setting], ..settings() };
    let router = routes(state(&settings));
    let (status, _, document) = answer_of(router, request(method, path, "{}")).await;
    (status, document)
}

#[tokio::test]
async fn a_key_of_one_shop_gets_nowhere_in_another() {
    let acme = protocol::id::Shop::parse("acme").expect("is a name");
    for (method, path) in operations_of_shop() {
        let path = format!("/v1/shops/beta{path}");
        let key = ApiKeySetting {
            shops: vec![acme.clone()],
            ..ApiKeySetting::of_everything("shop", KEY.into())
        };
        // It would panic if it reached a service.
        let (status, document) = answer_to(key, (&method, &path)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {document}");
        let detail = "the API key is not for the shop beta: use one that is";
        assert_eq!(document["detail"], detail, "{method} {path}");
    }
    let key =
        ApiKeySetting { shops: vec![acme], ..ApiKeySetting::of_everything("shop", KEY.into()) };
    assert_eq!(answer_to(key, ("GET", "/v1/shops")).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_key_without_the_scope_is_refused_on_every_route() {
    for (method, path) in operations_of_shop() {
        let path = format!("/v1/shops/acme{path}");
        let key = ApiKeySetting {
            scopes: vec![Scope::PricesAsSold],
            ..ApiKeySetting::of_everything("shop", KEY.into())
        };
        let (status, document) = answer_to(key, (&method, &path)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {document}");
        assert!(document["scope"].is_string(), "{method} {path}: {document}");
    }
}

#[tokio::test]
async fn a_key_is_refused_from_when_it_expires() {
    let key = |expires_ms| ApiKeySetting {
        expires_at: Some(Timestamp::from_millis(expires_ms)),
        ..ApiKeySetting::of_everything("shop", KEY.into())
    };
    // It is 1970-01-01T00:00:00Z here.
    let (status, document) = answer_to(key(0), ("GET", "/v1/event-types")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{document}");
    assert_eq!(document["detail"], "the API key or token has expired: use another one");
    assert_eq!(answer_to(key(1), ("GET", "/v1/event-types")).await.0, StatusCode::OK);
}
