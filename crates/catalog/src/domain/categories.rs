//! What the catalogue decides about categories: the parts of a tree.
//!
//! A category that is deleted keeps its row, so that its versions go on when one of its key is put again.

use std::{collections::BTreeSet, fmt};

use engine::{Revision, Rows};
use events::id::CategoryKey;
use serde::{Deserialize, Serialize};

use super::Tables;

/// What a category is among the aggregates.
pub(crate) const KIND: &str = "category";

/// The most categories from the top of the tree down to the deepest: what is asked of a tree stays within so
/// many rows.
pub(crate) const MAX_DEPTH: usize = 10;
/// The most categories of a shop: a category that moves is compared with all that are below it.
pub(crate) const MAX_CATEGORIES: u32 = 10_000;
/// The most categories right below another one: its row names them.
pub(crate) const MAX_CHILDREN: usize = 1_000;

/// A part of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Its name among machines.
    pub key: CategoryKey,
    /// The title, for people.
    pub title: String,
    /// What it is a part of; none at the top of the tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_key: Option<CategoryKey>,
    /// Its place among the categories of the same parent, the smallest first.
    pub place: u32,
}

/// A category as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CategoryRow {
    /// The category; of one that is deleted, as it was.
    #[serde(flatten)]
    pub category: Category,
    /// Its version, and where its last event is.
    pub revision: Revision,
    /// Whether it is deleted.
    #[serde(default)]
    pub deleted: bool,
    /// The categories right below it.
    #[serde(default)]
    pub children: BTreeSet<CategoryKey>,
    /// How many listings that are shown are in it.
    #[serde(default)]
    pub listings: u32,
}

/// The tree of a shop: each has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TheTree;

/// The tree as the last event about a category left it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRow {
    /// How many categories it has.
    pub categories: u32,
}

/// To bring a category into the given state.
#[derive(Debug, Clone)]
pub struct Put {
    /// The category.
    pub category: Category,
    /// The version that it must have; 0 when there must be none.
    pub expected_version: Option<u64>,
}

/// To delete a category.
#[derive(Debug, Clone)]
pub struct Delete {
    /// Its key.
    pub key: CategoryKey,
    /// The version that it must have.
    pub expected_version: Option<u64>,
}

/// Something happened to a category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub fact: Fact,
    /// The category as it is from then on; of one that is deleted, as it was.
    pub category: Category,
}

/// What can happen to a category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It came into being.
    Created,
    /// It has another title.
    Updated {
        /// The category as it was.
        before: Category,
    },
    /// It has another parent or place.
    Moved {
        /// The category as it was.
        before: Category,
    },
    /// It is gone.
    Deleted,
}

/// What became of a category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What became of it.
    pub result: CategoryResult,
    /// The version that it has now; 0 when there is none.
    pub version: u64,
}

/// What became of a category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CategoryResult {
    /// It is new.
    Created,
    /// It changed.
    Changed,
    /// It was so already.
    Unchanged,
    /// It is deleted.
    Deleted,
    /// There is none of that key.
    Unknown,
    /// It has another version than was expected.
    OtherVersion,
    /// There is no category of the key of the parent.
    UnknownParent,
    /// The parent is the category itself, or below it.
    Cycle,
    /// It, or one below it, would be deeper than [`MAX_DEPTH`].
    TooDeep,
    /// There are [`MAX_CATEGORIES`], or the parent has [`MAX_CHILDREN`].
    TooMany,
    /// It has children.
    HasChildren,
    /// Listings that are shown are in it.
    HasListings,
}

impl fmt::Display for TheTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tree")
    }
}

/// The category of that key, unless it is deleted.
pub(super) fn get<'r>(
    categories: &'r Rows<CategoryKey, CategoryRow>,
    key: &CategoryKey,
) -> Option<&'r CategoryRow> {
    categories.get(key).filter(|row| !row.deleted)
}

/// What follows when a category is put, and what became of it: another title and another place are two facts.
pub(super) fn put(tables: &Tables, put: &Put) -> (Vec<Event>, Outcome) {
    let Put { category: wanted, expected_version } = put;
    let known = get(&tables.categories, &wanted.key);
    let version = known.map_or(0, |row| row.revision.version);
    let left = |result| (vec![], Outcome { result, version });
    let is_wanted = known.is_some_and(|row| row.category == *wanted);
    if let Some(expected) = expected_version.filter(|expected| *expected != version) {
        // A change that is sent again because its answer was lost is there already.
        let is_repeated = is_wanted && (1..=2).contains(&version.saturating_sub(expected));
        return left(if is_repeated {
            CategoryResult::Unchanged
        } else {
            CategoryResult::OtherVersion
        });
    }
    if is_wanted {
        return left(CategoryResult::Unchanged);
    }
    if let Some(refused) = refuse_place(tables, wanted, known) {
        return left(refused);
    }
    let events = facts(known.map(|row| &row.category), wanted);
    let of_key = tables.categories.get(&wanted.key).map_or(0, |row| row.revision.version);
    let result = match known {
        Some(_) => CategoryResult::Changed,
        None => CategoryResult::Created,
    };
    let version = of_key + events.len() as u64;
    (events, Outcome { result, version })
}

