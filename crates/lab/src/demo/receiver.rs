//! A receiver of webhooks, as an integrator would write it: it verifies each delivery, notes which it has,
//! and so can prove that nothing is missing.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::body::{Body, Bytes, to_bytes};
use client::webhooks::{SequenceCheck, Verifier};
use hyper::{
    Request, Response, StatusCode, body::Incoming, header::HeaderMap, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

/// The longest body of a delivery, in bytes: more than there is.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// How long a slow receiver takes for each delivery.
const SLOW: Duration = Duration::from_millis(50);
/// A flaky receiver answers one of so many requests with 503.
const UNAVAILABLE_IN: u64 = 31;
/// Of one of so many it drops the connection, when it has handled the delivery: so that comes again.
const DROPPED_IN: u64 = 47;

/// How a receiver behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It takes everything at once.
    Healthy,
    /// Now and then it answers 503, or drops the connection.
    Flaky,
    /// It takes its time.
    Slow,
}

/// What a receiver has.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// The requests.
    pub requests: u64,
    /// Those whose signature is right.
    pub verified: u64,
    /// Those that it turned away, or whose answer it lost.
    pub failed: u64,
    /// Deliveries that came again, by their `webhook-id`.
    pub repeated: u64,
    /// Which deliveries it has, by their `endpoint_seq`.
    pub sequence: SequenceCheck,
    /// Requests that could not be verified, or that no sender should send.
    pub wrong: Vec<String>,
    ids: HashSet<String>,
}

/// A receiver on this machine.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    /// None until the secret is known.
    verifier: Mutex<Option<Verifier>>,
    received: Mutex<Received>,
}

impl Receiver {
    /// Starts one on a free port.
    pub async fn start(behaviour: Behaviour) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for webhooks")?;
        let address = listener.local_addr()?;
        let (verifier, received) = (Mutex::default(), Mutex::default());
        let state = Arc::new(State { behaviour, verifier, received });
        let serving = tokio::spawn(accept(listener, state.clone()));
        Ok(Self { address, state, serving })
    }

    /// Where it takes deliveries.
    pub fn url(&self) -> String {
        format!("http://{}/webhooks", self.address)
    }

    /// From now on it verifies by this secret.
    pub fn take_secret(&self, secret: &str) -> Result<()> {
        *lock(&self.state.verifier) = Some(Verifier::new(secret).context("read the secret")?);
        Ok(())
    }

    /// What it has by now.
    pub fn received(&self) -> Received {
        lock(&self.state.received).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // It ends with the demo, at the latest.
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, state.clone()));
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(|request| answer(request, state.clone()));
    // It fails when the connection is dropped, which is meant, or when the sender goes.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An error drops the connection without an answer.
async fn answer(request: Request<Incoming>, state: Arc<State>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), MAX_BODY_BYTES).await.map_err(io::Error::other)?;
    if state.behaviour == Behaviour::Slow {
        sleep(SLOW).await;
    }
    let status = state.receive(&head.headers, &body)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    Ok(response)
}

impl State {
    fn receive(&self, headers: &HeaderMap, body: &Bytes) -> io::Result<StatusCode> {
        let verified = match &*lock(&self.verifier) {
            Some(verifier) => verifier.verify(headers, body),
            None => return Ok(StatusCode::SERVICE_UNAVAILABLE),
        };
        let mut received = lock(&self.received);
        received.requests += 1;
        let is_flaky = self.behaviour == Behaviour::Flaky;
        let is_one_in = |many: u64| is_flaky && received.requests.is_multiple_of(many);
        let (is_unavailable, is_dropped) = (is_one_in(UNAVAILABLE_IN), is_one_in(DROPPED_IN));
        let delivery = match verified {
            Ok(delivery) => delivery,
            Err(error) => {
                received.wrong.push(error.to_string());
                return Ok(StatusCode::BAD_REQUEST);
            }
        };
        received.verified += 1;
        received.failed += u64::from(is_unavailable || is_dropped);
        if is_unavailable {
            return Ok(StatusCode::SERVICE_UNAVAILABLE);
        }
        let seq = delivery.meta.endpoint_seq;
        let is_new = received.ids.insert(delivery.id);
        received.repeated += u64::from(!is_new);
        let arrival = received.sequence.record(seq);
        if is_new == (arrival == client::webhooks::Arrival::Duplicate) {
            received
                .wrong
                .push(format!("the delivery {seq} came with another id, or its id twice"));
        }
        if is_dropped {
            return Err(io::Error::other("the connection is dropped"));
        }
        Ok(StatusCode::NO_CONTENT)
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
