//! Deliveries to an endpoint: a page of them, and what became of all between two numbers.

use std::collections::{BTreeMap, BTreeSet};

use engine::StoreError;
use events::type_filter::TypeFilter;
use protocol::id::Shop;
use sqlx::AnyPool;

use super::{
    Delivery, MAX_PAGE, Proof, Range,
    rows::{count_failures, failures, open_failures, run_with},
};
use crate::domain::{
    Endpoint,
    rows::{FailureRow, FailureState, RunRow},
};

/// The state of a delivery that waits by what is recorded, and has a request under way.
const IN_FLIGHT: &str = "in_flight";
/// The most deliveries that are looked at for one page of those that match a filter.
const MAX_SCANNED: u64 = 20_000;

/// Which deliveries are listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) state: Option<&'a str>,
    pub(super) filter: Option<&'a TypeFilter>,
    pub(super) stream: Option<&'a str>,
    pub(super) limit: u32,
    /// Those that have a request under way.
    pub(super) in_flight: &'a BTreeSet<u64>,
}

/// A page of deliveries, and from where the list goes on.
pub(super) async fn page(
    db: &AnyPool,
    shop: &Shop,
    endpoint: &Endpoint,
    range: &Range,
    wanted: Wanted<'_>,
) -> Result<(Vec<Delivery>, u64), StoreError> {
    let last = endpoint.ledger.last_seq;
    let to = if range.to == 0 { last } else { range.to.min(last) };
    let (mut next, mut found) = (range.from.max(1), Vec::new());
    let first = next;
    while next <= to {
        if found.len() >= wanted.limit as usize || next - first >= MAX_SCANNED {
            return Ok((found, next));
        }
        if wanted.state == Some(IN_FLIGHT) {
            // These are known: no other is looked at.
            let Some(first) = wanted.in_flight.range(next..=to).next() else { break };
            next = *first;
        }
        let Some(row) = run_with(db, shop, &range.id, next).await? else { break };
        if wanted.stream.is_some_and(|stream| stream != row.run.service) {
            next = row.run.last() + 1;
            continue;
        }
        let until = row.run.last().min(to).min(next + u64::from(MAX_PAGE) - 1);
        let failures = failures(db, shop, &range.id, next, until).await?;
        for seq in next..=until {
            let failure = failures.iter().find(|failure| failure.seq == seq);
            let delivery = delivery(endpoint, &row, seq, failure, wanted.in_flight);
            let Some(delivery) = delivery else { continue };
            let is_wanted = wanted.state.is_none_or(|state| state == delivery.state)
                && wanted.filter.is_none_or(|filter| filter.matches(&delivery.event_type));
            if is_wanted && found.len() < wanted.limit as usize {
                found.push(delivery);
            } else if is_wanted {
                return Ok((found, seq));
            }
        }
        next = until + 1;
    }
    Ok((found, 0))
}

/// A delivery, without the id of its event.
pub(super) fn delivery(
    endpoint: &Endpoint,
    row: &RunRow,
    seq: u64,
    failure: Option<&FailureRow>,
    in_flight: &BTreeSet<u64>,
) -> Option<Delivery> {
    let ledger = &endpoint.ledger;
    let state = match failure {
        Some(failure) if failure.was_delivered => "delivered",
        Some(FailureRow { state: FailureState::Retry { .. }, .. }) if in_flight.contains(&seq) => {
            IN_FLIGHT
        }
        Some(failure) => failure.state.as_str(),
        None if ledger.attempted.contains(seq) => "delivered",
        None if ledger.held.contains(seq) || endpoint.disabled.is_some() => "held",
        None if in_flight.contains(&seq) => IN_FLIGHT,
        None => "pending",
    };
    let mut index = seq - row.run.first;
    let event_type = row.types.iter().find(|(_, len)| {
        let is_here = index < u64::from(*len);
        index = index.saturating_sub(u64::from(*len));
        is_here
    });
    Some(Delivery {
        seq,
        event_type: event_type?.0.clone(),
        service: row.run.service.clone(),
        position: row.run.position(seq)?,
        state,
        failed_attempts: failure.map_or(0, |failure| failure.attempts),
        due_at: failure.and_then(|failure| match failure.state {
            FailureState::Retry { due } => Some(due),
            FailureState::Behind | FailureState::Exhausted | FailureState::Aborted => None,
        }),
        error_class: failure.map_or_else(String::new, |failure| failure.error_class.clone()),
        status: failure.map_or(0, |failure| failure.status),
        scheduled_at: row.at,
        event_id: String::new(),
    })
}

