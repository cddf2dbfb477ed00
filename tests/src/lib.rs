//! What the end-to-end tests have in common: a whole installation in this process, for one test.

pub mod stable;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use clap::{Args, Parser};
use client::{Client, Response};
use engine::{Clock, Engine, Outcome};
use events::{proto, shop};
use node::{
    nats_users, readiness::ProcessHealth, serve, services, services::Component, settings::Settings,
};
use protocol::{command::OutgoingCommand, subject::Lane, time::Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Db, TestServer, eventually, system_clock};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The shop of the tests.
pub const SHOP: &str = "acme";
/// How long a request waits until an order is settled.
const SETTLE_TIMEOUT: Duration = Duration::from_mins(1);
/// How long an operator waits for an answer.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// All services in this process, on a private server and private databases.
pub struct Installation {
    /// Its nats-server.
    pub server: TestServer,
    /// How its services take part.
    pub settings: Settings,
    url: String,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
    _folder: TempDir,
}

/// The arguments of a command: the settings, and the options of its own.
#[derive(Debug, Parser)]
struct Arguments<Options: Args> {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    options: Options,
}

/// Reads the arguments of a command as the command line does.
pub fn parse<Options: Args>(arguments: &[&str]) -> (Settings, Options) {
    let arguments = ["tradewind"].iter().chain(arguments);
    let parsed = Arguments::try_parse_from(arguments).expect("the arguments are valid");
    (parsed.settings, parsed.options)
}

/// The settings of a process in a private installation.
pub fn settings(server: &TestServer, db: &Db, folder: &TempDir) -> Settings {
    Settings {
        nats_url: server.url(),
        nats_monitor_url: Some(server.monitor_url()),
        ..settings_on(db, folder)
    }
}

/// The settings of a process with private databases, but for its nats-servers.
pub fn settings_on(db: &Db, folder: &TempDir) -> Settings {
    Settings {
        database: db.setting(),
        provider_dir: folder.path().join("provider"),
        person_keys: Some(folder.path().join("person-keys").display().to_string()),
        listen: ([127, 0, 0, 1], 0).into(),
        api_key: Some("secret".into()),
        ..Settings::from_environment().expect("the defaults parse")
    }
}

impl Installation {
    /// Starts all services, with settings changed by `adjust`.
    pub async fn start(db: &Db, adjust: impl FnOnce(&mut Settings)) -> Self {
        let server = TestServer::start_with_users(nats_users::for_this_run()).await;
        Self::start_components(&Component::all(), server, db, adjust).await
    }

    /// Starts all services on that server.
    pub async fn start_on(server: TestServer, db: &Db) -> Self {
        Self::start_components(&Component::all(), server, db, |_| {}).await
    }

    /// Starts all services but one.
    pub async fn start_without(service: &str, db: &Db) -> Self {
        let server = TestServer::start_with_users(nats_users::for_this_run()).await;
        let mut components = Component::all();
        components.retain(|component| component.name() != service);
        Self::start_components(&components, server, db, |_| {}).await
    }

