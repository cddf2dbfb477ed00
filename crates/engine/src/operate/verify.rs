//! Rebuild, and the proof that a projection equals its log, byte for byte.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use futures::{TryStreamExt, future::try_join_all};
use sqlx::{
    AnyConnection, Column, Connection, Row, ValueRef,
    any::{AnyRow, AnyTypeInfoKind},
};

use crate::{
    Engine, Error, Location, Service, StoreError, Table,
    jetstream::lease::Lease,
    jetstream::log::last_sequence,
    jetstream::streams,
    projection::database::{self, Database},
    projection::fold::{fold_copies, fold_log},
    projection::positions::Positions,
    projection::store::{self, LOG},
};

/// How long a rebuild waits for the lease of a worker that has just been stopped.
const LEASE_PATIENCE: Duration = Duration::from_secs(5);

/// What a rebuild did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rebuilt {
    /// Events of the service's own log that were folded.
    pub events: u64,
    /// How long that took, without the copies of what others own.
    pub folding: Duration,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Events that were folded.
    pub events: u64,
    /// Rows that were compared.
    pub rows: u64,
    /// All rows that differ, table by table.
    pub mismatches: Vec<Mismatch>,
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

impl Engine {
    /// Drops a service's projection and folds its log anew. Nobody may run the service meanwhile.
    pub async fn rebuild<S: Service>(&self) -> Result<Rebuilt, Error> {
        let config = self.config();
        let leases = try_join_all((0..config.partitions).map(|partition| {
            let patience = Some(LEASE_PATIENCE);
            Lease::acquire(self.context(), S::NAME, partition, &config.instance, patience)
        }));
        let mut leases = leases.await?;
        let rebuilt = {
            let kept = futures::future::select_all(leases.iter_mut().map(|l| Box::pin(l.keep())));
            tokio::select! {
                rebuilt = self.rebuild_leased::<S>() => rebuilt,
                (lost, ..) = kept => Err(lost),
            }
        };
        for lease in leases {
            lease.release().await;
        }
        rebuilt
    }

    async fn rebuild_leased<S: Service>(&self) -> Result<Rebuilt, Error> {
        let config = self.config();
        let database = self.open_database::<S>().await?;
        let mut db = database.pool.acquire().await?;
        let mut tx = db.begin().await?;
        for table in database::TABLES.iter().chain(S::TABLES) {
            let delete = format!("delete from {}", table.name);
            sqlx::query(sqlx::AssertSqlSafe(delete)).execute(&mut *tx).await?;
        }
        tx.commit().await?;

        let started = Instant::now();
        let mut events = 0;
        for partition in 0..config.partitions {
            let stream = streams::log(S::NAME, partition);
            let end = last_sequence(self.context(), &stream).await?;
            events += fold_log::<S>(self.context(), &mut db, partition, end).await?;
        }
        let folding = started.elapsed();
        for partition in 0..config.partitions {
            fold_copies::<S>(self.context(), &mut db, partition, None).await?;
        }
        Ok(Rebuilt { events, folding })
    }

    /// Folds a service's log into a scratch database and compares every row with the live
    /// projection. The service may run meanwhile.
    pub async fn verify<S: Service>(&self) -> Result<Verified, Error> {
        let config = self.config();
        let live = self.open_database::<S>().await?;
        let folder = tempfile::tempdir().map_err(|error| Error::Open {
            service: S::NAME.to_owned(),
            url: "a temporary folder".to_owned(),
            source: error.into(),
        })?;
        let (location, name) = match &config.database {
            Location::Folder(_) => (Location::Folder(folder.path().to_owned()), S::NAME.to_owned()),
            postgres @ Location::Postgres(_) => {
                (postgres.clone(), format!("{}_verify_{}", S::NAME, std::process::id()))
            }
        };
        let scratch = Database::open(&location, &name, 1, S::MIGRATIONS).await?;
        let verified = self.verify_with::<S>(&live, &scratch).await;
        scratch.discard().await?;
        verified
    }

