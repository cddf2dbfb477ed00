//! The facts of the service. What follows each other, positions and numbers, is written as runs.

use engine::WireError;
use events::proto::notify::{self, announced::What, notify_event::Kind};
use protocol::time::Timestamp;

use super::settings::{
    new_secret, public_key, read, read_rendering, read_rewrapped, write, write_rendering,
    write_rewrapped, write_sealed,
};
use crate::domain::{
    Announcement, Attempted, DisabledReason, EndpointNotice, Fact, Failure, Match, ReplayProgress,
    Scheduled, Selection,
};

/// Writes a fact.
pub(super) fn encode(fact: &Fact) -> Kind {
    match fact {
        Fact::Created { settings, secret } => Kind::EndpointCreated(notify::EndpointCreated {
            settings: Some(write(settings)),
            secret: secret.as_ref().map(|secret| write_sealed(&secret.value)),
            public_key: secret.as_ref().map_or_else(String::new, public_key),
        }),
        Fact::Changed { before, after } => Kind::EndpointChanged(notify::EndpointChanged {
            before: Some(write(before)),
            after: Some(write(after)),
        }),
        Fact::Disabled { reason, note } => Kind::EndpointDisabled(notify::EndpointDisabled {
            reason: write_reason(*reason).into(),
            note: note.clone(),
        }),
        Fact::Enabled { deliver_held } => {
            Kind::EndpointEnabled(notify::EndpointEnabled { deliver_held: *deliver_held })
        }
        Fact::Deleted => Kind::EndpointDeleted(notify::EndpointDeleted {}),
        Fact::SecretRotated { secret, old_expire_at } => {
            Kind::SecretRotated(notify::SecretRotated {
                secret: Some(write_sealed(&secret.value)),
                old_expire_at: Some((*old_expire_at).into()),
                public_key: public_key(secret),
            })
        }
        Fact::ValuesRewrapped { values } => {
            Kind::ValuesRewrapped(notify::ValuesRewrapped { values: write_rewrapped(values) })
        }
        Fact::FailureWarned { since } => {
            Kind::FailureWarned(notify::FailureWarned { since: Some((*since).into()) })
        }
        Fact::Scheduled(scheduled) => Kind::Scheduled(write_scheduled(scheduled)),
        Fact::Attempted(attempted) => Kind::Attempted(write_attempted(attempted)),
        Fact::TestScheduled { seq, rendering } => Kind::TestScheduled(notify::TestScheduled {
            endpoint_seq: *seq,
            rendering: Some(write_rendering(*rendering)),
        }),
        Fact::ReplayStarted { id, from, to, selection, max_per_second } => {
            Kind::ReplayStarted(notify::ReplayStarted {
                replay_id: id.clone(),
                from: *from,
                to: *to,
                selection: write_selection(*selection).into(),
                max_per_second: *max_per_second,
            })
        }
        Fact::ReplayCancelled { id } => {
            Kind::ReplayCancelled(notify::ReplayCancelled { replay_id: id.clone() })
        }
        Fact::DeliveryAborted { seq } => {
            Kind::DeliveryAborted(notify::DeliveryAborted { endpoint_seq: *seq })
        }
        Fact::Announced { news, to } => Kind::Announced(write_announced(news, to)),
    }
}

/// Reads a fact.
pub(super) fn decode(kind: Kind) -> Result<Fact, WireError> {
    Ok(match kind {
        Kind::EndpointCreated(it) => {
            let secret = it.secret.map(|secret| new_secret(Some(secret), it.public_key));
            let secret = secret.transpose()?;
            Fact::Created { settings: read(it.settings)?, secret }
        }
        Kind::EndpointChanged(it) => {
            Fact::Changed { before: read(it.before)?, after: read(it.after)? }
        }
        Kind::EndpointDisabled(it) => {
            Fact::Disabled { reason: reason(it.reason())?, note: it.note }
        }
        Kind::EndpointEnabled(it) => Fact::Enabled { deliver_held: it.deliver_held },
        Kind::EndpointDeleted(notify::EndpointDeleted {}) => Fact::Deleted,
        Kind::SecretRotated(it) => Fact::SecretRotated {
            secret: new_secret(it.secret, it.public_key)?,
            old_expire_at: Timestamp::parse(it.old_expire_at.as_ref())?,
        },
        Kind::ValuesRewrapped(it) => Fact::ValuesRewrapped { values: read_rewrapped(it.values)? },
        Kind::FailureWarned(it) => {
            Fact::FailureWarned { since: Timestamp::parse(it.since.as_ref())? }
        }
        Kind::Scheduled(it) => Fact::Scheduled(read_scheduled(it)?),
        Kind::Attempted(it) => Fact::Attempted(read_attempted(it)?),
        Kind::TestScheduled(it) => {
            Fact::TestScheduled { seq: it.endpoint_seq, rendering: read_rendering(it.rendering)? }
        }
        Kind::ReplayStarted(it) => Fact::ReplayStarted {
            selection: selection(it.selection())?,
            id: it.replay_id,
            from: it.from,
            to: it.to,
            max_per_second: it.max_per_second,
        },
        Kind::ReplayCancelled(it) => Fact::ReplayCancelled { id: it.replay_id },
        Kind::DeliveryAborted(it) => Fact::DeliveryAborted { seq: it.endpoint_seq },
        Kind::Announced(it) => {
            let to = it.to.into_iter().map(|to| {
                let rendering = read_rendering(to.rendering)?;
                let notify::Announcement { endpoint_id, endpoint_seq: seq, .. } = to;
                Ok::<_, WireError>(Announcement { endpoint_id, seq, rendering })
            });
            let to = to.collect::<Result<_, _>>()?;
            Fact::Announced { news: read_news(it.what)?, to }
        }
    })
}

