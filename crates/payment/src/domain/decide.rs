//! The rules: which facts follow from an input.

use engine::{Context, Decision};
use events::{
    id::{OrderId, PaymentId},
    money::Money,
};
use protocol::time::Timestamp;

use super::{
    Answer, Event, Fact, Input, Operation, OperationKind, Outcome, Payment, Resolution,
    SettleAnswer, StuckReason, Trouble,
};
use crate::store::{self, PaymentRow};

/// Decides which facts follow from `input`.
///
/// An input whose effect already holds yields none, so each may come any number of times.
pub(super) fn decide(
    payments: &store::Payments,
    input: &Input,
    now: Timestamp,
) -> Decision<Event, Answer> {
    let events = match input {
        Input::PaymentDue { payment_id, amount, payment_method, due_by } => {
            begin(payments, *payment_id, *amount, payment_method, *due_by, now)
        }
        Input::Capture { payment_id, number, amount } => {
            let number = *number;
            let operation = Operation { kind: OperationKind::Capture, number };
            of_payment(payments, *payment_id, now, |deciding| deciding.capture(operation, *amount))
        }
        Input::NothingToCapture => vec![],
        Input::OrderCancelled { order_id } => cancel(payments, *order_id, now),
        Input::Settled { payment_id, operation, outcome } => {
            of_payment(payments, *payment_id, now, |deciding| deciding.settle(*operation, outcome))
        }
        Input::SettledByOperator { payment_id, resolution, reason } => {
            let mut answer = SettleAnswer::NotFound;
            let events = of_payment(payments, *payment_id, now, |deciding| {
                answer = deciding.settle_by_operator(*resolution, reason);
            });
            return Decision::answered(events, answer.into());
        }
    };
    Decision::events(events)
}

fn begin(
    payments: &store::Payments,
    payment_id: PaymentId,
    amount: Money,
    payment_method: &str,
    due_by: Timestamp,
    now: Timestamp,
) -> Vec<Event> {
    if payments.get(&payment_id).is_some() {
        return vec![];
    }
    let payment = Payment::begin(payment_id, amount, payment_method, due_by);
    let mut deciding = Deciding { payment, now, events: vec![] };
    deciding.add(Fact::AuthorizationPending {
        operation: Operation::first(OperationKind::Authorize),
        amount,
        payment_method: payment_method.to_owned(),
        due_by,
    });
    deciding.events
}

/// Gives back what every payment of the order has set aside or taken. An order that has no payment by
/// now gets none: its log says `payment_due` before `cancelled`, if at all.
fn cancel(payments: &store::Payments, order_id: OrderId, now: Timestamp) -> Vec<Event> {
    let mut events = vec![];
    let mut payment_id = PaymentId::first(order_id);
    while payments.get(&payment_id).is_some() {
        events.extend(of_payment(payments, payment_id, now, Deciding::cancel));
        payment_id = payment_id.next();
    }
    events
}

fn of_payment(
    payments: &store::Payments,
    payment_id: PaymentId,
    now: Timestamp,
    decide: impl FnOnce(&mut Deciding),
) -> Vec<Event> {
    let Some(PaymentRow { payment, .. }) = payments.get(&payment_id) else { return vec![] };
    let mut deciding = Deciding { payment: payment.clone(), now, events: vec![] };
    decide(&mut deciding);
    deciding.events
}

/// The facts decided so far about a payment, and the payment as they leave it.
struct Deciding {
    payment: Payment,
    now: Timestamp,
    events: Vec<Event>,
}

impl Deciding {
    fn add(&mut self, fact: Fact) {
        self.payment.fold(&fact, self.now, &Context::default());
        let after = self.payment.after();
        self.events.push(Event { payment_id: self.payment.id, fact, after });
    }

    fn capture(&mut self, operation: Operation, amount: Money) {
        let payment = &self.payment;
        // The order confirms only what is authorised. So nothing is pending, or the order was cancelled
        // as well, which wins.
        let is_possible =
            payment.pending.is_none() && !payment.is_cancelled() && payment.held() > 0;
        if is_possible && payment.transaction(operation).is_none() {
            self.add(Fact::CapturePending { operation, amount });
        }
    }

    fn cancel(&mut self) {
        let payment = &self.payment;
        let is_over = payment.pending.is_none() && payment.held() == 0 && payment.kept() == 0;
        if is_over || payment.is_cancelled() {
            return;
        }
        self.add(Fact::CancelRequested);
        // What the provider will answer to what is pending is open: its outcome comes first.
        self.give_back();
    }

    /// Begins the next operation that gives something back, if nothing is pending.
    fn give_back(&mut self) {
        let payment = &self.payment;
        if payment.pending.is_some() {
            return;
        }
        if payment.held() > 0 {
            let operation = payment.next_operation(OperationKind::Void);
            let amount = payment.money(payment.held());
            self.add(Fact::VoidPending { operation, amount });
        } else if payment.kept() > 0 {
            let operation = payment.next_operation(OperationKind::Refund);
            let amount = payment.money(payment.kept());
            self.add(Fact::RefundPending { operation, amount });
        }
    }

    fn settle(&mut self, operation: Operation, outcome: &Outcome) {
        let pending = self.payment.pending_transaction();
        let Some(pending) = pending.filter(|pending| pending.operation == operation) else {
            return;
        };
        let amount = self.payment.money(pending.amount);
        let since = Timestamp::from_millis(pending.at_ms);
        if let Some(fact) = settled(operation, amount, outcome) {
            self.add(fact);
        } else if let Some(fact) = in_trouble(operation, since, outcome)
            && !is_known(&fact, self.payment.trouble())
        {
            self.add(fact);
        }
        if self.payment.is_cancelled() {
            // The cancellation came first: what the provider has now granted is given back at once.
            self.give_back();
        }
    }

