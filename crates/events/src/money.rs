//! Money: integer minor units with an ISO 4217 code. Never a float.

use std::fmt;

use protocol::id::ParseError;
use serde::{Deserialize, Serialize};

use crate::proto;

/// The highest price of one unit as sold, in minor units.
pub const MAX_UNIT_PRICE: i64 = 1_000_000_000_000;
/// The highest total of one order, in minor units: sums over many orders stay below `i64::MAX`.
pub const MAX_ORDER_TOTAL: i64 = 1_000_000_000_000_000;

/// An ISO 4217 currency code: three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Takes three capital letters.
    pub fn parse(code: &str) -> Result<Self, ParseError> {
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_uppercase) => Ok(Self(letters)),
            _ => Err(ParseError::new("currency", "must be an ISO 4217 code such as GBP", code)),
        }
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Currency {
    type Error = ParseError;

    fn try_from(code: String) -> Result<Self, ParseError> {
        Self::parse(&code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.as_str().to_owned()
    }
}

/// An amount of money in the currency's minor unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// The amount in minor units (pence, cents).
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// Takes the wire form; an absent amount is an error.
    pub fn parse(money: Option<&proto::Money>) -> Result<Self, ParseError> {
        let money = money.ok_or_else(|| ParseError::new("money", "must be present", ""))?;
        Ok(Self { minor: money.minor, currency: Currency::parse(&money.currency)? })
    }
}

impl From<Money> for proto::Money {
    fn from(money: Money) -> Self {
        Self { minor: money.minor, currency: money.currency.to_string() }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.minor, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(Currency::parse("GBP").map(|c| c.to_string()), Ok("GBP".to_owned()));
        for wrong in ["", "gbp", "GB", "GBPS", "G1P"] {
            assert!(Currency::parse(wrong).is_err(), "{wrong:?} passed");
        }
    }
}
