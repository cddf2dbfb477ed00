//! How attempts went: written to a stream beside the log and kept for 30 days, for people who look them up.
//!
//! Nothing is decided from it. A record that is lost is seen by the number of the attempt, which is
//! missing; the outcome of the attempt is in the log all the same.
//!
//! The records of an endpoint are found by the numbers of its deliveries: one topic holds the attempts
//! of [`SPAN`] of them, whenever they were made. So neither the log nor the database grows by them.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::{Client, Error, PartLimits, Service as _, SideStream};
use protocol::id::Shop;

use crate::{Notify, domain::attempt::Attempt, wire::attempts};

/// The stream.
const STREAM: SideStream = SideStream { service: Notify::NAME, name: "attempts" };
/// The deliveries whose attempts have a topic together. Another number loses sight of what was recorded.
const SPAN: u64 = 1_000;
/// The bytes of attempts in one record: with one more, it is still below the `max_payload` of 1 MiB.
const MAX_RECORD_BYTES: usize = 512 << 10;
/// The most attempts at one delivery that are shown.
const MAX_SHOWN: usize = 100;
/// The most that is read at once.
const PART: PartLimits = PartLimits { events: 256, bytes: 4 << 20 };

/// Attempts as they are written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    topic: String,
    bytes: Bytes,
    /// How many attempts it holds.
    pub(crate) attempts: u64,
}

/// The records of some attempts at deliveries to an endpoint.
pub(crate) fn records(endpoint_id: &str, all: impl IntoIterator<Item = Attempt>) -> Vec<Record> {
    let mut by_span: BTreeMap<u64, Vec<Attempt>> = BTreeMap::new();
    for attempt in all {
        by_span.entry(attempt.seq / SPAN).or_default().push(attempt);
    }
    let mut records = Vec::new();
    for (span, all) in by_span {
        let topic = topic(endpoint_id, span);
        let written = attempts::encode(all, MAX_RECORD_BYTES).into_iter();
        records.extend(written.map(|(attempts, bytes)| {
            let (topic, bytes) = (topic.clone(), bytes.into());
            Record { topic, bytes, attempts }
        }));
    }
    records
}

fn topic(endpoint_id: &str, span: u64) -> String {
    format!("{endpoint_id}.{span}")
}

/// Writes a record down.
pub(crate) async fn write(client: &Client, shop: &Shop, record: Record) -> Result<(), Error> {
    client.record(STREAM, shop, &record.topic, record.bytes).await
}

/// The attempts at a delivery of which there is a record, in the order in which they were made; the last
/// [`MAX_SHOWN`] of them.
pub(crate) async fn read(
    client: &Client,
    shop: &Shop,
    endpoint_id: &str,
    seq: u64,
) -> Result<Vec<Attempt>, Error> {
    let topic = topic(endpoint_id, seq / SPAN);
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let (part, is_all) = client.records(STREAM, shop, &topic, after, PART).await?;
        for (position, bytes) in &part.events {
            match attempts::decode(bytes, seq) {
                Ok(attempts) => found.extend(attempts),
                // Like one that was lost.
                Err(error) => {
                    tracing::warn!(position, %error, "a record of attempts does not read");
                }
            }
        }
        after = part.to;
        found.sort_by_key(|attempt| attempt.at);
        found.drain(..found.len().saturating_sub(MAX_SHOWN));
        if is_all {
            return Ok(found);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use protocol::time::Timestamp;

    use super::*;

    pub(crate) fn attempt(seq: u64) -> Attempt {
        Attempt {
            seq,
            number: 2,
            at: Timestamp::from_millis(1_700_000_000_123),
            latency: Duration::from_micros(1_234),
            status: 503,
            error_class: "status".to_owned(),
            response_excerpt: "busy".to_owned(),
            is_replay: false,
            message_id: "0190b3a1-0000-7000-8000-000000000001".to_owned(),
            traceparent: String::new(),
            user_agent: "Tradewind/1".into(),
            own_headers: ["authorization".to_owned()].into(),
            instruction: "abort-message".to_owned(),
        }
    }

    #[test]
    fn attempts_are_found_by_the_number_of_their_delivery() {
        let all = [attempt(999), attempt(1_000), attempt(1_999), attempt(5)];
        let records = records("ep", all.clone());
        let topics: Vec<_> =
            records.iter().map(|record| (&*record.topic, record.attempts)).collect();
        assert_eq!(topics, [("ep.0", 2), ("ep.1", 2)]);
        for wanted in all {
            let record = records.iter().find(|it| it.topic == topic("ep", wanted.seq / SPAN));
            let bytes = &record.expect("there is one").bytes;
            assert_eq!(attempts::decode(bytes, wanted.seq).expect("reads"), [wanted]);
        }
    }

    #[test]
    fn a_record_fits_into_a_message() {
        let long = |seq| Attempt { response_excerpt: "x".repeat(4_096), ..attempt(seq) };
        let records = records("ep", (0..999).map(long));
        assert!(records.iter().all(|record| record.bytes.len() < 1_000_000), "they are too large");
        assert_eq!(records.iter().map(|record| record.attempts).sum::<u64>(), 999);
    }
}