/// What follows when a category is to be deleted, and what became of it.
pub(super) fn delete(tables: &Tables, delete: &Delete) -> (Option<Event>, Outcome) {
    let left = |result, version| (None, Outcome { result, version });
    let Some(row) = get(&tables.categories, &delete.key) else {
        return left(CategoryResult::Unknown, 0);
    };
    let version = row.revision.version;
    if delete.expected_version.is_some_and(|expected| expected != version) {
        return left(CategoryResult::OtherVersion, version);
    }
    if !row.children.is_empty() {
        return left(CategoryResult::HasChildren, version);
    }
    if row.listings > 0 {
        return left(CategoryResult::HasListings, version);
    }
    let event = Event { fact: Fact::Deleted, category: row.category.clone() };
    (Some(event), Outcome { result: CategoryResult::Deleted, version: version + 1 })
}

/// What the sender of a command is answered when that is all that followed from it.
pub(super) fn outcome(event: &Event, version: u64) -> Outcome {
    let result = match event.fact {
        Fact::Created => CategoryResult::Created,
        Fact::Updated { .. } | Fact::Moved { .. } => CategoryResult::Changed,
        Fact::Deleted => CategoryResult::Deleted,
    };
    Outcome { result, version }
}

/// Folds what happened to a category.
pub(super) fn apply(tables: &mut Tables, event: &Event, revision: Revision) {
    let Event { fact, category } = event;
    let before = match fact {
        Fact::Created => None,
        Fact::Updated { before } | Fact::Moved { before } => Some(before),
        Fact::Deleted => Some(category),
    };
    let deleted = matches!(fact, Fact::Deleted);
    let parent_before = before.and_then(|before| before.parent_key.as_ref());
    let parent_after = category.parent_key.as_ref().filter(|_| !deleted);
    if parent_before != parent_after {
        if let Some(row) = parent_before.and_then(|key| tables.categories.change(key)) {
            row.children.remove(&category.key);
        }
        if let Some(row) = parent_after.and_then(|key| tables.categories.change(key)) {
            row.children.insert(category.key.clone());
        }
    }
    let known = tables.categories.get(&category.key);
    let kept = known.map(|row| (row.children.clone(), row.listings)).unwrap_or_default();
    let (children, listings) = kept;
    let row = CategoryRow { category: category.clone(), revision, deleted, children, listings };
    tables.categories.put(category.key.clone(), row);
    match fact {
        Fact::Created => tables.tree.change_or_default(&TheTree).categories += 1,
        Fact::Deleted => {
            let tree = tables.tree.change_or_default(&TheTree);
            // It is not in memory in a first run of an event, which is undone.
            tree.categories = tree.categories.saturating_sub(1);
        }
        Fact::Updated { .. } | Fact::Moved { .. } => {}
    }
}

/// The facts that bring a category into the state `wanted`.
fn facts(known: Option<&Category>, wanted: &Category) -> Vec<Event> {
    let Some(before) = known else {
        return vec![Event { fact: Fact::Created, category: wanted.clone() }];
    };
    let renamed = Category { title: wanted.title.clone(), ..before.clone() };
    let mut events = Vec::new();
    if renamed != *before {
        let before = before.clone();
        events.push(Event { fact: Fact::Updated { before }, category: renamed.clone() });
    }
    if renamed != *wanted {
        let fact = Fact::Moved { before: renamed };
        events.push(Event { fact, category: wanted.clone() });
    }
    events
}

/// Why a category cannot be where it is wanted.
fn refuse_place(
    tables: &Tables,
    wanted: &Category,
    known: Option<&CategoryRow>,
) -> Option<CategoryResult> {
    let count = tables.tree.get(&TheTree).map_or(0, |tree| tree.categories);
    if known.is_none() && count >= MAX_CATEGORIES {
        return Some(CategoryResult::TooMany);
    }
    let parent_before = known.and_then(|row| row.category.parent_key.as_ref());
    let parent_key = wanted.parent_key.as_ref()?;
    if parent_before == Some(parent_key) {
        return None;
    }
    let Some(parent) = get(&tables.categories, parent_key) else {
        return Some(CategoryResult::UnknownParent);
    };
    let mut above = vec![parent];
    // A tree is no deeper; the limit ends the walk whatever the rows say.
    while above.len() <= MAX_DEPTH
        && let Some(next) = above.last().and_then(|row| row.category.parent_key.as_ref())
        && let Some(row) = tables.categories.get(next)
    {
        above.push(row);
    }
    if above.iter().any(|row| row.category.key == wanted.key) {
        return Some(CategoryResult::Cycle);
    }
    let own_levels = known.map_or(1, |row| levels(&tables.categories, row, MAX_DEPTH));
    if above.len() + own_levels > MAX_DEPTH {
        return Some(CategoryResult::TooDeep);
    }
    (parent.children.len() >= MAX_CHILDREN).then_some(CategoryResult::TooMany)
}

/// How many levels of the tree a category takes with all that are below it, `most` at most.
fn levels(categories: &Rows<CategoryKey, CategoryRow>, row: &CategoryRow, most: usize) -> usize {
    if most == 0 {
        return 0;
    }
    let children = row.children.iter().filter_map(|key| categories.get(key));
    1 + children.map(|child| levels(categories, child, most - 1)).max().unwrap_or_default()
}
