//! What a service does beside its workers.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tokio::time::sleep;

/// The pause before a job that panicked begins anew.
const PAUSE: Duration = Duration::from_mins(1);

/// Does a job, and begins it anew after a pause when it panics: the service goes on meanwhile.
pub(crate) async fn keep_up<F: Future<Output = ()>>(name: &str, job: impl Fn() -> F) {
    while let Err(panic) = AssertUnwindSafe(async { job().await }).catch_unwind().await {
        tracing::error!(reason = text(&*panic), "{name} panicked, and begins anew in {PAUSE:?}");
        sleep(PAUSE).await;
    }
}

/// What a panic says.
fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_job_that_panics_begins_anew() {
        let tries = Cell::new(0);
        keep_up("the test", async || {
            tries.set(tries.get() + 1);
            assert!(tries.get() > 2, "it cannot be done yet");
        })
        .await;
        assert_eq!(tries.get(), 3);
    }
}
