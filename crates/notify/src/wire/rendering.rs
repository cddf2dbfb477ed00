//! The body of a delivery: from the same event, number and rendering, the same bytes, years later.
//!
//! A body that is to be written otherwise gets another version ([`Rendering`](crate::domain::Rendering)): what was
//! scheduled before is written by its own version for ever.

mod link;
#[cfg(test)]
mod recorded;

use std::io::{self, Write};

use bytes::Bytes;
use events::{
    cloud_events::{self, PublicEvent},
    json::write_sorted,
    proto::{
        self,
        event::Body,
        notify::{NotifyEvent, announced::What, notify_event::Kind},
    },
};
use prost::Message;
use protocol::{proto::Envelope, time::Timestamp};
use serde_json::{Value, json};

use crate::{
    Notify,
    domain::{Rendering, TEST_EVENT_TYPE, rendering::Payload},
};

/// The most bytes of a body; one that would have more is sent without its data.
const MAX_BODY_BYTES: usize = 256 << 10;
/// The bytes that are set aside for a body; one that has more takes more.
const USUAL_BODY_BYTES: usize = 1 << 10;

/// An event that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// The id of the event.
    pub(crate) id: String,
    /// The trace that it belongs to.
    pub(crate) traceparent: String,
    /// When the event was written to its log, if it says so.
    pub(crate) time: Option<Timestamp>,
    /// What is sent.
    pub(crate) body: Bytes,
}

