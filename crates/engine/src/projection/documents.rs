//! The one implementation of rows in a database: creating their tables, fetching and writing them in
//! bulk, on `SQLite` and Postgres with the same statements.
//!
//! A statement costs about as much as ten rows, so the rows of a table go through few of them:
//! many rows are written with one `insert`, many keys are one JSON text into a `select`, and the
//! documents that it finds one text out of it.

use std::{fmt::Write as _, sync::Arc};

use foldhash::{HashMap, HashMapExt};
use protocol::id::Shop;
use serde_json::value::RawValue;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Row as _, any::AnyRow};

use crate::{
    ChangedRow, Document, Row, State, StoreError, Table,
    projection::in_time::{TimedConnection, WORK_TIMEOUT},
    service::{ColumnKind, Value},
};

/// The most rows that are written with one statement. Rows are written by powers of four, so that a
/// connection prepares few statements for each table and keeps them.
const MAX_ROWS_PER_STATEMENT: usize = 256;
/// The most keys deleted with one statement.
const MAX_KEYS_PER_STATEMENT: usize = 4_000;

/// The rows of one table that a batch changed.
#[derive(Debug, Clone)]
pub(crate) struct TableChanges {
    pub(crate) table: Table,
    pub(crate) rows: Vec<(Shop, ChangedRow)>,
}

/// Creates a service's tables where they are missing. The engine does it for a service that runs;
/// its tests do it for theirs.
///
/// # Errors
///
/// When the database fails.
pub async fn create_tables(db: &mut AnyConnection, tables: &[Table]) -> Result<(), sqlx::Error> {
    for statement in tables.iter().flat_map(definition) {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *db).await?;
    }
    Ok(())
}

/// The statements that create a table and its indexes.
pub(crate) fn definition(table: &Table) -> Vec<String> {
    let name = table.name;
    let mut columns = String::new();
    for column in table.columns {
        let kind = match column.kind {
            ColumnKind::Integer => "bigint",
            ColumnKind::Text => "text",
        };
        let _ = write!(columns, "{} {kind}, ", column.name);
    }
    let create = format!(
        "create table if not exists {name} (partition bigint not null, shop text not null, \
         key text not null, {columns}document text not null, primary key (shop, key))"
    );
    let indexes = table.indexes.iter().enumerate().map(|(number, index)| {
        let unique = if index.starts_with("unique ") { "unique " } else { "" };
        let index = index.trim_start_matches("unique ");
        format!("create {unique}index if not exists {name}_{number} on {name} {index}")
    });
    std::iter::once(create).chain(indexes).collect()
}

/// Fetches the rows that the states look for and do not have; true when there were some.
pub(crate) async fn load_missing<S: State>(
    db: &mut AnyConnection,
    states: &mut HashMap<Shop, S>,
) -> Result<bool, StoreError> {
    let mut wanted: Vec<(Table, Vec<(Shop, String)>)> = Vec::new();
    for (shop, state) in states.iter_mut() {
        for (index, rows) in state.tables().into_iter().enumerate() {
            if wanted.len() <= index {
                wanted.push((rows.table(), Vec::new()));
            }
            if rows.is_missing() {
                let keys = rows.take_missing().into_iter().map(|key| (shop.clone(), key));
                wanted[index].1.extend(keys);
            }
        }
    }
    let mut found_some = false;
    for (index, (table, keys)) in wanted.into_iter().enumerate() {
        if keys.is_empty() {
            continue;
        }
        found_some = true;
        let documents = fetch(db, table.name, &keys).await?;
        for (at, (shop, key)) in keys.iter().enumerate() {
            let Some(state) = states.get_mut(shop) else { continue };
            let mut tables = state.tables();
            let document = documents.get(&at).map(|document| document.get());
            tables[index].fill(key, document).map_err(|source| StoreError::Unreadable {
                table: table.name.to_owned(),
                key: key.clone(),
                source,
            })?;
        }
    }
    Ok(found_some)
}

