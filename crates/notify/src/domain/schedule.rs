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

/// The pauses between the attempts at an endpoint: its own, or else the usual ones of the installation, or else the
/// documented ones.
pub(crate) fn pauses<'a>(own_s: &'a [u32], usual_s: &'a [u32]) -> &'a [u32] {
    match (own_s, usual_s) {
        ([], []) => &RETRY_PAUSES_S,
        ([], usual) => usual,
        (own, _) => own,
    }
}

/// How many attempts are made with these pauses between them.
pub(crate) fn max_attempts(pauses_s: &[u32]) -> u32 {
    pauses_s.len() as u32 + 1
}

/// When it is attempted again; `None` when that was the last attempt. The same for the same arguments:
/// what is added to the pause follows from the ids.
pub(crate) fn next_attempt(
    failed: FailedAttempt,
    pauses_s: &[u32],
    now: Timestamp,
) -> Option<Timestamp> {
    let pause = *pauses_s.get(failed.attempt.checked_sub(1)? as usize)?;
    let pause_ms = u64::from(pause) * 1_000;
    let most_ms = (pause_ms * JITTER_PERCENT / 100).clamp(MIN_JITTER_MS, MAX_JITTER_MS);
    let earliest = now + Duration::from_millis(pause_ms);
    let due = rounded(earliest, hash(failed), most_ms);
    let overload = failed.is_overloaded.then_some(OVERLOAD_PAUSE);
    let asked_for = failed.retry_after.map(|retry_after| retry_after.min(MAX_RETRY_AFTER));
    let least = overload.into_iter().chain(asked_for).max().map(|pause| now + pause);
    Some(match least {
        Some(least) if least > due => ceiling(least, 1_000),
        Some(_) | None => due,
    })
}

/// A time from `earliest` on that is later by `most_ms` at most, chosen by `hash`: of a whole second, ten seconds or
/// minute, the more the longer the pause is. So the due times of an endpoint with many failures are few.
fn rounded(earliest: Timestamp, hash: u64, most_ms: u64) -> Timestamp {
    let step_ms = match most_ms {
        ..30_000 => 1_000,
        30_000..240_000 => 10_000,
        _ => 60_000,
    };
    let first = ceiling(earliest, step_ms);
    let left_ms = most_ms.saturating_sub((first.millis() - earliest.millis()) as u64);
    first + Duration::from_millis(hash % (left_ms / step_ms + 1) * step_ms)
}

/// The next whole step.
fn ceiling(time: Timestamp, step_ms: u64) -> Timestamp {
    let step = step_ms as i64;
    Timestamp::from_millis((time.millis() + step - 1).div_euclid(step) * step)
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
        let due = next_attempt(failed, &RETRY_PAUSES_S, NOW).expect("it is tried again");
        Duration::from_millis((due.millis() - NOW.millis()) as u64)
    }

    #[test]
    fn the_pauses_are_those_of_the_contract() {
        let pauses = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        assert_eq!(RETRY_PAUSES_S, pauses);
        assert_eq!(RETRY_PAUSES_S.iter().sum::<u32>(), 272_105, "75.6 hours");
    }

    #[test]
    fn a_retry_is_never_early_and_late_by_a_fifth_at_most() {
        for seq in 0..200 {
            for (attempt, pause_s) in (1..).zip(RETRY_PAUSES_S) {
                let paused = pause(FailedAttempt { endpoint_seq: seq, ..failed(attempt) });
                let (least, jitter) =
                    (f64::from(pause_s), (f64::from(pause_s) * 0.2).clamp(2.0, 900.0));
                let paused = paused.as_secs_f64();
                assert!((least..=least + jitter).contains(&paused), "{attempt}: {paused}");
            }
        }
    }

    #[test]
    fn the_tenth_attempt_is_the_last() {
        assert!(next_attempt(failed(9), &RETRY_PAUSES_S, NOW).is_some());
        assert_eq!(next_attempt(failed(10), &RETRY_PAUSES_S, NOW), None);
        assert!(next_attempt(failed(1), &[5], NOW).is_some());
        assert_eq!(next_attempt(failed(2), &[5], NOW), None);
        assert_eq!((max_attempts(&RETRY_PAUSES_S), max_attempts(&[5])), (10, 2));
    }

    #[test]
    fn an_endpoint_has_its_own_pauses_or_those_of_the_installation() {
        assert_eq!(pauses(&[], &[]), RETRY_PAUSES_S);
        assert_eq!((pauses(&[], &[1, 2]), pauses(&[7], &[1, 2])), (&[1, 2][..], &[7][..]));
    }

    #[test]
    fn retries_that_failed_together_are_spread_and_the_same_in_each_run() {
        for attempt in 2..=9 {
            let due = |seq| {
                let failed = FailedAttempt { endpoint_seq: seq, ..failed(attempt) };
                next_attempt(failed, &RETRY_PAUSES_S, NOW)
            };
            let different: std::collections::BTreeSet<_> = (0..1_000).map(due).collect();
            assert!((5..=20).contains(&different.len()), "{attempt}: {different:?}");
            assert_eq!(due(7), due(7));
        }
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
