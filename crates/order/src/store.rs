//! The rows that the order service keeps, and the deadline of an order.

mod fold;
#[cfg(test)]
mod tests;

use std::{fmt, sync::LazyLock};

use engine::{
    AnyRows, Column, Context, Revision, Row, Rows, State, Table, Timer, TimerInput, Value,
};
use events::{
    id::{CustomerId, OrderId, Reference, Sku},
    money::{Money, TaxBasis},
    sealed::Sealed,
    shop::{Capture, Settings},
};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize, de::Error as _};

use crate::domain::{
    Action, Awaits, CancelReason, Cancellation, Charge, Failure, Hold, Input, Known, Lines,
    ON_ACCOUNT, OrderStatus, PaymentStatus, Signal, Statuses,
};

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[
    Order::TABLE,
    OrderContent::TABLE,
    OrderCancellation::TABLE,
    OrderPersonal::TABLE,
    OrderShipped::TABLE,
    ReferencedOrder::TABLE,
    OrderNumber::TABLE,
    Product::TABLE,
    ShopSettings::TABLE,
];

/// When an order is cancelled because the awaited answer has not come.
pub(crate) const DEADLINE: Timer<Input> =
    Timer { table: Order::TABLE.name, column: "deadline", input: deadline_passed };

/// The rows of one shop.
#[derive(Debug, Default)]
pub struct Shop {
    pub(crate) orders: Rows<OrderId, Order>,
    /// Written when an order is placed.
    pub(crate) contents: Rows<OrderId, OrderContent>,
    /// Written when an order is cancelled, and never looked at by a decision.
    pub(crate) cancellations: Rows<OrderId, OrderCancellation>,
    /// Written when an order with personal data is placed, and never looked at by a decision.
    pub(crate) personal: Rows<OrderId, OrderPersonal>,
    pub(crate) shipped: Rows<OrderId, OrderShipped>,
    pub(crate) references: Rows<Reference, ReferencedOrder>,
    pub(crate) numbers: Rows<NumberKey, OrderNumber>,
    /// The replica of the catalogue.
    pub(crate) products: Rows<Sku, Product>,
    /// The replica of the shop's settings.
    pub(crate) settings: Rows<SettingsKey, ShopSettings>,
}

/// How a shop works whose settings are not known.
static DEFAULT_SETTINGS: LazyLock<Settings> = LazyLock::new(Settings::default);

impl Shop {
    /// An order about which something is to be decided.
    pub(crate) fn order(&self, order_id: &OrderId) -> Option<Known<'_>> {
        // What follows says what the content is: looked up here, it is fetched with the order.
        let content = self.contents.get(order_id);
        let order = self.orders.get(order_id)?;
        Some(Known { id: *order_id, order, content: content? })
    }

    /// What of an order has shipped.
    pub(crate) fn shipped(&self, order_id: &OrderId) -> Option<&OrderShipped> {
        self.shipped.get(order_id)
    }

    /// How the shop works.
    pub(crate) fn settings(&self) -> &Settings {
        self.settings.get(&SettingsKey).map_or(&DEFAULT_SETTINGS, |row| &row.0)
    }

    /// The number of the last order that was placed; 0 when there is none.
    pub(crate) fn last_number(&self) -> u64 {
        self.numbers.get(&NumberKey).map_or(0, |number| number.0)
    }
}

impl State for Shop {
    fn tables(&mut self) -> Vec<&mut dyn AnyRows> {
        let Self {
            orders,
            contents,
            cancellations,
            personal,
            shipped,
            references,
            numbers,
            products,
            settings,
        } = self;
        vec![
            orders,
            contents,
            cancellations,
            personal,
            shipped,
            references,
            numbers,
            products,
            settings,
        ]
    }
}

/// An order as it is: what each step of the saga looks at and rewrites. Kept small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub(crate) statuses: Statuses,
    pub(crate) awaits: Awaits,
    /// Its version, and where its last event is.
    pub(crate) revision: Revision,
    /// Lines and charges together.
    pub(crate) total: Money,
    /// How it is paid: by the last payment, or the next one.
    pub(crate) payment_method: String,
    /// The payments that were started, from the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) payments: Vec<OrderPayment>,
    /// When its money is captured, since its first payment began.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) capture: Capture,
    /// What payment was asked to capture, in minor units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) capture_requested: i64,
    /// Until when the stock is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held_until: Option<Timestamp>,
    /// Why it is on hold, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<Hold>,
    /// Why it is cancelled, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<CancelReason>,
    /// When it is cancelled if the awaited answer has not come; none when nothing is awaited in
    /// time.
    pub(crate) deadline: Option<Timestamp>,
    /// What everything that follows from the request has in common, for what a deadline leads to.
    pub(crate) context: Context,
    pub(crate) placed_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A payment of an order; amounts in minor units of its total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderPayment {
    pub(crate) status: PaymentStatus,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) captured: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) refunded: i64,
    /// Why it failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
    /// What the customer must do, while that is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<Action>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_default(capture: &Capture) -> bool {
    *capture == Capture::default()
}

impl Order {
    /// Whether somebody is to be asked for its money: it costs something, and is not on account.
    pub(crate) fn needs_payment(&self) -> bool {
        self.total.minor > 0 && self.payment_method != ON_ACCOUNT
    }

    /// The number of the last payment that was started; 0 when there is none.
    pub(crate) fn last_payment(&self) -> u32 {
        self.payments.len() as u32
    }

