//! How far the deliveries of an endpoint are, and the replays of it.

use std::collections::{BTreeMap, VecDeque};

use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{health::Health, rendering::Rendering, sequence::SeqSet};

/// The most deliveries whose events are named in the row of an endpoint, so that they are sent without
/// a look into the database.
const MAX_WINDOW: u64 = 2_000;

/// The most deliveries of which the row of an endpoint says that they were aborted on request: more than are aborted
/// before those who send have seen it, or the database has.
const MAX_ABORTED_LAST: usize = 1_000;

/// How far the deliveries of an endpoint are: delivered through a number, except some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The last `endpoint_seq` that was given out.
    pub last_seq: u64,
    /// What was attempted. What of it is not delivered has a row of its own, as has what waits behind
    /// another delivery without an attempt.
    pub attempted: SeqSet,
    /// What is not sent until it is replayed.
    pub held: SeqSet,
    /// By due time, in milliseconds: how many deliveries are tried again then.
    pub retries: BTreeMap<i64, u64>,
    /// The same for those that were delivered before, and failed when they were asked for again.
    pub resends: BTreeMap<i64, u64>,
    /// How many wait behind an earlier delivery of their aggregate.
    pub behind: u64,
    /// How many failed for good.
    pub exhausted: u64,
    /// How many were given up on request.
    pub aborted: u64,
    /// Those that were given up on request last, and have not failed since: they may be ready to be tried again.
    pub aborted_last: VecDeque<u64>,
    /// The events of the newest deliveries that were not attempted, as far as they are few.
    pub window: VecDeque<Run>,
    /// Counts the events that say what was attempted.
    pub round: u64,
    /// How the endpoint has answered of late.
    pub health: Health,
    /// The replays that are under way, and the last ones that have ended.
    pub replays: Vec<Replay>,
}

/// Deliveries whose numbers follow each other, of events of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The `endpoint_seq` of the first.
    pub first: u64,
    /// The service that wrote the events.
    pub service: String,
    /// How their bodies are made.
    pub rendering: Rendering,
    /// Where the events are in its log: the first position and the number of each run of positions.
    pub positions: Vec<(u64, u32)>,
}

impl Run {
    /// How many deliveries it has.
    pub fn len(&self) -> u64 {
        self.positions.iter().map(|(_, len)| u64::from(*len)).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The `endpoint_seq` of the last.
    pub fn last(&self) -> u64 {
        self.first + self.len() - 1
    }

    /// The position of the event of a delivery.
    pub fn position(&self, seq: u64) -> Option<u64> {
        let mut index = seq.checked_sub(self.first)?;
        for (position, len) in &self.positions {
            if index < u64::from(*len) {
                return Some(position + index);
            }
            index -= u64::from(*len);
        }
        None
    }
}

/// Deliveries that are sent once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Identifies it.
    pub id: String,
    /// The first `endpoint_seq`.
    pub from: u64,
    /// The last `endpoint_seq`.
    pub to: u64,
    /// Which deliveries between them.
    pub selection: Selection,
    /// The most that it sends in a second; `None`: as many as the endpoint takes.
    pub max_per_second: Option<u32>,
    /// The last `endpoint_seq` that it has handled.
    pub through: u64,
    /// How many it has sent.
    pub sent: u64,
    /// Whether it goes on.
    pub state: ReplayState,
    /// When it was started.
    pub started_at: Timestamp,
}

impl Replay {
    /// One that has not sent anything yet.
    pub fn new(
        id: String,
        (from, to): (u64, u64),
        selection: Selection,
        max_per_second: Option<u32>,
        started_at: Timestamp,
    ) -> Self {
        let (through, state) = (from.saturating_sub(1), ReplayState::Running);
        Self { id, from, to, selection, max_per_second, through, sent: 0, state, started_at }
    }
}

/// Which deliveries are replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Those that are held.
    Missing,
    /// Those that failed for good or were aborted.
    Failed,
    /// All that were attempted or held, but for those that wait behind another.
    All,
}

/// Whether a replay goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It goes on.
    Running,
    /// It has come to its end.
    Done,
    /// Somebody stopped it.
    Cancelled,
}

