//! The inventory's log beside the order service's: what is allocated is what was sold.

use std::collections::{BTreeMap, HashMap};

use super::{
    super::{
        Check, Findings, Outside,
        orders::{Orders, Status},
    },
    Level, Stock, Units,
};
use crate::text::count;

impl Stock {
    /// What is allocated is what was sold, and what the gateway tells is what the log says.
    pub(crate) fn reconciled(&self, orders: &Orders, outside: &Outside) -> Check {
        let mut findings = Findings::default();
        let mut sold: BTreeMap<&str, i64> = BTreeMap::new();
        for (id, order) in orders.iter() {
            if let Some(lines) = self.reserved.get(id.as_str()) {
                let mut reserved: BTreeMap<&str, i64> = BTreeMap::new();
                for Units { of, quantity } in &**lines {
                    *reserved.entry(&of.sku).or_default() += quantity;
                }
                let wanted = order.lines.iter().map(|(sku, units)| (&**sku, *units));
                findings
                    .expect(wanted.eq(reserved.iter().map(|(sku, units)| (*sku, *units))), || {
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
        let logged: HashMap<(&str, &str), &Level> =
            self.levels.iter().map(|(id, it)| ((&*id.sku, &*id.location), it)).collect();
        for told in &outside.levels {
            let level = logged.get(&(told.sku.as_str(), told.location.as_str()));
            let log = level.map(|level| (level.on_hand, level.held, level.allocated));
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
            looked_at: (sold.len() + outside.levels.len()) as u64,
            invariant: None,
            claim: "the units allocated are the units sold, and the levels reported are those of the log",
            evidence: format!(
                "{} in {}",
                count(sold.values().sum::<i64>(), "unit", "units"),
                count(sold.len() as u64, "SKU", "SKUs")
            ),
            findings,
        }
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
