//! Ids that every message has, parsed once, where they enter; and the macros for the ids of a contract.

use data_encoding::HEXLOWER;
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

/// Defines a text type with a rule that every value keeps, and that is cheap to clone. The crate that uses it depends on serde.
#[macro_export]
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $holds:expr) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize,
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(::std::sync::Arc<str>);

        impl $name {
            /// Takes a value that keeps the rule.
            pub fn parse(value: &str) -> Result<Self, $crate::id::ParseError> {
                let holds: fn(&str) -> bool = $holds;
                if holds(value) {
                    Ok(Self(value.into()))
                } else {
                    Err($crate::id::ParseError::new($what, $rule, value))
                }
            }

            /// The value as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::id::ParseError;

            fn try_from(value: String) -> Result<Self, Self::Error> {
                Self::parse(&value)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0.as_ref().to_owned()
            }
        }
    };
}

/// Defines an id that is a UUID. The crate that uses it depends on serde and uuid.
#[macro_export]
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize,
            ::serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub ::uuid::Uuid);

        impl $name {
            /// Takes a UUID in its hyphenated form.
            pub fn parse(value: &str) -> Result<Self, $crate::id::ParseError> {
                let error = || $crate::id::ParseError::new($what, "must be a UUID", value);
                ::uuid::Uuid::parse_str(value).map(Self).map_err(|_| error())
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_id!(
    /// A shop (tenant); part of subjects.
    Shop,
    "shop",
    "must be 1 to 63 lower-case letters, digits or hyphens, the first of them no hyphen",
    |s| (1..=63).contains(&s.len())
        && !s.starts_with('-')
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
/// Where a message names its shop and there is none.
const NO_SHOP: &str = "-";

impl Shop {
    /// Used as the shop of a message whose subject names none. No shop can be called so.
    pub fn unknown() -> Self {
        Self(NO_SHOP.into())
    }

    /// Stands where a message names its shop, in those about something of the whole installation, such as
    /// an API key. The same as [`Shop::unknown`]: no shop can be called so.
    pub fn installation() -> Self {
        Self::unknown()
    }

    /// Reads what the engine wrote: the name of a shop, or that of [`Shop::unknown`].
    pub fn parse_or_unknown(value: &str) -> Result<Self, ParseError> {
        if value == NO_SHOP { Ok(Self::unknown()) } else { Self::parse(value) }
    }
}

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

/// The fingerprint of a request's body: SHA-256 in hexadecimal.
pub fn fingerprint(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_breaks_its_rule_is_refused_by_name() {
        let error = Shop::parse("Acme Ltd").expect_err("has capitals and a space");
        assert_eq!(
            error.to_string(),
            "shop must be 1 to 63 lower-case letters, digits or hyphens, the first of them no hyphen, \
             got \"Acme Ltd\""
        );
        assert!(Shop::parse("a-1-").is_ok() && Shop::parse("1").is_ok());
        assert!(serde_json::from_str::<Shop>("\"a b\"").is_err());
        assert!(EventId::parse("no uuid").is_err());
    }

    #[test]
    fn no_shop_is_called_as_if_there_were_none() {
        for name in ["-", "-a", "--"] {
            assert!(Shop::parse(name).is_err(), "{name:?} passed");
        }
        assert_eq!(Shop::parse_or_unknown("-"), Ok(Shop::unknown()));
        assert_eq!(Shop::parse_or_unknown("acme"), Shop::parse("acme"));
        assert!(Shop::parse_or_unknown("-a").is_err());
    }

    #[test]
    fn the_same_key_in_another_shop_is_another_command() {
        let [a, b] = ["a", "b"].map(|s| Shop::parse(s).expect("valid"));
        assert_eq!(CommandId::from_key(&a, "k"), CommandId::from_key(&a, "k"));
        assert_ne!(CommandId::from_key(&a, "k"), CommandId::from_key(&b, "k"));
    }
}
