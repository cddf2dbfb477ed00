//! Rows in memory: what is missing, what is undone, and what a database would refuse.

use serde::{Deserialize, Serialize};

use super::*;
use crate::{Column, Value};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Count(i64);

impl Row for Count {
    const TABLE: Table = Table { name: "count", about: "A count.", columns: &[], indexes: &[] };
}

type Counts = Rows<String, Count>;

fn key(text: &str) -> String {
    text.to_owned()
}

#[test]
fn what_is_not_in_memory_is_missing_once_and_known_from_then_on() {
    let mut counts = Counts::default();
    assert_eq!((counts.get(&key("a")), counts.get(&key("b"))), (None, None));
    assert!(counts.is_missing());
    let mut missing = counts.take_missing();
    missing.sort();
    assert_eq!(missing, ["a", "b"]);
    counts.fill("a", Some("7")).expect("it reads");
    counts.fill("b", None).expect("it is absent");
    assert_eq!((counts.get(&key("a")), counts.get(&key("b"))), (Some(&Count(7)), None));
    assert!(!counts.is_missing());
}

#[test]
fn an_undone_input_leaves_no_trace() {
    let mut counts = Counts::default();
    counts.put(key("a"), Count(1));
    assert_eq!(counts.take_changed().len(), 1);
    counts.begin();
    counts.put(key("a"), Count(2));
    counts.put(key("a"), Count(3));
    counts.change_or_default(&key("b")).0 = 4;
    counts.remove(&key("c"));
    counts.undo();
    assert_eq!(counts.get(&key("a")), Some(&Count(1)));
    assert!(counts.take_changed().is_empty());
    assert_eq!(counts.len(), 1);
}

#[test]
fn a_nul_is_found_and_a_text_that_looks_like_one_is_not() {
    let json = |text: &str| serde_json::to_string(text).expect("writes");
    assert!(holds_escaped_nul(&json("a\0b")));
    assert!(!holds_escaped_nul(&json("a\\u0000b")));
    assert!(holds_escaped_nul(&json("a\\\0b")));
}

#[test]
fn what_was_changed_before_stays_changed_when_the_next_input_is_undone() {
    let mut counts = Counts::default();
    counts.put(key("a"), Count(1));
    counts.begin();
    counts.change(&key("a")).expect("is there").0 = 2;
    counts.undo();
    let changed = counts.take_changed();
    let written: Vec<_> = changed.iter().map(|row| (&*row.key, row.written())).collect();
    assert!(matches!(&*written, [("a", Ok(Some((_, json))))] if json == "1"), "{changed:?}");
}

#[test]
fn rows_that_no_rule_looks_for_leave_the_memory_when_they_are_taken() {
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Written(i64);
    impl Row for Written {
        const TABLE: Table =
            Table { name: "written", about: "A number.", columns: &[], indexes: &[] };
        const IS_LOOKED_FOR: bool = false;
    }
    let (mut written, mut counts) = (Rows::<String, Written>::default(), Counts::default());
    written.put(key("a"), Written(1));
    counts.put(key("a"), Count(1));
    assert_eq!((written.take_changed().len(), counts.take_changed().len()), (1, 1));
    assert_eq!((written.len(), counts.len()), (0, 1));
    assert!(written.take_changed().is_empty());
}

#[test]
fn rows_that_no_late_batch_used_leave_the_memory() {
    let mut counts = Counts::default();
    counts.set_complete(true);
    counts.begin_batch(1);
    counts.put(key("old"), Count(1));
    counts.put(key("used"), Count(2));
    counts.begin_batch(2);
    assert_eq!(counts.get(&key("used")), Some(&Count(2)));
    assert_eq!((counts.get(&key("none")), counts.is_missing()), (None, false), "complete");
    counts.evict(2);
    assert_eq!(counts.len(), 1);
    assert_eq!((counts.get(&key("old")), counts.is_missing()), (None, true));
}

#[test]
fn a_text_that_no_index_holds_is_refused_and_one_beside_the_indexes_is_not() {
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Note {
        title: String,
        author: String,
        body: String,
    }
    impl Row for Note {
        const TABLE: Table = Table {
            name: "note",
            about: "A note.",
            columns: &[Column::text("title"), Column::text("author"), Column::text("body")],
            indexes: &["(shop, title, key)", "(shop, author) where body is not null"],
        };
        fn columns(&self) -> Vec<Value> {
            [&self.title, &self.author, &self.body].map(|text| text.as_str().into()).to_vec()
        }
    }
    let refusal = |key: usize, title: usize, author: usize, body: usize| {
        let [key, title, author, body] = [key, title, author, body].map(|it| "x".repeat(it));
        let mut notes = Rows::<String, Note>::default();
        notes.begin();
        notes.put(key, Note { title, author, body });
        notes.refusal(false).unwrap_or_default()
    };
    assert_eq!(refusal(1_000, 1_500, 2_500, 100_000), "");
    assert!(refusal(1_001, 1, 1, 1).contains("a key of more than 1000 bytes"));
    let too_long = refusal(1_000, 1_501, 1, 1);
    assert!(too_long.contains("2500 bytes in the index (shop, title, key)"), "{too_long}");
    assert!(refusal(1, 1, 2_501, 1).contains("the index (shop, author) where"));
}
