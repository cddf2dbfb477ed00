//! What is sent next: retries that are due, what waits for its first attempt, replays.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use engine::{PartLimits, Service as _, StoreError, documents};
use protocol::{id::Shop, time::Timestamp};
use sqlx::AnyPool;
use tokio::time::Instant;

use super::{
    Sending,
    lane::Lane,
    ready::{Kind, Ready},
};
use crate::{
    Notify,
    domain::{
        Run, Selection,
        endpoint::Ordering,
        ledger::{Ledger, Replay},
        rows::{EndpointRow, FailureRow, FailureState},
    },
    query::rows,
    wire::rendering::key,
};

/// The most deliveries of a kind that are made ready at once.
const MAX_READY: u64 = 256;
/// The pause after which retries are looked for again while there is something else to send: those that are due may
/// all be under way.
const LOOK_FOR_RETRIES_AFTER: Duration = Duration::from_millis(200);

/// How much of a log is read at once.
const PART_LIMITS: PartLimits = PartLimits { events: 1_000, bytes: 8 << 20 };

/// What is due cannot be read now.
#[derive(Debug, thiserror::Error)]
pub(super) enum SelectError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] engine::Error),
    /// The rows that were written last are not in the database yet.
    #[error("the database does not say yet what became of the delivery {0}")]
    Behind(u64),
    /// What comes of the request will leave the delivery as it is, and be followed by another one.
    #[error("a request for the delivery {0}, which was given up, is still under way")]
    UnderWay(u64),
}

/// A delivery whose event has to be read.
struct Wanted {
    seq: u64,
    attempts: u32,
    due: Option<Timestamp>,
    is_open: bool,
    was_delivered: bool,
    is_new: bool,
    replay: Option<(Arc<str>, Option<u32>)>,
    retry_of: Option<Arc<str>>,
}

impl Wanted {
    fn fresh(seq: u64) -> Self {
        let (due, replay, retry_of) = (None, None, None);
        let (is_open, was_delivered) = (false, false);
        Self { seq, attempts: 0, due, is_open, was_delivered, is_new: true, replay, retry_of }
    }
}

