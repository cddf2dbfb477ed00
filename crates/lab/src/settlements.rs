//! When each order was settled, that is paid or cancelled: from the log, as soon as it is there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use engine::Engine;
use events::{names::ORDER_SETTLING_EVENTS, proto};
use indicatif::ProgressBar;
use protocol::id::Shop;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::figures::Latencies;

/// The service whose log settles orders.
const ORDER: &str = "order";
/// How long no order may be settled before the rest counts as lost.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// By order: when it was settled.
#[derive(Debug)]
pub(crate) struct SettlementTimes {
    settled: Arc<Mutex<HashMap<String, Instant>>>,
    _stop: DropGuard,
}

impl SettlementTimes {
    /// Follows the log of a partition from its beginning; the bar shows how many orders are settled.
    pub(crate) fn follow(engine: &Engine, partition: u32, bar: &ProgressBar) -> Self {
        let settled: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let (noted, bar) = (settled.clone(), bar.clone());
        let stop = follow(engine, partition, 0, move |event, now| {
            let mut noted = lock(&noted);
            noted.insert(event.aggregate_id, now);
            bar.set_position(noted.len() as u64);
        });
        Self { settled, _stop: stop }
    }

    /// The orders that are settled by now.
    pub(crate) fn so_far(&self) -> HashMap<String, Instant> {
        lock(&self.settled).clone()
    }
}

/// How long orders take from their intended start until they are settled.
#[derive(Debug)]
pub(crate) struct SettlementLatencies {
    measured: Arc<Mutex<Measured>>,
    settled: watch::Receiver<(u64, Instant)>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Measured {
    /// By the id of the command that places it: when the order was meant to start.
    started: HashMap<String, Instant>,
    latencies: Latencies,
}

impl SettlementLatencies {
    /// Follows what is settled of the shop's orders from now on.
    pub(crate) async fn follow(engine: &Engine, partition: u32, shop: &Shop) -> Result<Self> {
        let after = engine.log_end(ORDER, partition).await?;
        let measured: Arc<Mutex<Measured>> = Arc::default();
        let (count, settled) = watch::channel((0, Instant::now()));
        let (noted, shop) = (measured.clone(), shop.to_string());
        let guard = follow(engine, partition, after, move |event, now| {
            if event.shop != shop {
                return;
            }
            let mut measured = lock(&noted);
            if let Some(started) = measured.started.remove(&event.correlation_id) {
                measured.latencies.record(now.saturating_duration_since(started));
            }
            count.send_modify(|settled| *settled = (settled.0 + 1, now));
        });
        Ok(Self { measured, settled, _stop: guard })
    }

    /// Notes when an order was meant to start. To be called before its command is sent.
    pub(crate) fn start(&self, command: String, started: Instant) {
        lock(&self.measured).started.insert(command, started);
    }

    /// Waits until so many orders are settled; returns when the last of them was.
    pub(crate) async fn wait_for(&self, orders: u64) -> Result<Instant> {
        let mut settled = self.settled.clone();
        loop {
            let (count, last) = *settled.borrow_and_update();
            if count >= orders {
                return Ok(last);
            }
            let changed = tokio::time::timeout(SETTLE_TIMEOUT, settled.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let missing = orders - count;
                bail!("{missing} orders are not settled, and none was for {SETTLE_TIMEOUT:?}");
            }
        }
    }

    /// The latencies of the orders whose start was noted.
    pub(crate) fn latencies(&self) -> Latencies {
        lock(&self.measured).latencies.clone()
    }
}

/// Calls `settled` with each event after the sequence `after` that settles an order, until the guard
/// is dropped.
fn follow(
    engine: &Engine,
    partition: u32,
    after: u64,
    mut settled: impl FnMut(proto::Event, Instant) + Send + 'static,
) -> DropGuard {
    let stop = CancellationToken::new();
    let mut log = engine.follow_log(ORDER, partition, &ORDER_SETTLING_EVENTS, after, &stop);
    tokio::spawn(async move {
        while let Some(logged) = log.recv().await {
            settled(logged.event, Instant::now());
        }
    });
    stop.drop_guard()
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
