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
    collections::{HashMap, HashSet},
    fmt::{Debug, Display},
    hash::Hash,
};

use serde::{Serialize, de::DeserializeOwned};

/// The longest key of a row, in bytes: an entry of an index of Postgres holds up to 2,704 bytes, and
/// some indexes hold two keys.
pub(crate) const MAX_KEY_BYTES: usize = 1_000;

/// The name of a row within its shop and table. Its text is the row's key in the database.
pub trait Key: Clone + Eq + Hash + Ord + Debug + Display + Send + 'static {}

impl<T: Clone + Eq + Hash + Ord + Debug + Display + Send + 'static> Key for T {}

/// A row of a projection: a document, with declared columns beside it where it is looked for by
/// something else than its key.
pub trait Row: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// The table that holds it.
    const TABLE: Table;

    /// The values of the table's columns, in the order of [`Table::columns`].
    fn columns(&self) -> Vec<Value> {
        Vec::new()
    }
}

/// A table of documents, as a service declares it.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name in the service's database.
    pub name: &'static str,
    /// What a row is.
    pub about: &'static str,
    /// The columns beside partition, shop, key and document.
    pub columns: &'static [Column],
    /// The indexes, each as what follows `on <table>`: `(partition, due_at) where due_at is not null`.
    pub indexes: &'static [&'static str],
}

/// A column of a table of documents.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
}

impl Column {
    /// A column of whole numbers.
    pub const fn integer(name: &'static str) -> Self {
        Self { name, kind: ColumnKind::Integer }
    }

    /// A column of text.
    pub const fn text(name: &'static str) -> Self {
        Self { name, kind: ColumnKind::Text }
    }
}

/// What a column holds. Each may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Whole numbers of 64 bits.
    Integer,
    /// Text.
    Text,
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Of an integer column.
    Integer(Option<i64>),
    /// Of a text column.
    Text(Option<String>),
}

impl From<Option<protocol::time::Timestamp>> for Value {
    fn from(time: Option<protocol::time::Timestamp>) -> Self {
        Self::Integer(time.map(protocol::time::Timestamp::millis))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

/// The rows of one table and one shop that are in memory.
#[derive(Debug, Clone)]
pub struct Rows<K, R> {
    slots: HashMap<K, Slot<R>>,
    /// Whether a key that is not in memory has no row in the database either.
    complete: bool,
    missing: RefCell<HashSet<K>>,
    /// What was missing and is being fetched, by the text of the key.
    wanted: HashMap<String, K>,
    changed: HashSet<K>,
    /// What the rows were before the input at hand changed them, the oldest first.
    undo: Option<Vec<Before<K, R>>>,
    /// The batch at hand: rows that it uses stay in memory longest.
    batch: u64,
}

/// A row before a change: its key, what was known of it, and whether it had changed before.
type Before<K, R> = (K, Option<Slot<R>>, bool);

#[derive(Debug, Clone)]
struct Slot<R> {
    /// `None`: it is known that there is no such row.
    row: Option<R>,
    /// The last batch that looked at it.
    used: Cell<u64>,
}

impl<K, R> Default for Rows<K, R> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            complete: false,
            missing: RefCell::new(HashSet::new()),
            wanted: HashMap::new(),
            changed: HashSet::new(),
            undo: None,
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
        slot.row.as_ref()
    }

    /// The row of that key, to be changed.
    pub fn change(&mut self, key: &K) -> Option<&mut R> {
        if !self.slots.contains_key(key) {
            self.note_missing(key);
            return None;
        }
        self.remember(key);
        let slot = self.slots.get_mut(key)?;
        slot.used.set(self.batch);
        if slot.row.is_some() {
            self.changed.insert(key.clone());
        }
        slot.row.as_mut()
    }

    /// The row of that key, to be changed; a default one where there is none.
    pub fn change_or_default(&mut self, key: &K) -> &mut R
    where
        R: Default,
    {
        if !self.slots.contains_key(key) {
            self.note_missing(key);
        }
        self.remember(key);
        self.changed.insert(key.clone());
        let used = Cell::new(self.batch);
        let slot = self.slots.entry(key.clone()).or_insert_with(|| Slot { row: None, used });
        slot.used.set(self.batch);
        slot.row.get_or_insert_default()
    }