/// What a receiver compares with what it has, without the ids of the events.
pub(super) async fn proof(
    db: &AnyPool,
    shop: &Shop,
    endpoint: &Endpoint,
    range: Range,
    in_flight: &BTreeSet<u64>,
) -> Result<Proof, StoreError> {
    let ledger = &endpoint.ledger;
    let to = if range.to == 0 { ledger.last_seq } else { range.to.min(ledger.last_seq) };
    let from = range.from.max(1);
    if from > to {
        let (open, has_more) = (Vec::new(), false);
        return Ok(Proof { from, to, matched: 0, sent: 0, delivered: 0, open, has_more });
    }
    let attempted = ledger.attempted.len_within(from, to);
    let (unsent, failed) =
        count_failures(db, shop, &range.id, &ledger.attempted, (from, to)).await?;
    let gaps = ledger.attempted.gaps(from, to);
    // At most a page of what is open is looked at: failures, and what was not attempted.
    let mut open = Vec::new();
    let rows = open_failures(db, shop, &range.id, from, to).await?;
    let rows: BTreeMap<u64, FailureRow> = rows.into_iter().map(|row| (row.seq, row)).collect();
    let mut waiting: Vec<u64> = rows.keys().copied().collect();
    let most = MAX_PAGE as usize + 1;
    waiting.extend(gaps.iter().flat_map(|(first, last)| *first..=*last).take(most));
    waiting.sort_unstable();
    // One that was attempted after the endpoint was read is both.
    waiting.dedup();
    let has_more = waiting.len() > MAX_PAGE as usize;
    waiting.truncate(MAX_PAGE as usize);
    let mut row: Option<RunRow> = None;
    for seq in waiting {
        if row.as_ref().is_none_or(|row| row.run.last() < seq || seq < row.run.first) {
            row = run_with(db, shop, &range.id, seq).await?;
        }
        let shown = |row: &RunRow| delivery(endpoint, row, seq, rows.get(&seq), in_flight);
        let found = row.as_ref().and_then(shown);
        open.extend(found);
    }
    Ok(Proof {
        from,
        to,
        matched: to - from + 1,
        sent: attempted.saturating_sub(unsent),
        delivered: attempted.saturating_sub(failed),
        open,
        has_more,
    })
}

#[cfg(test)]
mod tests {
    use engine::documents;
    use protocol::time::Timestamp;
    use serde_json::json;
    use sqlx::any::AnyPoolOptions;

    use super::*;
    use crate::{
        domain::{
            endpoint::{Ordering, Settings},
            ledger::{Ledger, Run},
            rendering::{Payload, Rendering},
        },
        store::TABLES,
    };

    const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn endpoint(ledger: Ledger) -> Endpoint {
        let settings = Settings {
            url: "https://example.com/hooks".to_owned(),
            event_types: Vec::new(),
            description: String::new(),
            ordering: Ordering::Parallel,
            payload: Payload::Full,
            max_per_second: None,
            max_in_flight: None,
            headers: Vec::new(),
            retry_pauses_s: Vec::new(),
            mail: None,
        };
        Endpoint {
            revision: (1, 1).into(),
            settings_version: 1,
            settings,
            disabled: None,
            is_deleted: false,
            secrets: Vec::new(),
            ledger,
            created_at: AT,
            updated_at: AT,
        }
    }

