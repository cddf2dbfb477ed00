//! One attempt at a mail, over a connection that is kept for the next one.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lettre::{
    Message,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, TlsParameters},
        commands::{Data, Mail as MailFrom, Rcpt, Rset},
        extension::{ClientId, Extension, MailParameter},
    },
};
use secrecy::ExposeSecret;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use crate::{
    exchange::{Exchange, Failed, Failure, Outcome},
    message::Mail,
    server::{Login, Server, SetupError, Tls},
};

/// The most attempts of a [`Mailer`] that are under way at the same time: servers limit their connections.
pub const MAX_IN_FLIGHT: usize = 16;
/// The most connections that are kept while nothing is sent.
const MAX_IDLE: usize = 4;
/// How long a connection is kept while nothing is sent: less than servers wait.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a kept connection may take to say that it still is one.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends mails by one server. Clones share its connections.
#[derive(Clone)]
pub struct Mailer {
    shared: Arc<Shared>,
}

struct Shared {
    server: Server,
    /// Absent where nothing is encrypted.
    tls: Option<TlsParameters>,
    slots: Semaphore,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("server", &self.shared.server).finish_non_exhaustive()
    }
}

impl Mailer {
    /// A mailer by a server. Nothing is connected to yet.
    pub fn new(server: Server) -> Result<Self, SetupError> {
        if server.tls == Tls::None && server.login.is_some() {
            return Err(SetupError::LoginInTheClear);
        }
        let tls = match server.tls {
            Tls::None => None,
            Tls::Implicit | Tls::Starttls => {
                let mut builder = TlsParameters::builder(server.host.clone());
                if let Some(pem) = &server.trusted_roots_pem {
                    let certificates = Certificate::from_pem(pem.as_bytes());
                    let certificates = certificates.map_err(SetupError::TrustedRoots)?;
                    builder = builder.add_root_certificate(certificates);
                }
                Some(builder.build().map_err(SetupError::TrustedRoots)?)
            }
        };
        let (slots, idle) = (Semaphore::new(MAX_IN_FLIGHT), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { server, tls, slots, idle }) })
    }

    /// Makes one attempt. Takes as long as [`Timeouts::exchange`](crate::Timeouts::exchange) at most, from
    /// its turn on.
    pub async fn send(&self, mail: &Mail) -> Exchange {
        let _slot = self.shared.slots.acquire().await;
        let started = Instant::now();
        let made = match mail.message() {
            Ok(message) => timeout(self.shared.server.timeouts.exchange, self.exchange(&message))
                .await
                .unwrap_or_else(|_| Err(Failed::for_now(Failure::Timeout))),
            Err(_) => Err(Failed::for_good(Failure::Unsendable)),
        };
        let latency = started.elapsed();
        match made {
            Ok(code) => Exchange {
                outcome: Outcome::Accepted,
                code: Some(code),
                enhanced_code: String::new(),
                latency,
            },
            Err(Failed { outcome, code, enhanced_code }) => {
                Exchange { outcome, code, enhanced_code, latency }
            }
        }
    }

    async fn exchange(&self, message: &Message) -> Result<u16, Failed> {
        let mut connection = match self.kept().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let made = self.transact(&mut connection, message).await;
        let is_usable = match &made {
            Ok(_) => true,
            Err(failed) => {
                failed.leaves_connection() && self.command(connection.command(Rset)).await.is_ok()
            }
        };
        if is_usable {
            self.keep(connection);
        }
        made
    }

    async fn transact(
        &self,
        connection: &mut AsyncSmtpConnection,
        message: &Message,
    ) -> Result<u16, Failed> {
        let envelope = message.envelope();
        let mut parameters = Vec::new();
        let mut addresses = envelope.from().into_iter().chain(envelope.to());
        if addresses.any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(Failed::for_good(Failure::Unsendable));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let from = MailFrom::new(envelope.from().cloned(), parameters);
        self.command(connection.command(from)).await?;
        for to in envelope.to() {
            self.command(connection.command(Rcpt::new(to.clone(), Vec::new()))).await?;
        }
        self.command(connection.command(Data)).await?;
        let accepted = self.command(connection.message(&message.formatted())).await?;
        Ok(accepted.code().into())
    }

    /// Waits for the answer to a command about the mail.
    async fn command<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failed> {
        match timeout(self.shared.server.timeouts.command, answer).await {
            Ok(answer) => answer.map_err(|error| Failed::of_mail(&error)),
            Err(_) => Err(Failed::for_now(Failure::Timeout)),
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failed> {
        match timeout(self.shared.server.timeouts.connect, self.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(Failed::for_now(Failure::ConnectTimeout)),
        }
    }

    /// A new connection: encrypted and logged in, as the settings say.
    async fn open(&self) -> Result<AsyncSmtpConnection, Failed> {
        let Shared { server, tls, .. } = &*self.shared;
        let (address, hello) = ((server.host.as_str(), server.port), ClientId::default());
        let wrapper = tls.clone().filter(|_| server.tls == Tls::Implicit);
        let connected =
            AsyncSmtpConnection::connect_tokio1(address, None, &hello, wrapper, None).await;
        let mut connection = connected.map_err(|error| {
            let failure = if is_tls(&error) { Failure::Tls } else { Failure::Connect };
            Failed::of_connection(failure, &error)
        })?;
        if let Some(tls) = tls.clone().filter(|_| server.tls == Tls::Starttls) {
            let upgraded = connection.starttls(tls, &hello).await;
            upgraded.map_err(|error| Failed::of_connection(Failure::Tls, &error))?;
        }
        if let Some(Login { user, password }) = &server.login {
            let login = Credentials::new(user.clone(), password.expose_secret().to_owned());
            let logged_in = connection.auth(&[Mechanism::Plain, Mechanism::Login], &login).await;
            logged_in.map_err(|error| Failed::of_connection(Failure::Login, &error))?;
        }
        Ok(connection)
    }

    /// A connection that was kept, if it still is one.
    async fn kept(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let (mut connection, since) = self.idle().pop()?;
            let is_fresh = since.elapsed() < IDLE_TIMEOUT;
            if is_fresh
                && timeout(CHECK_TIMEOUT, connection.test_connected()).await.unwrap_or(false)
            {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push((connection, Instant::now()));
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(AsyncSmtpConnection, Instant)>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection failed by its encryption.
fn is_tls(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            // rustls fails as the source of an I/O error of this kind.
            return io.kind() == std::io::ErrorKind::InvalidData;
        }
        cause = error.source();
    }
    false
}
