//! Loading in bulk.
//!
//! It goes by what is known so far: reservations name the stocks of their lines, stocks tell which
//! counts come late and which stocks may fall short, and only for those it asks for more.

use std::collections::{HashMap, HashSet};

use engine::StoreError;
use events::{
    id::{Connector, DocumentId, OrderId, Shop, Sku},
    time::Timestamp,
};
use sqlx::{AnyConnection, Row as _};

use super::{Fetched, ORDERS_A_BLOCK, json, named, stock_key};
use crate::domain::{
    DocumentKey, Keys, MOST_SHORT_ORDERS, Product, Remembered, Reservation, State, Status, Stock,
    StockId, Units,
};

/// How many blocks of promises are looked into at once, for each stock.
const BLOCKS_AT_ONCE: u64 = 8;

/// Fetches the named rows of each shop.
pub(crate) async fn load(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
) -> Result<HashMap<Shop, State>, StoreError> {
    let mut states: HashMap<Shop, State> =
        keys.keys().map(|shop| (shop.clone(), State::default())).collect();
    load_shops(db, &mut states).await?;
    load_documents(db, keys, &mut states).await?;
    load_reservations(db, keys, &mut states).await?;
    load_stocks(db, keys, &mut states).await?;
    load_products(db, keys, &mut states).await?;
    for (shop, keys) in keys {
        if let Some(state) = states.get_mut(shop) {
            keys.watch(state);
        }
    }
    load_newer(db, keys, &mut states).await?;
    load_orders(db, keys, &mut states).await?;
    Ok(states)
}

async fn load_shops(
    db: &mut AnyConnection,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let named: Vec<_> = states.keys().map(|shop| [shop.as_str()]).collect();
    let Some(named) = json(&named)? else { return Ok(()) };
    let rows = sqlx::query(
        "select shop.shop, orders_held
         from json_each($1) join shop
         on shop.shop = value->>0",
    )
    .bind(named)
    .fetch_all(db)
    .await?;
    for row in rows.iter().map(Fetched::of("shop")) {
        row.state(states)?.orders_held = row.number("orders_held")? as u64;
    }
    Ok(())
}

async fn load_documents(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let named = named(keys, |shop, keys| {
        let documents = keys.documents.iter();
        documents.map(move |key| (shop.as_str(), key.connector.as_str(), key.id.as_str()))
    });
    let Some(named) = json(&named)? else { return Ok(()) };
    let rows = sqlx::query(
        "select document.shop, connector, document.id, sku, location, sequence, counted, delta
         from json_each($1) join document
         on document.shop = value->>0 and connector = value->>1 and document.id = value->>2",
    )
    .bind(named)
    .fetch_all(db)
    .await?;
    for row in rows.iter().map(Fetched::of("document")) {
        let key = DocumentKey {
            connector: row.parse("connector", Connector::parse)?,
            id: row.parse("id", DocumentId::parse)?,
        };
        let units = match (row.optional("counted")?, row.optional("delta")?) {
            (Some(counted), None) => Units::Counted(counted),
            (None, Some(delta)) => Units::Added(delta),
            both => return Err(row.corrupt("delta", format!("{both:?}"))),
        };
        let (stock, sequence) = (row.stock_id()?, row.number("sequence")?);
        row.state(states)?.documents.loaded(key, Remembered { stock, sequence, units });
    }
    Ok(())
}

async fn load_reservations(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let named = named(keys, |shop, keys| {
        keys.reservations.iter().map(move |order_id| (shop.as_str(), order_id))
    });
    let Some(named) = json(&named)? else { return Ok(()) };
    let rows = sqlx::query(
        "select reservation.shop, order_id, status, version, lines, deadline, correlation_id,
                traceparent
         from json_each($1) join reservation
         on reservation.shop = value->>0 and order_id = value->>1",
    )
    .bind(named)
    .fetch_all(db)
    .await?;
    for row in rows.iter().map(Fetched::of("reservation")) {
        let known = row.text("status")?;
        let reservation = Reservation {
            status: Status::parse(&known).ok_or_else(|| row.corrupt("status", known))?,
            version: row.number("version")? as u64,
            lines: row.lines()?,
            deadline: row.optional("deadline")?.map(Timestamp::from_millis),
            context: row.context()?,
        };
        let order_id = row.parse("order_id", OrderId::parse)?;
        row.state(states)?.reservations.loaded(order_id, reservation);
    }
    Ok(())
}

