//! The list of a shop's orders: what can be looked for, and the pages of it.
//!
//! A list is ordered by when its orders were placed, and by number where that is the same. Neither ever
//! changes, so a page that begins after an order misses none that matched all the time, and shows none
//! twice.
//!
//! A text finds first the orders whose number or reference it is, then those whose reference holds it. A page
//! of the latter ends after [`MAX_SEARCHED`] orders, however few it has found: so a text that no order
//! holds costs no more than another, and needs no index that each order would write.

mod statement;
#[cfg(test)]
mod tests;

use engine::{Row as _, StoreError, documents};
use events::id::{CustomerId, OrderId, Reference, Sku};
use protocol::{id::Shop, time::Timestamp};
use serde::de::Error as _;
use sqlx::{AnyPool, Row as _, any::AnyRow};

use self::statement::Statement;
use crate::domain::{
    FulfilmentStatus, OrderStatus, PaymentStatus,
    rows::{Order, OrderContent},
};

/// The orders that a search for a part of the reference looks at for one page.
const MAX_SEARCHED: usize = 10_000;

/// Which orders of a shop are listed: those that match all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OrderFilter {
    pub(crate) status: Option<OrderStatus>,
    pub(crate) payment_status: Option<PaymentStatus>,
    pub(crate) fulfilment_status: Option<FulfilmentStatus>,
    pub(crate) customer_id: Option<CustomerId>,
    /// A line is of it.
    pub(crate) sku: Option<Sku>,
    pub(crate) reference: Option<Reference>,
    /// The number or the reference in full, or a part of the reference, whatever its case.
    pub(crate) text: Option<Reference>,
    pub(crate) on_hold: bool,
    /// Placed at that time or later.
    pub(crate) placed_from: Option<Timestamp>,
    /// Placed before that time.
    pub(crate) placed_until: Option<Timestamp>,
}

/// A page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderPage {
    pub(crate) filter: OrderFilter,
    /// Whether the oldest come first, rather than the newest.
    pub(crate) oldest_first: bool,
    /// Where it begins.
    pub(crate) from: PageStart,
    /// The most orders of it.
    pub(crate) limit: u32,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PageStart {
    /// After that order; with the first one when there is none.
    pub(crate) after: Option<OrderPlace>,
    /// Whether it has the orders whose reference holds the text as a part, which come after those whose
    /// number or reference it is.
    pub(crate) by_part: bool,
}

/// Where an order is in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrderPlace {
    pub(crate) placed_at: Timestamp,
    pub(crate) number: u64,
}

/// An order in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedOrder {
    pub(crate) id: OrderId,
    pub(crate) order: Order,
    pub(crate) reference: Option<Reference>,
    pub(crate) customer_id: Option<CustomerId>,
}

/// Orders of a page, and where the next one begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderList {
    pub(crate) orders: Vec<ListedOrder>,
    /// None at the end of the list.
    pub(crate) next: Option<PageStart>,
}

/// A page of the orders of a shop.
pub(crate) async fn list(
    db: &AnyPool,
    shop: &Shop,
    page: &OrderPage,
) -> Result<OrderList, StoreError> {
    let mut list = read(db, shop, page).await?;
    if let Some(from) = list.next
        && from.by_part
        && !page.from.by_part
    {
        let limit = page.limit - list.orders.len() as u32;
        let rest = read(db, shop, &OrderPage { from, limit, ..page.clone() }).await?;
        list.orders.extend(rest.orders);
        list.next = rest.next;
    }
    Ok(list)
}

/// The orders that one statement finds.
async fn read(db: &AnyPool, shop: &Shop, page: &OrderPage) -> Result<OrderList, StoreError> {
    let Statement { sql, values } = page.statement(shop);
    let rows = documents::select(db, sql, values).await?;
    let orders = rows.iter().map(listed).collect::<Result<Vec<_>, _>>()?;
    let PageStart { by_part, .. } = page.from;
    let next = match orders.last() {
        Some(last) if orders.len() >= page.limit as usize => {
            Some(PageStart { after: Some(last.place()), by_part })
        }
        _ if by_part => last_searched(db, shop, page)
            .await?
            .map(|last| PageStart { after: Some(last), by_part }),
        _ => page.filter.text.as_ref().map(|_| PageStart { after: None, by_part: true }),
    };
    Ok(OrderList { orders, next })
}

/// The last order that a search for a part looks at; none when it looks at all that there are.
async fn last_searched(
    db: &AnyPool,
    shop: &Shop,
    page: &OrderPage,
) -> Result<Option<OrderPlace>, StoreError> {
    let Statement { sql, values } = page.last_searched(shop);
    let rows = documents::select(db, sql, values).await?;
    let place = |row: &AnyRow| {
        let (placed_at, number): (i64, i64) = (row.try_get("placed_at")?, row.try_get("number")?);
        Ok(OrderPlace { placed_at: Timestamp::from_millis(placed_at), number: number as u64 })
    };
    rows.first().map(place).transpose()
}

impl ListedOrder {
    fn place(&self) -> OrderPlace {
        OrderPlace { placed_at: self.order.placed_at, number: self.order.number }
    }
}

fn listed(row: &AnyRow) -> Result<ListedOrder, StoreError> {
    let key: String = row.try_get("key")?;
    let (reference, customer_id): (Option<String>, Option<String>) =
        (row.try_get("reference")?, row.try_get("customer_id")?);
    let document: String = row.try_get("document")?;
    let unreadable = |table: &str, source| StoreError::Unreadable {
        table: table.to_owned(),
        key: key.clone(),
        source,
    };
    let of_content = |error| unreadable(OrderContent::TABLE.name, serde_json::Error::custom(error));
    Ok(ListedOrder {
        id: OrderId::parse(&key).map_err(of_content)?,
        order: serde_json::from_str(&document)
            .map_err(|error| unreadable(Order::TABLE.name, error))?,
        reference: reference.as_deref().map(Reference::parse).transpose().map_err(of_content)?,
        customer_id: customer_id
            .as_deref()
            .map(CustomerId::parse)
            .transpose()
            .map_err(of_content)?,
    })
}
