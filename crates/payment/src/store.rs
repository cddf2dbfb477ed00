//! The rows that the payment service keeps, and the sums over them.

use engine::{Column, Row, Rows, StoreError, Table, Value, documents};
use events::id::{OrderId, PaymentId};
use protocol::id::Shop;
use serde::{Deserialize, Serialize};
use sqlx::{AnyPool, Row as _};

use crate::domain::Payment;

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[PaymentRow::TABLE];

/// The payments of one shop.
pub(crate) type Payments = Rows<PaymentId, PaymentRow>;

/// A payment, as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRow {
    /// Counts its events, from 1.
    pub version: u64,
    /// The payment as it is.
    pub payment: Payment,
}

impl Row for PaymentRow {
    const TABLE: Table = Table {
        name: "payment",
        about: "A payment of an order, as the last event about it left it.",
        columns: &[
            Column::text("operation"),
            Column::text("status"),
            Column::integer("authorized"),
            Column::integer("captured"),
            Column::integer("refunded"),
        ],
        indexes: &["(partition, operation) where operation is not null"],
    };

    fn columns(&self) -> Vec<Value> {
        let Self { payment, .. } = self;
        vec![
            payment.pending_id().into(),
            payment.status.as_str().into(),
            payment.held().into(),
            payment.captured.into(),
            payment.refunded.into(),
        ]
    }
}

/// The payments of an order, by number.
pub(crate) async fn of_order(
    db: &AnyPool,
    shop: &Shop,
    order_id: OrderId,
) -> Result<Vec<PaymentRow>, StoreError> {
    let mut payments = vec![];
    let mut payment_id = PaymentId::first(order_id);
    while let Some(row) = documents::get::<PaymentRow>(db, shop, payment_id).await? {
        payments.push(row);
        payment_id = payment_id.next();
    }
    Ok(payments)
}

/// The money of a shop by our log, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Captured.
    pub captured: i64,
    /// Paid back.
    pub refunded: i64,
    /// Authorised and neither captured nor voided.
    pub authorized: i64,
    /// Operations whose outcome is not known yet.
    pub pending: i64,
}

/// Adds up the shop's payments.
pub(crate) async fn totals(db: &AnyPool, shop: &Shop) -> Result<Totals, StoreError> {
    let row = sqlx::query(
        "select cast(coalesce(sum(captured), 0) as bigint) as captured, \
                cast(coalesce(sum(refunded), 0) as bigint) as refunded, \
                cast(coalesce(sum(authorized), 0) as bigint) as authorized, \
                count(operation) as pending \
         from payment where shop = $1",
    )
    .bind(shop.as_str().to_owned())
    .fetch_one(db)
    .await?;
    Ok(Totals {
        captured: row.try_get("captured")?,
        refunded: row.try_get("refunded")?,
        authorized: row.try_get("authorized")?,
        pending: row.try_get("pending")?,
    })
}
