//! Deliveries that are not delivered though their turn has come: those that failed, and those that wait behind
//! one that did.

use protocol::time::Timestamp;

use crate::domain::{
    Endpoint, Failure,
    ledger::Ledger,
    rows::{FailureRow, FailureState, QueueRow, State, numbered, queue},
};

/// The errors of attempts that end before a request is under way: what the receiver can know nothing of.
const BEFORE_THE_REQUEST: [&str; 11] = [
    "connect",
    "connect_timeout",
    "event_unreadable",
    "keys_unavailable",
    "no_recipient",
    "order_unavailable",
    "recipient_erased",
    "refused",
    "template",
    "tls",
    "unresolved",
];

/// Removes what is known of a delivery that was not delivered.
pub(super) fn take_failure(
    state: &mut State,
    ledger: &mut Ledger,
    id: &str,
    seq: u64,
) -> Option<FailureRow> {
    let key = numbered(id, seq);
    let row = state.failures.get(&key)?.clone();
    match row.state {
        FailureState::Retry { due } => ledger.remove_retry(due, row.was_delivered),
        _ if row.was_delivered => {}
        FailureState::Behind => ledger.behind = ledger.behind.saturating_sub(1),
        FailureState::Exhausted => ledger.exhausted = ledger.exhausted.saturating_sub(1),
        FailureState::Aborted => ledger.aborted = ledger.aborted.saturating_sub(1),
    }
    state.failures.remove(&key);
    Some(row)
}

fn put_failure(state: &mut State, ledger: &mut Ledger, row: FailureRow) {
    match row.state {
        FailureState::Retry { due } => ledger.add_retry(due, row.was_delivered),
        _ if row.was_delivered => {}
        FailureState::Behind => ledger.behind += 1,
        FailureState::Exhausted => ledger.exhausted += 1,
        FailureState::Aborted => ledger.aborted += 1,
    }
    if row.state != FailureState::Aborted {
        ledger.forget_abort(row.seq);
    }
    ledger.attempted.insert(row.seq, row.seq);
    ledger.held.remove(row.seq, row.seq);
    state.failures.put(numbered(&row.endpoint_id, row.seq), row);
}

pub(super) fn fail(
    state: &mut State,
    ledger: &mut Ledger,
    id: &str,
    failure: &Failure,
    now: Timestamp,
) {
    let was_attempted = ledger.attempted.contains(failure.seq);
    let known = was_attempted.then(|| take_failure(state, ledger, id, failure.seq)).flatten();
    // What was attempted and has no row was delivered.
    let was_sent = known.as_ref().map_or(was_attempted, |known| known.is_sent);
    let was_delivered = known.as_ref().map_or(was_attempted, |known| known.was_delivered);
    // Under another ordering an attempt has no key, but what waits behind the delivery since before waits still.
    let known_key = known.as_ref().map_or("", |known| &known.key);
    let key = match &*failure.key {
        // Nothing waits for what was delivered before.
        _ if was_delivered => String::new(),
        "" => known_key.to_owned(),
        key => key.to_owned(),
    };
    let row = FailureRow {
        endpoint_id: id.to_owned(),
        seq: failure.seq,
        state: match failure.due_at {
            Some(due) => FailureState::Retry { due },
            None if failure.is_aborted => FailureState::Aborted,
            None => FailureState::Exhausted,
        },
        attempts: failure.attempt,
        error_class: failure.error_class.clone(),
        status: failure.status,
        replay: failure.replay.clone(),
        key: key.clone(),
        since: known.filter(|known| known.attempts > 0).map_or(now, |known| known.since),
        is_sent: was_sent || !BEFORE_THE_REQUEST.contains(&&*failure.error_class),
        was_delivered,
    };
    let is_over = failure.due_at.is_none();
    put_failure(state, ledger, row);
    if key.is_empty() {
        return;
    }
    if is_over {
        advance_queue(state, ledger, id, &key, failure.seq, now);
    } else {
        let name = queue(id, &key);
        if state.queues.get(&name).is_none() {
            state.queues.put(name, new_queue(id, &key, failure.seq));
        }
    }
}

fn new_queue(id: &str, key: &str, head: u64) -> QueueRow {
    QueueRow { endpoint_id: id.to_owned(), key: key.to_owned(), head, waiting: [].into() }
}

pub(super) fn wait_behind(
    state: &mut State,
    ledger: &mut Ledger,
    id: &str,
    seq: u64,
    key: &str,
    now: Timestamp,
) {
    let name = queue(id, key);
    // Where there is nothing to wait for any more, its turn has come.
    let failure_state = if let Some(queue) = state.queues.change(&name) {
        queue.waiting.push_back(seq);
        FailureState::Behind
    } else {
        state.queues.put(name, new_queue(id, key, seq));
        FailureState::Retry { due: now }
    };
    let row = FailureRow {
        endpoint_id: id.to_owned(),
        seq,
        state: failure_state,
        attempts: 0,
        error_class: String::new(),
        status: 0,
        replay: None,
        key: key.to_owned(),
        since: now,
        is_sent: false,
        was_delivered: false,
    };
    put_failure(state, ledger, row);
}

/// Lets the next delivery of an aggregate go when the one before it has come to its end.
pub(super) fn advance_queue(
    state: &mut State,
    ledger: &mut Ledger,
    id: &str,
    key: &str,
    settled: u64,
    now: Timestamp,
) {
    if key.is_empty() {
        return;
    }
    let name = queue(id, key);
    let Some(row) = state.queues.change(&name) else { return };
    if row.head != settled {
        row.waiting.retain(|seq| *seq != settled);
        return;
    }
    let Some(next) = row.waiting.pop_front() else {
        state.queues.remove(&name);
        return;
    };
    row.head = next;
    if let Some(waiting) = take_failure(state, ledger, id, next) {
        put_failure(
            state,
            ledger,
            FailureRow { state: FailureState::Retry { due: now }, ..waiting },
        );
    }
}

pub(super) fn abort(
    state: &mut State,
    id: &str,
    endpoint: &mut Endpoint,
    seq: u64,
    now: Timestamp,
) {
    let ledger = &mut endpoint.ledger;
    let known =
        ledger.attempted.contains(seq).then(|| take_failure(state, ledger, id, seq)).flatten();
    let row = FailureRow {
        endpoint_id: id.to_owned(),
        seq,
        state: FailureState::Aborted,
        attempts: known.as_ref().map_or(0, |known| known.attempts),
        error_class: known.as_ref().map_or_else(String::new, |known| known.error_class.clone()),
        status: known.as_ref().map_or(0, |known| known.status),
        replay: None,
        key: String::new(),
        since: known.as_ref().map_or(now, |known| known.since),
        is_sent: known.as_ref().is_some_and(|known| known.is_sent),
        was_delivered: known.as_ref().is_some_and(|known| known.was_delivered),
    };
    put_failure(state, ledger, row);
    ledger.note_abort(seq);
    if let Some(known) = known {
        advance_queue(state, ledger, id, &known.key, seq, now);
    }
    endpoint.ledger.trim();
}
