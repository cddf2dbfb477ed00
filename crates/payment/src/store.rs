//! All SQL of the payment service: loading and saving in bulk, what is pending, and the queries.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use engine::{Context, StoreError};
use events::{
    id::{OrderId, Shop},
    money::{Currency, Money},
    view::PaymentTotals,
};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AnyPool, Row as _, any::AnyRow, migrate::Migrator};

use crate::{
    domain::{Charge, Payment, Pending, Row, State, Status},
    operation::Operation,
};

/// The tables of the projection.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!();

/// How a payment that never began stands in the database and in JSON.
pub(crate) const ABANDONED: &str = "abandoned";

/// Fetches the payments of the named orders of each shop.
pub(crate) async fn load(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, BTreeSet<OrderId>>,
) -> Result<HashMap<Shop, State>, StoreError> {
    let named: Vec<_> =
        keys.iter().flat_map(|(shop, orders)| orders.iter().map(move |id| (shop, id))).collect();
    let rows = sqlx::query(
        "select payment.shop, payment.order_id, status, version, amount, currency, payment_method,
                provider_reference, captured, refunded, cancel_requested, pending_operation,
                pending_amount, correlation_id, traceparent
         from json_each($1) join payment
         on payment.shop = value->>0 and payment.order_id = value->>1",
    )
    .bind(serde_json::to_string(&named)?)
    .fetch_all(db)
    .await?;

    let mut states: HashMap<Shop, State> = HashMap::new();
    for row in &rows {
        states.entry(shop(row)?).or_default().loaded(order_id(row)?, payment(row)?);
    }
    Ok(states)
}

/// Writes the changed payments of each shop.
pub(crate) async fn save(
    db: &mut AnyConnection,
    partition: u32,
    states: &HashMap<Shop, State>,
) -> Result<(), StoreError> {
    let mut changed = Vec::new();
    for (shop, payments) in states {
        let rows = payments.changed();
        changed.extend(rows.map(|(order_id, row)| values(shop, *order_id, partition, row)));
    }
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into payment (shop, order_id, partition, status, version, amount, currency,
                              payment_method, provider_reference, captured, refunded,
                              cancel_requested, pending_operation, pending_amount, correlation_id,
                              traceparent)
         select value->>0, value->>1, cast(value->>2 as bigint), value->>3,
                cast(value->>4 as bigint), cast(value->>5 as bigint), value->>6, value->>7,
                value->>8, cast(value->>9 as bigint), cast(value->>10 as bigint),
                cast(value->>11 as bigint), value->>12, cast(value->>13 as bigint), value->>14,
                value->>15
         from json_each($1)
         where true
         on conflict (shop, order_id) do update set
             status = excluded.status, version = excluded.version,
             provider_reference = excluded.provider_reference, captured = excluded.captured,
             refunded = excluded.refunded, cancel_requested = excluded.cancel_requested,
             pending_operation = excluded.pending_operation,
             pending_amount = excluded.pending_amount, correlation_id = excluded.correlation_id,
             traceparent = excluded.traceparent",
    )
    .bind(serde_json::to_string(&changed)?)
    .execute(db)
    .await?;
    Ok(())
}

/// The values of a row, in the order of the columns.
fn values(shop: &Shop, order_id: OrderId, partition: u32, row: &Row) -> Value {
    let version = row.version;
    match &row.payment {
        Payment::Abandoned => json!([
            shop, order_id, partition, ABANDONED, version, null, null, null, null, 0, 0, 0, null,
            null, null, null
        ]),
        Payment::Begun(charge) => {
            let Charge { status, amount, payment_method, provider_reference, .. } = charge;
            let pending = charge.pending.as_ref();
            let context = pending.map(|pending| &pending.context);
            json!([
                shop,
                order_id,
                partition,
                status.as_str(),
                version,
                amount.minor,
                amount.currency,
                payment_method,
                Some(provider_reference).filter(|reference| !reference.is_empty()),
                charge.captured,
                charge.refunded,
                i64::from(charge.cancel_requested),
                pending.map(|pending| &pending.operation_id),
                pending.map(|pending| pending.amount.minor),
                context.map(|context| &context.correlation_id),
                context.map(|context| &context.traceparent),
            ])
        }
    }
}