    fn settle_by_operator(&mut self, resolution: Resolution, reason: &str) -> SettleAnswer {
        let Some(pending) = self.payment.pending_transaction() else {
            return SettleAnswer::NotStuck;
        };
        let (operation, amount) = (pending.operation, self.payment.money(pending.amount));
        if self.payment.trouble().is_none() {
            return SettleAnswer::NotStuck;
        }
        let done = match (resolution, operation.kind) {
            (Resolution::DoneElsewhere, OperationKind::Authorize) => {
                return SettleAnswer::NotApplicable;
            }
            (Resolution::DoneElsewhere, OperationKind::Capture) => {
                Some(Fact::Captured { operation, amount })
            }
            (Resolution::DoneElsewhere, OperationKind::Void) => {
                Some(Fact::Voided { operation, amount })
            }
            (Resolution::DoneElsewhere, OperationKind::Refund) => {
                Some(Fact::Refunded { operation, amount })
            }
            (Resolution::GiveUp, OperationKind::Authorize) => {
                Some(Fact::Failed { operation, detail: GIVEN_UP.to_owned() })
            }
            (Resolution::GiveUp, OperationKind::Capture) => {
                Some(Fact::CaptureFailed { operation, code: GIVEN_UP.to_owned() })
            }
            (Resolution::GiveUp, OperationKind::Void | OperationKind::Refund)
            | (Resolution::Retry, _) => None,
        };
        let reason = reason.to_owned();
        self.add(Fact::SettledByOperator { operation, amount, resolution, reason });
        if let Some(done) = done {
            self.add(done);
        }
        match (resolution, operation.kind) {
            (Resolution::Retry, OperationKind::Void | OperationKind::Refund) => {
                self.give_back_again(operation.kind, amount);
            }
            _ if self.payment.is_cancelled() => self.give_back(),
            _ => {}
        }
        SettleAnswer::Settled { payment_id: self.payment.id, operation }
    }

    /// Begins an operation anew that the provider has refused, with a key of its own.
    fn give_back_again(&mut self, kind: OperationKind, amount: Money) {
        if self.payment.pending.is_none() {
            let operation = self.payment.next_operation(kind);
            self.add(match kind {
                OperationKind::Refund => Fact::RefundPending { operation, amount },
                _ => Fact::VoidPending { operation, amount },
            });
        }
    }
}

/// The code of an operation that an operator has given up.
const GIVEN_UP: &str = "given_up";

/// Whether a payment is in that trouble already.
fn is_known(fact: &Fact, trouble: Option<Trouble>) -> bool {
    match fact {
        Fact::Stuck { reason, .. } => trouble == Some(Trouble::Stuck(*reason)),
        _ => trouble.is_some(),
    }
}

/// The fact that an operation has ended.
fn settled(operation: Operation, amount: Money, outcome: &Outcome) -> Option<Fact> {
    let fact = match (operation.kind, outcome) {
        (OperationKind::Authorize, Outcome::Approved { provider_reference }) => {
            let provider_reference = provider_reference.clone();
            Fact::Authorized { operation, provider_reference, amount }
        }
        (OperationKind::Authorize, Outcome::Declined { code }) => {
            Fact::Declined { operation, code: code.clone() }
        }
        (OperationKind::Authorize, Outcome::Failed { detail }) => {
            Fact::Failed { operation, detail: detail.clone() }
        }
        // Under this key the provider has done something else, and nothing for this payment.
        (OperationKind::Authorize, Outcome::Conflict) => {
            let detail = "the provider knows the operation with other parameters".to_owned();
            Fact::Failed { operation, detail }
        }
        (OperationKind::Capture, Outcome::Approved { .. }) => Fact::Captured { operation, amount },
        (OperationKind::Capture, Outcome::Declined { code }) => {
            Fact::CaptureFailed { operation, code: code.clone() }
        }
        (OperationKind::Capture, Outcome::Failed { .. }) => {
            Fact::CaptureFailed { operation, code: "not_carried_out".to_owned() }
        }
        (OperationKind::Void, Outcome::Approved { .. }) => Fact::Voided { operation, amount },
        (OperationKind::Refund, Outcome::Approved { .. }) => Fact::Refunded { operation, amount },
        (_, Outcome::Silent { .. })
        | (OperationKind::Capture, Outcome::Conflict)
        | (
            OperationKind::Void | OperationKind::Refund,
            Outcome::Declined { .. } | Outcome::Failed { .. } | Outcome::Conflict,
        ) => return None,
    };
    Some(fact)
}

/// The fact that an operation does not end.
fn in_trouble(operation: Operation, since: Timestamp, outcome: &Outcome) -> Option<Fact> {
    let (reason, detail) = match outcome {
        Outcome::Silent { for_long: false } => return Some(Fact::Uncertain { operation, since }),
        Outcome::Silent { for_long: true } => (StuckReason::NoAnswer, String::new()),
        Outcome::Declined { code } => (StuckReason::Refused, code.clone()),
        Outcome::Failed { detail } => (StuckReason::Refused, detail.clone()),
        Outcome::Conflict => (StuckReason::Conflict, String::new()),
        Outcome::Approved { .. } => return None,
    };
    Some(Fact::Stuck { operation, reason, detail, since })
}
