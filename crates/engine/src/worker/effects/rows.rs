//! What the database knows of operations: the rows that announce them, and when they are tried again.

use protocol::{id::Shop, time::Timestamp};
use sqlx::{AnyPool, AssertSqlSafe, Row as _};

use crate::{Document, OperationColumn, StoreError, service::Value};

/// What a row announces.
pub(super) struct Announced {
    pub(super) id: String,
    pub(super) document: String,
    /// When it is due, where the row says so.
    pub(super) due: Option<Timestamp>,
}

/// Reads what a row announces from its columns: the operation, and when it is due.
pub(super) fn announced(
    row: &dyn Document,
    column: usize,
    due: Option<usize>,
) -> Result<Option<Announced>, StoreError> {
    let mut columns = row.columns();
    let due = due.and_then(|at| match columns.get(at) {
        Some(Value::Integer(Some(due))) => Some(Timestamp::from_millis(*due)),
        _ => None,
    });
    match columns.get_mut(column) {
        Some(Value::Text(Some(id))) => {
            let id = std::mem::take(id);
            Ok(Some(Announced { id, document: row.to_json()?, due }))
        }
        _ => Ok(None),
    }
}

/// An operation that was pending when the process before this one stopped.
pub(super) struct Pending {
    /// The shop and the key of its row.
    pub(super) row: (Shop, String),
    pub(super) announced: Announced,
    /// How often it was tried.
    pub(super) attempts: u32,
    /// When it is to be tried again, if that was put off.
    pub(super) retry: Option<Timestamp>,
}

/// Reads what is pending, and forgets the attempts of what is not.
pub(super) async fn pending(
    pool: &AnyPool,
    partition: u32,
    OperationColumn { table, column, due }: OperationColumn,
) -> Result<Vec<Pending>, StoreError> {
    let row_due = due.map_or("cast(null as bigint)".to_owned(), |due| format!("t.{due}"));
    let statement = format!(
        "select t.shop as shop, t.key as key, t.document as document, t.{column} as operation, \
         {row_due} as row_due, a.attempts as attempts, a.due_at as due_at from {table} t \
         left join engine_attempt a on a.operation = t.{column} \
         where t.partition = $1 and t.{column} is not null order by t.shop, t.key"
    );
    let rows =
        sqlx::query(AssertSqlSafe(statement)).bind(i64::from(partition)).fetch_all(pool).await?;
    // Those of operations that were settled just before the process was gone.
    let forget = format!(
        "delete from engine_attempt where partition = $1 and operation not in \
         (select {column} from {table} where partition = $1 and {column} is not null)"
    );
    sqlx::query(AssertSqlSafe(forget)).bind(i64::from(partition)).execute(pool).await?;
    let mut pending = Vec::with_capacity(rows.len());
    for row in &rows {
        let shop: String = row.try_get("shop")?;
        let Ok(shop) = Shop::parse(&shop) else { continue };
        pending.push(Pending {
            row: (shop, row.try_get("key")?),
            announced: Announced {
                id: row.try_get("operation")?,
                document: row.try_get("document")?,
                due: row.try_get::<Option<i64>, _>("row_due")?.map(Timestamp::from_millis),
            },
            attempts: row.try_get::<Option<i64>, _>("attempts")?.unwrap_or(0) as u32,
            retry: row.try_get::<Option<i64>, _>("due_at")?.map(Timestamp::from_millis),
        });
    }
    Ok(pending)
}

/// Writes down when operations are tried again, and forgets those that are settled.
pub(crate) async fn save_attempts(
    pool: &AnyPool,
    partition: u32,
    attempts: &[(String, u32, Timestamp)],
) -> Result<(), StoreError> {
    let (settled, retried): (Vec<_>, Vec<_>) =
        attempts.iter().partition(|(_, attempts, _)| *attempts == 0);
    let retried: Vec<_> =
        retried.iter().map(|(id, attempts, due)| (id, partition, attempts, due.millis())).collect();
    let settled: Vec<_> = settled.iter().map(|(id, ..)| [id]).collect();
    if !retried.is_empty() {
        sqlx::query(
            "insert into engine_attempt (operation, partition, attempts, due_at) \
             select value->>0, cast(value->>1 as bigint), cast(value->>2 as bigint), \
             cast(value->>3 as bigint) from jsonb_each($1) where true \
             on conflict (operation) do update set attempts = excluded.attempts, \
             due_at = excluded.due_at",
        )
        .bind(serde_json::to_string(&retried)?)
        .execute(pool)
        .await?;
    }
    if !settled.is_empty() {
        sqlx::query(
            "delete from engine_attempt where operation in \
             (select value->>0 from jsonb_each($1))",
        )
        .bind(serde_json::to_string(&settled)?)
        .execute(pool)
        .await?;
    }
    Ok(())
}
