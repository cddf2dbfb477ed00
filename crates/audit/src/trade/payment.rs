//! The payments of an order by their log: what was authorised, captured, voided and refunded.

use std::collections::{BTreeMap, BTreeSet};

use events::proto::{
    self,
    payment::{self, payment_event::Kind},
};

use super::{
    progress::Progress,
    reservation::Reservation,
    step::{OrderKey, PaymentStep, PaymentStepKind, Step},
};
use crate::{Findings, LogPosition, scratch::fingerprint};

/// A payment of an order; amounts in minor units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is seen in the log by itself")]
pub(super) struct Payment {
    pub(super) authorized: Option<i64>,
    /// What was let go, if anything was.
    pub(super) voided: Option<i64>,
    pub(super) captured: i64,
    pub(super) refunded: i64,
    /// The operations by which money was captured: at most once each.
    captures: BTreeSet<u64>,
    /// Whether it is taken in one step.
    is_charge: bool,
    /// What operators have given up to void, and to pay back unasked.
    pub(super) given_up_hold: i64,
    given_up_refund: i64,
    /// The operations that they were, and whether they count in that: what somebody asked for while the
    /// order stood stays with the order.
    given_up: BTreeMap<u64, bool>,
    /// Whether the last refund that began was asked for, and whether all is to be given back.
    is_refund_on_request: bool,
    is_cancelled: bool,
    /// The operation whose outcome is awaited.
    pending: Option<u64>,
    /// Whether another operation may follow without an outcome of that one.
    is_retried: bool,
}

impl Payment {
    /// What is authorised and neither captured nor voided.
    pub(super) fn held(&self) -> i64 {
        let left = self.voided.unwrap_or(0) + self.given_up_hold;
        self.authorized.unwrap_or(0) - self.captured - left
    }

    /// What is captured and neither refunded nor given up to be.
    fn kept(&self) -> i64 {
        self.captured - self.refunded - self.given_up_refund
    }

    pub(super) fn apply(
        &mut self,
        position: LogPosition,
        step: PaymentStep,
        findings: &mut Findings,
    ) {
        if step.kind.begins() {
            findings.expect(self.pending.is_none() || self.is_retried, || {
                format!("{position}: an operation begins while another is open")
            });
            self.is_retried = false;
            self.pending = Some(step.operation);
        }
        if self.is_done_after_all(step) {
            self.clear_given_up(step);
        } else if step.kind.ends() {
            findings.expect(self.pending == Some(step.operation), || {
                format!("{position}: the outcome of an operation that was not pending in the log")
            });
            self.pending = None;
        }
        self.fold(position, step, findings);
    }

    /// Whether the provider has done what an operator had given up; another operation may be open.
    fn is_done_after_all(&self, step: PaymentStep) -> bool {
        let is_done = matches!(step.kind, PaymentStepKind::Voided | PaymentStepKind::Refunded);
        is_done && self.given_up.contains_key(&step.operation)
    }

    fn clear_given_up(&mut self, step: PaymentStep) {
        let is_counted = self.given_up.remove(&step.operation).unwrap_or_default();
        if step.kind == PaymentStepKind::Voided {
            self.given_up_hold -= step.amount;
        } else if is_counted {
            self.given_up_refund -= step.amount;
        }
    }

    /// What was taken after all was neither given up nor let go; of what the log does not know it was
    /// authorised as well.
    fn take_after_all(&mut self) {
        let taken = (-self.held()).max(0);
        let given_up = taken.min(self.given_up_hold);
        self.given_up_hold -= given_up;
        let let_go = (taken - given_up).min(self.voided.unwrap_or(0));
        self.voided = self.voided.map(|voided| voided - let_go);
        let unknown = taken - given_up - let_go;
        if unknown > 0 {
            self.authorized = Some(self.authorized.unwrap_or(0) + unknown);
        }
    }