    /// Puts a row, whether there was one or not. It need not be in memory.
    pub fn put(&mut self, key: K, row: R) {
        self.remember(&key);
        self.changed.insert(key.clone());
        self.slots.insert(key, Slot { row: Some(row), used: Cell::new(self.batch) });
    }

    /// Removes a row, whether there was one or not.
    pub fn remove(&mut self, key: &K) {
        self.remember(key);
        self.changed.insert(key.clone());
        self.slots.insert(key.clone(), Slot { row: None, used: Cell::new(self.batch) });
    }

    /// Takes a row as it is in the database; what has been changed since stays.
    pub fn loaded(&mut self, key: K, row: R) {
        let used = Cell::new(self.batch);
        self.slots.entry(key).or_insert(Slot { row: Some(row), used });
    }

    fn note_missing(&self, key: &K) {
        if !self.complete {
            self.missing.borrow_mut().insert(key.clone());
        }
    }

    fn remember(&mut self, key: &K) {
        if let Some(undo) = &mut self.undo {
            let before = self.slots.get(key).cloned();
            undo.push((key.clone(), before, self.changed.contains(key)));
        }
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
    /// Takes the rows that have changed since the last call.
    fn take_changed(&mut self) -> Result<Vec<ChangedRow>, serde_json::Error>;
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

/// A row that has changed, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRow {
    /// Its key.
    pub key: String,
    /// The values of its columns, and its document; `None` when it was removed.
    pub row: Option<(Vec<Value>, String)>,
}

impl<K: Key, R: Row> AnyRows for Rows<K, R> {
    fn table(&self) -> Table {
        R::TABLE
    }

    fn begin_batch(&mut self, batch: u64) {
        self.batch = batch;
    }

    fn begin(&mut self) {
        self.undo = Some(Vec::new());
    }

    fn undo(&mut self) {
        for (key, before, was_changed) in self.undo.take().into_iter().flatten().rev() {
            if !was_changed {
                self.changed.remove(&key);
            }
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
        let changed = self.undo.iter().flatten().map(|(key, ..)| key);
        changed.into_iter().any(|key| {
            let row = self.slots.get(key).and_then(|slot| slot.row.as_ref());
            key.to_string().contains('\0')
                || row.is_some_and(|row| {
                    serde_json::to_string(row).is_ok_and(|json| holds_escaped_nul(&json))
                })
        })
    }

    fn has_long_key(&self) -> bool {
        let changed = self.undo.iter().flatten().map(|(key, ..)| key);
        changed.into_iter().any(|key| key.to_string().len() > MAX_KEY_BYTES)
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
        let used = Cell::new(self.batch);
        self.slots.entry(key).or_insert(Slot { row, used });
        Ok(())
    }

    fn take_changed(&mut self) -> Result<Vec<ChangedRow>, serde_json::Error> {
        let mut changed: Vec<_> = self.changed.drain().collect();
        changed.sort_unstable();
        changed
            .into_iter()
            .map(|key| {
                let row = self.slots.get(&key).and_then(|slot| slot.row.as_ref());
                let row =
                    row.map(|row| Ok((row.columns(), serde_json::to_string(row)?))).transpose()?;
                Ok(ChangedRow { key: key.to_string(), row })
            })
            .collect()
    }

    fn forget_changed(&mut self) {
        for key in self.changed.drain() {
            self.slots.remove(&key);
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
    use serde::Deserialize;

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
        assert_eq!(counts.take_changed().expect("writes").len(), 1);
        counts.begin();
        counts.put(key("a"), Count(2));
        counts.put(key("a"), Count(3));
        counts.change_or_default(&key("b")).0 = 4;
        counts.remove(&key("c"));
        counts.undo();
        assert_eq!(counts.get(&key("a")), Some(&Count(1)));
        assert_eq!(counts.take_changed().expect("writes"), []);
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
        let changed = counts.take_changed().expect("writes");
        assert_eq!(changed, [ChangedRow { key: key("a"), row: Some((vec![], key("1"))) }]);
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
