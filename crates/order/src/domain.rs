//! What the order service decides. No I/O, no clock, no async.

mod answer;
mod order;
mod place;
mod price;
mod saga;
mod shipment;
mod short;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use engine::{AfterAppend, Aggregate, Decision, Recorded, Revision, Rules};
use events::{
    id::{CustomerId, LineId, Location, OrderId, PaymentId, Quantity, Reference, Sku},
    money::{Currency, Money, Tax, TaxBasis},
};
use protocol::time::Timestamp;

pub(crate) use self::{
    answer::{
        Answer, CancelAnswer, LineProblem, LineProblemCode, PlaceAnswer, ReleaseAnswer,
        StartPaymentAnswer,
    },
    order::{
        Action, CancelReason, Cancellation, Charge, Discount, Failure, Hold, Lines, OrderLine,
        ShippedLine, Shortage,
    },
    status::{Awaits, FulfilmentStatus, OrderStatus, PaymentStatus, Statuses},
};
use crate::{
    CapturePolicy, Orders,
    metrics::{self, Outcome},
    store::{Order, OrderContent, Product, Shop},
};

/// The payment method of an order for which nothing is taken here: the shop sends an invoice.
pub(crate) const ON_ACCOUNT: &str = "on_account";
/// The most lines that an event repeats.
const MAX_REPEATED_LINES: usize = 500;

/// What the order service decides on.
#[derive(Debug, Clone)]
pub enum Input {
    /// A customer wants to order.
    Place(Request),
    /// Somebody wants an order to be cancelled.
    Cancel { order_id: OrderId, note: String },
    /// A customer wants to pay anew.
    StartPayment { order_id: OrderId, payment_method: String },
    /// Somebody wants an order to be taken off hold.
    Release { order_id: OrderId, note: String },
    /// Something that an order waits for has come.
    Signal { order_id: OrderId, signal: Signal },
    /// Units that belonged to an order have left a location.
    Shipped(Shipment),
    /// More is promised of a stock than there is.
    Short { sku: Sku, location: Location, missing: i64, order_ids: Vec<OrderId> },
    /// The catalogue changed: for the replica.
    ProductChanged { sku: Sku, product: Product },
}

/// An order as a customer wants it.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) order_id: OrderId,
    pub(crate) reference: Option<Reference>,
    pub(crate) customer_id: Option<CustomerId>,
    pub(crate) country: String,
    pub(crate) currency: Currency,
    pub(crate) tax_basis: TaxBasis,
    pub(crate) lines: Vec<RequestedLine>,
    pub(crate) charges: Vec<Charge>,
    pub(crate) payment_method: String,
    /// What the buyer was shown, in minor units.
    pub(crate) expected_total: Option<i64>,
}

/// One line that a customer wants.
#[derive(Debug, Clone)]
pub(crate) struct RequestedLine {
    pub(crate) line_id: LineId,
    pub(crate) sku: Sku,
    pub(crate) quantity: Quantity,
    /// The price as sold; the catalogue's where there is none.
    pub(crate) unit_price: Option<i64>,
    pub(crate) discounts: Vec<Discount>,
    pub(crate) tax: Option<Tax>,
}

/// Units of a SKU that belonged to an order and have left a location.
#[derive(Debug, Clone)]
pub struct Shipment {
    pub(crate) order_id: OrderId,
    /// The line that they were for, where it is known.
    pub(crate) line_id: Option<LineId>,
    pub(crate) sku: Sku,
    pub(crate) location: Location,
    pub(crate) quantity: i64,
}

/// What moves an order on: what inventory or payment say, or a deadline. Payments are numbered in
/// their order, from 1.
#[derive(Debug, Clone)]
pub enum Signal {
    /// Inventory holds all lines until then.
    Reserved { held_until: Timestamp },
    /// Inventory holds nothing, since there is too little.
    Refused { shortages: Vec<Shortage> },
    /// Payment authorised the total.
    Authorized { payment: u32 },
    /// The payment was declined.
    Declined { payment: u32, code: String },
    /// The payment could not be carried out.
    Failed { payment: u32, detail: String },
    /// The customer must do something before the payment goes on.
    ActionRequired { payment: u32, action: Action },
    /// What inventory held now belongs to the order.
    Allocated,
    /// The hold had run out, and the units are gone.
    Lost { shortages: Vec<Shortage> },
    /// Money is taken.
    Captured { payment: u32, amount: Money },
    /// The money could not be taken.
    CaptureFailed { payment: u32, code: String },
    /// Money is paid back.
    Refunded { payment: u32, refund_id: String, amount: Money },
    /// This deadline has passed.
    DeadlinePassed { deadline: Timestamp },
}

