//! How the rows of the catalogue are stored.

use engine::{Column, Row, Table, Value, documents};

use crate::domain::{Product, ProductRow};

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[ProductRow::TABLE];

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
