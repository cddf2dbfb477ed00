//! The inventory's log: what is on hand, held and allocated after every event of it.

mod level;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use events::proto::{self, Document, ReleaseReason, StockLine, inventory_event::Kind};

use self::level::Change;
pub use self::level::{Level, StockId};
use super::{
    Check, Findings, Outside, Place,
    orders::{Orders, Status},
};
use crate::figures::count;

/// The orders that `short` names at most.
const MOST_SHORT_ORDERS: usize = 1_000;
/// The location of what an order wants.
const MAIN: &str = "main";

/// What an order has of the stock.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reservation {
    Held(Vec<StockLine>),
    Allocated(Vec<StockLine>),
    Expired(Vec<StockLine>),
    Over,
}

/// All stock.
#[derive(Debug, Default)]
pub struct Stock {
    levels: BTreeMap<StockId, Level>,
    reservations: HashMap<String, Reservation>,
    reserved: HashMap<String, BTreeMap<String, i64>>,
    allocated: HashSet<String>,
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
        self.findings.expect(named == order, || format!("{place}: is of {order}, names {named}"));
        match kind {
            Some(Kind::Counted(counted)) => {
                let id = StockId::new(shop, &counted.sku, &counted.location);
                let quantity = Change::Count(counted.quantity);
                self.tell(place, &id, counted.document.as_ref(), quantity, counted.on_hand);
            }
            Some(Kind::Adjusted(adjusted)) => {
                let id = StockId::new(shop, &adjusted.sku, &adjusted.location);
                let delta = Change::Delta(adjusted.delta);
                self.tell(place, &id, adjusted.document.as_ref(), delta, adjusted.on_hand);
            }
            Some(Kind::Short(short)) => self.short(place, shop, short),
            Some(Kind::Reserved(reserved)) => self.reserve(place, shop, order, &reserved.lines),
            Some(Kind::Refused(refused)) => {
                self.refused += 1;
                self.expect_shortages(place, shop, &refused.shortages);
                self.expect_new(place, order);
                self.reservations.insert(order.clone(), Reservation::Over);
            }
            Some(Kind::Allocated(allocated)) => {
                self.allocate(place, shop, order, &allocated.lines);
            }
            Some(Kind::Lost(lost)) => {
                self.expect_shortages(place, shop, &lost.shortages);
                let before = self.reservations.insert(order.clone(), Reservation::Over);
                self.findings.expect(matches!(before, Some(Reservation::Expired(_))), || {
                    format!("{place}: order {order} lost what it had as {before:?}")
                });
            }
            Some(Kind::Released(released)) => {
                self.release(place, shop, order, &released.lines, released.reason());
            }
            None => self.findings.add(format!("{place}: an event without a fact")),
        }
    }

    /// A document of the ERP had its effect.
    fn tell(
        &mut self,
        place: Place,
        id: &StockId,
        document: Option<&Document>,
        change: Change,
        on_hand: i64,
    ) {
        let Some(Document { connector, id: document, sequence }) = document else {
            return self.findings.add(format!("{place}: {id} changes without a document"));
        };
        let name = (id.shop.clone(), connector.clone(), document.clone());
        self.doubles.expect(self.documents.insert(name), || {
            format!("{place}: document {document} of {connector} had its effect again")
        });
        self.expect_told(place, id);
        let level = self.levels.entry(id.clone()).or_default();
        self.doubles.expect(!level.is_stale(connector, *sequence), || {
            format!("{place}: document {document} is older than a count and changed {id}")
        });
        let expected = level.after(connector, *sequence, change);
        self.findings.expect(on_hand == expected, || {
            format!("{place}: {id} has {on_hand} on hand; the documents come to {expected}")
        });
        if on_hand < level.on_hand && on_hand < level.promised() {
            level.owed = Some(place);
        }
        level.on_hand = on_hand;
        level.is_short &= level.promised() > on_hand;
    }

    fn short(&mut self, place: Place, shop: &str, short: &proto::StockShort) {
        self.shorts += 1;
        let id = StockId::new(shop, &short.sku, &short.location);
        let level = self.levels.entry(id.clone()).or_default();
        level.owed = None;
        level.is_short = level.promised() > level.on_hand;
        self.findings.expect(level.is_short, || format!("{place}: {id} is not short"));
        let is = (level.on_hand, level.promised());
        let says = (short.on_hand, short.promised);
        self.findings.expect(is == says, || {
            format!("{place}: short says {says:?} of {id}; on hand and promised are {is:?}")
        });
        let hit: BTreeSet<_> = short.order_ids.iter().cloned().collect();
        let is_complete = hit.len() == level.orders.len().min(MOST_SHORT_ORDERS);
        self.findings.expect(is_complete && hit.is_subset(&level.orders), || {
            format!("{place}: short names other orders than those that {id} is promised to")
        });
    }

    fn reserve(&mut self, place: Place, shop: &str, order: &str, lines: &[StockLine]) {
        self.expect_new(place, order);
        let mut wanted = BTreeMap::new();
        for line in lines {
            *wanted.entry(line.sku.clone()).or_default() += line.quantity;
            self.change(place, shop, line, |level, units| level.held += units, Some(order));
        }
        self.expect_room(place, shop, lines);
        self.reserved.insert(order.to_owned(), wanted);
        self.reservations.insert(order.to_owned(), Reservation::Held(lines.to_vec()));
    }

    fn allocate(&mut self, place: Place, shop: &str, order: &str, lines: &[StockLine]) {
        let after = Reservation::Allocated(lines.to_vec());
        let before = self.reservations.insert(order.to_owned(), after);
        let was_held = match &before {
            Some(Reservation::Held(held)) if held == lines => true,
            Some(Reservation::Expired(held)) if held == lines => false,
            _ => {
                self.findings.add(format!("{place}: allocates for order {order} {before:?}"));
                false
            }
        };
        for line in lines {
            let change = |level: &mut Level, units| {
                level.held -= if was_held { units } else { 0 };
                level.allocated += units;
            };
            self.change(place, shop, line, change, Some(order));
        }
        if !was_held {
            self.expect_room(place, shop, lines);
        }
        self.allocated.insert(order.to_owned());
    }

    fn release(
        &mut self,
        place: Place,
        shop: &str,
        order: &str,
        lines: &[StockLine],
        reason: ReleaseReason,
    ) {
        let after = match reason {
            ReleaseReason::Expired => Reservation::Expired(lines.to_vec()),
            ReleaseReason::Cancelled | ReleaseReason::Unspecified => Reservation::Over,
        };
        let before = self.reservations.insert(order.to_owned(), after);
        let was_held = match &before {
            Some(Reservation::Held(held)) if held == lines => true,
            Some(Reservation::Allocated(held)) if held == lines => false,
            _ => return self.findings.add(format!("{place}: releases for {order} {before:?}")),
        };
        for line in lines {
            let change = |level: &mut Level, units| {
                let place = if was_held { &mut level.held } else { &mut level.allocated };
                *place -= units;
            };
            self.change(place, shop, line, change, None);
            let id = StockId::new(shop, &line.sku, &line.location);
            self.levels.entry(id).or_default().orders.remove(order);
        }
    }

    /// Moves units of a line. `order` has them from now on, when it is named.
    fn change(
        &mut self,
        place: Place,
        shop: &str,
        line: &StockLine,
        change: impl Fn(&mut Level, i64),
        order: Option<&str>,
    ) {
        let id = StockId::new(shop, &line.sku, &line.location);
        self.expect_told(place, &id);
        let level = self.levels.entry(id.clone()).or_default();
        change(level, line.quantity);
        level.orders.extend(order.map(str::to_owned));
        level.is_short &= level.promised() > level.on_hand;
        let Level { held, allocated, .. } = *level;
        self.findings.expect(held >= 0 && allocated >= 0 && line.quantity > 0, || {
            format!("{place}: {id} has {held} held and {allocated} allocated")
        });
        let is_covered = level.promised() <= level.on_hand || level.is_short;
        self.findings.expect(is_covered || order.is_some(), || {
            format!("{place}: {id} is oversold and nobody said so")
        });
    }

    /// What is promised now was there to be promised, whatever the ERP did before.
    fn expect_room(&mut self, place: Place, shop: &str, lines: &[StockLine]) {
        for line in lines {
            let id = StockId::new(shop, &line.sku, &line.location);
            let level = self.levels.entry(id.clone()).or_default();
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

    fn expect_shortages(&mut self, place: Place, shop: &str, shortages: &[proto::Shortage]) {
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
        self.levels.iter()
    }

    /// How often the ERP went below what was promised.
    pub fn shorts(&self) -> u64 {
        self.shorts
    }

    /// The orders for which units are held.
    pub(super) fn holding(&self) -> impl Iterator<Item = &String> {
        let held = |reservation: &Reservation| matches!(reservation, Reservation::Held(_));
        self.reservations.iter().filter(move |(_, it)| held(it)).map(|(order, _)| order)
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
            invariant: Some(4),
            claim: "no unit was promised twice, after any event; where the ERP itself went below, \
                    it was told",
            evidence: format!(
                "{} of {}, {} told, {} checked for cause",
                count(self.events, "event", "events"),
                count(self.levels.len() as u64, "SKU", "SKUs"),
                count(self.shorts, "shortfall", "shortfalls"),
                count(self.refused, "refusal", "refusals")
            ),
            findings,
        }
    }

    /// What is allocated is what was sold, and what the gateway tells is what the log says.
    pub(super) fn reconciled(&self, orders: &Orders, outside: &Outside) -> Check {
        let mut findings = Findings::default();
        let mut sold: BTreeMap<&str, i64> = BTreeMap::new();
        for (id, order) in orders.iter() {
            if let Some(reserved) = self.reserved.get(id) {
                findings.expect(*reserved == order.lines, || {
                    format!("order {id} wants {:?}; held was {reserved:?}", order.lines)
                });
            }
            if order.status == Status::Paid {
                for (sku, units) in &order.lines {
                    *sold.entry(sku).or_default() += units;
                }
            }
        }
        let mut allocated: BTreeMap<&str, i64> = BTreeMap::new();
        for (id, level) in &self.levels {
            *allocated.entry(&id.sku).or_default() += level.allocated;
        }
        allocated.retain(|_, units| *units != 0);
        findings.expect(sold == allocated, || {
            format!("sold and allocated units differ: {:?}", differing(&sold, &allocated))
        });
        for told in &outside.levels {
            let level = self.levels.iter().find(|(id, _)| {
                id.sku == told.sku.as_str() && id.location == told.location.as_str()
            });
            let log = level.map(|(_, level)| (level.on_hand, level.held, level.allocated));
            let told_units = (told.on_hand, told.held, told.allocated);
            findings.expect(log == Some(told_units), || {
                format!("{}: the gateway tells {told_units:?}, the log {log:?}", told.sku)
            });
        }
        findings.expect(outside.levels.len() == self.levels.len(), || {
            let (told, logged) = (outside.levels.len(), self.levels.len());
            format!("the gateway tells {told} levels, the log {logged}")
        });
        Check {
            invariant: None,
            claim: "the units allocated are the units sold, and the levels told are those of the log",
            evidence: format!(
                "{} in {}",
                count(sold.values().sum::<i64>(), "unit", "units"),
                count(sold.len() as u64, "SKU", "SKUs")
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

/// The first entry in which two maps differ.
fn differing<'a>(
    left: &BTreeMap<&'a str, i64>,
    right: &BTreeMap<&'a str, i64>,
) -> Option<(&'a str, Option<i64>, Option<i64>)> {
    let skus = left.keys().chain(right.keys());
    let mut pairs = skus.map(|sku| (*sku, left.get(sku).copied(), right.get(sku).copied()));
    pairs.find(|(_, left, right)| left != right)
}
