//! Writing into the inbox: commands of many senders go in together, with one fsync; a few go in one
//! by one, which is sooner.
//!
//! Each lane of a partition has a writer of its own, so that nothing live waits for an import to be
//! written. While a batch is written, what comes waits by shop; the next batch takes from the shops
//! in turn, so that a shop with many commands holds up its own.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::Client as Nats;
use futures::{StreamExt, stream::FuturesUnordered};
use protocol::{id::Shop, subject::Lane};
use tokio::{
    sync::{OnceCell, mpsc, oneshot},
    time::{Instant, sleep},
};

use crate::{
    jetstream::publish::{
        DUPLICATE_IN_BATCH, MAX_SINGLES, Outgoing, PublishError, is_storage_refusal, publish,
        publish_within,
    },
    turns::Turns,
};

/// Commands that wait for their turn; senders wait beyond that. More than a sender has under way that
/// limits itself, so that only others ever do.
const MAX_WAITING: usize = 4_096;
/// Commands written at once.
const MAX_TOGETHER: usize = 500;
/// Bytes written at once, beside the last command: a batch of imported lines does not take long.
const MAX_BYTES_TOGETHER: usize = 1 << 20;
/// How long a command is tried while the server does not answer or is not ready.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long one try may take; short, because a server that hangs keeps what was sent to it.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long it counts that no command could be written.
const FAILURE_TTL: Duration = Duration::from_secs(10);

/// A command is not in the inbox, or nobody knows.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InboxError {
    /// The server refused it: it is not stored.
    #[error("the inbox refuses the command: {0}")]
    Refused(String),
    /// The server has reached a limit of what it stores: it is not stored.
    #[error("nats-server may store no more: {0}")]
    Full(String),
    /// The server did not answer: send it again under the same id.
    #[error("the inbox does not answer: {0}")]
    Unknown(String),
}

impl InboxError {
    /// Nobody waits any longer; the write goes on, so the command may be stored yet.
    pub(crate) fn silent() -> Self {
        Self::Unknown("nats-server is silent".to_owned())
    }
}

/// What is known of a command that the inbox holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It is there since now.
    New,
    /// It was there already.
    Known,
    /// An acknowledgement was lost. It is there since now most probably, but may have been before.
    Unclear,
}

/// The writers of all partitions; each starts when it is first needed.
#[derive(Debug)]
pub(crate) struct Inboxes {
    nats: Nats,
    live: Vec<OnceCell<mpsc::Sender<Waiting>>>,
    bulk: Vec<OnceCell<mpsc::Sender<Waiting>>>,
    failure: Failure,
}

/// When a command could not be written last, and why; absent since one was written.
type Failure = Arc<Mutex<Option<(Instant, InboxError)>>>;

/// A command that waits to be written, and who wants to know of it.
#[derive(Debug)]
struct Waiting {
    shop: Shop,
    message: Outgoing,
    written: oneshot::Sender<Result<Receipt, InboxError>>,
}

impl Inboxes {
    pub(crate) fn new(nats: Nats, partitions: u32) -> Self {
        let writers = || (0..partitions).map(|_| OnceCell::new()).collect();
        Self { nats, live: writers(), bulk: writers(), failure: Failure::default() }
    }

