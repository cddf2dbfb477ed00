//! What traces and metrics cost: two installations of one kind, one without and one with them, which
//! take the same orders in turn. So whatever else happens on the machine meets both alike.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Bytes, extract::DefaultBodyLimit, http::header::CONTENT_TYPE, routing};
use tokio::{net::TcpListener, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Options,
    figures::{Setup, TelemetryCost},
    load::Load,
    measure::SHOP,
    setup::{Environment, Installation},
};

/// The orders of a run, as a share of those of the part `orders`.
const ORDERS_DIVISOR: u32 = 5;
/// The orders before the first pair, so that both installations have met each kind.
const WARM_UP_ORDERS: u32 = 500;
/// How long after a run the last of its spans are exported: the exporter's interval, and a little.
/// The other installation has the processors meanwhile.
const EXPORT_PAUSE: Duration = Duration::from_millis(1_200);

/// An installation and what is measured of it.
struct Side {
    installation: Installation,
    load: Load,
    cpu_ticks: Option<u64>,
}

/// Compares an installation without telemetry with one with traces of every request, exported to
/// this process, and metrics.
pub(super) async fn measure(environment: &Environment, options: &Options) -> Result<TelemetryCost> {
    let progress = |what: &str| options.progress("telemetry", what);
    progress("starting two installations");
    let collector = Collector::start().await?;
    let mut without = Side::start(environment, "without", &["--no-metrics"]).await?;
    let endpoint = ["--otlp-endpoint", &collector.url];
    let mut with = Side::start(environment, "with", &endpoint).await?;
    let orders = options.orders.div_ceil(ORDERS_DIVISOR);
    for side in [&mut without, &mut with] {
        side.run("warm-up", WARM_UP_ORDERS.min(orders), options.clients).await?;
        side.cpu_ticks = Some(0);
    }
    progress("orders over HTTP, without and with it in turn");
    let mut throughput_loss = Vec::new();
    for pair in 0..options.pairs {
        let name = format!("pair-{pair}");
        // Each goes first in every second pair: what slows the machine down over time, or is slow
        // after a pause, then falls on both.
        let (off, on) = if pair % 2 == 0 {
            let off = without.run(&name, orders, options.clients).await?;
            (off, with.run(&name, orders, options.clients).await?)
        } else {
            let on = with.run(&name, orders, options.clients).await?;
            (without.run(&name, orders, options.clients).await?, on)
        };
        throughput_loss.push(1.0 - on / off);
    }
    let exported_kb = collector.received.load(Ordering::Relaxed) / 1000;
    ensure!(exported_kb > 0, "no span was exported");
    let cpu = without.cpu_ticks.zip(with.cpu_ticks).filter(|(without, _)| *without > 0);
    let cpu_growth = cpu.map(|(without, with)| with as f64 / without as f64 - 1.0);
    without.stop().await?;
    with.stop().await?;
    Ok(TelemetryCost { throughput_loss, cpu_growth, orders: orders.into(), exported_kb })
}

impl Side {
    async fn start(environment: &Environment, name: &str, flags: &[&str]) -> Result<Self> {
        let name = format!("telemetry-{name}");
        let setup = Setup::R1Sqlite;
        let installation = Installation::start(setup, environment, &name, flags).await?;
        let load = installation.load(SHOP).await?;
        load.open().await?;
        Ok(Self { installation, load, cpu_ticks: None })
    }

    async fn stop(self) -> Result<()> {
        let Self { installation, load, .. } = self;
        drop(load);
        installation.stop().await
    }

    /// Takes so many orders; returns those that were settled in a second.
    async fn run(&mut self, name: &str, orders: u32, clients: u16) -> Result<f64> {
        let before = self.installation.services.cpu_ticks();
        let throughput = self.load.orders(name, orders, clients).await?;
        sleep(EXPORT_PAUSE).await;
        let after = self.installation.services.cpu_ticks();
        let spent = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        self.cpu_ticks = self.cpu_ticks.zip(spent).map(|(sum, spent)| sum + spent);
        Ok(throughput.per_s)
    }
}

/// Takes spans by OTLP over HTTP, and throws them away.
struct Collector {
    url: String,
    /// The bytes that it has received.
    received: Arc<AtomicU64>,
    _serving: AbortOnDropHandle<()>,
}

impl Collector {
    async fn start() -> Result<Self> {
        let received: Arc<AtomicU64> = Arc::default();
        let counted = received.clone();
        let take = move |body: Bytes| {
            counted.fetch_add(body.len() as u64, Ordering::Relaxed);
            // An empty answer of protobuf: all spans were taken.
            async { ([(CONTENT_TYPE, "application/x-protobuf")], Bytes::new()) }
        };
        let routes = Router::new()
            .route("/v1/traces", routing::post(take))
            .layer(DefaultBodyLimit::disable());
        let listener = TcpListener::bind("127.0.0.1:0").await.context("start the collector")?;
        let url = format!("http://{}", listener.local_addr()?);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "the collector has stopped");
            }
        });
        Ok(Self { url, received, _serving: AbortOnDropHandle::new(serving) })
    }
}
