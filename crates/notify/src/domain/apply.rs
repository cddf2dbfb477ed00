//! How a fact changes the rows.

mod failures;

use engine::{Recorded, Revision};
use protocol::time::Timestamp;

use self::failures::{abort, advance_queue, fail, take_failure, wait_behind};
use super::{
    Attempted, Endpoint, Event, Fact, Failure, Rendering, Scheduled, Selection, Settings,
    TEST_EVENT_TYPE,
    health::Health,
    ledger::{Ledger, Replay, ReplayState, Run},
    rows::{EndpointRow, RunRow, SCHEDULE, State, numbered},
};
use crate::Notify;

/// The reply code by which a mail server says that it serves nobody for now.
const MAIL_SERVICE_NOT_AVAILABLE: u16 = 421;
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
        | Fact::ValuesRewrapped { .. }
        | Fact::FailureWarned { .. }
        | Fact::Attempted(_)
        | Fact::TestScheduled { .. }
        | Fact::ReplayStarted { .. }
        | Fact::ReplayCancelled { .. }
        | Fact::DeliveryAborted { .. }
        | Fact::Announced { .. } => {}
    }
    let before = state.endpoints.get(endpoint_id).map(|row| &row.endpoint);
    let Some(mut endpoint) = settings_after(before, fact, now) else { return };
    endpoint.revision = recorded.revision();
    match fact {
        Fact::Attempted(attempted) => settle(state, endpoint_id, &mut endpoint, attempted, now),
        Fact::DeliveryAborted { seq } => abort(state, endpoint_id, &mut endpoint, *seq, now),
        Fact::TestScheduled { seq, rendering } => {
            let run = own_run(*seq, recorded.position, *rendering);
            put_run(state, endpoint_id, &run, vec![(TEST_EVENT_TYPE.to_owned(), 1)], now);
            endpoint.ledger.schedule(run);
        }
        Fact::Announced { news, to } => {
            for to in to {
                let run = own_run(to.seq, recorded.position, to.rendering);
                let types = vec![(news.event_type().to_owned(), 1)];
                schedule_run(state, &to.endpoint_id, run, types, now);
            }
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
            secrets: secret.iter().cloned().map(|secret| secret.until(None)).collect(),
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
            ledger.health.probe();
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
        // For those who manage the endpoint nothing has changed.
        Fact::ValuesRewrapped { values } => {
            endpoint.rewrap(values);
            return Some(endpoint);
        }
        Fact::FailureWarned { .. } => {
            if let Some(failing) = &mut ledger.health.failing {
                failing.is_warned = true;
            }
            return Some(endpoint);
        }
        Fact::ReplayStarted { id, from, to, selection, max_per_second } => {
            let range = (*from, *to);
            let replay = Replay::new(id.clone(), range, *selection, *max_per_second, now);
            start_replay(ledger, replay);
            return Some(endpoint);
        }
        Fact::ReplayCancelled { id } => {
            cancel_replay(ledger, id);
            return Some(endpoint);
        }
        Fact::Attempted(_)
        | Fact::TestScheduled { .. }
        | Fact::DeliveryAborted { .. }
        | Fact::Announced { .. } => return Some(endpoint),
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
    let delivered: u64 = attempted.delivered.iter().map(|(first, last)| last - first + 1).sum();
    let is_mail = settings.mail.is_some();
    // What a mail server refuses says that it works; what is not sent says nothing of it.
    let answered = attempted.failures.iter().filter(|failure| is_mail && refuses_mail(failure));
    let delivered = delivered + answered.count() as u64;
    let failures = attempted
        .failures
        .iter()
        .filter(|failure| !is_mail || (!refuses_mail(failure) && failure.due_at.is_some()));
    let failed: Vec<u64> = failures.map(|failure| failure.seq).collect();
    health.note(delivered, &failed, attempted.is_overloaded, settings.max_in_flight(), now);
}

/// Whether a mail server has refused one mail, rather than all of them.
fn refuses_mail(failure: &Failure) -> bool {
    let is_about_mail = matches!(&*failure.error_class, "deferred" | "rejected");
    is_about_mail && failure.status != MAIL_SERVICE_NOT_AVAILABLE
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
        let (first, rendering) = (matched.first_seq, matched.rendering);
        let run = Run { first, service: scheduled.service.clone(), rendering, positions };
        schedule_run(state, id, run, types, now);
    }
}

/// A delivery of an event of our own.
fn own_run(seq: u64, position: u64, rendering: Rendering) -> Run {
    let service = <Notify as engine::Service>::NAME.to_owned();
    Run { first: seq, service, rendering, positions: vec![(position, 1)] }
}

fn put_run(state: &mut State, id: &str, run: &Run, types: Vec<(String, u32)>, now: Timestamp) {
    let row = RunRow { endpoint_id: id.to_owned(), run: run.clone(), types, at: now };
    state.runs.put(numbered(id, run.first), row);
}

/// Gives the next numbers of an endpoint to these events.
fn schedule_run(state: &mut State, id: &str, run: Run, types: Vec<(String, u32)>, now: Timestamp) {
    put_run(state, id, &run, types, now);
    let Some(row) = state.endpoints.change(&id.to_owned()) else { return };
    row.endpoint.ledger.schedule(run);
    if row.endpoint.disabled.is_some() {
        row.endpoint.ledger.window.clear();
    }
}

/// What is held stays so until the replay has sent it.
fn start_replay(ledger: &mut Ledger, mut replay: Replay) {
    let is_nothing_held = ledger.held.len_within(replay.from, replay.to) == 0;
    let is_of_held = replay.selection == Selection::Missing;
    if replay.from > replay.to || is_of_held && is_nothing_held {
        (replay.through, replay.state) = (replay.to, ReplayState::Done);
    }
    ledger.replays.push(replay);
    let mut ended = ledger.replays.iter().filter(|it| it.state != ReplayState::Running).count();
    ledger.replays.retain(|replay| {
        let is_dropped = replay.state != ReplayState::Running && ended > MAX_ENDED_REPLAYS;
        ended -= usize::from(is_dropped);
        !is_dropped
    });
}

fn cancel_replay(ledger: &mut Ledger, id: &str) {
    if let Some(replay) = ledger.replays.iter_mut().find(|replay| replay.id == id) {
        replay.state = ReplayState::Cancelled;
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
    ledger.round = attempted.round;
    ledger.trim();
}
