//! Waiting until an installation has settled.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use client::Client;
use engine::Engine;
use node::services::NAMES;
use tokio::time::sleep;

/// The interval between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How long the logs may stay unchanged before the wait is given up: longer than any pause of the
/// payments.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(45);

/// The service whose log grows for as long as webhooks are slow: nobody waits for it here.
const NOTIFY: &str = "notify";

/// Waits until so many orders of the shop have ended and no log but that of deliveries grows any more.
/// False when that does not come about; what is wrong then shows in the checks.
pub(crate) async fn until_settled(engine: &Engine, api: &Client, orders: u64) -> Result<bool> {
    let mut last = Vec::new();
    let mut changed = Instant::now();
    loop {
        let ends = log_ends(engine, |service| service != NOTIFY).await?;
        let is_quiet = ends == last;
        if !is_quiet {
            (last, changed) = (ends, Instant::now());
        }
        if is_quiet && api.totals().await?.are_settled(orders) {
            return Ok(true);
        }
        if changed.elapsed() > SETTLE_TIMEOUT {
            return Ok(false);
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// How long the logs of these services are.
pub(crate) async fn log_ends(engine: &Engine, of: impl Fn(&str) -> bool) -> Result<Vec<u64>> {
    let mut ends = Vec::new();
    for partition in 0..engine.config().partitions {
        for service in NAMES.into_iter().filter(|service| of(service)) {
            ends.push(engine.log_end(service, partition).await.context("look at the logs")?);
        }
    }
    Ok(ends)
}
