//! The rows that questions and deliveries look for.

use std::collections::HashMap;

use engine::{StoreError, documents};
use futures::TryStreamExt;
use protocol::{id::Shop, time::Timestamp};
use sqlx::{AnyPool, Row};

use super::MAX_PAGE;
use crate::domain::{
    rows::{FailureRow, QueueRow, RunRow},
    sequence::SeqSet,
};

/// The deliveries among which one is that were scheduled at once.
pub(crate) async fn run_with(
    db: &AnyPool,
    shop: &Shop,
    id: &str,
    seq: u64,
) -> Result<Option<RunRow>, StoreError> {
    let row = sqlx::query(
        "select key, document from run where shop = $1 and endpoint = $2 and last_seq >= $3 \
         order by last_seq limit 1",
    )
    .bind(shop.as_str().to_owned())
    .bind(id.to_owned())
    .bind(seq as i64)
    .fetch_optional(db)
    .await?;
    let row = row.map(|row| documents::read::<RunRow>(&row)).transpose()?.map(|(_, row)| row);
    Ok(row.filter(|row| row.run.first <= seq))
}

/// The rows of some deliveries that have failed or wait behind another; a page of them at most.
pub(crate) async fn failures(
    db: &AnyPool,
    shop: &Shop,
    id: &str,
    from: u64,
    to: u64,
) -> Result<Vec<FailureRow>, StoreError> {
    let rows = sqlx::query(
        "select key, document from failure where shop = $1 and endpoint = $2 and seq >= $3 \
         and seq <= $4 order by seq limit $5",
    )
    .bind(shop.as_str().to_owned())
    .bind(id.to_owned())
    .bind(from as i64)
    .bind(to as i64)
    .bind(i64::from(MAX_PAGE) + 1)
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok(documents::read::<FailureRow>(row)?.1)).collect()
}

/// What is not delivered of some deliveries though its turn has come; a page of it at most.
pub(super) async fn open_failures(
    db: &AnyPool,
    shop: &Shop,
    id: &str,
    from: u64,
    to: u64,
) -> Result<Vec<FailureRow>, StoreError> {
    let rows = sqlx::query(
        "select key, document from failure where shop = $1 and endpoint = $2 and seq >= $3 \
         and seq <= $4 and was_delivered = 0 order by seq limit $5",
    )
    .bind(shop.as_str().to_owned())
    .bind(id.to_owned())
    .bind(from as i64)
    .bind(to as i64)
    .bind(i64::from(MAX_PAGE) + 1)
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok(documents::read::<FailureRow>(row)?.1)).collect()
}

/// The deliveries whose next attempt is due, the longest due first.
pub(crate) async fn due(
    db: &AnyPool,
    shop: &Shop,
    id: &str,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<FailureRow>, StoreError> {
    let rows = sqlx::query(
        "select key, document from failure where shop = $1 and endpoint = $2 and due_at <= $3 \
         order by due_at, seq limit $4",
    )
    .bind(shop.as_str().to_owned())
    .bind(id.to_owned())
    .bind(now.millis())
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok(documents::read::<FailureRow>(row)?.1)).collect()
}

/// The aggregates of which a delivery has failed, with how many of each have or wait behind one.
pub(crate) async fn blocked(
    db: &AnyPool,
    shop: &Shop,
    id: &str,
) -> Result<HashMap<String, u64>, StoreError> {
    let rows = sqlx::query("select key, document from queue where shop = $1 and endpoint = $2")
        .bind(shop.as_str().to_owned())
        .bind(id.to_owned())
        .fetch_all(db)
        .await?;
    let queues = rows.iter().map(|row| {
        let (_, queue) = documents::read::<QueueRow>(row)?;
        Ok((queue.key, 1 + queue.waiting.len() as u64))
    });
    queues.collect()
}

/// How many of the attempted deliveries from `from` to `to` are not delivered: those of which no request was ever under
/// way, and all.
///
/// The rows may be newer than `attempted`; what it does not hold is not counted.
pub(super) async fn count_failures(
    db: &AnyPool,
    shop: &Shop,
    id: &str,
    attempted: &SeqSet,
    (from, to): (u64, u64),
) -> Result<(u64, u64), StoreError> {
    // Up to there it holds all, so the database counts them.
    let through = attempted.through();
    let row = sqlx::query(
        "select count(*) filter (where is_sent = 0) as unsent, count(*) as failed \
         from failure where shop = $1 and endpoint = $2 and seq >= $3 and seq <= $4 \
         and was_delivered = 0",
    )
    .bind(shop.as_str().to_owned())
    .bind(id.to_owned())
    .bind(from as i64)
    .bind(to.min(through) as i64)
    .fetch_one(db)
    .await?;
    let count = |name: &str| Ok::<_, StoreError>(row.try_get::<i64, _>(name)? as u64);
    let (mut unsent, mut failed) = (count("unsent")?, count("failed")?);
    let mut beyond = sqlx::query(
        "select seq, is_sent from failure where shop = $1 and endpoint = $2 and seq >= $3 \
         and seq <= $4 and was_delivered = 0",
    )
    .bind(shop.as_str().to_owned())
    .bind(id.to_owned())
    .bind(from.max(through + 1) as i64)
    .bind(to as i64)
    .fetch(db);
    while let Some(row) = beyond.try_next().await? {
        if attempted.contains(row.try_get::<i64, _>("seq")? as u64) {
            failed += 1;
            unsent += u64::from(row.try_get::<i64, _>("is_sent")? == 0);
        }
    }
    Ok((unsent, failed))
}
