//! How far the payments of a shop are compared with the provider's list.
//!
//! It is in a stream beside the log, so that it outlives the process and the database. If it is lost, the shop
//! is compared from the beginning: that finds what is known again, and changes nothing by it.

use bytes::Bytes;
use engine::{Client, Error, PartLimits, Service as _, SideStream};
use protocol::{id::Shop, time::Timestamp};

use crate::Payments;

/// The stream, which keeps the last record of each topic.
const STREAM: SideStream = SideStream { service: Payments::NAME, name: "reconciled" };
/// The topic of a shop.
const TOPIC: &str = "until";
/// The most that is read at once: there is one record.
const PART: PartLimits = PartLimits { events: 16, bytes: 1 << 10 };

/// Before which time the shop is compared; the beginning of time when it never was.
pub(super) async fn read(client: &Client, shop: &Shop) -> Result<Timestamp, Error> {
    let mut reached = 0;
    let mut after = 0;
    loop {
        let (part, is_all) = client.records(STREAM, shop, TOPIC, after, PART).await?;
        reached = part.events.iter().filter_map(|(_, bytes)| millis(bytes)).fold(reached, i64::max);
        after = part.to;
        if is_all {
            return Ok(Timestamp::from_millis(reached));
        }
    }
}

/// Keeps before which time the shop is compared.
pub(super) async fn keep(client: &Client, shop: &Shop, until: Timestamp) -> Result<(), Error> {
    client.record(STREAM, shop, TOPIC, Bytes::from(until.millis().to_string())).await
}

/// A record: milliseconds since 1970, in decimal digits. One that does not read is like none.
fn millis(record: &[u8]) -> Option<i64> {
    std::str::from_utf8(record).ok()?.parse().ok()
}
