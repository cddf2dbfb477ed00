//! How an order goes from one step to the next, until it is paid or cancelled.

use engine::Decision;
use events::{id::OrderId, money::Money, sealed::Sealed, shop::Capture};
use protocol::time::Timestamp;

use super::{
    Answer, Awaits, CancelAnswer, CancelReason, Event, Fact, Failure, FulfilmentStatus, Known,
    ListedLines, MAX_PAYMENTS, ON_ACCOUNT, OneStep, OrderStatus, PaymentStatus, Signal,
    StartPaymentAnswer, Statuses, Terms,
    rows::{Order, Shop},
    shipment,
};

/// The next facts of an order, when it waits for this signal.
///
/// One that is not confirmed is cancelled when its payment or its stock does not come about, though a part of it
/// may have left by then: nobody could bring it to an end otherwise. Its fulfilment status says so.
pub(super) fn proceed(
    terms: Terms<'_>,
    state: &Shop,
    known: &Known<'_>,
    signal: &Signal,
    now: Timestamp,
) -> Vec<Fact> {
    let order = known.order;
    let is_current = |payment: &u32| *payment == order.last_payment() && order.is_payment_open();
    match (order.awaits, signal) {
        (Awaits::Hold, Signal::Reserved { held_until }) => {
            if order.needs_payment() {
                let due = Due::total(order, &order.payment_method, *held_until);
                vec![pay(terms, known, due, now)]
            } else {
                vec![authorized(terms, None, now)]
            }
        }
        (Awaits::Hold, Signal::Refused { shortages }) => {
            vec![known.cancelled(CancelReason::OutOfStock, "", shortages)]
        }
        (Awaits::Payment, Signal::Authorized { payment }) if is_current(payment) => {
            let mut facts = vec![authorized(terms, Some(*payment), now)];
            // Inventory does not allocate what it has allocated for a payment in one step before.
            if order.is_allocated {
                facts.extend(confirmed(state, known));
            }
            facts
        }
        (Awaits::Payment, Signal::Captured { payment, amount })
            if is_current(payment) && order.is_allocated =>
        {
            taken_in_one_step(known, *payment, *amount)
        }
        (Awaits::Payment, Signal::Declined { payment, code }) if is_current(payment) => {
            let failure = Failure { code: code.clone(), detail: String::new() };
            vec![payment_failed(known, failure, now)]
        }
        (Awaits::Payment, Signal::Failed { payment, detail }) if is_current(payment) => {
            let failure = Failure { code: String::new(), detail: detail.clone() };
            vec![payment_failed(known, failure, now)]
        }
        // Of a payment that takes the place of one that could not be captured.
        (Awaits::Capture, Signal::Declined { payment, code }) if is_current(payment) => {
            vec![replacement_failed(*payment, code, "")]
        }
        (Awaits::Capture, Signal::Failed { payment, detail }) if is_current(payment) => {
            vec![replacement_failed(*payment, "", detail)]
        }
        (Awaits::Payment | Awaits::Capture, Signal::ActionRequired { payment, action })
            if is_current(payment) && !order.is_asking_for(action) =>
        {
            vec![Fact::ActionRequired { payment: *payment, action: action.clone() }]
        }
        (Awaits::Allocation, Signal::Allocated) => match order.held_until {
            // The payment in one step that waits for it.
            Some(held_until) if order.needs_payment() && !order.is_payment_authorized() => {
                let due = Due::total(order, &order.payment_method, held_until);
                vec![payment_due(terms, known, due, true, now)]
            }
            _ => confirmed(state, known),
        },
        (Awaits::Allocation, Signal::Lost { shortages }) => {
            vec![known.cancelled(CancelReason::StockLost, "", shortages)]
        }
        (Awaits::Capture, Signal::Captured { payment, amount }) => {
            captured(known, *payment, *amount)
        }
        (Awaits::Capture, Signal::CaptureFailed { payment, code })
            if *payment == order.last_payment() =>
        {
            vec![capture_failed(known, *payment, code)]
        }
        (_, Signal::Refunded { payment, refund_id, amount }) => {
            refunded(known, *payment, refund_id, *amount).into_iter().collect()
        }
        (awaits, Signal::DeadlinePassed { deadline }) if order.deadline == Some(*deadline) => {
            timed_out(known, awaits).into_iter().collect()
        }
        // The order has moved on. Inventory and payment give back what they hold when they read
        // that it is cancelled.
        (
            _,
            Signal::Reserved { .. }
            | Signal::Refused { .. }
            | Signal::Authorized { .. }
            | Signal::Declined { .. }
            | Signal::Failed { .. }
            | Signal::ActionRequired { .. }
            | Signal::Allocated
            | Signal::Lost { .. }
            | Signal::Captured { .. }
            | Signal::CaptureFailed { .. }
            | Signal::DeadlinePassed { .. },
        ) => vec![],
    }
}

