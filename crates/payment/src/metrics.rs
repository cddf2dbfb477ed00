//! What is measured of payments: those whose operation does not come to an end.

use engine::metrics::{Kind, Metric};
use metrics::{Gauge, Unit, gauge};

/// Payments whose operation is uncertain.
pub const UNCERTAIN: Metric = Metric {
    name: "tradewind_payments_uncertain",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["partition"],
    help: "Payments with an operation of which the provider does not say what has become.",
};

/// Payments whose operation is stuck.
pub const STUCK: Metric = Metric {
    name: "tradewind_payments_stuck",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["partition"],
    help: "Payments with an operation that an operator has to settle.",
};

/// All metrics of the service.
pub const ALL: [Metric; 2] = [UNCERTAIN, STUCK];

/// Gives the recorder of this process all help texts. Called once, after the recorder is there.
pub fn describe() {
    ALL.iter().for_each(Metric::describe);
}

/// The gauge of a metric for a partition.
pub(crate) fn of_partition(metric: &Metric, partition: u32) -> Gauge {
    gauge!(metric.name, "partition" => partition.to_string())
}
