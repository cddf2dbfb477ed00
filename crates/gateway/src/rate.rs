//! How many requests a second a key may send, and how many may be sent to a shop: token buckets.
//!
//! Each key and each shop has a bucket of its own, so a flood of one takes nothing from another. A request
//! takes a token of both; that of the smaller limit first, so that what is refused there takes nothing of the
//! larger one: a key that may send less than its shop takes gets no other key of the shop into trouble, and a
//! shop that takes less than a key may send gets no other shop of the key into trouble.
//!
//! The buckets are in the memory of this gateway: behind several of them, a client may send as much through
//! each.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::{StateInformationMiddleware, StateSnapshot},
    state::keyed::HashMapStateStore,
};

use crate::{
    limits::{Limits, RateLimit},
    problem::{Code, Problem},
};

/// The most buckets of keys, and the most of shops. A full bucket is forgotten, so there are as many as sent
/// something in the last moments; beyond that, all share one.
const MAX_BUCKETS: usize = 65_536;
/// The name that they share; no key and no shop has it.
const OTHERS: &str = "";

static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The limits of a gateway and their buckets.
pub(crate) struct RateLimits<C: Clock = MonotonicClock> {
    /// The smaller limit first.
    limits: Vec<Buckets<C>>,
    /// `RateLimit-Policy`; `None` without a limit.
    policy: Option<HeaderValue>,
}

impl<C: Clock> fmt::Debug for RateLimits<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimits").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// What of a request is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// Its key.
    Key,
    /// Its shop.
    Shop,
}

impl Limited {
    /// The name of the limit, in headers and labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Shop => "shop",
        }
    }
}

/// The buckets of one limit.
struct Buckets<C: Clock> {
    of: Limited,
    limit: RateLimit,
    limiter: RateLimiter<Box<str>, HashMapStateStore<Box<str>>, C, Middleware>,
    clock: C,
    /// Checks since the full buckets were last forgotten.
    unswept: AtomicUsize,
}

type Middleware = StateInformationMiddleware;

/// What a request may do.
#[derive(Debug)]
pub(crate) struct RateStatus {
    /// What is left, by limit.
    left: Vec<BucketRemainder>,
    pub(crate) refused: Option<Refused>,
}

/// What is left of a bucket.
#[derive(Debug, PartialEq, Eq)]
struct BucketRemainder {
    of: Limited,
    requests: u32,
    /// Until there is more, or all, in seconds.
    seconds: u32,
}

/// A request that is one too many.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) limit: Limited,
    per_second: u32,
    /// How long to wait, in seconds, rounded up.
    wait_seconds: u32,
}

impl Refused {
    pub(crate) fn problem(&self) -> Problem {
        let Self { limit, per_second, wait_seconds } = self;
        let whose = match limit {
            Limited::Key => "the API key may send",
            Limited::Shop => "the shop takes",
        };
        let detail = format!(
            "{whose} {per_second} requests a second here: send it again in {wait_seconds} s, and \
             the next ones more slowly"
        );
        Problem::new(Code::TooManyRequests, detail)
            .with("violated-policies", vec![limit.as_str()])
            .retry_after(*wait_seconds)
    }
}

impl RateLimits {
    /// The limits of a gateway.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self::with_clock(limits.key_rate, limits.shop_rate, &MonotonicClock)
    }
}

impl<C: Clock + Clone> RateLimits<C> {
    fn with_clock(key: Option<RateLimit>, shop: Option<RateLimit>, clock: &C) -> Self {
        let limits = [(Limited::Key, key), (Limited::Shop, shop)];
        let limits = limits.into_iter().filter_map(|(of, limit)| Some((of, limit?)));
        let mut limits: Vec<_> =
            limits.map(|(of, limit)| Buckets::new(of, limit, clock.clone())).collect();
        let policies = limits.iter().map(|it| {
            let (burst, seconds) = (it.limit.burst, it.limit.window_seconds());
            format!("\"{}\";q={burst};w={seconds}", it.of.as_str())
        });
        let policies: Vec<_> = policies.collect();
        limits.sort_by_key(|it| it.limit.per_second);
        let policy = (!policies.is_empty()).then(|| policies.join(", "));
        Self { limits, policy: policy.and_then(|text| HeaderValue::try_from(text).ok()) }
    }
}

