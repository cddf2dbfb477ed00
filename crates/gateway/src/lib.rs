//! The gateway: the HTTP API. It authenticates requests, validates them, writes commands to the
//! inbox, waits for the answers of the services and turns these into HTTP responses. It decides
//! nothing and stores nothing.
//!
//! ```text
//! connection ─► server ─► trace, layers ─► admission ─► products │ inventory │ orders │ operations
//!              (timeouts)                 (API key,     read the body: fields over json
//!                                          limits)      send, query, watch: services ─► engine::Client
//! response ◄───────────────────────────────────────────┘ JSON, or a problem
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | `server`, `write_timeout` | the connections, and the clients that are too slow |
//! | `trace`, `layers` | what surrounds every request: id, trace context, span, time limit, panics |
//! | `known_shops` | which shops there are: a request to another one is refused |
//! | `admission`, `api_key`, `limits` | which requests are handled, and how many at once |
//! | `position` | how much of the logs a client has seen: it reads what it wrote, through any gateway |
//! | `extract` | the parts of a request besides its body: shop, idempotency key, preferences |
//! | `body`, `json`, `fields` | the bytes of a body, its JSON, its fields with all errors |
//! | `sealing` | personal data: sealed before it enters the inbox, and opened for those who may read it |
//! | `card_numbers` | numbers of payment cards, which no text may hold |
//! | `state`, `services` | what the handlers share; requests to the services |
//! | `accepted` | the response for a command that was not answered in time |
//! | `precondition` | `ETag`, `If-Match` and `If-None-Match` |
//! | `problem` | the problem documents of RFC 9457 |
//! | `feed` | all events of a shop |
//! | `shops`, `products`, `inventory`, `locations`, `orders`, `payments`, `webhooks`, `mails`, `commands`, `operations` | the routes |
//! | `readiness` | what `/readyz` reports |
//! | `metrics` | what is measured of requests, and the route that shows it |
//! | `bulk`, `lines` | uploads of many lines, in chunks |
//!
//! To add a route: write its handler in the module of its resource, read its body with `fields`,
//! send a command or a query through `Services`, and add it to `routes` below: below a
//! shop to `of_shop`, so that it is refused when there is no such shop.

mod accepted;
mod admission;
mod api_key;
mod body;
mod bulk;
mod card_numbers;
mod commands;
mod extract;
mod feed;
mod fields;
mod head_timeout;
mod history;
mod inventory;
mod json;
mod known_shops;
mod layers;
mod limits;
mod lines;
mod locations;
mod mails;
pub mod metrics;
mod operations;
mod orders;
mod payments;
mod position;
mod precondition;
mod problem;
mod products;
mod readiness;
mod sealing;
mod server;
mod services;
mod shops;
mod state;
mod trace;
mod view;
mod webhooks;
mod write_timeout;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{
    Router,
    extract::OriginalUri,
    http::Method,
    middleware,
    routing::{get, post, put},
};
use engine::{Clock, Engine};
use person_keys::PersonKeys;
use tokio::{net::TcpListener, sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};
use tracing::{info, warn};
use webhook_http::Policy;

pub use crate::{
    api_key::{ApiKeyError, ApiKeySetting, MIN_API_KEY_LENGTH, Scope},
    limits::Limits,
    readiness::{PartitionState, PartitionStatus, Readiness, ReadinessSource},
};
use crate::{
    problem::{Code, Problem},
    state::AppState,
};

/// The part of a drain for which answers are still waited for. The rest is for sending responses.
const DRAIN_WAIT_SHARE: f64 = 0.75;

/// How the gateway runs.
#[derive(Clone)]
pub struct Settings {
    /// Where it listens; port 0 selects any free one.
    pub listen: SocketAddr,
    /// The keys of which clients must have one: at least [`MIN_API_KEY_LENGTH`] characters, unless it
    /// listens on a loopback address.
    pub api_keys: Vec<ApiKeySetting>,
    /// How long it waits for a service's answer before it responds with 202 Accepted.
    pub answer_timeout: Duration,
    /// How long requests may go on after the shutdown. Those that are not answered by then get 202
    /// Accepted, or their connection is closed.
    pub drain_timeout: Duration,
    /// Limits of requests and connections.
    pub limits: Limits,
    /// What `/readyz` reports about the services of this process.
    pub readiness: ReadinessSource,
    /// Renders the metrics of the process, for `GET /metrics`; without it there is no such route.
    pub metrics: Option<MetricsSource>,
    /// The keys with which personal data is sealed; without them, requests with such data are refused.
    pub person_keys: Option<PersonKeys>,
    /// What webhooks may be sent to.
    pub webhooks: Policy,
    /// The present.
    pub clock: Clock,
}

/// Renders the metrics of the process in the text format of Prometheus.
pub type MetricsSource = Arc<dyn Fn() -> String + Send + Sync>;

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key shows as `[REDACTED]`.
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("api_keys", &self.api_keys)
            .field("answer_timeout", &self.answer_timeout)
            .field("drain_timeout", &self.drain_timeout)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Serves until `shutdown`, and then the requests that have begun. Sends its address to `bound` once
/// it listens.
pub async fn run(
    engine: &Engine,
    settings: Settings,
    shutdown: CancellationToken,
    bound: Option<oneshot::Sender<SocketAddr>>,
) -> anyhow::Result<()> {
    let client = engine.client();
    let state = AppState::new(move || client.clone(), &settings, shutdown.clone());
    let state = state.context("check the API keys")?;
    let stop_waiting = state.services.stop_waiting.clone();
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("listen on {}; is the port in use?", settings.listen))?;
    let address = listener.local_addr().context("read the address of the listener")?;
    let routes = routes(Arc::new(state), settings.metrics);
    let serving = server::serve(listener, routes, &settings.limits, shutdown.clone());

    info!(%address, "the gateway listens");
    if let Some(bound) = bound {
        bound.send(address).ok();
    }
    let drain_timeout = async {
        shutdown.cancelled().await;
        let wait = settings.drain_timeout.mul_f64(DRAIN_WAIT_SHARE);
        sleep(wait).await;
        stop_waiting.cancel();
        sleep(settings.drain_timeout.saturating_sub(wait)).await;
    };
    tokio::select! {
        () = serving => {}
        () = drain_timeout => warn!("connections are closed: their requests exceed the drain timeout"),
    }
    Ok(())
}

