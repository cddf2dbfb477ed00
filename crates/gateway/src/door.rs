//! What the routes share: the way to the services, and what their outcomes mean to a caller.

use std::{error::Error, fmt, time::Duration};

use axum::{
    http::{HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use engine::{AskError, Client, Outcome, Watch};
use events::{
    id::{OrderId, Shop},
    proto,
    subject::Lane,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Settings,
    extract::Page,
    problem::{Code, Problem},
};

/// The most requests that are served at once.
const MAX_REQUESTS: usize = 4096;
/// How long NATS may take to say that it is there.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// The events that end an order.
const ENDS: &[&str] = &["paid", "cancelled"];

static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What the routes share.
pub(crate) struct Door {
    /// One for each request that may be served now.
    pub(crate) slots: Semaphore,
    /// How long the answer of a service is waited for.
    pub(crate) answer_within: Duration,
    /// Ends the waiting for an order's end: that takes longer than a drain may.
    pub(crate) shutdown: CancellationToken,
    /// Ends the waiting for answers, when a drain has no more time for it.
    pub(crate) waits: CancellationToken,
    client: Box<dyn Fn() -> Client + Send + Sync>,
    /// The digest of the API key: comparing digests tells nothing about the key by its time.
    key: [u8; 32],
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

/// What came of a command.
#[derive(Debug)]
pub(crate) enum Reply<A> {
    /// The service's answer.
    Answered(Answer<A>),
    /// The command is in the inbox for good, and no answer came in time.
    Pending,
}

/// A service's answer to a command.
#[derive(Debug)]
pub(crate) struct Answer<A> {
    pub(crate) body: A,
    /// Where it stands in the service's log.
    pub(crate) sequence: u64,
    /// Whether the command had been answered before.
    pub(crate) replayed: bool,
}

impl<A> Answer<A> {
    /// Says in the response whether the command had been answered before.
    pub(crate) fn mark(&self, response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        if self.replayed {
            mark_replayed(&mut response);
        }
        response
    }
}

/// Says in the response that its command had been answered before.
pub(crate) fn mark_replayed(response: &mut Response) {
    response.headers_mut().insert(REPLAYED.clone(), HeaderValue::from_static("true"));
}

impl Door {
    /// `client` is called when something is asked of the services: what can be refused before that
    /// is, without them.
    pub(crate) fn new(
        client: impl Fn() -> Client + Send + Sync + 'static,
        settings: &Settings,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            slots: Semaphore::new(MAX_REQUESTS),
            answer_within: settings.answer_within,
            shutdown,
            waits: CancellationToken::new(),
            client: Box::new(client),
            key: Sha256::digest(&settings.api_key).into(),
        }
    }

    /// Whether that is the API key.
    pub(crate) fn opens_with(&self, key: &str) -> bool {
        <[u8; 32]>::from(Sha256::digest(key)) == self.key
    }

    fn client(&self) -> Client {
        (self.client)()
    }

    /// Sends a command and waits for its answer, for `patience` at most and no longer than a drain
    /// allows.
    pub(crate) async fn send<A: DeserializeOwned>(
        &self,
        lane: Lane,
        command: proto::Command,
        patience: Duration,
    ) -> Result<Reply<A>, Problem> {
        let fingerprint = command.fingerprint.clone();
        let client = self.client();
        let outcome = tokio::select! {
            biased;
            outcome = client.send(lane, command.clone(), patience) => outcome,
            // It may not be stored yet. The same id again makes sure, and has no second effect.
            () = self.waits.cancelled() => client.send(lane, command, Duration::ZERO).await,
        };
        let answered = match outcome.map_err(|error| Problem::unavailable(&error))? {
            Outcome::Pending => return Ok(Reply::Pending),
            Outcome::Answered(answered) => answered,
        };
        if answered.fingerprint != fingerprint {
            let detail = "send it with a new Idempotency-Key: this one came with another request";
            return Err(Problem::new(Code::IdempotencyKeyReused, detail));
        }
        let body = serde_json::from_str(&answered.body);
        Ok(Reply::Answered(Answer {
            body: body.map_err(|error| Problem::internal(&error))?,
            sequence: answered.sequence,
            replayed: answered.repeated,
        }))
    }

    /// Asks a service; its answer knows at least what stands in its log up to `at_least`.
    pub(crate) async fn ask(
        &self,
        service: &str,
        shop: &Shop,
        question: &str,
        parameters: Value,
        at_least: u64,
    ) -> Result<Option<Value>, Problem> {
        let answer = self.client().query(service, shop, question, parameters, at_least).await;
        answer.map_err(|error| match error {
            AskError::Silent { .. } => Problem::unavailable(&error),
            AskError::Refused { .. } | AskError::Garbled { .. } => Problem::internal(&error),
        })
    }

    /// Asks a service for a page of a list by SKU; tells where the next page begins, if there may
    /// be one.
    pub(crate) async fn page(
        &self,
        service: &str,
        shop: &Shop,
        question: &str,
        page: &Page,
    ) -> Result<(Vec<Value>, Option<Value>), Problem> {
        let parameters = json!({"after": page.after, "limit": page.limit});
        let items = match self.ask(service, shop, question, parameters, 0).await? {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let is_full = items.len() as i64 >= page.limit;
        let next = items.last().filter(|_| is_full).map(|last| last["sku"].clone());
        Ok((items, next))
    }

    /// Begins to watch for the end of an order.
    pub(crate) async fn watch(&self, shop: &Shop, order: OrderId) -> Result<Watch, Problem> {
        let watch = self.client().watch("order", ENDS, shop, &order.to_string()).await;
        watch.map_err(|error| Problem::unavailable(&error))
    }

    /// Whether the gateway can do its work.
    pub(crate) async fn ready(&self) -> Result<(), Problem> {
        let problem = |cause: &dyn Error| {
            let detail = "see whether nats-server runs and JetStream has its streams";
            Problem::new(Code::NotReady, detail).caused_by(cause)
        };
        match timeout(READY_WITHIN, self.client().ready()).await {
            Ok(ready) => ready.map_err(|error| problem(&error)),
            Err(elapsed) => Err(problem(&elapsed)),
        }
    }
}
