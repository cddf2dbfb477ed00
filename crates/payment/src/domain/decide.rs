//! The rules: which facts follow from an input.

use engine::{Context, Decision};
use events::{
    id::{OrderId, PaymentId},
    money::Money,
};
use protocol::time::Timestamp;

use super::{
    Answer, DifferenceKind, Event, Fact, GIVEN_UP, Input, Listed, MAX_REFUNDS, Operation,
    OperationKind, Outcome, Payment, PaymentRow, PaymentRows, Refund, RefundAnswer, Resolution,
    SettleAnswer, Status, Steps, Wanted, difference,
    outcome::{in_trouble, is_known, settled},
};

/// Decides which facts follow from `input`.
///
/// An input whose effect already holds yields none, so each may come any number of times.
pub(super) fn decide(
    payments: &PaymentRows,
    input: &Input,
    now: Timestamp,
) -> Decision<Event, Answer> {
    let events = match input {
        Input::PaymentDue { payment_id, amount, payment_method, due_by, steps, abandoned } => {
            let payment = Payment::begin(*payment_id, *amount, payment_method, *due_by);
            begin(payments, payment, *steps, *abandoned, now)
        }
        Input::Capture { payment_id, number, amount } => {
            let number = *number;
            let operation = Operation { kind: OperationKind::Capture, number };
            of_payment(payments, *payment_id, now, |deciding| deciding.capture(operation, *amount))
        }
        Input::NothingToCapture => vec![],
        Input::OrderCancelled { order_id } => cancel(payments, *order_id, now),
        Input::Settled { payment_id, operation, outcome, occurred_at } => {
            of_payment(payments, *payment_id, now, |deciding| {
                deciding.settle(*operation, outcome, *occurred_at);
            })
        }
        Input::Refund { order_id, payment_id, amount, refund } => {
            let payment_id = payment_id.or_else(|| with_money(payments, *order_id));
            let payment_id = payment_id.filter(|id| id.order_id == *order_id);
            let mut answer = RefundAnswer::NotFound;
            let events = payment_id.map(|payment_id| {
                of_payment(payments, payment_id, now, |deciding| {
                    answer = deciding.refund(*amount, refund);
                })
            });
            return Decision::answered(events.unwrap_or_default(), answer.into());
        }
        Input::Differs { kind, listed } => differs(payments, *kind, listed, now),
        Input::SettledByOperator { payment_id, resolution, reason, operator } => {
            let mut answer = SettleAnswer::NotFound;
            let events = of_payment(payments, *payment_id, now, |deciding| {
                answer = deciding.settle_by_operator(*resolution, reason, operator);
            });
            return Decision::answered(events, answer.into());
        }
    };
    Decision::events(events)
}

fn begin(
    payments: &PaymentRows,
    payment: Payment,
    steps: Steps,
    abandoned: Option<PaymentId>,
    now: Timestamp,
) -> Vec<Event> {
    let (payment_id, amount) = (payment.id, payment.amount);
    if payments.get(&payment_id).is_some() {
        return vec![];
    }
    // What an earlier payment still grants is not wanted any more; what it has taken is, if the order knows of it. Of an
    // abandoned one it does not: its customer may have confirmed it before this was read, and would pay twice.
    let mut events = vec![];
    for number in 1..payment_id.number {
        let earlier = PaymentId { number, ..payment_id };
        events.extend(of_payment(payments, earlier, now, |deciding| {
            if deciding.payment.kept() == 0 || abandoned == Some(earlier) {
                deciding.cancel();
            }
        }));
    }
    let payment_method = payment.payment_method.clone();
    let due_by = Timestamp::from_millis(payment.due_by_ms);
    let mut deciding = Deciding { payment, now, events };
    if steps == Steps::Charge {
        let operation = Operation::first(OperationKind::Charge);
        deciding.add(Fact::ChargePending { operation, amount, payment_method, due_by });
        return deciding.events;
    }
    let operation = Operation::first(OperationKind::Authorize);
    deciding.add(Fact::AuthorizationPending { operation, amount, payment_method, due_by });
    if let Steps::AuthorizeAndCapture(amount) = steps {
        let operation = Operation::first(OperationKind::Capture);
        deciding.add(Fact::CaptureRequested { operation, amount });
    }
    deciding.events
}

/// Gives back what every payment of the order has set aside or taken. An order that has no payment by
/// now gets none: its log says `payment_due` before `cancelled`, if at all.
fn cancel(payments: &PaymentRows, order_id: OrderId, now: Timestamp) -> Vec<Event> {
    let mut events = vec![];
    let mut payment_id = PaymentId::first(order_id);
    while payments.get(&payment_id).is_some() {
        events.extend(of_payment(payments, payment_id, now, Deciding::cancel));
        payment_id = payment_id.next();
    }
    events
}

