//! Time: UTC, to the millisecond.

use std::{fmt, ops::Add, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::id::ParseError;

/// An instant in UTC, to the millisecond. As text and JSON: RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant that is `millis` milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The present, by this machine's clock. Only the engine's `Clock` calls it: all others get the
    /// time as an argument, or a clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now() -> Self {
        Self(Utc::now().timestamp_millis())
    }

    /// Takes the wire form; an absent time is an error.
    pub fn parse(time: Option<&prost_types::Timestamp>) -> Result<Self, ParseError> {
        let time = time.ok_or_else(|| ParseError::new("time", "must be present", ""))?;
        let millis = time.seconds.checked_mul(1000);
        millis
            .and_then(|millis| millis.checked_add(i64::from(time.nanos) / 1_000_000))
            .map(Self)
            .ok_or_else(|| ParseError::new("time", "must be in range", &time.seconds.to_string()))
    }

    /// Takes the wire form, if there is one.
    pub fn parse_optional(
        time: Option<&prost_types::Timestamp>,
    ) -> Result<Option<Self>, ParseError> {
        time.map(|time| Self::parse(Some(time))).transpose()
    }
}

impl Timestamp {
    /// Takes its text, RFC 3339 with an offset, such as `2026-03-14T09:26:53Z`.
    pub fn parse_rfc3339(text: &str) -> Result<Self, ParseError> {
        let rule = "must be a time as RFC 3339 has it, such as 2026-03-14T09:26:53Z";
        let time = DateTime::parse_from_rfc3339(text);
        time.map(|time| Self(time.timestamp_millis()))
            .map_err(|_| ParseError::new("time", rule, text))
    }
}

impl From<Timestamp> for prost_types::Timestamp {
    fn from(time: Timestamp) -> Self {
        let nanos = time.0.rem_euclid(1000) * 1_000_000;
        Self { seconds: time.0.div_euclid(1000), nanos: nanos as i32 }
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?;
        Ok(Self(time.timestamp_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_of_range_is_refused() {
        let time = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        assert!(Timestamp::parse(Some(&time)).is_err());
    }

    #[test]
    fn the_wire_form_and_the_text_keep_the_millisecond() {
        for millis in [0, -1, 1_795_179_849_123] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(Timestamp::parse(Some(&time.into())), Ok(time));
            let text = serde_json::to_string(&time).expect("serialises");
            assert_eq!(serde_json::from_str::<Timestamp>(&text).expect("parses"), time);
        }
        assert_eq!(Timestamp::from_millis(1_500).to_string(), "1970-01-01T00:00:01.500Z");
    }
}
