//! How much the gateway does at once, and how long it waits for a client.
//!
//! Requests are counted by class, each class with a limit of its own: a class that has reached it
//! is answered with 503, and takes nothing from the others. Of a class, one shop has at most as many
//! requests as it leaves free: beyond that it is answered with 429, and there is room for others.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::Method;

use crate::problem::{Code, Problem};

/// Limits and timeouts. The defaults suit one machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most connections; further clients wait until one is closed.
    pub max_connections: usize,
    /// The most reads at once.
    pub max_reads: usize,
    /// The most commands at once: orders, cancellations, single products and stock documents.
    pub max_commands: usize,
    /// The most uploads of many lines at once. Each may have 2,000 lines in memory, and its report.
    pub max_uploads: usize,
    /// The most requests at once that wait for the end of an order (`Prefer: wait`).
    pub max_waits: usize,
    /// The most readers of the event feed at once, those that wait for an event included.
    pub max_feeds: usize,
    /// The most requests for totals at once. Each scans tables.
    pub max_totals: usize,
    /// How many requests a key may send; `None`: any number. See [`RateLimit`].
    pub key_rate: Option<RateLimit>,
    /// How many requests a shop takes; `None`: any number.
    pub shop_rate: Option<RateLimit>,
    /// How long the handshake of TLS may take.
    pub tls_handshake_timeout: Duration,
    /// How long the head of a request may take: of the first one from the beginning of the connection,
    /// of a later one from its first byte.
    pub header_read_timeout: Duration,
    /// How long a connection may be idle between two requests. Longer than proxies keep an idle
    /// connection, which is 60 s with many.
    pub keep_alive_timeout: Duration,
    /// How long the gateway waits for the next bytes of a body.
    pub body_read_timeout: Duration,
    /// How long a client may take to receive 64 KiB of a response.
    pub write_timeout: Duration,
    /// How long a reader of a stream of events may take to receive what was sent, before the stream ends.
    pub stream_stall_timeout: Duration,
    /// How long a request may take, from its head to the beginning of the response.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            max_reads: 1024,
            max_commands: 2048,
            max_uploads: 64,
            max_waits: 2048,
            max_feeds: 2048,
            max_totals: 4,
            key_rate: None,
            shop_rate: None,
            tls_handshake_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            body_read_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(30),
            stream_stall_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(90),
        }
    }
}

/// The highest rate and the largest burst: far more than a gateway can answer.
const MAX_RATE: u32 = 1_000_000;

/// How many requests may be sent: so many a second, and so many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a second.
    pub(crate) per_second: NonZeroU32,
    /// Requests at once.
    pub(crate) burst: NonZeroU32,
}

/// A text that is no rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it must be requests a second, such as 500, or with those at once after a pause, such as 500:2000; \
     each is {MAX_RATE} at most"
)]
pub struct NoRateLimit;

impl FromStr for RateLimit {
    type Err = NoRateLimit;

    /// Reads `500`, or `500:2000`. Without the second number, as many may be sent at once as in two seconds.
    fn from_str(text: &str) -> Result<Self, NoRateLimit> {
        let number = |text: &str| {
            let number = text.parse().ok().filter(|it: &NonZeroU32| it.get() <= MAX_RATE);
            number.ok_or(NoRateLimit)
        };
        match text.split_once(':') {
            Some((per_second, burst)) => {
                Ok(Self { per_second: number(per_second)?, burst: number(burst)? })
            }
            None => Ok(Self::of_two_seconds(number(text)?)),
        }
    }
}

impl RateLimit {
    /// What a key may send to a gateway that other machines can reach, unless a setting says otherwise.
    pub const OF_KEY: Self = Self::of_two_seconds(NonZeroU32::MIN.saturating_add(4_999));
    /// What a shop takes there.
    pub const OF_SHOP: Self = Self::of_two_seconds(NonZeroU32::MIN.saturating_add(1_999));

    /// As many at once as in two seconds.
    const fn of_two_seconds(per_second: NonZeroU32) -> Self {
        Self { per_second, burst: per_second.saturating_add(per_second.get()) }
    }

    /// The time in which an empty bucket fills, in seconds, rounded up.
    pub(crate) fn window_seconds(self) -> u32 {
        self.burst.get().div_ceil(self.per_second.get())
    }
}

/// What is limited separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestClass {
    Read,
    Command,
    Upload,
    Wait,
    Feed,
    Totals,
}

impl RequestClass {
    /// The class of a request by its head.
    pub(crate) fn of(method: &Method, path: &str, is_upload: bool, waits: bool) -> Self {
        match *method {
            Method::GET | Method::HEAD if path.ends_with("/events") => Self::Feed,
            Method::GET | Method::HEAD => Self::Read,
            _ if is_upload => Self::Upload,
            _ if waits => Self::Wait,
            _ => Self::Command,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Command => "commands",
            Self::Upload => "uploads",
            Self::Wait => "requests that wait for the end of an order",
            Self::Feed => "readers of the event feed",
            Self::Totals => "requests for totals",
        }
    }
}

/// The requests of each class that are being handled.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimits {
    reads: Arc<Requests>,
    commands: Arc<Requests>,
    uploads: Arc<Requests>,
    waits: Arc<Requests>,
    feeds: Arc<Requests>,
    totals: Arc<Requests>,
}

/// The requests of a class.
#[derive(Debug)]
pub(crate) struct Requests {
    max: usize,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    all: usize,
    /// By shop, as the path names it. Shops of which there is none are absent.
    by_shop: HashMap<Box<str>, usize>,
}

