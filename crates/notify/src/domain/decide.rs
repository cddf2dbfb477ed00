//! What follows from an input.

use engine::Decision;
use protocol::time::Timestamp;

use super::{
    Announcement, Answer, Attempted, DisabledReason, Endpoint, EndpointNotice, Event, Fact, Failed,
    Failure, Match, Outcome, Published, Request, Round, Scheduled, apply,
    endpoint::MAX_SECRETS,
    health::Verdict,
    ledger::{Ledger, Replay, ReplayState},
    rows::{FailureRow, FailureState, SCHEDULE, State, numbered},
    schedule::{FailedAttempt, next_attempt, pauses},
};

/// The most endpoints of a shop.
pub(crate) const MAX_ENDPOINTS: usize = 1_000;
/// The most replays of an endpoint that are under way.
const MAX_REPLAYS: usize = 10;

/// What follows from a command, and what its sender is answered. The endpoint must have the expected version, if there
/// is one.
pub(crate) fn command(
    state: &State,
    endpoint_id: &str,
    (request, expected_version): (&Request, Option<u64>),
    now: Timestamp,
) -> Decision<Event, Answer> {
    let id = endpoint_id.to_owned();
    let row = state.endpoints.get(&id);
    let known = row.map(|row| &row.endpoint).filter(|endpoint| !endpoint.is_deleted);
    let decided = match (known, request) {
        // Its id is not given out again: the numbers of its deliveries go with it.
        (None, Request::Create { .. }) if row.is_some() => Err(Outcome::Exists),
        (None, Request::Create { settings, secret }) => {
            let endpoints = state.schedule.get(&SCHEDULE.to_owned());
            if endpoints.is_some_and(|it| it.endpoint_ids.len() >= MAX_ENDPOINTS) {
                Err(Outcome::TooMany)
            } else {
                Ok(Fact::Created { settings: settings.clone(), secret: Some(secret.clone()) })
            }
        }
        (None, Request::SetMail { expected_version: Some(1..), .. }) => Err(Outcome::OtherVersion),
        (None, Request::SetMail { settings, .. }) => {
            Ok(Fact::Created { settings: settings.clone(), secret: None })
        }
        (None, _) => Err(Outcome::Unknown),
        (Some(endpoint), _)
            if expected_version.is_some_and(|expected| expected != endpoint.settings_version) =>
        {
            Err(Outcome::OtherVersion)
        }
        (Some(endpoint), request) => of_endpoint(state, endpoint_id, endpoint, request, now),
    };
    let (fact, outcome) = match decided {
        Ok(fact @ Fact::Created { .. }) => (Some(fact), Outcome::Created),
        Ok(fact) => (Some(fact), Outcome::Changed),
        Err(outcome) => (None, outcome),
    };
    let seq = match fact {
        Some(Fact::TestScheduled { seq, .. }) => seq,
        _ => 0,
    };
    let endpoint = match &fact {
        Some(fact) => apply::settings_after(known, fact, now),
        None => known.cloned(),
    };
    let answer = Answer { outcome, endpoint: endpoint.map(|endpoint| (id.clone(), endpoint)), seq };
    let event = fact.map(|fact| Event { endpoint_id: id, fact });
    Decision::answered(event.into_iter().collect(), answer)
}

