//! What an ERP records about the units on hand: counts, adjustments and goods issues, each line for
//! itself.

use std::collections::BTreeMap;

use engine::Revision;
use events::id::Connector;
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    AdjustmentsKey, AppliedDocument, Document, Event, InvalidLine, Level, RejectionOutcome,
    Sequence, State, StockFact, StockId, StockLine, StockResult, Units,
    adjustments::{self, Point},
    connectors,
    effect::{Effect, in_range, is_zero},
    goods_issues,
    limits::Limits,
    locations,
    orders::NewestBlocks,
    reservation, short, transfers,
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
    /// Its version, which counts what the ERP changed and what fell short and not what orders hold, and
    /// where its last event is.
    pub revision: Revision,
    /// The units on their way to it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub incoming: i64,
    /// Which units are sold.
    #[serde(default, skip_serializing_if = "Limits::are_none")]
    pub limits: Limits,
    /// What each connector last said.
    pub connectors: BTreeMap<Connector, Sequences>,
    /// Where to find the orders that have units of it.
    #[serde(default, skip_serializing_if = "NewestBlocks::is_empty")]
    pub blocks: NewestBlocks,
}

impl Stock {
    /// The units that can be promised.
    pub(crate) fn available(&self) -> i64 {
        (self.uncommitted() - self.limits.safety_stock).max(0)
    }

    /// The units that nobody was promised, with those that may be promised beyond what is on hand;
    /// below 0 when more is promised than may be.
    pub(super) fn uncommitted(&self) -> i64 {
        self.level().free() + self.limits.backorder_limit
    }

    /// Its units.
    pub(crate) fn level(&self) -> Level {
        Level { on_hand: self.on_hand, held: self.held, allocated: self.allocated }
    }

    /// Its units, with others on hand.
    pub(super) fn level_with(&self, on_hand: i64) -> Level {
        Level { on_hand, ..self.level() }
    }

    /// The other connectors that have adjusted it.
    fn others_that_adjusted(&self, connector: &Connector) -> impl Iterator<Item = &Connector> {
        let others = self.connectors.iter().filter(move |(other, _)| *other != connector);
        others.filter(|(_, last)| last.adjusted.is_some()).map(|(other, _)| other)
    }

    /// Whether another connector has counted as of that time, or a later one.
    fn was_counted_by_another(&self, connector: &Connector, time: Timestamp) -> bool {
        let mut others = self.connectors.iter().filter(|(other, _)| *other != connector);
        others.any(|(_, last)| last.as_of.is_some_and(|as_of| as_of >= time.millis()))
    }

    /// Whether the connector of a document has counted after it, by its own sequence.
    fn was_counted_after(&self, document: &Document) -> bool {
        let counted = self.last(&document.key.connector).counted;
        counted.is_some_and(|counted| document.sequence <= counted)
    }

