//! Rows: a service's state in memory, as far as it is there.
//!
//! A rule looks rows up by key and finds them, or finds that there are none. What is not in memory
//! is noted as missing: the engine then fetches it and runs the rule again. So no service says
//! beforehand which rows an input touches.
//!
//! Changes since [`Rows::begin`] can be undone: an input whose rules panic, or that looked at a row
//! which was missing, leaves no trace.

use std::{
    cell::{Cell, RefCell},
    collections::{HashSet, hash_map::Entry},
    sync::Arc,
};

use foldhash::{HashMap, HashMapExt};

use crate::service::table::{ChangedRow, Document, Key, MAX_KEY_BYTES, Row, Table};

/// The rows of one table and one shop that are in memory.
#[derive(Debug, Clone)]
pub struct Rows<K, R> {
    slots: HashMap<K, Slot<R>>,
    /// Whether a key that is not in memory has no row in the database either.
    complete: bool,
    missing: RefCell<HashSet<K>>,
    /// What was missing and is being fetched, by the text of the key.
    wanted: HashMap<String, K>,
    /// The keys of slots that have changed; of those that were undone as well.
    changed: Vec<K>,
    /// What the slots were before the input at hand changed them; `None` when changes stay.
    undo: Option<Vec<(K, Option<Slot<R>>)>>,
    /// Counts the inputs, so that what a slot was before one of them is kept once.
    input: u64,
    /// The batch at hand: rows that it uses stay in memory longest.
    batch: u64,
}

/// What is known of a key. A row is shared with what is on its way to the database, and copied when
/// it changes meanwhile.
#[derive(Debug, Clone)]
struct Slot<R> {
    /// `None`: it is known that there is no such row.
    row: Option<Arc<R>>,
    /// The last batch that looked at it.
    used: Cell<u64>,
    /// Whether it has changed since changes were last taken.
    is_changed: bool,
    /// The last input that changed it.
    changed_by: u64,
}

impl<R> Slot<R> {
    /// What the database says of a key.
    fn known(row: Option<R>, batch: u64) -> Self {
        Self { row: row.map(Arc::new), used: Cell::new(batch), is_changed: false, changed_by: 0 }
    }
}

impl<K, R> Default for Rows<K, R> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            complete: false,
            missing: RefCell::new(HashSet::new()),
            wanted: HashMap::new(),
            changed: Vec::new(),
            undo: None,
            input: 0,
            batch: 0,
        }
    }
}

impl<K: Key, R: Clone> Rows<K, R> {
    /// The row of that key.
    pub fn get(&self, key: &K) -> Option<&R> {
        let Some(slot) = self.slots.get(key) else {
            self.note_missing(key);
            return None;
        };
        slot.used.set(self.batch);
        slot.row.as_deref()
    }

    /// The row of that key, to be changed.
    pub fn change(&mut self, key: &K) -> Option<&mut R> {
        match self.slots.get(key) {
            None => {
                self.note_missing(key);
                None
            }
            Some(slot) if slot.row.is_none() => {
                slot.used.set(self.batch);
                None
            }
            Some(_) => self.slot(key.clone()).row.as_mut().map(Arc::make_mut),
        }
    }

    /// The row of that key, to be changed; a default one where there is none.
    pub fn change_or_default(&mut self, key: &K) -> &mut R
    where
        R: Default,
    {
        if !self.slots.contains_key(key) {
            self.note_missing(key);
        }
        Arc::make_mut(self.slot(key.clone()).row.get_or_insert_default())
    }

    /// Puts a row, whether there was one or not. It need not be in memory.
    pub fn put(&mut self, key: K, row: R) {
        self.slot(key).row = Some(Arc::new(row));
    }

    /// Removes a row, whether there was one or not.
    pub fn remove(&mut self, key: &K) {
        self.slot(key.clone()).row = None;
    }

    /// Takes a row as it is in the database; what has been changed since stays.
    pub fn loaded(&mut self, key: K, row: R) {
        self.slots.entry(key).or_insert(Slot::known(Some(row), self.batch));
    }

    fn note_missing(&self, key: &K) {
        if !self.complete {
            self.missing.borrow_mut().insert(key.clone());
        }
    }

    /// The slot of a row that is about to change. What it was is kept, so that it can be undone.
    fn slot(&mut self, key: K) -> &mut Slot<R> {
        let entry = self.slots.entry(key);
        let before = match &entry {
            Entry::Occupied(known) if known.get().changed_by == self.input => None,
            Entry::Occupied(known) => Some(Some(known.get().clone())),
            Entry::Vacant(_) => Some(None),
        };
        if let (Some(undo), Some(before)) = (&mut self.undo, before) {
            undo.push((entry.key().clone(), before));
        }
        let is_known_change = matches!(&entry, Entry::Occupied(known) if known.get().is_changed);
        if !is_known_change {
            self.changed.push(entry.key().clone());
        }
        let slot = entry.or_insert_with(|| Slot::known(None, self.batch));
        slot.used.set(self.batch);
        slot.changed_by = self.input;
        slot.is_changed = true;
        slot
    }
}

