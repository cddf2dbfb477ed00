//! What is known of ERP connectors, and of the lines of theirs that were rejected.

use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What has come from a connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConnectorView {
    /// Its name.
    pub connector: String,
    /// The last line that had its effect; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastLineView>,
    /// The largest epoch of a line that came, whatever became of it.
    pub epoch: u32,
    /// The largest sequence of that epoch.
    pub sequence: u64,
    /// The sequences that are missing between the first that came of the epoch and the largest, in
    /// ascending order: at most 100 gaps.
    pub gaps: Vec<SequenceGapView>,
    /// How many older gaps of the epoch are not kept because there were too many.
    pub forgotten_gaps: u64,
    /// How many lines had their effect.
    pub applied: u64,
    /// How many changed nothing: they had their effect before, or a newer count contains them.
    pub repeated: u64,
    /// How often lines were rejected.
    pub rejected: u64,
    /// How many rejected lines are kept, to be mended.
    pub rejections: u64,
    /// How many are not kept any more because there were too many.
    pub displaced: u64,
    /// When a line came last, whatever became of it, or one that was rejected was tried again.
    pub heard: Timestamp,
    /// How long ago that was, in seconds.
    pub silent_seconds: u64,
}

/// Sequences of a connector that have not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SequenceGapView {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// The last line of a connector that had its effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LastLineView {
    /// The document.
    pub document: String,
    /// The line of the document, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_line: Option<String>,
    /// The numbering that the sequence belongs to.
    pub epoch: u32,
    /// The connector's number of it.
    pub sequence: u64,
    /// When it happened, where the line says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// When it came.
    pub time: Timestamp,
    /// How long after it happened it came, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<u64>,
}

/// A line that was rejected, and is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RejectionView {
    /// Its id: `<connector>.<number>`.
    pub id: String,
    /// Why: the result that the line was answered, such as `unknown_sku`.
    pub reason: String,
    /// The same for people, with what to do about it.
    pub detail: String,
    /// With `mismatch`: the units on hand when it was rejected last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_hand: Option<i64>,
    /// The line, as it can be sent again; absent with `invalid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<StockLineView>,
    /// With `invalid`: what was sent, and what is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<InvalidLineView>,
    /// When it was rejected first.
    pub first_time: Timestamp,
    /// When it was rejected last.
    pub last_time: Timestamp,
    /// How often it was rejected.
    pub times: u64,
}

/// A line that is no stock line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InvalidLineView {
    /// The connector: the one that the line names, that the lines beside it name, or that sent it; `unnamed` where none is
    /// known.
    pub connector: String,
    /// The document, where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The line of the document, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_line: Option<String>,
    /// The stock keeping unit, where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// The number of the line in the upload, from 0.
    pub upload_line: u64,
    /// What was sent, as JSON: the fields of a stock line that it has, or the values of a line of CSV that has others
    /// than its header. At most 1,000 bytes, without values that hold the number of a payment card.
    pub text: String,
    /// What is wrong: at most five errors.
    pub errors: Vec<LineErrorView>,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LineErrorView {
    /// The field; empty for the line as a whole.
    pub field: String,
    /// The same as a JSON pointer in a URI fragment, where the line is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What is wrong with it.
    pub detail: String,
}

/// A stock line, as a connector sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StockLineView {
    /// `count`, `adjustment`, `goods_issue`, `transfer_out` or `transfer_in`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The stock keeping unit.
    pub sku: String,
    /// Where the units are; in a line that is sent, empty: at the default location of the shop.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// The units: those counted, or those that left or came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    /// Of an adjustment: the units added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<i64>,
    /// Of an adjustment: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a goods issue: the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// Of a goods issue: the line of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_id: Option<String>,
    /// The transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<String>,
    /// The location that a transfer is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Whether no more will come by the transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// The units on hand that the connector expects before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<i64>,
    /// Of a count: the time as of which it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Of the others: when it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// The connector that pushed it.
    pub connector: String,
    /// The document.
    pub document: String,
    /// The line of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_line: Option<String>,
    /// The connector's number of it.
    pub sequence: u64,
    /// The numbering that the sequence belongs to, if it is not the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
}

/// A page of rejected lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RejectionsView {
    /// By connector, and in the order in which they were rejected first.
    pub rejections: Vec<RejectionView>,
    /// The `after` of the next page; null at the end.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<String>,
}

/// A page of connectors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConnectorsView {
    /// By name.
    pub connectors: Vec<ConnectorView>,
    /// The `after` of the next page; null at the end.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<String>,
}

/// What became of rejected lines that were tried again, or dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RejectionResultsView {
    /// Of each line.
    pub results: Vec<RejectionResultView>,
    /// The `after` with which the rest is handled; null when there is none.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next: Option<String>,
}

/// What became of a rejected line that was tried again, or dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RejectionResultView {
    /// Its id.
    pub id: String,
    /// The result of the line; `dropped`; `not_found` where it was not kept any more; `pending`; or `unanswered`
    /// where it is not known whether the command is stored.
    pub result: String,
    /// What to do about it, where it was rejected again or is not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where the command can be followed, when the result is pending or unanswered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_url: Option<String>,
}
