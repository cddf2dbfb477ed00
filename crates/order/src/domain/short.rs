//! What is done when more is promised of a stock than there is.

use engine::Decision;
use events::{
    id::{Location, OrderId, Sku},
    sealed::Sealed,
    shop::ShortRule,
};

use super::{Answer, CancelReason, Event, Fact, Hold, Known, OrderStatus, ReleaseAnswer, Shortage};
use crate::store::Shop;

/// How many orders are looked up at once at first; each time it is twice as many.
const FIRST_LOOKUP: usize = 16;

/// Puts the newest orders that cannot be served on hold, or cancels them, until what is missing is no
/// longer wanted by others. `order_ids` are those that have units of the stock, the newest first.
pub(super) fn hold(
    rule: ShortRule,
    state: &Shop,
    (sku, location): (&Sku, &Location),
    missing: i64,
    order_ids: &[OrderId],
) -> Vec<Event> {
    let mut events = Vec::new();
    if rule == ShortRule::Nothing {
        return events;
    }
    let (mut missing, mut rest, mut count) = (missing, order_ids, FIRST_LOOKUP);
    while missing > 0 && !rest.is_empty() {
        let (ids, later) = rest.split_at(count.min(rest.len()));
        // All are looked up before one is read: so those that are not in memory are fetched together,
        // and no more than are needed.
        let looked_up: Vec<_> = ids.iter().map(|id| (state.shipped(id), state.order(id))).collect();
        if looked_up.iter().any(|(_, known)| known.is_none()) {
            return events;
        }
        for (shipped, known) in looked_up {
            let Some(known) = known.filter(|_| missing > 0) else { break };
            let units = unshipped_units(&known, shipped.map(|it| it.0.as_slice()), sku);
            if units == 0 {
                continue;
            }
            missing -= units;
            if known.order.hold.is_none() {
                events.extend(known.events(vec![stop(rule, &known, sku, location, units)]));
            }
        }
        (rest, count) = (later, count * 2);
    }
    events
}

/// Takes an order off hold.
pub(super) fn release(
    state: &Shop,
    order_id: OrderId,
    note: Option<&Sealed>,
) -> Decision<Event, Answer> {
    let Some(known) = state.order(&order_id) else {
        return Decision::answered(vec![], ReleaseAnswer::NotFound.into());
    };
    let fact = known.order.hold.as_ref().map(|_| Fact::TakenOffHold { note: note.cloned() });
    Decision::answered(known.events(fact.into_iter().collect()), ReleaseAnswer::Released.into())
}

fn stop(rule: ShortRule, known: &Known<'_>, sku: &Sku, location: &Location, units: i64) -> Fact {
    if rule == ShortRule::Cancel && known.is_unshipped() {
        let shortage = Shortage { sku: sku.clone(), requested: units, available: 0 };
        return known.cancelled(CancelReason::StockShort, "", &[shortage]);
    }
    Fact::PutOnHold(Hold { sku: sku.clone(), location: location.clone() })
}

/// The units of a SKU that the order still waits for.
fn unshipped_units(known: &Known<'_>, shipped: Option<&[i64]>, sku: &Sku) -> i64 {
    match known.order.statuses.0 {
        OrderStatus::Cancelled | OrderStatus::Completed => return 0,
        OrderStatus::Placed | OrderStatus::Confirmed => {}
    }
    let lines = known.content.lines.iter().enumerate();
    let of_sku = lines.filter(|(_, line)| line.sku == *sku);
    let left = |index: usize| shipped.and_then(|units| units.get(index)).copied().unwrap_or(0);
    of_sku.map(|(index, line)| line.quantity.get() - left(index)).sum()
}
