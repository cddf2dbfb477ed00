//! The parts that are measured in every setup, one after the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use engine::{Engine, Logged, RawLimit, Rebuilt};
use events::proto::Event;
use node::services::Service;

use super::{
    Options, Part,
    figures::{Limits, Rebuild, SetupFigures},
    load::Load,
    memory::MemorySampler,
    setup::{Environment, Installation, Setup},
    shop::SHOP,
};
use crate::figures::{Latencies, rate};

/// How long the limit is measured.
const LIMIT_DURATION: Duration = Duration::from_secs(3);
/// The single messages whose latency is measured.
const RAW_WRITES: u32 = 500;
/// The services whose databases are rebuilt.
const REBUILT: [&str; 2] = ["order", "inventory"];

/// Starts an installation, takes its figures, and stops it.
pub(super) async fn measure(
    setup: Setup,
    environment: &Environment,
    options: &Options,
) -> Result<SetupFigures> {
    let progress = |what: &str| options.progress(&setup.to_string(), what);
    progress("starting");
    let name = format!("{setup:?}").to_lowercase();
    let mut installation = Installation::start(setup, environment, &name, &[]).await?;
    let load = installation.load(SHOP).await?;
    progress("raw writes, which are the limit");
    let mut figures = SetupFigures { limits: limits(&load.engine).await?, ..Default::default() };
    let sampler = MemorySampler::start(installation.processes());
    load.open().await?;

    if options.measures(Part::Sagas) {
        progress("orders through the inbox");
        figures.sagas = Some(load.sagas("inbox", options.sagas).await?);
    }
    if options.measures(Part::Orders) {
        progress("orders over HTTP, as fast as possible");
        figures.orders = Some(load.orders("http", options.orders, options.clients).await?);
    }
    if options.measures(Part::Latency) {
        let duration = Duration::from_secs(options.seconds.into());
        for rate in &options.rates {
            progress(&format!("{rate} orders/s over HTTP"));
            let name = format!("rate-{rate}");
            load.quiet().await?;
            figures.latencies.push(load.at_rate(&name, *rate, duration).await?);
        }
    }
    if options.measures(Part::Stock) {
        progress("stock lines over HTTP");
        figures.stock_lines = Some(load.lines(options.lines).await?);
    }
    if options.measures(Part::GoodsIssues) {
        progress("goods issues over HTTP");
        figures.goods_issues = Some(load.goods_issues("inbox", options.sagas).await?);
    }
    figures.memory_at_load = sampler.peak();

    if options.measures(Part::Rebuild) {
        progress("rebuilding databases");
        installation.services.stop().await?;
        let sampler = MemorySampler::start(installation.processes());
        for service in REBUILT.into_iter().filter_map(Service::named) {
            figures.rebuilds.push(rebuild(service, &load).await?);
        }
        figures.memory_of_rebuild = sampler.peak();
    }
    drop(load);
    installation.stop().await?;
    Ok(figures)
}

/// What the broker takes at most, without any service.
async fn limits(engine: &Engine) -> Result<Limits> {
    let RawLimit { messages, took } =
        engine.raw_limit(LIMIT_DURATION).await.context("measure the limit of batches")?;
    let writes = engine.raw_writes(RAW_WRITES).await.context("measure the limit of writes")?;
    let mut latencies = Latencies::default();
    for time in writes {
        latencies.record(time);
    }
    Ok(Limits::new(rate(messages, took), &latencies))
}

/// Rebuilds a database, after its log was read once without folding it.
async fn rebuild(service: &'static Service, load: &Load) -> Result<Rebuild> {
    let started = Instant::now();
    let read = load.engine.read_log(service.name, load.partition, drop::<Logged<Event>>).await?;
    let reading = started.elapsed();
    let Rebuilt { events, folding } = service.rebuild(&load.engine).await?;
    Ok(Rebuild {
        service: service.name,
        events,
        events_per_s: rate(events, folding),
        read_per_s: rate(read, reading),
    })
}
