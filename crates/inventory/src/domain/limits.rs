//! Which units of a stock are sold.

use engine::Decision;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Event, LimitsResult, State, Stock, StockFact, StockId, effect::is_zero, locations,
};

/// Which units of a stock are sold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The units that are kept back: so many of those on hand are not sold.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub safety_stock: i64,
    /// The units that are sold beyond those on hand.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub backorder_limit: i64,
}

impl Limits {
    pub(super) fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Sets which units of a stock are sold. What was promised before stays promised.
pub(super) fn set(
    state: &State,
    id: &StockId,
    after: Limits,
    expected: Option<Limits>,
) -> Decision<Event, Answer> {
    let stock = state.stocks.get(id);
    let before = stock.map(|stock| stock.limits).unwrap_or_default();
    let refused = |result| Decision::answered(vec![], Answer::Limits(result));
    if stock.is_none() && state.products.get(&id.sku).is_none() {
        return refused(LimitsResult::UnknownSku);
    }
    if !locations::exists(state, &id.location) {
        return refused(LimitsResult::UnknownLocation);
    }
    if expected.is_some_and(|expected| expected != before) {
        return refused(LimitsResult::Other(before));
    }
    if before == after {
        return refused(LimitsResult::Unchanged);
    }
    let level = stock.map(Stock::level).unwrap_or_default();
    let event = Event::Stock(id.clone(), StockFact::LimitsChanged { before, after, level });
    Decision::answered(vec![event], Answer::Limits(LimitsResult::Changed))
}
