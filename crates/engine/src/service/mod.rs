//! What a service hands to the engine: its rules, its load and save, and nothing else.
//!
//! The engine calls them in this order for each batch of inputs:
//!
//! 1. [`Service::command`] or [`Service::foreign`] turn bytes into inputs ([`Service::due`] and
//!    [`Service::execute`] yield some as well);
//! 2. [`Service::keys`] says which rows they touch, [`Service::load`] fetches them at once;
//! 3. [`Service::decide`] yields events, [`Service::apply`] folds each into the state;
//! 4. the events are published as one atomic batch, and only then
//! 5. [`Service::save`] writes the changed rows in the transaction that moves the positions.
//!
//! Recovery and rebuild are the same without `decide`: [`Service::event_keys`], `load`, `apply`, `save`.

pub(crate) mod envelope;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    future::Future,
    hash::Hash,
};

use events::{
    id::{EventId, ParseError, Shop},
    proto,
    time::Timestamp,
};
use serde::Serialize;
use sqlx::{AnyConnection, AnyPool, migrate::Migrator};

/// A service, as the engine sees it.
pub trait Service: Send + Sync + Sized + 'static {
    /// Its name: the first token of its subjects, the name of its database and of its lease.
    const NAME: &'static str;
    /// The streams of other services that it reads.
    const SOURCES: &'static [Source];
    /// The tables of its projection with their primary keys, for rebuild and verify.
    const TABLES: &'static [Table];
    /// The migrations of its projection.
    const MIGRATIONS: &'static Migrator;

    /// What it decides on: commands, events of others, what is due, outcomes of operations.
    type Input: fmt::Debug + Send + Sync;
    /// What it decides: the facts that it alone writes.
    type Event: Clone + fmt::Debug + Send + Sync;
    /// The names of the rows of one shop that some inputs touch.
    type Keys: Default + Send + Sync;
    /// The rows of one shop that some inputs touch.
    type State: Default + Send + Sync;
    /// What it asks of the outside world; [`std::convert::Infallible`] when it asks nothing.
    type Operation: Send + 'static;

    /// Turns a command into an input.
    fn command(command: proto::Command) -> Result<Self::Input, WireError>;
    /// Turns another service's event into an input.
    fn foreign(event: proto::Event) -> Result<Self::Input, WireError>;
    /// Turns an event into its wire form.
    fn encode(event: &Self::Event) -> proto::event::Body;
    /// Turns the wire form back into the event of that aggregate.
    fn decode(aggregate: &str, body: proto::event::Body) -> Result<Self::Event, WireError>;

    /// The aggregate that an event belongs to.
    fn aggregate(event: &Self::Event) -> String;
    /// The version of that aggregate so far; 0 when it does not exist yet.
    fn version(state: &Self::State, event: &Self::Event) -> u64;

    /// Adds the rows that deciding on `input` looks at or changes.
    fn keys(input: &Self::Input, keys: &mut Self::Keys);
    /// Adds the rows that applying `event` changes.
    fn event_keys(event: &Self::Event, keys: &mut Self::Keys);
    /// How many lines an input carries: a batch is cut by their sum.
    fn weight(_input: &Self::Input) -> usize {
        1
    }

    /// Decides which facts follow from `input`. Pure and total.
    fn decide(
        &self,
        state: &Self::State,
        input: &Self::Input,
        now: Timestamp,
    ) -> Decision<Self::Event>;
    /// Folds a fact into the state: the only way in which it changes.
    fn apply(state: &mut Self::State, event: &Recorded<Self::Event>);
    /// Folds a fact of another service into the copy of it; only for a source with `copy`.
    fn copy(_state: &mut Self::State, _input: &Self::Input) {}

    /// Fetches the named rows of each shop.
    fn load(
        db: &mut AnyConnection,
        keys: &HashMap<Shop, Self::Keys>,
    ) -> impl Future<Output = Result<HashMap<Shop, Self::State>, StoreError>> + Send;
    /// Writes the changed rows of each shop. `partition` is theirs.
    fn save(
        db: &mut AnyConnection,
        partition: u32,
        states: &HashMap<Shop, Self::State>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What is due at `now` in this partition, at most `limit`: deadlines that have passed.
    fn due(
        _db: &mut AnyConnection,
        _partition: u32,
        _now: Timestamp,
        _limit: i64,
    ) -> impl Future<Output = Result<Vec<Local<Self::Input>>, StoreError>> + Send {
        async { Ok(Vec::new()) }
    }

    /// The operation that an event announces as pending, if it does.
    fn operation(_event: &Recorded<Self::Event>) -> Option<Self::Operation> {
        None
    }
    /// The operations of this partition that are pending, after a restart.
    fn pending(
        _db: &mut AnyConnection,
        _partition: u32,
    ) -> impl Future<Output = Result<Vec<Self::Operation>, StoreError>> + Send {
        async { Ok(Vec::new()) }
    }
    /// Carries out an operation until its outcome is certain. `resumed` after a restart: it may
    /// have been carried out already, so ask before repeating it.
    fn execute(
        &self,
        operation: Self::Operation,
        resumed: bool,
    ) -> impl Future<Output = Local<Self::Input>> + Send;

    /// Answers the question `name` about a shop from the projection, as JSON; `None` when there is
    /// nothing of that name.
    fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        name: &str,
        parameters: serde_json::Value,
    ) -> impl Future<Output = Result<Option<serde_json::Value>, QueryError>> + Send;
}

