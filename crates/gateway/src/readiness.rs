//! Whether the process can do its work: what its partitions report, and whether JetStream answers.

use std::{
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

/// How long a check is good for. However often `/readyz` is asked, which needs no API key, the
/// broker is asked once in this time.
const READINESS_TTL: Duration = Duration::from_secs(1);

/// What the services of this process report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether they can do their work. A partition that fails need not change that: it is listed,
    /// and the others go on.
    pub ready: bool,
    /// Every partition of every service that this process runs.
    pub partitions: Vec<PartitionStatus>,
}

/// A partition of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PartitionStatus {
    /// The service.
    pub service: String,
    /// The number of the partition.
    pub partition: u32,
    /// What this process does with it.
    pub state: PartitionState,
    /// Why it fails, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What of its work cannot go on though the partition does. It does not make the process unready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What a process does with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// It handles inputs.
    Held,
    /// It waits for it: another process runs it.
    Waiting,
    /// It brings it up to its log.
    Recovering,
    /// It cannot go on, and retries.
    Failing,
    /// Its service starts, or waits for its database.
    Starting,
}

/// Reports on the services of this process. Called at most once a second; must not block.
pub type ReadinessSource = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// What a check found.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) services: Readiness,
    /// Why the broker cannot be used, when it cannot.
    pub(crate) broker_error: Option<Arc<dyn Error + Send + Sync>>,
}

impl Checked {
    pub(crate) fn is_ready(&self) -> bool {
        self.services.ready && self.broker_error.is_none()
    }
}

/// Checks the services and the broker, and remembers the result for [`READINESS_TTL`].
pub(crate) struct ReadinessCheck {
    source: ReadinessSource,
    last: Mutex<Option<(Instant, Checked)>>,
}

impl fmt::Debug for ReadinessCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadinessCheck").field("last", &self.last).finish_non_exhaustive()
    }
}

impl ReadinessCheck {
    pub(crate) fn new(source: ReadinessSource) -> Self {
        Self { source, last: Mutex::default() }
    }

    /// The result of the last check, or of a new one. `ask_broker` runs only for a new one.
    pub(crate) async fn check<E: Error + Send + Sync + 'static>(
        &self,
        now: Instant,
        ask_broker: impl Future<Output = Result<(), E>>,
    ) -> Checked {
        // Held across the check: requests that come meanwhile share its result.
        let mut last = self.last.lock().await;
        if let Some((at, checked)) = &*last
            && now.saturating_duration_since(*at) < READINESS_TTL
        {
            return checked.clone();
        }
        let broker_error = ask_broker.await.err().map(|error| Arc::new(error) as _);
        let checked = Checked { services: (self.source)(), broker_error };
        *last = Some((now, checked.clone()));
        checked
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn check_of(ready: bool) -> ReadinessCheck {
        ReadinessCheck::new(Arc::new(move || Readiness { ready, partitions: Vec::new() }))
    }

    #[tokio::test]
    async fn the_broker_is_asked_once_a_second_however_often_readiness_is() {
        let check = check_of(true);
        let asked = AtomicUsize::new(0);
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(())
        };
        let begin = Instant::now();
        for millis in [0, 1, 500, 999] {
            assert!(check.check(begin + Duration::from_millis(millis), ask()).await.is_ready());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        check.check(begin + READINESS_TTL, ask()).await;
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn both_the_services_and_the_broker_must_be_ready() {
        for (services, broker) in [(true, true), (true, false), (false, true), (false, false)] {
            let answer = if broker { Ok(()) } else { Err(io::Error::other("no answer")) };
            let checked = check_of(services).check(Instant::now(), async { answer }).await;
            assert_eq!(checked.is_ready(), services && broker);
        }
    }
}
