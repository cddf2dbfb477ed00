//! Questions on their way, and their answers.
//!
//! A message costs more than the question in it. So questions to a partition that come at the same time go
//! out in one message, and answers that are ready at the same time come back in one. Nothing waits for
//! that: what is there is sent. A question that takes long holds up no other, because each has an answer of
//! its own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Client as Nats, Message, StatusCode, SubscribeError, Subscriber};
use futures::StreamExt;
use prost::Message as _;
use protocol::proto::{Queries, Query, QueryResponses, query_response::Outcome};
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

/// The most questions of a message.
const MAX_QUERIES: usize = 256;
/// The bytes of questions after which a message takes no more of them.
const MAX_QUERIES_BYTES: usize = 128 * 1024;
/// Questions that wait to be sent; whoever asks then waits for room.
const MAX_UNSENT: usize = 1_024;
/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// Nobody runs the partition.
    Nobody,
    /// No answer came in time.
    Silent,
}

/// Whom a question is for: a service and a partition.
type Addressee = (String, u32);

/// Asks questions, and receives what they are answered.
#[derive(Debug)]
pub(super) struct Asking {
    unsent: mpsc::Sender<(Addressee, Query)>,
    expected: Expected,
    next_id: AtomicU64,
    _sending: AbortOnDropHandle<()>,
    _receiving: AbortOnDropHandle<()>,
}

/// The answers that are waited for, by the id of the question.
#[derive(Debug, Clone, Default)]
struct Expected(Arc<Mutex<HashMap<u64, Waiter>>>);

#[derive(Debug)]
struct Waiter {
    /// The message that the question is in; 0 before it is sent.
    message: u64,
    answer: oneshot::Sender<Result<Option<Outcome>, Unanswered>>,
}

/// An answer that is waited for. Dropping it forgets the question.
struct Wait<'a> {
    expected: &'a Expected,
    id: u64,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.expected.lock().remove(&self.id);
    }
}

impl Asking {
    /// Receives answers below the subject `reply_to`.
    pub(super) async fn start(nats: Nats, reply_to: &str) -> Result<Self, SubscribeError> {
        let answers = nats.subscribe(format!("{reply_to}.*")).await?;
        let (unsent, queue) = mpsc::channel(MAX_UNSENT);
        let expected = Expected::default();
        let sending = send(nats, reply_to.to_owned(), queue, expected.clone());
        let receiving = receive(answers, expected.clone());
        Ok(Self {
            unsent,
            expected,
            next_id: AtomicU64::new(1),
            _sending: AbortOnDropHandle::new(tokio::spawn(sending)),
            _receiving: AbortOnDropHandle::new(tokio::spawn(receiving)),
        })
    }

    /// Asks whoever runs a partition of a service.
    pub(super) async fn ask(
        &self,
        addressee: Addressee,
        mut query: Query,
    ) -> Result<Option<Outcome>, Unanswered> {
        query.id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter { message: 0, answer };
        self.expected.lock().insert(query.id, waiter);
        let _wait = Wait { expected: &self.expected, id: query.id };
        let asking = async {
            self.unsent.send((addressee, query)).await.map_err(|_| Unanswered::Silent)?;
            answered.await.unwrap_or(Err(Unanswered::Silent))
        };
        timeout(ANSWER_TIMEOUT, asking).await.unwrap_or(Err(Unanswered::Silent))
    }
}

impl Expected {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waiter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes in which message questions are; those that nobody waits for any more are left out of it.
    fn sent_in(&self, message: u64, queries: &mut Vec<Query>) {
        let mut expected = self.lock();
        queries.retain(|query| match expected.get_mut(&query.id) {
            Some(waiter) => {
                waiter.message = message;
                true
            }
            None => false,
        });
    }

    /// Gives an answer to whoever waits for it.
    fn answer(&self, id: u64, answer: Result<Option<Outcome>, Unanswered>) {
        if let Some(waiter) = self.lock().remove(&id) {
            waiter.answer.send(answer).ok();
        }
    }

    /// Tells all whose questions are in a message that they are not answered.
    fn fail(&self, message: u64, reason: Unanswered) {
        for (_, waiter) in self.lock().extract_if(|_, waiter| waiter.message == message) {
            waiter.answer.send(Err(reason)).ok();
        }
    }
}

/// Sends what is asked, as many questions in a message as there are.
async fn send(
    nats: Nats,
    reply_to: String,
    mut queue: mpsc::Receiver<(Addressee, Query)>,
    expected: Expected,
) {
    let mut message = 0;
    while let Some(first) = queue.recv().await {
        // Others that are about to ask do so now.
        yield_now().await;
        let mut by_addressee: HashMap<Addressee, Vec<Query>> = HashMap::new();
        let (mut count, mut bytes, mut next) = (0, 0, Some(first));
        while let Some((addressee, query)) = next {
            count += 1;
            bytes += query.encoded_len();
            by_addressee.entry(addressee).or_default().push(query);
            let is_full = count >= MAX_QUERIES || bytes >= MAX_QUERIES_BYTES;
            next = if is_full { None } else { queue.try_recv().ok() };
        }
        for ((service, partition), mut queries) in by_addressee {
            message += 1;
            expected.sent_in(message, &mut queries);
            if queries.is_empty() {
                continue;
            }
            let subject = format!("query.{service}.{partition}");
            let payload = Queries { queries }.encode_to_vec();
            let reply = format!("{reply_to}.{message}");
            if let Err(error) = nats.publish_with_reply(subject, reply, payload.into()).await {
                tracing::debug!(service, partition, %error, "could not send questions");
                expected.fail(message, Unanswered::Silent);
            }
        }
    }
}

/// Gives the answers that come to those who wait for them.
async fn receive(mut answers: Subscriber, expected: Expected) {
    while let Some(message) = answers.next().await {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            if let Some(message) = number(&message) {
                expected.fail(message, Unanswered::Nobody);
            }
            continue;
        }
        match QueryResponses::decode(message.payload) {
            Ok(QueryResponses { responses }) => {
                for response in responses {
                    expected.answer(response.id, Ok(response.outcome));
                }
            }
            Err(error) => tracing::warn!(%error, "cannot read the answers to questions"),
        }
    }
}

/// The number of the message with questions to which this one is an answer.
fn number(answer: &Message) -> Option<u64> {
    answer.subject.rsplit('.').next()?.parse().ok()
}
