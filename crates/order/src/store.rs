//! All SQL of the order service. The statements are the same on `SQLite` and Postgres.

#[cfg(test)]
mod tests;
pub(crate) mod view;

use std::collections::HashMap;

use engine::{Cause, Context, Local, StoreError, Table, sql};
use events::{
    id::{OrderId, ParseError, Shop, Sku},
    money::{Currency, Money},
    time::Timestamp,
    view::{CancelReason, OrderStatus},
};
use serde::Serialize;
use sqlx::{AnyConnection, Row, any::AnyRow, migrate::Migrator};

use crate::domain::{Input, Keys, Order, Price, Signal, State, Step};

/// The migrations of the projection.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!();

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[
    Table { name: "orders", key: "shop, id" },
    Table { name: "order_content", key: "shop, order_id" },
    Table { name: "order_cancellation", key: "shop, order_id" },
    Table { name: "price", key: "shop, sku" },
];

/// Fetches what a decision looks at: orders, whose the references are, prices. What is written
/// once is never fetched.
pub(crate) async fn load(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
) -> Result<HashMap<Shop, State>, StoreError> {
    let mut states: HashMap<Shop, State> =
        keys.keys().map(|shop| (shop.clone(), State::default())).collect();
    load_orders(db, keys, &mut states).await?;
    load_references(db, keys, &mut states).await?;
    load_prices(db, keys, &mut states).await?;
    Ok(states)
}

async fn load_orders(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    type Row = (
        (usize, OrderStatus, u64, i64, Currency),
        (String, Option<CancelReason>, Option<i64>, String, String, i64, i64),
    );
    let wanted = Wanted::new(keys.iter().map(|(shop, keys)| (shop, keys.orders.iter())));
    let statement = "select string_agg('[' || concat_ws(',', value->>2, json_quote(o.status), \
         o.version, o.total, json_quote(o.currency)) || '],[' || concat_ws(',', \
         json_quote(o.payment_method), json_quote(o.reason), json_quote(o.deadline), \
         json_quote(o.correlation_id), json_quote(o.traceparent), o.placed_at, o.updated_at) \
         || ']', '],[') \
         from jsonb_each($1) join orders o on o.shop = value->>0 and o.id = value->>1";
    let rows: Vec<Row> = sql::fetch(db, statement, &wanted.rows()).await?;
    for ((place, status, version, total, currency), rest) in rows {
        let (payment_method, reason, deadline, correlation_id, traceparent, placed_at, updated_at) =
            rest;
        let (shop, order_id) = wanted.of(place)?;
        let order = Order {
            status,
            version,
            total: Money { minor: total, currency },
            payment_method,
            reason,
            deadline: deadline.map(Timestamp::from_millis),
            context: Context { correlation_id, traceparent },
            placed_at: Timestamp::from_millis(placed_at),
            updated_at: Timestamp::from_millis(updated_at),
        };
        states.entry(shop.clone()).or_default().orders.loaded(*order_id, order);
    }
    Ok(())
}

async fn load_references(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let wanted = Wanted::new(keys.iter().map(|(shop, keys)| (shop, keys.references.iter())));
    let statement = "select string_agg(concat_ws(',', value->>2, json_quote(c.order_id)), '],[') \
         from jsonb_each($1) join order_content c on c.shop = value->>0 and c.reference = value->>1";
    let rows: Vec<(usize, OrderId)> = sql::fetch(db, statement, &wanted.rows()).await?;
    for (place, order_id) in rows {
        let (shop, reference) = wanted.of(place)?;
        states.entry(shop.clone()).or_default().references.insert(reference.clone(), order_id);
    }
    Ok(())
}

async fn load_prices(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, Keys>,
    states: &mut HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let wanted = Wanted::<Sku>::new(keys.iter().map(|(shop, keys)| (shop, keys.prices.iter())));
    let statement = "select string_agg(concat_ws(',', value->>2, p.minor, json_quote(p.currency), \
         p.active), '],[') \
         from jsonb_each($1) join price p on p.shop = value->>0 and p.sku = value->>1";
    let rows: Vec<(usize, i64, Currency, i64)> = sql::fetch(db, statement, &wanted.rows()).await?;
    for (place, minor, currency, active) in rows {
        let (shop, sku) = wanted.of(place)?;
        let price = Price { price: Money { minor, currency }, active: active != 0 };
        states.entry(shop.clone()).or_default().prices.loaded(sku.clone(), price);
    }
    Ok(())
}

