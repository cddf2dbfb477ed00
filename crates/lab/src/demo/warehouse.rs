//! The warehouse: in the evening it ships what is paid, as far as it is there, and the ERP books it by
//! goods issues. Some of what nobody was promised goes to the quay; not all of it comes.
//!
//! What is to leave, and from which location, it reads in the inventory's log: what is allocated. Most
//! orders leave in one part, some in two. Between the two parts the ERP counts some products: a part of
//! what has left by then is booked only afterwards, with an older sequence than the count.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use audit::Findings;
use client::Client;
use engine::{Engine, Logged};
use events::{
    http::LevelView,
    id::OrderId,
    proto::{
        Event,
        event::Body,
        inventory::{StockLine, inventory_event::Kind},
    },
};
use protocol::id::Shop;

use super::erp::{Answers, GoodsIssue, Push, QUAY, Transfer};

/// One order in so many leaves tomorrow.
const TOMORROW: usize = 20;
/// One order in so many leaves in two parts.
const IN_PARTS: usize = 4;
/// Of those, the second part of one in so many is booked after the count that was made without it.
const BOOKED_LATE: usize = 2;
/// One goods issue in so many is pushed again.
const REPEATED: usize = 25;
/// The stocks that are counted in between, at most.
const MAX_COUNTED: usize = 8;
/// The sequences of the evening: of the first parts, of the counts, and of the second parts.
const FIRST: u64 = 1_000_000;
const COUNT: u64 = 2_000_000;
const SECOND: u64 = 3_000_000;

/// What is sent to the quay: for each SKU the units, those that come, and whether no more will.
const TRANSFERS: [(i64, i64, bool); 3] = [(5, 5, true), (5, 3, false), (5, 4, true)];
/// A SKU is sent when the warehouse has so many more than are promised.
const MIN_FREE: i64 = 12;

/// A SKU and a location.
type Stock = (String, String);

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
    /// Stocks that were counted in between.
    pub counted: u64,
    /// Units that had left before they were counted, and were booked afterwards.
    pub booked_late: i64,
    /// Units sent to the quay, those of them that came, and those that will not come.
    pub sent: i64,
    /// See `sent`.
    pub received: i64,
    /// See `sent`.
    pub missing_on_the_way: i64,
    /// By location: the units that left.
    pub units: BTreeMap<String, i64>,
    /// What the ERP was answered.
    pub answers: Answers,
    /// Stocks that have other units on hand than were counted, less what left since.
    pub wrong: Findings,
}

/// Ships what is allocated to orders of the shop. `cancelled` is one that is off: a parcel leaves for it
/// by mistake.
pub(super) async fn ship(
    api: &Client,
    (engine, partition, shop): (&Engine, u32, &Shop),
    cancelled: Option<OrderId>,
) -> Result<Shipments> {
    let allocated = allocated(engine, partition, shop).await.context("read what is allocated")?;
    let mut shipments = Shipments::default();
    let left = on_hand(api).await?;
    let most = left.iter().max_by_key(|(stock, units)| (**units, *stock));
    let most = most.map(|(stock, _)| stock.clone()).unwrap_or_default();
    let (first, second) = shipments.plan(&allocated, left);
    let transfers = shipments.transfers(api, &most.0).await?;

    let mut push = Push::default();
    for transfer in &transfers {
        push.transfer_out(transfer, FIRST);
    }
    for part in &first {
        push.goods_issue(part, "applied");
    }
    // A parcel leaves for an order that was cancelled, and the ERP books one for an order that nobody
    // placed.
    let wrong = |document: &str, order: String| GoodsIssue {
        order,
        line: 0,
        stock: most.clone(),
        units: 1,
        document: document.to_owned(),
        sequence: FIRST,
    };
    if let Some(cancelled) = cancelled {
        push.goods_issue(&wrong("GI-WRONG", cancelled.to_string()), "applied_in_excess");
        *shipments.units.entry(most.1.clone()).or_default() += 1;
    }
    let nobody = OrderId(uuid::Uuid::from_u128(1)).to_string();
    push.goods_issue(&wrong("GI-NOBODY", nobody), "unknown_order");
    shipments.answers.append(push.send(api).await.context("ship the first parts")?);

    let counted = shipments.count(api, &second, &transfers).await?;
    let mut push = Push::default();
    for transfer in &transfers {
        push.transfer_in(transfer, SECOND);
    }
    for part in &second {
        push.goods_issue(part, "applied");
    }
    for part in first.iter().step_by(REPEATED) {
        push.goods_issue(part, "duplicate");
    }
    shipments.answers.append(push.send(api).await.context("ship the second parts")?);

    let left = on_hand(api).await?;
    for (stock, units) in counted {
        let since = second.iter().filter(|part| part.stock == stock && part.sequence > COUNT);
        let expected = units - since.map(|part| part.units).sum::<i64>();
        let found = left.get(&stock).copied().unwrap_or_default();
        shipments.wrong.expect(found == expected, || {
            format!("{stock:?} was counted while goods were on their way: {found}, not {expected}")
        });
    }
    Ok(shipments)
}

