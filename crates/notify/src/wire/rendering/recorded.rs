//! Events of each type as they are in a log, with the bodies that were made of them when they were recorded: they are made
//! of them for ever.
//!
//! A new type of event is recorded with `UPDATE_RECORDED_BODIES=1`; what is recorded already is not written anew. Where
//! that test fails, the version of the rendering has to go up, and what was scheduled by an older one is written by that.

use std::{env, fs};

use data_encoding::BASE64;
use events::{
    catalogue::{operational_events, public_events},
    proto::{
        DESCRIPTORS, Event,
        event::Body,
        notify::{
            Announced, DisabledReason, EndpointDisabled, FailureWarned, NotifyEvent, TestScheduled,
            announced::What, notify_event::Kind as Own,
        },
    },
};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};
use serde::{Deserialize, Serialize};

use super::render;
use crate::domain::{Rendering, rendering::Payload};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wire/rendering/recorded.json");
const SEQ: u64 = 1_712;
/// How deep messages within messages are filled.
const MAX_DEPTH: usize = 2;

/// An event and its bodies.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    #[serde(rename = "type")]
    event_type: String,
    service: String,
    /// The event in base64.
    event: String,
    full: String,
    thin: String,
}

#[test]
fn what_is_recorded_is_written_in_the_same_bytes() {
    for Recorded { event_type, service, event, full, thin } in read() {
        let event = BASE64.decode(event.as_bytes()).expect("it is base64");
        assert_eq!(body(&service, &event, Payload::Full), full, "{event_type}");
        assert_eq!(body(&service, &event, Payload::Thin), thin, "{event_type}");
    }
}

#[test]
fn each_type_is_recorded() {
    let mut recorded = read();
    let is_recorded = |event_type: &str| recorded.iter().any(|it| it.event_type == event_type);
    let mut missing = events();
    missing.retain(|(event_type, ..)| !is_recorded(event_type));
    let names: Vec<_> = missing.iter().map(|(event_type, ..)| event_type.clone()).collect();
    if env::var_os("UPDATE_RECORDED_BODIES").is_none() {
        assert!(names.is_empty(), "record them with UPDATE_RECORDED_BODIES=1: {names:?}");
        return;
    }
    recorded.extend(missing.into_iter().map(|(event_type, service, event)| Recorded {
        event_type,
        full: body(&service, &event, Payload::Full),
        thin: body(&service, &event, Payload::Thin),
        service,
        event: BASE64.encode(&event),
    }));
    recorded.sort_by(|one, other| one.event_type.cmp(&other.event_type));
    let text = serde_json::to_string_pretty(&recorded).expect("it serialises");
    fs::write(FILE, text + "\n").expect("it can be written");
}

fn read() -> Vec<Recorded> {
    let text = fs::read_to_string(FILE).unwrap_or_else(|_| "[]".to_owned());
    serde_json::from_str(&text).expect("they read")
}

fn body(service: &str, event: &[u8], payload: Payload) -> String {
    let rendered = render(service, event, SEQ, Rendering { payload, version: 1 });
    String::from_utf8(rendered.expect("it renders").body.to_vec()).expect("it is text")
}

/// An event of each type that is delivered, with its type and its service.
fn events() -> Vec<(String, String, Vec<u8>)> {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("it is the contract");
    let envelope = pool.get_message_by_name("tradewind.events.v1.Event").expect("it is there");
    let public = public_events().iter().map(|event| {
        let of_service = envelope.get_field_by_json_name(&event.body).expect("it is there");
        let of_event = part(&of_service.kind());
        let fact = of_event.get_field_by_name(&event.name).expect("it is there");
        let mut facts = DynamicMessage::new(of_event.clone());
        let beside = of_event.fields().filter(|field| field.containing_oneof().is_none());
        for field in beside.chain([fact]) {
            facts.set_field(&field, Value::Message(filled(&part(&field.kind()), 0)));
        }
        let mut written = DynamicMessage::decode(envelope.clone(), &*head(None)).expect("decodes");
        written.set_field(&of_service, Value::Message(facts));
        let event_type = format!("{}.{}", event.service, event.name);
        (event_type, event.service.clone(), written.encode_to_vec())
    });
    public.chain(own()).collect()
}

/// Those about endpoints.
fn own() -> Vec<(String, String, Vec<u8>)> {
    let since = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 });
    let reason = DisabledReason::Gone.into();
    let disabled = EndpointDisabled { reason, note: String::new() };
    let announced = |what| Own::Announced(Announced { what: Some(what), to: Vec::new() });
    operational_events()
        .iter()
        .map(|event| {
            let kind = match event.event_type {
                "webhook.test" => Own::TestScheduled(TestScheduled::default()),
                "webhook.endpoint_disabled" => announced(What::EndpointDisabled(disabled.clone())),
                "webhook.endpoint_failing" => {
                    announced(What::EndpointFailing(FailureWarned { since }))
                }
                other => panic!("{other}"),
            };
            let body = Body::Notify(NotifyEvent { kind: Some(kind) });
            (event.event_type.to_owned(), "notify".to_owned(), head(Some(body)))
        })
        .collect()
}

fn head(body: Option<Body>) -> Vec<u8> {
    let event = Event {
        id: "0190b3a1-0000-7000-8000-000000000001".to_owned(),
        shop: "acme".to_owned(),
        aggregate_type: "aggregate".to_owned(),
        aggregate_id: "0190b3a1-0000-7000-8000-000000000000".to_owned(),
        aggregate_version: 4,
        position: 48_123,
        time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 }),
        body,
        ..Default::default()
    };
    event.encode_to_vec()
}

fn part(kind: &Kind) -> MessageDescriptor {
    kind.as_message().expect("it is a message").clone()
}

/// A message with each of its fields set: to values that are easily written otherwise.
fn filled(message: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut written = DynamicMessage::new(message.clone());
    for field in message.fields().filter(|field| !field.is_map()) {
        let value = || match field.kind() {
            Kind::Bool => Value::Bool(true),
            Kind::Int32 => Value::I32(-5),
            Kind::Uint32 => Value::U32(7),
            Kind::Int64 if field.name() == "seconds" => Value::I64(1_700_000_000),
            Kind::Int64 => Value::I64(-9_007_199_254_740_993),
            Kind::Uint64 => Value::U64(u64::MAX),
            Kind::Double => Value::F64(0.1 + 0.2),
            Kind::String => Value::String("a \"b\" ü€/\n".to_owned()),
            Kind::Bytes => Value::Bytes(vec![0, 255, 3].into()),
            Kind::Enum(of) => {
                Value::EnumNumber(of.values().last().map_or(1, |value| value.number()))
            }
            Kind::Message(of) if of.full_name() == "google.protobuf.Timestamp" => {
                let mut time = DynamicMessage::new(of);
                time.set_field_by_name("seconds", Value::I64(1_700_000_000));
                time.set_field_by_name("nanos", Value::I32(123_000));
                Value::Message(time)
            }
            Kind::Message(of) if depth >= MAX_DEPTH => Value::Message(DynamicMessage::new(of)),
            Kind::Message(of) => Value::Message(filled(&of, depth + 1)),
            other => panic!("{other:?} is of no event"),
        };
        let value = if field.is_list() { Value::List(vec![value(), value()]) } else { value() };
        written.set_field(&field, value);
    }
    written
}
