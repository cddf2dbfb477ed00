//! The trade itself: the catalogue and the opening stock, and then one day after another. What a day
//! sells is shipped in its evening, by goods issues of the ERP.
//!
//! A shop takes several replays. What is known is known: products by their SKU, orders by their
//! references, lines of the ERP by their documents. The opening counts are those of the first replay;
//! where they come out otherwise, other files were replayed before, and for each day whose orders are
//! not known what that day needs is received.

mod lines;

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use audit::Findings;
use chrono::NaiveDate;
use client::{Client, Totals};
use events::{
    http::{OrderStatus, OrderView},
    id::OrderId,
};
use futures::{StreamExt, TryStreamExt, future::try_join, stream};
use indicatif::ProgressBar;

use super::{
    invoices::Text,
    orders::{self, Outcome, Placed},
    plan::{Day, Document, Order, Plan, Stock},
    pushes::{self, LineOutcome, Pushed},
    sums::OrderSums,
};
use crate::figures::Latencies;

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
    /// What the services counted before.
    pub before: Totals,
    /// By SKU: the units on hand before, and those allocated.
    pub levels_before: HashMap<String, (i64, i64)>,
    /// The outcome of pushing the opening counts, and what later files need beyond them.
    pub opening: Pushed,
    /// Whether other files were replayed into the shop before.
    pub follows_other_files: bool,
    /// The outcome of pushing the adjustments and returns.
    pub documents: Pushed,
    /// The outcome of pushing the goods issues.
    pub shipments: Pushed,
    /// By SKU: the units by which lines of the ERP changed what is on hand.
    pub moved: HashMap<String, i64>,
    /// The units that adjustments and returns added, now or before.
    pub adjusted: i64,
    /// The units that goods issues took, now or before.
    pub shipped: i64,
    /// Orders that were there before.
    pub known: u64,
    /// Orders that are paid.
    pub paid: Group,
    /// Those of them that were there before.
    pub known_paid: Group,
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
    /// The lines of paid orders.
    pub sold_lines: u64,
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
    let levels = api.levels().await?.into_iter();
    let levels_before = levels.map(|it| (it.sku.to_string(), (it.on_hand, it.allocated))).collect();
    let before = api.totals().await?;
    let mut trade = Trade { before, levels_before, ..Trade::default() };
    let started = Instant::now();
    trade.prepare(api, plan, stock).await?;
    trade.prepared_in = started.elapsed();

    let started = Instant::now();
    for (number, (date, day)) in (1..).zip(&plan.days) {
        bar.set_message(format!("{date}, day {number} of {}", plan.days.len()));
        let opened = Instant::now();
        trade.day(api, (*date, day), placing, bar).await?;
        trade.days.record(opened.elapsed());
    }
    trade.traded_in = started.elapsed();
    Ok(trade)
}

impl Trade {
    /// How many orders the shop must have in the end.
    pub(super) fn orders(&self) -> u64 {
        let before: i64 = self.before.orders.groups.iter().map(|group| group.orders).sum();
        before.unsigned_abs() + self.placed.len() as u64 - self.known
    }

    async fn prepare(&mut self, api: &Client, plan: &Plan, stock: Stock) -> Result<()> {
        let (known, new): (Vec<_>, Vec<_>) =
            plan.products.iter().partition(|(sku, _)| self.levels_before.contains_key(&***sku));
        let products = new.iter().map(|(sku, product)| ((), lines::product(sku, product)));
        self.catalogue = pushes::push(api, "products", products.collect(), |(), _| ()).await?;
        self.catalogue.known += known.len() as u64;
        if let Some(refused) = self.catalogue.refused.shown().first() {
            bail!("the catalogue does not take {refused}");
        }

        let opening = plan.products.iter().map(|(sku, it)| {
            let units = it.opening(stock);
            ((sku, units), lines::opening(sku, units))
        });
        let mut counted = HashSet::new();
        let mut reused = 0;
        let Self { levels_before, moved, .. } = self;
        let mut pushed = pushes::push(
            api,
            "inventory",
            opening.collect(),
            |(sku, units), outcome| match outcome {
                LineOutcome::Applied => {
                    let before = levels_before.get(&***sku).map_or(0, |(on_hand, _)| *on_hand);
                    *moved.entry(sku.to_string()).or_default() += units - before;
                    counted.insert((*sku).clone());
                }
                LineOutcome::Reused => reused += 1,
                LineOutcome::Known | LineOutcome::Refused => {}
            },
        )
        .await?;
        if reused > 0 {
            if pushed.refused.count() > reused {
                bail!("the opening counts are refused: {:?}", pushed.refused.shown());
            }
            // Those were counted when other files were replayed.
            pushed.known += std::mem::take(&mut pushed.refused).count() as u64;
            self.follows_other_files = true;
        }
        if let Some(refused) = pushed.refused.shown().first() {
            bail!("the opening counts are refused, the first as {refused}");
        }
        self.opening = pushed;
        if self.follows_other_files {
            self.receive_new_days(api, plan, stock, &counted).await?;
        }
        Ok(())
    }