/// Fetches stocks as one text: there are thousands of them in a batch of orders, and as rows they
/// would cost more on their way from the database than in it.
async fn load_stocks(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut named: HashSet<(&Shop, &StockId)> = HashSet::new();
    for (shop, keys) in keys {
        named.extend(keys.stocks.keys().map(|id| (shop, id)));
    }
    for shop in keys.keys() {
        let reservations = states.get(shop).into_iter().flat_map(|s| s.reservations.iter());
        named.extend(reservations.flat_map(|(_, row)| row.lines.iter().map(|l| (shop, &l.stock))));
    }
    let named: Vec<_> = named.into_iter().map(|(shop, id)| (shop, id.clone())).collect();
    let numbered = named.iter().enumerate().map(|(number, (shop, id))| {
        let (shop, sku, location) = stock_key(shop, id);
        (number, shop, sku, location)
    });
    let Some(numbered) = json(&numbered.collect::<Vec<_>>())? else { return Ok(()) };
    let row = sqlx::query(
        "select string_agg(
             value->>0 || ' ' || on_hand || ' ' || held || ' ' || allocated || ' ' || version
                 || ' ' || connectors, '\n') as stocks
         from json_each($1) join stock
         on stock.shop = value->>1 and sku = value->>2 and location = value->>3",
    )
    .bind(numbered)
    .fetch_one(db)
    .await?;
    let stocks: Option<String> = row.try_get("stocks")?;
    for line in stocks.iter().flat_map(|stocks| stocks.lines()) {
        let (number, stock) = stock_of(line).ok_or_else(|| StoreError::Corrupt {
            table: "stock",
            column: "connectors",
            value: line.to_owned(),
        })?;
        if let Some((shop, id)) = named.get(number) {
            states.entry((*shop).clone()).or_default().stocks.loaded(id.clone(), stock);
        }
    }
    Ok(())
}

/// Takes the number and the columns of a stock as `load_stocks` fetches them.
fn stock_of(line: &str) -> Option<(usize, Stock)> {
    let mut columns = line.splitn(6, ' ');
    let mut number = || columns.next()?.parse::<i64>().ok();
    let (of, on_hand, held, allocated) = (number()?, number()?, number()?, number()?);
    let version = number()? as u64;
    let connectors = serde_json::from_str(columns.next()?).ok()?;
    Some((of as usize, Stock { on_hand, held, allocated, version, connectors }))
}

async fn load_products(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut named = Vec::new();
    for (shop, state) in &*states {
        let skus = keys.get(shop).into_iter().flat_map(|keys| keys.products_without_stock(state));
        named.extend(skus.map(|sku| (shop.as_str(), sku.as_str())));
    }
    let Some(named) = json(&named)? else { return Ok(()) };
    let rows = sqlx::query(
        "select product.shop, product.sku
         from json_each($1) join product
         on product.shop = value->>0 and product.sku = value->>1",
    )
    .bind(named)
    .fetch_all(db)
    .await?;
    for row in rows.iter().map(Fetched::of("product")) {
        row.state(states)?.products.loaded(row.parse("sku", Sku::parse)?, Product);
    }
    Ok(())
}

