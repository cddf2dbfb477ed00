//! What an operator does with parked inputs: look at them, edit one, let them be handled again.

use bytes::Bytes;
use events::json;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{
    Cause, Service,
    jetstream::reader::Arrived,
    projection::fold::unhex,
    projection::store::ParkedRow,
    worker::inputs::{Content, Input, Redriven, WITHIN},
};

/// Asks for the parked inputs of an aggregate to be handled again.
#[derive(Debug)]
pub(crate) struct RedriveRequest {
    pub(crate) order: RedriveOrder,
    pub(crate) answer: oneshot::Sender<Result<Redriving, String>>,
}

/// What the operator wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RedriveOrder {
    /// The first parked input of its aggregate.
    pub(crate) id: String,
    /// Its message as it should have been, as protobuf JSON; absent when it is right as it came.
    pub(crate) edited: Option<serde_json::Value>,
}

/// What became of parked inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriving {
    /// Those that were handled.
    pub handled: Vec<String>,
    /// Those that wait as before: the first failed again.
    pub still_parked: Vec<String>,
}

/// A parked input, for an operator to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedView {
    /// The input.
    #[serde(flatten)]
    pub row: ParkedRow,
    /// Its message as protobuf JSON; absent when its bytes cannot be read.
    pub message: Option<serde_json::Value>,
}

impl RedriveRequest {
    pub(crate) fn answer(self, outcome: Result<Redriving, String>) {
        self.answer.send(outcome).ok();
    }
}

impl From<ParkedRow> for ParkedView {
    fn from(row: ParkedRow) -> Self {
        let message = unhex(&row.payload)
            .filter(|payload| !payload.is_empty())
            .and_then(|payload| json::to_json(json::message_of(&row.subject), &payload).ok());
        Self { row, message }
    }
}

/// The parked inputs of the aggregate that the order names, as inputs again.
pub(crate) fn inputs<S: Service>(
    parked: Vec<ParkedRow>,
    request: &RedriveRequest,
) -> Result<Vec<Input<S>>, String> {
    let order = &request.order;
    let Some(named) = parked.iter().find(|row| row.id == order.id).cloned() else {
        return Err(format!("{} has nothing parked under {}", S::NAME, order.id));
    };
    let rows: Vec<_> = parked
        .into_iter()
        .filter(|row| row.shop == named.shop && row.aggregate_id == named.aggregate_id)
        .collect();
    if let Some(first) = rows.first().filter(|first| first.id != named.id) {
        return Err(format!(
            "{} waits behind {}: redrive that one, and the others of {} follow in order",
            named.id, first.id, named.aggregate_id
        ));
    }
    let mut edited = match &order.edited {
        None => Vec::new(),
        Some(edited) => json::from_json(json::message_of(&named.subject), edited)
            .map_err(|error| crate::error::describe(&error))?,
    };
    rows.into_iter().map(|row| input(row, std::mem::take(&mut edited))).collect()
}

fn input<S: Service>(row: ParkedRow, edited: Vec<u8>) -> Result<Input<S>, String> {
    let payload = unhex(&row.payload).ok_or("the parked bytes are not hexadecimal")?;
    let source = source_name::<S>(&row.source);
    let copy = S::SOURCES.iter().any(|known| known.copy && known.service == source);
    let message = Arrived {
        sequence: row.sequence,
        subject: row.subject,
        payload: Bytes::from(if edited.is_empty() { payload } else { edited.clone() }),
        aggregate: Some(row.aggregate_id),
        reply: None,
        after: 0,
        positions: None,
    };
    let mut input = Input::read(source, copy, message);
    input.shop = row.shop;
    if source == WITHIN {
        input.content = Content::Resume;
        input.cause = Cause::redrive(&row.id);
    }
    input.redriven = Some(Redriven { parked_id: row.id, edited });
    Ok(input)
}

/// The source's name as the engine knows it.
fn source_name<S: Service>(name: &str) -> &'static str {
    ["inbox.live", "inbox.bulk"]
        .into_iter()
        .chain(S::SOURCES.iter().map(|source| source.service))
        .find(|known| *known == name)
        .unwrap_or(WITHIN)
}

/// What became of the inputs, by what is parked afterwards.
pub(crate) fn outcome(ids: &[String], left: &[ParkedRow]) -> Redriving {
    let (still_parked, handled) =
        ids.iter().cloned().partition(|id| left.iter().any(|row| row.id == *id));
    Redriving { handled, still_parked }
}
