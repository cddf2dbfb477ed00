//! A real retailer's year, replayed over HTTP and reconciled to the penny.
//!
//! How it flows: `rows` reads the day files, `invoices` puts the rows together, `plan` makes of them
//! the catalogue, the opening stock, the orders and the ERP's documents by day; `trade` pushes and
//! places them through `pushes` and `orders`, one day after another; `observed`
//! sums up what comes back and reads what the services count in the end, `checks` compares all of it, and `report`
//! shows it. Where the logs can be read, the auditor (the crate `audit`) reads every event of them.
//!
//! The same files can be replayed again, and others that overlap with them: orders and documents carry
//! names, so what is known has no second effect. To check something more: a [`checks::Check`] in `checks`.

pub mod checks;
pub mod invoices;
mod observed;
mod orders;
pub mod plan;
mod pushes;
pub mod report;
pub mod rows;
mod sums;
pub mod trade;

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use audit::{Audit, Observations};
use clap::{Args, ValueEnum};
use client::Client;
use engine::Engine;
use events::{money::Currency, shop};
use indicatif::{ProgressBar, ProgressStyle};
use node::{
    data_folder::DataFolder,
    embedded::Embedded,
    say,
    services::{NAMES, verify_all},
    settings::Settings,
    terminal::interrupted,
};
use protocol::id::Shop;

use self::{
    observed::Observed,
    plan::{Plan, Stock},
    report::{Report, Timing},
    trade::{Placing, Trade},
};
use crate::settled::until_settled;

/// The exit code of a process that was interrupted.
const EXIT_INTERRUPTED: u8 = 130;
/// How often the progress bar moves by itself.
const BAR_TICK: Duration = Duration::from_millis(200);

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
    /// The shop; it takes several replays, of other files as well
    #[arg(long, default_value = "retail", value_parser = Shop::parse)]
    pub shop: Shop,
    /// The number of orders that are on their way at the same time
    #[arg(long, value_name = "ORDERS", default_value_t = 256,
          value_parser = clap::value_parser!(u16).range(1..=2_000))]
    pub concurrency: u16,
    /// What the idempotency keys of the orders begin with: with another, orders that are known are
    /// found by their references
    #[arg(long, default_value = "retail", hide = true)]
    pub key_prefix: String,
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
        () = interrupted() => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
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
        settings.api_key.as_ref().context(
            "the gateway asks for an API key: set TRADEWIND_API_KEY, --api-key-file or `api-key` in the \
             file",
        )?;
        let url = options.url.clone().unwrap_or_else(|| listening_at(settings));
        return replay(&url, settings.exposed_api_key(), options, plan).await;
    }
    let passing = tempfile::tempdir().context("make a folder for the data")?;
    let folder = DataFolder::keep(options.data.as_deref().unwrap_or(passing.path()))?;
    let mut settings = settings.clone();
    // Nobody else has to find it.
    settings.listen.set_port(0);
    let embedded = Embedded::start(&settings, folder.path()).await?;
    let report = replay_embedded(&embedded, options, plan).await;
    embedded.stop().await?;
    report
}

/// Replays into an installation in this process, compares its databases with its logs, and audits
/// these.
pub async fn replay_embedded(
    embedded: &Embedded,
    options: &Options,
    plan: &Plan,
) -> Result<Report> {
    let key = embedded.settings.exposed_api_key();
    let api = Client::new(&embedded.url, key, options.shop.as_str())?;
    let trade = trade(&api, options, plan).await?;
    let engine = Engine::connect_only(embedded.settings.engine()).await?;
    // What does not settle shows in the checks.
    until_settled(&engine, &api, trade.orders()).await?;
    let mut report = reconcile(&api, options, plan, trade).await?;

    let started = Instant::now();
    let payments = &report.observed.totals.payments;
    let outside = Observations {
        placed: std::mem::take(&mut report.trade.placed),
        cancelled: std::mem::take(&mut report.trade.cancelled),
        levels: std::mem::take(&mut report.observed.levels),
        provider_net: payments.currencies.iter().map(|it| it.provider_net).sum(),
        provider_held: payments.currencies.iter().map(|it| it.provider_held).sum(),
        verified: verify_all(&engine).await?,
    };
    let audited = Audit::read(&engine, &NAMES, &options.shop).await?.finish(&outside);
    report.add_audited(audited, outside.verified, started.elapsed());
    Ok(report)
}

/// Replays through the gateway at `url`, and reconciles.
pub async fn replay(url: &str, key: &str, options: &Options, plan: &Plan) -> Result<Report> {
    let api = Client::new(url, key, options.shop.as_str())?;
    let trade = trade(&api, options, plan).await?;
    reconcile(&api, options, plan, trade).await
}

async fn trade(api: &Client, options: &Options, plan: &Plan) -> Result<Trade> {
    let Options { stock, concurrency, key_prefix, .. } = options;
    let placing = Placing { concurrency: usize::from(*concurrency), key_prefix };
    let gbp = shop::Settings { currency: Currency::parse("GBP").ok(), ..Default::default() };
    api.create_shop(&gbp).await.context("create the shop")?;
    let bar = bar(plan.figures.orders);
    let trade = trade::trade(api, plan, *stock, placing, &bar).await;
    bar.finish_and_clear();
    trade
}

async fn reconcile(api: &Client, options: &Options, plan: &Plan, trade: Trade) -> Result<Report> {
    let Options { shop, stock, .. } = options;
    let started = Instant::now();
    let observed = Observed::read(api, trade.orders()).await?;
    let reported = trade.order_sums.figures(plan, *stock, &trade, &observed);
    let checks = checks::checks(plan, &reported, *stock, &trade, &observed);
    let ends = plan.days.first_key_value().zip(plan.days.last_key_value());
    Ok(Report {
        shop: shop.to_string(),
        stock: *stock,
        figures: plan.figures.clone(),
        reported,
        days: ends.map(|((first, _), (last, _))| (*first, *last, plan.days.len())),
        trade,
        observed,
        checks,
        audited: Vec::new(),
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

/// A bar on stderr; none where that is no terminal.
fn bar(orders: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:40} {human_pos} of {human_len} orders  {msg}");
    let bar = ProgressBar::new(orders);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(BAR_TICK);
    bar
}
