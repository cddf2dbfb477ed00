//! What is so in every log: contiguous sequences and versions, one effect of each input, order.
//!
//! What is compared at the end waits in temporary files; only a version for each aggregate and the
//! ends of the logs stay in memory.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use engine::Logged;
use events::{
    names::event_name,
    proto::{self, event::Body},
};
use protocol::proto::engine_event;

use super::{
    Check, Findings, Place,
    orders::Orders,
    scratch::{Scratch, fingerprint},
    stock::Stock,
};
use crate::text::count;

/// The stream of the inbox, as a place names it.
const INBOX: &str = "inbox";

/// What every log has in common.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The names of the services, which stand in records by number.
    services: Vec<&'static str>,
    logs: HashMap<(&'static str, u32), Log>,
    /// By the fingerprint of an aggregate: its version so far.
    versions: HashMap<u64, u32>,
    /// Every event, by its id: see [`Fact`].
    facts: Scratch<{ Fact::SIZE }>,
    /// What followed from what, by the id of the cause: see [`Effect`].
    effects: Scratch<{ Effect::SIZE }>,
    /// The commands of the inbox and their answers, by the command's id: see [`Request`].
    requests: Scratch<{ Request::SIZE }>,
    commands: u64,
    /// How many events of one service another handled.
    handled: u64,
    /// Whether the inbox has forgotten some: then not every answer is to a command that is there.
    pub(super) misses_commands: bool,
    gaps: Findings,
    repeats: Findings,
    disorder: Findings,
}

#[derive(Debug, Default)]
struct Log {
    last: u64,
    positions: BTreeMap<String, u64>,
}

/// An event: what it is of, and the version after it.
struct Fact {
    id: u64,
    aggregate: u64,
    version: u32,
    place: Spot,
}

/// An event that follows from another, or from the outcome of an operation.
struct Effect {
    cause: u64,
    /// The same for the same event kind of the same aggregate, from the same cause.
    outcome: u64,
    /// Counts the events that services handled, in their order; 0 for the outcome of an operation.
    handled: u64,
    place: Spot,
}

/// An event of another service that a service handled.
struct Handling {
    /// The same for the same service and aggregate.
    of: u64,
    handled: u64,
    version: u32,
    place: Spot,
}

/// A command, or its answer.
struct Request {
    command: u64,
    is_answer: bool,
    place: Spot,
}

/// A [`Place`], with the number of its service.
#[derive(Clone, Copy)]
struct Spot {
    service: u32,
    partition: u32,
    sequence: u64,
}

/// Takes the first bytes off a record.
fn take<const N: usize>(record: &mut &[u8]) -> [u8; N] {
    let (first, rest) = record.split_first_chunk().expect("a record has all its fields");
    *record = rest;
    *first
}

fn take_u64(record: &mut &[u8]) -> u64 {
    u64::from_le_bytes(take(record))
}

fn take_u32(record: &mut &[u8]) -> u32 {
    u32::from_le_bytes(take(record))
}

fn record<const SIZE: usize>(fields: &[&[u8]]) -> [u8; SIZE] {
    let mut record = [0; SIZE];
    let mut rest = &mut record[..];
    for field in fields {
        let (first, others) = rest.split_at_mut(field.len());
        first.copy_from_slice(field);
        rest = others;
    }
    record
}

impl Spot {
    const SIZE: usize = 16;

    fn write(self) -> [u8; Self::SIZE] {
        let Self { service, partition, sequence } = self;
        record(&[&service.to_le_bytes(), &partition.to_le_bytes(), &sequence.to_le_bytes()])
    }

    fn read(from: &mut &[u8]) -> Self {
        Self { service: take_u32(from), partition: take_u32(from), sequence: take_u64(from) }
    }
}

impl Fact {
    const SIZE: usize = 20 + Spot::SIZE;

    fn write(&self) -> [u8; Self::SIZE] {
        let Self { id, aggregate, version, place } = self;
        let place = place.write();
        record(&[&id.to_le_bytes(), &aggregate.to_le_bytes(), &version.to_le_bytes(), &place])
    }

