//! One ephemeral pull consumer: requests for messages that overlap, and what comes back for them.
//!
//! The client's own pull stream is not used: it drops the headers of heartbeats, and these alone
//! say that nothing was lost at the end, and how far the consumer has passed what its filter
//! leaves out.
//!
//! What a heartbeat means (`consumer.go` of nats-server, `sendIdleHeartbeat` and `getNextMsg`; also
//! tested here): `Nats-Last-Consumer` is the consumer's sequence of the last message delivered,
//! `Nats-Last-Stream` is one less than the sequence in the stream at which it looks next. When the
//! consumer finds nothing more that its filter matches, it goes on to the end of the stream **as
//! the replica that it is on has it**, found under the same lock as the lack of a match. So all up to
//! `Nats-Last-Stream` was either delivered or does not match, even when that replica lags. A
//! consumer that begins beyond the end of the stream reports its own beginning and waits.

use std::time::Duration;

use async_nats::{
    Client, Subscriber,
    jetstream::{
        Context,
        consumer::{AckPolicy, DeliverPolicy, pull},
        stream::State,
    },
};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Selection,
    message::{Signal, StoredMessage},
};
use crate::{Error, jetstream::retry::repeated};

/// Messages that one request asks for.
const REQUEST_MESSAGES: u64 = 500;
/// The next request goes out when so few messages are still to come: the server always has one.
const REFILL_MESSAGES: u64 = REQUEST_MESSAGES / 2;
/// Bytes that one request asks for, at least; twice the largest message if that is more, because a
/// request for fewer bytes than a message has never gets it. At most three requests are open.
const MIN_REQUEST_BYTES: u64 = 4 * 1024 * 1024;
/// How long a request is open.
const REQUEST_EXPIRES: Duration = Duration::from_secs(5);
/// How often the server reports that it has nothing to deliver.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(500);
/// Two heartbeats were missed: the consumer, its server or the connection is gone.
const SILENCE_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long the server keeps a consumer that nobody reads.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(30);

/// What a consumer reports.
#[derive(Debug)]
pub(super) enum Report {
    /// The next message.
    Message(StoredMessage),
    /// All up to this sequence of the stream was delivered, or is not for this reader.
    Passed(u64),
}

/// Why a consumer is given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interruption {
    #[error("the consumer's message {received} came after {before}: messages were lost")]
    Gap { before: u64, received: u64 },
    #[error("the consumer has delivered {delivered} messages, {received} arrived")]
    TailLost { delivered: u64, received: u64 },
    #[error("neither a message nor a heartbeat for {SILENCE_TIMEOUT:?}")]
    Silence,
    #[error("the server ended the consumer: {status} {description}")]
    Ended { status: u16, description: String },
    #[error("the subscription was closed")]
    Closed,
    #[error("a message arrived that is neither the stream's nor a status")]
    Unreadable,
    #[error("cannot request messages")]
    Request(#[from] async_nats::client::PublishError),
    #[error("the replica with the consumer lags: nothing new for {0:?}")]
    Lagging(Duration),
}

/// A consumer, its inbox, and what it has delivered so far.
#[derive(Debug)]
pub(super) struct Consumer {
    client: Client,
    stream: String,
    name: String,
    inbox: String,
    signals: Subscriber,
    request: Bytes,
    /// Messages that open requests may still bring.
    requested: u64,
    /// The consumer's sequence of the last message that arrived.
    received: u64,
}

impl Consumer {
    /// Creates a consumer that begins at `next`, and looks at the stream afterwards: what retention
    /// had deleted before the consumer was there then shows.
    pub(super) async fn create(
        context: &Context,
        selection: &Selection,
        next: u64,
    ) -> Result<(Self, State), Error> {
        let stream = &selection.stream;
        let config = pull::Config {
            // With a name, the same consumer is created however often the request is made.
            name: Some(new_name()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: next },
            filter_subjects: selection.filters.clone(),
            ack_policy: AckPolicy::None,
            num_replicas: 1,
            memory_storage: true,
            inactive_threshold: INACTIVE_THRESHOLD,
            ..Default::default()
        };
        let creating = || context.create_consumer_on_stream(config.clone(), stream);
        let created = repeated(creating)
            .await
            .map_err(|error| Error::jetstream("create a consumer on", stream, error))?;
        let info = repeated(|| context.get_stream(stream))
            .await
            .map_err(|error| Error::jetstream("inspect", stream, error))?;
        let client = context.client();
        let inbox = client.new_inbox();
        let signals = client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| Error::jetstream("subscribe to a consumer on", stream, error))?;
        let consumer = Self {
            request: request(client.max_payload() as u64),
            client,
            stream: stream.clone(),
            name: created.cached_info().name.clone(),
            inbox,
            signals,
            requested: 0,
            received: 0,
        };
        Ok((consumer, info.cached_info().state.clone()))
    }

    /// Waits for the next message or heartbeat.
    pub(super) async fn next(&mut self) -> Result<Report, Interruption> {
        loop {
            if self.requested <= REFILL_MESSAGES {
                self.request().await?;
            }
            let signal = timeout(SILENCE_TIMEOUT, self.signals.next()).await;
            let signal = signal.map_err(|_| Interruption::Silence)?.ok_or(Interruption::Closed)?;
            match Signal::read(signal) {
                Signal::Message { consumer_sequence, message } => {
                    if consumer_sequence != self.received + 1 {
                        let (before, received) = (self.received, consumer_sequence);
                        return Err(Interruption::Gap { before, received });
                    }
                    self.received = consumer_sequence;
                    self.requested = self.requested.saturating_sub(1);
                    return Ok(Report::Message(message));
                }
                // Messages and heartbeats of a consumer come in the order in which it sent them: a
                // heartbeat that counts more than what arrived says that the rest never will.
                Signal::Heartbeat { consumer_sequence, stream_sequence } => {
                    if consumer_sequence != self.received {
                        let (delivered, received) = (consumer_sequence, self.received);
                        return Err(Interruption::TailLost { delivered, received });
                    }
                    return Ok(Report::Passed(stream_sequence));
                }
                Signal::RequestEnded { undelivered } => {
                    let undelivered = undelivered.unwrap_or(REQUEST_MESSAGES);
                    self.requested = self.requested.saturating_sub(undelivered);
                }
                Signal::ConsumerEnded { status, description } => {
                    return Err(Interruption::Ended { status, description });
                }
                Signal::Unreadable => return Err(Interruption::Unreadable),
            }
        }
    }

    async fn request(&mut self) -> Result<(), Interruption> {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.name);
        let (inbox, request) = (self.inbox.clone(), self.request.clone());
        self.client.publish_with_reply(subject, inbox, request).await?;
        self.requested += REQUEST_MESSAGES;
        Ok(())
    }

    /// Lets the server delete the consumer now. Without this it does so when nobody has read it for
    /// a while, so that a failure does not matter.
    pub(super) async fn close(self) {
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", self.stream, self.name);
        self.client.publish(subject, Bytes::new()).await.ok();
    }
}

/// A name that no other consumer has.
#[expect(clippy::disallowed_methods, reason = "names a consumer, decides nothing")]
fn new_name() -> String {
    Uuid::now_v7().simple().to_string()
}

fn request(max_payload: u64) -> Bytes {
    let request = serde_json::json!({
        "batch": REQUEST_MESSAGES,
        "max_bytes": MIN_REQUEST_BYTES.max(2 * max_payload),
        "expires": REQUEST_EXPIRES.as_nanos() as u64,
        "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
    });
    Bytes::from(request.to_string())
}
