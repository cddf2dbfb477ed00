//! Clients that are slow, silent or too many, on real connections.

use std::net::SocketAddr;

use axum::{body::Body, routing::get};
use bytes::Bytes;
use futures::stream;
use rustls::{ClientConfig, RootCertStore, pki_types::pem::PemObject};
use testkit::Authority;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::tls::{Certificate, TlsFiles};

const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(50);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n";
/// Far more than the buffers of a connection hold.
const LARGE_RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// Timeouts that no test reaches.
fn patient() -> Limits {
    Limits {
        header_read_timeout: LONG,
        keep_alive_timeout: LONG,
        write_timeout: LONG,
        ..Limits::default()
    }
}

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::start_with(limits, None).await
    }

    async fn start_with(limits: Limits, tls: Option<TlsAcceptor>) -> Self {
        let large = || async {
            let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
            let chunks = LARGE_RESPONSE_BYTES / chunk.len();
            let chunks = stream::iter(vec![Ok::<_, std::convert::Infallible>(chunk); chunks]);
            Body::from_stream(chunks)
        };
        let router = Router::new().route("/", get(|| async { "done" })).route("/large", get(large));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("has an address");
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let serving =
            tokio::spawn(async move { serve(listener, tls, router, &limits, stop).await });
        Self { address, shutdown, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }
}

/// Reads until the server closes the connection.
async fn read_to_close(connection: &mut TcpStream) -> String {
    let mut received = Vec::new();
    match connection.read_to_end(&mut received).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    String::from_utf8_lossy(&received).into_owned()
}

