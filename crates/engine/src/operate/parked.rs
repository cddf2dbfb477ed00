//! What an operator does with parked inputs: look at them, edit one, let them be handled again, drop one.

use std::collections::HashSet;

use async_nats::jetstream::Context;
use bytes::Bytes;
use protocol::{
    id::{CommandId, ParseError, Shop, hex},
    proto,
    time::Timestamp,
};
use serde::{Serialize, Serializer};
use tokio::sync::oneshot;

use crate::{
    Cause, Service,
    error::describe,
    jetstream::reader::{StoredMessage, read_one},
    projection::engine_rows::ParkedRow,
    worker::inputs::{self, Content, INTERNAL, Input, Redriven},
};

/// Asks for the parked inputs of an aggregate to be handled again.
#[derive(Debug)]
pub(crate) struct RedriveRequest {
    /// The id of the first of them.
    pub(crate) id: String,
    pub(crate) first: First,
    pub(crate) answer: oneshot::Sender<Result<proto::RedriveOutcome, String>>,
}

/// What becomes of the first parked input of an aggregate. Those behind it are handled as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum First {
    /// It is handled as it came.
    #[default]
    AsItCame,
    /// It is handled with these bytes.
    Edited(Vec<u8>),
    /// It is dropped, for that reason.
    Dropped(String),
}

/// What became of parked inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redriving {
    /// Those that were handled.
    pub handled: Vec<String>,
    /// Those that wait as before: the first failed again.
    pub still_parked: Vec<String>,
}

/// The bytes of a parked input in one answer.
pub(crate) const MAX_PARKED_PART: usize = 400_000;

/// A page of parked inputs, without their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedPage {
    /// The inputs.
    pub parked: Vec<ParkedInput>,
    /// Where the next page begins; absent on the last one.
    pub next: Option<u64>,
}

/// An input that waits for an operator. As JSON, its bytes are in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParkedInput {
    /// The id of the parked event.
    pub id: String,
    /// The partition.
    pub partition: u32,
    /// The shop.
    pub shop: Shop,
    /// The aggregate whose later inputs wait behind it.
    pub aggregate_id: String,
    /// Where it came from.
    pub source: String,
    /// Its sequence there; 0 for one that the service itself had caused.
    pub sequence: u64,
    /// The subject that it was published on.
    pub subject: String,
    /// Its bytes; empty when they are in the stream of the source.
    #[serde(serialize_with = "hexadecimal")]
    pub payload: Vec<u8>,
    /// Whether the bytes are in the stream of the source only.
    pub is_in_source: bool,
    /// Why it waits.
    pub reason: String,
    /// Since when.
    pub parked_at: Timestamp,
    /// The sequence of the parked event: the order in which inputs are redriven.
    pub log_sequence: u64,
    /// The id of the command or event that came; empty for one that could not be read.
    pub cause_id: String,
    /// The same for everything that follows from one request.
    pub correlation_id: String,
    /// The trace context of the request.
    pub traceparent: String,
}

fn hexadecimal<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(bytes))
}

impl RedriveRequest {
    pub(crate) fn answer(self, outcome: Result<proto::RedriveOutcome, String>) {
        if self.answer.send(outcome).is_err() {
            // What was done stands all the same.
            tracing::debug!("who asked for a redrive no longer waits");
        }
    }
}

impl TryFrom<proto::ParkedInput> for ParkedInput {
    type Error = ParseError;

    fn try_from(input: proto::ParkedInput) -> Result<Self, ParseError> {
        Ok(Self {
            id: input.id,
            partition: input.partition,
            shop: Shop::parse_or_unknown(&input.shop)?,
            aggregate_id: input.aggregate_id,
            source: input.source,
            sequence: input.sequence,
            subject: input.subject,
            payload: input.payload,
            is_in_source: input.is_in_source,
            reason: input.reason,
            parked_at: Timestamp::parse(input.parked_at.as_ref())?,
            log_sequence: input.log_sequence,
            cause_id: input.cause_id,
            correlation_id: input.correlation_id,
            traceparent: input.traceparent,
        })
    }
}

impl ParkedRow {
    /// The input as it is sent, with a part of its bytes.
    pub(crate) fn part(self, offset: usize) -> proto::ParkedInput {
        let part = self.payload.iter().skip(offset).take(MAX_PARKED_PART).copied().collect();
        proto::ParkedInput { payload: part, ..self.without_bytes() }
    }

    /// The input as it is sent in a list.
    pub(crate) fn without_bytes(self) -> proto::ParkedInput {
        proto::ParkedInput {
            id: self.id,
            partition: self.partition,
            shop: self.shop.to_string(),
            aggregate_id: self.aggregate_id,
            source: self.source,
            sequence: self.sequence,
            subject: self.subject,
            payload: Vec::new(),
            is_in_source: self.is_in_source,
            reason: self.reason,
            parked_at: Some(self.parked_at.into()),
            log_sequence: self.log_sequence,
            cause_id: self.cause_id,
            correlation_id: self.correlation_id,
            traceparent: self.traceparent,
        }
    }
}

/// A parked input as an input again.
pub(crate) async fn input<S: Service>(
    context: &Context,
    row: ParkedRow,
    first: First,
) -> Result<Input<S>, String> {
    let edited = match first {
        First::AsItCame => Vec::new(),
        First::Edited(bytes) => bytes,
        First::Dropped(reason) => return Ok(dropped(row, reason)),
    };
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
    let payload = if !edited.is_empty() {
        Bytes::from(edited.clone())
    } else if row.is_in_source {
        let message = read_one(context, &stream, row.sequence, S::NAME).await;
        message.map_err(|error| describe(&error))?.payload
    } else {
        Bytes::from(row.payload)
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

/// A parked input that is dropped. Its source is not asked for it: it may be gone there.
fn dropped<S: Service>(row: ParkedRow, reason: String) -> Input<S> {
    let is_command = row.subject.starts_with("inbox.") && CommandId::parse(&row.cause_id).is_ok();
    let command_id = if is_command { row.cause_id } else { String::new() };
    let mut input = Input::unasked();
    input.content = Content::Drop { reason, command_id };
    input.cause = Cause::drop(&row.id);
    input.shop = row.shop;
    input.aggregate = row.aggregate_id;
    input.context.correlation_id = row.correlation_id;
    input.context.traceparent = row.traceparent;
    input.redriven = Some(Redriven { parked_id: row.id, edited: Vec::new() });
    input
}

/// What became of the inputs, by what is parked for their aggregate afterwards.
pub(crate) fn outcome(mut ids: Vec<String>, left: Vec<String>) -> proto::RedriveOutcome {
    let still_parked: HashSet<_> = left.iter().collect();
    ids.retain(|id| !still_parked.contains(id));
    proto::RedriveOutcome { handled: ids, still_parked: left }
}
