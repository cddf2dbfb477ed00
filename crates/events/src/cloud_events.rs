//! An event in the form in which it leaves by HTTP: CloudEvents 1.0, JSON event format
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).
//!
//! | attribute | holds |
//! |---|---|
//! | `id` | the event's id |
//! | `source` | `/shops/<shop>/<service>` |
//! | `type` | `<service>.<event>`, such as `order.paid` |
//! | `subject` | the aggregate's id |
//! | `time` | when it was decided |
//! | `data` | the fact, as protobuf JSON, and beside its members the `summary` of its aggregate where there is one |
//!
//! The rest of the envelope are extension attributes, whose names have letters and digits only: `shop`,
//! `position`, `previousposition`, `aggregatetype`, `aggregateversion`, `occurredat`, `actorkind`, `actorid`, `causekind`,
//! `causeid`, `correlationid`, `traceparent`, `tracestate`. Numbers of 64 bits are texts, as in
//! protobuf JSON, since JavaScript rounds them.

use std::{borrow::Cow, collections::HashMap, io::Write, sync::LazyLock};

use prost::Message;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value as Field,
};
use protocol::proto::Envelope;
use serde_json::{Map, Value};

use crate::{
    catalogue::{beside, is_internal, service_of},
    json::{JsonError, POOL, message, write_sorted},
    json_text::{ShapeId, Shapes, Unwritable, members, write_text, write_time},
    names::event_name,
    proto::{self, event::Body},
};

/// The media type of one event.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";

const EVENT: &str = "tradewind.events.v1.Event";
/// The number of the first member of the envelope's `body`.
const FIRST_BODY: u32 = 15;

/// An event has no form that leaves the system.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// It is no event, or of a version that this one does not know.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The engine recorded it for itself, or this version knows no such fact.
    #[error("the event {0} is not public")]
    NotPublic(String),
}

/// A public event, read from its bytes in the log.
#[derive(Debug)]
pub struct PublicEvent<'a> {
    /// What all events have.
    pub envelope: Envelope,
    /// The service that wrote it.
    pub service: Cow<'static, str>,
    /// `<service>.<event>`.
    pub event_type: Cow<'static, str>,
    bytes: &'a [u8],
    /// What it states, where it is found without decoding the event.
    fact: Option<Fact<'a>>,
}

/// A fact as it is in the bytes of an event.
#[derive(Debug, Clone, Copy)]
struct Fact<'a> {
    shape: ShapeId,
    bytes: &'a [u8],
    /// The message of its service, which holds the fact and what is beside it.
    around: &'a [u8],
}

impl Fact<'_> {
    fn write(&self, text: &mut Vec<u8>) -> Result<(), Unwritable> {
        FACTS.shapes.write(self.shape, (self.bytes, self.around), text)
    }
}

/// A kind of fact.
struct FactKind {
    service: String,
    event_type: String,
    /// That of the fact and of what is beside it, as one object.
    shape: ShapeId,
}

/// The kinds of public facts.
struct Facts {
    shapes: Shapes,
    /// By the numbers of the service in the envelope and of the fact in the service.
    kinds: HashMap<(u32, u32), FactKind>,
}

static FACTS: LazyLock<Facts> = LazyLock::new(Facts::read);

impl<'a> PublicEvent<'a> {
    /// Reads a public event, given as it is in the log.
    pub fn read(bytes: &'a [u8]) -> Result<Self, RenderError> {
        if let Some((kind, fact)) = find_fact(bytes) {
            let envelope = Envelope::decode(bytes)
                .map_err(|source| JsonError::Decode { message: EVENT.to_owned(), source })?;
            let (service, event_type) = (kind.service.as_str(), kind.event_type.as_str());
            let fact = Some(fact);
            let (service, event_type) = (service.into(), event_type.into());
            return Ok(Self { envelope, service, event_type, bytes, fact });
        }
        let event = proto::Event::decode(bytes)
            .map_err(|source| JsonError::Decode { message: EVENT.to_owned(), source })?;
        let (service, name) =
            names(&event).ok_or_else(|| RenderError::NotPublic(event.id.clone()))?;
        let event_type = format!("{service}.{name}").into();
        let envelope = Envelope::decode(bytes)
            .map_err(|source| JsonError::Decode { message: EVENT.to_owned(), source })?;
        Ok(Self { envelope, service: service.into(), event_type, bytes, fact: None })
    }

