//! Reading a stream from a position: gapless, in order, without acknowledgements.
//!
//! | module | what it does |
//! |---|---|
//! | `message` | takes apart what arrives: messages, heartbeats, other status messages |
//! | `consumer` | one ephemeral pull consumer: requests that overlap, and nothing lost unnoticed |
//! | `cursor` | a position that moves on, whatever happens to consumers |
//! | `origin` | whether a stream is still the one in which a position was reached |
//! | `range` | [`read_range`]: a part of a stream, in chunks |
//! | `single` | [`read_one`], [`read_last`]: one message |
//!
//! Whatever goes wrong with a consumer (a gap, missed heartbeats, a server that restarts), it is
//! created anew at the first message not seen. **A position moves only by what the consumer itself
//! delivered, or by its heartbeat**, never by what the stream's leader says: the consumer is on any
//! replica of the stream, and that one may lag behind the leader.

mod consumer;
mod cursor;
mod message;
mod origin;
mod range;
mod single;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_nats::jetstream::Context;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use self::{consumer::Report, cursor::Cursor};
pub(crate) use self::{
    message::StoredMessage,
    origin::Recorded,
    range::{Chunks, read_range, read_some},
    single::{read_last, read_one},
};
use crate::Error;

/// Messages that wait for the worker; the reader pauses beyond that.
const MAX_QUEUED_MESSAGES: usize = 1000;
/// Bytes of messages that wait for the worker; the reader pauses beyond that.
const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// What a reader reads.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) stream: String,
    /// Subjects; empty means all of the stream.
    pub(crate) filters: Vec<String>,
    /// Whether a reader without a position begins at the first message that retention has left,
    /// rather than to fail because messages before it are gone.
    pub(crate) starts_at_first: bool,
    /// Where the positions are recorded at which readers begin; absent when they are of no account
    /// once the stream is another one.
    pub(crate) recorded: Option<Recorded>,
}

impl Selection {
    /// Those messages, from exactly the position on that a reader is given.
    pub(crate) fn new(stream: impl Into<String>, filters: Vec<String>) -> Self {
        Self { stream: stream.into(), filters, starts_at_first: false, recorded: None }
    }
}

/// What a reader delivers.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The next message.
    Message(StoredMessage),
    /// Everything up to this sequence was delivered, or is not for this reader.
    Progress(u64),
    /// The reader cannot go on.
    Failed(Error),
}

/// What a reader has delivered and nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Deliveries {
    queue: mpsc::Receiver<(Delivery, OwnedSemaphorePermit)>,
    /// How many messages the consumer has yet to deliver.
    pending: Arc<AtomicU64>,
}

impl Deliveries {
    /// Waits for the next one; `None` when the reader has ended.
    pub(crate) async fn recv(&mut self) -> Option<Delivery> {
        self.queue.recv().await.map(|(delivery, _)| delivery)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many messages the stream has that are not here yet.
    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }
}

/// Starts a task that delivers what it reads after `position`, until `shutdown` or until nobody
/// listens. Notifies `wake` with each delivery.
pub(crate) fn follow(
    context: Context,
    selection: Selection,
    position: u64,
    service: &'static str,
    wake: Arc<Notify>,
    shutdown: CancellationToken,
) -> Deliveries {
    let (queue, deliveries) = mpsc::channel(MAX_QUEUED_MESSAGES);
    let cursor = Cursor::new(context, selection, position, position, service);
    let free_bytes = Arc::new(Semaphore::new(MAX_QUEUED_BYTES));
    let pending = Arc::new(AtomicU64::new(0));
    let follower =
        Follower { cursor, reported: position, queue, free_bytes, wake, pending: pending.clone() };
    tokio::spawn(shutdown.run_until_cancelled_owned(follower.run()));
    Deliveries { queue: deliveries, pending }
}

struct Follower {
    cursor: Cursor,
    /// The last sequence that was delivered or reported as passed.
    reported: u64,
    queue: mpsc::Sender<(Delivery, OwnedSemaphorePermit)>,
    free_bytes: Arc<Semaphore>,
    wake: Arc<Notify>,
    pending: Arc<AtomicU64>,
}

impl Follower {
    async fn run(mut self) {
        loop {
            let report = tokio::select! {
                () = self.queue.closed() => break,
                report = self.cursor.next() => report,
            };
            let delivery = match report {
                Ok(Report::Message(message)) => Delivery::Message(message),
                Ok(Report::Passed(sequence)) if sequence > self.reported => {
                    Delivery::Progress(sequence)
                }
                Ok(Report::Passed(_)) => continue,
                Err(error) => Delivery::Failed(error),
            };
            self.reported = self.cursor.position();
            let is_last = matches!(delivery, Delivery::Failed(_));
            if !self.deliver(delivery).await || is_last {
                break;
            }
        }
        self.cursor.close().await;
    }

    /// Hands a delivery over, as soon as enough of those before it were taken.
    async fn deliver(&self, delivery: Delivery) -> bool {
        let size = match &delivery {
            Delivery::Message(message) => {
                self.pending.store(message.pending, Ordering::Relaxed);
                message.size().min(MAX_QUEUED_BYTES)
            }
            Delivery::Progress(_) | Delivery::Failed(_) => 0,
        };
        let Ok(permit) = self.free_bytes.clone().acquire_many_owned(size as u32).await else {
            return false;
        };
        let delivered = self.queue.send((delivery, permit)).await.is_ok();
        self.wake.notify_one();
        delivered
    }
}
