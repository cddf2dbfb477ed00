//! The SQL of the engine's own tables that hold no documents, and the commit of a batch. The
//! statements are the same on `SQLite` and Postgres.

use std::{collections::VecDeque, time::Duration};

use protocol::id::Shop;
use sqlx::{AnyConnection, AnyPool, Connection, Row as _};

use crate::{
    Error, Service, StoreError,
    projection::{
        documents,
        engine_rows::ParkedRow,
        fold::{Blocked, Changes},
        in_time::{TimedConnection, WORK_TIMEOUT, answered_within},
        positions::{LOG, Position, Positions},
    },
};

/// The tables of the engine that hold no documents.
pub(crate) const DEFINITIONS: &[&str] = &[
    // How far a partition has come: a row for each input, and one (`log`) for the service's own log.
    // `behind` names the shops that are not as far as `sequence`: `acme=40;other=52`.
    "create table if not exists engine_position (partition bigint not null, source text not null, \
     sequence bigint not null, behind text not null, primary key (partition, source))",
    // The days on which events were decided: the day since 1970, and its first sequence.
    "create table if not exists engine_day (partition bigint not null, day bigint not null, \
     sequence bigint not null, primary key (partition, day))",
    // When a pending operation is tried again. No part of the projection: a rebuild leaves it alone.
    "create table if not exists engine_attempt (operation text not null primary key, \
     partition bigint not null, attempts bigint not null, due_at bigint not null)",
];

/// The tables that a rebuild compares or replaces beside those of documents, with their keys.
pub(crate) const PLAIN_TABLES: &[(&str, &str)] =
    &[("engine_position", "partition, source"), ("engine_day", "partition, day")];

/// The positions of a partition: its own log's, and one for each input.
pub(crate) async fn positions(
    db: &mut AnyConnection,
    partition: u32,
) -> Result<Positions, StoreError> {
    let rows =
        sqlx::query("select source, sequence, behind from engine_position where partition = $1")
            .bind(i64::from(partition))
            .fetch_all(db)
            .await?;
    let mut positions = Positions::default();
    for row in &rows {
        let (source, behind): (String, String) = (row.try_get("source")?, row.try_get("behind")?);
        let sequence = row.try_get::<i64, _>("sequence")? as u64;
        let position = Position::from_parts(sequence, &behind).map_err(StoreError::Position)?;
        positions.set(&source, position);
    }
    Ok(positions)
}

/// The days on which events of a partition were decided, in the order of their first sequences.
pub(crate) async fn days(
    db: &mut AnyConnection,
    partition: u32,
) -> Result<VecDeque<(i64, u64)>, StoreError> {
    let rows =
        sqlx::query("select day, sequence from engine_day where partition = $1 order by sequence")
            .bind(i64::from(partition))
            .fetch_all(db)
            .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("day")?, row.try_get::<i64, _>("sequence")? as u64)))
        .collect()
}

/// What is parked in a partition, by aggregate. Reads no documents: the bytes of all that is parked
/// may be more than fits into memory.
pub(crate) async fn blocked(db: &mut AnyConnection, partition: u32) -> Result<Blocked, StoreError> {
    let rows =
        sqlx::query("select key, shop, aggregate_id from engine_parked where partition = $1")
            .bind(i64::from(partition))
            .fetch_all(db)
            .await?;
    let mut blocked = Blocked::default();
    for row in &rows {
        let shop: String = row.try_get("shop")?;
        let Ok(shop) = Shop::parse_or_unknown(&shop) else { continue };
        blocked.insert(row.try_get("key")?, (shop, row.try_get("aggregate_id")?));
    }
    Ok(blocked)
}

/// A page of what is parked in a partition, in the order in which it was parked.
pub(crate) async fn parked_page(
    pool: &AnyPool,
    partition: u32,
    after: u64,
    limit: i64,
) -> Result<Vec<ParkedRow>, StoreError> {
    let rows = sqlx::query(
        "select key, document from engine_parked where partition = $1 and log_sequence > $2 \
         order by log_sequence limit $3",
    )
    .bind(i64::from(partition))
    .bind(after as i64)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| Ok(documents::read::<ParkedRow>(row)?.1)).collect()
}

/// What is parked under that id, if anything is.
pub(crate) async fn parked_row(pool: &AnyPool, id: &str) -> Result<Option<ParkedRow>, StoreError> {
    let row = sqlx::query("select key, document from engine_parked where key = $1")
        .bind(id.to_owned())
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(|row| Ok(documents::read::<ParkedRow>(row)?.1)).transpose()
}

