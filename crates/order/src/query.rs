//! The questions that this service answers, straight from the projection.
//!
//! | question | parameters | answer |
//! |---|---|---|
//! | `order` | `id` | the order with all that was ordered, or nothing |
//! | `by_reference` | `reference` | the same, by the caller's own order number |
//! | `history` | `id` | the events of the order, from its beginning, or nothing |
//! | `totals` | – | how many orders of the shop have which status, and their totals |

#[cfg(test)]
mod tests;

use ::metrics::Gauge;
use engine::{Queries, QueryError, Row as _, Service, StoreError, documents};
use events::{
    id::{OrderId, Reference},
    view::{OrderGroup, OrderStatus, OrderTotals, OrderView, StepView},
};
use protocol::{id::Shop, time::Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{AnyPool, Row as _, any::AnyRow};

use crate::{
    Orders, metrics,
    store::{Order, OrderCancellation, OrderContent, OrderHistory, ReferencedOrder, Step},
};

/// The statuses of an order that is neither paid nor cancelled; an index holds these orders.
const UNDER_WAY: [OrderStatus; 4] =
    [OrderStatus::Placed, OrderStatus::PaymentDue, OrderStatus::Authorized, OrderStatus::Confirmed];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: OrderId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByReference {
    reference: Reference,
}

impl Queries for Orders {
    async fn count(&self, db: &AnyPool, partition: u32) -> Result<Vec<(Gauge, u64)>, QueryError> {
        let mut counts = UNDER_WAY.map(|status| (status.as_str(), 0));
        let rows = sqlx::query(
            "select status, count(*) as orders from orders \
             where partition = $1 and status in ('placed', 'payment_due', 'authorized', 'confirmed') \
             group by status",
        )
        .bind(i64::from(partition))
        .fetch_all(db)
        .await?;
        for row in &rows {
            let status: String = row.try_get("status")?;
            let orders = row.try_get::<i64, _>("orders")? as u64;
            counts.iter_mut().filter(|(known, _)| *known == status).for_each(|it| it.1 = orders);
        }
        let gauge = |(status, orders)| (metrics::under_way(partition, status), orders);
        Ok(counts.into_iter().map(gauge).collect())
    }

    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        name: &str,
        parameters: Value,
    ) -> Result<Option<Value>, QueryError> {
        match name {
            "order" => {
                let ById { id } = serde_json::from_value(parameters)?;
                to_json(order(db, shop, id).await?)
            }
            "by_reference" => {
                let ByReference { reference } = serde_json::from_value(parameters)?;
                // The order of a reference never changes, so that both statements see the same one.
                match documents::get(db, shop, reference).await? {
                    Some(ReferencedOrder(id)) => to_json(order(db, shop, id).await?),
                    None => Ok(None),
                }
            }
            "history" => {
                let ById { id } = serde_json::from_value(parameters)?;
                to_json(history(db, shop, id).await?)
            }
            "totals" => to_json(Some(totals(db, shop).await?)),
            _ => Err(QueryError::Unknown { service: Orders::NAME, name: name.to_owned() }),
        }
    }
}

fn to_json(view: Option<impl Serialize>) -> Result<Option<Value>, QueryError> {
    Ok(view.map(serde_json::to_value).transpose()?)
}

/// An order with all that was ordered.
async fn order(db: &AnyPool, shop: &Shop, id: OrderId) -> Result<Option<OrderView>, StoreError> {
    // The order first: content and cancellation are committed with what it says of them, and never
    // change.
    let Some(order) = documents::get::<Order>(db, shop, id).await? else { return Ok(None) };
    let Some(content) = documents::get::<OrderContent>(db, shop, id).await? else {
        return Ok(None);
    };
    let cancellation = match order.reason {
        Some(_) => documents::get::<OrderCancellation>(db, shop, id).await?,
        None => None,
    };
    let OrderContent { reference, customer_id, country, lines, charges } = content;
    Ok(Some(OrderView {
        id,
        reference,
        status: order.status,
        customer_id,
        country,
        lines,
        charges,
        total: order.total.minor,
        currency: order.total.currency,
        cancellation: cancellation.map(|OrderCancellation(cancellation)| cancellation),
        placed_at: order.placed_at,
        updated_at: order.updated_at,
        version: order.version,
    }))
}

/// The events of an order, from its beginning.
async fn history(
    db: &AnyPool,
    shop: &Shop,
    id: OrderId,
) -> Result<Option<Vec<StepView>>, StoreError> {
    let Some(OrderHistory(steps)) = documents::get(db, shop, id).await? else { return Ok(None) };
    let steps =
        steps.into_iter().zip(1..).map(|(Step(event, millis, cause, cause_id), version)| {
            let (event, time) = (event.as_str().to_owned(), Timestamp::from_millis(millis));
            StepView { version, event, time, cause, cause_id }
        });
    Ok(Some(steps.collect()))
}

/// How many orders of a shop have which status, and their totals.
async fn totals(db: &AnyPool, shop: &Shop) -> Result<OrderTotals, StoreError> {
    let rows = sqlx::query(
        "select status, reason, count(*) as orders, cast(sum(total) as bigint) as total \
         from orders where shop = $1 group by status, reason order by status, reason",
    )
    .bind(shop.as_str().to_owned())
    .fetch_all(db)
    .await?;
    let groups = rows.iter().map(group).collect::<Result<_, StoreError>>()?;
    Ok(OrderTotals { groups })
}

fn group(row: &AnyRow) -> Result<OrderGroup, StoreError> {
    let status: String = row.try_get("status")?;
    let reason: Option<String> = row.try_get("reason")?;
    let (orders, total): (i64, i64) = (row.try_get("orders")?, row.try_get("total")?);
    let group = json!({ "status": status, "reason": reason, "orders": orders, "total": total });
    serde_json::from_value(group).map_err(|source| StoreError::Unreadable {
        table: Order::TABLE.name.to_owned(),
        key: format!("{status} {reason:?}"),
        source,
    })
}
