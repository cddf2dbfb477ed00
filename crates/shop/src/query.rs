//! The questions that the shop service answers from its projection.

use engine::{Queries, QueryError, Revision, documents};
use events::questions::first;
use protocol::id::Shop;
use sqlx::AnyPool;

use crate::{
    Shops,
    domain::{
        keys::{self, KeyRow},
        shops::ShopRow,
    },
    store,
};

/// The most shops or keys of a page.
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
    /// An API key.
    Key(String),
    /// The same, with what its secret is checked by.
    KeyCredentials(String),
    /// At most `limit` API keys behind the id `after`, by their ids.
    Keys {
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
    /// An API key.
    Key(String, KeyRow),
    /// The same, with what its secret is checked by.
    KeyCredentials(String, KeyRow),
    /// Some API keys, by their ids.
    Keys {
        /// The keys.
        keys: Vec<(String, KeyRow)>,
        /// Whether others follow.
        has_more: bool,
    },
}

impl Queries for Shops {
    async fn revision_of(
        &self,
        db: &AnyPool,
        shop: &Shop,
        kind: &str,
        id: &str,
    ) -> Result<Option<Revision>, QueryError> {
        if kind == keys::KIND {
            let row = documents::get::<KeyRow>(db, shop, id).await?;
            return Ok(row.map(|row| row.revision));
        }
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
                let shops = store::list(db, partition, &after, i64::from(limit) + 1).await?;
                let (shops, has_more) = first(shops, limit);
                Ok(Some(Found::Shops { shops, has_more }))
            }
            Question::Key(id) => {
                let row = documents::get::<KeyRow>(db, shop, &id).await?;
                Ok(row.map(|row| Found::Key(id, row)))
            }
            Question::KeyCredentials(id) => {
                let row = documents::get::<KeyRow>(db, shop, &id).await?;
                Ok(row.map(|row| Found::KeyCredentials(id, row)))
            }
            Question::Keys { after, limit } => {
                let limit = if limit == 0 { MAX_PAGE } else { limit.min(MAX_PAGE) };
                let keys = store::list_keys(db, &after, i64::from(limit) + 1).await?;
                let (keys, has_more) = first(keys, limit);
                Ok(Some(Found::Keys { keys, has_more }))
            }
        }
    }
}
