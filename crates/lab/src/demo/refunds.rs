//! Refunds of orders that are paid and have left: a part of each, and of one of them all.

use anyhow::{Context, Result, ensure};
use client::{Client, Totals};
use events::{
    http::{OrderView, PaymentStatus},
    id::OrderId,
};
use reqwest::Method;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

/// The orders that are refunded, at most.
const MAX_ORDERS: usize = 8;
/// What a customer gets back for one that came broken, in pence.
const AMOUNT: i64 = 100;
/// How long the provider is waited for.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How often is looked whether the provider has paid back.
const INTERVAL: Duration = Duration::from_millis(100);

/// What was refunded.
#[derive(Debug, Default, Clone, Copy)]
pub struct Refunds {
    /// The orders.
    pub orders: u64,
    /// The amount, in pence.
    pub amount: i64,
}

/// Refunds some of these orders, and waits until the provider has paid back.
pub(super) async fn refund(api: &Client, orders: impl Iterator<Item = OrderId>) -> Result<Refunds> {
    let before = refunded(&api.totals().await?);
    let mut refunds = Refunds::default();
    for id in orders {
        if refunds.orders as usize == MAX_ORDERS {
            break;
        }
        let order: OrderView = api.get(&format!("orders/{id}")).await.context("read an order")?;
        if order.payment_status != PaymentStatus::Paid || order.total < AMOUNT {
            continue;
        }
        let minor = if refunds.orders == 0 { order.total } else { AMOUNT };
        let body = json!({
            "amount": {"minor": minor, "currency": order.currency},
            "reason": "came broken",
        });
        let request = api.request(Method::POST, &format!("orders/{id}/refunds"));
        let key = format!("refund-{id}");
        let answer = api.send(request.header("idempotency-key", key).json(&body)).await?;
        ensure!(answer.status.is_success(), "a refund is refused: {}", answer.body);
        refunds.orders += 1;
        refunds.amount += minor;
    }
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let totals = api.totals().await?;
        let is_complete = refunded(&totals) == before + refunds.amount;
        if is_complete && totals.payments.pending == 0 {
            return Ok(refunds);
        }
        ensure!(Instant::now() < deadline, "the provider has not paid back in time");
        sleep(INTERVAL).await;
    }
}

/// What was paid back, in pence: the shop has one currency.
fn refunded(totals: &Totals) -> i64 {
    totals.payments.currencies.iter().map(|it| it.refunded).sum()
}
