//! How a shop works: its settings, as the shop service owns them and as other services keep copies of
//! them.
//!
//! To add a setting: add it to `tradewind.shop.v1.Settings` and to [`Settings`], here and in the
//! gateway's reader of a shop's body; a service that needs it reads it out of its replica.

use protocol::id::ParseError;
use serde::{Deserialize, Serialize};

use crate::{
    http::open::Open,
    id::Location,
    money::{Currency, TaxBasis},
    proto::{self, shop},
};

/// The longest time that a setting may say, in seconds: 30 days.
pub const MAX_SETTING_SECONDS: u32 = 30 * 24 * 60 * 60;
/// The most countries of a shop: more than there are.
pub const MAX_COUNTRIES: usize = 300;
/// The longest name of a country, in characters.
pub const MAX_COUNTRY_LENGTH: usize = 64;
/// The most entries of the payment methods that are taken in one step.
pub const MAX_ONE_STEP_METHODS: usize = 100;
/// The longest payment method, in characters.
pub const MAX_PAYMENT_METHOD_LENGTH: usize = 128;
/// The longest reason that is given to the shop service, in characters.
pub const MAX_REASON_LENGTH: usize = 500;

/// When the money of an order is captured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// When the order is confirmed, all at once.
    #[default]
    OnConfirmation,
    /// When units are shipped, as much as they cost.
    OnShipment,
}

/// What becomes of orders when less stock is there than was promised to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ShortRule {
    /// The newest orders that cannot be served are put on hold.
    #[default]
    Hold,
    /// The newest orders that cannot be served are cancelled.
    Cancel,
    /// Nothing.
    Nothing,
}

/// How a shop works. The default is how a shop works whose settings a service does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Settings {
    /// The currency of its orders; `None`: any.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub currency: Option<Currency>,
    /// The countries that it sells to, as its orders name them, sorted; empty: any.
    pub countries: Vec<String>,
    /// Whether its prices include tax.
    #[serde(deserialize_with = "known_or_default")]
    pub tax_basis: TaxBasis,
    /// When the money of an order is captured.
    #[serde(deserialize_with = "known_or_default")]
    pub capture: Capture,
    /// Whether an order may be served from several locations, and ship in several parts.
    pub split_shipments: bool,
    /// How long stock is held for an order that is not yet paid for; `None`: as the installation
    /// says.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub hold_seconds: Option<u32>,
    /// How long the payment of an order may take; `None`: as the installation says.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub payment_seconds: Option<u32>,
    /// The location of stock lines that name none.
    pub default_location: Location,
    /// What becomes of orders when less stock is there than was promised to them.
    #[serde(deserialize_with = "known_or_default")]
    pub short_rule: ShortRule,
    /// Whether orders may be placed on account, without a payment.
    pub on_account: bool,
    /// The payment methods whose money is taken in one step, without being authorised before, each by how
    /// it begins, sorted; empty: none.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub one_step_methods: Vec<String>,
}

/// Reads a value; one of a later version is taken for the default, as by [`Settings::read`].
fn known_or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Open::<T>::deserialize(deserializer).map(|read| match read {
        Open::Known(value) => value,
        Open::Other(_) => T::default(),
    })
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            currency: None,
            countries: Vec::new(),
            tax_basis: TaxBasis::default(),
            capture: Capture::default(),
            split_shipments: false,
            hold_seconds: None,
            payment_seconds: None,
            default_location: Location::main(),
            short_rule: ShortRule::default(),
            on_account: false,
            one_step_methods: Vec::new(),
        }
    }
}

impl Settings {
    /// Whether the money of this payment method is taken in one step.
    pub fn is_one_step(&self, payment_method: &str) -> bool {
        self.one_step_methods.iter().any(|beginning| payment_method.starts_with(beginning))
    }

    /// Takes the settings of a command: every value must be known to this version.
    pub fn parse(settings: Option<&shop::Settings>) -> Result<Self, ParseError> {
        let settings =
            settings.ok_or_else(|| ParseError::new("settings", "must be present", ""))?;
        let unknown = |what, value: i32| {
            ParseError::new(what, "must be one that this version knows", &value.to_string())
        };
        proto::TaxBasis::try_from(settings.tax_basis)
            .map_err(|_| unknown("tax_basis", settings.tax_basis))?;
        shop::Capture::try_from(settings.capture)
            .map_err(|_| unknown("capture", settings.capture))?;
        shop::ShortRule::try_from(settings.short_rule)
            .map_err(|_| unknown("short_rule", settings.short_rule))?;
        Self::read(settings)
    }

