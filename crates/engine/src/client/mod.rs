//! The sender's side: commands into the inbox, answers out of it, questions.

pub(crate) mod inbox;
pub(crate) mod watch;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_nats::{Client as Nats, HeaderMap, RequestErrorKind, jetstream::Context};
use events::{
    id::Shop,
    proto,
    subject::{self, AFTER_HEADER, AGGREGATE_HEADER, Lane, REPLY_HEADER},
};
use futures::StreamExt;
use prost::Message;
use serde_json::Value;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::{
    client::inbox::{InboxError, Inboxes},
    client::watch::{Watch, Watches},
    jetstream::publish::Outgoing,
    operate::parked::{ParkedView, RedriveOrder, Redriving},
    worker::query::{self, Question, Reported},
    worker::reply::{Asked, Reply},
};

/// How long the inbox may take at least, however short the sender's patience is.
const STORE_WITHIN: Duration = Duration::from_secs(2);
/// How long a sender waits for a reply before it asks for the answer: replies can be lost.
const ASK_AFTER: Duration = Duration::from_secs(2);
/// The pause between two such questions, and two tries of one that nobody took.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long a question is tried while nobody runs the partition.
const QUESTION_WITHIN: Duration = Duration::from_secs(5);

/// Sends commands and asks questions; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    nats: Nats,
    context: Context,
    partitions: u32,
    /// Where the replies to this client go.
    reply_to: String,
    waiting: Arc<Mutex<HashMap<Asked, Vec<oneshot::Sender<Reply>>>>>,
    /// Stops listening with this client.
    listening: OnceLock<AbortOnDropHandle<()>>,
    inboxes: Inboxes,
    watches: Watches,
    /// By partition: the last position in the catalogue that an answer told.
    catalog: Mutex<HashMap<u32, u64>>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was handled.
    Answered(Answered),
    /// It is in the inbox and will be handled; no answer came in time.
    Pending,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The position in the service's own log.
    pub sequence: u64,
    /// The fingerprint of what was handled under this id: if it is not that of the command sent
    /// now, the id was used before, for something else.
    pub fingerprint: String,
    /// The answer as JSON, a type of [`events::answer`].
    pub body: String,
    /// Whether the command was handled before.
    pub repeated: bool,
}

/// A command could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The command says nothing.
    #[error("the command has no body")]
    Empty,
    /// The shop is none.
    #[error(transparent)]
    Shop(#[from] events::id::ParseError),
    /// The inbox does not take it now.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// Replies cannot be received.
    #[error("cannot listen for replies")]
    Listen(#[from] async_nats::SubscribeError),
}

/// A question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody runs that service and partition, or does not answer in time.
    #[error("{service} does not answer")]
    Silent {
        /// The service.
        service: String,
    },
    /// The service says why.
    #[error("{service}: {problem}")]
    Refused {
        /// The service.
        service: String,
        /// What it says.
        problem: String,
    },
    /// The answer is not what it should be.
    #[error("the answer of {service} does not parse")]
    Garbled {
        /// The service.
        service: String,
        /// What the parser says.
        source: serde_json::Error,
    },
}

impl Client {
    #[expect(clippy::disallowed_methods, reason = "names this client among all that run")]
    pub(crate) fn new(nats: Nats, context: Context, partitions: u32) -> Self {
        Self(Arc::new(Inner {
            reply_to: format!("reply.{}", Uuid::now_v7().simple()),
            waiting: Arc::default(),
            listening: OnceLock::new(),
            inboxes: Inboxes::new(nats.clone(), partitions),
            watches: Watches::new(context.clone()),
            catalog: Mutex::default(),
            nats,
            context,
            partitions,
        }))
    }

    /// Whether NATS is connected and JetStream answers.
    pub async fn ready(&self) -> Result<(), AskError> {
        let answer = self.0.context.get_stream(&crate::jetstream::streams::inbox(0)).await;
        answer.map(|_| ()).map_err(|error| AskError::Refused {
            service: "JetStream".to_owned(),
            problem: error.to_string(),
        })
    }

