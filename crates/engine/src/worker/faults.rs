//! Where a test can stop a worker, as a crash would. Nothing is set outside tests.

use std::sync::Arc;

/// A step of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The events are decided and not yet published.
    BeforePublish,
    /// The events are in the log, and the server's answer to that is lost.
    LoseAcknowledgement,
    /// The events are in the log, and nobody has been answered.
    BeforeReply,
    /// The events are in the log and not yet projected.
    BeforeProject,
    /// The projection is committed.
    AfterProject,
    /// Inputs have been passed that the log does not say: here the worker goes on, and records its
    /// positions as if the last time was long ago.
    RecordPositions,
}

/// Decides at each step of each batch whether the worker goes on.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<dyn Fn(&'static str, Step) -> bool + Send + Sync>>);

impl Faults {
    /// Asks `strikes(service, step)`; where it says yes, the worker fails.
    pub fn when(strikes: impl Fn(&'static str, Step) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(strikes)))
    }

    pub(crate) fn strikes(&self, service: &'static str, step: Step) -> bool {
        self.0.as_ref().is_some_and(|strikes| strikes(service, step))
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Faults").field(&self.0.is_some()).finish()
    }
}
