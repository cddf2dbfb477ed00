//! Whose turn it is among the deliveries that are ready to be sent.
//!
//! What waits for its first attempt, what is tried again and what a replay asks for take turns. Of the requests that
//! an endpoint takes at a time, retries and replays have half at most while something waits for its first attempt,
//! and leave one free when nothing does: so retries that hang hold up nothing new, and a steady stream
//! of new events holds up no retry and no replay.

use std::collections::HashSet;

use tokio::time::Instant;

use super::{
    lane::Lane,
    ready::{Kind, Ready},
};
use crate::domain::{Endpoint, endpoint::Ordering};

/// The next delivery that may be sent when so many may be under way. One whose aggregate waits for another is passed
/// over, or set behind it.
pub(super) fn next(
    lane: &mut Lane,
    endpoint: &Endpoint,
    limit: usize,
    now: Instant,
) -> Option<Ready> {
    let is_fifo = endpoint.settings.ordering == Ordering::Fifo;
    if is_fifo && lane.has_failure() {
        // They are read again when their turn comes; a replay has passed its ones already.
        lane.ready.retain(|ready| ready.replay.is_some());
        return None;
    }
    lane.ready.is_replay_limited = false;
    let has_fresh = !lane.ready.of(Kind::Fresh).is_empty();
    let beside = if has_fresh { limit / 2 } else { limit - 1 }.max(1);
    let may_beside = lane.again_in_flight() < beside;
    let mut kind = lane.ready.turn.unwrap_or(Kind::Retry);
    for _ in Kind::ALL {
        let is_open = match kind {
            Kind::Retry => may_beside,
            // In order, what failed goes first.
            Kind::Fresh => !is_fifo || endpoint.ledger.retries.is_empty(),
            Kind::Replay => may_beside && (!is_fifo || endpoint.ledger.retries.is_empty()),
        };
        if is_open && let Some(ready) = next_of(lane, kind, endpoint.settings.ordering, now) {
            lane.ready.turn = Some(kind.next());
            return Some(ready);
        }
        kind = kind.next();
    }
    None
}

