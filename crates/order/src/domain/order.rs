//! What an order is made of.

use std::{ops::Deref, sync::Arc};

use events::{
    id::{LineId, Location, Quantity, Sku},
    money::{Tax, TaxBasis},
    sealed::Sealed,
};
use protocol::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The lines of an order. They never change, and are shared rather than copied.
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lines(Arc<[OrderLine]>);

impl Deref for Lines {
    type Target = [OrderLine];

    fn deref(&self) -> &[OrderLine] {
        &self.0
    }
}

impl FromIterator<OrderLine> for Lines {
    fn from_iter<I: IntoIterator<Item = OrderLine>>(lines: I) -> Self {
        Self(lines.into_iter().collect())
    }
}

impl Serialize for Lines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|lines| Self(lines.into()))
    }
}

/// One line of an order; amounts in the minor unit of the order's currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderLine {
    /// Identifies it in its order.
    pub line_id: LineId,
    /// The stock keeping unit.
    pub sku: Sku,
    /// The title as sold.
    pub title: String,
    /// The units.
    pub quantity: Quantity,
    /// The price of one unit as sold.
    pub unit_price: i64,
    /// What it costs less, each with its cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<Discount>,
    /// The tax on it after its discounts, as the caller gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax: Option<Tax>,
}

impl OrderLine {
    /// What it costs after its discounts, before a tax that is not in the price.
    pub(crate) fn net(&self) -> i128 {
        let discounts: i128 = self.discounts.iter().map(|it| i128::from(it.amount)).sum();
        i128::from(self.quantity.get()) * i128::from(self.unit_price) - discounts
    }

    /// What is paid for it.
    pub(crate) fn gross(&self, basis: TaxBasis) -> i128 {
        basis.gross(self.net(), self.tax.as_ref())
    }
}

/// What a line costs less.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Discount {
    /// Why, for example `SUMMER`.
    pub code: String,
    /// The amount for the whole line.
    pub amount: i64,
}

/// Money that is not for goods: shipping, a fee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Charge {
    /// What it is for, for example `POST`.
    pub code: String,
    /// The amount in the minor unit of the order's currency.
    pub amount: i64,
    /// The tax on it, as the caller gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax: Option<Tax>,
}

impl Charge {
    /// What is paid for it.
    pub(crate) fn gross(&self, basis: TaxBasis) -> i128 {
        basis.gross(i128::from(self.amount), self.tax.as_ref())
    }
}

/// Units of a line that have left a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShippedLine {
    /// The line.
    pub line_id: LineId,
    /// Its SKU.
    pub sku: Sku,
    /// The units.
    pub quantity: i64,
}

/// Why an order is on hold: the stock was corrected below what is promised, and is not enough for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    /// What there is too little of.
    pub sku: Sku,
    /// Where.
    pub location: Location,
}

/// Why a payment failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The provider's code; empty when it was not the provider that refused.
    pub code: String,
    /// More about it, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What the customer must do before a payment goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Where it is done; empty when the client does without.
    pub url: String,
    /// What the provider's client needs for it; empty for nothing.
    pub data: String,
    /// Until when it can be done, where the provider says so.
    pub expires_at: Option<Timestamp>,
}

/// Why an order is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The customer or the shop asked for it.
    Requested,
    /// There was too little stock.
    OutOfStock,
    /// The stock did not answer in time.
    StockTimeout,
    /// The payment was declined, and no other one was made in time.
    PaymentDeclined,
    /// The payment could not be carried out, and no other one was made in time.
    PaymentFailed,
    /// The payment did not answer in time.
    PaymentTimeout,
    /// The hold ran out before the payment was authorised, and the stock was gone.
    StockLost,
    /// The authorised money could not be captured.
    CaptureFailed,
    /// The stock was corrected below what is promised.
    StockShort,
}

impl CancelReason {
    /// Every reason.
    pub(crate) const ALL: [Self; 9] = [
        Self::Requested,
        Self::OutOfStock,
        Self::StockTimeout,
        Self::PaymentDeclined,
        Self::PaymentFailed,
        Self::PaymentTimeout,
        Self::StockLost,
        Self::CaptureFailed,
        Self::StockShort,
    ];

    /// The reason as it is in the database.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::OutOfStock => "out_of_stock",
            Self::StockTimeout => "stock_timeout",
            Self::PaymentDeclined => "payment_declined",
            Self::PaymentFailed => "payment_failed",
            Self::PaymentTimeout => "payment_timeout",
            Self::StockLost => "stock_lost",
            Self::CaptureFailed => "capture_failed",
            Self::StockShort => "stock_short",
        }
    }
}

/// Why an order is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// Why.
    pub reason: CancelReason,
    /// More about it, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The SKUs that there was too little of, when that was the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortages: Vec<Shortage>,
    /// What the caller said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Sealed>,
}

/// A SKU that an order wanted and did not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// The stock keeping unit.
    pub sku: Sku,
    /// The units that the order asked for.
    pub requested: i64,
    /// The units that were free.
    pub available: i64,
}
