//! A private nats-server for each test.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use async_nats::{HeaderMap, jetstream};
use engine::server::Server;
use protocol::subject::AGGREGATE_HEADER;
use tempfile::TempDir;
use tracing_subscriber::EnvFilter;

/// The script that finds a nats-server, or installs one.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/nats-server");

/// A nats-server on free ports with a folder of its own; both are gone when it is dropped.
#[derive(Debug)]
pub struct TestServer {
    server: Server,
    _folder: TempDir,
}

impl TestServer {
    /// Starts a server that fsyncs before it acknowledges; returns when it answers.
    pub async fn start() -> Self {
        show_logs();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let server =
            Server::start(nats_server(), folder.path(), "").await.expect("nats-server starts");
        Self { server, _folder: folder }
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        self.server.url()
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

    /// A connection of the test's own, to write or read what no engine would.
    pub async fn jetstream(&self) -> jetstream::Context {
        let client = async_nats::connect(self.url()).await.expect("nats-server takes connections");
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
