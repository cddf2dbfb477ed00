//! What the installation reports when the trade is over, and the figures of the files once more, as
//! it reports them.

use std::time::{Duration, Instant};

use anyhow::Result;
use audit::Findings;
use client::{Client, Totals};
use events::http::LevelView;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    plan::{Figures, Plan, Stock},
    sums::OrderSums,
    trade::Trade,
};

/// How long the services may take until all of them know what the orders have come to.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The interval between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What the services count.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    pub(super) totals: Totals,
    /// The level of each SKU.
    pub(super) levels: Vec<LevelView>,
}

impl Observed {
    /// Reads it when so many orders and everything of them has settled; or when that takes too
    /// long, to see what has not.
    pub(super) async fn read(api: &Client, orders: u64) -> Result<Self> {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            let is_late = Instant::now() > deadline;
            match Self::settled(api, orders, is_late).await {
                Ok(Some(observed)) => return Ok(observed),
                Err(error) if is_late => return Err(error),
                Ok(None) | Err(_) => sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// Reads it if everything has settled, or if it is wanted `anyway`.
    async fn settled(api: &Client, orders: u64, anyway: bool) -> Result<Option<Self>> {
        let totals = api.totals().await?;
        if !anyway && !totals.are_settled(orders) {
            return Ok(None);
        }
        Ok(Some(Self { totals, levels: api.levels().await? }))
    }
}

impl OrderSums {
    /// The figures of the plan, as the installation reports them. What it never gets to know stays as
    /// it is in the files.
    pub(super) fn figures(
        &self,
        plan: &Plan,
        stock: Stock,
        trade: &Trade,
        observed: &Observed,
    ) -> Figures {
        let levels = observed.levels.iter();
        let levels = levels.filter_map(|it| plan.products.get(it.sku.as_str()).map(|of| (it, of)));
        let units = levels.clone().map(|(level, product)| level.on_hand - product.opening(stock));
        // After other files the units on hand are those of all files.
        let units_adjusted_net = if trade.follows_other_files {
            trade.adjusted
        } else {
            units.sum::<i64>() + trade.shipped
        };
        let files = &plan.figures;
        Figures {
            rows: files.rows,
            invoices: files.invoices,
            order_lines_dropped: files.order_lines_dropped,
            adjustment_invoices: files.adjustment_invoices,
            adjustment_lines: files.adjustment_lines,
            return_invoices: files.return_invoices,
            return_lines: files.return_lines,
            ignored_invoices: files.ignored_invoices,
            customers: self.customers.len() as u64,
            skus: levels.count() as u64,
            sku_demand_max: self.demand.values().copied().max().unwrap_or(0),
            units_adjusted_net,
            ..self.figures.clone()
        }
    }
}

/// The figures in which two accounts differ, by name.
pub(super) fn differences(files: &Figures, reported: &Figures) -> Findings {
    let mut findings = Findings::default();
    let (Value::Object(files), reported) = (json!(files), json!(reported)) else { return findings };
    for (name, figure) in &files {
        let reported = &reported[name];
        findings.expect(reported == figure, || {
            format!("{name} is reported as {reported}, not {figure}")
        });
    }
    findings
}
