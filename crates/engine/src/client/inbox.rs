//! Writing into the inbox: commands of many senders go in together, with one fsync; a few go in one
//! by one, which is sooner.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::Client as Nats;
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{OnceCell, mpsc, oneshot},
    time::{Instant, sleep},
};

use crate::jetstream::publish::{
    DUPLICATE_IN_BATCH, MAX_PIPELINED, Outgoing, PublishError, is_storage_refusal, publish,
    publish_within,
};

/// Commands that wait to be written; senders wait beyond that.
const MAX_WAITING: usize = 1000;
/// Commands written at once.
const MAX_TOGETHER: usize = 500;
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

/// The writers of all partitions; each starts when it is first needed.
#[derive(Debug)]
pub(crate) struct Inboxes {
    nats: Nats,
    writers: Vec<OnceCell<mpsc::Sender<Waiting>>>,
    failure: Failure,
}

/// When a command could not be written last, and why; absent since one was written.
type Failure = Arc<Mutex<Option<(Instant, InboxError)>>>;

/// A command that waits to be written, and who wants to know whether it was a duplicate.
struct Waiting {
    message: Outgoing,
    written: oneshot::Sender<Result<bool, InboxError>>,
}

impl Inboxes {
    pub(crate) fn new(nats: Nats, partitions: u32) -> Self {
        let writers = (0..partitions).map(|_| OnceCell::new()).collect();
        Self { nats, writers, failure: Failure::default() }
    }

    /// Why no command could be written of late. Forgotten after a while: nobody may send any more
    /// because of it.
    pub(crate) fn recent_failure(&self) -> Option<InboxError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |(at, _): &&(Instant, InboxError)| at.elapsed() < FAILURE_TTL;
        failure.as_ref().filter(is_recent).map(|(_, error)| error.clone())
    }

    /// Writes a command; true when the inbox held it already.
    pub(crate) async fn write(
        &self,
        partition: u32,
        message: Outgoing,
    ) -> Result<bool, InboxError> {
        let gone = || InboxError::Unknown("the writer has stopped".to_owned());
        let writer = self.writers[partition as usize]
            .get_or_init(|| async {
                let (queue, waiting) = mpsc::channel(MAX_WAITING);
                tokio::spawn(write_all(self.nats.clone(), self.failure.clone(), waiting));
                queue
            })
            .await;
        let (written, outcome) = oneshot::channel();
        writer.send(Waiting { message, written }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

/// Writes what waits, together, until nobody can send any more.
async fn write_all(nats: Nats, failure: Failure, mut waiting: mpsc::Receiver<Waiting>) {
    let mut together = Vec::with_capacity(MAX_TOGETHER);
    while waiting.recv_many(&mut together, MAX_TOGETHER).await > 0 {
        let (messages, writers): (Vec<_>, Vec<_>) =
            together.drain(..).map(|one| (one.message, one.written)).unzip();
        let outcomes = write_together(&nats, messages).await;
        note_failure(&failure, &outcomes);
        for (writer, outcome) in writers.into_iter().zip(outcomes) {
            writer.send(outcome).ok();
        }
    }
}

fn note_failure(failure: &Failure, outcomes: &[Result<bool, InboxError>]) {
    let is_any_written = outcomes.iter().any(Result::is_ok);
    let error = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
    let failed = error.filter(|_| !is_any_written).map(|error| (Instant::now(), error.clone()));
    *failure.lock().unwrap_or_else(PoisonError::into_inner) = failed;
}

/// Writes messages as one batch. The server refuses a batch in which it knows an id, and does not say
/// which: then each half is tried by itself, so that a duplicate costs a few batches and not all the
/// others a write of their own.
async fn write_together(nats: &Nats, messages: Vec<Outgoing>) -> Vec<Result<bool, InboxError>> {
    let count = messages.len();
    if count <= MAX_PIPELINED {
        return write_each(nats, messages).await;
    }
    match publish(nats, messages.clone(), None).await {
        Ok(stored) => vec![Ok(stored.duplicate); count],
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
            write_each(nats, messages).await
        }
    }
}

async fn write_each(nats: &Nats, messages: Vec<Outgoing>) -> Vec<Result<bool, InboxError>> {
    let mut outcomes: Vec<_> =
        messages.iter().map(|_| Err(InboxError::Unknown("it was not tried".to_owned()))).collect();
    let mut writing: FuturesUnordered<_> = messages
        .into_iter()
        .enumerate()
        .map(|(index, message)| async move { (index, write_one(nats, message).await) })
        .collect();
    while let Some((index, outcome)) = writing.next().await {
        outcomes[index] = outcome;
    }
    outcomes
}

async fn write_one(nats: &Nats, message: Outgoing) -> Result<bool, InboxError> {
    let deadline = Instant::now() + WRITE_TIMEOUT;
    loop {
        match publish_within(nats, vec![message.clone()], None, TRY_TIMEOUT).await {
            Ok(stored) => return Ok(stored.duplicate),
            Err(PublishError::Refused { code, description }) if is_storage_refusal(code) => {
                return Err(InboxError::Full(format!("{description} ({code})")));
            }
            Err(PublishError::Refused { description, .. }) if Instant::now() >= deadline => {
                return Err(InboxError::Refused(description));
            }
            Err(error) if Instant::now() >= deadline => {
                return Err(InboxError::Unknown(error.to_string()));
            }
            Err(_) => sleep(RETRY_PAUSE).await,
        }
    }
}
