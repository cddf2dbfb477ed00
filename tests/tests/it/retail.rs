//! Days of a real retailer, replayed in this process: what comes out is what an independent count of
//! the same files says, everything reconciles, and the same again changes nothing.
//!
//! The data is not part of the repository. It is looked for in the folder that `TRADEWIND_SHARED`
//! names; where it is absent from there, these tests fail. Where the variable is not set, it is looked
//! for beside the repository, and where it is absent from there, these tests are skipped.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    process::Command as Process,
};

use client::Client;
use engine::{Engine, Logged, server::Server};
use events::{http::LevelView, names::event_name, proto};
use lab::replay::{
    self, Options,
    plan::{Plan, Stock},
    report::Report,
};
use node::{embedded::Embedded, services, settings::Settings};
use serde_json::{Map, Value, json};

/// The key of the installation's API.
const KEY: &str = "secret";

#[tokio::test(flavor = "multi_thread")]
async fn the_first_day_is_sold_out_of_ample_stock() {
    let Some(retail) = Retail::find("2010-12-01") else { return };
    let report = Box::pin(retail.replay_once("ample")).await;
    assert_eq!(report.trade.paid.orders, 127, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_day_runs_out_of_tight_stock() {
    let Some(retail) = Retail::find("2010-12-01") else { return };
    let report = Box::pin(retail.replay_once("tight")).await;
    assert!(report.trade.paid.orders > 0, "{report}");
    assert!(report.trade.out_of_stock.orders > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_days_of_ample_stock_replayed_again_change_nothing() {
    let Some(retail) = Retail::find("2010-12-0") else { return };
    let report = Box::pin(retail.replay_twice("ample")).await;
    assert_eq!(report.trade.paid.orders, 834, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_days_of_tight_stock_replayed_again_change_nothing() {
    let Some(retail) = Retail::find("2010-12-0") else { return };
    let report = Box::pin(retail.replay_twice("tight")).await;
    assert!(report.trade.paid.orders > 0, "{report}");
    assert!(report.trade.out_of_stock.orders > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_known_are_found_by_their_references() {
    let Some(retail) = Retail::find("2010-12-01") else { return };
    let (settings, options) = retail.options("tight");
    let plan = Plan::read(&options.files).expect("the files are read");
    let installation = Installation::start(&settings).await;
    let first = installation.replay(&options, &plan).await;
    let before = (installation.log_ends().await, installation.everything().await);

    let options = Options { key_prefix: "another".to_owned(), ..options };
    let again = installation.replay(&options, &plan).await;
    retail.check(&again);
    // A cancelled order has given its reference back: it is placed again, and finds no stock again.
    let paid = first.trade.paid.orders;
    assert_eq!((again.trade.known, again.trade.paid), (paid, first.trade.paid), "{again}");
    assert_eq!(again.trade.out_of_stock, first.trade.out_of_stock, "{again}");
    // Each is a command of its own, and those that were paid are answered that their reference is taken.
    let kinds = installation.kinds_since("order", &before.0).await;
    let count = |kind: &str| kinds.iter().filter(|it| *it == kind).count() as u64;
    let cancelled = 127 - paid;
    assert_eq!(
        [count("answered"), count("placed"), count("cancelled")],
        [paid, cancelled, cancelled]
    );
    assert_eq!(kinds.len() as u64, paid + 2 * cancelled, "{kinds:?}");
    assert_eq!(installation.kinds_since("payment", &before.0).await, [""; 0]);
    installation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_overlap_with_others_add_only_what_is_new() {
    let Some(all) = Retail::find("2010-12-0") else { return };
    let (first, second) = (all.part(0..3), all.part(2..5));
    let (settings, options) = first.options("ample");
    let installation = Installation::start(&settings).await;
    let plan = Plan::read(&options.files).expect("the files are read");
    let report = installation.replay(&options, &plan).await;
    first.check_first(&report, &plan);
    let products = installation.products().await;

    let overlap = Plan::read(&all.files[2..3]).expect("the file is read");
    let (_, options) = second.options("ample");
    let plan = Plan::read(&options.files).expect("the files are read");
    let report = installation.replay(&options, &plan).await;
    second.check(&report);
    let trade = &report.trade;
    assert_eq!(trade.known, overlap.figures.orders, "{report}");
    assert_eq!(trade.documents.known, overlap.documents(), "{report}");
    assert_eq!(trade.shipments.known, overlap.figures.order_lines, "{report}");
    assert!(trade.follows_other_files && trade.opening.applied > 0, "{report}");
    let after = installation.products().await;
    // The page ends earlier than before, since there are more.
    let last = after.last().and_then(|product| product["sku"].as_str()).expect("has products");
    let shown = products.iter().filter(|product| product["sku"].as_str() <= Some(last));
    assert!(shown.clone().count() > 500, "few products are shown");
    for product in shown {
        assert!(after.contains(product), "{product} is not as it was");
    }

    // All of it is sold once, and nothing is left but what was not asked for.
    let together = Plan::read(&all.files[..5]).expect("the files are read");
    let (totals, _) = installation.everything().await;
    assert_eq!(
        totals["payments"]["currencies"][0]["captured"], together.figures.order_total_pence,
        "{totals}"
    );
    let units = together.products.values();
    let left: i64 = units.map(|it| it.had(Stock::Ample) - it.demand).sum();
    assert_eq!(totals["inventory"]["on_hand"], left, "{totals}");
    installation.stop().await;
}

/// Some day files, and what an independent count of them says.
struct Retail {
    files: Vec<PathBuf>,
    counted: Map<String, Value>,
    oracle: PathBuf,
}

impl Retail {
    /// The files whose names begin so; none, with the reason on the terminal, where there is no
    /// data or nothing to count it with.
    #[expect(clippy::print_stdout, reason = "a test that is skipped must say so")]
    fn find(beginning: &str) -> Option<Self> {
        let named = std::env::var_os("TRADEWIND_SHARED").map(PathBuf::from);
        let is_named = named.is_some();
        let skip = |why: String| {
            // A test that passes is not heard: who says where the data is wants it to be used.
            assert!(!is_named, "TRADEWIND_SHARED is set, but {why}");
            println!("skipped: {why}");
        };
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
        let shared = named.unwrap_or_else(beside);
        let folder = shared.join("data/online-retail");
        let Ok(entries) = std::fs::read_dir(&folder) else {
            skip(format!("there is no data in {}", folder.display()));
            return None;
        };
        let mut files: Vec<_> = entries.map(|entry| entry.expect("can be read").path()).collect();
        files.retain(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(beginning) && name.ends_with(".csv")
        });
        files.sort();
        if files.is_empty() {
            skip(format!("there is no file {beginning}….csv in {}", folder.display()));
            return None;
        }
        let oracle = shared.join("tools/retail_oracle.py");
        if let Err(error) = Process::new("python3").arg("--version").output() {
            skip(format!("python3 cannot be run: {error}"));
            return None;
        }
        Some(Self::count(files, oracle))
    }

    fn count(files: Vec<PathBuf>, oracle: PathBuf) -> Self {
        let counted = Process::new("python3").arg(&oracle).args(&files).output().expect("it runs");
        assert!(counted.status.success(), "{}", String::from_utf8_lossy(&counted.stderr));
        let counted = serde_json::from_slice(&counted.stdout).expect("the count is an object");
        Self { files, counted, oracle }
    }

    /// Some of these files.
    fn part(&self, files: Range<usize>) -> Self {
        Self::count(self.files[files].to_vec(), self.oracle.clone())
    }

    fn options(&self, stock: &str) -> (Settings, Options) {
        let arguments = ["--stock", stock, "--api-key", KEY];
        let files = self.files.iter().map(|file| file.to_str().expect("the path is UTF-8"));
        tests::parse(&arguments.into_iter().chain(files).collect::<Vec<_>>())
    }

    /// Replays the files into an installation of their own, and checks what comes out.
    async fn replay_once(&self, stock: &str) -> Report {
        let (settings, options) = self.options(stock);
        let plan = Plan::read(&options.files).expect("the files are read");
        let installation = Installation::start(&settings).await;
        let report = installation.replay(&options, &plan).await;
        installation.stop().await;
        self.check_first(&report, &plan);
        report
    }

    /// Replays the files twice into an installation of their own: the second time changes nothing.
    async fn replay_twice(&self, stock: &str) -> Report {
        let (settings, options) = self.options(stock);
        let plan = Plan::read(&options.files).expect("the files are read");
        let installation = Installation::start(&settings).await;

        let first = installation.replay(&options, &plan).await;
        self.check_first(&first, &plan);
        let before = (installation.log_ends().await, installation.everything().await);

        let again = installation.replay(&options, &plan).await;
        self.check(&again);
        let trade = &again.trade;
        assert_eq!(trade.known, plan.figures.orders, "{again}");
        let ended = |report: &Report| (report.trade.paid, report.trade.out_of_stock);
        assert_eq!(ended(&again), ended(&first), "{again}");
        for pushed in [&trade.catalogue, &trade.opening, &trade.documents, &trade.shipments] {
            assert_eq!(pushed.applied, 0, "{again}");
            assert!(pushed.known > 0, "{again}");
        }
        assert_eq!(installation.everything().await, before.1);
        // An order under a key that is known is not even looked at again. A push has no key: it is a
        // new command, and its answer says that nothing came of it; that its lines came again is noted.
        for service in ["catalog", "order", "payment"] {
            let mut kinds = installation.kinds_since(service, &before.0).await;
            // On a slow machine a minute passes, after which the engine records how far it has read.
            kinds.retain(|kind| kind != "positions");
            assert_eq!(kinds, [""; 0], "{service}");
        }
        let kinds = installation.kinds_since("inventory", &before.0).await;
        assert!(!kinds.is_empty(), "the inventory has answered");
        let expected = ["answered", "lines_repeated", "positions"];
        assert!(kinds.iter().all(|it| expected.contains(&it.as_str())), "{kinds:?}");
        installation.stop().await;
        again
    }

    /// Checks a report on a replay of what nobody had heard of before.
    #[track_caller]
    fn check_first(&self, report: &Report, plan: &Plan) {
        self.check(report);
        let trade = &report.trade;
        assert_eq!(trade.known, 0, "{report}");
        for pushed in [&trade.catalogue, &trade.opening, &trade.documents, &trade.shipments] {
            assert_eq!((pushed.known, pushed.refused.count()), (0, 0), "{report}");
        }
        assert_eq!(trade.catalogue.applied, plan.figures.skus, "{report}");
        assert_eq!(trade.documents.applied, plan.documents(), "{report}");
    }

    /// Checks that a report agrees with the count, with the installation, and with the logs.
    #[track_caller]
    fn check(&self, report: &Report) {
        let json = report.json();
        for (name, counted) in &self.counted {
            assert_eq!(json[name], *counted, "{name}: {report}");
        }
        // The count leaves out what there is none of.
        let Value::Object(figures) = json!(report.reported) else { panic!("is an object") };
        for (name, figure) in &figures {
            assert_eq!(self.counted.get(name).unwrap_or(&json!(0)), figure, "{name}: {report}");
        }
        assert!(report.is_in_order(), "{report}");
        let checks = json["reconciliation"].as_array().expect("is a list");
        assert!(checks.len() > 10 && checks.iter().all(|check| check["ok"] == true), "{json:#}");
        let audited = json["audit"].as_array().expect("is a list");
        let invariants: Vec<_> = audited.iter().filter_map(|it| it["invariant"].as_u64()).collect();
        assert_eq!(invariants, [1, 2, 3, 4, 5, 6, 7, 8, 9], "{json:#}");
        assert!(audited.iter().all(|it| it["ok"] == true && it["looked_at"] != 0), "{json:#}");
        assert_eq!(json["verify"]["mismatches"], 0, "{json:#}");
        assert!(json["verify"]["rows"].as_u64().is_some_and(|rows| rows > 1_000), "{json:#}");
    }
}

/// An installation of a test's own.
struct Installation {
    embedded: Embedded,
    engine: Engine,
    _folder: tempfile::TempDir,
}

impl Installation {
    async fn start(settings: &Settings) -> Self {
        let folder = tempfile::tempdir().expect("a private folder");
        let server = Server::start(testkit::nats_server(), &folder.path().join("nats"), "").await;
        let server = server.expect("nats-server starts");
        let settings = Settings { listen: ([127, 0, 0, 1], 0).into(), ..settings.clone() };
        let embedded = Embedded::on(server, &settings, folder.path()).await.expect("starts");
        let engine = Engine::connect_only(embedded.settings.engine()).await.expect("it connects");
        Self { embedded, engine, _folder: folder }
    }

    async fn replay(&self, options: &Options, plan: &Plan) -> Report {
        replay::replay_embedded(&self.embedded, options, plan).await.expect("the replay ends")
    }

    /// The end of each log.
    async fn log_ends(&self) -> BTreeMap<&'static str, u64> {
        let mut ends = BTreeMap::new();
        for service in services::NAMES {
            ends.insert(service, self.engine.log_end(service, 0).await.expect("the log is there"));
        }
        ends
    }

    /// The kinds of the events that came into a log since it had that end.
    async fn kinds_since(
        &self,
        service: &'static str,
        ends: &BTreeMap<&'static str, u64>,
    ) -> Vec<String> {
        let mut kinds = Vec::new();
        let each = |logged: Logged<proto::Event>| {
            if logged.sequence > ends[service] {
                let kind = logged.event.body.as_ref().and_then(event_name);
                kinds.push(kind.unwrap_or("unknown").to_owned());
            }
        };
        self.engine.read_log(service, 0, each).await.expect("the log is read");
        kinds
    }

    /// What the services count, and each stock level with its version.
    async fn everything(&self) -> (Value, Vec<LevelView>) {
        let api =
            Client::new(&self.embedded.url, KEY, "retail").expect("a client").without_retries();
        let totals = api.get("totals").await.expect("the totals");
        (totals, api.levels().await.expect("the levels"))
    }

    /// The first products of the catalogue.
    async fn products(&self) -> Vec<Value> {
        let api = Client::new(&self.embedded.url, KEY, "retail").expect("a client");
        let page: Value = api.query("products", &[("limit", "1000")]).await.expect("the products");
        page["products"].as_array().expect("is a list").clone()
    }

    async fn stop(self) {
        self.embedded.stop().await.expect("stops");
    }
}
