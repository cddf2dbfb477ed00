//! When each order has ended: from the log, as soon as it is there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use engine::Engine;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::figures::Latencies;

/// How long nothing may end before the rest counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Follows the ends of orders.
#[derive(Debug)]
pub(super) struct Ends {
    waiting: Arc<Mutex<Waiting>>,
    ended: watch::Receiver<(u64, Instant)>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By the id of the command that began it: when it was meant to begin.
    begun: HashMap<String, Instant>,
    latencies: Latencies,
}

impl Ends {
    /// Follows what ends from now on.
    pub(super) async fn follow(engine: &Engine, partition: u32) -> Result<Self> {
        let after = engine.log_end("order", partition).await?;
        let stop = CancellationToken::new();
        let mut log = engine.follow_log("order", partition, &["paid", "cancelled"], after, &stop);
        let waiting: Arc<Mutex<Waiting>> = Arc::default();
        let (tell, ended) = watch::channel((0, Instant::now()));
        let noted = waiting.clone();
        tokio::spawn(async move {
            while let Some(logged) = log.recv().await {
                let now = Instant::now();
                let mut waiting = lock(&noted);
                if let Some(begun) = waiting.begun.remove(&logged.event.correlation_id) {
                    waiting.latencies.record(now.saturating_duration_since(begun));
                }
                tell.send_modify(|ended| *ended = (ended.0 + 1, now));
            }
        });
        Ok(Self { waiting, ended, _stop: stop.drop_guard() })
    }

    /// Notes that an order was meant to begin then. To be called before it is sent.
    pub(super) fn begin(&self, command: String, begun: Instant) {
        lock(&self.waiting).begun.insert(command, begun);
    }

    /// Waits until so many have ended; returns when the last of them did.
    pub(super) async fn wait_for(&self, orders: u64) -> Result<Instant> {
        let mut ended = self.ended.clone();
        loop {
            let (count, last) = *ended.borrow_and_update();
            if count >= orders {
                return Ok(last);
            }
            if !matches!(tokio::time::timeout(PATIENCE, ended.changed()).await, Ok(Ok(()))) {
                bail!("{} orders did not end; nothing more came for {PATIENCE:?}", orders - count);
            }
        }
    }

    /// How long those took that were noted at their beginning.
    pub(super) fn latencies(&self) -> Latencies {
        lock(&self.waiting).latencies.clone()
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
