//! A delivery that was sent, and what came of it.

use std::sync::Arc;

use protocol::time::Timestamp;

use super::reply::Reply;
use crate::domain::{DisableRequest, DisabledReason, Failed, attempt::Attempt};

/// A delivery that was sent.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each holds of a delivery by itself")]
pub(super) struct Sent {
    pub(super) seq: u64,
    pub(super) key: String,
    pub(super) is_open: bool,
    /// Whether it was delivered before: if it fails, nothing waits for it.
    pub(super) was_delivered: bool,
    /// Whether it is not tried again if it failed: what waits behind it can go.
    pub(super) is_last: bool,
    /// Whether a replay has sent what was over, delivered or given up.
    pub(super) begins_anew: bool,
    /// The replay that has sent it.
    pub(super) replay: Option<Arc<str>>,
    /// The same, or the replay whose attempt this one has tried again.
    pub(super) asked_by: Option<Arc<str>>,
    /// The version of the endpoint by which it was sent.
    pub(super) settings_version: u64,
    /// What was sent.
    pub(super) made: RequestRecord,
    /// What came of it.
    pub(super) reply: Reply,
}

/// A request, as its record shows it.
#[derive(Debug, Clone)]
pub(super) struct RequestRecord {
    /// The number of the attempt, from 1.
    pub(super) number: u32,
    pub(super) at: Timestamp,
    /// Empty when nothing could be sent.
    pub(super) message_id: String,
    pub(super) traceparent: String,
    /// The names of the headers of the endpoint's own.
    pub(super) own_headers: Arc<[String]>,
    /// Whether there is a record of it.
    pub(super) is_recorded: bool,
}

impl Sent {
    pub(super) fn is_delivered(&self) -> bool {
        self.reply.error.is_none()
    }

    /// How it went, for people. The excerpt goes with it: nobody else needs that.
    pub(super) fn attempt(&mut self, user_agent: &Arc<str>) -> Attempt {
        Attempt {
            seq: self.seq,
            number: self.made.number,
            at: self.made.at,
            latency: self.reply.latency,
            status: self.reply.status,
            error_class: self.reply.error.unwrap_or_default().to_owned(),
            response_excerpt: std::mem::take(&mut self.reply.excerpt),
            is_replay: self.asked_by.is_some(),
            message_id: self.made.message_id.clone(),
            traceparent: self.made.traceparent.clone(),
            user_agent: user_agent.clone(),
            own_headers: self.made.own_headers.clone(),
            instruction: self.reply.instruction.unwrap_or_default().to_owned(),
        }
    }

    pub(super) fn failed(&self) -> Failed {
        let reply = &self.reply;
        Failed {
            seq: self.seq,
            error_class: reply.error.unwrap_or_default().to_owned(),
            status: reply.status,
            is_overloaded: reply.is_overloaded,
            retry_after: reply.retry_after,
            is_final: reply.is_final,
            is_aborted: reply.is_aborted,
            begins_anew: self.begins_anew,
            replay: self.asked_by.as_deref().map(str::to_owned),
            key: self.key.clone(),
        }
    }
}

/// What the answers ask for of which the requests were made last.
pub(super) fn disable_request(sent: &[Sent]) -> Option<DisableRequest> {
    let asked = sent.iter().filter_map(|sent| {
        let settings_version = sent.settings_version;
        sent.reply.disable.map(|reason| DisableRequest { reason, settings_version })
    });
    asked.max_by_key(|it| (it.settings_version, it.reason == DisabledReason::Gone))
}