    /// Appends the fact as protobuf JSON with what is beside it, with the members of each object in the order of
    /// their names.
    pub fn write_data(&self, text: &mut Vec<u8>) -> Result<(), RenderError> {
        let begin = text.len();
        if let Some(fact) = self.fact
            && fact.write(text).is_ok()
        {
            return Ok(());
        }
        text.truncate(begin);
        write_sorted(&render(self.bytes)?["data"], text);
        Ok(())
    }

    /// Appends it as CloudEvents, with the attributes in the order of their names.
    fn write_cloud_event(&self, text: &mut Vec<u8>) -> Result<(), Unwritable> {
        let Self { envelope, service, event_type, .. } = self;
        let fact = self.fact.ok_or(Unwritable)?;
        let (actor_kind, actor_id) = match &envelope.actor {
            Some(actor) => (&*actor.kind, &*actor.id),
            None => ("service", &**service),
        };
        let (cause_kind, cause_id) = match &envelope.cause {
            Some(cause) => (&*cause.kind, &*cause.id),
            None => ("", ""),
        };
        let mut attributes = Attributes::begin(text);
        attributes.put("actorid", actor_id)?;
        attributes.put("actorkind", actor_kind)?;
        attributes.put("aggregatetype", &envelope.aggregate_type)?;
        attributes.put_number("aggregateversion", envelope.aggregate_version)?;
        attributes.put("causeid", cause_id)?;
        attributes.put("causekind", cause_kind)?;
        attributes.put("correlationid", &envelope.correlation_id)?;
        fact.write(attributes.value_of("data"))?;
        attributes.put("datacontenttype", "application/json")?;
        attributes.put("id", &envelope.id)?;
        if let Some(occurred_at) = &envelope.occurred_at {
            write_time(occurred_at, attributes.value_of("occurredat"))?;
        }
        attributes.put_number("position", envelope.position)?;
        if envelope.previous_position > 0 {
            attributes.put_number("previousposition", envelope.previous_position)?;
        }
        attributes.put("shop", &envelope.shop)?;
        let source = attributes.value_of("source");
        source.extend_from_slice(b"\"/shops/");
        source.extend_from_slice(envelope.shop.as_bytes());
        source.push(b'/');
        source.extend_from_slice(service.as_bytes());
        source.push(b'"');
        attributes.put("specversion", "1.0")?;
        attributes.put("subject", &envelope.aggregate_id)?;
        if let Some(time) = &envelope.time {
            write_time(time, attributes.value_of("time"))?;
        }
        attributes.put("traceparent", &envelope.traceparent)?;
        attributes.put("tracestate", &envelope.tracestate)?;
        attributes.put("type", event_type)?;
        attributes.0.push(b'}');
        Ok(())
    }
}

/// The attributes of an event that is being written.
struct Attributes<'a>(&'a mut Vec<u8>);

impl<'a> Attributes<'a> {
    fn begin(text: &'a mut Vec<u8>) -> Self {
        text.push(b'{');
        Self(text)
    }

    /// Appends an attribute; one without a value is left out.
    fn put(&mut self, name: &str, value: &str) -> Result<(), Unwritable> {
        if value.is_empty() { Ok(()) } else { write_text(value, self.value_of(name)) }
    }

    /// Appends a number as text.
    fn put_number(&mut self, name: &str, value: u64) -> Result<(), Unwritable> {
        write!(self.value_of(name), "\"{value}\"").map_err(|_| Unwritable)
    }

    /// Appends the name of an attribute; its value is to follow.
    fn value_of(&mut self, name: &str) -> &mut Vec<u8> {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        self.0
    }
}

impl Facts {
    fn read() -> Self {
        let (mut shapes, mut kinds) = (Shapes::read(), HashMap::new());
        let bodies =
            POOL.get_message_by_name(EVENT).into_iter().flat_map(|it| members_of(&it, "body"));
        for body in bodies.filter(|body| !is_internal(body.name())) {
            let Kind::Message(of_service) = body.kind() else { continue };
            let beside: Vec<_> = beside(&of_service).collect();
            for kind in members_of(&of_service, "kind") {
                let Kind::Message(fact) = kind.kind() else { continue };
                let service = service_of(body.name()).to_owned();
                let event_type = format!("{service}.{}", kind.name());
                let shape = shapes.join(&fact, &beside);
                let found = FactKind { service, event_type, shape };
                kinds.insert((body.number(), kind.number()), found);
            }
        }
        Self { shapes, kinds }
    }
}

