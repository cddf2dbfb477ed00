//! The same for programs: an `AsyncAPI` 3.0 document (<https://www.asyncapi.com/docs/reference/specification/v3.0.0>).

use events::catalogue::{PublicEvent, json_schema, public_events};
use serde_json::{Map, Value, json};

use super::Examples;

const DESCRIPTION: &str = "The public events of Tradewind on NATS JetStream. A message is the protobuf \
    encoding of tradewind.events.v1.Event; the schemas describe its JSON form. The same facts leave by \
    HTTP as CloudEvents 1.0 JSON. docs/events.md is the same for people.";

pub(super) fn render(examples: &Examples) -> String {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    let mut schemas = Map::new();
    for event in public_events() {
        let event_type = event.event_type();
        channels.insert(event_type.clone(), channel(event));
        let sent = json!({
            "action": "send",
            "channel": {"$ref": format!("#/channels/{event_type}")},
            "summary": event.description,
        });
        operations.insert(event_type.clone(), sent);
        let example = examples.get(&event_type);
        let example = example.map(|it| json!({"name": event_type, "payload": it.message}));
        messages.insert(event_type, message(event, example));
        add_schema(&mut schemas, &event.message.name);
        for field in &event.beside {
            add_schema(&mut schemas, &field.type_name);
        }
    }
    add_schema(&mut schemas, "tradewind.engine.v1.Envelope");
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {"title": "Tradewind events", "version": "1.0.0", "description": DESCRIPTION},
        "defaultContentType": "application/protobuf",
        "servers": {"nats": {"host": "localhost:4222", "protocol": "nats"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    });
    let mut text = serde_json::to_string_pretty(&document).expect("it is JSON");
    text.push('\n');
    text
}

fn channel(event: &PublicEvent) -> Value {
    let PublicEvent { service, name, description, .. } = event;
    let event_type = event.event_type();
    json!({
        "address": format!("{service}.{{partition}}.{{shop}}.{name}"),
        "description": description,
        "parameters": {
            "partition": {"description": "The partition of the shop, from 0."},
            "shop": {"description": "The shop (tenant)."},
        },
        "messages": {"event": {"$ref": format!("#/components/messages/{event_type}")}},
    })
}

fn message(event: &PublicEvent, example: Option<Value>) -> Value {
    let PublicEvent { body, name, description, message, .. } = event;
    let fact = json!({"$ref": format!("#/components/schemas/{}", message.name)});
    let mut members = Map::from_iter([(json_name(name), fact)]);
    for field in &event.beside {
        let part = json!({"$ref": format!("#/components/schemas/{}", field.type_name)});
        members.insert(field.name.clone(), part);
    }
    let facts = json!({"type": "object", "properties": members});
    json!({
        "name": event.event_type(),
        "summary": description,
        "contentType": "application/protobuf",
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/tradewind.engine.v1.Envelope"},
                {"type": "object", "properties": {body: facts}},
            ],
        },
        "examples": example.into_iter().collect::<Vec<_>>(),
    })
}

/// The name of a field in protobuf JSON.
fn json_name(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
        name + &capital.into_iter().chain(letters).collect::<String>()
    })
}

/// Adds the schema of a message, and those of the messages that it is made of, under their names.
fn add_schema(schemas: &mut Map<String, Value>, name: &str) {
    let mut schema = json_schema(name).expect("the contract has the message");
    let parts = schema.as_object_mut().and_then(|schema| {
        schema.remove("$schema");
        schema.remove("$defs")
    });
    if let Some(Value::Object(parts)) = parts {
        schemas.extend(parts.into_iter().map(|(name, part)| (name, relocated(part))));
    }
    schemas.insert(name.to_owned(), relocated(schema));
}

/// The schema, with its references to where the document has the definitions.
fn relocated(schema: Value) -> Value {
    match schema {
        Value::String(text) => Value::String(text.replace("#/$defs/", "#/components/schemas/")),
        Value::Array(items) => items.into_iter().map(relocated).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, member)| (name, relocated(member))).collect()
        }
        other => other,
    }
}