/// The rows of one table, as the engine handles them: whatever their type is.
pub trait AnyRows {
    /// Where they are kept.
    fn table(&self) -> Table;
    /// Begins a batch: rows used from now on are used by it.
    fn begin_batch(&mut self, batch: u64);
    /// From now on changes can be undone.
    fn begin(&mut self);
    /// Undoes what changed since `begin`.
    fn undo(&mut self);
    /// Keeps what changed since `begin`.
    fn keep(&mut self);
    /// Whether a row that changed since `begin` holds a NUL character, which Postgres refuses.
    fn is_refused(&self) -> bool;
    /// Whether a row that changed since `begin` has a key that no index of Postgres holds.
    fn has_long_key(&self) -> bool;
    /// Whether something was looked for that is not in memory.
    fn is_missing(&self) -> bool;
    /// Takes the keys that were looked for and are not in memory.
    fn take_missing(&mut self) -> Vec<String>;
    /// Says that the key was asked for, so that it is known from now on: by its document, or as absent.
    fn fill(&mut self, key: &str, document: Option<&str>) -> Result<(), serde_json::Error>;
    /// Takes the rows that have changed since the last call, by key.
    fn take_changed(&mut self) -> Vec<ChangedRow>;
    /// Forgets what has changed since the last call, with the rows: they are fetched anew.
    fn forget_changed(&mut self);
    /// Removes rows from memory that no batch since `batch` has used.
    fn evict(&mut self, batch: u64);
    /// The rows in memory.
    fn len(&self) -> usize;
    /// Whether no row is in memory.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Says whether a key that is not in memory has no row in the database either.
    fn set_complete(&mut self, complete: bool);
}

impl<K: Key, R: Row> AnyRows for Rows<K, R> {
    fn table(&self) -> Table {
        R::TABLE
    }

    fn begin_batch(&mut self, batch: u64) {
        self.batch = batch;
    }

    fn begin(&mut self) {
        self.input += 1;
        match &mut self.undo {
            Some(undo) => undo.clear(),
            None => self.undo = Some(Vec::new()),
        }
    }

    fn undo(&mut self) {
        for (key, before) in self.undo.take().into_iter().flatten() {
            match before {
                Some(slot) => self.slots.insert(key, slot),
                None => self.slots.remove(&key),
            };
        }
    }

    fn keep(&mut self) {
        self.undo = None;
    }

    fn is_refused(&self) -> bool {
        self.undo.iter().flatten().any(|(key, _)| {
            let row = self.slots.get(key).and_then(|slot| slot.row.as_deref());
            key.to_string().contains('\0')
                || row.is_some_and(|row| {
                    serde_json::to_string(row).is_ok_and(|json| holds_escaped_nul(&json))
                })
        })
    }

    fn has_long_key(&self) -> bool {
        self.undo.iter().flatten().any(|(key, _)| key.to_string().len() > MAX_KEY_BYTES)
    }

    fn is_missing(&self) -> bool {
        !self.missing.borrow().is_empty()
    }

    fn take_missing(&mut self) -> Vec<String> {
        let missing = self.missing.take();
        missing
            .into_iter()
            .map(|key| {
                let text = key.to_string();
                self.wanted.insert(text.clone(), key);
                text
            })
            .collect()
    }

    fn fill(&mut self, key: &str, document: Option<&str>) -> Result<(), serde_json::Error> {
        let Some(key) = self.wanted.remove(key) else { return Ok(()) };
        let row = document.map(serde_json::from_str).transpose()?;
        self.slots.entry(key).or_insert(Slot::known(row, self.batch));
        Ok(())
    }

    fn take_changed(&mut self) -> Vec<ChangedRow> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        let slots = &mut self.slots;
        let taken = changed.into_iter().filter_map(|key| {
            let slot = slots.get_mut(&key).filter(|slot| slot.is_changed)?;
            slot.is_changed = false;
            let row = slot.row.clone().map(|row| row as Arc<dyn Document>);
            Some(ChangedRow { key: key.to_string(), row })
        });
        let taken = taken.collect();
        if !R::IS_LOOKED_FOR {
            self.slots.clear();
            self.complete = false;
        }
        taken
    }

    fn forget_changed(&mut self) {
        for key in self.changed.drain(..) {
            if self.slots.get(&key).is_some_and(|slot| slot.is_changed) {
                self.slots.remove(&key);
            }
        }
        self.undo = None;
        self.missing.take();
    }

    fn evict(&mut self, batch: u64) {
        let before = self.slots.len();
        self.slots.retain(|_, slot| slot.used.get() >= batch);
        if self.slots.len() < before {
            self.complete = false;
        }
    }

    fn len(&self) -> usize {
        self.slots.len()
    }

    fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
    }
}

/// Whether a JSON text holds a NUL character: `\u0000` whose backslash is not itself escaped.
fn holds_escaped_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let escaping = json[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        escaping.is_multiple_of(2)
    })
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

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
}