    fn read(mut from: &[u8]) -> Self {
        let from = &mut from;
        let (id, aggregate, version) = (take_u64(from), take_u64(from), take_u32(from));
        Self { id, aggregate, version, place: Spot::read(from) }
    }
}

impl Effect {
    const SIZE: usize = 24 + Spot::SIZE;

    fn write(&self) -> [u8; Self::SIZE] {
        let Self { cause, outcome, handled, place } = self;
        let place = place.write();
        record(&[&cause.to_le_bytes(), &outcome.to_le_bytes(), &handled.to_le_bytes(), &place])
    }

    fn read(mut from: &[u8]) -> Self {
        let from = &mut from;
        let (cause, outcome, handled) = (take_u64(from), take_u64(from), take_u64(from));
        Self { cause, outcome, handled, place: Spot::read(from) }
    }
}

impl Handling {
    const SIZE: usize = 20 + Spot::SIZE;

    fn write(&self) -> [u8; Self::SIZE] {
        let Self { of, handled, version, place } = self;
        let place = place.write();
        record(&[&of.to_le_bytes(), &handled.to_le_bytes(), &version.to_le_bytes(), &place])
    }

    fn read(mut from: &[u8]) -> Self {
        let from = &mut from;
        let (of, handled, version) = (take_u64(from), take_u64(from), take_u32(from));
        Self { of, handled, version, place: Spot::read(from) }
    }
}

impl Request {
    const SIZE: usize = 9 + Spot::SIZE;

    fn write(&self) -> [u8; Self::SIZE] {
        let Self { command, is_answer, place } = self;
        record(&[&command.to_le_bytes(), &[u8::from(*is_answer)], &place.write()])
    }

    fn read(mut from: &[u8]) -> Self {
        let from = &mut from;
        let (command, [is_answer]) = (take_u64(from), take(from));
        Self { command, is_answer: is_answer != 0, place: Spot::read(from) }
    }
}

impl History {
    pub(super) fn observe(&mut self, place: Place, logged: &Logged<proto::Event>) {
        self.observe_sequence(place, logged);
        if logged.is_voided {
            return;
        }
        let event = &logged.event;
        let aggregate = fingerprint((place.service, &event.shop, &event.aggregate_id));
        let version = self.versions.entry(aggregate).or_default();
        self.gaps.expect(event.aggregate_version == u64::from(*version) + 1, || {
            format!(
                "{place}: version {} of {} follows version {version}",
                event.aggregate_version, event.aggregate_id
            )
        });
        *version = event.aggregate_version as u32;
        let (id, version, at) = (fingerprint(&event.id), *version, self.spot(place));
        self.facts.push(id, &Fact { id, aggregate, version, place: at }.write());
        self.observe_cause(place, event);
        if let Some(answer) = &event.answer {
            let command = fingerprint((&event.shop, &answer.command_id));
            self.requests.push(command, &Request { command, is_answer: true, place: at }.write());
        }
        if let Some(Body::Engine(engine)) = &event.body
            && let Some(engine_event::Kind::Parked(parked)) = &engine.kind
        {
            self.repeats.add(format!("{place}: {} is parked: {}", parked.subject, parked.reason));
        }
    }

    fn observe_sequence(&mut self, place: Place, logged: &Logged<proto::Event>) {
        let log = self.logs.entry((place.service, place.partition)).or_default();
        let last = log.last;
        self.gaps.expect(logged.sequence == last + 1, || format!("{place}: follows {last}"));
        log.last = logged.sequence;
        for (source, position) in &logged.positions {
            let known = log.positions.entry(source.clone()).or_default();
            self.repeats.expect(position >= known, || {
                format!("{place}: its inputs of {source} go back from {known} to {position}")
            });
            *known = *position;
        }
        // Here an operator let an input be read anew.
        if let Some(Body::Engine(engine)) = &logged.event.body
            && let Some(engine_event::Kind::PositionReset(reset)) = &engine.kind
        {
            log.positions.insert(reset.source.clone(), reset.sequence);
        }
    }

