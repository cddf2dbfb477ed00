//! Questions: asked by NATS request, answered from the projection by whoever runs the partition.
//!
//! Subject `query.<service>.<partition>`; the body is `Queries`, and what is sent back are `QueryResponses`: of each
//! question one answer, as soon as it is found, together with the others of its sender that are ready.

mod sending;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_nats::{Client, Message, Subject, jetstream};
use futures::{FutureExt, StreamExt};
use prost::Message as _;
use protocol::{
    id::Shop,
    proto::{
        self, QueryFailureKind, engine_question::Question as EngineQuestion, query::Question,
        query_response::Outcome,
    },
};
use sqlx::AnyPool;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use self::sending::send;
use crate::{
    QueryError, Revision, Service, WireError,
    error::describe,
    jetstream::streams,
    operate::parked::{First, RedriveRequest},
    projection::{
        documents,
        engine_rows::{AnswerRow, ParkedRow},
        fold::panic_text,
        store,
    },
    worker::{history, projected::Projected, rebuilds::Rebuilds, reply, slots::Slots},
};

/// Questions of a partition that are answered at the same time.
const MAX_QUERIES: usize = 6;
/// Of these, the most of one shop.
const MAX_QUERIES_OF_SHOP: usize = 4;
/// Questions that wait for the projection or for a slot; the next ones are not looked at before.
const MAX_WAITING: usize = 4_096;
/// How long a question waits for the projection to come as far as it asks for. Shorter than its sender
/// waits for the answer, which is 5 seconds.
const POSITION_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a question is worked on: its sender waits no longer for the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer, in bytes: below the server's `max_payload` of 1 MiB.
const MAX_ANSWER_BYTES: usize = 1_000_000;
/// Answers that are found and wait to be sent; the next ones wait for room.
const MAX_UNSENT: usize = 256;
/// Parked inputs of one page.
const PARKED_PAGE: i64 = 50;

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// It is no question that this version knows.
    #[error("the question cannot be read")]
    Unreadable(#[from] WireError),
    /// The database or the outside world failed.
    #[error(transparent)]
    Failed(#[from] QueryError),
    /// A function of the service panicked.
    #[error("{0}")]
    Panicked(String),
    /// The answer does not fit into a message.
    #[error("the answer has {0} bytes, and {MAX_ANSWER_BYTES} are the most; ask for less at once")]
    TooLarge(usize),
    /// What an operator wants is not possible.
    #[error("{0}")]
    Refused(String),
    /// The rows are being brought up to the log, or cannot be.
    #[error("{0}")]
    NotReady(String),
    /// What is asked for the answer takes too long.
    #[error("there was no answer within {ANSWER_TIMEOUT:?}")]
    TooSlow,
}

impl Failure {
    fn kind(&self) -> QueryFailureKind {
        match self {
            Self::Unreadable(_) => QueryFailureKind::Unreadable,
            Self::Failed(QueryError::Unreachable { .. }) => QueryFailureKind::Unreachable,
            Self::Failed(QueryError::Store(_) | QueryError::Outside(_))
            | Self::Panicked(_)
            | Self::TooSlow => QueryFailureKind::Failed,
            Self::TooLarge(_) => QueryFailureKind::TooLarge,
            Self::Refused(_) => QueryFailureKind::Refused,
            Self::NotReady(_) => QueryFailureKind::NotReady,
        }
    }
}

/// What questions are answered from.
pub(crate) struct Answering<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) partition: u32,
    pub(crate) client: Client,
    /// The connections for questions to all partitions: one is held only while the database is asked. Or why
    /// the partition cannot go on.
    pub(crate) rows: Result<AnyPool, String>,
    pub(crate) projected: Arc<Projected>,
    pub(crate) redrives: mpsc::Sender<RedriveRequest>,
    pub(crate) rebuilds: Arc<Rebuilds>,
}

impl<S: Service> Answering<S> {
    /// Answers questions until it is dropped.
    pub(crate) async fn run(self) -> Result<(), crate::Error> {
        let subject = format!("query.{}.{}", S::NAME, self.partition);
        let mut messages = self.client.subscribe(subject).await.map_err(|error| {
            crate::Error::jetstream("subscribe to questions of", S::NAME, error)
        })?;
        let (answers, unsent) = mpsc::channel(MAX_UNSENT);
        // It ends with the last answer: those that are ready are sent also when this is dropped.
        tokio::spawn(send(self.client.clone(), unsent));
        let this = Arc::new(self);
        let slots = Slots::new(MAX_QUERIES, MAX_QUERIES_OF_SHOP);
        let room = Arc::new(Semaphore::new(MAX_WAITING));
        let mut answering = JoinSet::new();
        while let Some(message) = messages.next().await {
            while answering.try_join_next().is_some() {}
            let Some((reply, queries)) = read(message) else { continue };
            for query in queries {
                let Ok(waiting) = room.clone().acquire_owned().await else { break };
                let (this, slots) = (this.clone(), slots.clone());
                let (reply, answers) = (reply.clone(), answers.clone());
                answering.spawn(async move {
                    let response = this.answer(query, &slots).await;
                    // It fails only when nothing is sent any more.
                    answers.send((reply, response)).await.ok();
                    drop(waiting);
                });
            }
        }
        // Nobody would answer any more, and nobody would notice.
        Err(crate::Error::StepEnded("its subscription to questions ended".to_owned()))
    }

