//! A connector at a site that loses its connection: behind a leaf node, as `tradewind connector add --leaf` makes
//! it.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use client::Client;
use events::shop::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Answer, Intruder, eventually, install_tools, nats_server};
use tokio::process::{Child, Command};

use crate::rig::{self, SHOP, Serving, bare, output};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/erp.md");
/// The connector, and what its answers are sent to.
const CONNECTOR: &str = "warehouse";
const REPLIES: &str = "erp.reply.warehouse";
const STOCK: &str = "erp.v1.acme.stock";

/// An installation and a site, each with a nats-server.
struct Sites {
    folder: TempDir,
    port: u16,
    leaf_port: u16,
    listen: String,
    main: Child,
    _leaf: Child,
    _serving: Serving,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address").port()
}

/// Runs a command that must succeed.
async fn succeed(arguments: &[&str]) {
    let output = output(bare(arguments)).await;
    assert_eq!(output.code, Some(0), "{output:?}");
}

fn start_server(configuration: &Path, port: u16, store: &Path) -> Child {
    let mut command = Command::new(nats_server());
    command
        .arg("--config")
        .arg(configuration)
        .args(["--port", &port.to_string()])
        .env("TRADEWIND_NATS_STORE", store)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    if configuration.ends_with("single.conf") {
        command.args(["--http_port", &free_port().to_string()]);
    }
    command.spawn().expect("nats-server starts")
}

