//! The units of one stock, and what the documents of an ERP make of them.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use super::Place;

/// The stock of a SKU at a location of a shop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StockId {
    /// The shop.
    pub shop: String,
    /// The stock keeping unit.
    pub sku: String,
    /// Where the units are.
    pub location: String,
}

impl fmt::Display for StockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.sku, self.location)
    }
}

impl StockId {
    pub(super) fn new(shop: &str, sku: &str, location: &str) -> Self {
        Self { shop: shop.to_owned(), sku: sku.to_owned(), location: location.to_owned() }
    }
}

/// The units of a stock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Level {
    /// On hand, as the ERP tells it.
    pub on_hand: i64,
    /// Held for orders that are not yet paid for.
    pub held: i64,
    /// Allocated to orders.
    pub allocated: i64,
    /// The orders that have units of it.
    pub(super) orders: BTreeSet<Arc<str>>,
    connectors: HashMap<String, Told>,
    /// Where the ERP went below what is promised, until `short` says so.
    pub(super) owed: Option<Place>,
    /// Whether `short` said so, and it is so still.
    pub(super) is_short: bool,
}

impl Level {
    /// Held and allocated together.
    pub fn promised(&self) -> i64 {
        self.held + self.allocated
    }

    /// Whether a connector has counted after that sequence.
    pub(super) fn is_stale(&self, connector: &str, sequence: u64) -> bool {
        let counted = self.connectors.get(connector).and_then(|told| told.counted);
        counted.is_some_and(|counted| sequence <= counted)
    }

    /// The units on hand after a document: a count does not contain the adjustments of the same
    /// connector that are newer.
    pub(super) fn after(&mut self, connector: &str, sequence: u64, change: Change) -> i64 {
        let told = self.connectors.entry(connector.to_owned()).or_default();
        match change {
            Change::Count(quantity) => {
                told.counted = Some(sequence);
                let newer = told.adjusted.iter().filter(|(adjusted, _)| *adjusted > sequence);
                quantity + newer.map(|(_, delta)| delta).sum::<i64>()
            }
            Change::Delta(delta) => {
                told.adjusted.push((sequence, delta));
                self.on_hand + delta
            }
        }
    }
}

/// What a connector told of a stock: the sequence of its newest count, and the sequences and deltas
/// of its adjustments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    counted: Option<u64>,
    adjusted: Vec<(u64, i64)>,
}

/// What a document says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Count(i64),
    Delta(i64),
}
