//! Types of events that somebody wants.

use std::fmt;

use protocol::id::ParseError;
use serde::{Deserialize, Serialize};

/// The longest filter, in characters.
const MAX_LENGTH: usize = 100;

/// A type of events, or several: `order.paid`, `order.*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TypeFilter(String);

impl TypeFilter {
    /// Reads a filter: names of lower-case letters, digits and underscores between dots, of which the
    /// last may be `*`, which stands for all that follows.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let names: Vec<_> = text.split('.').collect();
        let (last, before) = names.split_last().unwrap_or((&"", &[]));
        let is_filter = text.len() <= MAX_LENGTH
            && before.iter().all(|name| is_name(name))
            && (is_name(last) || *last == "*");
        if is_filter {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("event type", "must be like order.paid, order.* or *", text))
        }
    }

    /// Whether an event of that type is wanted.
    pub fn matches(&self, event_type: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(before) => event_type.starts_with(before),
            None => self.0 == event_type,
        }
    }

    /// The filter as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TypeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_all_that_follows() {
        let matches =
            |filter: &str, event: &str| TypeFilter::parse(filter).expect("valid").matches(event);
        assert!(matches("*", "order.paid"));
        assert!(matches("order.*", "order.paid"));
        assert!(!matches("order.*", "orders.paid"));
        assert!(matches("order.paid", "order.paid"));
        assert!(!matches("order.paid", "order.paid_back"));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in
            ["", ".", "order.", "*.paid", "order.pa*", "Order.paid", "order..paid", "order paid"]
        {
            assert!(TypeFilter::parse(text).is_err(), "{text}");
        }
    }
}
