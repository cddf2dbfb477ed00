//! The ledger of the simulated provider: a `SQLite` file of its own, and all SQL for it.

use std::{collections::BTreeSet, path::Path, time::Duration};

use events::money::{Currency, Money};
use protocol::{id::Shop, time::Timestamp};
use serde_json::json;
use sqlx::{
    ConnectOptions as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};

use super::{
    authorization::{Authorization, Status},
    state::{LedgerState, Operation},
};
use crate::provider_api::{Answer, List, Request, Task, Totals, Transaction};

/// How long a transaction waits for that of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a locked file is opened again.
const MAX_OPEN_TRIES: u32 = 20;
/// The pause before the second try; each later one is longer by as much.
const OPEN_RETRY_PAUSE: Duration = Duration::from_millis(10);

const TABLES: &str = "
-- A row is what the provider keeps of an idempotency key.
create table if not exists operation (
    operation_id text primary key,
    shop text not null,
    -- What was asked: authorize, charge, capture, void, refund.
    task text not null,
    -- The payment method of an authorisation or a charge; of the others, the authorisation that they change.
    target text not null,
    amount integer not null,
    currency text not null,
    -- The calls that failed or did not arrive, as the payment method says.
    missed integer not null,
    -- approved or declined; null when there was no answer yet.
    outcome text,
    -- The authorisation or the charge that was approved, or the code of the refusal.
    detail text,
    -- When it was first asked for, in milliseconds since 1970.
    at_ms integer not null,
    -- When it is carried out, in milliseconds since 1970, if that is later.
    due_ms integer,
    -- When it was carried out or refused, in milliseconds since 1970.
    done_ms integer
) strict;
create index if not exists operation_due on operation (due_ms) where outcome is null;
create index if not exists operation_done on operation (shop, done_ms, operation_id)
    where outcome = 'approved';
-- A row is money that was set aside, or taken in one step.
create table if not exists authorization (
    reference text primary key,
    shop text not null,
    payment_method text not null,
    amount integer not null,
    currency text not null,
    -- held (as far as it was not captured), voided, forgotten.
    status text not null,
    captured integer not null,
    refunded integer not null
) strict;";

/// Opens the ledger, which is made if it is not there.
///
/// The change to a write-ahead log waits for no lock, whatever the timeout is: who opens a new file
/// at the same time as others tries again.
pub(super) async fn open(file: &Path) -> Result<SqliteConnection, sqlx::Error> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut tries = 0;
    loop {
        match open_once(file).await {
            Err(sqlx::Error::Database(error)) if is_busy(&*error) && tries < MAX_OPEN_TRIES => {
                tries += 1;
                tokio::time::sleep(OPEN_RETRY_PAUSE * tries).await;
            }
            opened => return opened,
        }
    }
}

/// Whether the file is locked by another connection (`SQLITE_BUSY`).
fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().is_some_and(|code| code == "5")
}

async fn open_once(file: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .busy_timeout(BUSY_TIMEOUT)
        .journal_mode(SqliteJournalMode::Wal)
        // What is committed survives the end of our process; a real provider's own disks are
        // not what is simulated.
        .synchronous(SqliteSynchronous::Off)
        .connect()
        .await?;
    sqlx::raw_sql(TABLES).execute(&mut connection).await?;
    Ok(connection)
}

/// Reads what the requests touch.
pub(super) async fn load(
    db: &mut SqliteConnection,
    requests: impl Iterator<Item = &Request>,
) -> Result<LedgerState, sqlx::Error> {
    let mut ids = BTreeSet::new();
    let mut references = BTreeSet::new();
    for request in requests {
        ids.insert(&*request.operation_id);
        match &request.task {
            Task::Authorize { .. } | Task::Charge { .. } => {}
            Task::Capture { provider_reference }
            | Task::Void { provider_reference }
            | Task::Refund { provider_reference } => {
                references.insert(&**provider_reference);
            }
        }
    }

    let mut state = LedgerState::default();
    let rows = sqlx::query(
        "select operation_id, shop, task, target, amount, currency, missed, outcome, detail, at_ms,
                done_ms
         from jsonb_each($1) join operation on operation_id = value",
    )
    .bind(json!(ids).to_string())
    .fetch_all(&mut *db)
    .await?;
    for row in &rows {
        let operation = operation(row)?;
        state.operations.loaded(operation.request.operation_id.clone(), operation);
    }
    let rows = sqlx::query(
        "select reference, shop, payment_method, amount, currency, status, captured, refunded
         from jsonb_each($1) join authorization on reference = value",
    )
    .bind(json!(references).to_string())
    .fetch_all(&mut *db)
    .await?;
    for row in &rows {
        state.authorizations.loaded(row.try_get("reference")?, authorization(row)?);
    }
    Ok(state)
}

