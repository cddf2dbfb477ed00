//! The SQL of the lists of the inventory.

use engine::{Row as _, StoreError, documents};
use events::id::{Connector, Location, OrderId, Sku};
use protocol::id::Shop;
use serde::de::Error as _;
use sqlx::{AnyPool, Row as _, any::AnyRow};

use crate::domain::{
    AppliedDocument, ConnectorRow, Limits, Locations, LocationsKey, Rejection, RejectionKey, Stock,
    StockId,
};

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
    pub(crate) limits: Limits,
    /// Whether orders are served from the location.
    pub(crate) serves_orders: bool,
    /// The units on their way to the location.
    pub(crate) incoming: i64,
}

impl Level {
    fn new(id: StockId, stock: &Stock, locations: &Locations) -> Self {
        let Stock { on_hand, held, allocated, revision, limits, incoming, .. } = *stock;
        let location = locations.all().remove(&id.location);
        let serves_orders = location.is_some_and(|row| row.details.serves_orders());
        let available = stock.available();
        let version = revision.version;
        Self { id, on_hand, held, allocated, available, version, limits, serves_orders, incoming }
    }
}

/// The locations of a shop.
pub(crate) async fn locations(db: &AnyPool, shop: &Shop) -> Result<Locations, StoreError> {
    let locations = documents::get::<Locations>(db, shop, &LocationsKey).await?;
    Ok(locations.unwrap_or_default())
}

/// The stock of a SKU at all locations, by location.
pub(crate) async fn levels_of(
    db: &AnyPool,
    shop: &Shop,
    sku: &Sku,
) -> Result<Vec<Level>, StoreError> {
    const STATEMENT: &str = concat!(
        "select key, document from stock where shop = $1 and ",
        sku_of_key!(),
        " = $2 order by ",
        location_of_key!(),
    );
    let query = sqlx::query(STATEMENT).bind(shop.as_str()).bind(sku.as_str());
    read_levels(&query.fetch_all(db).await?, &locations(db, shop).await?)
}

/// The stock of at most `limit` SKUs and locations behind a SKU and one of its locations, by SKU and
/// location. Without a location the list begins with the next SKU.
pub(crate) async fn levels(
    db: &AnyPool,
    shop: &Shop,
    (after, location): (&str, &str),
    limit: i64,
) -> Result<Vec<Level>, StoreError> {
    const STATEMENT: &str = concat!(
        "select key, document from stock where shop = $1 and (",
        sku_of_key!(),
        " > $2 or (",
        sku_of_key!(),
        " = $2 and $3 <> '' and ",
        location_of_key!(),
        " > $3)) order by ",
        sku_of_key!(),
        ", ",
        location_of_key!(),
        " limit $4"
    );
    let query = sqlx::query(STATEMENT).bind(shop.as_str()).bind(after).bind(location).bind(limit);
    read_levels(&query.fetch_all(db).await?, &locations(db, shop).await?)
}

