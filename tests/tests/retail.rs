//! Days of a real retailer, replayed in this process: what comes out is what an independent count of
//! the same files says, everything reconciles, and the same again changes nothing.
//!
//! The data is not part of the repository. It is looked for in the folder that `TRADEWIND_SHARED`
//! names, else beside the repository; where it is absent, these tests are skipped.

use std::{
    path::{Path, PathBuf},
    process::Command as Process,
};

use clap::Parser;
use engine::server::Server;
use serde_json::{Map, Value, json};
use tradewind::{
    api::Api,
    cli::{Cli, Command, Replay},
    embedded::Embedded,
    replay::{self, Options, plan::Plan, report::Report},
    settings::Settings,
};

/// The key of the installation's API.
const KEY: &str = "secret";

#[tokio::test(flavor = "multi_thread")]
async fn the_first_day_is_sold_out_of_ample_stock() {
    let Some(retail) = Retail::find("2010-12-01") else { return };
    let report = retail.replay_once("ample").await;
    assert_eq!(report.trade.paid.orders, 127, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_day_runs_out_of_tight_stock() {
    let Some(retail) = Retail::find("2010-12-01") else { return };
    let report = retail.replay_once("tight").await;
    assert!(report.trade.paid.orders > 0, "{report}");
    assert!(report.trade.out_of_stock.orders > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_days_run_out_of_tight_stock() {
    let Some(retail) = Retail::find("2010-12-0") else { return };
    let report = retail.replay_once("tight").await;
    assert!(report.trade.paid.orders > 0, "{report}");
    assert!(report.trade.out_of_stock.orders > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_days_replayed_again_change_nothing() {
    let Some(retail) = Retail::find("2010-12-0") else { return };
    let (settings, options) = retail.options("ample");
    let plan = Plan::read(&options.files).expect("the files are read");
    let installation = Installation::start(&settings).await;

    let first = installation.replay(&options, &plan).await;
    retail.check(&first);
    assert_eq!((first.trade.known, first.trade.paid.orders), (0, 834), "{first}");
    let before = installation.everything().await;

    let again = installation.replay(&options, &plan).await;
    retail.check(&again);
    let trade = &again.trade;
    assert_eq!((trade.known, trade.paid.orders), (834, 834), "{again}");
    for pushed in [&trade.catalogue, &trade.opening, &trade.documents] {
        assert_eq!(pushed.applied, 0, "{again}");
        assert!(pushed.known > 0, "{again}");
    }
    assert_eq!(installation.everything().await, before);
    installation.stop().await;
}

/// Some day files, and what an independent count of them says.
struct Retail {
    files: Vec<PathBuf>,
    counted: Map<String, Value>,
}

impl Retail {
    /// The files whose names begin so; none, with the reason on the terminal, where there is no
    /// data or nothing to count it with.
    #[expect(clippy::print_stdout, reason = "a test that is skipped must say so")]
    fn find(beginning: &str) -> Option<Self> {
        let shared = std::env::var_os("TRADEWIND_SHARED").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
            PathBuf::from,
        );
        let folder = shared.join("data/online-retail");
        let Ok(entries) = std::fs::read_dir(&folder) else {
            println!("skipped: there is no data in {}", folder.display());
            return None;
        };
        let mut files: Vec<_> = entries.map(|entry| entry.expect("can be read").path()).collect();
        files.retain(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(beginning) && name.ends_with(".csv")
        });
        files.sort();
        let oracle = shared.join("tools/retail_oracle.py");
        let counted = match Process::new("python3").arg(&oracle).args(&files).output() {
            Ok(counted) => counted,
            Err(error) => {
                println!("skipped: cannot run python3: {error}");
                return None;
            }
        };
        assert!(counted.status.success(), "{}", String::from_utf8_lossy(&counted.stderr));
        let counted = serde_json::from_slice(&counted.stdout).expect("the count is an object");
        Some(Self { files, counted })
    }

    fn options(&self, stock: &str) -> (Settings, Options) {
        let arguments = ["tradewind", "replay", "retail", "--stock", stock, "--api-key", KEY];
        let arguments = arguments.into_iter().map(Into::into);
        let files = self.files.iter().map(|file| file.clone().into_os_string());
        let cli = Cli::try_parse_from(arguments.chain(files)).expect("the arguments are valid");
        let Command::Replay(Replay::Retail(options)) = cli.command else { panic!("is the replay") };
        (cli.settings, options)
    }

    /// Replays the files into an installation of their own, and checks what comes out.
    async fn replay_once(&self, stock: &str) -> Report {
        let (settings, options) = self.options(stock);
        let plan = Plan::read(&options.files).expect("the files are read");
        let installation = Installation::start(&settings).await;
        let report = installation.replay(&options, &plan).await;
        installation.stop().await;
        self.check(&report);
        report
    }

    /// Checks that a report agrees with the count, with the installation, and with the logs.
    #[track_caller]
    fn check(&self, report: &Report) {
        let json = report.json();
        for (name, counted) in &self.counted {
            assert_eq!(json[name], *counted, "{name}: {report}");
        }
        // The count leaves out what there is none of.
        let Value::Object(figures) = json!(report.figures) else { panic!("is an object") };
        for (name, figure) in &figures {
            assert_eq!(self.counted.get(name).unwrap_or(&json!(0)), figure, "{name}: {report}");
        }
        assert!(report.is_in_order(), "{report}");
        let checks = json["reconciliation"].as_array().expect("is a list");
        assert!(checks.len() > 10 && checks.iter().all(|check| check["ok"] == true), "{json:#}");
        assert_eq!(json["verify"]["mismatches"], 0, "{json:#}");
        assert!(json["verify"]["rows"].as_u64().is_some_and(|rows| rows > 1_000), "{json:#}");
    }
}

/// An installation of a test's own.
struct Installation {
    embedded: Embedded,
    _folder: tempfile::TempDir,
}

impl Installation {
    async fn start(settings: &Settings) -> Self {
        let folder = tempfile::tempdir().expect("a private folder");
        let server = Server::start(testkit::nats_server(), &folder.path().join("nats"), "").await;
        let server = server.expect("nats-server starts");
        let settings = Settings { listen: ([127, 0, 0, 1], 0).into(), ..settings.clone() };
        let embedded = Embedded::on(server, &settings, folder.path()).await.expect("starts");
        Self { embedded, _folder: folder }
    }

    async fn replay(&self, options: &Options, plan: &Plan) -> Report {
        replay::replay_embedded(&self.embedded, options, plan).await.expect("the replay ends")
    }

    /// What the services count, and each stock level with its version.
    async fn everything(&self) -> Vec<Value> {
        let api = Api::new(&self.embedded.url, KEY, "retail").expect("a client");
        let mut everything = vec![api.get("totals").await.expect("the totals")];
        let mut after = String::new();
        loop {
            let page: Value =
                api.get(&format!("inventory?limit=1000{after}")).await.expect("a page");
            let next = page["next"].as_str().map(|next| format!("&after={next}"));
            everything.push(page);
            match next {
                Some(next) => after = next,
                None => return everything,
            }
        }
    }

    async fn stop(self) {
        self.embedded.stop().await.expect("stops");
    }
}
