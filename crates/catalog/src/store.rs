//! How the rows of the catalogue are stored, and the SQL of its lists.

use engine::{Column, Row, StoreError, Table, Value, documents};
use protocol::id::Shop;
use sqlx::AnyPool;

use crate::domain::{
    categories::{CategoryRow, TreeRow},
    listings::ListingRow,
    products::{Product, ProductRow},
};

/// The tables of the projection.
pub(crate) const TABLES: &[Table] =
    &[ProductRow::TABLE, CategoryRow::TABLE, TreeRow::TABLE, ListingRow::TABLE];

/// What says of a row that it is in lists: 1, or null.
const SHOWN: &[Column] = &[Column::integer("shown")];
const SHOWN_BY_KEY: &[&str] = &["(shop, key) where shown is not null"];

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

impl Row for CategoryRow {
    const TABLE: Table = Table {
        name: "category",
        about: "A category of a shop, by its key, as the last event about it left it; perhaps deleted.",
        columns: SHOWN,
        indexes: SHOWN_BY_KEY,
    };

    fn columns(&self) -> Vec<Value> {
        vec![Value::Integer((!self.deleted).then_some(1))]
    }
}

impl Row for TreeRow {
    const TABLE: Table = Table {
        name: "category_tree",
        about: "How many categories a shop has.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for ListingRow {
    const TABLE: Table = Table {
        name: "listing",
        about: "A listing of a shop, by its key, as the last event about it left it; perhaps archived.",
        columns: SHOWN,
        indexes: SHOWN_BY_KEY,
    };

    fn columns(&self) -> Vec<Value> {
        vec![Value::Integer((!self.archived).then_some(1))]
    }
}

/// At most `limit` rows behind the key `after` that are shown, by key.
pub(crate) async fn shown<R: Row>(
    db: &AnyPool,
    shop: &Shop,
    after: &str,
    limit: i64,
) -> Result<Vec<R>, StoreError> {
    let statement = format!(
        "select key, document from {table} where shop = $1 and key > $2 and shown is not null \
         order by key limit $3",
        table = R::TABLE.name,
    );
    let values = vec![shop.as_str().into(), after.into(), limit.into()];
    let rows = documents::select(db, statement, values).await?;
    rows.iter().map(|row| documents::read::<R>(row).map(|(_, row)| row)).collect()
}
