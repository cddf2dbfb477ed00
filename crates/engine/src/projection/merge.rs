//! What several batches changed, merged: a row that all of them changed is written once.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use protocol::id::Shop;

use crate::{
    ChangedRow, Document, Table,
    projection::{documents::TableChanges, fold::Changes},
};

/// The rows of one table, by shop and key: as the last batch left them.
type LatestRows = HashMap<(Shop, String), Option<Arc<dyn Document>>>;

/// Changes of batches, in their order.
#[derive(Default)]
pub(crate) struct MergedChanges {
    tables: Vec<(Table, LatestRows)>,
    /// Everything beside the rows.
    rest: Changes,
}

impl MergedChanges {
    /// Adds what the next batch changed.
    pub(crate) fn push(&mut self, mut later: Changes) {
        for TableChanges { table, rows } in std::mem::take(&mut later.tables) {
            let known = self.tables.iter().position(|(known, _)| known.name == table.name);
            let index = known.unwrap_or(self.tables.len());
            if known.is_none() {
                self.tables.push((table, LatestRows::new()));
            }
            let latest = &mut self.tables[index].1;
            latest.extend(rows.into_iter().map(|(shop, row)| ((shop, row.key), row.row)));
        }
        later.has_new_day |= self.rest.has_new_day;
        later.forgotten = later.forgotten.or(self.rest.forgotten);
        self.rest = later;
    }

    /// The number of rows to be written.
    pub(crate) fn rows(&self) -> usize {
        self.tables.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// All of it as one batch.
    pub(crate) fn into_changes(self) -> Changes {
        let tables = self.tables.into_iter().map(|(table, rows)| {
            let rows = rows.into_iter().map(|((shop, key), row)| (shop, ChangedRow { key, row }));
            TableChanges { table, rows: rows.collect() }
        });
        Changes { tables: tables.collect(), ..self.rest }
    }
}
