//! Bytes to domain and back: the only file that sees protobuf.

use engine::{Encoded, WireError};
use events::{
    id::Sku,
    money::Money,
    names,
    proto::{
        self, AnswerBody, answer_body,
        catalog::{self, catalog_event::Kind, catalog_question},
        event::Body,
    },
};
use prost::Message;
use protocol::id::ParseError;

use crate::{
    Catalog,
    domain::{Answer, Event, EventKind, Input, Product, ProductResult},
    query::{Found, Question},
    store::ProductRow,
};

impl engine::Wire for Catalog {
    type Input = Input;
    type Event = Event;
    type Answer = Answer;
    type Question = Question;
    type Found = Found;

    fn command(payload: &[u8]) -> Result<Input, WireError> {
        use proto::command::Body;
        match proto::Command::decode(payload)?.body.ok_or(WireError::Missing("body"))? {
            Body::PutProducts(put) => {
                put.products.into_iter().map(wanted).collect::<Result<_, _>>().map(Input::Put)
            }
            other => Err(WireError::Unexpected(names::command_name(&other).1)),
        }
    }

    fn foreign(_payload: &[u8]) -> Result<Input, WireError> {
        Err(WireError::Unexpected("an event of another service"))
    }

    fn encode(event: &Event) -> Encoded {
        let Product { sku, title, price, active } = event.product.clone();
        let (sku, price) = (sku.into(), Some(price.into()));
        let kind = match event.kind {
            EventKind::Created => {
                Kind::Created(catalog::ProductCreated { sku, title, price, active })
            }
            EventKind::Updated => Kind::Updated(catalog::ProductUpdated { sku, title, price }),
            EventKind::Discontinued => {
                Kind::Discontinued(catalog::ProductDiscontinued { sku, title, price })
            }
        };
        let body = Body::Catalog(proto::catalog::CatalogEvent { kind: Some(kind) });
        let name = names::event_name(&body).unwrap_or_default();
        let envelope = proto::Event { body: Some(body), ..Default::default() };
        Encoded::new(name, envelope.encode_to_vec())
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        let body = proto::EventFact::decode(payload)?.body.ok_or(WireError::Missing("body"))?;
        let Body::Catalog(proto::catalog::CatalogEvent { kind: Some(kind) }) = body else {
            return Err(WireError::Unexpected("an event that is not the catalogue's"));
        };
        let (kind, sku, title, price, active) = match kind {
            Kind::Created(it) => (EventKind::Created, it.sku, it.title, it.price, it.active),
            Kind::Updated(it) => (EventKind::Updated, it.sku, it.title, it.price, true),
            Kind::Discontinued(it) => (EventKind::Discontinued, it.sku, it.title, it.price, false),
        };
        Ok(Event { kind, product: parse(proto::catalog::Product { sku, title, price, active })? })
    }

    fn encode_answer(Answer(results): &Answer) -> Vec<u8> {
        let result = |result: &ProductResult| match result {
            ProductResult::Created => catalog::ProductResult::Created.into(),
            ProductResult::Updated => catalog::ProductResult::Updated.into(),
            ProductResult::Discontinued => catalog::ProductResult::Discontinued.into(),
            ProductResult::Unchanged => catalog::ProductResult::Unchanged.into(),
        };
        let answer = catalog::PutProductsAnswer { results: results.iter().map(result).collect() };
        let answer = Some(answer_body::Answer::PutProducts(answer));
        AnswerBody { answer }.encode_to_vec()
    }

    fn question(payload: &[u8]) -> Result<Question, WireError> {
        use catalog_question::Question as Asked;
        let asked = catalog::CatalogQuestion::decode(payload)?.question;
        Ok(match asked.ok_or(WireError::Missing("question"))? {
            Asked::GetProduct(get) => Question::Product(Sku::parse(&get.sku)?),
            Asked::ListProducts(list) => {
                Question::Products { after: list.after, limit: list.limit }
            }
        })
    }

    fn encode_found(found: Found) -> Vec<u8> {
        match found {
            Found::Product(row) => stored(row).encode_to_vec(),
            Found::Products(rows) => {
                let products = rows.into_iter().map(stored).collect();
                catalog::StoredProducts { products }.encode_to_vec()
            }
        }
    }
}

fn stored(row: ProductRow) -> catalog::StoredProduct {
    let ProductRow { product: Product { sku, title, price, active }, version } = row;
    let product = catalog::Product { sku: sku.into(), title, price: Some(price.into()), active };
    catalog::StoredProduct { product: Some(product), version }
}

fn wanted(product: proto::catalog::Product) -> Result<Product, WireError> {
    if product.title.chars().any(char::is_control) {
        // Postgres takes no NUL, so such a title would stop the projection for good.
        let rule = "must have no control characters";
        return Err(ParseError::new("title", rule, &product.title).into());
    }
    parse(product)
}

fn parse(product: proto::catalog::Product) -> Result<Product, WireError> {
    let proto::catalog::Product { sku, title, price, active } = product;
    Ok(Product { sku: Sku::parse(&sku)?, title, price: Money::parse(price.as_ref())?, active })
}
