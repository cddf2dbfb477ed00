//! How the installation stands when the trade is over: what its services count.

use std::time::{Duration, Instant};

use anyhow::Result;
use events::view::{LevelView, OrderTotals, PaymentTotals};
use serde::Deserialize;
use tokio::time::sleep;

use super::client;
use crate::api::Api;

/// Stock levels in a page.
const PAGE: usize = 1_000;
/// How long the services may take until all of them know what the orders have come to.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(50);

/// What the services count over the shop.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Totals {
    pub(super) orders: OrderTotals,
    pub(super) payments: PaymentTotals,
    pub(super) inventory: StockTotals,
}

/// What the inventory counts.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct StockTotals {
    pub(super) held: i64,
}

impl Totals {
    /// Money that is neither taken nor let go, and operations whose outcome is not known.
    pub(super) fn on_its_way(&self) -> i64 {
        let PaymentTotals { authorized, pending, provider_held, .. } = self.payments;
        authorized + pending + provider_held
    }

    fn are_settled(&self) -> bool {
        let is_settled = self.orders.groups.iter().all(|group| group.status.is_final());
        is_settled && self.on_its_way() == 0 && self.inventory.held == 0
    }
}

/// How the installation stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Stand {
    pub(super) totals: Totals,
    /// The level of each SKU.
    pub(super) levels: Vec<LevelView>,
}

impl Stand {
    /// Looks when everything has settled; or when that takes too long, to see what has not.
    pub(super) async fn look(api: &Api) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let totals: Totals = client::get(api, "totals").await?;
            if totals.are_settled() || Instant::now() > deadline {
                return Ok(Self { totals, levels: levels(api).await? });
            }
            sleep(LOOKED_AT_EVERY).await;
        }
    }
}

async fn levels(api: &Api) -> Result<Vec<LevelView>> {
    #[derive(Deserialize)]
    struct Page {
        levels: Vec<LevelView>,
        next: Option<String>,
    }
    let mut all = Vec::new();
    let mut path = format!("inventory?limit={PAGE}");
    loop {
        let page: Page = client::get(api, &path).await?;
        all.extend(page.levels);
        match page.next {
            Some(next) => path = format!("inventory?limit={PAGE}&after={next}"),
            None => return Ok(all),
        }
    }
}
