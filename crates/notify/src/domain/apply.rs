//! How a fact changes the rows.

use engine::{Recorded, Revision};
use protocol::time::Timestamp;

use super::{
    Attempted, Endpoint, Event, Fact, Failure, Scheduled, Selection, Settings, TEST_EVENT_TYPE,
    endpoint::{Ledger, Replay, ReplayState, Run, Secret},
    health::Health,
};
use crate::{
    Notify,
    store::{
        EndpointRow, FailureRow, FailureState, QueueRow, RoundRow, RunRow, SCHEDULE, State,
        numbered, queue,
    },
};

/// The most replays that are shown after they have ended.
const MAX_ENDED_REPLAYS: usize = 10;

/// Folds a fact into the rows.
pub(crate) fn apply(state: &mut State, recorded: &Recorded<Event>) {
    let Event { endpoint_id, fact } = &recorded.event;
    let now = recorded.time;
    match fact {
        Fact::Scheduled(scheduled) => {
            schedule(state, scheduled, recorded.revision(), now);
            return;
        }
        Fact::Created { .. } => {
            let schedule = state.schedule.change_or_default(&SCHEDULE.to_owned());
            schedule.endpoint_ids.push(endpoint_id.clone());
        }
        Fact::Deleted => {
            let schedule = state.schedule.change_or_default(&SCHEDULE.to_owned());
            schedule.endpoint_ids.retain(|id| id != endpoint_id);
        }
        Fact::Changed { .. }
        | Fact::Disabled { .. }
        | Fact::Enabled { .. }
        | Fact::SecretRotated { .. }
        | Fact::FailureWarned { .. }
        | Fact::Attempted(_)
        | Fact::TestScheduled { .. }
        | Fact::ReplayStarted { .. }
        | Fact::ReplayCancelled { .. }
        | Fact::DeliveryAborted { .. } => {}
    }
    let before = state.endpoints.get(endpoint_id).map(|row| &row.endpoint);
    let Some(mut endpoint) = settings_after(before, fact, now) else { return };
    endpoint.revision = recorded.revision();
    match fact {
        Fact::Attempted(attempted) => settle(state, endpoint_id, &mut endpoint, attempted, now),
        Fact::DeliveryAborted { seq } => abort(state, endpoint_id, &mut endpoint, *seq, now),
        Fact::TestScheduled { seq } => {
            let positions = vec![(recorded.position, 1)];
            let service = <Notify as engine::Service>::NAME.to_owned();
            let run = Run { first: *seq, service, positions };
            let types = vec![(TEST_EVENT_TYPE.to_owned(), 1)];
            let row = RunRow { endpoint_id: endpoint_id.clone(), run: run.clone(), types, at: now };
            state.runs.put(numbered(endpoint_id, *seq), row);
            endpoint.ledger.schedule(run);
        }
        _ => {}
    }
    state.endpoints.put(endpoint_id.clone(), EndpointRow { id: endpoint_id.clone(), endpoint });
}

/// The endpoint after a fact, as far as no other row takes part.
pub(crate) fn settings_after(
    before: Option<&Endpoint>,
    fact: &Fact,
    now: Timestamp,
) -> Option<Endpoint> {
    if let Fact::Created { settings, secret } = fact {
        return Some(Endpoint {
            revision: Revision::default(),
            settings_version: 1,
            settings: settings.clone(),
            disabled: None,
            is_deleted: false,
            secrets: vec![Secret { value: secret.clone(), expires_at: None }],
            ledger: Ledger::new(settings.max_in_flight()),
            created_at: now,
            updated_at: now,
        });
    }
    let mut endpoint = before?.clone();
    let ledger = &mut endpoint.ledger;
    match fact {
        Fact::Created { .. } | Fact::Scheduled(_) => {}
        Fact::Changed { after, .. } => {
            endpoint.settings = after.clone();
            ledger.health.limit = ledger.health.limit.min(after.max_in_flight()).max(1);
        }
        Fact::Disabled { reason, .. } => {
            endpoint.disabled = Some(*reason);
            ledger.window.clear();
        }
        Fact::Enabled { deliver_held } => {
            endpoint.disabled = None;
            ledger.health = Health::probing();
            if !deliver_held {
                for (first, last) in ledger.attempted.gaps(1, ledger.last_seq) {
                    ledger.held.insert(first, last);
                }
            }
        }
        Fact::Deleted => {
            endpoint.is_deleted = true;
            endpoint.secrets.clear();
            ledger.window.clear();
        }
        Fact::SecretRotated { secret, old_expire_at } => {
            endpoint.secrets = endpoint.rotated(secret, *old_expire_at, now);
        }
        Fact::FailureWarned { .. } => {
            if let Some(failing) = &mut ledger.health.failing {
                failing.is_warned = true;
            }
            return Some(endpoint);
        }
        Fact::ReplayStarted { id, from, to, selection } => {
            start_replay(ledger, id, (*from, *to), *selection, now);
            return Some(endpoint);
        }
        Fact::ReplayCancelled { id } => {
            cancel_replay(ledger, id);
            return Some(endpoint);
        }
        Fact::Attempted(_) | Fact::TestScheduled { .. } | Fact::DeliveryAborted { .. } => {
            return Some(endpoint);
        }
    }
    endpoint.settings_version += 1;
    endpoint.updated_at = now;
    Some(endpoint)
}

