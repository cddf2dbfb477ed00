//! Putting what was folded beside a live database in the place of its rows.
//!
//! All of it in one transaction, so that a crash leaves the one or the other, and a question is never
//! answered from a part. On `SQLite` the partitions of a service share a file, and nobody else writes to
//! it meanwhile: writing 100,000 rows anew took 6 s, and others give up after 10. So what
//! differs is looked for first, which locks nothing (1.4 s for as many rows), and only that is written.
//! Of most rebuilds it is nothing.

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};

use crate::{
    Error, StoreError, Table,
    projection::{
        database::Database,
        documents,
        positions::{LOG, Positions},
        store,
    },
};

/// The most rows of a table that are replaced one by one. When more differ, all are written anew.
const MAX_DIFFERENCES: usize = 100_000;
/// Rows that are replaced with one statement.
const MAX_KEYS_PER_STATEMENT: usize = 1_000;

/// The rows of a table, by shop and key, that are not as they should be; `None` when these are too many.
type Differences = Option<Vec<(String, String)>>;

impl Database {
    /// Replaces the rows of a partition by those of a scratch database. Refused when somebody has written
    /// the partition meanwhile.
    pub(crate) async fn take_over(
        &self,
        scratch: &Self,
        service: &'static str,
        partition: u32,
    ) -> Result<(), Error> {
        let mut db = self.pool.acquire().await?;
        // Not given back, also when this is dropped half-way: the scratch database stays attached to it,
        // and no other one could be.
        db.close_on_drop();
        let from = match (&scratch.file, &scratch.postgres_schema) {
            (Some(file), _) => {
                let file = file.display().to_string().replace('\'', "''");
                let attach = format!("attach database '{file}' as scratch");
                db.execute(AssertSqlSafe(attach)).await?;
                "scratch".to_owned()
            }
            (None, schema) => format!("\"{}\"", schema.as_deref().unwrap_or_default()),
        };
        replace(&mut db, &self.tables, &from, service, partition).await
    }
}

async fn replace(
    db: &mut AnyConnection,
    tables: &[Table],
    from: &str,
    service: &'static str,
    partition: u32,
) -> Result<(), Error> {
    let before = store::positions(db, partition).await?;
    let mut differences = Vec::with_capacity(tables.len());
    for table in tables {
        differences.push(find_differences(db, table, from, partition).await?);
    }
    let mut tx = db.begin().await?;
    if lock(&mut tx, partition).await? != before {
        let expected = before.sequence(LOG);
        return Err(Error::Superseded { service, partition, expected });
    }
    for (table, differences) in tables.iter().zip(differences) {
        match differences {
            Some(keys) => replace_rows(&mut tx, table, from, &keys).await?,
            None => replace_all(&mut tx, table.name, from, partition).await?,
        }
    }
    for (name, _) in store::PLAIN_TABLES {
        replace_all(&mut tx, name, from, partition).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Locks out other writers of a partition, and reads how far its rows are.
async fn lock(db: &mut AnyConnection, partition: u32) -> Result<Positions, StoreError> {
    sqlx::query("update engine_position set sequence = sequence where partition = $1")
        .bind(i64::from(partition))
        .execute(&mut *db)
        .await?;
    store::positions(db, partition).await
}

/// Finds the rows that are missing, that differ, and that should not be there.
async fn find_differences(
    db: &mut AnyConnection,
    table: &Table,
    from: &str,
    partition: u32,
) -> Result<Differences, StoreError> {
    let name = table.name;
    let columns = table.columns.iter().map(|column| column.name).chain(["partition", "document"]);
    let differs: Vec<_> =
        columns.map(|column| format!("live.{column} is distinct from built.{column}")).collect();
    let differs = differs.join(" or ");
    let mut keys = Vec::new();
    for statement in [
        format!(
            "select built.shop as shop, built.key as key from {from}.{name} built \
             left join {name} live on live.shop = built.shop and live.key = built.key \
             where built.partition = $1 and ({differs}) limit $2"
        ),
        format!(
            "select live.shop as shop, live.key as key from {name} live \
             where live.partition = $1 and not exists (select 1 from {from}.{name} built \
             where built.shop = live.shop and built.key = live.key) limit $2"
        ),
    ] {
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(i64::from(partition))
            .bind(MAX_DIFFERENCES as i64)
            .fetch_all(&mut *db)
            .await?;
        for row in rows {
            keys.push((row.try_get("shop")?, row.try_get("key")?));
        }
    }
    Ok((keys.len() < MAX_DIFFERENCES).then_some(keys))
}

async fn replace_rows(
    db: &mut AnyConnection,
    table: &Table,
    from: &str,
    keys: &[(String, String)],
) -> Result<(), StoreError> {
    let insert = format!(
        "insert into {name} select built.* from {from}.{name} built \
         where (built.shop, built.key) in (select value->>0, value->>1 from jsonb_each($1))",
        name = table.name
    );
    for keys in keys.chunks(MAX_KEYS_PER_STATEMENT) {
        let keys = serde_json::to_string(keys)?;
        for statement in [documents::delete_statement(table), insert.clone()] {
            sqlx::query(AssertSqlSafe(statement)).bind(keys.clone()).execute(&mut *db).await?;
        }
    }
    Ok(())
}

async fn replace_all(
    db: &mut AnyConnection,
    table: &str,
    from: &str,
    partition: u32,
) -> Result<(), StoreError> {
    for statement in [
        format!("delete from {table} where partition = $1"),
        format!("insert into {table} select * from {from}.{table} where partition = $1"),
    ] {
        sqlx::query(AssertSqlSafe(statement)).bind(i64::from(partition)).execute(&mut *db).await?;
    }
    Ok(())
}
