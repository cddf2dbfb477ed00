//! What a service hands to the engine: how its messages read, its rules, its rows, its questions.
//!
//! | trait | module of a service | what it says |
//! |---|---|---|
//! | [`Service`] | `lib` | its name, what it reads, its tables |
//! | [`Wire`] | `wire` | bytes to inputs and questions, events to bytes and back, answers to bytes |
//! | [`Rules`] | `domain` | what follows from an input, and how a fact changes the state |
//! | [`Row`], [`State`] | `store` | the rows it keeps; timers and effects are declared on them |
//! | [`Queries`] | `query` | the questions that it answers |
//! | [`Effects`] | only where something is asked of the outside world | |
//!
//! A service is registered once, as a [`crate::Definition`].

pub(crate) mod envelope;
mod rows;
mod table;

use std::{fmt, future::Future};

use metrics::Gauge;
use protocol::{
    id::{EventId, ParseError, Shop},
    proto::Actor,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use sqlx::AnyPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use self::table::MAX_KEY_BYTES;
pub use self::{
    rows::{AnyRows, Rows},
    table::{ChangedRow, Column, ColumnKind, Document, Key, Row, Table, Value},
};
use crate::projection::positions::PositionError;

/// A service, as the engine sees it.
pub trait Service: Rules + Queries {
    /// Its name: the first token of its subjects, the name of its database.
    const NAME: &'static str;
    /// The logs of other services that it reads.
    const SOURCES: &'static [Source];
    /// The tables of its database.
    const TABLES: &'static [Table];
    /// Raised when rows mean something else than before: its database is then rebuilt at start.
    const FORMAT: u32;
    /// Deadlines: columns of its tables whose time becomes an input when it has passed.
    const TIMERS: &'static [Timer<Self::Input>] = &[];
}

/// How messages read.
pub trait Wire: Send + Sync + Sized + 'static {
    /// What it decides on: commands, events of others, deadlines, outcomes of operations.
    type Input: fmt::Debug + Send + Sync;
    /// What it decides: the facts that it alone writes.
    type Event: Clone + fmt::Debug + Send + Sync;
    /// What it answers to the sender of a command.
    type Answer: fmt::Debug;
    /// What it can be asked about a shop.
    type Question: fmt::Debug + Send;
    /// What a question finds.
    type Found: Send;

    /// Reads a command.
    fn command(payload: &[u8]) -> Result<Self::Input, WireError>;
    /// Reads an event of another service.
    fn foreign(payload: &[u8]) -> Result<Self::Input, WireError>;
    /// Writes what an event says. The engine writes the envelope around it.
    fn encode(event: &Self::Event) -> Encoded;
    /// Reads an event of its own, in its envelope.
    fn decode(payload: &[u8]) -> Result<Self::Event, WireError>;
    /// Writes an answer: the bytes that the engine keeps and hands to the sender as they are.
    fn encode_answer(answer: &Self::Answer) -> Vec<u8>;
    /// Reads a question.
    fn question(payload: &[u8]) -> Result<Self::Question, WireError>;
    /// Writes what a question has found.
    fn encode_found(found: Self::Found) -> Vec<u8>;
}

/// What an event says, as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The name of the event: the last token of its subject.
    pub name: &'static str,
    /// When it happened outside, where the outside world says so.
    pub occurred_at: Option<Timestamp>,
    /// The service's own part of the envelope, encoded: appended to the engine's part it is the
    /// whole message, as protobuf merges what is concatenated.
    pub body: Vec<u8>,
}

impl Encoded {
    /// An event of which the outside world does not say when it happened.
    pub fn new(name: &'static str, body: Vec<u8>) -> Self {
        Self { name, occurred_at: None, body }
    }
}

/// What an event is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aggregate {
    /// What it is, for example `account`; empty for a fact of the engine.
    pub kind: &'static str,
    /// Its id: unique within its shop, service and kind.
    pub id: String,
}

impl Aggregate {
    /// The aggregate of that kind and id.
    pub fn new(kind: &'static str, id: impl fmt::Display) -> Self {
        Self { kind, id: id.to_string() }
    }
}

