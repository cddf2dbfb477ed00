//! What the end-to-end tests have in common: a whole installation in this process, for one test.

use std::time::Duration;

use clap::Parser;
use engine::{Engine, Location};
use events::id::Shop;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Db, TestServer};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tradewind::{
    admin,
    api::{Api, Response},
    cli::Cli,
    serve,
    settings::Settings,
};

/// The shop of the tests.
pub const SHOP: &str = "acme";
/// How long a request waits for an order's end.
const SETTLES_WITHIN_S: u64 = 60;

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

/// The settings of a process in a private installation.
pub fn settings(server: &TestServer, db: &Db, folder: &TempDir) -> Settings {
    let database = match db.location() {
        Location::Folder(folder) => folder.display().to_string(),
        Location::Postgres(url) => url,
    };
    let cli = Cli::try_parse_from(["tradewind", "serve"]).expect("the defaults parse");
    Settings {
        nats_url: server.url(),
        nats_monitor_url: Some(server.monitor_url()),
        database,
        provider_dir: folder.path().join("provider"),
        listen: ([127, 0, 0, 1], 0).into(),
        api_key: Some("secret".to_owned()),
        ..cli.settings
    }
}

impl Installation {
    /// Starts all services, with settings changed by `adjust`.
    pub async fn start(db: &Db, adjust: impl FnOnce(&mut Settings)) -> Self {
        let server = TestServer::start().await;
        let folder = TempDir::new().expect("a temporary folder");
        let mut settings = settings(&server, db, &folder);
        adjust(&mut settings);
        let shutdown = CancellationToken::new();
        let (bound, address) = oneshot::channel();
        let running = tokio::spawn({
            let (settings, shutdown) = (settings.clone(), shutdown.clone());
            async move { serve::serve(&settings, &serve::ALL, shutdown, bound).await }
        });
        let address = address.await.expect("the gateway listens");
        let url = format!("http://{address}");
        Self { server, settings, url, shutdown, running, _folder: folder }
    }

    /// A client of the shop.
    pub fn api(&self) -> Api {
        Api::new(&self.url, "secret", SHOP).expect("a client")
    }

    /// The questions of the shop.
    pub async fn ask(&self, service: &str, name: &str, parameters: Value) -> Value {
        let engine = Engine::connect_only(self.settings.engine()).await.expect("it connects");
        let shop = Shop::parse(SHOP).expect("a shop");
        let answer = engine.client().query(service, &shop, name, parameters, 0).await;
        answer.expect("it answers").expect("there is such a thing")
    }

    /// Stops the services, and checks that each database equals its log.
    pub async fn stop_and_verify(self) {
        self.shutdown.cancel();
        self.running.await.expect("no panic").expect("the services stop cleanly");
        verify_all(&self.settings).await;
    }
}

/// Checks that each database equals its log.
pub async fn verify_all(settings: &Settings) {
    let engine = Engine::connect(settings.engine()).await.expect("it connects");
    for service in admin::PROJECTED {
        let verified = admin::verify(&engine, service).await.expect("it can be verified");
        assert_eq!(verified.mismatches, [], "{} differs from its log", service.name());
        assert!(verified.rows > 0, "{} has no rows: nothing was compared", service.name());
    }
}

/// Puts a product and counts its units.
pub async fn stock(api: &Api, sku: &str, units: i64) {
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
pub async fn settle(api: &Api, order: &Value, key: &str) -> Response {
    let placed = api.place(order, key, Some(SETTLES_WITHIN_S)).await.expect("an answer");
    assert_eq!(placed.status.as_u16(), 201, "{}", placed.body);
    placed
}

/// The payments of the shop, when nothing is pending any more.
pub async fn settled_payments(api: &Api) -> Value {
    let totals = || async {
        let totals: Value = api.get("totals").await.expect("the totals");
        totals["payments"].clone()
    };
    testkit::eventually("no payment is pending", async || totals().await["pending"] == 0).await;
    totals().await
}

/// A short time, for deadlines that a test wants to pass.
pub const SHORT: Duration = Duration::from_millis(400);
