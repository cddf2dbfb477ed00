//! What is sent to the gateway.

use serde::Serialize;

/// An order that is to be placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewOrder {
    /// The caller's own name for it, unique in the shop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Who orders; a guest when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// Where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The currency of all its amounts, by ISO 4217.
    pub currency: String,
    /// What is ordered.
    pub lines: Vec<OrderLine>,
    /// Charges besides the goods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<Charge>,
    /// How it is paid for: `card` when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<String>,
}

/// Units of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderLine {
    /// The stock keeping unit.
    pub sku: String,
    /// The units.
    pub quantity: i64,
    /// The price of one unit, in minor units; that of the product when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<i64>,
}

/// A charge besides the goods, such as postage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Charge {
    /// What it is for.
    pub code: String,
    /// The amount in minor units.
    pub amount: i64,
}

impl NewOrder {
    /// An order of a guest, without lines yet.
    pub fn in_currency(currency: &str) -> Self {
        Self {
            reference: None,
            customer_id: None,
            country: None,
            currency: currency.to_owned(),
            lines: Vec::new(),
            charges: Vec::new(),
            payment_method: None,
        }
    }
}