/// A stream of another service, as an input.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The service that writes it.
    pub service: &'static str,
    /// The events of it that matter here.
    pub events: &'static [&'static str],
    /// Whether it only feeds a copy ([`Service::copy`]) and is never decided on.
    pub copy: bool,
}

/// A table of the projection.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns of its primary key, comma-separated.
    pub key: &'static str,
}

/// What a decision yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<E> {
    /// The facts, in order.
    pub events: Vec<E>,
    /// What the sender of a command is told, as JSON. A command without an answer of its own is
    /// answered with `null`.
    pub answer: Option<String>,
}

impl<E> Decision<E> {
    /// Facts, and nobody who waits for an answer.
    pub fn events(events: Vec<E>) -> Self {
        Self { events, answer: None }
    }

    /// No facts: the effect holds already.
    pub fn nothing() -> Self {
        Self::events(Vec::new())
    }

    /// Facts, and what the sender of the command is told.
    pub fn answered(events: Vec<E>, answer: &impl Serialize) -> Self {
        Self { events, answer: serde_json::to_string(answer).ok() }
    }
}

/// An event as it stands in the log.
#[derive(Debug, Clone)]
pub struct Recorded<E> {
    /// Its id.
    pub id: EventId,
    /// Its shop.
    pub shop: Shop,
    /// The version of its aggregate after it.
    pub version: u64,
    /// When it was decided.
    pub time: Timestamp,
    /// What caused it.
    pub cause: Cause,
    /// What it has in common with everything that follows from one request.
    pub context: Context,
    /// The fact.
    pub event: E,
}

/// What caused an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// The id of the event, command or operation; empty for a timer.
    pub id: String,
    /// What it was, for example `inventory.reserved`.
    pub kind: String,
}

/// What everything that follows from one request has in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The id of the command that began it.
    pub correlation_id: String,
    /// The W3C trace context of the request; empty when there was none.
    pub traceparent: String,
}

/// An input that comes from within: a deadline that has passed, the outcome of an operation.
#[derive(Debug)]
pub struct Local<I> {
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
    /// The message is one that this service does not handle.
    #[error("{0} is not handled by this service")]
    Unexpected(&'static str),
}

/// The database failed, or holds what it cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// A row holds what no code of this version writes.
    #[error("a row of {table} holds {value:?} in {column}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// Rows could not be written as JSON.
    #[error("rows do not serialise")]
    Serialise(#[from] serde_json::Error),
    /// Rows hold what no code of this version writes.
    #[error("rows do not read back")]
    Unreadable(#[source] serde_json::Error),
}

/// A question could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The service has no such question.
    #[error("{service} has no question {name:?}")]
    Unknown {
        /// The service.
        service: &'static str,
        /// The question.
        name: String,
    },
    /// The parameters are not what the question takes.
    #[error("the parameters do not fit the question")]
    Parameters(#[from] serde_json::Error),
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

/// Rows in memory: what was loaded, and which of it has changed since.
#[derive(Debug, Clone)]
pub struct Rows<K, V> {
    rows: HashMap<K, V>,
    changed: BTreeSet<K>,
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self { rows: HashMap::new(), changed: BTreeSet::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord, V> Rows<K, V> {
    /// Takes a row as it is in the database.
    pub fn loaded(&mut self, key: K, row: V) {
        self.rows.insert(key, row);
    }

    /// The row of that name.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    /// The row of that name, to be changed.
    pub fn change(&mut self, key: &K) -> Option<&mut V> {
        let row = self.rows.get_mut(key)?;
        self.changed.insert(key.clone());
        Some(row)
    }

    /// Puts a new row, or another in place of the old one.
    pub fn put(&mut self, key: K, row: V) {
        self.changed.insert(key.clone());
        self.rows.insert(key, row);
    }

    /// The row of that name, to be changed; a default one where there is none.
    pub fn change_or_default(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        self.changed.insert(key.clone());
        self.rows.entry(key.clone()).or_default()
    }

    /// All rows, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// The rows that have changed, by key.
    pub fn changed(&self) -> impl Iterator<Item = (&K, &V)> {
        self.changed.iter().filter_map(|key| self.rows.get_key_value(key))
    }
}
