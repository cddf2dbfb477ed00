//! What the catalogue decides: about products, categories and listings. No I/O, no clock, no async.

pub(crate) mod categories;
pub(crate) mod listings;
pub(crate) mod products;

use engine::{Aggregate, AnyRows, Decision, Recorded, Revision, Rows, Rules, State};
use events::id::{CategoryKey, ListingKey, Sku};
use protocol::time::Timestamp;

use crate::Catalog;

/// What the catalogue is asked to do.
#[derive(Debug, Clone)]
pub enum Input {
    /// Bring products into the given state. Where a SKU occurs twice, the later entry follows the
    /// earlier one.
    PutProducts(Vec<products::Wanted>),
    /// Bring a category into the given state.
    PutCategory(categories::Put),
    /// Delete a category.
    DeleteCategory(categories::Delete),
    /// Bring a listing into the given state.
    PutListing(Box<listings::Put>),
    /// Let a listing not be shown any more.
    ArchiveListing(listings::Archive),
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// To a product.
    Product(products::Event),
    /// To a category.
    Category(categories::Event),
    /// To a listing.
    Listing(Box<listings::Event>),
}

/// What the sender of a command is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What became of each product, in the same order.
    Products(Vec<products::Outcome>),
    /// What became of a category that was put.
    PutCategory(categories::Outcome),
    /// What became of a category that was to be deleted.
    DeleteCategory(categories::Outcome),
    /// What became of a listing that was put.
    PutListing(listings::Outcome),
    /// What became of a listing that was to be archived.
    ArchiveListing(listings::Outcome),
}

/// The rows of one shop.
#[derive(Debug, Default)]
pub struct Tables {
    /// The products.
    pub products: Rows<Sku, products::ProductRow>,
    /// The categories, with those that are deleted.
    pub categories: Rows<CategoryKey, categories::CategoryRow>,
    /// The tree of the categories as a whole.
    pub tree: Rows<categories::TheTree, categories::TreeRow>,
    /// The listings, with those that are archived.
    pub listings: Rows<ListingKey, listings::ListingRow>,
}

impl State for Tables {
    fn tables(&mut self) -> Vec<&mut dyn AnyRows> {
        vec![&mut self.products, &mut self.categories, &mut self.tree, &mut self.listings]
    }
}

impl Rules for Catalog {
    type State = Tables;

    fn aggregate(event: &Event) -> Aggregate {
        match event {
            Event::Product(event) => Aggregate::new(products::KIND, &event.product.sku),
            Event::Category(event) => Aggregate::new(categories::KIND, &event.category.key),
            Event::Listing(event) => Aggregate::new(listings::KIND, &event.listing.key),
        }
    }

    fn revision(tables: &Tables, event: &Event) -> Revision {
        let revision = match event {
            Event::Product(event) => {
                tables.products.get(&event.product.sku).map(|row| row.revision)
            }
            Event::Category(event) => {
                tables.categories.get(&event.category.key).map(|row| row.revision)
            }
            Event::Listing(event) => {
                tables.listings.get(&event.listing.key).map(|row| row.revision)
            }
        };
        revision.unwrap_or_default()
    }

    fn weight(input: &Input) -> usize {
        match input {
            Input::PutProducts(products) => products.len(),
            Input::PutCategory(_) | Input::DeleteCategory(_) => 1,
            // Each may be as large as many products.
            Input::PutListing(_) | Input::ArchiveListing(_) => listings::WEIGHT,
        }
    }

    fn decide(&self, tables: &Tables, input: &Input, now: Timestamp) -> Decision<Event, Answer> {
        match input {
            Input::PutProducts(wanted) => {
                let (events, outcomes) = products::decide(&tables.products, wanted, now);
                let events = events.into_iter().map(Event::Product).collect();
                Decision::answered(events, Answer::Products(outcomes))
            }
            Input::PutCategory(put) => {
                let (events, outcome) = categories::put(tables, put);
                let events = events.into_iter().map(Event::Category).collect();
                Decision::answered(events, Answer::PutCategory(outcome))
            }
            Input::DeleteCategory(delete) => {
                let (event, outcome) = categories::delete(tables, delete);
                let events = event.into_iter().map(Event::Category).collect();
                Decision::answered(events, Answer::DeleteCategory(outcome))
            }
            Input::PutListing(put) => {
                let (event, outcome) = listings::put(tables, put);
                let events = event.into_iter().map(Box::new).map(Event::Listing).collect();
                Decision::answered(events, Answer::PutListing(outcome))
            }
            Input::ArchiveListing(archive) => {
                let (event, outcome) = listings::archive(tables, archive);
                let events = event.into_iter().map(Box::new).map(Event::Listing).collect();
                Decision::answered(events, Answer::ArchiveListing(outcome))
            }
        }
    }

    fn implied_answer(recorded: &Recorded<Event>) -> Option<Answer> {
        let version = recorded.version;
        Some(match &recorded.event {
            Event::Product(event) => Answer::Products(vec![products::outcome(event, version)]),
            Event::Category(event) => {
                let outcome = categories::outcome(event, version);
                match event.fact {
                    categories::Fact::Deleted => Answer::DeleteCategory(outcome),
                    categories::Fact::Created
                    | categories::Fact::Updated { .. }
                    | categories::Fact::Moved { .. } => Answer::PutCategory(outcome),
                }
            }
            Event::Listing(event) => {
                let outcome = listings::outcome(event, version);
                match event.fact {
                    listings::Fact::Archived => Answer::ArchiveListing(outcome),
                    listings::Fact::Created | listings::Fact::Updated { .. } => {
                        Answer::PutListing(outcome)
                    }
                }
            }
        })
    }

    fn apply(tables: &mut Tables, recorded: &Recorded<Event>) {
        let revision = recorded.revision();
        match &recorded.event {
            Event::Product(event) => products::apply(&mut tables.products, event, revision),
            Event::Category(event) => categories::apply(tables, event, revision),
            Event::Listing(event) => listings::apply(tables, event, revision),
        }
    }
}
