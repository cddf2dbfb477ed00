//! Units that leave for orders.

use events::id::OrderId;

use super::{
    Line, State, Stock, StockFact, StockId, StockLine, StockResult,
    effect::{Effect, in_range},
    reservation::Status,
};

/// Copies into `draft` the reservation of an order, and the stocks of a SKU that it has units of.
pub(super) fn copy(draft: &mut State, state: &State, id: &StockId, order_id: OrderId) {
    if draft.reservations.get(&order_id).is_none() {
        let Some(row) = state.reservations.get(&order_id) else { return };
        draft.reservations.loaded(order_id, row.clone());
    }
    let Some(row) = draft.reservations.get(&order_id) else { return };
    let lines = row.lines.clone();
    for Line { stock, .. } in lines.iter().filter(|line| line.stock.sku == id.sku) {
        if draft.stocks.get(stock).is_none()
            && let Some(row) = state.stocks.get(stock)
        {
            draft.stocks.loaded(stock.clone(), row.clone());
        }
    }
}

/// Units have left for an order, which cannot be undone by a refusal: all of them are off the units
/// on hand, unless a count was made without them already. What the order had of them is promised no
/// longer, here, and else where the order had them instead; the rest was free, or promised to others.
/// Of that, what was held until the hold ran out is the order's as well, if it is paid yet.
pub(super) fn issue(
    draft: &State,
    stock: &Stock,
    line: &StockLine,
    order_id: OrderId,
    (quantity, in_count): (i64, bool),
) -> Result<Effect, StockResult> {
    let StockLine { stock: id, document, line_id, .. } = line;
    let order = draft.reservations.get(&order_id).ok_or(StockResult::UnknownOrder)?;
    let own = order.units_to_ship(id).min(quantity);
    let freed = order.units_elsewhere(id, quantity - own);
    let of_order = own + freed.iter().map(|line| line.units).sum::<i64>();
    let (from_allocation, from_expired) = match order.status {
        Status::Expired => (0, of_order),
        _ => (of_order, 0),
    };
    let mut after = stock.clone();
    if !in_count {
        after.on_hand = in_range(stock.on_hand, quantity.checked_neg().unwrap_or(i64::MIN))?;
    }
    let taken = |mut stock: Stock, units: i64| {
        if let Some(sum) = stock.units_of(order.status) {
            *sum -= units;
        }
        stock.level()
    };
    let freed: Vec<_> = freed
        .into_iter()
        .map(|line| {
            let stock = draft.stocks.get(&line.stock).cloned().unwrap_or_default();
            let after = taken(stock, line.units);
            (line, after)
        })
        .collect();
    let result = result((quantity, from_allocation), !freed.is_empty());
    let fact = StockFact::Shipped {
        document: document.clone(),
        order_id,
        line_id: line_id.clone(),
        quantity,
        from_allocation,
        from_expired,
        freed,
        in_count,
        after: taken(after, own),
    };
    Ok((result, fact))
}

/// What became of a goods issue.
pub(super) fn result((quantity, from_allocation): (i64, i64), is_elsewhere: bool) -> StockResult {
    if from_allocation < quantity {
        StockResult::AppliedInExcess
    } else if is_elsewhere {
        StockResult::AppliedElsewhere
    } else {
        StockResult::Applied
    }
}
