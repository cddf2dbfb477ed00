//! Saving in bulk: the changed rows, one statement a table.

use std::collections::HashMap;

use engine::{Context, StoreError, sql};
use events::{id::Shop, time::Timestamp};
use sqlx::AnyConnection;

use super::{ORDERS_A_BLOCK, named, stock_key};
use crate::domain::{Lines, Product, Reservation, State, Stock, StockId, Units};

/// Writes the changed rows of each shop.
pub(crate) async fn save(
    db: &mut AnyConnection,
    partition: u32,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    save_products(db, states).await?;
    save_stocks(db, states).await?;
    save_documents(db, states).await?;
    save_reservations(db, partition, states).await?;
    save_shops(db, states).await?;
    save_promises(db, states).await
}

async fn save_products(
    db: &mut AnyConnection,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let changed = named(states, |shop, state| {
        state.products.changed().map(move |(sku, Product)| (shop.as_str(), sku.as_str()))
    });
    let statement = "insert into product (shop, sku)
         select value->>0, value->>1
         from jsonb_each($1)
         where true
         on conflict (shop, sku) do nothing";
    sql::write(db, statement, &changed).await
}

async fn save_stocks(
    db: &mut AnyConnection,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut changed = Vec::new();
    for (shop, state) in states {
        for (id, row) in state.stocks.changed() {
            let Stock { on_hand, held, allocated, version, connectors } = row;
            let connectors = serde_json::to_string(connectors)?;
            let (shop, sku, location) = stock_key(shop, id);
            changed.push((shop, sku, location, on_hand, held, allocated, version, connectors));
        }
    }
    let statement =
        "insert into stock (shop, sku, location, on_hand, held, allocated, version, connectors)
         select value->>0, value->>1, value->>2, cast(value->>3 as bigint),
                cast(value->>4 as bigint), cast(value->>5 as bigint), cast(value->>6 as bigint),
                value->>7
         from jsonb_each($1)
         where true
         on conflict (shop, sku, location) do update set
             on_hand = excluded.on_hand, held = excluded.held, allocated = excluded.allocated,
             version = excluded.version, connectors = excluded.connectors";
    sql::write(db, statement, &changed).await
}

async fn save_documents(
    db: &mut AnyConnection,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let changed = named(states, |shop, state| {
        state.documents.changed().map(move |(key, row)| {
            let (counted, delta) = match row.units {
                Units::Counted(quantity) => (Some(quantity), None),
                Units::Added(delta) => (None, Some(delta)),
            };
            let (shop, sku, location) = stock_key(shop, &row.stock);
            let (connector, id) = (key.connector.as_str(), key.id.as_str());
            (shop, connector, id, sku, location, row.sequence, counted, delta)
        })
    });
    let statement =
        "insert into document (shop, connector, id, sku, location, sequence, counted, delta)
         select value->>0, value->>1, value->>2, value->>3, value->>4, cast(value->>5 as bigint),
                cast(value->>6 as bigint), cast(value->>7 as bigint)
         from jsonb_each($1)";
    sql::write(db, statement, &changed).await
}

async fn save_reservations(
    db: &mut AnyConnection,
    partition: u32,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut changed = Vec::new();
    for (shop, state) in states {
        for (order_id, row) in state.reservations.changed() {
            let Reservation { status: _, version, lines, deadline, context } = row;
            let Context { correlation_id, traceparent } = context;
            changed.push((
                shop.as_str(),
                order_id,
                row.status.as_str(),
                version,
                lines_as_json(lines)?,
                deadline.map(Timestamp::millis),
                partition,
                correlation_id,
                traceparent,
            ));
        }
    }
    let statement =
        "insert into reservation (shop, order_id, status, version, lines, deadline, partition,
                                  correlation_id, traceparent)
         select value->>0, value->>1, value->>2, cast(value->>3 as bigint), value->>4,
                cast(value->>5 as bigint), cast(value->>6 as bigint), value->>7, value->>8
         from jsonb_each($1)
         where true
         on conflict (shop, order_id) do update set
             status = excluded.status, version = excluded.version, deadline = excluded.deadline";
    sql::write(db, statement, &changed).await
}

async fn save_shops(
    db: &mut AnyConnection,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let changed = states.iter().filter(|(_, state)| !state.reserved.is_empty());
    let changed: Vec<_> = changed.map(|(shop, state)| (shop.as_str(), state.orders_held)).collect();
    let statement = "insert into shop (shop, orders_held)
         select value->>0, cast(value->>1 as bigint)
         from jsonb_each($1)
         where true
         on conflict (shop) do update set orders_held = excluded.orders_held";
    sql::write(db, statement, &changed).await
}

/// Writes down which orders were held for the first time, line by line.
async fn save_promises(
    db: &mut AnyConnection,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut reserved = Vec::new();
    for (shop, state) in states {
        let first = state.orders_held - state.reserved.len() as u64;
        for (number, order_id) in (first..).zip(&state.reserved) {
            if let Some(row) = state.reservations.get(order_id) {
                let (block, lines) = (number / ORDERS_A_BLOCK, lines_as_json(&row.lines)?);
                reserved.push((shop.as_str(), block, order_id, lines));
            }
        }
    }
    let statement = "insert into promise (shop, block, sku, location, order_id)
         select reserved.value->>0, cast(reserved.value->>1 as bigint), line.value->>0,
                line.value->>1, reserved.value->>2
         from jsonb_each($1) as reserved cross join jsonb_each(reserved.value->>3) as line";
    sql::write(db, statement, &reserved).await
}

/// `[[sku, location, units], …]`, in the order of the lines.
fn lines_as_json(lines: &Lines) -> Result<String, serde_json::Error> {
    let lines = lines.iter().map(|line| {
        let StockId { sku, location } = &line.stock;
        (sku.as_str(), location.as_str(), line.units)
    });
    serde_json::to_string(&lines.collect::<Vec<_>>())
}
