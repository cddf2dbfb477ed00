//! What an ERP tells about the units on hand: counts and adjustments, each line for itself.

use std::collections::{BTreeMap, BTreeSet};

use engine::Decision;
use events::{
    answer::{RecordStockAnswer, StockResult},
    id::{Connector, MAX_UNITS, OrderId},
};
use serde::{Deserialize, Serialize};

use super::{Document, Event, Remembered, State, StockFact, StockId, StockLine, Units};

/// The most orders that `short` names: with their ids alone it stays far below the largest message
/// of a NATS server. Its units always tell the whole extent.
pub(crate) const MOST_SHORT_ORDERS: usize = 1_000;

/// The stock of a SKU at a location.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stock {
    /// The units on hand, as the ERP tells it; below 0 when it took more than there was.
    pub on_hand: i64,
    /// The units held for orders that are not yet paid for.
    pub held: i64,
    /// The units that belong to orders.
    pub allocated: i64,
    /// Counts what the ERP changed and what fell short, from 1.
    pub version: u64,
    /// What each connector last said.
    pub connectors: BTreeMap<Connector, Sequences>,
}

impl Stock {
    /// The units that are held or allocated.
    pub(crate) fn promised(&self) -> i64 {
        self.held + self.allocated
    }

    /// The units that can be promised.
    pub(crate) fn available(&self) -> i64 {
        (self.on_hand - self.promised()).max(0)
    }

    /// What a connector last said.
    pub(super) fn last(&self, connector: &Connector) -> Sequences {
        self.connectors.get(connector).copied().unwrap_or_default()
    }
}

/// What a connector last said about a stock, by its own sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequences {
    /// Its newest count.
    pub counted: Option<i64>,
    /// Its newest adjustment.
    pub adjusted: Option<i64>,
}

/// What deciding on the stock lines of a batch may need to know about a stock. What the batch
/// itself brings is always here; what was there before it only where it can matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// For a count of the batch, by connector and sequence: what newer adjustments that were
    /// there before the batch come to.
    pub newer: BTreeMap<(Connector, i64), i64>,
    /// The adjustments of the batch.
    pub adjustments: Vec<Adjustment>,
    /// The orders that have units of the stock.
    pub orders: BTreeSet<OrderId>,
}

/// An adjustment that had its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    connector: Connector,
    sequence: i64,
    delta: i64,
}

impl Watched {
    /// What the adjustments of a connector that are newer than `sequence` come to.
    fn newer_than(&self, connector: &Connector, sequence: i64) -> i64 {
        let newer = self.adjustments.iter().filter(|a| a.sequence > sequence);
        let newer = newer.filter(|a| a.connector == *connector).map(|a| a.delta).sum::<i64>();
        self.newer.get(&(connector.clone(), sequence)).unwrap_or(&0) + newer
    }
}

/// Stock lines: each has its effect, or its sender is told why not.
///
/// The lines are decided one by one on a draft, into which the facts of the earlier ones are
/// folded as they will be into the state.
pub(super) fn record(state: &State, lines: &[StockLine]) -> Decision<Event> {
    let mut draft = draft(state, lines);
    let mut events = Vec::with_capacity(lines.len());
    let mut results = Vec::with_capacity(lines.len());
    for line in lines {
        let facts = match decide(&draft, line) {
            Ok(facts) => {
                results.push(StockResult::Applied);
                facts
            }
            Err(why_not) => {
                results.push(why_not);
                continue;
            }
        };
        for fact in facts {
            let version = draft.stocks.get(&line.stock).map_or(0, |row| row.version) + 1;
            apply(&mut draft, &line.stock, &fact, version);
            events.push(Event::Stock(line.stock.clone(), fact));
        }
    }
    Decision::answered(events, &RecordStockAnswer { results })
}

/// A copy of the rows that `lines` touch.
fn draft(state: &State, lines: &[StockLine]) -> State {
    let mut draft = State::default();
    for StockLine { stock, document, .. } in lines {
        if let Some(product) = state.products.get(&stock.sku) {
            draft.products.loaded(stock.sku.clone(), *product);
        }
        if let Some(known) = state.documents.get(&document.key) {
            draft.documents.loaded(document.key.clone(), known.clone());
        }
        if draft.watched.contains_key(stock) {
            continue;
        }
        draft.watched.insert(stock.clone(), state.watched.get(stock).cloned().unwrap_or_default());
        if let Some(row) = state.stocks.get(stock) {
            draft.stocks.loaded(stock.clone(), row.clone());
        }
    }
    draft
}

