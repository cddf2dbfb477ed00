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
        stream::Info,
    },
};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{Instant, timeout};
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
/// How long nothing must have come until a reader counts as idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the server keeps a consumer that nobody reads.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(30);

/// How long a request is open, and how often the server reports meanwhile that it has nothing to
/// deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PullTimings {
    expires: Duration,
    heartbeat: Duration,
}

impl PullTimings {
    /// Of a reader to which something has come of late: its positions follow what others read.
    const BUSY: Self =
        Self { expires: Duration::from_secs(5), heartbeat: Duration::from_millis(500) };
    /// Of one to which nothing has come for [`IDLE_TIMEOUT`]: an installation has many of them, and
    /// only that a consumer was lost is noticed later.
    const IDLE: Self = Self { expires: Duration::from_secs(30), heartbeat: Duration::from_secs(2) };

    /// How long nothing may come: two heartbeats were missed, so the consumer, its server or the
    /// connection is gone.
    const fn silence_timeout(self) -> Duration {
        self.heartbeat.saturating_mul(3)
    }

    fn request(self, max_payload: u64) -> Bytes {
        let request = serde_json::json!({
            "batch": REQUEST_MESSAGES,
            "max_bytes": MIN_REQUEST_BYTES.max(2 * max_payload),
            "expires": self.expires.as_nanos() as u64,
            "idle_heartbeat": self.heartbeat.as_nanos() as u64,
        });
        Bytes::from(request.to_string())
    }
}

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
    #[error("neither a message nor a heartbeat for {0:?}")]
    Silence(Duration),
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
    /// The server of the cluster that it is on.
    server: Option<String>,
    inbox: String,
    signals: Subscriber,
    /// That of the last request.
    pace: PullTimings,
    /// Since when nothing has come but heartbeats that say so.
    idle_since: Instant,
    /// How far the last heartbeat said that the consumer is in the stream.
    passed: u64,
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
    ) -> Result<(Self, Info), Error> {
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
            pace: PullTimings::BUSY,
            idle_since: Instant::now(),
            passed: next.saturating_sub(1),
            client,
            stream: stream.clone(),
            name: created.cached_info().name.clone(),
            server: created.cached_info().cluster.as_ref().and_then(|it| it.leader.clone()),
            inbox,
            signals,
            requested: 0,
            received: 0,
        };
        Ok((consumer, info.cached_info().clone()))
    }

    /// The server of the cluster that it is on.
    pub(super) fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Waits for the next message or heartbeat.
    pub(super) async fn next(&mut self) -> Result<Report, Interruption> {
        loop {
            if self.requested <= REFILL_MESSAGES {
                self.request().await?;
            }
            let silence = self.pace.silence_timeout();
            let signal = timeout(silence, self.signals.next()).await;
            let signal = signal.map_err(|_| Interruption::Silence(silence))?;
            let signal = signal.ok_or(Interruption::Closed)?;
            match Signal::read(signal) {
                Signal::Message { consumer_sequence, message } => {
                    if consumer_sequence != self.received + 1 {
                        let (before, received) = (self.received, consumer_sequence);
                        return Err(Interruption::Gap { before, received });
                    }
                    self.received = consumer_sequence;
                    self.idle_since = Instant::now();
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
                    if stream_sequence > self.passed {
                        self.passed = stream_sequence;
                        self.idle_since = Instant::now();
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
        let is_idle = self.idle_since.elapsed() >= IDLE_TIMEOUT;
        self.pace = if is_idle { PullTimings::IDLE } else { PullTimings::BUSY };
        let request = self.pace.request(self.client.max_payload() as u64);
        self.client.publish_with_reply(subject, self.inbox.clone(), request).await?;
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

#[cfg(test)]
mod tests {
    use async_nats::jetstream::stream;
    use testkit::TestServer;

    use super::*;

    /// A server with an empty stream.
    async fn stream() -> (TestServer, Context) {
        let server = TestServer::start().await;
        let context = server.jetstream().await;
        let config = stream::Config {
            name: "S".to_owned(),
            subjects: vec!["s".to_owned()],
            ..Default::default()
        };
        context.create_stream(config).await.expect("it is created");
        (server, context)
    }

    async fn create(context: &Context) -> Consumer {
        let created = Consumer::create(context, &Selection::new("S", Vec::new()), 1).await;
        created.expect("it is created").0
    }

    async fn publish(context: &Context) {
        context.publish("s", "x".into()).await.expect("it is sent").await.expect("it is stored");
    }

    #[tokio::test]
    async fn a_message_that_is_lost_is_noticed_though_none_follows() {
        let (_server, context) = stream().await;
        let mut consumer = create(&context).await;
        publish(&context).await;
        assert!(matches!(consumer.next().await, Ok(Report::Message(_))));
        // As a client drops it whose buffer is full, or whose connection breaks.
        publish(&context).await;
        consumer.signals.next().await.expect("it is delivered");
        let lost = consumer.next().await;
        let expected = matches!(lost, Err(Interruption::TailLost { delivered: 2, received: 1 }));
        assert!(expected, "{lost:?}");
    }

    #[tokio::test]
    async fn an_idle_reader_is_told_less_often_and_gets_messages_as_soon() {
        let (_server, context) = stream().await;
        let mut consumer = create(&context).await;
        consumer.idle_since = Instant::now().checked_sub(IDLE_TIMEOUT).expect("long ago");
        let began = Instant::now();
        assert!(matches!(consumer.next().await, Ok(Report::Passed(0))));
        assert!(began.elapsed() > PullTimings::BUSY.silence_timeout(), "{:?}", began.elapsed());
        assert_eq!(consumer.pace, PullTimings::IDLE);

        publish(&context).await;
        assert!(matches!(consumer.next().await, Ok(Report::Message(_))));
        consumer.requested = 0;
        assert!(matches!(consumer.next().await, Ok(Report::Passed(1))));
        assert_eq!(consumer.pace, PullTimings::BUSY);
    }
}
