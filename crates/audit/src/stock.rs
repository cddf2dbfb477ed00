//! The inventory's log: what is on hand, held and allocated after every event of it.

mod level;
mod sold;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use events::proto::{
    self,
    inventory::{self, inventory_event::Kind},
};

use self::level::Change;
pub use self::level::{Level, StockId};
use super::{Check, Findings, Place};
use crate::text::count;

/// The orders that `short` names at most.
const MOST_SHORT_ORDERS: usize = 1_000;
/// The location of what an order wants.
const MAIN: &str = "main";

/// Units of a stock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Units {
    of: Arc<StockId>,
    quantity: i64,
}

/// The lines of an order; there once, whatever becomes of it.
type Lines = Arc<[Units]>;

/// What an order has of the stock.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reservation {
    Held(Lines),
    Allocated(Lines),
    Expired(Lines),
    Over,
}

/// All stock.
#[derive(Debug, Default)]
pub struct Stock {
    levels: BTreeMap<Arc<StockId>, Level>,
    reservations: HashMap<Arc<str>, Reservation>,
    reserved: HashMap<Arc<str>, Lines>,
    allocated: HashSet<Arc<str>>,
    documents: HashSet<(String, String, String)>,
    shorts: u64,
    refused: u64,
    events: u64,
    findings: Findings,
    doubles: Findings,
}

impl Stock {
    pub(super) fn observe(&mut self, place: Place, event: &proto::Event, kind: Option<&Kind>) {
        self.events += 1;
        let (shop, order) = (&event.shop, &event.aggregate_id);
        let named = kind.and_then(order_of).unwrap_or(order);
        let lines = lines_of(kind).iter().map(|line| self.units(shop, line)).collect();
        self.findings.expect(named == order, || format!("{place}: is of {order}, names {named}"));
        match kind {
            Some(Kind::Counted(counted)) => {
                let id = self.id(shop, &counted.sku, &counted.location);
                let quantity = Change::Count(counted.quantity);
                self.tell(place, &id, counted.document.as_ref(), quantity, counted.on_hand);
            }
            Some(Kind::Adjusted(adjusted)) => {
                let id = self.id(shop, &adjusted.sku, &adjusted.location);
                let delta = Change::Delta(adjusted.delta);
                self.tell(place, &id, adjusted.document.as_ref(), delta, adjusted.on_hand);
            }
            Some(Kind::Short(short)) => self.short(place, shop, short),
            Some(Kind::Reserved(_)) => self.reserve(place, order, lines),
            Some(Kind::Refused(refused)) => {
                self.refused += 1;
                self.expect_shortages(place, shop, &refused.shortages);
                self.expect_new(place, order);
                self.reservations.insert(order.as_str().into(), Reservation::Over);
            }
            Some(Kind::Allocated(_)) => self.allocate(place, order, lines),
            Some(Kind::Lost(lost)) => {
                self.expect_shortages(place, shop, &lost.shortages);
                let before = self.reservations.insert(order.as_str().into(), Reservation::Over);
                self.findings.expect(matches!(before, Some(Reservation::Expired(_))), || {
                    format!("{place}: order {order} lost what it had as {before:?}")
                });
            }
            Some(Kind::Released(released)) => {
                self.release(place, order, lines, released.reason());
            }
            None => self.findings.add(format!("{place}: an event without a fact")),
        }
    }

    /// A document of the ERP had its effect.
    fn tell(
        &mut self,
        place: Place,
        id: &Arc<StockId>,
        document: Option<&inventory::Document>,
        change: Change,
        on_hand: i64,
    ) {
        let Some(inventory::Document { connector, id: document, sequence }) = document else {
            return self.findings.add(format!("{place}: {id} changes without a document"));
        };
        let name = (id.shop.clone(), connector.clone(), document.clone());
        self.doubles.expect(self.documents.insert(name), || {
            format!("{place}: document {document} of {connector} had its effect again")
        });
        self.expect_told(place, id);
        let level = self.level(id);
        let is_stale = level.is_stale(connector, *sequence);
        let expected = level.after(connector, *sequence, change);
        if on_hand < level.on_hand && on_hand < level.promised() {
            level.owed = Some(place);
        }
        level.on_hand = on_hand;
        level.is_short &= level.promised() > on_hand;
        self.doubles.expect(!is_stale, || {
            format!("{place}: document {document} is older than a count and changed {id}")
        });
        self.findings.expect(on_hand == expected, || {
            format!("{place}: {id} has {on_hand} on hand; the documents come to {expected}")
        });
    }

