//! The metrics of the engine: their names, and what they say.

use metrics::Unit;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It is set.
    Gauge,
    /// It is observed, and sorted into buckets.
    Histogram,
}

/// A metric: what it is called, and what it says.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name, with its unit, and without the prefix that the recorder of the program puts before all.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What is counted or measured.
    pub unit: Unit,
    /// The labels of each of its series.
    pub labels: &'static [&'static str],
    /// What it says, for people.
    pub help: &'static str,
}

impl Metric {
    /// Something that is counted.
    pub const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Counter, unit: Unit::Count, labels, help }
    }

    /// A number of things that is set.
    pub const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Gauge, unit: Unit::Count, labels, help }
    }

    /// A duration that is set.
    pub const fn gauge_seconds(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Gauge, unit: Unit::Seconds, labels, help }
    }

    /// Numbers of things, in buckets.
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Histogram, unit: Unit::Count, labels, help }
    }

    /// Durations, in buckets.
    pub const fn histogram_seconds(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Histogram, unit: Unit::Seconds, labels, help }
    }

    /// Gives the recorder of this process the help text. A counter without labels begins at 0: one
    /// that begins with its first event has no rate then, and an alert does not see it.
    pub fn describe(&self) {
        match self.kind {
            Kind::Counter => {
                metrics::describe_counter!(self.name, self.unit, self.help);
                if self.labels.is_empty() {
                    metrics::counter!(self.name).increment(0);
                }
            }
            Kind::Gauge => metrics::describe_gauge!(self.name, self.unit, self.help),
            Kind::Histogram => metrics::describe_histogram!(self.name, self.unit, self.help),
        }
    }
}

/// Inputs handled.
pub const INPUTS: Metric = Metric::counter(
    "inputs_total",
    &["service", "partition", "source"],
    "Inputs handled, by the stream or lane that they came from.",
);

/// Events published.
pub const EVENTS: Metric = Metric::counter(
    "events_total",
    &["service", "partition", "event"],
    "Events published to the log of the partition, by kind.",
);

/// Inputs of a batch.
pub const BATCH_INPUTS: Metric =
    Metric::histogram("batch_inputs", &["service"], "Inputs of a batch.");

/// Time of a step of a batch.
pub const BATCH_STEP_DURATION: Metric = Metric::histogram_seconds(
    "batch_step_duration_seconds",
    &["service", "step"],
    "Time that a step of a batch took: load, decide, publish or project.",
);

/// Messages that wait in a source.
pub const SOURCE_LAG_EVENTS: Metric = Metric::gauge(
    "source_lag_events",
    &["service", "partition", "source"],
    "Messages of the source that are not yet handled.",
);

/// Age of the oldest message that waits in a source.
pub const SOURCE_LAG_SECONDS: Metric = Metric::gauge_seconds(
    "source_lag_seconds",
    &["service", "partition", "source"],
    "Age of the oldest message of the source that is not yet handled; 0 if there is none.",
);

/// Inputs parked.
pub const PARKED_INPUTS: Metric = Metric::gauge(
    "parked_inputs",
    &["service", "partition"],
    "Inputs that are parked until an operator redrives or drops them.",
);

/// Events that a replica could not take in.
pub const REPLICA_ERRORS: Metric = Metric::counter(
    "replica_errors_total",
    &["service", "partition", "source"],
    "Events of another service that the replica of it could not take in and passed over.",
);

/// State of a partition.
pub const PARTITION_STATE: Metric = Metric::gauge(
    "partition_state",
    &["service", "partition", "state"],
    "1 for the state that the partition is in within this process, 0 for the others: held, \
           recovering, failing or waiting.",
);

/// Restarts of a partition.
pub const PARTITION_RESTARTS: Metric = Metric::counter(
    "partition_restarts_total",
    &["service", "partition", "cause"],
    "Times that the partition failed and recovered from its log, by cause.",
);

/// Operations with the outside.
pub const OPERATIONS: Metric = Metric::gauge(
    "operations",
    &["service", "partition", "state"],
    "Operations outside the system that are not done: pending, running or waiting.",
);

/// Age of the oldest operation.
pub const OPERATION_OLDEST: Metric = Metric::gauge_seconds(
    "operation_oldest_seconds",
    &["service", "partition"],
    "Age of the oldest operation that is not done; 0 if there is none.",
);

/// Readiness of the process.
pub const READY: Metric =
    Metric::gauge("ready", &[], "1 if the process is ready, as /readyz has it, and 0 if not.");

/// All metrics of the engine.
pub const ALL: [Metric; 13] = [
    INPUTS,
    EVENTS,
    BATCH_INPUTS,
    BATCH_STEP_DURATION,
    SOURCE_LAG_EVENTS,
    SOURCE_LAG_SECONDS,
    PARKED_INPUTS,
    REPLICA_ERRORS,
    PARTITION_STATE,
    PARTITION_RESTARTS,
    OPERATIONS,
    OPERATION_OLDEST,
    READY,
];

/// Gives the recorder of this process all help texts. Called once, after the recorder is there.
pub fn describe() {
    ALL.iter().for_each(Metric::describe);
}