/// Decides which facts follow from one stock line, or why it changes nothing.
fn decide(state: &State, line: &StockLine) -> Result<Vec<StockFact>, StockResult> {
    let StockLine { stock: id, document, units, reason } = line;
    let Document { key, sequence } = document;
    // Where there is stock there is a product, so `load` asks only for the others.
    if state.stocks.get(id).is_none() && state.products.get(&id.sku).is_none() {
        return Err(StockResult::UnknownSku);
    }
    match state.documents.get(key) {
        Some(known) if *known == line.remembered() => return Err(StockResult::Duplicate),
        Some(_) => return Err(StockResult::DocumentReused),
        None => {}
    }
    let nothing_yet = Stock::default();
    let stock = state.stocks.get(id).unwrap_or(&nothing_yet);
    let last = stock.last(&key.connector);
    // A count contains every adjustment up to its own sequence.
    if last.counted.is_some_and(|counted| *sequence <= counted) {
        return Err(StockResult::Stale);
    }
    let document = document.clone();
    let (on_hand, fact) = match *units {
        Units::Counted(quantity) => {
            let late = last.adjusted.is_some_and(|adjusted| *sequence < adjusted);
            let newer = match state.watched.get(id) {
                Some(watched) if late => watched.newer_than(&key.connector, *sequence),
                Some(_) | None => 0,
            };
            let on_hand = in_range(quantity, newer)?;
            (on_hand, StockFact::Counted { document, quantity, on_hand })
        }
        Units::Added(delta) => {
            let on_hand = in_range(stock.on_hand, delta)?;
            let reason = reason.clone();
            (on_hand, StockFact::Adjusted { document, delta, reason, on_hand })
        }
    };
    let mut facts = vec![fact];
    if on_hand < stock.on_hand && on_hand < stock.promised() {
        facts.push(short(state, id, on_hand, stock.promised()));
    }
    Ok(facts)
}

/// `units` and `change` together, where that can be represented.
fn in_range(units: i64, change: i64) -> Result<i64, StockResult> {
    let sum = units.checked_add(change).filter(|sum| (-MAX_UNITS..=MAX_UNITS).contains(sum));
    sum.ok_or(StockResult::OutOfRange)
}

fn short(state: &State, id: &StockId, on_hand: i64, promised: i64) -> StockFact {
    let orders = state.watched.get(id).into_iter().flat_map(|watched| watched.orders.iter().rev());
    let order_ids = orders.take(MOST_SHORT_ORDERS).copied().collect();
    StockFact::Short { on_hand, promised, order_ids }
}

/// Folds a fact about a stock into the state.
pub(super) fn apply(state: &mut State, id: &StockId, fact: &StockFact, version: u64) {
    let stock = state.stocks.change_or_default(id);
    stock.version = version;
    match fact {
        StockFact::Counted { document, quantity, on_hand } => {
            let Document { key, sequence } = document;
            stock.on_hand = *on_hand;
            stock.connectors.entry(key.connector.clone()).or_default().counted = Some(*sequence);
            remember(state, id, document, Units::Counted(*quantity));
        }
        StockFact::Adjusted { document, delta, reason: _, on_hand } => {
            let Document { key, sequence } = document;
            stock.on_hand = *on_hand;
            let last = stock.connectors.entry(key.connector.clone()).or_default();
            last.adjusted = last.adjusted.max(Some(*sequence));
            if let Some(watched) = state.watched.get_mut(id) {
                let connector = key.connector.clone();
                let adjustment = Adjustment { connector, sequence: *sequence, delta: *delta };
                watched.adjustments.push(adjustment);
            }
            remember(state, id, document, Units::Added(*delta));
        }
        StockFact::Short { .. } => {}
    }
}

fn remember(state: &mut State, id: &StockId, document: &Document, units: Units) {
    let row = Remembered { stock: id.clone(), sequence: document.sequence, units };
    state.documents.put(document.key.clone(), row);
}

impl StockLine {
    /// What is remembered of it once it had its effect.
    fn remembered(&self) -> Remembered {
        let sequence = self.document.sequence;
        Remembered { stock: self.stock.clone(), sequence, units: self.units }
    }
}
