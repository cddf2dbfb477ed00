//! The engine's own rows beside those of a service: answers to commands, and parked inputs.

use protocol::{id::Shop, proto, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::{AnyRows, Column, Row, Rows, State, Table, service::Value};

/// The answer to a handled command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerRow {
    pub(crate) fingerprint: String,
    /// The answer, encoded as the service encodes it.
    #[serde(with = "crate::base64")]
    pub(crate) body: Vec<u8>,
    /// The sequence of the event that says what was answered.
    pub(crate) sequence: u64,
    /// Whether events followed from the command. One without is decided anew when it comes again.
    pub(crate) has_effect: bool,
    /// Why an operator dropped the command; absent when it was handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dropped: Option<String>,
}

impl Row for AnswerRow {
    const TABLE: Table = Table {
        name: "engine_answer",
        about: "The answer to a handled command, by the id of the command.",
        columns: &[Column::integer("sequence")],
        indexes: &["(partition, sequence)"],
    };

    fn columns(&self) -> Vec<Value> {
        vec![Value::from(self.sequence as i64)]
    }
}

/// An input that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ParkedRow {
    /// The id of the parked event.
    pub id: String,
    /// The partition.
    pub partition: u32,
    /// The shop.
    pub shop: Shop,
    /// The aggregate whose later inputs wait behind it.
    pub aggregate_id: String,
    /// Where the input came from.
    pub source: String,
    /// Its sequence there; 0 for one that the service itself had caused.
    pub sequence: u64,
    /// The subject that it was published on.
    pub subject: String,
    /// Its bytes; empty when they are to be read in the stream of the source.
    #[serde(with = "crate::base64")]
    pub payload: Vec<u8>,
    /// Whether the bytes are in the stream of the source only.
    pub is_in_source: bool,
    /// Why it waits.
    pub reason: String,
    /// Since when.
    pub parked_at: Timestamp,
    /// The sequence of the parked event: the order in which inputs are redriven.
    pub log_sequence: u64,
    /// The id of the command or event that came; empty for one that could not be read.
    pub cause_id: String,
    /// What everything that follows from one request has in common.
    pub correlation_id: String,
    /// The trace context of the request.
    pub traceparent: String,
}

impl Row for ParkedRow {
    const TABLE: Table = Table {
        name: "engine_parked",
        about: "An input that waits for an operator, by the id of the parked event.",
        columns: &[Column::text("aggregate_id"), Column::integer("log_sequence")],
        indexes: &["(partition, log_sequence)", "(shop, aggregate_id)"],
    };

    fn columns(&self) -> Vec<Value> {
        vec![Value::from(self.aggregate_id.as_str()), Value::from(self.log_sequence as i64)]
    }
}

/// All rows of one shop: the service's and the engine's.
#[derive(Debug, Default)]
pub(crate) struct ShopState<T> {
    pub(crate) service: T,
    pub(crate) answers: Rows<String, AnswerRow>,
    pub(crate) parked: Rows<String, ParkedRow>,
}

impl<T: State> State for ShopState<T> {
    fn tables(&mut self) -> Vec<&mut dyn AnyRows> {
        let mut tables = self.service.tables();
        tables.push(&mut self.answers);
        tables.push(&mut self.parked);
        tables
    }
}

/// The tables of the engine in every service's database.
pub(crate) const TABLES: &[Table] = &[AnswerRow::TABLE, ParkedRow::TABLE];

impl From<(proto::Answered, u64)> for AnswerRow {
    /// The row of an event with that sequence.
    fn from((answered, sequence): (proto::Answered, u64)) -> Self {
        let proto::Answered { fingerprint, body, has_effect, .. } = answered;
        Self { fingerprint, body, sequence, has_effect, dropped: None }
    }
}

impl From<(proto::Dropped, u64)> for AnswerRow {
    /// The row of an event with that sequence.
    fn from((dropped, sequence): (proto::Dropped, u64)) -> Self {
        let dropped = Some(dropped.reason);
        Self { fingerprint: String::new(), body: Vec::new(), sequence, has_effect: false, dropped }
    }
}
