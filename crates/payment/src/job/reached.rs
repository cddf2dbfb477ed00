//! How far the payments of a shop are compared with the provider's list.
//!
//! It is in a stream beside the log, so that it outlives the process and the database. If it is lost, the shop
//! is compared from the beginning: that finds what is known again, and changes nothing by it.

use bytes::Bytes;
use engine::{Client, Error, PartLimits, Service as _, SideStream};
use protocol::{id::Shop, time::Timestamp};

use super::windows::Window;
use crate::Payments;

/// The stream, which keeps the last record of each topic.
const STREAM: SideStream = SideStream { service: Payments::NAME, name: "reconciled" };
/// The topic of a shop.
const TOPIC: &str = "until";
/// The most that is read at once: there is one record.
const PART: PartLimits = PartLimits { events: 16, bytes: 1 << 12 };

/// How far a shop is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    /// Before which time; the beginning of time when it never was.
    pub(super) until: Timestamp,
    /// When before that there are differences that nobody mends.
    pub(super) open: Vec<Window>,
}

/// How far the shop is compared.
pub(super) async fn read(client: &Client, shop: &Shop) -> Result<Reached, Error> {
    let mut reached = Reached { until: Timestamp::from_millis(0), open: Vec::new() };
    let mut after = 0;
    loop {
        let (part, is_all) = client.records(STREAM, shop, TOPIC, after, PART).await?;
        let records = part.events.iter().filter_map(|(_, bytes)| parse(bytes));
        // Of two processes, the one that is ahead.
        reached = records.fold(reached, |a, b| if b.until >= a.until { b } else { a });
        after = part.to;
        if is_all {
            return Ok(reached);
        }
    }
}

/// Keeps how far the shop is compared.
pub(super) async fn keep(client: &Client, shop: &Shop, reached: &Reached) -> Result<(), Error> {
    client.record(STREAM, shop, TOPIC, Bytes::from(text(reached))).await
}

/// The record: milliseconds since 1970, in decimal digits, and after it the beginning and the end of each window.
fn text(reached: &Reached) -> String {
    let windows = reached.open.iter().flat_map(|it| [it.from, it.until]);
    let times: Vec<_> = std::iter::once(reached.until)
        .chain(windows)
        .map(|time| time.millis().to_string())
        .collect();
    times.join(" ")
}

/// Reads a record. One that does not read is like none.
fn parse(record: &[u8]) -> Option<Reached> {
    let times = std::str::from_utf8(record).ok()?.split(' ');
    let times = times.map(|time| time.parse().ok().map(Timestamp::from_millis));
    let times: Vec<Timestamp> = times.collect::<Option<_>>()?;
    let (until, windows) = times.split_first()?;
    let open = windows.chunks_exact(2).map(|it| Window { from: it[0], until: it[1] }).collect();
    Some(Reached { until: *until, open })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_kept() {
        let at = Timestamp::from_millis;
        let window = |from, until| Window { from: at(from), until: at(until) };
        for open in [vec![], vec![window(1, 5)], vec![window(1, 5), window(9, 12)]] {
            let reached = Reached { until: at(1_795_179_849_123), open };
            assert_eq!(parse(text(&reached).as_bytes()), Some(reached));
        }
        for wrong in ["", "soon", "5 x"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
