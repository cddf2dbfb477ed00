//! What came of an attempt, and how an answer is classified.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

/// The longest delay that a receiver can ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);
/// The least delay before the next attempt at an endpoint that is [throttled](Outcome::Throttled).
pub const THROTTLE_DELAY: Duration = Duration::from_mins(1);

/// The header by which a receiver gives an [`Instruction`].
const INSTRUCTION: &str = "webhook-delivery";

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Whether it was delivered.
    pub outcome: Outcome,
    /// The status, if there was an answer.
    pub status: Option<u16>,
    /// The time until the status was known, or the attempt had failed. Zero when the host was not
    /// [resolved](Failure::Unresolved).
    pub latency: Duration,
    /// The beginning of the answer's body, at most
    /// [`MAX_EXCERPT_BYTES`](crate::MAX_EXCERPT_BYTES), without what was secret in the request.
    pub response_excerpt: String,
    /// How long the receiver wants no further attempt, at most [`MAX_RETRY_AFTER`]; of a 429 or 503.
    pub retry_after: Option<Duration>,
    /// What the receiver wants to be done with further deliveries.
    pub instruction: Option<Instruction>,
}

/// Whether a delivery has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The receiver answered 2xx.
    Delivered,
    /// It failed; it may be tried again.
    Failed(Failure),
    /// It failed because the receiver has too much to do, or does not answer in time: no further
    /// attempt within [`THROTTLE_DELAY`], and from then on half as many at a time.
    Throttled(Failure),
    /// The receiver answered 410: there is no such endpoint any more.
    Gone,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The host has no address that may be sent to: its name does not exist, or was not resolved in
    /// time, or has an address that is not global. These are one and the same on purpose: a tenant
    /// must not learn from an attempt what names there are in a private network.
    Unresolved,
    /// No connection could be made.
    Connect,
    /// No connection was made in time.
    ConnectTimeout,
    /// TLS failed: usually the certificate.
    Tls,
    /// The connection was closed before there was an answer.
    Closed,
    /// The answer is not HTTP.
    Protocol,
    /// There was no answer in time.
    Timeout,
    /// The answer is a redirect, which is never followed.
    Redirect,
    /// The answer's status says that it failed.
    Status,
    /// What was given cannot be sent: the policy does not allow the URL any more, or the id has a
    /// character that no id may have. Nothing was sent.
    Refused,
}

impl Failure {
    /// The name by which an attempt's record shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::Refused => "refused",
        }
    }

    /// What it means for an endpoint.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::ConnectTimeout | Self::Timeout => Outcome::Throttled(self),
            Self::Unresolved
            | Self::Connect
            | Self::Tls
            | Self::Closed
            | Self::Protocol
            | Self::Redirect
            | Self::Status
            | Self::Refused => Outcome::Failed(self),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a receiver wants to be done with further deliveries (`webhook-delivery: …` in its answer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instruction {
    /// `abort-message`: this message is not sent again.
    AbortMessage,
    /// `disable`: nothing is sent to the endpoint any more.
    Disable,
}

impl Instruction {
    /// The name by which a receiver gives it, and an attempt's record shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AbortMessage => "abort-message",
            Self::Disable => "disable",
        }
    }
}

/// What follows from the head of an answer.
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) instruction: Option<Instruction>,
}

/// Classifies an answer by its head; `timestamp` is the attempt's, in unix seconds.
pub(crate) fn classify(status: StatusCode, headers: &HeaderMap, timestamp: i64) -> Verdict {
    let outcome = match status.as_u16() {
        200..=299 => Outcome::Delivered,
        300..=399 => Outcome::Failed(Failure::Redirect),
        410 => Outcome::Gone,
        429 | 502 | 504 => Outcome::Throttled(Failure::Status),
        _ => Outcome::Failed(Failure::Status),
    };
    let retry_after = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, timestamp))
        }
        _ => None,
    };
    let instruction = headers.get(INSTRUCTION).and_then(|value| instruction(value.to_str().ok()?));
    Verdict { outcome, retry_after, instruction }
}

