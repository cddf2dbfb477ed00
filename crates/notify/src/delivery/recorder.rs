//! Writes down how attempts went, while the next ones are made.

use std::time::Duration;

use protocol::id::Shop;
use tokio::time::timeout;

use super::{DeliveryContext, lane::Lane};
use crate::{attempts, metrics};

/// How long the attempts of a round wait for those of the round before to be written down. After that
/// they are not recorded: a stream that does not answer delays no delivery.
const PREVIOUS_WRITE_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a process that stops waits for what it is writing down.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_millis(250);

/// Records the attempts of the round that was handed in last.
pub(super) async fn record(
    outside: &DeliveryContext,
    shop: &Shop,
    endpoint_id: &str,
    lane: &mut Lane,
) {
    let all = lane.take_attempts(&outside.user_agent);
    if all.is_empty() {
        return;
    }
    if let Some(last) = &mut lane.recording
        && timeout(PREVIOUS_WRITE_TIMEOUT, last).await.is_err()
    {
        lost(endpoint_id, all.len() as u64, "those before are still being written");
        return;
    }
    let (client, shop, endpoint_id) =
        (outside.client.clone(), shop.clone(), endpoint_id.to_owned());
    lane.recording = Some(tokio::spawn(async move {
        for record in attempts::records(&endpoint_id, all) {
            let count = record.attempts;
            if let Err(error) = attempts::write(&client, &shop, record).await {
                lost(&endpoint_id, count, &error.to_string());
            }
        }
    }));
}

/// Waits for what is being written down, for a moment.
pub(super) async fn finish(lane: &mut Lane) {
    if let Some(last) = lane.recording.take() {
        timeout(LAST_WRITE_TIMEOUT, last).await.ok();
    }
}

fn lost(endpoint_id: &str, attempts: u64, reason: &str) {
    metrics::unrecorded(attempts);
    tracing::warn!(endpoint.id = endpoint_id, attempts, reason, "attempts are not recorded");
}
