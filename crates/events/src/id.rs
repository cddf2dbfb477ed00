//! Names and numbers of the contract that cannot be wrong: parsed once, where they enter.

use std::fmt;

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
    /// Goods on their way between two locations, by the connector's own name.
    TransferId,
    "transfer",
    "must be 1 to 128 visible ASCII characters without spaces",
    |s| (1..=128).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
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

text_id!(
    /// A line of an order, unique in it: the caller's name for it, or its number from 1.
    LineId,
    "line_id",
    "must be 1 to 64 visible ASCII characters without spaces",
    |s| (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);

text_id!(
    /// A listing: what several SKUs share, by the shop's own name for it. Case matters.
    ListingKey,
    "listing_key",
    "must be 1 to 64 visible ASCII characters without spaces",
    |s| (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);
text_id!(
    /// A category, by the shop's own name for it. Case matters.
    CategoryKey,
    "category",
    "must be 1 to 64 visible ASCII characters without spaces",
    |s| (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);
text_id!(
    /// How a product is taxed, by the shop's own name for it.
    TaxClass,
    "tax_class",
    "must be 1 to 63 lower-case letters, digits or hyphens",
    |s| (1..=63).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
text_id!(
    /// A country.
    Country,
    "country",
    "must be a code of ISO 3166-1, two upper-case letters",
    |s| s.len() == 2 && s.bytes().all(|b| b.is_ascii_uppercase())
);
text_id!(
    /// A code of the Harmonized System, with or without the digits that a country or union adds.
    HsCode,
    "hs_code",
    "must be 6 to 10 digits",
    |s| (6..=10).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit())
);

text_id!(
    /// A language, as BCP 47 writes it: the language, perhaps with a script, a region and more.
    Language,
    "language",
    "must be a language tag of BCP 47 in its usual upper and lower case, such as de, de-AT or zh-Hant",
    is_language
);

/// Whether that is the form of a language tag, in its usual upper and lower case (RFC 5646, 2.1.1).
fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let is_primary =
        |part: &str| matches!(part.len(), 2 | 3) && part.bytes().all(|b| b.is_ascii_lowercase());
    let mut is_behind_singleton = false;
    let is_part = |part: &str| {
        let is_usual = match part.len() {
            2 if !is_behind_singleton => {
                part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
            }
            4 if !is_behind_singleton && part.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                part.starts_with(|c: char| c.is_ascii_uppercase())
                    && part.bytes().skip(1).all(|b| b.is_ascii_lowercase())
            }
            1..=8 => part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
            _ => false,
        };
        is_behind_singleton |= part.len() == 1;
        is_usual
    };
    tag.len() <= 35 && parts.next().is_some_and(is_primary) && parts.all(is_part)
}

impl LineId {
    /// The id of a line that was given none: its number in the order, from 1.
    pub fn numbered(index: usize) -> Self {
        Self((index + 1).to_string().into())
    }
}

impl Connector {
    /// The connector of lines of which none is known.
    pub fn unnamed() -> Self {
        Self("unnamed".into())
    }
}

impl Location {
    /// The location that every shop has from the beginning.
    pub fn main() -> Self {
        Self("main".into())
    }
}

uuid_id!(
    /// An order.
    OrderId,
    "order id"
);

/// A payment: the order that is paid, and which of its payments it is. As text: `<order id>-<number>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PaymentId {
    /// The order.
    pub order_id: OrderId,
    /// 1 for the first payment of the order, 2 for the next try, and so on.
    pub number: u32,
}

impl PaymentId {
    /// The first payment of an order.
    pub fn first(order_id: OrderId) -> Self {
        Self { order_id, number: 1 }
    }

    /// Takes an order id, a hyphen, and a number from 1 on.
    pub fn parse(value: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("payment id", "must be an order id, -, and a number", value);
        let (order_id, number) = value.rsplit_once('-').ok_or_else(error)?;
        // Each payment has one text: no sign, no leading zero.
        if !number.starts_with(|first: char| matches!(first, '1'..='9')) {
            return Err(error());
        }
        let order_id = OrderId::parse(order_id).map_err(|_| error())?;
        Ok(Self { order_id, number: number.parse().map_err(|_| error())? })
    }

    /// The payment of the order that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.order_id, self.number)
    }
}

impl TryFrom<String> for PaymentId {
    type Error = ParseError;

    fn try_from(value: String) -> Result<Self, ParseError> {
        Self::parse(&value)
    }
}

impl From<PaymentId> for String {
    fn from(id: PaymentId) -> String {
        id.to_string()
    }
}

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

    #[test]
    fn a_language_is_written_as_usual() {
        for good in
            ["de", "gsw", "de-AT", "zh-Hant", "zh-Hant-TW", "es-419", "de-CH-1996", "en-x-us"]
        {
            assert!(Language::parse(good).is_ok(), "{good}");
        }
        for wrong in
            ["", "d", "DE", "de-at", "de_AT", "zh-hant", "de-", "german", "de--AT", "de-123456789"]
        {
            assert!(Language::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_payment_id_is_that_of_its_order_with_a_number() {
        let order = "018f4e6a-0000-7000-8000-000000000001";
        let second = PaymentId::parse(&format!("{order}-2")).expect("valid");
        assert_eq!((second.order_id.to_string().as_str(), second.number), (order, 2));
        assert_eq!(second.to_string(), format!("{order}-2"));
        assert_eq!(PaymentId::first(second.order_id).next(), second);
        for wrong in ["", order, "x-1", &format!("{order}-0"), &format!("{order}-01")] {
            assert!(PaymentId::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
