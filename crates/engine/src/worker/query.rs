//! Questions: asked by NATS request, answered from the projection by whoever runs the partition.
//!
//! Subject `query.<service>.<partition>.<shop>.<question>`; the body and the answer are JSON.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, Message};
use futures::StreamExt;
use protocol::id::Shop;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::AnyPool;
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    QueryError, Service,
    error::describe,
    operate::parked::{ParkedPage, ParkedQuestion, RedriveOrder, RedriveRequest},
    projection::{documents, engine_rows::AnswerRow, store},
    worker::{projected::Projected, reply::Reply},
};

/// Questions that are answered at the same time.
const MAX_QUERIES: usize = 6;
/// How long a question waits for the projection to come as far as it asks for.
const POSITION_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer, in bytes: below the server's `max_payload` of 1 MiB.
const MAX_ANSWER_BYTES: usize = 1_000_000;
/// Parked inputs of one page.
const PARKED_PAGE: i64 = 50;

/// The engine's own questions, which every service answers.
pub(crate) const ANSWER: &str = "engine.answer";
/// Where the partition stands.
pub(crate) const POSITIONS: &str = "engine.positions";
/// What is parked, a page without the bytes.
pub(crate) const PARKED: &str = "engine.parked";
/// One parked input, with a part of its bytes.
pub(crate) const PARKED_INPUT: &str = "engine.parked_input";
/// Rebuilds the partition beside its database.
pub(crate) const REBUILD: &str = "engine.rebuild";
/// Whether the partition is being rebuilt.
pub(crate) const IS_REBUILDING: &str = "engine.is_rebuilding";
/// Lets something parked be handled again: the one question that changes something.
pub(crate) const REDRIVE: &str = "engine.redrive";

/// A question, as it is sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The answer must hold the service's own log up to here.
    #[serde(default)]
    pub(crate) at_least: u64,
    #[serde(default)]
    pub(crate) parameters: Value,
}

/// An answer, as it is sent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reported {
    /// What was asked for; `null` when there is no such thing.
    Answer(Value),
    /// Why there is no answer.
    Error(String),
}

/// What questions are answered from.
pub(crate) struct Answering<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) partition: u32,
    pub(crate) client: Client,
    pub(crate) pool: AnyPool,
    pub(crate) projected: Arc<Projected>,
    pub(crate) redrives: mpsc::Sender<RedriveRequest>,
    pub(crate) rebuilds: mpsc::Sender<()>,
    /// Whether a rebuild is under way.
    pub(crate) is_rebuilding: watch::Receiver<bool>,
}

impl<S: Service> Answering<S> {
    /// Answers questions until it is dropped.
    pub(crate) async fn run(self) -> Result<(), crate::Error> {
        let subject = format!("query.{}.{}.>", S::NAME, self.partition);
        let mut questions = self.client.subscribe(subject).await.map_err(|error| {
            crate::Error::jetstream("subscribe to questions of", S::NAME, error)
        })?;
        let this = Arc::new(self);
        let slots = Arc::new(Semaphore::new(MAX_QUERIES));
        let mut answering = JoinSet::new();
        while let Some(message) = questions.next().await {
            while answering.try_join_next().is_some() {}
            let Ok(slot) = slots.clone().acquire_owned().await else { break };
            let this = this.clone();
            answering.spawn(async move {
                this.answer(message).await;
                drop(slot);
            });
        }
        // Nobody would answer any more, and nobody would notice.
        Err(crate::Error::StepEnded("its subscription to questions ended".to_owned()))
    }

    async fn answer(&self, message: Message) {
        let Some(reply) = message.reply.clone() else { return };
        let reported = match self.find(&message).await {
            Ok(answer) => Reported::Answer(answer.unwrap_or(Value::Null)),
            Err(error) => {
                if !matches!(error, QueryError::Unknown { .. } | QueryError::Parameters(_)) {
                    tracing::error!(subject = %message.subject, error = describe(&error),
                        "cannot answer a question");
                }
                Reported::Error(describe(&error))
            }
        };
        let payload = match serde_json::to_vec(&reported) {
            Ok(payload) if payload.len() <= MAX_ANSWER_BYTES => payload,
            Ok(payload) => too_large(payload.len()),
            Err(error) => unanswerable(&error.to_string()),
        };
        if let Err(error) = self.client.publish(reply, payload.into()).await {
            tracing::warn!(subject = %message.subject, %error, "could not send an answer");
        }
    }