    /// Whether the last payment is neither authorised nor failed.
    pub(crate) fn is_payment_open(&self) -> bool {
        let status = self.payments.last().map(|payment| payment.status);
        matches!(status, Some(PaymentStatus::Pending | PaymentStatus::ActionRequired))
    }

    /// Whether the customer is known to be asked for this already.
    pub(crate) fn is_asking_for(&self, action: &Action) -> bool {
        self.payments.last().is_some_and(|payment| payment.action.as_ref() == Some(action))
    }

    /// Why the last payment failed, if it did.
    pub(crate) fn last_failure(&self) -> Option<&Failure> {
        self.payments.last()?.failure.as_ref()
    }

    /// What is captured in all.
    pub(crate) fn captured(&self) -> i64 {
        self.payments.iter().map(|payment| payment.captured).sum()
    }

    /// What is refunded in all.
    pub(crate) fn refunded(&self) -> i64 {
        self.payments.iter().map(|payment| payment.refunded).sum()
    }

    /// Whether its saga has ended: it is cancelled, or confirmed and nothing is awaited but shipments.
    pub(crate) fn is_settled(&self) -> bool {
        match self.statuses.0 {
            OrderStatus::Placed => false,
            OrderStatus::Confirmed => {
                self.awaits == Awaits::Nothing
                    || self.statuses.1 == PaymentStatus::Paid
                    || self.capture == Capture::OnShipment
            }
            OrderStatus::Completed | OrderStatus::Cancelled => true,
        }
    }
}

impl Row for Order {
    const TABLE: Table = Table {
        name: "orders",
        about: "An order as the last event about it left it.",
        columns: &[
            Column::integer("deadline"),
            Column::text("awaits"),
            Column::text("statuses"),
            Column::text("reason"),
            Column::integer("total"),
            Column::integer("on_hold"),
        ],
        indexes: &[
            "(partition, deadline) where deadline is not null",
            "(partition, awaits) where awaits is not null",
            "(shop, key) where on_hold is not null",
        ],
    };

    fn columns(&self) -> Vec<Value> {
        let awaits = (self.awaits != Awaits::Nothing).then(|| self.awaits.as_str().to_owned());
        vec![
            self.deadline.into(),
            awaits.into(),
            Some(self.statuses.to_string()).into(),
            self.reason.map(|reason| reason.as_str().to_owned()).into(),
            self.total.minor.into(),
            Value::Integer(self.hold.as_ref().map(|_| 1)),
        ]
    }
}

/// What was ordered, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderContent {
    /// The shop's own number of the order.
    pub(crate) number: u64,
    /// The position of `placed` in the log.
    pub(crate) placed_position: u64,
    /// The caller's own order number.
    pub(crate) reference: Option<Reference>,
    /// None for a guest.
    pub(crate) customer_id: Option<CustomerId>,
    pub(crate) country: String,
    /// Empty when not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) billing_country: String,
    /// Whether there is a row of [`OrderPersonal`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) has_personal: bool,
    pub(crate) tax_basis: TaxBasis,
    pub(crate) lines: Lines,
    pub(crate) charges: Vec<Charge>,
}

impl Row for OrderContent {
    const TABLE: Table = table(
        "order_content",
        "What was ordered and by whom. Written once, when the order is placed.",
    );
}

/// What is personal in an order, sealed. A row of its own: a decision loads the content of an order, and
/// has no use for this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderPersonal(pub(crate) Sealed);

impl Row for OrderPersonal {
    const TABLE: Table = table(
        "order_personal",
        "The personal data of an order, sealed. Written once, when the order is placed.",
    );
}

/// Why an order is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderCancellation(pub(crate) Cancellation);

impl Row for OrderCancellation {
    const TABLE: Table =
        table("order_cancellation", "Why an order is cancelled. Written once, when it is.");
}

/// The units of each line of an order that have shipped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderShipped(pub(crate) Vec<i64>);

impl Row for OrderShipped {
    const TABLE: Table = table(
        "order_shipped",
        "The units of each line of an order that have shipped; none where nothing has.",
    );
}

/// The last order that has a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReferencedOrder(pub(crate) OrderId);

impl Row for ReferencedOrder {
    const TABLE: Table =
        table("reference", "The last order that has a reference, the caller's own order number.");
}

/// The key of the one row of [`OrderNumber`] that a shop has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NumberKey;

impl fmt::Display for NumberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shop")
    }
}

/// The number of the last order that was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderNumber(pub(crate) u64);

impl Row for OrderNumber {
    const TABLE: Table =
        table("order_number", "The number of the last order that was placed in a shop.");
}

/// A product, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    pub(crate) title: String,
    pub(crate) price: Money,
    /// Whether tax is in the price.
    pub(crate) tax_basis: TaxBasis,
    /// Whether it is sold.
    pub(crate) active: bool,
}

impl Row for Product {
    const TABLE: Table = table(
        "product",
        "What a product is called and costs, and whether it is sold: a replica of the catalogue.",
    );
}

/// The key of the one row of [`ShopSettings`] that a shop has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SettingsKey;

impl fmt::Display for SettingsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shop")
    }
}

/// How a shop works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ShopSettings(pub(crate) Settings);

impl Row for ShopSettings {
    const TABLE: Table = table("shop_settings", "How a shop works: a replica of its settings.");
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
    let kind = match order.awaits {
        Awaits::Payment => "timer.payment_deadline",
        Awaits::Hold | Awaits::Allocation | Awaits::Capture | Awaits::Nothing => {
            "timer.stock_deadline"
        }
    };
    let input = Input::Signal { order_id, signal: Signal::DeadlinePassed { deadline } };
    Ok(TimerInput { kind, context: order.context, input })
}
