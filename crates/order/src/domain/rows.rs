//! The rows on which the rules decide, as the events leave them.

mod fold;
mod order;

use std::{fmt, sync::LazyLock};

use engine::{AnyRows, Rows, State};
use events::{
    id::{CustomerId, OrderId, Reference, Sku},
    money::{Money, TaxBasis},
    sealed::Sealed,
    shop::Settings,
};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::order::{Order, OrderPayment};
use super::{Cancellation, Charge, Known, Lines};

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

/// What is personal in an order, sealed. A row of its own: a decision loads the content of an order, and
/// has no use for this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderPersonal(pub(crate) Sealed);

/// Why an order is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderCancellation(pub(crate) Cancellation);

/// The units of each line of an order that have shipped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderShipped(pub(crate) Vec<i64>);

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

/// The last order that has a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReferencedOrder(pub(crate) OrderId);

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
