//! How many are sent in a second.

use tokio::time::Instant;

/// A token bucket: it fills by so many tokens in a second, and holds at most what comes in one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket(Option<(f64, Instant)>);

impl Bucket {
    /// Whether one more may be sent now.
    pub(super) fn has_token(&mut self, max_per_second: u32, now: Instant) -> bool {
        let rate = f64::from(max_per_second);
        // Of an endpoint that is idle, one is sent at once.
        let (tokens, at) = self.0.unwrap_or((1.0, now));
        let tokens = (tokens + now.saturating_duration_since(at).as_secs_f64() * rate).min(rate);
        self.0 = Some((tokens, now));
        tokens >= 1.0
    }

    /// Notes that one is sent; [`Bucket::has_token`] has said that it may be.
    pub(super) fn take(&mut self) {
        if let Some((tokens, _)) = &mut self.0 {
            *tokens -= 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many are sent when somebody looks at these times, in milliseconds.
    fn sent(bucket: &mut Bucket, max_per_second: u32, start: Instant, at_ms: &[u64]) -> u32 {
        let mut sent = 0;
        for ms in at_ms {
            while bucket.has_token(max_per_second, start + Duration::from_millis(*ms)) {
                bucket.take();
                sent += 1;
            }
        }
        sent
    }

    #[test]
    fn so_many_are_sent_in_a_second_and_no_more() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        assert_eq!(sent(&mut bucket, 10, start, &[0]), 1, "the first goes at once");
        let each_20_ms: Vec<u64> = (1..=100).map(|step| step * 20).collect();
        let of_two_seconds = sent(&mut bucket, 10, start, &each_20_ms);
        assert!((19..=20).contains(&of_two_seconds), "{of_two_seconds}");
    }

    #[test]
    fn what_was_not_sent_for_long_is_not_sent_at_once() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        sent(&mut bucket, 10, start, &[0]);
        assert_eq!(sent(&mut bucket, 10, start, &[3_600_000]), 10);
        assert_eq!(sent(&mut bucket, 1, start, &[7_200_000]), 1);
    }

    #[test]
    fn what_is_only_looked_at_uses_no_token() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        assert!((0..5).all(|_| bucket.has_token(1, now)));
        bucket.take();
        assert!(!bucket.has_token(1, now));
    }
}
