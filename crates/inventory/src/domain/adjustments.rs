//! The adjustments of a stock that a late count needs.
//!
//! A count says how many units there were at its sequence. When adjustments of its connector that
//! are newer came before it, what they changed is added to it; and so is what other connectors changed
//! after the time as of which it was counted. So the adjustments since the last
//! count are kept: the last ones in one small row, which every adjustment writes, and those before
//! in chunks, which are written once. A count removes what it contains.
//!
//! What is kept is bounded. When a connector adjusts a stock [`MAX_CHUNKS`] times
//! [`CHUNK_ENTRIES`] times without a count, the oldest are dropped; a count that is older than one
//! of those is answered as stale, since what was changed after it is no longer known.

use std::{fmt, mem};

use events::id::Connector;
use protocol::time::Timestamp;
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
    /// The latest time of an adjustment that was dropped, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropped_at: Option<i64>,
}

/// Some adjustments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chunk(Vec<Adjustment>);

/// An adjustment: its sequence, the units added, and when, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Adjustment(Sequence, i64, i64);

/// What there is to know of a chunk without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChunkSummary {
    number: u64,
    oldest: Sequence,
    newest: Sequence,
    sum: i64,
    first_at: i64,
    last_at: i64,
}

impl Chunk {
    /// What the adjustments behind that point add.
    fn after(&self, point: Point) -> i64 {
        self.0.iter().filter(|adjustment| point.is_before(adjustment)).map(|a| a.1).sum()
    }

    /// Its summary; none of an empty one.
    fn summary(&self, number: u64) -> Option<ChunkSummary> {
        let sequences = self.0.iter().map(|adjustment| adjustment.0);
        let (oldest, newest) = (sequences.clone().min()?, sequences.max()?);
        let sum = self.0.iter().map(|adjustment| adjustment.1).sum();
        let times = self.0.iter().map(|adjustment| adjustment.2);
        let (first_at, last_at) = (times.clone().min()?, times.max()?);
        Some(ChunkSummary { number, oldest, newest, sum, first_at, last_at })
    }
}

/// A point in the adjustments of a connector: some are behind it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Point {
    /// By the connector's own sequence.
    Sequence(Sequence),
    /// By when they happened.
    Time(Timestamp),
}

impl Point {
    fn is_before(self, adjustment: &Adjustment) -> bool {
        match self {
            Self::Sequence(sequence) => adjustment.0 > sequence,
            Self::Time(time) => adjustment.2 > time.millis(),
        }
    }

    /// Whether some adjustments of a chunk are behind it, and perhaps not all.
    fn divides(self, chunk: &ChunkSummary) -> bool {
        match self {
            Self::Sequence(sequence) => chunk.oldest <= sequence && sequence < chunk.newest,
            Self::Time(time) => (chunk.first_at..chunk.last_at).contains(&time.millis()),
        }
    }

    /// Whether all adjustments of a chunk are before it.
    fn is_behind(self, chunk: &ChunkSummary) -> bool {
        match self {
            Self::Sequence(sequence) => chunk.newest <= sequence,
            Self::Time(time) => chunk.last_at <= time.millis(),
        }
    }

    /// Whether adjustments behind it may have been dropped.
    fn is_dropped(self, row: &Adjustments) -> bool {
        match self {
            Self::Sequence(sequence) => row.dropped.is_some_and(|dropped| sequence < dropped),
            Self::Time(time) => row.dropped_at.is_some_and(|dropped| time.millis() < dropped),
        }
    }
}

/// What the adjustments of a connector behind a point add to a stock; `None` when some of them may
/// have been dropped.
pub(super) fn after(state: &State, key: &AdjustmentsKey, point: Point) -> Option<i64> {
    let Some(row) = state.adjustments.get(key) else { return Some(0) };
    if point.is_dropped(row) {
        return None;
    }
    let chunks = row.chunks.iter().map(|chunk| {
        if point.divides(chunk) {
            let key = ChunkKey { adjustments: key.clone(), number: chunk.number };
            state.chunks.get(&key).map_or(0, |chunk| chunk.after(point))
        } else if point.is_behind(chunk) {
            0
        } else {
            chunk.sum
        }
    });
    Some(row.last.after(point) + chunks.sum::<i64>())
}

/// Copies into `draft` the rows of `state` that a line at this point looks at or changes.
pub(super) fn copy(draft: &mut State, state: &State, key: &AdjustmentsKey, point: Point) {
    if draft.adjustments.get(key).is_none()
        && let Some(row) = state.adjustments.get(key)
    {
        draft.adjustments.loaded(key.clone(), row.clone());
    }
    let Some(row) = draft.adjustments.get(key) else { return };
    let divided: Vec<_> = row.chunks.iter().filter(|chunk| point.divides(chunk)).collect();
    for chunk in divided {
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
    (delta, time): (i64, Timestamp),
    is_first: bool,
) {
    let key = AdjustmentsKey { stock: stock.clone(), connector: document.key.connector.clone() };
    if is_first {
        state.adjustments.put(key.clone(), Adjustments::default());
    }
    let row = state.adjustments.change_or_default(&key);
    row.last.0.push(Adjustment(document.sequence, delta, time.millis()));
    if row.last.0.len() < CHUNK_ENTRIES {
        return;
    }
    let full = mem::take(&mut row.last);
    let number = row.chunks.last().map_or(0, |chunk| chunk.number + 1);
    row.chunks.extend(full.summary(number));
    if row.chunks.len() > MAX_CHUNKS {
        let ChunkSummary { number, newest, last_at, .. } = row.chunks.remove(0);
        row.dropped = row.dropped.max(Some(newest));
        row.dropped_at = row.dropped_at.max(Some(last_at));
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