/// A fact about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub(crate) order_id: OrderId,
    pub(crate) summary: Summary,
    pub(crate) fact: Fact,
}

/// An order in short, as it is after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) number: u64,
    pub(crate) reference: Option<Reference>,
    pub(crate) customer_id: Option<CustomerId>,
    pub(crate) total: Money,
    pub(crate) statuses: Statuses,
}

/// What can happen to an order. A `payment` is the number of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A customer placed it.
    Placed {
        country: String,
        tax_basis: TaxBasis,
        lines: Lines,
        charges: Vec<Charge>,
        payment_method: String,
        reserve_by: Timestamp,
    },
    /// Its stock is held until then, and a payment is to be made.
    PaymentDue {
        payment: u32,
        amount: Money,
        payment_method: String,
        due_by: Timestamp,
        held_until: Timestamp,
        capture_policy: CapturePolicy,
    },
    /// The payment failed. Until then another one may be started; never when it failed to be captured.
    PaymentFailed { payment: u32, failure: Failure, retry_until: Option<Timestamp> },
    /// The customer must do something before the payment goes on.
    ActionRequired { payment: u32, action: Action },
    /// Its payment is authorised, or none is needed.
    Authorized { payment: Option<u32>, allocate_by: Timestamp },
    /// Its stock is allocated.
    Confirmed { payment: Option<u32>, capture: Option<Money> },
    /// A part of its money is captured.
    PartCaptured { payment: u32, amount: Money, captured: Money },
    /// It is paid.
    Paid { payment: Option<u32>, amount: Money, listed: ListedLines },
    /// Units have left a location.
    Shipped {
        lines: Vec<ShippedLine>,
        location: Location,
        capture: Option<(u32, Money)>,
        fulfilment: FulfilmentStatus,
    },
    /// All has shipped and is paid.
    Completed,
    /// Money is refunded; the sums are those of the order.
    Refunded { payment: u32, refund_id: String, amount: Money, captured: Money, refunded: Money },
    /// It is not to be shipped for now.
    PutOnHold(Hold),
    /// It may be shipped again.
    TakenOffHold { note: String },
    /// It is cancelled, with so many payments.
    Cancelled { cancellation: Cancellation, listed: ListedLines, payments: u32 },
}

/// The lines of an order as an event repeats them: none when there are more than
/// [`MAX_REPEATED_LINES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedLines {
    pub(crate) lines: Lines,
    pub(crate) count: u32,
    /// Whether tax is in their prices.
    pub(crate) basis: TaxBasis,
    /// The position of `placed`, which has all of them, in the log.
    pub(crate) placed_position: u64,
}

impl ListedLines {
    pub(crate) fn of(content: &OrderContent) -> Self {
        let all = &content.lines;
        let lines = if all.len() > MAX_REPEATED_LINES { Lines::default() } else { all.clone() };
        // The basis of no price is read back as the default one.
        let basis = if lines.is_empty() { TaxBasis::default() } else { content.tax_basis };
        let placed_position = content.placed_position;
        Self { lines, count: all.len() as u32, basis, placed_position }
    }
}

impl Rules for Orders {
    type State = Shop;

    fn aggregate(event: &Event) -> Aggregate {
        Aggregate::new("order", event.order_id)
    }

    fn revision(state: &Shop, event: &Event) -> Revision {
        state.orders.get(&event.order_id).map(|order| order.revision).unwrap_or_default()
    }

    fn weight(input: &Input) -> usize {
        match input {
            Input::Place(request) => request.lines.len().max(1),
            Input::Cancel { .. }
            | Input::StartPayment { .. }
            | Input::Release { .. }
            | Input::Signal { .. }
            | Input::Shipped(_)
            | Input::Short { .. }
            | Input::ProductChanged { .. } => 1,
        }
    }

    fn decide(&self, state: &Shop, input: &Input, now: Timestamp) -> Decision<Event, Answer> {
        match input {
            Input::Place(request) => place::place(&self.policy, state, request, now),
            Input::Cancel { order_id, note } => saga::cancel(state, *order_id, note),
            Input::StartPayment { order_id, payment_method } => {
                saga::start_payment(&self.policy, state, *order_id, payment_method, now)
            }
            Input::Release { order_id, note } => short::release(state, *order_id, note),
            Input::Signal { order_id, signal } => {
                let Some(known) = state.order(order_id) else { return Decision::nothing() };
                let facts = saga::proceed(&self.policy, &known, signal, now);
                Decision::events(known.events(facts))
            }
            Input::Shipped(shipment) => Decision::events(shipment::ship(state, shipment)),
            Input::Short { sku, location, missing, order_ids } => {
                let rule = self.policy.short_rule;
                Decision::events(short::hold(rule, state, (sku, location), *missing, order_ids))
            }
            Input::ProductChanged { .. } => Decision::nothing(),
        }
    }

