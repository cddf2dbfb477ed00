//! How far the projection of a partition is behind its log, and who waits for it.
//!
//! Rows are written now and then, so that those which change often are written once. A question
//! never notices: it has everything written first that is in the log.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

/// Positions in the service's own log, shared by who writes the rows and who reads them.
#[derive(Debug)]
pub(crate) struct Projected {
    /// The last event that was appended.
    appended: AtomicU64,
    /// The rows hold the log up to here; absent until they are brought up to it for the first time:
    /// what they hold before may be a part of it.
    reached: watch::Sender<Option<u64>>,
    wanted: watch::Sender<Wanted>,
}

/// Up to where the rows are to be written without delay.
#[derive(Debug, Default)]
struct Wanted {
    /// The furthest position that the worker itself wants.
    furthest: u64,
    /// The positions that questions wait for, and how many do. Not their maximum: who asks may name
    /// any, also one that the log will never reach, and that must not hide the others.
    waiting: BTreeMap<u64, usize>,
}

impl Wanted {
    /// Whether somebody wants a position that the rows, written up to `reached`, do not hold and the
    /// log up to `last` does.
    fn is_between(&self, reached: u64, last: u64) -> bool {
        reached < last
            && ((reached < self.furthest && self.furthest <= last)
                || self.waiting.range(reached + 1..=last).next().is_some())
    }
}

/// A question that waits for a position, until it is dropped.
struct Waiting<'a> {
    wanted: &'a watch::Sender<Wanted>,
    position: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.wanted.send_if_modified(|wanted| {
            if let Some(count) = wanted.waiting.get_mut(&self.position) {
                *count -= 1;
                if *count == 0 {
                    wanted.waiting.remove(&self.position);
                }
            }
            // Nobody waits for less being wanted.
            false
        });
    }
}

impl Default for Projected {
    fn default() -> Self {
        Self {
            appended: AtomicU64::new(0),
            reached: watch::Sender::new(None),
            wanted: watch::Sender::new(Wanted::default()),
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
        self.reached.send_replace(Some(position));
    }

    /// Whether the rows hold all of the log, but for the last of it.
    pub(crate) fn has_reached_log(&self) -> bool {
        self.reached.borrow().is_some()
    }

    /// The rows are brought up to another log.
    pub(crate) fn restart(&self) {
        self.appended.store(0, Ordering::Relaxed);
        self.wanted.send_modify(|wanted| wanted.furthest = 0);
        self.reached.send_replace(None);
    }

    /// Waits until the rows hold all that was appended, and the log up to `position`.
    pub(crate) async fn wait_for(&self, position: u64) {
        let position = position.max(self.appended());
        let mut reached = self.reached.subscribe();
        if reached.borrow().is_some_and(|reached| reached >= position) {
            return;
        }
        self.wanted.send_modify(|wanted| *wanted.waiting.entry(position).or_default() += 1);
        let _waiting = Waiting { wanted: &self.wanted, position };
        // The sender lives as long as `self`, so this ends only when the position is reached.
        reached.wait_for(|reached| reached.is_some_and(|reached| reached >= position)).await.ok();
    }

    /// Lets the rows be written as soon as the log has come up to `position`.
    pub(crate) fn want(&self, position: u64) {
        self.wanted.send_if_modified(|wanted| {
            let is_further = position > wanted.furthest;
            wanted.furthest = position.max(wanted.furthest);
            is_further
        });
    }

    /// Waits until somebody wants a position that the rows do not hold and the log up to `last` does.
    pub(crate) async fn is_wanted(&self, last: u64) {
        let reached = self.reached.borrow().unwrap_or(0);
        let mut wanted = self.wanted.subscribe();
        wanted.wait_for(|wanted| wanted.is_between(reached, last)).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_position_that_is_never_reached_hides_no_other() {
        let projected = Projected::default();
        projected.append(5);
        let mut never = Box::pin(projected.wait_for(u64::MAX));
        assert!((&mut never).now_or_never().is_none());
        assert!(projected.is_wanted(5).now_or_never().is_none(), "the log does not hold it");

        let mut asks = Box::pin(projected.wait_for(4));
        assert!((&mut asks).now_or_never().is_none());
        assert!(projected.is_wanted(5).now_or_never().is_some());
        projected.reach(5);
        assert!((&mut asks).now_or_never().is_some());
        assert!(projected.is_wanted(5).now_or_never().is_none());
        drop((never, asks));
        assert!(projected.wanted.borrow().waiting.is_empty());
    }

    #[test]
    fn what_the_worker_wants_is_wanted_once_the_log_holds_it() {
        let projected = Projected::default();
        projected.want(3);
        assert!(projected.is_wanted(2).now_or_never().is_none());
        assert!(projected.is_wanted(3).now_or_never().is_some());
        projected.reach(3);
        assert!(projected.is_wanted(4).now_or_never().is_none());
    }

    #[test]
    fn nothing_is_answered_before_the_rows_are_brought_up_to_the_log() {
        let projected = Projected::default();
        let mut asks = Box::pin(projected.wait_for(0));
        assert!((&mut asks).now_or_never().is_none());
        projected.reach(0);
        assert!((&mut asks).now_or_never().is_some());
        projected.restart();
        assert!(projected.wait_for(0).now_or_never().is_none());
    }
}
