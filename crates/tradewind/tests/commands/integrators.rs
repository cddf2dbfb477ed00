//! `tradewind integrator`: the programs that it prints, in each language, read the events that the feed has.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
};

use client::Client;
use node::nats_users;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{TestServer, eventually, install_tools};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::rig::{self, Installation, SETTLE_TIMEOUT, SHOP, bare, output};

/// The name of the integrator.
const NAME: &str = "reports";
/// How many subscriptions each program makes.
const SUBSCRIPTIONS: u64 = 5;

/// A program that runs, and what it has printed.
struct Running {
    language: &'static str,
    printed: Arc<Mutex<Vec<String>>>,
    _child: Child,
}

impl Running {
    fn start(language: &'static str, mut command: Command, url: &str) -> Self {
        command.env("NATS_URL", url).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{language}: {error}"));
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let known = printed.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                known.lock().expect("nobody panicked").push(line);
            }
        });
        Self { language, printed, _child: child }
    }

    fn printed(&self) -> Vec<String> {
        self.printed.lock().expect("nobody panicked").clone()
    }
}

/// A nats-server that knows the users of an installation and an integrator, who was added to the folder `here`.
async fn server_with_integrator(folder: &Path) -> TestServer {
    let mut users = nats_users::for_this_run();
    let file = folder.join("here/nats/users.conf");
    for part in ["here/nats", "here/keys"] {
        fs::create_dir_all(folder.join(part)).expect("the folder can be made");
    }
    fs::write(&file, &users.configuration).expect("it is written");
    let mut add = bare(&["integrator", "add", NAME, "--shop", SHOP, "--folder", "here"]);
    add.current_dir(folder);
    let added = output(add).await;
    assert_eq!(added.code, Some(0), "{added:?}");
    assert!(added.out.contains("tradewind integrator example python reports"), "{added:?}");
    users.configuration = fs::read_to_string(&file).expect("it is there");
    TestServer::start_with_users(users).await
}

/// What the command prints as the program in a language.
async fn program(folder: &Path, language: &str, url: &str) -> String {
    let mut command = bare(&["integrator", "example", language, NAME, "--shop", SHOP]);
    command.args(["--folder", "here", "--nats-url", url]).current_dir(folder);
    let printed = output(command).await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    printed.out
}

/// The tools of a folder of the tests.
async fn tools(name: &str) -> Option<PathBuf> {
    let listed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(name);
    install_tools(&listed, Path::new(env!("CARGO_TARGET_TMPDIR"))).await
}

/// Starts the program in each language that can be had here.
async fn start_all(folder: &Path, url: &str) -> Vec<Running> {
    let at = |name: &str| folder.join(name);
    let text = program(folder, "rust", url).await;
    assert!(text.contains("events::proto::Event"), "{text}");
    // Compiled as it stands, which finds the key in `here`.
    let compiled = Path::new(env!("CARGO_BIN_EXE_tradewind")).with_file_name("examples/integrator");
    let mut command = Command::new(compiled);
    command.current_dir(folder);
    let mut running = vec![Running::start("rust", command, url)];

    if let Some(tools) = tools("readers").await {
        let generate =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/readers/generate.sh");
        let mut command = Command::new(generate);
        command.arg(&tools);
        let generated = output(command).await;
        assert_eq!(generated.code, Some(0), "{generated:?}");
        fs::write(at("read.py"), program(folder, "python", url).await).expect("it is written");
        let mut command = Command::new(tools.join("python/bin/python"));
        command.arg(at("read.py")).env("PYTHONPATH", tools.join("gen-python"));
        running.push(Running::start("python", command, url));

        let text = program(folder, "javascript", url).await;
        fs::write(at("read.mjs"), text).expect("it is written");
        for (from, to) in [("node_modules", "node_modules"), ("gen-js", "gen")] {
            symlink(tools.join(from), at(to)).expect("a link can be made");
        }
        fs::write(at("package.json"), "{\"type\": \"module\"}").expect("it is written");
        let mut command = Command::new("node");
        command.arg(at("read.mjs"));
        running.push(Running::start("javascript", command, url));
    }
    if let Some(tools) = tools("webhook-receivers").await {
        fs::write(at("read.go"), program(folder, "go", url).await).expect("it is written");
        let mut build = Command::new(tools.join("python/bin/go"));
        build.args(["build", "-o"]).arg(at("read-go")).arg(at("read.go"));
        build.env("GOCACHE", tools.join("go-cache")).env("GOTOOLCHAIN", "local");
        let compiled = output(build).await;
        assert_eq!(compiled.code, Some(0), "{compiled:?}");
        running.push(Running::start("go", Command::new(at("read-go")), url));
    }
    running
}

/// How many subscriptions the integrator has at the server.
async fn subscriptions(server: &TestServer, user: &str) -> u64 {
    let url = format!("{}/connz?auth=true", server.monitor_url());
    let Ok(answer) = rig::get(&url).await else { return 0 };
    let connections: Value = answer.json().await.unwrap_or_default();
    let connections = connections["connections"].as_array().cloned().unwrap_or_default();
    let ours = connections.iter().filter(|it| it["authorized_user"] == user);
    ours.filter_map(|it| it["subscriptions"].as_u64()).sum()
}

/// The events of the feed behind a cursor, as the programs print them, by aggregate.
async fn by_aggregate(api: &Client, after: &str) -> BTreeMap<String, Vec<String>> {
    let page: Value = api
        .query("events", &[("after", after), ("limit", "1000")])
        .await
        .expect("the feed is read");
    assert_eq!(page["at_end"], true, "{page}");
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in page["events"].as_array().expect("a list") {
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        let line = format!("{} {} {}", text("id"), text("type"), text("position"));
        found.entry(text("subject")).or_default().push(line);
    }
    found
}

async fn place(api: &Client, units: i64, key: &str) {
    let order = json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": units}]});
    let placed = api.place(&order, key, Some(SETTLE_TIMEOUT)).await.expect("an answer");
    assert_eq!(placed.status.as_u16(), 201, "{placed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_of_an_integrator_print_the_events_of_the_feed() {
    let folder = TempDir::new().expect("a temporary folder");
    let server = server_with_integrator(folder.path()).await;
    let key = fs::read_to_string(folder.path().join("here/keys/reports.nk")).expect("it is there");
    let user = nkeys::KeyPair::from_seed(key.trim()).expect("a key").public_key();
    let address = server.url().rsplit('@').next().expect("an address").to_owned();
    let installation = Installation::on_server(server);
    let serving = installation.serve(&["serve"]).await;
    installation.stock("MUG", 20).await;

    let running = start_all(folder.path(), &format!("nats://{address}")).await;
    let wanted = SUBSCRIPTIONS * running.len() as u64;
    eventually("all have subscribed", async || {
        subscriptions(&installation.server, &user).await >= wanted
    })
    .await;
    let api = installation.api();
    let end: Value = api.query("events", &[("after", "end")]).await.expect("the feed is read");
    let end = end["next"].as_str().expect("a cursor");
    place(&api, 2, "first").await;
    place(&api, 90, "too-many").await;
    place(&api, 3, "second").await;

    for program in &running {
        eventually("it has printed what the feed has", async || {
            let feed = by_aggregate(&api, end).await;
            let wanted: usize = feed.values().map(Vec::len).sum();
            wanted >= 20 && program.printed().len() == wanted
        })
        .await;
        for (aggregate, lines) in by_aggregate(&api, end).await {
            let mut printed = program.printed();
            printed.retain(|line| lines.contains(line));
            assert_eq!(printed, lines, "{}: {aggregate}", program.language);
        }
    }
    serving.stop().await;
}
