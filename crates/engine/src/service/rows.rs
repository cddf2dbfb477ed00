//! Rows: a service's state in memory, as far as it is there.
//!
//! A rule looks rows up by key and finds them, or finds that there are none. What is not in memory
//! is noted as missing: the engine then fetches it and runs the rule again. So no service says
//! beforehand which rows an input touches.
//!
//! Changes since [`Rows::begin`] can be undone: an input whose rules panic, or that looked at a row
//! which was missing, leaves no trace.

#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    collections::{HashSet, hash_map::Entry},
    sync::Arc,
};

use foldhash::{HashMap, HashMapExt};

use crate::service::table::{
    ChangedRow, Document, Key, MAX_INDEX_ENTRY_BYTES, MAX_KEY_BYTES, Row, Table,
};

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
    /// Why a database would refuse a row that changed since `begin`: for a NUL character, if there
    /// may be one, or for a text that no index holds. `None` when it takes all of them.
    fn refusal(&self, may_hold_nul: bool) -> Option<String>;
    /// Whether something was looked for that is not in memory.
    fn is_missing(&self) -> bool;
    /// Takes the keys that were looked for and are not in memory.
    fn take_missing(&mut self) -> Vec<String>;
    /// Says that the key was asked for, so that it is known from now on: by its document, or as absent.
    fn fill(&mut self, key: &str, document: Option<&str>) -> Result<(), serde_json::Error>;
    /// Takes the rows that have changed since the last call, by key.
    fn take_changed(&mut self) -> Vec<ChangedRow>;
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

    fn refusal(&self, may_hold_nul: bool) -> Option<String> {
        self.undo.iter().flatten().find_map(|(key, _)| {
            let row = self.slots.get(key).and_then(|slot| slot.row.as_deref());
            refusal(&key.to_string(), row, may_hold_nul)
        })
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

/// Why a database would refuse a row, by its key; `None` for the row when it was removed.
fn refusal<R: Row>(key: &str, row: Option<&R>, may_hold_nul: bool) -> Option<String> {
    if key.len() > MAX_KEY_BYTES {
        return Some(format!(
            "it leads to a key of more than {MAX_KEY_BYTES} bytes, which no database index holds"
        ));
    }
    let holds_nul = || {
        key.contains('\0')
            || row
                .and_then(|row| serde_json::to_string(row).ok())
                .is_some_and(|json| holds_escaped_nul(&json))
    };
    if may_hold_nul && holds_nul() {
        return Some("it holds a NUL character, which no database row may hold".to_owned());
    }
    let row = row.filter(|_| !R::TABLE.columns.is_empty())?;
    let index = R::TABLE.oversized_index(key, &row.columns())?;
    Some(format!(
        "it leads to a row of {} whose texts take more than {MAX_INDEX_ENTRY_BYTES} bytes in the \
         index {index}, which no database holds",
        R::TABLE.name
    ))
}

/// Whether a JSON text holds a NUL character: `\u0000` whose backslash is not itself escaped.
fn holds_escaped_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let escaping = json[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        escaping.is_multiple_of(2)
    })
}
