//! What the senders of commands are answered.

use serde::{Deserialize, Serialize};

use super::{Limits, LocationResult};

/// What the sender of a command is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of stock lines: what became of each, in the same order.
    Stock(Vec<StockResult>),
    /// Of a location: what became of it, and its version from then on.
    Location(LocationResult, u64),
    /// Of the limits of a stock.
    Limits(LimitsResult),
    /// Of rejected lines that were tried again: what became of each, in the same order; `None` where there
    /// is no such rejection.
    Redriven(Vec<Option<StockResult>>),
    /// The numbers of the rejections that were dropped.
    Dropped(Vec<u64>),
}

/// What became of a stock line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StockResult {
    /// It changed the stock.
    Applied,
    /// The document is known: it had its effect before.
    Duplicate,
    /// A newer count of the same connector is known, which contains it.
    Stale,
    /// The catalogue has no such product. Nothing is remembered.
    UnknownSku,
    /// The document's id is known with other content.
    DocumentReused,
    /// The units on hand would leave the range that can be represented.
    OutOfRange,
    /// A goods issue took more units than the order had.
    AppliedInExcess,
    /// A goods issue took units that the order had at other locations: there they are free again.
    AppliedElsewhere,
    /// No order of that id was ever placed. Nothing is remembered.
    UnknownOrder,
    /// The shop has no such location. Nothing is remembered.
    UnknownLocation,
    /// Nothing of the SKU has left for the location by that transfer. Nothing is remembered.
    UnknownTransfer,
    /// No more will come by the transfer than this, and more had left.
    AppliedIncomplete,
    /// It is no stock line. Nothing is remembered but that it was rejected.
    Invalid,
    /// It expected other units on hand than there are.
    Mismatch {
        /// The units that it expected.
        expected: i64,
        /// The units on hand.
        on_hand: i64,
    },
}

/// What became of the limits of a stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitsResult {
    /// They were others before.
    Changed,
    /// They were the same before.
    Unchanged,
    /// The catalogue has no such product.
    UnknownSku,
    /// The shop has no such location.
    UnknownLocation,
    /// The limits are these, and not those that were expected.
    Other(Limits),
}

impl StockResult {
    /// Whether a line had its effect.
    pub(crate) fn is_applied(self) -> bool {
        match self {
            Self::Applied
            | Self::AppliedInExcess
            | Self::AppliedElsewhere
            | Self::AppliedIncomplete => true,
            Self::Duplicate
            | Self::Stale
            | Self::UnknownSku
            | Self::DocumentReused
            | Self::OutOfRange
            | Self::UnknownOrder
            | Self::UnknownLocation
            | Self::UnknownTransfer
            | Self::Invalid
            | Self::Mismatch { .. } => false,
        }
    }

    /// Its name, as rows and filters have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::UnknownSku => "unknown_sku",
            Self::DocumentReused => "document_reused",
            Self::OutOfRange => "out_of_range",
            Self::AppliedInExcess => "applied_in_excess",
            Self::AppliedElsewhere => "applied_elsewhere",
            Self::UnknownOrder => "unknown_order",
            Self::UnknownLocation => "unknown_location",
            Self::UnknownTransfer => "unknown_transfer",
            Self::AppliedIncomplete => "applied_incomplete",
            Self::Invalid => "invalid",
            Self::Mismatch { .. } => "mismatch",
        }
    }

    /// Whether a line was rejected.
    pub(crate) fn is_rejected(self) -> bool {
        !self.is_applied() && !matches!(self, Self::Duplicate | Self::Stale)
    }
}
