//! Questions to whoever runs a partition of a service, by NATS request.

use std::{collections::BTreeMap, time::Duration};

use async_nats::SubscribeError;
use bytes::Bytes;
use prost::Message;
use protocol::{
    id::Shop,
    proto::{
        self, EngineQuestion, Query, QueryFailureKind, engine_question::Question as OfEngine,
        query::Question, query_response::Outcome,
    },
    subject,
};
use tokio::time::{Instant, sleep};

use crate::{
    Aggregate, Client, ParkedInput, ParkedPage, Position, Redriving, WireError,
    client::QUERY_RETRY_PAUSE,
    client::asking::{Asking, Unanswered},
    jetstream::{retry::jittered, streams::MAX_INPUT_BYTES},
    operate::parked::MAX_PARKED_PART,
};

/// How long a question is tried while nobody runs the partition.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);
/// The most characters of the reason for which something parked is dropped.
const MAX_REASON_CHARS: usize = 1_000;

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
    #[error("{service}: {detail}")]
    Failed {
        /// The service.
        service: String,
        /// What kind of failure it is.
        kind: QueryFailureKind,
        /// What it says.
        detail: String,
    },
    /// The answer is not what it should be.
    #[error("the answer of {service} cannot be read")]
    Unreadable {
        /// The service.
        service: String,
        /// What is wrong with it.
        source: WireError,
    },
}

impl AskError {
    /// Whether the same question may be answered later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::Failed { kind: QueryFailureKind::NotReady, .. })
    }

    /// Which system of somebody else does not answer the service, if that is why.
    pub fn unreachable_system(&self) -> Option<&str> {
        match self {
            Self::Failed { kind: QueryFailureKind::Unreachable, detail, .. } => Some(detail),
            _ => None,
        }
    }

    /// Whether the service refused what an operator asked for.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Failed { kind: QueryFailureKind::Refused, .. })
    }
}

impl Client {
    /// Asks a service about a shop; `question` is one of the service's own, encoded. What it finds
    /// holds the service's own log up to `at_least`; `None` when there is no such thing.
    pub async fn query(
        &self,
        service: &str,
        shop: &Shop,
        question: Vec<u8>,
        at_least: u64,
    ) -> Result<Option<Bytes>, AskError> {
        let partition = subject::partition(shop, self.0.partitions);
        // What an answer to this client has named is in what it reads from now on.
        let at_least = at_least.max(self.position(service, partition));
        self.ask(service, partition, query(shop, at_least, Question::Service(question))).await
    }

    /// Asks a service about all shops whose rows are where those of a partition are: the question comes
    /// with the shop [`Shop::unknown`]. Partitions that share a database answer alike. What it finds holds the
    /// log of the partition up to `at_least`.
    pub async fn query_partition(
        &self,
        service: &str,
        partition: u32,
        question: Vec<u8>,
        at_least: u64,
    ) -> Result<Option<Bytes>, AskError> {
        let at_least = at_least.max(self.position(service, partition));
        let query = query(&Shop::unknown(), at_least, Question::Service(question));
        self.ask(service, partition, query).await
    }

    /// Asks whoever runs a partition.
    async fn ask(
        &self,
        service: &str,
        partition: u32,
        query: Query,
    ) -> Result<Option<Bytes>, AskError> {
        let silent = || AskError::Silent { service: service.to_owned() };
        let asking = self.0.asking.get_or_try_init(|| self.start_asking()).await;
        let asking = asking.map_err(|_| silent())?;
        let deadline = Instant::now() + QUESTION_TIMEOUT;
        let outcome = loop {
            match asking.ask((service.to_owned(), partition), query.clone()).await {
                Ok(outcome) => break outcome,
                // A partition changes hands: somebody else will take it.
                Err(Unanswered::Nobody) if Instant::now() < deadline => {
                    sleep(jittered(QUERY_RETRY_PAUSE)).await;
                }
                Err(_) => return Err(silent()),
            }
        };
        match outcome {
            Some(Outcome::Found(found)) => Ok(Some(found.into())),
            Some(Outcome::NotFound(_)) => Ok(None),
            Some(Outcome::Failure(failure)) => Err(AskError::Failed {
                service: service.to_owned(),
                kind: failure.kind(),
                detail: failure.detail,
            }),
            None => Err(unreadable(service, WireError::Missing("outcome"))),
        }
    }

