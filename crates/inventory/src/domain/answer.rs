//! What the senders of commands are answered.

use super::LocationResult;

/// What the sender of a command is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of stock lines: what became of each, in the same order.
    Stock(Vec<StockResult>),
    /// Of a location.
    Location(LocationResult),
    /// Of the limits of a stock.
    Limits(LimitsResult),
}

/// What became of a stock line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}