/// Cancels an order of which nothing has shipped.
pub(super) fn cancel(
    state: &Shop,
    order_id: OrderId,
    note: Option<&Sealed>,
) -> Decision<Event, Answer> {
    let Some(known) = state.order(&order_id) else {
        return Decision::answered(vec![], CancelAnswer::NotFound.into());
    };
    let statuses = known.order.statuses;
    let (facts, answer) = match statuses.0 {
        OrderStatus::Cancelled => (vec![], CancelAnswer::Cancelled),
        OrderStatus::Placed | OrderStatus::Confirmed if known.is_unshipped() => {
            (vec![known.cancelled_on_request(note)], CancelAnswer::Cancelled)
        }
        OrderStatus::Placed | OrderStatus::Confirmed | OrderStatus::Completed => {
            (vec![], CancelAnswer::TooLate { statuses })
        }
    };
    Decision::answered(known.events(facts), answer.into())
}

/// Starts another payment of an order whose last one failed: while the stock is held or stays allocated, for the
/// total; and when the order is confirmed, for what could not be captured. None is started on account: of such an order nothing is
/// taken here, and it would count as needing no payment.
pub(super) fn start_payment(
    terms: Terms<'_>,
    state: &Shop,
    order_id: OrderId,
    payment_method: &str,
    now: Timestamp,
) -> Decision<Event, Answer> {
    let Some(known) = state.order(&order_id) else {
        return Decision::answered(vec![], StartPaymentAnswer::NotFound.into());
    };
    let order = known.order;
    let Statuses(status, payment_status, _) = order.statuses;
    let is_due = payment_status == PaymentStatus::Failed
        && payment_method != ON_ACCOUNT
        && order.last_payment() < MAX_PAYMENTS;
    let held_until = order.held_until.filter(|until| *until > now);
    let due = match (status, order.awaits, held_until) {
        (OrderStatus::Placed, Awaits::Payment, Some(held_until)) if is_due => {
            Due::total(order, payment_method, held_until)
        }
        (OrderStatus::Confirmed, ..) if is_due => {
            let rest = order.total.minor - order.captured();
            let amount = Money { minor: rest, ..order.total };
            Due { payment_method, amount, held_until: None }
        }
        _ => {
            let answer = StartPaymentAnswer::NotDue { statuses: order.statuses };
            return Decision::answered(vec![], answer.into());
        }
    };
    let payment_id = known.payment_id(order.last_payment() + 1);
    let due_by = due_by(terms, order.last_payment() + 1, due.held_until, now);
    let answer = StartPaymentAnswer::Started { payment_id, amount: due.amount, due_by };
    let fact = pay(terms, &known, due, now);
    Decision::answered(known.events(vec![fact]), answer.into())
}

/// A payment that is due.
#[derive(Debug, Clone, Copy)]
struct Due<'a> {
    payment_method: &'a str,
    amount: Money,
    /// Until when the stock is held, or stays allocated without being paid; none when the order is confirmed.
    held_until: Option<Timestamp>,
}

impl<'a> Due<'a> {
    fn total(order: &Order, payment_method: &'a str, held_until: Timestamp) -> Self {
        Self { payment_method, amount: order.total, held_until: Some(held_until) }
    }
}

/// Begins the next payment of an order. One in one step is due once the stock is allocated: no money is taken
/// without an allocation.
fn pay(terms: Terms<'_>, known: &Known<'_>, due: Due<'_>, now: Timestamp) -> Fact {
    let is_one_step = terms.settings.is_one_step(due.payment_method);
    match due.held_until {
        Some(held_until) if is_one_step && !known.order.is_allocated => {
            let payment_method = due.payment_method.to_owned();
            Fact::Authorized {
                payment: None,
                allocate_by: now + terms.policy.allocation_timeout,
                one_step: Some(OneStep { payment_method, held_until }),
            }
        }
        _ => payment_due(terms, known, due, is_one_step, now),
    }
}

/// The next payment of an order.
fn payment_due(
    terms: Terms<'_>,
    known: &Known<'_>,
    due: Due<'_>,
    one_step: bool,
    now: Timestamp,
) -> Fact {
    let Due { payment_method, amount, held_until } = due;
    let payment = known.order.last_payment() + 1;
    // A further payment is captured as the first one would have been.
    let capture = if payment == 1 { terms.settings.capture } else { known.order.capture };
    Fact::PaymentDue {
        payment,
        amount,
        payment_method: payment_method.to_owned(),
        due_by: due_by(terms, payment, held_until, now),
        held_until,
        capture,
        one_step,
    }
}

/// Until when a payment must be authorised, or taken in one step. After the first, that is while the stock is held, or
/// stays allocated without being paid.
fn due_by(
    terms: Terms<'_>,
    payment: u32,
    held_until: Option<Timestamp>,
    now: Timestamp,
) -> Timestamp {
    let due_by = now + terms.payment_timeout();
    match held_until {
        Some(held_until) if payment > 1 => due_by.min(held_until),
        _ => due_by,
    }
}

fn authorized(terms: Terms<'_>, payment: Option<u32>, now: Timestamp) -> Fact {
    let allocate_by = now + terms.policy.allocation_timeout;
    Fact::Authorized { payment, allocate_by, one_step: None }
}

