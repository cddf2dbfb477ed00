//! What is so in every log: contiguous sequences and versions, one effect of each input, order.
//!
//! What is compared at the end waits in temporary files; only the ends of the logs stay in memory.

mod records;

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use engine::{Logged, Position};
use events::{
    names::{answered_command, event_name},
    proto::{self, Event, event::Body},
};
use protocol::proto::{Dropped, Parked, Redriven, engine_event::Kind};

use self::records::{Effect, Fact, Handling, Request, RequestKind, VersionRecord};
use super::{
    Check, Findings, LogPosition,
    record::{LogNumbers, PackedPosition},
    scratch::{Scratch, fingerprint},
};
use crate::text::count;

/// The stream of the inbox, as a position names it.
const INBOX: &str = "inbox";

/// What every log has in common.
#[derive(Debug, Default)]
pub(super) struct History {
    numbers: LogNumbers,
    logs: HashMap<(&'static str, u32), Log>,
    /// The version of every event, by its aggregate.
    versions: Scratch<{ VersionRecord::SIZE }>,
    /// Every event, by its id.
    facts: Scratch<{ Fact::SIZE }>,
    /// What followed from what, by the id of the cause.
    effects: Scratch<{ Effect::SIZE }>,
    /// The commands of the inbox and their answers, by the command's id.
    requests: Scratch<{ Request::SIZE }>,
    /// How often an operator has settled an operation, by its aggregate; of those that one has.
    settled: HashMap<u64, u32>,
    /// What is parked, by the id of the parked event.
    parked: BTreeMap<String, String>,
    commands: u64,
    aggregates: u64,
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
    positions: BTreeMap<String, Position>,
}

/// Whether a position says of every shop that at least as much of its inputs was handled as `known`
/// says.
fn is_ahead(position: &Position, known: &Position) -> bool {
    let mut shops = position.behind.keys().chain(known.behind.keys());
    position.sequence >= known.sequence && shops.all(|shop| position.of(shop) >= known.of(shop))
}

impl History {
    pub(super) fn observe(&mut self, position: LogPosition, logged: &Logged<proto::Event>) {
        self.observe_sequence(position, logged);
        if logged.is_voided {
            return;
        }
        let event = &logged.event;
        let Event { shop, aggregate_type, aggregate_id, .. } = event;
        let aggregate = fingerprint((position.service, shop, aggregate_type, aggregate_id));
        let (id, version) = (fingerprint(&event.id), version_of(event));
        let at = self.numbers.pack(position);
        self.versions.push(aggregate, &VersionRecord { aggregate, version, at }.write());
        self.facts.push(id, &Fact { id, aggregate, version, at }.write());
        if let Some("settled_by_operator") = event.body.as_ref().and_then(event_name) {
            *self.settled.entry(aggregate).or_default() += 1;
        }
        self.observe_cause(position, event, aggregate);
        if let Some((command_id, has_effect)) = answered_command(event) {
            let kind = if has_effect { RequestKind::Effect } else { RequestKind::NoEffect };
            let command = fingerprint((&event.shop, command_id));
            self.requests.push(command, &Request { command, kind, at }.write());
        }
        self.observe_parked(position, event);
    }

    /// What is parked waits for an operator, who lets it be handled or drops it.
    fn observe_parked(&mut self, position: LogPosition, event: &proto::Event) {
        let Some(Body::Engine(engine)) = &event.body else { return };
        match &engine.kind {
            Some(Kind::Parked(Parked { subject, reason, .. })) => {
                let parked = format!("{position}: {subject} is parked: {reason}");
                self.parked.insert(event.id.clone(), parked);
            }
            Some(
                Kind::Redriven(Redriven { parked_id, .. })
                | Kind::Dropped(Dropped { parked_id, .. }),
            ) => {
                self.parked.remove(parked_id);
            }
            _ => {}
        }
    }

