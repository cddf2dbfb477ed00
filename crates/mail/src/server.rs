//! How the mail server is reached: the operator's choice.

use std::{fmt, time::Duration};

use secrecy::SecretString;

/// A mail server, and how it is spoken to.
#[derive(Clone)]
pub struct Server {
    /// Its name, which its certificate must have, or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How what is sent to it is encrypted.
    pub tls: Tls,
    /// Who sends; none where the server asks for nobody.
    pub login: Option<Login>,
    /// Certificates (PEM) of authorities that are trusted besides those of the system.
    pub trusted_roots_pem: Option<String>,
    /// How long things may take.
    pub timeouts: Timeouts,
}

/// How what is sent is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte on, usually at port 465.
    Implicit,
    /// After STARTTLS, usually at port 587; nothing is sent where the server does not offer it.
    Starttls,
    /// Not at all: for a server on this machine.
    None,
}

/// Who sends.
#[derive(Debug, Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until there is a connection: with its encryption, and logged in.
    pub connect: Duration,
    /// Until a command is answered.
    pub command: Duration,
    /// For the whole of an attempt.
    pub exchange: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            command: Duration::from_secs(20),
            exchange: Duration::from_secs(40),
        }
    }
}

/// Shows no password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Why no mail can be sent with some settings.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A password would be sent in the clear.
    #[error("a password is not sent without TLS: set smtp-tls to implicit or starttls")]
    LoginInTheClear,
    /// The certificates of further authorities cannot be used.
    #[error("use the certificates of the authorities that the mail server's is of")]
    TrustedRoots(#[source] lettre::transport::smtp::Error),
}
