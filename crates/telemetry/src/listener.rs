//! `GET /metrics` for processes that run no gateway, on a thread with a small runtime of its own: it
//! answers when the process is busy or stuck, which is when somebody looks.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, thread, time::Duration};

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

use crate::{Error, Metrics};

/// The text format of Prometheus.
const CONTENT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

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

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Where it listens, if it does.
    pub(crate) address: Option<SocketAddr>,
    _stop: oneshot::Sender<Infallible>,
}

/// Starts the thread. It listens if there is an address; it compacts the metrics anyway.
pub(crate) fn start(address: Option<SocketAddr>, metrics: Metrics) -> Result<Listener, Error> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let listener = address.map(|address| bind(&runtime, address)).transpose()?;
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let (stop, stopped) = oneshot::channel();
    let run = move || {
        runtime.block_on(async {
            tokio::select! {
                // The sender is only ever dropped.
                _ = stopped => {}
                () = compact(&metrics) => {}
                () = serve(listener, &metrics) => {}
            }
        });
    };
    thread::Builder::new().name("metrics".to_owned()).spawn(run).map_err(Error::Thread)?;
    Ok(Listener { address, _stop: stop })
}

fn bind(runtime: &Runtime, address: SocketAddr) -> Result<TcpListener, Error> {
    let bind = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let _entered = runtime.enter();
        TcpListener::from_std(listener)
    };
    bind().map_err(|source| Error::Listen { address, source })
}

async fn compact(metrics: &Metrics) {
    let mut ticks = interval(COMPACT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.compact();
    }
}

async fn serve(listener: Option<TcpListener>, metrics: &Metrics) {
    let Some(listener) = listener else { return std::future::pending().await };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Never closed.
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((connection, _)) => {
                let answering = answer_all(connection, metrics.clone());
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

async fn answer_all(connection: TcpStream, metrics: Metrics) {
    let service = service_fn(move |request| {
        let response = answer(&request, &metrics);
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

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, body) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => (StatusCode::OK, metrics.render()),
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "only /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, CONTENT);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
