//! What is counted of the projection of a partition.

use engine::{StoreError, metrics::Metric};
use metrics::Gauge;
use protocol::time::Timestamp;
use sqlx::{AnyPool, Row as _};

use crate::metrics::{DELIVERIES, ENDPOINTS, MAILS, OLDEST_PENDING, of_partition, of_state};

/// The states of deliveries that are counted, each with the column that counts it.
const DELIVERY_STATES: [(&str, &str); 6] = [
    ("pending", "pending"),
    ("held", "held"),
    ("retry_at", "retrying"),
    ("held_behind", "behind"),
    ("exhausted", "exhausted"),
    ("aborted", "aborted"),
];
/// The states of endpoints that are counted.
const ENDPOINT_STATES: [&str; 4] = ["active", "failing", "paused", "disabled"];

/// Counts the deliveries and endpoints of a partition.
pub(crate) async fn count(
    db: &AnyPool,
    partition: u32,
    now: Timestamp,
) -> Result<Vec<(Gauge, u64)>, StoreError> {
    let mut counts = Vec::new();
    for (metric, is_mail) in [(&DELIVERIES, 0), (&MAILS, 1)] {
        counts.extend(deliveries(db, partition, metric, is_mail).await?);
    }
    let endpoints = sqlx::query(
        "select status, count(*) as endpoints from endpoint where partition = $1 and is_mail = 0 \
         group by status",
    )
    .bind(i64::from(partition))
    .fetch_all(db)
    .await?;
    for state in ENDPOINT_STATES {
        let mut count = 0;
        for row in &endpoints {
            if row.try_get::<String, _>("status")? == state {
                count = row.try_get::<i64, _>("endpoints")? as u64;
            }
        }
        counts.push((of_state(&ENDPOINTS, partition, state), count));
    }
    let oldest = oldest_pending(db, partition).await?.map_or(0, |oldest| now.millis() - oldest);
    counts.push((of_partition(&OLDEST_PENDING, partition), oldest.max(0) as u64 / 1_000));
    Ok(counts)
}

/// Counts the deliveries to webhook endpoints, or the mails.
async fn deliveries(
    db: &AnyPool,
    partition: u32,
    metric: &Metric,
    is_mail: i64,
) -> Result<Vec<(Gauge, u64)>, StoreError> {
    let sums = sqlx::query(
        "select cast(coalesce(sum(pending), 0) as bigint) as pending, \
         cast(coalesce(sum(held), 0) as bigint) as held, \
         cast(coalesce(sum(retrying), 0) as bigint) as retrying, \
         cast(coalesce(sum(behind), 0) as bigint) as behind, \
         cast(coalesce(sum(exhausted), 0) as bigint) as exhausted, \
         cast(coalesce(sum(aborted), 0) as bigint) as aborted \
         from endpoint where partition = $1 and is_mail = $2 and status <> 'deleted'",
    )
    .bind(i64::from(partition))
    .bind(is_mail)
    .fetch_one(db)
    .await?;
    let count = |(state, column): (&'static str, &str)| {
        let count = sums.try_get::<i64, _>(column)? as u64;
        Ok((of_state(metric, partition, state), count))
    };
    DELIVERY_STATES.into_iter().map(count).collect()
}

/// Since when the oldest delivery waits that is to be attempted for the first time, in milliseconds
/// since 1970.
async fn oldest_pending(db: &AnyPool, partition: u32) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query(
        "select min((select r.scheduled_at from run r where r.shop = e.shop \
         and r.endpoint = e.key and r.last_seq >= e.next_seq order by r.last_seq limit 1)) as oldest \
         from endpoint e where e.partition = $1 and e.is_mail = 0 and e.next_seq is not null",
    )
    .bind(i64::from(partition))
    .fetch_one(db)
    .await?;
    Ok(row.try_get::<Option<i64>, _>("oldest")?)
}
