//! How a stock is named.

use std::fmt;

use events::id::{Location, Sku};
use protocol::id::ParseError;
use serde::{Deserialize, Serialize};

/// A SKU at a location: what is counted and promised. As text: `<sku>@<location>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StockId {
    /// The stock keeping unit.
    pub sku: Sku,
    /// Where the units are.
    pub location: Location,
}

impl fmt::Display for StockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.sku, self.location)
    }
}

impl StockId {
    /// Takes its text. A SKU may contain an `@`, a location does not.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let parts = text.rsplit_once('@');
        let (sku, location) =
            parts.ok_or_else(|| ParseError::new("stock", "must be <sku>@<location>", text))?;
        Ok(Self { sku: Sku::parse(sku)?, location: Location::parse(location)? })
    }
}

impl TryFrom<String> for StockId {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<StockId> for String {
    fn from(id: StockId) -> Self {
        id.to_string()
    }
}
