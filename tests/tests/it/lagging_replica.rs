//! Three nats-servers, one of which lags and then dies while orders come and the services are
//! restarted: every input is handled.
//!
//! A reader's consumer is on any of the three servers. On the one that lags it has nothing to
//! deliver though the stream has more. If a position moved then to the stream's end, the inputs in
//! between would be skipped for good as soon as that server dies.
//!
//! The variable `TEST_ROUNDS` says how many rounds, [`ROUNDS`] without it. Many take
//! longer than nextest lets a test take; then `cargo test --package tests --test it lagging_replica`.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use client::Client;
use engine::{Engine, Logged, plain_http};
use events::{names::answered_command, proto};
use node::{
    readiness::ProcessHealth, serve, services::Component, services::NAMES, settings::Settings,
};
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{ConfiguredServer, Db, eventually, publish_much};
use tests::{SHOP, order, settings_on, stock, verify_all};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Rounds, unless the environment says otherwise.
const ROUNDS: u32 = 3;
/// How often the services are restarted in a round.
const RESTARTS: u32 = 3;
/// For how long orders come between two restarts.
const RESTART_INTERVAL: Duration = Duration::from_millis(1_500);
/// How long after the last restart the server dies: new consumers are there, and have not delivered
/// what their replica lacks.
const KILL_DELAY: Duration = Duration::from_secs(1);
/// The pause between two orders, and between two changes of the product and its stock.
const ORDER_INTERVAL: Duration = Duration::from_millis(60);
const CHANGE_INTERVAL: Duration = Duration::from_millis(300);
/// How long the server that lags does not run, and how long it runs then; in one round after the
/// other. With the first it makes its share of the consumers; with the second, making one mostly
/// takes longer than a reader waits for it.
const RHYTHMS: [(Duration, Duration); 2] = [
    (Duration::from_millis(300), Duration::from_millis(12)),
    (Duration::from_millis(900), Duration::from_millis(12)),
];
/// How long what was sent may take until it is answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// The subject of commands to a service that there is not: with them the inbox fills sooner than the
/// server that lags keeps up with.
const FOREIGN_SUBJECT: &str = "inbox.0.live.nobody.acme.nothing";
/// What is sold, and the units of it.
const SKU: &str = "MUG";
const UNITS: i64 = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_input_is_handled_while_a_replica_lags_and_dies() {
    let rounds = std::env::var("TEST_ROUNDS").ok().and_then(|n| n.parse().ok());
    let mut servers = ConfiguredServer::cluster().await;
    let leader = meta_leader(&servers[0]).await;
    // The server that decides where consumers are made is not the one that lags.
    servers.sort_by_key(|server| server.name != leader);
    let (db, folder) = (Db::sqlite(), TempDir::new().expect("a temporary folder"));
    let settings = settings(&servers, &db, &folder);
    let mut shop = Shop::open(settings).await;
    for round in 0..rounds.unwrap_or(ROUNDS) {
        shop.round(&mut servers, round).await;
    }
    shop.close().await;
}

/// Nobody is connected to the server that lags.
fn settings(servers: &[ConfiguredServer; 3], db: &Db, folder: &TempDir) -> Settings {
    let urls: Vec<_> = servers[..2].iter().map(ConfiguredServer::url).collect();
    Settings {
        nats_url: urls.join(","),
        nats_monitor_url: Some(servers[0].monitor_url()),
        replicas: 3,
        ..settings_on(db, folder)
    }
}

/// The name of the server that leads the cluster.
async fn meta_leader(server: &ConfiguredServer) -> String {
    let url = format!("{}/jsz", server.monitor_url());
    let http = plain_http().build().expect("a client");
    let mut leader = String::new();
    eventually("the cluster has a leader", async || {
        let Ok(answer) = http.get(&url).send().await else { return false };
        let jsz: Value = answer.json().await.unwrap_or_default();
        jsz["meta_cluster"]["leader"].as_str().unwrap_or_default().clone_into(&mut leader);
        !leader.is_empty()
    })
    .await;
    leader
}

/// Components that run in a process of their own, as far as they can tell.
struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Starts them; returns the gateway's address as well, as soon as it is known.
    fn start(
        settings: &Settings,
        is_meant: fn(&Component) -> bool,
    ) -> (Self, oneshot::Receiver<std::net::SocketAddr>) {
        let (bound, address) = oneshot::channel();
        let shutdown = CancellationToken::new();
        let components: Vec<_> = Component::all().into_iter().filter(is_meant).collect();
        let (settings, stop) = (settings.clone(), shutdown.clone());
        let task = tokio::spawn(async move {
            serve::serve(&settings, &components, stop, ProcessHealth::default(), bound).await
        });
        (Self { shutdown, task }, address)
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("no panic").expect("it stops cleanly");
    }
}

/// An installation that trades.
struct Shop {
    settings: Settings,
    gateway: Running,
    services: Running,
    api: Client,
    /// Orders that were accepted so far.
    accepted: u64,
}

impl Shop {
    async fn open(settings: Settings) -> Self {
        let (gateway, address) = Running::start(&settings, |it| *it == Component::Gateway);
        let (services, _) = Running::start(&settings, |it| *it != Component::Gateway);
        let address = address.await.expect("the gateway listens");
        // Its client sends a request until it is answered, under the same key.
        let api = Client::new(&format!("http://{address}"), "secret", SHOP).expect("a client");
        stock(&api, SKU, UNITS).await;
        Self { settings, gateway, services, api, accepted: 0 }
    }

