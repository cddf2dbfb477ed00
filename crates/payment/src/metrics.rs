//! What is measured of payments: those whose operation does not come to an end.

use engine::metrics::{Kind, Metric};
use metrics::{Gauge, Unit, gauge};

/// Payments whose operation is uncertain.
pub const UNCERTAIN: Metric = Metric {
    name: "payments_uncertain",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["partition"],
    help: "Payments with an operation of which the provider does not say what has become.",
};

/// Payments whose operation is stuck.
pub const STUCK: Metric = Metric {
    name: "payments_stuck",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["partition"],
    help: "Payments with an operation that an operator has to settle.",
};

/// Differences between the provider's list and our log.
pub const DIFFERENCES: Metric = Metric {
    name: "payment_differences",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    help: "Differences between the provider's list and our log that the last reconciliation found, and those that nobody has mended since they were.",
};

/// All metrics of the service.
pub const ALL: [Metric; 3] = [UNCERTAIN, STUCK, DIFFERENCES];

/// The gauge of a metric for a partition.
pub(crate) fn of_partition(metric: &Metric, partition: u32) -> Gauge {
    gauge!(metric.name, "partition" => partition.to_string())
}
