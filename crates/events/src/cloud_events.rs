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
//! | `data` | the fact, as protobuf JSON |
//!
//! The rest of the envelope are extension attributes, whose names have letters and digits only: `shop`,
//! `position`, `previousposition`, `aggregatetype`, `aggregateversion`, `occurredat`, `actorkind`, `actorid`, `causekind`,
//! `causeid`, `correlationid`, `traceparent`, `tracestate`. Numbers of 64 bits are texts, as in
//! protobuf JSON, since JavaScript rounds them.

use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value as Field};
use serde_json::{Map, Value};

use crate::{
    catalogue::service_of,
    json::{JsonError, message},
    names::event_name,
    proto::{self, event::Body},
};

/// The media type of one event.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";

const EVENT: &str = "tradewind.events.v1.Event";

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

/// Renders a public event, given as it is in the log. The same bytes are rendered to the same JSON.
pub fn render(bytes: &[u8]) -> Result<Value, RenderError> {
    let event = proto::Event::decode(bytes)
        .map_err(|source| JsonError::Decode { message: EVENT.to_owned(), source })?;
    let not_public = || RenderError::NotPublic(event.id.clone());
    let body =
        event.body.as_ref().filter(|body| !matches!(body, Body::Engine(_) | Body::Notify(_)));
    let name = body.and_then(event_name).ok_or_else(not_public)?;
    let decoded = message(EVENT, bytes)?;
    let (service, fact) = fact(&decoded).ok_or_else(not_public)?;
    let data = serde_json::to_value(&fact).map_err(|source| JsonError::Json {
        message: fact.descriptor().full_name().to_owned(),
        source,
    })?;

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

/// The service that wrote an event, and the fact that it states.
fn fact(event: &DynamicMessage) -> Option<(String, DynamicMessage)> {
    let (service, of_service) = chosen(event, "body")?;
    let (_, fact) = chosen(&of_service, "kind")?;
    Some((service_of(&service).to_owned(), fact))
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

    #[test]
    fn what_the_engine_records_does_not_leave() {
        let kind =
            Some(protocol::proto::engine_event::Kind::Positions(protocol::proto::Positions {}));
        let body = Some(Body::Engine(protocol::proto::EngineEvent { kind }));
        let event = proto::Event { body, ..created() }.encode_to_vec();
        assert!(matches!(render(&event), Err(RenderError::NotPublic(_))));
        assert!(matches!(render(b"\xff"), Err(RenderError::Json(_))));
    }
}
