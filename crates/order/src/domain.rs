//! What the order service decides. No I/O, no clock, no async.

mod answer;
mod order;
mod price;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use engine::{AfterAppend, Aggregate, Decision, Recorded, Rules};
use events::{
    id::{CustomerId, OrderId, Quantity, Reference, Sku},
    money::{Currency, Money},
};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    answer::{Answer, CancelAnswer, LineProblem, LineProblemCode, PlaceAnswer},
    order::{CancelReason, Cancellation, Charge, OrderLine, OrderStatus, Shortage},
};
use crate::{
    Orders, Policy,
    metrics::{self, Outcome},
    store::{
        Order, OrderCancellation, OrderContent, OrderHistory, Price, ReferencedOrder, Shop, Step,
    },
};

/// What the order service decides on.
#[derive(Debug, Clone)]
pub enum Input {
    /// A customer wants to order.
    Place(Request),
    /// Somebody wants an order to be cancelled.
    Cancel { order_id: OrderId, note: String },
    /// Something that an order waits for has come.
    Signal { order_id: OrderId, signal: Signal },
    /// The catalogue changed: for the replica.
    Priced { sku: Sku, price: Price },
}

/// An order as a customer wants it.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) order_id: OrderId,
    pub(crate) reference: Option<Reference>,
    pub(crate) customer_id: Option<CustomerId>,
    pub(crate) country: String,
    pub(crate) currency: Currency,
    pub(crate) lines: Vec<RequestedLine>,
    pub(crate) charges: Vec<Charge>,
    pub(crate) payment_method: String,
}

/// One SKU that a customer wants.
#[derive(Debug, Clone)]
pub(crate) struct RequestedLine {
    pub(crate) sku: Sku,
    pub(crate) quantity: Quantity,
    /// The price as sold; the catalogue's where there is none.
    pub(crate) unit_price: Option<i64>,
}

/// What moves an order on: what inventory or payment say, or a deadline.
#[derive(Debug, Clone)]
pub enum Signal {
    /// Inventory holds all lines.
    Reserved,
    /// Inventory holds nothing, since there is too little.
    Refused { shortages: Vec<Shortage> },
    /// Payment authorised the total.
    Authorized,
    /// The payment was declined.
    Declined { code: String },
    /// The payment could not be carried out.
    Failed { detail: String },
    /// What inventory held now belongs to the order.
    Allocated,
    /// The hold had run out, and the units are gone.
    Lost { shortages: Vec<Shortage> },
    /// The money is taken.
    Captured { amount: Money },
    /// The money could not be taken.
    CaptureFailed { code: String },
    /// This deadline has passed.
    DeadlinePassed { deadline: Timestamp },
}

/// A fact about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub(crate) order_id: OrderId,
    pub(crate) fact: Fact,
}

/// What can happen to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A customer placed it.
    Placed { content: OrderContent, total: Money, payment_method: String, reserve_by: Timestamp },
    /// Its stock is held.
    PaymentDue { amount: Money, payment_method: String, due_by: Timestamp },
    /// Its payment is authorised.
    Authorized { allocate_by: Timestamp },
    /// Its stock is allocated; its payment is captured next.
    Confirmed { amount: Money },
    /// Its money is captured.
    Paid { amount: Money },
    /// It is cancelled.
    Cancelled(Cancellation),
}

/// The name of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventName {
    Placed,
    PaymentDue,
    Authorized,
    Confirmed,
    Paid,
    Cancelled,
}

impl Rules for Orders {
    type State = Shop;

    fn aggregate(event: &Event) -> Aggregate {
        Aggregate::new("order", event.order_id)
    }

    fn version(state: &Shop, event: &Event) -> u64 {
        state.orders.get(&event.order_id).map_or(0, |order| order.version)
    }

    fn weight(input: &Input) -> usize {
        match input {
            Input::Place(request) => request.lines.len().max(1),
            Input::Cancel { .. } | Input::Signal { .. } | Input::Priced { .. } => 1,
        }
    }

    fn decide(&self, state: &Shop, input: &Input, now: Timestamp) -> Decision<Event, Answer> {
        match input {
            Input::Place(request) => place(&self.policy, state, request, now),
            Input::Cancel { order_id, note } => cancel(state, *order_id, note),
            Input::Signal { order_id, signal } => {
                let order = state.order(order_id);
                let fact = order.and_then(|order| proceed(&self.policy, order, signal, now));
                let event = fact.map(|fact| Event { order_id: *order_id, fact });
                Decision::events(event.into_iter().collect())
            }
            Input::Priced { .. } => Decision::nothing(),
        }
    }

    fn implied_answer(recorded: &Recorded<Event>) -> Option<Answer> {
        answer::implied(recorded)
    }

