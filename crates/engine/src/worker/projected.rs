//! How far the projection of a partition is behind its log, and who waits for it.
//!
//! Rows are written now and then, so that those which change often are written once. A question
//! never notices: it has everything written first that is in the log.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// Positions in the service's own log, shared by who writes the rows and who reads them.
#[derive(Debug)]
pub(crate) struct Projected {
    /// The last event that was appended.
    appended: AtomicU64,
    /// The rows hold the log up to here.
    reached: watch::Sender<u64>,
    /// The furthest position that somebody waits for.
    wanted: watch::Sender<u64>,
}

impl Default for Projected {
    fn default() -> Self {
        Self {
            appended: AtomicU64::new(0),
            reached: watch::Sender::new(0),
            wanted: watch::Sender::new(0),
        }
    }
}

impl Projected {
    /// Says that the log ends at `position`.
    pub(crate) fn append(&self, position: u64) {
        self.appended.fetch_max(position, Ordering::Relaxed);
    }

    /// The last event that was appended, as far as is known.
    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    /// Says that the rows hold the log up to `position`.
    pub(crate) fn reach(&self, position: u64) {
        self.append(position);
        self.reached.send_replace(position);
    }

    /// Waits until the rows hold all that was appended, and the log up to `position`.
    pub(crate) async fn wait_for(&self, position: u64) {
        let position = position.max(self.appended());
        self.want(position);
        let mut reached = self.reached.subscribe();
        // The sender lives as long as `self`, so this ends only when the position is reached.
        reached.wait_for(|reached| *reached >= position).await.ok();
    }

    /// Lets the rows be written as soon as the log has come up to `position`.
    pub(crate) fn want(&self, position: u64) {
        self.wanted.send_if_modified(|wanted| {
            let is_further = position > *wanted;
            *wanted = position.max(*wanted);
            is_further
        });
    }

    /// Waits until somebody wants a position that the rows do not hold and the log up to `last` does.
    pub(crate) async fn is_wanted(&self, last: u64) {
        let reached = *self.reached.borrow();
        let mut wanted = self.wanted.subscribe();
        wanted.wait_for(|wanted| *wanted > reached && *wanted <= last).await.ok();
    }
}
