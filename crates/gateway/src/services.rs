//! Requests to the services, and what their outcomes mean to an HTTP client.

use std::{
    fmt,
    time::{Duration, Instant},
};

use axum::{
    http::{HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use engine::{Aggregate, AskError, Client, Outcome, SendError, Watch};
use events::{
    answers::CommandAnswer,
    id::OrderId,
    names::{ORDER_AWAITED_EVENTS, UNPAID_ORDER_AWAITED_EVENTS},
    proto::{self, shop},
    questions::Question,
};
use futures::future::try_join_all;
use prost::Message;
use protocol::{command::OutgoingCommand, id::Shop, subject::Lane};
use tokio::time::{error::Elapsed, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info_span};

use crate::{
    accepted::Accepted,
    metrics,
    position::SeenPositions,
    problem::{Code, Problem},
    request::RequestContext,
};

/// How long the broker may take to answer a check of readiness.
const BROKER_CHECK_TIMEOUT: Duration = Duration::from_secs(2);
static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Sends commands to the services and asks them.
pub(crate) struct Services {
    client: Box<dyn Fn() -> Client + Send + Sync>,
    /// Ends the waits for answers: cancelled when a drain has no more time for them.
    pub(crate) stop_waiting: CancellationToken,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

/// The broker cannot be used now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    #[error(transparent)]
    Unusable(#[from] engine::BrokerError),
    #[error("JetStream did not answer within {BROKER_CHECK_TIMEOUT:?}")]
    TimedOut(#[from] Elapsed),
}

/// The outcome of a command.
#[derive(Debug)]
pub(crate) enum Reply<A> {
    /// The service's answer.
    Answered(Answer<A>),
    /// No answer came in time.
    Pending(Accepted),
}

/// A service's answer to a command.
#[derive(Debug)]
pub(crate) struct Answer<A> {
    pub(crate) body: A,
    /// Whether the command had been answered before.
    pub(crate) replayed: bool,
}

impl<A> Answer<A> {
    /// Adds to the response the header of a command that had been answered before, if it had.
    pub(crate) fn mark(&self, response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        if self.replayed {
            mark_replayed(&mut response);
        }
        response
    }
}

/// Adds to the response the header of a command that had been answered before.
pub(crate) fn mark_replayed(response: &mut Response) {
    response.headers_mut().insert(REPLAYED.clone(), HeaderValue::from_static("true"));
}

impl Services {
    /// `client` is called for each request to a service.
    pub(crate) fn new(client: impl Fn() -> Client + Send + Sync + 'static) -> Self {
        Self { client: Box::new(client), stop_waiting: CancellationToken::new() }
    }

    pub(crate) fn client(&self) -> Client {
        (self.client)()
    }

    /// The partition of a shop.
    pub(crate) fn partition(&self, shop: &Shop) -> u32 {
        self.client().partition(shop)
    }

    /// Sends a command and waits for its answer, for `answer_timeout` at most and no longer than a
    /// drain allows. The client of the request will have seen the answer.
    pub(crate) async fn send<A: CommandAnswer>(
        &self,
        context: &RequestContext,
        lane: Lane,
        command: proto::Command,
        answer_timeout: Duration,
    ) -> Result<Reply<A>, Problem> {
        let command =
            OutgoingCommand::try_from(command).map_err(|error| Problem::internal(&error))?;
        let (service, fingerprint) = (command.service, command.envelope.fingerprint.clone());
        let command_id = command.envelope.id.clone();
        let client = self.client();
        let outcome = tokio::select! {
            biased;
            outcome = send_measured(&client, lane, command.clone(), answer_timeout) => outcome,
            // The send that is dropped here may not have stored the command. Sending it again under
            // the same id stores it if need be, and has no second effect.
            () = self.stop_waiting.cancelled() => client.send(lane, command, Duration::ZERO).await,
        };
        // It may be stored all the same: the id says which command to ask for, or to send again.
        let unavailable = |error: SendError| {
            let accepted = Accepted::new(&context.shop, service, command_id.clone());
            Problem::unavailable(&error)
                .with("command_id", command_id.clone())
                .with("command_url", accepted.url())
        };
        let answered = match outcome.map_err(unavailable)? {
            Outcome::Pending => {
                return Ok(Reply::Pending(Accepted::new(&context.shop, service, command_id)));
            }
            Outcome::Answered(answered) => answered,
        };
        context.seen.note(service, client.partition(&context.shop), answered.sequence);
        if answered.fingerprint != fingerprint {
            let detail = "use a new Idempotency-Key: this one was sent with another request";
            return Err(Problem::new(Code::IdempotencyKeyReused, detail));
        }
        Ok(Reply::Answered(Answer {
            body: read_answer(&answered.body)?,
            replayed: answered.repeated,
        }))
    }

    /// Asks a service; `None` when there is no such thing. The answer reflects its log at least as far
    /// as the client of the request has seen it.
    pub(crate) async fn query<Q: Question>(
        &self,
        context: &RequestContext,
        question: Q,
    ) -> Result<Option<Q::Answer>, Problem> {
        self.ask(&context.shop, question, context.seen.of_service(Q::SERVICE)).await
    }

    /// Asks a service; the answer reflects its log at least up to the sequence `at_least`.
    pub(crate) async fn ask<Q: Question>(
        &self,
        shop: &Shop,
        question: Q,
        at_least: u64,
    ) -> Result<Option<Q::Answer>, Problem> {
        let found = self.client().query(Q::SERVICE, shop, question.encode(), at_least).await;
        let found = found.map_err(|error| ask_problem(&error))?;
        let read = found.map(<Q::Answer as Message>::decode).transpose();
        read.map_err(|error| Problem::internal(&error))
    }

    /// Events of an aggregate, the newest first, and where the next page begins; `None` when there is no
    /// such aggregate. They reflect the service's log at least as far as the client has seen it.
    pub(crate) async fn history(
        &self,
        context: &RequestContext,
        service: &str,
        aggregate: &Aggregate,
        page: (u64, u32),
    ) -> Result<Option<(Vec<Vec<u8>>, u64)>, Problem> {
        let at_least = context.seen.of_service(service);
        let found = self.client().history(service, &context.shop, aggregate, page, at_least).await;
        found.map_err(|error| ask_problem(&error))
    }

    /// Asks a service for what is always there.
    pub(crate) async fn query_all<Q: Question>(
        &self,
        context: &RequestContext,
        question: Q,
    ) -> Result<Q::Answer, Problem> {
        Ok(self.query(context, question).await?.unwrap_or_default())
    }

    /// At most `limit` shops behind the name `after`, by name, of all partitions; and whether others
    /// follow. They reflect the log of each partition at least as far as the client has seen it.
    pub(crate) async fn shops(
        &self,
        seen: &SeenPositions,
        after: String,
        limit: u32,
    ) -> Result<(Vec<shop::Shop>, bool), Problem> {
        let client = self.client();
        let pages = (0..client.partitions()).map(|partition| {
            let question = shop::ListShops { partition, after: after.clone(), limit };
            let (client, at_least) = (&client, seen.of_partition("shop", partition));
            async move {
                let question = question.encode();
                let found = client.query_partition("shop", partition, question, at_least).await;
                let found = found.map_err(|error| ask_problem(&error))?.unwrap_or_default();
                shop::Shops::decode(found).map_err(|error| Problem::internal(&error))
            }
        });
        Ok(merge(try_join_all(pages).await?, limit as usize))
    }

    /// Begins to wait for the event that settles an order, or lets it wait for its customer. An order
    /// that is paid later, when it ships or on account, is settled when it is confirmed.
    pub(crate) async fn watch_order(
        &self,
        shop: &Shop,
        order: OrderId,
        is_paid_later: bool,
    ) -> Result<Watch, Problem> {
        let events: &'static [&'static str] =
            if is_paid_later { &UNPAID_ORDER_AWAITED_EVENTS } else { &ORDER_AWAITED_EVENTS };
        let watch = self.client().watch("order", events, shop, &order.to_string()).await;
        watch.map_err(|error| Problem::unavailable(&error))
    }

    /// Asks the broker whether it can be used.
    pub(crate) async fn ask_broker(&self) -> Result<(), BrokerError> {
        Ok(timeout(BROKER_CHECK_TIMEOUT, self.client().ready()).await??)
    }
}

/// One page out of those of all partitions, by name; and whether others follow.
fn merge(pages: Vec<shop::Shops>, limit: usize) -> (Vec<shop::Shop>, bool) {
    // What follows the last shop of such a page is not known, so the list ends there.
    let cut = pages.iter().filter(|page| page.has_more);
    let end = cut.filter_map(|page| page.shops.last()).map(|shop| shop.name.clone()).min();
    let mut shops: Vec<_> = pages.into_iter().flat_map(|page| page.shops).collect();
    shops.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let all = shops.len();
    shops.retain(|shop| end.as_ref().is_none_or(|end| shop.name <= *end));
    shops.truncate(limit);
    let has_more = end.is_some() || shops.len() < all;
    (shops, has_more)
}

fn ask_problem(error: &AskError) -> Problem {
    if let Some(system) = error.unreachable_system() {
        Problem::third_party(system)
    } else if error.is_unavailable() {
        Problem::unavailable(error)
    } else {
        Problem::internal(error)
    }
}

/// An answer that is not what the command is answered with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("the answer cannot be read")]
    Decode(#[from] prost::DecodeError),
    #[error("the answer is not of the command, or of a newer version")]
    Unknown,
}

impl From<AnswerError> for Problem {
    fn from(error: AnswerError) -> Self {
        Self::internal(&error)
    }
}

fn read_answer<A: CommandAnswer>(body: &[u8]) -> Result<A, AnswerError> {
    let answer = proto::AnswerBody::decode(body)?.answer;
    answer.and_then(A::take).ok_or(AnswerError::Unknown)
}

/// Sends a command, and measures how long its way into the inbox takes.
async fn send_measured(
    client: &Client,
    lane: Lane,
    command: OutgoingCommand,
    answer_timeout: Duration,
) -> Result<Outcome, SendError> {
    let span = inbox_span(&command);
    let started = Instant::now();
    let written = client.write(lane, command, answer_timeout).instrument(span).await?;
    metrics::inbox_written(started.elapsed());
    Ok(client.answer(written).await)
}

/// The span of a write to the inbox, if the trace of the command is recorded.
fn inbox_span(command: &OutgoingCommand) -> Span {
    if !trace_context::is_sampled(&command.envelope.traceparent) {
        return Span::none();
    }
    info_span!(
        "gateway.inbox",
        command.id = command.envelope.id,
        command.kind = command.name,
        messaging.system = "nats",
        messaging.operation.type = "send",
        messaging.destination.name = "INBOX",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_of_all_partitions_become_one_by_name() {
        let page = |names: &[&str], has_more| {
            let shop = |name: &&str| shop::Shop { name: (*name).to_owned(), ..Default::default() };
            shop::Shops { shops: names.iter().map(shop).collect(), has_more }
        };
        let merged = |pages, limit| {
            let (shops, has_more) = merge(pages, limit);
            let names: Vec<_> = shops.into_iter().map(|shop| shop.name).collect();
            (names.join(" "), has_more)
        };
        let all = || vec![page(&["b", "d"], false), page(&[], false), page(&["a", "c"], false)];
        assert_eq!(merged(all(), 9), ("a b c d".to_owned(), false));
        assert_eq!(merged(all(), 3), ("a b c".to_owned(), true));
        let cut = vec![page(&["b", "d"], false), page(&["a", "c"], true)];
        assert_eq!(merged(cut, 9), ("a b c".to_owned(), true), "d may not follow c");
    }
}
