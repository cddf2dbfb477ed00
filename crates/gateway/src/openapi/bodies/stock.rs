//! What ERP connectors send.

use events::id::{
    Connector, DocumentId, DocumentLine, LineId, Location, OrderId, Quantity, Sku, TransferId,
};
use protocol::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

use super::{LineResult, UploadStatus};

/// A document, with what all of them have.
macro_rules! stock_document {
    ($(#[$doc:meta])* $name:ident, $kind:ident = $value:literal, { $($fields:tt)* }) => {
        #[doc = concat!("Always `", $value, "`.")]
        #[derive(ToSchema)]
        pub(crate) enum $kind {
            #[schema(rename = $value)]
            Only,
        }

        $(#[$doc])*
        #[derive(ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            // Its type says what it is: utoipa cannot describe both.
            #[serde(rename = "type")]
            #[schema(inline)]
            kind: $kind,
            /// The stock keeping unit.
            sku: Sku,
            /// Where the units are; the shop's `default_location` unless it is given.
            location: Option<Location>,
            /// The connector that sends it.
            connector: Connector,
            /// The document. It has one effect, however often it comes.
            document: DocumentId,
            /// The line of the document, where it has several.
            document_line: Option<DocumentLine>,
            /// The connector's own ascending number.
            #[schema(minimum = 0)]
            sequence: i64,
            /// Which numbering the sequence belongs to. All of a larger epoch is newer.
            #[schema(minimum = 0, maximum = 4_294_967_295_i64, default = 0)]
            epoch: Option<i64>,
            $($fields)*
        }
    };
}

stock_document! {
    /// What was counted: it replaces the units on hand.
    StockCount, CountType = "count", {
        /// The units that were counted.
        #[schema(minimum = 0, maximum = 1_000_000_000)]
        quantity: i64,
        /// As of when it was counted. What other connectors changed after it stays.
        as_of: Option<Timestamp>,
        /// The units on hand that there must be before it.
        #[schema(minimum = -1_000_000_000, maximum = 1_000_000_000)]
        expected: Option<i64>,
    }
}

stock_document! {
    /// A change of the units on hand.
    StockAdjustment, AdjustmentType = "adjustment", {
        /// By how many units there are more.
        #[schema(minimum = -1_000_000_000, maximum = 1_000_000_000)]
        delta: i64,
        /// Why.
        #[schema(min_length = 1, max_length = 200)]
        reason: String,
        /// When it happened; when it comes unless it is given.
        occurred_at: Option<Timestamp>,
        /// The units on hand that there must be before it.
        #[schema(minimum = -1_000_000_000, maximum = 1_000_000_000)]
        expected: Option<i64>,
    }
}

stock_document! {
    /// Units that have left for an order.
    StockGoodsIssue, GoodsIssueType = "goods_issue", {
        /// The order.
        order_id: OrderId,
        /// The line of the order, where the connector knows it.
        line_id: Option<LineId>,
        /// The units.
        quantity: Quantity,
        /// When it happened; when it comes unless it is given.
        occurred_at: Option<Timestamp>,
    }
}

stock_document! {
    /// Units that have left for another location.
    StockTransferOut, TransferOutType = "transfer_out", {
        /// The transfer's own name.
        transfer: TransferId,
        /// The location that they are for.
        to: Location,
        /// The units.
        quantity: Quantity,
        /// When it happened; when it comes unless it is given.
        occurred_at: Option<Timestamp>,
    }
}

stock_document! {
    /// Units that have come from another location.
    StockTransferIn, TransferInType = "transfer_in", {
        /// The transfer's own name.
        transfer: TransferId,
        /// The units; 0 only when the transfer is complete with it.
        #[schema(minimum = 0, maximum = 1_000_000_000)]
        quantity: i64,
        /// Whether no more will come: what has left and has not come is then missing.
        #[schema(default = false)]
        complete: Option<bool>,
        /// When it happened; when it comes unless it is given.
        occurred_at: Option<Timestamp>,
    }
}

/// A document of an ERP.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(discriminator(property_name = "type", mapping(
    ("count" = "#/components/schemas/StockCount"),
    ("adjustment" = "#/components/schemas/StockAdjustment"),
    ("goods_issue" = "#/components/schemas/StockGoodsIssue"),
    ("transfer_out" = "#/components/schemas/StockTransferOut"),
    ("transfer_in" = "#/components/schemas/StockTransferIn"),
)))]
pub(crate) enum StockDocument {
    Count(StockCount),
    Adjustment(StockAdjustment),
    GoodsIssue(StockGoodsIssue),
    TransferOut(StockTransferOut),
    TransferIn(StockTransferIn),
}

