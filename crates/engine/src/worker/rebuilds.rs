//! Rebuilds of a partition that operators ask for.

use protocol::proto;
use tokio::sync::watch;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    None,
    Requested,
    Running,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Of the one that was asked for last; empty when none was.
    id: String,
    /// Why that one failed; empty when it did not.
    error: String,
}

/// Whether a partition is being rebuilt, shared by who is asked for it and who does it.
#[derive(Debug, Default)]
pub(crate) struct Rebuilds(watch::Sender<State>);

impl Rebuilds {
    /// Asks for a rebuild. While one is under way, that is the one.
    pub(crate) fn request(&self) {
        self.0.send_if_modified(|state| {
            let is_new = state.phase == Phase::None;
            if is_new {
                *state =
                    State { phase: Phase::Requested, id: new_rebuild_id(), error: String::new() };
            }
            is_new
        });
    }

    /// How the one that was asked for last is.
    pub(crate) fn state(&self) -> proto::RebuildState {
        let State { phase, id, error } = &*self.0.borrow();
        let is_rebuilding = *phase != Phase::None;
        proto::RebuildState { is_rebuilding, error: error.clone(), id: id.clone() }
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.0.borrow().phase == Phase::Requested
    }

    /// Waits until one is asked for.
    pub(crate) async fn requested(&self) {
        // The sender lives as long as `self`.
        self.0.subscribe().wait_for(|state| state.phase == Phase::Requested).await.ok();
    }

    /// The one that was asked for begins.
    pub(crate) fn begin(&self) {
        self.0.send_modify(|state| state.phase = Phase::Running);
    }

    /// The one that runs, if any, has ended.
    pub(crate) fn end(&self, outcome: Result<(), String>) {
        self.end_if(|phase| phase == Phase::Running, outcome);
    }

    /// The one that was asked for, if any, does not take place here, whether it has begun or not.
    pub(crate) fn abandon(&self, reason: &str) {
        self.end_if(|phase| phase != Phase::None, Err(reason.to_owned()));
    }

    fn end_if(&self, ends: impl FnOnce(Phase) -> bool, outcome: Result<(), String>) {
        self.0.send_if_modified(|state| {
            let ends = ends(state.phase);
            if ends {
                state.phase = Phase::None;
                state.error = outcome.err().unwrap_or_default();
            }
            ends
        });
    }
}

/// An id for a rebuild, or for the database in which one takes place.
#[expect(clippy::disallowed_methods, reason = "names an attempt, decides nothing")]
pub(crate) fn new_rebuild_id() -> String {
    Uuid::now_v7().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(rebuilds: &Rebuilds, is_rebuilding: bool, error: &str) {
        let state = rebuilds.state();
        assert_eq!((state.is_rebuilding, &*state.error), (is_rebuilding, error));
    }

    #[test]
    fn who_asks_for_a_rebuild_sees_how_it_ends() {
        let rebuilds = Rebuilds::default();
        expect(&rebuilds, false, "");
        rebuilds.request();
        rebuilds.begin();
        let first = rebuilds.state().id;
        rebuilds.request();
        assert!(!rebuilds.is_requested(), "it is the same");
        expect(&rebuilds, true, "");
        rebuilds.end(Err("the log is unreadable".to_owned()));
        expect(&rebuilds, false, "the log is unreadable");
        assert_eq!(rebuilds.state().id, first);
        rebuilds.request();
        expect(&rebuilds, true, "");
        assert_ne!(rebuilds.state().id, first, "it is another one");
    }

    #[test]
    fn one_that_has_not_begun_does_not_end_with_what_else_fails() {
        let rebuilds = Rebuilds::default();
        rebuilds.request();
        rebuilds.end(Err("the database is gone".to_owned()));
        assert!(rebuilds.is_requested());
    }

    #[test]
    fn after_a_partition_was_handed_over_the_next_rebuild_begins() {
        let rebuilds = Rebuilds::default();
        rebuilds.abandon("none was asked for");
        expect(&rebuilds, false, "");
        for has_begun in [false, true] {
            rebuilds.request();
            if has_begun {
                rebuilds.begin();
            }
            rebuilds.abandon("handed over");
            expect(&rebuilds, false, "handed over");
        }
        rebuilds.request();
        assert!(rebuilds.is_requested());
    }
}
