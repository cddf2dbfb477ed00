//! The projection of a partition, and the one function that changes it.
//!
//! The live worker folds the bytes that it is about to publish; recovery, rebuild and verify fold
//! what they read. So both lead to the same rows by construction.

mod blocked;
mod engine_events;
mod memory;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
};

use foldhash::{HashMap, HashMapExt};
use protocol::id::Shop;

pub(crate) use self::blocked::Blocked;
use crate::{
    AnyRows, Recorded, Revision, Service, State, WireError,
    projection::{
        documents::{self, TableChanges},
        engine_rows::{AnswerRow, ShopState},
        positions::{LOG, Positions},
    },
    service::envelope::{self, Content},
};

/// Days of which events are remembered before answers to commands are forgotten.
pub(crate) const DAYS_OF_ANSWERS: usize = 8;
/// The milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// The rows of a partition that are in memory, and how far its log and its inputs are in them.
#[derive(Debug)]
pub(crate) struct Projection<S: Service> {
    pub(crate) partition: u32,
    states: HashMap<Shop, ShopState<S::State>>,
    /// How far the log is folded ([`LOG`]), and how far each input has been handled with it.
    pub(crate) positions: Positions,
    /// How far each input has been handled with what the log carries: what is later is handled again
    /// when this worker is gone, and nothing of it may be durable.
    fenced: Positions,
    /// Aggregates with something parked.
    pub(crate) blocked: Blocked,
    /// The days on which events were decided, the newest last, each with its first sequence.
    pub(crate) days: VecDeque<(i64, u64)>,
    /// Answers before this sequence are forgotten by an event that is folded next: they are not kept at
    /// all. 0 for the live worker.
    pub(crate) forgotten_later: u64,
    /// Answers before this sequence have been forgotten since the last [`Self::take_changes`].
    forgotten: Option<u64>,
    /// Whether a day is new since the last [`Self::take_changes`].
    has_new_day: bool,
    /// The batch at hand, for eviction.
    batch: u64,
    /// Whether what is not in memory is not in the database either.
    complete: bool,
    has_evicted: bool,
    /// How far the log was folded when changes were last taken.
    taken: u64,
    voided: u64,
    /// What the input at hand did to `blocked`, `days` and `forgotten`: kept with its rows.
    pending: Pending,
}

#[derive(Debug, Default)]
struct Pending {
    parked: Vec<(String, (Shop, String))>,
    /// What is parked no longer.
    unparked: Vec<String>,
    /// The last message of the log that was folded.
    last: Option<u64>,
    positions: Option<Positions>,
    days: Option<VecDeque<(i64, u64)>>,
    forgotten: Option<u64>,
    /// Whether the log carries the positions.
    is_fenced: bool,
}

/// A message could not be folded.
#[derive(Debug)]
pub(crate) enum FoldError {
    /// No version can read it, or this one cannot.
    Unreadable(WireError),
    /// The versions of an aggregate are not contiguous.
    Version { aggregate: String, version: u64, next: u64 },
    /// A rule panicked.
    Panicked(String),
}

/// What changed since the last call, as it is to be written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    pub(crate) tables: Vec<TableChanges>,
    pub(crate) positions: Positions,
    pub(crate) days: VecDeque<(i64, u64)>,
    /// Whether one of the days is new.
    pub(crate) has_new_day: bool,
    /// Answers before this sequence are to be deleted.
    pub(crate) forgotten: Option<u64>,
}

impl<S: Service> Projection<S> {
    /// A projection whose database is as far as `positions` say. `complete`: the database is empty.
    pub(crate) fn new(partition: u32, positions: Positions, complete: bool) -> Self {
        let folded = positions.sequence(LOG);
        Self {
            partition,
            states: HashMap::new(),
            fenced: positions.clone(),
            positions,
            blocked: Blocked::default(),
            days: VecDeque::new(),
            forgotten_later: 0,
            forgotten: None,
            has_new_day: false,
            batch: 0,
            complete,
            has_evicted: false,
            taken: folded,
            voided: 0,
            pending: Pending::default(),
        }
    }