/// Many documents.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StockDocuments {
    /// The documents. Each has a result of its own.
    #[schema(max_items = 10000)]
    lines: Vec<StockDocument>,
}

/// One document of an ERP, or many.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum StockBody {
    One(StockDocument),
    Many(StockDocuments),
}

/// Units that have left for an order.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFulfilment {
    // Its type says what it is: utoipa cannot describe both.
    #[serde(rename = "type")]
    #[schema(inline)]
    kind: Option<GoodsIssueType>,
    /// The stock keeping unit.
    sku: Sku,
    /// The order.
    order_id: OrderId,
    /// The line of the order, where the connector knows it.
    line_id: Option<LineId>,
    /// The units.
    quantity: Quantity,
    /// Where the units were; the shop's `default_location` unless it is given.
    location: Option<Location>,
    /// When it happened; when it comes unless it is given.
    occurred_at: Option<Timestamp>,
    /// The connector that sends it.
    connector: Connector,
    /// The document. It has one effect, however often it comes.
    document: DocumentId,
    /// The line of the document, where it has several.
    document_line: Option<DocumentLine>,
    /// The connector's own ascending number.
    #[schema(minimum = 0)]
    sequence: i64,
    /// Which numbering the sequence belongs to. All of a larger epoch is newer.
    #[schema(minimum = 0, maximum = 4_294_967_295_i64, default = 0)]
    epoch: Option<i64>,
}

/// Many goods issues.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFulfilments {
    /// The goods issues. Each has a result of its own.
    #[schema(max_items = 10000)]
    lines: Vec<NewFulfilment>,
}

/// One goods issue, or many.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum FulfilmentBody {
    One(NewFulfilment),
    Many(NewFulfilments),
}

/// What became of an upload of stock documents.
#[derive(ToSchema)]
pub(crate) struct StockReport {
    /// How many lines had their effect.
    applied: u64,
    /// How many lines had it before, or are contained in something newer.
    unchanged: u64,
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

/// What a location is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum LocationKind {
    Warehouse,
    Store,
    Other,
}

/// A location. What is absent has its default.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLocation {
    /// What it is.
    #[schema(default = "warehouse")]
    kind: Option<LocationKind>,
    /// Orders are served from the locations with the smallest numbers first.
    #[schema(minimum = 0, maximum = 4_294_967_295_i64, default = 100)]
    priority: Option<i64>,
    /// Whether orders are served from it.
    #[schema(default = true)]
    fulfils_online: Option<bool>,
    /// Its country as ISO 3166-1 alpha-2.
    #[schema(pattern = "^[A-Z]{2}$", min_length = 2, max_length = 2)]
    country: Option<String>,
    /// Whether it is in use.
    #[schema(default = true)]
    active: Option<bool>,
}

/// How much of a stock is not sold, or sold beyond what is there.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewStockLimits {
    /// The location.
    #[schema(default = "main")]
    location: Option<Location>,
    /// The units that are kept back.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    safety_stock: i64,
    /// The units that are sold beyond those on hand.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    backorder_limit: i64,
    /// Set only in place of these; without them, whatever the limits are.
    expected: Option<ExpectedStockLimits>,
}

/// The limits that a stock must have.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct ExpectedStockLimits {
    /// The units that are kept back.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    safety_stock: i64,
    /// The units that are sold beyond those on hand.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    backorder_limit: i64,
}

/// Which rejected lines are meant, and which part of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RejectionParameters {
    /// Only those of this connector.
    connector: Option<Connector>,
    /// Only those of this document.
    document: Option<DocumentId>,
    /// Only those of this SKU.
    sku: Option<Sku>,
    /// Only those for this reason: the result that the line was answered, such as `unknown_sku`.
    reason: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    /// The most rejected lines of the page.
    #[param(required = false, minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

/// Which rejected lines are meant: those that are all of this.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectionFilter {
    /// Of this connector.
    connector: Option<Connector>,
    /// Of this document.
    document: Option<DocumentId>,
    /// Of this SKU.
    sku: Option<Sku>,
    /// For this reason: the result that the line was answered, such as `unknown_sku`.
    reason: Option<String>,
}

/// Rejected lines that are tried again.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectionsRedrive {
    /// Which; all unless it is given.
    filter: Option<RejectionFilter>,
    /// The `next` of the answer before: the rest of them.
    after: Option<String>,
}

/// Rejected lines that are dropped.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectionsDrop {
    /// Which; all unless it is given.
    filter: Option<RejectionFilter>,
    /// The `next` of the answer before: the rest of them.
    after: Option<String>,
    /// Why.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
}

/// Why a rejected line is dropped.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectionDrop {
    /// Why.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
}
