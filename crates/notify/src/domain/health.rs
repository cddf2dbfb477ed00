//! How an endpoint has answered of late: when to leave it alone, when to send less, when to give up.

use std::time::Duration;

use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The time over which the breaker counts.
const BREAKER_WINDOW: Duration = Duration::from_mins(5);
/// The time that one count of the breaker covers, in milliseconds.
const BREAKER_STEP_MS: i64 = 30_000;
/// The least requests on which the breaker opens.
pub(crate) const BREAKER_MIN_REQUESTS: u64 = 10;
/// The share of failures at which it opens.
pub(crate) const BREAKER_FAILED_PERCENT: u64 = 70;
/// How long it stays open before one request is let through.
const BREAKER_PAUSE: Duration = Duration::from_secs(30);
/// The time over which requests are counted for those who manage the endpoint.
const RECENT_WINDOW: Duration = Duration::from_hours(1);
/// The time that one of these counts covers, in milliseconds.
const RECENT_STEP_MS: i64 = 5 * 60_000;
/// An endpoint is disabled when every attempt of so long has failed.
pub(crate) const DISABLE_AFTER: Duration = Duration::from_hours(120);
/// The time that must lie between the first and the last of these failures.
const DISABLE_MIN_SPAN: Duration = Duration::from_hours(12);
/// The different messages that must have failed.
const DISABLE_MIN_MESSAGES: usize = 3;

/// How an endpoint has answered of late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// By the beginning of each step: the requests that succeeded and that failed.
    counts: Vec<(i64, u64, u64)>,
    /// The same for those who manage the endpoint: the breaker forgets when it closes, and this does not.
    recent: Vec<(i64, u64, u64)>,
    /// Until when nothing is sent; then one request, until that one has succeeded.
    pub paused_until: Option<Timestamp>,
    /// Whether it was disabled, and no request has succeeded since it is enabled: one is sent, and when that fails nothing
    /// for a while.
    is_probing: bool,
    /// The most deliveries that are under way at the same time, now.
    pub limit: u32,
    /// The failures since the last success.
    pub failing: Option<Failing>,
}

/// Failures without a success between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// When the first was.
    pub since: Timestamp,
    /// When the last was.
    pub last: Timestamp,
    /// Some of the messages that failed.
    messages: Vec<u64>,
    /// Whether it was said that the endpoint will be disabled.
    pub is_warned: bool,
}

/// What follows from failures that go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// Half of the time after which it is disabled is over.
    Warn,
    /// It is to be disabled.
    Disable,
}

impl Health {
    /// An endpoint of which nothing is known yet.
    pub fn new(limit: u32) -> Self {
        let (counts, recent) = (Vec::new(), Vec::new());
        Self { counts, recent, paused_until: None, is_probing: false, limit, failing: None }
    }

    /// An endpoint that was disabled is tried with one delivery at first.
    pub fn probe(&mut self) {
        let recent = std::mem::take(&mut self.recent);
        *self = Self { recent, is_probing: true, ..Self::new(1) };
    }

    /// How many requests of the last hour succeeded, and how many failed.
    pub fn recent(&self, now: Timestamp) -> (u64, u64) {
        let oldest = now.millis() - RECENT_WINDOW.as_millis() as i64;
        sum(self.recent.iter().filter(|(begin, ..)| *begin > oldest))
    }

    /// Whether only one request may be sent, as long as it has not succeeded.
    pub fn is_probed(&self) -> bool {
        self.is_probing || self.paused_until.is_some()
    }

    /// Notes the answers to some requests; `max` is the most that may be under way at the same time.
    pub fn note(
        &mut self,
        delivered: u64,
        failed: &[u64],
        is_overloaded: bool,
        max: u32,
        now: Timestamp,
    ) {
        if delivered > 0 {
            self.failing = None;
        } else if !failed.is_empty() {
            let failing = self.failing.get_or_insert(Failing {
                since: now,
                last: now,
                messages: Vec::new(),
                is_warned: false,
            });
            failing.last = now;
            for seq in failed {
                if failing.messages.len() < DISABLE_MIN_MESSAGES && !failing.messages.contains(seq)
                {
                    failing.messages.push(*seq);
                }
            }
        }
        self.note_limit(delivered, failed.len(), is_overloaded, max);
        let counted = (delivered, failed.len() as u64);
        count(&mut self.recent, RECENT_STEP_MS, RECENT_WINDOW, counted, now);
        self.note_breaker(delivered, failed.len() as u64, now);
    }

