//! Figures of this machine, with everything on it: nats-server, all services, and the load.
//!
//! - `shop`: what is sold, and who orders what; the same in every run;
//! - `load`: orders through the inbox and over HTTP, stock lines over HTTP;
//! - `report`: the figures beside what is expected, as a table or as JSON.
//!
//! Nothing here fails for being slow; it fails when something is lost.

mod load;
pub mod report;
mod shop;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use client::Client;
use engine::{Engine, Rebuilt};
use node::{
    data_folder::DataFolder,
    embedded::Embedded,
    say,
    services::{NAMES, Service},
    settings::Settings,
    terminal::interrupted,
};
use protocol::{id::Shop, subject};
use tokio::time::sleep;

use self::{
    load::Load,
    report::{Figures, Memory, Rebuild},
};
use crate::figures::peak_memory_mb;

/// The shop of the benchmark.
const SHOP: &str = "bench";
/// How long the limit is measured.
const LIMIT_DURATION: Duration = Duration::from_secs(3);
/// The interval between two looks at the logs, to see whether they still grow.
const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// The services whose databases are rebuilt.
const REBUILT: [&str; 2] = ["order", "inventory"];
/// The exit code of a process that was interrupted.
const EXIT_INTERRUPTED: u8 = 130;

/// How much is measured.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The number of orders that are sent through the inbox
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..))]
    pub sagas: u32,
    /// The number of orders over HTTP, as fast as possible
    #[arg(long, default_value_t = 6_000, value_parser = clap::value_parser!(u32).range(100..))]
    pub orders: u32,
    /// The number of clients that send these
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub clients: u16,
    /// The orders a second at which latency is measured
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// How long, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// The number of stock lines that an ERP pushes over HTTP
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    pub lines: u32,
    /// The folder for all data of the benchmark; made if it is missing, emptied at each run
    #[arg(long, value_name = "FOLDER", default_value = ".data/bench")]
    pub data: PathBuf,
    /// How the figures are printed
    #[arg(long, value_enum, default_value = "text")]
    pub report: Form,
}

/// How figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A table for people
    Text,
    /// An object for machines
    Json,
}

/// `tradewind bench`.
pub async fn run(settings: &Settings, options: Options) -> Result<ExitCode> {
    let folder = DataFolder::take(&options.data)?;
    let mut settings = settings.clone();
    settings.listen.set_port(0);
    let mut embedded = Embedded::start(&settings, folder.path()).await?;
    let figures = tokio::select! {
        figures = measure(&mut embedded, &options) => Some(figures),
        () = interrupted() => None,
    };
    embedded.stop().await?;
    let Some(figures) = figures.transpose()? else { return Ok(ExitCode::from(EXIT_INTERRUPTED)) };
    match options.report {
        Form::Text => say!("{figures}"),
        Form::Json => say!("{}", serde_json::to_string_pretty(&figures)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes all figures, one after the other. The services are stopped afterwards.
pub async fn measure(embedded: &mut Embedded, options: &Options) -> Result<Figures> {
    let progress = |what: &str| {
        if options.report == Form::Text {
            say!("{what} …");
        }
    };
    let Settings { api_key, partitions, .. } = &embedded.settings;
    let shop = Shop::parse(SHOP)?;
    let load = Load {
        api: Client::new(&embedded.url, api_key.as_deref().unwrap_or_default(), SHOP)?
            .without_retries(),
        engine: Engine::connect_only(embedded.settings.engine()).await?,
        partition: subject::partition(&shop, *partitions),
        shop,
    };
    progress("measuring the limit: raw atomic batches on this disk");
    let limit = load.engine.raw_limit(LIMIT_DURATION).await.context("measure the limit")?;
    load.open().await?;

    progress("sending orders through the inbox");
    let sagas = load.sagas(options.sagas).await?;
    progress("placing orders over HTTP, as fast as possible");
    let http = load.orders(options.orders, options.clients).await?;
    progress("placing orders over HTTP at a fixed rate");
    let latency = load.at_rate(options.rate, Duration::from_secs(options.seconds.into())).await?;
    progress("pushing stock lines over HTTP");
    let lines = load.lines(options.lines).await?;

    progress("rebuilding the databases of orders and stock");
    embedded.stop_services().await?;
    let mut rebuilds = Vec::new();
    for service in REBUILT.into_iter().filter_map(Service::named) {
        let Rebuilt { events, folding } = service.rebuild(&load.engine).await?;
        rebuilds.push(Rebuild::new(service.name, events, folding));
    }
    let memory = Memory {
        tradewind_mb: peak_memory_mb(std::process::id()),
        nats_server_mb: embedded.server.pid().and_then(peak_memory_mb),
    };
    Ok(Figures::new(limit, sagas, http, latency, lines, rebuilds, memory))
}

impl Load {
    /// The messages that are in the inbox and all logs, once none comes any more.
    async fn stored(&self) -> Result<u64> {
        let mut last = None;
        loop {
            let mut stored = self.engine.inbox_end(self.partition).await?;
            for service in NAMES {
                stored += self.engine.log_end(service, self.partition).await?;
            }
            if last == Some(stored) {
                return Ok(stored);
            }
            last = Some(stored);
            sleep(POLL_INTERVAL).await;
        }
    }
}