    fn short(&mut self, place: Place, shop: &str, short: &proto::inventory::Short) {
        self.shorts += 1;
        let id = self.id(shop, &short.sku, &short.location);
        let level = self.levels.entry(id.clone()).or_default();
        level.owed = None;
        level.is_short = level.promised() > level.on_hand;
        self.findings.expect(level.is_short, || format!("{place}: {id} is not short"));
        let is = (level.on_hand, level.promised());
        let says = (short.on_hand, short.promised);
        self.findings.expect(is == says, || {
            format!("{place}: short says {says:?} of {id}; on hand and promised are {is:?}")
        });
        let hit: BTreeSet<&str> = short.order_ids.iter().map(String::as_str).collect();
        let is_complete = hit.len() == level.orders.len().min(MOST_SHORT_ORDERS);
        let is_hit = hit.iter().all(|order| level.orders.contains(*order));
        self.findings.expect(is_complete && is_hit, || {
            format!("{place}: short names other orders than those that {id} is promised to")
        });
    }

    fn reserve(&mut self, place: Place, order: &str, lines: Lines) {
        self.expect_new(place, order);
        let order: Arc<str> = order.into();
        for line in &*lines {
            self.change(place, line, |level, units| level.held += units, Some(&order));
        }
        self.expect_room(place, &lines);
        self.reserved.insert(order.clone(), lines.clone());
        self.reservations.insert(order, Reservation::Held(lines));
    }

    fn allocate(&mut self, place: Place, order: &str, lines: Lines) {
        let (order, before) = self.reservation(order);
        let (lines, was_held) = match before {
            Some(Reservation::Held(held)) if held == lines => (held, true),
            Some(Reservation::Expired(held)) if held == lines => (held, false),
            before => {
                self.findings.add(format!("{place}: allocates for order {order} {before:?}"));
                (lines, false)
            }
        };
        for line in &*lines {
            let change = |level: &mut Level, units| {
                level.held -= if was_held { units } else { 0 };
                level.allocated += units;
            };
            self.change(place, line, change, Some(&order));
        }
        if !was_held {
            self.expect_room(place, &lines);
        }
        self.allocated.insert(order.clone());
        self.reservations.insert(order, Reservation::Allocated(lines));
    }

    fn release(
        &mut self,
        place: Place,
        order: &str,
        lines: Lines,
        reason: inventory::ReleaseReason,
    ) {
        let (order, before) = self.reservation(order);
        let (lines, was_held) = match before {
            Some(Reservation::Held(held)) if held == lines => (held, Some(true)),
            Some(Reservation::Allocated(held)) if held == lines => (held, Some(false)),
            before => {
                self.findings.add(format!("{place}: releases for {order} {before:?}"));
                (lines, None)
            }
        };
        for line in lines.iter().filter(|_| was_held.is_some()) {
            let change = |level: &mut Level, units| match was_held {
                Some(true) => level.held -= units,
                Some(false) | None => level.allocated -= units,
            };
            self.change(place, line, change, None);
            self.level(&line.of).orders.remove(&order);
        }
        let after = match reason {
            inventory::ReleaseReason::Expired => Reservation::Expired(lines),
            inventory::ReleaseReason::Cancelled | inventory::ReleaseReason::Unspecified => {
                Reservation::Over
            }
        };
        self.reservations.insert(order, after);
    }

    /// Moves units of a line. `order` has them from now on, when it is named.
    fn change(
        &mut self,
        place: Place,
        Units { of: id, quantity }: &Units,
        change: impl Fn(&mut Level, i64),
        order: Option<&Arc<str>>,
    ) {
        self.expect_told(place, id);
        let level = self.level(id);
        change(level, *quantity);
        level.orders.extend(order.cloned());
        level.is_short &= level.promised() > level.on_hand;
        let Level { held, allocated, .. } = *level;
        let is_covered = level.promised() <= level.on_hand || level.is_short;
        self.findings.expect(held >= 0 && allocated >= 0 && *quantity > 0, || {
            format!("{place}: {id} has {held} held and {allocated} allocated")
        });
        self.findings.expect(is_covered || order.is_some(), || {
            format!("{place}: {id} is oversold and nobody said so")
        });
    }

    /// What an order has, and its name as it is kept.
    fn reservation(&self, order: &str) -> (Arc<str>, Option<Reservation>) {
        let known = self.reservations.get_key_value(order);
        known.map_or_else(|| (order.into(), None), |(order, it)| (order.clone(), Some(it.clone())))
    }

    fn level(&mut self, id: &Arc<StockId>) -> &mut Level {
        self.levels.entry(id.clone()).or_default()
    }

    fn units(&self, shop: &str, line: &inventory::StockLine) -> Units {
        Units { of: self.id(shop, &line.sku, &line.location), quantity: line.quantity }
    }