/// The members of a `oneof` of a message.
fn members_of(message: &MessageDescriptor, oneof: &str) -> Vec<FieldDescriptor> {
    let found = message.oneofs().find(|it| it.name() == oneof);
    found.map(|oneof| oneof.fields().collect()).unwrap_or_default()
}

/// Finds the fact in the bytes of a public event; nothing where it is in several parts, as no encoder
/// writes it.
fn find_fact(bytes: &[u8]) -> Option<(&'static FactKind, Fact<'_>)> {
    let (mut found, mut last) = (None, None);
    // The fields of the envelope come before.
    for body in members(bytes).filter(|it| !matches!(it, Ok((..FIRST_BODY, _)))) {
        let (body, around) = body.ok()?;
        if last.replace(body) == Some(body) {
            return None;
        }
        for kind in members(around) {
            let (kind, bytes) = kind.ok()?;
            if let Some(kind) = FACTS.kinds.get(&(body, kind))
                && found.replace((kind, Fact { shape: kind.shape, bytes, around })).is_some()
            {
                return None;
            }
        }
    }
    found
}

/// The service that wrote an event, and the name of the event; nothing if it is not public.
fn names(event: &proto::Event) -> Option<(String, &'static str)> {
    let body = event.body.as_ref();
    let body = body.filter(|body| !is_not_public(body))?;
    let service = match body {
        Body::Catalog(_) => "catalog",
        Body::Inventory(_) => "inventory",
        Body::Order(_) => "order",
        Body::Payment(_) => "payment",
        Body::ShopEvent(_) => "shop",
        Body::Engine(_) | Body::Notify(_) | Body::Key(_) => return None,
    };
    Some((service.to_owned(), event_name(body)?))
}

fn is_not_public(body: &Body) -> bool {
    matches!(body, Body::Engine(_) | Body::Notify(_) | Body::Key(_))
}

/// Appends a public event as CloudEvents, given as it is in the log. The same bytes are rendered to the
/// same text.
pub fn write(bytes: &[u8], text: &mut Vec<u8>) -> Result<(), RenderError> {
    let begin = text.len();
    if PublicEvent::read(bytes)?.write_cloud_event(text).is_err() {
        text.truncate(begin);
        write_sorted(&render(bytes)?, text);
    }
    Ok(())
}

/// Renders a public event as a value, given as it is in the log. [`write`] takes a tenth of the time.
pub fn render(bytes: &[u8]) -> Result<Value, RenderError> {
    let event = proto::Event::decode(bytes)
        .map_err(|source| JsonError::Decode { message: EVENT.to_owned(), source })?;
    let not_public = || RenderError::NotPublic(event.id.clone());
    let body = event.body.as_ref().filter(|body| !is_not_public(body));
    let name = body.and_then(event_name).ok_or_else(not_public)?;
    let decoded = message(EVENT, bytes)?;
    let (service, data) = service_and_data(&decoded)?.ok_or_else(not_public)?;

    let mut rendered = Map::new();
    let mut put = |name: &str, value: String| {
        if !value.is_empty() {
            rendered.insert(name.to_owned(), Value::String(value));
        }
    };
    put("specversion", "1.0".to_owned());
    put("id", event.id.clone());
    put("source", format!("/shops/{}/{service}", event.shop));
    put("type", format!("{service}.{name}"));
    put("subject", event.aggregate_id.clone());
    put("time", event.time.as_ref().map(ToString::to_string).unwrap_or_default());
    put("datacontenttype", "application/json".to_owned());
    put("shop", event.shop.clone());
    put("position", event.position.to_string());
    put("aggregatetype", event.aggregate_type.clone());
    put("aggregateversion", event.aggregate_version.to_string());
    put("occurredat", event.occurred_at.as_ref().map(ToString::to_string).unwrap_or_default());
    let (kind, id) = match event.actor {
        Some(actor) => (actor.kind, actor.id),
        None => ("service".to_owned(), service),
    };
    put("actorkind", kind);
    put("actorid", id);
    let cause = event.cause.unwrap_or_default();
    put("causekind", cause.kind);
    put("causeid", cause.id);
    put("correlationid", event.correlation_id);
    if event.previous_position > 0 {
        put("previousposition", event.previous_position.to_string());
    }
    put("traceparent", event.traceparent);
    put("tracestate", event.tracestate);
    rendered.insert("data".to_owned(), data);
    Ok(Value::Object(rendered))
}