    /// Orders come, a server lags, the services are restarted, the server dies.
    async fn round(&mut self, servers: &mut [ConfiguredServer; 3], round: u32) {
        let others = ConfiguredServer::jetstream(&servers[..2]).await;
        servers[2].only_follows(&others).await;
        let (suspended, running) = RHYTHMS[round as usize % RHYTHMS.len()];
        let foreign = proto::Command { shop: "x".repeat(300), ..Default::default() };
        let trade = Trade::start(&self.api, round);
        tokio::select! {
            () = servers[2].slow_down(suspended, running) => {}
            () = publish_much(&others, FOREIGN_SUBJECT, foreign.encode_to_vec()) => {}
            () = self.restart_services() => {}
        }
        servers[2].kill().await;
        let accepted = timeout(ANSWER_TIMEOUT, trade.stop()).await;
        self.accepted += accepted.expect("all that was sent is answered");
        self.expect_all_handled(round).await;
        servers[2].start_again().await;
    }

    async fn restart_services(&mut self) {
        for _ in 0..RESTARTS {
            sleep(RESTART_INTERVAL).await;
            let (services, _) = Running::start(&self.settings, |it| *it != Component::Gateway);
            std::mem::replace(&mut self.services, services).stop().await;
        }
        sleep(KILL_DELAY).await;
    }

    /// Waits until all orders are paid, and checks that every command was answered once.
    async fn expect_all_handled(&self, round: u32) {
        let what = format!("in round {round} all of {} orders are paid", self.accepted);
        eventually(&what, async || {
            let totals: Value = self.api.get("totals").await.unwrap_or_default();
            let groups = totals["orders"]["groups"].as_array().into_iter().flatten();
            let paid = groups.filter(|group| group["payment_status"] == "paid");
            paid.map(|group| group["orders"].as_u64().unwrap_or(0)).sum::<u64>() == self.accepted
        })
        .await;
        let engine = Engine::connect_only(self.settings.engine()).await.expect("it connects");
        let what = format!("in round {round} every command is answered once");
        eventually(&what, async || {
            let wrong = wrongly_answered(&engine, self.accepted).await;
            wrong.expect("the logs can be read").is_empty()
        })
        .await;
    }

    async fn close(self) {
        self.services.stop().await;
        self.gateway.stop().await;
        verify_all(&self.settings).await;
    }
}

/// The commands in the inbox that are not answered exactly once, by the logs. There are more of
/// them than `accepted`.
async fn wrongly_answered(engine: &Engine, accepted: u64) -> Result<Vec<String>, engine::Error> {
    let mut sent = HashSet::new();
    let note = |_, command: proto::Command| {
        sent.insert(command.id);
    };
    engine.read_inbox(0, note).await?;
    // Those to the service that there is not.
    sent.remove("");
    assert!(sent.len() as u64 > accepted, "the orders, and the changes");
    let mut answers = HashMap::<_, u32>::new();
    for service in NAMES {
        let note = |logged: Logged<proto::Event>| {
            if let Some((command_id, _)) = answered_command(&logged.event) {
                *answers.entry(command_id.to_owned()).or_default() += 1;
            }
        };
        engine.read_log(service, 0, note).await?;
    }
    Ok(sent.into_iter().filter(|id| answers.get(id) != Some(&1)).collect())
}

/// Orders of one unit, and changes of the product and its stock, until they are stopped.
struct Trade {
    stopping: CancellationToken,
    orders: JoinHandle<u64>,
    changes: JoinHandle<()>,
}

impl Trade {
    fn start(api: &Client, round: u32) -> Self {
        let stopping = CancellationToken::new();
        let orders = tokio::spawn(place_orders(api.clone(), round, stopping.clone()));
        let changes = tokio::spawn(push_changes(api.clone(), round, stopping.clone()));
        Self { stopping, orders, changes }
    }

    /// Returns how many orders were accepted, once all were.
    async fn stop(self) -> u64 {
        self.stopping.cancel();
        self.changes.await.expect("all changes are accepted");
        self.orders.await.expect("all orders are accepted")
    }
}

async fn place_orders(api: Client, round: u32, stopping: CancellationToken) -> u64 {
    let mut placing = JoinSet::new();
    let mut tick = interval(ORDER_INTERVAL);
    while stopping.run_until_cancelled(tick.tick()).await.is_some() {
        let (api, key) = (api.clone(), format!("order-{round}-{}", placing.len()));
        placing.spawn(async move {
            let placed = api.place(&order(SKU, 1, "card"), &key, None).await;
            let placed = placed.expect("it is answered");
            assert!(placed.status.is_success(), "{}: {}", placed.status, placed.body);
        });
    }
    placing.join_all().await.len() as u64
}

async fn push_changes(api: Client, round: u32, stopping: CancellationToken) {
    let mut tick = interval(CHANGE_INTERVAL);
    for number in 1.. {
        if stopping.run_until_cancelled(tick.tick()).await.is_none() {
            return;
        }
        let name = format!("{round}-{number}");
        let product = json!({"sku": SKU, "title": format!("Mug {name}"),
            "price": {"minor": 250, "currency": "GBP"}});
        let adjustment = json!({"type": "adjustment", "sku": SKU, "delta": 1, "reason": "found",
            "connector": format!("till-{round}"), "document": name, "sequence": number});
        for (path, line) in [("products", product), ("inventory", adjustment)] {
            let pushed = api.push(path, line.to_string()).await.expect("it is answered");
            assert_eq!(pushed.rejected, 0, "{pushed:?}");
        }
    }
}
