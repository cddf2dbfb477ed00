//! Three nats-servers, as `nats/cluster.conf` configures them, that can be killed and stopped.

use std::{
    collections::HashMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use engine::plain_http;
use futures::future::join_all;
use serde::Deserialize;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// The configuration of each server; what differs comes from the environment.
const CONFIGURATION: &str = include_str!("../../../../nats/cluster.conf");
/// What the servers tell each other. They are on the loopback address, for one run.
const ROUTE_PASSWORD: &str = "routes_of_this_run";
/// How long a monitor may take for an answer; that of a server that hangs gives none.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the streams may be without a leader before a fault.
const LEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(25);
/// The group of all servers, which elects a leader as each stream does. It decides where consumers
/// are created.
pub(super) const META_GROUP: &str = "meta";

/// The number of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server(usize);

/// The servers; they are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: PathBuf,
    ports: [Ports; 3],
    running: [Option<Child>; 3],
    http: reqwest::Client,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    clients: u16,
    monitor: u16,
    routes: u16,
}

/// What a monitor says of the streams (`/jsz`), as far as it matters here.
#[derive(Debug, Deserialize)]
struct Jsz {
    #[serde(default)]
    account_details: Vec<Account>,
    meta_cluster: Option<Group>,
}

#[derive(Debug, Deserialize)]
struct Account {
    #[serde(default)]
    stream_detail: Vec<Stream>,
}

#[derive(Debug, Deserialize)]
struct Stream {
    name: String,
    cluster: Option<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    #[serde(default)]
    leader: String,
}

