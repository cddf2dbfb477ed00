//! All SQL of the engine's own tables. The statements are the same on `SQLite` and Postgres.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use events::{id::Shop, time::Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, AnyPool, Row};

use crate::{Context, StoreError};

/// How long a handled command is remembered.
const ANSWERS_KEPT: Duration = Duration::from_hours(7 * 24);
/// The source under which the position in the service's own log is kept.
pub(crate) const LOG: &str = "log";

/// A handled command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerRow {
    pub(crate) shop: Shop,
    pub(crate) command_id: String,
    pub(crate) fingerprint: String,
    pub(crate) body: String,
    /// The sequence of the event that carries the answer.
    pub(crate) sequence: u64,
    pub(crate) answered_at: Timestamp,
}

/// An input that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedRow {
    /// The id of the parked event.
    pub id: String,
    /// The partition.
    pub partition: u32,
    /// The shop.
    pub shop: Shop,
    /// The aggregate that waits with it.
    pub aggregate_id: String,
    /// Where the input came from.
    pub source: String,
    /// Its sequence there; 0 for one from within.
    pub sequence: u64,
    /// The subject that it was published on.
    pub subject: String,
    /// Its bytes, in hexadecimal.
    pub payload: String,
    /// Why it waits.
    pub reason: String,
    /// Since when.
    pub parked_at: Timestamp,
    /// The sequence of the parked event: the order in which inputs are redriven.
    pub log_sequence: u64,
}

/// What a batch changes in the engine's tables.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) answers: Vec<AnswerRow>,
    pub(crate) parked: Vec<ParkedRow>,
    /// The ids of parked events that are redriven.
    pub(crate) redriven: Vec<String>,
    /// The time of the last answer, for forgetting old ones.
    pub(crate) time: Timestamp,
}

/// The positions of a partition: its own log's, and one for each input.
pub(crate) async fn positions(
    db: &mut AnyConnection,
    partition: u32,
) -> Result<BTreeMap<String, u64>, StoreError> {
    sqlx::query("select source, sequence from engine_position where partition = $1")
        .bind(i64::from(partition))
        .fetch_all(db)
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)? as u64)))
        .collect()
}

/// Moves the position in the service's own log; false when it was not at `from`: another worker
/// has been here.
pub(crate) async fn advance(
    db: &mut AnyConnection,
    partition: u32,
    from: u64,
    to: u64,
) -> Result<bool, StoreError> {
    let statement = if from == 0 {
        "insert into engine_position (partition, source, sequence) values ($1, 'log', $2) \
         on conflict (partition, source) do update set sequence = excluded.sequence \
         where engine_position.sequence = $3"
    } else {
        "update engine_position set sequence = $2 \
         where partition = $1 and source = 'log' and sequence = $3"
    };
    let moved = sqlx::query(statement)
        .bind(i64::from(partition))
        .bind(to as i64)
        .bind(from as i64)
        .execute(db)
        .await?;
    Ok(moved.rows_affected() == 1)
}

/// Writes the positions of the inputs.
pub(crate) async fn save_positions(
    db: &mut AnyConnection,
    partition: u32,
    positions: &BTreeMap<String, u64>,
) -> Result<(), StoreError> {
    let rows: Vec<_> = positions
        .iter()
        .filter(|(source, _)| *source != LOG)
        .map(|(source, sequence)| (partition, source, sequence))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into engine_position (partition, source, sequence) \
         select cast(value->>0 as bigint), value->>1, cast(value->>2 as bigint) \
         from jsonb_each($1) where true \
         on conflict (partition, source) do update set sequence = excluded.sequence",
    )
    .bind(serde_json::to_string(&rows)?)
    .execute(db)
    .await?;
    Ok(())
}

/// Writes what a batch changes.
pub(crate) async fn save(
    db: &mut AnyConnection,
    partition: u32,
    changes: &Changes,
) -> Result<(), StoreError> {
    if !changes.answers.is_empty() {
        save_answers(db, partition, &changes.answers).await?;
        let oldest = changes.time.millis() - ANSWERS_KEPT.as_millis() as i64;
        sqlx::query("delete from engine_answer where partition = $1 and answered_at < $2")
            .bind(i64::from(partition))
            .bind(oldest)
            .execute(&mut *db)
            .await?;
    }
    if !changes.parked.is_empty() {
        save_parked(db, &changes.parked).await?;
    }
    if !changes.redriven.is_empty() {
        sqlx::query("delete from engine_parked where id in (select value->>0 from jsonb_each($1))")
            .bind(serde_json::to_string(&singles(&changes.redriven))?)
            .execute(db)
            .await?;
    }
    Ok(())
}