/// What follows for an endpoint that exists, or why nothing does.
fn of_endpoint(
    state: &State,
    endpoint_id: &str,
    endpoint: &Endpoint,
    request: &Request,
    now: Timestamp,
) -> Result<Fact, Outcome> {
    let ledger = &endpoint.ledger;
    match request {
        Request::Create { .. } => Err(Outcome::Exists),
        Request::Change { expected_version: Some(expected), .. }
        | Request::SetMail { expected_version: Some(expected), .. }
            if *expected != endpoint.settings_version =>
        {
            Err(Outcome::OtherVersion)
        }
        Request::Change { settings, .. } | Request::SetMail { settings, .. }
            if *settings == endpoint.settings =>
        {
            Err(Outcome::Unchanged)
        }
        Request::Change { settings, .. } | Request::SetMail { settings, .. } => {
            Ok(Fact::Changed { before: endpoint.settings.clone(), after: settings.clone() })
        }
        Request::Disable { .. } if endpoint.disabled.is_some() => Err(Outcome::Unchanged),
        Request::Disable { note } => {
            Ok(Fact::Disabled { reason: DisabledReason::Requested, note: note.clone() })
        }
        Request::Enable { .. } if endpoint.disabled.is_none() => Err(Outcome::Unchanged),
        Request::Enable { deliver_held } => Ok(Fact::Enabled { deliver_held: *deliver_held }),
        Request::Delete => Ok(Fact::Deleted),
        Request::RotateSecret { secret, keep_old } => {
            let old_expire_at = now + *keep_old;
            if endpoint.rotated(secret, old_expire_at, now).len() > MAX_SECRETS {
                return Err(Outcome::TooMany);
            }
            Ok(Fact::SecretRotated { secret: secret.clone(), old_expire_at })
        }
        Request::SendTest | Request::StartReplay { .. } if endpoint.disabled.is_some() => {
            Err(Outcome::Disabled)
        }
        Request::SendTest => {
            let rendering = endpoint.settings.rendering();
            Ok(Fact::TestScheduled { seq: ledger.last_seq + 1, rendering })
        }
        Request::StartReplay { id, from, to, selection, max_per_second } => {
            let running = |replay: &&Replay| replay.state == ReplayState::Running;
            let (from, wanted) = ((*from).max(1), *to);
            let to = if wanted == 0 { ledger.last_seq } else { wanted.min(ledger.last_seq) };
            // Everything from the next number on is nothing yet; a delivery that is not there is unknown.
            let is_empty = from == to + 1 && (wanted == 0 || wanted < from);
            if ledger.replays.iter().any(|replay| replay.id == *id) {
                Err(Outcome::Unchanged)
            } else if ledger.replays.iter().filter(running).count() >= MAX_REPLAYS {
                Err(Outcome::TooMany)
            } else if from > to && !is_empty {
                Err(Outcome::Unknown)
            } else {
                let (id, selection) = (id.clone(), *selection);
                let max_per_second = *max_per_second;
                Ok(Fact::ReplayStarted { id, from, to, selection, max_per_second })
            }
        }
        Request::CancelReplay { id } => match ledger.replays.iter().find(|it| it.id == *id) {
            None => Err(Outcome::Unknown),
            Some(replay) if replay.state == ReplayState::Running => {
                Ok(Fact::ReplayCancelled { id: id.clone() })
            }
            Some(_) => Err(Outcome::Unchanged),
        },
        Request::RewrapValues { values } => {
            let has = |(before, _): &&(_, _)| endpoint.sealed_values().any(|it| it == before);
            let values: Vec<_> = values.iter().filter(has).cloned().collect();
            if values.is_empty() {
                return Err(Outcome::Unchanged);
            }
            Ok(Fact::ValuesRewrapped { values })
        }
        Request::AbortDelivery { seq } => abort(state, endpoint_id, endpoint, *seq),
    }
}

fn abort(state: &State, id: &str, endpoint: &Endpoint, seq: u64) -> Result<Fact, Outcome> {
    if seq == 0 || seq > endpoint.ledger.last_seq {
        return Err(Outcome::Unknown);
    }
    if !endpoint.ledger.attempted.contains(seq) {
        return Ok(Fact::DeliveryAborted { seq });
    }
    match state.failures.get(&numbered(id, seq)).map(|failure| failure.state) {
        Some(FailureState::Retry { .. } | FailureState::Behind) => {
            Ok(Fact::DeliveryAborted { seq })
        }
        Some(FailureState::Exhausted | FailureState::Aborted) | None => Err(Outcome::Unchanged),
    }
}

/// The endpoints that these events match, with the numbers that they get there.
pub(crate) fn published(state: &State, published: &Published) -> Option<Event> {
    let endpoints = state.schedule.get(&SCHEDULE.to_owned())?;
    let mut matches = Vec::new();
    let mut is_matched = vec![false; published.events.len()];
    for id in &endpoints.endpoint_ids {
        let Some(row) = state.endpoints.get(id) else { continue };
        let events = (0..).zip(&published.events);
        let wanted = events.filter(|(_, event)| row.endpoint.settings.wants(&event.event_type));
        let indexes: Vec<u32> = wanted.map(|(index, _)| index).collect();
        if indexes.is_empty() {
            continue;
        }
        for index in &indexes {
            is_matched[*index as usize] = true;
        }
        let first_seq = row.endpoint.ledger.last_seq + 1;
        let rendering = row.endpoint.settings.rendering();
        matches.push(Match { endpoint_id: id.clone(), first_seq, indexes, rendering });
    }
    if matches.is_empty() {
        return None;
    }
    // What matches nobody is left out.
    let mut kept = 0;
    let new_index: Vec<u32> = is_matched
        .iter()
        .map(|is_matched| {
            kept += u32::from(*is_matched);
            kept.saturating_sub(1)
        })
        .collect();
    for matched in &mut matches {
        for index in &mut matched.indexes {
            *index = new_index[*index as usize];
        }
    }
    let kept = published.events.iter().zip(&is_matched).filter(|(_, is_matched)| **is_matched);
    let (positions, types) =
        kept.map(|(event, _)| (event.position, event.event_type.clone())).unzip();
    let service = published.service.to_owned();
    let fact = Fact::Scheduled(Scheduled { service, positions, types, matches });
    Some(Event { endpoint_id: String::new(), fact })
}