impl Shipments {
    /// What leaves in the first and in the second parts, as far as it is there.
    fn plan(
        &mut self,
        allocated: &BTreeMap<String, Vec<StockLine>>,
        mut left: HashMap<Stock, i64>,
    ) -> (Vec<GoodsIssue>, Vec<GoodsIssue>) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (number, (order, lines)) in allocated.iter().enumerate() {
            if number % TOMORROW == TOMORROW - 1 {
                self.tomorrow += 1;
                continue;
            }
            let is_in_parts = number % IN_PARTS == 0;
            let is_late = number % (IN_PARTS * BOOKED_LATE) == 0;
            let at = number as u64;
            let second_sequence = if is_late { FIRST + at } else { SECOND + at };
            let before = (first.len(), second.len());
            for (line, it) in lines.iter().enumerate() {
                let stock = (it.sku.clone(), it.location.clone());
                let left = left.entry(stock.clone()).or_default();
                if *left < it.quantity {
                    self.missing += 1;
                    continue;
                }
                *left -= it.quantity;
                *self.units.entry(it.location.clone()).or_default() += it.quantity;
                // Half of the units, or every other line.
                let later =
                    if is_in_parts { i64::midpoint(it.quantity, line as i64 % 2) } else { 0 };
                for (parts, units, part, sequence) in [
                    (&mut first, it.quantity - later, 1, FIRST + at),
                    (&mut second, later, 2, second_sequence),
                ] {
                    if units > 0 {
                        let (order, stock) = (order.clone(), stock.clone());
                        let document = format!("GI-{number}-{part}");
                        parts.push(GoodsIssue { order, line, stock, units, document, sequence });
                    }
                }
            }
            let (in_first, in_second) = (first.len() > before.0, second.len() > before.1);
            self.orders += u64::from(in_first || in_second);
            self.in_parts += u64::from(in_first && in_second);
        }
        (first, second)
    }

    /// What the warehouse sends to the quay, of what nobody was promised.
    async fn transfers(&mut self, api: &Client, but_not: &str) -> Result<Vec<Transfer>> {
        let levels = api.levels().await.context("read what can be sent")?;
        let mut free: Vec<_> = levels
            .iter()
            .filter(|it| it.location.as_str() != QUAY && it.available >= MIN_FREE)
            .filter(|it| it.sku.as_str() != but_not)
            .collect();
        free.sort_by_key(|level| (-level.available, level.sku.clone()));
        let transfer =
            |(number, (level, (sent, received, is_complete))): (u32, (LevelView, _))| Transfer {
                id: format!("TR-{number}"),
                sku: String::from(level.sku.clone()),
                sent,
                received,
                is_complete,
            };
        let free = free.into_iter().cloned();
        let transfers: Vec<_> = (1..).zip(free.zip(TRANSFERS)).map(transfer).collect();
        self.sent = transfers.iter().map(|it| it.sent).sum();
        self.received = transfers.iter().map(|it| it.received).sum();
        self.missing_on_the_way = transfers.iter().map(Transfer::missing).sum();
        Ok(transfers)
    }

    /// Counts stocks of which units have left that are booked afterwards; as many as there are then.
    async fn count(
        &mut self,
        api: &Client,
        second: &[GoodsIssue],
        transfers: &[Transfer],
    ) -> Result<BTreeMap<Stock, i64>> {
        let mut late: BTreeMap<&Stock, i64> = BTreeMap::new();
        for part in second.iter().filter(|part| part.sequence < COUNT) {
            *late.entry(&part.stock).or_default() += part.units;
        }
        let levels = api.levels().await?;
        let mut push = Push::default();
        let mut counted = BTreeMap::new();
        for level in levels {
            let stock = (level.sku.to_string(), level.location.to_string());
            let Some(units) = late.get(&stock) else { continue };
            // What comes by a transfer would have to be told from what left.
            if transfers.iter().any(|transfer| transfer.sku == stock.0) {
                continue;
            }
            // Where all is promised, the count would fall short until the goods issues are booked.
            if level.available < *units || counted.len() == MAX_COUNTED {
                continue;
            }
            let there = level.on_hand - units;
            push.count(&stock, there, COUNT);
            counted.insert(stock, there);
            self.booked_late += units;
        }
        self.counted = counted.len() as u64;
        self.answers.append(push.send(api).await.context("count in between")?);
        Ok(counted)
    }
}

/// By order: what is allocated to it, by the inventory's log.
async fn allocated(
    engine: &Engine,
    partition: u32,
    shop: &Shop,
) -> Result<BTreeMap<String, Vec<StockLine>>> {
    let mut allocated = BTreeMap::new();
    let each = |logged: Logged<Event>| {
        if logged.event.shop != shop.as_str() {
            return;
        }
        let Some(Body::Inventory(event)) = logged.event.body else { return };
        match event.kind {
            Some(Kind::Allocated(it)) => _ = allocated.insert(it.order_id, it.lines),
            Some(Kind::Released(it)) => _ = allocated.remove(&it.order_id),
            _ => {}
        }
    };
    engine.read_log("inventory", partition, each).await?;
    Ok(allocated)
}

async fn on_hand(api: &Client) -> Result<HashMap<Stock, i64>> {
    let levels = api.levels().await.context("read the levels")?;
    let stock = |level: &LevelView| (level.sku.to_string(), level.location.to_string());
    Ok(levels.iter().map(|level| (stock(level), level.on_hand)).collect())
}
