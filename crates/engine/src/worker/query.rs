//! Questions: asked by NATS request, answered from the projection by whoever runs the partition.
//!
//! Subject `query.<service>.<partition>.<shop>.<question>`; the body and the answer are JSON.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, Message};
use events::id::Shop;
use futures::StreamExt;
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
    operate::parked::{ParkedView, RedriveOrder, RedriveRequest},
    projection::positions::Positions,
    projection::store,
    worker::reply::Reply,
};

/// Questions that are answered at the same time.
const AT_ONCE: usize = 6;
/// How long a question waits for the projection to come as far as it asks for.
const AT_LEAST_WITHIN: Duration = Duration::from_secs(5);

/// The engine's own questions, which every service answers.
pub(crate) const ANSWER: &str = "engine.answer";
/// Where the partition stands.
pub(crate) const POSITIONS: &str = "engine.positions";
/// What is parked.
pub(crate) const PARKED: &str = "engine.parked";
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
    pub(crate) projected: watch::Receiver<u64>,
    pub(crate) redrives: mpsc::Sender<RedriveRequest>,
}

impl<S: Service> Answering<S> {
    /// Answers questions until it is dropped.
    pub(crate) async fn run(self) -> Result<(), crate::Error> {
        let subject = format!("query.{}.{}.>", S::NAME, self.partition);
        let mut questions = self.client.subscribe(subject).await.map_err(|error| {
            crate::Error::jetstream("subscribe to questions of", S::NAME, error)
        })?;
        let this = Arc::new(self);
        let slots = Arc::new(Semaphore::new(AT_ONCE));
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
        Ok(())
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
        if let Ok(payload) = serde_json::to_vec(&reported) {
            self.client.publish(reply, payload.into()).await.ok();
        }
    }

    async fn find(&self, message: &Message) -> Result<Option<Value>, QueryError> {
        let mut tokens = message.subject.splitn(5, '.').skip(3);
        let shop = tokens.next().and_then(|shop| Shop::parse(shop).ok());
        let shop = shop.unwrap_or_else(Shop::unknown);
        let name = tokens.next().unwrap_or_default();
        let question: Question = serde_json::from_slice(&message.payload)?;
        let mut projected = self.projected.clone();
        let wait = projected.wait_for(|position| *position >= question.at_least);
        // Rather a slightly older answer than none: the asker sees the version.
        timeout(AT_LEAST_WITHIN, wait).await.ok();
        match name {
            ANSWER => self.find_answer(&shop, question.parameters).await,
            POSITIONS => {
                let mut db = self.pool.acquire().await?;
                let positions = Positions(store::positions(&mut db, self.partition).await?);
                Ok(Some(json!(positions.0)))
            }
            PARKED => {
                let parked = store::parked(&self.pool, self.partition).await?;
                let views: Vec<ParkedView> = parked.into_iter().map(ParkedView::from).collect();
                Ok(Some(serde_json::to_value(views)?))
            }
            REDRIVE => self.redrive(serde_json::from_value(question.parameters)?).await,
            name => self.service.query(&self.pool, &shop, name, question.parameters).await,
        }
    }

    async fn find_answer(
        &self,
        shop: &Shop,
        parameters: Value,
    ) -> Result<Option<Value>, QueryError> {
        let command: String = serde_json::from_value(parameters)?;
        let mut db = self.pool.acquire().await?;
        let known = store::answers(&mut db, &[(shop.as_str(), &command)]).await?;
        let reply = known
            .values()
            .next()
            .map(Reply::repeated)
            .map(|reply| Reply { service: S::NAME.to_owned(), ..reply });
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
