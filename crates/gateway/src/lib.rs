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
//! | `tls` | the certificate, which is read again while the gateway runs |
//! | `trace`, `layers` | what surrounds every request: id, trace context, span, time limit, panics |
//! | `admission` | which requests are handled |
//! | `known_shops` | which shops there are |
//! | `limits` | how many requests are handled at once, and how long a client is waited for |
//! | `jwt` | bearer tokens of an external issuer, and its keys |
//! | `rate` | how many requests a second a key may send, and a shop takes |
//! | `api_key`, `managed_keys`, `key_text`, `key_use`, `key_reports` | the keys of the settings, and those that the installation has made: their text, and when they were used |
//! | `recheck` | what is known of shops and keys, for as long as it may be relied on |
//! | `position` | how much of the logs a client has seen: it reads what it wrote, through any gateway |
//! | `request` | what a request has in common with all others, and the commands that follow from it |
//! | `extract` | the parts of a request besides its body: shop, idempotency key, preferences |
//! | `cursors` | where the next page of a list begins |
//! | `body`, `json`, `fields` | the bytes of a body, its JSON, its fields with all errors |
//! | `sealing` | personal data: sealed before it enters the inbox, and opened for those who may read it |
//! | `routes` | which handler answers what, inside which layers |
//! | `openapi` | the description of the API, made of the routes |
//! | `state`, `services` | what the handlers share; requests to the services |
//! | `accepted` | the response for a command that was not answered in time |
//! | `precondition`, `not_modified` | `ETag`, `If-Match` and `If-None-Match`: of writes, and of reads |
//! | `cors`, `compression` | what browsers ask before a request of another site, and answers compressed by gzip |
//! | `problem` | the problem documents of RFC 9457 |
//! | `feed` | all events of a shop |
//! | `shops`, `keys`, `products`, `inventory`, `rejections`, `connectors`, `locations`, `orders`, `payments`, `webhooks`, `mails`, `commands`, `operations` | the routes |
//! | `ingest` | the lines of ERP connectors by NATS |
//! | `readiness` | what `/readyz` reports |
//! | `metrics` | what is measured of requests |
//! | `bulk`, `lines` | uploads of many lines, in chunks |
//!
//! `routes` says how a route is added.

mod accepted;
mod admission;
mod api_key;
mod body;
mod bulk;
mod categories;
mod commands;
mod compression;
mod connectors;
mod cors;
mod cursors;
mod extract;
mod feed;
mod fields;
mod head_timeout;
mod history;
pub mod ingest;
mod inventory;
mod json;
mod jwt;
mod key_reports;
mod key_text;
mod key_use;
mod keys;
mod known_shops;
mod layers;
mod limits;
mod lines;
mod listings;
mod locations;
mod mails;
mod managed_keys;
pub mod metrics;
mod not_modified;
mod openapi;
mod operations;
mod orders;
mod payments;
mod position;
mod precondition;
mod problem;
mod products;
mod rate;
mod readiness;
mod recheck;
mod rejections;
mod request;
mod routes;
mod sealing;
mod server;
mod services;
mod shops;
mod state;
mod tls;
mod trace;
mod view;
mod webhooks;
mod write_timeout;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use engine::{Clock, Engine};
use person_keys::PersonKeys;
use tokio::{net::TcpListener, sync::oneshot, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{info, warn};
use webhook_http::Policy;

pub use crate::{
    api_key::{ApiKeyError, ApiKeySetting, MIN_API_KEY_LENGTH, Scope},
    cors::{CorsOrigins, OriginError},
    jwt::{JwtSettings, JwtSetupError},
    limits::{Limits, NoRateLimit, RateLimit},
    operations::HealthAnswer,
    readiness::{PartitionState, PartitionStatus, Readiness, ReadinessSource},
    routes::openapi_document,
    tls::{TlsError, TlsFiles},
};
use crate::{routes::routes, state::AppState, tls::Certificate};

/// The part of a drain for which answers are still waited for. The rest is for sending responses.
const DRAIN_WAIT_SHARE: f64 = 0.75;

/// How the gateway runs.
#[derive(Clone)]
pub struct Settings {
    /// Where it listens; port 0 selects any free one.
    pub listen: SocketAddr,
    /// The certificate with which it speaks TLS; without one it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether it may speak plain HTTP where other machines can reach it: when what is in front of it speaks TLS.
    pub allow_plain_http: bool,
    /// The keys of which clients must have one: at least [`MIN_API_KEY_LENGTH`] characters, unless it
    /// listens on a loopback address.
    pub api_keys: Vec<ApiKeySetting>,
    /// Whose tokens are taken besides; `None`: nobody's.
    pub jwt: Option<JwtSettings>,
    /// How long it waits for a service's answer before it responds with 202 Accepted.
    pub answer_timeout: Duration,
    /// How long requests may go on after the shutdown. Those that are not answered by then get 202
    /// Accepted, or their connection is closed.
    pub drain_timeout: Duration,
    /// Limits of requests and connections.
    pub limits: Limits,
    /// What `/readyz` reports about the services of this process.
    pub readiness: ReadinessSource,
    /// The keys with which personal data is sealed; without them, requests with such data are refused.
    pub person_keys: Option<PersonKeys>,
    /// What webhooks may be sent to.
    pub webhooks: Policy,
    /// The origins whose pages may use the API from a browser; without it, none.
    pub cors_origins: Option<CorsOrigins>,
    /// The present.
    pub clock: Clock,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key shows as `[REDACTED]`.
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("tls", &self.tls)
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
    let state = state.context("check who may send requests")?;
    let _fetching =
        state.jwt.clone().map(|jwt| AbortOnDropHandle::new(tokio::spawn(jwt.keep_fetching())));
    let stop_waiting = state.services.stop_waiting.clone();
    let certificate = if let Some(files) = &settings.tls {
        Some(Certificate::read(files.clone()).await.context("prepare TLS")?)
    } else {
        refuse_plain_http(&settings)?;
        None
    };
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("listen on {}; is the port in use?", settings.listen))?;
    let address = listener.local_addr().context("read the address of the listener")?;
    let state = Arc::new(state);
    let _reporting = AbortOnDropHandle::new(tokio::spawn(key_reports::report(state.clone())));
    let ingest = ingest::routes(state.clone());
    let ingesting = ingest::serve(engine.client(), ingest, shutdown.clone());
    let routes = routes(state);
    let tls = certificate.as_ref().map(Certificate::acceptor).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let serving = server::serve(listener, tls, routes, &settings.limits, shutdown.clone());
    let all = async { tokio::join!(serving, ingesting).1 };
    let _reading = certificate
        .map(|it| AbortOnDropHandle::new(tokio::spawn(it.keep_reading(tls::RELOAD_INTERVAL))));

    info!(%address, scheme, "the gateway listens");
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
        ingested = all => ingested.context("take the messages of ERP connectors")?,
        () = drain_timeout => warn!("connections are closed: their requests exceed the drain timeout"),
    }
    Ok(())
}

/// Refuses to take keys and personal data in the clear from other machines.
fn refuse_plain_http(settings: &Settings) -> anyhow::Result<()> {
    let listen = settings.listen;
    if listen.ip().is_loopback() || settings.allow_plain_http {
        return Ok(());
    }
    anyhow::bail!(
        "{listen} can be reached from other machines, and API keys and personal data would be sent to it \
         unencrypted: set tls-cert-file and tls-key-file, or listen on 127.0.0.1, or set allow-plain-http \
         where a proxy in front of the gateway speaks TLS"
    )
}

#[cfg(test)]
mod tests;