    fn after_append(state: &Shop, event: &Event, now: Timestamp) -> Option<AfterAppend> {
        let outcome = match event.fact {
            Fact::Paid { .. } => Outcome::Paid,
            Fact::Cancelled(_) => Outcome::Cancelled,
            Fact::Placed { .. }
            | Fact::PaymentDue { .. }
            | Fact::Authorized { .. }
            | Fact::Confirmed { .. } => return None,
        };
        let placed_at = state.orders.get(&event.order_id)?.placed_at;
        let took = (now.millis() - placed_at.millis()).max(0) as u64;
        Some(Box::new(move || metrics::ended(outcome, Duration::from_millis(took))))
    }

    fn apply(state: &mut Shop, recorded: &Recorded<Event>) {
        let Event { order_id, fact } = &recorded.event;
        match fact {
            Fact::Placed { content, total, payment_method, reserve_by } => {
                let order = Order {
                    status: fact.status(),
                    version: recorded.version,
                    total: *total,
                    payment_method: payment_method.clone(),
                    reason: None,
                    deadline: Some(*reserve_by),
                    context: recorded.context.clone(),
                    placed_at: recorded.time,
                    updated_at: recorded.time,
                };
                state.orders.put(*order_id, order);
                state.histories.put(*order_id, OrderHistory(vec![step(recorded)]));
                if let Some(reference) = &content.reference {
                    state.references.put(reference.clone(), ReferencedOrder(*order_id));
                }
                state.contents.put(*order_id, content.clone());
            }
            Fact::PaymentDue { due_by, .. } => advance(state, recorded, Some(*due_by)),
            Fact::Authorized { allocate_by } => advance(state, recorded, Some(*allocate_by)),
            // From here on nothing is awaited in time: money may have moved, or it is over.
            Fact::Confirmed { .. } | Fact::Paid { .. } => advance(state, recorded, None),
            Fact::Cancelled(cancellation) => {
                advance(state, recorded, None);
                if let Some(order) = state.orders.change(order_id) {
                    order.reason = Some(cancellation.reason);
                }
                state.cancellations.put(*order_id, OrderCancellation(cancellation.clone()));
            }
        }
    }

    fn replicate(state: &mut Shop, input: &Input) {
        match input {
            Input::Priced { sku, price } => state.prices.put(sku.clone(), price.clone()),
            Input::Place(_) | Input::Cancel { .. } | Input::Signal { .. } => {}
        }
    }
}

/// Brings an order to the status that a fact leads to. A log begins each order with `placed`, so
/// there is one.
fn advance(state: &mut Shop, recorded: &Recorded<Event>, deadline: Option<Timestamp>) {
    let order_id = &recorded.event.order_id;
    if let Some(order) = state.orders.change(order_id) {
        order.status = recorded.event.fact.status();
        order.version = recorded.version;
        order.deadline = deadline;
        order.updated_at = recorded.time;
    }
    if let Some(OrderHistory(steps)) = state.histories.change(order_id) {
        steps.push(step(recorded));
    }
}

fn step(recorded: &Recorded<Event>) -> Step {
    let (event, cause) = (recorded.event.fact.name(), &recorded.cause);
    Step(event, recorded.time.millis(), cause.kind.clone(), cause.id.clone())
}

/// Places an order whose lines can all be sold; what was placed before stays as it is.
fn place(
    policy: &Policy,
    state: &Shop,
    request: &Request,
    now: Timestamp,
) -> Decision<Event, Answer> {
    let refused = |answer: PlaceAnswer| Decision::answered(vec![], answer.into());
    let order_id = request.order_id;
    if state.orders.get(&order_id).is_some() {
        return refused(PlaceAnswer::PlacedBefore { order_id });
    }
    if let Some(first) = request.reference.as_ref().and_then(|it| state.references.get(it)) {
        return refused(PlaceAnswer::ReferenceTaken { order_id: first.0 });
    }
    let lines = match price::lines(&state.prices, request) {
        Ok(lines) => lines,
        Err(problems) => return refused(PlaceAnswer::Refused { problems }),
    };
    let Some(total) = price::total(&lines, &request.charges) else {
        return refused(PlaceAnswer::TotalOutOfRange);
    };

    let total = Money { minor: total, currency: request.currency };
    let unit_prices = lines.iter().map(|line| line.unit_price).collect();
    let content = OrderContent {
        reference: request.reference.clone(),
        customer_id: request.customer_id.clone(),
        country: request.country.clone(),
        lines,
        charges: request.charges.clone(),
    };
    let payment_method = request.payment_method.clone();
    let reserve_by = now + policy.reservation_timeout;
    let fact = Fact::Placed { content, total, payment_method, reserve_by };
    let placed = PlaceAnswer::Placed { order_id, total, unit_prices, placed_at: now };
    Decision::answered(vec![Event { order_id, fact }], placed.into())
}