    /// Whether a count contains what a document says that has moved: a newer one of the same connector, or
    /// one of another that is as of that time or a later one. Without a time it has moved now.
    fn has_counted(&self, document: &Document, now: Timestamp) -> bool {
        let by_another = |time| self.was_counted_by_another(&document.key.connector, time);
        self.was_counted_after(document) || document.said_time(now).is_some_and(by_another)
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
    /// The time as of which that was counted, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<i64>,
    /// Its newest movement that no count of its own contains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<Sequence>,
}

/// Stock lines: each has its effect, or it is said why not. Yields what happened, and what became of each
/// line. Those that are `invalid` have none, and are kept.
///
/// The lines are decided one by one on a draft, into which the facts of the earlier ones are
/// folded as they will be into the state.
pub(super) fn record(
    state: &State,
    (lines, invalid): (&[StockLine], &[(usize, InvalidLine)]),
    now: Timestamp,
    outcome: RejectionOutcome,
) -> (Vec<Event>, Vec<StockResult>) {
    let mut draft = State::default();
    let mut events = Vec::with_capacity(lines.len());
    let mut results = Vec::with_capacity(lines.len());
    for line in lines {
        copy(&mut draft, state, line);
        let id = &line.stock;
        let (result, fact) = match decide(&draft, state, line, now) {
            Ok(effect) => effect,
            Err(why_not) => {
                results.push(why_not);
                continue;
            }
        };
        results.push(result);
        let uncommitted = |draft: &State| draft.stocks.get(id).map_or(0, Stock::uncommitted);
        let before = uncommitted(&draft);
        events.push(fold(&mut draft, id, fact, now));
        let after = uncommitted(&draft);
        if after < before && after < 0 {
            let fact = short::begin(&draft, state, id);
            events.push(fold(&mut draft, id, fact, now));
        }
    }
    events.extend(connectors::facts(state, (lines, invalid), &results, outcome));
    (events, results)
}

fn fold(draft: &mut State, id: &StockId, fact: StockFact, now: Timestamp) -> Event {
    let mut revision = draft.stocks.get(id).map(|row| row.revision).unwrap_or_default();
    revision.version += 1;
    apply(draft, id, &fact, revision, now);
    Event::Stock(id.clone(), fact)
}

/// Copies into `draft` the rows of `state` that `line` looks at or changes, except those that an
/// earlier line has copied. They are looked up in `state`, so that missing ones are noted there.
fn copy(draft: &mut State, state: &State, line: &StockLine) {
    let StockLine { stock: id, document, units, .. } = line;
    let Document { key, sequence, occurred_at } = document;
    if let Units::Issued(order_id, _) = units {
        goods_issues::copy(draft, state, id, *order_id);
    }
    transfers::copy(draft, state, id, units);
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
    let mut looked_at = Vec::new();
    if stock.last(&key.connector).adjusted.is_some() {
        looked_at.push((key.connector.clone(), Point::Sequence(*sequence)));
    }
    if let (Units::Counted(_), Some(time)) = (units, occurred_at) {
        let others = stock.others_that_adjusted(&key.connector);
        looked_at.extend(others.map(|connector| (connector.clone(), Point::Time(*time))));
    }
    for (connector, point) in looked_at {
        let key = AdjustmentsKey { stock: id.clone(), connector };
        adjustments::copy(draft, state, &key, point);
    }
}

/// Decides what one stock line comes to, or why it changes nothing.
fn decide(
    draft: &State,
    state: &State,
    line: &StockLine,
    now: Timestamp,
) -> Result<Effect, StockResult> {
    let StockLine { stock: id, document, .. } = line;
    if draft.stocks.get(id).is_none() && draft.products.get(&id.sku).is_none() {
        return Err(StockResult::UnknownSku);
    }
    // No stock line changes which locations there are.
    if !locations::exists(state, &id.location) {
        return Err(StockResult::UnknownLocation);
    }
    match draft.documents.get(&document.key) {
        Some(known) if known.is_of(line) => return Err(StockResult::Duplicate),
        Some(_) => return Err(StockResult::DocumentReused),
        None => {}
    }
    let nothing_yet = Stock::default();
    let stock = draft.stocks.get(id).unwrap_or(&nothing_yet);
    if let Some(expected) = line.expected.filter(|expected| *expected != stock.on_hand) {
        return Err(StockResult::Mismatch { expected, on_hand: stock.on_hand });
    }
    let in_count = stock.has_counted(document, now);
    match &line.units {
        Units::Counted(quantity) => count(draft, stock, line, *quantity, now),
        Units::Added(_) if in_count => Err(StockResult::Stale),
        Units::Added(delta) => adjust(stock, line, *delta),
        Units::Issued(order_id, quantity) => {
            goods_issues::issue(draft, stock, line, *order_id, (*quantity, in_count))
        }
        Units::Sent(transfer, to, quantity) if locations::exists(state, to) => {
            transfers::send(draft, stock, line, (transfer, to), (*quantity, in_count))
        }
        Units::Sent(..) => Err(StockResult::UnknownLocation),
        Units::Received(transfer, quantity, is_last) => {
            transfers::receive(draft, stock, line, transfer, (*quantity, *is_last, in_count))
        }
    }
}

fn count(
    draft: &State,
    stock: &Stock,
    line: &StockLine,
    quantity: i64,
    now: Timestamp,
) -> Result<Effect, StockResult> {
    let StockLine { stock: id, document, .. } = line;
    let Document { key, sequence, occurred_at } = document;
    if stock.was_counted_after(document) {
        return Err(StockResult::Stale);
    }
    let after = |connector: &Connector, point| {
        let key = AdjustmentsKey { stock: id.clone(), connector: connector.clone() };
        adjustments::after(draft, &key, point).ok_or(StockResult::Stale)
    };
    let is_late = stock.last(&key.connector).adjusted.is_some_and(|adjusted| *sequence < adjusted);
    let mut newer = if is_late { after(&key.connector, Point::Sequence(*sequence))? } else { 0 };
    if occurred_at.is_some() {
        let time = document.time(now);
        if stock.was_counted_by_another(&key.connector, time) {
            return Err(StockResult::Stale);
        }
        for connector in stock.others_that_adjusted(&key.connector) {
            newer += after(connector, Point::Time(time))?;
        }
    }
    let on_hand = in_range(quantity, newer)?;
    let (document, before) = (document.clone(), stock.on_hand);
    let fact = StockFact::Counted { document, quantity, before, after: stock.level_with(on_hand) };
    Ok((StockResult::Applied, fact))
}

fn adjust(stock: &Stock, line: &StockLine, delta: i64) -> Result<Effect, StockResult> {
    let StockLine { document, reason, .. } = line;
    let after = stock.level_with(in_range(stock.on_hand, delta)?);
    let (document, reason) = (document.clone(), reason.clone());
    let fact = StockFact::Adjusted { document, delta, reason, after };
    Ok((StockResult::Applied, fact))
}

/// Folds a fact about a stock that was decided at `now` into the state.
pub(super) fn apply(
    state: &mut State,
    id: &StockId,
    fact: &StockFact,
    revision: Revision,
    now: Timestamp,
) {
    let stock = state.stocks.change_or_default(id);
    stock.revision = revision;
    let before = (stock.on_hand, now);
    // What only another connector's count contains is kept: a late count of its own does not.
    let is_kept = |stock: &Stock, document: &Document| !stock.was_counted_after(document);
    match fact {
        StockFact::Counted { document, quantity, after, .. } => {
            let Document { key, sequence, .. } = document;
            stock.on_hand = after.on_hand;
            let last = stock.connectors.entry(key.connector.clone()).or_default();
            last.counted = Some(*sequence);
            last.as_of = Some(document.time(now).millis());
            if last.adjusted.is_some() {
                let connector = key.connector.clone();
                let key = AdjustmentsKey { stock: id.clone(), connector };
                adjustments::remove_counted(state, &key, *sequence);
            }
            remember(state, id, document, Units::Counted(*quantity), before);
        }
        StockFact::Adjusted { document, delta, reason: _, after } => {
            stock.on_hand = after.on_hand;
            add(state, id, document, (*delta, now));
            remember(state, id, document, Units::Added(*delta), before);
        }
        StockFact::Shipped { document, order_id, quantity, freed, after, .. } => {
            stock.on_hand = after.on_hand;
            if is_kept(stock, document) {
                add(state, id, document, (-quantity, now));
            }
            reservation::ship(state, *order_id, id, *quantity);
            for (line, _) in freed {
                reservation::ship(state, *order_id, &line.stock, line.units);
            }
            remember(state, id, document, Units::Issued(*order_id, *quantity), before);
        }
        StockFact::Sent { document, transfer, to, quantity, after, .. } => {
            stock.on_hand = after.on_hand;
            if is_kept(stock, document) {
                add(state, id, document, (-quantity, now));
            }
            transfers::apply_sent(state, transfer, id, to, *quantity);
            let units = Units::Sent(transfer.clone(), to.clone(), *quantity);
            remember(state, id, document, units, before);
        }
        StockFact::Received { document, transfer, quantity, missing, is_last, after, .. } => {
            stock.on_hand = after.on_hand;
            if is_kept(stock, document) {
                add(state, id, document, (*quantity, now));
            }
            transfers::apply_received(state, transfer, id, *quantity, *missing);
            let units = Units::Received(transfer.clone(), *quantity, *is_last);
            remember(state, id, document, units, before);
        }
        StockFact::LimitsChanged { after, .. } => stock.limits = *after,
        StockFact::Short { .. } => {}
    }
}

/// Keeps what a document changed, for a count that is late.
fn add(state: &mut State, id: &StockId, document: &Document, (delta, now): (i64, Timestamp)) {
    let Document { key, sequence, .. } = document;
    let stock = state.stocks.change_or_default(id);
    let last = stock.connectors.entry(key.connector.clone()).or_default();
    let is_first = last.adjusted.is_none();
    last.adjusted = last.adjusted.max(Some(*sequence));
    adjustments::add(state, id, document, (delta, document.time(now)), is_first);
}

/// Keeps a line that had its effect, with what it changed: the units on hand were `before`.
fn remember(
    state: &mut State,
    id: &StockId,
    document: &Document,
    units: Units,
    (before, now): (i64, Timestamp),
) {
    let stock = state.stocks.get(id);
    let on_hand = stock.map_or(0, |stock| stock.on_hand);
    let row = AppliedDocument {
        stock: id.clone(),
        sequence: document.sequence,
        units,
        revision: stock.map(|stock| stock.revision).unwrap_or_default(),
        on_hand,
        moved: on_hand - before,
        time: document.time(now).millis(),
    };
    state.documents.put(document.key.clone(), row);
}

impl AppliedDocument {
    /// Whether it is that line.
    fn is_of(&self, line: &StockLine) -> bool {
        let StockLine { stock, document, units, .. } = line;
        (&self.stock, self.sequence, &self.units) == (stock, document.sequence, units)
    }
}