impl<C: Clock> RateLimits<C> {
    /// Takes a token of the key, and of the shop if the request is about one.
    pub(crate) fn check(&self, key: &str, shop: &str) -> RateStatus {
        let mut left = Vec::with_capacity(self.limits.len());
        for buckets in &self.limits {
            let name = match buckets.of {
                Limited::Key => key,
                Limited::Shop if shop.is_empty() => continue,
                Limited::Shop => shop,
            };
            match buckets.take(name) {
                Ok(it) => left.push(it),
                Err(refused) => {
                    let Refused { limit: of, wait_seconds: seconds, .. } = refused;
                    left.push(BucketRemainder { of, requests: 0, seconds });
                    return RateStatus { left, refused: Some(refused) };
                }
            }
        }
        RateStatus { left, refused: None }
    }

    /// Adds the header fields of draft-ietf-httpapi-ratelimit-headers.
    pub(crate) fn show(&self, standing: &RateStatus, headers: &mut HeaderMap) {
        let Some(policy) = &self.policy else { return };
        headers.insert(RATE_LIMIT_POLICY.clone(), policy.clone());
        let left = standing.left.iter().map(|BucketRemainder { of, requests, seconds }| {
            format!("\"{}\";r={requests};t={seconds}", of.as_str())
        });
        let left = HeaderValue::try_from(left.collect::<Vec<_>>().join(", "));
        headers.extend(left.ok().map(|left| (RATE_LIMIT.clone(), left)));
    }
}

impl<C: Clock> Buckets<C> {
    fn new(of: Limited, limit: RateLimit, clock: C) -> Self
    where
        C: Clone,
    {
        let quota = Quota::per_second(limit.per_second).allow_burst(limit.burst);
        let limiter = RateLimiter::hashmap_with_clock(quota, clock.clone());
        let limiter = limiter.with_middleware::<Middleware>();
        Self { of, limit, limiter, clock, unswept: AtomicUsize::new(0) }
    }

    /// Takes a token from the bucket of that name.
    fn take(&self, name: &str) -> Result<BucketRemainder, Refused> {
        let name = if self.has_room() { name } else { OTHERS };
        match self.limiter.check_key(&name.into()) {
            Ok(snapshot) => Ok(self.left(&snapshot)),
            Err(not_until) => Err(self.refused(&not_until)),
        }
    }

    fn left(&self, snapshot: &StateSnapshot) -> BucketRemainder {
        let requests = snapshot.remaining_burst_capacity();
        let missing = self.limit.burst.get().saturating_sub(requests);
        let seconds = missing.div_ceil(self.limit.per_second.get());
        BucketRemainder { of: self.of, requests, seconds }
    }

    fn refused(&self, not_until: &NotUntil<C::Instant>) -> Refused {
        let wait = not_until.wait_time_from(self.clock.now());
        let per_second = self.limit.per_second.get();
        Refused { limit: self.of, per_second, wait_seconds: seconds_up(wait) }
    }

    /// Whether there may be another bucket. Full ones are forgotten now and then, not with each request: that
    /// looks at all of them.
    fn has_room(&self) -> bool {
        if self.unswept.fetch_add(1, Ordering::Relaxed) >= MAX_BUCKETS / 2 {
            self.unswept.store(0, Ordering::Relaxed);
            self.limiter.retain_recent();
        }
        self.limiter.len() < MAX_BUCKETS
    }
}