/// Writes what has changed.
pub(super) async fn save(
    db: &mut SqliteConnection,
    state: &LedgerState,
) -> Result<(), sqlx::Error> {
    let operations: Vec<_> = state
        .operations
        .changed()
        .map(|(id, known)| {
            let Operation { request, missed, answer, at, done_at } = known;
            let Request { operation_id: _, shop, amount, task } = request;
            let (outcome, detail) = match answer {
                // What the customer has to do follows from the request.
                None | Some(Answer::ActionRequired { .. }) => (None, None),
                Some(Answer::Approved { provider_reference }) => {
                    (Some("approved"), Some(provider_reference))
                }
                Some(Answer::Declined { code }) => (Some("declined"), Some(code)),
            };
            let (task, target) = (task.as_str(), target(task));
            let Money { minor, currency } = amount;
            let (at_ms, due_ms) = (at.millis(), state.due(known).map(Timestamp::millis));
            let done_ms = done_at.map(Timestamp::millis);
            json!([
                id, shop, task, target, minor, currency, missed, outcome, detail, at_ms, due_ms,
                done_ms
            ])
        })
        .collect();
    if !operations.is_empty() {
        sqlx::query(
            "insert into operation (operation_id, shop, task, target, amount, currency, missed,
                                    outcome, detail, at_ms, due_ms, done_ms)
             select value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6,
                    value->>7, value->>8, value->>9, value->>10, value->>11
             from jsonb_each($1)
             where true
             on conflict (operation_id) do update set
                 missed = excluded.missed, outcome = excluded.outcome, detail = excluded.detail,
                 done_ms = excluded.done_ms",
        )
        .bind(json!(operations).to_string())
        .execute(&mut *db)
        .await?;
    }

    let authorizations: Vec<_> = state
        .authorizations
        .changed()
        .map(|(reference, known)| {
            let Authorization { shop, payment_method, amount, status, captured, refunded } = known;
            let Money { minor, currency } = amount;
            let status = status.as_str();
            json!([reference, shop, payment_method, minor, currency, status, captured, refunded])
        })
        .collect();
    if !authorizations.is_empty() {
        sqlx::query(
            "insert into authorization (reference, shop, payment_method, amount, currency, status,
                                        captured, refunded)
             select value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6,
                    value->>7
             from jsonb_each($1)
             where true
             on conflict (reference) do update set
                 status = excluded.status, captured = excluded.captured,
                 refunded = excluded.refunded",
        )
        .bind(json!(authorizations).to_string())
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// Adds up a shop's money by currency. It reads the whole table: it is asked for reports, not for orders.
pub(super) async fn totals(
    db: &mut SqliteConnection,
    shop: &Shop,
) -> Result<Vec<Totals>, sqlx::Error> {
    let rows = sqlx::query(
        "select currency, sum(captured - refunded) as net,
                sum(case when status = 'held' then amount - captured else 0 end) as held
         from authorization
         where shop = $1 and status <> 'forgotten'
         group by currency order by currency",
    )
    .bind(shop.as_str())
    .fetch_all(db)
    .await?;
    let read = |row: &SqliteRow| {
        let currency = currency(row)?;
        let money = |minor| Money { minor, currency };
        Ok(Totals { net: money(row.try_get("net")?), held: money(row.try_get("held")?) })
    };
    rows.iter().map(read).collect()
}

/// What is to be carried out by now, though nobody asks for it any more.
pub(super) async fn due(
    db: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Vec<Request>, sqlx::Error> {
    let rows = sqlx::query(
        "select operation_id, shop, task, target, amount, currency, missed, outcome, detail, at_ms,
                done_ms
         from operation where outcome is null and due_ms <= $1",
    )
    .bind(now.millis())
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok(operation(row)?.request)).collect()
}

