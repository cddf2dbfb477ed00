//! What a worker measures: the names, and the handles by which they are recorded.
//!
//! A [`PartitionMetrics`] belongs to the task of one partition and lives as long as it, over all its
//! restarts; a [`SourceMetrics`] belongs to one of its inputs. When they are dropped, because another
//! process runs the partition from now on, their gauges go to 0, so that the sum over all processes
//! is right. Labels take few values: never a shop, nor an id.
//!
//! To add a metric: a constant, an entry in [`ALL`], a row in `docs/observability.md`.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label, Unit, counter, gauge, histogram};

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
    /// The name, with its unit.
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
    /// Gives the recorder of this process the help text.
    pub fn describe(&self) {
        match self.kind {
            Kind::Counter => metrics::describe_counter!(self.name, self.unit, self.help),
            Kind::Gauge => metrics::describe_gauge!(self.name, self.unit, self.help),
            Kind::Histogram => metrics::describe_histogram!(self.name, self.unit, self.help),
        }
    }
}

/// Gives the recorder of this process all help texts. Called once, after the recorder is there.
pub fn describe() {
    ALL.iter().for_each(Metric::describe);
}

/// Inputs handled.
pub const INPUTS: Metric = Metric {
    name: "tradewind_inputs_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["service", "partition", "source"],
    help: "Inputs handled, by the stream or lane that they came from.",
};

/// Events published.
pub const EVENTS: Metric = Metric {
    name: "tradewind_events_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["service", "partition", "event"],
    help: "Events published to the log of the partition, by kind.",
};

/// Inputs of a batch.
pub const BATCH_INPUTS: Metric = Metric {
    name: "tradewind_batch_inputs",
    kind: Kind::Histogram,
    unit: Unit::Count,
    labels: &["service"],
    help: "Inputs of a batch.",
};

/// Time of a step of a batch.
pub const BATCH_STEP_DURATION: Metric = Metric {
    name: "tradewind_batch_step_duration_seconds",
    kind: Kind::Histogram,
    unit: Unit::Seconds,
    labels: &["service", "step"],
    help: "Time that a step of a batch took: load, decide, publish or project.",
};

/// Messages that wait in a source.
pub const SOURCE_LAG_EVENTS: Metric = Metric {
    name: "tradewind_source_lag_events",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["service", "partition", "source"],
    help: "Messages of the source that are not yet handled.",
};

/// Age of the oldest message that waits in a source.
pub const SOURCE_LAG_SECONDS: Metric = Metric {
    name: "tradewind_source_lag_seconds",
    kind: Kind::Gauge,
    unit: Unit::Seconds,
    labels: &["service", "partition", "source"],
    help: "Age of the oldest message of the source that is not yet handled; 0 if there is none.",
};

/// Inputs parked.
pub const PARKED_INPUTS: Metric = Metric {
    name: "tradewind_parked_inputs",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["service", "partition"],
    help: "Inputs that are parked until an operator redrives them.",
};

/// Events that a replica could not take in.
pub const REPLICA_ERRORS: Metric = Metric {
    name: "tradewind_replica_errors_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["service", "partition", "source"],
    help: "Events of another service that the replica of it could not take in and passed over.",
};

/// State of a partition.
pub const PARTITION_STATE: Metric = Metric {
    name: "tradewind_partition_state",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["service", "partition", "state"],
    help: "1 for the state that the partition is in within this process, 0 for the others: held, \
           recovering, failing or waiting.",
};

/// Restarts of a partition.
pub const PARTITION_RESTARTS: Metric = Metric {
    name: "tradewind_partition_restarts_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["service", "partition", "cause"],
    help: "Times that the partition failed and recovered from its log, by cause.",
};

/// Operations with the outside.
pub const OPERATIONS: Metric = Metric {
    name: "tradewind_operations",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &["service", "partition", "state"],
    help: "Operations outside the system that are not done: pending, running or waiting.",
};

/// Age of the oldest operation.
pub const OPERATION_OLDEST: Metric = Metric {
    name: "tradewind_operation_oldest_seconds",
    kind: Kind::Gauge,
    unit: Unit::Seconds,
    labels: &["service", "partition"],
    help: "Age of the oldest operation that is not done; 0 if there is none.",
};

/// Readiness of the process.
pub const READY: Metric = Metric {
    name: "tradewind_ready",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    help: "1 if the process is ready, as /readyz has it, and 0 if not.",
};

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

/// A step of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStep {
    /// Reading the states that the batch touches.
    Load,
    /// Deciding on all its inputs.
    Decide,
    /// Publishing its events, until the server has acknowledged them.
    Publish,
    /// Committing the projection.
    Project,
}

