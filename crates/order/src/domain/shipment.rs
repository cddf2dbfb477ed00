//! What has shipped of an order, and what is captured for it.

use events::{id::LineId, money::Money};

use super::rows::Shop;
use super::{
    Event, Fact, FulfilmentStatus, Known, OrderLine, OrderStatus, PaymentStatus, Shipment,
    ShippedLine, ShippedUnits,
};

impl Known<'_> {
    /// Whether nothing of it has shipped.
    pub(super) fn is_unshipped(&self) -> bool {
        self.content.lines.is_empty() || self.order.statuses.2 == FulfilmentStatus::Unfulfilled
    }
}

/// Notes that units of an order have left a location. They are taken off the line that is named, and
/// then off the first lines of the SKU: what is more than these want is not of this order.
///
/// A cancelled order has no units any more as soon as inventory has read that it is cancelled. What leaves for it
/// is noted alike before and after that: all that was issued, so that it can be called back or billed.
pub(super) fn ship(state: &Shop, shipment: &Shipment) -> Vec<Event> {
    let before = state.shipped(&shipment.order_id);
    let Some(known) = state.order(&shipment.order_id) else { return vec![] };
    let lines = &known.content.lines;
    let mut shipped = before.map_or_else(|| vec![0; lines.len()], |shipped| shipped.0.clone());
    let is_cancelled = known.order.statuses.0 == OrderStatus::Cancelled;
    let mut units = Vec::new();
    for left in &shipment.units {
        let quantity = if is_cancelled { left.quantity + left.excess } else { left.quantity };
        distribute(lines, &mut shipped, left, quantity, &mut units);
    }
    if units.is_empty() {
        return vec![];
    }
    let is_all = lines.iter().zip(&shipped).all(|(line, units)| line.quantity.get() == *units);
    let fulfilment = if is_all { FulfilmentStatus::Fulfilled } else { FulfilmentStatus::Partial };
    let capture = capture(&known, &shipped, is_all);
    let is_settled = capture.is_none() && is_nothing_due(&known);
    let location = shipment.location.clone();
    let occurred_at = shipment.occurred_at;
    let mut facts =
        vec![Fact::Shipped { lines: units, location, capture, fulfilment, occurred_at }];
    if is_all && is_settled && known.order.statuses.0 == OrderStatus::Confirmed {
        facts.push(Fact::Completed);
    }
    known.events(facts)
}

/// Takes so many of the units off the lines of an order, and adds to `units` what was taken off each.
fn distribute(
    lines: &[OrderLine],
    shipped: &mut [i64],
    left: &ShippedUnits,
    quantity: i64,
    units: &mut Vec<ShippedLine>,
) {
    let ShippedUnits { line_id, sku, .. } = left;
    let is_named =
        |line: &OrderLine| line_id.as_ref().is_some_and(|id: &LineId| line.line_id == *id);
    let of_sku = |named: bool| {
        lines
            .iter()
            .enumerate()
            .filter(move |(_, line)| line.sku == *sku && is_named(line) == named)
            .map(|(index, _)| index)
    };
    let mut rest = quantity;
    for index in of_sku(true).chain(of_sku(false)) {
        let line = &lines[index];
        let taken = rest.min(line.quantity.get() - shipped[index]);
        if taken > 0 {
            rest -= taken;
            shipped[index] += taken;
            if let Some(known) = units.iter_mut().find(|known| known.line_id == line.line_id) {
                known.quantity += taken;
            } else {
                let (line_id, sku) = (line.line_id.clone(), line.sku.clone());
                units.push(ShippedLine { line_id, sku, quantity: taken });
            }
        }
    }
}

/// What is captured with a shipment, when the money of the order is captured by shipment.
fn capture(known: &Known<'_>, shipped: &[i64], is_all: bool) -> Option<(u32, Money)> {
    let order = known.order;
    // One that takes the place of a failed one is asked already: payment captures once it is authorised.
    let is_asked = order.statuses.1 == PaymentStatus::Authorized || order.is_payment_open();
    if order.statuses.0 != OrderStatus::Confirmed || !is_asked {
        return None;
    }
    let due = due_for(known, shipped, is_all, order.capture_requested)?;
    Some((order.last_payment(), due))
}

/// What is to be captured when so much has shipped: the value of that, and the charges, less what was asked for
/// before, in minor units; when all has, all that is left.
pub(super) fn due_for(
    known: &Known<'_>,
    shipped: &[i64],
    is_all: bool,
    asked_for: i64,
) -> Option<Money> {
    let order = known.order;
    let basis = known.content.tax_basis;
    let value_of = |(line, units): (&OrderLine, &i64)| {
        line.gross(basis) * i128::from(*units) / i128::from(line.quantity.get())
    };
    let goods: i128 = known.content.lines.iter().zip(shipped).map(value_of).sum();
    let charges: i128 = known.content.charges.iter().map(|charge| charge.gross(basis)).sum();
    let total = order.total.minor;
    let value = i64::try_from(goods + charges).unwrap_or(total).clamp(0, total);
    let due = if is_all { total } else { value } - asked_for;
    (due > 0).then_some(Money { minor: due, ..order.total })
}

/// Whether the order is paid, or nothing is taken for it here.
fn is_nothing_due(known: &Known<'_>) -> bool {
    known.order.statuses.1.is_paid() || !known.order.needs_payment()
}