    fn fold(&mut self, position: LogPosition, step: PaymentStep, findings: &mut Findings) {
        match step.kind {
            PaymentStepKind::AuthorizationPending => {
                findings.expect(self.authorized.is_none(), || {
                    format!("{position}: asks to authorise what is authorised")
                });
            }
            PaymentStepKind::ChargePending => {
                self.is_charge = true;
                findings.expect(self.authorized.is_none(), || {
                    format!("{position}: asks to charge what is authorised or charged")
                });
            }
            PaymentStepKind::Authorized => self.authorized = Some(step.amount),
            PaymentStepKind::CapturePending => {
                findings.expect(self.held() > 0 || self.authorized == Some(0), || {
                    format!("{position}: asks to capture what is not authorised")
                });
            }
            PaymentStepKind::Captured => {
                findings.expect(self.captures.insert(step.operation), || {
                    format!("{position}: money is captured twice by one operation")
                });
                self.captured += step.amount;
                // What is charged was not authorised before.
                if self.is_charge {
                    self.authorized = Some(self.authorized.unwrap_or(0) + step.amount);
                }
                findings.expect(self.held() >= 0, || {
                    let (captured, authorized) = (self.captured, self.authorized.unwrap_or(0));
                    let voided = self.voided.unwrap_or(0);
                    format!(
                        "{position}: {captured} captured and {voided} voided, {authorized} was \
                         authorised"
                    )
                });
            }
            PaymentStepKind::VoidPending => findings.expect(self.held() > 0, || {
                format!("{position}: asks to void what is not set aside")
            }),
            PaymentStepKind::Voided => {
                self.voided = Some(self.voided.unwrap_or(0) + step.amount);
                findings.expect(self.held() >= 0, || {
                    format!("{position}: {} voided, which is too much", step.amount)
                });
            }
            PaymentStepKind::RefundPending => self.is_refund_on_request = false,
            PaymentStepKind::RefundPendingOnRequest => self.is_refund_on_request = true,
            PaymentStepKind::CancelRequested => self.is_cancelled = true,
            PaymentStepKind::Refunded => {
                self.refunded += step.amount;
                findings.expect(self.refunded <= self.captured, || {
                    format!("{position}: {} refunded of {}", self.refunded, self.captured)
                });
            }
            PaymentStepKind::Declined
            | PaymentStepKind::Failed
            | PaymentStepKind::CaptureFailed
            | PaymentStepKind::Uncertain
            | PaymentStepKind::Stuck
            | PaymentStepKind::SettledByOperator
            | PaymentStepKind::Noted => {}
            PaymentStepKind::TurnedUpAuthorized => {
                self.authorized = Some(self.authorized.unwrap_or(0) + step.amount);
            }
            PaymentStepKind::TurnedUpCaptured => {
                self.captured += step.amount;
                self.take_after_all();
            }
            PaymentStepKind::TurnedUpCharged => {
                self.captured += step.amount;
                self.authorized = Some(self.authorized.unwrap_or(0) + step.amount);
            }
            PaymentStepKind::Retried => self.is_retried = true,
            PaymentStepKind::VoidGivenUp => {
                self.given_up.insert(step.operation, true);
                self.given_up_hold += step.amount;
            }
            PaymentStepKind::RefundGivenUp => {
                let is_counted = self.is_cancelled || !self.is_refund_on_request;
                self.given_up.insert(step.operation, is_counted);
                if is_counted {
                    self.given_up_refund += step.amount;
                }
            }
        }
    }
}

/// Compares the payments of an order with it, and with its stock.
pub(super) fn compare(
    order: OrderKey,
    payments: &BTreeMap<u32, Payment>,
    progress: &Progress,
    reservation: &Reservation,
    findings: &mut Findings,
) {
    if payments.is_empty() {
        return;
    }
    let Some((status, _)) = progress.outcome() else {
        return findings.add(format!("a payment of order {order}, which is in no log"));
    };
    let sum = |of: fn(&Payment) -> i64| payments.values().map(of).sum::<i64>();
    let net = sum(Payment::kept);
    let due = progress.kept();
    findings.expect(net == due, || {
        format!("{net} kept of order {order}, which is {status:?}: {due} is due")
    });
    compare_abandoned(order, payments, progress, findings);
    let was_captured = payments.values().any(|payment| !payment.captures.is_empty());
    findings.expect(!was_captured || reservation.was_allocated, || {
        format!("the money of order {order} was captured without stock allocated to it")
    });
    // What is taken in one step is taken before that; and paid back, when the order is cancelled first.
    let in_two_steps = payments.values().filter(|payment| !payment.is_charge);
    let was_captured = in_two_steps.clone().any(|payment| !payment.captures.is_empty());
    findings.expect(!was_captured || progress.was_confirmed, || {
        format!("the money of order {order} was captured before it was confirmed")
    });
    // What was asked for in one step is charged, and nothing else.
    let charged = payments.values().filter(|payment| payment.is_charge).count();
    findings.expect(charged == progress.one_step_payments, || {
        let due = progress.one_step_payments;
        format!("{charged} payments of order {order} were charged, {due} were due in one step")
    });
    let held = sum(Payment::held);
    findings.expect(held == 0 || progress.is_captured_later(), || {
        format!("{held} are still authorised for order {order}")
    });
    findings.expect(payments.values().all(|payment| payment.pending.is_none()), || {
        format!("the outcome of an operation for order {order} is not known")
    });
    let numbers = (1..).zip(payments.keys()).all(|(expected, number)| expected == *number);
    findings.expect(numbers, || format!("the payments of order {order} have a gap"));
}

