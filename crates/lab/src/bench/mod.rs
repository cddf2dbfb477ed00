//! Figures of this machine, with everything on it: nats-server, all services, and the load.
//!
//! - `setup`: which broker and which database, and starting them;
//! - `process`: the services, in a process of their own;
//! - `memory`: what all processes take together;
//! - `shop`: what is sold, and who orders what; the same in every run;
//! - `load`: orders through the inbox and over HTTP, stock lines over HTTP;
//! - `measure`: the parts, one after the other, in one setup;
//! - `telemetry`: what traces and metrics cost;
//! - `fairness`: what the load of one shop costs another;
//! - `webhooks`: what the sender of webhooks does alone;
//! - `deliveries`: webhooks through all services;
//! - `receiver`: what both are sent to;
//! - `feed`: readers of the feed of events;
//! - `reads`: one product, one order and lists, over HTTP;
//! - `erp`: the lines of an ERP in one long upload, and by NATS;
//! - `figures`, `report`: what was measured, beside what is expected; as tables or as JSON.
//!
//! Nothing here fails for being slow; it fails when something is lost.

mod deliveries;
mod erp;
mod fairness;
mod feed;
pub mod figures;
mod load;
mod measure;
mod memory;
mod process;
mod quantities;
mod reads;
mod receiver;
mod report;
mod setup;
mod shop;
mod telemetry;
mod webhooks;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use node::{
    data_folder::DataFolder, program::explain, say, settings::Settings, terminal::interrupted,
};
use serde::Serialize;
use tokio::time::timeout;

use self::{
    figures::{Figures, Measured},
    setup::{Environment, Setup},
};

/// How long a setup may take, and so each of the parts that have setups of their own: three times
/// what a slow machine needs. Ten times this, and what [`erp::time_for`] says, bound the whole benchmark.
const SETUP_TIMEOUT: Duration = Duration::from_mins(5);
/// The share of the load that `--quick` leaves.
const QUICK_DIVISOR: u32 = 5;
/// The exit code of a process that was interrupted.
const EXIT_INTERRUPTED: u8 = 130;

/// What is measured, and how much of it.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Measure these parts only: a comma-separated list
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    pub only: Vec<Part>,
    /// Measure in these setups only: a comma-separated list
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SETUP")]
    pub on: Vec<Setup>,
    /// A fifth of the load: figures in a third of the time that vary more from run to run
    #[arg(long)]
    pub quick: bool,
    /// The number of orders that are sent through the inbox
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..))]
    pub sagas: u32,
    /// The number of orders over HTTP, as fast as possible
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..))]
    pub orders: u32,
    /// The number of clients that send these
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub clients: u16,
    /// The orders a second at which latency is measured: a comma-separated list
    #[arg(long, default_values_t = [300, 500], value_delimiter = ',', value_name = "RATE",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rates: Vec<u32>,
    /// How long, in seconds, at each rate
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// The number of stock lines that an ERP pushes over HTTP
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    pub lines: u32,
    /// The number of rounds of runs, without and with telemetry, whose throughput is compared
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// The number of webhooks that are delivered, by the sender alone and from a
    /// backlog to ten endpoints; and of the events that are read from the feed
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    pub deliveries: u32,
    /// The number of reads over HTTP, of one product and of one order; of lists, a tenth of it
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    pub reads: u32,
    /// The number of lines that an ERP sends in one upload over HTTP, and by NATS
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(10_000..))]
    pub erp_lines: u32,
    /// The folder for all data of the benchmark; made if it is missing, emptied at each run
    #[arg(long, value_name = "FOLDER", default_value = ".data/bench")]
    pub data: PathBuf,
    /// How the figures are printed
    #[arg(long, value_enum, default_value = "text")]
    pub report: Format,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Orders through the inbox, without HTTP
    Sagas,
    /// Orders over HTTP, as fast as possible
    Orders,
    /// Orders over HTTP at fixed rates
    Latency,
    /// Stock lines over HTTP
    Stock,
    /// Goods issues over HTTP, for the orders of `sagas`, which it brings along
    GoodsIssues,
    /// Rebuilding databases; needs the events of `sagas` and `stock`, which it brings along
    Rebuild,
    /// What traces and metrics cost
    Telemetry,
    /// What the load of one shop costs another
    Fairness,
    /// What the sender of webhooks does alone, to a receiver on this machine
    WebhooksHttp,
    /// Webhooks through all services, to a receiver on this machine
    Webhooks,
    /// Readers of the feed of events
    Feed,
    /// Reads of one product, one order and lists, over HTTP
    Reads,
    /// The lines of an ERP, in one upload over HTTP and in messages by NATS
    Erp,
}

