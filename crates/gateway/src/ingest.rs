//! The ERP ingest by NATS: `erp.v1.<shop>.stock`, `.products` and `.shipments`.
//!
//! A message is what the body of a request over HTTP is, and is handled as one, by the same handlers and
//! layers: so there are the same rules, limits and results. What differs is who is let in (nats-server
//! has checked that the sender may publish to the subject), that a body may be protobuf, and that the
//! status and the headers of the answer are headers of a message.

mod protobuf;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderName, HeaderValue, Method, header, response::Parts},
    middleware,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use engine::{Client, Request, RequestError};
use events::id::Connector;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use protocol::id::Shop;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::warn;

use crate::{
    admission,
    api_key::Caller,
    bulk::ShortReport,
    inventory, layers,
    limits::{Permit, Requests},
    metrics, position,
    problem::{Code, Problem},
    products,
    state::AppState,
    trace,
};

/// What the subjects of requests begin with; a shop and a kind of lines follow.
pub const REQUESTS: &str = "erp.v1";
/// What the subjects of answers begin with; the name of a connector's user follows.
pub const REPLIES: &str = "erp.reply";
/// The kinds of lines, the last token of a subject.
pub const KINDS: [&str; 3] = ["stock", "products", "shipments"];

/// Of the gateways, one gets each request.
const GROUP: &str = "gateway";
/// The most requests at once, of which a shop has a share as of those over HTTP ([`Requests`]). Beyond, one is
/// answered `overloaded` or `too_many_requests` instead of waiting: nobody tells its sender to slow down.
const MAX_REQUESTS: usize = 512;
/// The headers of a message that mean the same as those of a request over HTTP.
const REQUEST_HEADERS: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("tradewind-after"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
/// The headers of an answer that those of a message are.
const ANSWER_HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_TYPE, "Content-Type"),
    (header::RETRY_AFTER, "Retry-After"),
    (HeaderName::from_static("ratelimit"), "RateLimit"),
    (HeaderName::from_static("ratelimit-policy"), "RateLimit-Policy"),
    (HeaderName::from_static("tradewind-position"), "Tradewind-Position"),
    (HeaderName::from_static("idempotency-replayed"), "Idempotency-Replayed"),
    (HeaderName::from_static("x-request-id"), "X-Request-Id"),
    (HeaderName::from_static("traceparent"), "traceparent"),
];
/// The status of an answer, as over HTTP.
const STATUS: &str = "Tradewind-Status";
/// The same of an answer that is a problem, as the clients of NATS know it.
const ERROR_CODE: &str = "Nats-Service-Error-Code";
const ERROR: &str = "Nats-Service-Error";

/// What messages are handled by: the handlers and the layers of the requests over HTTP, but for the check
/// of a key.
pub(crate) fn routes(state: Arc<AppState>) -> Router {
    Router::new()
        .route("/erp/v1/shops/{shop}/stock", post(inventory::post))
        .route("/erp/v1/shops/{shop}/products", post(products::post))
        .route("/erp/v1/shops/{shop}/shipments", post(inventory::post_fulfilments))
        .route_layer(middleware::from_fn_with_state(state.clone(), admission::require_shop))
        .layer(middleware::from_fn(position::carry_positions))
        .layer(middleware::from_fn_with_state(state.clone(), admission::limit_concurrency))
        .layer(middleware::from_fn_with_state(state.clone(), admission::limit_rate))
        .layer(CatchPanicLayer::custom(layers::answer_panic))
        .layer(middleware::from_fn_with_state(state.clone(), layers::time_out))
        .layer(middleware::from_fn(trace::trace_request))
        .layer(middleware::from_fn(metrics::measure))
        .with_state(state)
}