impl Cluster {
    /// Starts the servers on free ports, with all data in `folder`.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).context("make a folder for the servers")?;
        std::fs::write(folder.join("cluster.conf"), CONFIGURATION)
            .context("write the servers' configuration")?;
        // These are on the loopback address, for this run alone.
        for (name, text) in [
            ("users.conf", "# Everybody may connect.\n"),
            ("leafnodes.conf", "# No leaf node may.\n"),
        ] {
            std::fs::write(folder.join(name), text).context("write the servers' users")?;
        }
        let http = plain_http().timeout(MONITOR_TIMEOUT).build()?;
        let ports = free_ports()?;
        let mut cluster =
            Self { folder: folder.to_owned(), ports, running: [None, None, None], http };
        for server in 0..3 {
            cluster.restart(Server(server))?;
        }
        let deadline = Instant::now() + LEADER_TIMEOUT;
        while !cluster.is_healthy().await {
            ensure!(Instant::now() < deadline, "the servers are not healthy");
            sleep(LOOK_PAUSE).await;
        }
        Ok(cluster)
    }

    /// The addresses for clients.
    pub(crate) fn urls(&self) -> String {
        self.ports.map(|ports| format!("nats://127.0.0.1:{}", ports.clients)).join(",")
    }

    /// The address of the first server's monitor.
    pub(crate) fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0].monitor)
    }

    /// The process ids of the servers that run.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.running.iter().flatten().filter_map(Child::id).collect()
    }

    /// Starts a server that does not run, with the data that it has.
    pub(super) fn restart(&mut self, Server(server): Server) -> Result<()> {
        let ports = self.ports[server];
        let mut command = Command::new(engine::server::Server::find());
        command
            .arg("--config")
            .arg(self.folder.join("cluster.conf"))
            .env("TRADEWIND_NATS_NAME", name(server))
            .env("TRADEWIND_NATS_STORE", self.folder.join(name(server)))
            .env("TRADEWIND_NATS_LISTEN", format!("127.0.0.1:{}", ports.clients))
            .env("TRADEWIND_NATS_MONITOR", format!("127.0.0.1:{}", ports.monitor))
            .env("TRADEWIND_NATS_ROUTE_PASSWORD", ROUTE_PASSWORD)
            .env("TRADEWIND_NATS_ROUTE_LISTEN", format!("127.0.0.1:{}", ports.routes))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        for (number, ports) in (1..).zip(self.ports) {
            let route = format!("nats://routes:{ROUTE_PASSWORD}@127.0.0.1:{}", ports.routes);
            command.env(format!("TRADEWIND_NATS_ROUTE_{number}"), route);
        }
        let child = command.spawn().context("start nats-server (the variable NATS_SERVER)")?;
        self.running[server] = Some(child);
        Ok(())
    }

    /// Kills a server, as a power failure would.
    pub(super) async fn kill(&mut self, Server(server): Server) {
        if let Some(mut child) = self.running[server].take() {
            child.kill().await.ok();
        }
    }

    /// Sends a server a signal.
    pub(super) async fn signal(&self, Server(server): Server, signal: &str) -> Result<()> {
        let process = self.running[server].as_ref().and_then(Child::id);
        let process = process.context("the server does not run")?.to_string();
        let sent = Command::new("kill").args(["-s", signal, &process]).status().await;
        ensure!(sent.context("run kill")?.success(), "the server cannot be sent {signal}");
        Ok(())
    }

    /// The server that leads a stream, and which of `groups` it leads.
    pub(super) async fn leader(
        &self,
        stream: &str,
        groups: &[String],
    ) -> Result<(Server, Vec<String>)> {
        let deadline = Instant::now() + LEADER_TIMEOUT;
        loop {
            let leaders = self.leaders(None).await;
            if let Some(&leader) = leaders.get(stream) {
                let is_led = |group: &&String| leaders.get(*group) == Some(&leader);
                return Ok((leader, groups.iter().filter(is_led).cloned().collect()));
            }
            ensure!(Instant::now() < deadline, "{stream} has no leader");
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Waits until each of these groups has a leader that is not `failed`.
    pub(super) async fn wait_for_leaders(&self, failed: Server, mut groups: Vec<String>) {
        loop {
            let leaders = self.leaders(Some(failed)).await;
            groups.retain(|group| !leaders.contains_key(group));
            if groups.is_empty() {
                return;
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Whether all servers say that they are, and have all that was written.
    pub(super) async fn is_healthy(&self) -> bool {
        for ports in self.ports {
            let url = format!("http://127.0.0.1:{}/healthz", ports.monitor);
            let answer = self.http.get(url).send().await;
            if !answer.is_ok_and(|answer| answer.status().is_success()) {
                return false;
            }
        }
        true
    }

    /// The leaders of all groups that are not led by the server that failed, as the others say.
    async fn leaders(&self, failed: Option<Server>) -> HashMap<String, Server> {
        let asked = (0..3).filter(|server| Some(Server(*server)) != failed);
        let answers = join_all(asked.map(|server| self.leaders_by(server))).await;
        let leaders = answers.into_iter().flatten().flatten();
        leaders.filter(|(_, leader)| Some(*leader) != failed).collect()
    }

    /// The leaders of all groups, as one server says.
    async fn leaders_by(&self, server: usize) -> Result<Vec<(String, Server)>> {
        let monitor = self.ports[server].monitor;
        let url = format!("http://127.0.0.1:{monitor}/jsz?accounts=1&streams=1");
        let jsz: Jsz = self.http.get(url).send().await?.json().await?;
        let streams = jsz.account_details.into_iter().flat_map(|account| account.stream_detail);
        let groups = streams.filter_map(|stream| Some((stream.name, stream.cluster?)));
        let meta = jsz.meta_cluster.map(|group| (META_GROUP.to_owned(), group));
        let leader = |group: &Group| (0..3).find(|server| name(*server) == group.leader);
        Ok(groups
            .chain(meta)
            .filter_map(|(name, group)| Some((name, Server(leader(&group)?))))
            .collect())
    }
}

fn name(server: usize) -> String {
    format!("nats-{}", server + 1)
}

/// Ports that nobody listens on now.
fn free_ports() -> Result<[Ports; 3]> {
    let mut listeners = Vec::new();
    for _ in 0..9 {
        listeners.push(TcpListener::bind("127.0.0.1:0").context("find free ports")?);
    }
    let mut ports = Vec::new();
    for listener in &listeners {
        ports.push(listener.local_addr()?.port());
    }
    Ok([0, 1, 2].map(|server| Ports {
        clients: ports[3 * server],
        monitor: ports[3 * server + 1],
        routes: ports[3 * server + 2],
    }))
}
