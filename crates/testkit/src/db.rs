//! Private databases for each test.

use std::{fs, path::Path};

use engine::{Location, Table, Value, documents};
use sqlx::{AnyConnection, AnyPool, Connection, Executor, Row, any::AnyPoolOptions};
use tempfile::TempDir;

use crate::postgres::{self, Database};

/// The projections of one test; gone when it is dropped.
#[derive(Debug)]
pub struct Db(Storage);

#[derive(Debug)]
enum Storage {
    Folder(TempDir),
    Postgres(Database),
}

impl Db {
    /// A folder for `SQLite` files.
    pub fn sqlite() -> Self {
        Self(Storage::Folder(tempfile::tempdir().expect("a temporary folder can be made")))
    }

    /// A database on Postgres. `None`, and a line that says why, where Postgres is not installed;
    /// a panic there when the environment's `CI` is set.
    #[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
    pub async fn postgres() -> Option<Self> {
        let made = tokio::task::spawn_blocking(postgres::make_database).await;
        match made.expect("the Postgres cluster starts") {
            Ok(database) => Some(Self(Storage::Postgres(database))),
            Err(missing) => {
                let required = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
                assert!(!required, "this test is required where CI is set, but {missing}");
                eprintln!("skipped on Postgres: {missing}");
                None
            }
        }
    }

    /// Where the engine finds it.
    pub fn location(&self) -> Location {
        match &self.0 {
            Storage::Folder(folder) => Location::Folder(folder.path().to_owned()),
            Storage::Postgres(database) => Location::Postgres(database.url()),
        }
    }

    /// The same as the settings of a process have it: a folder, or `postgres://…`.
    pub fn setting(&self) -> String {
        match self.location() {
            Location::Folder(folder) => folder.display().to_string(),
            Location::Postgres(url) => url,
        }
    }

    /// Where an engine on another machine finds its projections: in the same Postgres, or in a
    /// folder of its own.
    pub fn location_elsewhere(&self) -> Location {
        match &self.0 {
            Storage::Folder(folder) => Location::Folder(folder.path().join("elsewhere")),
            Storage::Postgres(database) => Location::Postgres(database.url()),
        }
    }

    /// All that is stored: the bytes of every file, or every row of every table as text.
    pub async fn dump(&self) -> Vec<u8> {
        match &self.0 {
            Storage::Folder(folder) => files(folder.path()),
            Storage::Postgres(database) => rows(&database.url()).await,
        }
    }

    /// Changes the database of a service by hand.
    pub async fn tamper(&self, service: &str, statement: &'static str) {
        let changed = self.connect(service).await.execute(statement).await;
        changed.expect("the statement is good");
    }

    /// A database with these tables and nothing else, for the lists of a service that does not run.
    pub async fn with_tables(&self, tables: &[Table]) -> AnyPool {
        sqlx::any::install_default_drivers();
        let url = match &self.0 {
            Storage::Folder(folder) => format!("{}?mode=rwc", sqlite_url(folder.path(), "tables")),
            Storage::Postgres(database) => database.url(),
        };
        let pool = AnyPoolOptions::new().max_connections(2).connect(&url).await;
        let pool = pool.expect("the database opens");
        let mut connection = pool.acquire().await.expect("it can be used");
        let created = documents::create_tables(&mut connection, tables).await;
        created.expect("the definitions are good");
        pool
    }

    /// A connection to the database of a service, to look or to tamper.
    pub async fn connect(&self, service: &str) -> AnyConnection {
        sqlx::any::install_default_drivers();
        let connected = match &self.0 {
            Storage::Folder(folder) => AnyConnection::connect(&sqlite_url(folder.path(), service)),
            Storage::Postgres(database) => AnyConnection::connect(&database.url()),
        };
        let mut connection = connected.await.expect("the database of the service exists");
        if let Storage::Postgres(_) = self.0 {
            let choose = format!("set search_path to \"{service}\"");
            connection.execute(sqlx::AssertSqlSafe(choose)).await.expect("there is such a schema");
        }
        connection
    }
}

/// How a database finds what a statement asks for, in its own words, a step a line: of a table that has
/// grown and been looked over, as autovacuum does it.
pub async fn plan(pool: &AnyPool, statement: &str, values: Vec<Value>) -> String {
    let is_sqlite = pool.acquire().await.expect("it can be used").backend_name() == "SQLite";
    let (explain, column) =
        if is_sqlite { ("explain query plan", 3) } else { ("explain (costs off)", 0) };
    if !is_sqlite {
        pool.execute("analyze").await.expect("the tables are looked over");
    }
    let steps = documents::select(pool, format!("{explain} {statement}"), values).await;
    let steps = steps.expect("the statement is good");
    let steps = steps.iter().map(|row| row.try_get::<String, _>(column).expect("it is text"));
    steps.collect::<Vec<_>>().join("\n")
}

/// The bytes of every file in a folder and those within it.
pub fn files(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            bytes.extend(files(&path));
        } else {
            // What SQLite removes meanwhile was a copy of what is still there.
            bytes.extend(fs::read(&path).unwrap_or_default());
        }
    }
    bytes
}

/// Every row of every table of a Postgres database.
async fn rows(url: &str) -> Vec<u8> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await.expect("the database is there");
    let tables = "select '\"' || table_schema || '\".\"' || table_name || '\"' as name \
        from information_schema.tables \
        where table_schema <> 'information_schema' and table_schema not like 'pg\\_%'";
    let tables = sqlx::query(tables).fetch_all(&mut connection).await.expect("they are listed");
    let mut bytes = Vec::new();
    for table in tables {
        let name: String = table.try_get("name").expect("it is text");
        let sql = format!("select cast(t as text) as line from {name} t");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await;
        for row in rows.expect("the table is read") {
            bytes.extend(row.try_get::<String, _>("line").expect("it is text").into_bytes());
            bytes.push(b'\n');
        }
    }
    bytes
}

fn sqlite_url(folder: &Path, service: &str) -> String {
    format!("sqlite:{}", folder.join(format!("{service}.db")).display())
}
