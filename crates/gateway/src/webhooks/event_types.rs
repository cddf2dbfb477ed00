//! `/v1/event-types`: the events that an endpoint can want, each with its JSON Schema and an example.

use std::sync::LazyLock;

use axum::Json;
use events::catalogue::{OPERATIONAL_EVENTS, PublicEvent, json_schema, public_events};
use serde_json::{Value, json};

/// The `AsyncAPI` document, which has an example of each event, taken from a real run.
const ASYNC_API: &str = include_str!("../../../../docs/asyncapi.json");

/// `GET /v1/event-types`.
pub(crate) async fn list_event_types() -> Json<&'static Value> {
    Json(&EVENT_TYPES)
}

static EVENT_TYPES: LazyLock<Value> = LazyLock::new(|| {
    let document: Value = serde_json::from_str(ASYNC_API).unwrap_or_default();
    let mut types: Vec<_> = public_events().iter().map(|it| describe(it, &document)).collect();
    let operational = OPERATIONAL_EVENTS.iter();
    types.extend(operational.map(|(name, about)| json!({"type": name, "description": about})));
    json!({"event_types": types})
});

fn describe(event: &PublicEvent, document: &Value) -> Value {
    let event_type = event.event_type();
    let messages = &document["components"]["messages"];
    let envelope = &messages[&event_type]["examples"][0]["payload"];
    json!({
        "type": event_type,
        "description": event.description,
        "schema": json_schema(&event.message.name),
        "example": envelope[&event.body][camel_case(&event.name)],
    })
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
        let types = EVENT_TYPES["event_types"].as_array().expect("is a list");
        for event in &types[..public_events().len()] {
            assert!(event["schema"].is_object(), "{event}");
            assert!(event["example"].is_object(), "{} has no example", event["type"]);
        }
    }
}