fn routes(state: Arc<AppState>, metrics: Option<MetricsSource>) -> Router {
    let shown = metrics.map(|render| metrics::routes(move || render()));
    let of_shop = Router::new()
        .route("/shops/{shop}/products", get(products::list).post(products::post))
        .route("/shops/{shop}/products/{sku}", get(products::get).put(products::put))
        .route("/shops/{shop}/products/{sku}/history", get(history::of_product))
        .route("/shops/{shop}/inventory", get(inventory::list).post(inventory::post))
        .route("/shops/{shop}/inventory/{sku}", get(inventory::get))
        .route("/shops/{shop}/inventory/{sku}/history", get(history::of_stock))
        .route("/shops/{shop}/inventory/{sku}/movements", get(inventory::movements))
        .route("/shops/{shop}/inventory/{sku}/limits", put(locations::put_limits))
        .route("/shops/{shop}/locations", get(locations::list))
        .route("/shops/{shop}/locations/{code}", get(locations::get).put(locations::put))
        .route("/shops/{shop}/locations/{code}/history", get(history::of_location))
        .route("/shops/{shop}/orders", get(orders::find).post(orders::post))
        .route("/shops/{shop}/orders/{id}", get(orders::get))
        .route("/shops/{shop}/orders/{id}/history", get(history::of_order))
        .route("/shops/{shop}/orders/{id}/reservation/history", get(history::of_reservation))
        .route("/shops/{shop}/orders/{id}/cancel", post(orders::cancel))
        .route("/shops/{shop}/orders/{id}/release", post(orders::release))
        .route(
            "/shops/{shop}/orders/{id}/payments",
            get(payments::of_order).post(orders::start_payment),
        )
        .route("/shops/{shop}/orders/{id}/refunds", post(payments::refund))
        .route("/shops/{shop}/payments/stuck", get(payments::stuck))
        .route("/shops/{shop}/payments/reconciliation", get(payments::reconciliation))
        .route("/shops/{shop}/payments/{payment_id}", get(payments::get))
        .route("/shops/{shop}/payments/{payment_id}/history", get(history::of_payment))
        .route("/shops/{shop}/history", get(history::of_shop))
        .route("/shops/{shop}/events", get(feed::get))
        .route("/shops/{shop}/commands/{command_id}", get(commands::get))
        .route("/shops/{shop}/totals", get(operations::totals))
        .route("/shops/{shop}/mail", get(mails::get_settings).put(mails::put_settings))
        .route("/shops/{shop}/mails", get(mails::list))
        .route("/shops/{shop}/mails/{seq}", get(mails::get))
        .route("/shops/{shop}/mails/{seq}/resend", post(mails::resend))
        .merge(of_webhooks())
        .route_layer(middleware::from_fn_with_state(state.clone(), known_shops::require_shop));
    let v1 = Router::new()
        .route("/event-types", get(webhooks::list_event_types))
        .route("/shops", get(shops::list_all))
        .route("/shops/{shop}", get(shops::get).put(shops::put))
        .merge(of_shop)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn(position::carry_positions))
        .layer(middleware::from_fn_with_state(state.clone(), admission::limit_concurrency))
        .layer(middleware::from_fn_with_state(state.clone(), admission::authenticate));
    // The last layer is the outermost.
    Router::new()
        .nest("/v1", v1)
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .merge(shown.unwrap_or_default())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(RequestBodyTimeoutLayer::new(state.limits.body_read_timeout))
        .layer(CatchPanicLayer::custom(layers::answer_panic))
        .layer(middleware::from_fn_with_state(state.clone(), layers::time_out))
        .layer(middleware::from_fn(trace::trace_request))
        .layer(middleware::from_fn(metrics::measure))
        .with_state(state)
}

fn of_webhooks() -> Router<Arc<AppState>> {
    use webhooks as of;
    let endpoint = Router::new()
        .route("/", get(of::get).patch(of::patch).delete(of::delete))
        .route("/disable", post(of::disable))
        .route("/enable", post(of::enable))
        .route("/rotate-secret", post(of::rotate_secret))
        .route("/test", post(of::test))
        .route("/deliveries", get(of::list_deliveries))
        .route("/deliveries/{seq}", get(of::get_delivery))
        .route("/deliveries/{seq}/resend", post(of::resend))
        .route("/deliveries/{seq}/abort", post(of::abort))
        .route("/replays", get(of::list_replays).post(of::replay))
        .route("/replays/{replay_id}", get(of::show_replay))
        .route("/replays/{replay_id}/cancel", post(of::cancel_replay))
        .route("/proof", get(of::proof));
    Router::new()
        .route("/shops/{shop}/webhook-endpoints", get(of::list).post(of::post))
        .nest("/shops/{shop}/webhook-endpoints/{endpoint_id}", endpoint)
}

async fn no_route(OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!("there is no route {}: docs/http.md lists all", uri.path());
    Problem::new(Code::NotFound, detail)
}

async fn no_method(method: Method) -> Problem {
    let detail = format!("the route has no method {method}: the header Allow lists those it has");
    Problem::new(Code::MethodNotAllowed, detail)
}

#[cfg(test)]
mod tests;