/// A request that is being handled, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    requests: Arc<Requests>,
    shop: Box<str>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut running = self.requests.running();
        running.all -= 1;
        if let Some(count) = running.by_shop.get_mut(&self.shop) {
            *count -= 1;
            if *count == 0 {
                running.by_shop.remove(&self.shop);
            }
        }
    }
}

impl Requests {
    /// At most `max` at once.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, running: Mutex::default() })
    }

    /// Counts a request of a shop until the permit is dropped; refuses it when there are as many as there
    /// may be, or the shop has its share of them. `name` is what the requests are called.
    pub(crate) fn try_acquire(self: &Arc<Self>, shop: &str, name: &str) -> Result<Permit, Problem> {
        let mut running = self.running();
        let free = self.max.saturating_sub(running.all);
        if free == 0 {
            let detail = format!("too many {name} at once: send it again in a moment");
            return Err(Problem::new(Code::Overloaded, detail));
        }
        let of_shop = running.by_shop.get(shop).copied().unwrap_or_default();
        if of_shop >= free {
            let detail = format!(
                "the shop has {of_shop} {name} at once, and {free} are left for others: send it again \
                 when some are answered"
            );
            return Err(Problem::new(Code::TooManyRequests, detail));
        }
        running.all += 1;
        running.by_shop.insert(shop.into(), of_shop + 1);
        Ok(Permit { requests: self.clone(), shop: shop.into() })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConcurrencyLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            reads: Requests::new(limits.max_reads),
            commands: Requests::new(limits.max_commands),
            uploads: Requests::new(limits.max_uploads),
            waits: Requests::new(limits.max_waits),
            feeds: Requests::new(limits.max_feeds),
            totals: Requests::new(limits.max_totals),
        }
    }

    /// Counts a request of a shop until the permit is dropped; refuses it when its class is at its
    /// limit, or the shop at its share of that.
    pub(crate) fn try_acquire(&self, class: RequestClass, shop: &str) -> Result<Permit, Problem> {
        let requests = match class {
            RequestClass::Read => &self.reads,
            RequestClass::Command => &self.commands,
            RequestClass::Upload => &self.uploads,
            RequestClass::Wait => &self.waits,
            RequestClass::Feed => &self.feeds,
            RequestClass::Totals => &self.totals,
        };
        requests.try_acquire(shop, class.name())
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, response::IntoResponse};

    use super::*;

    #[test]
    fn a_rate_limit_is_a_rate_and_what_may_come_at_once() {
        let read = |text: &str| {
            let limit: Result<RateLimit, _> = text.parse();
            limit.ok().map(|it| (it.per_second.get(), it.burst.get(), it.window_seconds()))
        };
        assert_eq!(read("500"), Some((500, 1_000, 2)));
        assert_eq!(read("500:1200"), Some((500, 1_200, 3)));
        assert_eq!(read("1000000"), Some((MAX_RATE, 2 * MAX_RATE, 2)));
        for wrong in [
            "1000001",
            "1:1000001",
            "",
            "0",
            "5:0",
            "0:5",
            "-1",
            "5:",
            ":5",
            "5/s",
            "1.5",
            "5:6:7",
            "many",
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_head_of_a_request_names_its_class() {
        let of = |method, is_upload, waits| {
            RequestClass::of(&method, "/shops/a/orders", is_upload, waits)
        };
        let events = RequestClass::of(&Method::GET, "/shops/a/events", false, false);
        assert_eq!(events, RequestClass::Feed);
        assert_eq!(of(Method::GET, false, true), RequestClass::Read);
        assert_eq!(of(Method::POST, false, false), RequestClass::Command);
        assert_eq!(of(Method::PUT, false, false), RequestClass::Command);
        assert_eq!(of(Method::POST, true, true), RequestClass::Upload);
        assert_eq!(of(Method::POST, false, true), RequestClass::Wait);
    }

    #[test]
    fn a_class_at_its_limit_leaves_the_others_theirs() {
        use RequestClass::{Command, Feed, Read, Totals, Upload, Wait};
        let classes = [Read, Command, Upload, Wait, Feed, Totals];
        for full in classes {
            let limits = Limits {
                max_reads: 1,
                max_commands: 1,
                max_uploads: 1,
                max_waits: 1,
                max_feeds: 1,
                max_totals: 1,
                ..Limits::default()
            };
            let limits = ConcurrencyLimits::new(&limits);
            let permit = limits.try_acquire(full, "a").expect("is the first");
            for class in classes {
                assert_eq!(limits.try_acquire(class, "b").is_ok(), class != full, "{class:?}");
            }
            drop(permit);
            assert!(limits.try_acquire(full, "a").is_ok(), "{full:?} is counted for ever");
        }
    }

    #[test]
    fn a_shop_leaves_as_many_requests_to_others_as_it_has() {
        let limits = Limits { max_reads: 9, ..Limits::default() };
        let limits = ConcurrencyLimits::new(&limits);
        let mut permits = Vec::new();
        let mut fill = |shop: &str| {
            let before = permits.len();
            let refused = loop {
                match limits.try_acquire(RequestClass::Read, shop) {
                    Ok(permit) => permits.push(permit),
                    Err(refused) => break refused,
                }
            };
            (permits.len() - before, refused.into_response().status())
        };
        // Of 9, 8, … 1 that are left at each: the last of all is anyone's who has none.
        assert_eq!(fill("a"), (5, StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(fill("b"), (2, StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(fill("c"), (1, StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(fill("d"), (1, StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(fill("a"), (0, StatusCode::SERVICE_UNAVAILABLE));
        drop(permits);
        let running = limits.reads.running();
        assert_eq!((running.all, running.by_shop.len()), (0, 0));
    }
}