    fn observe_sequence(&mut self, position: LogPosition, logged: &Logged<proto::Event>) {
        let log = self.logs.entry((position.service, position.partition)).or_default();
        let last = log.last;
        self.gaps.expect(logged.sequence == last + 1, || format!("{position}: follows {last}"));
        log.last = logged.sequence;
        if logged.is_voided {
            return;
        }
        for (source, input) in &logged.positions {
            let known = log.positions.entry(source.clone()).or_default();
            self.repeats.expect(is_ahead(input, known), || {
                format!("{position}: its inputs of {source} go back from {known} to {input}")
            });
            known.clone_from(input);
        }
        // Here an operator let an input be read anew.
        if let Some(Body::Engine(engine)) = &logged.event.body
            && let Some(Kind::PositionReset(reset)) = &engine.kind
        {
            log.positions.insert(reset.source.clone(), reset.sequence.into());
        }
    }

    /// An event of another service, or the outcome of an operation, leads to a thing once.
    fn observe_cause(&mut self, position: LogPosition, event: &proto::Event, aggregate: u64) {
        let Some(cause) = event.cause.as_ref().filter(|cause| !cause.id.is_empty()) else { return };
        // A command may change the same thing several times, by several lines; that it is handled
        // once shows in its answer.
        if cause.kind.starts_with("command.") || cause.kind.starts_with("operator.") {
            return;
        }
        let kind = event.body.as_ref().and_then(event_name).unwrap_or_default();
        let is_event = !cause.kind.starts_with("operation.");
        // What an operator lets be tried again may end as it did before.
        let settled = if is_event { None } else { self.settled.get(&aggregate) };
        let outcome =
            fingerprint((position.service, &cause.id, kind, &event.aggregate_id, settled));
        self.handled += u64::from(is_event);
        let handled = if is_event { self.handled } else { 0 };
        let (cause, at) = (fingerprint(&cause.id), self.numbers.pack(position));
        self.effects.push(cause, &Effect { cause, outcome, handled, at }.write());
    }

    pub(super) fn observe_command(&mut self, partition: u32, sequence: u64, shop: &str, id: &str) {
        self.commands += 1;
        let command = fingerprint((shop, id));
        let at = self.numbers.pack(LogPosition { service: INBOX, partition, sequence });
        let kind = RequestKind::Command;
        self.requests.push(command, &Request { command, kind, at }.write());
    }

    fn position(&self, at: PackedPosition) -> LogPosition {
        self.numbers.unpack(at)
    }

    /// Compares what waits in the files. To be called once, when everything is observed.
    pub(super) fn compare(&mut self) {
        let (mut gaps, mut repeats) =
            (std::mem::take(&mut self.gaps), std::mem::take(&mut self.repeats));
        let mut disorder = Findings::default();
        for parked in std::mem::take(&mut self.parked).into_values() {
            repeats.add(parked);
        }
        let compared = self
            .compare_versions(&mut gaps)
            .and_then(|()| self.compare_requests(&mut repeats))
            .and_then(|()| self.compare_effects(&mut repeats, &mut disorder))
            .and_then(|handlings| self.compare_order(handlings, &mut disorder));
        if let Err(error) = compared {
            repeats.add(format!("nothing could be compared: the temporary files failed: {error}"));
        }
        (self.gaps, self.repeats, self.disorder) = (gaps, repeats, disorder);
    }

    /// The versions of each aggregate follow one another, from 1.
    fn compare_versions(&mut self, gaps: &mut Findings) -> io::Result<()> {
        for bucket in Scratch::<{ VersionRecord::SIZE }>::numbers() {
            let mut versions = self.versions.read(bucket, VersionRecord::read)?;
            // Those of an aggregate stay in the order of its log.
            versions.sort_by_key(|it| it.aggregate);
            for versions in versions.chunk_by(|one, other| one.aggregate == other.aggregate) {
                self.aggregates += 1;
                let mut last = 0;
                for VersionRecord { version, at, .. } in versions {
                    gaps.expect(*version == last + 1, || {
                        let position = self.numbers.unpack(*at);
                        format!("{position}: version {version} of an aggregate follows {last}")
                    });
                    last = *version;
                }
            }
        }
        Ok(())
    }

