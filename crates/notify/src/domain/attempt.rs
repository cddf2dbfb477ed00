//! How an attempt at a delivery went, for people who look it up.

use std::{sync::Arc, time::Duration};

use protocol::time::Timestamp;

/// An attempt at a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The delivery.
    pub seq: u64,
    /// Counts the attempts at the delivery, from 1.
    pub number: u32,
    /// When the request was made.
    pub at: Timestamp,
    /// The time until the status was known or the attempt had failed.
    pub latency: Duration,
    /// The HTTP status; 0 without an answer.
    pub status: u16,
    /// What went wrong; empty when it was delivered.
    pub error_class: String,
    /// The beginning of the body of the answer, without what was secret in the request.
    pub response_excerpt: String,
    /// Whether a person or a job asked for it again.
    pub is_replay: bool,
    /// The `webhook-id`; empty when nothing could be sent.
    pub message_id: String,
    /// The `traceparent`; empty when there was none.
    pub traceparent: String,
    /// The `user-agent`.
    pub user_agent: Arc<str>,
    /// The names of the headers of the endpoint's own.
    pub own_headers: Arc<[String]>,
    /// What the answer asks for by `webhook-delivery`; empty when it asks for nothing.
    pub instruction: String,
}