fn write_announced(news: &EndpointNotice, to: &[Announcement]) -> notify::Announced {
    let what = match news {
        EndpointNotice::Disabled { reason } => What::EndpointDisabled(notify::EndpointDisabled {
            reason: write_reason(*reason).into(),
            note: String::new(),
        }),
        EndpointNotice::Failing { since } => {
            What::EndpointFailing(notify::FailureWarned { since: Some((*since).into()) })
        }
    };
    let to = to.iter().map(|to| notify::Announcement {
        endpoint_id: to.endpoint_id.clone(),
        endpoint_seq: to.seq,
        rendering: Some(write_rendering(to.rendering)),
    });
    notify::Announced { what: Some(what), to: to.collect() }
}

/// Reads what became of an endpoint.
pub(super) fn read_news(what: Option<What>) -> Result<EndpointNotice, WireError> {
    Ok(match what.ok_or(WireError::Missing("what"))? {
        What::EndpointDisabled(it) => EndpointNotice::Disabled { reason: reason(it.reason())? },
        What::EndpointFailing(it) => {
            EndpointNotice::Failing { since: Timestamp::parse(it.since.as_ref())? }
        }
    })
}

fn reason(reason: notify::DisabledReason) -> Result<DisabledReason, WireError> {
    match reason {
        notify::DisabledReason::Unspecified => Err(WireError::Missing("reason")),
        notify::DisabledReason::Requested => Ok(DisabledReason::Requested),
        notify::DisabledReason::Gone => Ok(DisabledReason::Gone),
        notify::DisabledReason::Instructed => Ok(DisabledReason::Instructed),
        notify::DisabledReason::Failing => Ok(DisabledReason::Failing),
    }
}

/// Writes why an endpoint is disabled.
pub(super) fn write_reason(reason: DisabledReason) -> notify::DisabledReason {
    match reason {
        DisabledReason::Requested => notify::DisabledReason::Requested,
        DisabledReason::Gone => notify::DisabledReason::Gone,
        DisabledReason::Instructed => notify::DisabledReason::Instructed,
        DisabledReason::Failing => notify::DisabledReason::Failing,
    }
}

/// Reads which deliveries are replayed.
pub(super) fn selection(selection: notify::ReplaySelection) -> Result<Selection, WireError> {
    match selection {
        notify::ReplaySelection::Unspecified => Err(WireError::Missing("selection")),
        notify::ReplaySelection::Missing => Ok(Selection::Missing),
        notify::ReplaySelection::Failed => Ok(Selection::Failed),
        notify::ReplaySelection::All => Ok(Selection::All),
    }
}

/// Writes which deliveries are replayed.
pub(super) fn write_selection(selection: Selection) -> notify::ReplaySelection {
    match selection {
        Selection::Missing => notify::ReplaySelection::Missing,
        Selection::Failed => notify::ReplaySelection::Failed,
        Selection::All => notify::ReplaySelection::All,
    }
}

