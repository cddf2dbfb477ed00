//! The JSON of the HTTP API, as the gateway writes it and the Rust client reads it. No service knows
//! these types: between services and gateway there are messages of [`crate::proto`].

mod catalog;
mod erp;
pub mod keys;
pub mod mails;
pub(crate) mod open;
mod orders;
mod personal;
mod positions;
mod status;
pub mod webhooks;

use protocol::{id::Shop, time::Timestamp};
use serde::{Deserialize, Serialize};

pub use self::{
    catalog::{
        AttributeView, CategoryView, ListingView, MediaView, OptionView, TranslationView,
        VariantView,
    },
    erp::{
        ConnectorView, ConnectorsView, InvalidLineView, LastLineView, LineErrorView,
        RejectionResultView, RejectionResultsView, RejectionView, RejectionsView, SequenceGapView,
        StockLineView,
    },
    open::Open,
    orders::{
        Cancellation, Charge, Discount, HoldView, OrderGroup, OrderLine, OrderPaymentView,
        OrderSummary, OrderTotals, OrderView, PaymentAction, PaymentFailure, Shortage,
    },
    personal::{AddressView, NoteView, Opened, PersonalView},
    positions::{AFTER_HEADER, POSITION_HEADER, Positions, PositionsError},
    status::{CancelReason, FulfilmentStatus, OrderStatus, PaymentStatus},
};
use crate::{
    id::{Country, HsCode, ListingKey, Location, OrderId, PaymentId, Sku, TaxClass},
    money::{Currency, Money, TaxBasis},
    shop::Settings,
};

/// A product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProductView {
    /// The stock keeping unit.
    pub sku: Sku,
    /// The title, for people.
    pub title: String,
    /// The price of one unit.
    pub price: PriceView,
    /// Whether it is sold.
    pub active: bool,
    /// The listing whose variant it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing_key: Option<ListingKey>,
    /// How it is taxed, by the shop's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_class: Option<TaxClass>,
    /// The weight of one unit with its packaging, in grams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_g: Option<u32>,
    /// What customs ask of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customs: Option<CustomsView>,
    /// Counts its changes, from 1.
    pub version: u64,
}

/// What customs ask of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CustomsView {
    /// The country in which it was made, as ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country_of_origin: Option<Country>,
    /// The code of the Harmonized System.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hs_code: Option<HsCode>,
}

/// What something is sold for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PriceView {
    /// The amount.
    #[serde(flatten)]
    pub money: Money,
    /// Whether tax is in it.
    #[serde(default = "included")]
    #[cfg_attr(feature = "openapi", schema(required, value_type = TaxBasis))]
    pub tax_basis: Open<TaxBasis>,
}

fn included() -> Open<TaxBasis> {
    Open::Known(TaxBasis::Included)
}

/// A shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShopView {
    /// Its name.
    pub name: Shop,
    /// Whether it takes no requests.
    pub suspended: bool,
    /// How it works: what is put to change it.
    pub settings: Settings,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts its changes, from 1.
    pub version: u64,
}

/// The stock of a SKU at a location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LevelView {
    /// The stock keeping unit.
    pub sku: Sku,
    /// Where the units are.
    pub location: Location,
    /// The units on hand, as the ERP reports them.
    pub on_hand: i64,
    /// The units held for orders that are not yet paid for.
    pub held: i64,
    /// The units that belong to orders.
    pub allocated: i64,
    /// The units that can be sold: on hand, less the safety stock and what is held and allocated, and
    /// the backorder limit above that; never below 0.
    pub available: i64,
    /// Counts the changes by the ERP, from 1.
    pub version: u64,
    /// The units on their way to the location.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub incoming: i64,
    /// The units that are kept back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub safety_stock: i64,
    /// The units that are sold beyond those on hand.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub backorder_limit: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(units: &i64) -> bool {
    *units == 0
}

/// What changed the units on hand of a SKU at a location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MovementView {
    /// The location.
    pub location: Location,
    /// The version of the stock there after it.
    pub version: u64,
    /// The position of its event in the log of inventory.
    pub position: u64,
    /// `count`, `adjustment`, `goods_issue`, `transfer_out` or `transfer_in`, as the ERP sent it.
    #[serde(rename = "type")]
    pub kind: String,
    /// By how many units there are more on hand than before.
    pub moved: i64,
    /// The units on hand there after it.
    pub on_hand: i64,
    /// The order for which units left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// The transfer by which units left or came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<String>,
    /// The connector that pushed it.
    pub connector: String,
    /// The document.
    pub document: String,
    /// The line of the document, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_line: Option<String>,
    /// When it happened; when it came, where the connector did not say.
    pub time: Timestamp,
}

/// A goods issue: what has left for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FulfilmentView {
    /// The order.
    pub order_id: OrderId,
    /// The stock keeping unit.
    pub sku: Sku,
    /// The units that have left.
    pub quantity: i64,
    /// Where from.
    pub location: Location,
    /// The position of its event in the log of inventory.
    pub position: u64,
    /// The connector that pushed it.
    pub connector: String,
    /// The document.
    pub document: String,
    /// The line of the document, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_line: Option<String>,
    /// When it happened; when it came, where the connector did not say.
    pub time: Timestamp,
}

