//! Events between the service's own form and the envelope in the log.

use events::{
    id::{EventId, Shop},
    proto,
    time::Timestamp,
};

use crate::{Cause, Context, Recorded, Service, WireError};

/// What an envelope in a service's log holds.
pub(crate) enum Content<E> {
    /// A fact of the service.
    Event(E),
    /// A fact of the engine.
    Engine(proto::engine_event::Kind),
}

/// An envelope taken apart: the record, and the answer that it carries.
pub(crate) type Opened<E> = (Recorded<Content<E>>, Option<proto::Answer>);

/// Puts a fact into its envelope.
pub(crate) fn seal<E>(
    recorded: &Recorded<E>,
    aggregate: String,
    body: proto::event::Body,
    answer: Option<proto::Answer>,
) -> proto::Event {
    proto::Event {
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
        body: Some(body),
    }
}

/// Takes an envelope of the service's own log apart.
pub(crate) fn open<S: Service>(event: proto::Event) -> Result<Opened<S::Event>, WireError> {
    let content = match event.body.ok_or(WireError::Missing("body"))? {
        proto::event::Body::Engine(engine) => {
            Content::Engine(engine.kind.ok_or(WireError::Missing("engine.kind"))?)
        }
        body => Content::Event(S::decode(&event.aggregate_id, body)?),
    };
    let cause = event.cause.unwrap_or_default();
    let recorded = Recorded {
        id: EventId::parse(&event.id)?,
        shop: Shop::parse(&event.shop)?,
        version: event.aggregate_version,
        time: Timestamp::parse(event.time.as_ref())?,
        cause: Cause { id: cause.id, kind: cause.kind },
        context: Context { correlation_id: event.correlation_id, traceparent: event.traceparent },
        event: content,
    };
    Ok((recorded, event.answer))
}