    /// Writes a command to the inbox and waits for its answer, for `patience` at most. When this
    /// returns without an error, the command is stored and will be handled, once.
    pub async fn send(
        &self,
        lane: Lane,
        mut command: proto::Command,
        patience: Duration,
    ) -> Result<Outcome, SendError> {
        let deadline = Instant::now() + patience;
        self.listen().await?;
        let shop = Shop::parse(&command.shop)?;
        let partition = subject::partition(&shop, self.0.partitions);
        if command.after_catalog == 0 {
            command.after_catalog = self.catalog_position(partition);
        }
        let (service, _) = subject::command_kind(command.body.as_ref().ok_or(SendError::Empty)?);
        let asked = (service.to_owned(), shop.clone(), command.id.clone());
        let reply = self.expect_reply(asked);
        let message = self.seal(&command, lane, partition, &shop)?;
        let within = deadline.max(Instant::now() + STORE_WITHIN);
        let written = timeout_at(within, self.0.inboxes.write(partition, message)).await;
        let duplicate = written.unwrap_or_else(|_| Err(InboxError::silent()))?;
        let ask_after = if duplicate { Duration::ZERO } else { ASK_AFTER };
        let answered = match timeout_at(deadline.min(Instant::now() + ask_after), reply).await {
            Ok(Ok(reply)) => Some(reply),
            _ => self.ask_for_answer(service, &shop, &command.id, deadline).await,
        };
        let Some(reply) = answered else { return Ok(Outcome::Pending) };
        if service == "catalog" {
            self.note_catalog_position(partition, reply.sequence);
        }
        Ok(Outcome::Answered(Answered {
            sequence: reply.sequence,
            fingerprint: reply.fingerprint,
            body: reply.body,
            repeated: reply.repeated || duplicate,
        }))
    }

