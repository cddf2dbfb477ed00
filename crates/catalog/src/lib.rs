//! The catalogue: what a shop sells, at which price.
//!
//! It is the smallest service, and shows the rooms that every service has:
//!
//! - `wire`: bytes to domain and back; the only file that sees protobuf;
//! - `domain`: the rules, without I/O, clock or async: state, inputs, events, `decide`, `apply`;
//! - `store`: all SQL, loading and saving in bulk;
//! - `query`: the questions that it answers from its projection;
//! - `migrations/`: the tables of the projection.
//!
//! One command comes in, `PutProducts`, and says how products shall be; `created`, `updated` and
//! `discontinued` go out, one for each product that was otherwise. The aggregate is the SKU.
//!
//! To add a fact about a product: add it to `proto/`, to `domain::Product` and to the table; the
//! compiler names the places in between.

mod domain;
mod query;
mod store;
mod wire;

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
};

use engine::{
    Decision, Engine, QueryError, Recorded, Rows, Service, Source, StoreError, Table, WireError,
};
use events::{
    id::{Shop, Sku},
    proto,
    time::Timestamp,
};
use sqlx::{AnyConnection, AnyPool, migrate::Migrator};
use tokio_util::sync::CancellationToken;

/// Runs the catalogue until `shutdown`.
pub async fn run(engine: &Engine, shutdown: CancellationToken) -> Result<(), engine::Error> {
    engine.run(Catalog, shutdown).await
}

/// The catalogue, as the engine sees it.
#[derive(Debug, Clone, Copy)]
pub struct Catalog;

impl Service for Catalog {
    const NAME: &'static str = "catalog";
    const SOURCES: &'static [Source] = &[];
    const TABLES: &'static [Table] = &[Table { name: "product", key: "shop, sku" }];
    const MIGRATIONS: &'static Migrator = &store::MIGRATIONS;

    type Input = domain::Input;
    type Event = domain::Event;
    type Keys = BTreeSet<Sku>;
    type State = Rows<Sku, domain::Row>;
    type Operation = Infallible;

    fn command(command: proto::Command) -> Result<Self::Input, WireError> {
        wire::command(command)
    }

    fn foreign(event: proto::Event) -> Result<Self::Input, WireError> {
        wire::foreign(&event)
    }

    fn encode(event: &Self::Event) -> proto::event::Body {
        wire::encode(event)
    }

    fn decode(_aggregate: &str, body: proto::event::Body) -> Result<Self::Event, WireError> {
        wire::decode(body)
    }

    fn aggregate(event: &Self::Event) -> String {
        event.sku().to_string()
    }

    fn version(state: &Self::State, event: &Self::Event) -> u64 {
        state.get(event.sku()).map_or(0, |row| row.version)
    }

    fn keys(input: &Self::Input, keys: &mut Self::Keys) {
        match input {
            domain::Input::Put { products } => {
                keys.extend(products.iter().map(|(sku, _)| sku.clone()));
            }
        }
    }

    fn event_keys(event: &Self::Event, keys: &mut Self::Keys) {
        keys.insert(event.sku().clone());
    }

    fn weight(input: &Self::Input) -> usize {
        match input {
            domain::Input::Put { products } => products.len(),
        }
    }

    fn decide(
        &self,
        state: &Self::State,
        input: &Self::Input,
        _now: Timestamp,
    ) -> Decision<Self::Event> {
        domain::decide(state, input)
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
        _partition: u32,
        states: &HashMap<Shop, Self::State>,
    ) -> Result<(), StoreError> {
        store::save(db, states).await
    }

    /// Never called: the catalogue asks nothing of the outside world.
    async fn execute(
        &self,
        operation: Self::Operation,
        _resumed: bool,
    ) -> engine::Local<Self::Input> {
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
