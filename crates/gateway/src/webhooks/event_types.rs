//! `/v1/event-types`: the events that an endpoint can want, each with its JSON Schema and an example.

use std::sync::LazyLock;

use axum::Json;
use events::catalogue::{PublicEvent, operational_events, public_events};
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
    /// The JSON Schema of its `data`.
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
    let operational = operational_events().iter().map(|event| EventType {
        kind: event.event_type.to_owned(),
        description: event.description.to_owned(),
        schema: Some(event.schema.clone()),
        example: Some(event.example.clone()),
    });
    EventTypeList { event_types: public.chain(operational).collect() }
});

fn describe(event: &PublicEvent, document: &Value) -> EventType {
    let event_type = event.event_type();
    let messages = &document["components"]["messages"];
    let envelope = &messages[&event_type]["examples"][0]["payload"];
    EventType {
        description: event.description.clone(),
        schema: event.data_schema(),
        example: data(event, &envelope[&event.body]),
        kind: event_type,
    }
}

/// The `data` of an event, from what its service says.
fn data(event: &PublicEvent, of_service: &Value) -> Option<Value> {
    let mut data = of_service.get(camel_case(&event.name))?.clone();
    let members = data.as_object_mut()?;
    for field in &event.beside {
        if let Some(value) = of_service.get(&field.name) {
            members.insert(field.name.clone(), value.clone());
        }
    }
    Some(data)
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
        for event in &EVENT_TYPES.event_types {
            let is_object = |value: &Option<Value>| value.as_ref().is_some_and(Value::is_object);
            assert!(is_object(&event.schema), "{event:?}");
            assert!(is_object(&event.example), "{} has no example", event.kind);
        }
        let kinds: Vec<_> = EVENT_TYPES.event_types.iter().map(|it| it.kind.as_str()).collect();
        for kind in ["webhook.endpoint_disabled", "webhook.endpoint_failing", "webhook.test"] {
            assert!(kinds.contains(&kind), "{kind} is not among {kinds:?}");
        }
    }

    #[test]
    fn the_example_of_an_operational_event_has_what_its_schema_asks_for_and_nothing_else() {
        for event in operational_events() {
            let properties = event.schema["properties"].as_object().expect("an object");
            let example = event.example.as_object().expect("an object");
            let named: Vec<_> = example.keys().collect();
            assert!(properties.keys().eq(named), "{}: {example:?}", event.event_type);
            let required = event.schema["required"].as_array().expect("a list");
            assert!(
                required
                    .iter()
                    .all(|name| name.as_str().is_some_and(|it| example.contains_key(it)))
            );
        }
    }
}
