//! Bytes to domain and back: the only file that sees protobuf.

use engine::{Encoded, WireError};
use events::{
    id::{Country, HsCode, ListingKey, Sku, TaxClass},
    money::{Money, TaxBasis},
    names,
    proto::{
        self, AnswerBody, answer_body,
        catalog::{self, catalog_event::Kind, catalog_question},
        event::Body,
    },
};
use prost::Message;
use protocol::{id::ParseError, time::Timestamp};

use crate::{
    Catalog,
    domain::{
        Answer, Detail, Event, Fact, Input, Outcome, Product, ProductResult, ProductRow, Wanted,
    },
    query::{Found, Question},
};

impl engine::Wire for Catalog {
    type Input = Input;
    type Event = Event;
    type Answer = Answer;
    type Question = Question;
    type Found = Found;

    fn command(payload: &[u8]) -> Result<Input, WireError> {
        use proto::command::Body;
        let command = proto::Command::decode(payload)?;
        let sent_at = Timestamp::parse(command.time.as_ref())?;
        match command.body.ok_or(WireError::Missing("body"))? {
            Body::PutProducts(put) => {
                let wanted = |product| wanted(product, sent_at);
                put.products.into_iter().map(wanted).collect::<Result<_, _>>().map(Input::Put)
            }
            other => Err(WireError::Unexpected(names::command_name(&other).1)),
        }
    }

    fn foreign(_payload: &[u8]) -> Result<Input, WireError> {
        Err(WireError::Unexpected("an event of another service"))
    }

    fn encode(event: &Event) -> Encoded {
        let after = Some(to_wire(&event.product));
        let as_of = Some(event.as_of.into());
        let kind = match &event.fact {
            Fact::Created => Kind::Created(catalog::Created { product: after, as_of }),
            Fact::Updated { before } => {
                let changed = changed(before, &event.product);
                let before = Some(to_wire(before));
                Kind::Updated(catalog::Updated { before, after, as_of, changed })
            }
            Fact::Archived { before } => {
                Kind::Archived(catalog::Archived { before: Some(to_wire(before)), after, as_of })
            }
        };
        let body = Body::Catalog(proto::catalog::CatalogEvent { kind: Some(kind) });
        let name = names::event_name(&body).unwrap_or_default();
        let envelope = proto::Event { body: Some(body), ..Default::default() };
        let occurred_at = Some(event.as_of);
        Encoded { occurred_at, ..Encoded::new(name, envelope.encode_to_vec()) }
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        let body = proto::EventFact::decode(payload)?.body.ok_or(WireError::Missing("body"))?;
        let Body::Catalog(proto::catalog::CatalogEvent { kind: Some(kind) }) = body else {
            return Err(WireError::Unexpected("an event that is not the catalogue's"));
        };
        let (fact, product, as_of) = match kind {
            Kind::Created(it) => (Fact::Created, it.product, it.as_of),
            Kind::Updated(it) => (Fact::Updated { before: parse(it.before)? }, it.after, it.as_of),
            Kind::Archived(it) => {
                (Fact::Archived { before: parse(it.before)? }, it.after, it.as_of)
            }
        };
        let (product, as_of) = (parse(product)?, Timestamp::parse(as_of.as_ref())?);
        Ok(Event { fact, product, as_of })
    }

    fn encode_answer(Answer(outcomes): &Answer) -> Vec<u8> {
        let outcome = |outcome: &Outcome| {
            let result = match outcome.result {
                ProductResult::Created => catalog::ProductResult::Created,
                ProductResult::Updated => catalog::ProductResult::Updated,
                ProductResult::Archived => catalog::ProductResult::Archived,
                ProductResult::Unchanged => catalog::ProductResult::Unchanged,
                ProductResult::Stale => catalog::ProductResult::Stale,
                ProductResult::VersionMismatch => catalog::ProductResult::VersionMismatch,
            };
            catalog::ProductOutcome { result: result.into(), version: outcome.version }
        };
        let outcomes = outcomes.iter().map(outcome).collect();
        let answer =
            Some(answer_body::Answer::PutProducts(catalog::PutProductsAnswer { outcomes }));
        AnswerBody { answer }.encode_to_vec()
    }

    fn question(payload: &[u8]) -> Result<Question, WireError> {
        use catalog_question::Question as Asked;
        let asked = catalog::CatalogQuestion::decode(payload)?.question;
        Ok(match asked.ok_or(WireError::Missing("question"))? {
            Asked::GetProduct(get) => Question::Product(Sku::parse(&get.sku)?),
            Asked::ListProducts(list) => {
                let catalog::ListProducts { after, limit, parts } = list;
                Question::Products { after, limit, parts }
            }
        })
    }