/// The documents of those keys, by the index of the key. They come as one text: a row that is
/// fetched by itself costs twice as much.
async fn fetch(
    db: &mut AnyConnection,
    table: &str,
    keys: &[(Shop, String)],
) -> Result<HashMap<usize, Box<RawValue>>, StoreError> {
    let numbered: Vec<_> =
        keys.iter().enumerate().map(|(at, (shop, key))| (at, shop.as_str(), key)).collect();
    let statement = format!(
        "select string_agg(concat_ws(',', value->>0, t.document), '],[') as documents \
         from jsonb_each($1) join {table} t on t.shop = value->>1 and t.key = value->>2"
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(serde_json::to_string(&numbered)?)
        .fetch_one(db)
        .await?;
    let Some(documents) = row.try_get::<Option<String>, _>("documents")? else {
        return Ok(HashMap::new());
    };
    let documents: Vec<(usize, Box<RawValue>)> =
        serde_json::from_str(&format!("[[{documents}]]")).map_err(|source| {
            StoreError::Unreadable { table: table.to_owned(), key: String::new(), source }
        })?;
    Ok(documents.into_iter().collect())
}

/// Takes what has changed out of the states.
pub(crate) fn take_changed<S: State>(states: &mut HashMap<Shop, S>) -> Vec<TableChanges> {
    let mut changes: Vec<TableChanges> = Vec::new();
    for (shop, state) in states.iter_mut() {
        for (index, rows) in state.tables().into_iter().enumerate() {
            if changes.len() <= index {
                changes.push(TableChanges { table: rows.table(), rows: Vec::new() });
            }
            let taken = rows.take_changed().into_iter().map(|row| (shop.clone(), row));
            changes[index].rows.extend(taken);
        }
    }
    changes.retain(|table| !table.rows.is_empty());
    changes
}

/// Writes rows.
pub(crate) async fn save(
    db: &mut TimedConnection<'_>,
    partition: u32,
    changes: &[TableChanges],
) -> Result<(), StoreError> {
    let is_sqlite = db.is_sqlite();
    for TableChanges { table, rows } in changes {
        let mut written = Vec::with_capacity(rows.len());
        let mut removed = Vec::new();
        for (shop, changed) in rows {
            match &changed.row {
                Some(row) => written.push((shop, &changed.key, row)),
                None => removed.push((shop.as_str(), &changed.key)),
            }
        }
        let mut left = &written[..];
        while !left.is_empty() {
            let count = 4_usize.pow(left.len().ilog(4)).min(MAX_ROWS_PER_STATEMENT);
            let (now, later) = left.split_at(count);
            let mut statement = sqlx::query(AssertSqlSafe(upsert(table, count, is_sqlite)));
            for (shop, key, row) in now {
                statement = statement
                    .bind(i64::from(partition))
                    .bind(shop.as_str().to_owned())
                    .bind((*key).clone())
                    .bind(row.to_json()?);
                for value in row.columns() {
                    statement = match value {
                        Value::Integer(number) => statement.bind(number),
                        Value::Text(text) => statement.bind(text),
                    };
                }
            }
            db.execute(statement).await?;
            left = later;
        }
        for removed in removed.chunks(MAX_KEYS_PER_STATEMENT) {
            let delete = sqlx::query(AssertSqlSafe(delete_statement(table)))
                .bind(serde_json::to_string(removed)?);
            db.execute(delete).await?;
        }
    }
    Ok(())
}

/// Writes as many rows, with the parameters row by row. `SQLite` takes `$1` for a name, and looks it
/// up among all others.
fn upsert(table: &Table, rows: usize, is_sqlite: bool) -> String {
    let (mut names, mut updates) = (String::new(), String::new());
    for column in table.columns {
        let _ = write!(names, ", {}", column.name);
        let _ = write!(updates, ", {0} = excluded.{0}", column.name);
    }
    let width = 4 + table.columns.len();
    let mut values = String::new();
    for row in 0..rows {
        for column in 0..width {
            values.push_str(match (row, column) {
                (0, 0) => "(",
                (_, 0) => "), (",
                _ => ", ",
            });
            if is_sqlite {
                values.push('?');
            } else {
                let _ = write!(values, "${}", row * width + column + 1);
            }
        }
    }
    format!(
        "insert into {table} (partition, shop, key, document{names}) values {values}) \
         on conflict (shop, key) do update set document = excluded.document{updates}",
        table = table.name
    )
}

/// Deletes the rows of the keys of the parameter.
pub(crate) fn delete_statement(table: &Table) -> String {
    format!(
        "delete from {table} where (shop, key) in \
         (select value->>0, value->>1 from jsonb_each($1))",
        table = table.name
    )
}

/// Writes rows of one shop, for tests of questions: live, rows follow from events alone.
///
/// # Errors
///
/// When the database fails, or a row does not serialise.
pub async fn put<R: Row>(
    db: &mut AnyConnection,
    shop: &Shop,
    rows: impl IntoIterator<Item = (String, R)>,
) -> Result<(), StoreError> {
    let rows = rows.into_iter().map(|(key, row)| {
        let row = Some(Arc::new(row) as Arc<dyn Document>);
        (shop.clone(), ChangedRow { key, row })
    });
    let rows = rows.collect();
    let db = &mut TimedConnection::new(db, WORK_TIMEOUT);
    save(db, 0, &[TableChanges { table: R::TABLE, rows }]).await
}

/// The row of that key.
///
/// # Errors
///
/// When the database fails, or the document does not read.
pub async fn get<R: Row>(
    db: &AnyPool,
    shop: &Shop,
    key: impl ToString,
) -> Result<Option<R>, StoreError> {
    let statement =
        format!("select key, document from {} where shop = $1 and key = $2", name::<R>());
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(shop.as_str().to_owned())
        .bind(key.to_string())
        .fetch_optional(db)
        .await?;
    Ok(row.as_ref().map(read::<R>).transpose()?.map(|(_, row)| row))
}

/// At most `limit` rows of the shop whose keys are larger than `after`, by key.
///
/// # Errors
///
/// When the database fails, or a document does not read.
pub async fn page<R: Row>(
    db: &AnyPool,
    shop: &Shop,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, R)>, StoreError> {
    let statement = format!(
        "select key, document from {} where shop = $1 and key > $2 order by key limit $3",
        name::<R>()
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(shop.as_str().to_owned())
        .bind(after.to_owned())
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.iter().map(read::<R>).collect()
}

/// The rows of the shop that hold `value` in the text column `column`, at most `limit`, by key.
///
/// # Errors
///
/// When the database fails, or a document does not read.
pub async fn find<R: Row>(
    db: &AnyPool,
    shop: &Shop,
    column: &'static str,
    value: &str,
    limit: i64,
) -> Result<Vec<(String, R)>, StoreError> {
    let statement = format!(
        "select key, document from {} where shop = $1 and {column} = $2 order by key limit $3",
        name::<R>()
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(shop.as_str().to_owned())
        .bind(value.to_owned())
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.iter().map(read::<R>).collect()
}

/// The rows that a statement of a service's own list finds. `values` are its parameters, from `$1` on; no
/// other value of a user stands in it.
///
/// # Errors
///
/// When the database fails.
pub async fn select(
    db: &AnyPool,
    statement: String,
    values: Vec<Value>,
) -> Result<Vec<AnyRow>, StoreError> {
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for value in values {
        query = match value {
            Value::Integer(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
        };
    }
    Ok(query.fetch_all(db).await?)
}

/// A text as it is kept in a column that is searched: without regard to its case.
pub fn searched(text: &str) -> String {
    text.to_lowercase()
}

/// The pattern of such a column that holds a text, for a `like` whose escape character is the backslash: `%` and `_` stand for themselves.
pub fn pattern(part: &str) -> String {
    let escaped: String = searched(part)
        .chars()
        .flat_map(|char| matches!(char, '%' | '_' | '\\').then_some('\\').into_iter().chain([char]))
        .collect();
    format!("%{escaped}%")
}

/// Reads the key and the document of a row that was fetched with the columns `key` and `document`.
///
/// # Errors
///
/// When the document does not read.
pub fn read<R: Row>(row: &AnyRow) -> Result<(String, R), StoreError> {
    let key: String = row.try_get("key")?;
    let document: String = row.try_get("document")?;
    let row = serde_json::from_str(&document).map_err(|source| StoreError::Unreadable {
        table: name::<R>().to_owned(),
        key: key.clone(),
        source,
    })?;
    Ok((key, row))
}

fn name<R: Row>() -> &'static str {
    R::TABLE.name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_created_with_its_columns_and_indexes() {
        const TABLE: Table = Table {
            name: "tickets",
            about: "A ticket.",
            columns: &[crate::Column::integer("due_at"), crate::Column::text("reference")],
            indexes: &[
                "(partition, due_at) where due_at is not null",
                "unique (shop, reference) where reference is not null",
            ],
        };
        assert_eq!(
            definition(&TABLE),
            [
                "create table if not exists tickets (partition bigint not null, shop text not null, \
                 key text not null, due_at bigint, reference text, document text not null, \
                 primary key (shop, key))",
                "create index if not exists tickets_0 on tickets (partition, due_at) \
                 where due_at is not null",
                "create unique index if not exists tickets_1 on tickets (shop, reference) \
                 where reference is not null",
            ]
        );
    }
}
