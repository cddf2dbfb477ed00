//! A receiver of webhooks that misbehaves as a test wants it.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The pause between two bytes of a body that trickles.
const TRICKLE_INTERVAL: Duration = Duration::from_millis(20);
/// The size of a body that is huge.
const HUGE_BYTES: usize = 1_000_000_000;
/// The size of a piece of it.
const PIECE_BYTES: usize = 64 * 1_024;

/// What a [`Receiver`] does with a request.
#[derive(Clone)]
pub enum Behaviour {
    /// Answers with this status, these headers, and this body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Never answers.
    Hang,
    /// Answers 204 when there is a permit for it.
    Permitted(Arc<Semaphore>),
    /// Answers with this status, and a body that never ends: a byte now and then.
    Trickle(u16),
    /// Answers with this status, and a body of 1 GB.
    Huge(u16),
    /// Closes the connection without an answer.
    Close,
    /// Does what the function says of the request.
    By(Arc<dyn Fn(&Received) -> Behaviour + Send + Sync>),
}

impl Behaviour {
    /// Answers with this status.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), String::new())
    }

    /// Answers with this status and this header.
    pub fn with_header(status: u16, name: &'static str, value: &str) -> Self {
        Self::Answer(status, vec![(name, value.to_owned())], String::new())
    }

    /// Does what the function says of each request.
    pub fn by(decide: impl Fn(&Received) -> Behaviour + Send + Sync + 'static) -> Self {
        Self::By(Arc::new(decide))
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    /// The path, with the query; of a `CONNECT`, host and port.
    pub path: String,
    /// The version of HTTP.
    pub version: Version,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The number of the connection, from 1.
    pub connection: usize,
}

impl Received {
    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("it is text"))
    }
}

/// A receiver on a loopback address, for one test; it stops when it is dropped. It answers 204 until
/// it is to behave otherwise.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    _running: DropGuard,
}

struct State {
    behaviour: Mutex<Behaviour>,
    received: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    shutdown: CancellationToken,
}

impl Receiver {
    /// Starts one on 127.0.0.1, without TLS.
    pub async fn start() -> Self {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), None).await
    }

    /// Starts one on 127.0.0.1, with TLS.
    pub async fn start_with_tls(tls: Arc<ServerConfig>) -> Self {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), Some(tls)).await
    }

    /// Starts one on an address of this machine, with the port that another has on another address.
    pub async fn start_on_port(address: IpAddr, port: u16) -> Self {
        Self::start_on((address, port).into(), None).await
    }

    async fn start_on(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shutdown = CancellationToken::new();
        let state = Arc::new(State {
            behaviour: Mutex::new(Behaviour::status(204)),
            received: Mutex::default(),
            connections: AtomicUsize::new(0),
            shutdown: shutdown.clone(),
        });
        tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), Arc::clone(&state)));
        Self { address, state, _running: shutdown.drop_guard() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL with this path, without TLS.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Behaves so from the next request on.
    pub fn behave(&self, behaviour: Behaviour) {
        *lock(&self.state.behaviour) = behaviour;
    }

    /// The requests that came, in order.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state.received).clone()
    }

    /// The number of requests that came.
    pub fn count(&self) -> usize {
        lock(&self.state.received).len()
    }

    /// The number of connections that were made.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let shutdown = state.shutdown.clone();
    while let Some(Ok((stream, _))) = shutdown.run_until_cancelled(listener.accept()).await {
        // Without it, an answer of two writes waits for an acknowledgement.
        stream.set_nodelay(true).expect("it is a socket");
        let connection = state.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let (state, tls) = (Arc::clone(&state), tls.clone());
        let shutdown = shutdown.clone();
        tokio::spawn(shutdown.run_until_cancelled_owned(async move {
            match tls {
                None => serve(stream, connection, state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, connection, state).await;
                    }
                }
            }
        }));
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    connection: usize,
    state: Arc<State>,
) {
    let service = service_fn(|request| answer(request, connection, Arc::clone(&state)));
    // It fails where the test wants it to, or the sender gives up.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    state: Arc<State>,
) -> io::Result<Response<UnsyncBoxBody<Bytes, Infallible>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
    let received =
        Received { path, version: head.version, headers: head.headers, body, connection };
    let mut behaviour = lock(&state.behaviour).clone();
    if let Behaviour::By(decide) = &behaviour {
        behaviour = decide(&received);
    }
    lock(&state.received).push(received);
    match behaviour {
        Behaviour::Answer(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            let body = Full::new(body.into()).boxed_unsync();
            Ok(response.body(body).expect("status and headers are valid"))
        }
        Behaviour::Trickle(status) => Ok(response(status, trickle())),
        Behaviour::Huge(status) => Ok(response(status, huge())),
        Behaviour::Close => Err(io::Error::other("closed without an answer")),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Permitted(permits) => {
            permits.acquire().await.map_err(io::Error::other)?.forget();
            let response = Response::builder().status(204);
            Ok(response.body(Full::default().boxed_unsync()).expect("it is valid"))
        }
        Behaviour::By(_) => panic!("a function decides on one of the others"),
    }
}

