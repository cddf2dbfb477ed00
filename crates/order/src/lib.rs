//! The order service: the process manager of the saga that brings every order to paid or cancelled.
//!
//! How an order flows: the gateway's `PlaceOrder` becomes `placed`; from there on each answer of
//! inventory or payment is turned into the next event of the order, which the two read in turn.
//!
//! | event of the order | awaited | by | next |
//! |---|---|---|---|
//! | `placed` | inventory `reserved`, `refused` | `reserve_by` | `payment_due`, `cancelled` |
//! | `payment_due` | payment `authorized`, `declined`, `failed` | `due_by` | `authorized`, `cancelled` |
//! | `authorized` | inventory `allocated`, `lost` | `allocate_by` | `confirmed`, `cancelled` |
//! | `confirmed` | payment `captured`, `capture_failed` | – | `paid`, `cancelled` |
//!
//! Until it is confirmed, the order can also be cancelled on request. An answer that comes when
//! the order has moved on changes nothing here: inventory and payment give back what they hold as
//! soon as they read `cancelled`. After `confirmed` there is no deadline, since money may have moved.
//!
//! Where to find what: `wire` parses messages, `domain` holds the rules, `store` all SQL, `query`
//! the questions. To add a step: a message in `proto/`, a `Fact`, an arm in `domain::proceed` and
//! in `apply`; what is missing then fails to compile.

mod domain;
mod query;
mod store;
mod wire;

use std::{collections::HashMap, convert::Infallible, time::Duration};

use engine::{
    Decision, Local, QueryError, Recorded, Service, Source, StoreError, Table, WireError,
};
use events::{id::Shop, proto, time::Timestamp};
use sqlx::{AnyConnection, AnyPool, migrate::Migrator};
use tokio_util::sync::CancellationToken;

/// How long an order waits for each answer before it is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// For inventory to hold the stock.
    pub reserve_within: Duration,
    /// For payment to authorise the total.
    pub pay_within: Duration,
    /// For inventory to allocate what it held.
    pub allocate_within: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            reserve_within: Duration::from_mins(5),
            pay_within: Duration::from_mins(10),
            allocate_within: Duration::from_mins(5),
        }
    }
}

/// Runs the order service until `shutdown`.
pub async fn run(
    engine: &engine::Engine,
    policy: Policy,
    shutdown: CancellationToken,
) -> Result<(), engine::Error> {
    engine.run(Orders { policy }, shutdown).await
}

/// The service, as the engine runs it.
#[derive(Debug, Clone, Copy)]
pub struct Orders {
    /// What this installation chose.
    pub policy: Policy,
}

impl Service for Orders {
    const NAME: &'static str = "order";
    const SOURCES: &'static [Source] = &[
        Source {
            service: "inventory",
            events: &["reserved", "refused", "allocated", "lost"],
            copy: false,
        },
        Source {
            service: "payment",
            events: &["authorized", "declined", "failed", "captured", "capture_failed"],
            copy: false,
        },
        Source { service: "catalog", events: &["created", "updated", "discontinued"], copy: true },
    ];
    const TABLES: &'static [Table] = store::TABLES;
    const MIGRATIONS: &'static Migrator = &store::MIGRATIONS;

    type Input = domain::Input;
    type Event = domain::Event;
    type Keys = domain::Keys;
    type State = domain::State;
    type Operation = Infallible;

    fn command(command: proto::Command) -> Result<Self::Input, WireError> {
        wire::command(command)
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
        state.orders.get(&event.order_id).map_or(0, |order| order.version)
    }

    fn keys(input: &Self::Input, keys: &mut Self::Keys) {
        keys.add(input);
    }

    fn event_keys(event: &Self::Event, keys: &mut Self::Keys) {
        keys.orders.insert(event.order_id);
    }

    fn weight(input: &Self::Input) -> usize {
        input.weight()
    }

    fn decide(
        &self,
        state: &Self::State,
        input: &Self::Input,
        now: Timestamp,
    ) -> Decision<Self::Event> {
        domain::decide(&self.policy, state, input, now)
    }

    fn apply(state: &mut Self::State, event: &Recorded<Self::Event>) {
        domain::apply(state, event);
    }

    fn copy(state: &mut Self::State, input: &Self::Input) {
        domain::copy(state, input);
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

    async fn due(
        db: &mut AnyConnection,
        partition: u32,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<Local<Self::Input>>, StoreError> {
        store::due(db, partition, now, limit).await
    }

    async fn execute(&self, operation: Infallible, _resumed: bool) -> Local<Self::Input> {
        match operation {}
    }

    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        name: &str,
        parameters: serde_json::Value,
    ) -> Result<Option<serde_json::Value>, QueryError> {
        query::answer(db, shop, name, parameters).await
    }
}
