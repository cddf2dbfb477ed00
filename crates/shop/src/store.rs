//! How the rows of the shop service are stored, and the SQL of its lists.

use engine::{Row, StoreError, Table, documents};
use protocol::id::Shop;
use sqlx::AnyPool;

use crate::domain::{keys::KeyRow, shops::ShopRow};

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[ShopRow::TABLE, KeyRow::TABLE];

impl Row for ShopRow {
    const TABLE: Table = Table {
        name: "shop",
        about: "A shop, by its name, as the last event about it left it.",
        columns: &[],
        indexes: &["(partition, key)"],
    };
}

impl Row for KeyRow {
    const TABLE: Table = Table {
        name: "api_key",
        about: "An API key, by its id, as the last event about it left it.",
        columns: &[],
        indexes: &[],
    };
}

/// At most `limit` API keys behind the id `after`, by their ids.
pub(crate) async fn list_keys(
    db: &AnyPool,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, KeyRow)>, StoreError> {
    let rows = sqlx::query(
        "select key, document from api_key where shop = $1 and key > $2 order by key limit $3",
    )
    .bind(Shop::installation().as_str().to_owned())
    .bind(after.to_owned())
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(documents::read::<KeyRow>).collect()
}

/// At most `limit` shops of a partition behind the name `after`, by name.
pub(crate) async fn list(
    db: &AnyPool,
    partition: u32,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, ShopRow)>, StoreError> {
    let rows = sqlx::query(
        "select key, document from shop where partition = $1 and key > $2 order by key limit $3",
    )
    .bind(i64::from(partition))
    .bind(after.to_owned())
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(documents::read::<ShopRow>).collect()
}
