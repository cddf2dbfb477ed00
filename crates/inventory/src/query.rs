//! The questions that the inventory answers from its projection.

use engine::{Queries, QueryError, Revision, documents};
use events::id::{Location, Sku};
use protocol::id::Shop;
use sqlx::AnyPool;

use crate::{
    Inventory,
    domain::{AppliedDocument, DocumentKey, Locations, Reservation, Stock, StockId},
    store::{self, Level, Totals},
};

/// The most levels of a page: they stay below the largest message of a NATS server.
const MAX_PAGE: u32 = 1_000;

/// What the inventory can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The stock of a SKU at all locations; nothing where there never was any.
    LevelsOf(Sku),
    /// The stock of at most `limit` SKUs and locations behind `after`, by SKU and location.
    Levels {
        /// The SKU; empty: from the first.
        after: String,
        /// A location of that SKU; empty: from the next SKU.
        after_location: String,
        /// 1,000 at most; 0: as many as that.
        limit: u32,
    },
    /// The units of the shop in sums, at all locations.
    Totals,
    /// The locations.
    Locations,
    /// At most `limit` movements of a stock before a version of it, the newest first.
    Movements {
        /// The stock.
        stock: StockId,
        /// 0: the newest.
        before: u64,
        /// 1,000 at most; 0: as many as that.
        limit: u32,
    },
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The stock of some SKUs, by SKU and location.
    Levels(Vec<Level>),
    /// The sums.
    Totals(Totals),
    /// The locations.
    Locations(Locations),
    /// The movements of a stock, the newest first.
    Movements(Vec<(DocumentKey, AppliedDocument)>),
}

impl Queries for Inventory {
    async fn revision_of(
        &self,
        db: &AnyPool,
        shop: &Shop,
        kind: &str,
        id: &str,
    ) -> Result<Option<Revision>, QueryError> {
        Ok(match kind {
            "stock" => documents::get::<Stock>(db, shop, id).await?.map(|row| row.revision),
            "reservation" => {
                documents::get::<Reservation>(db, shop, id).await?.map(|row| row.revision)
            }
            "location" => {
                let Locations(rows) = store::locations(db, shop).await?;
                let code = Location::parse(id).ok();
                code.and_then(|code| rows.get(&code).map(|row| row.revision))
            }
            _ => None,
        })
    }

    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        question: Question,
    ) -> Result<Option<Found>, QueryError> {
        match question {
            Question::LevelsOf(sku) => {
                let levels = store::levels_of(db, shop, &sku).await?;
                Ok((!levels.is_empty()).then_some(Found::Levels(levels)))
            }
            Question::Levels { after, after_location, limit } => {
                let after = (&*after, &*after_location);
                let levels = store::levels(db, shop, after, page_limit(limit)).await?;
                Ok(Some(Found::Levels(levels)))
            }
            Question::Totals => Ok(Some(Found::Totals(store::totals(db, shop).await?))),
            Question::Movements { stock, before, limit } => {
                let before = i64::try_from(before).ok().filter(|it| *it > 0).unwrap_or(i64::MAX);
                let rows = store::movements(db, shop, &stock, before, page_limit(limit)).await?;
                let named = |(key, row): (String, AppliedDocument)| {
                    DocumentKey::parse(&key).ok().map(|key| (key, row))
                };
                Ok(Some(Found::Movements(rows.into_iter().filter_map(named).collect())))
            }
            Question::Locations => Ok(Some(Found::Locations(store::locations(db, shop).await?))),
        }
    }
}

fn page_limit(wanted: u32) -> i64 {
    let limit = if wanted == 0 { MAX_PAGE } else { wanted.min(MAX_PAGE) };
    limit.into()
}