    /// Why no command could be written of late. Forgotten after a while: nobody may send any more
    /// because of it.
    pub(crate) fn recent_failure(&self) -> Option<InboxError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |(at, _): &&(Instant, InboxError)| at.elapsed() < FAILURE_TTL;
        failure.as_ref().filter(is_recent).map(|(_, error)| error.clone())
    }

    /// Writes a command of a shop.
    pub(crate) async fn write(
        &self,
        (partition, lane): (u32, Lane),
        shop: Shop,
        message: Outgoing,
    ) -> Result<Receipt, InboxError> {
        let gone = || InboxError::Unknown("the writer has stopped".to_owned());
        let writers = match lane {
            Lane::Live => &self.live,
            Lane::Bulk => &self.bulk,
        };
        let writer = writers[partition as usize]
            .get_or_init(|| async {
                let (queue, arriving) = mpsc::channel(MAX_TOGETHER);
                let (nats, failure) = (self.nats.clone(), self.failure.clone());
                let writer = Writer { nats, failure, arriving, turns: Turns::default() };
                tokio::spawn(writer.run());
                queue
            })
            .await;
        let (written, outcome) = oneshot::channel();
        writer.send(Waiting { shop, message, written }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

/// Writes the commands of one lane.
struct Writer {
    nats: Nats,
    failure: Failure,
    arriving: mpsc::Receiver<Waiting>,
    turns: Turns<Waiting>,
}

/// A batch that is being written.
type Writing = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Writer {
    /// Writes what comes, a batch after the other, until nobody can send any more.
    async fn run(mut self) {
        let mut arrived = Vec::with_capacity(MAX_TOGETHER);
        let mut writing: Option<Writing> = None;
        let mut is_open = true;
        loop {
            if writing.is_none() {
                writing = self.next_batch();
            }
            let is_writing = writing.is_some();
            let has_room = is_open && self.turns.len() < MAX_WAITING;
            tokio::select! {
                () = finished(writing.as_mut()), if is_writing => writing = None,
                // Dropped before it is ready, it has taken nothing.
                received = self.arriving.recv_many(&mut arrived, MAX_TOGETHER), if has_room => {
                    is_open = received > 0;
                    for waiting in arrived.drain(..) {
                        self.turns.push(waiting.shop.clone(), waiting);
                    }
                }
                else => return,
            }
        }
    }

    /// Begins to write what comes next; `None` when nothing waits.
    fn next_batch(&mut self) -> Option<Writing> {
        let (mut messages, mut senders, mut bytes) = (Vec::new(), Vec::new(), 0);
        while messages.len() < MAX_TOGETHER
            && bytes < MAX_BYTES_TOGETHER
            && let Some((_, Waiting { message, written, .. })) = self.turns.pop(|_| true)
        {
            bytes += message.payload.len();
            messages.push(message);
            senders.push(written);
        }
        if messages.is_empty() {
            return None;
        }
        let (nats, failure) = (self.nats.clone(), self.failure.clone());
        Some(Box::pin(async move {
            let outcomes = write_together(&nats, messages).await;
            note_failure(&failure, &outcomes);
            for (sender, outcome) in senders.into_iter().zip(outcomes) {
                sender.send(outcome).ok();
            }
        }))
    }
}

async fn finished(writing: Option<&mut Writing>) {
    if let Some(writing) = writing {
        writing.await;
    }
}

fn note_failure(failure: &Failure, outcomes: &[Result<Receipt, InboxError>]) {
    let is_any_written = outcomes.iter().any(Result::is_ok);
    let error = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
    let failed = error.filter(|_| !is_any_written).map(|error| (Instant::now(), error.clone()));
    *failure.lock().unwrap_or_else(PoisonError::into_inner) = failed;
}

/// Writes messages as one batch. The server refuses a batch in which it knows an id, and does not say
/// which: then each half is tried by itself, so that a duplicate costs a few batches and not all the
/// others a write of their own.
async fn write_together(nats: &Nats, messages: Vec<Outgoing>) -> Vec<Result<Receipt, InboxError>> {
    let count = messages.len();
    if count <= MAX_SINGLES {
        return write_each(nats, messages, false).await;
    }
    match publish(nats, messages.clone(), None).await {
        Ok(stored) => vec![Ok(receipt(stored.duplicate, false)); count],
        Err(PublishError::Refused { code: DUPLICATE_IN_BATCH, .. }) => {
            let mut first = messages;
            let second = first.split_off(count / 2);
            let mut outcomes = Box::pin(write_together(nats, first)).await;
            outcomes.extend(Box::pin(write_together(nats, second)).await);
            outcomes
        }
        // After silence nobody knows: each for itself then, under its id, so that none is stored
        // twice.
        Err(error) => {
            tracing::debug!(%error, count, "writes commands one by one");
            write_each(nats, messages, matches!(error, PublishError::Unknown(_))).await
        }
    }
}

/// Writes each message by itself. `may_be_stored`: the server was sent them before, and did not answer.
async fn write_each(
    nats: &Nats,
    messages: Vec<Outgoing>,
    may_be_stored: bool,
) -> Vec<Result<Receipt, InboxError>> {
    let mut outcomes: Vec<_> =
        messages.iter().map(|_| Err(InboxError::Unknown("it was not tried".to_owned()))).collect();
    let mut writing: FuturesUnordered<_> =
        messages
            .into_iter()
            .enumerate()
            .map(|(index, message)| async move {
                (index, write_one(nats, message, may_be_stored).await)
            })
            .collect();
    while let Some((index, outcome)) = writing.next().await {
        outcomes[index] = outcome;
    }
    outcomes
}

async fn write_one(
    nats: &Nats,
    message: Outgoing,
    mut may_be_stored: bool,
) -> Result<Receipt, InboxError> {
    let deadline = Instant::now() + WRITE_TIMEOUT;
    loop {
        match publish_within(nats, vec![message.clone()], None, TRY_TIMEOUT).await {
            Ok(stored) => return Ok(receipt(stored.duplicate, may_be_stored)),
            Err(PublishError::Refused { code, description }) if is_storage_refusal(code) => {
                return Err(InboxError::Full(format!("{description} ({code})")));
            }
            Err(PublishError::Refused { description, .. }) if Instant::now() >= deadline => {
                return Err(InboxError::Refused(description));
            }
            Err(error) if Instant::now() >= deadline => {
                return Err(InboxError::Unknown(error.to_string()));
            }
            Err(error) => {
                may_be_stored |= matches!(error, PublishError::Unknown(_));
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

fn receipt(is_duplicate: bool, may_be_stored: bool) -> Receipt {
    match (is_duplicate, may_be_stored) {
        (false, _) => Receipt::New,
        (true, false) => Receipt::Known,
        (true, true) => Receipt::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use testkit::TestServer;

    use super::*;

    /// A server that stores what it is sent, does not answer the first time, and from then on says that
    /// it knows it.
    async fn lose_first_answer(nats: &Nats, subject: &str) {
        let mut messages = nats.subscribe(subject.to_owned()).await.expect("it is subscribed to");
        nats.flush().await.expect("the server knows the subscription");
        let nats = nats.clone();
        tokio::spawn(async move {
            let mut is_first = true;
            while let Some(message) = messages.next().await {
                // Of a batch, only the last message asks for an answer.
                let Some(reply) = message.reply else { continue };
                if !std::mem::take(&mut is_first) {
                    let known = r#"{"stream":"S","seq":1,"duplicate":true}"#;
                    nats.publish(reply, known.into()).await.expect("it is answered");
                }
            }
        });
    }

    #[tokio::test]
    async fn after_a_lost_acknowledgement_it_is_unclear_whether_a_command_was_known() {
        let server = TestServer::start().await;
        let nats = server.jetstream().await.client();
        // By itself, and in a batch.
        for (subject, count) in [("one", 1), ("many", MAX_SINGLES + 1)] {
            lose_first_answer(&nats, subject).await;
            let message = |number: usize| Outgoing {
                subject: subject.to_owned(),
                headers: HeaderMap::new(),
                payload: number.to_string().into(),
            };
            let written = write_together(&nats, (0..count).map(message).collect()).await;
            assert_eq!(written.len(), count);
            for receipt in written {
                assert_eq!(receipt.expect("it is written"), Receipt::Unclear, "one of {count}");
            }
        }
    }
}
