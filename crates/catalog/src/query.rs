//! The questions that the catalogue answers from its projection.

use engine::{Queries, QueryError, Revision, documents};
use events::id::Sku;
use protocol::id::Shop;
use sqlx::AnyPool;

use crate::{Catalog, store::ProductRow};

/// The most products of a page: they stay below the largest message of a NATS server.
const MAX_PAGE: u32 = 1_000;

/// What the catalogue can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The product of a SKU.
    Product(Sku),
    /// At most `limit` products behind the SKU `after`, by SKU.
    Products {
        /// Empty: from the first.
        after: String,
        /// 1,000 at most; 0: as many as that.
        limit: u32,
    },
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A product.
    Product(ProductRow),
    /// Some products, by SKU.
    Products(Vec<ProductRow>),
}

impl Queries for Catalog {
    async fn revision_of(
        &self,
        db: &AnyPool,
        shop: &Shop,
        _kind: &str,
        id: &str,
    ) -> Result<Option<Revision>, QueryError> {
        let row = documents::get::<ProductRow>(db, shop, id).await?;
        Ok(row.map(|row| row.revision))
    }

    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        question: Question,
    ) -> Result<Option<Found>, QueryError> {
        match question {
            Question::Product(sku) => {
                Ok(documents::get::<ProductRow>(db, shop, sku).await?.map(Found::Product))
            }
            Question::Products { after, limit } => {
                let rows = documents::page(db, shop, &after, page_limit(limit)).await?;
                Ok(Some(Found::Products(rows.into_iter().map(|(_, row)| row).collect())))
            }
        }
    }
}

fn page_limit(wanted: u32) -> i64 {
    let limit = if wanted == 0 { MAX_PAGE } else { wanted.min(MAX_PAGE) };
    limit.into()
}
