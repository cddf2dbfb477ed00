//! The rows that the payment service keeps, and the sums over them.

use engine::{Column, Row, Rows, StoreError, Table, Value};
use events::id::OrderId;
use protocol::id::Shop;
use serde::{Deserialize, Serialize};
use sqlx::{AnyPool, Row as _};

use crate::domain::{Charge, Payment};

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[PaymentRow::TABLE];

/// The payments of one shop, by order.
pub(crate) type Payments = Rows<OrderId, PaymentRow>;

/// The payment of an order, as the last event about it left it.
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
        about: "The payment of an order, as the last event about it left it.",
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
        let charge = match &self.payment {
            Payment::Abandoned => None,
            Payment::Begun(charge) => Some(charge),
        };
        let pending = charge.and_then(|charge| charge.pending.as_ref());
        let amount = |amount: fn(&Charge) -> i64| charge.map_or(0, amount).into();
        vec![
            pending.map(|pending| pending.operation_id.clone()).into(),
            self.payment.status().into(),
            amount(Charge::held),
            amount(|charge| charge.captured),
            amount(|charge| charge.refunded),
        ]
    }
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