/// Takes requests until `shutdown`, and then answers those that have come.
pub(crate) async fn serve(
    client: Client,
    routes: Router,
    shutdown: CancellationToken,
) -> Result<(), RequestError> {
    let mut requests = client.requests(&format!("{REQUESTS}.*.*"), GROUP, REPLIES).await?;
    let slots = Requests::new(MAX_REQUESTS);
    let running = TaskTracker::new();
    let mut is_stopping = false;
    loop {
        let request = tokio::select! {
            request = requests.next() => request,
            () = shutdown.cancelled(), if !is_stopping => {
                is_stopping = true;
                requests.stop().await;
                continue;
            }
        };
        let Some(request) = request else { break };
        let slot = slot(&slots, request.subject());
        let routes = routes.clone();
        running.spawn(async move {
            let (slot, handled) = match slot {
                Ok(slot) => (Some(slot), handle(&request, routes).await),
                Err(problem) => (None, Err(problem)),
            };
            let response = handled.unwrap_or_else(Problem::into_response);
            answer(&request, response).await;
            drop(slot);
        });
    }
    running.close();
    running.wait().await;
    Ok(())
}

/// A slot for a message of the shop in its subject. Slots are for messages of all kinds: those of one shop,
/// whose service may not answer, leave some to the others.
fn slot(slots: &Arc<Requests>, subject: &str) -> Result<Permit, Problem> {
    let shop = subject.strip_prefix(REQUESTS).and_then(|rest| rest.split('.').nth(1));
    slots.try_acquire(shop.unwrap_or_default(), "messages")
}

