//! How an order is stored, and which are confirmed and not paid.

use engine::{Column, Row, StoreError, Table, Value};
use sqlx::{AnyPool, Row as _};

use crate::domain::{Awaits, rows::Order};

/// The condition of a confirmed order whose last payment failed, as its index has it.
macro_rules! unpaid {
    () => {
        "statuses in ('confirmed failed unfulfilled', 'confirmed failed partial', \
         'confirmed failed fulfilled', 'confirmed failed partially_returned', \
         'confirmed failed returned')"
    };
}

/// How many confirmed orders of a partition have a last payment that failed.
pub(crate) async fn count_unpaid(db: &AnyPool, partition: u32) -> Result<u64, StoreError> {
    let statement =
        concat!("select count(*) as orders from orders where partition = $1 and ", unpaid!());
    let row = sqlx::query(statement).bind(i64::from(partition)).fetch_one(db).await?;
    Ok(row.try_get::<i64, _>("orders")? as u64)
}

impl Row for Order {
    const TABLE: Table = Table {
        name: "orders",
        about: "An order as the last event about it left it.",
        columns: &[
            Column::integer("deadline"),
            Column::text("awaits"),
            Column::text("statuses"),
            Column::text("reason"),
            Column::integer("total"),
            Column::integer("on_hold"),
            Column::integer("placed_at"),
            Column::integer("number"),
            Column::text("currency"),
        ],
        indexes: &[
            "(partition, deadline) where deadline is not null",
            "(partition, awaits) where awaits is not null",
            // One for all three statuses: each further one would be rewritten by every event.
            "(shop, statuses, placed_at, number)",
            "(shop, placed_at, number) where on_hold is not null",
            concat!("(partition) where ", unpaid!()),
        ],
    };

    fn columns(&self) -> Vec<Value> {
        let awaits = (self.awaits != Awaits::Nothing).then(|| self.awaits.as_str().to_owned());
        vec![
            self.deadline.into(),
            awaits.into(),
            Some(self.statuses.to_string()).into(),
            self.reason.map(|reason| reason.as_str().to_owned()).into(),
            self.total.minor.into(),
            Value::Integer(self.hold.as_ref().map(|_| 1)),
            self.placed_at.millis().into(),
            (self.number as i64).into(),
            self.total.currency.as_str().into(),
        ]
    }
}