/// Takes over what the provider's list has of a payment and our log has not, to give that back; any other
/// difference is stuck.
fn differs(
    payments: &PaymentRows,
    kind: DifferenceKind,
    listed: &Listed,
    now: Timestamp,
) -> Vec<Event> {
    let Some((payment, fact)) = difference::decide(payments, kind, listed, now) else {
        return vec![];
    };
    let mut deciding = Deciding { payment, now, events: vec![] };
    let is_given_back = matches!(fact, Fact::TurnedUp { .. });
    deciding.add_answered(fact, listed.occurred_at);
    if is_given_back {
        deciding.proceed();
    }
    deciding.events
}

/// The last payment of an order of which something can be paid back.
fn with_money(payments: &PaymentRows, order_id: OrderId) -> Option<PaymentId> {
    let mut found = None;
    let mut payment_id = PaymentId::first(order_id);
    while let Some(row) = payments.get(&payment_id) {
        if row.payment.kept() > 0 {
            found = Some(payment_id);
        }
        payment_id = payment_id.next();
    }
    found
}

fn of_payment(
    payments: &PaymentRows,
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
        let occurred_at = None;
        self.events.push(Event { payment_id: self.payment.id, fact, after, occurred_at });
    }

    /// Adds what the provider has answered, and since when it is so by its clock.
    fn add_answered(&mut self, fact: Fact, occurred_at: Option<Timestamp>) {
        self.add(fact);
        if let Some(event) = self.events.last_mut() {
            event.occurred_at = occurred_at;
        }
    }

    fn capture(&mut self, operation: Operation, amount: Money) {
        let payment = &self.payment;
        // A cancellation wins, and what is being let go can no longer be taken. Once a capture was
        // refused, the rest is let go after what is pending: the order may be paid by another payment.
        let is_let_go = payment.is_being_let_go() || payment.is_capture_refused();
        let is_nothing_held = payment.held() <= 0 && !payment.is_authorizing();
        let is_over = payment.is_cancelled() || is_let_go || is_nothing_held;
        if is_over || payment.knows_capture(operation) {
            return;
        }
        self.add(match &payment.pending {
            None => Fact::CapturePending { operation, amount },
            Some(_) => Fact::CaptureRequested { operation, amount },
        });
    }

    fn refund(&mut self, amount: Money, refund: &Refund) -> RefundAnswer {
        let payment = &self.payment;
        let payment_id = payment.id;
        if payment.knows_refund(&refund.id) {
            return RefundAnswer::Accepted { payment_id };
        }
        // What a cancelled order has paid is paid back as it is.
        let is_over = payment.is_cancelled() || payment.refund_count() >= MAX_REFUNDS;
        let refundable = if is_over { 0 } else { payment.refundable() };
        let refundable = payment.money(refundable);
        let is_possible = amount.currency == refundable.currency
            && (1..=refundable.minor).contains(&amount.minor);
        if !is_possible {
            return RefundAnswer::TooLarge { payment_id, refundable };
        }
        let refund = refund.clone();
        self.add(match &payment.pending {
            None => {
                let operation = payment.next_operation(OperationKind::Refund);
                Fact::RefundPending { operation, amount, refund }
            }
            Some(_) => Fact::RefundRequested { amount, refund },
        });
        RefundAnswer::Accepted { payment_id }
    }

    fn cancel(&mut self) {
        let payment = &self.payment;
        let is_over = payment.pending.is_none() && payment.held() == 0 && payment.kept() == 0;
        if is_over || payment.is_cancelled() {
            return;
        }
        self.add(Fact::CancelRequested);
        // What the provider will answer to what is pending is open: its outcome comes first.
        self.proceed();
    }

    /// Begins what is to be done next, if nothing is pending.
    fn proceed(&mut self) {
        let payment = &self.payment;
        if payment.pending.is_some() {
            return;
        }
        if !payment.is_cancelled() {
            let next = payment.wanted.first().map(|wanted| match wanted {
                Wanted::Capture { operation, amount } => {
                    let amount = payment.money(*amount);
                    Fact::CapturePending { operation: *operation, amount }
                }
                Wanted::Refund { refund, amount } => Fact::RefundPending {
                    operation: payment.next_operation(OperationKind::Refund),
                    amount: payment.money(*amount),
                    refund: refund.clone(),
                },
            });
            if let Some(next) = next {
                self.add(next);
            } else if payment.surplus > 0 {
                let operation = payment.next_operation(OperationKind::Refund);
                let (amount, refund) = (payment.money(payment.surplus), Refund::default());
                self.add(Fact::RefundPending { operation, amount, refund });
            }
        } else if payment.held() > 0 {
            let operation = payment.next_operation(OperationKind::Void);
            let amount = payment.money(payment.held());
            self.add(Fact::VoidPending { operation, amount });
        } else if payment.kept() > 0 {
            let operation = payment.next_operation(OperationKind::Refund);
            let (amount, refund) = (payment.money(payment.kept()), Refund::default());
            self.add(Fact::RefundPending { operation, amount, refund });
        }
    }

    fn settle(&mut self, operation: Operation, outcome: &Outcome, occurred_at: Option<Timestamp>) {
        let pending = self.payment.pending_transaction();
        let Some(pending) = pending.filter(|pending| pending.operation == operation) else {
            return;
        };
        let amount = self.payment.money(pending.amount);
        let since = Timestamp::from_millis(pending.at_ms);
        if let Some(fact) = settled(operation, amount, &pending.refund, outcome) {
            self.add_answered(fact, occurred_at);
        } else if let Outcome::ActionRequired { url, data, expires_at } = outcome
            && self.payment.status != Status::ActionRequired
        {
            // Whatever the provider grants: what is authorised later is of no use to the order.
            let due_by = Timestamp::from_millis(self.payment.due_by_ms);
            let (url, data, expires_at) = (url.clone(), data.clone(), (*expires_at).min(due_by));
            let fact = Fact::ActionRequired { operation, url, data, expires_at };
            self.add_answered(fact, occurred_at);
        } else if let Some(fact) = in_trouble(operation, since, outcome)
            && !is_known(&fact, self.payment.trouble())
        {
            self.add_answered(fact, occurred_at);
        }
        // If a cancellation came first, what the provider has now granted is given back at once.
        self.proceed();
        self.let_rest_go();
    }

    /// Lets go what is still set aside once the provider has refused to take what was asked of it, and
    /// nothing else is to be taken: nobody would ask for it any more.
    fn let_rest_go(&mut self) {
        let payment = &self.payment;
        let is_settled = payment.pending.is_none() && payment.wanted.is_empty();
        if is_settled && payment.is_capture_refused() && payment.held() > 0 {
            let operation = payment.next_operation(OperationKind::Void);
            let amount = payment.money(payment.held());
            self.add(Fact::VoidPending { operation, amount });
        }
    }

    fn settle_by_operator(
        &mut self,
        resolution: Resolution,
        reason: &str,
        operator: &str,
    ) -> SettleAnswer {
        let pending = self.payment.pending_transaction();
        let Some(pending) = pending.filter(|_| self.payment.trouble().is_some()) else {
            return self.settle_difference(resolution, reason, operator);
        };
        let (operation, amount) = (pending.operation, self.payment.money(pending.amount));
        let refund = pending.refund.clone();
        let done = match (resolution, operation.kind) {
            (Resolution::DoneElsewhere, OperationKind::Authorize) => {
                return SettleAnswer::NotApplicable;
            }
            // Of a charge we have no name then by which the provider could be asked to pay it back: what is to
            // be paid back is done elsewhere as well.
            (Resolution::DoneElsewhere, OperationKind::Capture | OperationKind::Charge) => {
                let provider_reference = self.payment.provider_reference.clone();
                Some(Fact::Captured { operation, amount, provider_reference })
            }
            (Resolution::DoneElsewhere, OperationKind::Void) => {
                Some(Fact::Voided { operation, amount })
            }
            (Resolution::DoneElsewhere, OperationKind::Refund) => {
                Some(Fact::Refunded { operation, amount, refund_id: refund.id.clone() })
            }
            (Resolution::GiveUp, OperationKind::Authorize | OperationKind::Charge) => {
                Some(Fact::Failed { operation, detail: GIVEN_UP.to_owned() })
            }
            (Resolution::GiveUp, OperationKind::Capture) => {
                Some(Fact::CaptureFailed { operation, code: GIVEN_UP.to_owned() })
            }
            (Resolution::GiveUp, OperationKind::Void | OperationKind::Refund)
            | (Resolution::Retry, _) => None,
        };
        let (reason, operator) = (reason.to_owned(), operator.to_owned());
        self.add(Fact::SettledByOperator { operation, amount, resolution, reason, operator });
        if let Some(done) = done {
            self.add(done);
        }
        if let (Resolution::Retry, OperationKind::Void | OperationKind::Refund) =
            (resolution, operation.kind)
        {
            self.give_back_again(operation.kind, amount, refund);
        } else {
            self.proceed();
            self.let_rest_go();
        }
        SettleAnswer::Settled { payment_id: self.payment.id, operation }
    }

    /// Settles the first difference between the provider's list and our log.
    fn settle_difference(
        &mut self,
        resolution: Resolution,
        reason: &str,
        by: &str,
    ) -> SettleAnswer {
        let Some(difference) = self.payment.differences.first() else {
            return SettleAnswer::NotStuck;
        };
        if resolution != Resolution::DoneElsewhere {
            return SettleAnswer::NotApplicable;
        }
        let operation = difference.operation;
        let done = self.payment.done_after_all(difference);
        let amount = self.payment.transaction(operation).map_or(0, |known| known.amount);
        let (amount, reason) = (self.payment.money(amount), reason.to_owned());
        let operator = by.to_owned();
        self.add(Fact::SettledByOperator { operation, amount, resolution, reason, operator });
        if let Some(done) = done {
            self.add(done);
        }
        SettleAnswer::Settled { payment_id: self.payment.id, operation }
    }

    /// Begins an operation anew that the provider has refused, with a key of its own.
    fn give_back_again(&mut self, kind: OperationKind, amount: Money, refund: Refund) {
        if self.payment.pending.is_none() {
            let operation = self.payment.next_operation(kind);
            self.add(match kind {
                OperationKind::Refund => Fact::RefundPending { operation, amount, refund },
                _ => Fact::VoidPending { operation, amount },
            });
        }
    }
}