/// Handles a message as the request that it stands for.
async fn handle(request: &Request, routes: Router) -> Result<Response, Problem> {
    let (shop, kind) = target(request.subject())?;
    let mut to = axum::http::Request::builder()
        .method(Method::POST)
        .uri(format!("/erp/v1/shops/{shop}/{kind}"))
        .extension(Caller::of_connector(&shop, user(request.reply())));
    let (content_type, body) = body(request, kind)?;
    for name in &REQUEST_HEADERS {
        if let Some(value) = request.header(name.as_str()) {
            let value = HeaderValue::from_str(value).map_err(|_| {
                Problem::new(Code::InvalidHeader, format!("{name} must be visible ASCII"))
            })?;
            to = to.header(name, value);
        }
    }
    let to = to.header(header::CONTENT_TYPE, content_type).body(body);
    let to = to.map_err(|error| Problem::internal(&error))?;
    match TowerToHyperService::new(routes).call(to).await {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

/// The body of a request and its content type: protobuf becomes JSON. What has no content type begins with
/// a brace if it is JSON, which protobuf never does.
fn body(request: &Request, kind: &str) -> Result<(HeaderValue, Body), Problem> {
    let payload = request.payload();
    let given = request.header(header::CONTENT_TYPE.as_str());
    let is_json = || payload.is_empty() || payload.starts_with(b"{");
    let is_protobuf = given.map_or_else(|| !is_json(), protobuf::is_media);
    if !is_protobuf {
        let value = HeaderValue::from_str(given.unwrap_or("application/json"))
            .map_err(|_| Problem::new(Code::InvalidHeader, "Content-Type must be visible ASCII"))?;
        return Ok((value, payload.clone().into()));
    }
    if request.header(header::CONTENT_ENCODING.as_str()).is_some() {
        let detail = "send protobuf as it is, without `Content-Encoding`";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let (media, json) = protobuf::to_json(kind, payload)?;
    Ok((HeaderValue::from_static(media), json.into()))
}

/// The shop and the kind of lines in a subject.
fn target(subject: &str) -> Result<(Shop, &'static str), Problem> {
    let rest = subject.strip_prefix(REQUESTS).and_then(|rest| rest.strip_prefix('.'));
    let (shop, kind) = rest.and_then(|rest| rest.split_once('.')).unwrap_or_default();
    let Some(kind) = KINDS.into_iter().find(|known| *known == kind) else {
        let detail = format!("publish to {REQUESTS}.<shop>. and one of {}", KINDS.join(", "));
        return Err(Problem::new(Code::NotFound, detail));
    };
    let shop = Shop::parse(shop)
        .map_err(|error| Problem::new(Code::UnknownShop, format!("the subject's {error}")))?;
    Ok((shop, kind))
}

/// The name of the user to whom an answer goes. nats-server lets no other user read it.
fn user(reply: &str) -> &str {
    let rest = reply.strip_prefix(REPLIES).and_then(|rest| rest.strip_prefix('.'));
    let user = rest.and_then(|rest| rest.split('.').next()).unwrap_or_default();
    if Connector::parse(user).is_ok() { user } else { "" }
}

/// Answers with a response. Nobody hears of a failure: the sender sends its lines again.
async fn answer(request: &Request, response: Response) {
    let (parts, body) = response.into_parts();
    // It is in memory already, and reading it cannot fail.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let sent = match (send(request, &parts, body).await, parts.extensions.get::<ShortReport>()) {
        // The lines were handled: that is said, with how many there are of each result.
        (Err(RequestError::TooLarge { .. }), Some(short)) => {
            send(request, &parts, short.0.clone()).await
        }
        (Err(RequestError::TooLarge { length, max }), None) => {
            let detail = format!(
                "what is wrong with the message has {length} bytes where {max} fit: send it in parts to see \
                 what it is"
            );
            let (parts, body) = Problem::new(Code::TooLarge, detail).into_response().into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
            send(request, &parts, body).await
        }
        (sent, _) => sent,
    };
    if let Err(error) = sent {
        warn!(subject = request.subject(), %error, "could not answer a request");
    }
}

async fn send(request: &Request, parts: &Parts, body: Bytes) -> Result<(), RequestError> {
    let status = parts.status.as_str();
    let mut headers = vec![(STATUS, status)];
    for (name, sent) in &ANSWER_HEADERS {
        let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
        headers.extend(value.map(|value| (*sent, value)));
    }
    if parts.status.is_client_error() || parts.status.is_server_error() {
        let reason = parts.status.canonical_reason().unwrap_or("Error");
        headers.extend([(ERROR_CODE, status), (ERROR, reason)]);
    }
    request.answer(&headers, body).await
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use tower::ServiceExt;

    use super::*;
    use crate::{Limits, Settings, tests};

    #[tokio::test]
    async fn the_messages_of_a_shop_beyond_the_rate_are_refused_and_those_of_others_are_not() {
        let limits = Limits { key_rate: "1:2".parse().ok(), ..Limits::default() };
        let state = tests::state(&Settings { limits, ..tests::settings() });
        let send = async |shop: &str| {
            let of = Shop::parse(shop).expect("a name");
            let request = axum::http::Request::post(format!("/erp/v1/shops/{shop}/orders"))
                .extension(Caller::of_connector(&of, "warehouse"))
                .body(Body::empty());
            let response = routes(state.clone()).oneshot(request.expect("is valid")).await;
            response.expect("never fails").status()
        };
        // Two, unless they take so long that there are more.
        while send("acme").await != StatusCode::TOO_MANY_REQUESTS {}
        assert_eq!(send("beta").await, StatusCode::NOT_FOUND, "there is no such route");
    }

    #[test]
    fn messages_that_are_not_answered_leave_room_for_those_of_other_shops() {
        let slots = Requests::new(8);
        let mut unanswered = Vec::new();
        let refused = loop {
            let kind = KINDS[unanswered.len() % KINDS.len()];
            match slot(&slots, &format!("erp.v1.acme.{kind}")) {
                Ok(slot) => unanswered.push(slot),
                Err(refused) => break refused,
            }
        };
        assert_eq!((unanswered.len(), refused.code()), (4, Code::TooManyRequests));
        assert!(slot(&slots, "erp.v1.beta.stock").is_ok());
        unanswered.pop();
        assert!(slot(&slots, "erp.v1.acme.stock").is_ok());
    }

    #[test]
    fn an_answer_goes_to_a_user() {
        assert_eq!(user("erp.reply.warehouse.1"), "warehouse");
        for other in ["erp.reply", "erp.reply.", "erp.reply.A b.1", "inbox.0"] {
            assert_eq!(user(other), "", "{other}");
        }
    }

    #[test]
    fn a_subject_names_a_shop_and_a_kind_of_lines() {
        let (shop, kind) = target("erp.v1.acme.stock").expect("is one");
        assert_eq!((shop.as_str(), kind), ("acme", "stock"));
        for (subject, code) in [
            ("erp.v1.acme.orders", Code::NotFound),
            ("erp.v1.acme", Code::NotFound),
            ("erp.v1.acme.stock.more", Code::NotFound),
            ("erp.v2.acme.stock", Code::NotFound),
            ("erp.v1.ACME.stock", Code::UnknownShop),
        ] {
            let problem = target(subject).expect_err("is none");
            assert_eq!(problem.code(), code, "{subject}");
        }
    }
}
