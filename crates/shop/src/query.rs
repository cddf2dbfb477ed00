//! The questions that the shop service answers from its projection.

use engine::{Queries, QueryError, Revision, documents};
use protocol::id::Shop;
use sqlx::AnyPool;

use crate::{
    Shops,
    store::{self, ShopRow},
};

/// The most shops of a page.
const MAX_PAGE: u32 = 1_000;

/// What the service can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The shop that the question is about.
    Shop,
    /// At most `limit` shops of a partition behind the shop `after`, by name.
    Shops {
        /// The partition.
        partition: u32,
        /// Empty: from the first.
        after: String,
        /// 1,000 at most; 0: as many as that.
        limit: u32,
    },
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A shop.
    Shop(String, ShopRow),
    /// Some shops, by name.
    Shops {
        /// The shops.
        shops: Vec<(String, ShopRow)>,
        /// Whether others follow.
        has_more: bool,
    },
}

impl Queries for Shops {
    async fn revision_of(
        &self,
        db: &AnyPool,
        shop: &Shop,
        _kind: &str,
        id: &str,
    ) -> Result<Option<Revision>, QueryError> {
        let row = documents::get::<ShopRow>(db, shop, id).await?;
        Ok(row.map(|row| row.revision))
    }

    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        question: Question,
    ) -> Result<Option<Found>, QueryError> {
        match question {
            Question::Shop => {
                let row = documents::get::<ShopRow>(db, shop, shop).await?;
                Ok(row.map(|row| Found::Shop(shop.to_string(), row)))
            }
            Question::Shops { partition, after, limit } => {
                let limit = if limit == 0 { MAX_PAGE } else { limit.min(MAX_PAGE) };
                let mut shops = store::list(db, partition, &after, i64::from(limit) + 1).await?;
                let has_more = shops.len() > limit as usize;
                shops.truncate(limit as usize);
                Ok(Some(Found::Shops { shops, has_more }))
            }
        }
    }
}
