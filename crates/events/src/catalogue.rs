//! The public events of the contract, read from the comments and fields of `proto/`: for documentation,
//! and for whoever subscribes to some of them.

use std::{collections::BTreeMap, sync::LazyLock};

use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    OneofDescriptor,
};
use serde_json::{Map, Value, json};

use crate::json::POOL;

/// A kind of event that others may read.
#[derive(Debug, Clone)]
pub struct PublicEvent {
    /// The service that writes it.
    pub service: String,
    /// The member of the envelope's `body` that holds it, by its name in JSON.
    pub body: String,
    /// Its name: the last token of its subject.
    pub name: String,
    /// When it happens and what follows, in words.
    pub description: String,
    /// The message that states the fact.
    pub message: Message,
    /// What its service says beside each fact: how the aggregate is then.
    pub beside: Vec<Field>,
}

/// A message of the contract.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its full name, for example `tradewind.order.v1.Placed`.
    pub name: String,
    /// What it is, in words.
    pub description: String,
    /// Its fields, in the order of the file.
    pub fields: Vec<Field>,
}

/// A field of a message.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name in JSON.
    pub name: String,
    /// The type of its values: a message or an enum by its full name, or a type of protobuf.
    pub type_name: String,
    /// Whether it holds a list.
    pub is_list: bool,
    /// What it means, in words.
    pub description: String,
}

/// An enum of the contract.
#[derive(Debug, Clone)]
pub struct Enum {
    /// Its full name.
    pub name: String,
    /// What it is, in words.
    pub description: String,
    /// Its values with what they mean, without the one that stands for none.
    pub values: Vec<(String, String)>,
}

impl PublicEvent {
    /// Its type, as CloudEvents and filters name it: `<service>.<event>`.
    pub fn event_type(&self) -> String {
        format!("{}.{}", self.service, self.name)
    }

    /// The JSON Schema (2020-12) of its `data` in CloudEvents and webhooks: the fact, with what is beside it.
    /// Unknown properties are allowed: later versions add fields.
    pub fn data_schema(&self) -> Option<Value> {
        let message = POOL.get_message_by_name(&self.message.name)?;
        Some(schema_of(&message, &self.beside_fields()))
    }

    fn beside_fields(&self) -> Vec<FieldDescriptor> {
        let envelope = POOL.get_message_by_name("tradewind.events.v1.Event");
        let body = envelope.and_then(|it| it.get_field_by_json_name(&self.body));
        let of_service = body.as_ref().and_then(message_kind);
        of_service.iter().flat_map(beside).collect()
    }
}

/// Whose facts are not public: the engine's, those about the delivery of the others, and those of API keys.
const INTERNAL: [&str; 3] = ["engine", "notify", "key"];

/// What webhook endpoints can be sent besides public events: a test, and facts about the other endpoints of the shop.
#[derive(Debug, Clone)]
pub struct OperationalEvent {
    /// Its type.
    pub event_type: &'static str,
    /// When it happens, in words.
    pub description: &'static str,
    /// The JSON Schema of its `data`.
    pub schema: Value,
    /// Its `data`, as it may be.
    pub example: Value,
}

/// All of them.
pub fn operational_events() -> &'static [OperationalEvent] {
    static EVENTS: LazyLock<Vec<OperationalEvent>> = LazyLock::new(|| {
        let endpoint_id = "we_019cec2b0000700080000000000000aa";
        let id = || json!({"type": "string", "description": "The endpoint that it is about."});
        let schema = |properties: Value, required: &[&str]| {
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
                "properties": properties, "required": required})
        };
        vec![
            OperationalEvent {
                event_type: "webhook.endpoint_disabled",
                description: "An endpoint of the shop is sent nothing any more, because of its answers.",
                schema: schema(
                    json!({"endpointId": id(), "reason": {"type": "string",
                        "enum": ["DISABLED_REASON_GONE", "DISABLED_REASON_INSTRUCTED",
                            "DISABLED_REASON_FAILING"],
                        "description": "It answered 410, it asked for it, or every attempt of 120 hours failed."}}),
                    &["endpointId", "reason"],
                ),
                example: json!({"endpointId": endpoint_id, "reason": "DISABLED_REASON_GONE"}),
            },
            OperationalEvent {
                event_type: "webhook.endpoint_failing",
                description: "Every attempt at an endpoint of the shop has failed for 60 hours.",
                schema: schema(
                    json!({"endpointId": id(), "since": {"type": "string", "format": "date-time",
                        "description": "When the first of the failures was."}}),
                    &["endpointId", "since"],
                ),
                example: json!({"endpointId": endpoint_id, "since": "2026-03-14T09:26:53Z"}),
            },
            OperationalEvent {
                event_type: "webhook.test",
                description: "Somebody asked for a test of this endpoint. It is sent whatever types the endpoint wants.",
                schema: schema(
                    json!({"message": {"type": "string", "description": "A text for people."}}),
                    &["message"],
                ),
                example: json!({"message": "This is a test delivery."}),
            },
        ]
    });
    &EVENTS
}

