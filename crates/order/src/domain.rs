//! What the order service decides. No I/O, no clock, no async.

mod price;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeSet, HashMap};

use engine::{Cause, Context, Decision, Recorded, Rows};
use events::{
    answer::{CancelOrderAnswer, PlaceOrderAnswer},
    id::{CustomerId, OrderId, Quantity, Reference, Sku},
    money::{Currency, Money},
    time::Timestamp,
    view::{CancelReason, Cancellation, Charge, OrderLine, OrderStatus, Shortage},
};

pub(crate) use self::price::Price;
use crate::Policy;

/// The rows of one shop that a batch touches.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) orders: Rows<OrderId, Order>,
    /// Whose the references are; they are stored with the contents.
    pub(crate) references: HashMap<Reference, OrderId>,
    /// Written once and never looked at by a decision, as the next two.
    pub(crate) contents: Rows<OrderId, Content>,
    pub(crate) cancellations: Rows<OrderId, Cancellation>,
    /// What is new in the history of each order.
    pub(crate) steps: HashMap<OrderId, Vec<Step>>,
    /// The copy of the catalogue.
    pub(crate) prices: Rows<Sku, Price>,
}

/// An order as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) status: OrderStatus,
    pub(crate) version: u64,
    pub(crate) total: Money,
    pub(crate) payment_method: String,
    pub(crate) reason: Option<CancelReason>,
    /// When it is cancelled if the awaited answer has not come.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) context: Context,
    pub(crate) placed_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// What was ordered, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) reference: Option<Reference>,
    pub(crate) customer_id: Option<CustomerId>,
    pub(crate) country: String,
    pub(crate) lines: Vec<OrderLine>,
    pub(crate) charges: Vec<Charge>,
}

/// One event in the history of an order. Each event is named as the status that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) event: OrderStatus,
    pub(crate) time: Timestamp,
    pub(crate) cause: Cause,
}

/// What the order service decides on.
#[derive(Debug, Clone)]
pub enum Input {
    /// A customer wants to order.
    Place(Request),
    /// Somebody wants an order off.
    Cancel { order_id: OrderId, note: String },
    /// Something that an order waits for has come.
    Signal { order_id: OrderId, signal: Signal },
    /// The catalogue changed: for the copy.
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
    Placed { content: Content, total: Money, payment_method: String, reserve_by: Timestamp },
    /// Its stock is held.
    PaymentDue { amount: Money, payment_method: String, due_by: Timestamp },
    /// Its payment is authorised.
    Authorized { allocate_by: Timestamp },
    /// Its stock is allocated: it stands.
    Confirmed { amount: Money },
    /// Its money is captured.
    Paid { amount: Money },
    /// It is off.
    Cancelled(Cancellation),
}

/// Decides which facts follow from `input`, and what its sender is told.
pub(crate) fn decide(
    policy: &Policy,
    state: &State,
    input: &Input,
    now: Timestamp,
) -> Decision<Event> {
    match input {
        Input::Place(request) => place(policy, state, request, now),
        Input::Cancel { order_id, note } => cancel(state, *order_id, note),
        Input::Signal { order_id, signal } => {
            let order = state.orders.get(order_id);
            let fact = order.and_then(|order| proceed(policy, order, signal, now));
            Decision::events(
                fact.map(|fact| Event { order_id: *order_id, fact }).into_iter().collect(),
            )
        }
        Input::Priced { .. } => Decision::nothing(),
    }
}

/// Folds a fact into the state.
pub(crate) fn apply(state: &mut State, recorded: &Recorded<Event>) {
    let Event { order_id, fact } = &recorded.event;
    let step = Step { event: fact.status(), time: recorded.time, cause: recorded.cause.clone() };
    state.steps.entry(*order_id).or_default().push(step);
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
            if let Some(reference) = &content.reference {
                state.references.insert(reference.clone(), *order_id);
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
            state.cancellations.put(*order_id, cancellation.clone());
        }
    }
}

/// Folds a fact of the catalogue into the copy.
pub(crate) fn copy(state: &mut State, input: &Input) {
    match input {
        Input::Priced { sku, price } => state.prices.put(sku.clone(), price.clone()),
        Input::Place(_) | Input::Cancel { .. } | Input::Signal { .. } => {}
    }
}

/// Brings an order to the status that a fact leads to. A log begins each order with `placed`, so
/// there is one.
fn advance(state: &mut State, recorded: &Recorded<Event>, deadline: Option<Timestamp>) {
    if let Some(order) = state.orders.change(&recorded.event.order_id) {
        order.status = recorded.event.fact.status();
        order.version = recorded.version;
        order.deadline = deadline;
        order.updated_at = recorded.time;
    }
}

