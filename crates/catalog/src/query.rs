//! The questions that the catalogue answers from its projection.
//!
//! | question | parameters | answer |
//! |---|---|---|
//! | `product` | `sku` | the product, or nothing |
//! | `products` | `after` (a SKU; none: from the first), `limit` (1 to 1,000; none: 100) | products by SKU |

use engine::{Queries, QueryError, Service, documents};
use events::id::Sku;
use protocol::id::Shop;
use serde::Deserialize;
use serde_json::Value;
use sqlx::AnyPool;

use crate::{Catalog, store::ProductRow};

/// The products of a page when the question does not say how many.
const DEFAULT_PAGE: i64 = 100;
/// The most products of a page: as JSON they stay below the largest message of a NATS server.
const MAX_PAGE: i64 = 1_000;

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
    limit: Option<i64>,
}

impl Queries for Catalog {
    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        name: &str,
        parameters: Value,
    ) -> Result<Option<Value>, QueryError> {
        match name {
            "product" => {
                let sku: Sku = serde_json::from_value(parameters["sku"].clone())?;
                let row = documents::get::<ProductRow>(db, shop, sku).await?;
                Ok(row.map(serde_json::to_value).transpose()?)
            }
            "products" => {
                let Page { after, limit } = serde_json::from_value(parameters)?;
                let (after, limit) = (after.unwrap_or_default(), limit.unwrap_or(DEFAULT_PAGE));
                let rows = documents::page(db, shop, &after, limit.clamp(1, MAX_PAGE)).await?;
                let rows: Vec<ProductRow> = rows.into_iter().map(|(_, row)| row).collect();
                Ok(Some(serde_json::to_value(rows)?))
            }
            _ => Err(QueryError::Unknown { service: Catalog::NAME, name: name.to_owned() }),
        }
    }
}
