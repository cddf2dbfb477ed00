//! How a member says that it is there, and follows what the others say.

use std::{sync::atomic::Ordering, time::Duration};

use async_nats::{
    HeaderMap,
    connection::State,
    jetstream::{
        Message,
        consumer::{AckPolicy, DeliverPolicy, pull},
        stream::ConsumerErrorKind,
    },
};
use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{
    RETRY_PAUSE, STREAM, Shared,
    table::{Presence, Slot, Table},
};
use crate::{
    Error,
    error::describe,
    jetstream::publish::{PublishError, WRONG_LAST_SEQUENCE},
    jetstream::retry::jittered,
};

/// How long nothing may come, though own renewals should, before the stream is read anew.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a member renews its membership. One that misses [`super::table::MAX_MISSED_RENEWALS`] is not
/// alive: after 1.6 seconds at most.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(400);
/// How long the stream keeps the last renewal of a member that does not leave.
const RENEWAL_TTL: &str = "5s";
/// How long the server keeps a consumer that nobody reads.
const INACTIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one pull request lives.
const PULL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the server says that it is there.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

impl Shared {
    pub(super) async fn renew_repeatedly(&self) {
        let mut renewal = interval(RENEWAL_INTERVAL);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            renewal.tick().await;
            if !self.participations.borrow().is_empty() {
                self.renew().await;
            }
        }
    }

    /// Says that this process is there, or that it leaves. Nobody waits for an acknowledgement: a
    /// renewal that is stored comes back.
    pub(super) async fn renew(&self) {
        let client = self.context.client();
        if client.connection_state() != State::Connected {
            return;
        }
        let presence = {
            let all = self.participations.borrow();
            let services = all.keys().flatten().map(|service| (*service).to_owned()).collect();
            (!all.is_empty()).then(|| Presence {
                instance: self.instance.clone(),
                services,
                renewal: self.renewals.fetch_add(1, Ordering::SeqCst) + 1,
                start: self.start.clone(),
            })
        };
        let payload = presence.and_then(|presence| serde_json::to_vec(&presence).ok());
        let payload = payload.map_or_else(Bytes::new, Bytes::from);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-TTL", RENEWAL_TTL);
        let subject = format!("lease.member.{}", self.id());
        if let Err(error) = client.publish_with_headers(subject, headers, payload).await {
            tracing::debug!(%error, "could not renew the membership");
        }
    }

    pub(super) async fn follow_repeatedly(&self) {
        let mut participations = self.participations.subscribe();
        // The sender lives as long as `self`.
        while participations.wait_for(|all| !all.is_empty()).await.is_ok() {
            if let Err(error) = self.follow().await {
                tracing::debug!(error = describe(&error), "reads the members anew");
            }
            sleep(jittered(RETRY_PAUSE)).await;
        }
    }

    /// Follows the stream until something goes wrong.
    async fn follow(&self) -> Result<(), Error> {
        let sent = self.renewals.load(Ordering::SeqCst);
        let mut messages = self.open().await?;
        self.table().restart();
        // With it, all is known that was in the stream before.
        self.renew().await;
        let mut renewed = Instant::now();
        loop {
            let message = match timeout(SILENCE_TIMEOUT, messages.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return Err(Error::jetstream("read", STREAM, error)),
                Ok(None) | Err(_) => return Err(Error::jetstream("read", STREAM, "silence")),
            };
            if let Some(presence) = self.take_in(&message) {
                // What was held up by the network and comes all at once is no measure of time.
                let is_timely = renewed.elapsed() >= RENEWAL_INTERVAL * 3 / 4;
                if is_timely {
                    renewed = Instant::now();
                }
                let (missing, inherited) = {
                    let mut table = self.table();
                    if presence.renewal > sent {
                        table.synced();
                    }
                    if is_timely {
                        table.renewed();
                    }
                    (table.missing(), table.inherited(&presence.services))
                };
                self.write_missing(missing).await;
                self.release(inherited).await;
            }
            self.changed.send_replace(());
        }
    }

    /// Takes a message into the table; returns a renewal of this process.
    fn take_in(&self, message: &Message) -> Option<Presence> {
        let sequence = message.info().ok()?.stream_sequence;
        let (kind, name) = message.subject.strip_prefix("lease.")?.split_once('.')?;
        let mut table = self.table();
        if kind != "member" {
            let by = String::from_utf8_lossy(&message.payload).into_owned();
            let slot = (kind.to_owned(), name.parse().ok()?);
            table.note(slot, Some(by).filter(|by| !by.is_empty()), sequence);
            return None;
        }
        let presence: Option<Presence> = serde_json::from_slice(&message.payload).ok();
        if name != self.id() {
            table.hear(name, presence);
            return None;
        }
        let presence = presence?;
        if presence.start != self.start {
            // That of the process before this one is still there for a while, and is not renewed.
            if table.hear_namesake(&presence) {
                self.part_from(&presence, &mut table);
            }
            return None;
        }
        table.hear(name, Some(presence.clone()));
        Some(presence)
    }

    /// Another process that runs has the identity of this one.
    fn part_from(&self, other: &Presence, table: &mut Table) {
        let other_instance = &other.instance;
        // Starts are named in the order of time.
        if self.start < other.start {
            tracing::error!(
                other_instance,
                "another process runs with the identity of this one, a copy of its identity file; it \
                 started later, and takes another identity"
            );
            return;
        }
        let mut identity = self.identity();
        identity.replace();
        table.rename(&identity.id);
        tracing::error!(
            other_instance,
            "another process runs with the identity of this one, a copy of its identity file; this \
             process takes another identity, and writes it to its file"
        );
    }

    /// Writes claims again that the stream has lost, unless somebody was sooner.
    async fn write_missing(&self, missing: Vec<(Slot, u64)>) {
        let writing = missing.into_iter().map(|(slot, revision)| async move {
            let id = self.id();
            match self.publish_claim(&slot, id.clone(), revision).await {
                Ok(sequence) => self.table().note(slot, Some(id), sequence),
                Err(PublishError::Refused { code: WRONG_LAST_SEQUENCE, .. }) => {}
                Err(error) => tracing::debug!(?slot, %error, "could not write a claim again"),
            }
        });
        join_all(writing).await;
    }

    /// Releases claims of services that this process does not run: the process that had its identity
    /// before did, when several start anew that share the file.
    async fn release(&self, inherited: Vec<(Slot, u64)>) {
        for (slot, revision) in inherited {
            match self.publish_claim(&slot, String::new(), revision).await {
                Ok(sequence) => self.table().note(slot, None, sequence),
                Err(error) => tracing::debug!(?slot, %error, "could not release a claim"),
            }
        }
    }

    /// Makes a consumer of the last message of each subject and all that come; and the stream, when
    /// it was lost with its server.
    async fn open(&self) -> Result<pull::Stream, Error> {
        let failed = |error| Error::jetstream("create a consumer on", STREAM, error);
        let stream = self.context.get_stream_no_info(STREAM).await;
        let stream = stream.map_err(|error| Error::jetstream("inspect", STREAM, error))?;
        let config = pull::Config {
            deliver_policy: DeliverPolicy::LastPerSubject,
            filter_subject: "lease.>".to_owned(),
            ack_policy: AckPolicy::None,
            num_replicas: 1,
            memory_storage: true,
            inactive_threshold: INACTIVE_TIMEOUT,
            ..Default::default()
        };
        let consumer = match stream.create_consumer(config.clone()).await {
            Ok(consumer) => consumer,
            Err(error) => match error.kind() {
                ConsumerErrorKind::JetStream(ref answer) if answer.code() == 404 => {
                    let made = self.context.create_stream(self.stream.clone()).await;
                    made.map_err(|error| Error::jetstream("create", STREAM, error))?;
                    tracing::info!(stream = STREAM, "created the stream that its server lost");
                    stream.create_consumer(config).await.map_err(|error| failed(error.into()))?
                }
                _ => return Err(failed(Box::<dyn std::error::Error + Send + Sync>::from(error))),
            },
        };
        let messages = consumer.stream().expires(PULL_TIMEOUT).heartbeat(HEARTBEAT_INTERVAL);
        messages.messages().await.map_err(|error| Error::jetstream("read", STREAM, error))
    }
}
