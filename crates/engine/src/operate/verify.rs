//! The proof that a projection equals its log, byte for byte.

use std::{cmp::Ordering, collections::BTreeMap};

use futures::TryStreamExt;
use sqlx::{
    AnyConnection, AssertSqlSafe, Column, Connection, Row, ValueRef,
    any::{AnyRow, AnyTypeInfoKind},
};

use crate::{
    Engine, Error, Location, Service, StoreError,
    jetstream::{log::info, reader::Recorded, streams},
    operate::rebuild::Scratch,
    projection::{
        database::Database,
        fold,
        positions::{LOG, Positions},
        recover, store,
    },
    worker::inputs,
};

/// Rows that differ are named up to this number; the others are counted.
const MAX_MISMATCHES: usize = 1_000;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Events that were folded.
    pub events: u64,
    /// Rows that were compared.
    pub rows: u64,
    /// The rows that differ, table by table, as many as are named.
    pub mismatches: Vec<Mismatch>,
    /// How many rows differ in all.
    pub mismatched: u64,
    /// Messages of the log that an operator voided.
    pub voided: u64,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The table.
    pub table: String,
    /// The row in the live projection; absent when it should not be missing.
    pub live: Option<String>,
    /// The row as the log has it; absent when it should not be there.
    pub folded: Option<String>,
}

impl Verified {
    fn note(&mut self, table: &str, live: Option<String>, folded: Option<String>) {
        self.mismatched += 1;
        if self.mismatches.len() < MAX_MISMATCHES {
            self.mismatches.push(Mismatch { table: table.to_owned(), live, folded });
        }
    }
}

impl Engine {
    /// Folds a service's log into a scratch database and compares every row with the live
    /// projection. The service may run meanwhile; nothing of it changes. Of a service that has never
    /// run there is nothing to compare.
    ///
    /// # Errors
    ///
    /// When there is no live projection of a log with events, or one whose rows are of another version's format, a position
    /// is beyond the end of its stream, a log cannot be read, or a database fails.
    pub async fn verify<S: Service>(&self) -> Result<Verified, Error> {
        let live = match self.open_database_to_read::<S>().await {
            Err(error) if Database::is_absent(&error) && self.has_no_events::<S>().await? => {
                return Ok(Verified::default());
            }
            opened => opened?,
        };
        // One transaction reads all of the live projection as it is at one moment.
        let mut connection = live.pool.acquire().await?;
        let mut snapshot = connection.begin().await?;
        if let Location::Postgres(_) = self.config().database {
            let isolate = "set transaction isolation level repeatable read, read only";
            sqlx::query(isolate).execute(&mut *snapshot).await?;
            // It is idle while the log is folded, however long that takes, and nobody waits for it.
            let stay = "set local idle_in_transaction_session_timeout to 0";
            sqlx::query(stay).execute(&mut *snapshot).await?;
        }
        let mut verified = Verified::default();
        for partition in 0..self.config().partitions {
            let positions = store::positions(&mut snapshot, partition).await?;
            self.check_positions::<S>(partition, &positions).await?;
            let mut scratch = self.scratch::<S>(partition).await?;
            let compared = self.verify_partition(
                &live,
                &mut snapshot,
                &positions,
                &mut scratch,
                &mut verified,
            );
            let compared = compared.await;
            scratch.discard().await?;
            compared?;
        }
        Ok(verified)
    }

