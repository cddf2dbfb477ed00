//! An endpoint, as its events have it.

use std::ops::Range;

use events::proto::notify::{self, Ordering, ReplaySelection};

use super::{
    Found,
    order::{KeyedEndpoint, SettledRecord},
};
use crate::{Findings, LogPosition, runs::Runs};

/// What became of what matched an endpoint, by the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// The endpoint.
    pub endpoint_id: String,
    /// What it was to get: the last `endpoint_seq`.
    pub matched: u64,
    /// What it has got, each counted once.
    pub delivered: u64,
    /// What failed for good, or was aborted.
    pub given_up: u64,
    /// What is tried again.
    pub retrying: u64,
    /// All attempts.
    pub attempts: u64,
    /// The attempts of deliveries that had been attempted before.
    pub retries: u64,
}

/// An endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    id: String,
    pub(super) number: u32,
    /// What it wants, each from a sequence of the log on; nothing once it is deleted.
    filters: Vec<(u64, Vec<String>)>,
    ordering: Ordering,
    /// Its present ordering holds for the deliveries after this one.
    ordered_after: u64,
    is_disabled: bool,
    is_deleted: bool,
    last_seq: u64,
    round: u64,
    attempted: Runs,
    delivered: Runs,
    /// What was delivered or given up.
    settled: Runs,
    /// What failed and is tried again.
    retrying: Runs,
    /// What waits behind a delivery that failed.
    waiting: Runs,
    /// What is not attempted until it is replayed.
    held: Runs,
    /// What may be overtaken: it was held, or not settled yet when the ordering changed.
    excused: Runs,
    /// The replays, with what of each was delivered once more.
    replays: Vec<Replay>,
    /// Whether the last attempts have all failed, so that further ones wait.
    is_failing: bool,
    attempts: u64,
}

#[derive(Debug)]
struct Replay {
    id: String,
    range: (u64, u64),
    selection: ReplaySelection,
    /// What was held when it was started.
    released: Runs,
    repeated: Runs,
}

/// A change of an endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Settings(Option<&'a notify::EndpointSettings>),
    Disabled,
    Enabled { deliver_held: bool },
    Deleted,
}

impl Endpoint {
    pub(super) fn new(id: &str, number: u32) -> Self {
        Self {
            id: id.to_owned(),
            number,
            filters: Vec::new(),
            ordering: Ordering::Unspecified,
            ordered_after: 0,
            is_disabled: false,
            is_deleted: false,
            last_seq: 0,
            round: 0,
            attempted: Runs::default(),
            delivered: Runs::default(),
            settled: Runs::default(),
            retrying: Runs::default(),
            waiting: Runs::default(),
            held: Runs::default(),
            excused: Runs::default(),
            replays: Vec::new(),
            is_failing: false,
            attempts: 0,
        }
    }

    pub(super) fn exists(&self) -> bool {
        !self.is_deleted
    }

