//! What the catalogue decides about products.

use std::collections::HashMap;

use engine::{Revision, Rows};
use events::{
    id::{Country, HsCode, ListingKey, Sku, TaxClass},
    money::{Money, TaxBasis},
};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a product is among the aggregates.
pub(crate) const KIND: &str = "product";

/// A product, as it is or as it shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The stock keeping unit.
    pub sku: Sku,
    /// The title, for people.
    pub title: String,
    /// The price of one unit.
    pub price: Money,
    /// Whether tax is in it.
    pub tax_basis: TaxBasis,
    /// Whether it is sold.
    pub active: bool,
    /// The listing whose variant it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing_key: Option<ListingKey>,
    /// How it is taxed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_class: Option<TaxClass>,
    /// The weight of one unit with its packaging, in grams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_g: Option<u32>,
    /// The country in which it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country_of_origin: Option<Country>,
    /// Its code of the Harmonized System.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hs_code: Option<HsCode>,
}

/// What a product may have or not, each for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// [`Product::listing_key`].
    ListingKey,
    /// [`Product::tax_class`].
    TaxClass,
    /// [`Product::weight_g`].
    Weight,
    /// [`Product::country_of_origin`].
    CountryOfOrigin,
    /// [`Product::hs_code`].
    HsCode,
}

/// A product as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductRow {
    /// The product.
    #[serde(flatten)]
    pub product: Product,
    /// Its version, and where its last event is.
    pub revision: Revision,
    /// When what the sender of the last change knew was so.
    pub as_of: Timestamp,
}

/// A product as somebody wants it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The product. A detail that it does not have stays as it is, unless it is `cleared`.
    pub product: Product,
    /// The details that are to be taken away.
    pub cleared: Vec<Detail>,
    /// When what the sender knows was so; a time in the future means now.
    pub as_of: Timestamp,
    /// The version that the product must have; 0 when there must be none.
    pub expected_version: Option<u64>,
    /// Whether it is noted that the product is still so, where it is so already: nothing older may undo it then.
    /// One by one somebody looks at them; an import of many is not worth an event of each.
    pub is_noted: bool,
}

impl Wanted {
    /// The product as it shall be: what its sender did not say is as it was `before`.
    fn after(&self, before: Option<&Product>) -> Product {
        let mut product = self.product.clone();
        let Some(before) = before else { return product };
        let Product { listing_key, tax_class, weight_g, country_of_origin, hs_code, .. } =
            &mut product;
        self.keep(Detail::ListingKey, listing_key, before.listing_key.as_ref());
        self.keep(Detail::TaxClass, tax_class, before.tax_class.as_ref());
        self.keep(Detail::Weight, weight_g, before.weight_g.as_ref());
        self.keep(Detail::CountryOfOrigin, country_of_origin, before.country_of_origin.as_ref());
        self.keep(Detail::HsCode, hs_code, before.hs_code.as_ref());
        product
    }

    fn keep<T: Clone>(&self, detail: Detail, wanted: &mut Option<T>, before: Option<&T>) {
        if wanted.is_none() && !self.cleared.contains(&detail) {
            *wanted = before.cloned();
        }
    }
}

/// Something happened to a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub fact: Fact,
    /// The product as it is from then on.
    pub product: Product,
    /// When what the sender knew was so.
    pub as_of: Timestamp,
}

/// What can happen to a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It came into being.
    Created,
    /// Something of it changed, or it is sold again; or it is known to be so still, as of a later time.
    Updated {
        /// The product as it was.
        before: Product,
    },
    /// It is not sold any longer.
    Archived {
        /// The product as it was.
        before: Product,
    },
}

/// What became of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What became of it.
    pub result: ProductResult,
    /// The version that it has now; 0 when there is none.
    pub version: u64,
}

/// What became of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductResult {
    /// It is new.
    Created,
    /// It changed.
    Updated,
    /// It is no longer sold.
    Archived,
    /// It was so already.
    Unchanged,
    /// It changed after what the sender knew: it was left as it is.
    Stale,
    /// It has another version than the sender expected: it was left as it is.
    VersionMismatch,
}

/// What follows when products are put, and what became of each, in the same order.
pub(super) fn decide(
    products: &Rows<Sku, ProductRow>,
    wanted: &[Wanted],
    now: Timestamp,
) -> (Vec<Event>, Vec<Outcome>) {
    let mut changed: HashMap<&Sku, ProductRow> = HashMap::new();
    let mut events = Vec::new();
    let mut outcomes = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let sku = &wanted.product.sku;
        let known = changed.get(sku).or_else(|| products.get(sku));
        // Nobody knows the future; a clock that is ahead would make what comes later stale.
        let as_of = wanted.as_of.min(now);
        let product = wanted.after(known.map(|row| &row.product));
        let (fact, result) = compare(known, wanted, &product, as_of);
        let mut revision = known.map(|row| row.revision).unwrap_or_default();
        if let Some(fact) = fact {
            revision.version += 1;
            let as_of = known.map_or(as_of, |row| as_of.max(row.as_of));
            changed.insert(sku, ProductRow { product: product.clone(), revision, as_of });
            events.push(Event { fact, product, as_of });
        }
        outcomes.push(Outcome { result, version: revision.version });
    }
    (events, outcomes)
}

/// What the sender of one product is answered when that is what happened to it.
pub(super) fn outcome(event: &Event, version: u64) -> Outcome {
    let result = match &event.fact {
        Fact::Created => ProductResult::Created,
        Fact::Updated { before } if *before == event.product => ProductResult::Unchanged,
        Fact::Updated { .. } => ProductResult::Updated,
        Fact::Archived { .. } => ProductResult::Archived,
    };
    Outcome { result, version }
}

/// Folds what happened to a product.
pub(super) fn apply(products: &mut Rows<Sku, ProductRow>, event: &Event, revision: Revision) {
    let Event { product, as_of, .. } = event.clone();
    products.put(product.sku.clone(), ProductRow { product, revision, as_of });
}

/// What makes of a product the one that is `wanted`, which is `product` as of a time, and what its sender is answered.
fn compare(
    known: Option<&ProductRow>,
    wanted: &Wanted,
    product: &Product,
    as_of: Timestamp,
) -> (Option<Fact>, ProductResult) {
    let version = known.map_or(0, |row| row.revision.version);
    if let Some(expected) = wanted.expected_version.filter(|expected| *expected != version) {
        // A change that is sent again because its answer was lost is there already.
        let is_repeated = expected.checked_add(1) == Some(version)
            && known.is_some_and(|row| row.product == *product);
        let result =
            if is_repeated { ProductResult::Unchanged } else { ProductResult::VersionMismatch };
        return (None, result);
    }
    let Some(ProductRow { product: before, as_of: known_as_of, .. }) = known else {
        return (Some(Fact::Created), ProductResult::Created);
    };
    if before == product {
        let is_newer = wanted.is_noted && as_of > *known_as_of;
        let fact = is_newer.then(|| Fact::Updated { before: before.clone() });
        return (fact, ProductResult::Unchanged);
    }
    // Who knows the version has seen what is overwritten, however long ago.
    if wanted.expected_version.is_none() && as_of < *known_as_of {
        return (None, ProductResult::Stale);
    }
    let is_archived = before.active && !product.active;
    let before = before.clone();
    if is_archived {
        (Some(Fact::Archived { before }), ProductResult::Archived)
    } else {
        (Some(Fact::Updated { before }), ProductResult::Updated)
    }
}