fn write_scheduled(scheduled: &Scheduled) -> notify::Scheduled {
    let (mut types, mut type_runs): (Vec<String>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut last = None;
    for event_type in &scheduled.types {
        let index = types.iter().position(|known| known == event_type).unwrap_or_else(|| {
            types.push(event_type.clone());
            types.len() - 1
        });
        if last == Some(index)
            && let Some(len) = type_runs.last_mut()
        {
            *len += 1;
        } else {
            type_runs.extend([index as u32, 1]);
        }
        last = Some(index);
    }
    let matches = scheduled.matches.iter().map(|matched| notify::Match {
        endpoint_id: matched.endpoint_id.clone(),
        first_seq: matched.first_seq,
        runs: write_runs(runs_of(matched.indexes.iter().map(|index| u64::from(*index))), 0)
            .map(|number| number as u32)
            .collect(),
        rendering: Some(write_rendering(matched.rendering)),
    });
    notify::Scheduled {
        service: scheduled.service.clone(),
        positions: write_runs(runs_of(scheduled.positions.iter().copied()), 0).collect(),
        types,
        type_runs,
        matches: matches.collect(),
    }
}

fn read_scheduled(it: notify::Scheduled) -> Result<Scheduled, WireError> {
    let positions: Vec<u64> = numbers(read_runs(&it.positions, 0)?)?;
    let mut types = Vec::with_capacity(positions.len());
    for run in it.type_runs.chunks(2) {
        let [index, len] = run else { return Err(WireError::Missing("the length of a run")) };
        let event_type = it.types.get(*index as usize).ok_or(WireError::Missing("type"))?;
        if *len as usize > positions.len() {
            return Err(WireError::Unexpected("more types than events"));
        }
        types.extend(std::iter::repeat_n(event_type, *len as usize).cloned());
    }
    if types.len() != positions.len() {
        return Err(WireError::Unexpected("another number of types than of events"));
    }
    let matches = it.matches.into_iter().map(|matched| {
        let runs: Vec<u64> = matched.runs.into_iter().map(u64::from).collect();
        let indexes = numbers(read_runs(&runs, 0)?)?;
        if indexes.last().is_some_and(|last| *last >= positions.len() as u64) {
            return Err(WireError::Unexpected("a match that is no event"));
        }
        let indexes = indexes.into_iter().map(|index| index as u32).collect();
        let rendering = read_rendering(matched.rendering)?;
        let notify::Match { endpoint_id, first_seq, .. } = matched;
        Ok(Match { endpoint_id, first_seq, indexes, rendering })
    });
    let matches = matches.collect::<Result<_, _>>()?;
    Ok(Scheduled { service: it.service, positions, types, matches })
}

fn write_attempted(attempted: &Attempted) -> notify::Attempted {
    let failures = attempted.failures.iter().map(|failure| notify::Failure {
        endpoint_seq: failure.seq,
        attempt: failure.attempt,
        error_class: failure.error_class.clone(),
        status: failure.status.into(),
        due_at: failure.due_at.map(Into::into),
        is_aborted: failure.is_aborted,
        key: failure.key.clone(),
        replay_id: failure.replay.clone().unwrap_or_default(),
    });
    let behind = attempted
        .behind
        .iter()
        .map(|(seq, key)| notify::Behind { endpoint_seq: *seq, key: key.clone() });
    let replays = attempted.replays.iter().map(|progress| notify::ReplayProgress {
        replay_id: progress.id.clone(),
        through: progress.through,
        sent: progress.sent,
    });
    notify::Attempted {
        round: attempted.round,
        delivered: write_runs(attempted.delivered.iter().copied(), 0).collect(),
        failures: failures.collect(),
        behind: behind.collect(),
        replays: replays.collect(),
        is_overloaded: attempted.is_overloaded,
    }
}

fn read_attempted(it: notify::Attempted) -> Result<Attempted, WireError> {
    let failures = it.failures.into_iter().map(|failure| {
        let due_at = Timestamp::parse_optional(failure.due_at.as_ref())?;
        Ok::<_, WireError>(Failure {
            seq: failure.endpoint_seq,
            attempt: failure.attempt,
            error_class: failure.error_class,
            status: failure.status as u16,
            due_at,
            is_aborted: failure.is_aborted,
            replay: Some(failure.replay_id).filter(|id| !id.is_empty()),
            key: failure.key,
        })
    });
    let replays = it.replays.into_iter().map(|progress| ReplayProgress {
        id: progress.replay_id,
        through: progress.through,
        sent: progress.sent,
    });
    Ok(Attempted {
        round: it.round,
        delivered: read_runs(&it.delivered, 0)?,
        failures: failures.collect::<Result<_, _>>()?,
        behind: it.behind.into_iter().map(|behind| (behind.endpoint_seq, behind.key)).collect(),
        replays: replays.collect(),
        is_overloaded: it.is_overloaded,
    })
}

/// The runs of numbers that follow each other, by the first and the last of each.
fn runs_of(numbers: impl Iterator<Item = u64>) -> impl Iterator<Item = (u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs.into_iter()
}

/// Writes runs as pairs: the distance from behind the run before, and the length.
fn write_runs(runs: impl Iterator<Item = (u64, u64)>, start: u64) -> impl Iterator<Item = u64> {
    let mut next = start;
    runs.flat_map(move |(first, last)| {
        let pair = [first - next, last - first + 1];
        next = last + 1;
        pair
    })
}

/// Reads what [`write_runs`] has written.
fn read_runs(pairs: &[u64], start: u64) -> Result<Vec<(u64, u64)>, WireError> {
    let mut next = start;
    let runs = pairs.chunks(2).map(|pair| {
        let [distance, len] = pair else { return Err(WireError::Missing("the length of a run")) };
        let first = next.checked_add(*distance);
        let last = first.and_then(|first| first.checked_add(len.checked_sub(1)?));
        let (Some(first), Some(last)) = (first, last) else {
            return Err(WireError::Unexpected("a run that is out of range"));
        };
        next = last.saturating_add(1);
        Ok((first, last))
    });
    runs.collect()
}

/// The most numbers that runs of one message stand for: more than the engine puts into one input.
const MAX_NUMBERS: u64 = 100_000;

fn numbers(runs: Vec<(u64, u64)>) -> Result<Vec<u64>, WireError> {
    let count = runs.iter().try_fold(0u64, |sum, (first, last)| sum.checked_add(last - first + 1));
    if count.is_none_or(|count| count > MAX_NUMBERS) {
        return Err(WireError::Unexpected("more events than one message has"));
    }
    Ok(runs.into_iter().flat_map(|(first, last)| first..=last).collect())
}
