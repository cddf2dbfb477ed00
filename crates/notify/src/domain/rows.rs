//! The rows on which the rules decide, as the events leave them.

use std::collections::VecDeque;

use engine::{AnyRows, Revision, Rows};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Run, endpoint::Endpoint};

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

/// An endpoint as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndpointRow {
    pub(crate) id: String,
    pub(crate) endpoint: Endpoint,
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
    /// The replay that has asked for the last attempt.
    pub(crate) replay: Option<String>,
    /// The aggregate whose later events wait for it; empty where none do.
    pub(crate) key: String,
    /// When it first failed, or began to wait.
    pub(crate) since: Timestamp,
    /// Whether a request was ever under way.
    pub(crate) is_sent: bool,
    /// Whether it was delivered before: only what was asked for again has failed. It is still delivered, and nothing
    /// waits for it.
    pub(crate) was_delivered: bool,
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
