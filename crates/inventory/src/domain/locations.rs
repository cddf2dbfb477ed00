//! The locations of a shop, and which of them serve an order.

use std::{collections::BTreeMap, fmt, sync::Arc};

use engine::{Decision, Revision};
use events::id::{Location, Sku};
use serde::{Deserialize, Serialize};

use super::{Answer, Event, Line, Lines, Shortage, State, Stock, StockId};

/// The most locations of a shop: they are one row.
pub(super) const MAX_LOCATIONS: usize = 1_000;
/// The priority of the location that is there from the beginning.
const MAIN_PRIORITY: u32 = 100;

/// All locations of a shop, by code: those that were ever put.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Locations(pub BTreeMap<Location, LocationRow>);

/// A location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationRow {
    /// What it is.
    #[serde(flatten)]
    pub details: LocationDetails,
    /// Its version, and where its last event is.
    pub revision: Revision,
}

/// What a location is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationDetails {
    /// What kind of location.
    pub kind: LocationKind,
    /// Orders are served from the locations with the smallest numbers first.
    pub priority: u32,
    /// Whether orders are served from it.
    pub fulfils_online: bool,
    /// Its country as ISO 3166-1 alpha-2; empty when it is not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub country: String,
    /// Whether it is in use.
    pub active: bool,
}

/// The kinds of locations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocationKind {
    /// A warehouse.
    Warehouse,
    /// A store, which sells over the counter as well.
    Store,
    /// Something else.
    Other,
}

/// The key of the one row of [`Locations`] that a shop has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocationsKey;

impl fmt::Display for LocationsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shop")
    }
}

/// What happened to a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocationFact {
    /// It is new.
    Created(LocationDetails),
    /// It is otherwise.
    Changed {
        /// What it was.
        before: LocationDetails,
        /// What it is.
        after: LocationDetails,
    },
}

/// What became of a location that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocationResult {
    /// It is new.
    Created,
    /// It was otherwise before.
    Changed,
    /// It was like that before.
    Unchanged,
    /// The shop has as many locations as one may have.
    TooMany,
    /// It has another version than was expected.
    OtherVersion,
}

impl LocationDetails {
    /// The location that is there from the beginning.
    pub(crate) fn main() -> Self {
        Self {
            kind: LocationKind::Warehouse,
            priority: MAIN_PRIORITY,
            fulfils_online: true,
            country: String::new(),
            active: true,
        }
    }

    /// Whether orders are served from it now.
    pub(crate) fn serves_orders(&self) -> bool {
        self.active && self.fulfils_online
    }
}

impl Locations {
    /// All locations, by code, with `main` as it is from the beginning unless it was put.
    pub(crate) fn all(&self) -> BTreeMap<Location, LocationRow> {
        let mut all = self.0.clone();
        all.entry(Location::main()).or_insert_with(|| LocationRow {
            details: LocationDetails::main(),
            revision: Revision::default(),
        });
        all
    }
}

/// Whether the shop has that location.
pub(super) fn exists(state: &State, code: &Location) -> bool {
    *code == Location::main()
        || state.locations.get(&LocationsKey).is_some_and(|row| row.0.contains_key(code))
}

/// Where a location stands.
pub(super) fn revision(state: &State, code: &Location) -> Option<Revision> {
    state.locations.get(&LocationsKey)?.0.get(code).map(|row| row.revision)
}

/// Creates a location, or brings it into the given state.
pub(super) fn put(
    state: &State,
    code: &Location,
    details: &LocationDetails,
    expected_version: Option<u64>,
) -> Decision<Event, Answer> {
    let none = Locations::default();
    let Locations(rows) = state.locations.get(&LocationsKey).unwrap_or(&none);
    let main = (*code == Location::main()).then(LocationDetails::main);
    let known = rows.get(code).map(|row| row.details.clone()).or(main);
    let version = rows.get(code).map_or(0, |row| row.revision.version);
    let (fact, result) = match known {
        _ if expected_version.is_some_and(|expected| expected != version) => {
            (None, LocationResult::OtherVersion)
        }
        Some(known) if known == *details => (None, LocationResult::Unchanged),
        Some(before) => {
            let fact = LocationFact::Changed { before, after: details.clone() };
            (Some(fact), LocationResult::Changed)
        }
        None if rows.len() >= MAX_LOCATIONS => (None, LocationResult::TooMany),
        None => (Some(LocationFact::Created(details.clone())), LocationResult::Created),
    };
    let version = version + u64::from(fact.is_some());
    let event = fact.map(|fact| Event::Location(code.clone(), fact));
    Decision::answered(event.into_iter().collect(), Answer::Location(result, version))
}