    /// As the order of its aggregates is compared.
    pub(super) fn keyed(&self) -> KeyedEndpoint<'_> {
        KeyedEndpoint { number: self.number, id: &self.id, excused: &self.excused }
    }

    /// Whether it wants events of that type now.
    pub(super) fn wants(&self, event_type: &str) -> bool {
        self.filters.last().is_some_and(|(_, filters)| wants(filters, event_type))
    }

    /// Whether it wanted them all the time after the first sequence of the log and before the last.
    pub(super) fn wanted_throughout(&self, event_type: &str, between: &Range<u64>) -> bool {
        let before = self.filters.partition_point(|(from, _)| *from <= between.start);
        let until = self.filters.partition_point(|(from, _)| *from < between.end).max(before);
        // Without an entry before, it was made in between.
        before > 0
            && self.filters[before - 1..until].iter().all(|(_, filters)| wants(filters, event_type))
    }

    pub(super) fn change(&mut self, sequence: u64, change: Change<'_>) {
        match change {
            Change::Settings(settings) => {
                let (types, ordering) = settings.map_or_else(Default::default, |settings| {
                    (settings.event_types.clone(), settings.ordering())
                });
                self.filters.push((sequence, types));
                if ordering != self.ordering {
                    (self.ordering, self.ordered_after) = (ordering, self.last_seq);
                    self.excused.insert_all(&self.settled.missing(1, self.last_seq));
                }
            }
            Change::Disabled => self.is_disabled = true,
            Change::Enabled { deliver_held } => {
                self.is_disabled = false;
                // It is tried anew.
                self.is_failing = false;
                if !deliver_held {
                    self.hold(1, self.last_seq);
                }
            }
            Change::Deleted => {
                self.is_deleted = true;
                self.filters.push((sequence, Vec::new()));
            }
        }
    }

    /// What of these was not attempted is held.
    fn hold(&mut self, first: u64, last: u64) {
        let untouched = self.untouched(first, last);
        self.held.insert_all(&untouched);
        self.excused.insert_all(&untouched);
    }

    /// What of these was not attempted, does not wait behind another, and was not given up.
    fn untouched(&self, first: u64, last: u64) -> Runs {
        let mut touched = self.attempted.clone();
        touched.insert_all(&self.waiting);
        touched.insert_all(&self.settled);
        touched.missing(first, last)
    }

    /// Events of these aggregates get the numbers from `first` on.
    pub(super) fn scheduled(
        &mut self,
        at: LogPosition,
        first: u64,
        aggregates: &[u64],
        found: &mut Found,
    ) {
        let Self { id, last_seq, .. } = self;
        found.findings.expect(first == *last_seq + 1, || {
            format!("{at}: goes on with {first} for the endpoint {id}, after {last_seq}")
        });
        if self.ordering == Ordering::PerKey {
            for (seq, aggregate) in (first..).zip(aggregates) {
                found.order.scheduled(self.number, seq, *aggregate);
            }
        }
        self.last_seq = self.last_seq.max(first + aggregates.len() as u64 - 1);
    }

    /// Whether the delivery was scheduled.
    fn is_known(&self, at: LogPosition, seq: u64, findings: &mut Findings) -> bool {
        let is_known = (1..=self.last_seq).contains(&seq);
        findings.expect(is_known, || {
            let Self { id, last_seq, .. } = self;
            format!("{at}: names the delivery {seq} of the endpoint {id}, which has {last_seq}")
        });
        is_known
    }

    pub(super) fn attempted(&mut self, at: LogPosition, it: &notify::Attempted, found: &mut Found) {
        let Self { id, round, .. } = self;
        found.findings.expect(it.round == *round + 1, || {
            format!("{at}: is round {} of the endpoint {id}, after {round}", it.round)
        });
        self.round = it.round;
        let Some(delivered) = Runs::read(&it.delivered) else {
            found.findings.add(format!("{at}: names deliveries that cannot be read"));
            return;
        };
        delivered.last().map(|last| self.is_known(at, last, &mut found.findings));
        let delivered = delivered.within(1, self.last_seq);
        for (first, last) in delivered.runs() {
            for seq in self.delivered.within(first, last).numbers() {
                self.expect_asked_for(at, seq, true, &mut found.findings);
            }
        }
        let mut given_up = Runs::default();
        for failure in &it.failures {
            let seq = failure.endpoint_seq;
            if !self.is_known(at, seq, &mut found.findings) {
                continue;
            }
            if self.delivered.contains(seq) {
                self.expect_asked_for(at, seq, false, &mut found.findings);
            }
            self.attempted.insert(seq, seq);
            self.retrying.remove(seq, seq);
            self.waiting.remove(seq, seq);
            self.held.remove(seq, seq);
            match failure.due_at {
                // What was delivered before is so still, and holds up nothing.
                Some(_) if self.delivered.contains(seq) => {}
                Some(_) => self.retrying.insert(seq, seq),
                None => given_up.insert(seq, seq),
            }
        }
        self.attempts += delivered.len() + it.failures.len() as u64;
        if !(delivered.is_empty() && it.failures.is_empty()) {
            self.is_failing = delivered.is_empty();
        }
        self.settle(at, &delivered, &given_up, found);
        for behind in &it.behind {
            let seq = behind.endpoint_seq;
            if self.is_known(at, seq, &mut found.findings) {
                self.waiting.insert(seq, seq);
            }
        }
    }

    /// Deliveries come to their end.
    fn settle(&mut self, at: LogPosition, delivered: &Runs, given_up: &Runs, found: &mut Found) {
        let before = self.settled.clone();
        for (first, last) in delivered.runs() {
            for runs in [&mut self.attempted, &mut self.delivered, &mut self.settled] {
                runs.insert(first, last);
            }
            for runs in [&mut self.retrying, &mut self.waiting, &mut self.held] {
                runs.remove(first, last);
            }
        }
        self.settled.insert_all(given_up);
        let new = |runs: &Runs| {
            let mut new = Runs::default();
            for (first, last) in runs.runs() {
                new.insert_all(&before.missing(first.max(self.ordered_after + 1), last));
            }
            new
        };
        match self.ordering {
            Ordering::Unspecified | Ordering::Parallel => {}
            Ordering::PerKey => {
                for (runs, is_delivered) in [(new(delivered), true), (new(given_up), false)] {
                    for seq in runs.numbers() {
                        let endpoint = self.number;
                        let settled = SettledRecord::new(endpoint, seq, is_delivered);
                        found.order.settled(at, &settled);
                    }
                }
            }
            Ordering::Fifo => {
                let Some(last) = new(delivered).last() else { return };
                let mut passed = self.settled.clone();
                passed.insert_all(&self.excused);
                let overtaken = passed.missing(self.ordered_after + 1, last).first();
                found.findings.expect(overtaken.is_none(), || {
                    let first = overtaken.unwrap_or_default();
                    format!("{at}: delivers {last} to the endpoint {} before {first}", self.id)
                });
            }
        }
    }

    /// What was delivered is attempted again when a replay asks for it, and delivered again once by each.
    fn expect_asked_for(
        &mut self,
        at: LogPosition,
        seq: u64,
        is_delivered: bool,
        findings: &mut Findings,
    ) {
        let replay = self.replays.iter_mut().find(|replay| {
            let (first, last) = replay.range;
            replay.selection == ReplaySelection::All
                && (first..=last).contains(&seq)
                && !replay.repeated.contains(seq)
        });
        match replay {
            Some(replay) if is_delivered => replay.repeated.insert(seq, seq),
            Some(_) => {}
            None => findings.add(format!(
                "{at}: the delivery {seq} of the endpoint {} is sent again, for which nobody asked",
                self.id
            )),
        }
    }

    pub(super) fn replay_started(&mut self, it: &notify::ReplayStarted) {
        let (range, selection) = ((it.from, it.to), it.selection());
        let mut released = Runs::default();
        if selection != ReplaySelection::Failed {
            released = self.held.within(it.from, it.to);
            self.held.remove(it.from, it.to);
        }
        let (id, repeated) = (it.replay_id.clone(), Runs::default());
        self.replays.push(Replay { id, range, selection, released, repeated });
    }

    pub(super) fn replay_cancelled(&mut self, id: &str) {
        // What it has not sent of what was held is held as before.
        let replay = self.replays.iter_mut().find(|replay| replay.id == id);
        let released = replay.map(|it| std::mem::take(&mut it.released)).unwrap_or_default();
        for (first, last) in released.runs() {
            self.hold(first, last);
        }
    }

    pub(super) fn aborted(&mut self, at: LogPosition, seq: u64, found: &mut Found) {
        if !self.is_known(at, seq, &mut found.findings) {
            return;
        }
        for runs in [&mut self.retrying, &mut self.waiting, &mut self.held] {
            runs.remove(seq, seq);
        }
        let mut given_up = Runs::default();
        given_up.insert(seq, seq);
        self.settle(at, &Runs::default(), &given_up, found);
    }

    /// That nothing is left that could have been attempted: nothing happens any more.
    pub(super) fn expect_attempted(&self, findings: &mut Findings) {
        // One that fails is left alone for a while; in a sequence, the first that fails holds up the rest.
        let has_open = !self.retrying.is_empty();
        let is_held_up = self.is_failing || (self.ordering == Ordering::Fifo && has_open);
        if self.is_deleted || self.is_disabled || is_held_up {
            return;
        }
        let mut left = self.untouched(1, self.last_seq);
        for (first, last) in self.held.runs() {
            left.remove(first, last);
        }
        if !has_open {
            left.insert_all(&self.waiting);
        }
        for seq in left.numbers() {
            findings
                .add(format!("the delivery {seq} of the endpoint {} was never attempted", self.id));
        }
    }

    pub(super) fn deliveries(&self) -> Deliveries {
        Deliveries {
            endpoint_id: self.id.clone(),
            matched: self.last_seq,
            delivered: self.delivered.len(),
            given_up: self.settled.len() - self.delivered.len(),
            retrying: self.retrying.len(),
            attempts: self.attempts,
            retries: self.attempts - self.attempted.len(),
        }
    }
}

/// Whether one of these filters names the type: `order.paid`, `order.*`, `*`.
fn wants(filters: &[String], event_type: &str) -> bool {
    filters.iter().any(|filter| match filter.strip_suffix('*') {
        Some("") => !event_type.is_empty(),
        Some(service) => service.ends_with('.') && event_type.starts_with(service),
        None => filter == event_type,
    })
}