    async fn start_components(
        components: &[Component],
        server: TestServer,
        db: &Db,
        adjust: impl FnOnce(&mut Settings),
    ) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut settings = settings(&server, db, &folder);
        adjust(&mut settings);
        let shutdown = CancellationToken::new();
        let (bound, address) = oneshot::channel();
        let health = ProcessHealth::default();
        let running = tokio::spawn({
            let (settings, shutdown) = (settings.clone(), shutdown.clone());
            let components = components.to_vec();
            async move { serve::serve(&settings, &components, shutdown, health, bound).await }
        });
        let address = address.await.expect("the gateway listens");
        let url = format!("http://{address}");
        Self { server, settings, url, shutdown, running, _folder: folder }
    }

    /// The address of the gateway: `http://127.0.0.1:…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client of the shop.
    pub fn api(&self) -> Client {
        self.api_of(SHOP)
    }

    /// A client of a shop of that name.
    pub fn api_of(&self, shop: &str) -> Client {
        Client::new(&self.url, "secret", shop).expect("a client").without_retries()
    }

    /// The payments of the shop, as they are when its log has so many events of each kind and nothing
    /// is on its way any more. That nothing is on its way says little by itself: it is so as well
    /// before the payment service has read what concerns it.
    pub async fn settled_payments(&self, events: &[(&str, usize)]) -> Value {
        let api = self.api();
        let mut settled = Value::Null;
        eventually("the payments have come to their ends", async || {
            let log = kinds(&self.server, "PAYMENT-0", |_| true).await;
            let is_there = |(kind, count): &(&str, usize)| {
                log.iter().filter(|it| it == kind).count() == *count
            };
            let totals: Value = api.get("totals").await.expect("the totals");
            settled = totals["payments"].clone();
            let money = settled["currencies"].as_array().cloned().unwrap_or_default();
            let has_ended = |it: &Value| it["authorized"] == 0 && it["provider_held"] == 0;
            events.iter().all(is_there) && settled["pending"] == 0 && money.iter().all(has_ended)
        })
        .await;
        settled
    }

    /// The kinds of the events about the first payment of an order, in their order.
    pub async fn payment_steps(&self, order: &Value) -> Vec<String> {
        let payment = format!("{}-1", order["id"].as_str().expect("an order has an id"));
        kinds(&self.server, "PAYMENT-0", |event| event.aggregate_id == payment).await
    }

    /// Sends a command as an operator does, and waits until it is answered.
    pub async fn send(&self, id: &str, body: proto::command::Body) {
        let engine = Engine::connect_only(self.settings.engine()).await.expect("it connects");
        let command = proto::Command {
            id: id.to_owned(),
            shop: SHOP.to_owned(),
            time: Some(system_clock().now().into()),
            fingerprint: "f".to_owned(),
            body: Some(body),
            ..Default::default()
        };
        let command = OutgoingCommand::try_from(command).expect("it has a body");
        let outcome = engine.client().send(Lane::Live, command, COMMAND_TIMEOUT).await;
        assert!(matches!(outcome, Ok(Outcome::Answered(_))), "{outcome:?}");
    }

    /// Stops the services, and checks that each database equals its log, and that all but webhooks have
    /// something in theirs.
    pub async fn stop_and_verify(self) {
        self.shutdown.cancel();
        self.running.await.expect("no panic").expect("the services stop cleanly");
        verify_all(&self.settings).await;
    }

    /// Stops the services, and checks that each database equals its log, and that these have something in
    /// theirs.
    pub async fn stop_and_verify_with(self, filled: &[&str]) {
        self.shutdown.cancel();
        self.running.await.expect("no panic").expect("the services stop cleanly");
        verify_all_with(&self.settings, filled).await;
    }
}

/// A gateway of its own, beside those of an installation.
pub struct Gateway {
    url: String,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Gateway {
    /// Starts one, and waits until it listens.
    pub async fn start(settings: &Settings) -> Self {
        let (settings, shutdown) = (settings.clone(), CancellationToken::new());
        let (bound, address) = oneshot::channel();
        let stop = shutdown.clone();
        let running = tokio::spawn(async move {
            serve::serve(&settings, &[Component::Gateway], stop, ProcessHealth::default(), bound)
                .await
        });
        let url = format!("http://{}", address.await.expect("the gateway listens"));
        Self { url, shutdown, running }
    }

    /// Its address: `http://127.0.0.1:…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client of the shop.
    pub fn api(&self) -> Client {
        Client::new(&self.url, "secret", SHOP).expect("a client").without_retries()
    }

    /// Stops it.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.expect("no panic").expect("it stops cleanly");
    }
}

/// A clock that says what is set, at first this: in milliseconds since 1970.
pub fn settable_clock(start: i64) -> (Arc<AtomicI64>, Clock) {
    let now = Arc::new(AtomicI64::new(start));
    let shown = now.clone();
    (now, Clock::from(move || Timestamp::from_millis(shown.load(Ordering::Relaxed))))
}

