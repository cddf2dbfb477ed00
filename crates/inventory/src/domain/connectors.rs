//! The connectors: what has come from each, and what became of it.
//!
//! Lines that have their effect bring no event of their connector: what is known of it follows from
//! the events of their stocks.

use std::collections::{BTreeMap, BTreeSet};

use engine::Revision;
use events::id::{Connector, DocumentId, DocumentLine};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Arrivals, Document, Event, InvalidLine, Rejected, RejectedKey, RejectedLine, RejectionKey,
    Sequence, SequenceRun, State, StockLine, StockResult, arrivals, rejections,
    rejections::MAX_REJECTIONS,
};

/// What has come from a connector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorRow {
    /// Where its aggregate stands: the events about its lines as such.
    #[serde(default)]
    pub revision: Revision,
    /// The last line that had its effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastLine>,
    /// Which sequences have come, whatever became of their lines.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// How many lines had their effect.
    pub applied: u64,
    /// How many changed nothing: they were known, or contained in a newer count.
    pub repeated: u64,
    /// How often lines were rejected.
    pub rejected: u64,
    /// The number of its last rejection.
    pub last_rejection: u64,
    /// How many rejected lines are kept.
    pub kept: u64,
    /// How many are not kept any more because there were too many.
    pub displaced: u64,
    /// When a line came last, or one that was rejected was tried again, in milliseconds since 1970.
    pub heard: i64,
}

/// The last line of a connector that had its effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLine {
    /// The document.
    pub id: DocumentId,
    /// Its line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<DocumentLine>,
    /// The connector's number of it.
    pub sequence: Sequence,
    /// When it happened, where the connector says so, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<i64>,
    /// When it came, in milliseconds since 1970.
    pub time: i64,
}

/// What happened to lines of a connector as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectorFact {
    /// Some were rejected.
    Rejected {
        /// Which.
        lines: Vec<RejectedLine>,
        /// The rejections that make room for them.
        displaced: Vec<u64>,
    },
    /// Some changed nothing.
    Repeated {
        /// How many had their effect before.
        duplicates: u32,
        /// How many are contained in a newer count.
        stale_lines: u32,
        /// The sequences of those.
        stale: Vec<SequenceRun>,
    },
    /// Nothing is left to be done about some that were rejected.
    Closed {
        /// The numbers of their rejections.
        numbers: Vec<u64>,
        /// What became of them.
        outcome: RejectionOutcome,
        /// Why they were dropped.
        reason: String,
    },
}

/// What became of rejected lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionOutcome {
    /// They were tried again.
    Redriven,
    /// Their connector sent them again.
    Resent,
    /// They were dropped.
    Dropped,
}

/// The facts about connectors that follow from lines and what became of them, and from the invalid ones among
/// them. None follow where all of them had their effect, and none of their connectors has a rejected line.
pub(super) fn facts(
    state: &State,
    (lines, invalid): (&[StockLine], &[(usize, InvalidLine)]),
    results: &[StockResult],
    outcome: RejectionOutcome,
) -> Vec<Event> {
    let mut tallies: BTreeMap<&Connector, Tally<'_>> = BTreeMap::new();
    let mut invalid = invalid.iter().peekable();
    for (index, (line, result)) in lines.iter().zip(results).enumerate() {
        while let Some((_, line)) = invalid.next_if(|(before, _)| *before <= index) {
            tally(&mut tallies, state, &line.connector).add_invalid(line);
        }
        let connector = &line.document.key.connector;
        let has_kept = state.connectors.get(connector).is_some_and(|row| row.kept > 0);
        if result.is_applied() && !has_kept && !tallies.contains_key(connector) {
            continue;
        }
        tally(&mut tallies, state, connector).add(line, *result);
    }
    for (_, line) in invalid {
        tally(&mut tallies, state, &line.connector).add_invalid(line);
    }
    let facts = |(connector, tally): (&Connector, Tally<'_>)| {
        let facts = tally.facts(connector, outcome).into_iter();
        facts.map(|fact| Event::Connector(connector.clone(), fact)).collect::<Vec<_>>()
    };
    tallies.into_iter().flat_map(facts).collect()
}

/// The tally of a connector.
fn tally<'t, 'a>(
    tallies: &'t mut BTreeMap<&'a Connector, Tally<'a>>,
    state: &'a State,
    connector: &'a Connector,
) -> &'t mut Tally<'a> {
    tallies.entry(connector).or_insert_with(|| Tally::new(state, connector))
}

/// What became of the lines of one connector.
struct Tally<'a> {
    state: &'a State,
    /// Whether rejected lines of it are kept.
    has_kept: bool,
    /// The number of its last rejection before these lines.
    before: u64,
    /// The number of its last rejection so far.
    last_number: u64,
    /// The numbers of the lines that are rejected now; `None` of those that are no longer.
    numbers: BTreeMap<RejectedKey, Option<u64>>,
    rejected: BTreeMap<u64, RejectedLine>,
    /// The rejections of which nothing is left to be done.
    closed: BTreeSet<u64>,
    duplicates: u32,
    stale: Vec<Sequence>,
}

impl<'a> Tally<'a> {
    fn new(state: &'a State, connector: &Connector) -> Self {
        let row = state.connectors.get(connector);
        let before = row.map_or(0, |row| row.last_rejection);
        Self {
            state,
            has_kept: row.is_some_and(|row| row.kept > 0),
            before,
            last_number: before,
            numbers: BTreeMap::new(),
            rejected: BTreeMap::new(),
            closed: BTreeSet::new(),
            duplicates: 0,
            stale: Vec::new(),
        }
    }

