//! The database of the keys. It is durable, unlike projections: nothing else holds a key.

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use data_encoding::BASE64;
use protocol::{id::Shop, time::Timestamp};
use sqlx::{AnyPool, AssertSqlSafe, Executor, Row, any::AnyPoolOptions, any::AnyRow};
use tokio::sync::OnceCell;

use crate::Person;

/// The file of SQLite.
pub(crate) const DATABASE: &str = "person-keys.db";
/// Connections of a process to the database.
const MAX_CONNECTIONS: u32 = 4;
/// How long a connection is waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Keys that are looked at together when all get another master key.
const REWRAP_CHUNK: i64 = 500;

/// The advisory lock of Postgres under which the tables are made; any number that nobody else uses.
const TABLES_LOCK: i64 = 7_267_338;

/// What each connection to `SQLite` begins with. A commit is on the disk, and what is deleted is
/// overwritten: a key that was deleted must not be found in the file.
const SQLITE: &str = "pragma journal_mode = delete; pragma synchronous = full; \
    pragma secure_delete = on; pragma busy_timeout = 5000;";

/// The tables.
const TABLES: [&str; 4] = [
    // The key of a person, encrypted with a master key.
    "create table if not exists person_key (
        id text primary key,
        shop text not null,
        person text not null,
        master text not null,
        wrapped text not null,
        unique (shop, person)
    )",
    // A key that is of no person, encrypted with a master key.
    "create table if not exists secret_key (
        name text primary key,
        master text not null,
        wrapped text not null
    )",
    // That the key of a person was deleted, by whom and when (milliseconds since 1970).
    "create table if not exists erasure (
        id text primary key,
        shop text not null,
        person text not null,
        key_id text not null,
        operator text not null,
        erased_at bigint not null
    )",
    "create index if not exists erasure_of_person on erasure (shop, person)",
];

/// A key, encrypted.
#[derive(Debug, Clone)]
pub(crate) struct WrappedKey {
    pub(crate) id: String,
    /// The master key that it is encrypted with.
    pub(crate) master: String,
    pub(crate) ciphertext: Vec<u8>,
}

/// The key of a person, encrypted.
#[derive(Debug, Clone)]
pub(crate) struct PersonKey {
    pub(crate) shop: Shop,
    pub(crate) person: Person,
    pub(crate) id: String,
    master: String,
    ciphertext: Vec<u8>,
}

impl PersonKey {
    /// The key, apart from whose it is.
    pub(crate) fn key(&self) -> WrappedKey {
        let Self { id, master, ciphertext, .. } = self.clone();
        WrappedKey { id, master, ciphertext }
    }
}

/// That the key of a person was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// The shop.
    pub shop: String,
    /// Whose key it was: `customer/<id>`, or `guest/<order id>`.
    pub person: String,
    /// The key.
    pub key_id: String,
    /// Who asked for it.
    pub operator: String,
    /// When it was deleted.
    pub erased_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Store {
    location: String,
    pool: Arc<OnceCell<AnyPool>>,
}

impl Store {
    pub(crate) fn new(location: &str) -> Self {
        Self { location: location.to_owned(), pool: Arc::default() }
    }

    pub(crate) async fn connect(&self) -> Result<(), sqlx::Error> {
        self.pool().await.map(drop)
    }

    /// The connections. An attempt that fails is repeated with the next call.
    pub(crate) async fn pool(&self) -> Result<&AnyPool, sqlx::Error> {
        self.pool.get_or_try_init(|| open(&self.location)).await
    }

    pub(crate) async fn of_person(
        &self,
        shop: &Shop,
        person: &Person,
    ) -> Result<Option<PersonKey>, sqlx::Error> {
        let sql = "select shop, person, id, master, wrapped from person_key \
            where shop = $1 and person = $2";
        let row = sqlx::query(sql).bind(shop.as_str()).bind(person.as_str());
        row.fetch_optional(self.pool().await?).await?.as_ref().map(person_key).transpose()
    }