impl Sites {
    async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let made = path("made").display().to_string();
        succeed(&["init", &made]).await;
        let address = format!("nats-leaf://127.0.0.1:{}", free_port());
        let add = ["connector", "add", CONNECTOR, "--shop", SHOP, "--leaf", &address];
        succeed(&[&add[..], &["--folder", &made]].concat()).await;
        let (port, leaf_port) = (free_port(), free_port());
        let main = start_server(&path("made/nats/single.conf"), port, &path("store"));
        let listen = format!("127.0.0.1:{}", free_port());
        let mut serve = bare(&["serve", "--listen", &listen, "--log", "warn"]);
        serve
            .args(["--nats-url", &format!("nats://127.0.0.1:{port}")])
            .arg("--nats-key-file")
            .arg(path("made/keys/tradewind.nk"))
            .arg("--api-key-file")
            .arg(path("made/api-key"))
            .arg("--database")
            .arg(path("projections"))
            .arg("--person-keys")
            .arg(path("person-keys"))
            .arg("--provider-dir")
            .arg(path("provider"))
            .kill_on_drop(true);
        let serving = Serving::of(serve.spawn().expect("it starts"));
        let leaf = path(&format!("made/leaf-{CONNECTOR}/leaf.conf"));
        let leaf = start_server(&leaf, leaf_port, &path("leaf-store"));
        let sites = Self { folder, port, leaf_port, listen, main, _leaf: leaf, _serving: serving };
        sites.is_ready().await;
        sites
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn is_ready(&self) {
        let url = format!("http://{}/readyz", self.listen);
        eventually("the gateway is ready", async || {
            rig::get(&url).await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    fn api(&self) -> Client {
        let key = fs::read_to_string(self.path("made/api-key")).expect("it was made");
        let url = format!("http://{}", self.listen);
        Client::new(&url, key.trim(), SHOP).expect("a client")
    }

    async fn on_hand(&self) -> i64 {
        let level: Value = self.api().get("inventory/MUG").await.expect("the level");
        level["on_hand"].as_i64().expect("units")
    }

    /// The file with the key that the connector has at the leaf node.
    fn key(&self) -> PathBuf {
        self.path(&format!("made/leaf-{CONNECTOR}/{CONNECTOR}.nk"))
    }

    fn leaf_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.leaf_port)
    }

    /// The connector, as it is at its leaf node.
    async fn connector(&self) -> Intruder {
        let seed = fs::read_to_string(self.key()).expect("it was made");
        let mut connector = None;
        eventually("the leaf node takes connections", async || {
            connector = Intruder::connect_with_key(&self.leaf_url(), &seed).await;
            connector.is_some()
        })
        .await;
        connector.expect("it is connected")
    }

    /// The link, and all that is behind it, is lost.
    async fn lose(&mut self) {
        self.main.kill().await.expect("it runs");
    }

    /// And comes back.
    async fn come_back(&mut self) {
        self.main =
            start_server(&self.path("made/nats/single.conf"), self.port, &self.path("store"));
        self.is_ready().await;
    }
}

fn adjustment(number: u64) -> Vec<u8> {
    let line = json!({"type": "adjustment", "sku": "MUG", "delta": 1, "reason": "found",
        "connector": "wms", "document": format!("A-{number}"), "sequence": number});
    line.to_string().into_bytes()
}

/// What became of a line, if that is answered.
fn result(answer: &Answer) -> Option<String> {
    answer.header("Tradewind-Status")?;
    let body: Value = serde_json::from_slice(&answer.payload).ok()?;
    Some(body["results"][0]["result"].as_str()?.to_owned())
}

/// Sends a line until it is answered.
async fn send(connector: &mut Intruder, line: &[u8]) -> String {
    let mut answered = None;
    eventually("it is answered", async || {
        let answer = connector.request(STOCK, REPLIES, &[], line.to_vec()).await;
        answered = answer.as_ref().and_then(result);
        answered.is_some()
    })
    .await;
    answered.expect("it is answered")
}

/// Asks the JetStream of the leaf node.
async fn ask(connector: &mut Intruder, subject: &str, request: &Value) -> Value {
    let request = request.to_string().into_bytes();
    let answer = connector.request(subject, REPLIES, &[], request).await.expect("it is answered");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("it is JSON");
    assert!(answer.get("error").is_none(), "{subject}: {answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_while_the_link_is_down_is_applied_once_when_it_is_back() {
    let mut sites = Sites::start().await;
    let api = sites.api();
    api.create_shop(&Settings::default()).await.expect("it is created");
    let product =
        json!({"sku": "MUG", "title": "A mug", "price": {"minor": 950, "currency": "GBP"}});
    assert_eq!(api.push("products", product.to_string()).await.expect("it is pushed").rejected, 0);
    let mut connector = sites.connector().await;
    assert_eq!(send(&mut connector, &adjustment(1)).await, "applied");
    assert_eq!(sites.on_hand().await, 1);

    sites.lose().await;
    // There is no answer, and that is said at once.
    eventually("the leaf node has noticed", async || {
        let answer = connector.request(STOCK, REPLIES, &[], adjustment(2)).await;
        answer.is_some_and(|answer| result(&answer).is_none() && answer.payload.is_empty())
    })
    .await;
    // The leaf node keeps lines all the same.
    let stream = json!({"name": "OUTBOX", "subjects": ["outbox.>"], "retention": "workqueue",
        "storage": "file", "num_replicas": 1});
    ask(&mut connector, "$JS.API.STREAM.CREATE.OUTBOX", &stream).await;
    for number in [3, 4] {
        let line = serde_json::from_slice(&adjustment(number)).expect("it is JSON");
        let stored = ask(&mut connector, "outbox.stock", &line).await;
        assert_eq!(stored["stream"], "OUTBOX", "{stored}");
    }

    sites.come_back().await;
    assert_eq!(send(&mut connector, &adjustment(2)).await, "applied");
    let consumer = json!({"stream_name": "OUTBOX", "config": {"durable_name": "forward",
        "ack_policy": "explicit", "max_ack_pending": 1}});
    ask(&mut connector, "$JS.API.CONSUMER.CREATE.OUTBOX.forward", &consumer).await;
    for _ in [3, 4] {
        let next = "$JS.API.CONSUMER.MSG.NEXT.OUTBOX.forward";
        let kept = connector.request(next, REPLIES, &[], Vec::new()).await.expect("there is one");
        assert_eq!(kept.subject, "outbox.stock");
        assert_eq!(send(&mut connector, &kept.payload).await, "applied");
        let handled = kept.reply.expect("it is to be acknowledged");
        connector.request(&handled, REPLIES, &[], b"+ACK".to_vec()).await.expect("it is stored");
    }
    // Sent once more, nothing has a second effect.
    for number in 1..=4 {
        assert_eq!(send(&mut connector, &adjustment(number)).await, "duplicate");
    }
    assert_eq!(sites.on_hand().await, 4);
    the_program_of_the_page_prints_what_it_says(&sites).await;
}

/// Python that keeps lines at the leaf node and forwards them.
async fn the_program_of_the_page_prints_what_it_says(sites: &Sites) {
    // They have the client of NATS for Python.
    let readers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/readers");
    let tools = install_tools(&readers, Path::new(env!("CARGO_TARGET_TMPDIR"))).await;
    let Some(tools) = tools else { return };
    let page = fs::read_to_string(PAGE).expect("the page is there");
    let block = |begin: &str| {
        let (_, rest) = page.split_once(begin).expect("the page has such a block");
        rest.split_once("```").expect("it ends").0.to_owned()
    };
    let mut program = Command::new(tools.join("python/bin/python"));
    program
        .args(["-c", &block("```python forward\n")])
        .env("NATS_URL", sites.leaf_url())
        .env("NATS_NKEY_FILE", sites.key());
    let output = program.output().await.expect("it runs");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(out, block("```output forward\n"), "{err}");
    assert_eq!(sites.on_hand().await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_leaf_node_may_do_what_its_connector_may_and_nothing_else() {
    let sites = Sites::start().await;
    let api = sites.api();
    api.create_shop(&Settings::default()).await.expect("it is created");
    let product =
        json!({"sku": "MUG", "title": "A mug", "price": {"minor": 950, "currency": "GBP"}});
    assert_eq!(api.push("products", product.to_string()).await.expect("it is pushed").rejected, 0);
    let mut connector = sites.connector().await;
    assert_eq!(send(&mut connector, &adjustment(1)).await, "applied");
    for subject in ["erp.v1.beta.stock", "inbox.0.live.inventory.acme.record_stock", "outbox"] {
        assert!(!connector.may_publish(subject).await, "{subject}");
    }
    // The site's own operator lets everybody do everything, and starts it again.
    let folder = sites.path("made/leaf-warehouse");
    let open = folder.join("open.conf");
    let text = fs::read_to_string(folder.join("leaf.conf")).expect("it was made");
    fs::write(&open, text.replace("include \"users.conf\"", "")).expect("it is written");
    let port = free_port();
    let _server = start_server(&open, port, &sites.path("open-store"));
    let url = format!("nats://127.0.0.1:{port}");
    let mut stranger = None;
    eventually("it takes connections", async || {
        stranger = Intruder::connect(&url).await;
        stranger.is_some()
    })
    .await;
    let mut stranger = stranger.expect("it is connected");
    assert_eq!(send(&mut stranger, &adjustment(1)).await, "duplicate", "the link is up");
    let mut overheard = stranger.answers("inventory").await;
    for subject in [
        "inbox.0.live.inventory.acme.record_stock",
        "$JS.API.STREAM.PURGE.INVENTORY-0",
        "erp.v1.beta.stock",
        "query.inventory.0",
    ] {
        stranger.publish_with_reply(subject, "erp.reply.warehouse.1", adjustment(7)).await;
    }
    assert_eq!(send(&mut stranger, &adjustment(2)).await, "applied");
    assert_eq!(sites.on_hand().await, 2);
    assert_eq!(overheard.now(), None, "the log is not for it");
    let events: Value = api.get("events").await.expect("the feed is read");
    let found = events["events"].as_array().expect("events").iter();
    let of_stock = found.filter(|event| event["type"].as_str() == Some("inventory.adjusted"));
    assert_eq!(of_stock.count(), 2, "{events}");
}
