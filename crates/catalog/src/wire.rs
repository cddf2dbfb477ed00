//! Bytes to domain and back: the only module that sees protobuf.

mod categories;
mod listings;
mod products;

use engine::{Encoded, WireError};
use events::{
    id::{CategoryKey, ListingKey, Sku},
    names,
    proto::{
        self, AnswerBody, answer_body,
        catalog::{self, catalog_event::Kind, catalog_question},
        event::Body,
    },
    questions::page,
};
use prost::Message;
use protocol::time::Timestamp;

use crate::{
    Catalog,
    domain::{Answer, Event, Input},
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
        Ok(match command.body.ok_or(WireError::Missing("body"))? {
            Body::PutProducts(put) => {
                let is_noted = put.notes_unchanged;
                let wanted = |product| products::wanted(product, sent_at, is_noted);
                let wanted = put.products.into_iter().map(wanted).collect::<Result<_, _>>()?;
                Input::PutProducts(wanted)
            }
            Body::PutCategory(put) => Input::PutCategory(categories::put(put)?),
            Body::DeleteCategory(delete) => Input::DeleteCategory(categories::delete(&delete)?),
            Body::PutListing(put) => Input::PutListing(Box::new(listings::put(put)?)),
            Body::ArchiveListing(archive) => Input::ArchiveListing(listings::archive(&archive)?),
            other => return Err(WireError::Unexpected(names::command_name(&other).1)),
        })
    }

    fn foreign(_payload: &[u8]) -> Result<Input, WireError> {
        Err(WireError::Unexpected("an event of another service"))
    }

    fn encode(event: &Event) -> Encoded {
        let (kind, occurred_at) = match event {
            Event::Product(event) => (products::encode(event), Some(event.as_of)),
            Event::Category(event) => (categories::encode(event), None),
            Event::Listing(event) => (listings::encode(event), None),
        };
        let body = Body::Catalog(proto::catalog::CatalogEvent { kind: Some(kind) });
        let name = names::event_name(&body).unwrap_or_default();
        let envelope = proto::Event { body: Some(body), ..Default::default() };
        Encoded { occurred_at, ..Encoded::new(name, envelope.encode_to_vec()) }
    }

    fn decode(payload: &[u8]) -> Result<Event, WireError> {
        let body = proto::EventFact::decode(payload)?.body.ok_or(WireError::Missing("body"))?;
        let Body::Catalog(proto::catalog::CatalogEvent { kind: Some(kind) }) = body else {
            return Err(WireError::Unexpected("an event that is not the catalogue's"));
        };
        Ok(match kind {
            Kind::Created(it) => Event::Product(products::created(it)?),
            Kind::Updated(it) => Event::Product(products::updated(it)?),
            Kind::Archived(it) => Event::Product(products::archived(it)?),
            Kind::CategoryCreated(it) => Event::Category(categories::created(it)?),
            Kind::CategoryUpdated(it) => Event::Category(categories::updated(it)?),
            Kind::CategoryMoved(it) => Event::Category(categories::moved(it)?),
            Kind::CategoryDeleted(it) => Event::Category(categories::deleted(it)?),
            Kind::ListingCreated(it) => Event::Listing(Box::new(listings::created(it)?)),
            Kind::ListingUpdated(it) => Event::Listing(Box::new(listings::updated(it)?)),
            Kind::ListingArchived(it) => Event::Listing(Box::new(listings::archived(it)?)),
        })
    }

    fn encode_answer(answer: &Answer) -> Vec<u8> {
        use answer_body::Answer as Body;
        let answer = match answer {
            Answer::Products(outcomes) => {
                let outcomes = outcomes.iter().map(products::encode_outcome).collect();
                Body::PutProducts(catalog::PutProductsAnswer { outcomes })
            }
            Answer::PutCategory(outcome) => Body::PutCategory(categories::encode_put(*outcome)),
            Answer::DeleteCategory(outcome) => {
                Body::DeleteCategory(categories::encode_delete(*outcome))
            }
            Answer::PutListing(outcome) => Body::PutListing(listings::encode_put(outcome)),
            Answer::ArchiveListing(outcome) => {
                Body::ArchiveListing(listings::encode_archive(outcome))
            }
        };
        AnswerBody { answer: Some(answer) }.encode_to_vec()
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
            Asked::GetCategory(get) => Question::Category(CategoryKey::parse(&get.key)?),
            Asked::ListCategories(catalog::ListCategories { after, limit }) => {
                Question::Categories { after, limit }
            }
            Asked::GetListing(get) => Question::Listing(ListingKey::parse(&get.key)?),
            Asked::ListListings(list) => {
                let catalog::ListListings { after, limit, with_archived } = list;
                Question::Listings { after, limit, with_archived }
            }
        })
    }

    fn encode_found(found: Found) -> Vec<u8> {
        match found {
            Found::Product(row) => products::stored(&row).encode_to_vec(),
            Found::Products(found) => {
                let products = found.products.iter().map(products::stored).collect();
                let next = found.next.unwrap_or_default();
                catalog::StoredProducts { products, next }.encode_to_vec()
            }
            Found::Category(row) => categories::stored(&row).encode_to_vec(),
            Found::Categories(rows, has_more) => {
                let categories: Vec<_> = rows.iter().map(categories::stored).collect();
                let last = rows.last().filter(|_| has_more);
                let next = last.map(|row| row.category.key.to_string()).unwrap_or_default();
                catalog::StoredCategories { categories, next }.encode_to_vec()
            }
            Found::Listing(row) => listings::stored(&row).encode_to_vec(),
            Found::Listings(rows, has_more) => {
                let (listings, has_more) = page(rows.iter().map(listings::stored), has_more);
                let last = rows.get(listings.len().saturating_sub(1)).filter(|_| has_more);
                let next = last.map(|row| row.listing.key.to_string()).unwrap_or_default();
                catalog::StoredListings { listings, next }.encode_to_vec()
            }
        }
    }
}
