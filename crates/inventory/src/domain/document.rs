//! The documents of ERPs: how each is named, and what it says.

use std::fmt;

use engine::Revision;
use events::id::{Connector, DocumentId, DocumentLine, Location, OrderId, TransferId};
use protocol::{id::ParseError, time::Timestamp};
use serde::{Deserialize, Serialize};

use super::StockId;

/// The name of a line of a document: the same one has one effect. As text: `<connector>/<document>`, with
/// a space and the line where there is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DocumentKey {
    /// The connector that pushed it.
    pub connector: Connector,
    /// The document's id in the connector's system.
    pub id: DocumentId,
    /// The line; none for a document of one line.
    pub line: Option<DocumentLine>,
}

impl DocumentKey {
    /// Takes its text.
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let parts = text.split_once('/');
        let rule = "must be <connector>/<document>";
        let (connector, rest) = parts.ok_or_else(|| ParseError::new("document", rule, text))?;
        let (id, line) = rest.split_once(' ').map_or((rest, None), |(id, line)| (id, Some(line)));
        Ok(Self {
            connector: Connector::parse(connector)?,
            id: DocumentId::parse(id)?,
            line: line.map(DocumentLine::parse).transpose()?,
        })
    }
}

impl TryFrom<String> for DocumentKey {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<DocumentKey> for String {
    fn from(key: DocumentKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.connector, self.id)?;
        // Neither an id nor a line contains a space, so that no two names have the same text.
        self.line.iter().try_for_each(|line| write!(f, " {line}"))
    }
}

/// A connector's own ascending number. In JSON it is a number in the first epoch, and a pair in
/// later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "SequenceJson", into = "SequenceJson")]
pub struct Sequence {
    /// Which numbering it belongs to: all of a larger epoch is newer than all of a smaller one.
    pub epoch: u32,
    /// What is newer has the larger one.
    pub number: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum SequenceJson {
    First(i64),
    Later(u32, i64),
}

impl From<SequenceJson> for Sequence {
    fn from(json: SequenceJson) -> Self {
        match json {
            SequenceJson::First(number) => Self { epoch: 0, number },
            SequenceJson::Later(epoch, number) => Self { epoch, number },
        }
    }
}

impl From<Sequence> for SequenceJson {
    fn from(Sequence { epoch, number }: Sequence) -> Self {
        if epoch == 0 { Self::First(number) } else { Self::Later(epoch, number) }
    }
}

/// Where a stock line came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its name.
    pub key: DocumentKey,
    /// The connector's own ascending number.
    pub sequence: Sequence,
    /// When it happened, by the connector; of a count, the time as of which it was counted.
    pub occurred_at: Option<Timestamp>,
}

impl Document {
    /// When it happened: as its connector says, though not after `now`, when it came.
    pub(crate) fn time(&self, now: Timestamp) -> Timestamp {
        self.occurred_at.map_or(now, |time| time.min(now))
    }

    /// When it happened, where its connector says so. A time after `now`, when it came, says nothing.
    pub(crate) fn said_time(&self, now: Timestamp) -> Option<Timestamp> {
        self.occurred_at.filter(|time| *time <= now)
    }
}

/// What a document says about the units on hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// They are this many.
    Counted(i64),
    /// They change by this.
    Added(i64),
    /// So many have left for an order.
    Issued(OrderId, i64),
    /// So many have left for another location.
    Sent(TransferId, Location, i64),
    /// So many have come from another location; whether no more will come.
    Received(TransferId, i64, bool),
}

/// A line of a document that had its effect, without the words that came with it: a movement of its
/// stock. Kept for good: the same line never has another effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedDocument {
    /// The stock that it was about.
    pub stock: StockId,
    /// The connector's own ascending number.
    pub sequence: Sequence,
    /// What it said.
    pub units: Units,
    /// The version of the stock after it, and where the event is that says so.
    pub revision: Revision,
    /// The units on hand after it.
    pub on_hand: i64,
    /// By how many units they are more than before.
    pub moved: i64,
    /// When it happened, in milliseconds since 1970.
    pub time: i64,
}
