//! What listings are made of, beside names and text.

use protocol::id::ParseError;
use serde::{Deserialize, Serialize};

/// The largest listing, in bytes of its message: an event with what it was and what it is, and what is around them,
/// stays far below the largest message of a NATS server.
pub const MAX_LISTING_BYTES: usize = 100_000;

/// The parts of a number that are told apart: a number of so many digits survives as binary floating point.
const PARTS: f64 = 1_000_000.0;
/// The largest number, in parts.
const MAX_PARTS: f64 = 999_999_999_999_999.0;

/// A number that is so of a listing: at most nine digits before the point and six behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttributeNumber(i64);

impl AttributeNumber {
    /// Takes -999,999,999.999999 to 999,999,999.999999, with at most six decimals.
    pub fn parse(value: f64) -> Result<Self, ParseError> {
        let parts = (value * PARTS).round();
        // What is no number compares with nothing.
        let is_exact = parts.abs() <= MAX_PARTS && (parts / PARTS).to_bits() == value.to_bits();
        if !is_exact {
            let rule = "must be -999999999.999999 to 999999999.999999, with at most 6 decimals";
            return Err(ParseError::new("number", rule, &value.to_string()));
        }
        Ok(Self(parts as i64))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0 as f64 / PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_it_was_or_refused() {
        for good in [0.0, -0.0, 350.0, 0.1, -1.25, 1e-6, 999_999_999.999_999, -999_999_999.999_999]
        {
            let number = AttributeNumber::parse(good).expect("is good");
            // That of zero without its sign.
            assert_eq!(number.get().to_bits(), (good + 0.0).to_bits(), "{good}");
        }
        for wrong in [1e-7, 0.123_456_7, 1e9, -1e9, f64::NAN, f64::INFINITY] {
            assert!(AttributeNumber::parse(wrong).is_err(), "{wrong}");
        }
    }
}
