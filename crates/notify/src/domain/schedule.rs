//! When a failed delivery is attempted again.

use std::time::Duration;

use protocol::time::Timestamp;

/// The pauses before the second attempt and each further one, in seconds: 10 attempts in 75.6 hours.
pub(crate) const RETRY_PAUSES_S: [u32; 9] =
    [5, 5 * 60, 30 * 60, 2 * 3_600, 5 * 3_600, 10 * 3_600, 14 * 3_600, 20 * 3_600, 24 * 3_600];
/// The longest that an endpoint may ask to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);
/// How long an endpoint is left alone at least that is overloaded.
const OVERLOAD_PAUSE: Duration = Duration::from_mins(1);
/// A retry is delayed by up to this share of its pause, so that those which failed together are not
/// tried again together.
const JITTER_PERCENT: u64 = 20;
/// The least that the longest delay is.
const MIN_JITTER_MS: u64 = 2_000;
/// The most that a delay is.
const MAX_JITTER_MS: u64 = 15 * 60 * 1_000;

/// An attempt that failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailedAttempt<'a> {
    /// The endpoint.
    pub endpoint_id: &'a str,
    /// The delivery.
    pub endpoint_seq: u64,
    /// Counts its attempts, from 1.
    pub attempt: u32,
    /// How long the endpoint asked to wait.
    pub retry_after: Option<Duration>,
    /// Whether the endpoint is overloaded.
    pub is_overloaded: bool,
}

/// How many attempts are made with these pauses between them; with none: with the usual ones.
pub(crate) fn max_attempts(pauses_s: &[u32]) -> u32 {
    let retries = if pauses_s.is_empty() { RETRY_PAUSES_S.len() } else { pauses_s.len() };
    retries as u32 + 1
}

/// When it is attempted again; `None` when that was the last attempt. The same for the same arguments:
/// what is added to the pause follows from the ids.
pub(crate) fn next_attempt(
    failed: FailedAttempt,
    pauses_s: &[u32],
    now: Timestamp,
) -> Option<Timestamp> {
    let pauses = if pauses_s.is_empty() { &RETRY_PAUSES_S[..] } else { pauses_s };
    let pause = *pauses.get(failed.attempt.checked_sub(1)? as usize)?;
    let pause_ms = u64::from(pause) * 1_000;
    let most = (pause_ms * JITTER_PERCENT / 100).clamp(MIN_JITTER_MS, MAX_JITTER_MS);
    let jitter = hash(failed) % (most + 1);
    let mut due = now + Duration::from_millis(pause_ms + jitter);
    if failed.is_overloaded {
        due = due.max(now + OVERLOAD_PAUSE);
    }
    if let Some(retry_after) = failed.retry_after {
        due = due.max(now + retry_after.min(MAX_RETRY_AFTER));
    }
    Some(rounded(due, now))
}

/// Up to a whole second, or a whole minute when it is far ahead: so the due times of an endpoint with
/// many failures are few.
fn rounded(due: Timestamp, now: Timestamp) -> Timestamp {
    let step = if due.millis() - now.millis() <= 60_000 { 1_000 } else { 60_000 };
    Timestamp::from_millis((due.millis() + step - 1).div_euclid(step) * step)
}

/// FNV-1a, of 64 bits: the same on every machine and in every version.
fn hash(failed: FailedAttempt) -> u64 {
    let seq = failed.endpoint_seq.to_be_bytes();
    let attempt = failed.attempt.to_be_bytes();
    let bytes = failed.endpoint_id.bytes().chain(seq).chain(attempt);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_300_000_000_123);

    fn failed(attempt: u32) -> FailedAttempt<'static> {
        FailedAttempt {
            endpoint_id: "ep",
            endpoint_seq: 7,
            attempt,
            retry_after: None,
            is_overloaded: false,
        }
    }

    fn pause(failed: FailedAttempt) -> Duration {
        let due = next_attempt(failed, &[], NOW).expect("it is tried again");
        Duration::from_millis((due.millis() - NOW.millis()) as u64)
    }

    #[test]
    fn a_retry_is_never_early_and_late_by_a_fifth_at_most() {
        for seq in 0..200 {
            for (attempt, pause_s) in (1..).zip(RETRY_PAUSES_S) {
                let paused = pause(FailedAttempt { endpoint_seq: seq, ..failed(attempt) });
                let (least, jitter) =
                    (f64::from(pause_s), (f64::from(pause_s) * 0.2).clamp(2.0, 900.0));
                // It is rounded up to a second, or to a minute.
                let step = if least + jitter <= 60.0 { 1.0 } else { 60.0 };
                let paused = paused.as_secs_f64();
                assert!((least..=least + jitter + step).contains(&paused), "{attempt}: {paused}");
            }
        }
    }

    #[test]
    fn the_tenth_attempt_is_the_last() {
        assert!(next_attempt(failed(9), &[], NOW).is_some());
        assert_eq!(next_attempt(failed(10), &[], NOW), None);
        assert!(next_attempt(failed(1), &[5], NOW).is_some());
        assert_eq!(next_attempt(failed(2), &[5], NOW), None);
        assert_eq!((max_attempts(&[]), max_attempts(&[5])), (10, 2));
    }

    #[test]
    fn retries_that_failed_together_are_spread_and_the_same_in_each_run() {
        let due = |seq| next_attempt(FailedAttempt { endpoint_seq: seq, ..failed(3) }, &[], NOW);
        let different: std::collections::BTreeSet<_> = (0..100).map(due).collect();
        assert!(different.len() > 4, "{different:?}");
        assert_eq!(due(7).map(Timestamp::millis), Some(1_300_002_000_000));
    }

    #[test]
    fn what_the_endpoint_asks_for_counts_up_to_a_day() {
        let after = |retry_after| FailedAttempt { retry_after: Some(retry_after), ..failed(1) };
        assert!(pause(after(Duration::from_secs(1))) < Duration::from_secs(9));
        let hour = Duration::from_hours(1);
        assert!((hour..hour + Duration::from_mins(1)).contains(&pause(after(hour))));
        let day = Duration::from_hours(24);
        assert!((day..day + Duration::from_mins(1)).contains(&pause(after(day * 9))));
    }

    #[test]
    fn an_overloaded_endpoint_is_left_alone_for_a_minute() {
        let overloaded = FailedAttempt { is_overloaded: true, ..failed(1) };
        assert!(pause(overloaded) >= Duration::from_mins(1));
    }
}
