//! The lines that were rejected. Each is kept until nothing is left to be done about it: it is tried
//! again, its connector sends it again, or it is dropped. At most [`MAX_REJECTIONS`] of a connector are
//! kept: a further one displaces the oldest.

use std::fmt;

use events::id::{Connector, DocumentLine};
use serde::{Deserialize, Serialize};

use super::{DocumentKey, State, StockId, StockLine, StockResult};

/// The most rejected lines that are kept of a connector: about 5 MB of rows.
pub(crate) const MAX_REJECTIONS: u64 = 10_000;

/// The name of a rejection. As text: `<connector>.<number>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RejectionKey {
    /// The connector.
    pub connector: Connector,
    /// Numbers its rejections, from 1.
    pub number: u64,
}

impl fmt::Display for RejectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.connector, self.number)
    }
}

/// A rejected line that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Numbers the rejections of its connector, from 1.
    pub number: u64,
    /// The line.
    pub line: StockLine,
    /// Why.
    pub reason: StockResult,
    /// When it was rejected first, in milliseconds since 1970.
    pub first_time: i64,
    /// When it was rejected last.
    pub last_time: i64,
    /// How often it was rejected.
    pub times: u64,
}

/// The name of a line that was rejected: two lines of one document about different stocks are two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RejectedKey {
    /// The name of the line in the connector's system.
    pub document: DocumentKey,
    /// The stock that it is about.
    pub stock: StockId,
}

impl RejectedKey {
    pub(super) fn of(line: &StockLine) -> Self {
        Self { document: line.document.key.clone(), stock: line.stock.clone() }
    }
}

impl fmt::Display for RejectedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No part contains a space, and the line of a document is the only one that may be absent.
        let DocumentKey { connector, id, line } = &self.document;
        let line = line.as_ref().map(DocumentLine::as_str).unwrap_or_default();
        write!(f, "{connector}/{id} {line} {}", self.stock)
    }
}

/// The number of the rejection of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedNumber(pub u64);

/// A line that is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedLine {
    /// The number of its rejection: a new one, or that which it has.
    pub number: u64,
    /// The line.
    pub line: StockLine,
    /// Why.
    pub reason: StockResult,
}

/// Keeps a rejected line; whether it was not kept before.
pub(super) fn keep(
    state: &mut State,
    connector: &Connector,
    line: &RejectedLine,
    now: i64,
) -> bool {
    let RejectedLine { number, line, reason } = line;
    let key = RejectionKey { connector: connector.clone(), number: *number };
    if let Some(row) = state.rejections.change(&key) {
        row.line = line.clone();
        row.reason = *reason;
        row.last_time = now;
        row.times += 1;
        return false;
    }
    let (line, reason) = (line.clone(), *reason);
    state.rejected.put(RejectedKey::of(&line), RejectedNumber(*number));
    let row =
        Rejection { number: *number, line, reason, first_time: now, last_time: now, times: 1 };
    state.rejections.put(key, row);
    true
}

/// Removes a rejection; whether it was kept.
pub(super) fn remove(state: &mut State, connector: &Connector, number: u64) -> bool {
    let key = RejectionKey { connector: connector.clone(), number };
    let Some(rejection) = state.rejections.get(&key) else { return false };
    let rejected = RejectedKey::of(&rejection.line);
    state.rejected.remove(&rejected);
    state.rejections.remove(&key);
    true
}
