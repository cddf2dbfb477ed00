//! One stock: its units after every event of it, and what the documents of an ERP make of them.

mod short;

use std::{collections::HashMap, sync::Arc};

use self::short::ShortList;
use super::{
    change::{Change, Moment, Source, StockId},
    connectors::Connectors,
};
use crate::{Findings, LogPosition, trade::OrderKey};

/// The units of a stock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// On hand, as the ERP has it.
    pub on_hand: i64,
    /// Held for orders that are not yet paid for.
    pub held: i64,
    /// Allocated to orders.
    pub allocated: i64,
    /// What left for the orders that it was promised to, or had been until their hold ran out.
    pub shipped: i64,
    /// What left for orders beyond that.
    pub excess: i64,
    /// What counts found, less what they missed.
    pub counted: i64,
    /// What adjustments added, less what they took.
    pub adjusted: i64,
    /// What came from other locations, less what left for them.
    pub transferred: i64,
    /// What is on its way from other locations.
    pub incoming: i64,
}

impl Level {
    /// Held and allocated together.
    pub fn promised(&self) -> i64 {
        self.held + self.allocated
    }
}

/// A stock, while its events are folded.
#[derive(Debug)]
pub(super) struct Fold {
    id: Arc<StockId>,
    level: Level,
    /// Whether anything but a refusal named it.
    exists: bool,
    /// The orders that have units of it and how many, where an event names them.
    orders: Option<HashMap<OrderKey, i64>>,
    connectors: Connectors,
    /// Where the ERP went below what is promised, until `short` says so.
    unreported: Option<LogPosition>,
    /// Whether `short` said so, and it is so still.
    is_short: bool,
    short_list: ShortList,
    /// The units that were free before the last goods issue.
    free_before: i64,
    /// The units of it that are kept back, and those that are sold beyond what is on hand.
    safety_stock: i64,
    backorder_limit: i64,
    /// Whether fewer units may be sold than before: then more may be promised than may be sold now.
    were_limits_lowered: bool,
}

impl Fold {
    /// A stock without units; `has_short` says whether an event of it names orders.
    pub(super) fn new(id: Arc<StockId>, has_short: bool) -> Self {
        Self {
            id,
            level: Level::default(),
            exists: false,
            orders: has_short.then(HashMap::new),
            connectors: Connectors::default(),
            unreported: None,
            is_short: false,
            short_list: ShortList::default(),
            free_before: 0,
            safety_stock: 0,
            backorder_limit: 0,
            were_limits_lowered: false,
        }
    }

