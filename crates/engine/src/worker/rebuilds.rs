//! Rebuilds of a partition that operators ask for.

use protocol::proto;
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    None,
    Requested,
    Running,
}

/// Whether a partition is being rebuilt, shared by who is asked for it and who does it.
#[derive(Debug, Default)]
pub(crate) struct Rebuilds(watch::Sender<(Phase, String)>);

impl Rebuilds {
    /// Asks for a rebuild. While one is under way, that is the one.
    pub(crate) fn request(&self) {
        self.0.send_if_modified(|(phase, error)| {
            let is_new = *phase == Phase::None;
            if is_new {
                *phase = Phase::Requested;
                error.clear();
            }
            is_new
        });
    }

    /// How the one that was asked for last is.
    pub(crate) fn state(&self) -> proto::RebuildState {
        let (phase, error) = &*self.0.borrow();
        proto::RebuildState { is_rebuilding: *phase != Phase::None, error: error.clone() }
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.0.borrow().0 == Phase::Requested
    }

    /// Waits until one is asked for.
    pub(crate) async fn requested(&self) {
        // The sender lives as long as `self`.
        self.0.subscribe().wait_for(|(phase, _)| *phase == Phase::Requested).await.ok();
    }

    /// The one that was asked for begins.
    pub(crate) fn begin(&self) {
        self.0.send_modify(|(phase, _)| *phase = Phase::Running);
    }

    /// The one that runs, if any, has ended.
    pub(crate) fn end(&self, outcome: Result<(), String>) {
        self.0.send_if_modified(|(phase, error)| {
            let runs = *phase == Phase::Running;
            if runs {
                *phase = Phase::None;
                *error = outcome.err().unwrap_or_default();
            }
            runs
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(is_rebuilding: bool, error: &str) -> proto::RebuildState {
        proto::RebuildState { is_rebuilding, error: error.to_owned() }
    }

    #[test]
    fn who_asks_for_a_rebuild_sees_how_it_ends() {
        let rebuilds = Rebuilds::default();
        assert_eq!(rebuilds.state(), state(false, ""));
        rebuilds.request();
        rebuilds.begin();
        rebuilds.request();
        assert!(!rebuilds.is_requested(), "it is the same");
        assert_eq!(rebuilds.state(), state(true, ""));
        rebuilds.end(Err("the log is unreadable".to_owned()));
        assert_eq!(rebuilds.state(), state(false, "the log is unreadable"));
        rebuilds.request();
        assert_eq!(rebuilds.state(), state(true, ""));
    }

    #[test]
    fn one_that_has_not_begun_does_not_end_with_what_else_fails() {
        let rebuilds = Rebuilds::default();
        rebuilds.request();
        rebuilds.end(Err("the database is gone".to_owned()));
        assert!(rebuilds.is_requested());
    }
}
