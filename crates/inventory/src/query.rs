//! The questions that the inventory answers from its projection.

use ::metrics::Gauge;
use engine::{Queries, QueryError, Revision, documents};
use events::{
    id::{Connector, Location, OrderId, Sku},
    questions::first,
};
use protocol::id::Shop;
use sqlx::AnyPool;

use crate::{
    Inventory,
    domain::{
        AppliedDocument, ConnectorRow, DocumentKey, Locations, Rejection, RejectionKey,
        Reservation, Stock,
    },
    metrics::{MAX_CONNECTORS, OUT_OF_USE_MS, silence},
    store::{self, Level, RejectionFilter, Totals},
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
    /// At most `limit` movements of a SKU before a position of the log, the newest first.
    Movements {
        /// The SKU.
        sku: Sku,
        /// Only at this location; at all of them without it.
        location: Option<Location>,
        /// 0: the newest.
        before: u64,
        /// 1,000 at most; 0: as many as that.
        limit: u32,
    },
    /// At most `limit` goods issues before a position of the log, the newest first.
    GoodsIssues {
        /// Only of this order; of all without it.
        order_id: Option<OrderId>,
        /// 0: the newest.
        before: u64,
        /// 1,000 at most; 0: as many as that.
        limit: u32,
    },
    /// At most `limit` rejected lines behind one, by connector and number.
    Rejections {
        /// Which.
        filter: RejectionFilter,
        /// The connector and the number of that one; empty and 0: from the first.
        after: (String, u64),
        /// 1,000 at most; 0: as many as that.
        limit: u32,
    },
    /// A rejected line.
    Rejection(RejectionKey),
    /// At most `limit` connectors behind one, by name.
    Connectors {
        /// Its name; empty: from the first.
        after: String,
        /// 1,000 at most; 0: as many as that.
        limit: u32,
    },
    /// A connector.
    Connector(Connector),
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
    /// Movements, the newest first.
    Movements(Vec<(DocumentKey, AppliedDocument)>),
    /// Rejected lines, by connector and number.
    Rejections {
        /// The lines.
        rejections: Vec<Rejection>,
        /// Whether others follow.
        has_more: bool,
    },
    /// A rejected line.
    Rejection(Box<Rejection>),
    /// Connectors, by name.
    Connectors {
        /// The connectors.
        connectors: Vec<(String, ConnectorRow)>,
        /// Whether others follow.
        has_more: bool,
    },
    /// A connector.
    Connector(Box<(String, ConnectorRow)>),
}

impl Queries for Inventory {
    async fn count(&self, db: &AnyPool, partition: u32) -> Result<Vec<(Gauge, u64)>, QueryError> {
        let now = self.clock.now().millis();
        // For another day it is said that a connector is out of use.
        let since = now - OUT_OF_USE_MS - 24 * 3_600_000;
        let heard = store::heard(db, partition, since, MAX_CONNECTORS).await?;
        let labels = heard.iter().map(|(shop, connector, _)| (shop.clone(), connector.clone()));
        for (shop, connector) in self.measured.replace(partition, labels.collect()) {
            // Which is not shown.
            silence(partition, shop, connector).set(f64::NAN);
        }
        let gauge = |(shop, connector, heard): (String, String, i64)| {
            (silence(partition, shop, connector), silent_seconds(heard, now))
        };
        Ok(heard.into_iter().map(gauge).collect())
    }

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
            "connector" => {
                documents::get::<ConnectorRow>(db, shop, id).await?.map(|row| row.revision)
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
                let levels = store::levels(db, shop, after, page_limit(limit).into()).await?;
                Ok(Some(Found::Levels(levels)))
            }
            Question::Totals => Ok(Some(Found::Totals(store::totals(db, shop).await?))),
            Question::Movements { sku, location, before, limit } => {
                let (of, limit) = ((&sku, location.as_ref()), page_limit(limit).into());
                let rows = store::movements(db, shop, of, position(before), limit).await?;
                Ok(Some(Found::Movements(named(rows))))
            }
            Question::GoodsIssues { order_id, before, limit } => {
                let (of, limit) = (order_id.as_ref(), page_limit(limit).into());
                let rows = store::goods_issues(db, shop, of, position(before), limit).await?;
                Ok(Some(Found::Movements(named(rows))))
            }
            Question::Rejections { filter, after: (connector, number), limit } => {
                let after = (&*connector, i64::try_from(number).unwrap_or(i64::MAX));
                let limit = page_limit(limit);
                let rows = store::rejections(db, shop, &filter, after, (limit + 1).into()).await?;
                let (rejections, has_more) = first(rows, limit);
                Ok(Some(Found::Rejections { rejections, has_more }))
            }
            Question::Rejection(key) => {
                let row = store::rejection(db, shop, &key).await?;
                Ok(row.map(|row| Found::Rejection(Box::new(row))))
            }
            Question::Connectors { after, limit } => {
                let limit = page_limit(limit);
                let rows = store::connectors(db, shop, &after, (limit + 1).into()).await?;
                let (connectors, has_more) = first(rows, limit);
                Ok(Some(Found::Connectors { connectors, has_more }))
            }
            Question::Connector(connector) => {
                let row = documents::get::<ConnectorRow>(db, shop, &connector).await?;
                Ok(row.map(|row| Found::Connector(Box::new((connector.into(), row)))))
            }
            Question::Locations => Ok(Some(Found::Locations(store::locations(db, shop).await?))),
        }
    }
}

/// How long a connector has been silent that was heard last at a time; 0 when it is out of use.
fn silent_seconds(heard: i64, now: i64) -> u64 {
    let silent = Some(now.saturating_sub(heard)).filter(|it| *it < OUT_OF_USE_MS);
    (silent.unwrap_or_default().max(0) / 1_000).unsigned_abs()
}

/// The position before which a list begins.
fn position(before: u64) -> i64 {
    i64::try_from(before).ok().filter(|it| *it > 0).unwrap_or(i64::MAX)
}

fn named(rows: Vec<(String, AppliedDocument)>) -> Vec<(DocumentKey, AppliedDocument)> {
    let named =
        |(key, row): (String, AppliedDocument)| DocumentKey::parse(&key).ok().map(|key| (key, row));
    rows.into_iter().filter_map(named).collect()
}

fn page_limit(wanted: u32) -> u32 {
    if wanted == 0 { MAX_PAGE } else { wanted.min(MAX_PAGE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connector_is_silent_for_a_week_and_then_out_of_use() {
        const NOW: i64 = 2 * OUT_OF_USE_MS;
        assert_eq!(silent_seconds(NOW - 90_500, NOW), 90);
        assert_eq!(silent_seconds(NOW - OUT_OF_USE_MS + 1_000, NOW), 7 * 86_400 - 1);
        assert_eq!(silent_seconds(NOW - OUT_OF_USE_MS, NOW), 0);
        assert_eq!(silent_seconds(NOW + 5_000, NOW), 0, "the clock was set back");
    }
}
