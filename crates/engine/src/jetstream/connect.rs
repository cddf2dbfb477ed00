//! The connection to NATS, and what is checked of the server at start.

use std::{path::PathBuf, time::Duration};

use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, Event,
    jetstream::{Context, context::ContextBuilder},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{Error, error::without_password, jetstream::retry::jittered, plain_http};

/// How long a server may take to answer a new connection. One that hangs still takes connections,
/// and another of the cluster is tried after it.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a question to a service may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one try of a request to JetStream (streams, consumers, reading a message) may take.
/// Requests without a leader who could answer are lost: soon tried again, they are answered as soon
/// as there is one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the connection is checked: with the third ping in a row that is not answered, it is
/// given up.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause between two tries to connect again.
const MAX_RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// Messages that one subscription holds; more are dropped, so it is far above what is asked for.
const SUBSCRIPTION_CAPACITY: usize = 65_536;
/// How long the monitor may take for an answer.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(2);
/// The oldest server with atomic batches.
const OLDEST_SERVER: (u32, u32) = (2, 12);

/// How a process proves to nats-server who it is, and how it knows the server.
#[derive(Debug, Clone, Default)]
pub struct NatsSecurity {
    /// The private key of its user: an nkey, which begins with `SU`.
    pub nkey: Option<SecretString>,
    /// The credentials of its user, as a `.creds` file holds them: a token and its key.
    pub credentials: Option<SecretString>,
    /// A file of certificates (PEM) of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// The files of its certificate and of the key of that (PEM), for a server that asks for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl NatsSecurity {
    fn options(&self, url: &str) -> Result<ConnectOptions, Error> {
        let mut options = ConnectOptions::new().connection_timeout(CONNECTION_TIMEOUT);
        if let Some(file) = &self.ca_file {
            options = options.add_root_certificates(file.clone());
        }
        if let Some((certificate, key)) = &self.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        // The client of NATS does not look for them there by itself.
        let of_address = url.split(',').find_map(user_and_password);
        if let Some((user, password)) = of_address {
            options = options.user_and_password(user, password);
        }
        if let Some(nkey) = &self.nkey {
            options = options.nkey(nkey.expose_secret().trim().to_owned());
        }
        if let Some(credentials) = &self.credentials {
            let refused =
                |source: std::io::Error| Error::Credentials { url: without_passwords(url), source };
            options = options.credentials(credentials.expose_secret()).map_err(refused)?;
        }
        Ok(options)
    }
}

/// Connects to the first of the addresses, separated by commas, that answers; and refuses a server
/// that is too old.
pub(crate) async fn connect(
    url: &str,
    security: &NatsSecurity,
    name: &str,
) -> Result<(Client, Context), Error> {
    let options = security
        .options(url)?
        .name(name)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(QUESTION_TIMEOUT))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            jittered(Duration::from_millis(10 << attempt.min(6)).min(MAX_RECONNECT_PAUSE))
        })
        .event_callback(|event| async move { log_event(&event) });
    let addresses: Vec<_> = url.split(',').map(str::trim).collect();
    let connected = options.connect(addresses).await;
    let client = connected.map_err(|source| match source.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            Error::Unauthorized { url: without_passwords(url), source }
        }
        _ => Error::Connect { url: without_passwords(url), source },
    })?;
    let version = client.server_info().version;
    if !is_new_enough(&version) {
        return Err(Error::ServerTooOld { version });
    }
    let context = ContextBuilder::new().timeout(REQUEST_TIMEOUT).build(client.clone());
    Ok((client, context))
}

/// Warns in plain words when the server may lose what it has acknowledged.
pub(crate) async fn warn_unless_synced(monitor: Option<&str>, replicas: usize) {
    let Some(monitor) = monitor else {
        tracing::warn!(
            "cannot check whether nats-server fsyncs before it acknowledges (no monitor address \
             given): unless it runs with `sync_interval: always`, a power failure can lose the \
             last two minutes of acknowledged messages"
        );
        return;
    };
    match syncs_always(monitor).await {
        Ok(true) => {}
        Ok(false) if replicas >= 3 => tracing::warn!(
            "nats-server does not fsync before it acknowledges: if a majority of the servers \
             loses power at once, acknowledged messages are lost; set `jetstream {{ sync_interval: \
             always }}`"
        ),
        Ok(false) => tracing::warn!(
            "nats-server does not fsync before it acknowledges: a power failure can lose the last \
             two minutes of acknowledged messages; set `jetstream {{ sync_interval: always }}`"
        ),
        Err(error) => tracing::warn!(
            monitor,
            %error,
            "cannot ask nats-server's monitor whether it fsyncs before it acknowledges"
        ),
    }
}

/// The user and password of an address, as they stand there.
fn user_and_password(url: &str) -> Option<(String, String)> {
    let (login, _) = url.split_once("://")?.1.rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The addresses without user and password, for a message.
fn without_passwords(urls: &str) -> String {
    urls.split(',').map(without_password).collect::<Vec<_>>().join(",")
}

async fn syncs_always(monitor: &str) -> Result<bool, reqwest::Error> {
    #[derive(Deserialize)]
    struct Jsz {
        config: JetStreamConfig,
    }
    #[derive(Deserialize)]
    struct JetStreamConfig {
        #[serde(default)]
        sync_always: bool,
    }
    let url = format!("{}/jsz?config=1", monitor.trim_end_matches('/'));
    let client = plain_http().timeout(MONITOR_TIMEOUT).build()?;
    let jsz: Jsz = client.get(url).send().await?.error_for_status()?.json().await?;
    Ok(jsz.config.sync_always)
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { return false };
    (major, minor) >= OLDEST_SERVER
}

fn log_event(event: &Event) {
    match event {
        Event::Connected | Event::Closed => tracing::debug!(%event, "NATS"),
        Event::SlowConsumer(subscription) => {
            tracing::error!(subscription, "the client dropped messages of NATS: reads them again");
        }
        Event::Disconnected
        | Event::LameDuckMode
        | Event::Draining
        | Event::ServerError(_)
        | Event::ClientError(_) => tracing::warn!(%event, "NATS"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_never_shows_a_password() {
        assert_eq!(
            without_passwords("nats://me:secret@a:4222,tls://b,you:p@ss@c"),
            "nats://…@a:4222,tls://b,…@c"
        );
    }

    #[test]
    fn the_address_may_name_the_user() {
        let named = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(user_and_password("nats://me:p@ss@a:4222"), named("me", "p@ss"));
        assert_eq!(user_and_password("nats://a:4222"), None);
    }

    #[tokio::test]
    async fn a_monitor_that_says_nothing_is_not_waited_for() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = silent.local_addr().expect("it has an address");
        let error = syncs_always(&format!("http://{address}")).await.expect_err("is silent");
        assert!(error.is_timeout(), "{error}");
    }

    #[test]
    fn a_server_without_atomic_batches_is_too_old() {
        for new in ["2.12.0", "2.15.1", "3.0.0", "2.14.0-RC.1"] {
            assert!(is_new_enough(new), "{new}");
        }
        for old in ["2.9.10", "2.11.9", "", "dev"] {
            assert!(!is_new_enough(old), "{old}");
        }
    }
}