    /// Takes in what the next event says; `doubles` is for documents that had their effect out of
    /// turn.
    pub(super) fn apply(
        &mut self,
        position: LogPosition,
        (moment, change): (Moment, Change),
        findings: &mut Findings,
        doubles: &mut Findings,
    ) {
        self.exists |= !matches!(change, Change::Shortage { .. });
        match change {
            Change::Count { source, quantity, on_hand } => {
                let expected = self.connectors.count(source, moment, quantity);
                self.level.counted += on_hand - self.level.on_hand;
                self.document(position, on_hand, expected, findings, doubles);
            }
            Change::Adjust { source, delta, on_hand } => {
                let is_stale = self.connectors.have_counted(source, moment);
                self.connectors.moved(source, moment, delta);
                self.level.adjusted += delta;
                let expected = (self.level.on_hand + delta, is_stale);
                self.document(position, on_hand, expected, findings, doubles);
            }
            Change::Issue { source, quantity, on_hand, in_count } => {
                self.issue(position, (source, moment), quantity, (on_hand, in_count), findings);
            }
            Change::Transfer { source, delta, on_hand, in_count } => {
                let expected = self.transfer(position, (source, moment), delta, in_count, findings);
                self.document(position, on_hand, (expected, false), findings, doubles);
            }
            Change::Incoming { delta, incoming } => {
                self.level.incoming += delta;
                let (id, known) = (&self.id, self.level.incoming);
                findings.expect(incoming == known && known >= 0, || {
                    format!("{position}: {incoming} of {id} are on their way; it is {known}")
                });
            }
            Change::Limits { safety_stock, backorder_limit } => {
                self.expect_reported(position, findings);
                self.were_limits_lowered |= backorder_limit < self.backorder_limit;
                (self.safety_stock, self.backorder_limit) = (safety_stock, backorder_limit);
            }
            Change::Take { order, quantity, was_held } => {
                let of = if was_held { &mut self.level.held } else { &mut self.level.allocated };
                *of -= quantity;
                self.level.shipped += quantity;
                self.level.excess -= quantity;
                self.promise(order, -quantity);
            }
            Change::TakenUnpromised { quantity } => {
                self.level.shipped += quantity;
                self.level.excess -= quantity;
            }
            Change::Promised { held, allocated } => {
                self.promised(position, (held, allocated), findings);
            }
            Change::Before { on_hand } => {
                let (id, known) = (&self.id, self.level.on_hand);
                findings.expect(on_hand == known, || {
                    format!("{position}: {on_hand} of {id} were on hand before; it was {known}")
                });
            }
            Change::Units { on_hand, held, allocated } => {
                let Level { on_hand: there, held: of_held, allocated: of_paid, .. } = self.level;
                let (id, said, known) =
                    (&self.id, [on_hand, held, allocated], [there, of_held, of_paid]);
                findings.expect(said == known, || {
                    format!("{position}: says {said:?} of {id}; on hand, held and allocated are {known:?}")
                });
            }
            Change::Short { on_hand, promised, part, is_truncated } => {
                self.short(position, (on_hand, promised), (part, is_truncated), findings);
            }
            Change::ShortBefore { units } => self.short_before(position, units, findings),
            Change::ShortOrder { order, quantity } => {
                self.short_order(position, (order, quantity), findings);
            }
            Change::Hold { order, quantity } => {
                self.level.held += quantity;
                self.promise(order, quantity);
                self.moved(position, quantity, findings);
                self.expect_units(position, findings);
            }
            Change::Allocate { order, quantity, was_held } => {
                self.allocate(position, (order, quantity), was_held, findings);
            }
            Change::Release { order, quantity, was_held } => {
                let of = if was_held { &mut self.level.held } else { &mut self.level.allocated };
                *of -= quantity;
                self.promise(order, -quantity);
                self.moved(position, quantity, findings);
                let is_covered = self.free() >= 0 || self.is_short || self.were_limits_lowered;
                findings.expect(is_covered, || {
                    format!("{position}: {} is oversold and nobody said so", self.id)
                });
            }
            Change::Shortage { requested, available } => {
                let free = self.free() - self.safety_stock;
                findings.expect(available == free.max(0) && requested > available, || {
                    format!(
                        "{position}: refuses {requested} of {}, of which {available} are free; it \
                         is {free}",
                        self.id
                    )
                });
            }
        }
    }

    fn allocate(
        &mut self,
        position: LogPosition,
        (order, quantity): (OrderKey, i64),
        was_held: bool,
        findings: &mut Findings,
    ) {
        self.level.allocated += quantity;
        if was_held {
            self.level.held -= quantity;
        } else {
            self.promise(order, quantity);
        }
        self.moved(position, quantity, findings);
        if !was_held {
            self.expect_units(position, findings);
        }
    }

    /// The units that may still be promised.
    fn free(&self) -> i64 {
        self.level.on_hand - self.level.promised() + self.backorder_limit
    }

    /// A document had its effect: it says `on_hand`, where so many are expected, and may be stale.
    fn document(
        &mut self,
        position: LogPosition,
        on_hand: i64,
        (expected, is_stale): (i64, bool),
        findings: &mut Findings,
        doubles: &mut Findings,
    ) {
        self.expect_reported(position, findings);
        let fell = on_hand < self.level.on_hand;
        self.level.on_hand = on_hand;
        let (id, is_beyond) = (&self.id, self.free() < 0);
        if fell && is_beyond {
            self.unreported = Some(position);
        }
        self.is_short &= is_beyond;
        doubles.expect(!is_stale, || {
            format!("{position}: a document is older than a count and changed {id}")
        });
        findings.expect(on_hand == expected, || {
            format!("{position}: {id} has {on_hand} on hand; the documents come to {expected}")
        });
    }