/// Notes how an endpoint has answered.
pub(crate) fn note_health(
    health: &mut Health,
    attempted: &Attempted,
    settings: &Settings,
    now: Timestamp,
) {
    let delivered = attempted.delivered.iter().map(|(first, last)| last - first + 1).sum();
    let failed: Vec<u64> = attempted.failures.iter().map(|failure| failure.seq).collect();
    health.note(delivered, &failed, attempted.is_overloaded, settings.max_in_flight(), now);
}

fn schedule(state: &mut State, scheduled: &Scheduled, revision: Revision, now: Timestamp) {
    state.schedule.change_or_default(&SCHEDULE.to_owned()).revision = revision;
    for matched in &scheduled.matches {
        let id = &matched.endpoint_id;
        let (mut positions, mut types) = (Vec::new(), Vec::new());
        for index in matched.indexes.iter().map(|index| *index as usize) {
            let (position, event_type) = (scheduled.positions[index], &scheduled.types[index]);
            match positions.last_mut() {
                Some((first, len)) if *first + u64::from(*len) == position => *len += 1,
                _ => positions.push((position, 1)),
            }
            match types.last_mut() {
                Some((last, len)) if last == event_type => *len += 1,
                _ => types.push((event_type.clone(), 1)),
            }
        }
        let run = Run { first: matched.first_seq, service: scheduled.service.clone(), positions };
        let row = RunRow { endpoint_id: id.clone(), run: run.clone(), types, at: now };
        state.runs.put(numbered(id, matched.first_seq), row);
        let Some(row) = state.endpoints.change(id) else { continue };
        row.endpoint.ledger.schedule(run);
        if row.endpoint.disabled.is_some() {
            row.endpoint.ledger.window.clear();
        }
    }
}

fn start_replay(
    ledger: &mut Ledger,
    id: &str,
    (from, to): (u64, u64),
    selection: Selection,
    now: Timestamp,
) {
    let released = ledger.held.len_within(from, to);
    let is_done = selection == Selection::Missing && released == 0;
    if selection != Selection::Failed {
        ledger.held.remove(from, to);
    }
    ledger.replays.push(Replay {
        id: id.to_owned(),
        from,
        to,
        selection,
        through: if is_done { to } else { from - 1 },
        sent: 0,
        state: if is_done { ReplayState::Done } else { ReplayState::Running },
        started_at: now,
    });
    let mut ended = ledger.replays.iter().filter(|it| it.state != ReplayState::Running).count();
    ledger.replays.retain(|replay| {
        let is_dropped = replay.state != ReplayState::Running && ended > MAX_ENDED_REPLAYS;
        ended -= usize::from(is_dropped);
        !is_dropped
    });
}

fn cancel_replay(ledger: &mut Ledger, id: &str) {
    let Some(replay) = ledger.replays.iter_mut().find(|replay| replay.id == id) else { return };
    replay.state = ReplayState::Cancelled;
    if replay.selection == Selection::Missing {
        for (first, last) in ledger.attempted.gaps(replay.from, replay.to) {
            ledger.held.insert(first, last);
        }
    }
}

fn settle(
    state: &mut State,
    id: &str,
    endpoint: &mut Endpoint,
    attempted: &Attempted,
    now: Timestamp,
) {
    note_health(&mut endpoint.ledger.health, attempted, &endpoint.settings, now);
    for (first, last) in &attempted.delivered {
        // Only what was attempted before has a row of its own.
        let gaps = endpoint.ledger.attempted.gaps(*first, *last);
        let is_new = |seq: u64| gaps.iter().any(|(from, to)| (*from..=*to).contains(&seq));
        for seq in (*first..=*last).filter(|seq| !is_new(*seq)) {
            if let Some(row) = take_failure(state, &mut endpoint.ledger, id, seq) {
                advance_queue(state, &mut endpoint.ledger, id, &row.key, seq, now);
            }
        }
        endpoint.ledger.attempted.insert(*first, *last);
        endpoint.ledger.held.remove(*first, *last);
    }
    for failure in &attempted.failures {
        fail(state, &mut endpoint.ledger, id, failure, now);
    }
    for (seq, key) in &attempted.behind {
        wait_behind(state, &mut endpoint.ledger, id, *seq, key, now);
    }
    let ledger = &mut endpoint.ledger;
    for progress in &attempted.replays {
        let replay = ledger.replays.iter_mut().find(|replay| replay.id == progress.id);
        let Some(replay) = replay.filter(|replay| replay.state == ReplayState::Running) else {
            continue;
        };
        replay.through = replay.through.max(progress.through);
        replay.sent += progress.sent;
        if replay.through >= replay.to {
            replay.state = ReplayState::Done;
        }
    }
    note_released(ledger);
    ledger.round = attempted.round;
    ledger.trim();
    note_record(state, id, attempted);
}

