//! The rows that the service keeps.

use std::collections::VecDeque;

use engine::{AnyRows, Column, Revision, Row, Rows, Table, Value};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{Endpoint, Run};

/// The tables of the projection.
pub(crate) const TABLES: &[Table] =
    &[Schedule::TABLE, EndpointRow::TABLE, RunRow::TABLE, FailureRow::TABLE, QueueRow::TABLE];

/// The key of the only row of [`Schedule`].
pub(crate) const SCHEDULE: &str = "schedule";

/// The rows of one shop.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(crate) schedule: Rows<String, Schedule>,
    pub(crate) endpoints: Rows<String, EndpointRow>,
    pub(crate) runs: Rows<String, RunRow>,
    pub(crate) failures: Rows<String, FailureRow>,
    pub(crate) queues: Rows<String, QueueRow>,
}

impl engine::State for State {
    fn tables(&mut self) -> Vec<&mut dyn AnyRows> {
        let Self { schedule, endpoints, runs, failures, queues } = self;
        vec![schedule, endpoints, runs, failures, queues]
    }
}

/// The key of a row that belongs to a delivery or to several, by the number of the first.
pub(crate) fn numbered(endpoint_id: &str, number: u64) -> String {
    format!("{endpoint_id}/{number}")
}

/// The key of the row of an aggregate whose deliveries wait for each other.
pub(crate) fn queue(endpoint_id: &str, aggregate: &str) -> String {
    format!("{endpoint_id}/{aggregate}")
}

/// The endpoints of a shop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// Its version, and where its last event is.
    pub(crate) revision: Revision,
    /// The endpoints that are not deleted, in the order of their creation.
    pub(crate) endpoint_ids: Vec<String>,
}

impl Row for Schedule {
    const TABLE: Table = Table {
        name: "schedule",
        about: "The endpoints of a shop among which public events are distributed.",
        columns: &[],
        indexes: &[],
    };
}

/// An endpoint as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndpointRow {
    pub(crate) id: String,
    pub(crate) endpoint: Endpoint,
}

impl Row for EndpointRow {
    const TABLE: Table = Table {
        name: "endpoint",
        about: "An endpoint, or the mails of a shop, by its id, with how far its deliveries are.",
        columns: &[
            Column::text("operation"),
            Column::integer("due_at"),
            Column::text("status"),
            Column::integer("next_seq"),
            Column::integer("pending"),
            Column::integer("held"),
            Column::integer("retrying"),
            Column::integer("behind"),
            Column::integer("exhausted"),
            Column::integer("aborted"),
            Column::integer("is_mail"),
        ],
        indexes: &["(partition, operation) where operation is not null"],
    };

    fn columns(&self) -> Vec<Value> {
        let Endpoint { ledger, .. } = &self.endpoint;
        let (waiting, held) = (ledger.fresh(), ledger.held.len());
        let is_active = self.endpoint.is_active();
        let (pending, held) = if is_active { (waiting, held) } else { (0, held + waiting) };
        let next = if pending > 0 { ledger.next_fresh() } else { None };
        let count = |count: u64| Value::from(count as i64);
        vec![
            self.endpoint.operation(&self.id).into(),
            self.endpoint.due().into(),
            self.endpoint.status().into(),
            Value::Integer(next.map(|seq| seq as i64)),
            count(pending),
            count(held),
            count(ledger.retrying()),
            count(ledger.behind),
            count(ledger.exhausted),
            count(ledger.aborted),
            i64::from(self.endpoint.settings.mail.is_some()).into(),
        ]
    }
}

/// Deliveries to an endpoint that were scheduled at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRow {
    pub(crate) endpoint_id: String,
    pub(crate) run: Run,
    /// The types of their events: each with how many follow each other that have it.
    pub(crate) types: Vec<(String, u32)>,
    /// When they were scheduled.
    pub(crate) at: Timestamp,
}

impl Row for RunRow {
    const IS_LOOKED_FOR: bool = false;

    const TABLE: Table = Table {
        name: "run",
        about: "Deliveries to an endpoint that were scheduled at once, and where their events are.",
        columns: &[
            Column::text("endpoint"),
            Column::integer("last_seq"),
            Column::integer("scheduled_at"),
        ],
        indexes: &["(shop, endpoint, last_seq)"],
    };

    fn columns(&self) -> Vec<Value> {
        let last = self.run.last() as i64;
        vec![self.endpoint_id.as_str().into(), last.into(), Some(self.at).into()]
    }
}

/// What a delivery that is not delivered waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureState {
    /// The next attempt.
    Retry { due: Timestamp },
    /// An earlier delivery of the same aggregate.
    Behind,
    /// Nothing: its last attempt failed, or a mail server refused it for good.
    Exhausted,
    /// Nothing: it was given up on request, or there is nobody that a mail could go to.
    Aborted,
}

impl FailureState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry_at",
            Self::Behind => "held_behind",
            Self::Exhausted => "exhausted",
            Self::Aborted => "aborted",
        }
    }
}

/// A delivery that is not delivered though its turn has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailureRow {
    pub(crate) endpoint_id: String,
    pub(crate) seq: u64,
    pub(crate) state: FailureState,
    /// The attempts that failed.
    pub(crate) attempts: u32,
    /// What went wrong last, and the HTTP status then.
    pub(crate) error_class: String,
    pub(crate) status: u16,
    /// The aggregate whose later events wait for it; empty where none do.
    pub(crate) key: String,
    /// When it first failed, or began to wait.
    pub(crate) since: Timestamp,
    /// Whether a request was ever under way.
    pub(crate) is_sent: bool,
}

impl Row for FailureRow {
    const TABLE: Table = Table {
        name: "failure",
        about: "A delivery that failed or waits behind one that did, by endpoint and number.",
        columns: &[
            Column::text("endpoint"),
            Column::integer("seq"),
            Column::text("state"),
            Column::integer("due_at"),
            Column::integer("is_sent"),
        ],
        indexes: &["(shop, endpoint, seq)", "(shop, endpoint, due_at) where due_at is not null"],
    };

    fn columns(&self) -> Vec<Value> {
        let due = match self.state {
            FailureState::Retry { due } => Some(due),
            FailureState::Behind | FailureState::Exhausted | FailureState::Aborted => None,
        };
        vec![
            self.endpoint_id.as_str().into(),
            (self.seq as i64).into(),
            self.state.as_str().into(),
            due.into(),
            i64::from(self.is_sent).into(),
        ]
    }
}

/// The deliveries of an aggregate that wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueRow {
    pub(crate) endpoint_id: String,
    pub(crate) key: String,
    /// The one that the others wait for.
    pub(crate) head: u64,
    /// The others, in order.
    pub(crate) waiting: VecDeque<u64>,
}

impl Row for QueueRow {
    const TABLE: Table = Table {
        name: "queue",
        about: "The deliveries of an aggregate that wait behind one that failed.",
        columns: &[Column::text("endpoint")],
        indexes: &["(shop, endpoint)"],
    };

    fn columns(&self) -> Vec<Value> {
        vec![self.endpoint_id.as_str().into()]
    }
}
