//! Trying again: pauses that do not fall together, and waiting for a server that is not there yet.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, interval, sleep};

use crate::{Error, Program};

/// The pause between two tries while a process starts; each failure is logged.
const START_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How often a request is made that the server has not answered.
const REPEAT_INTERVAL: Duration = Duration::from_millis(200);

/// A pause between one half and one and a half of `pause`, so that those who failed together do
/// not try again together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let thousandths = RandomState::new().hash_one(()) % 1000;
    pause.mul_f64(0.5 + thousandths as f64 / 1000.0)
}

/// Tries until it succeeds, fails for a reason that time does not remove, or `timeout` is over;
/// says in the log what it waits for.
pub(crate) async fn until_started<T, F: Future<Output = Result<T, Error>>>(
    program: &Program,
    timeout: Duration,
    waits_for: &'static str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error> {
    let deadline = Instant::now() + timeout;
    loop {
        match attempt().await {
            Err(error) if error.is_unreachable() && Instant::now() < deadline => {
                let left = deadline.saturating_duration_since(Instant::now());
                tracing::warn!(
                    error = program.describe(&error),
                    "waits for {waits_for}, for {} more seconds at most",
                    left.as_secs() + 1
                );
                sleep(START_RETRY_PAUSE.min(left)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Makes a request every [`REPEAT_INTERVAL`] while those before it go on, and returns how the first
/// ends that does: with an answer, or when its timeout is over.
///
/// A server drops requests without an answer while an election is under way: so the first that
/// arrives afterwards is answered. All of them together must have one effect.
pub(crate) async fn repeated<T, F: Future<Output = T>>(mut attempt: impl FnMut() -> F) -> T {
    let mut attempts = FuturesUnordered::new();
    let mut next = interval(REPEAT_INTERVAL);
    loop {
        tokio::select! {
            _ = next.tick() => attempts.push(attempt()),
            Some(ended) = attempts.next() => return ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    const PROGRAM: &Program = &Program { name: "test", streams: "", remedy: |_| String::new() };

    fn unreachable() -> Error {
        Error::jetstream("inspect", "INBOX-0", "timed out")
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_comes_late_is_waited_for() {
        let mut tries = 0;
        let started = until_started(PROGRAM, Duration::from_mins(1), "NATS", || {
            tries += 1;
            ready(if tries < 30 { Err(unreachable()) } else { Ok(tries) })
        });
        assert_eq!(started.await.ok(), Some(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_comes_is_an_error_after_the_timeout() {
        let began = Instant::now();
        let timeout = Duration::from_mins(1);
        let failed =
            until_started(PROGRAM, timeout, "NATS", || ready(Err::<(), _>(unreachable()))).await;
        assert!(matches!(failed, Err(Error::JetStream { .. })), "{failed:?}");
        assert_eq!(began.elapsed(), timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn what_time_does_not_remove_is_not_waited_for() {
        let old = || ready(Err::<(), _>(Error::ServerTooOld { version: "2.9.10".to_owned() }));
        let began = Instant::now();
        let failed = until_started(PROGRAM, Duration::from_mins(1), "NATS", old).await;
        assert!(matches!(failed, Err(Error::ServerTooOld { .. })), "{failed:?}");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_dropped_is_soon_followed_by_another() {
        let began = Instant::now();
        let mut attempts = 0;
        let answered = repeated(|| {
            attempts += 1;
            let number = attempts;
            async move {
                if number < 5 {
                    std::future::pending::<()>().await;
                }
                number
            }
        });
        assert_eq!(answered.await, 5);
        assert_eq!(began.elapsed(), 4 * REPEAT_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_late_counts_as_well() {
        let answered = repeated(|| sleep(Duration::from_secs(1)));
        let began = Instant::now();
        answered.await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }

    #[test]
    fn pauses_are_about_as_long_as_asked_for() {
        let pause = Duration::from_millis(100);
        for _ in 0..1000 {
            let jittered = jittered(pause);
            assert!(jittered >= pause / 2 && jittered < pause * 3 / 2, "{jittered:?}");
        }
    }
}
