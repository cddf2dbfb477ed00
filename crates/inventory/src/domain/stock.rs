//! What an ERP records about the units on hand: counts and adjustments, each line for itself.

use std::collections::BTreeMap;

use engine::Decision;
use events::id::{Connector, MAX_UNITS};
use serde::{Deserialize, Serialize};

use super::{
    AdjustmentsKey, AppliedDocument, Document, Event, State, StockFact, StockId, StockLine, Units,
    adjustments,
    orders::{self, NewestBlocks},
};

/// The stock of a SKU at a location. The first count or adjustment creates it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// The units on hand, as the ERP says; below 0 when it took more than there was.
    pub on_hand: i64,
    /// The units held for orders that are not yet paid for.
    pub held: i64,
    /// The units that belong to orders.
    pub allocated: i64,
    /// Counts what the ERP changed and what fell short, from 1; not what orders hold.
    pub version: u64,
    /// What each connector last said.
    pub connectors: BTreeMap<Connector, Sequences>,
    /// Where to find the orders that have units of it.
    #[serde(default, skip_serializing_if = "NewestBlocks::is_empty")]
    pub blocks: NewestBlocks,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<i64>,
    /// Its newest adjustment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<i64>,
}

/// What the sender of stock lines is answered: what became of each, in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(pub Vec<StockResult>);

/// What became of a stock line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockResult {
    /// It changed the stock.
    Applied,
    /// The document is known: it had its effect before.
    Duplicate,
    /// A newer count of the same connector is known, which contains it.
    Stale,
    /// The catalogue has no such product. Nothing is remembered.
    UnknownSku,
    /// The document's id is known with other content.
    DocumentReused,
    /// The units on hand would leave the range that can be represented.
    OutOfRange,
}

/// Stock lines: each has its effect, or its sender is answered why not.
///
/// The lines are decided one by one on a draft, into which the facts of the earlier ones are
/// folded as they will be into the state.
pub(super) fn record(state: &State, lines: &[StockLine]) -> Decision<Event, Answer> {
    let mut draft = State::default();
    let mut events = Vec::with_capacity(lines.len());
    let mut results = Vec::with_capacity(lines.len());
    for line in lines {
        copy(&mut draft, state, line);
        let facts = match decide(&draft, state, line) {
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
    Decision::answered(events, Answer(results))
}

/// Copies into `draft` the rows of `state` that `line` looks at or changes, except those that an
/// earlier line has copied. They are looked up in `state`, so that missing ones are noted there.
fn copy(draft: &mut State, state: &State, line: &StockLine) {
    let StockLine { stock: id, document: Document { key, sequence }, .. } = line;
    if draft.stocks.get(id).is_none()
        && let Some(row) = state.stocks.get(id)
    {
        draft.stocks.loaded(id.clone(), row.clone());
    }
    if draft.documents.get(key).is_none()
        && let Some(row) = state.documents.get(key)
    {
        draft.documents.loaded(key.clone(), row.clone());
    }
    let Some(stock) = draft.stocks.get(id) else {
        // Where there is stock there is a product, so it is looked up only where there is none.
        if let Some(product) = state.products.get(&id.sku) {
            draft.products.loaded(id.sku.clone(), *product);
        }
        return;
    };
    if stock.last(&key.connector).adjusted.is_some() {
        let key = AdjustmentsKey { stock: id.clone(), connector: key.connector.clone() };
        adjustments::copy(draft, state, &key, *sequence);
    }
}

/// Decides which facts follow from one stock line, or why it changes nothing.
fn decide(draft: &State, state: &State, line: &StockLine) -> Result<Vec<StockFact>, StockResult> {
    let StockLine { stock: id, document, units, reason } = line;
    let Document { key, sequence } = document;
    if draft.stocks.get(id).is_none() && draft.products.get(&id.sku).is_none() {
        return Err(StockResult::UnknownSku);
    }
    match draft.documents.get(key) {
        Some(known) if *known == line.applied() => return Err(StockResult::Duplicate),
        Some(_) => return Err(StockResult::DocumentReused),
        None => {}
    }
    let nothing_yet = Stock::default();
    let stock = draft.stocks.get(id).unwrap_or(&nothing_yet);
    let last = stock.last(&key.connector);
    // A count contains every adjustment up to its own sequence.
    if last.counted.is_some_and(|counted| *sequence <= counted) {
        return Err(StockResult::Stale);
    }
    let document = document.clone();
    let (on_hand, fact) = match *units {
        Units::Counted(quantity) => {
            let is_late = last.adjusted.is_some_and(|adjusted| *sequence < adjusted);
            let newer = if is_late {
                let connector = key.connector.clone();
                let key = AdjustmentsKey { stock: id.clone(), connector };
                adjustments::newer_than(draft, &key, *sequence).ok_or(StockResult::Stale)?
            } else {
                0
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
        // No stock line changes which orders have units, so they are looked up in the state.
        let order_ids = orders::promised_to(state, id);
        facts.push(StockFact::Short { on_hand, promised: stock.promised(), order_ids });
    }
    Ok(facts)
}

/// `units` and `change` together, where that can be represented.
fn in_range(units: i64, change: i64) -> Result<i64, StockResult> {
    let sum = units.checked_add(change).filter(|sum| (-MAX_UNITS..=MAX_UNITS).contains(sum));
    sum.ok_or(StockResult::OutOfRange)
}

/// Folds a fact about a stock into the state.
pub(super) fn apply(state: &mut State, id: &StockId, fact: &StockFact, version: u64) {
    let stock = state.stocks.change_or_default(id);
    stock.version = version;
    match fact {
        StockFact::Counted { document, quantity, on_hand } => {
            let Document { key, sequence } = document;
            stock.on_hand = *on_hand;
            let last = stock.connectors.entry(key.connector.clone()).or_default();
            last.counted = Some(*sequence);
            if last.adjusted.is_some() {
                let connector = key.connector.clone();
                let key = AdjustmentsKey { stock: id.clone(), connector };
                adjustments::remove_counted(state, &key, *sequence);
            }
            remember(state, id, document, Units::Counted(*quantity));
        }
        StockFact::Adjusted { document, delta, reason: _, on_hand } => {
            let Document { key, sequence } = document;
            stock.on_hand = *on_hand;
            let last = stock.connectors.entry(key.connector.clone()).or_default();
            let is_first = last.adjusted.is_none();
            last.adjusted = last.adjusted.max(Some(*sequence));
            adjustments::add(state, id, document, *delta, is_first);
            remember(state, id, document, Units::Added(*delta));
        }
        StockFact::Short { .. } => {}
    }
}

fn remember(state: &mut State, id: &StockId, document: &Document, units: Units) {
    let row = AppliedDocument { stock: id.clone(), sequence: document.sequence, units };
    state.documents.put(document.key.clone(), row);
}

impl StockLine {
    /// What is kept of it once it had its effect.
    fn applied(&self) -> AppliedDocument {
        let sequence = self.document.sequence;
        AppliedDocument { stock: self.stock.clone(), sequence, units: self.units }
    }
}
