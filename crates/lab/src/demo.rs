//! A day of trade on this machine, and a report on it with every invariant checked.
//!
//! The shop's catalogue (`products`) is put there, the ERP (`erp`) counts the stock, customers
//! (`plan`, `trade`) order over HTTP, some with a `second_payment` after one that is declined, and when nothing is on its way any more (`crate::settlements` notes
//! when) the `warehouse` ships what is paid and sends some of the rest to the second location, and some orders get
//! `refunds`. Meanwhile everything is delivered to the shop's `webhooks`, each with a `receiver` of its own. Then the auditor (the crate `audit`) reads every event of every log with rules of
//! its own, `checks` compares that with what the customers saw, and `report` shows it.
//!
//! To add something that customers do: a [`plan::Kind`], and what must be answered to it in `trade`.

mod checks;
mod curl;
pub mod erp;
pub mod plan;
mod products;
pub mod receiver;
pub mod refunds;
pub mod report;
mod second_payment;
pub mod trade;
pub mod warehouse;
pub mod webhooks;

use std::{
    net::TcpListener,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use audit::text::count;
use clap::Args;
use client::Client;
use engine::Engine;
use events::{money::Currency, shop};
use indicatif::{ProgressBar, ProgressStyle};
use node::{
    data_folder::DataFolder, embedded::Embedded, say, settings::Settings, terminal::interrupted,
};
use protocol::{id::Shop, subject};
use reqwest::{Method, StatusCode};
use serde_json::json;

use self::{
    erp::{Answers, Push, QUAY},
    plan::{ONE_STEP_METHODS, Plan},
    products::{DISCONTINUED_SKU, PRODUCTS},
    report::{Report, phase},
};
use crate::{settled::until_settled, settlements::SettlementTimes};

/// The shop of the demo.
const SHOP: &str = "harbour";
/// How long an order waits for its payment: short, so that a day does not take one.
const PAYMENT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long stock is held for an order: as long waits one whose card was declined for another payment.
const HOLD_TTL: Duration = Duration::from_secs(8);
/// How long the payment service waits for the provider before it asks what became of its call.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it looks up what became of a call without an answer, at first.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(1);
/// For how long the provider may carry out a call that it did not answer: longer than its slowest.
const LATE_WINDOW: Duration = Duration::from_secs(10);
/// The exit code of a process that was interrupted.
const EXIT_INTERRUPTED: u8 = 130;

/// How the day goes.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The number of orders
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    pub orders: u32,
    /// The number of clients that order at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub clients: u16,
    /// The folder for all data of the demo; made if it is missing, emptied at each run
    #[arg(long, value_name = "FOLDER", default_value = ".data/demo")]
    pub data: PathBuf,
    /// Leave everything running at the end, and show what to try
    #[arg(long)]
    pub keep: bool,
}

/// `tradewind demo`: fails when a check is broken.
pub async fn run(settings: &Settings, options: Options) -> Result<ExitCode> {
    let folder = DataFolder::take(&options.data)?;
    let settings = for_a_day(settings);
    say!("A day of trade at the shop {SHOP:?}: {}\n", count(options.orders, "order", "orders"));
    let started = Instant::now();
    let mut embedded = Embedded::start(&settings, folder.path()).await?;
    let what = format!("nats-server and six services, data in {}", options.data.display());
    say!("{}", phase("Start", &what, started.elapsed()));

    let report = tokio::select! {
        report = show_day(&embedded, &options) => Some(report),
        () = interrupted() => None,
    };
    let code = match &report {
        Some(Ok(report)) if report.is_in_order() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::from(EXIT_INTERRUPTED),
    };
    if let (Some(Ok(report)), true) = (&report, options.keep) {
        say!("{}", curl::lines(&embedded, SHOP, report));
        embedded.wait(interrupted()).await?;
        say!("\nStopping; the data stays in {} until the next run.", options.data.display());
    }
    embedded.stop().await?;
    report.transpose().map(|_| code)
}

async fn show_day(embedded: &Embedded, options: &Options) -> Result<Report> {
    let report = day(embedded, options, |line| say!("{line}")).await?;
    say!("{report}");
    Ok(report)
}

/// The settings of a day: deadlines that fit it, and another port where the usual one is taken.
pub fn for_a_day(settings: &Settings) -> Settings {
    let mut settings = Settings {
        payment_timeout: PAYMENT_TIMEOUT,
        hold_ttl: HOLD_TTL,
        provider_timeout: PROVIDER_TIMEOUT,
        provider_lookup_interval: LOOKUP_INTERVAL,
        provider_late_window: LATE_WINDOW,
        ..settings.clone()
    };
    settings.listen.set_ip([127, 0, 0, 1].into());
    if TcpListener::bind(settings.listen).is_err() {
        settings.listen.set_port(0);
    }
    settings
}

