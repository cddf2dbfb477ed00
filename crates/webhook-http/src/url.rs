//! What a webhook may be sent to, as far as the URL alone says.

use std::fmt;

use http::Uri;
use url::{Host, Url};

use crate::Policy;

/// The longest URL, in bytes: as it was given, and normalised, in which form it is stored and sent.
pub const MAX_URL_BYTES: usize = 2_048;

/// Names that no name server of the internet resolves: of the machine, of a private network, or
/// reserved.
const PRIVATE_SUFFIXES: [&str; 8] =
    ["localhost", "local", "internal", "intranet", "home.arpa", "invalid", "onion", "test"];

/// A URL that webhooks may be sent to.
///
/// Its path and its query may hold a secret, so `Debug` shows its origin alone.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    url: Url,
    uri: Uri,
    /// `https://example.com:443`
    origin: String,
}

/// Reads a URL, and refuses at once what can never be allowed: see [`UrlError`].
///
/// A host that is a name may still resolve to what is not allowed, which each attempt finds out.
pub fn parse_url(text: &str, policy: &Policy) -> Result<WebhookUrl, UrlError> {
    if text.len() > MAX_URL_BYTES {
        return Err(UrlError::Length);
    }
    let url = Url::parse(text).map_err(UrlError::Syntax)?;
    if url.as_str().len() > MAX_URL_BYTES {
        return Err(UrlError::Length);
    }
    let origin = check(&url, policy)?;
    // The parser of `http` is stricter; what it refuses could not be sent.
    let uri = url.as_str().parse().map_err(|_| UrlError::Host)?;
    Ok(WebhookUrl { url, uri, origin })
}