fn response(
    status: u16,
    body: UnsyncBoxBody<Bytes, Infallible>,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    Response::builder().status(status).body(body).expect("the status is valid")
}

fn trickle() -> UnsyncBoxBody<Bytes, Infallible> {
    let bytes = stream::repeat(()).then(|()| async {
        sleep(TRICKLE_INTERVAL).await;
        Ok(Frame::data(Bytes::from_static(b".")))
    });
    BodyExt::boxed_unsync(StreamBody::new(Box::pin(bytes)))
}

fn huge() -> UnsyncBoxBody<Bytes, Infallible> {
    let piece = Bytes::from(vec![b'x'; PIECE_BYTES]);
    let pieces = HUGE_BYTES / PIECE_BYTES;
    let pieces = stream::iter((0..pieces).map(move |_| Ok(Frame::data(piece.clone()))));
    BodyExt::boxed_unsync(StreamBody::new(pieces))
}

/// What a [`RawReceiver`] does with a connection.
#[derive(Debug, Clone, Copy)]
pub enum RawBehaviour {
    /// Reads the beginning of a request, and resets the connection.
    Reset,
    /// Reads the beginning of a request, and answers with something that is neither HTTP nor TLS.
    Garbage,
    /// Never reads and never writes.
    Silent,
}

/// What a server of HTTP/2 says first: that it has no settings, and that it has read those of the client.
const HTTP2_SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

/// A server that does not speak HTTP, or only begins to, on 127.0.0.1, for one test.
pub struct RawReceiver {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _running: DropGuard,
}

impl RawReceiver {
    /// Starts one.
    pub async fn start(behaviour: RawBehaviour) -> Self {
        Self::start_with(move |stream| misbehave(stream, behaviour)).await
    }

    /// Starts one that takes up a connection by HTTP/2 over TLS, and then neither reads nor writes.
    pub async fn start_silent_http2(tls: Arc<ServerConfig>) -> Self {
        let tls = TlsAcceptor::from(tls);
        Self::start_with(move |stream| fall_silent(tls.clone(), stream)).await
    }

    async fn start_with<F>(handle: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shutdown = CancellationToken::new();
        let connections = Arc::new(AtomicUsize::new(0));
        let (stop, counter) = (shutdown.clone(), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                counter.fetch_add(1, Ordering::Relaxed);
                let stop = stop.clone();
                tokio::spawn(stop.run_until_cancelled_owned(handle(stream)));
            }
        });
        Self { address, connections, _running: shutdown.drop_guard() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections that were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn misbehave(mut stream: TcpStream, behaviour: RawBehaviour) {
    let mut buffer = [0; 1_024];
    match behaviour {
        RawBehaviour::Reset => {
            let _ = stream.read(&mut buffer).await;
            stream.set_zero_linger().expect("it is a socket");
        }
        RawBehaviour::Garbage => {
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"\x00\x01 220 not what you expect\r\n\r\n").await;
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        }
        RawBehaviour::Silent => std::future::pending().await,
    }
}

async fn fall_silent(tls: TlsAcceptor, stream: TcpStream) {
    let Ok(mut stream) = tls.accept(stream).await else { return };
    let mut preface = [0; 24];
    let _ = stream.read_exact(&mut preface).await;
    let _ = stream.write_all(HTTP2_SETTINGS).await;
    let _ = stream.flush().await;
    std::future::pending::<()>().await;
}
