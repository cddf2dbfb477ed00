//! An installation for one test, and the program run in it.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use client::Client;
use events::shop::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Db, TestServer, eventually};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// The key of the gateway.
pub(crate) const KEY: &str = "secret";
/// The shop.
pub(crate) const SHOP: &str = "acme";
/// How long a request waits until an order is settled.
pub(crate) const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a process may take to end by itself.
pub(crate) const EXIT_TIMEOUT: Duration = Duration::from_mins(1);

/// A server, databases, and an address for the gateway.
pub(crate) struct Installation {
    pub(crate) server: TestServer,
    pub(crate) db: Db,
    pub(crate) listen: SocketAddr,
    pub(crate) folder: TempDir,
    /// Where the keys of persons are, when it is not in a folder.
    keys: Option<Db>,
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A process that serves, and is killed when it is dropped.
pub(crate) struct Serving(Child);

impl Installation {
    pub(crate) async fn new() -> Self {
        Self::on_server(TestServer::start().await)
    }

    /// With this server.
    pub(crate) fn on_server(server: TestServer) -> Self {
        Self::on(server, Db::sqlite(), None)
    }

    /// On Postgres, with the keys of persons in a database of their own. `None` where there is none.
    pub(crate) async fn on_postgres() -> Option<Self> {
        let (db, keys) = (Db::postgres().await?, Db::postgres().await?);
        let installation = Self::on(TestServer::start().await, db, Some(keys));
        let master = "first:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
        fs::write(installation.master_key_file(), master).expect("it is written");
        Some(installation)
    }

    fn on(server: TestServer, db: Db, keys: Option<Db>) -> Self {
        Self {
            server,
            db,
            keys,
            listen: free_address(),
            folder: TempDir::new().expect("a temporary folder"),
        }
    }

    /// The program with these arguments, and the settings of this installation.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(arguments);
        command
            .env("TRADEWIND_NATS_URL", self.server.url())
            .args(["--nats-monitor-url", &self.server.monitor_url()])
            .args(["--listen", &self.listen.to_string()])
            .env("TRADEWIND_API_KEY", KEY)
            .arg("--database")
            .arg(self.db.setting())
            .arg("--provider-dir")
            .arg(self.folder.path().join("provider"));
        match &self.keys {
            None => command.arg("--person-keys").arg(self.folder.path().join("person-keys")),
            Some(keys) => command
                .args(["--person-keys", &keys.setting()])
                .arg("--master-key-file")
                .arg(self.master_key_file()),
        };
        command
    }

    /// The file of master keys, when the keys of persons are on Postgres.
    pub(crate) fn master_key_file(&self) -> PathBuf {
        self.folder.path().join("master-keys")
    }

