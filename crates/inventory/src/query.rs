//! The questions that the inventory answers from its projection.
//!
//! | question | parameters | answer |
//! |---|---|---|
//! | `level` | `sku` | its stock at the main location; nothing where none was ever counted |
//! | `levels` | `after` (a SKU; none: from the first), `limit` (≤ 1,000; none: 100) | the same by SKU |
//! | `totals` | – | the units of the shop in sums, at all locations |

use engine::{Queries, QueryError, Service};
use events::id::Sku;
use protocol::id::Shop;
use serde::Deserialize;
use serde_json::Value;
use sqlx::AnyPool;

use crate::{Inventory, store};

/// The levels of a page when the question does not say how many.
const DEFAULT_PAGE: i64 = 100;
/// The most levels of a page: as JSON they stay below the largest message of a NATS server.
const MAX_PAGE: i64 = 1_000;

#[derive(Deserialize)]
struct Level {
    sku: Sku,
}

#[derive(Deserialize)]
struct Levels {
    #[serde(default)]
    after: String,
    #[serde(default = "default_page")]
    limit: i64,
}

fn default_page() -> i64 {
    DEFAULT_PAGE
}

impl Queries for Inventory {
    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        name: &str,
        parameters: Value,
    ) -> Result<Option<Value>, QueryError> {
        match name {
            "level" => {
                let Level { sku } = serde_json::from_value(parameters)?;
                let level = store::level(db, shop, sku).await?;
                Ok(level.map(serde_json::to_value).transpose()?)
            }
            "levels" => {
                let Levels { after, limit } = serde_json::from_value(parameters)?;
                let limit = limit.clamp(1, MAX_PAGE);
                let levels = store::levels(db, shop, &after, limit).await?;
                Ok(Some(serde_json::to_value(levels)?))
            }
            "totals" => Ok(Some(serde_json::to_value(store::totals(db, shop).await?)?)),
            unknown => Err(QueryError::Unknown { service: Self::NAME, name: unknown.to_owned() }),
        }
    }
}
