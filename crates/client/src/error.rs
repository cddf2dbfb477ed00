//! What can fail when the gateway is called.

use std::fmt;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Why a call did not come to its answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be one of a gateway.
    #[error("the gateway's address {url:?} must be http://host:port or https://host:port")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it, where it is no address at all.
        source: Option<url::ParseError>,
    },
    /// The HTTP client could not be made.
    #[error("make an HTTP client")]
    Setup(#[source] reqwest::Error),
    /// What was given as authorities has no certificate.
    #[error("the authorities must be certificates as PEM (-----BEGIN CERTIFICATE-----)")]
    Authorities,
    /// Nobody signs certificates that this machine trusts.
    #[error(
        "this machine trusts no authority that signs certificates: name the certificate (PEM) of the gateway's \
         authority, with --ca-file or `Client::trusting`"
    )]
    NoAuthorities,
    /// The gateway's certificate is of another authority than those that are trusted.
    #[error(
        "the gateway's certificate is signed by an authority that is not trusted: name the certificate (PEM) of that \
         authority, with --ca-file or `Client::trusting`"
    )]
    UnknownAuthority,
    /// The gateway's certificate is not for the host of its address.
    #[error(
        "the gateway's certificate is for other names than that of its address: use an address with one of {names}, or \
         a certificate that has the name"
    )]
    OtherName {
        /// The names that it is for.
        names: String,
    },
    /// What answers at the address speaks no TLS.
    #[error(
        "what answers at the gateway's address speaks no TLS: use http:// for a gateway without a certificate"
    )]
    NoTls,
    /// TLS failed in another way, such as a certificate that has expired.
    #[error("speak TLS with the gateway")]
    Tls(#[source] rustls::Error),
    /// The gateway was not reached, or gave no answer in time.
    #[error("no answer from the gateway")]
    Unanswered(#[source] reqwest::Error),
    /// The answer is not what the API promises.
    #[error("read the gateway's answer, of status {status}")]
    Unreadable {
        /// Its status.
        status: StatusCode,
        /// Where it departs.
        source: serde_json::Error,
    },
    /// The body of a request is a stream, which cannot be sent a second time.
    #[error("a body that is a stream cannot be sent again")]
    Streamed,
    /// The gateway answered, and not as was asked for.
    #[error("the gateway answered {0}")]
    Problem(Box<Problem>),
}

impl Error {
    /// What the gateway answered instead, if it did.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether the same request may be answered in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unanswered(_) => true,
            Self::Problem(problem) => StatusCode::from_u16(problem.status).is_ok_and(is_transient),
            Self::Address { .. }
            | Self::Setup(_)
            | Self::Authorities
            | Self::NoAuthorities
            | Self::UnknownAuthority
            | Self::OtherName { .. }
            | Self::NoTls
            | Self::Tls(_)
            | Self::Streamed
            | Self::Unreadable { .. } => false,
        }
    }
}

/// Why the gateway did not do what it was asked for: a problem document of RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The status of the answer.
    #[serde(default)]
    pub status: u16,
    /// The stable name of what is wrong, such as `reference_taken`.
    #[serde(default)]
    pub code: String,
    /// The same for people.
    #[serde(default)]
    pub title: String,
    /// What to do about it.
    #[serde(default)]
    pub detail: String,
    /// The fields that are wrong.
    #[serde(default)]
    pub errors: Vec<FieldError>,
    /// What belongs to this code alone, such as the `order_id` of `reference_taken`.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

/// A field of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FieldError {
    /// Its path in the body, or the name of the parameter or header.
    pub field: String,
    /// Of a field of a JSON body: the same as a JSON pointer (RFC 6901) in a URI fragment.
    #[serde(default)]
    pub pointer: Option<String>,
    /// What is wrong with it.
    pub detail: String,
}

impl Problem {
    /// The problem in an answer of that status and body.
    pub(crate) fn read(status: StatusCode, body: &Value) -> Self {
        let problem = serde_json::from_value(body.clone()).unwrap_or_else(|_| Self {
            status: 0,
            code: String::new(),
            title: String::new(),
            // A proxy in between may answer anything.
            detail: body.to_string(),
            errors: Vec::new(),
            members: Map::new(),
        });
        Self { status: status.as_u16(), ..problem }
    }
}

/// Whether the same request may be answered in a moment.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502..=504)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, code, title, detail, errors, members } = self;
        write!(f, "{status} {code}: {title}: {detail}")?;
        for FieldError { field, detail, .. } in errors {
            write!(f, "; {field}: {detail}")?;
        }
        for (name, value) in members.iter().filter(|(name, _)| *name != "type") {
            write!(f, "; {name}: {value}")?;
        }
        Ok(())
    }
}
