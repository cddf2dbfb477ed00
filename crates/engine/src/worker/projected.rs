//! How far the projection of a partition is behind its log, and who waits for it.
//!
//! Rows are written now and then, so that those which change often are written once. A question
//! never notices: it has what it needs written first.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// How old the rows may be that a question is answered from, when it asks for no position.
const MAX_AGE: Duration = Duration::from_millis(50);

/// Positions in the service's own log, shared by who writes the rows and who reads them.
#[derive(Debug)]
pub(crate) struct Projected {
    /// The last event that was appended.
    appended: AtomicU64,
    /// The rows hold the log up to here, and since when they do.
    reached: watch::Sender<(u64, Instant)>,
    /// The furthest position that somebody waits for.
    wanted: watch::Sender<u64>,
}

impl Default for Projected {
    fn default() -> Self {
        Self {
            appended: AtomicU64::new(0),
            reached: watch::Sender::new((0, Instant::now())),
            wanted: watch::Sender::new(0),
        }
    }
}

impl Projected {
    /// Says that the log ends at `position`.
    pub(crate) fn append(&self, position: u64) {
        self.appended.fetch_max(position, Ordering::Relaxed);
    }

    /// Says that the rows hold what the log held at `since`, up to `position`.
    pub(crate) fn reach(&self, position: u64, since: Instant) {
        self.append(position);
        self.reached.send_replace((position, since));
    }

    /// Waits until the rows hold the log up to `position`, and otherwise all that was appended more
    /// than a moment ago.
    pub(crate) async fn wait_for(&self, position: u64) {
        let (_, since) = *self.reached.borrow();
        let appended =
            if since.elapsed() > MAX_AGE { self.appended.load(Ordering::Relaxed) } else { 0 };
        let position = position.max(appended);
        self.want(position);
        let mut reached = self.reached.subscribe();
        // The sender lives as long as `self`, so this ends only when the position is reached.
        reached.wait_for(|(reached, _)| *reached >= position).await.ok();
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
        let (reached, _) = *self.reached.borrow();
        let mut wanted = self.wanted.subscribe();
        wanted.wait_for(|wanted| *wanted > reached && *wanted <= last).await.ok();
    }
}