/// The names of the rows that are fetched from a table. A row comes back with the place of its
/// name in here: nothing is parsed again.
struct Wanted<'a, K>(Vec<(&'a Shop, &'a K)>);

impl<'a, K: Serialize> Wanted<'a, K> {
    fn new(keys: impl Iterator<Item = (&'a Shop, impl Iterator<Item = &'a K>)>) -> Self {
        Self(keys.flat_map(|(shop, keys)| keys.map(move |key| (shop, key))).collect())
    }

    /// The names with their places.
    fn rows(&self) -> Vec<(&'a Shop, &'a K, usize)> {
        self.0.iter().enumerate().map(|(place, (shop, key))| (*shop, *key, place)).collect()
    }

    /// The name of a row, by its place.
    fn of(&self, place: usize) -> Result<(&'a Shop, &'a K), StoreError> {
        self.0.get(place).copied().ok_or_else(|| StoreError::Corrupt {
            table: "jsonb_each",
            column: "value",
            value: place.to_string(),
        })
    }
}

/// Writes the changed rows, one statement for each table.
pub(crate) async fn save(
    db: &mut AnyConnection,
    partition: u32,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    save_orders(db, partition, states).await?;
    save_contents(db, states).await?;
    save_cancellations(db, states).await?;
    save_prices(db, states).await
}

async fn save_orders(
    db: &mut AnyConnection,
    partition: u32,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for (shop, state) in states {
        for (id, order) in state.orders.changed() {
            let Order { status, version, total, payment_method, reason, .. } = order;
            let Context { correlation_id, traceparent } = &order.context;
            let (deadline, placed_at) = (order.deadline.map(Timestamp::millis), order.placed_at);
            rows.push((
                shop,
                id,
                partition,
                status,
                version,
                total.minor,
                total.currency,
                payment_method,
                reason,
                deadline,
                correlation_id,
                traceparent,
                placed_at.millis(),
                order.updated_at.millis(),
                history(state.steps.get(id).map_or(&[], Vec::as_slice))?,
            ));
        }
    }
    let statement = "insert into orders (shop, id, partition, status, version, total, currency, \
         payment_method, reason, deadline, correlation_id, traceparent, placed_at, updated_at, \
         history) select value->>0, value->>1, cast(value->>2 as bigint), value->>3, \
         cast(value->>4 as bigint), cast(value->>5 as bigint), value->>6, value->>7, value->>8, \
         cast(value->>9 as bigint), value->>10, value->>11, cast(value->>12 as bigint), \
         cast(value->>13 as bigint), value->>14 \
         from jsonb_each($1) where true \
         on conflict (shop, id) do update set status = excluded.status, \
         version = excluded.version, reason = excluded.reason, deadline = excluded.deadline, \
         updated_at = excluded.updated_at, history = orders.history || excluded.history";
    sql::write(db, statement, &rows).await
}

/// Steps as they stand in the database, a line each: the version of the order is the number of
/// the line.
fn history(steps: &[Step]) -> Result<String, serde_json::Error> {
    let mut lines = String::new();
    for Step { event, time, cause } in steps {
        let step = (event, time.millis(), &cause.kind, &cause.id);
        lines.push_str(&serde_json::to_string(&step)?);
        lines.push('\n');
    }
    Ok(lines)
}

async fn save_contents(
    db: &mut AnyConnection,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for (shop, state) in states {
        for (id, content) in state.contents.changed() {
            let lines = serde_json::to_string(&content.lines)?;
            let charges = serde_json::to_string(&content.charges)?;
            let (reference, customer_id) = (&content.reference, &content.customer_id);
            rows.push((shop, id, reference, customer_id, &content.country, lines, charges));
        }
    }
    let statement = "insert into order_content \
         (shop, order_id, reference, customer_id, country, lines, charges) \
         select value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 \
         from jsonb_each($1) where true on conflict (shop, order_id) do nothing";
    sql::write(db, statement, &rows).await
}