/// A payment whose place another one took while it waited for its customer may be carried out all the same: then all of
/// it is given back, whatever is kept by the other one.
fn compare_abandoned(
    order: OrderKey,
    payments: &BTreeMap<u32, Payment>,
    progress: &Progress,
    findings: &mut Findings,
) {
    for number in progress.abandoned() {
        let Some(payment) = payments.get(number) else { continue };
        let (kept, held) = (payment.kept(), payment.held());
        findings.expect((kept, held) == (0, 0), || {
            format!(
                "{kept} kept and {held} authorised by payment {number} of order {order}, which was \
                 abandoned"
            )
        });
    }
}

impl PaymentStepKind {
    /// Whether the provider is about to be asked for something.
    fn begins(self) -> bool {
        match self {
            Self::AuthorizationPending
            | Self::ChargePending
            | Self::CapturePending
            | Self::VoidPending
            | Self::RefundPending
            | Self::RefundPendingOnRequest => true,
            Self::Authorized
            | Self::Declined
            | Self::Failed
            | Self::Captured
            | Self::CaptureFailed
            | Self::Voided
            | Self::Refunded
            | Self::CancelRequested
            | Self::Uncertain
            | Self::Stuck
            | Self::SettledByOperator
            | Self::Retried
            | Self::VoidGivenUp
            | Self::RefundGivenUp
            | Self::Noted
            | Self::TurnedUpAuthorized
            | Self::TurnedUpCaptured
            | Self::TurnedUpCharged => false,
        }
    }

    /// Whether the outcome of an operation is known now.
    fn ends(self) -> bool {
        let leaves_it_open = matches!(
            self,
            Self::CancelRequested
                | Self::Uncertain
                | Self::Stuck
                | Self::SettledByOperator
                | Self::Retried
                | Self::Noted
                | Self::TurnedUpAuthorized
                | Self::TurnedUpCaptured
                | Self::TurnedUpCharged
        );
        !self.begins() && !leaves_it_open
    }
}

/// What an event of the payment service says.
pub(super) fn step(kind: &Kind, number: u32) -> Step {
    let (kind, operation, amount) = parts(kind);
    let amount = amount.map_or(0, |amount| amount.minor);
    Step::Payment(PaymentStep { kind, number, operation: fingerprint(operation), amount })
}

/// The amount that an event of the payment service moves.
pub(super) fn amount(kind: &Kind) -> Option<&proto::Money> {
    parts(kind).2
}

/// What happened, to which operation, and the amount that it moves.
fn parts(kind: &Kind) -> (PaymentStepKind, &str, Option<&proto::Money>) {
    match kind {
        Kind::AuthorizationPending(it) => {
            (PaymentStepKind::AuthorizationPending, it.operation_id.as_str(), None)
        }
        Kind::ChargePending(it) => (PaymentStepKind::ChargePending, it.operation_id.as_str(), None),
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
        Kind::Voided(it) => (PaymentStepKind::Voided, it.operation_id.as_str(), it.amount.as_ref()),
        Kind::RefundPending(it) => {
            let kind = if it.refund_id.is_empty() {
                PaymentStepKind::RefundPending
            } else {
                PaymentStepKind::RefundPendingOnRequest
            };
            (kind, it.operation_id.as_str(), None)
        }
        Kind::Refunded(it) => {
            (PaymentStepKind::Refunded, it.operation_id.as_str(), it.amount.as_ref())
        }
        Kind::CancelRequested(_) => (PaymentStepKind::CancelRequested, "", None),
        Kind::Uncertain(it) => (PaymentStepKind::Uncertain, it.operation_id.as_str(), None),
        Kind::Stuck(it) => (PaymentStepKind::Stuck, it.operation_id.as_str(), None),
        Kind::TurnedUp(it) => {
            let operation = it.operation_id.rsplit(':').next().unwrap_or_default();
            let kind = if operation.starts_with("capture-") {
                PaymentStepKind::TurnedUpCaptured
            } else if operation == "charge" {
                PaymentStepKind::TurnedUpCharged
            } else {
                PaymentStepKind::TurnedUpAuthorized
            };
            (kind, it.operation_id.as_str(), it.amount.as_ref())
        }
        Kind::ActionRequired(_) | Kind::CaptureRequested(_) | Kind::RefundRequested(_) => {
            (PaymentStepKind::Noted, "", None)
        }
        Kind::SettledByOperator(it) => (settled(it), it.operation_id.as_str(), it.amount.as_ref()),
    }
}