    fn encode_found(found: Found) -> Vec<u8> {
        match found {
            Found::Product(row) => stored(&row).encode_to_vec(),
            Found::Products(found) => {
                let products = found.products.iter().map(stored).collect();
                let next = found.next.unwrap_or_default();
                catalog::StoredProducts { products, next }.encode_to_vec()
            }
        }
    }
}

fn stored(row: &ProductRow) -> catalog::StoredProduct {
    catalog::StoredProduct { product: Some(to_wire(&row.product)), version: row.revision.version }
}

fn wanted(product: proto::catalog::WantedProduct, sent_at: Timestamp) -> Result<Wanted, WireError> {
    let proto::catalog::WantedProduct { product, as_of, expected_version, cleared } = product;
    let title = product.as_ref().map_or("", |product| &product.title);
    if title.chars().any(char::is_control) {
        // Postgres takes no NUL, so such a title would stop the projection for good.
        return Err(ParseError::new("title", "must have no control characters", title).into());
    }
    let as_of = match as_of {
        Some(as_of) => Timestamp::parse(Some(&as_of))?,
        None => sent_at,
    };
    let cleared = cleared.iter().map(|name| detail(name)).collect::<Result<_, _>>()?;
    Ok(Wanted { product: parse(product)?, cleared, as_of, expected_version })
}

/// The detail of that name.
fn detail(name: &str) -> Result<Detail, ParseError> {
    let rule = "must name something that a product may have or not";
    match name {
        "listing_key" => Ok(Detail::ListingKey),
        "tax_class" => Ok(Detail::TaxClass),
        "weight_g" => Ok(Detail::Weight),
        "customs.country_of_origin" => Ok(Detail::CountryOfOrigin),
        "customs.hs_code" => Ok(Detail::HsCode),
        _ => Err(ParseError::new("cleared", rule, name)),
    }
}

fn to_wire(product: &Product) -> catalog::Product {
    let Product { sku, title, price, tax_basis, active, .. } = product.clone();
    let Product { listing_key, tax_class, weight_g, country_of_origin, hs_code, .. } =
        product.clone();
    let customs = catalog::Customs {
        country_of_origin: country_of_origin.map(Into::into),
        hs_code: hs_code.map(Into::into),
    };
    catalog::Product {
        sku: sku.into(),
        title,
        price: Some(tax_basis.price(price.minor, price.currency)),
        active,
        listing_key: listing_key.map(Into::into),
        tax_class: tax_class.map(Into::into),
        weight_g,
        customs: Some(customs).filter(|customs| *customs != catalog::Customs::default()),
    }
}

/// The names of the fields of the message in which two products differ.
fn changed(before: &Product, after: &Product) -> Vec<String> {
    let Product {
        sku: _,
        title,
        price,
        tax_basis,
        active,
        listing_key,
        tax_class,
        weight_g,
        country_of_origin,
        hs_code,
    } = before;
    let customs = (country_of_origin, hs_code);
    let is_changed = [
        ("title", *title != after.title),
        ("price", (*price, *tax_basis) != (after.price, after.tax_basis)),
        ("active", *active != after.active),
        ("listing_key", *listing_key != after.listing_key),
        ("tax_class", *tax_class != after.tax_class),
        ("weight_g", *weight_g != after.weight_g),
        ("customs", customs != (&after.country_of_origin, &after.hs_code)),
    ];
    let names = is_changed.into_iter().filter(|(_, is_changed)| *is_changed);
    names.map(|(name, _)| name.to_owned()).collect()
}

fn parse(product: Option<catalog::Product>) -> Result<Product, WireError> {
    let product = product.ok_or(WireError::Missing("product"))?;
    let catalog::Product { sku, title, price, active, listing_key, tax_class, weight_g, customs } =
        product;
    let price = price.ok_or(WireError::Missing("price"))?;
    let catalog::Customs { country_of_origin, hs_code } = customs.unwrap_or_default();
    Ok(Product {
        sku: Sku::parse(&sku)?,
        title,
        price: Money::parse(price.money.as_ref())?,
        tax_basis: TaxBasis::parse(price.tax_basis)?,
        active,
        listing_key: listing_key.map(|key| ListingKey::parse(&key)).transpose()?,
        tax_class: tax_class.map(|class| TaxClass::parse(&class)).transpose()?,
        weight_g,
        country_of_origin: country_of_origin.map(|code| Country::parse(&code)).transpose()?,
        hs_code: hs_code.map(|code| HsCode::parse(&code)).transpose()?,
    })
}
