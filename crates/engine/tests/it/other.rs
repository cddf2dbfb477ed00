//! A second service beside the ledger, as small as one can be: it counts what comes. In two formats.

use std::convert::Infallible;

use engine::{
    Aggregate, Column, Decision, Definition, Encoded, Queries, QueryError, Recorded, Revision, Row,
    Rows, Rules, Service, Source, Table, Value as Cell, Wire, WireError,
};
use prost::Message;
use protocol::{id::Shop, time::Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::AnyPool;

use crate::contract::{self, Body, Counted, INTAKE};

/// The service; `FORMAT` is the format of its rows.
#[derive(Debug, Clone)]
pub(crate) struct Other<const FORMAT: u32 = 1>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Count {
    revision: Revision,
    /// In the second format an event counts ten times.
    counted: i64,
}

impl Row for Count {
    const TABLE: Table = Table {
        name: "counted",
        about: "How much has come.",
        columns: &[Column::integer("counted")],
        indexes: &[],
    };

    fn columns(&self) -> Vec<Cell> {
        vec![Cell::from(self.counted)]
    }
}

impl<const FORMAT: u32> Service for Other<FORMAT> {
    const NAME: &'static str = INTAKE;
    const SOURCES: &'static [Source] = &[];
    const TABLES: &'static [Table] = &[Count::TABLE];
    const FORMAT: u32 = FORMAT;
}

impl<const FORMAT: u32> Wire for Other<FORMAT> {
    type Input = String;
    type Event = String;
    type Answer = Infallible;
    type Question = Infallible;
    type Found = Infallible;

    fn command(payload: &[u8]) -> Result<String, WireError> {
        Ok(contract::Command::decode(payload)?.id)
    }

    fn foreign(_payload: &[u8]) -> Result<String, WireError> {
        Err(WireError::Unexpected("the event"))
    }

    fn encode(event: &String) -> Encoded {
        let body = Body::Counted(Counted { amount: event.len() as i64, times: 1 });
        let (_, name) = body.name();
        let body = contract::Event { body: Some(body), ..Default::default() }.encode_to_vec();
        Encoded::new(name, body)
    }

    fn decode(payload: &[u8]) -> Result<String, WireError> {
        Ok(contract::Event::decode(payload)?.aggregate_id)
    }

    fn encode_answer(answer: &Infallible) -> Vec<u8> {
        match *answer {}
    }

    fn question(_payload: &[u8]) -> Result<Infallible, WireError> {
        Err(WireError::Unexpected("the question"))
    }

    fn encode_found(found: Infallible) -> Vec<u8> {
        match found {}
    }
}

impl<const FORMAT: u32> Rules for Other<FORMAT> {
    type State = Rows<String, Count>;

    fn aggregate(event: &String) -> Aggregate {
        Aggregate::new("item", event)
    }

    fn revision(state: &Self::State, event: &String) -> Revision {
        state.get(event).map(|count| count.revision).unwrap_or_default()
    }

    fn decide(&self, _: &Self::State, _: &String, _: Timestamp) -> Decision<String, Infallible> {
        Decision::events(vec!["all".to_owned()])
    }

    fn apply(state: &mut Self::State, event: &Recorded<String>) {
        let count = state.change_or_default(&event.event);
        count.revision = event.revision();
        count.counted += if FORMAT == 1 { 1 } else { 10 };
    }
}

impl<const FORMAT: u32> Queries for Other<FORMAT> {
    async fn revision_of(
        &self,
        _db: &AnyPool,
        _shop: &Shop,
        _kind: &str,
        _id: &str,
    ) -> Result<Option<Revision>, QueryError> {
        Ok(None)
    }

    async fn query(
        &self,
        _db: &AnyPool,
        _shop: &Shop,
        question: Infallible,
    ) -> Result<Option<Infallible>, QueryError> {
        match question {}
    }
}

impl<const FORMAT: u32> Other<FORMAT> {
    /// The service as it is registered.
    pub(crate) fn definition() -> Definition<Self> {
        Definition::new(Self)
    }
}
