//! What an order has of the stock, by the inventory's log.

use std::collections::BTreeMap;

use events::proto::inventory::{ReleaseReason, StockLine, inventory_event::Kind};

use super::{
    progress::Progress,
    step::{OrderKey, Step},
    units_by_sku,
};
use crate::{Findings, LogPosition, scratch::fingerprint};

/// The reservation of an order.
#[derive(Debug, Default)]
pub(super) struct Reservation {
    state: Option<State>,
    /// The units that it has, or had, of each stock by its fingerprint; less what was shipped.
    lines: BTreeMap<u64, i64>,
    /// The units of each SKU that were held for it, if any ever were.
    units: Option<u64>,
    /// Whether units were ever allocated to it.
    pub(super) was_allocated: bool,
    /// What its last shipment must have taken of its own.
    taken: i64,
    /// Its own units that were shipped, by the number of the SKU.
    pub(super) shipped: Vec<(u32, i64)>,
}

/// What the order has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    Allocated,
    Expired,
    Ended,
}

impl State {
    fn has_units(self) -> bool {
        matches!(self, Self::Held | Self::Allocated)
    }

    /// Whether what leaves for it can be its own: not allocated again when it is paid.
    fn may_ship(self) -> bool {
        matches!(self, Self::Held | Self::Allocated | Self::Expired)
    }
}

impl Reservation {
    /// Whether units are held for it.
    pub(super) fn is_held(&self) -> bool {
        self.state == Some(State::Held)
    }

    /// Whether what was held for it is what the order wants.
    pub(super) fn has_units_of(&self, progress: &Progress) -> bool {
        self.units.is_none() || self.units == progress.units()
    }

    pub(super) fn apply(
        &mut self,
        order: OrderKey,
        position: LogPosition,
        step: Step,
        findings: &mut Findings,
    ) {
        let before = self.state;
        let has_lines = |lines: u64| self.fingerprint() == lines;
        let after = match step {
            Step::Reserved { units } => {
                findings.expect(before.is_none(), || decided_again(position, order, before));
                self.units = Some(units);
                State::Held
            }
            Step::ReservedLine { stock, quantity } => {
                *self.lines.entry(stock).or_default() += quantity;
                return;
            }
            Step::Refused => {
                findings.expect(before.is_none(), || decided_again(position, order, before));
                State::Ended
            }
            Step::Allocated { lines } => {
                let had = matches!(before, Some(State::Held | State::Expired));
                findings.expect(had && has_lines(lines), || {
                    format!("{position}: allocates for order {order}, after {before:?}")
                });
                self.was_allocated = true;
                State::Allocated
            }
            Step::Lost => {
                findings.expect(before == Some(State::Expired), || {
                    format!("{position}: order {order} lost what it had as {before:?}")
                });
                State::Ended
            }
            Step::Released { lines, is_expired } => {
                let had = before.is_some_and(State::has_units);
                findings.expect(had && has_lines(lines), || {
                    format!("{position}: releases for order {order}, after {before:?}")
                });
                if is_expired { State::Expired } else { State::Ended }
            }
            Step::Shipped { stock, quantity } => {
                self.expect_taken(position, order, findings);
                self.ship(stock, quantity);
                findings.expect(before.is_some(), || {
                    format!("{position}: ships for order {order}, of which nothing is known")
                });
                return;
            }
            Step::Freed { stock, quantity } => {
                let before = self.taken;
                self.ship(stock, quantity);
                findings.expect(self.taken == quantity, || {
                    let had = self.taken;
                    format!("{position}: frees {quantity} of order {order}, which has {had} there")
                });
                self.taken += before;
                return;
            }
            Step::Taken { sku, quantity } => {
                findings.expect(quantity == self.taken, || {
                    let taken = self.taken;
                    format!("{position}: ships {quantity} of order {order}, which has {taken}")
                });
                self.taken = 0;
                self.shipped.push((sku, quantity));
                return;
            }
            Step::Placed { .. }
            | Step::Line { .. }
            | Step::Reported(_)
            | Step::PaymentDue { .. }
            | Step::CapturedAtOnce { .. }
            | Step::Abandoned { .. }
            | Step::PaymentFailed
            | Step::ActionRequired
            | Step::Authorized { .. }
            | Step::Confirmed { .. }
            | Step::Captured { .. }
            | Step::OrderShipped { .. }
            | Step::Completed
            | Step::Refunded { .. }
            | Step::Hold { .. }
            | Step::Paid { .. }
            | Step::Cancelled { .. }
            | Step::Payment(_) => return,
        };
        self.expect_taken(position, order, findings);
        self.state = Some(after);
    }

