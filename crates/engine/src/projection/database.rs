//! The projection's database: `SQLite` (one file a service) or Postgres (one schema a service).

use std::{path::PathBuf, str::FromStr, sync::Once, time::Duration};

use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection, Executor, Row};
use tokio::sync::OnceCell;

use crate::{
    Error, Table,
    error::without_password,
    projection::{
        connections::{self, Access, FOR_QUESTIONS, FOR_WORKERS},
        documents, engine_rows, store,
    },
};

/// How often `SQLite`'s write-ahead log is emptied: rarely, since pages that are written again and
/// again then reach the disk once.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(15);

/// Connections of who only reads a database.
const FOR_READING: u32 = 2;

/// What is between the service and the rest in the name of a scratch schema.
pub(crate) const SCRATCH: &str = "_scratch_";

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
    /// The connections of the workers, and of who measures, verifies or rebuilds.
    pub(crate) pool: AnyPool,
    /// The connections of who answers questions. However many are asked, the workers have theirs.
    pub(crate) questions: AnyPool,
    /// All tables of documents: the service's and the engine's.
    pub(crate) tables: Vec<Table>,
    pub(super) postgres_schema: Option<String>,
    pub(super) file: Option<PathBuf>,
}

/// What a service's rows are made of: when it differs from what a database was made for, the
/// database is rebuilt.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    pub(crate) tables: &'static [Table],
    pub(crate) version: u32,
    /// Whether the database is thrown away after use: it is written without regard to a crash.
    pub(crate) is_scratch: bool,
}

/// Why a database that is not to be changed cannot be read.
#[derive(Debug, thiserror::Error)]
enum NotReadable {
    #[error(
        "there is none, and nothing was created; check the setting `database`, or run the service \
         first"
    )]
    Absent,
    #[error(
        "its rows are of another format than those of this version, and nothing was changed; use the \
         version that runs the service"
    )]
    OtherFormat,
}

impl Database {
    /// Opens the database of a service and creates it where it is missing. One of another format is
    /// emptied: its log is then folded anew.
    pub(crate) async fn open(
        location: &Location,
        name: &str,
        partitions: u32,
        format: &Format,
    ) -> Result<Self, Error> {
        let url = url(location, name, "rwc");
        let opened = Self::connect(location, name, &url, partitions, format).await;
        opened.map_err(|source| not_opened(location, name, url, source))
    }

    /// Whether a database could not be opened to read it because there is none.
    pub(crate) fn is_absent(error: &Error) -> bool {
        let Error::Open { source, .. } = error else { return false };
        matches!(source.downcast_ref(), Some(NotReadable::Absent))
    }

    /// Opens the database of a service to read it, and changes nothing. Fails when there is none, or
    /// when its rows are of another format.
    pub(crate) async fn open_to_read(
        location: &Location,
        name: &str,
        format: &Format,
    ) -> Result<Self, Error> {
        let url = url(location, name, "ro");
        let opened = Self::connect_to_read(location, name, &url, format).await;
        opened.map_err(|source| not_opened(location, name, url, source))
    }

    async fn connect_to_read(
        location: &Location,
        name: &str,
        url: &str,
        format: &Format,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (schema, file) = match location {
            Location::Folder(folder) => (None, Some(folder.join(format!("{name}.db")))),
            Location::Postgres(_) => (Some(name), None),
        };
        if file.as_ref().is_some_and(|file| !file.exists()) {
            return Err(NotReadable::Absent.into());
        }
        if schema.is_some() {
            // A pool would wait half a minute for a server that is not there, and say nothing.
            AnyConnection::connect(url).await?.close().await?;
        }
        let options = connections::options(schema, Access::Read);
        let pool = options.clone().max_connections(FOR_READING).connect(url).await?;
        let questions = options.max_connections(FOR_READING).connect_lazy(url)?;
        let tables = tables(format);
        let mut db = pool.acquire().await?;
        match known_format(&mut db, schema).await? {
            None => return Err(NotReadable::Absent.into()),
            Some(known) if known != fingerprint(&tables, format.version) => {
                return Err(NotReadable::OtherFormat.into());
            }
            Some(_) => {}
        }
        drop(db);
        Ok(Self { pool, questions, tables, postgres_schema: schema.map(str::to_owned), file })
    }