/// Cancels an order that is not yet confirmed.
fn cancel(state: &Shop, order_id: OrderId, note: &str) -> Decision<Event, Answer> {
    let (fact, answer) = match state.order(&order_id).map(|order| order.status) {
        None => (None, CancelAnswer::NotFound),
        Some(OrderStatus::Placed | OrderStatus::PaymentDue | OrderStatus::Authorized) => {
            (Some(cancelled(CancelReason::Requested, note, &[])), CancelAnswer::Cancelled)
        }
        Some(OrderStatus::Cancelled) => (None, CancelAnswer::Cancelled),
        Some(status @ (OrderStatus::Confirmed | OrderStatus::Paid)) => {
            (None, CancelAnswer::TooLate { status })
        }
    };
    let event = fact.map(|fact| Event { order_id, fact });
    Decision::answered(event.into_iter().collect(), answer.into())
}

/// The next fact of an order, when it waits for this signal.
fn proceed(policy: &Policy, order: &Order, signal: &Signal, now: Timestamp) -> Option<Fact> {
    let fact = match (order.status, signal) {
        (OrderStatus::Placed, Signal::Reserved) => Fact::PaymentDue {
            amount: order.total,
            payment_method: order.payment_method.clone(),
            due_by: now + policy.payment_timeout,
        },
        (OrderStatus::Placed, Signal::Refused { shortages }) => {
            cancelled(CancelReason::OutOfStock, "", shortages)
        }
        (OrderStatus::PaymentDue, Signal::Authorized) => {
            Fact::Authorized { allocate_by: now + policy.allocation_timeout }
        }
        (OrderStatus::PaymentDue, Signal::Declined { code }) => {
            cancelled(CancelReason::PaymentDeclined, code, &[])
        }
        (OrderStatus::PaymentDue, Signal::Failed { detail }) => {
            cancelled(CancelReason::PaymentFailed, detail, &[])
        }
        (OrderStatus::Authorized, Signal::Allocated) => Fact::Confirmed { amount: order.total },
        (OrderStatus::Authorized, Signal::Lost { shortages }) => {
            cancelled(CancelReason::StockLost, "", shortages)
        }
        (OrderStatus::Confirmed, Signal::Captured { amount }) => Fact::Paid { amount: *amount },
        (OrderStatus::Confirmed, Signal::CaptureFailed { code }) => {
            cancelled(CancelReason::CaptureFailed, code, &[])
        }
        (status, Signal::DeadlinePassed { deadline }) if order.deadline == Some(*deadline) => {
            cancelled(timeout(status)?, "", &[])
        }
        // The order has moved on. Inventory and payment give back what they hold when they read
        // that it is cancelled.
        (
            _,
            Signal::Reserved
            | Signal::Refused { .. }
            | Signal::Authorized
            | Signal::Declined { .. }
            | Signal::Failed { .. }
            | Signal::Allocated
            | Signal::Lost { .. }
            | Signal::Captured { .. }
            | Signal::CaptureFailed { .. }
            | Signal::DeadlinePassed { .. },
        ) => return None,
    };
    Some(fact)
}

/// Who let the deadline of an order pass.
fn timeout(status: OrderStatus) -> Option<CancelReason> {
    match status {
        OrderStatus::Placed | OrderStatus::Authorized => Some(CancelReason::StockTimeout),
        OrderStatus::PaymentDue => Some(CancelReason::PaymentTimeout),
        OrderStatus::Confirmed | OrderStatus::Paid | OrderStatus::Cancelled => None,
    }
}

fn cancelled(reason: CancelReason, detail: &str, shortages: &[Shortage]) -> Fact {
    Fact::Cancelled(Cancellation {
        reason,
        detail: detail.to_owned(),
        shortages: shortages.to_vec(),
    })
}

impl Fact {
    /// The name of the event.
    pub(crate) fn name(&self) -> EventName {
        match self {
            Self::Placed { .. } => EventName::Placed,
            Self::PaymentDue { .. } => EventName::PaymentDue,
            Self::Authorized { .. } => EventName::Authorized,
            Self::Confirmed { .. } => EventName::Confirmed,
            Self::Paid { .. } => EventName::Paid,
            Self::Cancelled(_) => EventName::Cancelled,
        }
    }

    /// The status that it leads to.
    pub(crate) fn status(&self) -> OrderStatus {
        match self {
            Self::Placed { .. } => OrderStatus::Placed,
            Self::PaymentDue { .. } => OrderStatus::PaymentDue,
            Self::Authorized { .. } => OrderStatus::Authorized,
            Self::Confirmed { .. } => OrderStatus::Confirmed,
            Self::Paid { .. } => OrderStatus::Paid,
            Self::Cancelled(_) => OrderStatus::Cancelled,
        }
    }
}

impl EventName {
    /// The name as it is in subjects and in the history.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::PaymentDue => "payment_due",
            Self::Authorized => "authorized",
            Self::Confirmed => "confirmed",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
        }
    }
}
