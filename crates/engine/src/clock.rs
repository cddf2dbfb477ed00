//! The clock, as an argument: rules get the time of their batch, tests set it.

use std::{fmt, sync::Arc};

use protocol::time::Timestamp;

/// Returns the present.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// This machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the edge, where time enters a process")]
    pub fn system() -> Self {
        Self::from(Timestamp::now)
    }

    /// A clock of one's own.
    pub fn from(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