    async fn start_asking(&self) -> Result<Asking, SubscribeError> {
        Asking::start(self.0.nats.clone(), &self.0.reply_to).await
    }

    /// Asks the engine of whoever runs a partition.
    async fn ask_engine<A: Message + Default>(
        &self,
        service: &str,
        partition: u32,
        shop: &Shop,
        question: OfEngine,
        at_least: u64,
    ) -> Result<Option<A>, AskError> {
        let question = Question::Engine(EngineQuestion { question: Some(question) });
        let found = self.ask(service, partition, query(shop, at_least, question)).await?;
        found.map(A::decode).transpose().map_err(|error| unreadable(service, error))
    }

    /// The same, where there is always an answer.
    async fn ask_partition<A: Message + Default>(
        &self,
        service: &str,
        partition: u32,
        question: OfEngine,
    ) -> Result<A, AskError> {
        let answer = self.ask_engine(service, partition, &Shop::unknown(), question, 0).await?;
        answer.ok_or_else(|| unreadable(service, WireError::Missing("answer")))
    }

    /// What a service answered to a command, by its log up to `at_least`; `None` when it has not handled it.
    pub(crate) async fn find_reply(
        &self,
        service: &str,
        shop: &Shop,
        command: &str,
        at_least: u64,
    ) -> Result<Option<proto::Reply>, AskError> {
        let partition = subject::partition(shop, self.0.partitions);
        let question = OfEngine::GetReply(proto::GetReply { command_id: command.to_owned() });
        self.ask_engine(service, partition, shop, question, at_least).await
    }

    /// Events of an aggregate as they are in the log, the newest first, and the `next` of the page: that
    /// is `before` of the next one, 0 when there is none. `None` when there is no such aggregate. What is
    /// found holds the service's own log up to `at_least`.
    pub async fn history(
        &self,
        service: &str,
        shop: &Shop,
        aggregate: &Aggregate,
        (before, limit): (u64, u32),
        at_least: u64,
    ) -> Result<Option<(Vec<Vec<u8>>, u64)>, AskError> {
        let partition = subject::partition(shop, self.0.partitions);
        let question = OfEngine::GetHistory(proto::GetHistory {
            aggregate_type: aggregate.kind.to_owned(),
            aggregate_id: aggregate.id.clone(),
            before,
            limit,
        });
        let at_least = at_least.max(self.position(service, partition));
        let found: Option<proto::History> =
            self.ask_engine(service, partition, shop, question, at_least).await?;
        Ok(found.map(|history| (history.events, history.next)))
    }

    /// Where each partition of a service stands: by source, how far it is handled.
    pub async fn positions(
        &self,
        service: &str,
    ) -> Result<Vec<BTreeMap<String, Position>>, AskError> {
        let mut positions = Vec::new();
        for partition in 0..self.0.partitions {
            positions.push(self.positions_of(service, partition).await?);
        }
        Ok(positions)
    }

    /// Where a partition of a service stands: by source, how far it is handled.
    pub(super) async fn positions_of(
        &self,
        service: &str,
        partition: u32,
    ) -> Result<BTreeMap<String, Position>, AskError> {
        let question = OfEngine::GetPositions(proto::GetPositions {});
        let of: proto::SourcePositions = self.ask_partition(service, partition, question).await?;
        let of = of.positions.into_iter();
        Ok(of.map(|(source, at)| (source, Position::from(at))).collect())
    }

    /// What is parked in a partition of a service, a page without the bytes; `after` is the `next` of
    /// the page before.
    pub async fn parked(
        &self,
        service: &str,
        partition: u32,
        after: Option<u64>,
    ) -> Result<ParkedPage, AskError> {
        let question = OfEngine::ListParked(proto::ListParked { after: after.unwrap_or_default() });
        let page: proto::ParkedInputs = self.ask_partition(service, partition, question).await?;
        let parked = page.inputs.into_iter().map(|input| parked(service, input));
        Ok(ParkedPage { parked: parked.collect::<Result<_, _>>()?, next: page.next })
    }

