//! The adjustments of a stock that a late count needs.
//!
//! A count says how many units there were at its sequence. When adjustments of its connector that
//! are newer came before it, what they changed is added to it. So the adjustments since the last
//! count are kept: the last ones in one small row, which every adjustment writes, and those before
//! in chunks, which are written once. A count removes what it contains.
//!
//! What is kept is bounded. When a connector adjusts a stock [`MAX_CHUNKS`] times
//! [`CHUNK_ENTRIES`] times without a count, the oldest are dropped; a count that is older than one
//! of those is answered as stale, since what was changed after it is no longer known.

use std::{fmt, mem};

use events::id::Connector;
use serde::{Deserialize, Serialize};

use super::{Document, Sequence, State, StockId};

/// The adjustments of a full chunk.
pub(super) const CHUNK_ENTRIES: usize = 200;
/// The chunks that are kept for a stock and a connector: together 10,000 adjustments.
pub(super) const MAX_CHUNKS: usize = 50;

/// A stock, and a connector that adjusts it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdjustmentsKey {
    /// The stock.
    pub stock: StockId,
    /// The connector.
    pub connector: Connector,
}

impl fmt::Display for AdjustmentsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stock, self.connector)
    }
}

/// A chunk of adjustments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkKey {
    /// Of what and by whom.
    pub adjustments: AdjustmentsKey,
    /// Its number, ascending.
    pub number: u64,
}

impl fmt::Display for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.adjustments, self.number)
    }
}

/// The adjustments of a stock by one connector since its last count, in the order they came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustments {
    /// The last ones.
    last: Chunk,
    /// Those before, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    chunks: Vec<ChunkSummary>,
    /// The largest sequence of an adjustment that was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropped: Option<Sequence>,
}

/// Some adjustments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chunk(Vec<Adjustment>);

/// An adjustment: its sequence, and the units added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Adjustment(Sequence, i64);

/// What there is to know of a chunk without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChunkSummary {
    number: u64,
    oldest: Sequence,
    newest: Sequence,
    sum: i64,
}

impl Chunk {
    /// What the adjustments that are newer than `sequence` add.
    fn newer_than(&self, sequence: Sequence) -> i64 {
        self.0.iter().filter(|adjustment| adjustment.0 > sequence).map(|a| a.1).sum()
    }

    /// Its summary; none of an empty one.
    fn summary(&self, number: u64) -> Option<ChunkSummary> {
        let sequences = self.0.iter().map(|adjustment| adjustment.0);
        let (oldest, newest) = (sequences.clone().min()?, sequences.max()?);
        let sum = self.0.iter().map(|adjustment| adjustment.1).sum();
        Some(ChunkSummary { number, oldest, newest, sum })
    }
}

impl ChunkSummary {
    /// Whether some of its adjustments are newer than `sequence`, and perhaps not all.
    fn is_divided_by(&self, sequence: Sequence) -> bool {
        self.oldest <= sequence && sequence < self.newest
    }
}

/// What the adjustments of a connector that are newer than `sequence` add to a stock; `None` when
/// some of them may have been dropped.
pub(super) fn newer_than(state: &State, key: &AdjustmentsKey, sequence: Sequence) -> Option<i64> {
    let Some(row) = state.adjustments.get(key) else { return Some(0) };
    if row.dropped.is_some_and(|dropped| sequence < dropped) {
        return None;
    }
    let chunks = row.chunks.iter().map(|chunk| {
        if chunk.is_divided_by(sequence) {
            let key = ChunkKey { adjustments: key.clone(), number: chunk.number };
            state.chunks.get(&key).map_or(0, |chunk| chunk.newer_than(sequence))
        } else if chunk.newest <= sequence {
            0
        } else {
            chunk.sum
        }
    });
    Some(row.last.newer_than(sequence) + chunks.sum::<i64>())
}

/// Copies into `draft` the rows of `state` that a line of this sequence looks at or changes.
pub(super) fn copy(draft: &mut State, state: &State, key: &AdjustmentsKey, sequence: Sequence) {
    if draft.adjustments.get(key).is_none()
        && let Some(row) = state.adjustments.get(key)
    {
        draft.adjustments.loaded(key.clone(), row.clone());
    }
    let Some(row) = draft.adjustments.get(key) else { return };
    for chunk in row.chunks.iter().filter(|chunk| chunk.is_divided_by(sequence)) {
        let key = ChunkKey { adjustments: key.clone(), number: chunk.number };
        if draft.chunks.get(&key).is_none()
            && let Some(chunk) = state.chunks.get(&key)
        {
            draft.chunks.loaded(key, chunk.clone());
        }
    }
}

/// Keeps an adjustment that had its effect; `is_first` when it is the connector's first one of
/// this stock: then there is no row to look up.
pub(super) fn add(
    state: &mut State,
    stock: &StockId,
    document: &Document,
    delta: i64,
    is_first: bool,
) {
    let key = AdjustmentsKey { stock: stock.clone(), connector: document.key.connector.clone() };
    if is_first {
        state.adjustments.put(key.clone(), Adjustments::default());
    }
    let row = state.adjustments.change_or_default(&key);
    row.last.0.push(Adjustment(document.sequence, delta));
    if row.last.0.len() < CHUNK_ENTRIES {
        return;
    }
    let full = mem::take(&mut row.last);
    let number = row.chunks.last().map_or(0, |chunk| chunk.number + 1);
    row.chunks.extend(full.summary(number));
    if row.chunks.len() > MAX_CHUNKS {
        let ChunkSummary { number, newest, .. } = row.chunks.remove(0);
        row.dropped = row.dropped.max(Some(newest));
        state.chunks.remove(&ChunkKey { adjustments: key.clone(), number });
    }
    state.chunks.put(ChunkKey { adjustments: key, number }, full);
}

/// Removes the adjustments that a count of the connector contains. Those of a chunk that it
/// divides stay: no count that is taken from now on is older.
pub(super) fn remove_counted(state: &mut State, key: &AdjustmentsKey, sequence: Sequence) {
    let Some(row) = state.adjustments.change(key) else { return };
    row.last.0.retain(|adjustment| adjustment.0 > sequence);
    let (counted, left) = row.chunks.iter().partition(|chunk| chunk.newest <= sequence);
    row.chunks = left;
    row.dropped = row.dropped.filter(|dropped| *dropped > sequence);
    if row.last.0.is_empty() && row.chunks.is_empty() {
        state.adjustments.remove(key);
    }
    let counted: Vec<ChunkSummary> = counted;
    for ChunkSummary { number, .. } in counted {
        state.chunks.remove(&ChunkKey { adjustments: key.clone(), number });
    }
}