    /// The id of a stock, as it is kept.
    fn id(&self, shop: &str, sku: &str, location: &str) -> Arc<StockId> {
        let id = StockId::new(shop, sku, location);
        let known = self.levels.get_key_value(&id).map(|(known, _)| known.clone());
        known.unwrap_or_else(|| Arc::new(id))
    }

    /// What is promised now was there to be promised, whatever the ERP did before.
    fn expect_room(&mut self, place: Place, lines: &[Units]) {
        for Units { of: id, .. } in lines {
            let level = self.level(id);
            let (on_hand, promised) = (level.on_hand, level.promised());
            self.findings.expect(promised <= on_hand, || {
                format!("{place}: {id} is oversold: {promised} promised of {on_hand}")
            });
        }
    }

    /// The next event of a stock that the ERP took below what is promised is `short`.
    fn expect_told(&mut self, place: Place, id: &StockId) {
        if let Some(owed) = self.levels.get_mut(id).and_then(|level| level.owed.take()) {
            let text =
                format!("{place}: {id} fell short at {}, and no event says so", owed.sequence);
            self.findings.add(text);
        }
    }

    fn expect_new(&mut self, place: Place, order: &str) {
        let before = self.reservations.get(order);
        self.findings.expect(before.is_none(), || {
            format!("{place}: order {order} is decided on again, after {before:?}")
        });
    }

    fn expect_shortages(
        &mut self,
        place: Place,
        shop: &str,
        shortages: &[proto::inventory::Shortage],
    ) {
        self.findings.expect(!shortages.is_empty(), || format!("{place}: refused, with no reason"));
        for shortage in shortages {
            let id = StockId::new(shop, &shortage.sku, MAIN);
            let free = self.levels.get(&id).map_or(0, |level| level.on_hand - level.promised());
            let (says, wanted) = (shortage.available, shortage.requested);
            self.findings.expect(says == free.max(0) && wanted > says, || {
                format!("{place}: refuses {wanted} of {id}, of which {says} are free; it is {free}")
            });
        }
    }

    /// The levels, as the log has them.
    pub fn levels(&self) -> impl Iterator<Item = (&StockId, &Level)> {
        self.levels.iter().map(|(id, level)| (&**id, level))
    }

    /// How often the ERP went below what was promised.
    pub fn shorts(&self) -> u64 {
        self.shorts
    }

    /// The orders for which units are held.
    pub(super) fn holding(&self) -> impl Iterator<Item = &str> {
        let held = |reservation: &Reservation| matches!(reservation, Reservation::Held(_));
        self.reservations.iter().filter(move |(_, it)| held(it)).map(|(order, _)| &**order)
    }

    /// Whether units were ever allocated to the order.
    pub(super) fn was_allocated(&self, order: &str) -> bool {
        self.allocated.contains(order)
    }

    /// Documents that had their effect twice, or out of turn.
    pub(super) fn documents(&self) -> &Findings {
        &self.doubles
    }

    /// The documents that had their effect.
    pub(super) fn document_count(&self) -> u64 {
        self.documents.len() as u64
    }

    /// Invariant 4.
    pub(super) fn never_oversold(&self) -> Check {
        let mut findings = self.findings.clone();
        for (id, level) in &self.levels {
            if let Some(owed) = level.owed {
                findings.add(format!("{owed}: {id} fell short, and no event says so"));
            }
        }
        Check {
            looked_at: self.events,
            invariant: Some(4),
            claim: "no unit was promised twice, after any event; where the ERP itself went below, \
                    it was reported",
            evidence: format!(
                "{} of {}, {} reported, {} checked for cause",
                count(self.events, "event", "events"),
                count(self.levels.len() as u64, "SKU", "SKUs"),
                count(self.shorts, "shortfall", "shortfalls"),
                count(self.refused, "refusal", "refusals")
            ),
            findings,
        }
    }
}

/// The order that an event is about, if it is.
fn order_of(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Counted(_) | Kind::Adjusted(_) | Kind::Short(_) => None,
        Kind::Reserved(event) => Some(&event.order_id),
        Kind::Refused(event) => Some(&event.order_id),
        Kind::Allocated(event) => Some(&event.order_id),
        Kind::Lost(event) => Some(&event.order_id),
        Kind::Released(event) => Some(&event.order_id),
    }
}

/// The lines of an order that an event moves.
fn lines_of(kind: Option<&Kind>) -> &[inventory::StockLine] {
    match kind {
        Some(Kind::Reserved(event)) => &event.lines,
        Some(Kind::Allocated(event)) => &event.lines,
        Some(Kind::Released(event)) => &event.lines,
        Some(
            Kind::Counted(_)
            | Kind::Adjusted(_)
            | Kind::Short(_)
            | Kind::Refused(_)
            | Kind::Lost(_),
        )
        | None => &[],
    }
}
