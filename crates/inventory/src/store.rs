//! All SQL of the inventory: loading and saving in bulk, what is due, and the queries.

mod load;
mod save;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use engine::{Cause, Context, Local, StoreError};
use events::{
    id::{Location, OrderId, ParseError, Shop, Sku},
    time::Timestamp,
    view::LevelView,
};
use serde::Serialize;
use sqlx::{AnyConnection, AnyPool, Row as _, any::AnyRow, migrate::Migrator};

pub(crate) use load::load;
pub(crate) use save::save;

use crate::domain::{Input, StockId};

/// The tables of the projection.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!();

/// How many orders share a block of promises: its part of the index stays in memory while they are
/// written, and a shop with a million orders has a thousand blocks to look into.
const ORDERS_A_BLOCK: u64 = 1_024;

/// The units of a shop in sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    on_hand: i64,
    held: i64,
    allocated: i64,
    /// The SKUs that were ever counted or adjusted.
    skus: i64,
    /// The SKUs of which more is promised than there is, at one location or another.
    oversold_skus: i64,
}

/// The holds of a partition that have run out at `now`, the oldest first.
pub(crate) async fn due(
    db: &mut AnyConnection,
    partition: u32,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Local<Input>>, StoreError> {
    let rows = sqlx::query(
        "select shop, order_id, correlation_id, traceparent
         from reservation
         where partition = $1 and deadline <= $2
         order by deadline
         limit $3",
    )
    .bind(i64::from(partition))
    .bind(now.millis())
    .bind(limit)
    .fetch_all(db)
    .await?;
    let local = |row: Fetched<'_>| {
        let order_id = row.parse("order_id", OrderId::parse)?;
        Ok(Local {
            shop: row.shop()?,
            aggregate: order_id.to_string(),
            cause: Cause { id: String::new(), kind: "timer.hold_deadline".to_owned() },
            context: row.context()?,
            input: Input::HoldDue { order_id },
        })
    };
    rows.iter().map(Fetched::of("reservation")).map(local).collect()
}

/// The stock of a SKU at the main location.
pub(crate) async fn level(
    db: &AnyPool,
    shop: &Shop,
    sku: &Sku,
) -> Result<Option<LevelView>, StoreError> {
    let row = sqlx::query(
        "select sku, location, on_hand, held, allocated, version
         from stock
         where shop = $1 and sku = $2 and location = $3",
    )
    .bind(shop.as_str())
    .bind(sku.as_str())
    .bind(Location::main().as_str())
    .fetch_optional(db)
    .await?;
    row.iter().map(Fetched::of("stock")).map(Fetched::level).next().transpose()
}

/// The stock of at most `limit` SKUs larger than `after` at the main location, by SKU.
pub(crate) async fn levels(
    db: &AnyPool,
    shop: &Shop,
    after: &str,
    limit: i64,
) -> Result<Vec<LevelView>, StoreError> {
    let rows = sqlx::query(
        "select sku, location, on_hand, held, allocated, version
         from stock
         where shop = $1 and sku > $2 and location = $3
         order by sku
         limit $4",
    )
    .bind(shop.as_str())
    .bind(after)
    .bind(Location::main().as_str())
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(Fetched::of("stock")).map(Fetched::level).collect()
}

/// The units of a shop in sums, at all locations.
pub(crate) async fn totals(db: &AnyPool, shop: &Shop) -> Result<Totals, StoreError> {
    let row = sqlx::query(
        "select cast(coalesce(sum(on_hand), 0) as bigint) as on_hand,
                cast(coalesce(sum(held), 0) as bigint) as held,
                cast(coalesce(sum(allocated), 0) as bigint) as allocated,
                count(distinct sku) as skus,
                count(distinct case when held + allocated > on_hand then sku end) as oversold_skus
         from stock
         where shop = $1",
    )
    .bind(shop.as_str())
    .fetch_one(db)
    .await?;
    let row = Fetched::of("stock")(&row);
    Ok(Totals {
        on_hand: row.number("on_hand")?,
        held: row.number("held")?,
        allocated: row.number("allocated")?,
        skus: row.number("skus")?,
        oversold_skus: row.number("oversold_skus")?,
    })
}

/// A row of a table, as it was fetched.
#[derive(Clone, Copy)]
struct Fetched<'a> {
    table: &'static str,
    row: &'a AnyRow,
}

impl<'a> Fetched<'a> {
    fn of(table: &'static str) -> impl Fn(&'a AnyRow) -> Self {
        move |row| Self { table, row }
    }

    fn number(self, column: &'static str) -> Result<i64, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    fn text(self, column: &'static str) -> Result<String, StoreError> {
        Ok(self.row.try_get(column)?)
    }

    fn parse<T>(
        self,
        column: &'static str,
        parse: fn(&str) -> Result<T, ParseError>,
    ) -> Result<T, StoreError> {
        let value = self.text(column)?;
        parse(&value).map_err(|_| corrupt(self.table, column, value))
    }

    fn shop(self) -> Result<Shop, StoreError> {
        self.parse("shop", Shop::parse)
    }

    fn stock_id(self) -> Result<StockId, StoreError> {
        let sku = self.parse("sku", Sku::parse)?;
        Ok(StockId { sku, location: self.parse("location", Location::parse)? })
    }

    fn context(self) -> Result<Context, StoreError> {
        let correlation_id = self.text("correlation_id")?;
        Ok(Context { correlation_id, traceparent: self.text("traceparent")? })
    }

    fn level(self) -> Result<LevelView, StoreError> {
        let StockId { sku, location } = self.stock_id()?;
        let [on_hand, held, allocated] =
            [self.number("on_hand")?, self.number("held")?, self.number("allocated")?];
        let available = (on_hand - held - allocated).max(0);
        let version = self.number("version")? as u64;
        Ok(LevelView { sku, location, on_hand, held, allocated, available, version })
    }
}

fn corrupt(table: &'static str, column: &'static str, value: String) -> StoreError {
    StoreError::Corrupt { table, column, value }
}

/// What `of` names in each shop, together.
fn named<'a, T, I: Iterator>(
    shops: &'a HashMap<Shop, T>,
    of: impl Fn(&'a Shop, &'a T) -> I,
) -> Vec<I::Item> {
    shops.iter().flat_map(|(shop, named)| of(shop, named)).collect()
}

fn stock_key<'a>(shop: &'a Shop, id: &'a StockId) -> (&'a str, &'a str, &'a str) {
    (shop.as_str(), id.sku.as_str(), id.location.as_str())
}
