//! The catalogue's log: the categories of each shop are a tree, and what a listing names is in it.

use std::collections::{BTreeMap, HashMap};

use events::proto::{
    Event,
    catalog::{Category, Listing, catalog_event::Kind},
};

use crate::{Check, Findings, LogPosition, text::count};

/// The most levels of a tree.
const MAX_LEVELS: usize = 10;

/// The categories and listings of all shops, as far as the log was read.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    shops: BTreeMap<String, Tree>,
    events: u64,
    findings: Findings,
}

/// The categories and listings of a shop.
#[derive(Debug, Default)]
struct Tree {
    categories: HashMap<String, Category>,
    /// By category: how many are right below it.
    children: HashMap<String, u64>,
    /// By listing that is shown: its categories.
    listings: HashMap<String, Vec<String>>,
    /// By category: how many listings that are shown are in it.
    shown: HashMap<String, u64>,
}

impl Catalogue {
    /// Takes in an event of the catalogue.
    pub(super) fn observe(&mut self, position: LogPosition, event: &Event, kind: Option<&Kind>) {
        let Some(kind) = kind else { return };
        let tree = self.shops.entry(event.shop.clone()).or_default();
        let wrong = match kind {
            Kind::Created(_) | Kind::Updated(_) | Kind::Archived(_) => return,
            Kind::CategoryCreated(it) => tree.category(None, it.category.as_ref()),
            Kind::CategoryUpdated(it) => tree.category(it.before.as_ref(), it.after.as_ref()),
            Kind::CategoryMoved(it) => tree.category(it.before.as_ref(), it.after.as_ref()),
            Kind::CategoryDeleted(it) => tree.category(it.before.as_ref(), None),
            Kind::ListingCreated(it) => tree.listing(it.listing.as_ref(), true),
            Kind::ListingUpdated(it) => tree.listing(it.after.as_ref(), true),
            Kind::ListingArchived(it) => tree.listing(it.listing.as_ref(), false),
        };
        self.events += 1;
        for wrong in wrong {
            let (shop, id) = (&event.shop, &event.aggregate_id);
            self.findings.add(format!("{position}, {id} of {shop}: {wrong}"));
        }
    }

    /// What is wrong; nothing where no shop has categories or listings.
    pub(super) fn check(self) -> Option<Check> {
        let Self { events, findings, shops } = self;
        let categories: usize = shops.values().map(|tree| tree.categories.len()).sum();
        let evidence = format!(
            "{} left by {}",
            count(categories as u64, "category", "categories"),
            count(events, "event of categories and listings", "events of categories and listings"),
        );
        let claim =
            "the categories are a tree after every event, and listings are in those there are";
        let check = Check { invariant: None, claim, evidence, looked_at: events, findings };
        (events > 0).then_some(check)
    }
}

impl Tree {
    /// Replaces a category by another one; each may be none.
    fn category(&mut self, before: Option<&Category>, after: Option<&Category>) -> Vec<String> {
        let mut wrong = Vec::new();
        let Some(key) = before.or(after).map(|category| category.key.clone()) else {
            return vec!["the event has no category".to_owned()];
        };
        let known = self.categories.remove(&key);
        if known.as_ref() != before {
            wrong.push("the category was otherwise before".to_owned());
        }
        if let Some(parent) = known.and_then(|category| category.parent_key)
            && let Some(children) = self.children.get_mut(&parent)
        {
            *children -= 1;
        }
        let Some(after) = after else {
            for (left, what) in [(&self.children, "categories"), (&self.shown, "listings")] {
                let left = left.get(&key).copied().unwrap_or_default();
                if left > 0 {
                    wrong.push(format!("{left} {what} are in it, and it is deleted"));
                }
            }
            return wrong;
        };
        self.categories.insert(key, after.clone());
        if let Some(parent) = &after.parent_key {
            *self.children.entry(parent.clone()).or_default() += 1;
        }
        wrong.extend(self.above(after));
        wrong
    }

