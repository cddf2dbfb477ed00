//! The rows that the payment service keeps, and the sums over them.

mod list;

use engine::{Column, Revision, Row, Rows, StoreError, Table, Value, documents};
use events::id::{OrderId, PaymentId};
use protocol::id::Shop;
use serde::{Deserialize, Serialize};
use sqlx::{AnyPool, Row as _, any::AnyRow};

pub(crate) use self::list::{PaymentFilter, PaymentPage, PaymentPlace, list};
use crate::domain::Payment;

/// The longest reference of a provider by which a payment is found: an entry of an index of Postgres is
/// limited to 2,704 bytes.
const MAX_FOUND_REFERENCE_BYTES: usize = 1_000;

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[PaymentRow::TABLE];

/// The payments of one shop.
pub(crate) type Payments = Rows<PaymentId, PaymentRow>;

/// A payment, as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRow {
    /// Its version, and where its last event is.
    pub revision: Revision,
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
            Column::text("trouble"),
            Column::integer("begun_at"),
            Column::text("provider_reference"),
        ],
        indexes: &[
            "(partition, operation) where operation is not null",
            "(trouble, key) where trouble is not null",
            // Lists of all statuses are put together of those of each: each event rewrites an index.
            "(shop, status, begun_at, key)",
            "(shop, provider_reference) where provider_reference is not null",
        ],
    };

    fn columns(&self) -> Vec<Value> {
        let Self { payment, .. } = self;
        vec![
            payment.pending_id().into(),
            payment.status.as_str().into(),
            payment.held().into(),
            payment.captured.into(),
            payment.refunded.into(),
            payment.trouble().map(|trouble| trouble.as_str().to_owned()).into(),
            payment.begun_at().millis().into(),
            Some(&payment.provider_reference)
                .filter(|reference| (1..=MAX_FOUND_REFERENCE_BYTES).contains(&reference.len()))
                .cloned()
                .into(),
        ]
    }
}

/// The payments whose operation is stuck, of a shop, or of all for [`Shop::unknown`]; by id, a page at a
/// time: those after the payment `after`. With their shops.
pub(crate) async fn stuck(
    db: &AnyPool,
    shop: &Shop,
    after: &str,
    limit: u32,
) -> Result<Vec<(String, PaymentRow)>, StoreError> {
    let rows = sqlx::query(
        "select shop, key, document from payment \
         where trouble = 'stuck' and (shop = $1 or $1 = $2) and key > $3 order by key limit $4",
    )
    .bind(shop.as_str().to_owned())
    .bind(Shop::unknown().as_str().to_owned())
    .bind(after.to_owned())
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    let read = |row: &AnyRow| Ok((row.try_get("shop")?, documents::read::<PaymentRow>(row)?.1));
    rows.iter().map(read).collect()
}

/// The payment of that id, whatever its shop, with that: for an operator who knows the id alone.
pub(crate) async fn of_any_shop(
    db: &AnyPool,
    payment_id: PaymentId,
) -> Result<Option<(String, PaymentRow)>, StoreError> {
    let row = sqlx::query("select shop, key, document from payment where key = $1 limit 1")
        .bind(payment_id.to_string())
        .fetch_optional(db)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((row.try_get("shop")?, documents::read::<PaymentRow>(&row)?.1)))
}

/// How many payments of a partition have an operation that is uncertain, and one that is stuck.
pub(crate) async fn count_trouble(db: &AnyPool, partition: u32) -> Result<(u64, u64), StoreError> {
    let row = sqlx::query(
        "select count(*) filter (where trouble = 'uncertain') as uncertain, \
                count(*) filter (where trouble = 'stuck') as stuck \
         from payment where partition = $1 and trouble is not null",
    )
    .bind(i64::from(partition))
    .fetch_one(db)
    .await?;
    let count = |column: &str| Ok::<_, StoreError>(row.try_get::<i64, _>(column)? as u64);
    Ok((count("uncertain")?, count("stuck")?))
}

/// A page of the payments of a shop, by id: those after the payment `after`.
pub(crate) async fn page(
    db: &AnyPool,
    shop: &Shop,
    after: &str,
    limit: u32,
) -> Result<Vec<PaymentRow>, StoreError> {
    let rows = sqlx::query(
        "select key, document from payment where shop = $1 and key > $2 order by key limit $3",
    )
    .bind(shop.as_str().to_owned())
    .bind(after.to_owned())
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok(documents::read::<PaymentRow>(row)?.1)).collect()
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
    /// Those of them that are stuck, or that are not carried out any more without an operator.
    pub stuck: i64,
}

/// Adds up the shop's payments.
pub(crate) async fn totals(db: &AnyPool, shop: &Shop) -> Result<Totals, StoreError> {
    let row = sqlx::query(
        "select cast(coalesce(sum(captured), 0) as bigint) as captured, \
                cast(coalesce(sum(refunded), 0) as bigint) as refunded, \
                cast(coalesce(sum(authorized), 0) as bigint) as authorized, \
                count(operation) as pending, \
                count(*) filter (where trouble = 'stuck') as stuck \
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
        stuck: row.try_get("stuck")?,
    })
}
