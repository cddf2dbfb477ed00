//! The database of the keys. It is durable, unlike projections: nothing else holds a key.

use std::{sync::Once, time::Duration};

use data_encoding::BASE64;
use protocol::id::Shop;
use sqlx::{AnyPool, AssertSqlSafe, Executor, Row, any::AnyPoolOptions};

/// Connections of a process to the database.
const MAX_CONNECTIONS: u32 = 4;
/// How long a connection is waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Keys that are looked at together when all get another master key.
const REWRAP_CHUNK: i64 = 500;

/// What each connection to `SQLite` begins with. A commit is on the disk, and what is deleted is
/// overwritten: a key that was deleted must not be found in the file.
const SQLITE: &str = "pragma journal_mode = delete; pragma synchronous = full; \
    pragma secure_delete = on; pragma busy_timeout = 5000;";

const TABLE: &str = "create table if not exists person_key (
    id text primary key,
    shop text not null,
    person text not null,
    master text not null,
    wrapped text not null,
    unique (shop, person)
)";

/// The key of a person, encrypted.
#[derive(Debug, Clone)]
pub(crate) struct WrappedKey {
    pub(crate) id: String,
    /// The master key that it is encrypted with.
    pub(crate) master: String,
    pub(crate) ciphertext: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: AnyPool,
}

impl Store {
    pub(crate) async fn open(location: &str) -> Result<Self, sqlx::Error> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let is_postgres =
            location.starts_with("postgres://") || location.starts_with("postgresql://");
        let url = if is_postgres {
            location.to_owned()
        } else {
            std::fs::create_dir_all(location)?;
            format!("sqlite:{location}/person-keys.db?mode=rwc")
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
        pool.execute(TABLE).await?;
        Ok(Self { pool })
    }

    pub(crate) async fn of_person(
        &self,
        shop: &Shop,
        person: &str,
    ) -> Result<Option<WrappedKey>, sqlx::Error> {
        let sql = "select id, master, wrapped from person_key where shop = $1 and person = $2";
        let row = sqlx::query(sql).bind(shop.as_str()).bind(person);
        row.fetch_optional(&self.pool).await?.as_ref().map(read).transpose()
    }

    pub(crate) async fn by_id(&self, id: &str) -> Result<Option<WrappedKey>, sqlx::Error> {
        let sql = "select id, master, wrapped from person_key where id = $1";
        let row = sqlx::query(sql).bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(read).transpose()
    }

    /// Stores the key of a person who has none. Yields the one that is there then: somebody else may
    /// have stored one at the same time.
    pub(crate) async fn insert(
        &self,
        shop: &Shop,
        person: &str,
        key: WrappedKey,
    ) -> Result<WrappedKey, sqlx::Error> {
        let sql = "insert into person_key (id, shop, person, master, wrapped) \
            values ($1, $2, $3, $4, $5) on conflict (shop, person) do nothing";
        let insert = sqlx::query(sql).bind(&key.id).bind(shop.as_str()).bind(person);
        let insert = insert.bind(&key.master).bind(BASE64.encode(&key.ciphertext));
        insert.execute(&self.pool).await?;
        Ok(self.of_person(shop, person).await?.unwrap_or(key))
    }

    pub(crate) async fn delete(&self, shop: &Shop, person: &str) -> Result<bool, sqlx::Error> {
        let sql = "delete from person_key where shop = $1 and person = $2";
        let deleted = sqlx::query(sql).bind(shop.as_str()).bind(person).execute(&self.pool).await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Some keys, with their shops, that are encrypted with another master key than this one.
    pub(crate) async fn not_wrapped_by(
        &self,
        master: &str,
    ) -> Result<Vec<(Shop, WrappedKey)>, sqlx::Error> {
        let sql = format!(
            "select id, master, wrapped, shop from person_key where master <> $1 \
             order by id limit {REWRAP_CHUNK}"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(master).fetch_all(&self.pool).await?;
        let read = |row: &sqlx::any::AnyRow| {
            let shop = Shop::parse(row.try_get("shop")?);
            Ok((shop.map_err(|error| sqlx::Error::Decode(error.into()))?, read(row)?))
        };
        rows.iter().map(read).collect()
    }

    /// Replaces the encrypted form of a key; false when it was deleted meanwhile.
    pub(crate) async fn replace(&self, key: &WrappedKey) -> Result<bool, sqlx::Error> {
        let sql = "update person_key set master = $2, wrapped = $3 where id = $1";
        let update = sqlx::query(sql).bind(&key.id).bind(&key.master);
        let update = update.bind(BASE64.encode(&key.ciphertext)).execute(&self.pool).await?;
        Ok(update.rows_affected() > 0)
    }
}

fn read(row: &sqlx::any::AnyRow) -> Result<WrappedKey, sqlx::Error> {
    let wrapped: String = row.try_get("wrapped")?;
    let ciphertext = BASE64.decode(wrapped.as_bytes());
    Ok(WrappedKey {
        id: row.try_get("id")?,
        master: row.try_get("master")?,
        ciphertext: ciphertext.map_err(|error| sqlx::Error::Decode(error.into()))?,
    })
}
