//! How the rows of the payment service are stored, and the sums over them.

mod list;

use engine::{Column, Row, StoreError, Table, Value, documents};
use events::{
    id::{OrderId, PaymentId},
    money::{Currency, Money},
};
use protocol::{id::Shop, time::Timestamp};
use serde::de::Error as _;
use sqlx::{AnyPool, Row as _, any::AnyRow};

pub(crate) use self::list::{PaymentFilter, PaymentPage, PaymentPlace, list};
use crate::domain::{PaymentRow, TroubleKind};

/// The longest reference of a provider by which a payment is found: an entry of an index of Postgres is
/// limited to 2,704 bytes.
const MAX_FOUND_REFERENCE_BYTES: usize = 1_000;

/// The tables of the projection.
pub(crate) const TABLES: &[Table] = &[PaymentRow::TABLE];

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
            Column::integer("changed_at"),
            Column::text("currency"),
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
            payment.open_trouble().map(|trouble| trouble.kind().as_str().to_owned()).into(),
            payment.begun_at().millis().into(),
            Some(&payment.provider_reference)
                .filter(|reference| (1..=MAX_FOUND_REFERENCE_BYTES).contains(&reference.len()))
                .cloned()
                .into(),
            payment.changed_at_ms.into(),
            payment.amount.currency.as_str().into(),
        ]
    }
}

/// The payments with an operation in that trouble, of a shop, or of all for [`Shop::unknown`]; by id, a
/// page at a time: those after the payment `after`. With their shops.
pub(crate) async fn in_trouble(
    db: &AnyPool,
    shop: &Shop,
    trouble: TroubleKind,
    after: &str,
    limit: u32,
) -> Result<Vec<(String, PaymentRow)>, StoreError> {
    let rows = sqlx::query(
        "select shop, key, document from payment \
         where (shop = $1 or $1 = $2) and key > $3 and trouble = $5 order by key limit $4",
    )
    .bind(shop.as_str().to_owned())
    .bind(Shop::unknown().as_str().to_owned())
    .bind(after.to_owned())
    .bind(i64::from(limit))
    .bind(trouble.as_str())
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

/// A page of the payments of a shop to which something has happened since then, by id: those after the
/// payment `after`.
pub(crate) async fn changed_since(
    db: &AnyPool,
    shop: &Shop,
    since: Timestamp,
    after: &str,
    limit: u32,
) -> Result<Vec<PaymentRow>, StoreError> {
    let rows = sqlx::query(
        "select key, document from payment \
         where shop = $1 and key > $2 and changed_at >= $4 order by key limit $3",
    )
    .bind(shop.as_str().to_owned())
    .bind(after.to_owned())
    .bind(i64::from(limit))
    .bind(since.millis())
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok(documents::read::<PaymentRow>(row)?.1)).collect()
}

/// The shops that have payments, by name: those after the shop `after`. Each is one look into the primary
/// key.
pub(crate) async fn shops(
    db: &AnyPool,
    after: &str,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    let mut shops: Vec<String> = vec![];
    while shops.len() < limit as usize {
        let last = shops.last().map_or(after, String::as_str);
        let row = sqlx::query("select shop from payment where shop > $1 order by shop limit 1")
            .bind(last.to_owned())
            .fetch_optional(db)
            .await?;
        let Some(row) = row else { break };
        shops.push(row.try_get("shop")?);
    }
    Ok(shops)
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

/// The money of a shop by our log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// By currency.
    pub currencies: Vec<CurrencyTotals>,
    /// Operations whose outcome is not known yet.
    pub pending: i64,
    /// Payments that are stuck.
    pub stuck: i64,
}

/// The money of a shop by our log in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrencyTotals {
    /// Captured.
    pub captured: Money,
    /// Paid back.
    pub refunded: Money,
    /// Authorised and neither captured nor voided.
    pub authorized: Money,
}

/// Adds up the shop's payments by currency.
pub(crate) async fn totals(db: &AnyPool, shop: &Shop) -> Result<Totals, StoreError> {
    let rows = sqlx::query(
        "select currency, cast(sum(captured) as bigint) as captured, \
                cast(sum(refunded) as bigint) as refunded, \
                cast(sum(authorized) as bigint) as authorized, \
                count(operation) as pending, \
                count(*) filter (where trouble = 'stuck') as stuck \
         from payment where shop = $1 group by currency order by currency",
    )
    .bind(shop.as_str().to_owned())
    .fetch_all(db)
    .await?;
    let mut totals = Totals::default();
    for row in &rows {
        let code: String = row.try_get("currency")?;
        let currency = Currency::parse(&code).map_err(|error| StoreError::Unreadable {
            table: PaymentRow::TABLE.name.to_owned(),
            key: code,
            source: serde_json::Error::custom(error),
        })?;
        let money =
            |column: &str| Ok::<_, StoreError>(Money { minor: row.try_get(column)?, currency });
        totals.currencies.push(CurrencyTotals {
            captured: money("captured")?,
            refunded: money("refunded")?,
            authorized: money("authorized")?,
        });
        totals.pending += row.try_get::<i64, _>("pending")?;
        totals.stuck += row.try_get::<i64, _>("stuck")?;
    }
    Ok(totals)
}