/// The stock of a SKU at all its locations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StockView {
    /// The stock keeping unit.
    pub sku: Sku,
    /// The units on hand.
    pub on_hand: i64,
    /// The units held for orders that are not yet paid for.
    pub held: i64,
    /// The units that belong to orders.
    pub allocated: i64,
    /// The units on their way between locations.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub incoming: i64,
    /// The units that can be sold, at the locations from which orders are served.
    pub available: i64,
    /// The same by location.
    pub locations: Vec<LevelView>,
}

/// A location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LocationView {
    /// Its code.
    pub code: Location,
    /// `warehouse`, `store` or `other`.
    pub kind: String,
    /// Orders are served from the locations with the smallest numbers first.
    pub priority: u32,
    /// Whether orders are served from it.
    pub fulfils_online: bool,
    /// Its country as ISO 3166-1 alpha-2; empty when it is not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub country: String,
    /// Whether it is in use.
    pub active: bool,
    /// Counts its changes, from 1; 0 for `main` as it is from the beginning.
    pub version: u64,
}

/// A payment of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PaymentView {
    /// Its id.
    pub id: PaymentId,
    /// The order that is paid.
    pub order_id: OrderId,
    /// Its status, for example `captured`.
    pub status: String,
    /// What the order asks for, in minor units.
    pub amount: i64,
    /// The currency of all amounts.
    pub currency: Currency,
    /// The payment provider.
    pub provider: String,
    /// The provider's name for the authorisation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider_reference: String,
    /// What was authorised, less what was voided, in minor units.
    pub authorized: i64,
    /// What was captured, in minor units.
    pub captured: i64,
    /// What was paid back, in minor units.
    pub refunded: i64,
    /// Why an operation of it cannot be brought to an end without an operator, if one cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
    /// What the customer has to do before the payment goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<PaymentAction>,
    /// What was asked of the provider, in order.
    pub transactions: Vec<TransactionView>,
    /// The differences between the provider's list and the log that an operator has to settle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<OpenDifferenceView>,
    /// Counts its events, from 1.
    pub version: u64,
}

/// A difference between the provider's list and the log that an operator has to settle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenDifferenceView {
    /// The idempotency key of the operation.
    pub operation_id: String,
    /// `unknown_to_us`, `unknown_to_provider` or `amount_differs`.
    pub reason: String,
    /// What the provider's list says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// When it was found.
    pub found_at: Timestamp,
}

/// A payment in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PaymentSummary {
    /// Its id.
    pub id: PaymentId,
    /// The order that is paid.
    pub order_id: OrderId,
    /// Its status, for example `captured`.
    pub status: String,
    /// What the order asks for, in minor units.
    pub amount: i64,
    /// The currency of all amounts.
    pub currency: Currency,
    /// The payment provider.
    pub provider: String,
    /// The provider's name for the authorisation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider_reference: String,
    /// What was authorised, less what was voided, in minor units.
    pub authorized: i64,
    /// What was captured, in minor units.
    pub captured: i64,
    /// What was paid back, in minor units.
    pub refunded: i64,
    /// Why an operation of it cannot be brought to an end without an operator, if one cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// Counts its events, from 1.
    pub version: u64,
    /// The position of its last event in the log of payments.
    pub position: u64,
}

/// What was asked of a payment provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TransactionView {
    /// The idempotency key and our reference at the provider.
    pub operation_id: String,
    /// What was asked: `authorization`, `capture`, `void`, `refund`.
    pub kind: String,
    /// The amount in minor units.
    pub amount: i64,
    /// What has become of it: `pending`, `uncertain`, `stuck`, `done`, `refused`, `failed`, `given_up`.
    pub status: String,
    /// The provider's code, or how it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The refund that it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refund_id: String,
    /// Why, as whoever asked for the refund said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When it was decided.
    pub time: Timestamp,
}

/// What payments counts over a shop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PaymentTotals {
    /// The sums, one for each currency of payments or of the provider's ledger, by its code.
    pub currencies: Vec<CurrencyTotals>,
    /// Operations whose outcome is not known yet.
    pub pending: i64,
    /// Payments that an operator has to settle.
    pub stuck: i64,
}

/// The money of a shop in one currency, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CurrencyTotals {
    /// The currency.
    pub currency: Currency,
    /// Captured.
    pub captured: i64,
    /// Paid back.
    pub refunded: i64,
    /// Authorised and neither captured nor voided.
    pub authorized: i64,
    /// What the provider's own ledger says was captured, less what it paid back.
    pub provider_net: i64,
    /// What the provider's own ledger holds authorised and neither captured nor voided.
    pub provider_held: i64,
}

impl PaymentTotals {
    /// The sums in a currency: nothing where there are none.
    pub fn of(&self, currency: Currency) -> CurrencyTotals {
        let known = self.currencies.iter().find(|totals| totals.currency == currency);
        known.copied().unwrap_or(CurrencyTotals {
            currency,
            captured: 0,
            refunded: 0,
            authorized: 0,
            provider_net: 0,
            provider_held: 0,
        })
    }
}

/// What the inventory counts over a shop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StockTotals {
    /// Units on hand.
    pub on_hand: i64,
    /// Units held.
    pub held: i64,
    /// Units allocated.
    pub allocated: i64,
    /// The SKUs that were ever counted or adjusted.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub skus: i64,
    /// The SKUs of which more is promised than there is, at one location or another.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub oversold_skus: i64,
}