/// Fetches the operations of the partition whose outcome is not known yet.
pub(crate) async fn pending(
    db: &mut AnyConnection,
    partition: u32,
) -> Result<Vec<Operation>, StoreError> {
    let rows = sqlx::query(
        "select shop, order_id, status, version, amount, currency, payment_method,
                provider_reference, captured, refunded, cancel_requested, pending_operation,
                pending_amount, correlation_id, traceparent
         from payment
         where partition = $1 and pending_operation is not null
         order by shop, order_id",
    )
    .bind(i64::from(partition))
    .fetch_all(db)
    .await?;
    let mut operations = Vec::with_capacity(rows.len());
    for row in &rows {
        match payment(row)?.payment {
            Payment::Begun(charge) => {
                operations.extend(Operation::pending(shop(row)?, order_id(row)?, charge));
            }
            Payment::Abandoned => {}
        }
    }
    Ok(operations)
}

/// The payment of an order.
pub(crate) async fn of_order(
    db: &AnyPool,
    shop: &Shop,
    order_id: OrderId,
) -> Result<Option<Row>, StoreError> {
    let row = sqlx::query(
        "select status, version, amount, currency, payment_method, provider_reference, captured,
                refunded, cancel_requested, pending_operation, pending_amount, correlation_id,
                traceparent
         from payment
         where shop = $1 and order_id = $2",
    )
    .bind(shop.as_str())
    .bind(order_id.to_string())
    .fetch_optional(db)
    .await?;
    row.as_ref().map(payment).transpose()
}

/// Adds up the shop's payments; the provider's side is left at 0.
pub(crate) async fn totals(db: &AnyPool, shop: &Shop) -> Result<PaymentTotals, StoreError> {
    let row = sqlx::query(
        "select cast(coalesce(sum(captured), 0) as bigint) as captured,
                cast(coalesce(sum(refunded), 0) as bigint) as refunded,
                cast(coalesce(sum(case when status in ('authorized', 'capture_pending',
                                                       'capture_failed', 'void_pending')
                                       then amount end), 0) as bigint) as authorized,
                count(pending_operation) as pending
         from payment
         where shop = $1",
    )
    .bind(shop.as_str())
    .fetch_one(db)
    .await?;
    Ok(PaymentTotals {
        captured: row.try_get("captured")?,
        refunded: row.try_get("refunded")?,
        authorized: row.try_get("authorized")?,
        pending: row.try_get("pending")?,
        provider_net: 0,
        provider_held: 0,
    })
}

fn shop(row: &AnyRow) -> Result<Shop, StoreError> {
    let shop: String = row.try_get("shop")?;
    Shop::parse(&shop).map_err(|_| corrupt("shop", &shop))
}

fn order_id(row: &AnyRow) -> Result<OrderId, StoreError> {
    let order_id: String = row.try_get("order_id")?;
    OrderId::parse(&order_id).map_err(|_| corrupt("order_id", &order_id))
}

fn payment(row: &AnyRow) -> Result<Row, StoreError> {
    let version = row.try_get::<i64, _>("version")? as u64;
    let status: String = row.try_get("status")?;
    if status == ABANDONED {
        return Ok(Row { version, payment: Payment::Abandoned });
    }
    let code: String = row.try_get("currency")?;
    let currency = Currency::parse(&code).map_err(|_| corrupt("currency", &code))?;
    let money = |minor| Money { minor, currency };
    let pending = match row.try_get::<Option<String>, _>("pending_operation")? {
        Some(operation_id) => Some(Pending {
            operation_id,
            amount: money(row.try_get("pending_amount")?),
            context: Context {
                correlation_id: row.try_get("correlation_id")?,
                traceparent: row.try_get("traceparent")?,
            },
        }),
        None => None,
    };
    let charge = Charge {
        status: Status::parse(&status).ok_or_else(|| corrupt("status", &status))?,
        amount: money(row.try_get("amount")?),
        payment_method: row.try_get("payment_method")?,
        provider_reference: row
            .try_get::<Option<String>, _>("provider_reference")?
            .unwrap_or_default(),
        captured: row.try_get("captured")?,
        refunded: row.try_get("refunded")?,
        cancel_requested: row.try_get::<i64, _>("cancel_requested")? != 0,
        pending,
    };
    Ok(Row { version, payment: Payment::Begun(charge) })
}

fn corrupt(column: &'static str, value: &str) -> StoreError {
    StoreError::Corrupt { table: "payment", column, value: value.to_owned() }
}
