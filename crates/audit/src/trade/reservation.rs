//! What an order has of the stock, by the inventory's log.

use events::proto::inventory::{ReleaseReason, StockLine, inventory_event::Kind};

use super::{
    Progress,
    step::{OrderKey, Step},
    units_by_sku,
};
use crate::{Findings, LogPosition, scratch::fingerprint};

/// The reservation of an order.
#[derive(Debug, Default)]
pub(super) struct Reservation {
    state: Option<State>,
    /// The units of each SKU that were held for it, if any ever were.
    units: Option<u64>,
    /// Whether units were ever allocated to it.
    pub(super) was_allocated: bool,
}

/// What the order has; the lines by their fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Held(u64),
    Allocated(u64),
    Expired(u64),
    Ended,
}

impl Reservation {
    /// Whether units are held for it.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.state, Some(State::Held(_)))
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
        let after = match step {
            Step::Reserved { lines, units } => {
                findings.expect(before.is_none(), || decided_again(position, order, before));
                self.units = Some(units);
                State::Held(lines)
            }
            Step::Refused => {
                findings.expect(before.is_none(), || decided_again(position, order, before));
                State::Ended
            }
            Step::Allocated { lines } => {
                let had = [State::Held(lines), State::Expired(lines)];
                findings.expect(before.is_some_and(|before| had.contains(&before)), || {
                    format!("{position}: allocates for order {order}, after {before:?}")
                });
                self.was_allocated = true;
                State::Allocated(lines)
            }
            Step::Lost => {
                findings.expect(matches!(before, Some(State::Expired(_))), || {
                    format!("{position}: order {order} lost what it had as {before:?}")
                });
                State::Ended
            }
            Step::Released { lines, is_expired } => {
                let had = [State::Held(lines), State::Allocated(lines)];
                findings.expect(before.is_some_and(|before| had.contains(&before)), || {
                    format!("{position}: releases for order {order}, after {before:?}")
                });
                if is_expired { State::Expired(lines) } else { State::Ended }
            }
            Step::Placed { .. }
            | Step::Line { .. }
            | Step::PaymentDue { .. }
            | Step::Authorized
            | Step::Confirmed { .. }
            | Step::Paid { .. }
            | Step::Cancelled { .. }
            | Step::Payment(_) => return,
        };
        self.state = Some(after);
    }
}

fn decided_again(position: LogPosition, order: OrderKey, before: Option<State>) -> String {
    format!("{position}: order {order} is decided on again, after {before:?}")
}

/// What an event of the inventory says of an order; none if it is of a stock.
pub(super) fn step(kind: &Kind) -> Option<Step> {
    Some(match kind {
        Kind::Counted(_) | Kind::Adjusted(_) | Kind::Short(_) => return None,
        Kind::Reserved(event) => {
            let units = event.lines.iter().map(|line| (line.sku.as_str(), line.quantity));
            let units = fingerprint(units_by_sku(units));
            Step::Reserved { lines: fingerprint_of(&event.lines), units }
        }
        Kind::Refused(_) => Step::Refused,
        Kind::Allocated(event) => Step::Allocated { lines: fingerprint_of(&event.lines) },
        Kind::Lost(_) => Step::Lost,
        Kind::Released(event) => Step::Released {
            lines: fingerprint_of(&event.lines),
            is_expired: event.reason() == ReleaseReason::Expired,
        },
    })
}

fn fingerprint_of(lines: &[StockLine]) -> u64 {
    let fields = |line: &StockLine| fingerprint((&line.sku, &line.location, line.quantity));
    fingerprint(lines.iter().map(fields).collect::<Vec<_>>())
}
