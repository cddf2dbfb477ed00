//! The bodies of requests, as they are described. The readers of the resources say what is wrong with all fields at
//! once, so they do not deserialise into these types: a test compares the two, field by field.

#![expect(dead_code, reason = "these types are descriptions")]

mod catalog;
mod keys;
mod mails;
mod orders;
mod stock;
mod webhooks;

use events::{
    id::{Country, HsCode, ListingKey, Location, Sku, TaxClass},
    money::{Currency, TaxBasis},
    shop::{Capture, ShortRule},
};
use protocol::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

pub(crate) use self::{
    catalog::{NewCategory, NewListing},
    keys::{KeyRevocation, KeyRotation, NewKey},
    mails::NewMailSettings,
    orders::{NewOrder, NewPayment, NewRefund, NewSettlement, OrderNote},
    stock::{
        FulfilmentBody, NewLocation, NewStockLimits, RejectionDrop, RejectionParameters,
        RejectionsDrop, RejectionsRedrive, StockBody, StockReport,
    },
    webhooks::{
        EndpointChanges, EndpointDisabling, EndpointEnabling, NewEndpoint, NewReplay,
        SecretRotation,
    },
};
use crate::problem::FieldError;

/// Why a shop is suspended or resumed.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShopSuspension {
    /// In the caller's words.
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
}

/// All settings of a shop. Those that are absent have their defaults.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShopSettings {
    /// The currency of its orders; null: any.
    currency: Option<Currency>,
    /// The countries that it sells to, as its orders name them; empty: any.
    #[schema(max_items = 300, default = json!([]))]
    countries: Option<Vec<String>>,
    /// Whether its prices include tax.
    #[schema(default = "included")]
    tax_basis: Option<TaxBasis>,
    /// When the money of an order is captured.
    #[schema(default = "on_confirmation")]
    capture: Option<Capture>,
    /// Whether an order may be served from several locations, and ship in parts.
    #[schema(default = false)]
    split_shipments: Option<bool>,
    /// How long stock is held for an unpaid order; null: as the installation says.
    #[schema(minimum = 1, maximum = 2_592_000)]
    hold_seconds: Option<u32>,
    /// How long a payment may take; null: as the installation says.
    #[schema(minimum = 1, maximum = 2_592_000)]
    payment_seconds: Option<u32>,
    /// The location of stock lines that name none.
    #[schema(default = "main")]
    default_location: Option<Location>,
    /// What becomes of the newest orders that cannot be served when stock is short.
    #[schema(default = "hold")]
    short_rule: Option<ShortRule>,
    /// Whether orders may be placed on account.
    #[schema(default = false)]
    on_account: Option<bool>,
    /// The payment methods that are taken in one step, each by how it begins; empty: none.
    #[schema(max_items = 100, default = json!([]))]
    one_step_methods: Option<Vec<String>>,
}

/// What something is sold for.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPrice {
    /// The amount in minor units (pence, cents).
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    minor: i64,
    /// The currency.
    currency: Currency,
    /// Whether tax is in it; as the shop says unless it is given.
    tax_basis: Option<TaxBasis>,
}

/// What customs ask of a product.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCustoms {
    /// The country in which it was made.
    country_of_origin: Option<Country>,
    /// The code of the Harmonized System, 6 digits, or up to 10 with those of a country or union.
    hs_code: Option<HsCode>,
}

/// A product. What is absent or null it does not have from then on.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProduct {
    /// The title, for people.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    /// The price of one unit.
    price: NewPrice,
    /// Whether it is sold.
    #[schema(default = true)]
    active: Option<bool>,
    /// The listing whose variant it is; there need not be one yet.
    listing_key: Option<ListingKey>,
    /// How it is taxed, by the shop's own name for it.
    tax_class: Option<TaxClass>,
    /// The weight of one unit with its packaging, in grams.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    weight_g: Option<i64>,
    /// What customs ask of it.
    customs: Option<NewCustoms>,
    /// When this was so: a product that changed later is left as it is.
    as_of: Option<Timestamp>,
    /// The version that it must have; 0: there must be none. When a product that had its effect is sent again, the
    /// result is `unchanged`.
    #[schema(minimum = 0)]
    expected_version: Option<i64>,
}

/// A product with its SKU. Where `listing_key`, `tax_class`, `weight_g`, `customs` or a member of `customs` is absent,
/// what the product has stays; null takes it away.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductLine {
    /// The stock keeping unit.
    sku: Sku,
    /// The title, for people.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    /// The price of one unit.
    price: NewPrice,
    /// Whether it is sold.
    #[schema(default = true)]
    active: Option<bool>,
    /// The listing whose variant it is; there need not be one yet.
    listing_key: Option<ListingKey>,
    /// How it is taxed, by the shop's own name for it.
    tax_class: Option<TaxClass>,
    /// The weight of one unit with its packaging, in grams.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    weight_g: Option<i64>,
    /// What customs ask of it.
    customs: Option<NewCustoms>,
    /// When this was so: a product that changed later is left as it is.
    as_of: Option<Timestamp>,
    /// The version that it must have; 0: there must be none. When a product that had its effect is sent again, the
    /// result is `unchanged`.
    #[schema(minimum = 0)]
    expected_version: Option<i64>,
}

/// Many products.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProducts {
    /// The products. Each has a result of its own.
    #[schema(max_items = 10000)]
    products: Vec<ProductLine>,
}

/// What is said of an upload beside its lines.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadParameters {
    /// Of NDJSON and CSV: the lines before this one are passed over, since they were answered before.
    from_line: Option<u64>,
}

/// What became of an upload of products.
#[derive(ToSchema)]
pub(crate) struct ProductReport {
    /// How many products are as they were sent.
    accepted: u64,
    /// How many had changed later than their `as_of`.
    stale: u64,
    /// How many lines are wrong.
    rejected: u64,
    /// How many lines are stored and not yet answered.
    #[serde(default)]
    pending: u64,
    /// Of how many lines it is not known what became of them.
    #[serde(default)]
    unanswered: u64,
    /// Whether all lines were handled.
    status: UploadStatus,
    /// The line to go on from: it is known what became of all before it.
    next_line: u64,
    /// Of `interrupted`: why, for programs.
    code: Option<String>,
    /// Of `interrupted`: why, for people.
    detail: Option<String>,
    /// The result of each line, in order.
    results: Vec<LineResult>,
}

/// How far an upload came.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum UploadStatus {
    /// All lines were handled.
    Complete,
    /// Some lines are stored and not yet answered.
    Pending,
    /// No further lines were handled: `code` and `detail` say why.
    Interrupted,
}

/// What became of a line.
#[derive(ToSchema)]
pub(crate) struct LineResult {
    /// Its number, from 0.
    line: u64,
    /// Its SKU, if it could be read.
    #[serde(default)]
    sku: String,
    /// Its document.
    #[serde(default)]
    document: String,
    /// Its line in the document.
    #[serde(default)]
    document_line: String,
    /// What became of it, such as `created`, `applied`, `duplicate` or `rejected`.
    result: String,
    /// What is to be done about it.
    #[serde(default)]
    detail: String,
    /// Of `pending` and `unanswered`: the id of the command that carries it, to follow at `/commands/{command_id}`.
    #[serde(default)]
    command_id: String,
    /// Of a `mismatch`: the units on hand that the line expected.
    #[serde(default)]
    expected: i64,
    /// Of a `mismatch`: the units on hand that there are.
    #[serde(default)]
    on_hand: i64,
    /// What is wrong with it.
    #[serde(default)]
    errors: Vec<FieldError>,
}
