//! All SQL of the payment service: loading and saving in bulk, what is pending, and the queries.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use engine::{Context, StoreError, sql};
use events::{
    id::{OrderId, Shop},
    money::{Currency, Money},
    view::PaymentTotals,
};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AnyPool, Row as _, migrate::Migrator};

use crate::{
    domain::{Charge, Payment, Pending, Row, State, Status},
    operation::Operation,
};

/// The tables of the projection.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!();

/// How a payment that never began stands in the database and in JSON.
pub(crate) const ABANDONED: &str = "abandoned";

/// A payment as the statements below fetch it.
type Columns = (
    (Shop, OrderId, String, u64, Option<i64>, Option<Currency>, Option<String>, Option<String>),
    (i64, i64, i64, Option<String>, Option<i64>, Option<String>, Option<String>),
);

/// The statement that fetches payments from there.
macro_rules! select_payments {
    ($from:literal) => {
        concat!(
            "select string_agg('[' || concat_ws(',', json_quote(payment.shop),
                        json_quote(payment.order_id), json_quote(status), version,
                        json_quote(amount), json_quote(currency), json_quote(payment_method),
                        json_quote(provider_reference))
                    || '],[' || concat_ws(',', captured, refunded, cancel_requested,
                        json_quote(pending_operation), json_quote(pending_amount),
                        json_quote(correlation_id), json_quote(traceparent))
                    || ']', '],[')
             from ",
            $from
        )
    };
}

/// The statement that fetches the payments that `[shop, order]` name.
const SELECT_NAMED: &str = select_payments!(
    "jsonb_each($1) join payment
     on payment.shop = value->>0 and payment.order_id = value->>1"
);

/// The statement that fetches what is pending in the partitions that `[partition]` name.
const SELECT_PENDING: &str = select_payments!(
    "jsonb_each($1) join payment
     on partition = cast(value->>0 as bigint) and pending_operation is not null"
);

/// Fetches the payments of the named orders of each shop.
pub(crate) async fn load(
    db: &mut AnyConnection,
    keys: &HashMap<Shop, BTreeSet<OrderId>>,
) -> Result<HashMap<Shop, State>, StoreError> {
    let named: Vec<_> =
        keys.iter().flat_map(|(shop, orders)| orders.iter().map(move |id| (shop, id))).collect();
    let mut states: HashMap<Shop, State> = HashMap::new();
    for columns in sql::fetch(db, SELECT_NAMED, &named).await? {
        let (shop, order_id, row) = payment(columns)?;
        states.entry(shop).or_default().loaded(order_id, row);
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
    let statement =
        "insert into payment (shop, order_id, partition, status, version, amount, currency,
                              payment_method, provider_reference, captured, refunded,
                              cancel_requested, pending_operation, pending_amount, correlation_id,
                              traceparent)
         select value->>0, value->>1, cast(value->>2 as bigint), value->>3,
                cast(value->>4 as bigint), cast(value->>5 as bigint), value->>6, value->>7,
                value->>8, cast(value->>9 as bigint), cast(value->>10 as bigint),
                cast(value->>11 as bigint), value->>12, cast(value->>13 as bigint), value->>14,
                value->>15
         from jsonb_each($1)
         where true
         on conflict (shop, order_id) do update set
             status = excluded.status, version = excluded.version,
             provider_reference = excluded.provider_reference, captured = excluded.captured,
             refunded = excluded.refunded, cancel_requested = excluded.cancel_requested,
             pending_operation = excluded.pending_operation,
             pending_amount = excluded.pending_amount, correlation_id = excluded.correlation_id,
             traceparent = excluded.traceparent";
    sql::write(db, statement, &changed).await
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

/// Fetches the operations of the partition whose outcome is not known yet, by shop and order.
pub(crate) async fn pending(
    db: &mut AnyConnection,
    partition: u32,
) -> Result<Vec<Operation>, StoreError> {
    let mut operations = BTreeMap::new();
    for columns in sql::fetch(db, SELECT_PENDING, &[[partition]]).await? {
        let (shop, order_id, row) = payment(columns)?;
        if let Payment::Begun(charge) = row.payment
            && let Some(operation) = Operation::pending(shop.clone(), order_id, charge)
        {
            operations.insert((shop, order_id), operation);
        }
    }
    Ok(operations.into_values().collect())
}

/// The payment of an order.
pub(crate) async fn of_order(
    db: &AnyPool,
    shop: &Shop,
    order_id: OrderId,
) -> Result<Option<Row>, StoreError> {
    let mut db = db.acquire().await?;
    let rows: Vec<Columns> = sql::fetch(&mut db, SELECT_NAMED, &[(shop, order_id)]).await?;
    rows.into_iter().next().map(|columns| payment(columns).map(|(_, _, row)| row)).transpose()
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

fn payment(columns: Columns) -> Result<(Shop, OrderId, Row), StoreError> {
    let (begun, moved) = columns;
    let (shop, order_id, status, version, amount, currency, payment_method, reference) = begun;
    if status == ABANDONED {
        return Ok((shop, order_id, Row { version, payment: Payment::Abandoned }));
    }
    let (captured, refunded, cancel_requested, operation_id, pending_amount, correlation, trace) =
        moved;
    let currency = currency.ok_or_else(|| corrupt("currency", "null"))?;
    let money = |column, minor: Option<i64>| {
        let minor = minor.ok_or_else(|| corrupt(column, "null"))?;
        Ok::<_, StoreError>(Money { minor, currency })
    };
    let pending = match operation_id {
        Some(operation_id) => Some(Pending {
            operation_id,
            amount: money("pending_amount", pending_amount)?,
            context: Context {
                correlation_id: correlation.unwrap_or_default(),
                traceparent: trace.unwrap_or_default(),
            },
        }),
        None => None,
    };
    let charge = Charge {
        status: Status::parse(&status).ok_or_else(|| corrupt("status", &status))?,
        amount: money("amount", amount)?,
        payment_method: payment_method.ok_or_else(|| corrupt("payment_method", "null"))?,
        provider_reference: reference.unwrap_or_default(),
        captured,
        refunded,
        cancel_requested: cancel_requested != 0,
        pending,
    };
    Ok((shop, order_id, Row { version, payment: Payment::Begun(charge) }))
}

fn corrupt(column: &'static str, value: &str) -> StoreError {
    StoreError::Corrupt { table: "payment", column, value: value.to_owned() }
}
