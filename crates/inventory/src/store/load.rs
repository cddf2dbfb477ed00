//! Loading in bulk.
//!
//! It goes by what is known so far: reservations name the stocks of their lines, stocks tell which
//! counts come late and which stocks may fall short, and only for those it asks for more.

use std::collections::{BTreeSet, HashMap, HashSet};

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
    for (shop, _) in keys {
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

/// Fetches the newest orders that have units of a stock which may fall short.
async fn load_orders(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let (mut named, mut blocks) = (Vec::new(), Vec::new());
    for (shop, state) in &*states {
        let ids = keys.get(shop).map_or_else(Vec::new, |keys| keys.perhaps_short(state));
        if !ids.is_empty() {
            blocks.extend((0..state.orders_held.div_ceil(ORDERS_A_BLOCK)).map(|b| (shop, b)));
        }
        named.extend(ids.into_iter().map(|id| stock_key(shop, id)));
    }
    let (Some(named), Some(blocks)) = (json(&named)?, json(&blocks)?) else { return Ok(()) };
    let rows = sqlx::query(
        "select shop, sku, location, string_agg(order_id, ' ') as orders
         from (select promise.shop, sku, location, promise.order_id,
                      row_number() over (partition by promise.shop, sku, location
                                         order by promise.order_id desc) as newness
               from json_each($1) as short
               cross join json_each($2) as block
               cross join promise
               cross join reservation
               where block.value->>0 = short.value->>0
                     and promise.shop = short.value->>0
                     and promise.block = cast(block.value->>1 as bigint)
                     and sku = short.value->>1 and location = short.value->>2
                     and reservation.shop = promise.shop
                     and reservation.order_id = promise.order_id
                     and status in ('held', 'allocated')) as promised
         where newness <= $3
         group by shop, sku, location",
    )
    .bind(named)
    .bind(blocks)
    .bind(MOST_SHORT_ORDERS as i64)
    .fetch_all(db)
    .await?;
    for row in rows.iter().map(Fetched::of("promise")) {
        let orders = row.text("orders")?;
        let orders = orders.split(' ').map(OrderId::parse).collect::<Result<BTreeSet<_>, _>>();
        let orders = orders.map_err(|error| row.corrupt("order_id", error.value))?;
        row.state(states)?.watched.entry(row.stock_id()?).or_default().orders = orders;
    }
    Ok(())
}