    /// An event of another service, or the outcome of an operation, leads to a thing once.
    fn observe_cause(&mut self, place: Place, event: &proto::Event) {
        let Some(cause) = event.cause.as_ref().filter(|cause| !cause.id.is_empty()) else { return };
        // A command may change the same thing several times, by several lines; that it is handled
        // once shows in its answer.
        if cause.kind.starts_with("command.") || cause.kind.starts_with("operator.") {
            return;
        }
        let kind = event.body.as_ref().and_then(event_name).unwrap_or_default();
        let outcome = fingerprint((place.service, &cause.id, kind, &event.aggregate_id));
        let is_event = !cause.kind.starts_with("operation.");
        self.handled += u64::from(is_event);
        let handled = if is_event { self.handled } else { 0 };
        let (cause, place) = (fingerprint(&cause.id), self.spot(place));
        self.effects.push(cause, &Effect { cause, outcome, handled, place }.write());
    }

    pub(super) fn observe_command(&mut self, partition: u32, sequence: u64, shop: &str, id: &str) {
        self.commands += 1;
        let command = fingerprint((shop, id));
        let place = self.spot(Place { service: INBOX, partition, sequence });
        self.requests.push(command, &Request { command, is_answer: false, place }.write());
    }

    fn spot(&mut self, Place { service, partition, sequence }: Place) -> Spot {
        let known = self.services.iter().position(|known| *known == service);
        let service = known.unwrap_or_else(|| {
            self.services.push(service);
            self.services.len() - 1
        });
        Spot { service: service as u32, partition, sequence }
    }

    fn place(&self, Spot { service, partition, sequence }: Spot) -> Place {
        Place { service: self.services[service as usize], partition, sequence }
    }

    /// Compares what waits in the files. To be called once, when everything is observed.
    pub(super) fn compare(&mut self) {
        let mut repeats = std::mem::take(&mut self.repeats);
        let mut disorder = Findings::default();
        let compared = self
            .compare_requests(&mut repeats)
            .and_then(|()| self.compare_effects(&mut repeats, &mut disorder))
            .and_then(|handlings| self.compare_order(handlings, &mut disorder));
        if let Err(error) = compared {
            repeats.add(format!("nothing could be compared: the temporary files failed: {error}"));
        }
        (self.repeats, self.disorder) = (repeats, disorder);
    }

    /// Each command has one answer, and each answer a command.
    fn compare_requests(&mut self, findings: &mut Findings) -> io::Result<()> {
        for bucket in Scratch::<{ Request::SIZE }>::numbers() {
            let requests = self.requests.read(bucket)?;
            let mut requests: Vec<_> = requests.iter().map(|it| Request::read(it)).collect();
            requests.sort_by_key(|it| (it.command, it.is_answer));
            for requests in requests.chunk_by(|one, other| one.command == other.command) {
                let (answers, commands): (Vec<_>, Vec<_>) =
                    requests.iter().partition(|it| it.is_answer);
                if let (Some(command), []) = (commands.first(), answers.as_slice()) {
                    findings.add(format!("{}: was never answered", self.place(command.place)));
                }
                for answer in answers.iter().skip(1) {
                    let (place, first) = (self.place(answer.place), self.place(answers[0].place));
                    findings.add(format!("{place}: answers the same command as {first}"));
                }
                if let (Some(answer), [], false) =
                    (answers.first(), commands.as_slice(), self.misses_commands)
                {
                    let place = self.place(answer.place);
                    findings.add(format!("{place}: answers a command that nobody sent"));
                }
            }
        }
        Ok(())
    }

