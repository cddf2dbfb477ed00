//! Reading a stream from a position: gapless, in order, without acknowledgements.
//!
//! One ephemeral pull consumer that starts at the position. Whatever goes wrong with it (a gap, a
//! missed heartbeat, a server that restarts), it is created anew at the first message not seen.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{
    Context, Message,
    consumer::{AckPolicy, DeliverPolicy, pull},
};
use bytes::Bytes;
use events::subject::{AFTER_HEADER, AGGREGATE_HEADER, POSITIONS_HEADER, REPLY_HEADER};
use futures::StreamExt;
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::Error;

/// Messages asked for at once.
const PULL: usize = 500;
/// Messages that wait for the worker; the reader pauses beyond that.
const AHEAD: usize = 1000;
/// How long one pull request lives.
const EXPIRES: Duration = Duration::from_secs(5);
/// How often the server says that it is there; two missed ones and the consumer is made anew.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long the server keeps a consumer that nobody reads.
const INACTIVE: Duration = Duration::from_secs(30);
/// The pause before a consumer is made anew.
const PAUSE: Duration = Duration::from_millis(200);
/// How often an idle source moves its position on to the end of its stream, so that retention
/// never seems to have deleted inputs that were not there.
const IDLE: Duration = Duration::from_hours(1);

/// What a source reads.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) stream: String,
    /// Subjects; empty means all of the stream.
    pub(crate) filters: Vec<String>,
    /// Whether the stream is one that retention deletes from: who has never read it begins with
    /// what is left.
    pub(crate) forgets: bool,
}

/// A message as it stands in its stream.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) payload: Bytes,
    /// The aggregate that the sender named.
    pub(crate) aggregate: Option<String>,
    /// Where the answer to a command goes.
    pub(crate) reply: Option<String>,
    /// The sequence of the catalogue that the sender had seen.
    pub(crate) after: u64,
    /// In a service's log: the positions of its inputs.
    pub(crate) positions: Option<String>,
}

/// What a source tells its worker.
#[derive(Debug)]
pub(crate) enum Fed {
    /// The next message.
    Message(Arrived),
    /// There is nothing for this source up to that sequence.
    Idle(u64),
    /// The source cannot go on.
    Failed(Error),
}

/// An opened consumer.
struct Opened {
    messages: pull::Stream,
    /// The stream's last sequence before the consumer was made.
    last: u64,
    /// Messages that the consumer had to deliver when it was made.
    pending: u64,
}

/// Starts a task that feeds what it reads after `position` into a queue, until `shutdown`.
pub(crate) fn follow(
    context: Context,
    selection: Selection,
    position: u64,
    service: &'static str,
    wake: Arc<Notify>,
    shutdown: CancellationToken,
) -> mpsc::Receiver<Fed> {
    let (feed, queue) = mpsc::channel(AHEAD);
    let reader = Reader { context, selection, next: position + 1, service, feed, wake };
    tokio::spawn(shutdown.run_until_cancelled_owned(reader.run()));
    queue
}

struct Reader {
    context: Context,
    selection: Selection,
    next: u64,
    service: &'static str,
    feed: mpsc::Sender<Fed>,
    wake: Arc<Notify>,
}

