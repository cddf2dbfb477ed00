//! Each service as a process of its own, each killed in turn in the middle of its work.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use client::Client;
use engine::{Engine, Location};
use events::shop;
use futures::future::join_all;
use node::{services, settings::Settings};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Db, TestServer, eventually, on_both_databases};
use tokio::{sync::watch, time::sleep};

on_both_databases!(each_process_is_killed_in_turn_and_every_order_settles_once);

/// Orders that are placed.
const ORDERS: usize = 240;
/// Units that there are of the one SKU: not enough.
const UNITS: usize = 200;
/// Orders that are under way at the same time.
const CLIENTS: usize = 16;
/// How long a client waits for its order to be settled before it asks again.
const WAIT: Duration = Duration::from_secs(5);
/// How long the payment provider takes: long enough to be killed while it is asked.
const PROVIDER_LATENCY: &str = "200ms";
/// The pause between two updates of the product.
const UPDATE_PAUSE: Duration = Duration::from_millis(20);
const SERVICES: [&str; 6] = ["shop", "catalog", "inventory", "order", "payment", "gateway"];

struct Processes {
    settings: Settings,
    running: Vec<Running>,
    /// Where the gateway says that it listens; empty until it has said so.
    url: watch::Sender<String>,
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
    fn start(settings: Settings, url: watch::Sender<String>) -> Self {
        let mut processes = Self { settings, running: Vec::new(), url };
        for service in SERVICES {
            processes.running.push(processes.spawn(service));
        }
        processes
    }

    /// Kills a process as `kill -9` does, and starts it again.
    fn kill(&mut self, index: usize) {
        let Running(child) = &mut self.running[index];
        child.kill().expect("it runs until now");
        child.wait().expect("it is gone");
        self.running[index] = self.spawn(SERVICES[index]);
    }

    fn spawn(&self, service: &str) -> Running {
        let settings = &self.settings;
        let mut child = Command::new(env!("CARGO_BIN_EXE_tradewind"))
            .args(["serve", service, "--log", "warn,gateway=info", "--log-format", "json"])
            .env("TRADEWIND_NATS_URL", &settings.nats_url)
            .args(["--nats-monitor-url", settings.nats_monitor_url.as_deref().unwrap_or_default()])
            .args(["--database", &settings.database])
            .args(["--listen", "127.0.0.1:0"])
            .env("TRADEWIND_API_KEY", "secret")
            .args(["--provider-latency", PROVIDER_LATENCY])
            .arg("--provider-dir")
            .arg(&settings.provider_dir)
            .arg("--person-keys")
            .args(&settings.person_keys)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the process starts");
        let log = child.stderr.take().expect("is piped");
        let url = self.url.clone();
        thread::spawn(move || listen_to(log, &url));
        Running(child)
    }

    /// Checks that all of them run.
    fn expect_alive(&mut self) {
        for (service, Running(child)) in SERVICES.iter().zip(&mut self.running) {
            let ended = child.try_wait().expect("it can be looked at");
            assert_eq!(ended, None, "{service} has ended by itself");
        }
    }
}

/// Hands on what a process logs, and notes where it says that it listens.
#[expect(clippy::print_stderr, reason = "is shown beside a test that fails")]
fn listen_to(log: ChildStderr, url: &watch::Sender<String>) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        if said["message"] == "the gateway listens" {
            let address = said["address"].as_str().expect("it says where");
            url.send_replace(format!("http://{address}"));
        }
        eprintln!("{line}");
    }
}

fn settings(server: &TestServer, db: &Db, folder: &TempDir) -> Settings {
    Settings {
        nats_url: server.url(),
        nats_monitor_url: Some(server.monitor_url()),
        database: match db.location() {
            Location::Folder(folder) => folder.display().to_string(),
            Location::Postgres(url) => url,
        },
        provider_dir: folder.path().join("provider"),
        person_keys: Some(folder.path().join("person-keys").display().to_string()),
        ..Settings::from_environment().expect("the defaults parse")
    }
}

/// The shop, as its clients see it.
struct Shop {
    url: watch::Receiver<String>,
    /// Orders that are asked for, and those that have come to their end.
    ordered: AtomicUsize,
    ended: AtomicUsize,
    /// Updates of the product that are asked for, and those that are taken.
    updated: AtomicUsize,
    taken: AtomicUsize,
    /// Changes of the shop that are asked for, and those that are made.
    changed: AtomicUsize,
    made: AtomicUsize,
}

impl Shop {
    /// A client of the gateway that runs now.
    fn api(&self) -> Client {
        let url = self.url.borrow().clone();
        Client::new(&url, "secret", "acme").expect("a client").without_retries()
    }

    async fn open(&self) {
        self.change().await;
        self.update().await;
        let count = json!({"type": "count", "sku": "MUG", "quantity": UNITS, "connector": "erp",
            "document": "opening", "sequence": 1});
        eventually("the units are counted", async || {
            let pushed = self.api().push("inventory", count.to_string()).await;
            pushed.is_ok_and(|pushed| pushed.applied + pushed.unchanged == 1)
        })
        .await;
    }

