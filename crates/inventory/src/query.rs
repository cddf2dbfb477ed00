//! The questions that the inventory answers from its projection.

use engine::{Queries, QueryError};
use events::id::Sku;
use protocol::id::Shop;
use sqlx::AnyPool;

use crate::{
    Inventory,
    store::{self, Level, Totals},
};

/// The most levels of a page: they stay below the largest message of a NATS server.
const MAX_PAGE: u32 = 1_000;

/// What the inventory can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The stock of a SKU at the main location; nothing where none was ever counted.
    Level(Sku),
    /// The same for at most `limit` SKUs behind `after`, by SKU.
    Levels {
        /// Empty: from the first.
        after: String,
        /// 1,000 at most; 0: as many as that.
        limit: u32,
    },
    /// The units of the shop in sums, at all locations.
    Totals,
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The stock of a SKU.
    Level(Level),
    /// That of some SKUs, by SKU.
    Levels(Vec<Level>),
    /// The sums.
    Totals(Totals),
}

impl Queries for Inventory {
    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        question: Question,
    ) -> Result<Option<Found>, QueryError> {
        match question {
            Question::Level(sku) => Ok(store::level(db, shop, sku).await?.map(Found::Level)),
            Question::Levels { after, limit } => {
                let levels = store::levels(db, shop, &after, page_limit(limit)).await?;
                Ok(Some(Found::Levels(levels)))
            }
            Question::Totals => Ok(Some(Found::Totals(store::totals(db, shop).await?))),
        }
    }
}

fn page_limit(wanted: u32) -> i64 {
    let limit = if wanted == 0 { MAX_PAGE } else { wanted.min(MAX_PAGE) };
    limit.into()
}
