//! What an order is made of.

use events::id::{Quantity, Sku};
use serde::{Deserialize, Serialize};

/// The status of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Waits for its stock to be held.
    Placed,
    /// Waits for its payment to be authorised.
    PaymentDue,
    /// Waits for its stock to be allocated.
    Authorized,
    /// Stands; its payment is being captured.
    Confirmed,
    /// Paid: the end of the saga.
    Paid,
    /// Cancelled: the end of the saga.
    Cancelled,
}

impl OrderStatus {
    /// Every status, in the order of the saga.
    pub(crate) const ALL: [Self; 6] = [
        Self::Placed,
        Self::PaymentDue,
        Self::Authorized,
        Self::Confirmed,
        Self::Paid,
        Self::Cancelled,
    ];

    /// The status as it is in the database and in metrics.
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

    /// Whether nothing follows it.
    #[cfg(test)]
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Paid | Self::Cancelled)
    }
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
    /// The payment was declined.
    PaymentDeclined,
    /// The payment could not be carried out.
    PaymentFailed,
    /// The payment did not answer in time.
    PaymentTimeout,
    /// The hold ran out before the payment was authorised, and the stock was gone.
    StockLost,
    /// The authorised money could not be captured.
    CaptureFailed,
}

impl CancelReason {
    /// Every reason.
    pub(crate) const ALL: [Self; 8] = [
        Self::Requested,
        Self::OutOfStock,
        Self::StockTimeout,
        Self::PaymentDeclined,
        Self::PaymentFailed,
        Self::PaymentTimeout,
        Self::StockLost,
        Self::CaptureFailed,
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
        }
    }
}

/// One SKU of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderLine {
    /// The stock keeping unit.
    pub sku: Sku,
    /// The units.
    pub quantity: Quantity,
    /// The price of one unit as sold, in the minor unit of the order's currency.
    pub unit_price: i64,
}

/// Money that is not for goods: shipping, a fee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Charge {
    /// What it is for, for example `POST`.
    pub code: String,
    /// The amount in the minor unit of the order's currency.
    pub amount: i64,
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