    async fn answer(&self, query: proto::Query, slots: &Arc<Slots>) -> proto::QueryResponse {
        let (id, shop) = (query.id, query.shop.clone());
        let found = AssertUnwindSafe(self.find_in_time(query, slots)).catch_unwind().await;
        let found = found.unwrap_or_else(|panic| Err(Failure::Panicked(panic_text(&*panic))));
        let found = found.and_then(|found| match found {
            Some(found) if found.len() > MAX_ANSWER_BYTES => Err(Failure::TooLarge(found.len())),
            found => Ok(found),
        });
        let outcome = match found {
            Ok(Some(found)) => Outcome::Found(found),
            Ok(None) => Outcome::NotFound(proto::NotFound {}),
            Err(failure) => {
                let detail = describe(&failure);
                let (service, partition, error) = (S::NAME, self.partition, &detail);
                match failure.kind() {
                    QueryFailureKind::Failed => {
                        tracing::error!(
                            service,
                            partition,
                            shop,
                            error,
                            "cannot answer a question"
                        );
                    }
                    QueryFailureKind::Unreachable => {
                        tracing::warn!(
                            service,
                            partition,
                            shop,
                            error,
                            "cannot answer a question for now"
                        );
                    }
                    _ => {}
                }
                Outcome::Failure(proto::QueryFailure { kind: failure.kind().into(), detail })
            }
        };
        proto::QueryResponse { id, outcome: Some(outcome) }
    }

    /// What the question finds, encoded; within the time that its sender waits.
    async fn find_in_time(
        &self,
        query: proto::Query,
        slots: &Arc<Slots>,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let question = query.question.ok_or(WireError::Missing("question"))?;
        let shop = Shop::parse(&query.shop).unwrap_or_else(|_| Shop::unknown());
        let is_redrive = matches!(
            &question,
            Question::Engine(proto::EngineQuestion {
                question: Some(EngineQuestion::Redrive(_) | EngineQuestion::DropParked(_))
            })
        );
        let finding = self.find(query.at_least, question, shop, slots);
        if is_redrive {
            // The worker handles it all the same, and may have much to do before.
            return finding.await;
        }
        timeout(ANSWER_TIMEOUT, finding).await.unwrap_or(Err(Failure::TooSlow))
    }

    async fn find(
        &self,
        at_least: u64,
        question: Question,
        shop: Shop,
        slots: &Arc<Slots>,
    ) -> Result<Option<Vec<u8>>, Failure> {
        if let Question::Engine(question) = &question
            && let Some(state) = self.rebuild(question)
        {
            return Ok(Some(state.encode_to_vec()));
        }
        let pool = self.wait_for(at_least).await?;
        // Not before: who waits for a position takes no slot from others.
        let _slot = slots.acquire(&shop).await;
        match question {
            Question::Service(question) => {
                let question = S::question(&question)?;
                let found = self.service.query(pool, &shop, question).await?;
                Ok(found.map(S::encode_found))
            }
            Question::Engine(question) => {
                let question = question.question.ok_or(WireError::Missing("question"))?;
                self.find_of_engine(pool, &shop, question).await
            }
        }
    }

    /// Waits until the rows hold what the question asks for; they are there to be asked then.
    async fn wait_for(&self, position: u64) -> Result<&AnyPool, Failure> {
        let pool = self.rows.as_ref().map_err(|reason| Failure::NotReady(reason.clone()))?;
        if timeout(POSITION_TIMEOUT, self.projected.wait_for(position)).await.is_err() {
            if !self.projected.has_reached_log() {
                let reason = "the rows are being brought up to the log".to_owned();
                return Err(Failure::NotReady(reason));
            }
            // Rather a slightly older answer than none: the asker sees the version.
            let (service, partition) = (S::NAME, self.partition);
            tracing::debug!(service, partition, position, "answers from an older projection");
        }
        Ok(pool)
    }