async fn read_response(connection: &mut (impl AsyncRead + Unpin)) {
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\ndone") {
        assert_ne!(connection.read_buf(&mut received).await.expect("it is answered"), 0);
    }
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_cut_off() {
    let server = Server::start(Limits { header_read_timeout: SHORT, ..patient() }).await;
    assert_eq!(read_to_close(&mut server.connect().await).await, "");
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_first_head_is_cut_off() {
    let server = Server::start(Limits { header_read_timeout: SHORT, ..patient() }).await;
    let mut connection = server.connect().await;
    connection.write_all(&REQUEST[..20]).await.expect("it is sent");
    assert_eq!(read_to_close(&mut connection).await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::start(Limits { keep_alive_timeout: SHORT, ..patient() }).await;
    let mut connection = server.connect().await;
    connection.write_all(REQUEST).await.expect("it is sent");
    read_response(&mut connection).await;
    read_to_close(&mut connection).await;
}

#[tokio::test]
async fn a_client_that_does_not_finish_a_later_head_is_cut_off() {
    let server = Server::start(Limits { header_read_timeout: SHORT, ..patient() }).await;
    let mut connection = server.connect().await;
    connection.write_all(REQUEST).await.expect("it is sent");
    read_response(&mut connection).await;
    connection.write_all(&REQUEST[..20]).await.expect("it is sent");
    assert_eq!(read_to_close(&mut connection).await, "");
}

#[tokio::test]
async fn a_later_head_that_came_in_part_with_the_request_before_is_not_waited_for_longer() {
    let server = Server::start(Limits { keep_alive_timeout: SHORT, ..patient() }).await;
    let mut connection = server.connect().await;
    connection.write_all(&[REQUEST, &REQUEST[..20]].concat()).await.expect("it is sent");
    read_response(&mut connection).await;
    read_to_close(&mut connection).await;
}

#[tokio::test]
async fn the_timeout_of_a_head_ends_with_it() {
    let server = Server::start(Limits { header_read_timeout: SHORT, ..patient() }).await;
    let mut connection = server.connect().await;
    connection.write_all(REQUEST).await.expect("it is sent");
    read_response(&mut connection).await;
    sleep(SHORT * 2).await;
    connection.write_all(REQUEST).await.expect("it is sent");
    read_response(&mut connection).await;
}

#[tokio::test]
async fn a_client_that_never_reads_its_response_is_cut_off_and_makes_way_for_the_next() {
    let limits = Limits { max_connections: 1, write_timeout: SHORT, ..patient() };
    let server = Server::start(limits).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it is set");
    let mut silent = socket.connect(server.address).await.expect("it listens");
    silent.write_all(b"GET /large HTTP/1.1\r\nhost: gateway\r\n\r\n").await.expect("it is sent");

    let mut next = server.connect().await;
    next.write_all(REQUEST).await.expect("it is sent");
    read_response(&mut next).await;
    assert!(read_to_close(&mut silent).await.len() < LARGE_RESPONSE_BYTES);
}

#[tokio::test]
async fn a_client_that_reads_receives_a_large_response() {
    let server = Server::start(patient()).await;
    let mut connection = server.connect().await;
    let request = b"GET /large HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n";
    connection.write_all(request).await.expect("it is sent");
    assert!(read_to_close(&mut connection).await.len() > LARGE_RESPONSE_BYTES);
}

#[tokio::test]
async fn a_head_with_too_many_headers_or_bytes_is_refused() {
    let server = Server::start(patient()).await;
    let answer = async |head: String| {
        let mut connection = server.connect().await;
        connection.write_all(head.as_bytes()).await.expect("it is sent");
        let answer = read_to_close(&mut connection).await;
        answer.split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    let begin = "GET / HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n";
    let status = async |headers: String| answer(format!("{begin}{headers}\r\n")).await;
    let headers = |count: usize| "x-name: 1\r\n".repeat(count);
    assert_eq!(status(headers(MAX_HEADERS - 2)).await, "200");
    assert_eq!(status(headers(MAX_HEADERS - 1)).await, "431");
    let long = |length: usize| format!("x-long: {}\r\n", "a".repeat(length));
    assert_eq!(status(long(MAX_HEAD_BYTES - 1_000)).await, "200");
    // That it is too long is seen before its end. Were there more, the client might lose the answer with what nobody reads.
    let endless = format!("{begin}x-long: {}", "a".repeat(MAX_HEAD_BYTES));
    assert_eq!(answer(endless[..MAX_HEAD_BYTES].to_owned()).await, "431");
}

#[tokio::test]
async fn idle_connections_end_with_the_server_and_new_ones_are_refused() {
    let server = Server::start(patient()).await;
    let mut used = server.connect().await;
    used.write_all(REQUEST).await.expect("it is sent");
    read_response(&mut used).await;
    let mut unused = server.connect().await;
    server.shutdown.cancel();
    assert_eq!(read_to_close(&mut used).await, "");
    assert_eq!(read_to_close(&mut unused).await, "");
    server.serving.await.expect("it does not panic");
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// What a gateway takes connections with, and what trusts it.
async fn tls() -> (TlsAcceptor, TlsConnector) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let (certificate, key) = authority.certificate(&["gateway"]);
    let files = TlsFiles {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    std::fs::write(&files.certificate, certificate).expect("it is written");
    std::fs::write(&files.key, key).expect("it is written");
    let certificate = Certificate::read(files).await.expect("is good");
    let mut roots = RootCertStore::empty();
    let root = PemObject::from_pem_slice(authority.pem().as_bytes()).expect("is a certificate");
    roots.add(root).expect("is an authority");
    let client =
        ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
    (certificate.acceptor().expect("the provider has all"), Arc::new(client).into())
}

impl Server {
    async fn connect_with(&self, tls: &TlsConnector) -> TlsStream<TcpStream> {
        let name = "gateway".try_into().expect("is a name");
        tls.connect(name, self.connect().await).await.expect("the handshake succeeds")
    }
}

#[tokio::test]
async fn requests_are_answered_over_tls() {
    let (acceptor, connector) = tls().await;
    let server = Server::start_with(patient(), Some(acceptor)).await;
    let mut connection = server.connect_with(&connector).await;
    for _ in 0..2 {
        connection.write_all(REQUEST).await.expect("it is sent");
        read_response(&mut connection).await;
    }
    // Without TLS there is no answer.
    let mut plain = server.connect().await;
    plain.write_all(REQUEST).await.expect("it is sent");
    assert!(!read_to_close(&mut plain).await.contains("HTTP"));
}

#[tokio::test]
async fn clients_that_stall_in_the_handshake_hold_up_nobody() {
    let (acceptor, connector) = tls().await;
    let limits = Limits { tls_handshake_timeout: LONG, ..patient() };
    let server = Server::start_with(limits, Some(acceptor)).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let mut connection = server.connect().await;
        // The first bytes of a record of the handshake.
        connection.write_all(&[0x16, 0x03, 0x01]).await.expect("it is sent");
        stalled.push(connection);
    }
    let mut connection = server.connect_with(&connector).await;
    connection.write_all(REQUEST).await.expect("it is sent");
    read_response(&mut connection).await;
    // Nor do they hold up the end of the server.
    server.shutdown.cancel();
    server.serving.await.expect("it does not panic");
}

#[tokio::test]
async fn a_client_that_stalls_in_the_handshake_is_cut_off() {
    let (acceptor, _) = tls().await;
    let limits = Limits { tls_handshake_timeout: SHORT, ..patient() };
    let server = Server::start_with(limits, Some(acceptor)).await;
    let mut connection = server.connect().await;
    connection.write_all(&[0x16, 0x03, 0x01]).await.expect("it is sent");
    assert_eq!(read_to_close(&mut connection).await, "");
}

#[tokio::test]
async fn a_client_that_does_not_receive_is_cut_off_over_tls_too() {
    let (acceptor, connector) = tls().await;
    let limits = Limits { write_timeout: SHORT, ..patient() };
    let server = Server::start_with(limits, Some(acceptor)).await;
    let mut connection = server.connect_with(&connector).await;
    let request = b"GET /large HTTP/1.1\r\nhost: gateway\r\n\r\n";
    connection.write_all(request).await.expect("it is sent");
    server.shutdown.cancel();
    server.serving.await.expect("it ends, since the connection does");
    let mut received = Vec::new();
    connection.read_to_end(&mut received).await.ok();
    assert!(received.len() < LARGE_RESPONSE_BYTES);
}
