//! Bytes to domain and back: the only file that sees protobuf.

use engine::WireError;
use events::{
    id::{ParseError, Sku},
    money::Money,
    proto::{self, catalog_event::Kind},
    subject,
};

use crate::domain::{Event, Input, Product};

/// Turns a command into an input.
pub(crate) fn command(command: proto::Command) -> Result<Input, WireError> {
    use proto::command::Body;
    match command.body.ok_or(WireError::Missing("body"))? {
        Body::PutProducts(put) => {
            let products = put.products.into_iter().map(wanted).collect::<Result<_, _>>()?;
            Ok(Input::Put { products })
        }
        other @ (Body::RecordStock(_) | Body::PlaceOrder(_) | Body::CancelOrder(_)) => {
            Err(WireError::Unexpected(subject::command_kind(&other).1))
        }
    }
}

fn wanted(wanted: proto::Product) -> Result<(Sku, Product), WireError> {
    if wanted.title.chars().any(char::is_control) {
        // Postgres takes no NUL, so such a title would stop the projection for good.
        let rule = "must have no control characters";
        return Err(ParseError::new("title", rule, &wanted.title).into());
    }
    product(&wanted.sku, wanted.title, wanted.price.as_ref(), wanted.active)
}

fn product(
    sku: &str,
    title: String,
    price: Option<&proto::Money>,
    active: bool,
) -> Result<(Sku, Product), WireError> {
    Ok((Sku::parse(sku)?, Product { title, price: Money::parse(price)?, active }))
}

/// Refuses an event of another service: the catalogue reads none.
pub(crate) fn foreign(event: &proto::Event) -> Result<Input, WireError> {
    let body = event.body.as_ref().ok_or(WireError::Missing("body"))?;
    Err(WireError::Unexpected(subject::event_kind(body).unwrap_or("an event without a kind")))
}

/// Turns an event into its wire form.
pub(crate) fn encode(event: &Event) -> proto::event::Body {
    let sku = event.sku().to_string();
    let Product { title, price, active } = event.product().clone();
    let price = Some(price.into());
    let kind = match event {
        Event::Created(..) => Kind::Created(proto::ProductCreated { sku, title, price, active }),
        Event::Updated(..) => Kind::Updated(proto::ProductUpdated { sku, title, price }),
        Event::Discontinued(..) => {
            Kind::Discontinued(proto::ProductDiscontinued { sku, title, price })
        }
    };
    proto::event::Body::Catalog(proto::CatalogEvent { kind: Some(kind) })
}

/// Turns the wire form back into the event.
pub(crate) fn decode(body: proto::event::Body) -> Result<Event, WireError> {
    use proto::event::Body;
    let event = match body {
        Body::Catalog(event) => event,
        other @ (Body::Engine(_) | Body::Inventory(_) | Body::Order(_) | Body::Payment(_)) => {
            let kind = subject::event_kind(&other).unwrap_or("an event without a kind");
            return Err(WireError::Unexpected(kind));
        }
    };
    Ok(match event.kind.ok_or(WireError::Missing("kind"))? {
        Kind::Created(created) => {
            let price = created.price.as_ref();
            let (sku, product) = product(&created.sku, created.title, price, created.active)?;
            Event::Created(sku, product)
        }
        Kind::Updated(updated) => {
            let (sku, product) =
                product(&updated.sku, updated.title, updated.price.as_ref(), true)?;
            Event::Updated(sku, product)
        }
        Kind::Discontinued(gone) => {
            let (sku, product) = product(&gone.sku, gone.title, gone.price.as_ref(), false)?;
            Event::Discontinued(sku, product)
        }
    })
}

#[cfg(test)]
mod tests {
    use events::money::Currency;

    use super::*;

    #[test]
    fn every_event_survives_the_wire() {
        let sku = Sku::parse("A").expect("valid");
        let price = Money { minor: 300, currency: Currency::parse("GBP").expect("valid") };
        let mug = |active| Product { title: "Mug".into(), price, active };
        for event in [
            Event::Created(sku.clone(), mug(true)),
            Event::Created(sku.clone(), mug(false)),
            Event::Updated(sku.clone(), mug(true)),
            Event::Discontinued(sku.clone(), mug(false)),
        ] {
            assert_eq!(decode(encode(&event)).expect("decodes"), event);
        }
    }

    #[test]
    fn a_product_without_a_price_is_refused_by_name() {
        let product = proto::Product { sku: "A".into(), ..Default::default() };
        let body =
            proto::command::Body::PutProducts(proto::PutProducts { products: vec![product] });
        let command = proto::Command { body: Some(body), ..Default::default() };
        let error = super::command(command).expect_err("has no price");
        assert_eq!(error.to_string(), "money must be present, got \"\"");
    }

    #[test]
    fn a_title_that_no_database_takes_is_refused_by_name() {
        let product = proto::Product { title: "Mug\0".into(), ..Default::default() };
        let error = wanted(product).expect_err("has a NUL");
        assert_eq!(error.to_string(), r#"title must have no control characters, got "Mug\0""#);
    }

    #[test]
    fn a_command_for_another_service_is_refused_by_name() {
        let body = proto::command::Body::CancelOrder(proto::CancelOrder::default());
        let command = proto::Command { body: Some(body), ..Default::default() };
        let error = super::command(command).expect_err("is for the order service");
        assert_eq!(error.to_string(), "cancel_order is not handled by this service");
    }
}