/// What follows from attempts; `usual_s` are the pauses between attempts at an endpoint that has none of its own.
pub(crate) fn attempted(
    state: &State,
    endpoint_id: &str,
    round: &Round,
    usual_s: &[u32],
    now: Timestamp,
) -> Vec<Event> {
    let row = state.endpoints.get(&endpoint_id.to_owned());
    let Some(endpoint) = row.map(|row| &row.endpoint).filter(|endpoint| !endpoint.is_deleted)
    else {
        return Vec::new();
    };
    let ledger = &endpoint.ledger;
    let pauses_s = pauses(&endpoint.settings.retry_pauses_s, usual_s);
    let failures: Vec<Failure> = round
        .failed
        .iter()
        .filter(|failed| (1..=ledger.last_seq).contains(&failed.seq))
        .map(|failed| failure(state, endpoint_id, ledger, failed, pauses_s, now))
        .collect();
    let is_overloaded = round.failed.iter().any(|failed| failed.is_overloaded);
    let behind = round.behind.iter().filter(|(seq, _)| !ledger.attempted.contains(*seq));
    let attempted = Attempted {
        round: ledger.round + 1,
        delivered: round.delivered.clone(),
        failures,
        behind: behind.cloned().collect(),
        replays: round.replays.clone(),
        is_overloaded,
    };
    let mut health = ledger.health.clone();
    apply::note_health(&mut health, &attempted, &endpoint.settings, now);
    let of = |fact| Event { endpoint_id: endpoint_id.to_owned(), fact };
    let mut events = vec![of(Fact::Attempted(attempted))];
    // What answers a request of before may not be there any more: it has another URL, or was enabled since.
    let asked = round.disable.filter(|it| it.settings_version == endpoint.settings_version);
    let news = match (asked.map(|it| it.reason), health.verdict(now)) {
        // That the operator's mail server fails is not the shop's to mend: its mails wait.
        _ if endpoint.disabled.is_some() || endpoint.settings.mail.is_some() => None,
        (Some(reason), _) => Some(EndpointNotice::Disabled { reason }),
        (None, Verdict::Disable) => {
            Some(EndpointNotice::Disabled { reason: DisabledReason::Failing })
        }
        (None, Verdict::Warn) => Some(EndpointNotice::Failing {
            since: health.failing.map_or(now, |failing| failing.since),
        }),
        (None, Verdict::Fine) => None,
    };
    if let Some(news) = news {
        events.push(of(match news {
            EndpointNotice::Disabled { reason } => Fact::Disabled { reason, note: String::new() },
            EndpointNotice::Failing { since } => Fact::FailureWarned { since },
        }));
        let to = listeners(state, endpoint_id, news.event_type());
        if !to.is_empty() {
            events.push(of(Fact::Announced { news, to }));
        }
    }
    events
}

/// The other endpoints that want events of that type, with the number that the next one gets there.
/// One that is disabled is among them: what it wants is held.
fn listeners(state: &State, about: &str, event_type: &str) -> Vec<Announcement> {
    let Some(endpoints) = state.schedule.get(&SCHEDULE.to_owned()) else { return Vec::new() };
    let others = endpoints.endpoint_ids.iter().filter(|id| *id != about);
    let listeners = others.filter_map(|id| {
        let endpoint = &state.endpoints.get(id)?.endpoint;
        endpoint.settings.wants(event_type).then(|| Announcement {
            endpoint_id: id.clone(),
            seq: endpoint.ledger.last_seq + 1,
            rendering: endpoint.settings.rendering(),
        })
    });
    listeners.collect()
}

fn failure(
    state: &State,
    endpoint_id: &str,
    ledger: &Ledger,
    failed: &Failed,
    pauses_s: &[u32],
    now: Timestamp,
) -> Failure {
    let is_open =
        |row: &FailureRow| matches!(row.state, FailureState::Retry { .. } | FailureState::Behind);
    let known = (ledger.attempted.contains(failed.seq))
        .then(|| state.failures.get(&numbered(endpoint_id, failed.seq)))
        .flatten()
        .filter(|known| is_open(known) || !failed.begins_anew);
    // A request that was under way when its delivery was aborted does not bring it back.
    let is_aborted =
        failed.is_aborted || known.is_some_and(|known| known.state == FailureState::Aborted);
    let attempt = known.map_or(0, |known| known.attempts) + 1;
    let next = FailedAttempt {
        endpoint_id,
        endpoint_seq: failed.seq,
        attempt,
        retry_after: failed.retry_after,
        is_overloaded: failed.is_overloaded,
    };
    let due_at = next_attempt(next, pauses_s, now);
    Failure {
        seq: failed.seq,
        attempt,
        error_class: failed.error_class.clone(),
        status: failed.status,
        due_at: due_at.filter(|_| !is_aborted && !failed.is_final),
        is_aborted,
        replay: failed.replay.clone(),
        key: failed.key.clone(),
    }
}