    /// Reads the settings of an event. A value of a later version, which this one does not know, is
    /// taken for the default.
    pub fn read(settings: &shop::Settings) -> Result<Self, ParseError> {
        let tax_basis = match settings.tax_basis() {
            proto::TaxBasis::Excluded => TaxBasis::Excluded,
            proto::TaxBasis::Included | proto::TaxBasis::Unspecified => TaxBasis::Included,
        };
        let capture = match settings.capture() {
            shop::Capture::OnShipment => Capture::OnShipment,
            shop::Capture::OnConfirmation | shop::Capture::Unspecified => Capture::OnConfirmation,
        };
        let short_rule = match settings.short_rule() {
            shop::ShortRule::Cancel => ShortRule::Cancel,
            shop::ShortRule::Nothing => ShortRule::Nothing,
            shop::ShortRule::Hold | shop::ShortRule::Unspecified => ShortRule::Hold,
        };
        let default_location = match settings.default_location.as_str() {
            "" => Location::main(),
            named => Location::parse(named)?,
        };
        Ok(Self {
            currency: settings.currency.as_deref().map(Currency::parse).transpose()?,
            countries: countries(&settings.countries)?,
            tax_basis,
            capture,
            split_shipments: settings.split_shipments,
            hold_seconds: settings.hold_seconds.map(seconds).transpose()?,
            payment_seconds: settings.payment_seconds.map(seconds).transpose()?,
            default_location,
            short_rule,
            on_account: settings.on_account,
            one_step_methods: one_step_methods(&settings.one_step_methods)?,
        })
    }
}

impl From<Settings> for shop::Settings {
    fn from(settings: Settings) -> Self {
        let tax_basis = proto::TaxBasis::from(settings.tax_basis);
        let capture = match settings.capture {
            Capture::OnConfirmation => shop::Capture::OnConfirmation,
            Capture::OnShipment => shop::Capture::OnShipment,
        };
        let short_rule = match settings.short_rule {
            ShortRule::Hold => shop::ShortRule::Hold,
            ShortRule::Cancel => shop::ShortRule::Cancel,
            ShortRule::Nothing => shop::ShortRule::Nothing,
        };
        Self {
            currency: settings.currency.map(String::from),
            countries: settings.countries,
            tax_basis: tax_basis.into(),
            capture: capture.into(),
            split_shipments: settings.split_shipments,
            hold_seconds: settings.hold_seconds,
            payment_seconds: settings.payment_seconds,
            default_location: settings.default_location.into(),
            short_rule: short_rule.into(),
            on_account: settings.on_account,
            one_step_methods: settings.one_step_methods,
        }
    }
}

/// The rule of a time that a setting says: a second to 30 days.
pub fn seconds(seconds: u32) -> Result<u32, ParseError> {
    if (1..=MAX_SETTING_SECONDS).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(ParseError::new("seconds", "must be 1 to 2592000", &seconds.to_string()))
    }
}

/// The rule of a country's name.
pub fn country(name: &str) -> Result<String, ParseError> {
    let is_long = !(1..=MAX_COUNTRY_LENGTH).contains(&name.chars().count());
    if is_long || name.chars().any(char::is_control) {
        let rule = "must be 1 to 64 characters without control characters";
        return Err(ParseError::new("country", rule, name));
    }
    Ok(name.to_owned())
}

/// The rule of how a payment method that is taken in one step begins.
pub fn one_step_method(beginning: &str) -> Result<String, ParseError> {
    let is_long = !(1..=MAX_PAYMENT_METHOD_LENGTH).contains(&beginning.chars().count());
    if is_long || beginning.chars().any(char::is_control) {
        let rule = "must be 1 to 128 characters without control characters";
        return Err(ParseError::new("one_step_methods", rule, beginning));
    }
    Ok(beginning.to_owned())
}

/// The rule of a reason that a command gives the shop service; empty where none is given. The service cannot read a
/// command whose reason breaks it: such a command is parked, and all later ones to its shop behind it.
pub fn reason(text: &str) -> Result<String, ParseError> {
    if text.chars().count() > MAX_REASON_LENGTH || text.chars().any(char::is_control) {
        let rule = "must be at most 500 characters without control characters";
        return Err(ParseError::new("reason", rule, text));
    }
    Ok(text.to_owned())
}

/// Sorted, and each once: the same countries in another order are the same setting.
fn countries(names: &[String]) -> Result<Vec<String>, ParseError> {
    let mut names = names.iter().map(|name| country(name)).collect::<Result<Vec<_>, _>>()?;
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_COUNTRIES {
        let count = names.len().to_string();
        return Err(ParseError::new("countries", "must be at most 300", &count));
    }
    Ok(names)
}

