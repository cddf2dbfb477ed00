//! The rows that the order service keeps, and the deadline of an order.

mod fold;
mod list;
mod order;
#[cfg(test)]
mod tests;

use std::{fmt, sync::LazyLock};

use engine::{AnyRows, Column, Row, Rows, State, Table, Timer, TimerInput, Value, documents};
use events::{
    id::{CustomerId, OrderId, Reference, Sku},
    money::{Money, TaxBasis},
    sealed::Sealed,
    shop::Settings,
};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize, de::Error as _};

pub(crate) use self::{
    list::{ListedOrder, OrderFilter, OrderList, OrderPage, OrderPlace, PageStart, list},
    order::{Order, OrderPayment, count_unpaid},
};
use crate::domain::{Awaits, Cancellation, Charge, Input, Known, Lines, Signal};

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[
    Order::TABLE,
    OrderContent::TABLE,
    OrderCancellation::TABLE,
    OrderPersonal::TABLE,
    OrderShipped::TABLE,
    OrderSku::TABLE,
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
    /// Written when an order is placed, and never looked at by a decision.
    pub(crate) skus: Rows<OrderSkuKey, OrderSku>,
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
            skus,
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
            skus,
            references,
            numbers,
            products,
            settings,
        ]
    }
}

/// What was ordered, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderContent {
    /// The shop's own number of the order.
    pub(crate) number: u64,
    /// When it was placed.
    pub(crate) placed_at: Timestamp,
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
    const TABLE: Table = Table {
        name: "order_content",
        about: "What was ordered and by whom. Written once, when the order is placed.",
        columns: &[
            Column::integer("number"),
            Column::integer("placed_at"),
            Column::text("customer_id"),
            Column::text("reference"),
            // The reference as it is searched for parts.
            Column::text("search"),
        ],
        // What never changes is found here rather than in `orders`, which each event rewrites.
        indexes: &[
            "(shop, placed_at, number)",
            "(shop, number, placed_at)",
            "(shop, customer_id, placed_at, number) where customer_id is not null",
            "(shop, reference, placed_at, number) where reference is not null",
        ],
    };

    fn columns(&self) -> Vec<Value> {
        vec![
            (self.number as i64).into(),
            self.placed_at.millis().into(),
            self.customer_id.as_ref().map(CustomerId::to_string).into(),
            self.reference.as_ref().map(Reference::to_string).into(),
            self.reference.as_ref().map(|it| documents::searched(it.as_str())).into(),
        ]
    }
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

/// The key of a row of [`OrderSku`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OrderSkuKey {
    /// The number of the order.
    pub(crate) number: u64,
    pub(crate) sku: Sku,
}

impl fmt::Display for OrderSkuKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.sku)
    }
}

/// That a line of an order is of a SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderSku {
    pub(crate) sku: Sku,
    /// When the order was placed.
    pub(crate) placed_at: Timestamp,
    /// The number of the order.
    pub(crate) number: u64,
}

impl Row for OrderSku {
    const TABLE: Table = Table {
        name: "order_sku",
        about: "That a line of an order is of a SKU. Written once, when the order is placed.",
        columns: &[Column::text("sku"), Column::integer("placed_at"), Column::integer("number")],
        indexes: &["(shop, sku, placed_at, number)"],
    };

    const IS_LOOKED_FOR: bool = false;

    fn columns(&self) -> Vec<Value> {
        let (placed_at, number) = (self.placed_at.millis(), self.number as i64);
        vec![self.sku.as_str().into(), placed_at.into(), number.into()]
    }
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