    /// Places an order again and again, under one key, until it is settled; returns its status.
    async fn order(&self, number: usize) -> String {
        // Every second one is paid in one step.
        let payment_method = if number.is_multiple_of(2) { "card" } else { "ideal" };
        let order = json!({"reference": format!("R{number}"), "currency": "GBP",
            "lines": [{"sku": "MUG", "quantity": 1}], "payment_method": payment_method});
        let key = format!("key-{number}");
        let mut status = String::new();
        self.ordered.fetch_add(1, Ordering::Relaxed);
        eventually("the order comes to its end", async || {
            let Ok(placed) = self.api().place(&order, &key, Some(WAIT)).await else {
                return false;
            };
            let is_cancelled = placed.body["status"] == "cancelled";
            let shown = if is_cancelled { "status" } else { "payment_status" };
            status = placed.body[shown].as_str().unwrap_or_default().into();
            placed.status.as_u16() == 201 && ["paid", "cancelled"].contains(&&*status)
        })
        .await;
        self.ended.fetch_add(1, Ordering::Relaxed);
        status
    }

    /// Gives the product another title, again and again, until that is taken.
    async fn update(&self) {
        let number = self.updated.fetch_add(1, Ordering::Relaxed) + 1;
        let title = format!("A mug of the {number}. kiln");
        let product =
            json!({"sku": "MUG", "title": title, "price": {"minor": 300, "currency": "GBP"}});
        eventually("the product is put", async || {
            let pushed = self.api().push("products", product.to_string()).await;
            pushed.is_ok_and(|pushed| pushed.applied + pushed.unchanged == 1)
        })
        .await;
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives the shop another setting, again and again, until it has it.
    async fn change(&self) {
        let number = self.changed.fetch_add(1, Ordering::Relaxed) + 1;
        let hold_seconds = Some(3_600 + number as u32);
        let one_step_methods = vec!["ideal".into()];
        let settings =
            shop::Settings { hold_seconds, one_step_methods, ..shop::Settings::default() };
        eventually("the shop is changed", async || {
            self.api().put_shop(&settings).await.is_ok_and(|shop| shop.settings == settings)
        })
        .await;
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there is something that the service has to do.
    async fn has_work_for(&self, service: &str) -> bool {
        let more = |begun: &AtomicUsize, done: &AtomicUsize| {
            begun.load(Ordering::Relaxed) > done.load(Ordering::Relaxed)
        };
        match service {
            "catalog" => more(&self.updated, &self.taken),
            "shop" => more(&self.changed, &self.made),
            "gateway" => more(&self.ordered, &self.ended),
            _ => {
                let totals: Value = self.api().get("totals").await.unwrap_or_default();
                match service {
                    "payment" => totals["payments"]["pending"].as_i64() > Some(0),
                    "inventory" => orders(&totals, |group| group["status"] == "placed") > 0,
                    "order" => orders(&totals, |group| !is_settled(group)) > 0,
                    service => panic!("{service} is no service"),
                }
            }
        }
    }
}

/// How many orders are in the groups of which that holds.
fn orders(totals: &Value, holds: impl Fn(&Value) -> bool) -> i64 {
    let groups = totals["orders"]["groups"].as_array().into_iter().flatten();
    groups.filter(|group| holds(group)).map(|group| group["orders"].as_i64().unwrap_or(0)).sum()
}

fn is_settled(group: &Value) -> bool {
    group["status"] == "cancelled" || is_paid(group)
}

fn is_paid(group: &Value) -> bool {
    group["payment_status"] == "paid"
}

async fn each_process_is_killed_in_turn_and_every_order_settles_once(db: Db) {
    let mut server = TestServer::start().await;
    let folder = TempDir::new().expect("a temporary folder");
    let settings = settings(&server, &db, &folder);
    // One process makes the streams; six at once may, too, but drift is not what is tested.
    let engine = Engine::connect(settings.engine()).await.expect("it connects");
    let (sender, mut url) = watch::channel(String::new());
    let mut processes = Processes::start(settings, sender);
    url.wait_for(|url| !url.is_empty()).await.expect("the gateway listens");
    let [ordered, ended, updated, taken, changed, made] = [(); 6].map(|()| AtomicUsize::new(0));
    let shop = Shop { url, ordered, ended, updated, taken, changed, made };
    shop.open().await;

    let is_over = AtomicBool::new(false);
    let pushing = async {
        while !is_over.load(Ordering::Relaxed) {
            tokio::join!(shop.update(), shop.change());
            sleep(UPDATE_PAUSE).await;
        }
    };
    let trade = async {
        let clients = (0..CLIENTS).map(|client| {
            let shop = &shop;
            async move {
                let mut paid = 0;
                for number in (client..ORDERS).step_by(CLIENTS) {
                    paid += usize::from(shop.order(number).await == "paid");
                }
                paid
            }
        });
        let paid = join_all(clients).await.into_iter().sum::<usize>();
        is_over.store(true, Ordering::Relaxed);
        paid
    };
    let kills = kill_all(&mut processes, &mut server, &shop);
    let (paid, (), ()) = tokio::join!(trade, kills, pushing);
    assert_eq!(paid, UNITS, "by what the customers were answered");

    expect_all_ended(&shop, &server).await;
    let product: Value = shop.api().get("products/MUG").await.expect("the product");
    let last = shop.updated.load(Ordering::Relaxed);
    assert_eq!(product["title"], format!("A mug of the {last}. kiln"));
    assert_eq!(product["version"], last, "each update had its effect once");
    let version = shop.api().shop().await.expect("the shop").version;
    let last = shop.changed.load(Ordering::Relaxed);
    assert_eq!(version, last as u64, "each change had its effect once");
    processes.expect_alive();
    for (service, verified) in services::verify_all(&engine).await.expect("it can be verified") {
        assert_eq!(verified.mismatches, [], "{service} differs from its log");
    }
}

/// Processes that share a folder share the file with the identity, which one of them has at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_the_identity_of_another_one_lets_go_what_that_one_ran() {
    let db = Db::sqlite();
    let server = TestServer::start().await;
    let folder = TempDir::new().expect("a temporary folder");
    let settings = settings(&server, &db, &folder);
    Engine::connect(settings.engine()).await.expect("it connects");
    let (sender, mut url) = watch::channel(String::new());
    let mut processes = Processes { settings, running: Vec::new(), url: sender };
    let context = server.jetstream().await;
    let leases = context.get_stream_no_info("LEASES").await.expect("it is there");
    let claimed = async |service: &str| {
        let mut by = String::new();
        eventually(&format!("{service} is claimed"), async || {
            let claim = leases.get_last_raw_message_by_subject(&format!("lease.{service}.0")).await;
            by = claim
                .map_or_else(|_| String::new(), |it| String::from_utf8_lossy(&it.payload).into());
            !by.is_empty()
        })
        .await;
        by
    };
    let mut ids = Vec::new();
    for service in ["inventory", "catalog"] {
        processes.running.push(processes.spawn(service));
        ids.push(claimed(service).await);
        if service == "inventory" {
            processes.running.clear();
        }
    }
    assert_eq!(ids[0], ids[1], "it has the identity of the one that was killed");

    for service in ["shop", "inventory", "order", "payment", "gateway"] {
        processes.running.push(processes.spawn(service));
    }
    url.wait_for(|url| !url.is_empty()).await.expect("the gateway listens");
    let [ordered, ended, updated, taken, changed, made] = [(); 6].map(|()| AtomicUsize::new(0));
    let shop = Shop { url, ordered, ended, updated, taken, changed, made };
    shop.open().await;
    assert_eq!(shop.order(1).await, "paid");
}

/// Seven steps through the trade: kills each process once, in the middle of its work, and then the
/// server itself.
async fn kill_all(processes: &mut Processes, server: &mut TestServer, shop: &Shop) {
    let step = ORDERS / (SERVICES.len() + 2);
    let reach = async |orders| {
        eventually("trade goes on", async || shop.ended.load(Ordering::Relaxed) >= orders).await;
    };
    for (index, service) in SERVICES.iter().enumerate() {
        reach((index + 1) * step).await;
        let what = format!("there is work for {service}");
        eventually(&what, async || shop.has_work_for(service).await).await;
        processes.kill(index);
    }
    reach((SERVICES.len() + 1) * step).await;
    server.kill().await;
    server.start_again().await;
}

/// Checks the ends of all orders and payments, once the payment service has read all of them.
async fn expect_all_ended(shop: &Shop, server: &TestServer) {
    let mut totals = Value::Null;
    let mut captured = 0;
    eventually("every payment has come to its end", async || {
        totals = shop.api().get("totals").await.unwrap_or_default();
        let payments = &totals["payments"];
        let money = &payments["currencies"][0];
        let is_open = money["authorized"] != 0 || money["provider_held"] != 0;
        if is_open || payments["pending"] != 0 {
            return false;
        }
        let log = server.events::<events::proto::Event>("PAYMENT-0").await;
        let is_capture = |subject: &str| subject.rsplit('.').next() == Some("captured");
        captured = log.iter().filter(|entry| is_capture(&entry.subject)).count();
        captured as i64 == orders(&totals, is_paid) && orders(&totals, is_settled) == ORDERS as i64
    })
    .await;
    assert_eq!(captured, UNITS, "{totals}");
    assert_eq!(orders(&totals, is_paid), UNITS as i64, "{totals}");
    let cancelled = orders(&totals, |group| group["status"] == "cancelled");
    assert_eq!(cancelled, (ORDERS - UNITS) as i64, "{totals}");
    assert_eq!(totals["inventory"]["allocated"], UNITS, "{totals}");
    assert_eq!(totals["inventory"]["held"], 0, "{totals}");
    let taken = 300 * UNITS;
    assert_eq!(
        totals["payments"],
        json!({"pending": 0, "stuck": 0, "currencies": [{"currency": "GBP", "captured": taken,
            "refunded": 0, "authorized": 0, "provider_net": taken, "provider_held": 0}]})
    );
}