/// The service that wrote an event, and what it states: the fact, and what is beside it.
fn service_and_data(event: &DynamicMessage) -> Result<Option<(String, Value)>, JsonError> {
    let Some((service, of_service)) = chosen(event, "body") else { return Ok(None) };
    let Some((_, fact)) = chosen(&of_service, "kind") else { return Ok(None) };
    let mut data = to_value(&fact)?;
    for field in beside(&of_service.descriptor()).filter(|field| of_service.has_field(field)) {
        if let (Value::Object(data), Field::Message(value)) =
            (&mut data, &*of_service.get_field(&field))
        {
            data.insert(field.json_name().to_owned(), to_value(value)?);
        }
    }
    Ok(Some((service_of(&service).to_owned(), data)))
}

fn to_value(message: &DynamicMessage) -> Result<Value, JsonError> {
    serde_json::to_value(message).map_err(|source| JsonError::Json {
        message: message.descriptor().full_name().to_owned(),
        source,
    })
}

/// The member of a `oneof` that is set, with its name.
fn chosen(message: &DynamicMessage, oneof: &str) -> Option<(String, DynamicMessage)> {
    let oneof = message.descriptor().oneofs().find(|it| it.name() == oneof)?;
    let field = oneof.fields().find(|field| message.has_field(field))?;
    match message.get_field(&field).into_owned() {
        Field::Message(chosen) => Some((field.name().to_owned(), chosen)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        money::{Currency, TaxBasis},
        proto::{catalog, shop},
    };

    fn created() -> proto::Event {
        let currency = Currency::parse("GBP").expect("valid");
        let price = Some(TaxBasis::Included.price(12_500, currency));
        let product = catalog::Product { sku: "MUG".to_owned(), price, ..Default::default() };
        let created = catalog::Created { product: Some(product), as_of: None };
        let kind = Some(catalog::catalog_event::Kind::Created(created));
        proto::Event {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
            shop: "acme".to_owned(),
            aggregate_type: "product".to_owned(),
            aggregate_id: "MUG".to_owned(),
            aggregate_version: 5,
            position: 81,
            time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 }),
            body: Some(Body::Catalog(catalog::CatalogEvent { kind })),
            ..Default::default()
        }
    }

    #[test]
    fn an_event_is_rendered_with_all_of_its_envelope() {
        let event = created().encode_to_vec();
        let rendered = render(&event).expect("it is public");
        assert_eq!(rendered["specversion"], "1.0");
        assert_eq!(rendered["source"], "/shops/acme/catalog");
        assert_eq!(rendered["type"], "catalog.created");
        assert_eq!(rendered["subject"], "MUG");
        assert_eq!(rendered["time"], "2023-11-14T22:13:20.005Z");
        assert_eq!(rendered["position"], "81");
        assert_eq!(
            (&rendered["actorkind"], &rendered["actorid"]),
            (&"service".into(), &"catalog".into())
        );
        assert_eq!(rendered["data"]["product"]["price"]["money"]["minor"], "12500");
        // Attribute names have lower-case letters and digits only (section 3.1 of the specification).
        let names = rendered.as_object().expect("an object").keys();
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}");
        }
    }

    #[test]
    fn an_event_of_a_shop_names_its_service() {
        let kind = Some(shop::shop_event::Kind::Resumed(shop::Resumed::default()));
        let body = Some(Body::ShopEvent(shop::ShopEvent { kind }));
        let rendered =
            render(&proto::Event { body, ..created() }.encode_to_vec()).expect("is public");
        assert_eq!(rendered["type"], "shop.resumed");
        assert_eq!(
            (&rendered["source"], &rendered["shop"]),
            (&"/shops/acme/shop".into(), &"acme".into())
        );
    }

    #[test]
    fn the_same_bytes_are_the_same_text() {
        let event = created().encode_to_vec();
        let text = || render(&event).expect("it is public").to_string();
        assert_eq!(text(), text());
    }

    /// Every public event with its fields set, to values that are easily written wrongly; and with none.
    fn all_kinds() -> Vec<Vec<u8>> {
        let envelope = POOL.get_message_by_name(EVENT).expect("it is there");
        let mut events = Vec::new();
        for (body, kind) in FACTS.kinds.keys() {
            for is_filled in [true, false] {
                let body = envelope.get_field(*body).expect("it is there");
                let Kind::Message(of_service) = body.kind() else { panic!("it is a message") };
                let kind = of_service.get_field(*kind).expect("it is there");
                let Kind::Message(fact) = kind.kind() else { panic!("it is a message") };
                let fact = if is_filled { filled(&fact, 0) } else { DynamicMessage::new(fact) };
                let beside: Vec<_> = beside(&of_service).filter(|_| is_filled).collect();
                let mut of_service = DynamicMessage::new(of_service);
                for field in beside {
                    let Kind::Message(part) = field.kind() else { panic!("it is a message") };
                    of_service.set_field(&field, Field::Message(filled(&part, 0)));
                }
                of_service.set_field(&kind, Field::Message(fact));
                let head = proto::Event { body: None, ..created() }.encode_to_vec();
                let mut event = DynamicMessage::decode(envelope.clone(), &*head).expect("decodes");
                event.set_field(&body, Field::Message(of_service));
                events.push(event.encode_to_vec());
            }
        }
        events
    }

    fn filled(message: &prost_reflect::MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut written = DynamicMessage::new(message.clone());
        for field in message.fields().filter(|field| !field.is_map()) {
            let value = || match field.kind() {
                Kind::Bool => Field::Bool(true),
                Kind::Int32 => Field::I32(-5),
                Kind::Uint32 => Field::U32(u32::MAX),
                Kind::Int64 => {
                    Field::I64(if field.name() == "seconds" { 1_700_000_000 } else { -7 })
                }
                Kind::Uint64 => Field::U64(u64::MAX),
                // `write_value` leaves it to `render`.
                Kind::Double => Field::F64(1.5),
                Kind::String => Field::String("a \"b\"\\ \u{1}\n\u{7f} ü€😀/".to_owned()),
                Kind::Bytes => Field::Bytes(vec![0, 255, 3, 4].into()),
                Kind::Enum(of) => {
                    Field::EnumNumber(of.values().last().map_or(1, |value| value.number()))
                }
                Kind::Message(of) if of.full_name() == "google.protobuf.Timestamp" => {
                    let time = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_000 };
                    let bytes = time.encode_to_vec();
                    Field::Message(DynamicMessage::decode(of, &*bytes).expect("decodes"))
                }
                Kind::Message(of) if depth > 4 => Field::Message(DynamicMessage::new(of)),
                Kind::Message(of) => Field::Message(filled(&of, depth + 1)),
                other => panic!("{other:?} is of no event: write_value does not know it"),
            };
            let value = if field.is_list() { Field::List(vec![value(), value()]) } else { value() };
            written.set_field(&field, value);
        }
        written
    }

    #[track_caller]
    fn written(event: &[u8]) -> Value {
        let mut text = b"before".to_vec();
        write(event, &mut text).expect("it is public");
        serde_json::from_slice(&text[b"before".len()..]).expect("it is JSON")
    }

    #[test]
    fn what_is_written_from_the_bytes_is_what_is_rendered_from_the_message() {
        let events = all_kinds();
        assert!(events.len() > 80, "{}", events.len());
        for event in &events {
            let rendered = render(event).expect("it is public");
            assert_eq!(written(event), rendered);
            let public = PublicEvent::read(event).expect("it is public");
            let mut fast = Vec::new();
            public.write_cloud_event(&mut fast).expect("no kind of event is left to the slow way");
            let mut sorted = Vec::new();
            write_sorted(&rendered, &mut sorted);
            assert_eq!(String::from_utf8(fast), String::from_utf8(sorted));
            let (mut data, mut sorted) = (Vec::new(), Vec::new());
            public.write_data(&mut data).expect("it has data");
            write_sorted(&rendered["data"], &mut sorted);
            assert_eq!(data, sorted);
            assert_eq!(rendered["type"], *public.event_type);
        }
    }

    #[test]
    fn what_no_encoder_writes_is_rendered_all_the_same() {
        // A message in two parts: the second one completes the first.
        let event = created().encode_to_vec();
        let mut twice = event.clone();
        let body = catalog::CatalogEvent {
            kind: Some(catalog::catalog_event::Kind::Created(catalog::Created {
                product: Some(catalog::Product { title: "A mug".to_owned(), ..Default::default() }),
                as_of: None,
            })),
        };
        let second = proto::Event { body: Some(Body::Catalog(body)), ..Default::default() };
        second.encode(&mut twice).expect("it has space");
        assert_eq!(written(&twice), render(&twice).expect("it is public"));
        // A field of a later version, and one that is cut off.
        let later = [&*event, &[0xfa, 0x3e, 1, 7]].concat();
        assert_eq!(written(&later), render(&event).expect("it is public"));
        assert!(write(&event[..event.len() - 1], &mut Vec::new()).is_err());
    }

    #[test]
    fn a_value_of_a_later_version_is_written_as_its_number() {
        let price = proto::Price { tax_basis: 77, ..Default::default() };
        let line = proto::order::Line { unit_price: Some(price), ..Default::default() };
        let cancelled =
            proto::order::Cancelled { reason: 78, lines: vec![line], ..Default::default() };
        let event = proto::Event {
            body: Some(Body::Order(proto::order::OrderEvent {
                summary: None,
                kind: Some(proto::order::order_event::Kind::Cancelled(cancelled)),
            })),
            ..created()
        };
        let event = event.encode_to_vec();
        let public = PublicEvent::read(&event).expect("it is public");
        let mut fast = Vec::new();
        public.write_cloud_event(&mut fast).expect("it is not left to the slow way");
        let fast: Value = serde_json::from_slice(&fast).expect("it is JSON");
        assert_eq!(fast["data"]["reason"], 78, "{fast}");
        assert_eq!(fast["data"]["lines"][0]["unitPrice"]["taxBasis"], 77, "{fast}");
        assert_eq!(fast, render(&event).expect("it is public"));
    }

    #[test]
    fn an_event_of_an_order_says_how_the_order_is_then() {
        let paid = proto::order::Paid { payment_id: Some("p-1".to_owned()), ..Default::default() };
        let summary = proto::order::Summary {
            number: 17,
            reference: Some("PO 1".to_owned()),
            ..Default::default()
        };
        let body = Some(Body::Order(proto::order::OrderEvent {
            summary: Some(summary),
            kind: Some(proto::order::order_event::Kind::Paid(paid)),
        }));
        let event = written(&proto::Event { body, ..created() }.encode_to_vec());
        let expected = serde_json::json!({"paymentId": "p-1",
            "summary": {"number": "17", "reference": "PO 1"}});
        assert_eq!(event["data"], expected);
    }

    #[test]
    fn a_fact_has_no_member_of_the_name_of_what_is_beside_it() {
        let envelope = POOL.get_message_by_name(EVENT).expect("it is there");
        for body in members_of(&envelope, "body") {
            let Kind::Message(of_service) = body.kind() else { panic!("it is a message") };
            for kind in members_of(&of_service, "kind") {
                let Kind::Message(fact) = kind.kind() else { panic!("it is a message") };
                for field in beside(&of_service) {
                    assert_eq!(fact.get_field_by_json_name(field.json_name()), None, "{fact:?}");
                }
            }
        }
    }

    #[test]
    fn what_the_engine_records_does_not_leave() {
        let kind =
            Some(protocol::proto::engine_event::Kind::Positions(protocol::proto::Positions {}));
        let body = Some(Body::Engine(protocol::proto::EngineEvent { kind }));
        let event = proto::Event { body, ..created() }.encode_to_vec();
        assert!(matches!(render(&event), Err(RenderError::NotPublic(_))));
        assert!(matches!(write(&event, &mut Vec::new()), Err(RenderError::NotPublic(_))));
        assert!(matches!(render(b"\xff"), Err(RenderError::Json(_))));
    }
}
