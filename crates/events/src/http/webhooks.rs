//! Webhook endpoints and deliveries, as JSON.

use std::collections::BTreeMap;

use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Open;

/// A webhook endpoint. The values of its headers and its secrets are never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EndpointView {
    /// Its id.
    pub id: String,
    /// Where its deliveries are sent.
    pub url: String,
    /// The types of events that it wants: `order.paid`, `order.*`, `*`.
    pub event_types: Vec<String>,
    /// What it is for, in words.
    pub description: String,
    /// In which order its deliveries are sent.
    #[cfg_attr(feature = "openapi", schema(value_type = Ordering))]
    pub ordering: Open<Ordering>,
    /// What a delivery holds.
    #[cfg_attr(feature = "openapi", schema(value_type = Payload))]
    pub payload: Open<Payload>,
    /// The most deliveries in a second; none for as many as it takes.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub max_per_second: Option<u32>,
    /// The most deliveries that are under way at the same time; none for 8.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub max_in_flight: Option<u32>,
    /// The names of the headers that it adds to each request.
    pub headers: Vec<String>,
    /// The pauses before the second attempt and each further one, in seconds; empty for the usual ones.
    pub retry_pauses_s: Vec<u32>,
    /// Whether it is sent to.
    #[cfg_attr(feature = "openapi", schema(value_type = EndpointStatus))]
    pub status: Open<EndpointStatus>,
    /// Why it is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<DisabledReason>))]
    pub disabled_reason: Option<Open<DisabledReason>>,
    /// How many secrets sign its deliveries.
    pub secrets: u32,
    /// The public key of its newest secret (`whpk_…`), by which its deliveries are verified, if that is a private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Counts the changes of its settings, secrets and status, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its settings, secrets or status last changed.
    pub updated_at: Timestamp,
    /// What became of its deliveries.
    pub statistics: EndpointStatistics,
    /// Since when every attempt has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Until when nothing is sent because most requests of late failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
    /// The replays that are under way, and the last ones that have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replays: Vec<ReplayView>,
    /// The secret, in the answer that made it and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// What became of the deliveries of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EndpointStatistics {
    /// The last `endpoint_seq`; 0 when nothing has matched yet.
    pub last_seq: u64,
    /// Everything up to this `endpoint_seq` was attempted.
    pub attempted_through: u64,
    /// The endpoint has accepted them.
    pub delivered: u64,
    /// They wait for their first attempt.
    pub pending: u64,
    /// They are kept while the endpoint is disabled.
    pub held: u64,
    /// They failed and are tried again.
    pub retrying: u64,
    /// They wait behind an earlier one of their aggregate that failed.
    pub held_behind: u64,
    /// They failed for good.
    pub exhausted: u64,
    /// They were given up on request.
    pub aborted: u64,
    /// How many attempts of the last hour the endpoint has accepted, in a hundred, rounded down; absent when there was
    /// none, and in the answer to a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_percent: Option<u32>,
    /// For how long the oldest of those waits that wait for their first attempt, in milliseconds; absent when
    /// none does, and in the answer to a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<u64>,
}

/// In which order deliveries are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// Several at a time; one that fails holds up no other.
    Parallel,
    /// Those of one aggregate one after the other.
    PerKey,
    /// All one after the other.
    Fifo,
}

/// What a delivery holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The whole event.
    Full,
    /// What identifies the event, and a link to it, without its data.
    Thin,
}

/// Whether an endpoint is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndpointStatus {
    /// It is.
    Active,
    /// It is not: what matches it is held.
    Disabled,
}

/// Why an endpoint is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// Somebody asked for it.
    Requested,
    /// It answered 410 Gone.
    Gone,
    /// It asked for it in an answer.
    Instructed,
    /// Every attempt of 120 hours failed.
    Failing,
}

/// Deliveries that are sent once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReplayView {
    /// Its id.
    pub id: String,
    /// The first `endpoint_seq`.
    pub from: u64,
    /// The last `endpoint_seq`.
    pub to: u64,
    /// Which deliveries between them.
    #[cfg_attr(feature = "openapi", schema(value_type = ReplaySelection))]
    pub selection: Open<ReplaySelection>,
    /// The last `endpoint_seq` that it has handled.
    pub through: u64,
    /// How many it has sent.
    pub sent: u64,
    /// The most that it sends in a second; absent for as many as the endpoint takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_second: Option<u32>,
    /// `running`, `done` or `cancelled`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^(running|done|cancelled)$"))]
    pub state: String,
    /// When it was started.
    pub started_at: Timestamp,
}

/// Which deliveries are replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReplaySelection {
    /// Those that are held: never attempted.
    Missing,
    /// Those that failed for good or were aborted.
    Failed,
    /// All that were attempted or held, but for those that wait behind another.
    All,
}

/// A delivery: an event, for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeliveryView {
    /// Its number among those of the endpoint: dense, from 1.
    pub endpoint_seq: u64,
    /// The id of the event, which is the `webhook-id` of each attempt; absent when the log does not have the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The type of the event.
    pub event_type: String,
    /// The service that wrote the event.
    pub stream: String,
    /// The position of the event in its log.
    pub position: u64,
    /// `pending`, `in_flight`, `retry_at`, `delivered`, `exhausted`, `held`, `held_behind` or `aborted`.
    pub state: String,
    /// How many attempts have failed.
    pub failed_attempts: u32,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_error: String,
    /// The HTTP status of the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u32>,
    /// When it was scheduled.
    pub scheduled_at: Timestamp,
    /// The attempts of the last 30 days, the oldest first; only where one delivery is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptView>>,
}

/// An attempt at a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttemptView {
    /// Counts the attempts at the delivery, from 1; from 1 again for a replay of what had come to its end.
    /// A number that is missing is an attempt whose record was lost.
    pub number: u32,
    /// When the request was made.
    pub at: Timestamp,
    /// The time until the status was known or the attempt had failed, in microseconds; 0 when the host
    /// was not resolved.
    pub latency_us: u64,
    /// The HTTP status, if there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    /// What went wrong; empty when it was delivered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Whether a person or a job asked for it again.
    pub is_replay: bool,
    /// The headers of the request, with `[redacted]` for what is secret. Empty when nothing was sent.
    pub request_headers: BTreeMap<String, String>,
    /// The beginning of the body of the answer, 4 KiB at most, without what was secret in the request.
    pub response_excerpt: String,
    /// What the answer asks for by its header `webhook-delivery`: `abort-message` or `disable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
}

/// How many events matched an endpoint between two `endpoint_seq`, and what became of them: what a
/// receiver compares with what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProofView {
    /// The first `endpoint_seq`.
    pub from: u64,
    /// The last `endpoint_seq`.
    pub to: u64,
    /// How many events matched.
    pub matched: u64,
    /// How many of them were sent at least once: a request was under way, whatever was answered.
    pub sent: u64,
    /// How many of them the endpoint has accepted.
    pub delivered: u64,
    /// Those that it has not accepted, at most 1,000 of them.
    pub open: Vec<DeliveryView>,
    /// Whether there are more of those.
    pub has_more: bool,
}
