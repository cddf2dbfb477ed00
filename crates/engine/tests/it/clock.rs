//! A clock that a test sets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use engine::{Clock, Config, Engine, Faults};
use protocol::time::Timestamp;

use crate::rig::{Rig, connect};

/// Shows the time at which it was made, until it is set forward.
#[derive(Clone)]
pub(crate) struct ManualClock {
    millis: Arc<AtomicI64>,
    looks: Arc<AtomicU64>,
}

impl ManualClock {
    pub(crate) fn at_present() -> Self {
        let millis = Arc::new(AtomicI64::new(testkit::system_clock().now().millis()));
        Self { millis, looks: Arc::default() }
    }

    /// An engine of the installation with this clock.
    pub(crate) async fn engine(&self, rig: &Rig) -> Engine {
        self.engine_with(rig, Faults::default()).await
    }

    /// The same, with faults.
    pub(crate) async fn engine_with(&self, rig: &Rig, faults: Faults) -> Engine {
        let Self { millis, looks } = self.clone();
        let clock = Clock::from(move || {
            looks.fetch_add(1, Ordering::SeqCst);
            Timestamp::from_millis(millis.load(Ordering::SeqCst))
        });
        connect(Config { clock, faults, ..rig.config() }).await
    }

    pub(crate) fn forward(&self, by: Duration) {
        self.millis.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }

    /// How often somebody has looked at it.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::SeqCst)
    }
}
