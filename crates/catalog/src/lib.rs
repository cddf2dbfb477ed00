//! The catalogue: what a shop sells, at which price, and how it is shown.
//!
//! It is the smallest service, and shows the modules that every service has:
//!
//! - `wire`: bytes to domain and back; the only file that sees protobuf;
//! - `domain`: the rules, without I/O, clock or async: inputs, events, rows, `decide`, `apply`;
//! - `store`: how its rows are stored;
//! - `query`: the questions that it answers from its projection.
//!
//! `PutProducts` says how products shall be; `created`, `updated` and
//! `archived` go out, one for each product that was otherwise. The aggregate is the product, by its SKU.
//! A product that has changed after what a sender knew is left as it is: an import of an hour ago does
//! not undo what somebody has changed since.
//!
//! What several SKUs share is the aggregate listing (`PutListing`, `ArchiveListing`); listings are in categories, which form
//! a tree (`PutCategory`, `DeleteCategory`).
//!
//! To add a fact about a product: add it to `proto/`, to `domain::products` and to `wire`.

mod domain;
mod query;
mod store;
#[cfg(test)]
mod tests;
mod wire;

use engine::{Definition, Service, Source, Table};

/// The catalogue, to be run by an engine.
pub fn service() -> Definition<Catalog> {
    Definition::new(Catalog)
}

/// The catalogue, as the engine sees it.
#[derive(Debug, Clone, Copy)]
pub struct Catalog;

impl Service for Catalog {
    const NAME: &'static str = "catalog";
    const SOURCES: &'static [Source] = &[];
    const TABLES: &'static [Table] = store::TABLES;
    const FORMAT: u32 = 2;
}
