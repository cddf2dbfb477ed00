//! What is audited: the logs of an installation in which nothing happens any more.

use anyhow::{Context, Result};
use engine::Engine;
use events::proto;
use protocol::id::Shop;

use super::{Audit, webhooks::NOTIFY};

impl Audit {
    /// Reads the logs of all `services` and the inbox, an event at a time. Nothing may happen
    /// meanwhile. What is of another shop is looked at for what is so in every log.
    pub async fn read(engine: &Engine, services: &[&'static str], shop: &Shop) -> Result<Self> {
        let mut audit = Self { shop: Some(shop.to_string()), ..Self::default() };
        // What is delivered is compared with what the others have published.
        let (others, delivers): (Vec<_>, Vec<_>) =
            services.iter().copied().partition(|service| *service != NOTIFY);
        for partition in 0..engine.config().partitions {
            for service in others.iter().chain(&delivers).copied() {
                engine
                    .read_log(service, partition, |logged| {
                        audit.observe(service, partition, &logged);
                    })
                    .await
                    .with_context(|| format!("read the log of {service}"))?;
            }
            let mut first = None;
            engine
                .read_inbox(partition, |sequence, command: proto::Command| {
                    first.get_or_insert(sequence);
                    audit.observe_command(partition, sequence, &command.shop, &command.id);
                })
                .await
                .context("read the inbox")?;
            // The inbox forgets what is old; the logs do not.
            audit.history.misses_commands |= first != Some(1);
        }
        Ok(audit)
    }
}