impl BatchStep {
    const ALL: [Self; 4] = [Self::Load, Self::Decide, Self::Publish, Self::Project];

    fn label(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Decide => "decide",
            Self::Publish => "publish",
            Self::Project => "project",
        }
    }
}

/// What a process does with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionState {
    /// It has the lease and handles inputs.
    Held,
    /// It has the lease and reads the log.
    Recovering,
    /// It cannot go on and tries again after a while.
    Failing,
    /// Another process has the lease.
    Waiting,
}

impl PartitionState {
    const ALL: [Self; 4] = [Self::Held, Self::Recovering, Self::Failing, Self::Waiting];

    fn label(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Recovering => "recovering",
            Self::Failing => "failing",
            Self::Waiting => "waiting",
        }
    }
}

/// Why a partition failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartCause {
    /// The connection or JetStream failed or did not answer in time.
    Broker,
    /// The disk of the broker, or what it may store, is full.
    StorageFull,
    /// The database failed.
    Database,
    /// The lease was lost.
    LeaseLost,
    /// Somebody else wrote to the log.
    Fenced,
    /// The log holds what this version cannot read.
    UnreadableLog,
    /// A position lies before the beginning or beyond the end of its stream.
    Position,
    /// The code panicked.
    Panic,
}

impl RestartCause {
    fn label(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::StorageFull => "storage_full",
            Self::Database => "database",
            Self::LeaseLost => "lease_lost",
            Self::Fenced => "fenced",
            Self::UnreadableLog => "unreadable_log",
            Self::Position => "position",
            Self::Panic => "panic",
        }
    }
}

/// What becomes of an operation that is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// It can be tried as soon as there is a slot.
    Pending,
    /// It is being tried.
    Running,
    /// It is tried again later.
    Waiting,
}

impl OperationState {
    const ALL: [Self; 3] = [Self::Pending, Self::Running, Self::Waiting];

    fn label(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
        }
    }
}

/// The metrics of a partition of a service.
pub struct PartitionMetrics {
    labels: [Label; 2],
    batch_inputs: Histogram,
    steps: [Histogram; BatchStep::ALL.len()],
    parked: Gauge,
    states: [Gauge; PartitionState::ALL.len()],
    operations: [Gauge; OperationState::ALL.len()],
    oldest_operation: Gauge,
}

impl PartitionMetrics {
    /// The metrics of this partition; it is in no state yet.
    pub fn new(service: &'static str, partition: u32) -> Self {
        let labels = [
            Label::from_static_parts("service", service),
            Label::new("partition", partition.to_string()),
        ];
        let with = |key, value| with(&labels, key, value);
        Self {
            batch_inputs: histogram!(BATCH_INPUTS.name, "service" => service),
            steps: BatchStep::ALL.map(|step| {
                histogram!(BATCH_STEP_DURATION.name, "service" => service, "step" => step.label())
            }),
            parked: gauge!(PARKED_INPUTS.name, labels.to_vec()),
            states: PartitionState::ALL
                .map(|state| gauge!(PARTITION_STATE.name, with("state", state.label()))),
            operations: OperationState::ALL
                .map(|state| gauge!(OPERATIONS.name, with("state", state.label()))),
            oldest_operation: gauge!(OPERATION_OLDEST.name, labels.to_vec()),
            labels,
        }
    }

    /// The metrics of one of its inputs: a stream, or a lane of the inbox.
    pub fn source(&self, source: &str) -> SourceMetrics {
        let labels = || with(&self.labels, "source", source);
        SourceMetrics {
            inputs: counter!(INPUTS.name, labels()),
            lag_events: gauge!(SOURCE_LAG_EVENTS.name, labels()),
            lag_seconds: gauge!(SOURCE_LAG_SECONDS.name, labels()),
        }
    }

    /// A batch of so many inputs was handled.
    pub fn batch(&self, inputs: usize) {
        self.batch_inputs.record(inputs as f64);
    }

    /// A step of a batch took so long.
    pub fn step(&self, step: BatchStep, took: Duration) {
        self.steps[step as usize].record(took.as_secs_f64());
    }

    /// An event of this source could not be taken into the replica.
    pub fn replica_error(&self, source: &str) {
        counter!(REPLICA_ERRORS.name, with(&self.labels, "source", source)).increment(1);
    }

    /// So many events of this kind are in the log.
    pub fn events(&self, event: &str, count: u64) {
        counter!(EVENTS.name, with(&self.labels, "event", event)).increment(count);
    }

    /// So many inputs are parked now.
    pub fn parked(&self, inputs: u64) {
        self.parked.set(inputs as f64);
    }

