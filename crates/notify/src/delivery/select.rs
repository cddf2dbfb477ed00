//! What is sent next: retries that are due, what waits for its first attempt, replays.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use engine::{PartLimits, Service as _, StoreError};
use protocol::{id::Shop, time::Timestamp};
use sqlx::AnyPool;

use super::{
    Sending,
    lane::{Lane, Ready},
};
use crate::{
    Notify,
    domain::{Endpoint, Run, Selection, endpoint::Ordering},
    query::rows,
    store::{FailureRow, FailureState},
    wire::rendering::key,
};

/// The most deliveries that are made ready at once.
const MAX_READY: u64 = 256;
/// Of those, the most that are retries while others wait for their first attempt.
const MAX_RETRIES_BESIDE: u32 = 64;

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
    #[error("the database does not have the delivery {0} yet")]
    Behind(u64),
}

/// A delivery whose event has to be read.
struct Wanted {
    seq: u64,
    attempts: u32,
    is_open: bool,
    replay: Option<Arc<str>>,
}

impl Wanted {
    fn fresh(seq: u64) -> Self {
        Self { seq, attempts: 0, is_open: false, replay: None }
    }
}

impl Sending<'_> {
    /// Makes deliveries ready to be sent.
    pub(super) async fn select(&self, lane: &mut Lane, now: Timestamp) -> Result<(), SelectError> {
        if self.endpoint.settings.ordering == Ordering::PerKey && lane.blocked.is_none() {
            lane.blocked = Some(self.blocked().await?);
        }
        let wanted = self.wanted(lane, now).await?;
        let ready = self.read(wanted).await?;
        lane.ready.extend(ready);
        Ok(())
    }

    fn db(&self) -> Option<&AnyPool> {
        self.operation.live.db()
    }

    fn shop(&self) -> &Shop {
        &self.operation.shop
    }

    /// The deliveries that are due, in the order in which they are sent.
    async fn wanted(&self, lane: &mut Lane, now: Timestamp) -> Result<Vec<Wanted>, SelectError> {
        let ledger = &self.endpoint.ledger;
        let is_fifo = self.endpoint.settings.ordering == Ordering::Fifo;
        let taken = lane.taken();
        let mut wanted = Vec::new();
        let is_due = ledger.retries.keys().next().is_some_and(|due| *due <= now.millis());
        if is_due && let Some(db) = self.db() {
            let limit = if ledger.fresh() > 0 { MAX_RETRIES_BESIDE } else { MAX_READY as u32 };
            let due = rows::due(db, self.shop(), &self.id, now, limit).await?;
            let is_open = |row: &&FailureRow| {
                // What was attempted since may not be in the database yet.
                let is_known =
                    lane.retried.get(&row.seq).is_some_and(|known| row.attempts <= *known);
                !taken.contains(row.seq) && !is_known
            };
            wanted.extend(due.iter().filter(is_open).map(|row| Wanted {
                seq: row.seq,
                attempts: row.attempts,
                is_open: true,
                replay: None,
            }));
        }
        let is_blocked = is_fifo && (!ledger.retries.is_empty() || lane.has_failure());
        if !is_blocked {
            let fresh = ledger.fresh_within(1, ledger.last_seq);
            let fresh = fresh.into_iter().flat_map(|(first, last)| taken.gaps(first, last));
            let seqs = fresh.flat_map(|(first, last)| first..=last).take(MAX_READY as usize);
            wanted.extend(seqs.map(Wanted::fresh));
        }
        if wanted.is_empty() && !is_blocked {
            self.add_replays(lane, &mut wanted).await?;
        }
        Ok(wanted)
    }

    /// Adds what a replay sends next.
    async fn add_replays(
        &self,
        lane: &mut Lane,
        wanted: &mut Vec<Wanted>,
    ) -> Result<(), SelectError> {
        let taken = lane.taken();
        for replay in self.endpoint.ledger.running_replays() {
            let (reached, _) =
                lane.replays.entry(replay.id.clone()).or_insert((replay.through, replay.through));
            if *reached >= replay.to {
                continue;
            }
            let (from, to) = (*reached + 1, replay.to.min(*reached + MAX_READY));
            let id: Arc<str> = replay.id.as_str().into();
            let db = self.db().filter(|_| replay.selection == Selection::Failed);
            let failed = match db {
                Some(db) => rows::failures(db, self.shop(), &self.id, from, to).await?,
                None => Vec::new(),
            };
            let is_failed = |seq: u64| {
                failed.iter().any(|row| {
                    row.seq == seq
                        && matches!(row.state, FailureState::Exhausted | FailureState::Aborted)
                })
            };
            let seqs = (from..=to)
                .filter(|seq| !taken.contains(*seq))
                .filter(|seq| replay.selection != Selection::Failed || is_failed(*seq));
            let is_open = replay.selection == Selection::Failed;
            wanted.extend(seqs.map(|seq| Wanted {
                seq,
                attempts: 0,
                is_open,
                replay: Some(id.clone()),
            }));
            *reached = to;
            if !wanted.is_empty() {
                return Ok(());
            }
        }
        Ok(())
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
            let Wanted { seq, attempts, is_open, replay } = &wanted[index];
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
            let (seq, attempts, is_open) = (*seq, *attempts, *is_open);
            let key = if is_keyed { key(&service, &event) } else { String::new() };
            let replay = replay.clone();
            ready.push(Ready { seq, service, event, key, attempts, is_open, replay });
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

/// The next delivery that may be sent. One whose aggregate waits for another is passed over, or set
/// behind it.
pub(super) fn next(lane: &mut Lane, endpoint: &Endpoint) -> Option<Ready> {
    let is_fifo = endpoint.settings.ordering == Ordering::Fifo;
    if is_fifo && lane.has_failure() {
        // They are read again when their turn comes; a replay has passed its ones already.
        lane.ready.retain(|ready| ready.replay.is_some());
        return None;
    }
    if endpoint.settings.ordering != Ordering::PerKey {
        return lane.ready.pop_front();
    }
    let mut index = 0;
    let mut passed = std::collections::HashSet::new();
    while index < lane.ready.len() {
        let ready = &lane.ready[index];
        let key = ready.key.clone();
        let blocked = lane.blocked.get_or_insert_default();
        if lane.busy.contains(&key) || passed.contains(&key) {
            passed.insert(key);
            index += 1;
        } else if blocked.contains_key(&key) && !ready.is_open && ready.replay.is_none() {
            let seq = ready.seq;
            *blocked.entry(key.clone()).or_default() += 1;
            lane.ready.remove(index);
            lane.finished_since.get_or_insert_with(tokio::time::Instant::now);
            lane.behind.push((seq, key));
        } else {
            return lane.ready.remove(index);
        }
    }
    None
}
