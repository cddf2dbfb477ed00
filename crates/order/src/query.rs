//! The questions that this service answers, straight from the projection.

#[cfg(test)]
mod tests;

use ::metrics::Gauge;
use engine::{Queries, QueryError, Row as _, StoreError, documents};
use events::id::{OrderId, Reference};
use protocol::id::Shop;
use serde::de::Error as _;
use sqlx::{AnyPool, Row as _, any::AnyRow};

use crate::{
    Orders,
    domain::{CancelReason, Cancellation, OrderStatus},
    metrics,
    store::{Order, OrderCancellation, OrderContent, OrderHistory, ReferencedOrder, Step},
};

/// The statuses of an order that is neither paid nor cancelled; an index holds these orders.
const UNDER_WAY: [OrderStatus; 4] =
    [OrderStatus::Placed, OrderStatus::PaymentDue, OrderStatus::Authorized, OrderStatus::Confirmed];

/// What the order service can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// An order with all that was ordered.
    Order(OrderId),
    /// The same, by the caller's own order number.
    ByReference(Reference),
    /// The events of an order, from its beginning.
    History(OrderId),
    /// How many orders of the shop have which status, and their totals.
    Totals,
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An order.
    Order(Box<FoundOrder>),
    /// The events of an order: the n-th led to version n.
    History(Vec<Step>),
    /// The orders in sums.
    Totals(Vec<Group>),
}

/// An order with all that was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundOrder {
    /// Its id.
    pub id: OrderId,
    /// The order as it is.
    pub order: Order,
    /// What was ordered.
    pub content: OrderContent,
    /// Why it is cancelled, when it is.
    pub cancellation: Option<Cancellation>,
}

/// The orders of one status, and of one reason where they are cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Their status.
    pub status: OrderStatus,
    /// Why they are cancelled, when they are.
    pub reason: Option<CancelReason>,
    /// How many there are.
    pub orders: i64,
    /// Their totals together, in minor units.
    pub total: i64,
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
        question: Question,
    ) -> Result<Option<Found>, QueryError> {
        let of =
            async |id| Ok(order(db, shop, id).await?.map(|found| Found::Order(Box::new(found))));
        match question {
            Question::Order(id) => of(id).await,
            // The order of a reference never changes, so that both statements see the same one.
            Question::ByReference(reference) => match documents::get(db, shop, reference).await? {
                Some(ReferencedOrder(id)) => of(id).await,
                None => Ok(None),
            },
            Question::History(id) => {
                let history: Option<OrderHistory> = documents::get(db, shop, id).await?;
                Ok(history.map(|OrderHistory(steps)| Found::History(steps)))
            }
            Question::Totals => Ok(Some(Found::Totals(totals(db, shop).await?))),
        }
    }
}

/// An order with all that was ordered.
async fn order(db: &AnyPool, shop: &Shop, id: OrderId) -> Result<Option<FoundOrder>, StoreError> {
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
    let cancellation = cancellation.map(|OrderCancellation(cancellation)| cancellation);
    Ok(Some(FoundOrder { id, order, content, cancellation }))
}

/// How many orders of a shop have which status, and their totals.
async fn totals(db: &AnyPool, shop: &Shop) -> Result<Vec<Group>, StoreError> {
    let rows = sqlx::query(
        "select status, reason, count(*) as orders, cast(sum(total) as bigint) as total \
         from orders where shop = $1 group by status, reason order by status, reason",
    )
    .bind(shop.as_str().to_owned())
    .fetch_all(db)
    .await?;
    rows.iter().map(group).collect()
}

fn group(row: &AnyRow) -> Result<Group, StoreError> {
    let status: String = row.try_get("status")?;
    let reason: Option<String> = row.try_get("reason")?;
    let unknown = |value: &str| StoreError::Unreadable {
        table: Order::TABLE.name.to_owned(),
        key: format!("{status} {reason:?}"),
        source: serde_json::Error::custom(format!("{value:?} is unknown to this version")),
    };
    let known_status = OrderStatus::ALL.into_iter().find(|known| known.as_str() == status);
    let known_reason = |text: &str| CancelReason::ALL.into_iter().find(|it| it.as_str() == text);
    let reason_of = |text: &String| known_reason(text).ok_or_else(|| unknown(text));
    Ok(Group {
        status: known_status.ok_or_else(|| unknown(&status))?,
        reason: reason.as_ref().map(reason_of).transpose()?,
        orders: row.try_get("orders")?,
        total: row.try_get("total")?,
    })
}