/// Ends the replays of held deliveries of which all were attempted.
fn note_released(ledger: &mut Ledger) {
    let Ledger { replays, attempted, .. } = ledger;
    let released = replays.iter_mut().filter(|replay| {
        replay.selection == Selection::Missing && replay.state == ReplayState::Running
    });
    for replay in released {
        let gaps = attempted.gaps(replay.from, replay.to);
        replay.through = gaps.first().map_or(replay.to, |(first, _)| first - 1);
        if gaps.is_empty() {
            replay.state = ReplayState::Done;
        }
    }
}

/// Notes where the attempts are recorded.
fn note_record(state: &mut State, id: &str, attempted: &Attempted) {
    let delivered = attempted.delivered.iter().flat_map(|(first, last)| [*first, *last]);
    let all = || delivered.clone().chain(attempted.failures.iter().map(|failure| failure.seq));
    if let (Some(first), Some(last)) = (all().min(), all().max())
        && attempted.record > 0
    {
        let record = attempted.record;
        let row = RoundRow { endpoint_id: id.to_owned(), first, last, record };
        state.rounds.put(numbered(id, attempted.round), row);
    }
}

/// Removes what is known of a delivery that was not delivered.
fn take_failure(state: &mut State, ledger: &mut Ledger, id: &str, seq: u64) -> Option<FailureRow> {
    let key = numbered(id, seq);
    let row = state.failures.get(&key)?.clone();
    match row.state {
        FailureState::Retry { due } => ledger.remove_retry(due),
        FailureState::Behind => ledger.behind = ledger.behind.saturating_sub(1),
        FailureState::Exhausted => ledger.exhausted = ledger.exhausted.saturating_sub(1),
        FailureState::Aborted => ledger.aborted = ledger.aborted.saturating_sub(1),
    }
    state.failures.remove(&key);
    Some(row)
}

fn put_failure(state: &mut State, ledger: &mut Ledger, row: FailureRow) {
    match row.state {
        FailureState::Retry { due } => ledger.add_retry(due),
        FailureState::Behind => ledger.behind += 1,
        FailureState::Exhausted => ledger.exhausted += 1,
        FailureState::Aborted => ledger.aborted += 1,
    }
    ledger.attempted.insert(row.seq, row.seq);
    ledger.held.remove(row.seq, row.seq);
    state.failures.put(numbered(&row.endpoint_id, row.seq), row);
}

fn fail(state: &mut State, ledger: &mut Ledger, id: &str, failure: &Failure, now: Timestamp) {
    let known = ledger
        .attempted
        .contains(failure.seq)
        .then(|| take_failure(state, ledger, id, failure.seq))
        .flatten();
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
        key: failure.key.clone(),
        since: known.filter(|known| known.attempts > 0).map_or(now, |known| known.since),
    };
    let is_over = failure.due_at.is_none();
    put_failure(state, ledger, row);
    if failure.key.is_empty() {
        return;
    }
    if is_over {
        advance_queue(state, ledger, id, &failure.key, failure.seq, now);
    } else {
        let name = queue(id, &failure.key);
        if state.queues.get(&name).is_none() {
            state.queues.put(name, new_queue(id, &failure.key, failure.seq));
        }
    }
}

fn new_queue(id: &str, key: &str, head: u64) -> QueueRow {
    QueueRow { endpoint_id: id.to_owned(), key: key.to_owned(), head, waiting: [].into() }
}

fn wait_behind(
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
        key: key.to_owned(),
        since: now,
    };
    put_failure(state, ledger, row);
}

/// Lets the next delivery of an aggregate go when the one before it has come to its end.
fn advance_queue(
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

fn abort(state: &mut State, id: &str, endpoint: &mut Endpoint, seq: u64, now: Timestamp) {
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
        key: String::new(),
        since: known.as_ref().map_or(now, |known| known.since),
    };
    put_failure(state, ledger, row);
    if let Some(known) = known {
        advance_queue(state, ledger, id, &known.key, seq, now);
    }
    endpoint.ledger.trim();
}
