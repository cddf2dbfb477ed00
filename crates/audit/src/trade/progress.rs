//! The course of an order by its own log: from `placed` to one end, and nothing after that.

use events::proto::order::CancelReason;

use super::{
    TradeFindings,
    step::{OrderKey, Step},
};
use crate::LogPosition;

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It waits for its stock.
    Placed,
    /// It waits for its payment.
    PaymentDue,
    /// It waits for its stock to be allocated.
    Authorized,
    /// It waits for the money to be captured.
    Confirmed,
    /// It is paid.
    Paid,
    /// It is cancelled.
    Cancelled(CancelReason),
}

impl Status {
    pub(super) fn is_end(self) -> bool {
        match self {
            Self::Paid | Self::Cancelled(_) => true,
            Self::Placed | Self::PaymentDue | Self::Authorized | Self::Confirmed => false,
        }
    }
}

/// What the log says of an order so far; nothing before it is placed.
#[derive(Debug, Default)]
pub(super) struct Progress {
    placed: Option<Placed>,
    /// Whether its stock was allocated to it when it was confirmed.
    pub(super) was_confirmed: bool,
}

#[derive(Debug)]
struct Placed {
    status: Status,
    total: i64,
    /// The units of each SKU.
    units: u64,
}

impl Progress {
    /// How far it has come, and what it costs in minor units.
    pub(super) fn outcome(&self) -> Option<(Status, i64)> {
        self.placed.as_ref().map(|placed| (placed.status, placed.total))
    }

    /// The fingerprint of the units that it wants of each SKU.
    pub(super) fn units(&self) -> Option<u64> {
        self.placed.as_ref().map(|placed| placed.units)
    }

    pub(super) fn apply(
        &mut self,
        order: OrderKey,
        position: LogPosition,
        step: Step,
        findings: &mut TradeFindings,
    ) {
        let (status, amount) = match step {
            Step::Placed { total, units } => {
                findings.doubles.expect(self.placed.is_none(), || {
                    format!("{position}: order {order} is placed again")
                });
                self.placed = Some(Placed { status: Status::Placed, total, units });
                self.was_confirmed = false;
                return;
            }
            Step::PaymentDue { amount } => (Status::PaymentDue, Some(amount)),
            Step::Authorized => (Status::Authorized, None),
            Step::Confirmed { amount } => (Status::Confirmed, Some(amount)),
            Step::Paid { amount } => (Status::Paid, Some(amount)),
            Step::Cancelled { reason } => (Status::Cancelled(reason), None),
            Step::Line { .. }
            | Step::Reserved { .. }
            | Step::ReservedLine { .. }
            | Step::Shipped { .. }
            | Step::Taken { .. }
            | Step::Refused
            | Step::Allocated { .. }
            | Step::Lost
            | Step::Released { .. }
            | Step::Payment(_) => return,
        };
        let findings = &mut findings.progress;
        let Some(placed) = &mut self.placed else {
            return findings.add(format!("{position}: order {order} was never placed"));
        };
        findings.expect(amount.is_none_or(|amount| amount == Some(placed.total)), || {
            format!("{position}: {amount:?} for order {order}, which costs {}", placed.total)
        });
        findings.expect(follows(placed.status, status), || {
            format!("{position}: order {order} goes from {:?} to {status:?}", placed.status)
        });
        placed.status = status;
        self.was_confirmed |= status == Status::Confirmed;
    }
}

/// Whether the saga has such a step.
fn follows(from: Status, to: Status) -> bool {
    match (from, to) {
        (Status::Placed, Status::PaymentDue)
        | (Status::PaymentDue, Status::Authorized)
        | (Status::Authorized, Status::Confirmed)
        | (Status::Confirmed, Status::Paid)
        | (Status::Placed | Status::PaymentDue | Status::Authorized, Status::Cancelled(_)) => true,
        // Once it is confirmed, only the money can fail.
        (Status::Confirmed, Status::Cancelled(reason)) => reason == CancelReason::CaptureFailed,
        _ => false,
    }
}