    /// Each event is there once, each cause is there, and has each effect once. Returns what was
    /// handled, by service and aggregate.
    fn compare_effects(
        &mut self,
        repeats: &mut Findings,
        disorder: &mut Findings,
    ) -> io::Result<Scratch<{ Handling::SIZE }>> {
        let mut handlings = Scratch::default();
        for bucket in Scratch::<{ Fact::SIZE }>::numbers() {
            let facts = self.facts.read(bucket)?;
            let mut facts: Vec<_> = facts.iter().map(|it| Fact::read(it)).collect();
            facts.sort_by_key(|fact| fact.id);
            for pair in facts.windows(2).filter(|pair| pair[0].id == pair[1].id) {
                let (first, again) = (self.place(pair[0].place), self.place(pair[1].place));
                repeats.add(format!("{again}: the same event as {first}"));
            }
            let effects = self.effects.read(bucket)?;
            let mut effects: Vec<_> = effects.iter().map(|it| Effect::read(it)).collect();
            effects.sort_by_key(|it| it.outcome);
            for pair in effects.windows(2).filter(|pair| pair[0].outcome == pair[1].outcome) {
                let (first, again) = (self.place(pair[0].place), self.place(pair[1].place));
                repeats.add(format!("{again}: follows from the same cause as {first}"));
            }
            for Effect { cause, handled, place, .. } in effects.iter().filter(|it| it.handled > 0) {
                let Ok(fact) = facts.binary_search_by_key(cause, |fact| fact.id) else {
                    let place = self.place(*place);
                    disorder.add(format!("{place}: follows from an event that is in no log"));
                    continue;
                };
                let Fact { aggregate, version, .. } = facts[fact];
                let of = fingerprint((place.service, aggregate));
                let handling = Handling { of, handled: *handled, version, place: *place };
                handlings.push(of, &handling.write());
            }
        }
        Ok(handlings)
    }

    /// A service handles the events of an aggregate in version order.
    fn compare_order(
        &self,
        mut handlings: Scratch<{ Handling::SIZE }>,
        findings: &mut Findings,
    ) -> io::Result<()> {
        for bucket in Scratch::<{ Handling::SIZE }>::numbers() {
            let handlings = handlings.read(bucket)?;
            let mut handlings: Vec<_> = handlings.iter().map(|it| Handling::read(it)).collect();
            handlings.sort_by_key(|it| (it.of, it.handled));
            let pairs = handlings.windows(2).filter(|pair| pair[0].of == pair[1].of);
            for pair in pairs.filter(|pair| pair[0].version > pair[1].version) {
                let (place, last) = (self.place(pair[1].place), self.place(pair[0].place));
                let (version, before) = (pair[1].version, pair[0].version);
                findings.add(format!(
                    "{place}: handles version {version} of what {last} handled version {before} of"
                ));
            }
        }
        Ok(())
    }

    /// Invariant 1.
    pub(super) fn contiguous(&self) -> Check {
        let events = self.logs.values().map(|log| log.last).sum::<u64>();
        Check {
            looked_at: events,
            invariant: Some(1),
            claim: "every log is without a gap, and so are the versions of everything in it",
            evidence: format!(
                "{} of {} in {}",
                count(events, "event", "events"),
                count(self.versions.len() as u64, "aggregate", "aggregates"),
                count(self.logs.len() as u64, "log", "logs")
            ),
            findings: self.gaps.clone(),
        }
    }

    /// Invariant 2.
    pub(super) fn handled_once(&self, stock: &Stock, orders: &Orders) -> Check {
        let mut findings = self.repeats.clone();
        findings.append(stock.documents().clone());
        findings.append(orders.references().clone());
        Check {
            looked_at: self.commands + self.handled + stock.document_count(),
            invariant: Some(2),
            claim: "every input had its effect exactly once",
            evidence: format!(
                "{}, {} between services, {}",
                count(self.commands, "command", "commands"),
                count(self.handled, "event", "events"),
                count(stock.document_count(), "ERP document", "ERP documents")
            ),
            findings,
        }
    }

    /// Invariant 9.
    pub(super) fn in_order(&self) -> Check {
        Check {
            looked_at: self.handled,
            invariant: Some(9),
            claim: "the events of one aggregate reached every service in version order",
            evidence: format!("{} between services", count(self.handled, "event", "events")),
            findings: self.disorder.clone(),
        }
    }
}
