//! What is done when more is promised of a stock than there is.

use engine::Decision;
use events::{
    id::{Location, OrderId, Sku},
    sealed::Sealed,
    shop::ShortRule,
};

use super::rows::Shop;
use super::{Answer, CancelReason, Event, Fact, Hold, Known, OrderStatus, ReleaseAnswer, Shortage};

/// Puts the newest orders that cannot be served on hold, or cancels them, until what is missing is no
/// longer wanted by others. `orders` are those that have units of the stock, with how many, the newest
/// first: inventory names no more of them at once than one decision takes.
pub(super) fn hold(
    rule: ShortRule,
    state: &Shop,
    (sku, location): (&Sku, &Location),
    missing: i64,
    orders: &[(OrderId, i64)],
) -> Vec<Event> {
    if rule == ShortRule::Nothing {
        return Vec::new();
    }
    // All are looked up before one is read: so those that are not in memory are fetched together.
    let known: Vec<_> = orders.iter().map(|(order_id, _)| state.order(order_id)).collect();
    let mut events = Vec::new();
    let mut missing = missing;
    for (known, (_, units)) in known.iter().zip(orders) {
        let Some(known) = known.as_ref().filter(|_| missing > 0) else { continue };
        match known.order.statuses.0 {
            OrderStatus::Completed => continue,
            // Inventory has not read it yet, and will free its units.
            OrderStatus::Cancelled => {}
            OrderStatus::Placed | OrderStatus::Confirmed if known.order.hold.is_some() => {}
            OrderStatus::Placed | OrderStatus::Confirmed => {
                events.extend(known.events(vec![stop(rule, known, sku, location, *units)]));
            }
        }
        missing -= units;
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