/// How figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people
    Text,
    /// An object for machines
    Json,
}

impl Options {
    /// Whether a part is measured.
    fn measures(&self, part: Part) -> bool {
        let is_needed = match part {
            Part::Sagas => {
                [Part::Rebuild, Part::GoodsIssues].iter().any(|it| self.only.contains(it))
            }
            Part::Stock => self.only.contains(&Part::Rebuild),
            _ => false,
        };
        self.only.is_empty() || self.only.contains(&part) || is_needed
    }

    /// The setups in which the parts are measured that are measured in each.
    fn setups(&self) -> Vec<Setup> {
        let parts = [
            Part::Sagas,
            Part::Orders,
            Part::Latency,
            Part::Stock,
            Part::GoodsIssues,
            Part::Rebuild,
        ];
        if !parts.into_iter().any(|part| self.measures(part)) {
            return Vec::new();
        }
        let all = Setup::value_variants().iter().copied();
        all.filter(|setup| self.on.is_empty() || self.on.contains(setup)).collect()
    }

    /// The same with the load that `--quick` leaves.
    fn scaled(mut self) -> Self {
        if self.quick {
            for load in [
                &mut self.sagas,
                &mut self.orders,
                &mut self.lines,
                &mut self.seconds,
                &mut self.deliveries,
                &mut self.reads,
                &mut self.erp_lines,
            ] {
                *load = load.div_ceil(QUICK_DIVISOR);
            }
            self.rounds = self.rounds.div_ceil(2);
        }
        self
    }

    /// Says what is being done.
    fn progress(&self, where_: &str, what: &str) {
        if self.report == Format::Text {
            say!("{where_}: {what} …");
        }
    }
}

/// `tradewind bench`: fails when a setup other than a missing Postgres could not be measured.
pub async fn run(settings: &Settings, options: Options) -> Result<ExitCode> {
    let folder = DataFolder::take(&options.data)?;
    let options = options.scaled();
    let environment = Environment {
        program: std::env::current_exe().context("find the program that runs")?,
        folder: folder.path().to_owned(),
        settings: settings.clone(),
    };
    let figures = tokio::select! {
        figures = measure(&environment, &options) => figures?,
        () = interrupted() => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
    };
    match options.report {
        Format::Text => say!("{figures}"),
        Format::Json => say!("{}", serde_json::to_string_pretty(&figures)?),
    }
    Ok(if figures.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes all figures, one after the other.
async fn measure(environment: &Environment, options: &Options) -> Result<Figures> {
    let started = Instant::now();
    let mut figures = Figures::default();
    for setup in options.setups() {
        let measured = match setup.missing() {
            Some(reason) => Measured::Absent(reason),
            None => Box::pin(attempt(measure::measure(setup, environment, options))).await,
        };
        figures.setups.push((setup, measured));
    }
    if options.measures(Part::Telemetry) {
        figures.telemetry = Some(Box::pin(attempt(telemetry::measure(environment, options))).await);
    }
    if options.measures(Part::Fairness) {
        figures.fairness = Some(Box::pin(attempt(fairness::measure(environment, options))).await);
    }
    if options.measures(Part::WebhooksHttp) {
        figures.webhooks_http = Some(attempt(webhooks::measure(options)).await);
    }
    if options.measures(Part::Webhooks) {
        let measuring = deliveries::measure(environment, options);
        figures.webhooks = Some(Box::pin(attempt(measuring)).await);
    }
    if options.measures(Part::Feed) {
        figures.feed = Some(Box::pin(attempt(feed::measure(environment, options))).await);
    }
    if options.measures(Part::Reads) {
        figures.reads = Some(Box::pin(attempt(reads::measure(environment, options))).await);
    }
    if options.measures(Part::Erp) {
        let time = SETUP_TIMEOUT + erp::time_for(options.erp_lines);
        figures.erp =
            Some(Box::pin(attempt_within(time, erp::measure(environment, options))).await);
    }
    figures.seconds = started.elapsed().as_secs_f64();
    Ok(figures)
}

/// What was measured within the time, or why nothing was: the rest of the benchmark goes on.
async fn attempt<T: Serialize>(measuring: impl Future<Output = Result<T>>) -> Measured<T> {
    attempt_within(SETUP_TIMEOUT, measuring).await
}

async fn attempt_within<T: Serialize>(
    time: Duration,
    measuring: impl Future<Output = Result<T>>,
) -> Measured<T> {
    match timeout(time, Box::pin(measuring)).await {
        Ok(Ok(figures)) => Measured::Figures(figures),
        Ok(Err(error)) => Measured::Failed(explain(&error)),
        Err(_) => Measured::Failed(format!("it took longer than {time:?}")),
    }
}
