//! The rows that the order service keeps, and the deadline of an order.

#[cfg(test)]
mod tests;

use engine::{AnyRows, Column, Context, Row, Rows, State, Table, Timer, TimerInput, Value};
use events::{
    id::{CustomerId, OrderId, Reference, Sku},
    money::Money,
};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize, de::Error as _};

use crate::domain::{
    CancelReason, Cancellation, Charge, EventName, Input, OrderLine, OrderStatus, Signal,
};

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[
    Order::TABLE,
    OrderContent::TABLE,
    OrderCancellation::TABLE,
    OrderHistory::TABLE,
    ReferencedOrder::TABLE,
    Price::TABLE,
];

/// When an order is cancelled because the awaited answer has not come.
pub(crate) const DEADLINE: Timer<Input> =
    Timer { table: Order::TABLE.name, column: "deadline", input: deadline_passed };

/// The rows of one shop.
#[derive(Debug, Default)]
pub struct Shop {
    pub(crate) orders: Rows<OrderId, Order>,
    /// Written when an order is placed, and never looked at by a decision.
    pub(crate) contents: Rows<OrderId, OrderContent>,
    /// Written when an order is cancelled, and never looked at by a decision.
    pub(crate) cancellations: Rows<OrderId, OrderCancellation>,
    pub(crate) histories: Rows<OrderId, OrderHistory>,
    pub(crate) references: Rows<Reference, ReferencedOrder>,
    /// The replica of the catalogue.
    pub(crate) prices: Rows<Sku, Price>,
}

impl Shop {
    /// An order about which something is to be decided.
    pub(crate) fn order(&self, order_id: &OrderId) -> Option<&Order> {
        // What follows is appended to the history: looked up here, it is fetched with the order.
        self.histories.get(order_id);
        self.orders.get(order_id)
    }
}

impl State for Shop {
    fn tables(&mut self) -> Vec<&mut dyn AnyRows> {
        let Self { orders, contents, cancellations, histories, references, prices } = self;
        vec![orders, contents, cancellations, histories, references, prices]
    }
}

/// An order as it is: what each step of the saga looks at and rewrites. Kept small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub(crate) status: OrderStatus,
    pub(crate) version: u64,
    /// Lines and charges together.
    pub(crate) total: Money,
    pub(crate) payment_method: String,
    /// Why it is cancelled, when it is.
    pub(crate) reason: Option<CancelReason>,
    /// When it is cancelled if the awaited answer has not come; none when nothing is awaited in
    /// time.
    pub(crate) deadline: Option<Timestamp>,
    /// What everything that follows from the request has in common, for what a deadline leads to.
    pub(crate) context: Context,
    pub(crate) placed_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl Row for Order {
    const TABLE: Table = Table {
        name: "orders",
        about: "An order as the last event about it left it.",
        columns: &[
            Column::integer("deadline"),
            Column::text("status"),
            Column::text("reason"),
            Column::integer("total"),
        ],
        indexes: &[
            "(partition, deadline) where deadline is not null",
            "(partition, status) \
             where status in ('placed', 'payment_due', 'authorized', 'confirmed')",
        ],
    };

    fn columns(&self) -> Vec<Value> {
        vec![
            self.deadline.into(),
            self.status.as_str().into(),
            self.reason.map(|reason| reason.as_str().to_owned()).into(),
            self.total.minor.into(),
        ]
    }
}

/// What was ordered, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderContent {
    /// The caller's own order number.
    pub(crate) reference: Option<Reference>,
    /// None for a guest.
    pub(crate) customer_id: Option<CustomerId>,
    pub(crate) country: String,
    pub(crate) lines: Vec<OrderLine>,
    pub(crate) charges: Vec<Charge>,
}

impl Row for OrderContent {
    const TABLE: Table = table(
        "order_content",
        "What was ordered and by whom. Written once, when the order is placed.",
    );
}

/// Why an order is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderCancellation(pub(crate) Cancellation);

impl Row for OrderCancellation {
    const TABLE: Table =
        table("order_cancellation", "Why an order is cancelled. Written once, when it is.");
}

/// The events of an order, from its beginning: the n-th led to version n.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderHistory(pub(crate) Vec<Step>);

/// An event of an order: its name, when it was decided in milliseconds since 1970, what caused it,
/// and the id of that. A tuple, since the whole history is written with each event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step(pub(crate) EventName, pub(crate) i64, pub(crate) String, pub(crate) String);

impl Row for OrderHistory {
    const TABLE: Table = table(
        "order_history",
        "The events of an order: [event, ms, cause, id of the cause] for each version from 1.",
    );
}

/// The order that has a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReferencedOrder(pub(crate) OrderId);

impl Row for ReferencedOrder {
    const TABLE: Table =
        table("reference", "The order that has a reference, the caller's own order number.");
}

/// What a product costs, and whether it is sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub(crate) price: Money,
    pub(crate) active: bool,
}

impl Row for Price {
    const TABLE: Table =
        table("price", "What a product costs and whether it is sold: a replica of the catalogue.");
}

/// A table without columns of its own.
const fn table(name: &'static str, about: &'static str) -> Table {
    Table { name, about, columns: &[], indexes: &[] }
}

/// What the passed deadline of an order becomes.
fn deadline_passed(key: &str, document: &str) -> Result<TimerInput<Input>, serde_json::Error> {
    let order_id = OrderId::parse(key).map_err(serde_json::Error::custom)?;
    let order: Order = serde_json::from_str(document)?;
    let deadline =
        order.deadline.ok_or_else(|| serde_json::Error::custom("the order has no deadline"))?;
    let kind = match order.status {
        OrderStatus::PaymentDue => "timer.payment_deadline",
        OrderStatus::Placed
        | OrderStatus::Authorized
        | OrderStatus::Confirmed
        | OrderStatus::Paid
        | OrderStatus::Cancelled => "timer.stock_deadline",
    };
    let input = Input::Signal { order_id, signal: Signal::DeadlinePassed { deadline } };
    Ok(TimerInput { kind, context: order.context, input })
}
