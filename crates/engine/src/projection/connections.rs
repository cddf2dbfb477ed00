//! The connections to a projection's database: how many, and how each is prepared.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor, any::AnyPoolOptions};

/// Connections of the workers of a service beside one for each partition: rows are fetched and counted
/// while others are written.
pub(super) const FOR_WORKERS: u32 = 2;
/// Connections for questions, of all partitions of a service together.
pub(super) const FOR_QUESTIONS: u32 = 6;
/// How long Postgres lets a transaction wait for its process. One never waits for anything but the
/// database, so a process that hangs in one must not hold up the one that takes its place.
const TRANSACTION_IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// Pages of a `SQLite` file that a connection keeps, in KiB: what a worker's batches touch.
const SQLITE_CACHE_KIB: u32 = 8 * 1024;
/// The same for a scratch database: a rebuild touches all of it.
const SCRATCH_CACHE_KIB: u32 = 32 * 1024;
/// The pages (of 4 KiB) of `SQLite`'s write-ahead log after which a commit empties it, if nobody else has.
const CHECKPOINT_AT_PAGES: u32 = 16_000;
/// How long a writer waits for another one, in `SQLite`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of connections to a schema of Postgres; without one, to a file of `SQLite`. A scratch
/// database is thrown away after use.
pub(super) fn options(schema: Option<&str>, is_scratch: bool) -> AnyPoolOptions {
    let prepare = match schema {
        Some(schema) => postgres_settings(schema, is_scratch),
        None => sqlite_settings(is_scratch),
    };
    let mut options = AnyPoolOptions::new();
    if is_scratch {
        // A moment without a connection, and another process takes the schema for abandoned.
        options = options.idle_timeout(None).max_lifetime(None);
    }
    options
        // A file does not go away between two statements, and asking whether it did costs a third of a small read.
        .test_before_acquire(schema.is_some())
        .after_connect(move |connection, _| {
            let prepare = prepare.clone();
            Box::pin(async move { connection.execute(AssertSqlSafe(prepare)).await.map(|_| ()) })
        })
}

/// The log is the truth, so the projection needs no fsync of its own, and a scratch database no
/// journal.
fn sqlite_settings(is_scratch: bool) -> String {
    let (journal, synchronous, cache_kib) = if is_scratch {
        ("off", "off", SCRATCH_CACHE_KIB)
    } else {
        ("wal", "normal", SQLITE_CACHE_KIB)
    };
    format!(
        "pragma journal_mode = {journal}; pragma synchronous = {synchronous}; pragma busy_timeout = {}; \
         pragma wal_autocheckpoint = {CHECKPOINT_AT_PAGES}; pragma cache_size = -{cache_kib}; \
         pragma temp_store = memory",
        BUSY_TIMEOUT.as_millis()
    )
}

/// Plans are made anew for each statement: one made while the tables were empty would stay. A
/// process that hangs in a transaction does not hold up the one that takes its place. Connections to a
/// scratch schema hold a lock by which others see that it is in use.
fn postgres_settings(schema: &str, is_scratch: bool) -> String {
    let lock = format!("; select pg_advisory_lock_shared(hashtext('{schema}'))");
    let settings = format!(
        "set search_path to \"{schema}\"; set synchronous_commit to off; \
         set plan_cache_mode to force_custom_plan; \
         set idle_in_transaction_session_timeout to {}",
        TRANSACTION_IDLE_TIMEOUT.as_millis()
    );
    if is_scratch { settings + &lock } else { settings }
}
