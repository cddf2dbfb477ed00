//! What is measured of deliveries. Labels take few values: never a shop, an endpoint or an id.

use std::time::Duration;

use engine::metrics::Metric;
use metrics::{Gauge, counter, gauge, histogram};

/// Attempts at deliveries.
pub const ATTEMPTS: Metric = Metric::counter(
    "webhook_attempts_total",
    &["outcome"],
    "Attempts at deliveries to webhook endpoints, by outcome: delivered, or the class of the error.",
);

/// The time that attempts took.
pub const ATTEMPT_DURATION: Metric = Metric::histogram_seconds(
    "webhook_attempt_duration_seconds",
    &["outcome"],
    "Time until an attempt at a delivery had its status or had failed.",
);

/// The time from an event to the first attempt at its delivery.
pub const FIRST_ATTEMPT_LAG: Metric = Metric::histogram_seconds(
    "webhook_first_attempt_lag_seconds",
    &[],
    "Time from an event in its log to the first attempt at a delivery of it.",
);

/// Attempts without a record.
pub const UNRECORDED: Metric = Metric::counter(
    "webhook_attempts_unrecorded_total",
    &[],
    "Attempts of which no record could be written; their outcomes are in the log all the same.",
);

/// Deliveries that are not delivered.
pub const DELIVERIES: Metric = Metric::gauge(
    "webhook_deliveries",
    &["partition", "state"],
    "Deliveries that wait or were given up, by state.",
);

/// Age of the oldest delivery that waits for its first attempt.
pub const OLDEST_PENDING: Metric = Metric::gauge_seconds(
    "webhook_oldest_pending_seconds",
    &["partition"],
    "Age of the oldest delivery to an active endpoint that waits for its first attempt; 0 if there is none.",
);

/// Endpoints.
pub const ENDPOINTS: Metric = Metric::gauge(
    "webhook_endpoints",
    &["partition", "state"],
    "Webhook endpoints by state: active, failing, paused, disabled.",
);

/// Endpoints that cannot be sent to.
pub const UNUSABLE: Metric = Metric::gauge(
    "webhook_endpoints_unusable",
    &["partition"],
    "Webhook endpoints with something to be sent that this installation cannot send, such as without the master key of their secrets.",
);

/// Endpoints with something under way.
pub const LANES: Metric = Metric::gauge(
    "webhook_lanes",
    &["partition"],
    "Webhook endpoints for which the process keeps what is under way, or was a moment ago.",
);

/// Attempts at mails.
pub const MAIL_ATTEMPTS: Metric = Metric::counter(
    "mail_attempts_total",
    &["outcome"],
    "Attempts at mails, by outcome: delivered, or the class of the error.",
);

/// The time that attempts at mails took.
pub const MAIL_ATTEMPT_DURATION: Metric = Metric::histogram_seconds(
    "mail_attempt_duration_seconds",
    &["outcome"],
    "Time until the mail server had accepted a mail or the attempt had failed.",
);

/// Mails that are not sent.
pub const MAILS: Metric = Metric::gauge(
    "mails",
    &["partition", "state"],
    "Mails that wait, were refused or have nobody to go to, by state.",
);

/// All metrics of the service.
pub const ALL: [Metric; 12] = [
    ATTEMPTS,
    ATTEMPT_DURATION,
    FIRST_ATTEMPT_LAG,
    UNRECORDED,
    DELIVERIES,
    OLDEST_PENDING,
    ENDPOINTS,
    UNUSABLE,
    LANES,
    MAIL_ATTEMPTS,
    MAIL_ATTEMPT_DURATION,
    MAILS,
];

/// An attempt was made: `error` is the class of its error, or `None` when it was delivered.
pub(crate) fn attempted(error: Option<&'static str>, took: Duration) {
    counter!(ATTEMPTS.name, "outcome" => error.unwrap_or("delivered")).increment(1);
    let outcome = if error.is_none() { "delivered" } else { "failed" };
    histogram!(ATTEMPT_DURATION.name, "outcome" => outcome).record(took.as_secs_f64());
}

/// An attempt at a mail was made: `error` is the class of its error, or `None` when it was delivered.
pub(crate) fn mailed(error: Option<&'static str>, took: Duration) {
    counter!(MAIL_ATTEMPTS.name, "outcome" => error.unwrap_or("delivered")).increment(1);
    let outcome = if error.is_none() { "delivered" } else { "failed" };
    histogram!(MAIL_ATTEMPT_DURATION.name, "outcome" => outcome).record(took.as_secs_f64());
}

/// A delivery is attempted for the first time, so long after its event.
pub(crate) fn first_attempt(lag: Duration) {
    histogram!(FIRST_ATTEMPT_LAG.name).record(lag.as_secs_f64());
}

/// So many attempts could not be recorded.
pub(crate) fn unrecorded(attempts: u64) {
    counter!(UNRECORDED.name).increment(attempts);
}

/// The gauge of a metric for a partition.
pub(crate) fn of_partition(metric: &Metric, partition: u32) -> Gauge {
    gauge!(metric.name, "partition" => partition.to_string())
}

/// The gauge of a metric for a partition and a state.
pub(crate) fn of_state(metric: &Metric, partition: u32, state: &'static str) -> Gauge {
    gauge!(metric.name, "partition" => partition.to_string(), "state" => state)
}
