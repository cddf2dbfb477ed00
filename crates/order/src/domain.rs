//! What the order service decides. No I/O, no clock, no async.

mod answer;
mod fact;
mod known;
mod order;
mod payment;
mod place;
mod price;
pub(crate) mod rows;
mod saga;
mod shipment;
mod short;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use engine::{AfterAppend, Aggregate, Decision, Recorded, Revision, Rules};
use events::{
    id::{CustomerId, LineId, Location, OrderId, Quantity, Reference, Sku},
    money::{Currency, Money, Tax, TaxBasis},
    sealed::Sealed,
    shop::Settings,
};
use protocol::time::Timestamp;

use self::known::Terms;
use self::rows::{Product, SettingsKey, Shop, ShopSettings};
pub(crate) use self::{
    answer::{
        Answer, CancelAnswer, LineProblem, LineProblemCode, PlaceAnswer, ReleaseAnswer,
        StartPaymentAnswer,
    },
    fact::{Fact, ListedLines, OneStep},
    known::Known,
    order::{
        Action, CancelReason, Cancellation, Charge, Discount, Failure, Hold, Lines, OrderLine,
        ShippedLine, Shortage,
    },
    status::{Awaits, FulfilmentStatus, OrderStatus, PaymentStatus, Statuses},
};
use crate::{Orders, metrics};

/// The payment method of an order for which nothing is taken here: the shop sends an invoice.
pub(crate) const ON_ACCOUNT: &str = "on_account";

/// The most payments of an order: each stays in its row, and in what is shown of it.
pub(crate) const MAX_PAYMENTS: u32 = 20;

/// What the order service decides on.
#[derive(Debug, Clone)]
pub enum Input {
    /// A customer wants to order.
    Place(Request),
    /// Somebody wants an order to be cancelled.
    Cancel { order_id: OrderId, note: Option<Sealed> },
    /// A customer wants to pay anew.
    StartPayment { order_id: OrderId, payment_method: String },
    /// Somebody wants an order to be taken off hold.
    Release { order_id: OrderId, note: Option<Sealed> },
    /// Something that an order waits for has come.
    Signal { order_id: OrderId, signal: Signal },
    /// Units that belonged to an order have left a location.
    Shipped(Shipment),
    /// More is promised of a stock than there is: so many units are missing, and these orders have units of
    /// it, the newest first.
    Short { sku: Sku, location: Location, missing: i64, orders: Vec<(OrderId, i64)> },
    /// The catalogue changed: for the replica.
    ProductChanged { sku: Sku, product: Product },
    /// The shop works in another way: for the replica.
    SettingsChanged(Box<Settings>),
}

/// An order as a customer wants it.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) order_id: OrderId,
    pub(crate) reference: Option<Reference>,
    pub(crate) customer_id: Option<CustomerId>,
    pub(crate) country: String,
    pub(crate) billing_country: String,
    pub(crate) currency: Currency,
    pub(crate) tax_basis: TaxBasis,
    pub(crate) lines: Vec<RequestedLine>,
    pub(crate) charges: Vec<Charge>,
    pub(crate) payment_method: String,
    /// What the buyer was shown, in minor units.
    pub(crate) expected_total: Option<i64>,
    /// What is personal in it.
    pub(crate) personal: Option<Sealed>,
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

/// Units that belonged to an order and have left a location.
#[derive(Debug, Clone)]
pub struct Shipment {
    pub(crate) order_id: OrderId,
    pub(crate) location: Location,
    pub(crate) units: Vec<ShippedUnits>,
    /// When they left, as the goods issue says.
    pub(crate) occurred_at: Option<Timestamp>,
}

/// Units of a SKU that have left.
#[derive(Debug, Clone)]
pub(crate) struct ShippedUnits {
    /// The line that they were for, where it is known.
    pub(crate) line_id: Option<LineId>,
    pub(crate) sku: Sku,
    /// Those that were the order's.
    pub(crate) quantity: i64,
    /// Those that were issued for it and were not.
    pub(crate) excess: i64,
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
            | Input::ProductChanged { .. }
            | Input::SettingsChanged(_) => 1,
        }
    }

    /// The stock lines of one goods issue come one after the other: the order says once what has shipped.
    fn merge(input: &mut Input, next: &Input) -> bool {
        let (Input::Shipped(shipment), Input::Shipped(next)) = (input, next) else {
            return false;
        };
        let is_same = (shipment.order_id, &shipment.location, shipment.occurred_at)
            == (next.order_id, &next.location, next.occurred_at);
        if is_same {
            shipment.units.extend(next.units.iter().cloned());
        }
        is_same
    }

    fn decide(&self, state: &Shop, input: &Input, now: Timestamp) -> Decision<Event, Answer> {
        let terms = Terms { policy: &self.policy, settings: state.settings() };
        match input {
            Input::Place(request) => place::place(terms, state, request, now),
            Input::Cancel { order_id, note } => saga::cancel(state, *order_id, note.as_ref()),
            Input::StartPayment { order_id, payment_method } => {
                payment::start_payment(terms, state, *order_id, payment_method, now)
            }
            Input::Release { order_id, note } => short::release(state, *order_id, note.as_ref()),
            Input::Signal { order_id, signal } => {
                let Some(known) = state.order(order_id) else { return Decision::nothing() };
                let facts = saga::proceed(terms, state, &known, signal, now);
                Decision::events(known.events(facts))
            }
            Input::Shipped(shipment) => Decision::events(shipment::ship(state, shipment)),
            Input::Short { sku, location, missing, orders } => {
                let rule = terms.settings.short_rule;
                Decision::events(short::hold(rule, state, (sku, location), *missing, orders))
            }
            Input::ProductChanged { .. } | Input::SettingsChanged(_) => Decision::nothing(),
        }
    }

    fn implied_answer(recorded: &Recorded<Event>) -> Option<Answer> {
        answer::implied(recorded)
    }

    fn after_append(state: &Shop, event: &Event, now: Timestamp) -> Option<AfterAppend> {
        let order = state.orders.get(&event.order_id)?;
        let outcome = event.fact.outcome(order)?;
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
            Input::SettingsChanged(settings) => {
                state.settings.put(SettingsKey, ShopSettings(settings.as_ref().clone()));
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