    /// The partition is in this state from now on.
    pub fn state(&self, state: PartitionState) {
        for (gauge, it) in self.states.iter().zip(PartitionState::ALL) {
            gauge.set(f64::from(u8::from(it == state)));
        }
    }

    /// The partition failed and recovers.
    pub fn restarted(&self, cause: RestartCause) {
        counter!(PARTITION_RESTARTS.name, with(&self.labels, "cause", cause.label())).increment(1);
    }

    /// So many operations are in this state now.
    pub fn operations(&self, state: OperationState, count: u64) {
        self.operations[state as usize].set(count as f64);
    }

    /// The oldest operation that is not done is so old; zero if there is none.
    pub fn oldest_operation(&self, age: Duration) {
        self.oldest_operation.set(age.as_secs_f64());
    }
}

impl Drop for PartitionMetrics {
    fn drop(&mut self) {
        let alone = [&self.parked, &self.oldest_operation];
        alone.into_iter().chain(&self.states).chain(&self.operations).for_each(|it| it.set(0.0));
    }
}

/// The metrics of an input of a partition.
pub struct SourceMetrics {
    inputs: Counter,
    lag_events: Gauge,
    lag_seconds: Gauge,
}

impl SourceMetrics {
    /// So many of its messages were handled.
    pub fn handled(&self, inputs: u64) {
        self.inputs.increment(inputs);
    }

    /// So many of its messages wait, and the oldest of them is so old.
    pub fn lag(&self, events: u64, age: Duration) {
        self.lag_events.set(events as f64);
        self.lag_seconds.set(age.as_secs_f64());
    }
}

impl Drop for SourceMetrics {
    fn drop(&mut self) {
        self.lag(0, Duration::ZERO);
    }
}

/// Says whether the process is ready.
pub fn ready(is_ready: bool) {
    gauge!(READY.name).set(f64::from(u8::from(is_ready)));
}

fn with(labels: &[Label; 2], key: &'static str, value: &str) -> Vec<Label> {
    let [service, partition] = labels.clone();
    vec![service, partition, Label::new(key, value.to_owned())]
}

#[cfg(test)]
mod tests {
    use metrics::with_local_recorder;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_partition_says_what_it_does_until_another_process_runs_it() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let has = |line: &str| {
            let text = recorder.handle().render();
            assert!(text.lines().any(|it| it == line), "{line} is not in:\n{text}");
        };
        with_local_recorder(&recorder, || {
            describe();
            let partition = PartitionMetrics::new("ledger", 3);
            let source = partition.source("inbox.live");
            partition.state(PartitionState::Recovering);
            partition.state(PartitionState::Held);
            partition.batch(2);
            partition.step(BatchStep::Publish, Duration::from_millis(5));
            partition.events("deposited", 2);
            partition.parked(1);
            partition.restarted(RestartCause::StorageFull);
            partition.operations(OperationState::Waiting, 4);
            partition.oldest_operation(Duration::from_secs(9));
            source.handled(2);
            source.lag(7, Duration::from_millis(1500));

            let of = "service=\"ledger\",partition=\"3\"";
            has(&format!("tradewind_partition_state{{{of},state=\"held\"}} 1"));
            has(&format!("tradewind_partition_state{{{of},state=\"recovering\"}} 0"));
            has("tradewind_batch_inputs_count{service=\"ledger\"} 1");
            has(
                "tradewind_batch_step_duration_seconds_count{service=\"ledger\",step=\"publish\"} 1",
            );
            has(&format!("tradewind_events_total{{{of},event=\"deposited\"}} 2"));
            has(&format!("tradewind_parked_inputs{{{of}}} 1"));
            has(&format!("tradewind_partition_restarts_total{{{of},cause=\"storage_full\"}} 1"));
            has(&format!("tradewind_operations{{{of},state=\"waiting\"}} 4"));
            has(&format!("tradewind_operation_oldest_seconds{{{of}}} 9"));
            has(&format!("tradewind_inputs_total{{{of},source=\"inbox.live\"}} 2"));
            has(&format!("tradewind_source_lag_events{{{of},source=\"inbox.live\"}} 7"));
            has(&format!("tradewind_source_lag_seconds{{{of},source=\"inbox.live\"}} 1.5"));

            drop((partition, source));
            has(&format!("tradewind_partition_state{{{of},state=\"held\"}} 0"));
            has(&format!("tradewind_parked_inputs{{{of}}} 0"));
            has(&format!("tradewind_operations{{{of},state=\"waiting\"}} 0"));
            has(&format!("tradewind_source_lag_events{{{of},source=\"inbox.live\"}} 0"));
            has(&format!("tradewind_inputs_total{{{of},source=\"inbox.live\"}} 2"));
        });
    }
}
