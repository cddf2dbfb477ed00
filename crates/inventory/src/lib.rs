//! The inventory: what there is, and which order it is promised to.
//!
//! - `wire`: bytes to domain and back; the only file that sees protobuf;
//! - `domain`: the rules, without I/O, clock or async; `domain/stock.rs` for what an ERP tells,
//!   `domain/reservation.rs` for what orders ask, `domain/keys.rs` for the rows that both touch;
//! - `store`: all SQL, loading and saving in bulk;
//! - `query`: the questions that it answers from its projection;
//! - `migrations/`: the tables of the projection.
//!
//! `RecordStock` comes in from ERP connectors: counts and adjustments, each for itself. `counted`,
//! `adjusted` and `short` go out; their aggregate is the stock, `<sku>@<location>`. From the order
//! service come `placed`, `authorized` and `cancelled`; `reserved` or `refused`, `allocated` or
//! `lost`, and `released` go out; their aggregate is the order. Both kinds change the same stock
//! rows, and everything of a shop is decided by one worker: so nothing is promised twice. From the
//! catalogue comes which SKUs there are.
//!
//! To add a fact: add it to `proto/` and to `domain::StockFact` or `domain::ReservationFact`; the
//! compiler names the places in between.

mod domain;
mod query;
mod store;
mod wire;

use std::{collections::HashMap, convert::Infallible, time::Duration};

use engine::{
    Decision, Engine, Local, QueryError, Recorded, Service, Source, StoreError, Table, WireError,
};
use events::{id::Shop, proto, time::Timestamp};
use sqlx::{AnyConnection, AnyPool, migrate::Migrator};
use tokio_util::sync::CancellationToken;

/// Runs the inventory until `shutdown`.
pub async fn run(
    engine: &Engine,
    policy: Policy,
    shutdown: CancellationToken,
) -> Result<(), engine::Error> {
    engine.run(Inventory { policy }, shutdown).await
}

/// What an installation may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long units are held for an order whose payment is not authorised yet.
    pub hold_ttl: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { hold_ttl: Duration::from_mins(15) }
    }
}

/// The inventory, as the engine sees it.
#[derive(Debug, Clone, Copy)]
pub struct Inventory {
    /// What this installation chose.
    pub policy: Policy,
}

impl Service for Inventory {
    const NAME: &'static str = "inventory";
    const SOURCES: &'static [Source] = &[
        Source { service: "order", events: &["placed", "authorized", "cancelled"], copy: false },
        Source { service: "catalog", events: &["created", "updated", "discontinued"], copy: true },
    ];
    const TABLES: &'static [Table] = &[
        Table { name: "product", key: "shop, sku" },
        Table { name: "stock", key: "shop, sku, location" },
        Table { name: "document", key: "shop, connector, id" },
        Table { name: "reservation", key: "shop, order_id" },
        Table { name: "shop", key: "shop" },
        Table { name: "promise", key: "shop, sku, location, order_id" },
    ];
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

    fn decode(_aggregate: &str, body: proto::event::Body) -> Result<Self::Event, WireError> {
        wire::decode(body)
    }

    fn aggregate(event: &Self::Event) -> String {
        event.aggregate()
    }

    fn version(state: &Self::State, event: &Self::Event) -> u64 {
        state.version(event)
    }

    fn keys(input: &Self::Input, keys: &mut Self::Keys) {
        keys.add_input(input);
    }

    fn event_keys(event: &Self::Event, keys: &mut Self::Keys) {
        keys.add_event(event);
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
        domain::decide(state, self.policy, input, now)
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

    /// Never called: the inventory asks nothing of the outside world.
    async fn execute(&self, operation: Self::Operation, _resumed: bool) -> Local<Self::Input> {
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