    pub(crate) async fn by_id(
        &self,
        shop: &Shop,
        id: &str,
    ) -> Result<Option<PersonKey>, sqlx::Error> {
        let sql = "select shop, person, id, master, wrapped from person_key \
            where shop = $1 and id = $2";
        let row = sqlx::query(sql).bind(shop.as_str()).bind(id);
        row.fetch_optional(self.pool().await?).await?.as_ref().map(person_key).transpose()
    }

    /// Stores the key of a person who has none. Returns the one that is there then: somebody else may
    /// have stored one at the same time.
    pub(crate) async fn insert(
        &self,
        shop: &Shop,
        person: &Person,
        key: WrappedKey,
    ) -> Result<PersonKey, sqlx::Error> {
        let sql = "insert into person_key (id, shop, person, master, wrapped) \
            values ($1, $2, $3, $4, $5) on conflict (shop, person) do nothing";
        let insert = sqlx::query(sql).bind(&key.id).bind(shop.as_str()).bind(person.as_str());
        let insert = insert.bind(&key.master).bind(BASE64.encode(&key.ciphertext));
        if insert.execute(self.pool().await?).await?.rows_affected() == 0 {
            // Erased again at the same moment, it is as if this key had been stored and erased.
            let theirs = self.of_person(shop, person).await?;
            if let Some(theirs) = theirs {
                return Ok(theirs);
            }
        }
        let WrappedKey { id, master, ciphertext } = key;
        Ok(PersonKey { shop: shop.clone(), person: person.clone(), id, master, ciphertext })
    }

    /// Deletes the key of a person and records it, both or neither; false when there is none.
    pub(crate) async fn erase(
        &self,
        id: &str,
        shop: &Shop,
        person: &Person,
        operator: &str,
        now: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let mut transaction = self.pool().await?.begin().await?;
        // The record first: so a database of SQLite is locked for writing at once.
        let recorded = sqlx::query(
            "insert into erasure (id, shop, person, key_id, operator, erased_at) \
             select $1, shop, person, id, $4, $5 from person_key where shop = $2 and person = $3",
        )
        .bind(id)
        .bind(shop.as_str())
        .bind(person.as_str())
        .bind(operator)
        .bind(now.millis())
        .execute(&mut *transaction)
        .await?;
        if recorded.rows_affected() == 0 {
            return Ok(false);
        }
        // The very key that was recorded; whoever erases the same person at once finds none.
        let sql = "delete from person_key where id = (select key_id from erasure where id = $1)";
        let deleted = sqlx::query(sql).bind(id).execute(&mut *transaction).await?;
        if deleted.rows_affected() == 0 {
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    pub(crate) async fn last_erasure(
        &self,
        shop: &Shop,
        person: &Person,
    ) -> Result<Option<Timestamp>, sqlx::Error> {
        let sql = "select erased_at from erasure where shop = $1 and person = $2 \
            order by erased_at desc limit 1";
        let row = sqlx::query(sql).bind(shop.as_str()).bind(person.as_str());
        let row = row.fetch_optional(self.pool().await?).await?;
        row.map(|row| row.try_get("erased_at").map(Timestamp::from_millis)).transpose()
    }

    /// What was erased, from the first; `None` for all shops.
    pub(crate) async fn erasures(&self, shop: Option<&Shop>) -> Result<Vec<Erasure>, sqlx::Error> {
        let sql = "select shop, person, key_id, operator, erased_at from erasure \
            where $1 = '' or shop = $1 order by erased_at, id";
        let rows = sqlx::query(sql).bind(shop.map_or("", Shop::as_str));
        rows.fetch_all(self.pool().await?).await?.iter().map(erasure).collect()
    }

    /// The key of that name, which is of no person.
    pub(crate) async fn secret(&self, name: &str) -> Result<Option<WrappedKey>, sqlx::Error> {
        let sql = "select name as id, master, wrapped from secret_key where name = $1";
        let row = sqlx::query(sql).bind(name).fetch_optional(self.pool().await?).await?;
        row.as_ref().map(wrapped).transpose()
    }

    /// Stores such a key where there is none. Returns the one that is there then.
    pub(crate) async fn insert_secret(
        &self,
        name: &str,
        key: WrappedKey,
    ) -> Result<WrappedKey, sqlx::Error> {
        let sql = "insert into secret_key (name, master, wrapped) values ($1, $2, $3) \
            on conflict (name) do nothing";
        let insert = sqlx::query(sql).bind(name).bind(&key.master);
        let insert = insert.bind(BASE64.encode(&key.ciphertext));
        insert.execute(self.pool().await?).await?;
        Ok(self.secret(name).await?.unwrap_or(key))
    }

    pub(crate) async fn replace_secret(
        &self,
        name: &str,
        key: &WrappedKey,
    ) -> Result<(), sqlx::Error> {
        let sql = "update secret_key set master = $2, wrapped = $3 where name = $1";
        let update = sqlx::query(sql).bind(name).bind(&key.master);
        let update = update.bind(BASE64.encode(&key.ciphertext));
        update.execute(self.pool().await?).await.map(drop)
    }

    /// Some keys that are encrypted with another master key than this one.
    pub(crate) async fn not_wrapped_by(&self, master: &str) -> Result<Vec<PersonKey>, sqlx::Error> {
        let sql = format!(
            "select shop, person, id, master, wrapped from person_key where master <> $1 \
             order by id limit {REWRAP_CHUNK}"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(master).fetch_all(self.pool().await?);
        rows.await?.iter().map(person_key).collect()
    }

    /// Replaces the encrypted form of a key; false when it was deleted meanwhile.
    pub(crate) async fn replace(&self, key: &WrappedKey) -> Result<bool, sqlx::Error> {
        let sql = "update person_key set master = $2, wrapped = $3 where id = $1";
        let update = sqlx::query(sql).bind(&key.id).bind(&key.master);
        let update = update.bind(BASE64.encode(&key.ciphertext)).execute(self.pool().await?);
        Ok(update.await?.rows_affected() > 0)
    }
}

async fn open(location: &str) -> Result<AnyPool, sqlx::Error> {
    static DRIVERS: Once = Once::new();
    DRIVERS.call_once(sqlx::any::install_default_drivers);
    let is_postgres = location.starts_with("postgres://") || location.starts_with("postgresql://");
    let url = if is_postgres {
        location.to_owned()
    } else {
        std::fs::create_dir_all(location)?;
        format!("sqlite:{location}/{DATABASE}?mode=rwc")
    };
    let options = AnyPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if !is_postgres {
                    connection.execute(SQLITE).await?;
                }
                Ok(())
            })
        });
    let pool = options.connect(&url).await?;
    make_tables(&pool, is_postgres).await?;
    Ok(pool)
}