impl Reader {
    async fn run(mut self) {
        loop {
            match self.read().await {
                Ok(()) => {}
                Err(error @ Error::InputsLost { .. }) => {
                    self.tell(Fed::Failed(error)).await;
                    return;
                }
                Err(error) => {
                    tracing::debug!(stream = self.selection.stream, %error, "reads anew");
                }
            }
            if self.feed.is_closed() {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Reads until something goes wrong, or nothing came for a long time.
    async fn read(&mut self) -> Result<(), Error> {
        let mut opened = open(&self.context, &self.selection, self.next, self.service).await?;
        if opened.pending == 0 && opened.last >= self.next {
            self.next = opened.last + 1;
            self.tell(Fed::Idle(opened.last)).await;
        }
        let mut expected = 1;
        loop {
            let next = tokio::time::timeout(IDLE, opened.messages.next()).await;
            let Ok(Some(Ok(message))) = next else { return Ok(()) };
            let Some(arrived) = arrived(&message, expected) else { return Ok(()) };
            expected += 1;
            self.next = arrived.sequence + 1;
            if !self.tell(Fed::Message(arrived)).await {
                return Ok(());
            }
        }
    }

    async fn tell(&self, fed: Fed) -> bool {
        let told = self.feed.send(fed).await.is_ok();
        self.wake.notify_one();
        told
    }
}

/// Starts a task that reads after `position`, up to `end` at most, in chunks of up to `chunk`
/// messages. The queue closes when all that was there has been read.
pub(crate) fn read_range(
    context: Context,
    selection: Selection,
    position: u64,
    end: u64,
    service: &'static str,
    chunk: usize,
) -> mpsc::Receiver<Result<Vec<Arrived>, Error>> {
    let (feed, queue) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut next = position + 1;
        while next <= end {
            match read_some(&context, &selection, &mut next, end, service, chunk, &feed).await {
                Ok(true) => return,
                Ok(false) => sleep(PAUSE).await,
                Err(error) => {
                    feed.send(Err(error)).await.ok();
                    return;
                }
            }
        }
    });
    queue
}

/// Reads from `next` on; true when everything up to `end` has been read.
async fn read_some(
    context: &Context,
    selection: &Selection,
    next: &mut u64,
    end: u64,
    service: &'static str,
    chunk: usize,
    feed: &mpsc::Sender<Result<Vec<Arrived>, Error>>,
) -> Result<bool, Error> {
    let mut opened = open(context, selection, *next, service).await?;
    let mut left = opened.pending;
    let mut expected = 1;
    let mut read = Vec::with_capacity(chunk);
    while left > 0 {
        let Some(Ok(message)) = opened.messages.next().await else { break };
        let Some(arrived) = arrived(&message, expected) else { break };
        if arrived.sequence > end {
            left = 0;
            break;
        }
        (expected, left) = (expected + 1, left - 1);
        read.push(arrived);
        if read.len() == chunk || left == 0 {
            *next = read.last().map_or(*next, |last| last.sequence + 1);
            let full = std::mem::replace(&mut read, Vec::with_capacity(chunk));
            if feed.send(Ok(full)).await.is_err() {
                return Ok(true);
            }
        }
    }
    if !read.is_empty() {
        *next = read.last().map_or(*next, |last| last.sequence + 1);
        feed.send(Ok(read)).await.ok();
    }
    Ok(left == 0)
}

/// Makes the consumer. An error when retention has deleted what it should have begun with.
async fn open(
    context: &Context,
    selection: &Selection,
    next: u64,
    service: &'static str,
) -> Result<Opened, Error> {
    let name = &selection.stream;
    let stream =
        context.get_stream(name).await.map_err(|error| Error::jetstream("inspect", name, error))?;
    let state = &stream.cached_info().state;
    let mut next = next;
    if selection.forgets && next == 1 && state.first_sequence > 1 {
        next = state.first_sequence;
        tracing::warn!(
            service,
            stream = name,
            first = next,
            "begins behind what retention deleted"
        );
    }
    if next < state.first_sequence {
        return Err(Error::InputsLost {
            service,
            stream: name.clone(),
            position: next - 1,
            first: state.first_sequence,
        });
    }
    let consumer = stream
        .create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: next },
            filter_subjects: selection.filters.clone(),
            ack_policy: AckPolicy::None,
            num_replicas: 1,
            memory_storage: true,
            inactive_threshold: INACTIVE,
            ..Default::default()
        })
        .await
        .map_err(|error| Error::jetstream("create a consumer on", name, error))?;
    let pending = consumer.cached_info().num_pending;
    let messages = consumer
        .stream()
        .max_messages_per_batch(PULL)
        .expires(EXPIRES)
        .heartbeat(HEARTBEAT)
        .messages()
        .await
        .map_err(|error| Error::jetstream("read", name, error))?;
    Ok(Opened { messages, last: state.last_sequence, pending })
}

/// Takes a message apart; `None` when it is not the one that comes next.
fn arrived(message: &Message, expected: u64) -> Option<Arrived> {
    let info = message.info().ok()?;
    if info.consumer_sequence != expected {
        return None;
    }
    let headers = message.headers.as_ref();
    let header = |name| headers.and_then(|h| h.get(name)).map(|v| v.as_str().to_owned());
    Some(Arrived {
        sequence: info.stream_sequence,
        subject: message.subject.to_string(),
        payload: message.payload.clone(),
        aggregate: header(AGGREGATE_HEADER),
        reply: header(REPLY_HEADER),
        after: header(AFTER_HEADER).and_then(|value| value.parse().ok()).unwrap_or(0),
        positions: header(POSITIONS_HEADER),
    })
}