    /// Each command has an answer, one at most with an effect, and each answer a command. A command
    /// that had no effect is decided anew when it is sent again.
    fn compare_requests(&mut self, findings: &mut Findings) -> io::Result<()> {
        for bucket in Scratch::<{ Request::SIZE }>::numbers() {
            let mut requests = self.requests.read(bucket, Request::read)?;
            requests.sort_by_key(|it| (it.command, it.kind));
            for requests in requests.chunk_by(|one, other| one.command == other.command) {
                let (answers, commands): (Vec<_>, Vec<_>) =
                    requests.iter().partition(|it| it.kind != RequestKind::Command);
                if let (Some(command), []) = (commands.first(), answers.as_slice()) {
                    findings.add(format!("{}: was never answered", self.position(command.at)));
                }
                let effects: Vec<_> =
                    answers.iter().filter(|it| it.kind == RequestKind::Effect).collect();
                for answer in effects.iter().skip(1) {
                    let (again, first) = (self.position(answer.at), self.position(effects[0].at));
                    findings.add(format!("{again}: answers the same command as {first}"));
                }
                if let (Some(answer), [], false) =
                    (answers.first(), commands.as_slice(), self.misses_commands)
                {
                    let position = self.position(answer.at);
                    findings.add(format!("{position}: answers a command that nobody sent"));
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
            let mut facts = self.facts.read(bucket, Fact::read)?;
            facts.sort_by_key(|fact| fact.id);
            for pair in facts.windows(2).filter(|pair| pair[0].id == pair[1].id) {
                let (first, again) = (self.position(pair[0].at), self.position(pair[1].at));
                repeats.add(format!("{again}: the same event as {first}"));
            }
            let mut effects = self.effects.read(bucket, Effect::read)?;
            effects.sort_by_key(|it| it.outcome);
            for pair in effects.windows(2).filter(|pair| pair[0].outcome == pair[1].outcome) {
                let (first, again) = (self.position(pair[0].at), self.position(pair[1].at));
                repeats.add(format!("{again}: follows from the same cause as {first}"));
            }
            for Effect { cause, handled, at, .. } in effects.iter().filter(|it| it.handled > 0) {
                let position = self.position(*at);
                let Ok(fact) = facts.binary_search_by_key(cause, |fact| fact.id) else {
                    disorder.add(format!("{position}: follows from an event that is in no log"));
                    continue;
                };
                let Fact { aggregate, version, .. } = facts[fact];
                let of = fingerprint((position.service, aggregate));
                let handling = Handling { of, handled: *handled, version, at: *at };
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
            let mut handlings = handlings.read(bucket, Handling::read)?;
            handlings.sort_by_key(|it| (it.of, it.handled));
            let pairs = handlings.windows(2).filter(|pair| pair[0].of == pair[1].of);
            for pair in pairs.filter(|pair| pair[0].version > pair[1].version) {
                let (position, last) = (self.position(pair[1].at), self.position(pair[0].at));
                let (version, before) = (pair[1].version, pair[0].version);
                findings.add(format!(
                    "{position}: handles version {version} of what {last} handled version {before} of"
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
                count(self.aggregates, "aggregate", "aggregates"),
                count(self.logs.len() as u64, "log", "logs")
            ),
            findings: self.gaps.clone(),
        }
    }

    /// Invariant 2, of which documents and references are told apart elsewhere.
    pub(super) fn handled_once(&self, documents: u64, elsewhere: [Findings; 2]) -> Check {
        let mut findings = self.repeats.clone();
        for others in elsewhere {
            findings.append(others);
        }
        Check {
            looked_at: self.commands + self.handled + documents,
            invariant: Some(2),
            claim: "every input had its effect exactly once",
            evidence: format!(
                "{}, {} between services, {}",
                count(self.commands, "command", "commands"),
                count(self.handled, "event", "events"),
                count(documents, "ERP document", "ERP documents")
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

/// The version that an event says; one that no aggregate reaches stays wrong.
fn version_of(event: &proto::Event) -> u32 {
    u32::try_from(event.aggregate_version).unwrap_or(u32::MAX)
}