    /// One parked input, with its bytes; `None` when nothing is parked under that id.
    pub async fn parked_input(
        &self,
        service: &str,
        id: &str,
    ) -> Result<Option<ParkedInput>, AskError> {
        for partition in 0..self.0.partitions {
            let Some(mut input) = self.parked_part(service, partition, id, 0).await? else {
                continue;
            };
            while !input.payload.is_empty() && input.payload.len().is_multiple_of(MAX_PARKED_PART) {
                let offset = input.payload.len();
                let part = self.parked_part(service, partition, id, offset).await?;
                let Some(part) = part.filter(|part| !part.payload.is_empty()) else { break };
                input.payload.extend(part.payload);
            }
            return Ok(Some(input));
        }
        Ok(None)
    }

    async fn parked_part(
        &self,
        service: &str,
        partition: u32,
        id: &str,
        offset: usize,
    ) -> Result<Option<ParkedInput>, AskError> {
        let question = proto::GetParked { id: id.to_owned(), offset: offset as u64 };
        let question = OfEngine::GetParked(question);
        let input = self.ask_engine(service, partition, &Shop::unknown(), question, 0).await?;
        input.map(|input| parked(service, input)).transpose()
    }

    /// Lets whoever runs a partition rebuild it beside its database; which rebuild that is, is its id.
    pub(crate) async fn rebuild(
        &self,
        service: &str,
        partition: u32,
    ) -> Result<proto::RebuildState, AskError> {
        let question = OfEngine::StartRebuild(proto::StartRebuild {});
        self.ask_partition(service, partition, question).await
    }

    /// How the rebuild of a partition is that was asked for last.
    pub(crate) async fn rebuild_state(
        &self,
        service: &str,
        partition: u32,
    ) -> Result<proto::RebuildState, AskError> {
        let question = OfEngine::GetRebuild(proto::GetRebuild {});
        self.ask_partition(service, partition, question).await
    }

    /// Lets what is parked for an aggregate be handled again, in order. `id` is the first of them;
    /// `edited` its bytes as they should have been, at most as many as the inbox takes.
    pub async fn redrive(
        &self,
        service: &str,
        partition: u32,
        id: &str,
        edited: Option<&[u8]>,
    ) -> Result<Redriving, AskError> {
        if let Some(bytes) = edited.map(<[u8]>::len).filter(|bytes| *bytes > MAX_INPUT_BYTES) {
            let detail =
                format!("the edited message has {bytes} bytes, and {MAX_INPUT_BYTES} are the most");
            return Err(refused(service, detail));
        }
        let redrive = proto::Redrive { id: id.to_owned(), edited: edited.map(<[u8]>::to_vec) };
        self.ask_to_redrive(service, partition, OfEngine::Redrive(redrive)).await
    }

    /// Drops a parked input, the first of its aggregate, and lets those behind it be handled again, in
    /// order; returns what became of those. `reason` is for who reads the log later, and for the sender of a
    /// command: at most 1,000 characters.
    pub async fn drop_parked(
        &self,
        service: &str,
        partition: u32,
        id: &str,
        reason: &str,
    ) -> Result<Redriving, AskError> {
        let length = reason.chars().count();
        if length == 0 || length > MAX_REASON_CHARS || reason.contains('\0') {
            let detail = format!(
                "the reason must have 1 to {MAX_REASON_CHARS} characters without NUL, and has {length}"
            );
            return Err(refused(service, detail));
        }
        let drop = proto::DropParked { id: id.to_owned(), reason: reason.to_owned() };
        self.ask_to_redrive(service, partition, OfEngine::DropParked(drop)).await
    }

    async fn ask_to_redrive(
        &self,
        service: &str,
        partition: u32,
        question: OfEngine,
    ) -> Result<Redriving, AskError> {
        let outcome: proto::RedriveOutcome =
            self.ask_partition(service, partition, question).await?;
        let proto::RedriveOutcome { handled, still_parked } = outcome;
        Ok(Redriving { handled, still_parked })
    }
}

fn query(shop: &Shop, at_least: u64, question: Question) -> Query {
    // The id is given when it is sent.
    Query { id: 0, shop: shop.to_string(), at_least, question: Some(question) }
}

fn refused(service: &str, detail: String) -> AskError {
    AskError::Failed { service: service.to_owned(), kind: QueryFailureKind::Refused, detail }
}

fn parked(service: &str, input: proto::ParkedInput) -> Result<ParkedInput, AskError> {
    ParkedInput::try_from(input).map_err(|error| unreadable(service, error))
}

fn unreadable(service: &str, source: impl Into<WireError>) -> AskError {
    AskError::Unreadable { service: service.to_owned(), source: source.into() }
}
