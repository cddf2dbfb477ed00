//! What is so in every log: contiguous sequences and versions, one effect of each input, order.

use std::collections::{BTreeMap, HashMap, HashSet};

use engine::Logged;
use events::{
    proto::{self, engine_event, event::Body},
    subject::event_kind,
};

use super::{Check, Findings, Place, orders::Orders, stock::Stock};
use crate::figures::count;

/// By service, shop and id; these as the numbers of their names.
type Aggregate = (&'static str, u32, u32);

/// Shops and ids by number: the same id stands in many events, and there are many events.
#[derive(Debug, Default)]
struct Names(HashMap<String, u32>);

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        let number = self.0.len() as u32;
        self.0.insert(name.to_owned(), number);
        number
    }

    /// The name of a number; slow, for what is wrong.
    fn name(&self, number: u32) -> &str {
        let named = self.0.iter().find(|(_, known)| **known == number);
        named.map_or("?", |(name, _)| name)
    }
}

/// What every log has in common.
#[derive(Debug, Default)]
pub(super) struct History {
    names: Names,
    logs: HashMap<(&'static str, u32), Log>,
    /// The version of each aggregate so far.
    versions: HashMap<Aggregate, u64>,
    /// By event: what it is of, and the version after it.
    events: HashMap<u32, (Aggregate, u64)>,
    /// The commands that were answered.
    answered: HashMap<(String, String), Place>,
    /// The commands of the inbox.
    commands: HashSet<(String, String)>,
    /// Whether the inbox has forgotten some: then not every answer is to one of `commands`.
    pub(super) misses_commands: bool,
    /// What followed from what: by service, cause, event and aggregate.
    effects: HashSet<(&'static str, u32, &'static str, u32)>,
    /// The events of one service that another handled, in the order in which it did.
    handled: Vec<Handled>,
    gaps: Findings,
    repeats: Findings,
}

#[derive(Debug, Default)]
struct Log {
    last: u64,
    positions: BTreeMap<String, u64>,
}

/// A service handled an event of another.
#[derive(Debug)]
struct Handled {
    by: Place,
    event: u32,
}

impl History {
    pub(super) fn observe(&mut self, place: Place, logged: &Logged) {
        self.observe_sequence(place, logged);
        let event = &logged.event;
        let shop = self.names.number(&event.shop);
        let aggregate = (place.service, shop, self.names.number(&event.aggregate_id));
        let version = self.versions.entry(aggregate).or_default();
        self.gaps.expect(event.aggregate_version == *version + 1, || {
            format!(
                "{place}: version {} of {} follows version {version}",
                event.aggregate_version, event.aggregate_id
            )
        });
        *version = event.aggregate_version;
        let id = self.names.number(&event.id);
        let known = self.events.insert(id, (aggregate, event.aggregate_version));
        self.repeats.expect(known.is_none(), || format!("{place}: event {} again", event.id));
        self.observe_cause(place, event);
        if let Some(answer) = &event.answer {
            let command = (event.shop.clone(), answer.command_id.clone());
            if let Some(first) = self.answered.insert(command, place) {
                let id = &answer.command_id;
                self.repeats.add(format!("{place}: command {id} is answered again, after {first}"));
            }
        }
        if let Some(Body::Engine(engine)) = &event.body
            && let Some(engine_event::Kind::Parked(parked)) = &engine.kind
        {
            self.repeats.add(format!("{place}: {} is parked: {}", parked.subject, parked.reason));
        }
    }

    fn observe_sequence(&mut self, place: Place, logged: &Logged) {
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
    }

    /// An event of another service, or the outcome of an operation, leads to a thing once.
    fn observe_cause(&mut self, place: Place, event: &proto::Event) {
        let Some(cause) = event.cause.as_ref().filter(|cause| !cause.id.is_empty()) else { return };
        // A command may change the same thing several times, by several lines; that it is handled
        // once shows in its answer.
        if cause.kind.starts_with("command.") || cause.kind.starts_with("operator.") {
            return;
        }
        let kind = event.body.as_ref().and_then(event_kind).unwrap_or_default();
        let id = self.names.number(&cause.id);
        let effect = (place.service, id, kind, self.names.number(&event.aggregate_id));
        if !self.effects.insert(effect) {
            let cause = format!("{} {}", cause.kind, cause.id);
            self.repeats.add(format!("{place}: {kind} follows from {cause} again"));
        }
        if !cause.kind.starts_with("operation.") {
            self.handled.push(Handled { by: place, event: id });
        }
    }

    pub(super) fn observe_command(&mut self, shop: &str, command: &str) {
        self.commands.insert((shop.to_owned(), command.to_owned()));
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
        for (shop, command) in &self.commands {
            let is_answered = self.answered.contains_key(&(shop.clone(), command.clone()));
            findings.expect(is_answered, || format!("command {command} was never answered"));
        }
        for (command, place) in &self.answered {
            findings.expect(self.misses_commands || self.commands.contains(command), || {
                format!("{place}: answers command {}, which nobody sent", command.1)
            });
        }
        findings.append(stock.documents().clone());
        findings.append(orders.references().clone());
        Check {
            looked_at: (self.commands.len() + self.handled.len()) as u64 + stock.document_count(),
            invariant: Some(2),
            claim: "every input had its effect exactly once",
            evidence: format!(
                "{}, {} between services, {}",
                count(self.commands.len() as u64, "command", "commands"),
                count(self.handled.len() as u64, "event", "events"),
                count(stock.document_count(), "ERP document", "ERP documents")
            ),
            findings,
        }
    }

    /// Invariant 9.
    pub(super) fn in_order(&self) -> Check {
        let mut findings = Findings::default();
        let mut seen: HashMap<(&str, &Aggregate), u64> = HashMap::new();
        for Handled { by, event } in &self.handled {
            let Some((aggregate, version)) = self.events.get(event) else {
                let event = self.names.name(*event);
                findings.add(format!("{by}: follows from {event}, which is in no log"));
                continue;
            };
            let last = seen.entry((by.service, aggregate)).or_default();
            findings.expect(version >= last, || {
                let (service, id) = (aggregate.0, self.names.name(aggregate.2));
                format!("{by}: version {version} of {service} {id} is handled after {last}")
            });
            *last = *version;
        }
        Check {
            looked_at: self.handled.len() as u64,
            invariant: Some(9),
            claim: "the events of one aggregate reached every service in version order",
            evidence: format!("{} between services", count(self.handled.len(), "event", "events")),
            findings,
        }
    }
}
