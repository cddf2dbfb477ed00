//! What is audited: the logs of an installation in which nothing happens any more.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use engine::{Engine, SERVICES, Verified};
use events::id::Shop;
use tokio::time::sleep;

use super::Audit;
use crate::{
    admin::{self, PROJECTED},
    api::Api,
};

/// How often it is looked.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);
/// How long nothing may happen before the wait is given up: longer than any pause of the payments.
const PATIENCE: Duration = Duration::from_secs(45);

/// Waits until so many orders of the shop have ended and no log grows any more. False when that
/// does not come about; what is wrong then shows in the checks.
pub async fn until_settled(engine: &Engine, api: &Api, orders: u64) -> Result<bool> {
    let mut last = Vec::new();
    let mut changed = Instant::now();
    loop {
        let ends = log_ends(engine).await?;
        let is_quiet = ends == last;
        if !is_quiet {
            (last, changed) = (ends, Instant::now());
        }
        if is_quiet && api.totals().await?.are_settled(orders) {
            return Ok(true);
        }
        if changed.elapsed() > PATIENCE {
            return Ok(false);
        }
        sleep(LOOKED_AT_EVERY).await;
    }
}

async fn log_ends(engine: &Engine) -> Result<Vec<u64>> {
    let mut ends = Vec::new();
    for partition in 0..engine.config().partitions {
        for service in SERVICES {
            ends.push(engine.log_end(service, partition).await.context("look at the logs")?);
        }
    }
    Ok(ends)
}

/// Compares each database with its log, by service.
pub async fn verify(engine: &Engine) -> Result<Vec<(&'static str, Verified)>> {
    let mut verified = Vec::new();
    for service in PROJECTED {
        verified.push((service.name(), admin::verify(engine, service).await?));
    }
    Ok(verified)
}

impl Audit {
    /// Reads every log and the inbox, an event at a time. Nothing may happen meanwhile. What is of
    /// another shop is looked at for what is so in every log.
    pub async fn read(engine: &Engine, shop: &Shop) -> Result<Self> {
        let mut audit = Self { shop: Some(shop.to_string()), ..Self::default() };
        for partition in 0..engine.config().partitions {
            for service in SERVICES.iter().copied() {
                engine
                    .read_log(service, partition, |logged| {
                        audit.observe(service, partition, &logged);
                    })
                    .await
                    .with_context(|| format!("read the log of {service}"))?;
            }
            let mut first = None;
            engine
                .read_inbox(partition, |sequence, command| {
                    first.get_or_insert(sequence);
                    audit.observe_command(&command.shop, &command.id);
                })
                .await
                .context("read the inbox")?;
            // The inbox forgets what is old; the logs do not.
            audit.history.misses_commands |= first != Some(1);
        }
        Ok(audit)
    }
}