/// What an operator's decision means to the operation.
fn settled(event: &payment::SettledByOperator) -> PaymentStepKind {
    let operation = event.operation_id.rsplit(':').next().unwrap_or_default();
    match event.resolution() {
        payment::Resolution::Retry => PaymentStepKind::Retried,
        payment::Resolution::GiveUp if operation.starts_with("void") => {
            PaymentStepKind::VoidGivenUp
        }
        payment::Resolution::GiveUp if operation.starts_with("refund") => {
            PaymentStepKind::RefundGivenUp
        }
        payment::Resolution::GiveUp
        | payment::Resolution::DoneElsewhere
        | payment::Resolution::Unspecified => PaymentStepKind::SettledByOperator,
    }
}

#[cfg(test)]
mod tests {
    use PaymentStepKind::*;

    use super::*;
    use crate::trade::TradeFindings;

    /// The findings about a payment with these steps: kind, operation, amount.
    fn findings(steps: &[(PaymentStepKind, &str, i64)]) -> String {
        format!("{:?}", applied(steps).1)
    }

    /// A payment after these steps, and what was found.
    fn applied(steps: &[(PaymentStepKind, &str, i64)]) -> (Payment, Findings) {
        let (mut payment, mut findings) = (Payment::default(), Findings::default());
        for (sequence, (kind, operation, amount)) in (1..).zip(steps) {
            let position = LogPosition { service: "payment", partition: 0, sequence };
            let (number, operation) = (1, fingerprint(*operation));
            let step = PaymentStep { kind: *kind, number, operation, amount: *amount };
            payment.apply(position, step, &mut findings);
        }
        (payment, findings)
    }

    /// That nothing is wrong with the first steps, and this with the last one.
    #[track_caller]
    fn check(steps: &[(PaymentStepKind, &str, i64)], finding: &str) {
        let nothing = findings(&[]);
        assert_eq!(findings(&steps[..steps.len() - 1]), nothing);
        let found = findings(steps);
        assert!(found.contains(finding), "{found}");
    }

    const ASKED: (PaymentStepKind, &str, i64) = (AuthorizationPending, "authorize", 0);
    const GRANTED: (PaymentStepKind, &str, i64) = (Authorized, "authorize", 500);
    const TAKING: (PaymentStepKind, &str, i64) = (CapturePending, "capture-4", 0);
    const TAKEN: (PaymentStepKind, &str, i64) = (Captured, "capture-4", 500);

    #[test]
    fn what_is_charged_is_taken_once_and_nothing_of_it_is_held() {
        let charge = [(ChargePending, "charge", 0), (Captured, "charge", 500)];
        let refunds = [(CancelRequested, "", 0), (RefundPending, "refund-1", 0)];
        let all = [&charge[..], &refunds, &[(Refunded, "refund-1", 500)]].concat();
        let (payment, found) = applied(&all);
        assert_eq!((found.count(), payment.held()), (0, 0), "{found:?}");
        assert_eq!((payment.captured, payment.refunded), (500, 500));
        check(&[charge[0], charge[1], charge[0]], "asks to charge what is authorised or charged");
        check(&[charge[0], charge[1], charge[1]], "that was not pending");
        let (payment, _) =
            applied(&[charge[0], (Failed, "charge", 0), (TurnedUpCharged, "charge", 500)]);
        assert_eq!((payment.held(), payment.captured), (0, 500));
    }