    /// Receives what the days need whose orders are not known, except the products that were just
    /// `counted`: their counts contain it.
    async fn receive_new_days(
        &mut self,
        api: &Client,
        plan: &Plan,
        stock: Stock,
        counted: &HashSet<Text>,
    ) -> Result<()> {
        for (date, day) in &plan.days {
            let is_known = match day.orders.first() {
                Some(order) => api.order_by_reference(&order.invoice).await?.is_some(),
                None => false,
            };
            if is_known {
                continue;
            }
            let needs = day.needs().into_iter().filter(|(sku, _)| !counted.contains(sku));
            let needs = needs.map(|(sku, needed)| (sku, stock.of(needed)));
            let lines = needs.filter(|(_, units)| *units > 0).map(|(sku, units)| {
                let line = lines::receipt(*date, &sku, units);
                ((sku, units), line)
            });
            let moved = &mut self.moved;
            let pushed =
                pushes::push(api, "inventory", lines.collect(), |(sku, units), outcome| {
                    if outcome == LineOutcome::Applied {
                        *moved.entry(sku.to_string()).or_default() += units;
                    }
                });
            self.opening.append(pushed.await?);
        }
        match self.opening.refused.shown().first() {
            Some(refused) => bail!("what a day needs is refused: {refused}"),
            None => Ok(()),
        }
    }

    async fn day(
        &mut self,
        api: &Client,
        (date, day): (NaiveDate, &Day),
        Placing { concurrency, key_prefix }: Placing<'_>,
        bar: &ProgressBar,
    ) -> Result<()> {
        let lines = day.documents.iter().map(|it| (it, lines::document(date, it))).collect();
        let (mut adjusted, mut booked) = (0, Vec::new());
        let documents = pushes::push(api, "inventory", lines, |document, outcome| {
            let Document { sku, delta, .. } = document;
            match outcome {
                LineOutcome::Applied => booked.push((sku, *delta)),
                LineOutcome::Known => {}
                LineOutcome::Reused | LineOutcome::Refused => return,
            }
            adjusted += delta;
        });
        let placing = day.orders.iter().enumerate().map(|(index, order)| async move {
            let placed = orders::place(api, order, key_prefix, index % SAMPLE == 0).await?;
            anyhow::Ok((order, placed))
        });
        let mut placing = stream::iter(placing).buffer_unordered(concurrency);
        let mut sold = Vec::new();
        let orders = async {
            while let Some((order, placed)) = placing.try_next().await? {
                sold.extend(self.add(order, placed).map(|id| (id, order)));
                bar.inc(1);
            }
            Ok(())
        };
        let (documents, ()) = try_join(documents, orders).await?;
        self.documents.append(documents);
        self.adjusted += adjusted;
        for (sku, delta) in booked {
            *self.moved.entry(sku.to_string()).or_default() += delta;
        }
        self.ship(api, date, &sold).await
    }

    /// Ships what was sold: a goods issue for each order, with a line for each of its lines.
    async fn ship(
        &mut self,
        api: &Client,
        date: NaiveDate,
        sold: &[(OrderId, &Order)],
    ) -> Result<()> {
        let lines = sold.iter().flat_map(|(id, order)| {
            let lines = order.lines.iter().enumerate();
            lines.map(move |(index, it)| (it, lines::goods_issue(date, *id, order, index)))
        });
        let Self { moved, shipped, .. } = self;
        let pushed = pushes::push(api, "inventory", lines.collect(), |line, outcome| {
            match outcome {
                LineOutcome::Applied => {
                    *moved.entry(line.sku.to_string()).or_default() -= line.quantity;
                }
                LineOutcome::Known => {}
                LineOutcome::Reused | LineOutcome::Refused => return,
            }
            *shipped += line.quantity;
        });
        let pushed = pushed.await?;
        self.shipments.append(pushed);
        Ok(())
    }

    /// Takes in what became of an order; its id when it is to be shipped.
    fn add(&mut self, order: &Order, placed: Placed) -> Option<OrderId> {
        let Placed { outcome, is_known, accepted_after, settled_after } = placed;
        let view = match outcome {
            Outcome::Settled(view) => view,
            Outcome::Unsettled(view) => {
                self.open += 1;
                let (invoice, status) = (&order.invoice, &view.status);
                self.wrong_ends.add(format!("order {invoice} is still {status}"));
                self.compare(order, &view);
                return None;
            }
            Outcome::Rejected(why) => {
                self.wrong_ends.add(format!("order {} is rejected: {why}", order.invoice));
                return None;
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
        if view.status != OrderStatus::Cancelled {
            self.paid.add(view.total);
            if is_known {
                self.known_paid.add(view.total);
            }
            self.sold_lines += view.lines.len() as u64;
            for line in &view.lines {
                *self.sold.entry(line.sku.to_string()).or_default() += line.quantity.get();
            }
            return Some(view.id);
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
        None
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
