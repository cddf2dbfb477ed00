//! What a worker measures: the names, and the handles by which they are recorded.
//!
//! A [`PartitionMetrics`] belongs to the task of one partition and lives as long as it, over all its
//! restarts; a [`SourceMetrics`] belongs to one of its inputs. When they are dropped, because another
//! process runs the partition from now on, their gauges go to 0, so that the sum over all processes
//! is right. Labels take few values: never a shop, nor an id.
//!
//! | module | what it holds |
//! |---|---|
//! | `definitions` | the names of all metrics, and what they say |
//! | `labels` | the values of labels |
//!
//! To add a metric: a constant of `definitions`, an entry in [`ALL`], a row in `docs/observability.md`.

mod definitions;
mod labels;

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

pub use self::{
    definitions::{
        ALL, BATCH_INPUTS, BATCH_STEP_DURATION, EVENTS, INPUTS, Kind, Metric, OPERATION_OLDEST,
        OPERATIONS, PARKED_INPUTS, PARTITION_RESTARTS, PARTITION_STATE, READY, REPLICA_ERRORS,
        SOURCE_LAG_EVENTS, SOURCE_LAG_SECONDS, describe,
    },
    labels::{BatchStep, OperationState, PartitionState, RestartCause},
};

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
        // A counter that begins with its first event has no rate then, and an alert does not see it.
        counter!(REPLICA_ERRORS.name, labels()).increment(0);
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
mod tests;