/// A payment failed: another one may be made while the stock is held, or stays allocated.
fn payment_failed(known: &Known<'_>, failure: Failure, now: Timestamp) -> Fact {
    match known.order.held_until.filter(|until| *until > now) {
        Some(until) => {
            let payment = known.order.last_payment();
            Fact::PaymentFailed { payment, failure, retry_until: Some(until) }
        }
        None => given_up(known, &failure),
    }
}

/// No payment was made in time after this one failed.
fn given_up(known: &Known<'_>, failure: &Failure) -> Fact {
    if failure.code.is_empty() {
        known.cancelled(CancelReason::PaymentFailed, &failure.detail, &[])
    } else {
        known.cancelled(CancelReason::PaymentDeclined, &failure.code, &[])
    }
}

fn confirmed(state: &Shop, known: &Known<'_>) -> Vec<Fact> {
    let order = known.order;
    let payment = Some(order.last_payment()).filter(|number| *number > 0);
    let capture = payment.and_then(|_| captured_at_once(state, known));
    let mut facts = vec![Fact::Confirmed { payment, capture }];
    if order.total.minor == 0 {
        facts.push(paid(known, None, order.total));
    }
    if capture.is_none() && !order.needs_payment() {
        facts.extend(completed(known));
    }
    facts
}

/// What is captured with the confirmation: where money is captured by shipment, that of what has left before,
/// which is not shipped again.
fn captured_at_once(state: &Shop, known: &Known<'_>) -> Option<Money> {
    let order = known.order;
    let is_all_shipped = order.statuses.2 == FulfilmentStatus::Fulfilled;
    if order.capture == Capture::OnConfirmation || is_all_shipped {
        return Some(order.total);
    }
    if known.is_unshipped() {
        return None;
    }
    let shipped = state.shipped(&known.id)?;
    shipment::due_for(known, &shipped.0, is_all_shipped)
}

/// The total is taken in one step, with the stock allocated: nothing is left to be captured.
fn taken_in_one_step(known: &Known<'_>, payment: u32, amount: Money) -> Vec<Fact> {
    let mut facts = vec![Fact::Confirmed { payment: Some(payment), capture: None }];
    facts.extend(captured(known, payment, amount));
    facts
}

fn captured(known: &Known<'_>, payment: u32, amount: Money) -> Vec<Fact> {
    let total = known.order.total;
    let captured = Money { minor: known.order.captured() + amount.minor, ..total };
    if captured.minor < total.minor {
        return vec![Fact::PartCaptured { payment, amount, captured }];
    }
    let mut facts = vec![paid(known, Some(payment), captured)];
    facts.extend(completed(known));
    facts
}

fn paid(known: &Known<'_>, payment: Option<u32>, amount: Money) -> Fact {
    Fact::Paid { payment, amount, listed: ListedLines::of(known.content) }
}

/// That an order which is paid now is completed, when nothing is left to be shipped and it is not yet.
fn completed(known: &Known<'_>) -> Option<Fact> {
    let Statuses(status, _, fulfilment) = known.order.statuses;
    let is_due = fulfilment == FulfilmentStatus::Fulfilled && status != OrderStatus::Completed;
    is_due.then_some(Fact::Completed)
}

/// The money could not be taken. What has shipped is not cancelled any more.
fn capture_failed(known: &Known<'_>, payment: u32, code: &str) -> Fact {
    if known.is_unshipped() {
        return known.cancelled(CancelReason::CaptureFailed, code, &[]);
    }
    let failure = Failure { code: code.to_owned(), detail: String::new() };
    Fact::PaymentFailed { payment, failure, retry_until: None }
}

/// A payment that was to take the place of one that could not be captured failed as well. Yet another may be
/// started.
fn replacement_failed(payment: u32, code: &str, detail: &str) -> Fact {
    let failure = Failure { code: code.to_owned(), detail: detail.to_owned() };
    Fact::PaymentFailed { payment, failure, retry_until: None }
}

/// Money is paid back. What payment pays back unasked, while the order stands, the order has never paid: it
/// turned up at the provider after its capture had failed.
fn refunded(known: &Known<'_>, payment: u32, refund_id: &str, amount: Money) -> Option<Fact> {
    let order = known.order;
    if refund_id.is_empty() && order.statuses.0 != OrderStatus::Cancelled {
        return None;
    }
    let refunded = order.refunded() + amount.minor;
    (1..=order.last_payment()).contains(&payment).then(|| Fact::Refunded {
        payment,
        refund_id: refund_id.to_owned(),
        amount,
        // What was captured when the order was already cancelled was not noted here.
        captured: Money { minor: order.captured().max(refunded), ..amount },
        refunded: Money { minor: refunded, ..amount },
    })
}

/// What follows when nobody has answered in time.
fn timed_out(known: &Known<'_>, awaits: Awaits) -> Option<Fact> {
    match awaits {
        Awaits::Hold | Awaits::Allocation => {
            Some(known.cancelled(CancelReason::StockTimeout, "", &[]))
        }
        Awaits::Payment => Some(match known.order.last_failure() {
            Some(failure) => given_up(known, failure),
            None => known.cancelled(CancelReason::PaymentTimeout, "", &[]),
        }),
        Awaits::Capture | Awaits::Nothing => None,
    }
}