    async fn find(&self, message: &Message) -> Result<Option<Value>, QueryError> {
        let mut tokens = message.subject.splitn(5, '.').skip(3);
        let shop = tokens.next().and_then(|shop| Shop::parse(shop).ok());
        let shop = shop.unwrap_or_else(Shop::unknown);
        let name = tokens.next().unwrap_or_default();
        let question: Question = serde_json::from_slice(&message.payload)?;
        let wait = self.projected.wait_for(question.at_least);
        // Rather a slightly older answer than none: the asker sees the version.
        timeout(POSITION_TIMEOUT, wait).await.ok();
        match name {
            ANSWER => self.find_answer(&shop, question.parameters).await,
            POSITIONS => {
                let mut db = self.pool.acquire().await?;
                let positions = store::positions(&mut db, self.partition).await?;
                Ok(Some(json!(positions.into_map())))
            }
            PARKED => self.parked_page(question.parameters).await,
            PARKED_INPUT => {
                let ParkedQuestion { id, from } = serde_json::from_value(question.parameters)?;
                let parked = store::parked_with(&self.pool, &id).await?;
                let row = parked.into_iter().find(|row| row.id == id).map(|row| row.part(from));
                Ok(row.map(serde_json::to_value).transpose()?)
            }
            // A second one, while one is under way, is the same.
            REBUILD => Ok(Some(json!(self.rebuilds.try_send(()).is_ok()))),
            IS_REBUILDING => {
                let is_waiting = self.rebuilds.capacity() == 0;
                Ok(Some(json!(is_waiting || *self.is_rebuilding.borrow())))
            }
            REDRIVE => self.redrive(serde_json::from_value(question.parameters)?).await,
            name => self.service.query(&self.pool, &shop, name, question.parameters).await,
        }
    }

    async fn parked_page(&self, after: Value) -> Result<Option<Value>, QueryError> {
        let after: u64 = if after.is_null() { 0 } else { serde_json::from_value(after)? };
        let mut parked = store::parked_page(&self.pool, self.partition, after, PARKED_PAGE).await?;
        let is_last = parked.len() < PARKED_PAGE as usize;
        let next = parked.last().filter(|_| !is_last).map(|row| row.log_sequence);
        for row in &mut parked {
            row.payload.clear();
        }
        Ok(Some(serde_json::to_value(ParkedPage { parked, next })?))
    }

    async fn find_answer(
        &self,
        shop: &Shop,
        parameters: Value,
    ) -> Result<Option<Value>, QueryError> {
        let command: String = serde_json::from_value(parameters)?;
        let known = documents::get::<AnswerRow>(&self.pool, shop, &command).await?;
        let reply = known.map(|row| Reply::repeated(S::NAME, shop, &command, row));
        Ok(reply.map(serde_json::to_value).transpose()?)
    }

    async fn redrive(&self, order: RedriveOrder) -> Result<Option<Value>, QueryError> {
        let (answer, answered) = oneshot::channel();
        self.redrives
            .send(RedriveRequest { order, answer })
            .await
            .map_err(|_| QueryError::Outside("the worker is stopping".into()))?;
        let outcome =
            answered.await.map_err(|_| QueryError::Outside("the worker stopped".into()))?;
        let redriving = outcome.map_err(|problem| QueryError::Outside(problem.into()))?;
        Ok(Some(serde_json::to_value(redriving)?))
    }
}

fn too_large(bytes: usize) -> Vec<u8> {
    unanswerable(&format!(
        "the answer has {bytes} bytes, and {MAX_ANSWER_BYTES} are the most; ask for less at once"
    ))
}

fn unanswerable(problem: &str) -> Vec<u8> {
    serde_json::to_vec(&Reported::Error(problem.to_owned())).unwrap_or_default()
}
