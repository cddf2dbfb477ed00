//! The rows that the catalogue keeps.

use engine::{Column, Revision, Row, Table, Value, documents};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::Product;

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[ProductRow::TABLE];

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

impl Row for ProductRow {
    const TABLE: Table = Table {
        name: "product",
        about: "A product of a shop, by its SKU, as the last event about it left it.",
        columns: &[Column::text("search")],
        indexes: &[],
    };

    fn columns(&self) -> Vec<Value> {
        let Product { sku, title, .. } = &self.product;
        vec![Some(documents::searched(&format!("{sku} {title}"))).into()]
    }
}
