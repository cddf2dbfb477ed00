//! Requests of scripts on other sites' pages: browsers let them through when the gateway names their origin (the CORS
//! protocol of the Fetch standard).

use std::{str::FromStr, time::Duration};

use axum::http::{HeaderName, HeaderValue, Method, Uri, header, uri::Scheme};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// For how long a browser may remember what is allowed: an hour. Chromium remembers for two at most.
const MAX_AGE: Duration = Duration::from_hours(1);
/// What a script may do.
const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::PATCH, Method::DELETE];
/// The headers that a script may send.
const SENT: [HeaderName; 10] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("prefer"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tradewind-after"),
];
/// The headers of an answer that a script may read.
const READ: [HeaderName; 8] = [
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("idempotency-replayed"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tradewind-position"),
    HeaderName::from_static("x-request-id"),
];

/// The origins whose pages may use the API from a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// All of them: whoever has a key may use it from any page.
    Any,
    /// These.
    Only(Vec<HeaderValue>),
}

/// A setting that does not name origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an origin: write a scheme, a host and perhaps a port, such as https://shop.example, or * for all"
)]
pub struct OriginError(String);

impl FromStr for CorsOrigins {
    type Err = OriginError;

    /// Reads `*`, or origins with commas between them.
    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        text.split(',').map(|it| origin(it.trim())).collect::<Result<_, _>>().map(Self::Only)
    }
}

/// An origin as browsers write it: in lower case, without a path.
fn origin(text: &str) -> Result<HeaderValue, OriginError> {
    let error = || OriginError(text.to_owned());
    let uri: Uri = text.parse().map_err(|_| error())?;
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return Err(error());
    };
    let is_web = [&Scheme::HTTP, &Scheme::HTTPS].contains(&scheme);
    let written = format!("{scheme}://{authority}").to_lowercase();
    if !is_web || written != text || text.contains('@') {
        return Err(error());
    }
    HeaderValue::from_str(text).map_err(|_| error())
}

/// Answers what browsers ask before they send a script's request, and says whose scripts may read the answers.
pub(crate) fn layer(origins: &CorsOrigins) -> CorsLayer {
    let allowed = match origins {
        CorsOrigins::Any => AllowOrigin::any(),
        CorsOrigins::Only(origins) => AllowOrigin::list(origins.clone()),
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods(METHODS)
        .allow_headers(SENT)
        .expose_headers(READ)
        .max_age(MAX_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        assert_eq!("*".parse(), Ok(CorsOrigins::Any));
        let only = |origins: &[&'static str]| {
            Ok(CorsOrigins::Only(origins.iter().map(|it| HeaderValue::from_static(it)).collect()))
        };
        assert_eq!("https://shop.example".parse(), only(&["https://shop.example"]));
        let two = "http://localhost:5173, https://shop.example";
        assert_eq!(two.parse(), only(&["http://localhost:5173", "https://shop.example"]));
    }

    #[test]
    fn what_no_browser_sends_as_an_origin_is_refused() {
        for wrong in [
            "",
            "shop.example",
            "https://shop.example/",
            "https://shop.example/path",
            "https://Shop.example",
            "https://ann@shop.example",
            "ftp://shop.example",
            "https://shop.example,",
            "https://shop.example,*",
            "null",
        ] {
            let read: Result<CorsOrigins, _> = wrong.parse();
            assert!(read.is_err(), "{wrong}");
        }
    }
}
