//! Rows and tables, as a service declares them and as they are written.

use std::{
    fmt::{self, Debug, Display},
    hash::Hash,
    sync::Arc,
};

use protocol::time::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

/// The longest key of a row, in bytes: an entry of an index of Postgres holds up to 2,704 bytes, and
/// some indexes hold two keys.
pub(crate) const MAX_KEY_BYTES: usize = 1_000;

/// The most bytes that the texts of a row may take in one index: an entry of an index of Postgres holds
/// up to 2,704, with the name of the shop and numbers.
pub(crate) const MAX_INDEX_ENTRY_BYTES: usize = 2_500;

/// The name of a row within its shop and table. Its text is the row's key in the database.
pub trait Key: Clone + Eq + Hash + Ord + Debug + Display + Send + 'static {}

impl<T: Clone + Eq + Hash + Ord + Debug + Display + Send + 'static> Key for T {}

/// A row of a projection: a document, with declared columns beside it where it is looked for by
/// something else than its key.
pub trait Row: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The table that holds it.
    const TABLE: Table;

    /// Whether rules look for rows of the table. Rows that are only written, for questions and for
    /// attempts, leave memory as soon as they are on their way to the database.
    const IS_LOOKED_FOR: bool = true;

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

impl Table {
    /// The index, if any, in which the texts of a row take more than a database holds.
    pub(crate) fn oversized_index(&self, key: &str, values: &[Value]) -> Option<&'static str> {
        let texts = self.columns.iter().zip(values).filter_map(|(column, value)| match value {
            Value::Text(text) => Some((column.name, text.as_ref()?.len())),
            Value::Integer(_) => None,
        });
        let texts: Vec<_> = texts.chain([("key", key.len())]).collect();
        if texts.iter().map(|(_, bytes)| bytes).sum::<usize>() <= MAX_INDEX_ENTRY_BYTES {
            return None;
        }
        self.indexes.iter().copied().find(|index| {
            let entry = index.split(" where ").next().unwrap_or(index);
            let names: Vec<_> = entry.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let indexed = texts.iter().filter(|(name, _)| names.contains(name));
            let bytes = indexed.map(|(_, bytes)| bytes);
            bytes.sum::<usize>() > MAX_INDEX_ENTRY_BYTES
        })
    }
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

impl From<Option<Timestamp>> for Value {
    fn from(time: Option<Timestamp>) -> Self {
        Self::Integer(time.map(Timestamp::millis))
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

/// A row that has changed, as it is to be written.
#[derive(Clone)]
pub struct ChangedRow {
    /// Its key.
    pub key: String,
    /// What it is now; `None` when it was removed.
    pub row: Option<Arc<dyn Document>>,
}

/// A row of any type, as it is written.
pub trait Document: Send + Sync {
    /// The values of its table's columns.
    fn columns(&self) -> Vec<Value>;
    /// The row as JSON.
    ///
    /// # Errors
    ///
    /// When the row does not serialise.
    fn to_json(&self) -> Result<String, serde_json::Error>;
}

impl<R: Row> Document for R {
    fn columns(&self) -> Vec<Value> {
        Row::columns(self)
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl ChangedRow {
    /// The values of its columns and its JSON; `None` when it was removed.
    ///
    /// # Errors
    ///
    /// When the row does not serialise.
    pub fn written(&self) -> Result<Option<(Vec<Value>, String)>, serde_json::Error> {
        self.row.as_ref().map(|row| Ok((row.columns(), row.to_json()?))).transpose()
    }
}

impl Debug for ChangedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangedRow").field("key", &self.key).field("row", &self.written()).finish()
    }
}