    async fn verify_with<S: Service>(
        &self,
        live: &Database,
        scratch: &Database,
    ) -> Result<Verified, Error> {
        let config = self.config();
        // One transaction reads all of the live projection as it is at one moment.
        let mut connection = live.pool.acquire().await?;
        let mut snapshot = connection.begin().await?;
        if let Location::Postgres(_) = config.database {
            let isolate = "set transaction isolation level repeatable read, read only";
            sqlx::query(isolate).execute(&mut *snapshot).await?;
        }
        let mut db = scratch.pool.acquire().await?;
        let mut verified = Verified { events: 0, rows: 0, mismatches: Vec::new() };
        let mut at = Vec::new();
        for partition in 0..config.partitions {
            at.push(Positions(store::positions(&mut snapshot, partition).await?));
        }
        for (partition, positions) in (0..).zip(&at) {
            let end = positions.get(LOG);
            verified.events += fold_log::<S>(self.context(), &mut db, partition, end).await?;
            fold_copies::<S>(self.context(), &mut db, partition, Some(&positions.0)).await?;
            compare_positions(&mut db, partition, positions, &mut verified).await?;
        }
        for table in database::TABLES.iter().skip(1).chain(S::TABLES) {
            compare_table(&mut snapshot, &mut db, table, &mut verified).await?;
        }
        Ok(verified)
    }
}

/// The log tells positions only with events, so the live ones may be further on; never behind.
async fn compare_positions(
    folded: &mut AnyConnection,
    partition: u32,
    live: &Positions,
    verified: &mut Verified,
) -> Result<(), Error> {
    let folded = store::positions(folded, partition).await?;
    for (source, sequence) in folded {
        verified.rows += 1;
        let known = live.get(&source);
        if known < sequence || (source == LOG && known != sequence) {
            verified.mismatches.push(Mismatch {
                table: "engine_position".to_owned(),
                live: Some(format!("partition={partition} source={source} sequence={known}")),
                folded: Some(format!("partition={partition} source={source} sequence={sequence}")),
            });
        }
    }
    Ok(())
}

async fn compare_table(
    live: &mut AnyConnection,
    folded: &mut AnyConnection,
    table: &Table,
    verified: &mut Verified,
) -> Result<(), Error> {
    let select = format!("select * from {} order by {}", table.name, table.key);
    let (mut alike, mut rows) = (true, 0);
    {
        let mut left = sqlx::query(sqlx::AssertSqlSafe(select.clone())).fetch(&mut *live);
        let mut right = sqlx::query(sqlx::AssertSqlSafe(select.clone())).fetch(&mut *folded);
        loop {
            match (left.try_next().await?, right.try_next().await?) {
                (None, None) => break,
                (Some(left), Some(right)) if text(&left)? == text(&right)? => rows += 1,
                _ => {
                    alike = false;
                    break;
                }
            }
        }
    }
    if alike {
        verified.rows += rows;
        return Ok(());
    }
    let mut left = by_key(live, &select, table).await?;
    let right = by_key(folded, &select, table).await?;
    verified.rows += left.len() as u64;
    let mismatches = &mut verified.mismatches;
    for (key, folded) in right {
        let live = left.remove(&key);
        if live.as_ref() != Some(&folded) {
            mismatches.push(mismatch(table, live, Some(folded)));
        }
    }
    mismatches.extend(left.into_values().map(|live| mismatch(table, Some(live), None)));
    Ok(())
}

fn mismatch(table: &Table, live: Option<String>, folded: Option<String>) -> Mismatch {
    Mismatch { table: table.name.to_owned(), live, folded }
}

async fn by_key(
    db: &mut AnyConnection,
    select: &str,
    table: &Table,
) -> Result<BTreeMap<String, String>, Error> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(select.to_owned())).fetch_all(db).await?;
    rows.iter()
        .map(|row| {
            let columns: HashMap<_, _> = columns(row)?.into_iter().collect();
            let key: Vec<_> =
                table.key.split(", ").map(|name| columns.get(name).cloned()).collect();
            Ok((format!("{key:?}"), text(row)?))
        })
        .collect()
}

/// A row as text: `sku="A" on_hand=5 reason=null`. Text is quoted, so that no two rows look alike
/// that are not.
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