/// An event cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    /// It is no public event.
    #[error(transparent)]
    Event(#[from] cloud_events::RenderError),
    /// It does not read.
    #[error("the event does not decode")]
    Decode(#[from] prost::DecodeError),
    /// It was not written, for want of memory.
    #[error("the event is not written")]
    Write(#[from] io::Error),
    /// It is an event of our own that is delivered to nobody.
    #[error("the event is not public")]
    NotPublic,
    /// It was scheduled by a newer version of this program.
    #[error("the version {0} of the rendering is not known")]
    Version(u32),
}

/// Renders an event, given as it is in the log of that service.
pub(crate) fn render(
    service: &str,
    event: &[u8],
    endpoint_seq: u64,
    rendering: Rendering,
) -> Result<Rendered, RenderError> {
    if rendering.version != 1 {
        return Err(RenderError::Version(rendering.version));
    }
    let is_own = service == <Notify as engine::Service>::NAME;
    let event =
        if is_own { Event::read_own(event)? } else { Event::Public(PublicEvent::read(event)?) };
    let full = match rendering.payload {
        Payload::Full => Some(event.body(service, endpoint_seq, true)?),
        Payload::Thin => None,
    };
    let body = match full.filter(|body| body.len() <= MAX_BODY_BYTES) {
        Some(body) => body,
        None => event.body(service, endpoint_seq, false)?,
    };
    let Envelope { id, traceparent, time, .. } = event.into_envelope();
    let time = Timestamp::parse(time.as_ref()).ok();
    Ok(Rendered { id, traceparent, time, body: body.into() })
}

/// An event that is delivered.
enum Event<'a> {
    /// One that all may see.
    Public(PublicEvent<'a>),
    /// One of our own, with its type and data.
    Own(Envelope, String, Value),
}

impl Event<'_> {
    fn read_own(event: &[u8]) -> Result<Self, RenderError> {
        let read = proto::Event::decode(event)?;
        let Some(Body::Notify(own)) = &read.body else { return Err(RenderError::NotPublic) };
        let (event_type, data) = render_own(own, &read.aggregate_id)?;
        Ok(Self::Own(Envelope::decode(event)?, event_type, data))
    }

    fn envelope(&self) -> &Envelope {
        match self {
            Self::Public(event) => &event.envelope,
            Self::Own(envelope, ..) => envelope,
        }
    }

    fn into_envelope(self) -> Envelope {
        match self {
            Self::Public(event) => event.envelope,
            Self::Own(envelope, ..) => envelope,
        }
    }

    /// The body of a delivery, with its members in the order of their names.
    fn body(
        &self,
        service: &str,
        endpoint_seq: u64,
        is_full: bool,
    ) -> Result<Vec<u8>, RenderError> {
        let envelope = self.envelope();
        let mut body = Vec::with_capacity(USUAL_BODY_BYTES);
        body.push(b'{');
        match self {
            _ if !is_full => {}
            Self::Public(event) => {
                body.extend_from_slice(b"\"data\":");
                event.write_data(&mut body)?;
                body.push(b',');
            }
            Self::Own(_, _, data) => {
                body.extend_from_slice(b"\"data\":");
                write_sorted(data, &mut body);
                body.push(b',');
            }
        }
        let time = envelope.time.as_ref().map(ToString::to_string).unwrap_or_default();
        let event_type = match self {
            Self::Public(event) => &*event.event_type,
            Self::Own(_, event_type, _) => event_type,
        };
        let Envelope { id, aggregate_id, aggregate_type, .. } = envelope;
        let Envelope { aggregate_version, position, shop, .. } = envelope;
        let text = |value: &str| Value::String(value.to_owned());
        let link = if is_full {
            String::new()
        } else {
            format!("\"link\":{},", text(&link::of(service, envelope, event_type)))
        };
        write!(
            body,
            "\"id\":{},{}\"meta\":{{\"aggregate\":{{\"id\":{},\"type\":{},\"version\":{aggregate_version}}},\
             \"endpoint_seq\":{endpoint_seq},\"position\":{position},\"stream\":{},\"tenant\":{}}},\
             \"timestamp\":{},\"type\":{}}}",
            text(id),
            link,
            text(aggregate_id),
            text(aggregate_type),
            text(service),
            text(shop),
            text(&time),
            text(event_type),
        )?;
        Ok(body)
    }
}

/// The type and the data of an event of our own that is delivered: a test, or what became of an endpoint.
fn render_own(event: &NotifyEvent, endpoint_id: &str) -> Result<(String, Value), RenderError> {
    match &event.kind {
        Some(Kind::TestScheduled(_)) => {
            Ok((TEST_EVENT_TYPE.to_owned(), json!({"message": "This is a test delivery."})))
        }
        Some(Kind::Announced(announced)) => {
            let (event_type, data) = match announced.what.as_ref() {
                Some(What::EndpointDisabled(it)) => {
                    let reason = it.reason().as_str_name();
                    (
                        "webhook.endpoint_disabled",
                        json!({"endpointId": endpoint_id, "reason": reason}),
                    )
                }
                Some(What::EndpointFailing(it)) => {
                    let since = it.since.as_ref().map(ToString::to_string);
                    ("webhook.endpoint_failing", json!({"endpointId": endpoint_id, "since": since}))
                }
                None => return Err(RenderError::NotPublic),
            };
            Ok((event_type.to_owned(), data))
        }
        _ => Err(RenderError::NotPublic),
    }
}

/// The aggregate of an event, as what is sent in order names it.
pub(crate) fn key(service: &str, event: &[u8]) -> String {
    match protocol::proto::Envelope::decode(event) {
        Ok(envelope) => format!("{service}.{}.{}", envelope.aggregate_type, envelope.aggregate_id),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use events::proto::{notify, order};

    use super::*;

    const FULL: Rendering = Rendering { payload: Payload::Full, version: 1 };
    const THIN: Rendering = Rendering { payload: Payload::Thin, version: 1 };

    fn event(body: Body) -> Vec<u8> {
        proto::Event {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
            shop: "acme".to_owned(),
            aggregate_type: "order".to_owned(),
            aggregate_id: "order-1".to_owned(),
            aggregate_version: 5,
            position: 81,
            time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 }),
            body: Some(body),
            ..Default::default()
        }
        .encode_to_vec()
    }

    fn cancelled(detail: &str) -> Vec<u8> {
        let cancelled = order::Cancelled { detail: Some(detail.to_owned()), ..Default::default() };
        let kind = Some(order::order_event::Kind::Cancelled(cancelled));
        event(Body::Order(order::OrderEvent { kind, summary: None }))
    }

    fn text(message: &Rendered) -> String {
        String::from_utf8(message.body.to_vec()).expect("a text")
    }

    #[test]
    fn these_bytes_never_change() {
        let rendered = render("order", &cancelled("by mistake"), 7, FULL).expect("renders");
        assert_eq!(rendered.id, "01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(
            text(&rendered),
            "{\"data\":{\"detail\":\"by mistake\"},\"id\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\
             \"meta\":{\"aggregate\":{\"id\":\"order-1\",\"type\":\"order\",\"version\":5},\
             \"endpoint_seq\":7,\"position\":81,\"stream\":\"order\",\"tenant\":\"acme\"},\
             \"timestamp\":\"2023-11-14T22:13:20.005Z\",\"type\":\"order.cancelled\"}"
        );
    }

    #[test]
    fn an_event_names_its_aggregate() {
        assert_eq!(key("order", &cancelled("")), "order.order.order-1");
        assert_eq!(key("order", b"\xff"), "");
    }

    #[test]
    fn a_thin_body_and_one_that_would_be_too_large_have_no_data() {
        let thin = render("order", &cancelled("by mistake"), 7, THIN).expect("renders");
        assert_eq!(
            text(&thin),
            "{\"id\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\"link\":\"/v1/shops/acme/orders/order-1/history\",\
             \"meta\":{\"aggregate\":{\"id\":\"order-1\",\"type\":\"order\",\"version\":5},\
             \"endpoint_seq\":7,\"position\":81,\"stream\":\"order\",\"tenant\":\"acme\"},\
             \"timestamp\":\"2023-11-14T22:13:20.005Z\",\"type\":\"order.cancelled\"}"
        );
        let large = cancelled(&"x".repeat(262_144));
        assert_eq!(render("order", &large, 7, FULL).expect("renders"), thin);
        // As much as the contract allows, and a byte more.
        let around = render("order", &cancelled(""), 7, FULL).expect("renders").body.len();
        let most = cancelled(&"x".repeat(262_144 - around));
        assert_eq!(render("order", &most, 7, FULL).expect("renders").body.len(), 262_144);
        let more = cancelled(&"x".repeat(262_145 - around));
        assert_eq!(render("order", &more, 7, FULL).expect("renders"), thin);
    }

    #[test]
    fn what_a_newer_version_has_scheduled_is_not_written_otherwise() {
        let newer = Rendering { version: 2, ..FULL };
        let error = render("order", &cancelled("by mistake"), 7, newer).expect_err("is unknown");
        assert!(matches!(error, RenderError::Version(2)), "{error}");
    }

    #[test]
    fn what_became_of_an_endpoint_is_rendered_without_to_whom_it_goes() {
        let disabled = notify::EndpointDisabled {
            reason: notify::DisabledReason::Gone.into(),
            note: String::new(),
        };
        let to = notify::Announcement {
            endpoint_id: "other".to_owned(),
            endpoint_seq: 3,
            rendering: None,
        };
        let announced =
            notify::Announced { what: Some(What::EndpointDisabled(disabled)), to: vec![to] };
        let kind = Some(Kind::Announced(announced));
        let announced = event(Body::Notify(notify::NotifyEvent { kind }));
        let rendered = render("notify", &announced, 3, FULL).expect("renders");
        let body: Value = serde_json::from_slice(&rendered.body).expect("is JSON");
        assert_eq!(body["type"], "webhook.endpoint_disabled");
        let data = json!({"endpointId": "order-1", "reason": "DISABLED_REASON_GONE"});
        assert_eq!(body["data"], data);
        assert!(!text(&rendered).contains("other"));
    }

    #[test]
    fn a_test_delivery_is_rendered_and_nothing_else_of_our_own() {
        let kind = Some(notify::notify_event::Kind::TestScheduled(notify::TestScheduled {
            endpoint_seq: 7,
            rendering: None,
        }));
        let test = event(Body::Notify(notify::NotifyEvent { kind }));
        let rendered = render("notify", &test, 7, FULL).expect("renders");
        assert!(text(&rendered).contains("\"type\":\"webhook.test\""));
        let deleted = Some(Kind::EndpointDeleted(notify::EndpointDeleted {}));
        let deleted = event(Body::Notify(notify::NotifyEvent { kind: deleted }));
        assert!(render("notify", &deleted, 1, FULL).is_err());
        assert!(render("order", b"\xff", 1, FULL).is_err());
    }
}
