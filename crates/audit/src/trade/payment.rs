//! The payment of an order by its log: what was authorised, captured, voided and refunded.

use events::proto::{self, payment::payment_event::Kind};

use super::{
    Progress, Reservation, Status,
    step::{OrderKey, PaymentStep, PaymentStepKind, Step},
};
use crate::{Findings, LogPosition, scratch::fingerprint};

/// The payment of an order; amounts in minor units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Payment {
    pub(super) authorized: Option<i64>,
    pub(super) voided: bool,
    pub(super) captures: u32,
    pub(super) captured: i64,
    pub(super) refunded: i64,
    /// The operation whose outcome is awaited.
    pending: Option<u64>,
}

impl Payment {
    /// What is authorised and neither captured nor voided.
    pub(super) fn held(&self) -> i64 {
        if self.voided || self.captures > 0 { 0 } else { self.authorized.unwrap_or(0) }
    }

    pub(super) fn apply(
        &mut self,
        position: LogPosition,
        step: PaymentStep,
        findings: &mut Findings,
    ) {
        if step.kind.begins() {
            findings.expect(self.pending.is_none(), || {
                format!("{position}: an operation begins while another is open")
            });
            self.pending = Some(step.operation);
        }
        if step.kind.ends() {
            findings.expect(self.pending == Some(step.operation), || {
                format!("{position}: the outcome of an operation that was not pending in the log")
            });
            self.pending = None;
        }
        self.fold(position, step, findings);
    }

    fn fold(&mut self, position: LogPosition, step: PaymentStep, findings: &mut Findings) {
        match step.kind {
            PaymentStepKind::AuthorizationPending => {
                findings.expect(self.authorized.is_none(), || {
                    format!("{position}: asks to authorise what is authorised")
                });
            }
            PaymentStepKind::Authorized => self.authorized = Some(step.amount),
            PaymentStepKind::CapturePending => {
                findings.expect(self.held() > 0 || self.authorized == Some(0), || {
                    format!("{position}: asks to capture what is not authorised")
                });
            }
            PaymentStepKind::Captured => {
                self.captures += 1;
                findings.expect(self.captures == 1, || {
                    format!("{position}: money is captured for the {}. time", self.captures)
                });
                self.captured += step.amount;
                let (captured, authorized) = (self.captured, self.authorized.unwrap_or(0));
                findings.expect(captured <= authorized && !self.voided, || {
                    format!("{position}: {captured} captured, {authorized} was authorised")
                });
            }
            PaymentStepKind::VoidPending => findings.expect(self.captures == 0, || {
                format!("{position}: asks to void what is captured")
            }),
            PaymentStepKind::Voided => self.voided = true,
            PaymentStepKind::Refunded => {
                self.refunded += step.amount;
                findings.expect(self.refunded <= self.captured, || {
                    format!("{position}: {} refunded of {}", self.refunded, self.captured)
                });
            }
            PaymentStepKind::Declined
            | PaymentStepKind::Failed
            | PaymentStepKind::CaptureFailed
            | PaymentStepKind::RefundPending
            | PaymentStepKind::Abandoned
            | PaymentStepKind::CancelRequested => {}
        }
    }

    /// Compares it with the order that it is for, and with the stock of that.
    pub(super) fn compare(
        &self,
        order: OrderKey,
        progress: &Progress,
        reservation: &Reservation,
        findings: &mut Findings,
    ) {
        let Some((status, total)) = progress.outcome() else {
            return findings.add(format!("a payment of order {order}, which is in no log"));
        };
        let net = self.captured - self.refunded;
        let due = if status == Status::Paid { total } else { 0 };
        findings.expect(net == due, || {
            format!("{net} kept of order {order}, which is {status:?}: {due} is due")
        });
        findings.expect(self.captures == 0 || reservation.was_allocated, || {
            format!("the money of order {order} was captured without stock allocated to it")
        });
        findings.expect(self.captures == 0 || progress.was_confirmed, || {
            format!("the money of order {order} was captured before it was confirmed")
        });
        findings.expect(self.held() == 0, || {
            format!("{} are still authorised for order {order}", self.held())
        });
        findings.expect(self.pending.is_none(), || {
            format!("the outcome of an operation for order {order} is not known")
        });
    }
}

impl PaymentStepKind {
    /// Whether the provider is about to be asked for something.
    fn begins(self) -> bool {
        match self {
            Self::AuthorizationPending
            | Self::CapturePending
            | Self::VoidPending
            | Self::RefundPending => true,
            Self::Authorized
            | Self::Declined
            | Self::Failed
            | Self::Captured
            | Self::CaptureFailed
            | Self::Voided
            | Self::Refunded
            | Self::Abandoned
            | Self::CancelRequested => false,
        }
    }

    /// Whether the outcome of an operation is known now.
    fn ends(self) -> bool {
        !self.begins() && !matches!(self, Self::Abandoned | Self::CancelRequested)
    }
}

/// What an event of the payment service says.
pub(super) fn step(kind: &Kind) -> Step {
    let (kind, operation, amount) = match kind {
        Kind::AuthorizationPending(it) => {
            (PaymentStepKind::AuthorizationPending, it.operation_id.as_str(), None)
        }
        Kind::Authorized(it) => {
            (PaymentStepKind::Authorized, it.operation_id.as_str(), it.amount.as_ref())
        }
        Kind::Declined(it) => (PaymentStepKind::Declined, it.operation_id.as_str(), None),
        Kind::Failed(it) => (PaymentStepKind::Failed, it.operation_id.as_str(), None),
        Kind::CapturePending(it) => {
            (PaymentStepKind::CapturePending, it.operation_id.as_str(), None)
        }
        Kind::Captured(it) => {
            (PaymentStepKind::Captured, it.operation_id.as_str(), it.amount.as_ref())
        }
        Kind::CaptureFailed(it) => (PaymentStepKind::CaptureFailed, it.operation_id.as_str(), None),
        Kind::VoidPending(it) => (PaymentStepKind::VoidPending, it.operation_id.as_str(), None),
        Kind::Voided(it) => (PaymentStepKind::Voided, it.operation_id.as_str(), None),
        Kind::RefundPending(it) => (PaymentStepKind::RefundPending, it.operation_id.as_str(), None),
        Kind::Refunded(it) => {
            (PaymentStepKind::Refunded, it.operation_id.as_str(), it.amount.as_ref())
        }
        Kind::Abandoned(_) => (PaymentStepKind::Abandoned, "", None),
        Kind::CancelRequested(_) => (PaymentStepKind::CancelRequested, "", None),
    };
    let amount = amount.map_or(0, |amount: &proto::Money| amount.minor);
    Step::Payment(PaymentStep { kind, operation: fingerprint(operation), amount })
}
