//! Names and numbers that cannot be wrong: parsed once, where they enter.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A value that is not what its type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {rule}, got {value:?}")]
pub struct ParseError {
    /// What the value should have been.
    pub what: &'static str,
    /// What such a value looks like.
    pub rule: &'static str,
    /// What came.
    pub value: String,
}

impl ParseError {
    /// Names what is wrong; a long value is cut.
    pub fn new(what: &'static str, rule: &'static str, value: &str) -> Self {
        Self { what, rule, value: value.chars().take(80).collect() }
    }
}

/// Defines a text type with a rule that every value keeps.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $holds:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes a value that keeps the rule.
            pub fn parse(value: &str) -> Result<Self, ParseError> {
                let holds: fn(&str) -> bool = $holds;
                if holds(value) { Ok(Self(value.into())) } else { Err(ParseError::new($what, $rule, value)) }
            }

            /// The value as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseError;

            fn try_from(value: String) -> Result<Self, ParseError> {
                Self::parse(&value)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0.into()
            }
        }
    };
}

text!(
    /// A shop (tenant); part of subjects.
    Shop,
    "shop",
    "must be 1 to 63 lower-case letters, digits or hyphens",
    |s| (1..=63).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
text!(
    /// A stock keeping unit: the product's name among machines, unique in its shop. Case matters.
    Sku,
    "sku",
    "must be 1 to 64 visible ASCII characters without spaces",
    |s| (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);
text!(
    /// A place that holds stock.
    Location,
    "location",
    "must be 1 to 63 lower-case letters, digits or hyphens",
    |s| (1..=63).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
text!(
    /// An ERP connector: whose documents and sequences these are.
    Connector,
    "connector",
    "must be 1 to 63 lower-case letters, digits or hyphens",
    |s| (1..=63).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
text!(
    /// The id of a stock line in its connector's system.
    DocumentId,
    "document",
    "must be 1 to 128 visible ASCII characters without spaces",
    |s| (1..=128).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);
text!(
    /// The caller's own order number.
    Reference,
    "reference",
    "must be 1 to 128 characters without control characters",
    |s| (1..=128).contains(&s.chars().count()) && !s.chars().any(char::is_control)
);
text!(
    /// A customer, by the id that the shop knows it by. No name, no address.
    CustomerId,
    "customer_id",
    "must be 1 to 128 visible ASCII characters without spaces",
    |s| (1..=128).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic())
);

impl Shop {
    /// Stands for the shop of a message whose subject names none.
    pub fn unknown() -> Self {
        Self("-".into())
    }
}

impl Location {
    /// The one location that there is for now.
    pub fn main() -> Self {
        Self("main".into())
    }
}

/// Defines an id that is a UUID.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Takes a UUID in its hyphenated form.
            pub fn parse(value: &str) -> Result<Self, ParseError> {
                let error = || ParseError::new($what, "must be a UUID", value);
                Uuid::parse_str(value).map(Self).map_err(|_| error())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// An order.
    OrderId,
    "order id"
);
uuid_id!(
    /// A command: the idempotency key that holds throughout the system.
    CommandId,
    "command id"
);
uuid_id!(
    /// An event.
    EventId,
    "event id"
);

impl CommandId {
    /// The id of the command that a caller sends under its own idempotency key: the same key in
    /// the same shop is the same command.
    pub fn from_key(shop: &Shop, key: &str) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("tradewind:{shop}:{key}").as_bytes()))
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

/// The fingerprint of a request's body: SHA-256 in hexadecimal.
pub fn fingerprint(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_breaks_its_rule_is_refused_by_name() {
        let error = Shop::parse("Acme Ltd").expect_err("has capitals and a space");
        assert_eq!(
            error.to_string(),
            "shop must be 1 to 63 lower-case letters, digits or hyphens, got \"Acme Ltd\""
        );
        assert!(Sku::parse("85123A").is_ok());
        assert!(Sku::parse("").is_err());
        assert!(Quantity::parse(0).is_err());
        assert!(serde_json::from_str::<Sku>("\"a b\"").is_err());
    }

    #[test]
    fn the_same_key_in_another_shop_is_another_command() {
        let [a, b] = ["a", "b"].map(|s| Shop::parse(s).expect("valid"));
        assert_eq!(CommandId::from_key(&a, "k"), CommandId::from_key(&a, "k"));
        assert_ne!(CommandId::from_key(&a, "k"), CommandId::from_key(&b, "k"));
    }
}
