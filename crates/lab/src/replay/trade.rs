//! The trade itself: the catalogue and the opening stock, and then one day after another.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use audit::Findings;
use client::Client;
use events::{
    http::{OrderStatus, OrderView},
    id::OrderId,
};
use futures::{StreamExt, TryStreamExt, future::try_join, stream};
use indicatif::ProgressBar;
use serde_json::json;

use super::{
    observed::OrderSums,
    orders::{self, Outcome, Placed},
    plan::{Day, Document, Order, Plan, Product, Stock, words},
    pushes::{self, Pushed},
};
use crate::figures::Latencies;

/// The connector that pushes all stock documents.
const CONNECTOR: &str = "erp";
/// The sequence of the opening counts: before all other documents.
const OPENING_SEQUENCE: u64 = 1;
/// One order in so many is seen when it is accepted, too. That takes a second request.
const SAMPLE: usize = 10;

/// Orders that ended alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Group {
    /// How many there are.
    pub orders: u64,
    /// Their totals together, in pence.
    pub total: i64,
}

impl Group {
    fn add(&mut self, total: i64) {
        self.orders += 1;
        self.total += total;
    }
}

/// What was answered to the shop and the ERP.
#[derive(Debug, Default)]
pub struct Trade {
    /// The outcome of pushing the products.
    pub catalogue: Pushed,
    /// The outcome of pushing the opening counts.
    pub opening: Pushed,
    /// The outcome of pushing the adjustments and returns.
    pub documents: Pushed,
    /// Orders that were there before.
    pub known: u64,
    /// Orders that are paid.
    pub paid: Group,
    /// Orders that were cancelled because there was too little stock.
    pub out_of_stock: Group,
    /// Orders that were cancelled for another reason.
    pub otherwise: Group,
    /// Orders that are neither paid nor cancelled.
    pub open: u64,
    /// The orders that there are.
    pub placed: Vec<OrderId>,
    /// Those of them that are cancelled.
    pub cancelled: Vec<OrderId>,
    /// The sums over them, as they came back.
    pub order_sums: OrderSums,
    /// By SKU: the units on paid orders.
    pub sold: HashMap<String, i64>,
    /// By SKU: the fewest units available that the cancellation of an order names.
    pub left: HashMap<String, i64>,
    /// Orders that came back otherwise than they were sold.
    pub wrong_orders: Findings,
    /// Orders cancelled for stock that do not name what there was too little of.
    pub wrong_shortages: Findings,
    /// Orders that are neither paid nor cancelled for stock.
    pub wrong_ends: Findings,
    /// The time until orders were accepted.
    pub accepted: Latencies,
    /// The time until orders were settled.
    pub settled: Latencies,
    /// The time that days took.
    pub days: Latencies,
    /// The time for catalogue and opening stock.
    pub prepared_in: Duration,
    /// The time for all days.
    pub traded_in: Duration,
}

/// How orders are placed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placing<'a> {
    /// How many are on their way at the same time.
    pub(super) concurrency: usize,
    /// What the idempotency keys begin with.
    pub(super) key_prefix: &'a str,
}

/// Trades day by day.
pub(super) async fn trade(
    api: &Client,
    plan: &Plan,
    stock: Stock,
    placing: Placing<'_>,
    bar: &ProgressBar,
) -> Result<Trade> {
    let mut trade = Trade::default();
    let started = Instant::now();
    trade.prepare(api, plan, stock).await?;
    trade.prepared_in = started.elapsed();

    let started = Instant::now();
    for (number, (date, day)) in (1..).zip(&plan.days) {
        bar.set_message(format!("{date}, day {number} of {}", plan.days.len()));
        let opened = Instant::now();
        trade.day(api, day, placing, bar).await?;
        trade.days.record(opened.elapsed());
    }
    trade.traded_in = started.elapsed();
    Ok(trade)
}

