//! What an operator does with parked inputs: look at them, edit one, let them be handled again.

use async_nats::jetstream::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{
    Cause, ParkedRow, Service,
    error::describe,
    jetstream::reader::StoredMessage,
    operate::void::read_one,
    worker::inputs::{self, Content, INTERNAL, Input, Redriven},
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
    /// Its bytes as they should have been, in hexadecimal; absent when they are right as they came.
    pub(crate) edited: Option<String>,
}

/// What became of parked inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriving {
    /// Those that were handled.
    pub handled: Vec<String>,
    /// Those that wait as before: the first failed again.
    pub still_parked: Vec<String>,
}

/// Asks for a parked input, with a part of its bytes: all of them can be more than a message holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ParkedQuestion {
    pub(crate) id: String,
    /// The first hexadecimal digit of the part.
    pub(crate) from: usize,
}

/// Hexadecimal digits of the bytes in one answer.
pub(crate) const MAX_PARKED_DIGITS: usize = 800_000;

/// A page of parked inputs, without their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedPage {
    /// The inputs.
    pub parked: Vec<ParkedRow>,
    /// Where the next page begins; absent on the last one.
    pub next: Option<u64>,
}

impl RedriveRequest {
    pub(crate) fn answer(self, outcome: Result<Redriving, String>) {
        // Who asked may be gone: what was done is valid all the same.
        self.answer.send(outcome).ok();
    }
}

impl ParkedRow {
    /// The row with a part of its bytes.
    pub(crate) fn part(self, from: usize) -> Self {
        let digits = self.payload.bytes().skip(from).take(MAX_PARKED_DIGITS);
        Self { payload: digits.map(char::from).collect(), ..self }
    }

    /// The bytes of the input; `None` when they are not here but in the stream of its source.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        if self.is_in_source { None } else { unhex(&self.payload) }
    }
}

/// The parked inputs of the aggregate that the order names, as inputs again.
pub(crate) async fn inputs<S: Service>(
    context: &Context,
    parked: Vec<ParkedRow>,
    order: &RedriveOrder,
) -> Result<Vec<Input<S>>, String> {
    let Some(named) = parked.iter().find(|row| row.id == order.id) else {
        return Err(format!("{} has nothing parked under {}", S::NAME, order.id));
    };
    if let Some(first) = parked.first().filter(|first| first.id != named.id) {
        return Err(format!(
            "{} waits behind {}: redrive that one, and the others of {} follow in order",
            named.id, first.id, named.aggregate_id
        ));
    }
    let edited = order.edited.as_deref().map(|edited| {
        unhex(edited).ok_or_else(|| "the edited bytes are not hexadecimal".to_owned())
    });
    let mut edited = edited.transpose()?.unwrap_or_default();
    let mut inputs = Vec::with_capacity(parked.len());
    for row in parked {
        inputs.push(input::<S>(context, row, std::mem::take(&mut edited)).await?);
    }
    Ok(inputs)
}

async fn input<S: Service>(
    context: &Context,
    row: ParkedRow,
    edited: Vec<u8>,
) -> Result<Input<S>, String> {
    let (source, stream) = inputs::sources::<S>(row.partition)
        .into_iter()
        .find(|(known, _)| *known == row.source)
        .unwrap_or((INTERNAL, String::new()));
    if source == INTERNAL && row.source != INTERNAL {
        return Err(format!(
            "{} no longer reads {}, where {} came from",
            S::NAME,
            row.source,
            row.id
        ));
    }
    let payload = match row.bytes() {
        _ if !edited.is_empty() => Bytes::from(edited.clone()),
        Some(bytes) => Bytes::from(bytes),
        None => {
            let message = read_one(context, &stream, row.sequence, S::NAME).await;
            message.map_err(|error| describe(&error))?.payload
        }
    };
    let message = StoredMessage {
        sequence: row.sequence,
        subject: row.subject,
        payload,
        aggregate: Some(row.aggregate_id),
        reply: None,
        after: None,
        positions: None,
        stored_at: None,
        pending: 0,
    };
    let mut input = if source == INTERNAL {
        let mut input = Input::unasked();
        input.content = Content::Resume;
        input.cause = Cause::redrive(&row.id);
        input.aggregate = message.aggregate.unwrap_or_default();
        input.context.correlation_id = row.correlation_id;
        input.context.traceparent = row.traceparent;
        input
    } else {
        let mut input = Input::read(source, message);
        // Who edits bytes need not know what they continue.
        if input.context.correlation_id.is_empty() {
            input.context.correlation_id = row.correlation_id;
        }
        if input.context.traceparent.is_empty() {
            input.context.traceparent = row.traceparent;
        }
        input
    };
    input.shop = row.shop;
    input.redriven = Some(Redriven { parked_id: row.id, edited });
    Ok(input)
}

/// What became of the inputs, by what is parked afterwards.
pub(crate) fn outcome(ids: &[String], left: &[String]) -> Redriving {
    let (still_parked, handled) = ids.iter().cloned().partition(|id| left.contains(id));
    Redriving { handled, still_parked }
}

/// Bytes from hexadecimal; `None` when it is none.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}
