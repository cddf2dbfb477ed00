//! What an ERP records about the units on hand: counts, adjustments and goods issues, each line for
//! itself.

use std::collections::BTreeMap;

use engine::Decision;
use events::id::{Connector, MAX_UNITS, OrderId};
use serde::{Deserialize, Serialize};

use super::{
    AdjustmentsKey, AppliedDocument, Document, Event, Level, Sequence, State, StockFact, StockId,
    StockLine, Units, adjustments,
    orders::{self, NewestBlocks},
    reservation,
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
    /// The units that can be promised.
    pub(crate) fn available(&self) -> i64 {
        self.level().free().max(0)
    }

    /// Its units.
    pub(crate) fn level(&self) -> Level {
        Level { on_hand: self.on_hand, held: self.held, allocated: self.allocated }
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
    pub counted: Option<Sequence>,
    /// Its newest adjustment or goods issue that no count contains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<Sequence>,
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
    /// A goods issue took more units than the order had.
    AppliedInExcess,
    /// No order of that id was ever placed. Nothing is remembered.
    UnknownOrder,
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
        let id = &line.stock;
        let (result, fact) = match decide(&draft, line) {
            Ok(effect) => effect,
            Err(why_not) => {
                results.push(why_not);
                continue;
            }
        };
        results.push(result);
        let before = level(&draft, id);
        events.push(fold(&mut draft, id, fact));
        let after = level(&draft, id);
        if after.free() < before.free() && after.free() < 0 {
            let fact = short(&draft, state, id, after);
            events.push(fold(&mut draft, id, fact));
        }
    }
    Decision::answered(events, Answer(results))
}

fn level(draft: &State, id: &StockId) -> Level {
    draft.stocks.get(id).map_or_else(|| Stock::default().level(), Stock::level)
}

fn fold(draft: &mut State, id: &StockId, fact: StockFact) -> Event {
    let version = draft.stocks.get(id).map_or(0, |row| row.version) + 1;
    apply(draft, id, &fact, version);
    Event::Stock(id.clone(), fact)
}

/// More is promised than there is. Which orders have units is looked up in the state, and what is
/// left to those that the lines shipped to in the draft.
fn short(draft: &State, state: &State, id: &StockId, level: Level) -> StockFact {
    let promised = level.promised();
    let units_of = |order_id| draft.reservations.get(&order_id).map(|row| row.units_of(id));
    let (order_ids, is_truncated) = orders::promised_to(state, id, promised, units_of);
    StockFact::Short { on_hand: level.on_hand, promised, order_ids, is_truncated }
}