/// Runs the day. `progress` is called after each phase.
pub async fn day(
    embedded: &Embedded,
    options: &Options,
    progress: impl Fn(String),
) -> Result<Report> {
    let api =
        Client::new(&embedded.url, embedded.settings.exposed_api_key(), SHOP)?.without_retries();
    let engine = Engine::connect_only(embedded.settings.engine()).await?;
    let plan = Plan::new(options.orders as usize);
    let (sent, racers, units) =
        (plan.orders.len() + plan.race.len(), plan.race.len(), plan.race_units);

    let one_step_methods = ONE_STEP_METHODS.map(Into::into).to_vec();
    let currency = Currency::parse("GBP").ok();
    let settings = shop::Settings { currency, one_step_methods, ..Default::default() };
    api.create_shop(&settings).await.context("create the shop")?;
    let started = Instant::now();
    let endpoints = webhooks::open(&api).await?;
    let what = "3 endpoints: one healthy, one flaky, one slow";
    progress(phase("Webhooks", what, started.elapsed()));
    let opening = open(&api, sent, units, &progress).await?;
    let shop = Shop::parse(SHOP)?;
    let partition = subject::partition(&shop, embedded.settings.partitions);
    let bars = (bar(sent, "orders placed"), bar(sent, "orders settled"));
    let settlements = SettlementTimes::follow(&engine, partition, &bars.1);
    let pushes = Push::during_the_day(sent);
    let trade = trade::trade(&api, plan, pushes, options.clients.into(), &bars.0).await?;
    bars.0.finish_and_clear();
    let what = format!(
        "{} from {}, {racers} of them in a race for {units} units",
        count(sent as u64, "order", "orders"),
        count(options.clients, "client", "clients")
    );
    progress(phase("Trade", &what, trade.took));

    let started = Instant::now();
    let is_settled = until_settled(&engine, &api, trade.placed.len() as u64).await?;
    bars.1.finish_and_clear();
    progress(phase("Settle", "until every order is paid or cancelled", started.elapsed()));

    let started = Instant::now();
    let cancelled = trade.cancelled.first().copied();
    let shipments = warehouse::ship(&api, (&engine, partition, &shop), cancelled).await?;
    let what = format!(
        "{} left, {} in two parts; {} booked by the ERP",
        count(shipments.orders, "order", "orders"),
        shipments.in_parts,
        count(shipments.answers.lines(), "line", "lines")
    );
    progress(phase("Ship", &what, started.elapsed()));

    let started = Instant::now();
    let mut paid: Vec<_> = trade.placed.keys().copied().collect();
    paid.sort_unstable();
    let refunds = refunds::refund(&api, paid.into_iter()).await?;
    let what = format!("a part of {}", count(refunds.orders, "order", "orders"));
    progress(phase("Refund", &what, started.elapsed()));

    let started = Instant::now();
    let is_delivered = webhooks::until_delivered(&api, &engine, &endpoints).await?;
    progress(phase("Deliver", "until every webhook has come", started.elapsed()));

    let started = Instant::now();
    let totals = api.totals().await?;
    let mut audited = checks::audit(&engine, &api, &shop, &trade, &totals).await?;
    let mut checks = std::mem::take(&mut audited.checks);
    let webhooks = webhooks::outcomes(&endpoints, &audited);
    let at = checks.iter().rposition(|check| check.invariant == Some(8)).map_or(0, |at| at + 1);
    checks.insert(at, webhooks::received(&webhooks, is_delivered));
    checks.push(checks::race(&trade, racers, units));
    checks.push(checks::ledger(&audited, &totals, &shipments));
    checks.push(checks::money(&audited, &totals, refunds.amount));
    checks.push(checks::answers(&trade, [&opening, &shipments.answers], is_settled));
    let what = format!("{} read back", count(audited.events, "event", "events"));
    progress(phase("Check", &what, started.elapsed()));
    let (race, settled_at) = ((racers, units), settlements.so_far());
    Ok(Report {
        sent,
        race,
        trade,
        opening,
        shipments,
        refunds,
        webhooks,
        settled_at,
        totals,
        audited,
        checks,
    })
}

/// Puts the catalogue and the opening stock there.
async fn open(
    api: &Client,
    orders: usize,
    race_units: usize,
    progress: impl Fn(String),
) -> Result<Answers> {
    let started = Instant::now();
    let line = |sku: &str, title: &str, price: i64, active: bool| {
        let price = json!({"minor": price, "currency": "GBP"});
        format!("{}\n", json!({"sku": sku, "title": title, "price": price, "active": active}))
    };
    let products: String =
        PRODUCTS.iter().map(|it| line(it.sku, it.title, it.price, true)).collect();
    let put = api.push("products", products).await.context("push the catalogue")?;
    let off = PRODUCTS.iter().filter(|it| it.sku == DISCONTINUED_SKU);
    let off = off.map(|it| line(it.sku, it.title, it.price, false)).collect();
    api.push("products", off).await.context("discontinue a product")?;
    let what = format!("{}, one of them discontinued", count(put.applied, "product", "products"));
    progress(phase("Catalogue", &what, started.elapsed()));

    let started = Instant::now();
    let quay = json!({"kind": "store", "priority": 200, "country": "GB"});
    let request = api.request(Method::PUT, &format!("locations/{QUAY}")).json(&quay);
    let put = api.send(request).await.context("put the second location")?;
    ensure!(put.status == StatusCode::CREATED, "the second location is refused: {}", put.body);
    let answers = Push::opening(orders, race_units).send(api).await.context("push the stock")?;
    let what = format!(
        "{} pushed by the ERP connector, of 2 locations",
        count(answers.lines(), "line", "lines")
    );
    progress(phase("Stock", &what, started.elapsed()));
    Ok(answers)
}

fn bar(length: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:40} {human_pos} of {human_len} {msg}");
    let bar = ProgressBar::new(length as u64).with_message(what);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