    /// How a rebuild is, if the question is of one; also while the partition fails, because a rebuild
    /// may be what mends it.
    fn rebuild(
        &self,
        proto::EngineQuestion { question }: &proto::EngineQuestion,
    ) -> Option<proto::RebuildState> {
        match question {
            Some(EngineQuestion::StartRebuild(_)) => self.rebuilds.request(),
            Some(EngineQuestion::GetRebuild(_)) => {}
            _ => return None,
        }
        Some(self.rebuilds.state())
    }

    async fn find_of_engine(
        &self,
        pool: &AnyPool,
        shop: &Shop,
        question: EngineQuestion,
    ) -> Result<Option<Vec<u8>>, Failure> {
        Ok(match question {
            EngineQuestion::GetReply(proto::GetReply { command_id }) => {
                let known = documents::get::<AnswerRow>(pool, shop, &command_id).await;
                let known = known.map_err(QueryError::from)?;
                known
                    .map(|row| reply::reply(S::NAME, shop, &command_id, &row, true).encode_to_vec())
            }
            EngineQuestion::GetPositions(_) => {
                let mut db = pool.acquire().await.map_err(QueryError::from)?;
                let positions = store::positions(&mut db, self.partition).await;
                let positions = positions.map_err(QueryError::from)?.into_map().into_iter();
                let positions = positions.map(|(source, at)| (source, at.into())).collect();
                Some(proto::SourcePositions { positions }.encode_to_vec())
            }
            EngineQuestion::GetHistory(question) => {
                let history = self.history(pool, shop, question).await?;
                history.map(|history| history.encode_to_vec())
            }
            EngineQuestion::ListParked(proto::ListParked { after }) => {
                Some(self.parked_page(pool, after).await?.encode_to_vec())
            }
            EngineQuestion::GetParked(proto::GetParked { id, offset }) => {
                let row = store::parked_row(pool, &id).await.map_err(QueryError::from)?;
                row.map(|row| row.part(offset as usize).encode_to_vec())
            }
            EngineQuestion::StartRebuild(_) | EngineQuestion::GetRebuild(_) => {
                Some(self.rebuilds.state().encode_to_vec())
            }
            EngineQuestion::Redrive(proto::Redrive { id, edited }) => {
                let edited = edited.filter(|bytes| !bytes.is_empty());
                let first = edited.map_or(First::AsItCame, First::Edited);
                Some(self.redrive(id, first).await?.encode_to_vec())
            }
            EngineQuestion::DropParked(proto::DropParked { id, reason }) => {
                Some(self.redrive(id, First::Dropped(reason)).await?.encode_to_vec())
            }
        })
    }

    async fn history(
        &self,
        pool: &AnyPool,
        shop: &Shop,
        question: proto::GetHistory,
    ) -> Result<Option<proto::History>, QueryError> {
        let proto::GetHistory { aggregate_type, aggregate_id, before, limit } = question;
        let known = self.service.revision_of(pool, shop, &aggregate_type, &aggregate_id).await?;
        let Some(Revision { position, .. }) = known else { return Ok(None) };
        let log = streams::log(S::NAME, self.partition);
        let aggregate = (shop.as_str(), aggregate_type.as_str(), aggregate_id.as_str());
        let from = if before == 0 { position } else { before };
        let context = jetstream::new(self.client.clone());
        let history = history::read(&context, &log, aggregate, from, limit).await;
        Ok(Some(history.map_err(|error| QueryError::Outside(error.into()))?))
    }

    async fn parked_page(
        &self,
        pool: &AnyPool,
        after: u64,
    ) -> Result<proto::ParkedInputs, QueryError> {
        let parked = store::parked_page(pool, self.partition, after, PARKED_PAGE).await?;
        let is_last = parked.len() < PARKED_PAGE as usize;
        let next = parked.last().filter(|_| !is_last).map(|row| row.log_sequence);
        let inputs = parked.into_iter().map(ParkedRow::without_bytes).collect();
        Ok(proto::ParkedInputs { inputs, next })
    }

    async fn redrive(&self, id: String, first: First) -> Result<proto::RedriveOutcome, Failure> {
        let (answer, answered) = oneshot::channel();
        let stopped = || Failure::Refused("the worker is stopping".to_owned());
        let request = RedriveRequest { id, first, answer };
        self.redrives.send(request).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?.map_err(Failure::Refused)
    }
}

/// The questions of a message, and where their answers go.
fn read(message: Message) -> Option<(Subject, Vec<proto::Query>)> {
    let reply = message.reply?;
    match proto::Queries::decode(message.payload) {
        Ok(proto::Queries { queries }) => Some((reply, queries)),
        Err(error) => {
            tracing::debug!(subject = %message.subject, %error, "cannot read questions");
            None
        }
    }
}