async fn save_answers(
    db: &mut AnyConnection,
    partition: u32,
    answers: &[AnswerRow],
) -> Result<(), StoreError> {
    // The last one counts: a command may come again after its first answer was forgotten.
    let last: BTreeMap<_, _> =
        answers.iter().map(|row| ((row.shop.as_str(), &row.command_id), row)).collect();
    let rows: Vec<_> = last
        .into_values()
        .map(|row| {
            let at = row.answered_at.millis();
            let (shop, command) = (row.shop.as_str(), &row.command_id);
            (shop, command, partition, &row.fingerprint, &row.body, row.sequence, at)
        })
        .collect();
    sqlx::query(
        "insert into engine_answer \
         (shop, command_id, partition, fingerprint, body, sequence, answered_at) \
         select value->>0, value->>1, cast(value->>2 as bigint), value->>3, value->>4, \
         cast(value->>5 as bigint), cast(value->>6 as bigint) \
         from jsonb_each($1) where true on conflict (shop, command_id) do update set \
         fingerprint = excluded.fingerprint, body = excluded.body, sequence = excluded.sequence, \
         answered_at = excluded.answered_at",
    )
    .bind(serde_json::to_string(&rows)?)
    .execute(db)
    .await?;
    Ok(())
}

async fn save_parked(db: &mut AnyConnection, parked: &[ParkedRow]) -> Result<(), StoreError> {
    let rows: Vec<_> = parked
        .iter()
        .map(|row| {
            (
                (&row.id, row.partition, row.shop.as_str(), &row.aggregate_id, &row.source),
                (row.sequence, &row.subject, &row.payload, &row.reason),
                (row.parked_at.millis(), row.log_sequence),
            )
        })
        .collect();
    sqlx::query(
        "insert into engine_parked (id, partition, shop, aggregate_id, source, sequence, subject, \
         payload, reason, parked_at, log_sequence) \
         select value->0->>0, cast(value->0->>1 as bigint), value->0->>2, value->0->>3, \
         value->0->>4, cast(value->1->>0 as bigint), value->1->>1, value->1->>2, value->1->>3, \
         cast(value->2->>0 as bigint), cast(value->2->>1 as bigint) \
         from jsonb_each($1) where true on conflict (id) do nothing",
    )
    .bind(serde_json::to_string(&rows)?)
    .execute(db)
    .await?;
    Ok(())
}

/// The answers to those of the commands that have been handled.
pub(crate) async fn answers(
    db: &mut AnyConnection,
    commands: &[(&str, &str)],
) -> Result<HashMap<(Shop, String), AnswerRow>, StoreError> {
    let rows = sqlx::query(
        "select a.shop, a.command_id, a.fingerprint, a.body, a.sequence, a.answered_at \
         from jsonb_each($1) as wanted \
         join engine_answer a on a.shop = value->>0 and a.command_id = value->>1",
    )
    .bind(serde_json::to_string(commands)?)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let shop = shop(row.try_get(0)?, "engine_answer")?;
            let command_id: String = row.try_get(1)?;
            let answer = AnswerRow {
                shop: shop.clone(),
                command_id: command_id.clone(),
                fingerprint: row.try_get(2)?,
                body: row.try_get(3)?,
                sequence: row.try_get::<i64, _>(4)? as u64,
                answered_at: Timestamp::from_millis(row.try_get(5)?),
            };
            Ok(((shop, command_id), answer))
        })
        .collect()
}

/// What is parked in a partition, in the order in which it was parked.
pub(crate) async fn parked(pool: &AnyPool, partition: u32) -> Result<Vec<ParkedRow>, StoreError> {
    let rows = sqlx::query(
        "select id, shop, aggregate_id, source, sequence, subject, payload, reason, parked_at, \
         log_sequence from engine_parked where partition = $1 order by log_sequence",
    )
    .bind(i64::from(partition))
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ParkedRow {
                id: row.try_get(0)?,
                partition,
                shop: shop(row.try_get(1)?, "engine_parked")?,
                aggregate_id: row.try_get(2)?,
                source: row.try_get(3)?,
                sequence: row.try_get::<i64, _>(4)? as u64,
                subject: row.try_get(5)?,
                payload: row.try_get(6)?,
                reason: row.try_get(7)?,
                parked_at: Timestamp::from_millis(row.try_get(8)?),
                log_sequence: row.try_get::<i64, _>(9)? as u64,
            })
        })
        .collect()
}

/// Reads a shop from a row.
fn shop(value: String, table: &'static str) -> Result<Shop, StoreError> {
    Shop::parse(&value).map_err(|_| StoreError::Corrupt { table, column: "shop", value })
}

/// Wraps each value as a row of one column.
fn singles<T: Serialize>(values: &[T]) -> Vec<[&T; 1]> {
    values.iter().map(|value| [value]).collect()
}

impl Context {
    /// The context from its two columns.
    pub fn from_columns(correlation_id: String, traceparent: String) -> Self {
        Self { correlation_id, traceparent }
    }
}
