//! The settings of a shop that stock depends on: a replica, and what follows from it.

use std::{borrow::Cow, fmt, time::Duration};

use events::{id::Location, shop::Settings};
use serde::{Deserialize, Serialize};

use super::{Policy, State, StockLine};

/// The key of the one row of [`ShopSettings`] that a shop has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingsKey;

impl fmt::Display for SettingsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shop")
    }
}

/// The settings of a shop that stock depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShopSettings {
    /// How long units are held for an order whose payment is not authorised yet; `None`: as the
    /// installation says.
    pub hold_seconds: Option<u32>,
    /// Whether an order may be served from several locations.
    pub split_shipments: bool,
    /// The location of stock lines that name none.
    pub default_location: Location,
}

impl From<Settings> for ShopSettings {
    fn from(settings: Settings) -> Self {
        let Settings { hold_seconds, split_shipments, default_location, .. } = settings;
        Self { hold_seconds, split_shipments, default_location }
    }
}

/// On which terms units are held for an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HoldTerms {
    /// For how long.
    pub(super) ttl: Duration,
    /// Whether they may be of several locations.
    pub(super) may_split: bool,
}

/// The terms of a hold: those of the shop, and of the installation where it says nothing.
pub(super) fn hold_terms(policy: Policy, state: &State) -> HoldTerms {
    let settings = state.settings.get(&SettingsKey);
    let seconds = settings.and_then(|settings| settings.hold_seconds);
    HoldTerms {
        ttl: seconds.map_or(policy.hold_ttl, |seconds| Duration::from_secs(seconds.into())),
        may_split: settings.is_some_and(|settings| settings.split_shipments),
    }
}

/// The lines, those that name no location at the shop's default one.
pub(super) fn located<'a>(
    state: &State,
    lines: &'a [StockLine],
    unlocated: &[usize],
) -> Cow<'a, [StockLine]> {
    if unlocated.is_empty() {
        return Cow::Borrowed(lines);
    }
    let settings = state.settings.get(&SettingsKey);
    let location = settings.map_or_else(Location::main, |it| it.default_location.clone());
    if location == Location::main() {
        return Cow::Borrowed(lines);
    }
    let mut lines = lines.to_vec();
    for index in unlocated {
        if let Some(line) = lines.get_mut(*index) {
            line.stock.location = location.clone();
        }
    }
    Cow::Owned(lines)
}
