//! What the catalogue decides about listings: what several SKUs share.
//!
//! Which SKUs belong to a listing, their products say (`listing_key`); the listing says in what they differ and in
//! which order they are shown.

use engine::Revision;
use events::{
    id::{CategoryKey, Language, ListingKey, Sku},
    listings::AttributeNumber,
};
use serde::{Deserialize, Serialize};

use super::{Tables, categories};

/// What a listing is among the aggregates.
pub(crate) const KIND: &str = "listing";

/// The lines that a listing stands for in a batch: its events may be as large as those of so many products.
pub(super) const WEIGHT: usize = 100;

/// What several SKUs share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Its name among machines.
    pub key: ListingKey,
    /// The SKUs, in the order in which they are shown.
    pub variants: Vec<Variant>,
    /// The title, for people.
    pub title: String,
    /// The text, for people.
    pub text: Option<String>,
    /// Pictures and the like, in the order in which they are shown.
    pub media: Vec<Media>,
    /// What is so of all variants.
    pub attributes: Vec<Attribute>,
    /// The categories that it is shown in.
    pub category_keys: Vec<CategoryKey>,
    /// Its title and text in other languages.
    pub translations: Vec<Translation>,
}

/// A SKU of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// The SKU.
    pub sku: Sku,
    /// The names and values in which the variants differ.
    pub options: Vec<(String, String)>,
}

/// Something that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Where it is.
    pub url: String,
    /// What it shows, for those who do not see it.
    pub alternative_text: Option<String>,
}

/// Something that is so of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// What is said.
    pub name: String,
    /// Its value.
    pub value: AttributeValue,
}

/// A value, by its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeValue {
    /// Text.
    Text(String),
    /// A number.
    Number(AttributeNumber),
    /// True or false.
    Boolean(bool),
    /// Texts, in this order.
    Texts(Vec<String>),
}

/// A listing in another language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    /// The language.
    pub language: Language,
    /// The title.
    pub title: String,
    /// The text.
    pub text: Option<String>,
}

/// A listing as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingRow {
    /// The listing.
    #[serde(flatten)]
    pub listing: Listing,
    /// Its version, and where its last event is.
    pub revision: Revision,
    /// Whether it is not shown any more.
    pub archived: bool,
}

/// To bring a listing into the given state.
#[derive(Debug, Clone)]
pub struct Put {
    /// The listing.
    pub listing: Listing,
    /// The version that it must have; 0 when there must be none.
    pub expected_version: Option<u64>,
}

/// To let a listing not be shown any more.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Its key.
    pub key: ListingKey,
    /// The version that it must have.
    pub expected_version: Option<u64>,
}

/// Something happened to a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub fact: Fact,
    /// The listing as it is from then on.
    pub listing: Listing,
}

/// What can happen to a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It came into being.
    Created,
    /// Something of it changed, or it is shown again.
    Updated {
        /// The listing as it was.
        before: Listing,
        /// Whether it was archived.
        was_archived: bool,
    },
    /// It is not shown any more.
    Archived,
}

/// What became of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What became of it.
    pub result: ListingResult,
    /// The version that it has now; 0 when there is none.
    pub version: u64,
}

/// What became of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListingResult {
    /// It is new.
    Created,
    /// It changed.
    Updated,
    /// It was so already.
    Unchanged,
    /// It is not shown any more.
    Archived,
    /// There is none of that key.
    Unknown,
    /// It has another version than was expected.
    OtherVersion,
    /// It names what the shop does not have.
    Refused(Refusal),
}

/// What a listing names and the shop does not have: places in the lists of the listing, from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The categories that there are not.
    pub unknown_categories: Vec<u32>,
    /// The variants whose SKU no product has.
    pub unknown_skus: Vec<u32>,
    /// The variants whose product does not name this listing.
    pub skus_of_others: Vec<u32>,
}

