//! The connection to NATS, and what is checked of the server at start.

use std::time::Duration;

use async_nats::{
    Client, ConnectOptions, Event,
    jetstream::{Context, context::ContextBuilder},
};
use serde::Deserialize;

use crate::{Error, jetstream::retry::jittered};

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

/// Connects to the first of the addresses, separated by commas, that answers; and refuses a server
/// that is too old.
pub(crate) async fn connect(url: &str, name: &str) -> Result<(Client, Context), Error> {
    let options = ConnectOptions::new()
        .name(name)
        .connection_timeout(CONNECTION_TIMEOUT)
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
    let client =
        connected.map_err(|source| Error::Connect { url: without_passwords(url), source })?;
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

/// The addresses without user and password, for a message.
fn without_passwords(urls: &str) -> String {
    let shown = urls.split(',').map(|url| match (url.find("://"), url.rfind('@')) {
        (scheme, Some(at)) => {
            let scheme = scheme.map_or("", |end| &url[..end + 3]);
            format!("{scheme}…{}", &url[at..])
        }
        (_, None) => url.to_owned(),
    });
    shown.collect::<Vec<_>>().join(",")
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
    let client = reqwest::Client::builder().timeout(MONITOR_TIMEOUT).build()?;
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
