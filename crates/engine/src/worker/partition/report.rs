//! What a worker shows of itself.

use std::time::Duration;

use protocol::time::Timestamp;

use super::Worker;
use crate::{Service, metrics::OperationState};

impl<S: Service> Worker<'_, S> {
    /// Puts what can be counted into the metrics.
    pub(super) fn report(&mut self, now: Timestamp) {
        let metrics = &self.setup.metrics;
        let age = |since: i64| Duration::from_millis((now.millis() - since).max(0) as u64);
        metrics.parked(self.projection.blocked.len() as u64);
        for (source, messages, oldest) in self.inputs.lags() {
            if let Some(source) = self.sources.get(source) {
                source.lag(messages, oldest.map_or(Duration::ZERO, age));
            }
        }
        if let Some(operations) = &self.operations {
            let (pending, running, waiting, oldest) = operations.counts();
            metrics.operations(OperationState::Pending, pending as u64);
            metrics.operations(OperationState::Running, running as u64);
            metrics.operations(OperationState::Waiting, waiting as u64);
            metrics.oldest_operation(oldest.map_or(Duration::ZERO, |since| age(since.millis())));
        }
    }
}
