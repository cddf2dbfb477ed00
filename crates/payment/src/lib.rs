//! The payment service: asks a payment provider for the money of orders, and gives it back.
//!
//! - `wire`: bytes to domain and back; the only file that sees protobuf;
//! - `domain`: the rules, without I/O, clock or async; `domain/charge.rs` for a payment as it stands;
//! - `store`: all SQL, loading and saving in bulk;
//! - `query`: the questions that it answers;
//! - `operation`: what is asked of the provider, and how its outcome becomes certain;
//! - `provider`: the provider as we see it; `simulator`: the one that there is, and the table of how
//!   a payment method makes it behave;
//! - `migrations/`: the tables of the projection.
//!
//! How money flows: the order's `payment_due` becomes `authorization_pending`. Once that is in the
//! log, the engine has the operation that it announces carried out; the outcome comes back as an
//! input and becomes `authorized`, `declined` or `failed`. `confirmed` leads in the same way to
//! `captured`, and `cancelled` to `voided` or `refunded`, whatever it crosses. The aggregate is the
//! order.
//!
//! To ask something new of the provider: a task in `provider::Task`, its events in `proto/`, a
//! status and the rules in `domain`; the compiler names the places in between. To add a provider: an
//! arm in `provider`.

mod domain;
mod error;
mod operation;
mod provider;
mod query;
mod simulator;
mod store;
mod wire;

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    time::Duration,
};

use engine::{
    Decision, Engine, Local, QueryError, Recorded, Service, Source, StoreError, Table, WireError,
};
use events::{
    id::{OrderId, Shop},
    proto,
    time::Timestamp,
};
use sqlx::{AnyConnection, AnyPool, migrate::Migrator};
use tokio_util::sync::CancellationToken;

pub use self::error::Error;
use self::{
    operation::{Operation, Patience},
    provider::Provider,
    simulator::Simulator,
};

/// What an installation may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder in which the simulated provider keeps its ledger, `provider.db`.
    pub simulator_folder: PathBuf,
    /// How long the simulated provider takes for each operation.
    pub simulator_latency: Duration,
    /// How long an answer of the provider is waited for, before it is asked what became of the call.
    pub timeout: Duration,
}

impl Settings {
    /// Long enough for a slow answer, short against the time that an order waits for its payment.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
}

/// Runs payments until `shutdown`.
pub async fn run(
    engine: &Engine,
    settings: &Settings,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let payments = Payments::open(settings).await?;
    Ok(engine.run(payments, shutdown).await?)
}

/// Payments, as the engine sees them.
#[derive(Debug, Clone)]
pub struct Payments {
    provider: Provider,
}

impl Payments {
    /// Connects to the provider.
    pub async fn open(settings: &Settings) -> Result<Self, Error> {
        let file = settings.simulator_folder.join("provider.db");
        let simulator = Simulator::open(&file, settings.simulator_latency).await;
        let simulator = simulator
            .map_err(|source| Error::Provider { file: file.display().to_string(), source })?;
        Ok(Self { provider: Provider::new(simulator, settings.timeout) })
    }
}

impl Service for Payments {
    const NAME: &'static str = "payment";
    const SOURCES: &'static [Source] = &[Source {
        service: "order",
        events: &["payment_due", "confirmed", "cancelled"],
        copy: false,
    }];
    const TABLES: &'static [Table] = &[Table { name: "payment", key: "shop, order_id" }];
    const MIGRATIONS: &'static Migrator = &store::MIGRATIONS;

    type Input = domain::Input;
    type Event = domain::Event;
    type Keys = BTreeSet<OrderId>;
    type State = domain::State;
    type Operation = Operation;

    fn command(command: proto::Command) -> Result<Self::Input, WireError> {
        wire::command(&command)
    }

    fn foreign(event: proto::Event) -> Result<Self::Input, WireError> {
        wire::foreign(event)
    }

    fn encode(event: &Self::Event) -> proto::event::Body {
        wire::encode(event)
    }

    fn decode(aggregate: &str, body: proto::event::Body) -> Result<Self::Event, WireError> {
        wire::decode(aggregate, body)
    }

    fn aggregate(event: &Self::Event) -> String {
        event.order_id.to_string()
    }

    fn version(state: &Self::State, event: &Self::Event) -> u64 {
        state.get(&event.order_id).map_or(0, |row| row.version)
    }

    fn keys(input: &Self::Input, keys: &mut Self::Keys) {
        keys.insert(input.order_id);
    }

    fn event_keys(event: &Self::Event, keys: &mut Self::Keys) {
        keys.insert(event.order_id);
    }

    fn decide(
        &self,
        state: &Self::State,
        input: &Self::Input,
        _now: Timestamp,
    ) -> Decision<Self::Event> {
        Decision::events(domain::decide(state, input))
    }

    fn apply(state: &mut Self::State, event: &Recorded<Self::Event>) {
        domain::apply(state, event);
    }

    async fn load(
        db: &mut AnyConnection,
        keys: &HashMap<Shop, Self::Keys>,
    ) -> Result<HashMap<Shop, Self::State>, StoreError> {
        store::load(db, keys).await
    }

    async fn save(
        db: &mut AnyConnection,
        partition: u32,
        states: &HashMap<Shop, Self::State>,
    ) -> Result<(), StoreError> {
        store::save(db, partition, states).await
    }

    fn operation(event: &Recorded<Self::Event>) -> Option<Self::Operation> {
        Operation::announced(event)
    }

    async fn pending(
        db: &mut AnyConnection,
        partition: u32,
    ) -> Result<Vec<Self::Operation>, StoreError> {
        store::pending(db, partition).await
    }

    async fn execute(&self, operation: Self::Operation, resumed: bool) -> Local<Self::Input> {
        let outcome =
            operation::carry_out(&self.provider, &Patience::DEFAULT, &operation.request, resumed);
        let outcome = outcome.await;
        operation.settled(outcome)
    }

    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        name: &str,
        parameters: serde_json::Value,
    ) -> Result<Option<serde_json::Value>, QueryError> {
        query::answer(db, &self.provider, shop, name, parameters).await
    }
}