    #[test]
    fn what_an_abandoned_payment_was_granted_or_has_taken_is_given_back() {
        let due = Step::PaymentDue { amount: Some(500), one_step: false };
        let named = Step::Abandoned { payment: 1 };
        let steps = [Step::Placed { total: 500, units: 1 }, due, Step::ActionRequired, named, due];
        let order = OrderKey::of("00000000-0000-0000-0000-00000000000a");
        let position = LogPosition { service: "order", partition: 0, sequence: 1 };
        let (mut progress, mut of_order) = (Progress::default(), TradeFindings::default());
        for step in steps {
            progress.apply(order, position, step, &mut of_order);
        }
        let found = |first: &[(PaymentStepKind, &str, i64)]| {
            let second = applied(&[ASKED, GRANTED, TAKING, TAKEN]).0;
            let payments = BTreeMap::from([(1, applied(first).0), (2, second)]);
            let mut findings = Findings::default();
            compare_abandoned(order, &payments, &progress, &mut findings);
            format!("{findings:?}")
        };
        let nothing = findings(&[]);
        let cancel = (CancelRequested, "", 0);
        let voided = [ASKED, cancel, GRANTED, (VoidPending, "void", 0), (Voided, "void", 500)];
        let charged = [(ChargePending, "charge", 0), cancel, (Captured, "charge", 500)];
        let refunded = [(RefundPending, "refund-1", 0), (Refunded, "refund-1", 500)];
        assert_eq!(found(&[ASKED, cancel]), nothing);
        assert_eq!(found(&voided), nothing);
        assert_eq!(found(&[&charged[..], &refunded].concat()), nothing);
        let of = found(&voided[..3]);
        assert!(of.contains("0 kept and 500 authorised by payment 1"), "{of}");
        let of = found(&charged);
        assert!(of.contains("500 kept and 0 authorised by payment 1"), "{of}");
    }

    #[test]
    fn a_payment_in_order_has_nothing_to_find() {
        let nothing = findings(&[]);
        let paid = [ASKED, GRANTED, TAKING, TAKEN];
        let refunds = [
            (RefundPendingOnRequest, "refund-1", 0),
            (Refunded, "refund-1", 200),
            (RefundPending, "refund-2", 0),
            (Refunded, "refund-2", 300),
        ];
        assert_eq!(findings(&[&paid[..], &refunds].concat()), nothing);
        let in_parts = [
            ASKED,
            GRANTED,
            TAKING,
            (Captured, "capture-4", 200),
            (CapturePending, "capture-5", 0),
            (CaptureFailed, "capture-5", 0),
            (VoidPending, "void", 0),
            (Voided, "void", 300),
        ];
        assert_eq!(findings(&in_parts), nothing);
    }

    #[test]
    fn one_operation_is_open_at_a_time() {
        check(&[ASKED, TAKING], "an operation begins while another is open");
        let text = "the outcome of an operation that was not pending";
        check(&[ASKED, (Authorized, "another", 500)], text);
        check(&[GRANTED], text);
        // After an operator has it tried again, another may begin.
        let again = [ASKED, GRANTED, (VoidPending, "void", 0), (Stuck, "void", 0)];
        let retried = [(Retried, "void", 500), (VoidPending, "void-2", 0), (Voided, "void-2", 500)];
        assert_eq!(findings(&[&again[..], &retried].concat()), findings(&[]));
        check(&[&again[..], &retried[1..2]].concat(), "an operation begins while another is open");
    }

    #[test]
    fn what_is_authorised_is_not_authorised_again() {
        check(&[ASKED, GRANTED, ASKED], "asks to authorise what is authorised");
    }

    #[test]
    fn no_more_is_captured_than_is_authorised_and_once_by_each_operation() {
        check(
            &[ASKED, (Declined, "authorize", 0), TAKING],
            "asks to capture what is not authorised",
        );
        check(&[ASKED, GRANTED, TAKING, TAKEN, TAKING], "asks to capture what is not authorised");
        let twice = [ASKED, GRANTED, TAKING, (Captured, "capture-4", 100), TAKING, TAKEN];
        check(&twice, "money is captured twice by one operation");
        check(&[ASKED, GRANTED, TAKING, (Captured, "capture-4", 501)], "501 captured and 0 voided");
    }

    #[test]
    fn no_more_is_voided_than_is_held() {
        let declined = [ASKED, (Declined, "authorize", 0)];
        let void = (VoidPending, "void", 0);
        check(&[&declined[..], &[void]].concat(), "asks to void what is not set aside");
        check(&[ASKED, GRANTED, void, (Voided, "void", 501)], "501 voided, which is too much");
        // What an operator has given up is not held any more.
        let given_up =
            [ASKED, GRANTED, void, (VoidGivenUp, "void", 500), (VoidPending, "void-2", 0)];
        check(&given_up, "asks to void what is not set aside");
    }

