//! How the partitions of a process are: for readiness, metrics and the log.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::metrics::{self, PartitionMetrics};

/// How one partition of a service is, in this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// The service.
    pub service: String,
    /// The partition.
    pub partition: u32,
    /// How it is.
    pub state: PartitionState,
    /// What of its work cannot go on though the partition does, for an operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// How a partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum PartitionState {
    /// Another process runs it, or nobody yet.
    Waiting,
    /// It is brought up to its log.
    Recovering,
    /// It runs here.
    Held,
    /// It cannot go on, and tries again.
    Failing {
        /// Why, and what can be done.
        reason: String,
        /// How often it has failed since it last ran.
        failures: u32,
    },
}

impl PartitionState {
    /// The state as metrics have it.
    fn measured(&self) -> metrics::PartitionState {
        match self {
            Self::Waiting => metrics::PartitionState::Waiting,
            Self::Recovering => metrics::PartitionState::Recovering,
            Self::Held => metrics::PartitionState::Held,
            Self::Failing { .. } => metrics::PartitionState::Failing,
        }
    }
}

/// All partitions of a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statuses(Arc<Mutex<BTreeMap<(&'static str, u32), Status>>>);

/// How a partition is, and what of its work cannot go on.
#[derive(Debug, Clone)]
struct Status {
    state: PartitionState,
    problems: Vec<String>,
}

impl Statuses {
    pub(crate) fn set(
        &self,
        service: &'static str,
        partition: u32,
        state: PartitionState,
        metrics: &PartitionMetrics,
    ) {
        metrics.state(state.measured());
        let mut statuses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        statuses.insert((service, partition), Status { state, problems: Vec::new() });
    }

    /// Notes what of the work of a partition cannot go on; it is forgotten when its state changes.
    pub(crate) fn set_problems(
        &self,
        service: &'static str,
        partition: u32,
        problems: Vec<String>,
    ) {
        let mut statuses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = statuses.get_mut(&(service, partition)) {
            status.problems = problems;
        }
    }

    pub(crate) fn remove(&self, service: &'static str) {
        let mut statuses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        statuses.retain(|(known, _), _| *known != service);
    }

    pub(crate) fn all(&self) -> Vec<PartitionStatus> {
        let statuses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        statuses
            .iter()
            .map(|((service, partition), status)| PartitionStatus {
                service: (*service).to_owned(),
                partition: *partition,
                state: status.state.clone(),
                problems: status.problems.clone(),
            })
            .collect()
    }
}