/// Where an aggregate stands: how many events it has, and where the last of them is. A row of the
/// aggregate keeps it, so that its history is found without an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Revision {
    /// The version of the aggregate: counts its events, from 1; 0 before the first.
    pub version: u64,
    /// The position of its last event in the log; 0 before the first.
    pub position: u64,
}

impl From<(u64, u64)> for Revision {
    fn from((version, position): (u64, u64)) -> Self {
        Self { version, position }
    }
}

impl From<Revision> for (u64, u64) {
    fn from(Revision { version, position }: Revision) -> Self {
        (version, position)
    }
}

/// The rules of a service. All functions are pure and total.
pub trait Rules: Wire {
    /// The rows of one shop.
    type State: State;

    /// The aggregate that an event belongs to.
    fn aggregate(event: &Self::Event) -> Aggregate;
    /// Where that aggregate stands so far.
    fn revision(state: &Self::State, event: &Self::Event) -> Revision;
    /// How many lines an input carries: a batch is limited by their sum.
    fn weight(_input: &Self::Input) -> usize {
        1
    }
    /// Takes the next event of the same source and shop into `input`, so that both are decided on as
    /// one input; `false` where each is one by itself. When a decision on several fails, they are
    /// decided on one by one.
    fn merge(_input: &mut Self::Input, _next: &Self::Input) -> bool {
        false
    }
    /// Decides which facts follow from `input`. May run several times for one input, each time
    /// with more rows in memory; only the last run counts.
    fn decide(
        &self,
        state: &Self::State,
        input: &Self::Input,
        now: Timestamp,
    ) -> Decision<Self::Event, Self::Answer>;
    /// Folds a fact into the state: the only way in which it changes.
    fn apply(state: &mut Self::State, event: &Recorded<Self::Event>);
    /// The answer that an event says by itself, when nothing else follows from a command. Then the
    /// log need not hold the answer beside the event, and the two are one message. None stands for
    /// an answer without bytes.
    fn implied_answer(_event: &Recorded<Self::Event>) -> Option<Self::Answer> {
        None
    }
    /// What is to be done when a fact is in the log, such as counting it; `state` is that before the
    /// fact. Called for each fact that was just decided, and never in a recovery or a rebuild.
    fn after_append(
        _state: &Self::State,
        _event: &Self::Event,
        _now: Timestamp,
    ) -> Option<AfterAppend> {
        None
    }
    /// Folds a fact of another service into the replica of it; only for a source that is
    /// replicated.
    fn replicate(_state: &mut Self::State, _input: &Self::Input) {}
}

/// What is to be done when a fact is in the log. It must not block.
pub type AfterAppend = Box<dyn FnOnce() + Send + Sync>;

/// The rows of one shop, table by table.
pub trait State: Default + Send + 'static {
    /// Its tables.
    fn tables(&mut self) -> Vec<&mut dyn AnyRows>;
}

impl<K: Key, R: Row> State for Rows<K, R> {
    fn tables(&mut self) -> Vec<&mut dyn AnyRows> {
        vec![self]
    }
}

/// The questions that a service answers.
pub trait Queries: Wire {
    /// Answers a question about a shop from the projection; `None` when there is no such thing.
    fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        question: Self::Question,
    ) -> impl Future<Output = Result<Option<Self::Found>, QueryError>> + Send;

    /// Where an aggregate stands; `None` when there is none of that kind and id. Its history is read
    /// from there backwards.
    fn revision_of(
        &self,
        db: &AnyPool,
        shop: &Shop,
        kind: &str,
        id: &str,
    ) -> impl Future<Output = Result<Option<Revision>, QueryError>> + Send;

    /// Counts what the projection of a partition holds, for gauges of the service. Called every few
    /// seconds by the process that runs the partition; the gauges go to 0 when it gives it up.
    fn count(
        &self,
        _db: &AnyPool,
        _partition: u32,
    ) -> impl Future<Output = Result<Vec<(Gauge, u64)>, QueryError>> + Send {
        async { Ok(Vec::new()) }
    }

    /// What of the partition's work cannot go on until an operator does something, in words that name
    /// neither shops nor secrets. Asked as often as [`Queries::count`]; readiness shows it.
    fn problems(&self, _partition: u32) -> Vec<String> {
        Vec::new()
    }
}