    /// How far the log is folded.
    pub(crate) fn last(&self) -> u64 {
        self.positions.sequence(LOG)
    }

    /// How far the log was folded when changes were last taken: nothing later has been written.
    pub(crate) fn durable(&self) -> u64 {
        self.taken
    }

    /// The rows of a shop.
    pub(crate) fn state(&mut self, shop: &Shop) -> &mut ShopState<S::State> {
        let (complete, batch) = (self.complete, self.batch);
        self.states.entry(shop.clone()).or_insert_with(|| {
            let mut state = ShopState::default();
            for rows in state.tables() {
                rows.set_complete(complete);
                rows.begin_batch(batch);
            }
            state
        })
    }

    /// Folds one message of the log into the rows.
    pub(crate) fn fold(
        &mut self,
        sequence: u64,
        payload: &[u8],
        positions: Option<&str>,
    ) -> Result<(), FoldError> {
        self.fold_current(sequence, payload)?;
        if let Some(header) = positions {
            let positions = self.pending.positions.get_or_insert_with(|| self.positions.clone());
            positions.set_to_header(header);
            self.pending.is_fenced = true;
        }
        Ok(())
    }

    /// Folds a message of the input at hand, which carries no positions: they follow when the input
    /// is done.
    pub(crate) fn fold_current(&mut self, sequence: u64, payload: &[u8]) -> Result<(), FoldError> {
        let folded = catch_unwind(AssertUnwindSafe(|| self.fold_event(sequence, payload)));
        folded.map_err(|panic| FoldError::Panicked(panic_text(&*panic)))??;
        self.pending.last = Some(sequence);
        Ok(())
    }

    /// How many messages were passed over, since an operator voided them.
    pub(crate) fn voided(&self) -> u64 {
        self.voided
    }

    /// Passes over a message that an operator voided.
    pub(crate) fn pass_over(&mut self, sequence: u64) {
        self.voided += 1;
        self.positions.advance(LOG, sequence);
        self.fenced.advance(LOG, sequence);
    }

    /// Notes that the log carries all positions as they are: the event that does is about to be
    /// appended.
    pub(crate) fn fence(&mut self) {
        self.fenced.clone_from(&self.positions);
    }

    /// Whether the log carries all positions as they are, but for those of replicas, which are in no
    /// log.
    pub(crate) fn is_fenced(&self) -> bool {
        self.positions.iter().all(|(source, position)| {
            source == LOG || is_replica::<S>(source) || *position == self.fenced.position(source)
        })
    }

    /// The positions that may be durable: those that the log carries, and those of replicas, which
    /// are in no log.
    fn durable_positions(&self) -> Positions {
        let mut positions = self.fenced.clone();
        // A row of nothing would differ from what an empty log is folded to.
        if self.last() > 0 {
            positions.set(LOG, self.last());
        }
        for source in S::SOURCES.iter().filter(|source| source.replica) {
            positions.set(source.service, self.positions.position(source.service));
        }
        positions
    }

    fn fold_event(&mut self, sequence: u64, payload: &[u8]) -> Result<(), FoldError> {
        let opened = envelope::open::<S>(payload).map_err(FoldError::Unreadable)?;
        let envelope::Opened { recorded, aggregate, fingerprint } = opened;
        // First: an event that is out of order leaves no trace, so that an operator can void it.
        if let Content::Event(event) = &recorded.event {
            let Revision { version, .. } = S::revision(&self.state(&recorded.shop).service, event);
            if recorded.version != version + 1 {
                let next = recorded.version;
                return Err(FoldError::Version { aggregate, version, next });
            }
        }
        self.note_day(recorded.time.millis(), sequence);
        let (record, content) = recorded.split();
        match content {
            envelope::Content::Event(event) => {
                let recorded = record.with(event);
                if !fingerprint.is_empty() {
                    self.fold_implied_answer(&recorded, fingerprint, sequence);
                }
                let state = &mut self.state(&recorded.shop).service;
                S::apply(state, &recorded);
                Ok(())
            }
            envelope::Content::Engine(kind) => {
                self.fold_engine_event(record, kind, sequence);
                Ok(())
            }
        }
    }