/// What was done for a shop, by the time when it was carried out.
pub(super) async fn transactions(
    db: &mut SqliteConnection,
    list: &List,
) -> Result<Vec<Transaction>, sqlx::Error> {
    let List { shop, from, until, after, limit } = list;
    let rows = sqlx::query(
        "select operation.operation_id, operation.task, operation.amount, operation.currency,
                operation.detail, operation.done_ms
         from operation join authorization on reference = detail
         where operation.shop = $1 and done_ms >= $2 and done_ms < $3 and outcome = 'approved'
               and status <> 'forgotten' and (done_ms, operation_id) > ($4, $5)
         order by done_ms, operation_id limit $6",
    )
    .bind(shop.as_str())
    .bind(from.millis())
    .bind(until.millis())
    .bind(after.as_ref().map_or(i64::MIN, |(at, _)| at.millis()))
    .bind(after.as_ref().map_or("", |(_, id)| id))
    .bind(limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(transaction).collect()
}

/// Those of the operations of a shop that were done.
pub(super) async fn listed(
    db: &mut SqliteConnection,
    shop: &Shop,
    operation_ids: &[String],
) -> Result<Vec<Transaction>, sqlx::Error> {
    let rows = sqlx::query(
        "select operation.operation_id, operation.task, operation.amount, operation.currency,
                operation.detail, operation.done_ms
         from jsonb_each($1) join operation on operation_id = value
              join authorization on reference = detail
         where operation.shop = $2 and outcome = 'approved' and status <> 'forgotten'",
    )
    .bind(json!(operation_ids).to_string())
    .bind(shop.as_str())
    .fetch_all(db)
    .await?;
    rows.iter().map(transaction).collect()
}

/// The shops for which something was done.
pub(super) async fn shops(db: &mut SqliteConnection) -> Result<Vec<Shop>, sqlx::Error> {
    let rows =
        sqlx::query("select distinct shop from operation where outcome = 'approved' order by shop")
            .fetch_all(db)
            .await?;
    rows.iter().map(shop).collect()
}

fn transaction(row: &SqliteRow) -> Result<Transaction, sqlx::Error> {
    Ok(Transaction {
        operation_id: row.try_get("operation_id")?,
        task: row.try_get("task")?,
        amount: amount(row)?,
        provider_reference: row.try_get("detail")?,
        at: Timestamp::from_millis(row.try_get("done_ms")?),
    })
}

fn operation(row: &SqliteRow) -> Result<Operation, sqlx::Error> {
    let target: String = row.try_get("target")?;
    let task = match row.try_get("task")? {
        "authorize" => Task::Authorize { payment_method: target },
        "charge" => Task::Charge { payment_method: target },
        "capture" => Task::Capture { provider_reference: target },
        "void" => Task::Void { provider_reference: target },
        "refund" => Task::Refund { provider_reference: target },
        unknown => return Err(corrupt("task", unknown)),
    };
    let detail: Option<String> = row.try_get("detail")?;
    let answer = match (row.try_get("outcome")?, detail) {
        (None, _) => None,
        (Some("approved"), Some(provider_reference)) => {
            Some(Answer::Approved { provider_reference })
        }
        (Some("declined"), Some(code)) => Some(Answer::Declined { code }),
        (Some(unknown), _) => return Err(corrupt("outcome", unknown)),
    };
    let operation_id = row.try_get("operation_id")?;
    let request = Request { operation_id, shop: shop(row)?, amount: amount(row)?, task };
    let at = Timestamp::from_millis(row.try_get("at_ms")?);
    let done_at: Option<i64> = row.try_get("done_ms")?;
    let done_at = done_at.map(Timestamp::from_millis);
    Ok(Operation { request, missed: row.try_get("missed")?, answer, at, done_at })
}

fn authorization(row: &SqliteRow) -> Result<Authorization, sqlx::Error> {
    let status: &str = row.try_get("status")?;
    Ok(Authorization {
        shop: shop(row)?,
        payment_method: row.try_get("payment_method")?,
        amount: amount(row)?,
        status: Status::parse(status).ok_or_else(|| corrupt("status", status))?,
        captured: row.try_get("captured")?,
        refunded: row.try_get("refunded")?,
    })
}

fn target(task: &Task) -> &str {
    match task {
        Task::Authorize { payment_method } | Task::Charge { payment_method } => payment_method,
        Task::Capture { provider_reference }
        | Task::Void { provider_reference }
        | Task::Refund { provider_reference } => provider_reference,
    }
}

fn shop(row: &SqliteRow) -> Result<Shop, sqlx::Error> {
    let shop: &str = row.try_get("shop")?;
    Shop::parse(shop).map_err(|_| corrupt("shop", shop))
}

fn amount(row: &SqliteRow) -> Result<Money, sqlx::Error> {
    Ok(Money { minor: row.try_get("amount")?, currency: currency(row)? })
}

fn currency(row: &SqliteRow) -> Result<Currency, sqlx::Error> {
    let code: &str = row.try_get("currency")?;
    Currency::parse(code).map_err(|_| corrupt("currency", code))
}

fn corrupt(column: &str, value: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: value.into() }
}
