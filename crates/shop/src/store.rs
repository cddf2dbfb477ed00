//! The rows that the shop service keeps, and the SQL of its lists.

use engine::{AnyRows, Revision, Row, Rows, State, StoreError, Table, documents};
use events::shop::Settings;
use protocol::{id::Shop, time::Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::AnyPool;

use crate::domain::keys::{Digest, KeyId, KeySettings};

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[ShopRow::TABLE, KeyRow::TABLE];

/// The rows of one shop: itself; or for that of the installation, its API keys.
#[derive(Debug, Default)]
pub struct Tables {
    /// The shop.
    pub shops: Rows<Shop, ShopRow>,
    /// The API keys.
    pub keys: Rows<KeyId, KeyRow>,
}

impl State for Tables {
    fn tables(&mut self) -> Vec<&mut dyn AnyRows> {
        vec![&mut self.shops, &mut self.keys]
    }
}

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

/// An API key as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// What it is for, and what it allows.
    pub settings: KeySettings,
    /// Of its secret.
    pub digest: Digest,
    /// Of the secret before, if there was one.
    pub old: Option<OldDigest>,
    /// Whether it is refused for good, and why.
    pub revoked: Option<Revocation>,
    /// When it was used last, to the hour.
    pub last_used_at: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it got the secret that it has.
    pub rotated_at: Timestamp,
    /// Its version, and where its last event is.
    pub revision: Revision,
}

/// The secret before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldDigest {
    /// Of that secret.
    pub digest: Digest,
    /// Until when it is accepted.
    pub valid_until: Timestamp,
}

/// That a key is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Since when.
    pub at: Timestamp,
    /// Why, for people.
    pub reason: String,
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
