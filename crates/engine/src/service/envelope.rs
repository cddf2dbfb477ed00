//! Events between the service's own form and the bytes in the log.

use prost::Message;
use protocol::{
    id::{EventId, Shop},
    proto::{self, Envelope, engine_event::Kind},
    time::Timestamp,
};
use uuid::Uuid;

use crate::{Aggregate, Cause, Context, Encoded, Recorded, Service, WireError};

/// What an envelope in a service's log holds.
#[derive(Debug, Clone)]
pub(crate) enum Content<E> {
    /// A fact of the service.
    Event(E),
    /// A fact of the engine.
    Engine(Kind),
}

/// An envelope taken apart.
pub(crate) struct Opened<E> {
    pub(crate) recorded: Recorded<Content<E>>,
    pub(crate) aggregate: String,
    /// The fingerprint of the command that the event answers by itself; empty when it answers none.
    pub(crate) fingerprint: String,
}

/// What goes into an envelope beside the record of the event.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) aggregate: Aggregate,
    /// A fact of the engine; none for one of the service.
    pub(crate) engine: Option<Kind>,
    /// A fact of the service; none for one of the engine.
    pub(crate) event: Option<Encoded>,
    /// The fingerprint of the command that the event answers by itself.
    pub(crate) fingerprint: String,
    /// The position of the aggregate's event before; 0 for its first.
    pub(crate) previous_position: u64,
}

/// An id for an event that is about to be written.
#[expect(clippy::disallowed_methods, reason = "the edge at which events get their ids")]
pub(crate) fn new_event_id() -> EventId {
    EventId(Uuid::now_v7())
}

/// Writes an event of the service, or of the engine.
pub(crate) fn seal<E>(recorded: &Recorded<E>, contents: Contents) -> Vec<u8> {
    let Contents { aggregate, engine, event, fingerprint, previous_position } = contents;
    let envelope = Envelope {
        id: recorded.id.to_string(),
        shop: recorded.shop.to_string(),
        aggregate_type: aggregate.kind.to_owned(),
        aggregate_id: aggregate.id,
        aggregate_version: recorded.version,
        position: recorded.position,
        time: Some(recorded.time.into()),
        occurred_at: event.as_ref().and_then(|event| event.occurred_at).map(Into::into),
        actor: recorded.actor.clone(),
        cause: Some(proto::Cause {
            id: recorded.cause.id.clone(),
            kind: recorded.cause.kind.clone(),
            fingerprint,
        }),
        correlation_id: recorded.context.correlation_id.clone(),
        traceparent: recorded.context.traceparent.clone(),
        tracestate: recorded.context.tracestate.clone(),
        previous_position,
        engine: engine.map(|kind| proto::EngineEvent { kind: Some(kind) }),
    };
    let mut bytes = envelope.encode_to_vec();
    if let Some(event) = event {
        bytes.extend_from_slice(&event.body);
    }
    bytes
}

/// Takes a message of the service's own log apart.
pub(crate) fn open<S: Service>(payload: &[u8]) -> Result<Opened<S::Event>, WireError> {
    let envelope = Envelope::decode(payload)?;
    let content = match envelope.engine {
        Some(engine) => Content::Engine(engine.kind.ok_or(WireError::Missing("engine.kind"))?),
        None => Content::Event(S::decode(payload)?),
    };
    let cause = envelope.cause.unwrap_or_default();
    let recorded = Recorded {
        id: EventId::parse(&envelope.id)?,
        shop: Shop::parse_or_unknown(&envelope.shop)?,
        version: envelope.aggregate_version,
        position: envelope.position,
        time: Timestamp::parse(envelope.time.as_ref())?,
        actor: envelope.actor,
        cause: Cause { id: cause.id, kind: cause.kind },
        context: Context {
            correlation_id: envelope.correlation_id,
            traceparent: envelope.traceparent,
            tracestate: envelope.tracestate,
        },
        event: content,
    };
    Ok(Opened { recorded, aggregate: envelope.aggregate_id, fingerprint: cause.fingerprint })
}

/// The engine's part of another service's event.
pub(crate) struct ForeignEvent {
    pub(crate) id: String,
    pub(crate) shop: Shop,
    pub(crate) aggregate: String,
    pub(crate) context: Context,
}

/// Reads the engine's part of another service's event.
pub(crate) fn open_foreign(payload: &[u8]) -> Result<ForeignEvent, WireError> {
    let Envelope { id, shop, aggregate_id, correlation_id, traceparent, tracestate, .. } =
        Envelope::decode(payload)?;
    let context = Context { correlation_id, traceparent, tracestate };
    Ok(ForeignEvent { id, shop: Shop::parse_or_unknown(&shop)?, aggregate: aggregate_id, context })
}

impl Recorded<()> {
    /// The record of a fact.
    pub(crate) fn with<E>(self, event: E) -> Recorded<E> {
        let Self { id, shop, version, position, time, actor, cause, context, event: () } = self;
        Recorded { id, shop, version, position, time, actor, cause, context, event }
    }
}

impl<E> Recorded<Content<E>> {
    /// Takes the content out of the record.
    pub(crate) fn split(self) -> (Recorded<()>, Content<E>) {
        let Self { id, shop, version, position, time, actor, cause, context, event } = self;
        (Recorded { id, shop, version, position, time, actor, cause, context, event: () }, event)
    }
}
