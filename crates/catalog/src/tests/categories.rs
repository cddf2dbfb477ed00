//! Categories: given, when, then.

use engine::{Rules, Wire};
use events::id::CategoryKey;

use super::{NOW, fold};
use crate::{
    Catalog,
    domain::{
        Answer, Event, Input, Tables,
        categories::{self, Category, CategoryResult, Delete, Fact, MAX_DEPTH, Outcome, Put},
    },
};

pub(super) fn key(key: &str) -> CategoryKey {
    CategoryKey::parse(key).expect("valid")
}

/// A category `parent/own`, or `own` at the top.
pub(super) fn at(path: &str) -> Category {
    let (parent_key, own) = match path.rsplit_once('/') {
        Some((parent, own)) => (Some(key(parent)), own),
        None => (None, path),
    };
    Category { key: key(own), title: own.to_uppercase(), parent_key, place: 0 }
}

pub(super) fn event(fact: Fact, category: Category) -> Event {
    Event::Category(categories::Event { fact, category })
}

pub(super) fn created(path: &str) -> Event {
    event(Fact::Created, at(path))
}

fn put(category: Category) -> Input {
    Input::PutCategory(Put { category, expected_version: None })
}

fn delete(name: &str) -> Input {
    Input::DeleteCategory(Delete { key: key(name), expected_version: None })
}

pub(super) fn tables(given: &[Event]) -> Tables {
    let mut tables = Tables::default();
    for event in given {
        fold(&mut tables, event.clone());
    }
    tables
}

/// Given what happened, when that is asked, then these facts follow, they survive the wire, and the sender is answered
/// this.
#[track_caller]
fn check(given: &[Event], when: &Input, then: &[Event], result: CategoryResult, version: u64) {
    let mut tables = tables(given);
    let decision = Catalog.decide(&tables, when, NOW);
    let Some(Answer::PutCategory(outcome) | Answer::DeleteCategory(outcome)) = decision.answer
    else {
        panic!("it is answered")
    };
    assert_eq!((&*decision.events, outcome), (then, Outcome { result, version }));
    for event in decision.events {
        assert_eq!(Catalog::decode(&Catalog::encode(&event).body).expect("reads"), event);
        fold(&mut tables, event);
    }
    if let Input::PutCategory(put) = when
        && !then.is_empty()
    {
        let again = Catalog.decide(&tables, when, NOW);
        assert_eq!(again.events, [], "put again");
        assert_eq!(
            tables.categories.get(&put.category.key).map(|row| &row.category),
            Some(&put.category)
        );
    }
}

#[test]
fn a_category_is_created_at_the_top_or_below_another() {
    check(&[], &put(at("a")), &[created("a")], CategoryResult::Created, 1);
    let given = [created("a")];
    check(&given, &put(at("a/b")), &[created("a/b")], CategoryResult::Created, 1);
    check(&given, &put(at("a")), &[], CategoryResult::Unchanged, 1);
    check(&given, &put(at("x/b")), &[], CategoryResult::UnknownParent, 0);
}

#[test]
fn another_title_updates_another_place_moves_and_both_do_both() {
    let given = [created("a"), created("b")];
    let renamed = Category { title: "New".into(), ..at("b") };
    let updated = event(Fact::Updated { before: at("b") }, renamed.clone());
    check(
        &given,
        &put(renamed.clone()),
        std::slice::from_ref(&updated),
        CategoryResult::Changed,
        2,
    );
    let second = Category { place: 2, ..at("b") };
    let moved = event(Fact::Moved { before: at("b") }, second.clone());
    check(&given, &put(second), &[moved], CategoryResult::Changed, 2);
    let both = Category { parent_key: Some(key("a")), ..renamed.clone() };
    let moved = event(Fact::Moved { before: renamed }, both.clone());
    check(&given, &put(both), &[updated, moved], CategoryResult::Changed, 3);
}

#[test]
fn no_category_is_below_itself() {
    let given = [created("a"), created("a/b"), created("b/c")];
    check(&given, &put(at("a/a")), &[], CategoryResult::Cycle, 1);
    check(&given, &put(at("b/a")), &[], CategoryResult::Cycle, 1);
    check(&given, &put(at("c/a")), &[], CategoryResult::Cycle, 1);
    let moved = event(Fact::Moved { before: at("b/c") }, at("a/c"));
    check(&given, &put(at("a/c")), &[moved], CategoryResult::Changed, 2);
}

#[test]
fn a_tree_has_so_many_levels_whatever_moves() {
    let name = |level: usize| format!("l{level}");
    let mut given = vec![created("l1")];
    for level in 2..=MAX_DEPTH {
        given.push(created(&format!("{}/{}", name(level - 1), name(level))));
    }
    let deepest = format!("{}/x", name(MAX_DEPTH));
    check(&given, &put(at(&deepest)), &[], CategoryResult::TooDeep, 0);
    given.extend([created("x"), created("x/y")]);
    let two_above = name(MAX_DEPTH - 2);
    let fits = at(&format!("{two_above}/x"));
    let moved = event(Fact::Moved { before: at("x") }, fits.clone());
    check(&given, &put(fits), &[moved], CategoryResult::Changed, 2);
    let too_deep = at(&format!("{}/x", name(MAX_DEPTH - 1)));
    check(&given, &put(too_deep), &[], CategoryResult::TooDeep, 1);
}

#[test]
fn a_category_with_children_is_not_deleted() {
    let given = [created("a"), created("a/b")];
    check(&given, &delete("a"), &[], CategoryResult::HasChildren, 1);
    let deleted = event(Fact::Deleted, at("a/b"));
    check(&given, &delete("b"), std::slice::from_ref(&deleted), CategoryResult::Deleted, 2);
    let given = [created("a"), created("a/b"), deleted.clone()];
    check(&given, &delete("b"), &[], CategoryResult::Unknown, 0);
    check(&given, &delete("a"), &[event(Fact::Deleted, at("a"))], CategoryResult::Deleted, 2);
    let moved = event(Fact::Moved { before: at("a/b") }, at("b"));
    let given = [created("a"), created("a/b"), moved];
    check(&given, &delete("a"), &[event(Fact::Deleted, at("a"))], CategoryResult::Deleted, 2);
}

#[test]
fn the_versions_of_a_category_go_on_after_it_was_deleted() {
    let given = [created("a"), event(Fact::Deleted, at("a"))];
    check(&given, &put(at("a")), &[created("a")], CategoryResult::Created, 3);
    check(&given, &put(at("a/b")), &[], CategoryResult::UnknownParent, 0);
    let tables = tables(&given);
    let of_tree = tables.tree.get(&categories::TheTree);
    assert_eq!(of_tree.map(|tree| tree.categories), Some(0));
}

#[test]
fn who_names_another_version_changes_nothing() {
    let with = |expected_version, path: &str| {
        Input::PutCategory(Put { category: at(path), expected_version: Some(expected_version) })
    };
    let given = [created("a"), created("b")];
    check(&given, &with(0, "b"), &[], CategoryResult::Unchanged, 1);
    check(&given, &with(0, "a/b"), &[], CategoryResult::OtherVersion, 1);
    check(&given, &with(2, "a/b"), &[], CategoryResult::OtherVersion, 1);
    check(&given, &with(1, "c"), &[], CategoryResult::OtherVersion, 0);
    let other = Input::DeleteCategory(Delete { key: key("b"), expected_version: Some(2) });
    check(&given, &other, &[], CategoryResult::OtherVersion, 1);
}
