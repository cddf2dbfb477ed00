//! Which orders cannot be served when more is promised of a stock than there is.
//!
//! They are the newest ones that have units of it: so many that, without them, what is promised is there.
//! `short` names them from the newest on. Where there are more than [`MAX_SHORT_ORDERS`], the next `short`
//! of the stock goes on behind them, by a deadline that passes at once: so a count of 0 against thousands
//! of orders is never one large decision.

use engine::{Context, Recorded};
use events::id::OrderId;
use serde::{Deserialize, Serialize};

use super::{
    Event, State, Stock, StockFact, StockId,
    orders::{self, NewestOrders, OrderPlace},
};

/// The most orders that one `short` names: what follows for them in the order service, an event each, is
/// one atomic batch, which takes 1,000.
pub(super) const MAX_SHORT_ORDERS: usize = 250;

/// A part of the orders that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortOrders {
    /// Which part it is, from 1.
    pub part: u32,
    /// The units that the orders of the parts before it still have.
    pub units_before: i64,
    /// The orders with their units of the stock, the newest first.
    pub named: Vec<(OrderId, i64)>,
    /// Whether another part follows.
    pub is_truncated: bool,
}

/// Orders that cannot be served and are still to be named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortList {
    /// When it goes on, in milliseconds since 1970: as soon as may be.
    pub due: i64,
    /// The last part.
    pub part: u32,
    /// The last order that it names.
    pub place: OrderPlace,
    /// The chain that it belongs to.
    pub context: Context,
}

/// More is promised than there is. Which orders have units is looked up in the state, and what is
/// left to those that the lines shipped to in the draft.
pub(super) fn begin(draft: &State, state: &State, id: &StockId) -> StockFact {
    let stock = draft.stocks.get(id).cloned().unwrap_or_default();
    let units_of = |order_id| draft.reservations.get(&order_id).map(|row| row.units_of(id));
    let units = stock.promised_in_vain();
    let named = orders::newest(state, id, units, (None, MAX_SHORT_ORDERS), units_of);
    fact(&stock, 1, named)
}

/// The next part of the orders that cannot be served. Where enough has come meanwhile it is the last, and
/// names none.
pub(super) fn go_on(state: &State, id: &StockId) -> Option<Event> {
    let ShortList { part, place, .. } = state.short_lists.get(id)?;
    let stock = state.stocks.get(id)?;
    let after = (Some(*place), MAX_SHORT_ORDERS);
    let named = orders::newest(state, id, stock.promised_in_vain(), after, |_| None);
    Some(Event::Stock(id.clone(), fact(stock, part + 1, named)))
}

fn fact(stock: &Stock, part: u32, orders: NewestOrders) -> StockFact {
    let NewestOrders { units_before, orders: named, is_truncated } = orders;
    let level = stock.level();
    StockFact::Short {
        on_hand: level.on_hand,
        promised: level.promised(),
        backorder_limit: stock.limits.backorder_limit,
        orders: ShortOrders { part, units_before, named, is_truncated },
    }
}

impl Stock {
    /// The units that are promised to orders and are not there.
    fn promised_in_vain(&self) -> i64 {
        (-self.uncommitted()).clamp(0, self.level().promised())
    }
}

/// Folds a part into the state: whether another is to follow, and from where.
pub(super) fn apply(state: &mut State, id: &StockId, orders: &ShortOrders, of: &Recorded<Event>) {
    let last = orders.named.last().filter(|_| orders.is_truncated);
    let place = last.and_then(|(order_id, _)| orders::place(state, id, *order_id));
    let Some(place) = place else {
        state.short_lists.remove(id);
        return;
    };
    let (due, part, context) = (of.time.millis(), orders.part, of.context.clone());
    state.short_lists.put(id.clone(), ShortList { due, part, place, context });
}