/// What a service asks of the outside world.
///
/// An operation is announced by a row: [`Effects::OPERATION`] names a column that holds its id for
/// as long as its outcome is not known. An outcome comes back as an input, and the event that
/// follows from it clears the column.
pub trait Effects: Service {
    /// The column that holds the id of the pending operation of a row.
    const OPERATION: OperationColumn;

    /// Who is asked, for example a provider or a host: a slow one does not hold up the others.
    fn destination(&self, operation: &Operation) -> String;

    /// What an operation continues: its attempts belong to the trace of that.
    fn context(_operation: &Operation) -> Context {
        Context::default()
    }

    /// Makes one attempt. What has to wait says until when, and is tried again then.
    fn execute(
        &self,
        operation: &Operation,
        attempt: Attempt,
    ) -> impl Future<Output = Attempted<Self::Input>> + Send;
}

/// The progress of a pending operation.
#[derive(Debug, Clone, Copy)]
pub struct OperationColumn {
    /// The table.
    pub table: &'static str,
    /// The column: null when nothing is pending.
    pub column: &'static str,
    /// An integer column that says when the operation is due, in milliseconds since 1970: an attempt is
    /// made no sooner, and a row that changes it moves an operation that waits. Absent: at once.
    pub due: Option<&'static str>,
}

/// Something that is to be asked of the outside world.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its id: the idempotency key of all attempts.
    pub id: String,
    /// The shop that it concerns.
    pub shop: Shop,
    /// The key of the row that announces it; the aggregate as well.
    pub key: String,
    /// The row, as JSON.
    pub document: String,
    /// The row as it changes while an attempt is made, and the database that it is in.
    pub live: LiveRow,
}

/// A row that announces an operation, while an attempt at it is made.
#[derive(Debug, Clone, Default)]
pub struct LiveRow {
    documents: Option<watch::Receiver<String>>,
    db: Option<AnyPool>,
    stopping: CancellationToken,
}

impl LiveRow {
    pub(crate) fn new(
        documents: watch::Receiver<String>,
        db: AnyPool,
        stopping: CancellationToken,
    ) -> Self {
        Self { documents: Some(documents), db: Some(db), stopping }
    }

    /// Waits until the worker stops. An attempt that returns within a second of that with an outcome has
    /// it recorded.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// The projection of the service, for rows of other tables. It is behind the row itself by what was
    /// not written yet. Absent where no engine runs the attempt.
    pub fn db(&self) -> Option<&AnyPool> {
        self.db.as_ref()
    }

    /// Whether the worker stops.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Waits for the row to change; yields it as JSON. Never returns for one that no longer announces
    /// the operation.
    pub async fn changed(&mut self) -> String {
        if let Some(documents) = &mut self.documents
            && documents.changed().await.is_ok()
        {
            return documents.borrow_and_update().clone();
        }
        std::future::pending().await
    }
}

/// Which attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Counts the attempts of this operation, from 1.
    pub number: u32,
    /// Whether the outside world may have heard of the operation before: in an earlier attempt, or
    /// in a process that is gone.
    pub may_be_known: bool,
    /// When the attempt is made.
    pub now: Timestamp,
}

/// What came of an attempt.
#[derive(Debug)]
pub enum Attempted<I> {
    /// The outcome is known.
    Done(InternalInput<I>),
    /// It is not: try again at that time.
    RetryAt(Timestamp),
}

/// A deadline that a row declares.
#[derive(Clone, Copy)]
pub struct Timer<I> {
    /// The table.
    pub table: &'static str,
    /// The integer column that holds the deadline in milliseconds since 1970; null when there is
    /// none. An index on `(partition, column)` is needed.
    pub column: &'static str,
    /// The input that a passed deadline becomes, from the key and the document of its row. The key
    /// is the aggregate's id.
    pub input: fn(&str, &str) -> Result<TimerInput<I>, serde_json::Error>,
}

