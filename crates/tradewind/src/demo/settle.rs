//! Waiting until the day is over: every order ended, every payment operation known.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use engine::{Engine, SERVICES};
use events::{
    proto::{event::Body, order_event::Kind},
    view::{OrderTotals, PaymentTotals},
};
use indicatif::ProgressBar;
use serde::Deserialize;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::Api;

/// How often it is looked.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);
/// How long nothing may happen before the wait is given up: longer than any pause of the payments.
const PATIENCE: Duration = Duration::from_secs(45);

/// What the gateway counts over the shop.
#[derive(Debug, Deserialize)]
pub struct Totals {
    /// Orders, by status and reason.
    pub orders: OrderTotals,
    /// Money, by the payment service and by the provider.
    pub payments: PaymentTotals,
    /// Stock.
    pub inventory: StockTotals,
}

/// What the inventory counts.
#[derive(Debug, Deserialize)]
pub struct StockTotals {
    /// Units on hand.
    pub on_hand: i64,
    /// Units held.
    pub held: i64,
    /// Units allocated.
    pub allocated: i64,
}

impl Totals {
    /// Asks the gateway.
    pub async fn ask(api: &Api) -> Result<Self> {
        api.get("totals").await
    }

    /// Whether nothing is on its way any more.
    fn are_settled(&self, orders: usize) -> bool {
        let ended: i64 = self
            .orders
            .groups
            .iter()
            .filter(|group| group.status.is_final())
            .map(|group| group.orders)
            .sum();
        let PaymentTotals { authorized, pending, provider_held, .. } = self.payments;
        ended >= orders as i64
            && (authorized, pending, provider_held, self.inventory.held) == (0, 0, 0, 0)
    }
}

/// The ends of orders, as they come into the log.
#[derive(Debug)]
pub struct Ends {
    ended: Arc<Mutex<HashMap<String, Instant>>>,
    _stop: DropGuard,
}

impl Ends {
    /// Begins to follow the order log of a partition; the bar shows how many orders have ended.
    pub fn follow(engine: &Engine, partition: u32, bar: &ProgressBar) -> Self {
        let stop = CancellationToken::new();
        let mut log = engine.follow_log("order", partition, &["paid", "cancelled"], 0, &stop);
        let ended: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let (noted, bar) = (ended.clone(), bar.clone());
        tokio::spawn(async move {
            while let Some(logged) = log.recv().await {
                let Some(Body::Order(order)) = &logged.event.body else { continue };
                let Some(Kind::Paid(_) | Kind::Cancelled(_)) = &order.kind else { continue };
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                noted.insert(logged.event.aggregate_id, Instant::now());
                bar.set_position(noted.len() as u64);
            }
        });
        Self { ended, _stop: stop.drop_guard() }
    }

    /// By order: when its end was in the log.
    pub fn so_far(&self) -> HashMap<String, Instant> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits until all orders have ended and no log grows any more. False when that does not come
/// about; what is wrong then shows in the checks.
pub async fn until_settled(engine: &Engine, api: &Api, orders: usize) -> Result<bool> {
    let mut last = Vec::new();
    let mut changed = Instant::now();
    loop {
        let ends = log_ends(engine).await?;
        let is_quiet = ends == last;
        if !is_quiet {
            (last, changed) = (ends, Instant::now());
        }
        if is_quiet && Totals::ask(api).await?.are_settled(orders) {
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