    async fn connect(
        location: &Location,
        name: &str,
        url: &str,
        partitions: u32,
        format: &Format,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let schema = match location {
            Location::Folder(folder) => {
                std::fs::create_dir_all(folder)?;
                None
            }
            Location::Postgres(_) => Some(name),
        };
        // A pool would wait half a minute for a server that is not there, or a file that is no database, and
        // say nothing.
        let mut db = AnyConnection::connect(url).await?;
        if schema.is_none() {
            db.execute("select count(*) from sqlite_master").await?;
        } else if let (true, Some((service, _))) = (format.is_scratch, name.split_once(SCRATCH)) {
            drop_abandoned(&mut db, service).await?;
        }
        db.close().await?;
        let access = if format.is_scratch { Access::Scratch } else { Access::Write };
        let options = connections::options(schema, access);
        let for_workers = options.clone().max_connections(partitions + FOR_WORKERS);
        let pool = for_workers.connect(url).await?;
        // Of a database of which nobody asks anything, it never has a connection.
        let questions = options.max_connections(FOR_QUESTIONS).connect_lazy(url)?;
        if let Some(schema) = schema {
            prepare_postgres(&pool, schema).await?;
        }
        let tables = tables(format);
        let mut db = pool.acquire().await?;
        prepare_tables(&mut db, &tables, format.version, name, schema.is_some()).await?;
        drop(db);
        let file = match location {
            Location::Folder(folder) => Some(folder.join(format!("{name}.db"))),
            Location::Postgres(_) => None,
        };
        Ok(Self { pool, questions, tables, postgres_schema: schema.map(str::to_owned), file })
    }

