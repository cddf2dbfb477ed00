//! The sender's side: commands into the inbox, answers out of it, questions.

mod asking;
pub(crate) mod changes;
pub(crate) mod commands;
pub(crate) mod feed;
pub(crate) mod inbox;
pub(crate) mod questions;
pub(crate) mod ready;
pub(crate) mod requests;
pub(crate) mod side_stream;
#[cfg(test)]
mod tests;
pub(crate) mod watch;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_nats::{Client as Nats, HeaderMap, jetstream::Context};
use futures::StreamExt;
use prost::Message;
use protocol::{
    command::OutgoingCommand,
    id::Shop,
    proto::{Replies, Reply},
    subject::{self, AFTER_HEADER, AGGREGATE_HEADER, Lane, REPLY_HEADER},
};
use tokio::{
    sync::{OnceCell, oneshot},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::{
    client::asking::Asking,
    client::changes::Topics,
    client::inbox::{InboxError, Inboxes, Receipt},
    client::watch::{Watch, Watches},
    jetstream::{monitor::Monitor, publish::Outgoing, retry::jittered},
    worker::reply::{CommandKey, command_key},
};

/// How long the inbox may take at least, however short the sender's timeout is.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a sender waits for a reply before it asks for the answer: replies can be lost.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause between two such questions, and two tries of one that nobody took.
const QUERY_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause between two queries for the answer to a command; each is twice as long as the
/// one before, so that many who wait do not ask all the time.
const MAX_QUERY_RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Sends commands and asks questions; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    nats: Nats,
    context: Context,
    monitor: Monitor,
    partitions: u32,
    /// Where the replies to this client go, and, below it, the answers to its questions.
    reply_to: String,
    waiting: Arc<Mutex<HashMap<CommandKey, Vec<oneshot::Sender<Reply>>>>>,
    /// Stops listening with this client.
    listening: OnceLock<AbortOnDropHandle<()>>,
    /// Begins with the first question.
    asking: OnceCell<Asking>,
    inboxes: Inboxes,
    watches: Watches,
    topics: Topics,
    /// By service and partition: the last position in its log that an answer named.
    seen: Mutex<HashMap<(String, u32), u64>>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was handled.
    Answered(Answered),
    /// It is in the inbox and will be handled; no answer came in time.
    Pending,
}

/// A command that is in the inbox.
#[derive(Debug)]
pub struct Written {
    key: CommandKey,
    shop: Shop,
    partition: u32,
    /// Whether the inbox held it already.
    duplicate: bool,
    /// The sequence of the last answer that no longer counts, since the command is decided anew.
    superseded: u64,
    reply: oneshot::Receiver<Reply>,
    /// How long its answer is waited for.
    deadline: Instant,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The position in the service's own log.
    pub sequence: u64,
    /// The fingerprint of what was handled under this id: if it is not that of the command sent
    /// now, the id was used before, for something else.
    pub fingerprint: String,
    /// The answer, as the service encodes it.
    pub body: Vec<u8>,
    /// Whether the command was handled before.
    pub repeated: bool,
}

/// The id by which the inbox knows a command.
fn message_id((service, shop, command): &CommandKey) -> String {
    format!("{service}/{shop}/{command}")
}

