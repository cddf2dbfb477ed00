//! A private nats-server for each test.

use std::{
    path::PathBuf,
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{
    ConnectOptions, HeaderMap, Request, ServerAddr,
    jetstream::{self, stream},
};
use engine::server::{Server, Users};
use prost::bytes;
use protocol::subject::AGGREGATE_HEADER;
use tempfile::TempDir;
use tracing_subscriber::EnvFilter;

use crate::SmallDisk;

/// The script that finds a nats-server, or installs one.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/nats-server");

/// The most messages that are written at once.
const MAX_BATCH: usize = 500;
/// How long the server may take to store as many.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);

/// A nats-server on free ports with a folder of its own; both are gone when it is dropped.
#[derive(Debug)]
pub struct TestServer {
    server: Server,
    disk: Option<SmallDisk>,
    _folder: TempDir,
}

/// The options of a connection to an address, with its user and password where it names them.
pub(crate) fn connect_options(url: &str) -> ConnectOptions {
    let address: ServerAddr = url.parse().expect("it is an address");
    match (address.username(), address.password()) {
        (Some(user), Some(password)) => {
            ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
        }
        _ => ConnectOptions::new(),
    }
}

impl TestServer {
    /// Starts a server that fsyncs before it acknowledges; returns when it answers.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts a server with settings of JetStream beside the usual, such as `max_file: 1GB`.
    pub async fn start_with(settings: &str) -> Self {
        show_logs();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let server = Server::start(nats_server(), folder.path(), settings).await;
        Self { server: server.expect("nats-server starts"), disk: None, _folder: folder }
    }

    /// Starts a server that lets in these users alone.
    pub async fn start_with_users(users: Users) -> Self {
        show_logs();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let server = Server::start_with_users(nats_server(), folder.path(), "", Some(users)).await;
        Self { server: server.expect("nats-server starts"), disk: None, _folder: folder }
    }

    /// Starts a server whose store is on a disk of its own of so many megabytes; `None` where that
    /// cannot be had. It has no limit of its own that is smaller.
    pub async fn start_on_small_disk(megabytes: u32) -> Option<Self> {
        show_logs();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let disk = SmallDisk::mount(&folder.path().join("jetstream"), megabytes)?;
        let server = Server::start(nats_server(), folder.path(), "max_file: 1TB").await;
        let server = server.expect("nats-server starts");
        Some(Self { server, disk: Some(disk), _folder: folder })
    }

    /// The disk of the store, of a server that has one of its own.
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("it was started on a small disk")
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The address for a user.
    pub fn url_of(&self, user: &str) -> String {
        self.server.url_of(user)
    }

    /// The address of the monitor.
    pub fn monitor_url(&self) -> String {
        self.server.monitor_url()
    }

    /// Kills the server, as a power failure would.
    pub async fn kill(&mut self) {
        self.server.kill().await;
    }

    /// Starts it again after [`TestServer::kill`]: the same address, the same data.
    pub async fn start_again(&mut self) {
        self.server.start_again().await.expect("nats-server starts again");
    }

    /// A connection of the test's own, to write or read what no engine would: that of an operator, where
    /// there are users.
    pub async fn jetstream(&self) -> jetstream::Context {
        let url = self.url_of("operator");
        let client =
            connect_options(&url).connect(&url).await.expect("nats-server takes connections");
        jetstream::new(client)
    }
}

impl TestServer {
    /// Writes a message as no engine would: any bytes, no id. Returns its sequence.
    pub async fn write(&self, subject: &str, aggregate: &str, payload: Vec<u8>) -> u64 {
        let mut headers = HeaderMap::new();
        headers.insert(AGGREGATE_HEADER, aggregate);
        let context = self.jetstream().await;
        let published =
            context.publish_with_headers(subject.to_owned(), headers, payload.into()).await;
        published.expect("it is published").await.expect("it is stored").sequence
    }
}

impl TestServer {
    /// Writes messages to a stream in atomic batches: one by one, thousands take minutes on a busy disk.
    /// Returns the sequence of the last.
    pub async fn write_all(&self, messages: Vec<(String, Vec<u8>)>) -> u64 {
        static BATCHES: AtomicU64 = AtomicU64::new(0);
        let (nats, mut last) = (self.jetstream().await.client(), 0);
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let batch = messages.by_ref().take(MAX_BATCH).collect::<Vec<_>>();
            let id = format!("batch-{}", BATCHES.fetch_add(1, Ordering::Relaxed));
            let count = batch.len();
            for (number, (subject, payload)) in (1..).zip(batch) {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Batch-Id", id.as_str());
                headers.insert("Nats-Batch-Sequence", number.to_string());
                if number < count {
                    let published =
                        nats.publish_with_headers(subject, headers, payload.into()).await;
                    published.expect("it is published");
                    continue;
                }
                headers.insert("Nats-Batch-Commit", "1");
                let request = Request::new().headers(headers).payload(payload.into());
                let request = request.timeout(Some(BATCH_TIMEOUT));
                let answer = nats.send_request(subject, request).await.expect("it is answered");
                let answer = String::from_utf8_lossy(&answer.payload);
                let digits = answer.split_once("\"seq\":").map(|(_, rest)| {
                    rest.chars().take_while(char::is_ascii_digit).collect::<String>()
                });
                let sequence = digits.and_then(|digits| digits.parse().ok());
                last = sequence.unwrap_or_else(|| panic!("it is stored: {answer}"));
            }
        }
        last
    }
}

impl TestServer {
    /// Fills a stream until the server refuses more than its own limit.
    pub async fn fill_to_limit(&self, stream: &str) {
        let context = self.jetstream().await;
        let subjects = vec![stream.to_owned()];
        let config = stream::Config { name: stream.to_owned(), subjects, ..Default::default() };
        context.create_stream(config).await.expect("it is created");
        let payload = bytes::Bytes::from(vec![7; 100_000]);
        loop {
            let sent = context.publish(stream.to_owned(), payload.clone()).await;
            if sent.expect("it is sent").await.is_err() {
                return;
            }
        }
    }

    /// Deletes a stream, with all that it holds.
    pub async fn delete_stream(&self, stream: &str) {
        self.jetstream().await.delete_stream(stream).await.expect("it is deleted");
    }
}

/// Shows what is logged beside a test that fails; `RUST_LOG` says how much of it.
pub(crate) fn show_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Another test of the process may have been here.
    tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init().ok();
}

/// The nats-server to use, looked for once in a process.
pub fn nats_server() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if std::env::var_os("NATS_SERVER").is_some() {
            return Server::find();
        }
        let found = Command::new(SCRIPT).output().expect("scripts/nats-server runs");
        let problem = String::from_utf8_lossy(&found.stderr);
        assert!(found.status.success(), "scripts/nats-server finds none: {problem}");
        String::from_utf8_lossy(&found.stdout).trim().into()
    })
}
