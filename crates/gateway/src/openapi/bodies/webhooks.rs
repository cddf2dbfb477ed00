//! What clients send about webhook endpoints.

use std::collections::BTreeMap;

use events::http::webhooks::{Ordering, Payload, ReplaySelection};
use protocol::time::Timestamp;
use utoipa::ToSchema;

/// A webhook endpoint.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEndpoint {
    /// Where its deliveries are sent: `https`, on port 443 or 8443, and not of a private network, unless the operator's
    /// settings say otherwise.
    #[schema(format = "uri", example = "https://example.com/hooks")]
    url: String,
    /// The types of events that it wants: `order.paid`, `order.*`, `*`.
    #[schema(min_items = 1, max_items = 100, example = json!(["order.*"]))]
    event_types: Vec<String>,
    /// What it is for, in words.
    #[schema(max_length = 500)]
    description: Option<String>,
    /// In which order its deliveries are sent.
    #[schema(default = "parallel")]
    ordering: Option<Ordering>,
    /// What a delivery holds.
    #[schema(default = "full")]
    payload: Option<Payload>,
    /// The most deliveries in a second; null for as many as it takes.
    #[schema(minimum = 1, maximum = 100_000)]
    max_per_second: Option<i64>,
    /// The most deliveries that are under way at the same time; null for 8.
    #[schema(minimum = 1, maximum = 64)]
    max_in_flight: Option<i64>,
    /// The pauses before the second attempt and each further one, in seconds: 5 or more each, 8 days together; empty
    /// for the usual ones.
    #[schema(max_items = 23)]
    retry_pauses_s: Option<Vec<u32>>,
    /// Headers that it adds to each request. Their values are sealed and never shown.
    headers: Option<BTreeMap<String, String>>,
    /// The secret, if the caller chooses it: `whsec_` and base64, or a private key, `whsk_` and base64, whose public key
    /// verifies. Otherwise a shared one is made.
    secret: Option<String>,
}

/// What changes of a webhook endpoint. What is absent stays as it is.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointChanges {
    /// Where its deliveries are sent.
    #[schema(format = "uri")]
    url: Option<String>,
    /// The types of events that it wants.
    #[schema(min_items = 1, max_items = 100)]
    event_types: Option<Vec<String>>,
    /// What it is for, in words.
    #[schema(max_length = 500)]
    description: Option<String>,
    /// In which order its deliveries are sent.
    ordering: Option<Ordering>,
    /// What a delivery holds.
    payload: Option<Payload>,
    /// The most deliveries in a second; null takes the limit away.
    #[schema(minimum = 1, maximum = 100_000)]
    max_per_second: Option<i64>,
    /// The most deliveries that are under way at the same time; null for 8.
    #[schema(minimum = 1, maximum = 64)]
    max_in_flight: Option<i64>,
    /// The pauses before the second attempt and each further one, in seconds; empty for the usual ones.
    #[schema(max_items = 23)]
    retry_pauses_s: Option<Vec<u32>>,
    /// Headers that it adds to each request, instead of those before.
    headers: Option<BTreeMap<String, String>>,
}

/// Why a webhook endpoint is disabled.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointDisabling {
    /// In the caller's words.
    #[schema(min_length = 1, max_length = 500)]
    note: Option<String>,
}

/// How a webhook endpoint is enabled.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointEnabling {
    /// Whether what was held meanwhile is delivered.
    #[schema(default = true)]
    deliver_held: Option<bool>,
}

/// A new secret.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRotation {
    /// The secret, if the caller chooses it: `whsec_` and base64, or a private key, `whsk_` and base64, whose public key
    /// verifies. Otherwise a shared one is made.
    secret: Option<String>,
    /// For how long those before it sign as well, in seconds; 0 revokes them now.
    #[schema(minimum = 0, maximum = 2_592_000, default = 86_400)]
    keep_old_s: Option<i64>,
}

/// A position in a log, as `meta` of a delivery says it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogPosition {
    /// The log: `meta.stream`.
    stream: String,
    /// The position in it: `meta.position`.
    #[schema(minimum = 1)]
    position: i64,
}

/// Which deliveries are sent once more.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReplay {
    /// Which of those between the two.
    selection: ReplaySelection,
    /// The first `endpoint_seq`; not together with `since` or `from_position`.
    #[schema(minimum = 1)]
    from: Option<i64>,
    /// The last `endpoint_seq`; the last that there is unless it is given.
    #[schema(minimum = 1)]
    to: Option<i64>,
    /// Those that were scheduled at this time or later.
    since: Option<Timestamp>,
    /// Those from the first on whose event is at this position of its log or behind it.
    from_position: Option<LogPosition>,
    /// The most that it sends in a second, besides what the endpoint takes; as many as that unless it is given.
    #[schema(minimum = 1, maximum = 100_000)]
    max_per_second: Option<i64>,
}