    /// Units of a stock have left for the order: as far as they were its own, it has them no longer.
    fn ship(&mut self, stock: u64, quantity: i64) {
        self.taken = 0;
        let Some(left) = self.lines.get_mut(&stock) else { return };
        let own = quantity.min(*left);
        *left -= own;
        if *left == 0 {
            self.lines.remove(&stock);
        }
        self.taken = if self.state.is_some_and(State::may_ship) { own } else { 0 };
    }

    /// The event of the last shipment has said that it took the order's own units.
    fn expect_taken(&mut self, position: LogPosition, order: OrderKey, findings: &mut Findings) {
        let taken = self.left_promised();
        findings.expect(taken == 0, || {
            format!("{position}: {taken} units of order {order} were shipped and stayed promised")
        });
    }

    /// The end of its history.
    pub(super) fn finish(&mut self, order: OrderKey, findings: &mut Findings) {
        let taken = self.left_promised();
        findings.expect(taken == 0, || {
            format!("{taken} units of order {order} were shipped and stayed promised")
        });
    }

    /// What the last shipment took and its event did not say. Of a hold that ran out nothing is promised,
    /// and older events do not say it.
    fn left_promised(&mut self) -> i64 {
        let taken = std::mem::take(&mut self.taken);
        if self.state == Some(State::Expired) { 0 } else { taken }
    }

    fn fingerprint(&self) -> u64 {
        sum(self.lines.iter().map(|(stock, quantity)| (*stock, *quantity)))
    }
}

fn decided_again(position: LogPosition, order: OrderKey, before: Option<State>) -> String {
    format!("{position}: order {order} is decided on again, after {before:?}")
}

/// What an event of the inventory says of an order; nothing if it is of a stock. `sku` numbers a SKU.
pub(super) fn steps(kind: &Kind, mut sku: impl FnMut(&str) -> u32) -> Vec<Step> {
    match kind {
        Kind::Counted(_)
        | Kind::Adjusted(_)
        | Kind::TransferSent(_)
        | Kind::TransferReceived(_)
        | Kind::LimitsChanged(_)
        | Kind::LocationCreated(_)
        | Kind::LocationChanged(_)
        | Kind::LinesRejected(_)
        | Kind::LinesRepeated(_)
        | Kind::RejectionsClosed(_)
        | Kind::Short(_) => vec![],
        Kind::Reserved(event) => {
            let units = event.lines.iter().map(|line| (line.sku.as_str(), line.quantity));
            let units = fingerprint(units_by_sku(units));
            let line = |line: &StockLine| Step::ReservedLine {
                stock: stock(&line.sku, &line.location),
                quantity: line.quantity,
            };
            [Step::Reserved { units }].into_iter().chain(event.lines.iter().map(line)).collect()
        }
        Kind::Refused(_) => vec![Step::Refused],
        Kind::Allocated(event) => vec![Step::Allocated { lines: fingerprint_of(&event.lines) }],
        Kind::Lost(_) => vec![Step::Lost],
        Kind::Released(event) => vec![Step::Released {
            lines: fingerprint_of(&event.lines),
            is_expired: event.reason() == ReleaseReason::Expired,
        }],
        Kind::Shipped(event) => {
            let quantity = event.quantity;
            let freed = event.freed.iter().map(|line| Step::Freed {
                stock: stock(&line.sku, &line.location),
                quantity: line.quantity,
            });
            let shipped = Step::Shipped { stock: stock(&event.sku, &event.location), quantity };
            let mut steps: Vec<_> = [shipped].into_iter().chain(freed).collect();
            let quantity = event.from_allocation + event.from_expired;
            if quantity != 0 {
                let sku = sku(&event.sku);
                steps.push(Step::Taken { sku, quantity });
            }
            steps
        }
    }
}

fn stock(sku: &str, location: &str) -> u64 {
    fingerprint((sku, location))
}

/// A fingerprint of lines, from which the units of a line can be taken off.
fn sum(lines: impl Iterator<Item = (u64, i64)>) -> u64 {
    lines.fold(0, |sum, (stock, quantity)| {
        sum.wrapping_add(stock.wrapping_mul(quantity.cast_unsigned()))
    })
}

fn fingerprint_of(lines: &[StockLine]) -> u64 {
    sum(lines.iter().map(|line| (stock(&line.sku, &line.location), line.quantity)))
}
