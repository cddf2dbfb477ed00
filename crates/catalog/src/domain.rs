//! What the catalogue decides. No I/O, no clock, no async.

use std::collections::HashMap;

use engine::{Aggregate, Decision, Recorded, Rows, Rules};
use events::{id::Sku, money::Money};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Catalog, store::ProductRow};

/// A product, as it is or as it shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The stock keeping unit.
    pub sku: Sku,
    /// The title, for people.
    pub title: String,
    /// The price of one unit.
    pub price: Money,
    /// Whether it is sold.
    pub active: bool,
}

/// What the catalogue is asked to do.
#[derive(Debug, Clone)]
pub enum Input {
    /// Bring products into the given state. Where a SKU occurs twice, the later entry follows the
    /// earlier one.
    Put(Vec<Product>),
}

/// Something happened to a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The product as it is from then on.
    pub product: Product,
}

/// What can happen to a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It came into being.
    Created,
    /// Its title or price changed, or it is sold again. It is active.
    Updated,
    /// It is not sold any longer, or what is not sold got another title or price. It is inactive.
    Discontinued,
}

/// What the sender of products is answered: what became of each, in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(pub Vec<ProductResult>);

/// What became of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductResult {
    /// It is new.
    Created,
    /// It changed.
    Updated,
    /// It is no longer sold.
    Discontinued,
    /// It was so already.
    Unchanged,
}

impl Rules for Catalog {
    type State = Rows<Sku, ProductRow>;

    fn aggregate(event: &Event) -> Aggregate {
        Aggregate::new("product", &event.product.sku)
    }

    fn version(products: &Self::State, event: &Event) -> u64 {
        products.get(&event.product.sku).map_or(0, |row| row.version)
    }

    fn weight(Input::Put(products): &Input) -> usize {
        products.len()
    }

    fn decide(
        &self,
        products: &Self::State,
        input: &Input,
        _now: Timestamp,
    ) -> Decision<Event, Answer> {
        let Input::Put(wanted) = input;
        let mut put_before: HashMap<&Sku, &Product> = HashMap::new();
        let mut events = Vec::new();
        let mut results = Vec::with_capacity(wanted.len());
        for product in wanted {
            let known = put_before.insert(&product.sku, product);
            let known = known.or_else(|| products.get(&product.sku).map(|row| &row.product));
            let (kind, result) = compare(known, product);
            events.extend(kind.map(|kind| Event { kind, product: product.clone() }));
            results.push(result);
        }
        Decision::answered(events, Answer(results))
    }

    fn implied_answer(recorded: &Recorded<Event>) -> Option<Answer> {
        let result = match recorded.event.kind {
            EventKind::Created => ProductResult::Created,
            EventKind::Updated => ProductResult::Updated,
            EventKind::Discontinued => ProductResult::Discontinued,
        };
        Some(Answer(vec![result]))
    }

    fn apply(products: &mut Self::State, recorded: &Recorded<Event>) {
        let product = recorded.event.product.clone();
        products.put(product.sku.clone(), ProductRow { product, version: recorded.version });
    }
}

/// What brings a product into the state `wanted`, and what its sender is answered.
fn compare(known: Option<&Product>, wanted: &Product) -> (Option<EventKind>, ProductResult) {
    match known {
        None => (Some(EventKind::Created), ProductResult::Created),
        Some(known) if known == wanted => (None, ProductResult::Unchanged),
        Some(_) if wanted.active => (Some(EventKind::Updated), ProductResult::Updated),
        Some(known) if known.active => (Some(EventKind::Discontinued), ProductResult::Discontinued),
        // It was not sold and is not sold, so only its title or price changed. `updated` would
        // say that it is sold again; so the fact is `discontinued`, with its new values.
        Some(_) => (Some(EventKind::Discontinued), ProductResult::Updated),
    }
}