/// What a passed deadline becomes.
#[derive(Debug)]
pub struct TimerInput<I> {
    /// What it is, for the cause of what follows: `timer.<deadline>`.
    pub kind: &'static str,
    /// What it continues.
    pub context: Context,
    /// The input.
    pub input: I,
}

/// A log of another service, as an input.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The service that writes it.
    pub service: &'static str,
    /// The events of it that matter here; none named: all that are not the engine's.
    pub events: &'static [&'static str],
    /// Whether it only feeds a replica ([`Rules::replicate`]) and is never decided on.
    pub replica: bool,
}

/// What a decision yields: facts, and an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<E, A> {
    /// The facts, in order.
    pub events: Vec<E>,
    /// What the sender of a command is answered. A command without an answer of its own is answered
    /// with no bytes.
    pub answer: Option<A>,
}

impl<E, A> Decision<E, A> {
    /// Facts, and nobody who waits for an answer.
    pub fn events(events: Vec<E>) -> Self {
        Self { events, answer: None }
    }

    /// No facts: the effect holds already.
    pub fn nothing() -> Self {
        Self::events(Vec::new())
    }

    /// Facts, and the answer to the command.
    pub fn answered(events: Vec<E>, answer: A) -> Self {
        Self { events, answer: Some(answer) }
    }
}

/// An event as it is in the log.
#[derive(Debug, Clone)]
pub struct Recorded<E> {
    /// Its id.
    pub id: EventId,
    /// Its shop.
    pub shop: Shop,
    /// The version of its aggregate after it.
    pub version: u64,
    /// Its sequence in the log of its service and partition.
    pub position: u64,
    /// When it was decided.
    pub time: Timestamp,
    /// Who asked for it; none when the service decided it by itself.
    pub actor: Option<Actor>,
    /// What caused it.
    pub cause: Cause,
    /// What it has in common with everything that follows from one request.
    pub context: Context,
    /// The fact.
    pub event: E,
}

impl<E> Recorded<E> {
    /// Where its aggregate stands after it.
    pub fn revision(&self) -> Revision {
        Revision { version: self.version, position: self.position }
    }
}

/// What caused an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// The id of the event, command or operation; empty for a timer.
    pub id: String,
    /// What it was, for example `<service>.<event>`.
    pub kind: String,
}

/// What everything that follows from one request has in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The id of the command that began it.
    pub correlation_id: String,
    /// The W3C trace context of the request; empty when there was none.
    pub traceparent: String,
    /// The W3C trace state of the request; empty when there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tracestate: String,
}

/// An input that comes from the service itself: a deadline that has passed, the outcome of an
/// operation.
#[derive(Debug)]
pub struct InternalInput<I> {
    /// The shop that it concerns.
    pub shop: Shop,
    /// The aggregate that it concerns.
    pub aggregate: String,
    /// What it is.
    pub cause: Cause,
    /// What it continues.
    pub context: Context,
    /// The input.
    pub input: I,
}

/// A message that is not what the contract says: it is parked.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The bytes do not decode.
    #[error("the message does not decode")]
    Decode(#[from] prost::DecodeError),
    /// A part that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value breaks its rule.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The message is one that this service does not handle, or this version does not know.
    #[error("{0} is not handled by this version of the service")]
    Unexpected(&'static str),
}

/// The database failed, or holds what it cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// A row holds what no code of this version writes.
    #[error("the row {key} of {table} does not read back")]
    Unreadable {
        /// The table.
        table: String,
        /// The key of the row.
        key: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A position in the database is none.
    #[error("a position does not read back")]
    Position(#[source] PositionError),
    /// Rows could not be written as JSON.
    #[error("rows do not serialise")]
    Serialise(#[from] serde_json::Error),
}

/// A question could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The outside world failed.
    #[error("{0}")]
    Outside(Box<dyn std::error::Error + Send + Sync>),
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