    /// All that is stored anywhere: in streams, databases and files, and with the keys of persons.
    pub(crate) async fn dump(&self) -> Vec<Vec<u8>> {
        let folder = testkit::files(self.folder.path());
        let mut all = vec![self.server.dump().await, self.db.dump().await, folder];
        if let Some(keys) = &self.keys {
            all.push(keys.dump().await);
        }
        all
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> CommandOutput {
        output(self.command(arguments)).await
    }

    /// Starts a process.
    pub(crate) fn start(&self, arguments: &[&str]) -> Serving {
        let mut command = self.command(arguments);
        command.args(["--log", "warn"]).kill_on_drop(true);
        Serving(command.spawn().expect("the process starts"))
    }

    /// Starts a process that logs all there is to a file, and waits until it takes requests.
    pub(crate) async fn serve_traced(&self, arguments: &[&str], log: &Path) -> Serving {
        let mut command = self.command(arguments);
        let log = fs::OpenOptions::new().create(true).append(true).open(log);
        command.args(["--log", "trace"]).stderr(log.expect("it is opened")).kill_on_drop(true);
        let serving = Serving(command.spawn().expect("the process starts"));
        self.ready().await;
        serving
    }

    /// Starts a process with a gateway and variables of the environment, and waits until it takes requests.
    pub(crate) async fn serve_in(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Serving {
        let mut command = self.command(arguments);
        command.args(["--log", "warn"]).envs(variables.iter().copied()).kill_on_drop(true);
        let serving = Serving(command.spawn().expect("the process starts"));
        self.ready().await;
        serving
    }

    /// Starts a process with a gateway, and waits until it takes requests.
    pub(crate) async fn serve(&self, arguments: &[&str]) -> Serving {
        let serving = self.start(arguments);
        self.ready().await;
        serving
    }

    async fn ready(&self) {
        await_ready(self.listen).await;
    }

    pub(crate) fn api(&self) -> Client {
        self.api_of(SHOP)
    }

    /// A client of a shop of that name.
    pub(crate) fn api_of(&self, shop: &str) -> Client {
        Client::new(&format!("http://{}", self.listen), KEY, shop)
            .expect("a client")
            .without_retries()
    }

    /// Creates the shop.
    pub(crate) async fn create_shop(&self) {
        let created = self.api().create_shop(&Settings::default()).await;
        created.expect("the shop is created");
    }

    /// Creates the shop, puts a product there, and units of it.
    pub(crate) async fn stock(&self, sku: &str, units: i64) {
        self.stock_in(SHOP, sku, units).await;
    }

    /// Creates a shop of that name, puts a product there, and units of it.
    pub(crate) async fn stock_in(&self, shop: &str, sku: &str, units: i64) {
        let api = self.api_of(shop);
        api.create_shop(&Settings::default()).await.expect("the shop is created");
        let product = json!({"sku": sku, "title": sku, "price": {"minor": 250, "currency": "GBP"}});
        let pushed = api.push("products", product.to_string()).await;
        assert_eq!(pushed.expect("it is pushed").rejected, 0);
        let count = json!({"type": "count", "sku": sku, "quantity": units, "connector": "erp",
            "document": format!("opening/{sku}"), "sequence": 1});
        let pushed = api.push("inventory", count.to_string()).await;
        assert_eq!(pushed.expect("it is pushed").applied, 1);
    }
}

impl Serving {
    /// A process that was started.
    pub(crate) fn of(process: Child) -> Self {
        Self(process)
    }

    /// Asks it to stop, as a supervisor does.
    pub(crate) async fn terminate(&self) {
        let id = self.0.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it has ended.
    pub(crate) async fn ends(&mut self) -> ExitStatus {
        let ended = timeout(EXIT_TIMEOUT, self.0.wait()).await;
        ended.expect("it ends in time").expect("it can be waited for")
    }

    /// Kills it (`kill -9`).
    pub(crate) async fn kill(mut self) {
        self.0.kill().await.expect("it is killed");
    }

    /// Asks it to stop, and waits until it has, without an error.
    pub(crate) async fn stop(mut self) {
        self.terminate().await;
        assert_eq!(self.ends().await.code(), Some(0));
    }
}

/// An address of this machine that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address")
}

/// The program with these arguments, and nothing that the environment of the tests says.
pub(crate) fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    // What is made by default is not left beside the sources.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRADEWIND_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A client of HTTP. Any wants to know how it would encrypt, also where it never does.
pub(crate) fn http() -> reqwest::Client {
    engine::plain_http().build().expect("a client")
}

/// Reads what is at that address.
pub(crate) async fn get(url: &str) -> reqwest::Result<reqwest::Response> {
    http().get(url).send().await
}

/// The readiness of a process: the status of the answer, and the document; nothing while it does not listen.
pub(crate) async fn readiness(address: SocketAddr) -> Option<(u16, Value)> {
    let answer = get(&format!("http://{address}/readyz")).await.ok()?;
    Some((answer.status().as_u16(), answer.json().await.expect("it is JSON")))
}

/// Waits until a process is ready.
pub(crate) async fn await_ready(address: SocketAddr) {
    eventually("the process is ready", async || {
        readiness(address).await.is_some_and(|(status, _)| status == 200)
    })
    .await;
}

/// Runs a command to its end.
pub(crate) async fn output(mut command: Command) -> CommandOutput {
    let output = timeout(EXIT_TIMEOUT, command.kill_on_drop(true).output()).await;
    let output = output.expect("it ends in time").expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it is UTF-8");
    CommandOutput { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
