//! How the installation stands when the trade is over: what its services count.

use std::time::{Duration, Instant};

use anyhow::Result;
use events::view::LevelView;
use tokio::time::sleep;

use crate::api::{Api, Totals};

/// How long the services may take until all of them know what the orders have come to.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(50);

/// How the installation stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Stand {
    pub(super) totals: Totals,
    /// The level of each SKU.
    pub(super) levels: Vec<LevelView>,
}

impl Stand {
    /// Looks when so many orders and everything of them has settled; or when that takes too long,
    /// to see what has not.
    pub(super) async fn look(api: &Api, orders: u64) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let is_late = Instant::now() > deadline;
            match Self::settled(api, orders, is_late).await {
                Ok(Some(stand)) => return Ok(stand),
                Err(error) if is_late => return Err(error),
                Ok(None) | Err(_) => sleep(LOOKED_AT_EVERY).await,
            }
        }
    }

    /// How it stands, if that has settled or is wanted `anyway`.
    async fn settled(api: &Api, orders: u64, anyway: bool) -> Result<Option<Self>> {
        let totals = api.totals().await?;
        if !anyway && !totals.are_settled(orders) {
            return Ok(None);
        }
        Ok(Some(Self { totals, levels: api.levels().await? }))
    }
}
