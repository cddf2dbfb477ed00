//! Loading in bulk.
//!
//! It goes by what is known so far: reservations name the stocks of their lines, stocks tell which
//! counts come late and which stocks may fall short, and only for those it asks for more.

use std::collections::{BTreeMap, HashMap, HashSet};

use engine::{Context, StoreError, sql};
use events::{
    id::{Connector, DocumentId, Location, OrderId, Shop, Sku},
    time::Timestamp,
};
use serde::Serialize;
use sqlx::AnyConnection;

use super::{ORDERS_A_BLOCK, corrupt, named, stock_key};
use crate::domain::{
    DocumentKey, Keys, Line, MOST_SHORT_ORDERS, Product, Remembered, Reservation, Sequences, State,
    Status, Stock, StockId, Units,
};

/// How many blocks of promises are looked into at once, for each stock.
const BLOCKS_AT_ONCE: u64 = 8;

/// A line as it is saved: SKU, location, units.
type SavedLine = (Sku, Location, i64);

impl From<SavedLine> for Line {
    fn from((sku, location, units): SavedLine) -> Self {
        Self { stock: StockId { sku, location }, units }
    }
}

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
    let statement = "select string_agg(concat_ws(',', json_quote(shop.shop), orders_held), '],[')
         from jsonb_each($1) join shop
         on shop.shop = value->>0";
    let rows: Vec<(Shop, u64)> = sql::fetch(db, statement, &named).await?;
    for (shop, orders_held) in rows {
        states.entry(shop).or_default().orders_held = orders_held;
    }
    Ok(())
}

async fn load_documents(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    type Row = ((Shop, Connector, DocumentId), (Sku, Location, i64, Option<i64>, Option<i64>));
    let named = named(keys, |shop, keys| {
        let documents = keys.documents.iter();
        documents.map(move |key| (shop.as_str(), key.connector.as_str(), key.id.as_str()))
    });
    let statement = "select string_agg('[' || concat_ws(',', json_quote(document.shop),
                    json_quote(connector), json_quote(document.id))
                || '],[' || concat_ws(',', json_quote(sku), json_quote(location), sequence,
                    json_quote(counted), json_quote(delta))
                || ']', '],[')
         from jsonb_each($1) join document
         on document.shop = value->>0 and connector = value->>1 and document.id = value->>2";
    let rows: Vec<Row> = sql::fetch(db, statement, &named).await?;
    for ((shop, connector, id), (sku, location, sequence, counted, delta)) in rows {
        let units = match (counted, delta) {
            (Some(counted), None) => Units::Counted(counted),
            (None, Some(delta)) => Units::Added(delta),
            both => return Err(corrupt("document", "delta", format!("{both:?}"))),
        };
        let remembered = Remembered { stock: StockId { sku, location }, sequence, units };
        let key = DocumentKey { connector, id };
        states.entry(shop).or_default().documents.loaded(key, remembered);
    }
    Ok(())
}

async fn load_reservations(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    type Row = (Shop, OrderId, String, u64, Vec<SavedLine>, Option<i64>, String, String);
    let named = named(keys, |shop, keys| {
        keys.reservations.iter().map(move |order_id| (shop.as_str(), order_id))
    });
    let statement = "select string_agg(concat_ws(',', json_quote(reservation.shop),
                json_quote(order_id), json_quote(status), version, lines, json_quote(deadline),
                json_quote(correlation_id), json_quote(traceparent)), '],[')
         from jsonb_each($1) join reservation
         on reservation.shop = value->>0 and order_id = value->>1";
    let rows: Vec<Row> = sql::fetch(db, statement, &named).await?;
    for (shop, order_id, known, version, lines, deadline, correlation_id, traceparent) in rows {
        let reservation = Reservation {
            status: Status::parse(&known).ok_or_else(|| corrupt("reservation", "status", known))?,
            version,
            lines: lines.into_iter().map(Line::from).collect(),
            deadline: deadline.map(Timestamp::from_millis),
            context: Context { correlation_id, traceparent },
        };
        states.entry(shop).or_default().reservations.loaded(order_id, reservation);
    }
    Ok(())
}

async fn load_stocks(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    type Row = (usize, i64, i64, i64, u64, BTreeMap<Connector, Sequences>);
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
    let statement = "select string_agg(concat_ws(',', value->>0, on_hand, held, allocated, version,
                connectors), '],[')
         from jsonb_each($1) join stock
         on stock.shop = value->>1 and sku = value->>2 and location = value->>3";
    let rows: Vec<Row> = sql::fetch(db, statement, &numbered.collect::<Vec<_>>()).await?;
    for (number, on_hand, held, allocated, version, connectors) in rows {
        if let Some((shop, id)) = named.get(number) {
            let stock = Stock { on_hand, held, allocated, version, connectors };
            states.entry((*shop).clone()).or_default().stocks.loaded(id.clone(), stock);
        }
    }
    Ok(())
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
    let statement = "select string_agg(concat_ws(',', json_quote(product.shop),
                json_quote(product.sku)), '],[')
         from jsonb_each($1) join product
         on product.shop = value->>0 and product.sku = value->>1";
    let rows: Vec<(Shop, Sku)> = sql::fetch(db, statement, &named).await?;
    for (shop, sku) in rows {
        states.entry(shop).or_default().products.loaded(sku, Product);
    }
    Ok(())
}

/// Sums the adjustments that are newer than a count which comes late.
async fn load_newer(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    type Row = (Shop, Sku, Location, Connector, i64, i64);
    let mut late = Vec::new();
    for (shop, keys) in keys {
        for (id, count) in states.get(shop).map_or_else(Vec::new, |state| keys.late_counts(state)) {
            let (shop, sku, location) = stock_key(shop, id);
            late.push((shop, sku, location, count.connector.as_str(), count.sequence));
        }
    }
    late.sort_unstable();
    late.dedup();
    // One pass over what is newer than the oldest of them, however many counts come late; all that
    // matters is put into one order, and each count takes the sum of what lies before it.
    let statement = "with late as materialized (
             select value->>0 as shop, value->>1 as sku, value->>2 as location,
                    value->>3 as connector, cast(value->>4 as bigint) as counted
             from jsonb_each($1)),
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
         select string_agg(concat_ws(',', json_quote(shop), json_quote(sku), json_quote(location),
                    json_quote(connector), sequence, cast(newer as bigint)), '],[')
         from summed
         where delta is null and newer is not null";
    let rows: Vec<Row> = sql::fetch(db, statement, &late).await?;
    for (shop, sku, location, connector, sequence, newer) in rows {
        let stock = StockId { sku, location };
        let watched = states.entry(shop).or_default().watched.entry(stock).or_default();
        watched.newer.insert((connector, sequence), newer);
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
        if asked.is_empty() {
            return Ok(());
        }
        for (number, orders) in orders_of(db, &asked).await? {
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
    asked: &[impl Serialize],
) -> Result<Vec<(usize, Vec<OrderId>)>, StoreError> {
    let statement = "select string_agg(number || ',[' || orders || ']', '],[')
         from (
             select asked.value->>0 as number,
                    (select string_agg(json_quote(promise.order_id), ',')
                     from promise join reservation on reservation.shop = promise.shop
                          and reservation.order_id = promise.order_id
                     where promise.shop = asked.value->>1
                           and promise.block = cast(asked.value->>2 as bigint)
                           and sku = asked.value->>3 and location = asked.value->>4
                           and status in ('held', 'allocated')) as orders
             from jsonb_each($1) as asked) as found
         where orders is not null";
    sql::fetch(db, statement, asked).await
}