    #[test]
    fn no_more_is_refunded_than_was_captured() {
        let paid = [ASKED, GRANTED, TAKING, TAKEN, (RefundPending, "refund-1", 0)];
        let refunded = [&paid[..], &[(Refunded, "refund-1", 501)]].concat();
        check(&refunded, "501 refunded of 500");
        // What turned up at the provider was captured as well.
        let turned_up = [(TurnedUpCaptured, "capture-9", 100), (RefundPending, "refund-1", 0)];
        let back = [&turned_up[..], &[(Refunded, "refund-1", 100)]].concat();
        assert_eq!(findings(&back), findings(&[]));
        check(&[&turned_up[..], &[(Refunded, "refund-1", 101)]].concat(), "101 refunded of 100");
    }

    #[test]
    fn what_was_given_up_and_is_done_is_given_up_no_longer() {
        let steps = [
            ASKED,
            GRANTED,
            TAKING,
            TAKEN,
            (RefundPending, "refund-1", 0),
            (RefundGivenUp, "refund-1", 150),
            (RefundPending, "refund-2", 0),
            (SettledByOperator, "refund-1", 150),
            (Refunded, "refund-1", 150),
            (Refunded, "refund-2", 100),
        ];
        let (payment, found) = applied(&steps);
        assert_eq!(found.count(), 0, "{found:?}");
        assert_eq!((payment.refunded, payment.given_up_refund), (250, 0));
        let void = (VoidPending, "void", 0);
        let steps = [ASKED, GRANTED, void, (VoidGivenUp, "void", 500), (Voided, "void", 500)];
        let (payment, found) = applied(&steps);
        assert_eq!(found.count(), 0, "{found:?}");
        assert_eq!((payment.held(), payment.voided, payment.given_up_hold), (0, Some(500), 0));
    }

    #[test]
    fn a_refund_that_somebody_asked_for_and_that_is_given_up_stays_with_the_order() {
        let paid = [ASKED, GRANTED, TAKING, TAKEN];
        let given_up = |begun: &[(PaymentStepKind, &str, i64)]| {
            let steps = [&paid[..], begun, &[(RefundGivenUp, "refund-1", 150)]].concat();
            let (payment, found) = applied(&steps);
            assert_eq!(found.count(), 0, "{found:?}");
            payment.given_up_refund
        };
        let on_request = (RefundPendingOnRequest, "refund-1", 0);
        assert_eq!(given_up(&[on_request]), 0);
        assert_eq!(given_up(&[(RefundPending, "refund-1", 0)]), 150);
        assert_eq!(given_up(&[on_request, (CancelRequested, "", 0)]), 150);
    }

    #[test]
    fn what_turns_up_as_captured_was_not_let_go() {
        let mut payment = Payment { authorized: Some(500), captured: 200, ..Payment::default() };
        payment.voided = Some(300);
        let operation = fingerprint("capture-6");
        let step = PaymentStep { kind: TurnedUpCaptured, number: 1, operation, amount: 100 };
        let position = LogPosition { service: "payment", partition: 0, sequence: 1 };
        payment.apply(position, step, &mut Findings::default());
        assert_eq!((payment.held(), payment.captured, payment.voided), (0, 300, Some(200)));
    }

    #[test]
    fn what_turns_up_as_captured_was_not_held_when_that_was_given_up() {
        let void = (VoidPending, "void", 0);
        let given_up = [ASKED, GRANTED, void, (VoidGivenUp, "void", 500)];
        let all = [&given_up[..], &[(TurnedUpCaptured, "capture-4", 500)]].concat();
        let part = [&given_up[..], &[(TurnedUpCaptured, "capture-4", 100)]].concat();
        let sums = |steps: &[(PaymentStepKind, &str, i64)]| {
            let (payment, _) = applied(steps);
            (payment.held(), payment.given_up_hold, payment.captured)
        };
        assert_eq!((sums(&all), sums(&part)), ((0, 0, 500), (0, 400, 100)));
        assert_eq!(sums(&[(TurnedUpCaptured, "capture-4", 500)]), (0, 0, 500));
    }
}
