//! Orders: what was ordered, what became of it.

use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    CancelReason, FulfilmentStatus, NoteView, Open, Opened, OrderStatus, PaymentStatus,
    PersonalView,
};
use crate::{
    id::{CustomerId, LineId, Location, OrderId, PaymentId, Quantity, Reference, Sku},
    money::{Currency, Money, Tax, TaxBasis},
};

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
pub struct Discount {
    /// Why, for example `SUMMER`.
    pub code: String,
    /// The amount for the whole line, in minor units.
    pub amount: i64,
}

/// Money that is not for goods: shipping, a fee; below 0 for a rebate on the whole order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentStatus))]
    pub status: Open<PaymentStatus>,
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
    #[cfg_attr(feature = "openapi", schema(value_type = CancelReason))]
    pub reason: Open<CancelReason>,
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
    #[cfg_attr(feature = "openapi", schema(value_type = OrderStatus))]
    pub status: Open<OrderStatus>,
    /// What is paid.
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentStatus))]
    pub payment_status: Open<PaymentStatus>,
    /// What has shipped.
    #[cfg_attr(feature = "openapi", schema(value_type = FulfilmentStatus))]
    pub fulfilment_status: Open<FulfilmentStatus>,
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
    #[cfg_attr(feature = "openapi", schema(value_type = OrderStatus))]
    pub status: Open<OrderStatus>,
    /// What is paid.
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentStatus))]
    pub payment_status: Open<PaymentStatus>,
    /// What has shipped.
    #[cfg_attr(feature = "openapi", schema(value_type = FulfilmentStatus))]
    pub fulfilment_status: Open<FulfilmentStatus>,
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
    #[cfg_attr(feature = "openapi", schema(value_type = TaxBasis))]
    pub tax_basis: Open<TaxBasis>,
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
        is_settled(&self.status, &self.payment_status)
    }
}

/// An order of a status that this version does not know is taken for one that is not settled: who waits
/// for it stops by his own timeout.
fn is_settled(status: &Open<OrderStatus>, payment_status: &Open<PaymentStatus>) -> bool {
    let is_paid = match payment_status {
        Open::Known(
            PaymentStatus::Paid | PaymentStatus::PartiallyRefunded | PaymentStatus::Refunded,
        ) => true,
        Open::Known(
            PaymentStatus::Pending
            | PaymentStatus::ActionRequired
            | PaymentStatus::Authorized
            | PaymentStatus::Failed,
        )
        | Open::Other(_) => false,
    };
    is_paid || matches!(status, Open::Known(OrderStatus::Completed | OrderStatus::Cancelled))
}

/// What a service counts over a shop, for reports and checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderTotals {
    /// One for each combination of statuses, cancel reason and currency that occurs.
    pub groups: Vec<OrderGroup>,
}

/// The orders that ended alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderGroup {
    /// Their status.
    #[cfg_attr(feature = "openapi", schema(value_type = OrderStatus))]
    pub status: Open<OrderStatus>,
    /// What is paid.
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentStatus))]
    pub payment_status: Open<PaymentStatus>,
    /// What has shipped.
    #[cfg_attr(feature = "openapi", schema(value_type = FulfilmentStatus))]
    pub fulfilment_status: Open<FulfilmentStatus>,
    /// Why they are cancelled, when they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<CancelReason>))]
    pub reason: Option<Open<CancelReason>>,
    /// How many there are.
    pub orders: i64,
    /// Their totals together.
    pub total: Money,
}

impl OrderGroup {
    /// Whether they are paid or cancelled.
    pub fn is_settled(&self) -> bool {
        is_settled(&self.status, &self.payment_status)
    }

    /// Whether they are paid, and not cancelled since.
    pub fn is_paid(&self) -> bool {
        self.is_settled() && self.status != OrderStatus::Cancelled
    }
}