/// Makes the tables where there are none. Postgres refuses one of two processes that do so at once, in
/// several ways, so there they take turns: statements that are sent together are one transaction.
async fn make_tables(pool: &AnyPool, is_postgres: bool) -> Result<(), sqlx::Error> {
    let tables = TABLES.join("; ");
    let statements = if is_postgres {
        format!("select pg_advisory_xact_lock({TABLES_LOCK}); {tables}")
    } else {
        tables
    };
    pool.execute(AssertSqlSafe(statements)).await.map(drop)
}

fn person_key(row: &AnyRow) -> Result<PersonKey, sqlx::Error> {
    let shop = Shop::parse(row.try_get("shop")?);
    let WrappedKey { id, master, ciphertext } = wrapped(row)?;
    Ok(PersonKey {
        shop: shop.map_err(|error| sqlx::Error::Decode(error.into()))?,
        person: Person(row.try_get("person")?),
        id,
        master,
        ciphertext,
    })
}

fn wrapped(row: &AnyRow) -> Result<WrappedKey, sqlx::Error> {
    let wrapped: String = row.try_get("wrapped")?;
    let ciphertext = BASE64.decode(wrapped.as_bytes());
    Ok(WrappedKey {
        id: row.try_get("id")?,
        master: row.try_get("master")?,
        ciphertext: ciphertext.map_err(|error| sqlx::Error::Decode(error.into()))?,
    })
}

fn erasure(row: &AnyRow) -> Result<Erasure, sqlx::Error> {
    Ok(Erasure {
        shop: row.try_get("shop")?,
        person: row.try_get("person")?,
        key_id: row.try_get("key_id")?,
        operator: row.try_get("operator")?,
        erased_at: Timestamp::from_millis(row.try_get("erased_at")?),
    })
}