    /// What is wrong with the categories above one.
    fn above(&self, category: &Category) -> Option<String> {
        let mut at = category;
        for _ in 1..=MAX_LEVELS {
            let parent = at.parent_key.as_ref()?;
            let Some(next) = self.categories.get(parent) else {
                return Some(format!("there is no category {parent}"));
            };
            at = next;
        }
        Some(format!("it is below itself, or deeper than {MAX_LEVELS} levels"))
    }

    /// Takes in which categories a listing is shown in.
    fn listing(&mut self, listing: Option<&Listing>, is_shown: bool) -> Vec<String> {
        let Some(listing) = listing else { return vec!["the event has no listing".to_owned()] };
        for key in self.listings.remove(&listing.key).unwrap_or_default() {
            if let Some(shown) = self.shown.get_mut(&key) {
                *shown -= 1;
            }
        }
        if !is_shown {
            return Vec::new();
        }
        for key in &listing.category_keys {
            *self.shown.entry(key.clone()).or_default() += 1;
        }
        self.listings.insert(listing.key.clone(), listing.category_keys.clone());
        let unknown =
            listing.category_keys.iter().filter(|key| !self.categories.contains_key(*key));
        unknown.map(|key| format!("there is no category {key}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use events::proto::catalog::{
        CategoryCreated, CategoryDeleted, CategoryMoved, ListingArchived, ListingCreated,
    };

    use super::*;

    /// A category `parent/own`, or `own` at the top.
    fn at(path: &str) -> Category {
        let (parent, own) = path.rsplit_once('/').map_or((None, path), |(up, own)| (Some(up), own));
        let (parent_key, key) = (parent.map(str::to_owned), own.to_owned());
        Category { parent_key, key, ..Category::default() }
    }

    fn created(path: &str) -> Kind {
        Kind::CategoryCreated(CategoryCreated { category: Some(at(path)) })
    }

    fn moved(from: &str, to: &str) -> Kind {
        Kind::CategoryMoved(CategoryMoved { before: Some(at(from)), after: Some(at(to)) })
    }

    fn deleted(path: &str) -> Kind {
        Kind::CategoryDeleted(CategoryDeleted { before: Some(at(path)) })
    }

    fn shown_in(keys: &[&str]) -> Listing {
        let category_keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Listing { key: "mug".to_owned(), category_keys, ..Listing::default() }
    }

    fn listed(keys: &[&str]) -> Kind {
        Kind::ListingCreated(ListingCreated { listing: Some(shown_in(keys)) })
    }

    #[track_caller]
    fn check(kinds: &[Kind], expected: &[&str]) {
        let mut catalogue = Catalogue::default();
        for (sequence, kind) in (1..).zip(kinds) {
            let position = LogPosition { service: "catalog", partition: 0, sequence };
            catalogue.observe(position, &Event::default(), Some(kind));
        }
        let findings = catalogue.check().map(|check| check.findings).unwrap_or_default();
        let found: Vec<_> =
            findings.shown().iter().filter_map(|it| it.rsplit(": ").next()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_tree_that_grows_and_shrinks_in_order_has_nothing_to_find() {
        let archived = Kind::ListingArchived(ListingArchived { listing: Some(shown_in(&["b"])) });
        let in_order = [
            created("a"),
            created("a/b"),
            created("c"),
            moved("a/b", "c/b"),
            listed(&["b"]),
            archived,
            deleted("a"),
            deleted("c/b"),
            deleted("c"),
            created("a"),
        ];
        check(&in_order, &[]);
        check(&[], &[]);
    }

    #[test]
    fn what_no_tree_allows_is_found() {
        check(&[created("a/b")], &["there is no category a"]);
        check(&[created("a"), created("a")], &["the category was otherwise before"]);
        check(
            &[created("a"), created("a/b"), deleted("a")],
            &["1 categories are in it, and it is deleted"],
        );
        check(
            &[created("a"), created("a/b"), moved("a", "b/a")],
            &["it is below itself, or deeper than 10 levels"],
        );
        check(&[listed(&["a"])], &["there is no category a"]);
        check(
            &[created("a"), listed(&["a"]), deleted("a")],
            &["1 listings are in it, and it is deleted"],
        );
    }
}
