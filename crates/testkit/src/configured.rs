//! Servers as the files in nats/ configure them, so that these are known to work.

use std::{fs, future, net::TcpListener, path::Path, process::Stdio, time::Duration};

use async_nats::jetstream;
use futures::StreamExt;
use prost::bytes::Bytes;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::{eventually, nats::show_logs, nats_server};

/// The folder with the files.
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../nats");

/// What the servers of a cluster tell each other.
const ROUTE_PASSWORD: &str = "routes_of_a_test";

/// A nats-server that runs with one of the files; gone when it is dropped.
#[derive(Debug)]
pub struct ConfiguredServer {
    /// What it is called, where its file lets it be.
    pub name: String,
    port: u16,
    monitor_port: u16,
    /// Where the other servers of its cluster connect.
    route_port: Option<u16>,
    command: Command,
    child: Child,
    _store: TempDir,
}

impl ConfiguredServer {
    /// Starts a server with nats/single.conf, but for its ports: others may use those.
    pub async fn single() -> Self {
        let [port, monitor_port] = free_ports();
        let store = store();
        let mut command = command("single.conf", store.path());
        command.args(["--port", &port.to_string(), "--http_port", &monitor_port.to_string()]);
        let child = command.spawn().expect("nats-server starts");
        let name = "tradewind".to_owned();
        let route_port = None;
        let server = Self { name, port, monitor_port, route_port, command, child, _store: store };
        server.is_up().await;
        server
    }

    /// Starts three servers with nats/cluster.conf.
    pub async fn cluster() -> [Self; 3] {
        let ports = free_ports::<9>();
        let of = |server: usize| [0, 1, 2].map(|place| ports[3 * server + place]);
        let servers = [0, 1, 2].map(|index| {
            let [port, monitor_port, route] = of(index);
            let name = format!("nats-{}", index + 1);
            let store = store();
            let mut command = command("cluster.conf", store.path());
            command
                .env("TRADEWIND_NATS_NAME", &name)
                .env("TRADEWIND_NATS_LISTEN", format!("127.0.0.1:{port}"))
                .env("TRADEWIND_NATS_MONITOR", format!("127.0.0.1:{monitor_port}"))
                .env("TRADEWIND_NATS_ROUTE_PASSWORD", ROUTE_PASSWORD)
                .env("TRADEWIND_NATS_ROUTE_LISTEN", format!("127.0.0.1:{route}"));
            for (number, [.., route]) in (1..).zip([0, 1, 2].map(of)) {
                let name = format!("TRADEWIND_NATS_ROUTE_{number}");
                command.env(name, format!("nats://routes:{ROUTE_PASSWORD}@127.0.0.1:{route}"));
            }
            let child = command.spawn().expect("nats-server starts");
            let route_port = Some(route);
            Self { name, port, monitor_port, route_port, command, child, _store: store }
        });
        for server in &servers {
            server.is_up().await;
        }
        servers
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where the other servers of its cluster connect.
    ///
    /// # Panics
    ///
    /// It is alone.
    pub fn route_address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.route_port.expect("it is one of a cluster"))
    }

    /// A connection of the test's own to one of these servers.
    pub async fn jetstream(servers: &[Self]) -> jetstream::Context {
        let urls: Vec<_> = servers.iter().map(Self::url).collect();
        let client = async_nats::connect(urls).await.expect("they take connections");
        jetstream::new(client)
    }

    /// The address of the monitor.
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor_port)
    }

    /// Kills the server, as a power failure would.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it runs");
    }

    /// Starts it again after [`ConfiguredServer::kill`]: the same address, the same data.
    pub async fn start_again(&mut self) {
        self.child = self.command.spawn().expect("nats-server starts");
        self.is_up().await;
    }

    /// Stops the server where it is, as a machine that hangs.
    pub async fn suspend(&self) {
        self.signal("-STOP").await;
    }

    /// Lets it run again after [`ConfiguredServer::suspend`].
    pub async fn resume(&self) {
        self.signal("-CONT").await;
    }

    /// Lets it run for a small part of the time only; never ends. When this is dropped, the server
    /// may be suspended.
    pub async fn slow_down(&self, suspended: Duration, running: Duration) {
        loop {
            self.suspend().await;
            sleep(suspended).await;
            self.resume().await;
            sleep(running).await;
        }
    }

    /// Waits until another server of the cluster leads each stream, and this one has all that the
    /// leader has. `others` are connected to the other servers only.
    pub async fn only_follows(&self, others: &jetstream::Context) {
        eventually("it leads no stream, and has caught up", async || {
            let mut streams = others.streams();
            let mut only_follows = true;
            while let Some(info) = streams.next().await {
                let Ok(info) = info else { return false };
                let Some(cluster) = info.cluster else { return false };
                if cluster.leader.as_ref().is_none_or(|leader| *leader == self.name) {
                    let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{}", info.config.name);
                    others.client().publish(subject, "".into()).await.ok();
                    only_follows = false;
                }
                let is_current = cluster.replicas.iter().all(|replica| replica.current);
                only_follows &= is_current && cluster.replicas.len() == 2;
            }
            only_follows
        })
        .await;
    }

    async fn signal(&self, signal: &str) {
        let process = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([signal, &process]).status().await;
        assert!(sent.expect("kill can be run").success());
    }

    async fn is_up(&self) {
        eventually("the server takes connections", async || {
            async_nats::connect(self.url()).await.is_ok()
        })
        .await;
    }
}

/// Publishes 2,500 messages a second without waiting for them to be stored: more than a server keeps
/// up with that runs for a small part of the time. It publishes for 16 seconds, and never ends.
pub async fn publish_much(
    context: &jetstream::Context,
    subject: &'static str,
    payload: impl Into<Bytes>,
) {
    let (client, payload) = (context.client(), payload.into());
    // A server that lags has to take all of it in the end: the more there is, the longer that takes.
    for _ in 0..800 {
        for _ in 0..50 {
            client.publish(subject, payload.clone()).await.expect("it is sent");
        }
        sleep(Duration::from_millis(20)).await;
    }
    future::pending::<()>().await;
}

fn store() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

fn command(file: &str, store: &Path) -> Command {
    show_logs();
    // Its users and leaf nodes are in files beside it that each installation makes for itself.
    let configuration = store.join(file);
    fs::copy(Path::new(FILES).join(file), &configuration).expect("the file is copied");
    for (name, text) in
        [("users.conf", "# Everybody may connect.\n"), ("leafnodes.conf", "# No leaf node may.\n")]
    {
        fs::write(store.join(name), text).expect("it is written");
    }
    let mut command = Command::new(nats_server());
    command
        .arg("--config")
        .arg(configuration)
        .env("TRADEWIND_NATS_STORE", store)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Ports that nobody listens on now: the files need them, and a cluster's servers each other's.
fn free_ports<const N: usize>() -> [u16; N] {
    let taken = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    taken.map(|listener| listener.local_addr().expect("it has an address").port())
}
