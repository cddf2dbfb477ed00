//! The statuses of an order, and why it was cancelled.

use serde::{Deserialize, Serialize};

use super::open::displayed;

/// The status of an order. What is paid and what has shipped have statuses of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Its stock and its payment are not yet certain.
    Placed,
    /// Its stock is allocated and its payment is certain: it is to be shipped.
    Confirmed,
    /// All of it has shipped, and all that was to be paid is paid.
    Completed,
    /// Nothing more ships, and what was paid is refunded.
    Cancelled,
}

impl OrderStatus {
    /// The status as it is in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Confirmed => "confirmed",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is paid of an order, or by one of its payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Nothing is paid or authorised yet; or the order is on account.
    Pending,
    /// The customer must do something before the payment goes on.
    ActionRequired,
    /// The total is authorised, and not yet captured in full.
    Authorized,
    /// All is paid; or nothing was to be paid.
    Paid,
    /// A part of what was paid is refunded.
    PartiallyRefunded,
    /// All that was paid is refunded.
    Refunded,
    /// The last payment failed. Another may be started while the stock is held.
    Failed,
}

impl PaymentStatus {
    /// The status as it is in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::ActionRequired => "action_required",
            Self::Authorized => "authorized",
            Self::Paid => "paid",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Failed => "failed",
        }
    }
}

/// What of an order has shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FulfilmentStatus {
    /// Nothing has shipped.
    Unfulfilled,
    /// A part has shipped.
    Partial,
    /// All has shipped.
    Fulfilled,
    /// A part of what has shipped has come back.
    PartiallyReturned,
    /// All that has shipped has come back.
    Returned,
}

impl FulfilmentStatus {
    /// The status as it is in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unfulfilled => "unfulfilled",
            Self::Partial => "partial",
            Self::Fulfilled => "fulfilled",
            Self::PartiallyReturned => "partially_returned",
            Self::Returned => "returned",
        }
    }
}

/// Why an order was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
    /// The reason as it is in JSON and in the database.
    pub fn as_str(self) -> &'static str {
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

displayed!(OrderStatus, PaymentStatus, FulfilmentStatus, CancelReason);
