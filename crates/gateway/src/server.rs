//! The connections: how many there may be, and how long each may keep the gateway waiting.
//!
//! | a client that | is given up after |
//! |---|---|
//! | does not complete the handshake of TLS | `tls_handshake_timeout` |
//! | sends no first request, or the head of any slowly | `header_read_timeout` |
//! | sends no further request | `keep_alive_timeout` |
//! | does not receive the response | `write_timeout` |
//!
//! The layers of the router do the rest: `body_read_timeout` and `request_timeout`. A head that has too many headers, or is
//! too long, is answered 431 here, and does not come to the router.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    head_timeout::{HeadTimeout, LastOfRequest, Observed},
    limits::Limits,
    write_timeout::WriteTimeout,
};

/// The pause after the operating system refused a connection, which it does when the process has
/// too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_secs(1);
/// The most headers of a request. One with more is answered 431.
const MAX_HEADERS: usize = 100;
/// The longest head of a request: the line of the request and the headers. A longer one is answered 431.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Serves until `shutdown`, and then what has begun: with TLS if there is an acceptor. Dropping this closes
/// all connections.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: &Limits,
    shutdown: CancellationToken,
) {
    let close = CancellationToken::new();
    let _close_on_drop = close.clone().drop_guard();
    let slots = Arc::new(Semaphore::new(limits.max_connections));
    let connections = TaskTracker::new();
    while let Some((stream, slot)) = shutdown.run_until_cancelled(accept(&listener, &slots)).await {
        let (tls, router) = (tls.clone(), router.clone());
        let connection = serve_connection(stream, tls, router, limits.clone(), shutdown.clone());
        let close = close.clone();
        connections.spawn(async move {
            close.run_until_cancelled(connection).await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Takes the next connection. At the limit, further ones wait in the queue of the operating system.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there always is a permit.
    let slot = slots.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(error) => {
                warn!(%error, "cannot accept a connection; has the process too many open files?");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Runs in a task of its own, the handshake included: no client holds up the next one.
async fn serve_connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        warn!(%error, "responses on a connection may be delayed");
    }
    let Some(tls) = tls else { return serve_requests(stream, router, limits, shutdown).await };
    let handshake = timeout(limits.tls_handshake_timeout, tls.accept(stream));
    match shutdown.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) => serve_requests(stream, router, limits, shutdown).await,
        Some(Ok(Err(error))) => debug!(%error, "a handshake of TLS failed"),
        Some(Err(_)) => debug!("a handshake of TLS took too long"),
        None => {}
    }
}

async fn serve_requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let head = HeadTimeout::new();
    let stream = Observed::new(WriteTimeout::new(stream, limits.write_timeout), head.clone());
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        let in_request = head.begin_request();
        let response = router.call(request);
        async move {
            let response = response.await?;
            Ok::<_, Infallible>(response.map(|body| LastOfRequest::new(body, in_request)))
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD_BYTES)
            // hyper counts from the response before to the end of the next head.
            .header_read_timeout(limits.keep_alive_timeout)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut head_timeout = pin!(head.clone().until_over(limits.header_read_timeout));
    let mut drains = false;
    // hyper keeps its progress in `connection`: polling it again after another branch loses nothing.
    loop {
        tokio::select! {
            served = connection.as_mut() => {
                if let Err(error) = served {
                    debug!(%error, "a connection failed");
                }
                return;
            }
            () = head_timeout.as_mut() => return,
            () = shutdown.cancelled(), if !drains => {
                drains = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

#[cfg(test)]
mod tests;