    fn implied_answer(recorded: &Recorded<Event>) -> Option<Answer> {
        answer::implied(recorded)
    }

    fn after_append(state: &Shop, event: &Event, now: Timestamp) -> Option<AfterAppend> {
        let order = state.orders.get(&event.order_id)?;
        let outcome = event.fact.outcome().filter(|_| !order.is_settled())?;
        let took = (now.millis() - order.placed_at.millis()).max(0) as u64;
        Some(Box::new(move || metrics::ended(outcome, Duration::from_millis(took))))
    }

    fn apply(state: &mut Shop, recorded: &Recorded<Event>) {
        state.fold(recorded);
    }

    fn replicate(state: &mut Shop, input: &Input) {
        match input {
            Input::ProductChanged { sku, product } => {
                state.products.put(sku.clone(), product.clone());
            }
            Input::Place(_)
            | Input::Cancel { .. }
            | Input::StartPayment { .. }
            | Input::Release { .. }
            | Input::Signal { .. }
            | Input::Shipped(_)
            | Input::Short { .. } => {}
        }
    }
}

/// An order about which something is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) id: OrderId,
    pub(crate) order: &'a Order,
    pub(crate) content: &'a OrderContent,
}

impl Known<'_> {
    /// The events of these facts, one after the other.
    pub(crate) fn events(&self, facts: Vec<Fact>) -> Vec<Event> {
        let mut statuses = self.order.statuses;
        let event = |fact: Fact| {
            statuses = fact.statuses(statuses);
            let OrderContent { number, reference, customer_id, .. } = self.content;
            let summary = Summary {
                number: *number,
                reference: reference.clone(),
                customer_id: customer_id.clone(),
                total: self.order.total,
                statuses,
            };
            Event { order_id: self.id, summary, fact }
        };
        facts.into_iter().map(event).collect()
    }

    /// That it is cancelled.
    pub(crate) fn cancelled(
        &self,
        reason: CancelReason,
        detail: &str,
        shortages: &[Shortage],
    ) -> Fact {
        Fact::Cancelled {
            cancellation: Cancellation {
                reason,
                detail: detail.to_owned(),
                shortages: shortages.to_vec(),
            },
            listed: ListedLines::of(self.content),
            payments: self.order.last_payment(),
        }
    }

    /// Its payment of that number.
    pub(crate) fn payment_id(&self, number: u32) -> PaymentId {
        PaymentId { order_id: self.id, number }
    }
}

impl Fact {
    /// The statuses that it leads to.
    pub(crate) fn statuses(&self, before: Statuses) -> Statuses {
        match self {
            Self::Placed { lines, .. } => Statuses::placed(lines),
            Self::PaymentDue { .. } => before.with_payment(PaymentStatus::Pending),
            Self::PaymentFailed { .. } => before.with_payment(PaymentStatus::Failed),
            Self::ActionRequired { .. } => before.with_payment(PaymentStatus::ActionRequired),
            Self::Authorized { payment: Some(_), .. } => {
                before.with_payment(PaymentStatus::Authorized)
            }
            Self::Confirmed { .. } => before.with_order(OrderStatus::Confirmed),
            Self::Paid { .. } => before.with_payment(PaymentStatus::Paid),
            Self::Shipped { fulfilment, .. } => before.with_fulfilment(*fulfilment),
            Self::Completed => before.with_order(OrderStatus::Completed),
            Self::Refunded { captured, refunded, .. } => {
                before.with_payment(if refunded.minor < captured.minor {
                    PaymentStatus::PartiallyRefunded
                } else {
                    PaymentStatus::Refunded
                })
            }
            Self::Cancelled { .. } => before.with_order(OrderStatus::Cancelled),
            Self::Authorized { payment: None, .. }
            | Self::PartCaptured { .. }
            | Self::PutOnHold(_)
            | Self::TakenOffHold { .. } => before,
        }
    }

    /// How the saga of an order ends with it, if it does.
    fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Paid { .. } => Some(Outcome::Paid),
            Self::Cancelled { .. } => Some(Outcome::Cancelled),
            Self::Confirmed { capture: None, .. } => Some(Outcome::Confirmed),
            Self::Placed { .. }
            | Self::PaymentDue { .. }
            | Self::PaymentFailed { .. }
            | Self::ActionRequired { .. }
            | Self::Authorized { .. }
            | Self::Confirmed { capture: Some(_), .. }
            | Self::PartCaptured { .. }
            | Self::Shipped { .. }
            | Self::Completed
            | Self::Refunded { .. }
            | Self::PutOnHold(_)
            | Self::TakenOffHold { .. } => None,
        }
    }
}