/// A page of what is parked for an aggregate, in the order in which it was parked.
pub(crate) async fn parked_of(
    pool: &AnyPool,
    partition: u32,
    (shop, aggregate_id): (&Shop, &str),
    after: u64,
    limit: i64,
) -> Result<Vec<ParkedRow>, StoreError> {
    let rows = sqlx::query(
        "select key, document from engine_parked where shop = $1 and aggregate_id = $2 \
         and partition = $3 and log_sequence > $4 order by log_sequence limit $5",
    )
    .bind(shop.to_string())
    .bind(aggregate_id.to_owned())
    .bind(i64::from(partition))
    .bind(after as i64)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| Ok(documents::read::<ParkedRow>(row)?.1)).collect()
}

/// The ids of what is parked for an aggregate, in order. Reads no documents.
pub(crate) async fn parked_ids(
    pool: &AnyPool,
    partition: u32,
    (shop, aggregate_id): (&Shop, &str),
) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(
        "select key from engine_parked where shop = $1 and aggregate_id = $2 and partition = $3 \
         order by log_sequence",
    )
    .bind(shop.to_string())
    .bind(aggregate_id.to_owned())
    .bind(i64::from(partition))
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("key")?)).collect()
}

/// Writes what a batch changed, in one transaction that is refused when another worker has moved
/// the projection since `from`. When a log is folded anew it takes as long as there are rows, so not
/// it, but each of its statements has to be answered in time.
pub(crate) async fn commit<S: Service>(
    pool: &AnyPool,
    partition: u32,
    from: &Positions,
    changes: &Changes,
) -> Result<(), Error> {
    let replicas = S::SOURCES.iter().filter(|source| source.replica).map(|source| source.service);
    let commit = Commit {
        partition,
        replicas: &replicas.collect::<Vec<_>>(),
        from,
        changes,
        statement_timeout: WORK_TIMEOUT,
    };
    if commit.write(pool).await? {
        return Ok(());
    }
    Err(Error::Superseded { service: S::NAME, partition, expected: from.sequence(LOG) })
}

/// What is written in one transaction.
struct Commit<'a> {
    partition: u32,
    /// The sources that only feed replicas.
    replicas: &'a [&'static str],
    from: &'a Positions,
    changes: &'a Changes,
    /// How long the database may take for each statement.
    statement_timeout: Duration,
}

impl Commit<'_> {
    /// Writes all of it; false when another worker has moved the projection.
    async fn write(&self, pool: &AnyPool) -> Result<bool, StoreError> {
        let mut db = pool.acquire().await?;
        let written = self.write_with(&mut db).await;
        if written.is_err() {
            // It may hang: given back to the pool, it would be waited for there.
            db.close_on_drop();
        }
        written
    }

    async fn write_with(&self, db: &mut AnyConnection) -> Result<bool, StoreError> {
        let timeout = self.statement_timeout;
        let mut tx = answered_within(timeout, db.begin()).await?;
        if !self.write_rows(&mut TimedConnection::new(&mut tx, timeout)).await? {
            return Ok(false);
        }
        answered_within(timeout, tx.commit()).await?;
        Ok(true)
    }

    async fn write_rows(&self, db: &mut TimedConnection<'_>) -> Result<bool, StoreError> {
        let Self { partition, replicas, from, changes, .. } = *self;
        let positions = |source| (from.position(source), changes.positions.position(source));
        // First, since it takes the lock: whoever comes second waits here, and then finds it moved.
        let (old, new) = positions(LOG);
        if !advance(db, partition, LOG, &old, &new).await? {
            return Ok(false);
        }
        let is_log_longer = new != old;
        // What only replicas have read is in no log, so their positions are compared as well.
        for source in replicas {
            let (old, new) = positions(source);
            if old != new && !advance(db, partition, source, &old, &new).await? {
                return Ok(false);
            }
        }
        documents::save(db, partition, &changes.tables).await?;
        if is_log_longer {
            let fenced = changes.positions.iter();
            let fenced = fenced.filter(|(source, _)| *source != LOG && !replicas.contains(source));
            save_positions(db, partition, fenced).await?;
        }
        if let Some(before) = changes.forgotten {
            forget_answers(db, partition, before).await?;
        }
        save_days(db, partition, changes).await?;
        Ok(true)
    }
}

/// Moves one position; false when it was not at `from`.
async fn advance(
    db: &mut TimedConnection<'_>,
    partition: u32,
    source: &str,
    from: &Position,
    to: &Position,
) -> Result<bool, StoreError> {
    let statement = if from.sequence == 0 {
        "insert into engine_position (partition, source, sequence, behind) \
         values ($1, $6, $2, $3) on conflict (partition, source) \
         do update set sequence = excluded.sequence, behind = excluded.behind \
         where engine_position.sequence = $4 and engine_position.behind = $5"
    } else {
        "update engine_position set sequence = $2, behind = $3 \
         where partition = $1 and source = $6 and sequence = $4 and behind = $5"
    };
    let advance = sqlx::query(statement)
        .bind(i64::from(partition))
        .bind(to.sequence as i64)
        .bind(to.behind_text())
        .bind(from.sequence as i64)
        .bind(from.behind_text())
        .bind(source.to_owned());
    Ok(db.execute(advance).await? == 1)
}

