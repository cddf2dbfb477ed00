//! Where an event can be read whose data is not in the body of its delivery.
//!
//! The link is a path at the gateway: the address of the gateway may change, and a body never does.

use protocol::proto::Envelope;

/// The history of the event's aggregate, in which the event is found by its id; for an aggregate without one, the feed of
/// the events of that type. What is about webhook endpoints has the endpoint itself.
pub(super) fn of(service: &str, envelope: &Envelope, event_type: &str) -> String {
    let Envelope { aggregate_type, aggregate_id, .. } = envelope;
    let id = encoded(aggregate_id);
    let below = match (service, &**aggregate_type) {
        ("catalog", "product") => format!("products/{id}/history"),
        ("catalog", "category") => format!("categories/{id}/history"),
        ("catalog", "listing") => format!("listings/{id}/history"),
        ("inventory", "stock") => {
            let (sku, location) = aggregate_id.rsplit_once('@').unwrap_or((aggregate_id, "main"));
            format!("inventory/{}/history?location={}", encoded(sku), encoded(location))
        }
        ("inventory", "reservation") => format!("orders/{id}/reservation/history"),
        ("inventory", "location") => format!("locations/{id}/history"),
        ("order", "order") => format!("orders/{id}/history"),
        ("payment", "payment") => format!("payments/{id}/history"),
        ("shop", "shop") => "history".to_owned(),
        ("notify", "endpoint") => format!("webhook-endpoints/{id}"),
        _ => format!("events?types={}", encoded(event_type)),
    };
    format!("/v1/shops/{}/{below}", encoded(&envelope.shop))
}

/// A part of a URL: all but the characters that stand for themselves is percent-encoded.
fn encoded(part: &str) -> String {
    let encoded = part.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_found_in_the_history_of_its_aggregate() {
        for (service, aggregate_type, aggregate_id, expected) in [
            ("catalog", "product", "A/1 ü", "products/A%2F1%20%C3%BC/history"),
            ("catalog", "category", "mugs", "categories/mugs/history"),
            ("catalog", "listing", "mug", "listings/mug/history"),
            ("inventory", "stock", "A@1@main", "inventory/A%401/history?location=main"),
            ("inventory", "reservation", "o-1", "orders/o-1/reservation/history"),
            ("inventory", "location", "north", "locations/north/history"),
            ("inventory", "connector", "sap", "events?types=inventory.x"),
            ("order", "order", "o-1", "orders/o-1/history"),
            ("payment", "payment", "o-1-2", "payments/o-1-2/history"),
            ("shop", "shop", "acme", "history"),
            ("notify", "endpoint", "we_1", "webhook-endpoints/we_1"),
        ] {
            let (aggregate_type, aggregate_id) = (aggregate_type.into(), aggregate_id.into());
            let envelope = Envelope {
                shop: "acme".into(),
                aggregate_type,
                aggregate_id,
                ..Envelope::default()
            };
            let link = of(service, &envelope, &format!("{service}.x"));
            assert_eq!(link, format!("/v1/shops/acme/{expected}"));
        }
    }
}
