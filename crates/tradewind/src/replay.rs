//! A real retailer's year, replayed over HTTP and reconciled to the penny.
//!
//! How it flows: `rows` reads the day files, `invoices` puts the rows together, `plan` makes of them
//! the catalogue, the opening stock, the orders and the ERP's documents by day; `trade` pushes and
//! places them through `client` and `orders`, one day after another; `stand` looks at what the
//! installation counts in the end, `checks` compares all of it, and `report` tells it.
//!
//! The same files can be replayed again: orders and documents carry names, so what is known has no
//! second effect. To check something more: a [`checks::Check`] in `checks`.

pub mod checks;
mod client;
pub mod findings;
pub mod invoices;
mod orders;
pub mod plan;
pub mod report;
pub mod rows;
mod stand;
pub mod trade;

use std::{
    fs::File,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use engine::Engine;
use events::id::Shop;
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use self::{
    plan::{Plan, Stock},
    report::{Report, Timing},
    stand::Stand,
};
use crate::{
    admin::{self, PROJECTED},
    api::Api,
    embedded::Embedded,
    print::say,
    settings::Settings,
    signal::interrupted,
};

/// What a process answers that was interrupted.
const INTERRUPTED: u8 = 130;
/// How often the progress bar moves by itself.
const TICK: Duration = Duration::from_millis(200);

/// What is replayed, and where.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The day files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How much stock there is before the first day
    #[arg(long, value_enum, default_value = "ample")]
    pub stock: Stock,
    /// Start nats-server and all services in this process, in a folder that is gone afterwards
    #[arg(long, conflicts_with = "url")]
    pub embedded: bool,
    /// The folder for the data of --embedded; it stays, and what is in it is gone on with
    #[arg(long, value_name = "FOLDER", requires = "embedded")]
    pub data: Option<PathBuf>,
    /// Where the gateway is [default: where it listens by the settings]
    #[arg(long)]
    pub url: Option<String>,
    /// The shop; it takes the replay of one set of files
    #[arg(long, default_value = "retail", value_parser = Shop::parse)]
    pub shop: Shop,
    /// The number of orders that are on their way at the same time
    #[arg(long, value_name = "ORDERS", default_value_t = 256,
          value_parser = clap::value_parser!(u16).range(1..=2_000))]
    pub concurrency: u16,
    /// How the report is written
    #[arg(long, value_enum, default_value = "text")]
    pub report: Format,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// `tradewind replay retail`: fails when something does not agree.
pub async fn run(settings: &Settings, options: Options) -> Result<ExitCode> {
    let started = Instant::now();
    let plan = Plan::read(&options.files)?;
    let read = started.elapsed();
    let mut report = tokio::select! {
        report = replay_somewhere(settings, &options, &plan) => report?,
        () = interrupted() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    report.timing.read = read;
    report.timing.elapsed = started.elapsed();
    match options.report {
        Format::Text => say!("{report}"),
        Format::Json => say!("{}", serde_json::to_string_pretty(&report.json())?),
    }
    Ok(if report.is_in_order() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn replay_somewhere(settings: &Settings, options: &Options, plan: &Plan) -> Result<Report> {
    if !options.embedded {
        let key = settings.api_key.as_deref().context(
            "the gateway asks for an API key: set --api-key, TRADEWIND_API_KEY or `api-key` in the \
             file",
        )?;
        let url = options.url.clone().unwrap_or_else(|| listening_at(settings));
        return replay(&url, key, options, plan).await;
    }
    let folder = Folder::open(options.data.as_deref())?;
    let mut settings = settings.clone();
    // Nobody else has to find it.
    settings.listen.set_port(0);
    let embedded = Embedded::start(&settings, folder.path()).await?;
    let report = replay_embedded(&embedded, options, plan).await;
    embedded.stop().await?;
    report
}

/// Replays into an installation in this process, and compares its databases with its logs.
pub async fn replay_embedded(
    embedded: &Embedded,
    options: &Options,
    plan: &Plan,
) -> Result<Report> {
    let key = embedded.settings.api_key.as_deref().unwrap_or_default();
    let mut report = replay(&embedded.url, key, options, plan).await?;
    let started = Instant::now();
    let engine = Engine::connect_only(embedded.settings.engine()).await?;
    let mut verified = Vec::new();
    for service in PROJECTED {
        verified.push((service.name(), admin::verify(&engine, service).await?));
    }
    report.add_verified(verified, started.elapsed());
    Ok(report)
}

/// Replays through the gateway at `url`, and reconciles.
pub async fn replay(url: &str, key: &str, options: &Options, plan: &Plan) -> Result<Report> {
    let Options { shop, stock, concurrency, .. } = options;
    let api = Api::new(url, key, shop.as_str())?;
    let bar = bar(plan.figures.orders);
    let trade = trade::trade(&api, plan, *stock, usize::from(*concurrency), &bar).await;
    bar.finish_and_clear();
    let trade = trade?;
    let started = Instant::now();
    let stand = Stand::look(&api).await?;
    let checks = checks::checks(plan, *stock, &trade, &stand);
    let ends = plan.days.first_key_value().zip(plan.days.last_key_value());
    Ok(Report {
        shop: shop.to_string(),
        stock: *stock,
        figures: plan.figures.clone(),
        days: ends.map(|((first, _), (last, _))| (*first, *last, plan.days.len())),
        trade,
        checks,
        verified: Vec::new(),
        timing: Timing { reconcile: started.elapsed(), ..Timing::default() },
    })
}

/// Where the gateway of the settings is reached from this machine.
fn listening_at(settings: &Settings) -> String {
    let mut address = settings.listen;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}")
}

/// The folder of an embedded installation.
enum Folder {
    Passing(TempDir),
    /// Ours alone, as long as the lock is held.
    Kept(PathBuf, #[expect(dead_code, reason = "held, not used")] File),
}

impl Folder {
    fn open(kept: Option<&Path>) -> Result<Self> {
        let Some(path) = kept else {
            return tempfile::tempdir().map(Self::Passing).context("make a folder for the data");
        };
        let named = || format!("use the folder {}", path.display());
        std::fs::create_dir_all(path).with_context(named)?;
        let lock = File::create(path.join("lock")).with_context(named)?;
        ensure!(lock.try_lock().is_ok(), "another replay uses {}", path.display());
        Ok(Self::Kept(path.to_owned(), lock))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Passing(folder) => folder.path(),
            Self::Kept(path, _) => path,
        }
    }
}

/// A bar on stderr; none where that is no terminal.
fn bar(orders: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:40} {human_pos} of {human_len} orders  {msg}");
    let bar = ProgressBar::new(orders);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(TICK);
    bar
}
