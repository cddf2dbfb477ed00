//! Loading in bulk.
//!
//! It goes by what is known so far: reservations name the stocks of their lines, stocks tell which
//! counts come late and which stocks may fall short, and only for those it asks for more.

use std::collections::{BTreeMap, HashMap, HashSet};

use engine::StoreError;
use events::{
    id::{Connector, DocumentId, OrderId, Shop, Sku},
    time::Timestamp,
};
use sqlx::AnyConnection;

use super::{Fetched, json, named, stock_key};
use crate::domain::{
    DocumentKey, Keys, MOST_SHORT_ORDERS, Product, Remembered, Reservation, Sequences, State,
    Status, Stock, StockId, Units,
};

/// Fetches the named rows of each shop.
pub(crate) async fn load(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
) -> Result<HashMap<Shop, State>, StoreError> {
    let mut states: HashMap<Shop, State> =
        keys.keys().map(|shop| (shop.clone(), State::default())).collect();
    load_products(db, keys, &mut states).await?;
    load_documents(db, keys, &mut states).await?;
    load_reservations(db, keys, &mut states).await?;
    load_stocks(db, keys, &mut states).await?;
    for (shop, keys) in keys {
        if let Some(state) = states.get_mut(shop) {
            keys.watch(state);
        }
    }
    load_newer(db, keys, &mut states).await?;
    load_orders(db, keys, &mut states).await?;
    Ok(states)
}

async fn load_products(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let named = named(keys, |shop, keys| {
        keys.products.iter().map(move |sku| (shop.as_str(), sku.as_str()))
    });
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

async fn load_stocks(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut named: HashSet<(&Shop, &StockId)> = HashSet::new();
    for (shop, keys) in keys {
        named.extend(keys.stocks.keys().map(|id| (shop, id)));
    }
    for (shop, state) in &*states {
        let lines = state.reservations.iter().flat_map(|(_, row)| row.lines.iter());
        named.extend(lines.map(|line| (shop, &line.stock)));
    }
    let named: Vec<_> = named.into_iter().map(|(shop, id)| stock_key(shop, id)).collect();
    let Some(named) = json(&named)? else { return Ok(()) };
    let rows = sqlx::query(
        "select stock.shop, sku, location, on_hand, held, allocated, version, connectors
         from json_each($1) join stock
         on stock.shop = value->>0 and sku = value->>1 and location = value->>2",
    )
    .bind(named)
    .fetch_all(db)
    .await?;
    for row in rows.iter().map(Fetched::of("stock")) {
        let stock = Stock {
            on_hand: row.number("on_hand")?,
            held: row.number("held")?,
            allocated: row.number("allocated")?,
            version: row.number("version")? as u64,
            connectors: row.json::<BTreeMap<Connector, Sequences>>("connectors")?,
        };
        row.state(states)?.stocks.loaded(row.stock_id()?, stock);
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
    let rows = sqlx::query(
        "select shop, sku, location, connector, cast(late.value->>4 as bigint) as counted,
                cast(sum(delta) as bigint) as newer
         from json_each($1) as late join document
         on shop = late.value->>0 and sku = late.value->>1 and location = late.value->>2
            and connector = late.value->>3 and sequence > cast(late.value->>4 as bigint)
         where delta is not null
         group by shop, sku, location, connector, cast(late.value->>4 as bigint)",
    )
    .bind(late)
    .fetch_all(db)
    .await?;
    for row in rows.iter().map(Fetched::of("document")) {
        let count = (row.parse("connector", Connector::parse)?, row.number("counted")?);
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
    let mut named = Vec::new();
    for (shop, keys) in keys {
        let ids = states.get(shop).map_or_else(Vec::new, |state| keys.perhaps_short(state));
        named.extend(ids.into_iter().map(|id| stock_key(shop, id)));
    }
    let Some(named) = json(&named)? else { return Ok(()) };
    let rows = sqlx::query(
        "select shop, sku, location, order_id
         from (select promise.shop, sku, location, promise.order_id,
                      row_number() over (partition by promise.shop, sku, location
                                         order by promise.order_id desc) as newness
               from json_each($1) as short
               join promise on promise.shop = short.value->>0 and sku = short.value->>1
                    and location = short.value->>2
               join reservation on reservation.shop = promise.shop
                    and reservation.order_id = promise.order_id
               where status in ('held', 'allocated')) as promised
         where newness <= $2",
    )
    .bind(named)
    .bind(MOST_SHORT_ORDERS as i64)
    .fetch_all(db)
    .await?;
    for row in rows.iter().map(Fetched::of("promise")) {
        let watched = row.state(states)?.watched.entry(row.stock_id()?).or_default();
        watched.orders.insert(row.parse("order_id", OrderId::parse)?);
    }
    Ok(())
}