    fn seal(
        &self,
        command: &proto::Command,
        lane: Lane,
        partition: u32,
        shop: &Shop,
    ) -> Result<Outgoing, SendError> {
        let body = command.body.as_ref().ok_or(SendError::Empty)?;
        let (service, kind) = subject::command_kind(body);
        let aggregate = match body {
            proto::command::Body::PlaceOrder(order) => &order.order_id,
            proto::command::Body::CancelOrder(order) => &order.order_id,
            // Many aggregates at once; nothing else waits for these.
            proto::command::Body::PutProducts(_) | proto::command::Body::RecordStock(_) => {
                &command.id
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{service}/{shop}/{}", command.id));
        headers.insert(AGGREGATE_HEADER, aggregate.as_str());
        headers.insert(REPLY_HEADER, self.0.reply_to.as_str());
        if command.after_catalog > 0 {
            headers.insert(AFTER_HEADER, command.after_catalog.to_string());
        }
        Ok(Outgoing {
            subject: subject::command(partition, lane, service, shop, kind),
            headers,
            payload: command.encode_to_vec().into(),
        })
    }

    /// Asks the service again and again what it answered.
    async fn ask_for_answer(
        &self,
        service: &str,
        shop: &Shop,
        command: &str,
        deadline: Instant,
    ) -> Option<Reply> {
        loop {
            let question = self.query(service, shop, query::ANSWER, command.into(), 0);
            if let Ok(Ok(Some(answer))) = timeout_at(deadline, question).await
                && let Ok(reply) = serde_json::from_value(answer)
            {
                return Some(reply);
            }
            timeout_at(deadline, sleep(ASK_EVERY)).await.ok();
            if Instant::now() >= deadline {
                return None;
            }
        }
    }

    /// Asks a service about a shop. The answer holds the service's own log up to `at_least`;
    /// `None` when there is nothing of that name.
    pub async fn query(
        &self,
        service: &str,
        shop: &Shop,
        name: &str,
        parameters: Value,
        at_least: u64,
    ) -> Result<Option<Value>, AskError> {
        let partition = subject::partition(shop, self.0.partitions);
        self.ask(service, partition, shop, name, &Question { at_least, parameters }).await
    }

    /// Asks whoever runs a partition.
    async fn ask(
        &self,
        service: &str,
        partition: u32,
        shop: &Shop,
        name: &str,
        question: &Question,
    ) -> Result<Option<Value>, AskError> {
        let garbled = |source| AskError::Garbled { service: service.to_owned(), source };
        let subject = format!("query.{service}.{partition}.{shop}.{name}");
        let payload = serde_json::to_vec(question).map_err(garbled)?;
        let deadline = Instant::now() + QUESTION_WITHIN;
        loop {
            match self.0.nats.request(subject.clone(), payload.clone().into()).await {
                Ok(message) => {
                    let reported = serde_json::from_slice(&message.payload).map_err(garbled)?;
                    return match reported {
                        Reported::Answer(Value::Null) => Ok(None),
                        Reported::Answer(answer) => Ok(Some(answer)),
                        Reported::Error(problem) => {
                            Err(AskError::Refused { service: service.to_owned(), problem })
                        }
                    };
                }
                // A partition changes hands: somebody else will take it.
                Err(error)
                    if error.kind() == RequestErrorKind::NoResponders
                        && Instant::now() < deadline =>
                {
                    sleep(ASK_EVERY).await;
                }
                Err(_) => return Err(AskError::Silent { service: service.to_owned() }),
            }
        }
    }

    /// Where each partition of a service stands: by source, the last sequence handled.
    pub async fn positions(&self, service: &str) -> Result<Vec<HashMap<String, u64>>, AskError> {
        self.ask_all(service, query::POSITIONS).await
    }

    /// What is parked in a service.
    pub async fn parked(&self, service: &str) -> Result<Vec<ParkedView>, AskError> {
        let parked: Vec<Vec<ParkedView>> = self.ask_all(service, query::PARKED).await?;
        Ok(parked.into_iter().flatten().collect())
    }

    /// Lets what is parked for an aggregate be handled again, in order. `id` is the first of them;
    /// `edited` its message as protobuf JSON, as it should have been.
    pub async fn redrive(
        &self,
        service: &str,
        partition: u32,
        id: &str,
        edited: Option<Value>,
    ) -> Result<Redriving, AskError> {
        let garbled = |source| AskError::Garbled { service: service.to_owned(), source };
        let order = RedriveOrder { id: id.to_owned(), edited };
        let parameters = serde_json::to_value(order).map_err(garbled)?;
        let question = Question { at_least: 0, parameters };
        let shop = Shop::unknown();
        let answer = self.ask(service, partition, &shop, query::REDRIVE, &question).await?;
        serde_json::from_value(answer.unwrap_or_default()).map_err(garbled)
    }

    async fn ask_all<T: serde::de::DeserializeOwned>(
        &self,
        service: &str,
        name: &str,
    ) -> Result<Vec<T>, AskError> {
        let mut answers = Vec::new();
        for partition in 0..self.0.partitions {
            let question = Question { at_least: 0, parameters: Value::Null };
            let answer = self.ask(service, partition, &Shop::unknown(), name, &question).await?;
            let answer = serde_json::from_value(answer.unwrap_or_default())
                .map_err(|source| AskError::Garbled { service: service.to_owned(), source })?;
            answers.push(answer);
        }
        Ok(answers)
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

    fn expect_reply(&self, asked: Asked) -> oneshot::Receiver<Reply> {
        let (tell, told) = oneshot::channel();
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiters = waiting.entry(asked).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(tell);
        told
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
                let Ok(replies) = serde_json::from_slice::<Vec<Reply>>(&message.payload) else {
                    continue;
                };
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                for reply in replies {
                    for waiter in waiting.remove(&reply.asked()).unwrap_or_default() {
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

    fn catalog_position(&self, partition: u32) -> u64 {
        let known = self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&partition).copied().unwrap_or(0)
    }

    fn note_catalog_position(&self, partition: u32, sequence: u64) {
        let mut known = self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner);
        let position = known.entry(partition).or_default();
        *position = sequence.max(*position);
    }
}
