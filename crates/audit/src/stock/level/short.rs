//! The orders that cannot be served of a stock, as `short` names them.

use std::collections::HashSet;

use super::Fold;
use crate::{Findings, LogPosition, trade::OrderKey};

/// The orders that the last events named as those that cannot be served.
#[derive(Debug, Default)]
pub(super) struct ShortList {
    /// The orders of its parts so far.
    named: HashSet<OrderKey>,
    /// The last part, when another is to follow.
    truncated: Option<u32>,
}

impl Fold {
    pub(super) fn short(
        &mut self,
        position: LogPosition,
        units: (i64, i64),
        (part, is_truncated): (u32, bool),
        findings: &mut Findings,
    ) {
        let id = &self.id;
        let known = (self.level.on_hand, self.level.promised() - self.backorder_limit);
        self.is_short = self.free() < 0;
        if part == 1 {
            self.unreported = None;
            self.short_list.named.clear();
            findings.expect(self.is_short, || format!("{position}: {id} is not short"));
        } else {
            let last = self.short_list.truncated;
            findings.expect(last == part.checked_sub(1), || {
                format!("{position}: short names part {part} of {id} after {last:?}")
            });
        }
        self.short_list.truncated = is_truncated.then_some(part);
        findings.expect(known == units, || {
            format!("{position}: short says {units:?} of {id}; on hand and promised are {known:?}")
        });
    }

    /// The orders of earlier parts have so many units. Some may be named again.
    pub(super) fn short_before(&self, position: LogPosition, units: i64, findings: &mut Findings) {
        let named = self.short_list.named.iter();
        let known = named.map(|order| self.units_of(*order)).sum::<i64>();
        findings.expect((0..=known).contains(&units), || {
            format!(
                "{position}: {units} of {} are of orders named before; they have {known}",
                self.id
            )
        });
    }

    pub(super) fn short_order(
        &mut self,
        position: LogPosition,
        (order, quantity): (OrderKey, i64),
        findings: &mut Findings,
    ) {
        let known = self.units_of(order);
        findings.expect(known == quantity && quantity > 0, || {
            format!(
                "{position}: short names {quantity} of {} of order {order}, which has {known}",
                self.id
            )
        });
        self.short_list.named.insert(order);
    }

    /// The units that an order has of it, where an event names orders.
    fn units_of(&self, order: OrderKey) -> i64 {
        self.orders.as_ref().and_then(|orders| orders.get(&order)).copied().unwrap_or(0)
    }
}
