//! What the questions read: the SQL behind each view.

use engine::StoreError;
use events::{
    id::{CustomerId, OrderId, ParseError, Reference, Shop},
    time::Timestamp,
    view::{Cancellation, OrderGroup, OrderTotals, OrderView, StepView},
};
use serde::de::DeserializeOwned;
use sqlx::{AnyPool, Row, any::AnyRow};

use super::{currency, parsed, reason, status};

/// An order with all that was ordered.
pub(crate) async fn order(
    db: &AnyPool,
    shop: &Shop,
    id: OrderId,
) -> Result<Option<OrderView>, StoreError> {
    let row = sqlx::query(
        "select o.status, o.total, o.currency, o.reason, o.placed_at, o.updated_at, o.version, \
         c.reference, c.customer_id, c.country, c.lines, c.charges, x.detail, x.shortages \
         from orders o \
         join order_content c on c.shop = o.shop and c.order_id = o.id \
         left join order_cancellation x on x.shop = o.shop and x.order_id = o.id \
         where o.shop = $1 and o.id = $2",
    )
    .bind(shop.to_string())
    .bind(id.to_string())
    .fetch_optional(db)
    .await?;
    row.map(|row| order_view(id, &row)).transpose()
}

fn order_view(id: OrderId, row: &AnyRow) -> Result<OrderView, StoreError> {
    let cancellation = match reason(row, 3)? {
        Some(reason) => Some(Cancellation {
            reason,
            detail: row.try_get(12)?,
            shortages: json(row, 13, "order_cancellation", "shortages")?,
        }),
        None => None,
    };
    Ok(OrderView {
        id,
        reference: optional(row, 7, "order_content", "reference", Reference::parse)?,
        status: status(row, 0)?,
        customer_id: optional(row, 8, "order_content", "customer_id", CustomerId::parse)?,
        country: row.try_get(9)?,
        lines: json(row, 10, "order_content", "lines")?,
        charges: json(row, 11, "order_content", "charges")?,
        total: row.try_get(1)?,
        currency: currency(row, 2, "orders")?,
        cancellation,
        placed_at: Timestamp::from_millis(row.try_get(4)?),
        updated_at: Timestamp::from_millis(row.try_get(5)?),
        version: row.try_get::<i64, _>(6)? as u64,
    })
}

/// The order that has a reference.
pub(crate) async fn order_of_reference(
    db: &AnyPool,
    shop: &Shop,
    reference: &Reference,
) -> Result<Option<OrderId>, StoreError> {
    sqlx::query("select order_id from order_content where shop = $1 and reference = $2")
        .bind(shop.to_string())
        .bind(reference.to_string())
        .fetch_optional(db)
        .await?
        .map(|row| parsed(&row, 0, "order_content", "order_id", OrderId::parse))
        .transpose()
}

/// The history of an order, from its beginning; empty when there is no such order.
pub(crate) async fn history(
    db: &AnyPool,
    shop: &Shop,
    id: OrderId,
) -> Result<Vec<StepView>, StoreError> {
    let row = sqlx::query("select history from orders where shop = $1 and id = $2")
        .bind(shop.to_string())
        .bind(id.to_string())
        .fetch_optional(db)
        .await?;
    let Some(row) = row else { return Ok(Vec::new()) };
    let lines: String = row.try_get(0)?;
    let steps = lines.lines().zip(1..).map(|(line, version)| {
        let (event, time, cause, cause_id) = serde_json::from_str(line)?;
        Ok(StepView { version, event, time: Timestamp::from_millis(time), cause, cause_id })
    });
    steps.collect::<Result<_, _>>().map_err(StoreError::Unreadable)
}

/// How many orders of a shop stand where, and their totals.
pub(crate) async fn totals(db: &AnyPool, shop: &Shop) -> Result<OrderTotals, StoreError> {
    let groups = sqlx::query(
        "select status, reason, count(*), cast(sum(total) as bigint) from orders \
         where shop = $1 group by status, reason order by status, reason",
    )
    .bind(shop.to_string())
    .fetch_all(db)
    .await?
    .iter()
    .map(|row| {
        Ok(OrderGroup {
            status: status(row, 0)?,
            reason: reason(row, 1)?,
            orders: row.try_get(2)?,
            total: row.try_get(3)?,
        })
    })
    .collect::<Result<_, StoreError>>()?;
    Ok(OrderTotals { groups })
}

fn optional<T>(
    row: &AnyRow,
    index: usize,
    table: &'static str,
    column: &'static str,
    parse: fn(&str) -> Result<T, ParseError>,
) -> Result<Option<T>, StoreError> {
    let Some(value) = row.try_get::<Option<String>, _>(index)? else { return Ok(None) };
    parse(&value).map(Some).map_err(|_| StoreError::Corrupt { table, column, value })
}

fn json<T: DeserializeOwned>(
    row: &AnyRow,
    index: usize,
    table: &'static str,
    column: &'static str,
) -> Result<T, StoreError> {
    let value: String = row.try_get(index)?;
    serde_json::from_str(&value).map_err(|_| StoreError::Corrupt { table, column, value })
}
