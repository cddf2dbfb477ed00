//! How an order goes from one step to the next, until it is paid or cancelled.

use engine::Decision;
use events::{id::OrderId, money::Money, sealed::Sealed, shop::Capture};
use protocol::time::Timestamp;

use super::{
    Answer, Awaits, CancelAnswer, CancelReason, Event, Fact, Failure, FulfilmentStatus, Known,
    ListedLines, OrderStatus, Signal, Statuses, Terms,
    payment::{Due, pay, payment_due},
    rows::Shop,
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
        // What one takes that was abandoned is paid back.
        (Awaits::Capture, Signal::Captured { payment, amount })
            if *payment == order.last_payment() =>
        {
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
    shipment::due_for(known, &shipped.0, is_all_shipped, order.capture_requested)
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