/// A command could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The shop is none.
    #[error(transparent)]
    Shop(#[from] protocol::id::ParseError),
    /// The inbox does not take it now.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// Replies cannot be received.
    #[error("cannot listen for replies")]
    Listen(#[from] async_nats::SubscribeError),
}

impl Client {
    #[expect(clippy::disallowed_methods, reason = "names this client among all that run")]
    pub(crate) fn new(nats: Nats, context: Context, monitor: Monitor, partitions: u32) -> Self {
        Self(Arc::new(Inner {
            reply_to: format!("reply.{}", Uuid::now_v7().simple()),
            waiting: Arc::default(),
            listening: OnceLock::new(),
            asking: OnceCell::new(),
            inboxes: Inboxes::new(nats.clone(), partitions),
            watches: Watches::new(context.clone()),
            topics: Topics::default(),
            seen: Mutex::default(),
            nats,
            context,
            monitor,
            partitions,
        }))
    }

    /// The partition of a shop.
    pub fn partition(&self, shop: &Shop) -> u32 {
        subject::partition(shop, self.0.partitions)
    }

    /// How many partitions the installation has.
    pub fn partitions(&self) -> u32 {
        self.0.partitions
    }

    /// Writes a command to the inbox and waits for its answer, for `timeout` at most. When this
    /// returns without an error, the command is stored and will be handled, once.
    pub async fn send(
        &self,
        lane: Lane,
        command: OutgoingCommand,
        timeout: Duration,
    ) -> Result<Outcome, SendError> {
        let written = self.write(lane, command, timeout).await?;
        Ok(self.answer(written).await)
    }

    /// Writes a command to the inbox; `timeout` is how long its answer may then be waited for,
    /// from now on.
    pub async fn write(
        &self,
        lane: Lane,
        mut command: OutgoingCommand,
        timeout: Duration,
    ) -> Result<Written, SendError> {
        let deadline = Instant::now() + timeout;
        self.listen().await?;
        let shop = Shop::parse_or_unknown(&command.envelope.shop)?;
        let partition = subject::partition(&shop, self.0.partitions);
        self.note_seen(&mut command.envelope.after, partition);
        let key = (command.service.to_owned(), shop.to_string(), command.envelope.id.clone());
        let reply = self.expect_reply(key.clone());
        let mut message = self.seal(&command, lane, partition, &shop);
        let store_deadline = deadline.max(Instant::now() + STORE_TIMEOUT);
        let mut receipt = self.store(lane, &shop, message.clone(), store_deadline).await?;
        let mut superseded = 0;
        // What had no effect is decided anew. The inbox would drop it, so it gets another id there,
        // the same for all who send it again after that answer.
        if receipt != Receipt::New
            && let Ok(Ok(Some(answered))) =
                timeout_at(deadline, self.find_reply(command.service, &shop, &key.2, 0)).await
            && !answered.has_effect
            // What has come by now is the answer to what was stored now.
            && reply.is_empty()
        {
            superseded = answered.sequence;
            let id = format!("{}/{superseded}", message_id(&key));
            message.headers.insert("Nats-Msg-Id", id);
            receipt = self.store(lane, &shop, message, store_deadline).await?;
        }
        let duplicate = receipt == Receipt::Known;
        Ok(Written { key, shop, partition, duplicate, superseded, reply, deadline })
    }

    /// Stores a command in the inbox.
    async fn store(
        &self,
        lane: Lane,
        shop: &Shop,
        message: Outgoing,
        deadline: Instant,
    ) -> Result<Receipt, InboxError> {
        let partition = subject::partition(shop, self.0.partitions);
        let writing = self.0.inboxes.write((partition, lane), shop.clone(), message);
        let written = timeout_at(deadline, writing).await;
        written.unwrap_or_else(|_| Err(InboxError::silent()))
    }

    /// Waits for the answer to a command that is in the inbox.
    pub async fn answer(&self, written: Written) -> Outcome {
        let Written { key, shop, partition, duplicate, superseded, mut reply, deadline } = written;
        let (service, _, id) = key;
        let ask_after = if duplicate { Duration::ZERO } else { REPLY_TIMEOUT };
        let ask_at = deadline.min(Instant::now() + ask_after);
        let asking = async {
            sleep_until(ask_at).await;
            self.ask_for_answer(&service, &shop, &id, superseded, deadline).await
        };
        // A reply that comes late is still the better answer: what is found when the service is asked
        // looks the same whether it was answered just now or long ago.
        let answered = tokio::select! {
            biased;
            Ok(reply) = &mut reply => Some(reply),
            found = asking => found,
        };
        let Some(reply) = answered else { return Outcome::Pending };
        self.note_position(&service, partition, reply.sequence);
        Outcome::Answered(Answered {
            sequence: reply.sequence,
            fingerprint: reply.fingerprint,
            body: reply.body,
            repeated: reply.is_repeated || duplicate,
        })
    }

    fn seal(&self, command: &OutgoingCommand, lane: Lane, partition: u32, shop: &Shop) -> Outgoing {
        let OutgoingCommand { service, name, aggregate, envelope, .. } = command;
        let mut headers = HeaderMap::new();
        let key = ((*service).to_owned(), shop.to_string(), envelope.id.clone());
        headers.insert("Nats-Msg-Id", message_id(&key));
        headers.insert(AGGREGATE_HEADER, aggregate.as_str());
        headers.insert(REPLY_HEADER, self.0.reply_to.as_str());
        if !envelope.after.is_empty() {
            let mut after: Vec<_> = envelope.after.iter().collect();
            after.sort_unstable();
            let after: Vec<_> =
                after.into_iter().map(|(service, seen)| format!("{service}={seen}")).collect();
            headers.insert(AFTER_HEADER, after.join(","));
        }
        Outgoing {
            subject: subject::command(partition, lane, service, shop, name),
            headers,
            payload: command.encode().into(),
        }
    }

    /// Asks the service again and again what it answered after the `superseded` answer.
    async fn ask_for_answer(
        &self,
        service: &str,
        shop: &Shop,
        command: &str,
        superseded: u64,
        deadline: Instant,
    ) -> Option<Reply> {
        let mut pause = QUERY_RETRY_PAUSE;
        while Instant::now() < deadline {
            match timeout_at(deadline, self.find_reply(service, shop, command, 0)).await {
                Ok(Ok(Some(reply))) if reply.sequence > superseded && reply.dropped.is_none() => {
                    return Some(reply);
                }
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(error)) => {
                    tracing::debug!(service, command, %error, "could not ask for an answer");
                }
            }
            sleep_until(deadline.min(Instant::now() + jittered(pause))).await;
            pause = (pause * 2).min(MAX_QUERY_RETRY_PAUSE);
        }
        None
    }

    /// Watches for one of `events` of an aggregate in a service's log. To be called before what
    /// leads to it is sent.
    pub async fn watch(
        &self,
        service: &'static str,
        events: &'static [&'static str],
        shop: &Shop,
        aggregate: &str,
    ) -> Result<Watch, crate::Error> {
        let partition = subject::partition(shop, self.0.partitions);
        self.0.watches.watch(service, events, partition, shop, aggregate).await
    }

    fn expect_reply(&self, key: CommandKey) -> oneshot::Receiver<Reply> {
        let (waiter, reply) = oneshot::channel();
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiters = waiting.entry(key).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(waiter);
        reply
    }

    /// Begins to listen for replies, once.
    async fn listen(&self) -> Result<(), SendError> {
        if self.0.listening.get().is_some() {
            return Ok(());
        }
        let mut replies = self.0.nats.subscribe(self.0.reply_to.clone()).await?;
        let waiting = self.0.waiting.clone();
        let listener = tokio::spawn(async move {
            while let Some(message) = replies.next().await {
                let replies = match Replies::decode(message.payload) {
                    Ok(Replies { replies }) => replies,
                    Err(error) => {
                        tracing::warn!(%error, "cannot read replies; their services are asked");
                        continue;
                    }
                };
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                for reply in replies {
                    for waiter in waiting.remove(&command_key(&reply)).unwrap_or_default() {
                        waiter.send(reply.clone()).ok();
                    }
                }
                waiting.retain(|_, waiters| waiters.iter().any(|waiter| !waiter.is_closed()));
            }
        });
        // Two may come here at once: then one of them listens.
        self.0.listening.set(AbortOnDropHandle::new(listener)).ok();
        Ok(())
    }

    /// Adds what this client has seen of other services, so that the command is handled after it.
    fn note_seen(&self, after: &mut HashMap<String, u64>, partition: u32) {
        let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for ((service, of), sequence) in seen.iter().filter(|((_, of), _)| *of == partition) {
            debug_assert_eq!(*of, partition);
            let seen = after.entry(service.clone()).or_default();
            *seen = (*seen).max(*sequence);
        }
    }

    fn position(&self, service: &str, partition: u32) -> u64 {
        let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&(service.to_owned(), partition)).copied().unwrap_or(0)
    }

    fn note_position(&self, service: &str, partition: u32, sequence: u64) {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.entry((service.to_owned(), partition)).or_default();
        *known = (*known).max(sequence);
    }
}
