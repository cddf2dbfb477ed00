//! The rows that the inventory keeps, and the SQL of its own lists.

#[cfg(test)]
mod tests;

use engine::{AnyRows, Column, Row, StoreError, Table, Timer, TimerInput, Value, documents};
use events::id::{Location, OrderId, Sku};
use protocol::id::Shop;
use serde::de::Error as _;
use sqlx::{AnyPool, Row as _};

use crate::domain::{
    Adjustments, AppliedDocument, Chunk, Counters, Input, OrderBlock, Product, Reservation, State,
    Stock, StockId,
};

/// The SKU in the key of a stock, `<sku>@<location>`: what is left without the characters of a
/// location at its end, and without the `@` before them.
macro_rules! sku_of_key {
    () => {
        "substr(key, 1, length(rtrim(key, 'abcdefghijklmnopqrstuvwxyz0123456789-')) - 1)"
    };
}

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[
    Product::TABLE,
    Stock::TABLE,
    AppliedDocument::TABLE,
    Adjustments::TABLE,
    Chunk::TABLE,
    Reservation::TABLE,
    OrderBlock::TABLE,
    Counters::TABLE,
];

/// The deadline of a hold.
pub(crate) const HOLD_DEADLINE: Timer<Input> =
    Timer { table: Reservation::TABLE.name, column: "deadline", input: hold_due };

fn hold_due(key: &str, document: &str) -> Result<TimerInput<Input>, serde_json::Error> {
    let order_id = OrderId::parse(key).map_err(serde_json::Error::custom)?;
    let Reservation { context, .. } = serde_json::from_str(document)?;
    Ok(TimerInput { kind: "timer.hold_deadline", context, input: Input::HoldDue { order_id } })
}

impl engine::State for State {
    fn tables(&mut self) -> Vec<&mut dyn AnyRows> {
        let Self {
            products,
            stocks,
            documents,
            adjustments,
            chunks,
            reservations,
            order_blocks,
            counters,
        } = self;
        vec![products, stocks, documents, adjustments, chunks, reservations, order_blocks, counters]
    }
}

impl Row for Product {
    const TABLE: Table = Table {
        name: "product",
        about: "A product that the catalogue has, sold or not: a SKU that an ERP may count.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for Stock {
    const TABLE: Table = Table {
        name: "stock",
        about: "The stock of a SKU at a location.",
        columns: &[
            Column::integer("on_hand"),
            Column::integer("held"),
            Column::integer("allocated"),
        ],
        indexes: &[concat!("(shop, ", sku_of_key!(), ")")],
    };

    fn columns(&self) -> Vec<Value> {
        vec![self.on_hand.into(), self.held.into(), self.allocated.into()]
    }
}

impl Row for AppliedDocument {
    const TABLE: Table = Table {
        name: "document",
        about: "A stock line of an ERP that had its effect.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for Adjustments {
    const TABLE: Table = Table {
        name: "adjustments",
        about: "The last adjustments of a stock by a connector, and a summary of those before.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for Chunk {
    const TABLE: Table = Table {
        name: "adjustment_chunk",
        about: "Earlier adjustments of a stock by a connector, since its last count.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for Reservation {
    const TABLE: Table = Table {
        name: "reservation",
        about: "What was done for an order.",
        columns: &[Column::integer("deadline")],
        indexes: &["(partition, deadline) where deadline is not null"],
    };

    fn columns(&self) -> Vec<Value> {
        vec![self.deadline.into()]
    }
}

impl Row for OrderBlock {
    const TABLE: Table = Table {
        name: "order_block",
        about: "The orders of a block of 1,024 that have units of a stock.",
        columns: &[],
        indexes: &[],
    };
}

impl Row for Counters {
    const TABLE: Table = Table {
        name: "counters",
        about: "What is counted for a shop.",
        columns: &[],
        indexes: &[],
    };
}

/// The units of a shop in sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    pub(crate) on_hand: i64,
    pub(crate) held: i64,
    pub(crate) allocated: i64,
    /// The SKUs that were ever counted or adjusted.
    pub(crate) skus: i64,
    /// The SKUs of which more is promised than there is, at one location or another.
    pub(crate) oversold_skus: i64,
}

/// The stock of a SKU at a location, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    pub(crate) id: StockId,
    pub(crate) on_hand: i64,
    pub(crate) held: i64,
    pub(crate) allocated: i64,
    pub(crate) available: i64,
    pub(crate) version: u64,
}

impl Level {
    fn new(id: StockId, stock: &Stock) -> Self {
        let Stock { on_hand, held, allocated, version, .. } = *stock;
        Self { id, on_hand, held, allocated, available: stock.available(), version }
    }
}

/// The stock of a SKU at the main location.
pub(crate) async fn level(
    db: &AnyPool,
    shop: &Shop,
    sku: Sku,
) -> Result<Option<Level>, StoreError> {
    let id = StockId { sku, location: Location::main() };
    let stock = documents::get::<Stock>(db, shop, &id).await?;
    Ok(stock.map(|stock| Level::new(id, &stock)))
}

/// The stock of at most `limit` SKUs larger than `after` at the main location, by SKU.
pub(crate) async fn levels(
    db: &AnyPool,
    shop: &Shop,
    after: &str,
    limit: i64,
) -> Result<Vec<Level>, StoreError> {
    const STATEMENT: &str = concat!(
        "select key, document from stock where shop = $1 and ",
        sku_of_key!(),
        " > $2 and key like $3 order by ",
        sku_of_key!(),
        " limit $4"
    );
    let rows = sqlx::query(STATEMENT)
        .bind(shop.as_str())
        .bind(after)
        .bind(format!("%@{}", Location::main()))
        .bind(limit)
        .fetch_all(db)
        .await?;
    let level = |row| {
        let (key, stock) = documents::read::<Stock>(row)?;
        let id = StockId::parse(&key).map_err(|error| StoreError::Unreadable {
            table: Stock::TABLE.name.to_owned(),
            key,
            source: serde_json::Error::custom(error),
        })?;
        Ok(Level::new(id, &stock))
    };
    rows.iter().map(level).collect()
}

/// The units of a shop in sums, at all locations.
pub(crate) async fn totals(db: &AnyPool, shop: &Shop) -> Result<Totals, StoreError> {
    const STATEMENT: &str = concat!(
        "select cast(coalesce(sum(on_hand), 0) as bigint) as on_hand,
                cast(coalesce(sum(held), 0) as bigint) as held,
                cast(coalesce(sum(allocated), 0) as bigint) as allocated,
                count(distinct ",
        sku_of_key!(),
        ") as skus,
                count(distinct case when held + allocated > on_hand then ",
        sku_of_key!(),
        " end) as oversold_skus
         from stock
         where shop = $1"
    );
    let row = sqlx::query(STATEMENT).bind(shop.as_str()).fetch_one(db).await?;
    Ok(Totals {
        on_hand: row.try_get("on_hand")?,
        held: row.try_get("held")?,
        allocated: row.try_get("allocated")?,
        skus: row.try_get("skus")?,
        oversold_skus: row.try_get("oversold_skus")?,
    })
}
