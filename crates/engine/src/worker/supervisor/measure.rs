//! What the projection of a partition holds: counted for the metrics while the partition runs here.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use metrics::Gauge;
use tokio::time::sleep;

use crate::{
    Error, Service,
    projection::{database::Database, fold::panic_text, in_time::in_time},
    worker::status::Statuses,
};

/// How often what a projection holds is counted.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

/// Gauges of a service, which go to 0 when the process gives the partition up.
#[derive(Default)]
struct Measured(Vec<Gauge>);

impl Drop for Measured {
    fn drop(&mut self) {
        self.0.iter().for_each(|gauge| gauge.set(0.0));
    }
}

/// Counts what the projection of a partition holds, again and again.
pub(super) async fn measure<S: Service>(
    service: &S,
    database: &Database,
    partition: u32,
    statuses: &Statuses,
) -> Result<(), Error> {
    let mut measured = Measured::default();
    loop {
        let counting = in_time(service.count(&database.pool, partition));
        match AssertUnwindSafe(counting).catch_unwind().await {
            Ok(Ok(counts)) => {
                for (gauge, count) in &counts {
                    gauge.set(*count as f64);
                }
                measured.0 = counts.into_iter().map(|(gauge, _)| gauge).collect();
            }
            Ok(Err(error)) => tracing::debug!(service = S::NAME, partition, %error, "cannot count"),
            // What is only looked at stops nothing.
            Err(panic) => {
                let reason = panic_text(&*panic);
                tracing::error!(service = S::NAME, partition, reason, "cannot count");
            }
        }
        statuses.set_problems(S::NAME, partition, service.problems(partition));
        sleep(MEASURE_INTERVAL).await;
    }
}