/// Every kind of public event, by service, in the order of the files.
pub fn public_events() -> &'static [PublicEvent] {
    static EVENTS: LazyLock<Vec<PublicEvent>> = LazyLock::new(read_events);
    &EVENTS
}

fn read_events() -> Vec<PublicEvent> {
    let Some(envelope) = POOL.get_message_by_name("tradewind.events.v1.Event") else {
        return Vec::new();
    };
    let bodies = envelope.oneofs().find(|oneof| oneof.name() == "body");
    let services = bodies.into_iter().flat_map(|oneof| oneof.fields().collect::<Vec<_>>());
    services
        .filter(|service| !is_internal(service.name()))
        .flat_map(|service| {
            let of_service = message_kind(&service);
            let beside: Vec<_> =
                of_service.iter().flat_map(beside).map(|it| describe_field(&it)).collect();
            let facts = of_service.and_then(|message| message.oneofs().next());
            let facts: Vec<_> = facts.iter().flat_map(OneofDescriptor::fields).collect();
            facts.into_iter().filter_map(move |fact| {
                Some(PublicEvent {
                    service: service_of(service.name()).to_owned(),
                    body: service.json_name().to_owned(),
                    name: fact.name().to_owned(),
                    description: comment(&fact.parent_message().parent_file(), fact.path()),
                    message: describe(&message_kind(&fact)?),
                    beside: beside.clone(),
                })
            })
        })
        .collect()
}

/// A message of the contract, by its full name.
pub fn message(name: &str) -> Option<Message> {
    POOL.get_message_by_name(name).as_ref().map(describe)
}

/// The messages that these messages are made of, directly or not, and the enums, by name. Messages of
/// protobuf itself are left out.
pub fn parts<'a>(
    messages: impl IntoIterator<Item = &'a str>,
) -> (BTreeMap<String, Message>, BTreeMap<String, Enum>) {
    let (mut found, mut enums) = (BTreeMap::new(), BTreeMap::new());
    let mut waiting: Vec<MessageDescriptor> =
        messages.into_iter().filter_map(|name| POOL.get_message_by_name(name)).collect();
    while let Some(message) = waiting.pop() {
        for field in message.fields() {
            match field.kind() {
                Kind::Message(part) if !is_well_known(&part) => {
                    let name = part.full_name().to_owned();
                    if found.insert(name, describe(&part)).is_none() {
                        waiting.push(part);
                    }
                }
                Kind::Enum(part) => {
                    enums.insert(part.full_name().to_owned(), describe_enum(&part));
                }
                _ => {}
            }
        }
    }
    (found, enums)
}

/// The JSON Schema (2020-12) of a message in its protobuf JSON form; none for an unknown message.
/// Unknown properties are allowed: later versions add fields.
pub fn json_schema(message: &str) -> Option<Value> {
    Some(schema_of(&POOL.get_message_by_name(message)?, &[]))
}

/// The schema of a message that is written together with some fields of another.
fn schema_of(message: &MessageDescriptor, beside: &[FieldDescriptor]) -> Value {
    let mut definitions = Map::new();
    let mut schema = object_schema(message, beside, &mut definitions);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!(message.full_name()));
    if !definitions.is_empty() {
        schema.insert("$defs".to_owned(), Value::Object(definitions));
    }
    Value::Object(schema)
}