    /// Keeps the answer that an event says by itself.
    fn fold_implied_answer(
        &mut self,
        recorded: &Recorded<S::Event>,
        fingerprint: String,
        sequence: u64,
    ) {
        if sequence < self.forgotten_later {
            return;
        }
        let body = implied_answer::<S>(recorded);
        let row = AnswerRow { fingerprint, body, sequence, has_effect: true, dropped: None };
        self.state(&recorded.shop).answers.put(recorded.cause.id.clone(), row);
    }

    /// Notes the first event of each day.
    fn note_day(&mut self, time_ms: i64, sequence: u64) {
        let day = time_ms.div_euclid(DAY_MS);
        let days = self.pending.days.as_ref().unwrap_or(&self.days);
        if days.iter().all(|(known, _)| *known != day) {
            let mut days = days.clone();
            days.push_back((day, sequence));
            self.pending.days = Some(days);
        }
    }

    /// Whether the answer of an event with that sequence is not forgotten yet.
    pub(crate) fn is_remembered(&self, sequence: u64) -> bool {
        self.days.front().is_none_or(|(_, first)| sequence >= *first)
    }

    /// The sequence before which answers are to be forgotten, when that is due.
    pub(crate) fn forgettable(&self) -> Option<u64> {
        (self.days.len() > DAYS_OF_ANSWERS).then(|| self.days.get(1).map(|(_, first)| *first))?
    }

    /// From now on what is folded can be undone. `shop` is the one shop whose rows change.
    pub(crate) fn begin(&mut self, shop: &Shop) {
        self.state(shop).tables().into_iter().for_each(AnyRows::begin);
        self.pending = Pending::default();
    }

    /// Undoes what was folded since `begin`.
    pub(crate) fn undo(&mut self, shop: &Shop) {
        self.state(shop).tables().into_iter().for_each(AnyRows::undo);
        self.pending = Pending::default();
    }

    /// Keeps what was folded since `begin`.
    pub(crate) fn keep(&mut self, shop: &Shop) {
        self.state(shop).tables().into_iter().for_each(AnyRows::keep);
        self.settle();
    }

    /// Takes over what the last messages did beside the rows.
    pub(crate) fn settle(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for (id, aggregate) in pending.parked {
            self.blocked.insert(id, aggregate);
        }
        for id in &pending.unparked {
            self.blocked.remove(id);
        }
        if let Some(positions) = pending.positions {
            self.positions = positions;
        }
        if let Some(last) = pending.last {
            self.positions.advance(LOG, last);
        }
        if pending.is_fenced {
            self.fence();
        }
        if let Some(days) = pending.days {
            self.days = days;
            self.has_new_day = true;
        }
        self.forgotten = pending.forgotten.or(self.forgotten);
    }

    /// Takes what has changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Changes {
        self.taken = self.last();
        Changes {
            tables: documents::take_changed(&mut self.states),
            positions: self.durable_positions(),
            days: self.days.clone(),
            has_new_day: std::mem::take(&mut self.has_new_day),
            forgotten: self.forgotten.take(),
        }
    }
}

/// Whether a source only feeds a replica, so that its position is in no log.
pub(crate) fn is_replica<S: Service>(name: &str) -> bool {
    S::SOURCES.iter().any(|source| source.replica && source.service == name)
}

/// The answer that an event says by itself, encoded.
pub(crate) fn implied_answer<S: Service>(recorded: &Recorded<S::Event>) -> Vec<u8> {
    S::implied_answer(recorded).as_ref().map(S::encode_answer).unwrap_or_default()
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a rule panicked: {}", text.unwrap_or_else(|| "without a message".to_owned()))
}
