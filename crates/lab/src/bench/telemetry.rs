//! What traces and metrics cost: three installations of one kind, one without them, one with the
//! default share of traces and one with all, which take the same orders in turn. So whatever else
//! happens on the machine affects all alike.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Bytes, extract::DefaultBodyLimit, http::header::CONTENT_TYPE, routing};
use serde::Serialize;
use tokio::{net::TcpListener, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Options,
    load::Load,
    setup::{Environment, Installation, Setup},
    shop::SHOP,
};

/// The installations.
const SIDES: usize = 3;
/// The orders of a run, as a share of those of the part `orders`.
const ORDERS_DIVISOR: u32 = 5;
/// The orders before the first round, so that all installations have met each kind.
const WARM_UP_ORDERS: u32 = 500;
/// How long after a run the last of its spans are exported: the exporter's interval, and a little.
const EXPORT_PAUSE: Duration = Duration::from_millis(1_200);

/// What traces and metrics cost: rounds of runs, one without and one with each of two settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TelemetryCost {
    /// The orders of each run.
    pub orders: u64,
    /// With the settings of the program: metrics, and the default share of traces.
    pub by_default: Cost,
    /// With metrics and a trace of every request.
    pub every_trace: Cost,
}

/// What one setting costs, against none.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Of each round: the share of the throughput that was lost; negative if it was gained.
    pub throughput_loss: Vec<f64>,
    /// By how much more time of the processors the services took for the same orders, over all
    /// rounds; absent where the system does not say.
    pub cpu_growth: Option<f64>,
    /// The kilobytes of spans that were exported.
    pub exported_kb: u64,
}

impl Cost {
    /// The loss of throughput that so many of a hundred rounds did not exceed.
    pub fn loss(&self, percentile: f64) -> f64 {
        let mut losses = self.throughput_loss.clone();
        losses.sort_by(f64::total_cmp);
        let Some(last) = losses.len().checked_sub(1) else { return 0.0 };
        // Between two rounds, the mean of both, by their distance.
        let at = percentile / 100.0 * last as f64;
        let (low, high) = (losses[at.floor() as usize], losses[at.ceil() as usize]);
        low + (high - low) * at.fract()
    }
}

/// An installation and what is measured of it.
struct Side {
    installation: Installation,
    load: Load,
    cpu_ticks: Option<u64>,
}

/// Compares an installation without telemetry with two that export traces to this process and
/// record metrics: one with the default share of traces, one with a trace of every request.
pub(super) async fn measure(environment: &Environment, options: &Options) -> Result<TelemetryCost> {
    let progress = |what: &str| options.progress("telemetry", what);
    progress("starting three installations");
    let (some, all) = (Collector::start().await?, Collector::start().await?);
    let every_trace = ["--otlp-endpoint", &all.url, "--traces-per-second", "0"];
    let mut sides = [
        Side::start(environment, "without", &["--no-metrics"]).await?,
        Side::start(environment, "default", &["--otlp-endpoint", &some.url]).await?,
        Side::start(environment, "every-trace", &every_trace).await?,
    ];
    let orders = options.orders.div_ceil(ORDERS_DIVISOR);
    for side in &mut sides {
        side.run("warm-up", WARM_UP_ORDERS.min(orders), options.clients).await?;
        side.cpu_ticks = Some(0);
    }
    progress("orders over HTTP, without and with it in turn");
    let mut losses = [Vec::new(), Vec::new()];
    for round in 0..options.rounds {
        let name = format!("round-{round}");
        let mut per_s = [0.0; SIDES];
        for index in turns(round) {
            per_s[index] = sides[index].run(&name, orders, options.clients).await?;
        }
        let [without, with @ ..] = per_s;
        for (losses, with) in losses.iter_mut().zip(with) {
            losses.push(1.0 - with / without);
        }
    }
    let [without, by_default, every_trace] = &sides;
    let [default_loss, every_loss] = losses;
    let cost = TelemetryCost {
        orders: orders.into(),
        by_default: by_default.cost(without, default_loss, &some)?,
        every_trace: every_trace.cost(without, every_loss, &all)?,
    };
    for side in sides {
        side.stop().await?;
    }
    Ok(cost)
}

/// The order in which the installations run in a round. Each is first, second and last equally
/// often, before and after each other: what slows the machine down over time, or is slow after a
/// pause, then falls on all.
fn turns(round: u32) -> [usize; SIDES] {
    let mut turns = [0, 1, 2];
    turns.rotate_left(round as usize % SIDES);
    if round as usize / SIDES % 2 == 1 {
        turns.reverse();
    }
    turns
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

    /// What it costs more than the one without telemetry.
    fn cost(&self, without: &Self, throughput_loss: Vec<f64>, spans: &Collector) -> Result<Cost> {
        let exported_kb = spans.received.load(Ordering::Relaxed) / 1000;
        ensure!(exported_kb > 0, "no span was exported");
        let cpu = without.cpu_ticks.zip(self.cpu_ticks).filter(|(without, _)| *without > 0);
        let cpu_growth = cpu.map(|(without, with)| with as f64 / without as f64 - 1.0);
        Ok(Cost { throughput_loss, cpu_growth, exported_kb })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_installation_has_each_turn_equally_often() {
        for position in 0..SIDES {
            let mut counts = [0; SIDES];
            (0..6).for_each(|round| counts[turns(round)[position]] += 1);
            assert_eq!(counts, [2; SIDES], "at {position}");
        }
    }

    #[test]
    fn the_loss_is_the_median_of_the_rounds() {
        let of = |losses: &[f64]| Cost { throughput_loss: losses.to_vec(), ..Cost::default() };
        assert!((of(&[0.04, -0.01, 0.02]).loss(50.0) - 0.02).abs() < 1e-9);
        assert!((of(&[0.04, 0.02]).loss(50.0) - 0.03).abs() < 1e-9);
        assert!((of(&[0.04, 0.02]).loss(100.0) - 0.04).abs() < 1e-9);
        assert!(of(&[]).loss(50.0).abs() < 1e-9);
    }
}