/// Writes the positions of the inputs. They are in the log as well: each event carries them.
async fn save_positions<'a>(
    db: &mut TimedConnection<'_>,
    partition: u32,
    positions: impl Iterator<Item = (&'a str, &'a Position)>,
) -> Result<(), StoreError> {
    let rows: Vec<_> = positions
        .map(|(source, position)| (partition, source, position.sequence, position.behind_text()))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let save = sqlx::query(
        "insert into engine_position (partition, source, sequence, behind) \
         select cast(value->>0 as bigint), value->>1, cast(value->>2 as bigint), value->>3 \
         from jsonb_each($1) where true on conflict (partition, source) \
         do update set sequence = excluded.sequence, behind = excluded.behind",
    )
    .bind(serde_json::to_string(&rows).map_err(StoreError::Serialise)?);
    db.execute(save).await?;
    Ok(())
}

async fn forget_answers(
    db: &mut TimedConnection<'_>,
    partition: u32,
    before: u64,
) -> Result<(), StoreError> {
    for statement in [
        "delete from engine_answer where partition = $1 and sequence < $2",
        "delete from engine_day where partition = $1 and sequence < $2",
    ] {
        let forget = sqlx::query(statement).bind(i64::from(partition)).bind(before as i64);
        db.execute(forget).await?;
    }
    Ok(())
}

async fn save_days(
    db: &mut TimedConnection<'_>,
    partition: u32,
    changes: &Changes,
) -> Result<(), StoreError> {
    if !changes.has_new_day {
        return Ok(());
    }
    for (day, sequence) in &changes.days {
        let save = sqlx::query(
            "insert into engine_day (partition, day, sequence) values ($1, $2, $3) \
             on conflict (partition, day) do nothing",
        )
        .bind(i64::from(partition))
        .bind(day)
        .bind(*sequence as i64);
        db.execute(save).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{str::FromStr, sync::Arc, time::Instant};

    use protocol::proto;
    use sqlx::{AssertSqlSafe, Executor};

    use super::*;
    use crate::{
        ChangedRow, Document, Location, Row,
        projection::{
            database::{Database, Format},
            documents::TableChanges,
            engine_rows::AnswerRow,
        },
    };

    const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

    /// Writes so many statements to a database that takes `seconds` for each.
    async fn write(statements: usize, seconds: f64) -> Option<Result<bool, StoreError>> {
        let db = testkit::Db::postgres().await?;
        let Ok(location) = Location::from_str(&db.setting());
        let format = Format { tables: &[], version: 1, is_scratch: false };
        let database = Database::open(&location, "ledger", 1, &format).await.expect("it opens");
        let slow = format!(
            "create function slow() returns trigger language plpgsql as \
             $$ begin perform pg_sleep({seconds}); return null; end $$; \
             create trigger slow after insert on engine_answer \
             for each statement execute function slow()"
        );
        database.pool.execute(AssertSqlSafe(slow)).await.expect("it becomes slow");
        let answer = |number: usize| {
            let shop = Shop::parse("acme").expect("it is one");
            let row = proto::Answered { has_effect: true, ..Default::default() };
            let row = AnswerRow::from((row, 1));
            let row = Some(Arc::new(row) as Arc<dyn Document>);
            let row = ChangedRow { key: number.to_string(), row };
            TableChanges { table: AnswerRow::TABLE, rows: vec![(shop, row)] }
        };
        let tables = (0..statements).map(answer).collect();
        let mut changes = Changes { tables, ..Changes::default() };
        changes.positions.set(LOG, 1);
        let commit = Commit {
            partition: 0,
            replicas: &[],
            from: &Positions::default(),
            changes: &changes,
            statement_timeout: STATEMENT_TIMEOUT,
        };
        Some(commit.write(&database.pool).await)
    }

    #[tokio::test]
    async fn a_commit_may_take_longer_than_each_of_its_statements() {
        let started = Instant::now();
        let Some(written) = write(10, 0.3).await else { return };
        assert!(written.expect("each statement is answered in time"), "nobody else writes");
        assert!(started.elapsed() > STATEMENT_TIMEOUT);
    }

    #[tokio::test]
    async fn a_commit_ends_with_a_statement_that_is_not_answered() {
        let Some(written) = write(1, 600.0).await else { return };
        assert!(matches!(written, Err(StoreError::Silent)), "{written:?}");
    }
}