    /// Units have left for another location, or come from one; the units on hand to be expected then. A
    /// count that is newer was made without them, or with them.
    fn transfer(
        &mut self,
        position: LogPosition,
        (source, moment): (Source, Moment),
        delta: i64,
        in_count: bool,
        findings: &mut Findings,
    ) -> i64 {
        let is_counted = self.connectors.have_counted(source, moment);
        self.connectors.moved(source, moment, delta);
        self.level.transferred += delta;
        if is_counted {
            self.level.counted -= delta;
        }
        findings.expect(in_count == is_counted, || {
            format!("{position}: {} says {in_count} of a count with it", self.id)
        });
        self.level.on_hand + if is_counted { 0 } else { delta }
    }

    /// Units have left for an order: a count that is newer was made without them.
    fn issue(
        &mut self,
        position: LogPosition,
        (source, moment): (Source, Moment),
        quantity: i64,
        (on_hand, in_count): (i64, bool),
        findings: &mut Findings,
    ) {
        self.expect_reported(position, findings);
        self.free_before = self.free();
        let is_counted = self.connectors.have_counted(source, moment);
        self.connectors.moved(source, moment, -quantity);
        if is_counted {
            // The count that left them out took them off what was on hand.
            self.level.counted += quantity;
        } else {
            self.level.on_hand -= quantity;
        }
        self.level.excess += quantity;
        let (id, expected) = (&self.id, self.level.on_hand);
        findings.expect(on_hand == expected && in_count == is_counted, || {
            format!(
                "{position}: {quantity} of {id} left, and {on_hand} are on hand, in a count: {in_count}; it \
                 is {expected}, {is_counted}"
            )
        });
        self.level.on_hand = on_hand;
    }

    /// The end of a goods issue: so many are promised now.
    fn promised(&mut self, position: LogPosition, said: (i64, i64), findings: &mut Findings) {
        let (id, level) = (&self.id, self.level);
        findings.expect((level.held, level.allocated) == said, || {
            format!("{position}: {said:?} of {id} are held and allocated; it is {level:?}")
        });
        findings.expect(level.held >= 0 && level.allocated >= 0, || {
            format!("{position}: {id} has {level:?}")
        });
        if self.free() < self.free_before.min(0) {
            self.unreported = Some(position);
        }
        self.is_short &= self.free() < 0;
    }

    /// The order has so many units more, or fewer.
    fn promise(&mut self, order: OrderKey, units: i64) {
        let Some(orders) = &mut self.orders else { return };
        let has = orders.entry(order).or_default();
        *has += units;
        if *has <= 0 {
            orders.remove(&order);
        }
    }

    /// Units of an order have moved.
    fn moved(&mut self, position: LogPosition, quantity: i64, findings: &mut Findings) {
        self.expect_reported(position, findings);
        let Level { held, allocated, .. } = self.level;
        self.is_short &= self.free() < 0;
        findings.expect(held >= 0 && allocated >= 0 && quantity > 0, || {
            format!("{position}: {} has {held} held and {allocated} allocated", self.id)
        });
    }

    /// What is promised now was there to be promised, whatever the ERP did before.
    fn expect_units(&self, position: LogPosition, findings: &mut Findings) {
        let (on_hand, promised) = (self.level.on_hand, self.level.promised());
        findings.expect(self.free() >= 0, || {
            format!("{position}: {} is oversold: {promised} promised of {on_hand}", self.id)
        });
    }

    /// The next event of a stock that the ERP took below what is promised is `short`.
    fn expect_reported(&mut self, position: LogPosition, findings: &mut Findings) {
        if let Some(LogPosition { sequence, .. }) = self.unreported.take() {
            let id = &self.id;
            findings
                .add(format!("{position}: {id} fell short at {sequence}, and no event says so"));
        }
    }

    /// The level at the end; none if no event but a refusal named the stock.
    pub(super) fn finish(self, findings: &mut Findings) -> Option<(Arc<StockId>, Level)> {
        if let Some(position) = self.unreported {
            findings.add(format!("{position}: {} fell short, and no event says so", self.id));
        }
        let Level { on_hand, counted, adjusted, transferred, shipped, excess, .. } = self.level;
        findings.expect(on_hand == counted + adjusted + transferred - shipped - excess, || {
            let id = &self.id;
            format!(
                "{id}: {counted} were counted, {adjusted} added and {transferred} transferred, {shipped} \
                 and {excess} shipped; {on_hand} are left"
            )
        });
        self.exists.then_some((self.id, self.level))
    }
}