impl Ledger {
    /// Of an endpoint that is sent nothing yet.
    pub fn new(max_in_flight: u32) -> Self {
        Self {
            last_seq: 0,
            attempted: SeqSet::default(),
            held: SeqSet::default(),
            retries: BTreeMap::new(),
            resends: BTreeMap::new(),
            behind: 0,
            exhausted: 0,
            aborted: 0,
            aborted_last: VecDeque::new(),
            window: VecDeque::new(),
            round: 0,
            health: Health::new(max_in_flight),
            replays: Vec::new(),
        }
    }

    /// Gives the next numbers to these events.
    pub fn schedule(&mut self, run: Run) {
        self.last_seq += run.len();
        let in_window = self.window.iter().map(Run::len).sum::<u64>();
        if in_window + run.len() <= MAX_WINDOW {
            self.window.push_back(run);
        }
    }

    /// Forgets the events of what was attempted.
    pub fn trim(&mut self) {
        let Self { window, attempted, .. } = self;
        window.retain(|run| attempted.len_within(run.first, run.last()) < run.len());
    }

    /// How many were scheduled and neither attempted nor held back by an earlier decision.
    pub fn fresh(&self) -> u64 {
        self.last_seq - self.attempted.len() - self.held.len()
    }

    /// The first that waits for its first attempt.
    pub fn next_fresh(&self) -> Option<u64> {
        self.fresh_within(1, self.last_seq).first().map(|(first, _)| *first)
    }

    /// How many failed and are tried again, of those that were never delivered.
    pub fn retrying(&self) -> u64 {
        self.retries.values().sum()
    }

    /// How many were delivered.
    pub fn delivered(&self) -> u64 {
        let open = self.retrying() + self.behind + self.exhausted + self.aborted;
        self.attempted.len().saturating_sub(open)
    }

    /// Notes that a delivery is tried again then.
    pub fn add_retry(&mut self, due: Timestamp, was_delivered: bool) {
        let retries = if was_delivered { &mut self.resends } else { &mut self.retries };
        *retries.entry(due.millis()).or_default() += 1;
    }

    /// Notes that a delivery that was to be tried again then is not.
    pub fn remove_retry(&mut self, due: Timestamp, was_delivered: bool) {
        let retries = if was_delivered { &mut self.resends } else { &mut self.retries };
        if let Some(count) = retries.get_mut(&due.millis()) {
            *count -= 1;
            if *count == 0 {
                retries.remove(&due.millis());
            }
        }
    }

    /// Whether a delivery is tried again then.
    pub fn has_retry(&self, due: Timestamp, was_delivered: bool) -> bool {
        let retries = if was_delivered { &self.resends } else { &self.retries };
        retries.contains_key(&due.millis())
    }

    /// When the next one is tried again, in milliseconds; `None` when none is.
    pub fn next_retry(&self) -> Option<i64> {
        self.retries.keys().next().into_iter().chain(self.resends.keys().next()).min().copied()
    }

    /// Notes that a delivery was given up on request.
    pub fn note_abort(&mut self, seq: u64) {
        self.forget_abort(seq);
        self.aborted_last.push_back(seq);
        if self.aborted_last.len() > MAX_ABORTED_LAST {
            self.aborted_last.pop_front();
        }
    }

    /// Notes that a delivery is not given up any more.
    pub fn forget_abort(&mut self, seq: u64) {
        self.aborted_last.retain(|aborted| *aborted != seq);
    }

    /// Whether a delivery was given up on request, not long ago.
    pub fn was_aborted(&self, seq: u64) -> bool {
        self.aborted_last.contains(&seq)
    }

    /// The runs of numbers between two that wait for their first attempt.
    pub fn fresh_within(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let gaps = self.attempted.gaps(from, to.min(self.last_seq));
        gaps.into_iter().flat_map(|(first, last)| self.held.gaps(first, last)).collect()
    }

    /// The replays that have to be sent.
    pub fn running_replays(&self) -> impl Iterator<Item = &Replay> {
        self.replays.iter().filter(|replay| replay.state == ReplayState::Running)
    }
}
