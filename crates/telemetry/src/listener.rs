//! `GET /metrics`, `/healthz` and `/readyz` of a process, with a gateway or without, on a thread with a small
//! runtime of its own: it answers when the process is busy or stuck, which is when somebody looks.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::{Semaphore, oneshot},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{debug, warn};

use crate::{Error, Metrics, MetricsListen};

/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text of a refusal.
const TEXT: &str = "text/plain; charset=utf-8";

/// The most connections at a time; others wait.
const MAX_CONNECTIONS: usize = 16;

/// How long a connection may take to send the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last: a client that does not read is cut off.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait after a connection could not be accepted, such as for want of descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(200);

/// How often what was observed is compacted, whether anybody asks for it or not.
const COMPACT_INTERVAL: Duration = Duration::from_secs(5);

/// An answer about the health of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthAnswer {
    /// The status code.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The document.
    pub body: String,
}

/// What the process answers about its health. Neither may block: the process may be stuck.
pub struct HealthSource {
    /// Answers `GET /healthz`: whether the process runs.
    pub healthz: Box<dyn Fn() -> HealthAnswer + Send + Sync>,
    /// Answers `GET /readyz`: whether it can do its work.
    pub readyz: Box<dyn Fn() -> HealthAnswer + Send + Sync>,
}

impl fmt::Debug for HealthSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HealthSource")
    }
}

/// What the thread shows.
#[derive(Debug, Clone)]
struct Shown {
    metrics: Metrics,
    /// Empty until the process has said what it answers.
    health: Arc<OnceLock<HealthSource>>,
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Where it listens, if it does.
    pub(crate) address: Option<SocketAddr>,
    /// Why it does not listen at an address that it would have had if that was free.
    pub(crate) not_free: Option<(SocketAddr, io::Error)>,
    /// What it answers about the health of the process.
    pub(crate) health: Arc<OnceLock<HealthSource>>,
    _stop: oneshot::Sender<Infallible>,
}

/// Starts the thread. It listens if there is an address; it compacts the metrics anyway.
pub(crate) fn start(listen: MetricsListen, metrics: Metrics) -> Result<Listener, Error> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let (listener, not_free) = match listen {
        MetricsListen::Off => (None, None),
        MetricsListen::At(address) => {
            let bound = bind(&runtime, address);
            (Some(bound.map_err(|source| Error::Listen { address, source })?), None)
        }
        MetricsListen::AtIfFree(address) => match bind(&runtime, address) {
            Ok(listener) => (Some(listener), None),
            Err(error) => (None, Some((address, error))),
        },
    };
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let health = Arc::default();
    let shown = Shown { metrics, health: Arc::clone(&health) };
    let (stop, stopped) = oneshot::channel();
    let run = move || {
        runtime.block_on(async {
            tokio::select! {
                // The sender is only ever dropped.
                _ = stopped => {}
                () = compact(&shown.metrics) => {}
                () = serve(listener, &shown) => {}
            }
        });
    };
    thread::Builder::new().name("metrics".to_owned()).spawn(run).map_err(Error::Thread)?;
    Ok(Listener { address, not_free, health, _stop: stop })
}

fn bind(runtime: &Runtime, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let _entered = runtime.enter();
    TcpListener::from_std(listener)
}

async fn compact(metrics: &Metrics) {
    let mut ticks = interval(COMPACT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.compact();
    }
}

async fn serve(listener: Option<TcpListener>, shown: &Shown) {
    let Some(listener) = listener else { return std::future::pending().await };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Never closed.
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((connection, _)) => {
                let answering = answer_all(connection, shown.clone());
                tokio::spawn(async move {
                    if timeout(CONNECTION_TIMEOUT, answering).await.is_err() {
                        debug!("a connection for /metrics is cut off: it lasted too long");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "a connection for /metrics was not accepted");
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn answer_all(connection: TcpStream, shown: Shown) {
    let service = service_fn(move |request| {
        let response = answer(&request, &shown);
        async move { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        // One request a connection: a scrape comes every few seconds.
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), service);
    if let Err(error) = serving.await {
        debug!(%error, "a connection for /metrics failed");
    }
}

fn answer(request: &Request<Incoming>, shown: &Shown) -> Response<Full<Bytes>> {
    let text = |status, body| respond(status, TEXT, body);
    let health = shown.health.get();
    let answered = match (request.uri().path(), health) {
        ("/metrics", _) => respond(StatusCode::OK, METRICS, shown.metrics.render()),
        ("/healthz", Some(health)) => respond_of((health.healthz)()),
        ("/readyz", Some(health)) => respond_of((health.readyz)()),
        _ => {
            return text(StatusCode::NOT_FOUND, "only /metrics, /healthz and /readyz\n".to_owned());
        }
    };
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return answered;
    }
    let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    refused
}

fn respond_of(HealthAnswer { status, content_type, body }: HealthAnswer) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status, content_type, body)
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
