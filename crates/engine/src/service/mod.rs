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

mod effects;
pub(crate) mod envelope;
mod error;
mod rows;
mod table;

use std::{fmt, future::Future};

use metrics::Gauge;
use protocol::{
    id::{EventId, Shop},
    proto::Actor,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use sqlx::AnyPool;

pub(crate) use self::table::MAX_KEY_BYTES;
pub use self::{
    effects::{Attempt, Attempted, Effects, LiveRow, Operation, OperationColumn},
    error::{QueryError, StoreError, WireError},
    rows::{AnyRows, Rows},
    table::{ChangedRow, Column, ColumnKind, Document, Key, Row, Table, Value},
};
use crate::metrics::Metric;

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
    /// The metrics that it records beside the engine's own.
    const METRICS: &'static [Metric] = &[];
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
    /// Whether others may read it. What is not public is on the subjects of the engine's own events,
    /// which neither other services nor integrators read.
    pub is_public: bool,
}

impl Encoded {
    /// A public event of which the outside world does not say when it happened.
    pub fn new(name: &'static str, body: Vec<u8>) -> Self {
        Self { name, occurred_at: None, body, is_public: true }
    }

    /// The same, for the service alone.
    pub fn internal(name: &'static str, body: Vec<u8>) -> Self {
        Self { is_public: false, ..Self::new(name, body) }
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
    /// Whether the command is decided anew when it comes again, though events follow from it: what it
    /// asked for was refused, and the refusal is on record. Without events it always is.
    pub is_provisional: bool,
}

impl<E, A> Decision<E, A> {
    /// Facts, and nobody who waits for an answer.
    pub fn events(events: Vec<E>) -> Self {
        Self { events, answer: None, is_provisional: false }
    }

    /// No facts: the effect holds already.
    pub fn nothing() -> Self {
        Self::events(Vec::new())
    }

    /// Facts, and the answer to the command.
    pub fn answered(events: Vec<E>, answer: A) -> Self {
        Self { events, answer: Some(answer), is_provisional: false }
    }

    /// The same, and whether the command is decided anew when it comes again.
    #[must_use]
    pub fn provisional(self, is_provisional: bool) -> Self {
        Self { is_provisional, ..self }
    }

    /// Whether the answer stands when the command comes again.
    pub fn has_effect(&self) -> bool {
        !self.events.is_empty() && !self.is_provisional
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