/// Sums the adjustments that are newer than a count which comes late.
async fn load_newer(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut late = Vec::new();
    for (shop, keys) in keys {
        for (id, count) in states.get(shop).map_or_else(Vec::new, |state| keys.late_counts(state)) {
            let (shop, sku, location) = stock_key(shop, id);
            late.push((shop, sku, location, count.connector.as_str(), count.sequence));
        }
    }
    late.sort_unstable();
    late.dedup();
    let Some(late) = json(&late)? else { return Ok(()) };
    // One pass over what is newer than the oldest of them, however many counts come late; all that
    // matters is put into one order, and each count takes the sum of what lies before it.
    let rows = sqlx::query(
        "with late as materialized (
             select value->>0 as shop, value->>1 as sku, value->>2 as location,
                    value->>3 as connector, cast(value->>4 as bigint) as counted
             from json_each($1)),
         since as materialized (
             select shop, connector, min(counted) as counted from late group by shop, connector),
         line as (
             select shop, sku, location, connector, counted as sequence, null as delta from late
             union all
             select document.shop, sku, location, document.connector, sequence, delta
             from since cross join document
             where document.shop = since.shop and document.connector = since.connector
                   and sequence > since.counted and delta is not null),
         summed as (
             select shop, sku, location, connector, sequence, delta,
                    sum(delta) over (partition by shop, sku, location, connector
                                     order by sequence desc
                                     range between unbounded preceding and 1 preceding) as newer
             from line)
         select shop, sku, location, connector, sequence, cast(newer as bigint) as newer
         from summed
         where delta is null and newer is not null",
    )
    .bind(late)
    .fetch_all(db)
    .await?;
    for row in rows.iter().map(Fetched::of("document")) {
        let count = (row.parse("connector", Connector::parse)?, row.number("sequence")?);
        let watched = row.state(states)?.watched.entry(row.stock_id()?).or_default();
        watched.newer.insert(count, row.number("newer")?);
    }
    Ok(())
}

/// Fetches the orders that have units of a stock which may fall short: block by block, the newest
/// first, until there are as many as are ever named.
async fn load_orders(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut short = Vec::new();
    for (shop, keys) in keys {
        if let Some(state) = states.get(shop) {
            let blocks = state.orders_held.div_ceil(ORDERS_A_BLOCK);
            short.extend(keys.perhaps_short(state).into_iter().map(|id| (shop, id, blocks)));
        }
    }
    loop {
        let mut asked = Vec::new();
        for (number, (shop, id, blocks)) in short.iter().enumerate() {
            let newest = blocks.saturating_sub(BLOCKS_AT_ONCE)..*blocks;
            let (shop, sku, location) = stock_key(shop, id);
            asked.extend(newest.map(|block| (number, shop, block, sku, location)));
        }
        let Some(asked) = json(&asked)? else { return Ok(()) };
        for (number, orders) in orders_of(db, asked).await? {
            if let Some((shop, id, _)) = short.get(number) {
                let state = states.entry((*shop).clone()).or_default();
                state.watched.entry((*id).clone()).or_default().orders.extend(orders);
            }
        }
        for (shop, id, blocks) in &mut short {
            let watched = states.get(*shop).and_then(|state| state.watched.get(*id));
            let enough = watched.is_some_and(|watched| watched.orders.len() >= MOST_SHORT_ORDERS);
            *blocks = if enough { 0 } else { blocks.saturating_sub(BLOCKS_AT_ONCE) };
        }
    }
}

/// The orders that have units of a stock, for each block of promises that is asked for.
async fn orders_of(
    db: &mut AnyConnection,
    asked: String,
) -> Result<Vec<(usize, Vec<OrderId>)>, StoreError> {
    let rows = sqlx::query(
        "select cast(asked.value->>0 as bigint) as number,
                (select string_agg(promise.order_id, ' ')
                 from promise join reservation on reservation.shop = promise.shop
                      and reservation.order_id = promise.order_id
                 where promise.shop = asked.value->>1
                       and promise.block = cast(asked.value->>2 as bigint)
                       and sku = asked.value->>3 and location = asked.value->>4
                       and status in ('held', 'allocated')) as orders
         from json_each($1) as asked",
    )
    .bind(asked)
    .fetch_all(db)
    .await?;
    let mut found = Vec::new();
    for row in rows.iter().map(Fetched::of("promise")) {
        let Some(orders) = row.row.try_get::<Option<String>, _>("orders")? else { continue };
        let orders = orders.split(' ').map(OrderId::parse).collect::<Result<_, _>>();
        let orders = orders.map_err(|error| row.corrupt("order_id", error.value))?;
        found.push((row.number("number")? as usize, orders));
    }
    Ok(found)
}