/// Sorted, and each once.
fn one_step_methods(beginnings: &[String]) -> Result<Vec<String>, ParseError> {
    let methods = beginnings.iter().map(|beginning| one_step_method(beginning));
    let mut methods = methods.collect::<Result<Vec<_>, _>>()?;
    methods.sort_unstable();
    methods.dedup();
    if methods.len() > MAX_ONE_STEP_METHODS {
        let count = methods.len().to_string();
        return Err(ParseError::new("one_step_methods", "must be at most 100", &count));
    }
    Ok(methods)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other() -> Settings {
        Settings {
            currency: Currency::parse("EUR").ok(),
            countries: vec!["DE".into(), "FR".into()],
            tax_basis: TaxBasis::Excluded,
            capture: Capture::OnShipment,
            split_shipments: true,
            hold_seconds: Some(600),
            payment_seconds: Some(60),
            default_location: Location::parse("berlin").expect("valid"),
            short_rule: ShortRule::Cancel,
            on_account: true,
            one_step_methods: vec!["ideal".into(), "sim:charge".into()],
        }
    }

    #[test]
    fn a_payment_method_is_of_one_step_by_how_it_begins() {
        let settings = other();
        for (payment_method, expected) in
            [("ideal", true), ("ideal_ing", true), ("sim:charge_lost", true), ("card", false)]
        {
            assert_eq!(settings.is_one_step(payment_method), expected, "{payment_method}");
        }
        assert!(!settings.is_one_step("my-ideal") && !Settings::default().is_one_step("ideal"));
    }

    #[test]
    fn settings_survive_the_wire_and_json() {
        let nothing = Settings { short_rule: ShortRule::Nothing, ..Settings::default() };
        for settings in [Settings::default(), other(), nothing] {
            assert_eq!(Settings::parse(Some(&settings.clone().into())), Ok(settings.clone()));
            let json = serde_json::to_string(&settings).expect("serialises");
            assert_eq!(serde_json::from_str::<Settings>(&json).expect("reads"), settings);
        }
        assert_eq!(Settings::read(&shop::Settings::default()), Ok(Settings::default()));
    }

    #[test]
    fn the_same_countries_in_another_order_are_the_same_setting() {
        let of = |names: &[&str]| {
            let countries = names.iter().map(ToString::to_string).collect();
            Settings::read(&shop::Settings { countries, ..Default::default() })
        };
        assert_eq!(of(&["FR", "DE", "FR"]), of(&["DE", "FR"]));
    }

    #[test]
    fn a_value_of_a_later_version_is_the_default_in_an_event_and_refused_in_a_command() {
        for later in [
            shop::Settings { capture: 99, ..Default::default() },
            shop::Settings { tax_basis: 99, ..Default::default() },
            shop::Settings { short_rule: 99, ..Default::default() },
        ] {
            assert_eq!(Settings::read(&later), Ok(Settings::default()));
            assert!(Settings::parse(Some(&later)).is_err());
        }
        assert!(Settings::parse(None).is_err());
    }

    #[test]
    fn a_reason_is_short_and_of_one_line() {
        for text in ["", "a test", &"é".repeat(500)] {
            assert_eq!(reason(text).as_deref(), Ok(text));
        }
        for text in ["a\nb", "a\0b", &"a".repeat(501)] {
            assert!(reason(text).is_err(), "{text:?} passed");
        }
    }

    #[test]
    fn a_setting_that_breaks_its_rule_is_refused() {
        let wrong = [
            shop::Settings { currency: Some("gbp".into()), ..Default::default() },
            shop::Settings { countries: vec![String::new()], ..Default::default() },
            shop::Settings { countries: vec!["a\0".into()], ..Default::default() },
            shop::Settings { hold_seconds: Some(0), ..Default::default() },
            shop::Settings { payment_seconds: Some(2_592_001), ..Default::default() },
            shop::Settings { default_location: "Berlin".into(), ..Default::default() },
            shop::Settings { one_step_methods: vec![String::new()], ..Default::default() },
            shop::Settings { one_step_methods: vec!["a\n".into()], ..Default::default() },
            shop::Settings { one_step_methods: vec!["a".repeat(129)], ..Default::default() },
            shop::Settings {
                one_step_methods: (0..101).map(|number| number.to_string()).collect(),
                ..Default::default()
            },
            shop::Settings {
                countries: (0..301).map(|number| number.to_string()).collect(),
                ..Default::default()
            },
        ];
        for settings in wrong {
            assert!(Settings::read(&settings).is_err(), "{settings:?} passed");
        }
    }
}
