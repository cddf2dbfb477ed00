//! The lines that were rejected. Each is kept until nothing is left to be done about it: it is tried
//! again, its connector sends it again, or it is dropped. At most [`MAX_REJECTIONS`] of a connector are
//! kept: a further one displaces the oldest.

use std::fmt;

use events::id::{Connector, DocumentLine, Sku};
use protocol::id::fingerprint;
use serde::{Deserialize, Serialize};

use super::{DocumentKey, InvalidLine, Sequence, State, StockId, StockLine, StockResult};

/// The most rejected lines that are kept of a connector: about 5 MB of rows, and 20 MB where all are as long as
/// invalid ones may be.
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
    /// What was rejected, and why.
    pub content: Rejected,
    /// When it was rejected first, in milliseconds since 1970.
    pub first_time: i64,
    /// When it was rejected last.
    pub last_time: i64,
    /// How often it was rejected.
    pub times: u64,
}

/// What was rejected, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejected {
    /// A stock line.
    Line(StockLine, StockResult),
    /// What is no stock line.
    Invalid(InvalidLine),
}

impl Rejected {
    /// Its connector.
    pub(crate) fn connector(&self) -> &Connector {
        match self {
            Self::Line(line, _) => &line.document.key.connector,
            Self::Invalid(line) => &line.connector,
        }
    }

    /// Its document; empty where that is not known.
    pub(crate) fn document(&self) -> &str {
        match self {
            Self::Line(line, _) => line.document.key.id.as_str(),
            Self::Invalid(line) => line.document.as_ref().map_or("", |it| it.as_str()),
        }
    }

    /// Its SKU; empty where that is not known.
    pub(crate) fn sku(&self) -> &str {
        match self {
            Self::Line(line, _) => line.stock.sku.as_str(),
            Self::Invalid(line) => line.sku.as_ref().map_or("", Sku::as_str),
        }
    }

    /// Why it was rejected.
    pub(crate) fn reason(&self) -> StockResult {
        match self {
            Self::Line(_, reason) => *reason,
            Self::Invalid(_) => StockResult::Invalid,
        }
    }

    /// The connector's own number, where it is known.
    pub(super) fn sequence(&self) -> Option<Sequence> {
        match self {
            Self::Line(line, _) => Some(line.document.sequence),
            Self::Invalid(line) => line.sequence,
        }
    }

    pub(super) fn key(&self) -> RejectedKey {
        match self {
            Self::Line(line, _) => RejectedKey::of(line),
            Self::Invalid(line) => RejectedKey::of_invalid(line),
        }
    }
}

/// The name of a line that was rejected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectedKey {
    /// Of a stock line: two of one document about different stocks are two.
    Line(DocumentKey, StockId),
    /// Of an invalid line that names its document: two about different SKUs are two.
    Named(DocumentKey, Option<Sku>),
    /// Of any other invalid line, with the fingerprint of its text: the same text is the same line.
    Unnamed(Connector, String),
}

impl RejectedKey {
    pub(super) fn of(line: &StockLine) -> Self {
        Self::Line(line.document.key.clone(), line.stock.clone())
    }

    pub(super) fn of_invalid(line: &InvalidLine) -> Self {
        match line.document_key() {
            Some(document) => Self::Named(document, line.sku.clone()),
            None => Self::Unnamed(line.connector.clone(), fingerprint(line.text.as_bytes())),
        }
    }

    /// The names under which a stock line may have been rejected before: as one, or as an invalid one.
    pub(super) fn all_of(line: &StockLine) -> [Self; 3] {
        let document = || line.document.key.clone();
        let sku = line.stock.sku.clone();
        [Self::of(line), Self::Named(document(), Some(sku)), Self::Named(document(), None)]
    }
}

impl fmt::Display for RejectedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No part contains a space, and a connector no slash: no two names have the same text.
        let named = |f: &mut fmt::Formatter<'_>, document: &DocumentKey| {
            let DocumentKey { connector, id, line } = document;
            let line = line.as_ref().map(DocumentLine::as_str).unwrap_or_default();
            write!(f, "{connector}/{id} {line} ")
        };
        match self {
            Self::Line(document, stock) => {
                named(f, document)?;
                write!(f, "{stock}")
            }
            Self::Named(document, sku) => {
                named(f, document)?;
                write!(f, "{} invalid", sku.as_ref().map(Sku::as_str).unwrap_or_default())
            }
            Self::Unnamed(connector, fingerprint) => write!(f, "{connector} {fingerprint}"),
        }
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
    /// What is rejected, and why.
    pub content: Rejected,
}

/// Keeps a rejected line; whether it was not kept before.
pub(super) fn keep(
    state: &mut State,
    connector: &Connector,
    line: &RejectedLine,
    now: i64,
) -> bool {
    let RejectedLine { number, content } = line;
    let key = RejectionKey { connector: connector.clone(), number: *number };
    let name = content.key();
    if let Some(row) = state.rejections.change(&key) {
        let before = std::mem::replace(&mut row.content, content.clone()).key();
        row.last_time = now;
        row.times += 1;
        if before != name {
            state.rejected.remove(&before);
            state.rejected.put(name, RejectedNumber(*number));
        }
        return false;
    }
    state.rejected.put(name, RejectedNumber(*number));
    let (number, content) = (*number, content.clone());
    let row = Rejection { number, content, first_time: now, last_time: now, times: 1 };
    state.rejections.put(key, row);
    true
}

/// Removes a rejection; whether it was kept.
pub(super) fn remove(state: &mut State, connector: &Connector, number: u64) -> bool {
    let key = RejectionKey { connector: connector.clone(), number };
    let Some(rejection) = state.rejections.get(&key) else { return false };
    let rejected = rejection.content.key();
    state.rejected.remove(&rejected);
    state.rejections.remove(&key);
    true
}
