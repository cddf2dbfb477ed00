//! The warehouse: in the evening it ships what is paid, as far as it is there, and the ERP books it by
//! goods issues.
//!
//! Most orders leave in one part, some in two. Between the two parts the ERP counts some products: a
//! part of what has left by then is booked only afterwards, with an older sequence than the count.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use audit::Findings;
use client::Client;
use events::{
    http::{OrderStatus, OrderView},
    id::OrderId,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::erp::{Answers, Push};

/// Orders that are read at the same time.
const MAX_READS: usize = 32;
/// One order in so many leaves tomorrow.
const TOMORROW: usize = 20;
/// One order in so many leaves in two parts.
const IN_PARTS: usize = 4;
/// Of those, the second part of one in so many is booked after the count that was made without it.
const BOOKED_LATE: usize = 2;
/// One goods issue in so many is pushed again.
const REPEATED: usize = 25;
/// The products that are counted in between, at most.
const MAX_COUNTED: usize = 8;
/// The sequences of the evening: of the first parts, of the counts, and of the second parts.
const FIRST: u64 = 1_000_000;
const COUNT: u64 = 2_000_000;
const SECOND: u64 = 3_000_000;

/// What left.
#[derive(Debug, Default)]
pub struct Shipments {
    /// Orders of which something left.
    pub orders: u64,
    /// Those of them that left in two parts.
    pub in_parts: u64,
    /// Orders that are to leave tomorrow.
    pub tomorrow: u64,
    /// Lines of orders that stay, because the warehouse has too little.
    pub missing: u64,
    /// Products that were counted in between.
    pub counted: u64,
    /// Units that had left before they were counted, and were booked afterwards.
    pub booked_late: i64,
    /// What the ERP was answered.
    pub answers: Answers,
    /// Products that have other units on hand than were counted, less what left since.
    pub wrong: Findings,
}

/// Units of a line of an order that leave together.
#[derive(Debug)]
struct Part<'a> {
    order: &'a OrderView,
    line: usize,
    units: i64,
    /// Its document, and the number of the order among those that leave.
    document: String,
    sequence: u64,
}

impl Part<'_> {
    fn sku(&self) -> &str {
        self.order.lines[self.line].sku.as_str()
    }
}

/// Ships what is paid of these orders.
pub(super) async fn ship(api: &Client, placed: Vec<OrderId>) -> Result<Shipments> {
    let reading = placed.into_iter().map(|id| api.order(id));
    let orders: Vec<_> = stream::iter(reading)
        .buffered(MAX_READS)
        .try_filter_map(|order| std::future::ready(Ok(order)))
        .try_collect()
        .await
        .context("read the orders")?;
    let (paid, other): (Vec<_>, Vec<_>) =
        orders.into_iter().partition(|order| order.status != OrderStatus::Cancelled);
    let mut shipments = Shipments::default();
    let left = on_hand(api).await?;
    let most = left.iter().max_by_key(|(sku, units)| (**units, sku.as_str()));
    let most = most.map(|(sku, _)| sku.clone()).unwrap_or_default();
    let (first, second) = shipments.plan(&paid, left);

    let mut push = Push::default();
    for part in &first {
        issue(&mut push, part, "applied");
    }
    // A parcel leaves for an order that was cancelled, and the ERP books one for an order that nobody
    // placed.
    if let Some(cancelled) = other.first() {
        push.goods_issue("GI-WRONG", 0, FIRST, &cancelled.id, &most, 1, "applied_in_excess");
    }
    let nobody = OrderId(uuid::Uuid::from_u128(1));
    push.goods_issue("GI-NOBODY", 0, FIRST, &nobody, &most, 1, "unknown_order");
    shipments.answers.append(push.send(api).await.context("ship the first parts")?);

    let counted = shipments.count(api, &second).await?;
    let mut push = Push::default();
    for part in &second {
        issue(&mut push, part, "applied");
    }
    for part in first.iter().step_by(REPEATED) {
        issue(&mut push, part, "duplicate");
    }
    shipments.answers.append(push.send(api).await.context("ship the second parts")?);

    let left = on_hand(api).await?;
    for (sku, units) in counted {
        let since = second.iter().filter(|part| part.sku() == sku && part.sequence > COUNT);
        let expected = units - since.map(|part| part.units).sum::<i64>();
        let found = left.get(&sku).copied().unwrap_or_default();
        shipments.wrong.expect(found == expected, || {
            format!("{sku} was counted while goods were on their way: {found}, not {expected}")
        });
    }
    Ok(shipments)
}

