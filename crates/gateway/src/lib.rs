//! The gateway: the only door into the system. It lets callers in, reads what they want, writes it
//! into the inbox as a command, waits for the service's answer and says it in HTTP. It decides
//! nothing and stores nothing.
//!
//! ```text
//! request ─► trace ─► extract::admit ─► products │ inventory │ orders │ totals
//!            (id,     (key, slots)      read the body: fields over json (all errors at once)
//!            span)                      send, ask, watch: door ─► engine::Client
//! response ◄────────────────────────────┘ JSON, or a problem
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | `trace` | what surrounds every request: id, trace context, span, time limit |
//! | `extract` | the parts of a request apart from its body: key, shop, idempotency, preferences |
//! | `body`, `json`, `fields` | a body's bytes, its JSON, its fields with every error named |
//! | `door` | the way to the services, and what their outcomes mean to a caller |
//! | `problem` | what went wrong, by RFC 9457 |
//! | `products`, `inventory`, `orders`, `totals`, `health` | the routes |
//! | `bulk`, `lines` | uploads of many lines, in chunks |
//!
//! To add a route: write its handler in the module of its resource, read its body with `fields`,
//! send or ask through `Door`, and name it in `routes` below.

mod body;
mod bulk;
mod door;
mod extract;
mod fields;
mod health;
mod inventory;
mod json;
mod lines;
mod orders;
mod problem;
mod products;
mod totals;
mod trace;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{
    Router,
    extract::OriginalUri,
    http::Method,
    middleware,
    routing::{get, post},
    serve::ListenerExt,
};
use engine::Engine;
use tokio::{net::TcpListener, sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    door::Door,
    problem::{Code, Problem},
};

/// The part of a drain for which answers are still waited for; the rest is for telling it.
const WAITING_SHARE: f64 = 0.75;

/// How the gateway runs.
#[derive(Clone)]
pub struct Settings {
    /// Where it listens; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// The key that callers must have.
    pub api_key: String,
    /// How long it waits for a service's answer before it says 202 Accepted.
    pub answer_within: Duration,
    /// How long requests may go on after the shutdown: what is not answered by then is said to be
    /// pending, or cut off.
    pub drain_within: Duration,
}

/// The time that an answer may take unless it is said otherwise.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("api_key", &"(hidden)")
            .field("answer_within", &self.answer_within)
            .field("drain_within", &self.drain_within)
            .finish()
    }
}

/// Serves until `shutdown`, and then what has begun. `bound` is told the address once it listens.
pub async fn run(
    engine: &Engine,
    settings: Settings,
    shutdown: CancellationToken,
    bound: Option<oneshot::Sender<SocketAddr>>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("listen on {}; is the port taken?", settings.listen))?;
    let address = listener.local_addr().context("read the address that is listened on")?;
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            warn!(%error, "answers on a connection may be delayed");
        }
    });
    let client = engine.client();
    let door = Door::new(move || client.clone(), &settings, shutdown.clone());
    let waits = door.waits.clone();
    let serving = axum::serve(listener, routes(Arc::new(door)))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned());

    info!(%address, "the gateway listens");
    if let Some(bound) = bound {
        bound.send(address).ok();
    }
    let drained = async {
        shutdown.cancelled().await;
        let waiting = settings.drain_within.mul_f64(WAITING_SHARE);
        sleep(waiting).await;
        waits.cancel();
        sleep(settings.drain_within.saturating_sub(waiting)).await;
    };
    tokio::select! {
        served = serving => served.context("serve HTTP")?,
        () = drained => warn!("requests are cut off: they took longer than the drain may"),
    }
    Ok(())
}

fn routes(door: Arc<Door>) -> Router {
    let v1 = Router::new()
        .route("/shops/{shop}/products", get(products::list).post(products::post))
        .route("/shops/{shop}/products/{sku}", get(products::get).put(products::put))
        .route("/shops/{shop}/inventory", get(inventory::list).post(inventory::post))
        .route("/shops/{shop}/inventory/{sku}", get(inventory::get))
        .route("/shops/{shop}/orders", get(orders::find).post(orders::post))
        .route("/shops/{shop}/orders/{id}", get(orders::get))
        .route("/shops/{shop}/orders/{id}/history", get(orders::history))
        .route("/shops/{shop}/orders/{id}/cancel", post(orders::cancel))
        .route("/shops/{shop}/totals", get(totals::get))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(door.clone(), extract::admit));
    Router::new()
        .nest("/v1", v1)
        .route("/healthz", get(health::up))
        .route("/readyz", get(health::ready))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn(trace::surround))
        .with_state(door)
}

async fn no_route(OriginalUri(uri): OriginalUri) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("nothing is at {}: docs/http.md lists what is", uri.path()),
    )
}

async fn no_method(method: Method) -> Problem {
    let detail = format!("{method} does not apply here: the header Allow names what does");
    Problem::new(Code::MethodNotAllowed, detail)
}

#[cfg(test)]
mod tests;