impl Sending<'_> {
    /// Makes what waits for its first attempt and what is tried again ready to be sent.
    pub(super) async fn select(&self, lane: &mut Lane, now: Timestamp) -> Result<(), SelectError> {
        if self.endpoint.settings.ordering == Ordering::PerKey && lane.blocked.is_none() {
            lane.blocked = Some(self.blocked().await?);
        }
        let wanted = self.wanted(lane, now).await?;
        let ready = self.read(wanted).await?;
        lane.ready.extend(ready);
        Ok(())
    }

    /// Makes ready what replays send next: those that can be read now. The error is that of one that cannot.
    pub(super) async fn select_replays(&self, lane: &mut Lane) -> Result<(), SelectError> {
        let mut outcome = Ok(());
        if !lane.ready.of(Kind::Replay).is_empty() || self.is_blocked(lane) {
            return outcome;
        }
        for replay in self.endpoint.ledger.running_replays() {
            match self.select_replay(lane, replay).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Makes ready what a replay sends next; says whether there is something.
    async fn select_replay(&self, lane: &mut Lane, replay: &Replay) -> Result<bool, SelectError> {
        let mut reached = lane.replays.get(&replay.id).map_or(replay.through, |(at, _)| *at);
        let mut ready = Vec::new();
        if reached < replay.to {
            let (wanted, next) = self.of_replay(lane, replay, reached).await?;
            ready = self.read(wanted).await?;
            reached = next;
        }
        // Not before all of it is read, and nothing is awaited between the two: what the replay has passed is not
        // looked at again.
        let is_found = !ready.is_empty();
        lane.ready.extend(ready);
        lane.replays.entry(replay.id.clone()).or_insert((0, replay.through)).0 = reached;
        Ok(is_found)
    }

    /// Whether everything waits for a delivery that has failed.
    fn is_blocked(&self, lane: &Lane) -> bool {
        let is_fifo = self.endpoint.settings.ordering == Ordering::Fifo;
        is_fifo && (!self.endpoint.ledger.retries.is_empty() || lane.has_failure())
    }

    fn db(&self) -> Option<&AnyPool> {
        self.operation.live.db()
    }

    fn shop(&self) -> &Shop {
        &self.operation.shop
    }

    /// The deliveries that are due, but for replays: of each kind of which none is ready.
    async fn wanted(&self, lane: &mut Lane, now: Timestamp) -> Result<Vec<Wanted>, SelectError> {
        let ledger = &self.endpoint.ledger;
        let is_missing = |lane: &Lane, kind| lane.ready.of(kind).is_empty();
        let mut wanted = Vec::new();
        if is_missing(lane, Kind::Fresh) && !self.is_blocked(lane) && ledger.fresh() > 0 {
            let taken = lane.taken();
            let fresh = ledger.fresh_within(1, ledger.last_seq);
            let fresh = fresh.into_iter().flat_map(|(first, last)| taken.gaps(first, last));
            let seqs = fresh.flat_map(|(first, last)| first..=last).take(MAX_READY as usize);
            wanted.extend(seqs.map(Wanted::fresh));
        }
        let is_due = ledger.next_retry().is_some_and(|due| due <= now.millis());
        let is_idle = wanted.is_empty() && lane.ready.iter().next().is_none();
        if is_missing(lane, Kind::Retry)
            && is_due
            && (is_idle
                || lane.looked_for_retries.is_none_or(|at| at.elapsed() >= LOOK_FOR_RETRIES_AFTER))
        {
            self.add_retries(lane, now, &mut wanted).await?;
        }
        Ok(wanted)
    }

    /// Adds what is tried again now.
    async fn add_retries(
        &self,
        lane: &mut Lane,
        now: Timestamp,
        wanted: &mut Vec<Wanted>,
    ) -> Result<(), SelectError> {
        let Some(db) = self.db() else { return Ok(()) };
        lane.looked_for_retries = Some(Instant::now());
        let taken = lane.taken();
        let due = rows::due(db, self.shop(), &self.id, now, MAX_READY as u32).await?;
        let ledger = &self.endpoint.ledger;
        let is_open = |row: &&FailureRow| {
            // What was attempted or aborted since may not be in the database yet.
            let is_known = lane.retried.get(&row.seq).is_some_and(|known| row.attempts <= *known);
            let is_known = is_known || ledger.was_aborted(row.seq);
            !taken.contains(row.seq) && !is_known
        };
        wanted.extend(due.iter().filter(is_open).filter_map(|row| {
            let FailureState::Retry { due } = row.state else { return None };
            ledger.has_retry(due, row.was_delivered).then_some(Wanted {
                seq: row.seq,
                attempts: row.attempts,
                due: Some(due),
                is_open: true,
                was_delivered: row.was_delivered,
                is_new: false,
                replay: None,
                retry_of: row.replay.as_deref().map(Into::into),
            })
        }));
        Ok(())
    }

    /// What a replay sends next that has reached that number, and how far it is then.
    async fn of_replay(
        &self,
        lane: &Lane,
        replay: &Replay,
        reached: u64,
    ) -> Result<(Vec<Wanted>, u64), SelectError> {
        let Ledger { attempted, held, .. } = &self.endpoint.ledger;
        let taken = lane.taken();
        let id: Arc<str> = replay.id.as_str().into();
        // What is tried again goes on; the attempts at anything else are counted anew.
        let wanted = |seq: u64, open: Option<&FailureRow>, was_delivered: bool| Wanted {
            seq,
            attempts: open.map_or(0, |row| row.attempts),
            due: None,
            is_open: open.is_some(),
            was_delivered,
            is_new: held.contains(seq),
            replay: Some((id.clone(), replay.max_per_second)),
            retry_of: None,
        };
        let from = reached + 1;
        if replay.selection == Selection::Missing {
            let held = held.within(from, replay.to).flat_map(|(first, last)| first..=last);
            let held: Vec<u64> = held.take(MAX_READY as usize).collect();
            let is_all = held.len() < MAX_READY as usize;
            let to = if is_all { replay.to } else { held.last().copied().unwrap_or(replay.to) };
            let found = held.into_iter().filter(|seq| !taken.contains(*seq));
            return Ok((found.map(|seq| wanted(seq, None, false)).collect(), to));
        }
        let to = replay.to.min(reached + MAX_READY);
        let rows = match self.db() {
            Some(db) => {
                if !lane.replays.contains_key(&replay.id) {
                    self.await_start(db, replay).await?;
                }
                rows::failures(db, self.shop(), &self.id, from, to).await?
            }
            None => Vec::new(),
        };
        let is_over =
            |state| matches!(state, Some(FailureState::Exhausted | FailureState::Aborted));
        let under_way = |row: &&FailureRow| is_over(Some(row.state)) && taken.contains(row.seq);
        let to = match rows.iter().find(under_way).map(|row| row.seq) {
            Some(seq) if seq == from => return Err(SelectError::UnderWay(seq)),
            Some(seq) => seq - 1,
            None => to,
        };
        let row = |seq: u64| rows.iter().find(|row| row.seq == seq);
        let state = |seq: u64| row(seq).map(|row| row.state);
        // What waits behind another, and what waits for its first attempt, goes when its turn comes.
        let is_wanted = |seq: u64| match replay.selection {
            Selection::Failed => is_over(state(seq)),
            Selection::Missing => held.contains(seq),
            Selection::All => {
                held.contains(seq)
                    || attempted.contains(seq) && state(seq) != Some(FailureState::Behind)
            }
        };
        let seqs = (from..=to).filter(|seq| !taken.contains(*seq) && is_wanted(*seq));
        let is_open = |row: &&FailureRow| matches!(row.state, FailureState::Retry { .. });
        // What was attempted and has no row was delivered.
        let was_delivered =
            |seq: u64| row(seq).map_or(attempted.contains(seq), |row| row.was_delivered);
        let seqs = seqs.map(|seq| wanted(seq, row(seq).filter(is_open), was_delivered(seq)));
        Ok((seqs.collect(), to))
    }

    /// Refuses while the database does not know of a replay: then it knows what became of the deliveries before that, such
    /// as that they were aborted.
    async fn await_start(&self, db: &AnyPool, replay: &Replay) -> Result<(), SelectError> {
        let row = documents::get::<EndpointRow>(db, self.shop(), &self.id).await?;
        let knows = |row: EndpointRow| {
            row.endpoint.ledger.replays.iter().any(|known| known.id == replay.id)
        };
        if row.is_some_and(knows) { Ok(()) } else { Err(SelectError::Behind(replay.from)) }
    }

    /// The aggregates of which a delivery has failed, with how many of each have or wait.
    async fn blocked(&self) -> Result<HashMap<String, u64>, SelectError> {
        let Some(db) = self.db() else { return Ok(HashMap::new()) };
        Ok(rows::blocked(db, self.shop(), &self.id).await?)
    }

    /// Reads the events of deliveries.
    async fn read(&self, wanted: Vec<Wanted>) -> Result<Vec<Ready>, SelectError> {
        let is_keyed = self.endpoint.settings.ordering == Ordering::PerKey;
        let mut ready = Vec::with_capacity(wanted.len());
        let mut runs: Vec<Run> = self.endpoint.ledger.window.iter().cloned().collect();
        let mut events: HashMap<(Arc<str>, u64), Bytes> = HashMap::new();
        for index in 0..wanted.len() {
            let Wanted { seq, attempts, due, is_open, was_delivered, is_new, replay, retry_of } =
                &wanted[index];
            let has = |run: &Run| (run.first..=run.last()).contains(seq);
            let run = if let Some(at) = runs.iter().position(has) {
                at
            } else {
                runs.push(self.stored_run(*seq).await?);
                runs.len() - 1
            };
            let run = &runs[run];
            let Some(position) = run.position(*seq) else { return Err(SelectError::Behind(*seq)) };
            let service: Arc<str> = run.service.as_str().into();
            let known = self.notify.recent.get(self.shop().as_str(), &service, position);
            let known = known.or_else(|| events.get(&(service.clone(), position)).cloned());
            let event = if let Some(event) = known {
                event
            } else {
                let rest = &wanted[index..];
                let last = rest.iter().filter(|it| has_seq(run, it.seq)).map(|it| it.seq).max();
                let until = last.and_then(|last| run.position(last)).unwrap_or(position);
                self.fetch(&service, position, until, &mut events).await?;
                // One that is not there is rendered as nothing, and fails.
                events.get(&(service.clone(), position)).cloned().unwrap_or_default()
            };
            ready.push(Ready {
                seq: *seq,
                key: if is_keyed { key(&service, &event) } else { String::new() },
                service,
                event,
                rendering: run.rendering,
                attempts: *attempts,
                due: *due,
                is_open: *is_open,
                was_delivered: *was_delivered,
                is_new: *is_new,
                replay: replay.clone(),
                retry_of: retry_of.clone(),
            });
        }
        Ok(ready)
    }

    /// Where the events of a delivery and of those beside it are.
    async fn stored_run(&self, seq: u64) -> Result<Run, SelectError> {
        let Some(db) = self.db() else { return Err(SelectError::Behind(seq)) };
        let row = rows::run_with(db, self.shop(), &self.id, seq).await?;
        row.map(|row| row.run).ok_or(SelectError::Behind(seq))
    }

    async fn fetch(
        &self,
        service: &Arc<str>,
        first: u64,
        last: u64,
        events: &mut HashMap<(Arc<str>, u64), Bytes>,
    ) -> Result<(), SelectError> {
        let names = Notify::SOURCES.iter().map(|source| source.service).chain([Notify::NAME]);
        let Some(name) = names.into_iter().find(|name| *name == &**service) else { return Ok(()) };
        let range = (first.saturating_sub(1), last.max(first));
        let part = self.outside.client.log_part(name, self.shop(), range, PART_LIMITS).await?;
        let read = part.events.into_iter();
        events.extend(read.map(|(position, event)| ((service.clone(), position), event)));
        Ok(())
    }
}

fn has_seq(run: &Run, seq: u64) -> bool {
    (run.first..=run.last()).contains(&seq)
}
