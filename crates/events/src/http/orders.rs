//! Orders: their statuses, what was ordered, what became of it.

use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{NoteView, Opened, PersonalView};
use crate::{
    id::{CustomerId, LineId, Location, OrderId, PaymentId, Quantity, Reference, Sku},
    money::{Currency, Tax, TaxBasis},
};

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

/// A SKU that an order wanted and did not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Shortage {
    /// The stock keeping unit.
    pub sku: Sku,
    /// The units that the order asked for.
    pub requested: i64,
    /// The units that were free.
    pub available: i64,
}

/// One line of an order; amounts in the minor unit of the order's currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderLine {
    /// Identifies the line in its order.
    pub line_id: LineId,
    /// The stock keeping unit.
    pub sku: Sku,
    /// The title as sold.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
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
    /// The units that are held for the order, or belong to it, and are still to be shipped. 0 until stock is held.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub held: i64,
    /// The units that have shipped.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub shipped: i64,
    /// The units that will not be shipped, since the order is cancelled.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub cancelled: i64,
}

/// What a line costs less.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Discount {
    /// Why, for example `SUMMER`.
    pub code: String,
    /// The amount for the whole line, in minor units.
    pub amount: i64,
}

/// Money that is not for goods: shipping, a fee; below 0 for a rebate on the whole order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Charge {
    /// What it is for, for example `POST`.
    pub code: String,
    /// The amount in the minor unit of the order's currency.
    pub amount: i64,
    /// The tax on it, as the caller gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax: Option<Tax>,
}

/// A payment of an order, as the order knows it; amounts in minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderPaymentView {
    /// Its id.
    pub id: PaymentId,
    /// What became of it.
    pub status: PaymentStatus,
    /// What was captured by it.
    pub captured: i64,
    /// What was refunded of it.
    pub refunded: i64,
    /// Why it failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<PaymentFailure>,
    /// What the customer must do, while that is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<PaymentAction>,
}

/// Why a payment failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PaymentFailure {
    /// The provider's code; empty when it was not the provider that refused.
    pub code: String,
    /// More about it, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What the customer must do before a payment goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PaymentAction {
    /// Where it is done; empty when the client does without.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// What the provider's client needs for it; empty for nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data: String,
    /// Until when it can be done, where the provider says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Why an order is on hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HoldView {
    /// Why: `stock_short`.
    pub reason: String,
    /// What there is too little of.
    pub sku: Sku,
    /// Where.
    pub location: Location,
}

/// Why an order is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cancellation {
    /// Why.
    pub reason: CancelReason,
    /// More about it, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The SKUs that there was too little of, when that was the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortages: Vec<Shortage>,
    /// What the caller said about it; never in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Opened<NoteView>>,
}

/// An order in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderSummary {
    /// Its id.
    pub id: OrderId,
    /// The shop's own number of it: ascending from 1, without gaps.
    pub number: u64,
    /// The caller's own order number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// Its status.
    pub status: OrderStatus,
    /// What is paid.
    pub payment_status: PaymentStatus,
    /// What has shipped.
    pub fulfilment_status: FulfilmentStatus,
    /// Whether it is on hold.
    pub on_hold: bool,
    /// The customer; absent for a guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<CustomerId>,
    /// Lines and charges together, in minor units.
    pub total: i64,
    /// The currency of the total.
    pub currency: Currency,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts its events, from 1.
    pub version: u64,
    /// The position of its last event in the log of orders.
    pub position: u64,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderView {
    /// Its id.
    pub id: OrderId,
    /// The shop's own number of it: ascending from 1, without gaps.
    pub number: u64,
    /// The caller's own order number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// Its status.
    pub status: OrderStatus,
    /// What is paid.
    pub payment_status: PaymentStatus,
    /// What has shipped.
    pub fulfilment_status: FulfilmentStatus,
    /// The customer; absent for a guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<CustomerId>,
    /// The country that it goes to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub country: String,
    /// The country of who is billed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub billing_country: String,
    /// Whether tax is in the prices.
    pub tax_basis: TaxBasis,
    /// What is ordered.
    pub lines: Vec<OrderLine>,
    /// Money that is not for goods.
    pub charges: Vec<Charge>,
    /// Lines and charges together, in minor units.
    pub total: i64,
    /// The currency of all amounts.
    pub currency: Currency,
    /// The payments that were started, from the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payments: Vec<OrderPaymentView>,
    /// Why it is on hold, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldView>,
    /// Why it is cancelled, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Cancellation>,
    /// What is personal in it, when something is; never in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal: Option<Opened<PersonalView>>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts its events, from 1.
    pub version: u64,
}

impl OrderView {
    /// Whether it is paid or cancelled.
    pub fn is_settled(&self) -> bool {
        is_settled(self.status, self.payment_status)
    }
}

fn is_settled(status: OrderStatus, payment_status: PaymentStatus) -> bool {
    let is_paid = match payment_status {
        PaymentStatus::Paid | PaymentStatus::PartiallyRefunded | PaymentStatus::Refunded => true,
        PaymentStatus::Pending
        | PaymentStatus::ActionRequired
        | PaymentStatus::Authorized
        | PaymentStatus::Failed => false,
    };
    is_paid || matches!(status, OrderStatus::Completed | OrderStatus::Cancelled)
}

/// What a service counts over a shop, for reports and checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderTotals {
    /// One for each combination of statuses and cancel reason that occurs.
    pub groups: Vec<OrderGroup>,
}

/// The orders that ended alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderGroup {
    /// Their status.
    pub status: OrderStatus,
    /// What is paid.
    pub payment_status: PaymentStatus,
    /// What has shipped.
    pub fulfilment_status: FulfilmentStatus,
    /// Why they are cancelled, when they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
    /// How many there are.
    pub orders: i64,
    /// Their totals together, in minor units.
    pub total: i64,
}

impl OrderGroup {
    /// Whether they are paid or cancelled.
    pub fn is_settled(&self) -> bool {
        is_settled(self.status, self.payment_status)
    }

    /// Whether they are paid, and not cancelled since.
    pub fn is_paid(&self) -> bool {
        self.is_settled() && self.status != OrderStatus::Cancelled
    }
}