/// At most `limit` movements of a SKU before a position of the log, the newest first, at a location or at
/// all of them: each with its name. Of each location no more than `limit` are looked at.
pub(crate) async fn movements(
    db: &AnyPool,
    shop: &Shop,
    (sku, location): (&Sku, Option<&Location>),
    before: i64,
    limit: i64,
) -> Result<Vec<(String, AppliedDocument)>, StoreError> {
    const STATEMENT: &str = concat!(
        "select key, document
         from (select shop as of_shop, key as of_stock from stock
               where shop = $1 and ",
        sku_of_key!(),
        " = $2 and ($3 = '' or ",
        location_of_key!(),
        " = $3)) looked_at
         join document on shop = of_shop and stock = of_stock
         where stock_position < $4 and stock_position >= coalesce(
             (select earlier.stock_position from document earlier
              where earlier.shop = of_shop and earlier.stock = of_stock
                and earlier.stock_position < $4
              order by earlier.stock_position desc limit 1 offset $5), 0)
         order by stock_position desc limit $6"
    );
    let location = location.map_or("", Location::as_str);
    let query = sqlx::query(STATEMENT).bind(shop.as_str()).bind(sku.as_str()).bind(location);
    let rows = query.bind(before).bind(limit - 1).bind(limit).fetch_all(db).await?;
    rows.iter().map(documents::read::<AppliedDocument>).collect()
}

/// At most `limit` goods issues before a position of the log, the newest first, of an order or of all: each with
/// its name.
pub(crate) async fn goods_issues(
    db: &AnyPool,
    shop: &Shop,
    order_id: Option<&OrderId>,
    before: i64,
    limit: i64,
) -> Result<Vec<(String, AppliedDocument)>, StoreError> {
    const OF_ALL: &str = "select key, document from document
         where shop = $1 and order_id is not null and stock_position < $2
         order by stock_position desc limit $3";
    const OF_ORDER: &str = "select key, document from document
         where shop = $1 and order_id = $4 and stock_position < $2
         order by stock_position desc limit $3";
    let statement = if order_id.is_some() { OF_ORDER } else { OF_ALL };
    let query = sqlx::query(statement).bind(shop.as_str()).bind(before).bind(limit);
    let query = match order_id {
        Some(order_id) => query.bind(order_id.to_string()),
        None => query,
    };
    query.fetch_all(db).await?.iter().map(documents::read::<AppliedDocument>).collect()
}

fn read_levels(rows: &[AnyRow], locations: &Locations) -> Result<Vec<Level>, StoreError> {
    let level = |row| {
        let (key, stock) = documents::read::<Stock>(row)?;
        let id = StockId::parse(&key).map_err(|error| StoreError::Unreadable {
            table: Stock::TABLE.name.to_owned(),
            key,
            source: serde_json::Error::custom(error),
        })?;
        Ok(Level::new(id, &stock, locations))
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
                count(distinct case when held + allocated > on_hand + backorder_limit then ",
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

/// Which rejections are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectionFilter {
    /// Of this connector; empty: of all.
    pub(crate) connector: String,
    /// Of this document; empty: of all.
    pub(crate) document: String,
    /// Of this SKU; empty: of all.
    pub(crate) sku: String,
    /// For this reason; empty: for any.
    pub(crate) reason: String,
}

/// At most `limit` rejections behind one, by connector and number.
pub(crate) async fn rejections(
    db: &AnyPool,
    shop: &Shop,
    filter: &RejectionFilter,
    (connector, number): (&str, i64),
    limit: i64,
) -> Result<Vec<Rejection>, StoreError> {
    const STATEMENT: &str = "select key, document from rejection
         where shop = $1
           and (connector > $2 or (connector = $2 and number > $3))
           and ($4 = '' or connector = $4)
           and ($5 = '' or document_id = $5)
           and ($6 = '' or sku = $6)
           and ($7 = '' or reason = $7)
         order by connector, number
         limit $8";
    let query = sqlx::query(STATEMENT).bind(shop.as_str()).bind(connector).bind(number);
    let query = query.bind(&*filter.connector).bind(&*filter.document).bind(&*filter.sku);
    let rows = query.bind(&*filter.reason).bind(limit).fetch_all(db).await?;
    let read = |row| Ok(documents::read::<Rejection>(row)?.1);
    rows.iter().map(read).collect()
}

/// The rejection of that name.
pub(crate) async fn rejection(
    db: &AnyPool,
    shop: &Shop,
    key: &RejectionKey,
) -> Result<Option<Rejection>, StoreError> {
    documents::get::<Rejection>(db, shop, key).await
}

/// At most `limit` connectors behind one, by name.
pub(crate) async fn connectors(
    db: &AnyPool,
    shop: &Shop,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, ConnectorRow)>, StoreError> {
    const STATEMENT: &str = "select key, document from connector
         where shop = $1 and key > $2 order by key limit $3";
    let query = sqlx::query(STATEMENT).bind(shop.as_str()).bind(after).bind(limit);
    query.fetch_all(db).await?.iter().map(documents::read::<ConnectorRow>).collect()
}

/// When each connector of a partition was heard last, in milliseconds: at most `limit` of those that were
/// heard since a time. The shops take turns, each with the one that is silent the longest first: one that has many
/// connectors takes no place of another. The one of lines that name none is not among them.
pub(crate) async fn heard(
    db: &AnyPool,
    partition: u32,
    since: i64,
    limit: i64,
) -> Result<Vec<(String, String, i64)>, StoreError> {
    const STATEMENT: &str = "select shop, key, heard
         from (select shop, key, heard,
                      row_number() over (partition by shop order by heard, key) as turn
               from connector
               where partition = $1 and heard >= $2 and key <> $4) of_shops
         order by turn, heard, shop limit $3";
    let query = sqlx::query(STATEMENT).bind(i64::from(partition)).bind(since).bind(limit);
    let query = query.bind(Connector::unnamed().to_string());
    let rows = query.fetch_all(db).await?;
    let read =
        |row: &AnyRow| Ok((row.try_get("shop")?, row.try_get("key")?, row.try_get("heard")?));
    rows.iter().map(read).collect()
}
