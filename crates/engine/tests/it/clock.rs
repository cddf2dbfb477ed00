//! A clock that a test sets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use engine::{Clock, Config, Engine};
use protocol::time::Timestamp;

use crate::rig::{Rig, connect};

/// Shows the time at which it was made, until it is set forward.
#[derive(Clone)]
pub(crate) struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    pub(crate) fn at_present() -> Self {
        Self(Arc::new(AtomicI64::new(testkit::system_clock().now().millis())))
    }

    /// An engine of the installation with this clock.
    pub(crate) async fn engine(&self, rig: &Rig) -> Engine {
        let millis = self.0.clone();
        let clock = Clock::from(move || Timestamp::from_millis(millis.load(Ordering::SeqCst)));
        connect(Config { clock, ..rig.config() }).await
    }

    pub(crate) fn forward(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}
