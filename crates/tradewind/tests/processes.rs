//! Each service as a process of its own, each killed in turn in the middle of trade.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use engine::{Engine, Location};
use futures::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Db, TestServer, eventually, on_both_databases};
use tradewind::{admin, api::Api, cli::Cli, settings::Settings};

on_both_databases!(each_process_is_killed_in_turn_and_every_order_settles_once);

/// Orders that are placed.
const ORDERS: usize = 240;
/// Units that there are of the one SKU: not enough.
const UNITS: usize = 200;
/// Orders that are under way at the same time.
const CLIENTS: usize = 12;
const SERVICES: [&str; 5] = ["catalog", "inventory", "order", "payment", "gateway"];

struct Processes {
    settings: Settings,
    running: Vec<Running>,
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Processes {
    fn start(settings: Settings) -> Self {
        let running = SERVICES.map(|service| spawn(&settings, service)).into();
        Self { settings, running }
    }

    /// Kills a process as `kill -9` does, and starts it again.
    fn kill(&mut self, index: usize) {
        drop(std::mem::replace(&mut self.running[index], spawn_later()));
        self.running[index] = spawn(&self.settings, SERVICES[index]);
    }
}

/// A process that ends at once, to stand in a place until the next one does.
fn spawn_later() -> Running {
    Running(Command::new("true").spawn().expect("it starts"))
}

fn spawn(settings: &Settings, service: &str) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_tradewind"))
        .args(["serve", service, "--log", "warn"])
        .args(["--nats-url", &settings.nats_url])
        .args(["--nats-monitor-url", settings.nats_monitor_url.as_deref().unwrap_or_default()])
        .args(["--database", &settings.database])
        .args(["--listen", &settings.listen.to_string()])
        .args(["--api-key", "secret"])
        .arg("--provider-dir")
        .arg(&settings.provider_dir)
        .stdin(Stdio::null())
        .spawn();
    Running(child.expect("the process starts"))
}

fn settings(server: &TestServer, db: &Db, folder: &TempDir) -> Settings {
    let cli = <Cli as clap::Parser>::try_parse_from(["tradewind", "serve"]);
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    Settings {
        nats_url: server.url(),
        nats_monitor_url: Some(server.monitor_url()),
        database: match db.location() {
            Location::Folder(folder) => folder.display().to_string(),
            Location::Postgres(url) => url,
        },
        listen: free.local_addr().expect("an address"),
        provider_dir: folder.path().join("provider"),
        ..cli.expect("the defaults parse").settings
    }
}

/// Places an order again and again, under one key, until the gateway has taken it.
async fn place(api: &Api, number: usize) -> Value {
    let order = json!({"reference": format!("R{number}"), "currency": "GBP",
        "lines": [{"sku": "MUG", "quantity": 1}]});
    let key = format!("key-{number}");
    let mut placed = Value::Null;
    eventually("the order is placed", async || match api.place(&order, &key, None).await {
        Ok(answer) if answer.status.as_u16() == 201 => {
            placed = answer.body;
            true
        }
        Ok(_) | Err(_) => false,
    })
    .await;
    placed
}

async fn stock(api: &Api) {
    let product =
        json!({"sku": "MUG", "title": "A mug", "price": {"minor": 300, "currency": "GBP"}});
    eventually("the product is put", async || {
        api.push("products", product.to_string()).await.is_ok_and(|pushed| pushed.rejected == 0)
    })
    .await;
    let count = json!({"type": "count", "sku": "MUG", "quantity": UNITS, "connector": "erp",
        "document": "opening", "sequence": 1});
    eventually("the units are counted", async || {
        let pushed = api.push("inventory", count.to_string()).await;
        pushed.is_ok_and(|pushed| pushed.applied + pushed.unchanged == 1)
    })
    .await;
}

async fn each_process_is_killed_in_turn_and_every_order_settles_once(db: Db) {
    let mut server = TestServer::start().await;
    let folder = TempDir::new().expect("a temporary folder");
    let settings = settings(&server, &db, &folder);
    // One process makes the streams; five at once may, too, but drift is not what is tested.
    Engine::connect(settings.engine()).await.expect("it connects");
    let mut processes = Processes::start(settings.clone());
    let url = format!("http://{}", settings.listen);
    let api = Api::new(&url, "secret", "acme").expect("a client");
    stock(&api).await;

    let placed = AtomicUsize::new(0);
    let trade = join_all((0..CLIENTS).map(|client| {
        let (api, placed) = (&api, &placed);
        async move {
            for number in (client..ORDERS).step_by(CLIENTS) {
                place(api, number).await;
                placed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }));
    let kills = async {
        // Six steps through the trade: each process once, and then the server itself.
        for step in 0..=SERVICES.len() {
            let reached = (step + 1) * ORDERS / (SERVICES.len() + 2);
            eventually("trade goes on", async || placed.load(Ordering::Relaxed) >= reached).await;
            if step < SERVICES.len() {
                processes.kill(step);
            } else {
                server.kill().await;
                server.start_again().await;
            }
        }
    };
    tokio::join!(trade, kills);

    let totals = async || -> Value { api.get("totals").await.unwrap_or_default() };
    let settled = |totals: &Value, status: &str| -> i64 {
        let groups = totals["orders"]["groups"].as_array().cloned().unwrap_or_default();
        let of = groups.iter().filter(|group| group["status"] == status);
        of.map(|group| group["orders"].as_i64().unwrap_or(0)).sum()
    };
    eventually("every order is paid or cancelled", async || {
        let totals = totals().await;
        settled(&totals, "paid") + settled(&totals, "cancelled") == ORDERS as i64
            && totals["payments"]["pending"] == 0
    })
    .await;
    let totals = totals().await;
    assert_eq!(settled(&totals, "paid"), UNITS as i64, "{totals}");
    assert_eq!(totals["inventory"]["allocated"], UNITS, "{totals}");
    assert_eq!(totals["inventory"]["held"], 0, "{totals}");
    assert_eq!(totals["payments"]["captured"], 300 * UNITS, "{totals}");
    assert_eq!(totals["payments"]["provider_net"], 300 * UNITS, "{totals}");
    assert_eq!(totals["payments"]["provider_held"], 0, "{totals}");

    let engine = Engine::connect(settings.engine()).await.expect("it connects");
    for service in admin::PROJECTED {
        let verified = admin::verify(&engine, service).await.expect("it can be verified");
        assert_eq!(verified.mismatches, [], "{} differs from its log", service.name());
    }
}
