//! How often the feed of a shop is looked at, and how much is read of it at once.

use std::time::Duration;

/// How long after a notice it is looked again, at first and then at twice the pause each time: what is
/// noticed may not be stored yet.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(2);
/// How often it is looked at least while a reader waits: a notice may have been lost.
pub(super) const MAX_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long it is waited after a notice, so that what happens at once is read at once.
pub(super) const GATHER_INTERVAL: Duration = Duration::from_millis(10);
/// Events that are read at once for a stream.
pub(super) const PAGE_LENGTH: usize = 256;
