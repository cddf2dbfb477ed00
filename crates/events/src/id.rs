//! Names and numbers of the contract that cannot be wrong: parsed once, where they enter.

use protocol::{id::ParseError, text_id, uuid_id};
use serde::{Deserialize, Serialize};

text_id!(
    /// A stock keeping unit: the product's name among machines, unique in its shop. Case matters.
    Sku,
    "sku",
    "must be 1 to 64 visible ASCII characters without spaces",
    |s| (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);
text_id!(
    /// A place that holds stock.
    Location,
    "location",
    "must be 1 to 63 lower-case letters, digits or hyphens",
    |s| (1..=63).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
text_id!(
    /// An ERP connector: whose documents and sequences these are.
    Connector,
    "connector",
    "must be 1 to 63 lower-case letters, digits or hyphens",
    |s| (1..=63).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
text_id!(
    /// The id of a document in its connector's system.
    DocumentId,
    "document",
    "must be 1 to 128 visible ASCII characters without spaces",
    |s| (1..=128).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);
text_id!(
    /// A line of a document in its connector's system.
    DocumentLine,
    "line",
    "must be 1 to 64 visible ASCII characters without spaces",
    |s| (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);
text_id!(
    /// The caller's own order number.
    Reference,
    "reference",
    "must be 1 to 128 characters without control characters",
    |s| (1..=128).contains(&s.chars().count()) && !s.chars().any(char::is_control)
);
text_id!(
    /// A customer, by the id that the shop knows it by. No name, no address.
    CustomerId,
    "customer_id",
    "must be 1 to 128 visible ASCII characters without spaces",
    |s| (1..=128).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);

impl Location {
    /// The one location that there is for now.
    pub fn main() -> Self {
        Self("main".into())
    }
}

uuid_id!(
    /// An order.
    OrderId,
    "order id"
);
/// A number of units that are ordered or held: 1 to 1,000,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Quantity(i64);

/// The most units in one line, on hand or in a change: sums of lines stay far below `i64::MAX`.
pub const MAX_UNITS: i64 = 1_000_000_000;

impl Quantity {
    /// Takes 1 to [`MAX_UNITS`] units.
    pub fn parse(units: i64) -> Result<Self, ParseError> {
        match units {
            1..=MAX_UNITS => Ok(Self(units)),
            _ => Err(ParseError::new("quantity", "must be 1 to 1000000000", &units.to_string())),
        }
    }

    /// The units.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Quantity {
    type Error = ParseError;

    fn try_from(units: i64) -> Result<Self, ParseError> {
        Self::parse(units)
    }
}

impl From<Quantity> for i64 {
    fn from(quantity: Quantity) -> i64 {
        quantity.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_breaks_its_rule_is_refused() {
        assert!(Sku::parse("85123A").is_ok());
        assert!(Sku::parse("").is_err());
        assert!(Quantity::parse(0).is_err());
        assert!(serde_json::from_str::<Sku>("\"a b\"").is_err());
    }
}