/// Folds a fact about a location into the state.
pub(super) fn apply(state: &mut State, code: &Location, fact: &LocationFact, revision: Revision) {
    let (LocationFact::Created(details) | LocationFact::Changed { after: details, .. }) = fact;
    let Locations(rows) = state.locations.change_or_default(&LocationsKey);
    rows.insert(code.clone(), LocationRow { details: details.clone(), revision });
}

/// What an order wants, one entry for each SKU, by SKU. Shared by copies of an input.
pub(crate) type Wanted = Arc<[(Sku, i64)]>;

/// The locations that serve orders, those that come first at the beginning.
fn serving(state: &State) -> Vec<Location> {
    let Some(row) = state.locations.get(&LocationsKey) else { return vec![Location::main()] };
    let mut serving: Vec<_> =
        row.all().into_iter().filter(|(_, row)| row.details.serves_orders()).collect();
    serving.sort_by_key(|(_, row)| row.details.priority);
    serving.into_iter().map(|(code, _)| code).collect()
}

/// Where the units come from: from the first location that has all of them; where orders may be
/// split and none has, from the first ones that have some. Or each SKU that there is too little of.
pub(super) fn source(
    state: &State,
    wanted: &[(Sku, i64)],
    may_split: bool,
) -> Result<Lines, Vec<Shortage>> {
    let locations = serving(state);
    let mut closest: Option<(i64, Vec<Shortage>)> = None;
    for location in &locations {
        let shortages = shortages_at(state, wanted, location);
        if shortages.is_empty() {
            let line = |(sku, units): &(Sku, i64)| Line {
                stock: StockId { sku: sku.clone(), location: location.clone() },
                units: *units,
            };
            return Ok(wanted.iter().map(line).collect());
        }
        let missing = shortages.iter().map(|it| it.requested - it.available).sum();
        if closest.as_ref().is_none_or(|(fewest, _)| missing < *fewest) {
            closest = Some((missing, shortages));
        }
    }
    if may_split && locations.len() > 1 {
        return split(state, wanted, &locations);
    }
    let nowhere = || {
        let shortage = |(sku, units): &(Sku, i64)| Shortage {
            sku: sku.clone(),
            requested: *units,
            available: 0,
            location: None,
        };
        wanted.iter().map(shortage).collect::<Vec<_>>()
    };
    match closest.map_or_else(nowhere, |(_, shortages)| shortages) {
        none if none.is_empty() => Ok(Lines::default()),
        shortages => Err(shortages),
    }
}

/// Each SKU that there is too little of at a location.
fn shortages_at(state: &State, wanted: &[(Sku, i64)], location: &Location) -> Vec<Shortage> {
    let shortage = |(sku, units): &(Sku, i64)| {
        let available = available(state, sku, location);
        (*units > available).then(|| Shortage {
            sku: sku.clone(),
            requested: *units,
            available,
            location: Some(location.clone()),
        })
    };
    wanted.iter().filter_map(shortage).collect()
}

/// The units of each SKU from the first locations that have some.
fn split(
    state: &State,
    wanted: &[(Sku, i64)],
    locations: &[Location],
) -> Result<Lines, Vec<Shortage>> {
    let (mut lines, mut shortages) = (Vec::new(), Vec::new());
    for (sku, requested) in wanted {
        let mut left = *requested;
        for location in locations {
            let units = available(state, sku, location).min(left);
            if units > 0 {
                let stock = StockId { sku: sku.clone(), location: location.clone() };
                lines.push(Line { stock, units });
                left -= units;
            }
        }
        if left > 0 {
            let (sku, requested) = (sku.clone(), *requested);
            let available = requested - left;
            shortages.push(Shortage { sku, requested, available, location: None });
        }
    }
    if shortages.is_empty() { Ok(lines.into()) } else { Err(shortages) }
}

fn available(state: &State, sku: &Sku, location: &Location) -> i64 {
    let id = StockId { sku: sku.clone(), location: location.clone() };
    state.stocks.get(&id).map_or(0, Stock::available)
}