    async fn has_no_events<S: Service>(&self) -> Result<bool, Error> {
        for partition in 0..self.config().partitions {
            let log = info(self.context(), &streams::log(S::NAME, partition)).await?;
            if log.state.last_sequence > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A position beyond the end of its stream would wait for ever, and one of a stream that was
    /// replaced would pass over messages.
    async fn check_positions<S: Service>(
        &self,
        partition: u32,
        positions: &Positions,
    ) -> Result<(), Error> {
        let log = streams::log(S::NAME, partition);
        for (source, stream) in inputs::sources::<S>(partition) {
            let (service, position) = (S::NAME, positions.sequence(source));
            let info = info(self.context(), &stream).await?;
            let last = info.state.last_sequence;
            let is_replica = fold::is_replica::<S>(source);
            if position > last {
                return Err(Error::PositionBeyondEnd {
                    service,
                    stream,
                    position,
                    last,
                    is_replica,
                });
            }
            let recorded = Recorded::of(log.clone(), S::NAME, partition, source);
            if position > 0 && recorded.is_older_than(self.context(), info.created).await? {
                return Err(Error::StreamReplaced { service, stream, position, is_replica });
            }
        }
        Ok(())
    }

    async fn verify_partition<S: Service>(
        &self,
        live: &Database,
        snapshot: &mut AnyConnection,
        positions: &Positions,
        scratch: &mut Scratch<S>,
        verified: &mut Verified,
    ) -> Result<(), Error> {
        let partition = scratch.projection.partition;
        let (pool, projection) = (&scratch.database.pool, &mut scratch.projection);
        let end = positions.sequence(LOG);
        verified.events += recover::fold_log(self.context(), pool, projection, end).await?;
        recover::fold_replicas(self.context(), pool, projection, positions).await?;
        verified.voided += projection.voided();
        let mut folded = scratch.database.pool.acquire().await?;
        // By bytes, as SQLite sorts.
        let collation = match &self.config().database {
            Location::Folder(_) => "",
            Location::Postgres(_) => " collate \"C\"",
        };
        for table in &live.tables {
            let table = (table.name, "shop, key");
            compare(snapshot, &mut folded, table, collation, partition, verified).await?;
        }
        for table in store::PLAIN_TABLES {
            compare(snapshot, &mut folded, *table, collation, partition, verified).await?;
        }
        Ok(())
    }
}

/// Reads both tables in the order of their keys, side by side.
async fn compare(
    live: &mut AnyConnection,
    folded: &mut AnyConnection,
    (table, key): (&str, &str),
    collation: &str,
    partition: u32,
    verified: &mut Verified,
) -> Result<(), Error> {
    let order = order_by(key, collation);
    let select = format!("select * from {table} where partition = $1 order by {order}");
    let partition = i64::from(partition);
    let mut left = sqlx::query(AssertSqlSafe(select.clone())).bind(partition).fetch(&mut *live);
    let mut right = sqlx::query(AssertSqlSafe(select)).bind(partition).fetch(&mut *folded);
    let (mut one, mut other) = (left.try_next().await?, right.try_next().await?);
    loop {
        let ordering = match (&one, &other) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => key_of(one, key)?.cmp(&key_of(other, key)?),
        };
        let (is_left, is_right) = (ordering.is_le(), ordering.is_ge());
        let live = if is_left { one.as_ref().map(text).transpose()? } else { None };
        let folded = if is_right { other.as_ref().map(text).transpose()? } else { None };
        verified.rows += u64::from(is_left);
        if live != folded {
            verified.note(table, live, folded);
        }
        if is_left {
            one = left.try_next().await?;
        }
        if is_right {
            other = right.try_next().await?;
        }
    }
}

/// The order of the keys' bytes.
fn order_by(key: &str, collation: &str) -> String {
    let columns = key.split(", ").map(|column| match column {
        "shop" | "key" | "source" => format!("{column}{collation}"),
        number => number.to_owned(),
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// The key of a row, so that it compares as the database sorts.
fn key_of(row: &AnyRow, key: &str) -> Result<Vec<(i64, String)>, StoreError> {
    let columns: BTreeMap<_, _> = columns(row)?.into_iter().collect();
    let parts = key.split(", ").map(|name| {
        let value = columns.get(name).cloned().unwrap_or_default();
        match value.parse() {
            Ok(number) => (number, String::new()),
            Err(_) => (0, value),
        }
    });
    Ok(parts.collect())
}

/// A row as text: `key="A" document="{…}" due_at=null`. Text is quoted, so that no two rows look
/// alike that are not.
fn text(row: &AnyRow) -> Result<String, StoreError> {
    let columns = columns(row)?;
    let columns: Vec<_> =
        columns.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(columns.join(" "))
}

fn columns(row: &AnyRow) -> Result<Vec<(String, String)>, StoreError> {
    row.columns()
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let raw = row.try_get_raw(index)?;
            let value = if raw.is_null() {
                "null".to_owned()
            } else {
                match raw.type_info().kind() {
                    AnyTypeInfoKind::Real | AnyTypeInfoKind::Double => {
                        row.try_get::<f64, _>(index)?.to_string()
                    }
                    AnyTypeInfoKind::SmallInt
                    | AnyTypeInfoKind::Integer
                    | AnyTypeInfoKind::BigInt => row.try_get::<i64, _>(index)?.to_string(),
                    AnyTypeInfoKind::Null
                    | AnyTypeInfoKind::Bool
                    | AnyTypeInfoKind::Text
                    | AnyTypeInfoKind::Blob => {
                        format!("{:?}", row.try_get::<String, _>(index)?)
                    }
                }
            };
            Ok((column.name().to_owned(), value))
        })
        .collect()
}
