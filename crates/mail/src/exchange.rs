//! What came of an attempt, and how a reply is classified.

use std::{error::Error as _, time::Duration};

use lettre::transport::smtp::Error;

/// The reply by which a server says that it serves nobody for now.
const NOT_AVAILABLE: u16 = 421;

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Whether the mail was accepted.
    pub outcome: Outcome,
    /// The reply code of SMTP that decided it; `None` without a reply.
    pub code: Option<u16>,
    /// The enhanced status code of that reply, such as `5.1.1`; empty when it had none. The rest of a reply
    /// is not kept: it often names the address.
    pub enhanced_code: String,
    /// The time that it took.
    pub latency: Duration,
}

/// Whether a mail was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The server has it, and is answerable for it from then on.
    Accepted,
    /// It was not accepted now; it may be tried again.
    Failed(Failure),
    /// It will not be accepted: to try it again is of no use.
    Rejected(Failure),
}

/// Why a mail was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// There is no connection to the server: its name is not resolved, it refuses, or its greeting is a
    /// refusal.
    Connect,
    /// There was no connection in time.
    ConnectTimeout,
    /// TLS failed: usually the certificate, or the server offers none.
    Tls,
    /// The server does not take the login.
    Login,
    /// The connection was closed.
    Closed,
    /// What was answered is not SMTP.
    Protocol,
    /// There was no answer in time.
    Timeout,
    /// The answer is 4xx.
    Deferred,
    /// The answer is 5xx.
    Rejected,
    /// The mail cannot be sent as it is: an address is none, or one that the server cannot handle.
    Unsendable,
}

impl Failure {
    /// The name by which an attempt's record shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Login => "login",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Deferred => "deferred",
            Self::Rejected => "rejected",
            Self::Unsendable => "unsendable",
        }
    }
}

/// A mail was not accepted, by what reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) outcome: Outcome,
    pub(crate) code: Option<u16>,
    pub(crate) enhanced_code: String,
}

impl Failed {
    pub(crate) fn for_now(failure: Failure) -> Self {
        Self { outcome: Outcome::Failed(failure), code: None, enhanced_code: String::new() }
    }

    pub(crate) fn for_good(failure: Failure) -> Self {
        Self { outcome: Outcome::Rejected(failure), code: None, enhanced_code: String::new() }
    }

    /// By the answer to a command about the mail.
    pub(crate) fn of_mail(error: &Error) -> Self {
        let outcome = if error.is_permanent() {
            Outcome::Rejected(Failure::Rejected)
        } else if error.is_transient() {
            Outcome::Failed(Failure::Deferred)
        } else if error.is_response() {
            Outcome::Failed(if is_cut_off(error) { Failure::Closed } else { Failure::Protocol })
        } else {
            Outcome::Failed(Failure::Closed)
        };
        Self::by(outcome, error)
    }

    /// By what became of a connection. Its replies say nothing of the mail.
    pub(crate) fn of_connection(failure: Failure, error: &Error) -> Self {
        Self::by(Outcome::Failed(failure), error)
    }

    fn by(outcome: Outcome, error: &Error) -> Self {
        let code = error.status().map(u16::from);
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        let enhanced_code = code.and_then(|_| enhanced_code(&text)).unwrap_or_default().to_owned();
        Self { outcome, code, enhanced_code }
    }

    /// Whether the connection can be used for another mail.
    pub(crate) fn leaves_connection(&self) -> bool {
        self.code.is_some_and(|code| code != NOT_AVAILABLE)
    }
}

impl Exchange {
    /// Whether the server asks for fewer mails.
    pub fn is_overloaded(&self) -> bool {
        self.code == Some(NOT_AVAILABLE)
    }
}

/// Whether there was no answer because the connection ended.
fn is_cut_off(error: &Error) -> bool {
    error.source().is_some_and(|source| source.to_string() == "incomplete response")
}

/// The enhanced status code (RFC 3463) that a reply begins with.
fn enhanced_code(reply: &str) -> Option<&str> {
    let first = reply.split_whitespace().next()?;
    let mut parts = first.split('.');
    let is_number = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_code = matches!(parts.next(), Some("2" | "4" | "5"))
        && parts.next().is_some_and(|part| is_number(part, 3))
        && parts.next().is_some_and(|part| is_number(part, 3))
        && parts.next().is_none();
    is_code.then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_reply_only_the_enhanced_code_is_kept() {
        assert_eq!(enhanced_code("5.1.1 <ann@example.com> unknown"), Some("5.1.1"));
        assert_eq!(enhanced_code("4.7.650 later"), Some("4.7.650"));
        for text in
            ["", "no such user ann@example.com", "5.1", "5.1.1.1", "3.1.1", "5.a.1", "5.1.1234"]
        {
            assert_eq!(enhanced_code(text), None, "{text}");
        }
    }
}
