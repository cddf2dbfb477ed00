//! Which orders have units of a stock: named when an ERP goes below what is promised.
//!
//! A shop's orders are counted as they are held, and every [`BLOCK_ORDERS`] of them form a block.
//! For each block and each stock there is a row with the orders of that block that have units of
//! that stock now. The rows of a stock are a list from the newest to the oldest: the stock names
//! the newest few, and each row those before it. So what is written lies together, by block, and
//! what is read is only what belongs to the stock.

use std::fmt;

use events::id::OrderId;
use serde::{Deserialize, Serialize};

use super::{State, StockId};

/// The orders of a block.
pub(super) const BLOCK_ORDERS: u64 = 1_024;
/// The blocks that a row names: as many are looked up at once.
const MAX_NAMED_BLOCKS: usize = 8;

/// A block of a shop's orders, and a stock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey {
    /// The number of the block, from 0.
    pub block: u64,
    /// The stock.
    pub stock: StockId,
}

impl fmt::Display for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}/{}", self.block, self.stock)
    }
}

/// The orders of one block that have units of one stock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderBlock {
    /// The orders and their units, in the order in which they came: an id that follows from an
    /// idempotency key says nothing of the time.
    orders: Vec<(OrderId, i64)>,
    /// The blocks before this one that have a row for the stock, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    previous: Vec<u64>,
}

/// The blocks that have a row for a stock: the newest few, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NewestBlocks(Vec<u64>);

impl NewestBlocks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is counted for a shop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// How many orders were ever held.
    pub orders_held: u64,
}

/// The key of the one row of [`Counters`] that a shop has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountersKey;

impl fmt::Display for CountersKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shop")
    }
}

/// Counts an order that is held for the first time; its block.
pub(super) fn count_held(state: &mut State) -> u64 {
    let counters = state.counters.change_or_default(&CountersKey);
    let block = counters.orders_held / BLOCK_ORDERS;
    counters.orders_held += 1;
    block
}

/// Notes that an order of that block has units of a stock.
pub(super) fn add(state: &mut State, block: u64, stock: &StockId, order_id: OrderId, units: i64) {
    let NewestBlocks(blocks) = &mut state.stocks.change_or_default(stock).blocks;
    let key = BlockKey { block, stock: stock.clone() };
    if blocks.first().is_none_or(|newest| *newest < block) {
        let row = OrderBlock { orders: vec![(order_id, units)], previous: blocks.clone() };
        blocks.insert(0, block);
        blocks.truncate(MAX_NAMED_BLOCKS);
        state.order_blocks.put(key, row);
        return;
    }
    if let Some(OrderBlock { orders, .. }) = state.order_blocks.change(&key)
        && orders.iter().all(|(id, _)| *id != order_id)
    {
        orders.push((order_id, units));
    }
}

/// Notes that an order of that block has no units of a stock any more.
pub(super) fn remove(state: &mut State, block: u64, stock: &StockId, order_id: OrderId) {
    let key = BlockKey { block, stock: stock.clone() };
    if let Some(OrderBlock { orders, .. }) = state.order_blocks.change(&key) {
        orders.retain(|(id, _)| *id != order_id);
    }
}

/// Notes that an order of that block has fewer units of a stock, or none any more.
pub(super) fn take(state: &mut State, block: u64, stock: &StockId, order_id: OrderId, units: i64) {
    let key = BlockKey { block, stock: stock.clone() };
    if let Some(OrderBlock { orders, .. }) = state.order_blocks.change(&key)
        && let Some(at) = orders.iter().position(|(id, _)| *id == order_id)
    {
        orders[at].1 -= units;
        if orders[at].1 <= 0 {
            orders.remove(at);
        }
    }
}

/// The place of an order among those that have units of a stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlace {
    /// Its block.
    pub block: u64,
    /// How many orders of the block come behind it, from the newest to the oldest. When some of them have no
    /// units any more, it may be that of a newer order.
    pub older: usize,
}

impl OrderPlace {
    /// Whether the order at that index of a block is this one, or a newer one.
    fn is_behind(self, block: u64, index: usize) -> bool {
        (block, index) >= (self.block, self.older)
    }
}

/// The place of an order that has units of a stock.
pub(super) fn place(state: &State, stock: &StockId, order_id: OrderId) -> Option<OrderPlace> {
    let block = state.reservations.get(&order_id)?.block?;
    let OrderBlock { orders, .. } =
        state.order_blocks.get(&BlockKey { block, stock: stock.clone() })?;
    let index = orders.iter().position(|(id, _)| *id == order_id);
    Some(OrderPlace { block, older: index.unwrap_or(orders.len()) })
}

/// Orders that have units of a stock, and how many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NewestOrders {
    /// The units of those up to the place after which they begin.
    pub(super) units_before: i64,
    /// The orders, the newest first.
    pub(super) orders: Vec<(OrderId, i64)>,
    /// Whether there would be more, but for how many there may be.
    pub(super) is_truncated: bool,
}

/// The newest orders that have so many `units` of a stock together, and of them those after a place: at
/// most `max_orders`. `units_of` is what is left to an order of what its row says.
pub(super) fn newest(
    state: &State,
    id: &StockId,
    units: i64,
    (after, max_orders): (Option<OrderPlace>, usize),
    units_of: impl Fn(OrderId) -> Option<i64>,
) -> NewestOrders {
    let mut found = NewestOrders::default();
    let Some(stock) = state.stocks.get(id) else { return found };
    let mut blocks = stock.blocks.0.as_slice();
    let mut left = units;
    while left > 0 && !blocks.is_empty() {
        // All are looked up before one is read: so those that are not in memory are fetched
        // together.
        let rows: Vec<_> = blocks
            .iter()
            .map(|block| state.order_blocks.get(&BlockKey { block: *block, stock: id.clone() }))
            .collect();
        let known =
            blocks.iter().zip(&rows).filter_map(|(block, row)| Some((*block, row.as_ref()?)));
        let orders = known.flat_map(|(block, row)| {
            let orders = row.orders.iter().enumerate().rev();
            orders.map(move |(index, order)| (block, index, *order))
        });
        for (block, index, (order_id, of_order)) in orders {
            let of_order = units_of(order_id).unwrap_or(of_order);
            if of_order == 0 {
                continue;
            }
            if left <= 0 {
                return found;
            }
            if after.is_some_and(|after| after.is_behind(block, index)) {
                found.units_before += of_order;
            } else if found.orders.len() == max_orders {
                found.is_truncated = true;
                return found;
            } else {
                found.orders.push((order_id, of_order));
            }
            left -= of_order;
        }
        let Some(Some(OrderBlock { previous, .. })) = rows.last() else { break };
        blocks = previous;
    }
    found
}