    /// Moves what `SQLite` has written to its write-ahead log over into the database, as soon as that is
    /// open, beside the workers: when a commit does it, a command waits for that disk. Never ends.
    pub(crate) async fn checkpoint_now_and_then(opened: &OnceCell<Self>) {
        loop {
            tokio::time::sleep(CHECKPOINT_INTERVAL).await;
            if let Some(database) = opened.get().filter(|it| it.postgres_schema.is_none())
                && let Err(error) = database.pool.execute("pragma wal_checkpoint(passive)").await
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
        self.questions.close().await;
        self.pool.close().await;
        Ok(())
    }
}

/// Where the database of a service is; of `SQLite`, to be opened in that mode.
fn url(location: &Location, name: &str, mode: &str) -> String {
    static DRIVERS: Once = Once::new();
    DRIVERS.call_once(sqlx::any::install_default_drivers);

    match location {
        Location::Folder(folder) => {
            format!("sqlite:{}?mode={mode}", folder.join(format!("{name}.db")).display())
        }
        Location::Postgres(url) => url.clone(),
    }
}

fn not_opened(
    location: &Location,
    name: &str,
    url: String,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> Error {
    let url = match location {
        Location::Folder(_) => url,
        Location::Postgres(url) => without_password(url),
    };
    Error::Open { service: name.to_owned(), url, source }
}

/// All tables of documents.
fn tables(format: &Format) -> Vec<Table> {
    format.tables.iter().chain(engine_rows::TABLES).copied().collect()
}

/// The format of the rows that there are; `None` where there is no database of a service.
async fn known_format(
    db: &mut AnyConnection,
    schema: Option<&str>,
) -> Result<Option<String>, sqlx::Error> {
    let found = match schema {
        None => sqlx::query("select name from sqlite_master where name = 'engine_format'"),
        Some(schema) => sqlx::query(
            "select 'engine_format' as name from information_schema.tables \
             where table_schema = $1 and table_name = 'engine_format'",
        )
        .bind(schema.to_owned()),
    };
    if found.fetch_optional(&mut *db).await?.is_none() {
        return Ok(None);
    }
    let row = sqlx::query("select format from engine_format").fetch_optional(db).await?;
    row.map(|row| row.try_get("format")).transpose()
}

/// Drops the scratch schemas of a service that a process has left behind which was killed.
async fn drop_abandoned(db: &mut AnyConnection, service: &str) -> Result<(), sqlx::Error> {
    let statement = format!(
        "do $$ declare abandoned text; begin \
         for abandoned in select nspname::text from pg_namespace \
         where starts_with(nspname::text, '{service}{SCRATCH}') \
         and pg_get_userbyid(nspowner) = current_user loop \
         if pg_try_advisory_xact_lock(hashtext(abandoned)) then \
         execute format('drop schema if exists %I cascade', abandoned); \
         end if; end loop; end $$"
    );
    db.execute(AssertSqlSafe(statement)).await.map(|_| ())
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

/// Creates the tables. Those of another format are dropped first.
async fn prepare_tables(
    db: &mut AnyConnection,
    tables: &[Table],
    version: u32,
    name: &str,
    is_postgres: bool,
) -> Result<(), sqlx::Error> {
    let mut tx = db.begin().await?;
    if is_postgres {
        // Several processes may come here at once.
        tx.execute("select pg_advisory_xact_lock(7267337)").await?;
    }
    tx.execute(
        "create table if not exists engine_format (format text not null, tables text not null)",
    )
    .await?;
    let wanted = fingerprint(tables, version);
    let names = tables.iter().map(|table| table.name);
    let names: Vec<_> = names.chain(store::PLAIN_TABLES.iter().map(|(name, _)| *name)).collect();
    let known = sqlx::query("select format, tables from engine_format").fetch_optional(&mut *tx);
    match known.await? {
        Some(row) if row.try_get::<String, _>("format")? == wanted => {}
        Some(row) => {
            tracing::warn!(database = name, "the rows have another format: folds the log anew");
            for table in row.try_get::<String, _>("tables")?.split(',') {
                tx.execute(AssertSqlSafe(format!("drop table if exists {table}"))).await?;
            }
            sqlx::query("update engine_format set format = $1, tables = $2")
                .bind(wanted)
                .bind(names.join(","))
                .execute(&mut *tx)
                .await?;
        }
        None => {
            sqlx::query("insert into engine_format (format, tables) values ($1, $2)")
                .bind(wanted)
                .bind(names.join(","))
                .execute(&mut *tx)
                .await?;
        }
    }
    for definition in store::DEFINITIONS {
        tx.execute(*definition).await?;
    }
    documents::create_tables(&mut tx, tables).await?;
    tx.commit().await
}

/// Distinguishes formats: the definitions of all tables, and the service's own number.
fn fingerprint(tables: &[Table], version: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(version.to_be_bytes());
    for statement in tables.iter().flat_map(documents::definition) {
        hash.update(statement);
    }
    for statement in store::DEFINITIONS {
        hash.update(statement);
    }
    protocol::id::hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_is_not_there_is_found_unreachable_at_once() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let location = Location::Postgres(format!("postgres://nobody@127.0.0.1:{port}/nothing"));
        let format = Format { tables: &[], version: 1, is_scratch: false };
        let opened = Database::open(&location, "ledger", 1, &format).await;
        let error = opened.expect_err("nobody listens there");
        assert!(error.is_unreachable(), "{error:?}");
    }

    #[tokio::test]
    async fn a_scratch_schema_that_nobody_uses_any_more_is_dropped() {
        let Some(db) = testkit::Db::postgres().await else { return };
        let Ok(location) = Location::from_str(&db.setting());
        let format = Format { tables: &[], version: 1, is_scratch: true };
        let open = async |name| Database::open(&location, name, 1, &format).await;
        let used = open("ledger_scratch_0_used").await.expect("it opens");
        let of_other = open("other_scratch_0_killed").await.expect("it opens");
        of_other.pool.close().await;
        // The process that used it was killed.
        let killed = open("ledger_scratch_0_killed").await.expect("it opens");
        killed.pool.close().await;

        let count = "select count(*) as count from pg_namespace where nspname = \
                     'ledger_scratch_0_killed'";
        let left = async || {
            let row = used.pool.fetch_one(count).await.expect("it can be counted");
            row.get::<i64, _>("count")
        };
        assert_eq!(left().await, 1);
        // The server may hold its locks for a moment after a connection is gone.
        testkit::eventually("it is dropped", async || {
            let next = open("ledger_scratch_0_next").await.expect("it opens");
            next.discard().await.expect("it can be dropped");
            left().await == 0
        })
        .await;
        for schema in ["ledger_scratch_0_used", "other_scratch_0_killed"] {
            let select = format!("select format from \"{schema}\".engine_format");
            let row = used.pool.fetch_one(AssertSqlSafe(select)).await;
            row.unwrap_or_else(|error| panic!("{schema} is gone: {error}"));
        }
    }

    #[tokio::test]
    async fn a_scratch_schema_is_made_and_dropped_by_a_role_of_any_name() {
        let Some(db) = testkit::Db::postgres().await else { return };
        // The test's server is shared, so another process may just have made the role.
        let create = "do $$ begin create role \"Shop.Owner\" superuser login; \
                      exception when duplicate_object or unique_violation then null; end $$";
        let setting = db.setting();
        sqlx::any::install_default_drivers();
        let mut admin = AnyConnection::connect(&setting).await.expect("it connects");
        admin.execute(create).await.expect("it may make roles");
        let Ok(location) = Location::from_str(&setting.replacen("//postgres@", "//Shop.Owner@", 1));
        let format = Format { tables: &[], version: 1, is_scratch: true };
        let open = async |name| Database::open(&location, name, 1, &format).await;
        let killed = open("ledger_scratch_0_killed").await.expect("it opens");
        killed.pool.close().await;

        let count = "select count(*) as count from pg_namespace where nspname = \
                     'ledger_scratch_0_killed'";
        // The server may hold its locks for a moment after a connection is gone.
        testkit::eventually("its own is dropped", async || {
            let next = open("ledger_scratch_0_next").await.expect("it opens");
            next.discard().await.expect("it can be dropped");
            let row = admin.fetch_one(count).await.expect("it can be counted");
            row.get::<i64, _>("count") == 0
        })
        .await;
    }

    #[tokio::test]
    async fn a_holder_that_hangs_in_a_transaction_does_not_hold_up_its_successor() {
        const GENEROUS: Duration = Duration::from_secs(30);
        let Some(db) = testkit::Db::postgres().await else { return };
        let Ok(location) = Location::from_str(&db.setting());
        let format = Format { tables: &[], version: 1, is_scratch: false };
        let database = Database::open(&location, "ledger", 1, &format).await.expect("it opens");
        let insert = "insert into engine_position (partition, source, sequence, behind) \
                      values (0, 'log', 1, '')";
        database.pool.execute(insert).await.expect("the table is there");
        // It holds the lock of the row, and does nothing more.
        let mut holder = database.pool.begin().await.expect("a transaction begins");
        let held = holder.execute("update engine_position set sequence = 2").await;
        held.expect("it is not locked yet");

        let successor = database.pool.execute("update engine_position set sequence = 3");
        let written = tokio::time::timeout(GENEROUS, successor).await;
        written.expect("it is not held up").expect("it is written");
        holder.commit().await.expect_err("its transaction was ended");
        let row = database.pool.fetch_one("select sequence from engine_position").await;
        assert_eq!(row.expect("there is one").get::<i64, _>("sequence"), 3);
    }
}
