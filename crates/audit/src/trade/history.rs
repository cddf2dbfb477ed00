//! What the logs say of one order, put together.

use std::collections::BTreeMap;

use super::{
    Status, TradeFindings, Traded,
    outcome::Acknowledged,
    payment::{self, Payment},
    progress::Progress,
    reservation::Reservation,
    step::{OrderKey, Step},
};
use crate::LogPosition;

/// What the logs say of one order.
#[derive(Debug, Default)]
pub(super) struct OrderHistory {
    progress: Progress,
    /// The lines that it was placed with, by the number of the SKU.
    lines: Vec<(u32, i64)>,
    /// By number.
    payments: BTreeMap<u32, Payment>,
    reservation: Reservation,
}

impl OrderHistory {
    pub(super) fn apply(
        &mut self,
        order: OrderKey,
        position: LogPosition,
        step: Step,
        findings: &mut TradeFindings,
    ) {
        match step {
            Step::Placed { .. } => {
                self.lines.clear();
                self.progress.apply(order, position, step, findings);
            }
            Step::Line { sku, quantity } => {
                self.lines.push((sku, quantity));
                self.progress.add_line(quantity);
            }
            Step::Reported(_)
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
            | Step::Cancelled { .. } => self.progress.apply(order, position, step, findings),
            Step::Reserved { .. }
            | Step::Refused
            | Step::Allocated { .. }
            | Step::Lost
            | Step::ReservedLine { .. }
            | Step::Shipped { .. }
            | Step::Freed { .. }
            | Step::Taken { .. }
            | Step::Released { .. } => {
                self.reservation.apply(order, position, step, &mut findings.reservations);
            }
            Step::Payment(step) => {
                let payment = self.payments.entry(step.number).or_default();
                payment.apply(position, step, &mut findings.payments);
            }
        }
    }

    /// Compares what the three logs say of the order, and adds it to the sums.
    pub(super) fn compare(self, order: OrderKey, traded: &mut Traded, sold: &mut [i64]) {
        let Self { progress, lines, payments, mut reservation } = self;
        let findings = &mut traded.findings;
        reservation.finish(order, &mut findings.reservations);
        payment::compare(order, &payments, &progress, &reservation, &mut findings.payments);
        for payment in payments.values() {
            traded.money.add(payment);
        }
        findings.progress.expect(!reservation.is_held(), || {
            format!("units are still held for order {order}, with a deadline")
        });
        let Some((status, total)) = progress.outcome() else { return };
        // What costs nothing is paid without one.
        let is_without = status == Status::Paid && total != 0 && payments.is_empty();
        findings
            .payments
            .expect(!is_without, || format!("order {order} is paid, and there is no payment"));
        findings
            .progress
            .expect(status.is_end(), || format!("order {order} has not ended: it is {status:?}"));
        findings.lines.expect(reservation.has_units_of(&progress), || {
            format!("other units are reserved for order {order} than it wants")
        });
        // Of an order that is not paid, what has left nevertheless.
        let sold_units = if status.stands() { lines } else { reservation.shipped };
        for (sku, quantity) in sold_units {
            sold[sku as usize] += quantity;
        }
        if let Some(Acknowledged { is_cancelled: true, .. }) =
            traded.orders.add(order, status, total)
        {
            findings.acknowledged.expect(matches!(status, Status::Cancelled(_)), || {
                format!("order {order} was said to be cancelled; in the log it is {status:?}")
            });
        }
    }
}
