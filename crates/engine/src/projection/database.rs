//! The projection's database: `SQLite` (one file a service) or Postgres (one schema a service).

use std::{path::PathBuf, str::FromStr, sync::Once, time::Duration};

use sqlx::{AnyPool, Executor, any::AnyPoolOptions, migrate::Migrator};

use crate::{Error, Table};

/// Connections to one service's database beside those of its workers: for questions.
const CONNECTIONS_FOR_QUESTIONS: u32 = 6;
/// How long a transaction may wait for its log before Postgres ends it: longer than an append is
/// tried.
const TRANSACTION_IDLE: Duration = Duration::from_secs(45);
/// Pages of a `SQLite` file that a connection keeps, in KiB: what a worker's batches touch.
const SQLITE_CACHE_KIB: u32 = 8 * 1024;
/// How often `SQLite`'s write-ahead log is emptied.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// The pages (of 4 KiB) after which a commit does it all the same.
const CHECKPOINT_AT_PAGES: u32 = 8_000;
/// How long a writer waits for another one, in `SQLite`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The engine's tables, for rebuild and verify.
pub(crate) const TABLES: &[Table] = &[
    Table { name: "engine_position", key: "partition, source" },
    Table { name: "engine_answer", key: "shop, command_id" },
    Table { name: "engine_parked", key: "id" },
];

/// Where the projections are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder with one `SQLite` file for each service.
    Folder(PathBuf),
    /// A Postgres database with one schema for each service.
    Postgres(String),
}

impl FromStr for Location {
    type Err = std::convert::Infallible;

    /// `postgres://…` is a Postgres database, anything else a folder.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Self::Postgres(text.to_owned())
        } else {
            Self::Folder(text.into())
        })
    }
}

/// A service's database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) pool: AnyPool,
    /// Whether its workers write one after the other: several of them on one `SQLite` file.
    pub(crate) has_one_writer: bool,
    postgres_schema: Option<String>,
}

impl Database {
    /// Opens the database of a service, creates it where it is missing, and migrates it.
    pub(crate) async fn open(
        location: &Location,
        name: &str,
        partitions: u32,
        migrations: &Migrator,
    ) -> Result<Self, Error> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);

        let url = match location {
            Location::Folder(folder) => {
                format!("sqlite:{}?mode=rwc", folder.join(format!("{name}.db")).display())
            }
            Location::Postgres(url) => url.clone(),
        };
        Self::connect(location, name, &url, partitions, migrations).await.map_err(|source| {
            Error::Open { service: name.to_owned(), url: without_password(&url), source }
        })
    }

    async fn connect(
        location: &Location,
        name: &str,
        url: &str,
        partitions: u32,
        migrations: &Migrator,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (prepare, schema) = match location {
            Location::Folder(folder) => {
                std::fs::create_dir_all(folder)?;
                (sqlite_settings(), None)
            }
            Location::Postgres(_) => (postgres_settings(name), Some(name)),
        };
        let pool = AnyPoolOptions::new()
            .max_connections(partitions + CONNECTIONS_FOR_QUESTIONS)
            .after_connect(move |connection, _| {
                let prepare = prepare.clone();
                Box::pin(async move {
                    connection.execute(sqlx::AssertSqlSafe(prepare)).await.map(|_| ())
                })
            })
            .connect(url)
            .await?;
        if let Some(schema) = schema {
            prepare_postgres(&pool, schema).await?;
        }
        // The engine's own tables, beside the service's and with a history of their own.
        let mut engine = sqlx::migrate!();
        engine.dangerous_set_table_name("engine_migration");
        engine.run(&pool).await?;
        migrations.run(&pool).await?;
        let has_one_writer = schema.is_none() && partitions > 1;
        Ok(Self { pool, has_one_writer, postgres_schema: schema.map(str::to_owned) })
    }

    /// Moves what `SQLite` has written to its write-ahead log over into the database, beside the
    /// workers: when a commit does it, a checkout waits for that disk. Never ends.
    pub(crate) async fn checkpoint_now_and_then(&self) {
        loop {
            tokio::time::sleep(CHECKPOINT_EVERY).await;
            if self.postgres_schema.is_none()
                && let Err(error) = self.pool.execute("pragma wal_checkpoint(passive)").await
            {
                tracing::debug!(%error, "no checkpoint");
            }
        }
    }

    /// Removes a scratch database; only Postgres keeps one after the last connection.
    pub(crate) async fn discard(self) -> Result<(), sqlx::Error> {
        if let Some(schema) = &self.postgres_schema {
            let drop = format!("drop schema if exists \"{schema}\" cascade");
            self.pool.execute(sqlx::AssertSqlSafe(drop)).await?;
        }
        self.pool.close().await;
        Ok(())
    }
}

/// The log is the truth, so the projection needs no fsync of its own.
fn sqlite_settings() -> String {
    format!(
        "pragma journal_mode = wal; pragma synchronous = normal; pragma busy_timeout = {}; \
         pragma wal_autocheckpoint = {CHECKPOINT_AT_PAGES}; pragma cache_size = -{SQLITE_CACHE_KIB}; \
         pragma temp_store = memory",
        BUSY_TIMEOUT.as_millis()
    )
}

/// Plans are made anew for each statement: one made while the tables were empty would stay. A
/// process that hangs in a transaction does not hold up the one that takes its place.
fn postgres_settings(schema: &str) -> String {
    format!(
        "set search_path to \"{schema}\"; set synchronous_commit to off; \
         set plan_cache_mode to force_custom_plan; \
         set idle_in_transaction_session_timeout to {}",
        TRANSACTION_IDLE.as_millis()
    )
}

/// Creates the service's schema, and `jsonb_each` and `json_quote` as `SQLite` has them.
async fn prepare_postgres(pool: &AnyPool, schema: &str) -> Result<(), sqlx::Error> {
    // Two processes may come here at once; `create … if not exists` alone is not safe against that.
    let statement = format!(
        "begin; select pg_advisory_xact_lock(7267337); create schema if not exists \"{schema}\"; \
         create or replace function \"{schema}\".jsonb_each(text) returns table (value jsonb) \
         language sql immutable parallel safe \
         as $$ select jsonb_array_elements($1::jsonb) $$; \
         create or replace function \"{schema}\".json_quote(anyelement) returns text \
         language sql immutable parallel safe \
         as $$ select coalesce(to_json($1)::text, 'null') $$; commit"
    );
    pool.execute(sqlx::AssertSqlSafe(statement)).await.map(|_| ())
}

/// The address without the password, for a message.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => {
            format!("{}…{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_never_shows_the_password() {
        assert_eq!(without_password("postgres://me:secret@db/x"), "postgres://…@db/x");
        assert_eq!(without_password("sqlite:data/order.db"), "sqlite:data/order.db");
    }
}
