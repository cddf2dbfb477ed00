//! Which payment of an order begins, and when.

use engine::Decision;
use events::{id::OrderId, money::Money, shop::Capture};
use protocol::time::Timestamp;

use super::{
    Answer, Awaits, Event, Fact, FulfilmentStatus, Known, MAX_PAYMENTS, ON_ACCOUNT, OneStep,
    OrderStatus, PaymentStatus, StartPaymentAnswer, Statuses, Terms,
    rows::{Order, Shop},
    shipment,
};

/// Starts another payment of an order whose last one failed, or waits for a customer who may never come back: while
/// the stock is held or stays allocated, for the total; and when the order is confirmed, for what could not be
/// captured. None is started on account: of such an order nothing is taken here, and it would count as needing no
/// payment.
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
    let is_replaceable =
        matches!(payment_status, PaymentStatus::Failed | PaymentStatus::ActionRequired);
    let is_due =
        is_replaceable && payment_method != ON_ACCOUNT && order.last_payment() < MAX_PAYMENTS;
    let held_until = order.held_until.filter(|until| *until > now);
    let due = match (status, order.awaits, held_until) {
        (OrderStatus::Placed, Awaits::Payment, Some(held_until)) if is_due => {
            Some(Due::total(order, payment_method, held_until))
        }
        (OrderStatus::Confirmed, ..) if is_due => Due::rest(terms, state, &known, payment_method),
        _ => None,
    };
    let Some(due) = due else {
        let answer = StartPaymentAnswer::NotDue { statuses: order.statuses };
        return Decision::answered(vec![], answer.into());
    };
    let payment_id = known.payment_id(order.last_payment() + 1);
    let due_by = due_by(terms, order.last_payment() + 1, due.held_until, now);
    let answer = StartPaymentAnswer::Started { payment_id, amount: due.amount, due_by };
    let fact = pay(terms, &known, due, now);
    Decision::answered(known.events(vec![fact]), answer.into())
}

/// A payment that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due<'a> {
    payment_method: &'a str,
    amount: Money,
    /// Until when the stock is held, or stays allocated without being paid; none when the order is confirmed.
    held_until: Option<Timestamp>,
    /// What is captured as soon as it is authorised, if anything is.
    capture_at_once: Option<Money>,
}

impl<'a> Due<'a> {
    pub(super) fn total(order: &Order, payment_method: &'a str, held_until: Timestamp) -> Self {
        let held_until = Some(held_until);
        Self { payment_method, amount: order.total, held_until, capture_at_once: None }
    }

    /// What is not captured yet of a confirmed order. In one step all of it is taken.
    fn rest(
        terms: Terms<'_>,
        state: &Shop,
        known: &Known<'_>,
        payment_method: &'a str,
    ) -> Option<Self> {
        let order = known.order;
        let amount = Money { minor: order.total.minor - order.captured(), ..order.total };
        let capture_at_once = if terms.settings.is_one_step(payment_method) {
            None
        } else {
            Some(due_at_once(state, known, amount)?)
        };
        Some(Self { payment_method, amount, held_until: None, capture_at_once })
    }
}

/// What of the rest is captured as soon as another payment of a confirmed order is authorised: where money is
/// captured by shipment, that of what has shipped. What ships later is captured then.
fn due_at_once(state: &Shop, known: &Known<'_>, rest: Money) -> Option<Money> {
    let order = known.order;
    let is_all_shipped = order.statuses.2 == FulfilmentStatus::Fulfilled;
    if order.capture == Capture::OnConfirmation || is_all_shipped {
        return Some(rest);
    }
    let shipped = state.shipped(&known.id)?;
    shipment::due_for(known, &shipped.0, is_all_shipped, order.captured())
}

/// Begins the next payment of an order. One in one step is due once the stock is allocated: no money is taken
/// without an allocation.
pub(super) fn pay(terms: Terms<'_>, known: &Known<'_>, due: Due<'_>, now: Timestamp) -> Fact {
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
pub(super) fn payment_due(
    terms: Terms<'_>,
    known: &Known<'_>,
    due: Due<'_>,
    one_step: bool,
    now: Timestamp,
) -> Fact {
    let Due { payment_method, amount, held_until, capture_at_once } = due;
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
        capture_at_once,
        one_step,
        // Nobody knows what becomes of it: its customer may still confirm it.
        abandons: known.order.is_payment_open().then(|| known.order.last_payment()),
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