impl Trade {
    async fn prepare(&mut self, api: &Client, plan: &Plan, stock: Stock) -> Result<()> {
        let products = plan.products.iter().map(|(sku, product)| product_line(sku, product));
        self.catalogue = pushes::push(api, "products", products.collect()).await?;
        if let Some(refused) = self.catalogue.refused.shown().first() {
            bail!("the catalogue does not take {refused}");
        }
        let opening = plan.products.iter().map(|(sku, it)| opening_line(sku, it.opening(stock)));
        self.opening = pushes::push(api, "inventory", opening.collect()).await?;
        if let Some(refused) = self.opening.refused.shown().first() {
            bail!(
                "{} opening counts are refused; a shop takes one replay, of the same files with \
                 the same stock: name another with --shop. The first is {refused}",
                self.opening.refused.count()
            );
        }
        Ok(())
    }

    async fn day(
        &mut self,
        api: &Client,
        day: &Day,
        Placing { concurrency, key_prefix }: Placing<'_>,
        bar: &ProgressBar,
    ) -> Result<()> {
        let documents = pushes::push(api, "inventory", day.documents.iter().map(line).collect());
        let placing = day.orders.iter().enumerate().map(|(index, order)| async move {
            let placed = orders::place(api, order, key_prefix, index % SAMPLE == 0).await?;
            anyhow::Ok((order, placed))
        });
        let mut placing = stream::iter(placing).buffer_unordered(concurrency);
        let orders = async {
            while let Some((order, placed)) = placing.try_next().await? {
                self.add(order, placed);
                bar.inc(1);
            }
            Ok(())
        };
        let (documents, ()) = try_join(documents, orders).await?;
        self.documents.append(documents);
        Ok(())
    }

    fn add(&mut self, order: &Order, placed: Placed) {
        let Placed { outcome, is_known, accepted_after, settled_after } = placed;
        let view = match outcome {
            Outcome::Settled(view) => view,
            Outcome::Unsettled(view) => {
                self.open += 1;
                let (invoice, status) = (&order.invoice, view.status);
                self.wrong_ends.add(format!("order {invoice} is still {status:?}"));
                return self.compare(order, &view);
            }
            Outcome::Rejected(why) => {
                return self.wrong_ends.add(format!("order {} is rejected: {why}", order.invoice));
            }
        };
        if is_known {
            self.known += 1;
        } else {
            self.settled.record(settled_after);
            if let Some(time) = accepted_after {
                self.accepted.record(time);
            }
        }
        self.compare(order, &view);
        if view.status == OrderStatus::Paid {
            self.paid.add(view.total);
            for line in &view.lines {
                *self.sold.entry(line.sku.to_string()).or_default() += line.quantity.get();
            }
            return;
        }
        self.cancelled.push(view.id);
        if orders::is_out_of_stock(&view) {
            self.out_of_stock.add(view.total);
            if let Some(wrong) = orders::wrong_shortages(order, &view) {
                self.wrong_shortages.add(wrong);
            }
            for shortage in view.cancellation.iter().flat_map(|it| &it.shortages) {
                let left = self.left.entry(shortage.sku.to_string()).or_insert(i64::MAX);
                *left = shortage.available.min(*left);
            }
        } else {
            self.otherwise.add(view.total);
            let (invoice, cancellation) = (&order.invoice, &view.cancellation);
            self.wrong_ends.add(format!("order {invoice} is cancelled: {cancellation:?}"));
        }
    }

    /// Compares an order with how it came back, and counts it as it did.
    fn compare(&mut self, order: &Order, view: &OrderView) {
        self.placed.push(view.id);
        self.order_sums.add(view);
        if let Some(difference) = orders::difference(order, view) {
            self.wrong_orders.add(difference);
        }
    }
}

fn product_line(sku: &str, product: &Product) -> String {
    let title = product.title.as_deref().and_then(words).unwrap_or_else(|| sku.to_owned());
    let price = json!({"minor": product.price, "currency": "GBP"});
    format!("{}\n", json!({"sku": sku, "title": title, "price": price}))
}

fn opening_line(sku: &str, units: i64) -> String {
    let line = json!({
        "type": "count",
        "sku": sku,
        "quantity": units,
        "connector": CONNECTOR,
        "document": format!("opening/{sku}"),
        "sequence": OPENING_SEQUENCE,
    });
    format!("{line}\n")
}

fn line(document: &Document) -> String {
    let line = json!({
        "type": "adjustment",
        "sku": &*document.sku,
        "delta": document.delta,
        "reason": document.reason,
        "connector": CONNECTOR,
        "document": document.id,
        "sequence": document.sequence,
    });
    format!("{line}\n")
}