    fn failure(seq: u64, is_sent: bool, was_delivered: bool) -> FailureRow {
        let row = json!({"endpoint_id": "ep", "seq": seq, "state": "exhausted", "attempts": 9,
            "error_class": "status", "status": 500, "replay": null, "key": "",
            "since": AT, "is_sent": is_sent, "was_delivered": was_delivered});
        serde_json::from_value(row).expect("is a row")
    }

    #[tokio::test]
    async fn rows_that_are_newer_than_the_endpoint_are_counted_once_and_not_as_attempted() {
        sqlx::any::install_default_drivers();
        let pool = AnyPoolOptions::new().max_connections(1).connect("sqlite::memory:").await;
        let pool = pool.expect("opens");
        let shop = Shop::parse("acme").expect("valid");
        let rendering = Rendering { payload: Payload::Full, version: 1 };
        let (service, positions) = ("order".to_owned(), vec![(1, 9)]);
        let run = RunRow {
            endpoint_id: "ep".to_owned(),
            run: Run { first: 1, service, rendering, positions },
            types: vec![("order.paid".to_owned(), 9)],
            at: AT,
        };
        // 1 and 2 have failed, and so has 6; 5 and 7 failed only after the endpoint was read. 3 and 9 were delivered, and
        // failed when they were asked for again.
        let failures = [1, 2, 3, 5, 6, 7, 9];
        let failures =
            failures.map(|seq| (seq.to_string(), failure(seq, seq != 2, [3, 9].contains(&seq))));
        let mut db = pool.acquire().await.expect("connects");
        documents::create_tables(&mut db, TABLES).await.expect("creates the tables");
        documents::put(&mut db, &shop, [("run".to_owned(), run)]).await.expect("writes");
        documents::put(&mut db, &shop, failures).await.expect("writes");
        drop(db);
        let mut ledger = Ledger::new(1);
        ledger.last_seq = 9;
        ledger.attempted.insert(1, 4);
        ledger.attempted.insert(6, 6);
        ledger.attempted.insert(9, 9);

        let range = Range { id: "ep".to_owned(), from: 0, to: 0 };
        let endpoint = endpoint(ledger);
        let in_flight = &BTreeSet::from([1, 4, 8]);
        let found = proof(&pool, &shop, &endpoint, range, in_flight).await.expect("is read");
        assert_eq!((found.matched, found.sent, found.delivered), (9, 5, 3));
        let open: Vec<_> = found.open.iter().map(|delivery| delivery.seq).collect();
        assert_eq!(open, [1, 2, 5, 6, 7, 8]);
        assert!(!found.has_more);
        let range = Range { id: "ep".to_owned(), from: 0, to: 0 };
        let state = Some("delivered");
        let wanted = Wanted { state, filter: None, stream: Some("order"), limit: 9, in_flight };
        let (delivered, _) = page(&pool, &shop, &endpoint, &range, wanted).await.expect("is read");
        let delivered: Vec<_> = delivered.iter().map(|it| (it.seq, it.failed_attempts)).collect();
        assert_eq!(delivered, [(3, 9), (4, 0), (9, 9)]);
        // What was delivered or has come to its end is not said to be under way.
        let wanted = Wanted { state: Some("in_flight"), ..wanted };
        let (under_way, _) = page(&pool, &shop, &endpoint, &range, wanted).await.expect("is read");
        assert_eq!(under_way.iter().map(|it| it.seq).collect::<Vec<_>>(), [8]);
        // Those of another log are none of these.
        let wanted = Wanted { state: None, stream: Some("payment"), ..wanted };
        let (none, next) = page(&pool, &shop, &endpoint, &range, wanted).await.expect("is read");
        assert_eq!((none.len(), next), (0, 0));
    }
}