/// Reads a `Retry-After`: seconds, or a date of HTTP. A date that has passed is no delay.
fn retry_after(value: &str, timestamp: i64) -> Option<Duration> {
    let value = value.trim();
    let delay = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has ask for longer than the cap.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        let date = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        date.saturating_sub(Duration::from_secs(u64::try_from(timestamp).unwrap_or(0)))
    };
    Some(delay.min(MAX_RETRY_AFTER))
}

fn instruction(value: &str) -> Option<Instruction> {
    match value.trim().to_ascii_lowercase().as_str() {
        "abort-message" => Some(Instruction::AbortMessage),
        "disable" => Some(Instruction::Disable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 12:00:00 UTC.
    const NOW: i64 = 1_795_262_400;

    fn verdict(status: u16, headers: &[(&'static str, &str)]) -> Verdict {
        let pairs = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), value.parse().expect("a value"))
        });
        let status = StatusCode::from_u16(status).expect("a status");
        classify(status, &pairs.collect(), NOW)
    }

    #[track_caller]
    fn check(statuses: &[u16], expected: Outcome) {
        for status in statuses {
            assert_eq!(verdict(*status, &[]).outcome, expected, "{status}");
        }
    }

    #[test]
    fn the_status_says_what_came_of_it() {
        check(&[200, 201, 202, 204, 299], Outcome::Delivered);
        check(&[300, 301, 302, 304, 307, 308], Outcome::Failed(Failure::Redirect));
        check(&[410], Outcome::Gone);
        check(&[429, 502, 504], Outcome::Throttled(Failure::Status));
        check(
            &[101, 400, 401, 404, 409, 422, 500, 501, 503, 599, 999],
            Outcome::Failed(Failure::Status),
        );
    }

    #[test]
    fn a_timeout_throttles_and_another_failure_does_not() {
        assert_eq!(Failure::Timeout.outcome(), Outcome::Throttled(Failure::Timeout));
        assert_eq!(Failure::ConnectTimeout.outcome(), Outcome::Throttled(Failure::ConnectTimeout));
        for failure in [Failure::Unresolved, Failure::Connect, Failure::Tls, Failure::Closed] {
            assert_eq!(failure.outcome(), Outcome::Failed(failure));
        }
    }

    #[test]
    fn a_delay_is_in_seconds_or_until_a_date() {
        let delay = |value| verdict(429, &[("retry-after", value)]).retry_after;
        assert_eq!(delay("120"), Some(Duration::from_mins(2)));
        assert_eq!(delay(" 0 "), Some(Duration::ZERO));
        assert_eq!(delay("Sat, 21 Nov 2026 12:10:00 GMT"), Some(Duration::from_mins(10)));
        assert_eq!(delay("Sat, 21 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO));
        for value in ["", "soon", "-5", "1.5", "2026-11-21T12:10:00Z"] {
            assert_eq!(delay(value), None, "{value}");
        }
    }

    #[test]
    fn a_delay_is_at_most_a_day() {
        let delay = |value| verdict(503, &[("retry-after", value)]).retry_after;
        for value in ["86401", "99999999999999999999999", "Sat, 21 Nov 2099 12:10:00 GMT"] {
            assert_eq!(delay(value), Some(MAX_RETRY_AFTER), "{value}");
        }
    }

    #[test]
    fn only_429_and_503_ask_for_a_delay() {
        let delays = [200, 301, 404, 410, 500, 502, 504]
            .map(|status| verdict(status, &[("retry-after", "120")]).retry_after);
        assert_eq!(delays, [None; 7]);
    }

    #[test]
    fn an_instruction_is_read_from_any_answer() {
        let of = |status, value| verdict(status, &[("webhook-delivery", value)]).instruction;
        assert_eq!(of(200, "disable"), Some(Instruction::Disable));
        assert_eq!(of(404, " Abort-Message"), Some(Instruction::AbortMessage));
        assert_eq!(of(500, "stop"), None);
    }
}
