//! Headers that an endpoint adds to its requests.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The most headers of an endpoint.
pub const MAX_HEADERS: usize = 20;
/// The most bytes of the names and values of an endpoint's headers together.
pub const MAX_HEADER_BYTES: usize = 4_096;

/// Names that are the sender's own, or that concern the connection.
const RESERVED: [&str; 19] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// What further names begin with that are the sender's own, or those of proxies.
const RESERVED_PREFIXES: [&str; 3] = ["webhook-", "x-forwarded-", "proxy-"];

/// Headers that an endpoint adds to its requests, such as `authorization`.
///
/// Their values are secret: `Debug` does not show them, and an excerpt of a response that repeats
/// one has `[redacted]` instead.
#[derive(Debug, Clone, Default)]
pub struct CustomHeaders(HeaderMap);

impl CustomHeaders {
    /// Reads headers, each a name and a value.
    pub fn parse<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, HeaderError> {
        let mut map = HeaderMap::new();
        let mut bytes = 0;
        for (name, value) in headers {
            bytes += name.len() + value.len();
            let invalid = || HeaderError::Invalid { name: name.chars().take(64).collect() };
            let parsed = HeaderName::try_from(name).map_err(|_| invalid())?;
            if is_reserved(parsed.as_str()) {
                return Err(HeaderError::Reserved { name: name.to_owned() });
            }
            let mut value = HeaderValue::from_str(value).map_err(|_| invalid())?;
            value.set_sensitive(true);
            if map.insert(parsed, value).is_some() {
                return Err(HeaderError::Repeated { name: name.to_owned() });
            }
        }
        if map.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
            return Err(HeaderError::TooMany);
        }
        Ok(Self(map))
    }

    pub(crate) fn map(&self) -> &HeaderMap {
        &self.0
    }

    /// What must not be kept of a response that repeats it.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        // `to_str` takes ASCII alone, and HTTP allows more.
        self.0.values().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Why headers cannot be those of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The name or the value is none of HTTP.
    #[error("the header {name:?} has a name or a value that HTTP does not allow")]
    Invalid {
        /// The name.
        name: String,
    },
    /// The sender sets it itself.
    #[error("the header {name} is set by the sender, or concerns the connection")]
    Reserved {
        /// The name.
        name: String,
    },
    /// The same name twice.
    #[error("the header {name} is given twice")]
    Repeated {
        /// The name.
        name: String,
    },
    /// Too many.
    #[error("at most {MAX_HEADERS} headers, with at most {MAX_HEADER_BYTES} bytes in all")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::excerpt;

    #[test]
    fn headers_of_an_endpoint_are_taken_and_not_shown() {
        let headers = CustomHeaders::parse([("Authorization", "Bearer s3cret"), ("x-tenant", "a")]);
        let headers = headers.expect("they are headers");
        assert_eq!(headers.map()["authorization"], "Bearer s3cret");
        assert!(!format!("{headers:?}").contains("s3cret"));
    }

    #[test]
    fn a_value_that_a_receiver_repeats_is_not_kept_whatever_its_characters() {
        for value in ["s3cret", "hérisson", "鍵鍵鍵"] {
            let headers = CustomHeaders::parse([("x-key", value)]).expect("it is a header");
            let body = format!("you sent {value}!");
            let kept = excerpt::redact(body.as_bytes(), headers.values());
            assert_eq!(kept, "you sent [redacted]!");
        }
    }

    #[test]
    fn what_is_the_senders_own_is_refused() {
        for name in ["Host", "content-length", "Webhook-Id", "webhook-anything", "X-Forwarded-For"]
        {
            let refused = CustomHeaders::parse([(name, "x")]).expect_err("it is reserved");
            assert_eq!(refused, HeaderError::Reserved { name: name.to_owned() });
        }
    }

    #[test]
    fn what_http_does_not_allow_is_refused() {
        for (name, value) in [("a b", "x"), ("", "x"), ("x", "a\r\nhost: b"), ("x", "\0")] {
            let refused = CustomHeaders::parse([(name, value)]).expect_err("HTTP has none such");
            assert_eq!(refused, HeaderError::Invalid { name: name.to_owned() });
        }
        let twice = CustomHeaders::parse([("a", "1"), ("A", "2")]).expect_err("it is there twice");
        assert_eq!(twice, HeaderError::Repeated { name: "A".to_owned() });
        let long = "x".repeat(MAX_HEADER_BYTES);
        let refused = CustomHeaders::parse([("a", long.as_str())]).expect_err("it is too long");
        assert_eq!(refused, HeaderError::TooMany);
    }
}
