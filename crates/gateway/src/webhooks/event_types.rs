//! `/v1/event-types`: the events that an endpoint can want, each with its JSON Schema and an example.

use std::sync::LazyLock;

use axum::Json;
use events::catalogue::{OPERATIONAL_EVENTS, PublicEvent, json_schema, public_events};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The `AsyncAPI` document, which has an example of each event, taken from a real run.
const ASYNC_API: &str = include_str!("../../../../docs/asyncapi.json");

/// The types of events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventTypeList {
    /// All of them.
    event_types: Vec<EventType>,
}

/// A type of events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventType {
    /// The type, such as `order.paid`.
    #[serde(rename = "type")]
    kind: String,
    /// When it happens.
    description: String,
    /// The JSON Schema of its `data`; absent for events about webhook endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    schema: Option<Value>,
    /// Its `data` as it was in a real run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    example: Option<Value>,
}

/// Lists the types of events that a webhook endpoint can ask for.
#[utoipa::path(
    get,
    path = "/event-types",
    operation_id = "list_event_types",
    tag = "Events",
    responses((status = 200, description = "Each type with its JSON Schema and an example.", body = EventTypeList)),
)]
pub(crate) async fn list_event_types() -> Json<&'static EventTypeList> {
    Json(&EVENT_TYPES)
}

static EVENT_TYPES: LazyLock<EventTypeList> = LazyLock::new(|| {
    let document: Value = serde_json::from_str(ASYNC_API).unwrap_or_default();
    let public = public_events().iter().map(|it| describe(it, &document));
    let operational = OPERATIONAL_EVENTS.iter().map(|(name, about)| EventType {
        kind: (*name).to_owned(),
        description: (*about).to_owned(),
        schema: None,
        example: None,
    });
    EventTypeList { event_types: public.chain(operational).collect() }
});

fn describe(event: &PublicEvent, document: &Value) -> EventType {
    let event_type = event.event_type();
    let messages = &document["components"]["messages"];
    let envelope = &messages[&event_type]["examples"][0]["payload"];
    EventType {
        description: event.description.clone(),
        schema: json_schema(&event.message.name),
        example: envelope[&event.body].get(camel_case(&event.name)).cloned(),
        kind: event_type,
    }
}

/// The name of a member in the JSON of protobuf.
fn camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| {
        let (head, tail) = part.split_at(part.len().min(1));
        name + &head.to_ascii_uppercase() + tail
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_schema_and_an_example() {
        for event in &EVENT_TYPES.event_types[..public_events().len()] {
            let is_object = |value: &Option<Value>| value.as_ref().is_some_and(Value::is_object);
            assert!(is_object(&event.schema), "{event:?}");
            assert!(is_object(&event.example), "{} has no example", event.kind);
        }
    }
}
