//! The rows that the shop service keeps, and the SQL of its list.

use engine::{Revision, Row, StoreError, Table, documents};
use events::shop::Settings;
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::AnyPool;

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[ShopRow::TABLE];

/// A shop as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShopRow {
    /// How it works.
    pub settings: Settings,
    /// Whether it takes no requests.
    pub suspended: bool,
    /// Its version, and where its last event is.
    pub revision: Revision,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Row for ShopRow {
    const TABLE: Table = Table {
        name: "shop",
        about: "A shop, by its name, as the last event about it left it.",
        columns: &[],
        indexes: &["(partition, key)"],
    };
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