impl Shipments {
    /// What leaves in the first and in the second parts, as far as it is there.
    fn plan<'a>(
        &mut self,
        paid: &'a [OrderView],
        mut left: HashMap<String, i64>,
    ) -> (Vec<Part<'a>>, Vec<Part<'a>>) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (number, order) in paid.iter().enumerate() {
            if number % TOMORROW == TOMORROW - 1 {
                self.tomorrow += 1;
                continue;
            }
            let is_in_parts = number % IN_PARTS == 0;
            let is_late = number % (IN_PARTS * BOOKED_LATE) == 0;
            let at = number as u64;
            let second_sequence = if is_late { FIRST + at } else { SECOND + at };
            let (before, second_before) = (first.len(), second.len());
            for (line, it) in order.lines.iter().enumerate() {
                let quantity = it.quantity.get();
                let left = left.entry(it.sku.to_string()).or_default();
                if *left < quantity {
                    self.missing += 1;
                    continue;
                }
                *left -= quantity;
                // Half of the units, or every other line.
                let later = if is_in_parts { i64::midpoint(quantity, line as i64 % 2) } else { 0 };
                for (parts, units, part, sequence) in [
                    (&mut first, quantity - later, 1, FIRST + at),
                    (&mut second, later, 2, second_sequence),
                ] {
                    if units > 0 {
                        let document = format!("GI-{number}-{part}");
                        parts.push(Part { order, line, units, document, sequence });
                    }
                }
            }
            let in_second = second.len() - second_before;
            self.orders += u64::from(first.len() - before + in_second > 0);
            self.in_parts += u64::from(first.len() > before && in_second > 0);
        }
        (first, second)
    }

    /// Counts products of which units have left that are booked afterwards; as many as there are then.
    async fn count(&mut self, api: &Client, second: &[Part<'_>]) -> Result<BTreeMap<String, i64>> {
        let mut late: BTreeMap<&str, i64> = BTreeMap::new();
        for part in second.iter().filter(|part| part.sequence < COUNT) {
            *late.entry(part.sku()).or_default() += part.units;
        }
        let levels = api.levels().await?;
        let mut push = Push::default();
        let mut counted = BTreeMap::new();
        for level in levels {
            let Some(units) = late.get(level.sku.as_str()) else { continue };
            // Where all is promised, the count would fall short until the goods issues are booked.
            if level.available < *units || counted.len() == MAX_COUNTED {
                continue;
            }
            let there = level.on_hand - units;
            push.count(level.sku.as_str(), there, COUNT);
            counted.insert(level.sku.to_string(), there);
            self.booked_late += units;
        }
        self.counted = counted.len() as u64;
        self.answers.append(push.send(api).await.context("count in between")?);
        Ok(counted)
    }
}

fn issue(push: &mut Push, part: &Part<'_>, answer: &'static str) {
    let Part { order, line, units, document, sequence } = part;
    push.goods_issue(document, *line, *sequence, &order.id, part.sku(), *units, answer);
}

async fn on_hand(api: &Client) -> Result<HashMap<String, i64>> {
    let levels = api.levels().await.context("read the levels")?;
    Ok(levels.into_iter().map(|level| (level.sku.to_string(), level.on_hand)).collect())
}