    fn note_limit(&mut self, delivered: u64, failed: usize, is_overloaded: bool, max: u32) {
        if is_overloaded {
            self.limit = (self.limit / 2).max(1);
        } else if failed == 0 && delivered > 0 {
            self.limit = (self.limit * 2).min(max);
        }
        self.limit = self.limit.min(max);
    }

    fn note_breaker(&mut self, delivered: u64, failed: u64, now: Timestamp) {
        if self.is_probed() {
            // The request that was let through decides.
            if delivered > 0 {
                (self.paused_until, self.is_probing, self.counts) = (None, false, Vec::new());
            } else if failed > 0 {
                self.paused_until = Some(now + BREAKER_PAUSE);
            }
            return;
        }
        count(&mut self.counts, BREAKER_STEP_MS, BREAKER_WINDOW, (delivered, failed), now);
        let (succeeded, not) = sum(&self.counts);
        let requests = succeeded + not;
        let opens = requests >= BREAKER_MIN_REQUESTS
            && not * 100 >= requests * BREAKER_FAILED_PERCENT
            && failed > 0;
        if opens {
            self.paused_until = Some(now + BREAKER_PAUSE);
        }
    }

    /// What follows from failures that go on.
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        let Some(failing) = &self.failing else { return Verdict::Fine };
        let is_long = |time: Duration| failing.since + time <= now;
        let is_sure = failing.since + DISABLE_MIN_SPAN <= failing.last
            && failing.messages.len() >= DISABLE_MIN_MESSAGES;
        if is_long(DISABLE_AFTER) && is_sure {
            Verdict::Disable
        } else if is_long(DISABLE_AFTER / 2) && !failing.is_warned {
            Verdict::Warn
        } else {
            Verdict::Fine
        }
    }
}

/// Adds requests that succeeded and that failed to counts by step, and forgets what is older than the window.
fn count(
    counts: &mut Vec<(i64, u64, u64)>,
    step_ms: i64,
    window: Duration,
    (succeeded, failed): (u64, u64),
    now: Timestamp,
) {
    let step = now.millis().div_euclid(step_ms) * step_ms;
    let oldest = now.millis() - window.as_millis() as i64;
    counts.retain(|(begin, ..)| *begin > oldest);
    if succeeded + failed == 0 {
        return;
    }
    match counts.last_mut().filter(|(begin, ..)| *begin == step) {
        Some((_, all_succeeded, all_failed)) => {
            (*all_succeeded, *all_failed) = (*all_succeeded + succeeded, *all_failed + failed);
        }
        None => counts.push((step, succeeded, failed)),
    }
}

