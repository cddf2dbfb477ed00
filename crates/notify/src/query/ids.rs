//! The ids of the events of deliveries, which their receiver has as `webhook-id`. They are in the logs of the events
//! alone.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use engine::{Client, Error, PartLimits, QueryError};
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use protocol::{id::Shop, proto::Envelope};
use tokio::time::timeout;

use super::Delivery;
use crate::Notify;

/// How long the events may take to be read: less than who asks for them waits.
const READ_TIMEOUT: Duration = Duration::from_secs(4);
/// Events that are nearer to each other in their log than this are read at once.
const NEAR: u64 = 64;
/// How many parts of logs are read at the same time.
const READS: usize = 8;
/// The most that is read of a log at once.
const PART_LIMITS: PartLimits = PartLimits { events: 1_000, bytes: 8 << 20 };

impl Notify {
    /// Adds the ids of their events to deliveries; one whose event the log does not have stays without.
    pub(super) async fn add_event_ids(
        &self,
        shop: &Shop,
        deliveries: &mut [Delivery],
    ) -> Result<(), QueryError> {
        let Some(outside) = &self.outside else { return Ok(()) };
        let mut unknown: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for delivery in deliveries.iter_mut() {
            let (service, position) = (&delivery.service, delivery.position);
            match self.recent.get(shop.as_str(), service, position) {
                Some(event) => delivery.event_id = event_id(&event),
                None => unknown.entry(service.clone()).or_default().push(position),
            }
        }
        let ranges = unknown.into_iter().flat_map(|(service, positions)| {
            ranges(positions).into_iter().map(move |range| (service.clone(), range))
        });
        let read = stream::iter(ranges)
            .map(|(service, range)| read(&outside.client, shop, service, range))
            .buffer_unordered(READS)
            .try_collect::<Vec<_>>();
        let read = timeout(READ_TIMEOUT, read).await;
        let read = read
            .map_err(|error| QueryError::Outside(error.into()))?
            .map_err(|error| QueryError::Outside(error.into()))?;
        let ids: HashMap<(String, u64), String> = read.into_iter().flatten().collect();
        for delivery in deliveries.iter_mut().filter(|it| it.event_id.is_empty()) {
            let id = ids.get(&(delivery.service.clone(), delivery.position));
            delivery.event_id = id.cloned().unwrap_or_default();
        }
        Ok(())
    }
}

/// The ids of the shop's events of a service between two positions.
async fn read(
    client: &Client,
    shop: &Shop,
    service: String,
    (first, last): (u64, u64),
) -> Result<Vec<((String, u64), String)>, Error> {
    let (mut ids, mut after) = (Vec::new(), first.saturating_sub(1));
    while after < last {
        let part = client.log_part(&service, shop, (after, last), PART_LIMITS).await?;
        let read = part.events.iter();
        ids.extend(read.map(|(at, event)| ((service.clone(), *at), event_id(event))));
        if part.to <= after {
            break;
        }
        after = part.to;
    }
    Ok(ids)
}

fn event_id(event: &[u8]) -> String {
    Envelope::decode(event).map(|envelope| envelope.id).unwrap_or_default()
}

/// The first and the last of each group of positions that are near to each other.
fn ranges(mut positions: Vec<u64>) -> Vec<(u64, u64)> {
    positions.sort_unstable();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for position in positions {
        match ranges.last_mut() {
            Some((_, last)) if position - *last <= NEAR => *last = position,
            _ => ranges.push((position, position)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_that_are_near_are_read_at_once() {
        assert_eq!(ranges(vec![]), []);
        assert_eq!(ranges(vec![500, 3, 1, 67, 500]), [(1, 67), (500, 500)]);
    }
}