/// Copies into `draft` the rows of `state` that `line` looks at or changes, except those that an
/// earlier line has copied. They are looked up in `state`, so that missing ones are noted there.
fn copy(draft: &mut State, state: &State, line: &StockLine) {
    let StockLine { stock: id, document: Document { key, sequence }, units, .. } = line;
    if let Units::Issued(order_id, _) = units
        && draft.reservations.get(order_id).is_none()
        && let Some(row) = state.reservations.get(order_id)
    {
        draft.reservations.loaded(*order_id, row.clone());
    }
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

/// What a line that has its effect comes to.
type Effect = (StockResult, StockFact);

/// Decides what one stock line comes to, or why it changes nothing.
fn decide(draft: &State, line: &StockLine) -> Result<Effect, StockResult> {
    let StockLine { stock: id, document, .. } = line;
    if draft.stocks.get(id).is_none() && draft.products.get(&id.sku).is_none() {
        return Err(StockResult::UnknownSku);
    }
    match draft.documents.get(&document.key) {
        Some(known) if *known == line.applied() => return Err(StockResult::Duplicate),
        Some(_) => return Err(StockResult::DocumentReused),
        None => {}
    }
    let nothing_yet = Stock::default();
    let stock = draft.stocks.get(id).unwrap_or(&nothing_yet);
    match line.units {
        Units::Counted(quantity) => count(draft, stock, line, quantity),
        Units::Added(delta) => adjust(stock, line, delta),
        Units::Issued(order_id, quantity) => issue(draft, stock, line, order_id, quantity),
    }
}

fn count(
    draft: &State,
    stock: &Stock,
    line: &StockLine,
    quantity: i64,
) -> Result<Effect, StockResult> {
    let StockLine { stock: id, document, .. } = line;
    let Document { key, sequence } = document;
    refuse_counted(stock, document)?;
    let is_late = stock.last(&key.connector).adjusted.is_some_and(|adjusted| *sequence < adjusted);
    let newer = if is_late {
        let connector = key.connector.clone();
        let key = AdjustmentsKey { stock: id.clone(), connector };
        adjustments::newer_than(draft, &key, *sequence).ok_or(StockResult::Stale)?
    } else {
        0
    };
    let on_hand = in_range(quantity, newer)?;
    let fact = StockFact::Counted { document: document.clone(), quantity, on_hand };
    Ok((StockResult::Applied, fact))
}

fn adjust(stock: &Stock, line: &StockLine, delta: i64) -> Result<Effect, StockResult> {
    let StockLine { document, reason, .. } = line;
    refuse_counted(stock, document)?;
    let on_hand = in_range(stock.on_hand, delta)?;
    let (document, reason) = (document.clone(), reason.clone());
    let fact = StockFact::Adjusted { document, delta, reason, on_hand };
    Ok((StockResult::Applied, fact))
}

/// Units have left for an order, which cannot be undone by a refusal: all of them are off the units
/// on hand, unless a count was made without them already. What the order had of them is promised no
/// longer; the rest was free, or promised to others.
fn issue(
    draft: &State,
    stock: &Stock,
    line: &StockLine,
    order_id: OrderId,
    quantity: i64,
) -> Result<Effect, StockResult> {
    let StockLine { stock: id, document, line_id, .. } = line;
    let order = draft.reservations.get(&order_id).ok_or(StockResult::UnknownOrder)?;
    let from_allocation = order.units_of(id).min(quantity);
    let in_count = is_counted(stock, document);
    let mut after = stock.clone();
    if !in_count {
        after.on_hand = in_range(stock.on_hand, quantity.checked_neg().unwrap_or(i64::MIN))?;
    }
    if let Some(sum) = after.units_of(order.status) {
        *sum -= from_allocation;
    }
    let after = after.level();
    let fact = StockFact::Shipped {
        document: document.clone(),
        order_id,
        line_id: line_id.clone(),
        quantity,
        from_allocation,
        in_count,
        after,
    };
    Ok((result_of_issue(quantity, from_allocation), fact))
}

/// What became of a goods issue.
pub(super) fn result_of_issue(quantity: i64, from_allocation: i64) -> StockResult {
    if from_allocation < quantity { StockResult::AppliedInExcess } else { StockResult::Applied }
}

/// Whether the connector has counted after that document: the count contains it.
fn is_counted(stock: &Stock, document: &Document) -> bool {
    let counted = stock.last(&document.key.connector).counted;
    counted.is_some_and(|counted| document.sequence <= counted)
}

fn refuse_counted(stock: &Stock, document: &Document) -> Result<(), StockResult> {
    if is_counted(stock, document) { Err(StockResult::Stale) } else { Ok(()) }
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
            stock.on_hand = *on_hand;
            add(state, id, document, *delta);
            remember(state, id, document, Units::Added(*delta));
        }
        StockFact::Shipped { document, order_id, quantity, in_count, after, .. } => {
            stock.on_hand = after.on_hand;
            if !in_count {
                add(state, id, document, -quantity);
            }
            reservation::ship(state, *order_id, id, *quantity);
            remember(state, id, document, Units::Issued(*order_id, *quantity));
        }
        StockFact::Short { .. } => {}
    }
}

/// Keeps what a document changed, for a count that is late.
fn add(state: &mut State, id: &StockId, document: &Document, delta: i64) {
    let Document { key, sequence } = document;
    let stock = state.stocks.change_or_default(id);
    let last = stock.connectors.entry(key.connector.clone()).or_default();
    let is_first = last.adjusted.is_none();
    last.adjusted = last.adjusted.max(Some(*sequence));
    adjustments::add(state, id, document, delta, is_first);
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
