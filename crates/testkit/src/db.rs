//! Private databases for each test.

use std::path::Path;

use engine::Location;
use sqlx::{AnyConnection, Connection, Executor};
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

    /// Where an engine on another machine finds its projections: in the same Postgres, or in a
    /// folder of its own.
    pub fn location_elsewhere(&self) -> Location {
        match &self.0 {
            Storage::Folder(folder) => Location::Folder(folder.path().join("elsewhere")),
            Storage::Postgres(database) => Location::Postgres(database.url()),
        }
    }

    /// Changes the database of a service by hand.
    pub async fn tamper(&self, service: &str, statement: &'static str) {
        let changed = self.connect(service).await.execute(statement).await;
        changed.expect("the statement is good");
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

fn sqlite_url(folder: &Path, service: &str) -> String {
    format!("sqlite:{}", folder.join(format!("{service}.db")).display())
}