async fn save_cancellations(
    db: &mut AnyConnection,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for (shop, state) in states {
        for (id, cancellation) in state.cancellations.changed() {
            let shortages = serde_json::to_string(&cancellation.shortages)?;
            rows.push((shop, id, &cancellation.detail, shortages));
        }
    }
    let statement = "insert into order_cancellation (shop, order_id, detail, shortages) \
         select value->>0, value->>1, value->>2, value->>3 \
         from jsonb_each($1) where true on conflict (shop, order_id) do nothing";
    sql::write(db, statement, &rows).await
}

async fn save_prices(
    db: &mut AnyConnection,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for (shop, state) in states {
        rows.extend(state.prices.changed().map(|(sku, product)| {
            let active = i64::from(product.active);
            (shop, sku, product.price.minor, product.price.currency, active)
        }));
    }
    let statement = "insert into price (shop, sku, minor, currency, active) \
         select value->>0, value->>1, cast(value->>2 as bigint), value->>3, \
         cast(value->>4 as bigint) \
         from jsonb_each($1) where true \
         on conflict (shop, sku) do update set minor = excluded.minor, \
         currency = excluded.currency, active = excluded.active";
    sql::write(db, statement, &rows).await
}

/// The orders whose deadline has passed, the longest overdue first.
pub(crate) async fn due(
    db: &mut AnyConnection,
    partition: u32,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Local<Input>>, StoreError> {
    sqlx::query(
        "select shop, id, status, deadline, correlation_id, traceparent from orders \
         where partition = $1 and deadline <= $2 order by deadline limit $3",
    )
    .bind(i64::from(partition))
    .bind(now.millis())
    .bind(limit)
    .fetch_all(db)
    .await?
    .iter()
    .map(|row| {
        let order_id = parsed(row, 1, "orders", "id", OrderId::parse)?;
        let deadline = Timestamp::from_millis(row.try_get(3)?);
        let kind = match status(row, 2)? {
            OrderStatus::PaymentDue => "timer.payment_deadline",
            OrderStatus::Placed
            | OrderStatus::Authorized
            | OrderStatus::Confirmed
            | OrderStatus::Paid
            | OrderStatus::Cancelled => "timer.stock_deadline",
        };
        Ok(Local {
            shop: parsed(row, 0, "orders", "shop", Shop::parse)?,
            aggregate: order_id.to_string(),
            cause: Cause { id: String::new(), kind: kind.to_owned() },
            context: Context::from_columns(row.try_get(4)?, row.try_get(5)?),
            input: Input::Signal { order_id, signal: Signal::DeadlinePassed { deadline } },
        })
    })
    .collect()
}

fn status(row: &AnyRow, index: usize) -> Result<OrderStatus, StoreError> {
    let value: String = row.try_get(index)?;
    OrderStatus::parse(&value).ok_or(StoreError::Corrupt {
        table: "orders",
        column: "status",
        value,
    })
}

fn reason(row: &AnyRow, index: usize) -> Result<Option<CancelReason>, StoreError> {
    let Some(value) = row.try_get::<Option<String>, _>(index)? else { return Ok(None) };
    let known = serde_json::from_value(serde_json::Value::String(value.clone()));
    known.map(Some).map_err(|_| StoreError::Corrupt { table: "orders", column: "reason", value })
}

fn currency(row: &AnyRow, index: usize, table: &'static str) -> Result<Currency, StoreError> {
    parsed(row, index, table, "currency", Currency::parse)
}

fn parsed<T>(
    row: &AnyRow,
    index: usize,
    table: &'static str,
    column: &'static str,
    parse: fn(&str) -> Result<T, ParseError>,
) -> Result<T, StoreError> {
    let value: String = row.try_get(index)?;
    parse(&value).map_err(|_| StoreError::Corrupt { table, column, value })
}