impl WebhookUrl {
    /// The URL, normalised.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Scheme, host and port: what connections and limits are for.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether the policy still allows it.
    pub(crate) fn is_allowed(&self, policy: &Policy) -> bool {
        check(&self.url, policy).is_ok()
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn host(&self) -> Host<&str> {
        self.url.host().expect("a URL that was checked has a host")
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebhookUrl").field(&self.origin).finish()
    }
}

/// Judges a URL without the network; returns its origin.
fn check(url: &Url, policy: &Policy) -> Result<String, UrlError> {
    match url.scheme() {
        "https" => {}
        "http" if policy.allow_http => {}
        _ => return Err(UrlError::Scheme { http: policy.allow_http }),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    let port = url.port_or_known_default().ok_or(UrlError::Host)?;
    // The parser has read every notation of an IPv4 address: decimal, octal, hexadecimal, percent-encoded.
    let allowed = match url.host().ok_or(UrlError::Host)? {
        Host::Ipv4(address) => policy.allows_address(address.into()),
        Host::Ipv6(address) => policy.allows_address(address.into()),
        Host::Domain(name) if name.ends_with('.') => return Err(UrlError::Host),
        Host::Domain(name) => !is_private_name(name) || !policy.allowed_networks.is_empty(),
    };
    if !allowed {
        return Err(UrlError::Private);
    }
    if !policy.allowed_ports.contains(port) {
        return Err(UrlError::Port { port });
    }
    let host = url.host_str().ok_or(UrlError::Host)?;
    Ok(format!("{}://{host}:{port}", url.scheme()))
}

/// Whether a name is one of a private network for certain. The parser has made it lower case.
fn is_private_name(name: &str) -> bool {
    let is_below = |suffix: &&str| {
        name.strip_suffix(*suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    !name.contains('.') || PRIVATE_SUFFIXES.iter().any(is_below)
}

/// Why a URL cannot be that of a webhook endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is too long.
    #[error(
        "the URL is longer than {MAX_URL_BYTES} bytes; what is not ASCII counts as it is sent, percent-encoded"
    )]
    Length,
    /// It is no URL.
    #[error("it is no URL")]
    Syntax(#[source] url::ParseError),
    /// Another scheme.
    #[error("the URL must begin with https://{}", if *.http { " or http://" } else { "" })]
    Scheme {
        /// Whether `http` is allowed.
        http: bool,
    },
    /// A user or a password.
    #[error("the URL must not hold a user name or a password; use a custom header")]
    UserInfo,
    /// A fragment, which is never sent.
    #[error("the URL must not have a fragment (#…)")]
    Fragment,
    /// The host is none that can be connected to.
    #[error("the URL has no usable host name")]
    Host,
    /// The host is not in the internet.
    #[error("the host is not in the public internet")]
    Private,
    /// The port is not allowed.
    #[error("the port {port} is not allowed")]
    Port {
        /// The port.
        port: u16,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Policy {
        let allowed_ports = "1-65535".parse().expect("ports");
        Policy { allow_http: true, allowed_ports, ..Policy::default() }
    }

    #[track_caller]
    fn refused(text: &str, policy: &Policy) -> UrlError {
        parse_url(text, policy).map(|url| url.as_str().to_owned()).expect_err(text)
    }

    #[test]
    fn a_public_url_over_https_is_allowed() {
        let policy = Policy::default();
        for (text, origin) in [
            ("https://example.com", "https://example.com:443"),
            ("https://EXAMPLE.com:8443/a?b=c", "https://example.com:8443"),
            ("https://1.1.1.1/", "https://1.1.1.1:443"),
            ("https://[2606:4700::1111]/", "https://[2606:4700::1111]:443"),
            ("https://bücher.example/", "https://xn--bcher-kva.example:443"),
        ] {
            let url = parse_url(text, &policy).expect(text);
            assert_eq!(url.origin(), origin);
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        let policy = Policy::default();
        for text in ["http://example.com", "ftp://example.com", "file:///etc/passwd"] {
            assert_eq!(refused(text, &policy), UrlError::Scheme { http: false });
        }
        assert!(parse_url("http://example.com", &open()).is_ok());
        assert_eq!(refused("gopher://example.com", &open()), UrlError::Scheme { http: true });
    }

    #[test]
    fn user_and_password_and_fragment_are_refused() {
        let policy = Policy::default();
        for text in ["https://user@example.com", "https://:pw@example.com", "https://a:b@1.1.1.1"] {
            assert_eq!(refused(text, &policy), UrlError::UserInfo);
        }
        // A host before `@` is a user.
        assert_eq!(refused("https://example.com@127.0.0.1/", &policy), UrlError::UserInfo);
        assert_eq!(refused("https://example.com/#a", &policy), UrlError::Fragment);
    }

    #[test]
    fn other_ports_are_refused() {
        let policy = Policy::default();
        for port in [22, 80, 6379, 8080] {
            let text = format!("https://example.com:{port}/");
            assert_eq!(refused(&text, &policy), UrlError::Port { port });
        }
    }

    #[test]
    fn a_private_address_is_refused_in_every_notation() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "0xa000001",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0xA9FEA9FE",
            "0251.0376.0251.0376",
            "2852039166",
            "%31%32%37%2e0%2e0%2e1",
            "１２７.０.０.１",
            "①②⑦.0.0.1",
            "100.64.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[0:0:0:0:0:ffff:a9fe:a9fe]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::1]",
            "[fe80::1]",
            "[fd00::1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[ff02::1]",
        ] {
            assert_eq!(refused(&format!("http://{host}/"), &open()), UrlError::Private, "{host}");
        }
    }

    #[test]
    fn a_name_of_a_private_network_is_refused() {
        for host in [
            "localhost",
            "LOCALHOST",
            "a.localhost",
            "receiver",
            "printer.local",
            "nats.internal",
            "metadata.google.internal",
            "router.home.arpa",
            "x.onion",
        ] {
            assert_eq!(refused(&format!("http://{host}/"), &open()), UrlError::Private, "{host}");
        }
        // Where the operator allows a private network, its names are allowed, too.
        let allowed_networks = vec!["172.16.0.0/12".parse().expect("a network")];
        let policy = Policy { allowed_networks, ..open() };
        assert!(parse_url("http://receiver/", &policy).is_ok());
        assert!(parse_url("http://172.16.0.9/", &policy).is_ok());
        assert_eq!(refused("http://10.0.0.1/", &policy), UrlError::Private);
    }

    #[test]
    fn a_name_that_ends_like_a_private_one_is_public() {
        for host in ["notlocalhost.com", "thelocal.de", "international", "x.latest"] {
            let parsed = parse_url(&format!("https://{host}/"), &Policy::default());
            assert_eq!(parsed.is_ok(), host.contains('.'), "{host}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        let policy = Policy::default();
        for text in ["", "example.com", "https://", "https://a b/", "https://1.2.3.4.5/"] {
            assert!(matches!(refused(text, &policy), UrlError::Syntax(_)), "{text}");
        }
        assert_eq!(refused("https://example.com./", &policy), UrlError::Host);
        let long = format!("https://example.com/{}", "a".repeat(MAX_URL_BYTES));
        assert_eq!(refused(&long, &policy), UrlError::Length);
    }

    #[test]
    fn a_url_is_as_long_as_it_is_sent() {
        let url = |count: usize| format!("https://a.example/{}", "é".repeat(count));
        // Each takes six bytes as it is sent, and two as it is given.
        let most = (MAX_URL_BYTES - url(0).len()) / 6;
        let parsed = parse_url(&url(most), &Policy::default()).expect("it is short enough");
        assert!(parsed.as_str().len() > url(most).len());
        // What was stored is read again at each attempt.
        assert_eq!(parse_url(parsed.as_str(), &Policy::default()), Ok(parsed));
        assert_eq!(refused(&url(most + 1), &Policy::default()), UrlError::Length);
    }

    #[test]
    fn what_may_be_secret_in_a_url_is_not_shown() {
        let url = parse_url("https://example.com/t0ken?key=s3cret", &Policy::default());
        assert_eq!(format!("{url:?}"), r#"Ok(WebhookUrl("https://example.com:443"))"#);
    }
}
