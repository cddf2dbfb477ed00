//! The questions that this service answers, straight from the projection.

#[cfg(test)]
mod tests;
mod units;

use ::metrics::Gauge;
use engine::{Queries, QueryError, Revision, Row as _, StoreError, documents};
use events::{
    id::OrderId,
    money::{Currency, Money},
    sealed::Sealed,
};
use protocol::id::Shop;
use serde::de::Error as _;
use sqlx::{AnyPool, Row as _, any::AnyRow};

use crate::{
    Orders,
    domain::{
        Awaits, CancelReason, Cancellation, FulfilmentStatus, Statuses,
        rows::{Order, OrderCancellation, OrderContent, OrderPersonal, OrderShipped},
    },
    metrics,
    store::{self, OrderList, OrderPage},
};

pub(crate) use self::units::LineUnits;

/// What the order service can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// An order with all that was ordered.
    Order(OrderId),
    /// How many orders of the shop have which statuses, and their totals.
    Totals,
    /// A page of the orders of the shop.
    Orders(OrderPage),
}

/// What a question finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An order.
    Order(Box<FoundOrder>),
    /// The orders in sums.
    Totals(Vec<Group>),
    /// A page of orders.
    Orders(OrderList),
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
    /// The units of each line that have shipped; empty when none have.
    pub shipped: Vec<i64>,
    /// Why it is cancelled, when it is.
    pub cancellation: Option<Cancellation>,
    /// What is personal in it.
    pub personal: Option<Sealed>,
}

/// The orders of the same statuses and currency, and of one reason where they are cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Their statuses.
    pub statuses: Statuses,
    /// Why they are cancelled, when they are.
    pub reason: Option<CancelReason>,
    /// How many there are.
    pub orders: i64,
    /// Their totals together.
    pub total: Money,
}

impl Queries for Orders {
    async fn count(&self, db: &AnyPool, partition: u32) -> Result<Vec<(Gauge, u64)>, QueryError> {
        let mut counts = Awaits::ANSWERS.map(|state| (state.as_str(), 0));
        let rows = sqlx::query(
            "select awaits, count(*) as orders from orders \
             where partition = $1 and awaits is not null group by awaits",
        )
        .bind(i64::from(partition))
        .fetch_all(db)
        .await?;
        for row in &rows {
            let state: String = row.try_get("awaits")?;
            let orders = row.try_get::<i64, _>("orders")? as u64;
            counts.iter_mut().filter(|(known, _)| *known == state).for_each(|it| it.1 = orders);
        }
        let gauge = |(state, orders)| (metrics::under_way(partition, state), orders);
        let mut gauges: Vec<_> = counts.into_iter().map(gauge).collect();
        let unpaid = store::count_unpaid(db, partition).await?;
        gauges.push((metrics::unpaid(partition), unpaid));
        Ok(gauges)
    }

    async fn revision_of(
        &self,
        db: &AnyPool,
        shop: &Shop,
        _kind: &str,
        id: &str,
    ) -> Result<Option<Revision>, QueryError> {
        let order = documents::get::<Order>(db, shop, id).await?;
        Ok(order.map(|order| order.revision))
    }

    async fn query(
        &self,
        db: &AnyPool,
        shop: &Shop,
        question: Question,
    ) -> Result<Option<Found>, QueryError> {
        Ok(match question {
            Question::Order(id) => {
                order(db, shop, id).await?.map(|found| Found::Order(Box::new(found)))
            }
            Question::Totals => Some(Found::Totals(totals(db, shop).await?)),
            Question::Orders(page) => Some(Found::Orders(store::list(db, shop, &page).await?)),
        })
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
    let shipped = match order.statuses.2 {
        FulfilmentStatus::Unfulfilled => None,
        FulfilmentStatus::Partial
        | FulfilmentStatus::Fulfilled
        | FulfilmentStatus::PartiallyReturned
        | FulfilmentStatus::Returned => documents::get::<OrderShipped>(db, shop, id).await?,
    };
    let shipped = shipped.map(|OrderShipped(units)| units).unwrap_or_default();
    let cancellation = match order.reason {
        Some(_) => documents::get::<OrderCancellation>(db, shop, id).await?,
        None => None,
    };
    let cancellation = cancellation.map(|OrderCancellation(cancellation)| cancellation);
    let personal = if content.has_personal {
        documents::get::<OrderPersonal>(db, shop, id).await?
    } else {
        None
    };
    let personal = personal.map(|OrderPersonal(sealed)| sealed);
    Ok(Some(FoundOrder { id, order, content, shipped, cancellation, personal }))
}

/// How many orders of a shop have which status, and their totals.
async fn totals(db: &AnyPool, shop: &Shop) -> Result<Vec<Group>, StoreError> {
    let rows = sqlx::query(
        "select statuses, reason, currency, count(*) as orders, cast(sum(total) as bigint) as total \
         from orders where shop = $1 group by statuses, reason, currency \
         order by statuses, reason, currency",
    )
    .bind(shop.as_str().to_owned())
    .fetch_all(db)
    .await?;
    rows.iter().map(group).collect()
}

fn group(row: &AnyRow) -> Result<Group, StoreError> {
    let statuses: String = row.try_get("statuses")?;
    let reason: Option<String> = row.try_get("reason")?;
    let currency: String = row.try_get("currency")?;
    let unknown = |value: &str| StoreError::Unreadable {
        table: Order::TABLE.name.to_owned(),
        key: format!("{statuses} {reason:?}"),
        source: serde_json::Error::custom(format!("{value:?} is unknown to this version")),
    };
    let known_reason = |text: &str| CancelReason::ALL.into_iter().find(|it| it.as_str() == text);
    let reason_of = |text: &String| known_reason(text).ok_or_else(|| unknown(text));
    Ok(Group {
        statuses: Statuses::parse(&statuses).ok_or_else(|| unknown(&statuses))?,
        reason: reason.as_ref().map(reason_of).transpose()?,
        orders: row.try_get("orders")?,
        total: Money {
            minor: row.try_get("total")?,
            currency: Currency::parse(&currency).map_err(|_| unknown(&currency))?,
        },
    })
}
