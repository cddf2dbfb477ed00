//! The list of a shop's payments.
//!
//! It is ordered by when payments were begun, and by id where that is the same. Neither ever changes, so a
//! page that begins after a payment misses none that matched all the time, and shows none twice. The
//! statement begins at the index of provider references where one is looked for, at that of troubles where one
//! of these is, and otherwise at each status that matches: so far as the page can reach, and no further.

#[cfg(test)]
mod tests;

use engine::{StoreError, Value, documents};
use events::id::{OrderId, PaymentId};
use protocol::{id::Shop, time::Timestamp};
use sqlx::AnyPool;

use super::{PaymentRow, of_order};
use crate::domain::{Status, Trouble, TroubleKind};

/// Which payments of a shop are listed: those that match all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PaymentFilter {
    pub(crate) status: Option<Status>,
    pub(crate) order_id: Option<OrderId>,
    /// The provider's name for the authorisation; empty for any.
    pub(crate) provider_reference: String,
    pub(crate) trouble: Option<TroubleKind>,
    /// Begun at that time or later.
    pub(crate) begun_from: Option<Timestamp>,
    /// Begun before that time.
    pub(crate) begun_until: Option<Timestamp>,
}

/// A page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaymentPage {
    pub(crate) filter: PaymentFilter,
    /// Whether the oldest come first, rather than the newest.
    pub(crate) oldest_first: bool,
    /// The payment after which it begins.
    pub(crate) after: Option<PaymentPlace>,
    /// The most payments of it.
    pub(crate) limit: u32,
}

/// Where a payment is in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PaymentPlace {
    pub(crate) begun_at: Timestamp,
    pub(crate) payment_id: PaymentId,
}

/// A page of the payments of a shop.
pub(crate) async fn list(
    db: &AnyPool,
    shop: &Shop,
    page: &PaymentPage,
) -> Result<Vec<PaymentRow>, StoreError> {
    if let Some(order_id) = page.filter.order_id {
        // An order has few payments, whose ids follow from its own.
        return Ok(page.of(of_order(db, shop, order_id).await?));
    }
    let Statement { sql, values } = page.statement(shop);
    let rows = documents::select(db, sql, values).await?;
    rows.iter().map(|row| Ok(documents::read::<PaymentRow>(row)?.1)).collect()
}

/// A statement, and the values of its parameters.
#[derive(Debug)]
struct Statement {
    sql: String,
    values: Vec<Value>,
}

impl PaymentPage {
    /// The statement that finds the page.
    fn statement(&self, shop: &Shop) -> Statement {
        let PaymentFilter { status, provider_reference, trouble, .. } = &self.filter;
        let (low, high) = self.bounds();
        let mut values = vec![
            shop.as_str().into(),
            low.0.into(),
            Value::from(&*low.1),
            high.0.into(),
            Value::from(&*high.1),
            i64::from(self.limit).into(),
        ];
        let direction = if self.oldest_first { "asc" } else { "desc" };
        let order = format!("order by a.begun_at {direction}, a.key {direction} limit $6");
        let between = "(a.begun_at, a.key) > ($2, $3) and (a.begun_at, a.key) < ($4, $5)";
        // Not `a.status =`: a status alone has many payments, a reference and a trouble few, and SQLite
        // begins at either.
        let of_status = status.map(|it| format!("and a.status || '' = '{}'", it.as_str()));
        let of_status = of_status.unwrap_or_default();
        let sql = if !provider_reference.is_empty() {
            values.push(provider_reference.as_str().into());
            let of_trouble = trouble.map(|it| format!("and a.trouble || '' = '{}'", it.as_str()));
            let of_trouble = of_trouble.unwrap_or_default();
            format!(
                "select a.key, a.document from payment a where a.shop = $1 \
                 and a.provider_reference = $7 {of_status} {of_trouble} and {between} {order}"
            )
        } else if let Some(trouble) = trouble {
            let trouble = trouble.as_str();
            format!(
                "select a.key, a.document from payment a \
                 where a.shop || '' = $1 and a.trouble = '{trouble}' {of_status} and {between} {order}"
            )
        } else {
            // A status is a part of the index on its own. Its name is our own, and has no quote.
            let of_status = |status: &Status| {
                let status = status.as_str();
                format!(
                    "select * from (select a.key, a.begun_at from payment a \
                     where a.shop = $1 and a.status = '{status}' and {between} {order}) a"
                )
            };
            let statuses = status.map_or(Status::ALL.to_vec(), |status| vec![status]);
            let parts: Vec<_> = statuses.iter().map(of_status).collect();
            format!(
                "select p.key, p.document from (select * from ({}) a {order}) a \
                 cross join payment p where p.shop = $1 and p.key = a.key {order}",
                parts.join(" union all ")
            )
        };
        Statement { sql, values }
    }

    /// The places between which the payments of the page are, both excluded: time and id.
    fn bounds(&self) -> ((i64, String), (i64, String)) {
        let PaymentFilter { begun_from, begun_until, .. } = self.filter;
        // No id is empty, so no payment is between a time and the empty id of it.
        let mut low = (begun_from.map_or(i64::MIN, Timestamp::millis), String::new());
        let mut high = (begun_until.map_or(i64::MAX, Timestamp::millis), String::new());
        if let Some(PaymentPlace { begun_at, payment_id }) = self.after {
            let place = (begun_at.millis(), payment_id.to_string());
            if self.oldest_first {
                low = low.max(place);
            } else {
                high = high.min(place);
            }
        }
        (low, high)
    }

    /// The page out of all payments of an order.
    fn of(&self, mut rows: Vec<PaymentRow>) -> Vec<PaymentRow> {
        let PaymentFilter { status, provider_reference, trouble, begun_from, begun_until, .. } =
            &self.filter;
        let place = |row: &PaymentRow| (row.payment.begun_at(), row.payment.id.to_string());
        let after = self.after.map(|after| (after.begun_at, after.payment_id.to_string()));
        rows.retain(|row| {
            let payment = &row.payment;
            let is_behind = after.as_ref().is_none_or(|after| {
                if self.oldest_first { place(row) > *after } else { place(row) < *after }
            });
            is_behind
                && status.is_none_or(|status| payment.status == status)
                && [payment.provider_reference.as_str(), ""].contains(&provider_reference.as_str())
                && trouble.is_none_or(|it| payment.open_trouble().map(Trouble::kind) == Some(it))
                && begun_from.is_none_or(|from| payment.begun_at() >= from)
                && begun_until.is_none_or(|until| payment.begun_at() < until)
        });
        rows.sort_by_key(place);
        if !self.oldest_first {
            rows.reverse();
        }
        rows.truncate(self.limit as usize);
        rows
    }
}