/// Places an order whose lines can all be sold; what was placed before stays as it is.
fn place(policy: &Policy, state: &State, request: &Request, now: Timestamp) -> Decision<Event> {
    let order_id = request.order_id;
    if state.orders.get(&order_id).is_some() {
        return Decision::answered(vec![], &PlaceOrderAnswer::PlacedBefore { order_id });
    }
    if let Some(first) = request.reference.as_ref().and_then(|it| state.references.get(it)) {
        return Decision::answered(vec![], &PlaceOrderAnswer::ReferenceTaken { order_id: *first });
    }
    let lines = match price::lines(&state.prices, request) {
        Ok(lines) => lines,
        Err(problems) => {
            return Decision::answered(vec![], &PlaceOrderAnswer::Refused { problems });
        }
    };
    let Some(total) = price::total(&lines, &request.charges) else {
        return Decision::answered(vec![], &PlaceOrderAnswer::TotalOutOfRange);
    };

    let total = Money { minor: total, currency: request.currency };
    let unit_prices = lines.iter().map(|line| line.unit_price).collect();
    let content = Content {
        reference: request.reference.clone(),
        customer_id: request.customer_id.clone(),
        country: request.country.clone(),
        lines,
        charges: request.charges.clone(),
    };
    let payment_method = request.payment_method.clone();
    let reserve_by = now + policy.reserve_within;
    let fact = Fact::Placed { content, total, payment_method, reserve_by };
    let placed = PlaceOrderAnswer::Placed { order_id, total, unit_prices, placed_at: now };
    Decision::answered(vec![Event { order_id, fact }], &placed)
}

/// Cancels an order that is not yet confirmed.
fn cancel(state: &State, order_id: OrderId, note: &str) -> Decision<Event> {
    let Some(order) = state.orders.get(&order_id) else {
        return Decision::answered(vec![], &CancelOrderAnswer::NotFound);
    };
    match order.status {
        OrderStatus::Placed | OrderStatus::PaymentDue | OrderStatus::Authorized => {
            let fact = cancelled(CancelReason::Requested, note, &[]);
            Decision::answered(vec![Event { order_id, fact }], &CancelOrderAnswer::Cancelled)
        }
        OrderStatus::Cancelled => Decision::answered(vec![], &CancelOrderAnswer::Cancelled),
        status @ (OrderStatus::Confirmed | OrderStatus::Paid) => {
            Decision::answered(vec![], &CancelOrderAnswer::TooLate { status })
        }
    }
}

/// The next fact of an order, when it waits for this signal.
fn proceed(policy: &Policy, order: &Order, signal: &Signal, now: Timestamp) -> Option<Fact> {
    let fact = match (order.status, signal) {
        (OrderStatus::Placed, Signal::Reserved) => Fact::PaymentDue {
            amount: order.total,
            payment_method: order.payment_method.clone(),
            due_by: now + policy.pay_within,
        },
        (OrderStatus::Placed, Signal::Refused { shortages }) => {
            cancelled(CancelReason::OutOfStock, "", shortages)
        }
        (OrderStatus::PaymentDue, Signal::Authorized) => {
            Fact::Authorized { allocate_by: now + policy.allocate_within }
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
    /// The status that it leads to; its name as well.
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

/// The names of the rows of one shop that a batch touches.
#[derive(Debug, Default)]
pub struct Keys {
    pub(crate) orders: BTreeSet<OrderId>,
    pub(crate) references: BTreeSet<Reference>,
    pub(crate) prices: BTreeSet<Sku>,
}

impl Keys {
    /// Adds what deciding on `input` looks at or changes.
    pub(crate) fn add(&mut self, input: &Input) {
        match input {
            Input::Place(request) => {
                self.orders.insert(request.order_id);
                self.references.extend(request.reference.clone());
                self.prices.extend(request.lines.iter().map(|line| line.sku.clone()));
            }
            Input::Cancel { order_id, .. } | Input::Signal { order_id, .. } => {
                self.orders.insert(*order_id);
            }
            // The new price takes the place of the old one, whatever that was.
            Input::Priced { .. } => {}
        }
    }
}

impl Input {
    /// How many lines it carries.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Place(request) => request.lines.len().max(1),
            Self::Cancel { .. } | Self::Signal { .. } | Self::Priced { .. } => 1,
        }
    }
}