fn object_schema(
    message: &MessageDescriptor,
    beside: &[FieldDescriptor],
    definitions: &mut Map<String, Value>,
) -> Map<String, Value> {
    let properties = message.fields().chain(beside.iter().cloned()).map(|field| {
        let value = value_schema(&field, definitions);
        let mut schema = if field.is_list() {
            Map::from_iter([
                ("type".to_owned(), json!("array")),
                ("items".to_owned(), json!(value)),
            ])
        } else {
            value
        };
        let description = comment(&field.parent_message().parent_file(), field.path());
        schema.insert("description".to_owned(), json!(description));
        (field.json_name().to_owned(), Value::Object(schema))
    });
    let properties: Map<_, _> = properties.collect();
    let description = comment(&message.parent_file(), message.path());
    let schema = json!({"type": "object", "description": description, "properties": properties});
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

/// The schema of one value of a field, by the JSON mapping of protobuf.
fn value_schema(
    field: &FieldDescriptor,
    definitions: &mut Map<String, Value>,
) -> Map<String, Value> {
    let schema = match field.kind() {
        Kind::Message(part) if part.full_name() == "google.protobuf.Timestamp" => {
            json!({"type": "string", "format": "date-time"})
        }
        Kind::Message(part) => {
            let name = part.full_name().to_owned();
            if !definitions.contains_key(&name) {
                definitions.insert(name.clone(), Value::Null);
                let schema = object_schema(&part, &[], definitions);
                definitions.insert(name.clone(), Value::Object(schema));
            }
            json!({"$ref": format!("#/$defs/{name}")})
        }
        // Later versions may add values.
        Kind::Enum(part) => {
            let known: Vec<_> = part.values().map(|value| value.name().to_owned()).collect();
            json!({"type": "string", "examples": known})
        }
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Double | Kind::Float => json!({"type": "number"}),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Uint32 | Kind::Fixed32 => {
            json!({"type": "integer"})
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            json!({"type": "string", "pattern": "^-?[0-9]+$"})
        }
        Kind::Uint64 | Kind::Fixed64 => json!({"type": "string", "pattern": "^[0-9]+$"}),
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::String => json!({"type": "string"}),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

/// Whether a member of the envelope's `body` holds facts that are not public.
pub(crate) fn is_internal(body: &str) -> bool {
    INTERNAL.contains(&body)
}

/// The fields of a service's event that are beside the fact, which is a member of the only `oneof`.
pub(crate) fn beside(of_service: &MessageDescriptor) -> impl Iterator<Item = FieldDescriptor> {
    of_service.fields().filter(|field| field.containing_oneof().is_none())
}

/// The service whose events a member of the envelope's `body` holds. The member is called as the service
/// is, but for `shop`: the envelope has a field of that name.
pub(crate) fn service_of(body: &str) -> &str {
    body.trim_end_matches("_event")
}

fn message_kind(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

fn is_well_known(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
}

fn describe(message: &MessageDescriptor) -> Message {
    Message {
        name: message.full_name().to_owned(),
        description: comment(&message.parent_file(), message.path()),
        fields: message.fields().map(|field| describe_field(&field)).collect(),
    }
}

fn describe_field(field: &FieldDescriptor) -> Field {
    Field {
        name: field.json_name().to_owned(),
        type_name: type_name(&field.kind()),
        is_list: field.cardinality() == Cardinality::Repeated,
        description: comment(&field.parent_message().parent_file(), field.path()),
    }
}

fn describe_enum(part: &EnumDescriptor) -> Enum {
    let file = part.parent_file();
    let values = part.values().filter(|value| value.number() != 0);
    let values = values.map(|value| (value.name().to_owned(), comment(&file, value.path())));
    Enum {
        name: part.full_name().to_owned(),
        description: comment(&file, part.path()),
        values: values.collect(),
    }
}

fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(part) => part.full_name().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The comment above a definition, as one paragraph.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let source = file.file_descriptor_proto().source_code_info.as_ref();
    let location = source.into_iter().flat_map(|source| &source.location);
    let comment = location.filter(|it| it.path == path).find_map(|it| it.leading_comments.clone());
    let comment = comment.unwrap_or_default();
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_says_when_it_happens_and_what_its_fields_mean() {
        let events = public_events();
        assert!(events.len() > 20, "{}", events.len());
        for event in events {
            let of = event.event_type();
            assert!(!event.description.is_empty(), "{of}");
            assert!(event.message.name.starts_with("tradewind."), "{of}");
            for field in &event.message.fields {
                assert!(!field.description.is_empty(), "{of}: {}", field.name);
            }
        }
        assert!(events.iter().all(|event| event.service != "engine"));
        assert!(events.iter().any(|event| event.event_type() == "order.paid"));
        let shop = events.iter().find(|event| event.event_type() == "shop.created");
        assert_eq!(shop.map(|event| event.body.as_str()), Some("shopEvent"));
    }

    #[test]
    fn the_parts_of_an_event_are_found_wherever_they_are() {
        let (messages, enums) = parts(["tradewind.order.v1.Cancelled"]);
        assert!(messages.contains_key("tradewind.order.v1.Shortage"));
        assert!(enums.contains_key("tradewind.order.v1.CancelReason"));
        assert!(!messages.contains_key("google.protobuf.Timestamp"));
    }

    #[test]
    fn a_schema_follows_the_json_form_of_protobuf() {
        let schema = json_schema("tradewind.order.v1.Cancelled").expect("it is known");
        let shortages = &schema["properties"]["shortages"];
        assert_eq!(shortages["type"], "array");
        assert_eq!(shortages["items"]["$ref"], "#/$defs/tradewind.order.v1.Shortage");
        let shortage = &schema["$defs"]["tradewind.order.v1.Shortage"]["properties"];
        assert_eq!(shortage["requested"]["type"], "string");
        assert_eq!(schema["additionalProperties"], Value::Null);
        assert_eq!(json_schema("tradewind.order.v1.Nothing"), None);
    }
}
