//! Events between the service's own form and the bytes in the log.

use prost::Message;
use protocol::{
    id::{EventId, Shop},
    proto::{self, Envelope, engine_event::Kind},
    time::Timestamp,
};

use crate::{Cause, Context, Encoded, Recorded, Service, WireError};

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
    /// The answer that it carries.
    pub(crate) answer: Option<proto::Answer>,
}

/// Writes an event of the service, or of the engine where `body` is none of its own.
pub(crate) fn seal<E>(
    recorded: &Recorded<E>,
    aggregate: String,
    engine: Option<Kind>,
    body: Option<Encoded>,
    answer: Option<proto::Answer>,
) -> Vec<u8> {
    let envelope = Envelope {
        id: recorded.id.to_string(),
        shop: recorded.shop.to_string(),
        aggregate_id: aggregate,
        aggregate_version: recorded.version,
        time: Some(recorded.time.into()),
        cause: Some(proto::Cause {
            id: recorded.cause.id.clone(),
            kind: recorded.cause.kind.clone(),
        }),
        correlation_id: recorded.context.correlation_id.clone(),
        traceparent: recorded.context.traceparent.clone(),
        answer,
        engine: engine.map(|kind| proto::EngineEvent { kind: Some(kind) }),
    };
    let mut bytes = envelope.encode_to_vec();
    if let Some(body) = body {
        bytes.extend_from_slice(&body.body);
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
        shop: Shop::parse(&envelope.shop)?,
        version: envelope.aggregate_version,
        time: Timestamp::parse(envelope.time.as_ref())?,
        cause: Cause { id: cause.id, kind: cause.kind },
        context: Context {
            correlation_id: envelope.correlation_id,
            traceparent: envelope.traceparent,
        },
        event: content,
    };
    Ok(Opened { recorded, aggregate: envelope.aggregate_id, answer: envelope.answer })
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
    let Envelope { id, shop, aggregate_id, correlation_id, traceparent, .. } =
        Envelope::decode(payload)?;
    let context = Context { correlation_id, traceparent };
    Ok(ForeignEvent { id, shop: Shop::parse(&shop)?, aggregate: aggregate_id, context })
}

impl Recorded<()> {
    /// The record of a fact.
    pub(crate) fn with<E>(self, event: E) -> Recorded<E> {
        let Self { id, shop, version, time, cause, context, event: () } = self;
        Recorded { id, shop, version, time, cause, context, event }
    }
}

impl<E> Recorded<Content<E>> {
    /// Takes the content out of the record.
    pub(crate) fn split(self) -> (Recorded<()>, Content<E>) {
        let Self { id, shop, version, time, cause, context, event } = self;
        (Recorded { id, shop, version, time, cause, context, event: () }, event)
    }
}