/// The next delivery of a kind that may be sent.
fn next_of(lane: &mut Lane, kind: Kind, ordering: Ordering, now: Instant) -> Option<Ready> {
    let mut index = 0;
    let mut passed = HashSet::new();
    while let Some(ready) = lane.ready.of(kind).get(index) {
        if ordering == Ordering::PerKey {
            let (key, seq) = (ready.key.clone(), ready.seq);
            let blocked = lane.blocked.get_or_insert_default();
            if lane.busy.contains(&key) || passed.contains(&key) {
                passed.insert(key);
                index += 1;
                continue;
            }
            if blocked.contains_key(&key) && ready.is_new {
                *blocked.entry(key.clone()).or_default() += 1;
                lane.ready.of_mut(kind).remove(index);
                lane.finished_since.get_or_insert_with(Instant::now);
                lane.behind.push((seq, key));
                continue;
            }
        }
        if let Some((id, Some(rate))) = &ready.replay {
            let bucket = lane.replay_buckets.entry(id.clone()).or_default();
            if !bucket.has_token(*rate, now) {
                lane.ready.is_replay_limited = true;
                return None;
            }
            bucket.take();
        }
        return lane.ready.of_mut(kind).remove(index);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use engine::Revision;
    use protocol::time::Timestamp;

    use super::*;
    use crate::domain::{
        Rendering, Settings, endpoint::MailSettings, ledger::Ledger, rendering::Payload,
    };

    fn endpoint(ordering: Ordering) -> Endpoint {
        let mail = MailSettings {
            sender_name: String::new(),
            sender_address: String::new(),
            language: String::new(),
            templates: Vec::new(),
        };
        let at = Timestamp::from_millis(1_700_000_000_000);
        Endpoint {
            revision: Revision::default(),
            settings_version: 1,
            settings: Settings { ordering, ..Settings::of_mail(Vec::new(), mail) },
            disabled: None,
            is_deleted: false,
            secrets: Vec::new(),
            ledger: Ledger::new(8),
            created_at: at,
            updated_at: at,
        }
    }

    fn ready(seq: u64, kind: Kind) -> Ready {
        Ready {
            seq,
            service: "order".into(),
            event: Bytes::new(),
            rendering: Rendering { payload: Payload::Full, version: 1 },
            key: "a".to_owned(),
            attempts: 0,
            due: (kind == Kind::Retry).then_some(Timestamp::from_millis(0)),
            is_open: kind == Kind::Retry,
            was_delivered: false,
            is_new: kind == Kind::Fresh,
            replay: (kind == Kind::Replay).then(|| ("r".into(), None)),
            retry_of: None,
        }
    }

    fn lane(all: &[(Kind, std::ops::RangeInclusive<u64>)]) -> Lane {
        let mut lane = Lane::default();
        for (kind, seqs) in all {
            lane.ready.extend(seqs.clone().map(|seq| ready(seq, *kind)));
        }
        lane
    }

    /// What is sent when nothing of it ends.
    fn send(lane: &mut Lane, endpoint: &Endpoint, limit: usize) -> Vec<u64> {
        let mut sent = Vec::new();
        while lane.flying.len() < limit
            && let Some(ready) = next(lane, endpoint, limit, Instant::now())
        {
            lane.flying.insert(ready.seq, (ready.kind(), None));
            sent.push(ready.seq);
        }
        sent
    }

    #[test]
    fn retries_and_replays_have_half_beside_what_is_new_and_never_all() {
        let endpoint = endpoint(Ordering::Parallel);
        let mut both =
            lane(&[(Kind::Retry, 1..=20), (Kind::Fresh, 31..=50), (Kind::Replay, 61..=80)]);
        assert_eq!(send(&mut both, &endpoint, 8), [1, 31, 61, 2, 32, 62, 33, 34]);
        let mut alone = lane(&[(Kind::Retry, 1..=20)]);
        assert_eq!(send(&mut alone, &endpoint, 8).len(), 7);
        // What comes now finds the one that was left.
        alone.ready.extend([ready(31, Kind::Fresh), ready(32, Kind::Fresh)]);
        assert_eq!(send(&mut alone, &endpoint, 8), [31]);
    }

    #[test]
    fn with_one_at_a_time_they_take_turns() {
        let endpoint = endpoint(Ordering::Parallel);
        let mut lane =
            lane(&[(Kind::Retry, 1..=9), (Kind::Fresh, 11..=19), (Kind::Replay, 21..=29)]);
        let sent: Vec<_> = (0..6)
            .flat_map(|_| {
                lane.flying.clear();
                send(&mut lane, &endpoint, 1)
            })
            .collect();
        assert_eq!(sent, [1, 11, 21, 2, 12, 22]);
    }

    #[test]
    fn in_order_nothing_overtakes_what_is_tried_again() {
        let mut endpoint = endpoint(Ordering::Fifo);
        endpoint.ledger.add_retry(Timestamp::from_millis(0), false);
        let mut lane = lane(&[(Kind::Retry, 1..=1), (Kind::Fresh, 2..=3), (Kind::Replay, 9..=9)]);
        assert_eq!(send(&mut lane, &endpoint, 1), [1]);
        lane.flying.clear();
        let sent = send(&mut lane, &endpoint, 1);
        assert!(sent.is_empty(), "its outcome is not in the log yet: {sent:?}");
    }

    #[test]
    fn what_is_new_waits_behind_a_failure_of_its_aggregate_also_in_a_replay() {
        let endpoint = endpoint(Ordering::PerKey);
        let mut lane = lane(&[(Kind::Replay, 1..=3), (Kind::Fresh, 5..=5)]);
        lane.blocked = Some([("a".to_owned(), 1)].into());
        lane.ready.iter_mut().filter(|it| it.seq == 2).for_each(|held| held.is_new = true);
        let sent =
            next(&mut lane, &endpoint, 8, Instant::now()).expect("the first is a repetition");
        assert_eq!(sent.seq, 1);
        assert_eq!(next(&mut lane, &endpoint, 8, Instant::now()).map(|it| it.seq), Some(3));
        let mut behind: Vec<_> = lane.behind.iter().map(|(seq, _)| *seq).collect();
        behind.sort_unstable();
        assert_eq!(behind, [2, 5]);
    }

    #[test]
    fn only_what_is_over_begins_anew_in_a_replay() {
        assert!(ready(1, Kind::Replay).begins_anew());
        let held = Ready { is_new: true, ..ready(1, Kind::Replay) };
        let open = Ready { is_open: true, ..ready(1, Kind::Replay) };
        for other in [held, open, ready(1, Kind::Retry), ready(1, Kind::Fresh)] {
            assert!(!other.begins_anew(), "{other:?}");
        }
    }

    #[test]
    fn a_replay_sends_no_more_in_a_second_than_asked_for() {
        let endpoint = endpoint(Ordering::Parallel);
        let mut lane = lane(&[(Kind::Replay, 1..=9)]);
        lane.ready.iter_mut().for_each(|it| it.replay = Some(("r".into(), Some(2))));
        lane.ready.extend([ready(11, Kind::Fresh)]);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut next = |ms| next(&mut lane, &endpoint, 8, at(ms)).map(|ready| ready.seq);
        assert_eq!([next(0), next(0), next(0)], [Some(11), Some(1), None]);
        assert_eq!([next(490), next(510), next(600)], [None, Some(2), None]);
        assert!(lane.ready.is_replay_limited);
    }
}