/// At least 1: a client that waits for 0 s sends the request again at once.
fn seconds_up(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limit(text: &str) -> RateLimit {
        text.parse().expect("is a limit")
    }

    /// The limits, and the clock that a test turns.
    fn limits(key: &str, shop: &str) -> (RateLimits<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (RateLimits::with_clock(Some(limit(key)), Some(limit(shop)), &clock), clock)
    }

    /// How many of so many requests pass.
    fn passing(limits: &RateLimits<FakeRelativeClock>, key: &str, shop: &str, sent: u32) -> usize {
        (0..sent).filter(|_| limits.check(key, shop).refused.is_none()).count()
    }

    #[test]
    fn a_bucket_fills_at_its_rate_and_no_further_than_its_burst() {
        let (limits, clock) = limits("10:30", "1000");
        assert_eq!(passing(&limits, "till", "acme", 100), 30);
        clock.advance(Duration::from_millis(500));
        assert_eq!(passing(&limits, "till", "acme", 100), 5);
        clock.advance(Duration::from_hours(1));
        assert_eq!(passing(&limits, "till", "acme", 100), 30);
    }

    #[test]
    fn a_flood_of_one_shop_takes_nothing_from_another() {
        let (limits, _) = limits("1000:1000", "10:10");
        assert_eq!(passing(&limits, "connector", "acme", 5_000), 10);
        // Also with the key that floods: what the shop refuses takes nothing of the key.
        assert_eq!(passing(&limits, "connector", "beta", 100), 10);
        assert_eq!(passing(&limits, "other", "acme", 100), 0);
        assert_eq!(passing(&limits, "other", "gamma", 100), 10);
    }

    #[test]
    fn a_flood_of_one_key_takes_nothing_from_another_of_its_shop() {
        let (limits, _) = limits("10:10", "15:15");
        assert_eq!(passing(&limits, "broken", "acme", 5_000), 10);
        assert_eq!(passing(&limits, "till", "acme", 100), 5);
    }

    #[test]
    fn what_is_about_no_shop_is_limited_by_its_key_alone() {
        let (limits, _) = limits("100:100", "1:1");
        assert_eq!(passing(&limits, "till", "", 50), 50);
    }

    #[test]
    fn a_response_says_what_is_left_and_how_long_to_wait() {
        let (limits, clock) = limits("10:20", "2:4");
        let shown = |standing: &RateStatus| {
            let mut headers = HeaderMap::new();
            limits.show(standing, &mut headers);
            assert_eq!(headers["ratelimit-policy"], "\"key\";q=20;w=2, \"shop\";q=4;w=2");
            headers["ratelimit"].to_str().expect("is text").to_owned()
        };
        assert_eq!(shown(&limits.check("k", "a")), "\"shop\";r=3;t=1, \"key\";r=19;t=1");
        assert_eq!(passing(&limits, "k", "a", 3), 3);
        let refused = limits.check("k", "a");
        assert_eq!(shown(&refused), "\"shop\";r=0;t=1");
        let expected = Refused { limit: Limited::Shop, per_second: 2, wait_seconds: 1 };
        assert_eq!(refused.refused, Some(expected));
        clock.advance(Duration::from_secs(1));
        assert_eq!(shown(&limits.check("k", "a")), "\"shop\";r=1;t=2, \"key\";r=19;t=1");
    }

    #[test]
    fn without_limits_nothing_is_refused_or_shown() {
        let limits = RateLimits::with_clock(None, None, &FakeRelativeClock::default());
        let standing = limits.check("k", "a");
        let mut headers = HeaderMap::new();
        limits.show(&standing, &mut headers);
        assert!(standing.refused.is_none() && headers.is_empty());
    }

    #[test]
    fn buckets_that_are_full_again_take_no_memory() {
        let (limits, clock) = limits("10:10", "10:10");
        let buckets = &limits.limits[0].limiter;
        for number in 0..5 * MAX_BUCKETS {
            limits.check("k", &format!("shop-{number}"));
            clock.advance(Duration::from_millis(1));
        }
        assert!(buckets.len() <= MAX_BUCKETS, "{} buckets", buckets.len());
        assert!(limits.limits.iter().all(|it| it.limiter.len() < MAX_BUCKETS));
    }

    #[test]
    fn more_buckets_than_there_may_be_share_one() {
        let (limits, _) = limits("1000000:1000000", "1:2");
        for number in 0..MAX_BUCKETS + 10 {
            limits.check("k", &format!("shop-{number}"));
        }
        assert!(limits.limits.iter().all(|it| it.limiter.len() <= MAX_BUCKETS + 1));
        assert_eq!(passing(&limits, "k", "shop-of-its-own", 10), 0);
    }
}