fn sum<'a>(counts: impl IntoIterator<Item = &'a (i64, u64, u64)>) -> (u64, u64) {
    counts.into_iter().fold((0, 0), |sum, count| (sum.0 + count.1, sum.1 + count.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_300_000_000_000);

    #[test]
    fn the_breaker_opens_when_most_of_ten_requests_have_failed() {
        let mut health = Health::new(8);
        health.note(3, &[], false, 8, NOW);
        health.note(0, &[1, 2, 3, 4, 5, 6], false, 8, NOW);
        assert_eq!(health.paused_until, None, "nine requests");
        health.note(0, &[7], false, 8, NOW);
        assert_eq!(health.paused_until, Some(NOW + BREAKER_PAUSE));
        let later = NOW + BREAKER_PAUSE;
        health.note(0, &[1], false, 8, later);
        assert_eq!(health.paused_until, Some(later + BREAKER_PAUSE), "the one let through failed");
        health.note(1, &[], false, 8, later);
        assert_eq!(health.paused_until, None);
        health.note(0, &[1], false, 8, later);
        assert_eq!(health.paused_until, None, "it counts anew");
    }

    #[test]
    fn the_breaker_is_that_of_the_contract() {
        let seconds = |seconds| NOW + Duration::from_secs(seconds);
        let fails = |delivered, failed: u64, at| {
            let mut health = Health::new(8);
            health.note(delivered, &(1..=failed).collect::<Vec<_>>(), false, 8, NOW);
            health.note(0, &[99], false, 8, at);
            health.paused_until
        };
        assert_eq!(fails(0, 8, NOW), None, "nine requests");
        assert_eq!(fails(0, 9, NOW), Some(seconds(30)), "ten");
        assert_eq!(fails(3, 6, NOW), Some(seconds(30)), "70 of 100");
        assert_eq!(fails(31, 68, NOW), None, "69 of 100");
        assert_eq!(fails(0, 9, seconds(269)), Some(seconds(299)), "within five minutes");
        assert_eq!(fails(0, 9, seconds(300)), None, "no longer");
    }

    #[test]
    fn an_endpoint_that_is_probed_is_left_alone_when_the_first_request_fails() {
        let mut health = Health::new(8);
        health.probe();
        assert!(health.is_probed() && health.limit == 1 && health.paused_until.is_none());
        health.note(0, &[1], false, 8, NOW);
        assert_eq!(health.paused_until, Some(NOW + BREAKER_PAUSE));
        let later = NOW + BREAKER_PAUSE;
        health.note(0, &[1], false, 8, later);
        assert_eq!(health.paused_until, Some(later + BREAKER_PAUSE));
        health.note(1, &[], false, 8, later);
        assert_eq!((health.is_probed(), health.paused_until, health.limit), (false, None, 2));
    }

    #[test]
    fn the_breaker_forgets_what_is_five_minutes_old() {
        let mut health = Health::new(8);
        health.note(0, &[1, 2, 3, 4, 5, 6, 7, 8, 9], false, 8, NOW);
        health.note(0, &[10], false, 8, NOW + BREAKER_WINDOW);
        assert_eq!(health.paused_until, None);
    }

    #[test]
    fn what_succeeded_in_the_last_hour_is_counted_whatever_the_breaker_does() {
        let mut health = Health::new(8);
        let minutes = |minutes| NOW + Duration::from_mins(minutes);
        health.note(0, &[1], false, 8, NOW);
        health.note(0, &[2, 3, 4, 5, 6, 7, 8, 9, 10], false, 8, minutes(10));
        health.note(2, &[], false, 8, minutes(20));
        assert_eq!(health.recent(minutes(20)), (2, 10));
        health.probe();
        assert_eq!((health.limit, health.recent(minutes(65))), (1, (2, 9)));
        assert_eq!(health.recent(minutes(120)), (0, 0));
    }

    #[test]
    fn a_few_failures_among_many_successes_do_not_open_the_breaker() {
        let mut health = Health::new(8);
        health.note(100, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], false, 8, NOW);
        assert_eq!(health.paused_until, None);
    }

    #[test]
    fn an_overloaded_endpoint_gets_half_as_many_requests_and_more_as_they_succeed() {
        let mut health = Health::new(8);
        health.note(0, &[1], true, 8, NOW);
        assert_eq!(health.limit, 4);
        health.note(0, &[1], true, 8, NOW);
        health.note(0, &[1], true, 8, NOW);
        health.note(0, &[1], true, 8, NOW);
        assert_eq!(health.limit, 1);
        health.note(5, &[], false, 8, NOW);
        assert_eq!(health.limit, 2);
        for _ in 0..5 {
            health.note(5, &[], false, 8, NOW);
        }
        assert_eq!(health.limit, 8);
    }

    #[test]
    fn an_endpoint_that_fails_for_five_days_is_given_up() {
        let mut health = Health::new(8);
        let hours = |hours| NOW + Duration::from_hours(hours);
        health.note(0, &[1], false, 8, NOW);
        health.note(0, &[2], false, 8, hours(59));
        assert_eq!(health.verdict(hours(59)), Verdict::Fine);
        assert_eq!(health.verdict(hours(60)), Verdict::Warn);
        health.failing.as_mut().expect("it fails").is_warned = true;
        assert_eq!(health.verdict(hours(60)), Verdict::Fine);
        assert_eq!(health.verdict(hours(120)), Verdict::Fine, "two messages");
        health.note(0, &[3], false, 8, hours(119));
        assert_eq!(health.verdict(hours(119)), Verdict::Fine);
        assert_eq!(health.verdict(hours(120)), Verdict::Disable);
        health.note(1, &[], false, 8, hours(120));
        assert_eq!(health.verdict(hours(120)), Verdict::Fine);
    }

    #[test]
    fn failures_within_half_a_day_do_not_disable_an_endpoint() {
        let mut health = Health::new(8);
        health.note(0, &[1, 2, 3], false, 8, NOW);
        health.note(0, &[4], false, 8, NOW + Duration::from_hours(11));
        assert_ne!(health.verdict(NOW + DISABLE_AFTER), Verdict::Disable);
    }
}
