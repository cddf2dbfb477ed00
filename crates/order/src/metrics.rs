//! What is measured of sagas: how many are in each state, how they end, and how long they take.

use std::time::Duration;

use engine::metrics::Metric;
use metrics::{Gauge, counter, gauge, histogram};

/// Sagas under way.
pub const SAGAS: Metric = Metric::gauge(
    "sagas",
    &["partition", "state"],
    "Orders that wait for an answer of inventory or payment, by what they wait for.",
);

/// Sagas that have ended.
pub const SAGAS_ENDED: Metric = Metric::counter(
    "sagas_total",
    &["outcome"],
    "Orders that were paid, cancelled, or confirmed without being paid at once.",
);

/// The time that sagas took.
pub const SAGA_DURATION: Metric = Metric::histogram_seconds(
    "saga_duration_seconds",
    &["outcome"],
    "Time from the placing of an order to the event that settled it.",
);

/// Orders that stand though their money could not be taken.
pub const UNPAID: Metric = Metric::gauge(
    "orders_unpaid",
    &["partition"],
    "Confirmed orders whose last payment failed: another one is to be started.",
);

/// All metrics of the service.
pub const ALL: [Metric; 4] = [SAGAS, SAGAS_ENDED, SAGA_DURATION, UNPAID];

/// How a saga ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The order is paid.
    Paid,
    /// The order is confirmed, and is paid when it ships, or on account.
    Confirmed,
    /// The order is cancelled.
    Cancelled,
}

/// A saga ended, so long after its order was placed. Called for events that were just published,
/// never for those read in a recovery.
pub(crate) fn ended(outcome: Outcome, took: Duration) {
    let outcome = match outcome {
        Outcome::Paid => "paid",
        Outcome::Confirmed => "confirmed",
        Outcome::Cancelled => "cancelled",
    };
    counter!(SAGAS_ENDED.name, "outcome" => outcome).increment(1);
    histogram!(SAGA_DURATION.name, "outcome" => outcome).record(took.as_secs_f64());
}

/// The gauge of the orders of a partition that are in this state.
pub(crate) fn under_way(partition: u32, state: &'static str) -> Gauge {
    gauge!(SAGAS.name, "partition" => partition.to_string(), "state" => state)
}

/// The gauge of the confirmed orders of a partition whose last payment failed.
pub(crate) fn unpaid(partition: u32) -> Gauge {
    gauge!(UNPAID.name, "partition" => partition.to_string())
}