/// A gateway beside an installation, with settings that no command line has.
pub struct OwnGateway {
    /// Where it listens.
    pub address: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl OwnGateway {
    /// Starts one, and waits until it listens.
    pub async fn start(
        installation: &Installation,
        adjust: impl FnOnce(&mut gateway::Settings),
    ) -> Self {
        let engine =
            Engine::connect_only(installation.settings.engine()).await.expect("it connects");
        let key = gateway::ApiKeySetting::of_everything("test", "secret".into());
        let mut settings = gateway::Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            tls: None,
            jwt: None,
            allow_plain_http: false,
            api_keys: vec![key],
            answer_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            limits: gateway::Limits::default(),
            readiness: Arc::new(gateway::Readiness::default),
            person_keys: None,
            webhooks: webhook_http::Policy::default(),
            cors_origins: None,
            clock: system_clock(),
        };
        adjust(&mut settings);
        let shutdown = CancellationToken::new();
        let (bound, address) = oneshot::channel();
        let stop = shutdown.clone();
        let running =
            tokio::spawn(async move { gateway::run(&engine, settings, stop, Some(bound)).await });
        Self { address: address.await.expect("it listens"), shutdown, running }
    }

    /// Stops it.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.expect("no panic").expect("it stops cleanly");
    }
}

/// Checks that each database equals its log, and that all but webhooks have something in theirs.
pub async fn verify_all(settings: &Settings) {
    let services = services::SERVICES.iter().map(|service| service.name);
    let filled: Vec<_> = services.filter(|service| *service != "notify").collect();
    verify_all_with(settings, &filled).await;
}

/// Checks that each database equals its log, and that these services have something in theirs.
async fn verify_all_with(settings: &Settings, filled: &[&str]) {
    let engine = Engine::connect(settings.engine()).await.expect("it connects");
    for (service, verified) in services::verify_all(&engine).await.expect("it can be verified") {
        assert_eq!(verified.mismatches, [], "{service} differs from its log");
        let may_be_empty = !filled.contains(&service);
        assert!(verified.rows > 0 || may_be_empty, "{service} has no rows: nothing was compared");
    }
}

/// Creates the shop, puts a product and counts its units.
pub async fn stock(api: &Client, sku: &str, units: i64) {
    stock_in(api, &shop::Settings::default(), sku, units).await;
}

/// Creates the shop with these settings, puts a product and counts its units.
pub async fn stock_in(api: &Client, settings: &shop::Settings, sku: &str, units: i64) {
    api.create_shop(settings).await.expect("the shop is created");
    let product =
        json!({"sku": sku, "title": sku, "price": {"minor": 250, "currency": "GBP"}}).to_string();
    let pushed = api.push("products", product).await.expect("the product is pushed");
    assert_eq!(pushed.rejected, 0, "{pushed:?}");
    let count = json!({"type": "count", "sku": sku, "quantity": units, "connector": "erp",
        "document": format!("opening/{sku}"), "sequence": 1});
    let pushed = api.push("inventory", count.to_string()).await.expect("the count is pushed");
    assert_eq!((pushed.applied, pushed.rejected), (1, 0), "{pushed:?}");
}

/// An order of one line.
pub fn order(sku: &str, units: i64, payment_method: &str) -> Value {
    json!({"currency": "GBP", "payment_method": payment_method,
        "lines": [{"sku": sku, "quantity": units}]})
}

/// Places an order and waits for its end.
pub async fn settle(api: &Client, order: &Value, key: &str) -> Response {
    let placed = api.place(order, key, Some(SETTLE_TIMEOUT)).await.expect("an answer");
    assert_eq!(placed.status.as_u16(), 201, "{}", placed.body);
    placed
}

/// The totals of payments of which so much was taken, and nothing is on its way.
pub fn captured(minor: i64) -> Value {
    json!({"pending": 0, "stuck": 0, "currencies": [{"currency": "GBP", "captured": minor,
        "refunded": 0, "authorized": 0, "provider_net": minor, "provider_held": 0}]})
}

/// The kinds of those events of a stream that are meant, in their order.
pub async fn kinds(
    server: &TestServer,
    stream: &str,
    is_meant: impl Fn(&proto::Event) -> bool,
) -> Vec<String> {
    let log = server.events(stream).await;
    let meant = log.iter().filter(|entry| is_meant(&entry.event));
    let kinds = meant.map(|entry| entry.subject.rsplit('.').next().unwrap_or_default());
    kinds.map(str::to_owned).collect()
}

/// A short time, for deadlines that a test wants to pass.
pub const SHORT: Duration = Duration::from_millis(400);
