//! The questions that the catalogue answers from its projection.
//!
//! | question | parameters | answer |
//! |---|---|---|
//! | `product` | `sku` | the product, or nothing |
//! | `products` | `after` (a SKU; none: from the first), `limit` (1 to 1,000; none: 100) | products by SKU |

use engine::QueryError;
use events::id::{Shop, Sku};
use serde::Deserialize;
use serde_json::Value;
use sqlx::AnyPool;

use crate::store;

/// The products of a page when the question does not say how many.
const DEFAULT_PAGE: i64 = 100;
/// The most products of a page: as JSON they stay below the largest message of a NATS server.
const LARGEST_PAGE: i64 = 1_000;

#[derive(Deserialize)]
struct Product {
    sku: Sku,
}

#[derive(Deserialize)]
struct Products {
    #[serde(default)]
    after: String,
    #[serde(default = "default_page")]
    limit: i64,
}

fn default_page() -> i64 {
    DEFAULT_PAGE
}

/// Answers the question `name` about a shop; `None` when there is nothing of that name.
pub(crate) async fn answer(
    db: &AnyPool,
    shop: &Shop,
    name: &str,
    parameters: Value,
) -> Result<Option<Value>, QueryError> {
    match name {
        "product" => {
            let Product { sku } = serde_json::from_value(parameters)?;
            let product = store::product(db, shop, &sku).await?;
            Ok(product.map(serde_json::to_value).transpose()?)
        }
        "products" => {
            let Products { after, limit } = serde_json::from_value(parameters)?;
            let limit = limit.clamp(1, LARGEST_PAGE);
            let products = store::products(db, shop, &after, limit).await?;
            Ok(Some(serde_json::to_value(products)?))
        }
        unknown => Err(QueryError::Unknown { service: "catalog", name: unknown.to_owned() }),
    }
}