/// What follows when a listing is put, and what became of it.
pub(super) fn put(tables: &Tables, put: &Put) -> (Option<Event>, Outcome) {
    let Put { listing: wanted, expected_version } = put;
    let known = tables.listings.get(&wanted.key);
    let version = known.map_or(0, |row| row.revision.version);
    let left = |result| (None, Outcome { result, version });
    let is_wanted = known.is_some_and(|row| !row.archived && row.listing == *wanted);
    if let Some(expected) = expected_version.filter(|expected| *expected != version) {
        // A change that is sent again because its answer was lost is there already.
        let is_repeated = is_wanted && expected.checked_add(1) == Some(version);
        return left(if is_repeated {
            ListingResult::Unchanged
        } else {
            ListingResult::OtherVersion
        });
    }
    if is_wanted {
        return left(ListingResult::Unchanged);
    }
    let refusal = refuse(tables, wanted);
    if refusal != Refusal::default() {
        return left(ListingResult::Refused(refusal));
    }
    let (fact, result) = match known {
        None => (Fact::Created, ListingResult::Created),
        Some(row) => {
            let (before, was_archived) = (row.listing.clone(), row.archived);
            (Fact::Updated { before, was_archived }, ListingResult::Updated)
        }
    };
    let event = Event { fact, listing: wanted.clone() };
    (Some(event), Outcome { result, version: version + 1 })
}

/// What follows when a listing is to be archived, and what became of it.
pub(super) fn archive(tables: &Tables, archive: &Archive) -> (Option<Event>, Outcome) {
    let left = |result, version| (None, Outcome { result, version });
    let Some(row) = tables.listings.get(&archive.key) else {
        return left(ListingResult::Unknown, 0);
    };
    let version = row.revision.version;
    if let Some(expected) = archive.expected_version.filter(|expected| *expected != version) {
        let is_repeated = row.archived && expected.checked_add(1) == Some(version);
        let result =
            if is_repeated { ListingResult::Unchanged } else { ListingResult::OtherVersion };
        return left(result, version);
    }
    if row.archived {
        return left(ListingResult::Unchanged, version);
    }
    let event = Event { fact: Fact::Archived, listing: row.listing.clone() };
    (Some(event), Outcome { result: ListingResult::Archived, version: version + 1 })
}

/// What the sender of a command is answered when that is what followed from it.
pub(super) fn outcome(event: &Event, version: u64) -> Outcome {
    let result = match event.fact {
        Fact::Created => ListingResult::Created,
        Fact::Updated { .. } => ListingResult::Updated,
        Fact::Archived => ListingResult::Archived,
    };
    Outcome { result, version }
}

/// Folds what happened to a listing, and counts it in its categories.
pub(super) fn apply(tables: &mut Tables, event: &Event, revision: Revision) {
    let Event { fact, listing } = event;
    let before: &[CategoryKey] = match fact {
        Fact::Created | Fact::Updated { was_archived: true, .. } => &[],
        Fact::Updated { before, was_archived: false } => &before.category_keys,
        Fact::Archived => &listing.category_keys,
    };
    let archived = matches!(fact, Fact::Archived);
    let after: &[CategoryKey] = if archived { &[] } else { &listing.category_keys };
    for key in before.iter().filter(|key| !after.contains(key)) {
        if let Some(row) = tables.categories.change(key) {
            row.listings -= 1;
        }
    }
    for key in after.iter().filter(|key| !before.contains(key)) {
        if let Some(row) = tables.categories.change(key) {
            row.listings += 1;
        }
    }
    let row = ListingRow { listing: listing.clone(), revision, archived };
    tables.listings.put(listing.key.clone(), row);
}

/// What a listing names and the shop does not have.
fn refuse(tables: &Tables, wanted: &Listing) -> Refusal {
    let mut refusal = Refusal::default();
    for (place, key) in (0..).zip(&wanted.category_keys) {
        if categories::get(&tables.categories, key).is_none() {
            refusal.unknown_categories.push(place);
        }
    }
    for (place, variant) in (0..).zip(&wanted.variants) {
        match tables.products.get(&variant.sku) {
            None => refusal.unknown_skus.push(place),
            Some(row) if row.product.listing_key.as_ref() != Some(&wanted.key) => {
                refusal.skus_of_others.push(place);
            }
            Some(_) => {}
        }
    }
    refusal
}
