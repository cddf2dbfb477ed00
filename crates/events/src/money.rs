//! Money: integer minor units with an ISO 4217 code. Never a float.

use std::fmt;

use protocol::id::ParseError;
use serde::{Deserialize, Serialize};

use crate::proto;

/// The highest price of one unit as sold, in minor units.
pub const MAX_UNIT_PRICE: i64 = 1_000_000_000_000;
/// The highest total of one order, in minor units: sums over many orders stay below `i64::MAX`.
pub const MAX_ORDER_TOTAL: i64 = 1_000_000_000_000_000;

/// A rate of 100 %, in millionths.
const WHOLE_PPM: i128 = 1_000_000;

/// Whether tax is in a price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TaxBasis {
    /// The price includes tax.
    #[default]
    Included,
    /// Tax is added to the price.
    Excluded,
}

impl TaxBasis {
    /// Takes the wire form, for those who decide on it: what they do not know waits for a version
    /// that does. Those who show it call [`known`](Self::known).
    pub fn parse(basis: i32) -> Result<Self, ParseError> {
        let rule = "must be one that this version knows";
        Self::known(basis).ok_or_else(|| ParseError::new("tax_basis", rule, &basis.to_string()))
    }

    /// Reads the wire form; `None` for a value of a later version, and for none.
    pub fn known(basis: i32) -> Option<Self> {
        match proto::TaxBasis::try_from(basis) {
            Ok(proto::TaxBasis::Included) => Some(Self::Included),
            Ok(proto::TaxBasis::Excluded) => Some(Self::Excluded),
            Ok(proto::TaxBasis::Unspecified) | Err(_) => None,
        }
    }

    /// A price of `minor` minor units on this basis, as it is on the wire.
    pub fn price(self, minor: i64, currency: Currency) -> proto::Price {
        let tax_basis = proto::TaxBasis::from(self).into();
        proto::Price { money: Some(Money { minor, currency }.into()), tax_basis }
    }

    /// What is paid for `minor` minor units on this basis with this tax.
    pub fn gross(self, minor: i128, tax: Option<&Tax>) -> i128 {
        match self {
            Self::Included => minor,
            Self::Excluded => minor + tax.map_or(0, |tax| i128::from(tax.amount)),
        }
    }
}

impl From<TaxBasis> for proto::TaxBasis {
    fn from(basis: TaxBasis) -> Self {
        match basis {
            TaxBasis::Included => Self::Included,
            TaxBasis::Excluded => Self::Excluded,
        }
    }
}

/// A tax, as a caller gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tax {
    /// The rate in millionths: 190,000 is 19 %.
    pub rate_ppm: i64,
    /// The amount in minor units.
    pub amount: i64,
}

impl Tax {
    /// Whether the amount follows from the rate, for `minor` minor units on that basis. Each of
    /// `units` may have been rounded by itself, to either side, so it may differ by as many minor units.
    pub fn is_of(&self, minor: i128, basis: TaxBasis, units: i64) -> bool {
        let rate = i128::from(self.rate_ppm);
        let (of, whole) = match basis {
            TaxBasis::Included => (minor * rate, WHOLE_PPM + rate),
            TaxBasis::Excluded => (minor * rate, WHOLE_PPM),
        };
        // Compared as fractions of `whole`, so that nothing is rounded here.
        (i128::from(self.amount) * whole - of).abs() <= i128::from(units.max(1)) * whole
    }
}

/// An ISO 4217 currency code: three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Takes a code that is in use: ISO 4217 lists it, and it is neither superseded nor anything but a
    /// currency, such as gold. For what comes from outside; lists change, and the log stays readable.
    pub fn parse_current(code: &str) -> Result<Self, ParseError> {
        let is_current = |listed: &iso_currency::Currency| {
            listed.is_superseded().is_none() && !listed.is_special() && !listed.is_fund()
        };
        match iso_currency::Currency::from_code(code).filter(is_current) {
            Some(_) => Self::parse(code),
            None => Err(ParseError::new(
                "currency",
                "must be the ISO 4217 code of a currency in use, such as GBP",
                code,
            )),
        }
    }

    /// The digits of its minor unit after the point: 2 for GBP, 0 for JPY; 2 for a code that is not
    /// listed.
    pub fn minor_digits(&self) -> usize {
        let listed = iso_currency::Currency::from_code(self.as_str());
        listed.and_then(iso_currency::Currency::exponent).map_or(2, usize::from)
    }

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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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

/// The amount in the currency's major unit: `12.50 GBP`, `1250 JPY`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { minor, currency } = self;
        let sign = if *minor < 0 { "-" } else { "" };
        let digits = currency.minor_digits();
        // At least one digit stays before the point.
        let amount = format!("{:0>width$}", minor.unsigned_abs(), width = digits + 1);
        match amount.split_at(amount.len() - digits) {
            (whole, "") => write!(f, "{sign}{whole} {currency}"),
            (whole, fraction) => write!(f, "{sign}{whole}.{fraction} {currency}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_has_a_currency_in_use() {
        for current in ["GBP", "EUR", "JPY", "KWD"] {
            assert!(Currency::parse_current(current).is_ok(), "{current} is refused");
        }
        for wrong in ["", "gbp", "ABC", "HRK", "XAU", "XTS", "XXX", "USN"] {
            assert!(Currency::parse_current(wrong).is_err(), "{wrong:?} passed");
        }
    }

    #[test]
    fn an_amount_is_shown_with_the_digits_of_its_currency() {
        let show = |minor, code| {
            Money { minor, currency: Currency::parse(code).expect("valid") }.to_string()
        };
        assert_eq!(show(1_250, "GBP"), "12.50 GBP");
        assert_eq!(show(-5, "EUR"), "-0.05 EUR");
        assert_eq!(show(1_250, "JPY"), "1250 JPY");
        assert_eq!(show(0, "JPY"), "0 JPY");
        assert_eq!(show(1_234_567, "KWD"), "1234.567 KWD");
        assert_eq!(show(100, "ABC"), "1.00 ABC");
        assert_eq!(show(i64::MIN, "GBP"), "-92233720368547758.08 GBP");
    }

    #[test]
    fn a_tax_follows_from_its_rate_up_to_the_rounding_of_each_unit() {
        let is = |amount, minor, basis, units| {
            Tax { rate_ppm: 190_000, amount }.is_of(minor, basis, units)
        };
        // 19 % in 1,190 is 190; on 1,000 it is 190.
        assert!(is(190, 1_190, TaxBasis::Included, 1) && is(190, 1_000, TaxBasis::Excluded, 1));
        assert!(is(191, 1_190, TaxBasis::Included, 1) && !is(192, 1_190, TaxBasis::Included, 1));
        assert!(is(192, 1_000, TaxBasis::Excluded, 2) && !is(188, 1_000, TaxBasis::Excluded, 1));
        // Of a rebate the tax is below 0.
        assert!(is(-190, -1_000, TaxBasis::Excluded, 1) && !is(190, -1_000, TaxBasis::Excluded, 1));
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(Currency::parse("GBP").map(|c| c.to_string()), Ok("GBP".to_owned()));
        for wrong in ["", "gbp", "GB", "GBPS", "G1P"] {
            assert!(Currency::parse(wrong).is_err(), "{wrong:?} passed");
        }
    }
}