    /// Adds a line. The same one may come twice: what became of it last counts.
    fn add(&mut self, line: &StockLine, result: StockResult) {
        let names = RejectedKey::all_of(line).into_iter();
        let kept = names.filter_map(|name| self.number(&name).map(|number| (name, number)));
        let mut kept: Vec<_> = kept.collect();
        if result.is_rejected() {
            // It takes the place of what was sent under its name before.
            let number = if kept.is_empty() {
                self.next_number()
            } else {
                let (key, number) = kept.remove(0);
                self.numbers.insert(key, None);
                number
            };
            self.reject(number, Rejected::Line(line.clone(), result));
        }
        self.duplicates += u32::from(result == StockResult::Duplicate);
        self.stale.extend((result == StockResult::Stale).then_some(line.document.sequence));
        for (key, number) in kept {
            self.close(key, number);
        }
    }

    /// Adds a line that is no stock line.
    fn add_invalid(&mut self, line: &InvalidLine) {
        let key = RejectedKey::of_invalid(line);
        let number = self.number(&key).unwrap_or_else(|| self.next_number());
        self.reject(number, Rejected::Invalid(line.clone()));
    }

    /// The number of the rejection of that name.
    fn number(&self, key: &RejectedKey) -> Option<u64> {
        match self.numbers.get(key) {
            Some(number) => *number,
            None if self.has_kept => self.state.rejected.get(key).map(|known| known.0),
            None => None,
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn reject(&mut self, number: u64, content: Rejected) {
        self.numbers.insert(content.key(), Some(number));
        self.rejected.insert(number, RejectedLine { number, content });
    }

    fn close(&mut self, key: RejectedKey, number: u64) {
        self.numbers.insert(key, None);
        self.rejected.remove(&number);
        self.closed.extend((number <= self.before).then_some(number));
    }

    fn facts(mut self, connector: &Connector, outcome: RejectionOutcome) -> Vec<ConnectorFact> {
        let mut facts = Vec::new();
        let stale_lines = u32::try_from(self.stale.len()).unwrap_or(u32::MAX);
        if self.duplicates + stale_lines > 0 {
            let (duplicates, stale) =
                (self.duplicates, arrivals::runs(std::mem::take(&mut self.stale)));
            facts.push(ConnectorFact::Repeated { duplicates, stale_lines, stale });
        }
        let displaced = self.displaced(connector);
        self.rejected.retain(|number, _| !displaced.contains(number));
        if !self.closed.is_empty() {
            let (numbers, reason) = (self.closed.into_iter().collect(), String::new());
            facts.push(ConnectorFact::Closed { numbers, outcome, reason });
        }
        if !self.rejected.is_empty() {
            let lines = self.rejected.into_values().collect();
            facts.push(ConnectorFact::Rejected { lines, displaced });
        }
        facts
    }

    /// The kept rejections that make room for new ones.
    fn displaced(&self, connector: &Connector) -> Vec<u64> {
        let new = self.rejected.range(self.before + 1..).map(|(number, _)| *number);
        let oldest = new.filter_map(|number| number.checked_sub(MAX_REJECTIONS));
        let is_kept = |number: &u64| {
            let key = RejectionKey { connector: connector.clone(), number: *number };
            !self.closed.contains(number) && self.state.rejections.get(&key).is_some()
        };
        oldest.filter(|number| *number > 0).filter(is_kept).collect()
    }
}

/// Notes a line that had its effect.
pub(super) fn note_applied(state: &mut State, document: &Document, now: Timestamp) {
    let Document { key, sequence, occurred_at } = document;
    let row = state.connectors.change_or_default(&key.connector);
    row.applied += 1;
    row.heard = now.millis();
    row.arrivals.note((*sequence).into());
    row.last = Some(LastLine {
        id: key.id.clone(),
        line: key.line.clone(),
        sequence: *sequence,
        occurred_at: occurred_at.map(Timestamp::millis),
        time: now.millis(),
    });
}

/// Folds a fact about a connector into the state.
pub(super) fn apply(
    state: &mut State,
    connector: &Connector,
    fact: &ConnectorFact,
    revision: Revision,
    now: Timestamp,
) {
    let millis = now.millis();
    state.connectors.change_or_default(connector).revision = revision;
    match fact {
        ConnectorFact::Rejected { lines, displaced } => {
            let removed =
                displaced.iter().filter(|it| rejections::remove(state, connector, **it)).count();
            let mut added = 0;
            for line in lines {
                added += u64::from(rejections::keep(state, connector, line, millis));
            }
            let row = state.connectors.change_or_default(connector);
            row.heard = millis;
            row.rejected += lines.len() as u64;
            row.displaced += displaced.len() as u64;
            row.kept = (row.kept + added).saturating_sub(removed as u64);
            for line in lines {
                if let Some(sequence) = line.content.sequence() {
                    row.arrivals.note(sequence.into());
                }
            }
            let newest = lines.iter().map(|line| line.number).max().unwrap_or_default();
            row.last_rejection = row.last_rejection.max(newest);
        }
        // What had its effect before has come before.
        ConnectorFact::Repeated { duplicates, stale_lines, stale } => {
            let row = state.connectors.change_or_default(connector);
            row.heard = millis;
            row.repeated += u64::from(*duplicates) + u64::from(*stale_lines);
            for run in stale {
                row.arrivals.note(*run);
            }
        }
        ConnectorFact::Closed { numbers, .. } => {
            let removed =
                numbers.iter().filter(|it| rejections::remove(state, connector, **it)).count();
            let row = state.connectors.change_or_default(connector);
            row.kept = row.kept.saturating_sub(removed as u64);
        }
    }
}
