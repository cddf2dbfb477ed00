//! Rows in and out of a database, many at once: as one JSON text each way.
//!
//! A statement costs about as much as ten rows, and a row that is fetched by itself ten times what
//! it costs as a piece of a text. So services ask for all rows of a batch at once.

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{AnyConnection, Row};

use crate::StoreError;

/// Fetches the rows that `keys` name. The statement reads the keys from `jsonb_each($1)`, and
/// yields one text:
///
/// ```sql
/// select string_agg(concat_ws(',', value->>1, version, json_quote(title)), '],[')
/// from jsonb_each($1) join product on sku = value->>0
/// ```
///
/// `concat_ws` leaves out what is null, so a text and whatever may be null goes through
/// `json_quote`.
///
/// # Errors
///
/// When the database fails, or a row is not a `Row`.
pub async fn fetch<R: DeserializeOwned>(
    db: &mut AnyConnection,
    statement: &'static str,
    keys: &[impl Serialize],
) -> Result<Vec<R>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let row = sqlx::query(statement).bind(serde_json::to_string(keys)?).fetch_one(db).await?;
    let Some(rows) = row.try_get::<Option<String>, _>(0)? else { return Ok(Vec::new()) };
    serde_json::from_str(&format!("[[{rows}]]")).map_err(StoreError::Unreadable)
}

/// Runs a statement over all rows, which it reads from `jsonb_each($1)`.
///
/// # Errors
///
/// When the database fails.
pub async fn write(
    db: &mut AnyConnection,
    statement: &'static str,
    rows: &[impl Serialize],
) -> Result<(), StoreError> {
    if !rows.is_empty() {
        sqlx::query(statement).bind(serde_json::to_string(rows)?).execute(db).await?;
    }
    Ok(())
}
