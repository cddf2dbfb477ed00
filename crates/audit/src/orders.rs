//! The order service's log: each order from `placed` to one end, and nothing after that.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use events::{
    id::OrderId,
    proto::{
        self,
        order::{self, order_event::Kind},
    },
};

use super::{Check, Findings, Outside, Place, stock::Stock};
use crate::text::count;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It waits for its stock.
    Placed,
    /// It waits for its payment.
    PaymentDue,
    /// It waits for its stock to be allocated.
    Authorized,
    /// It waits for the money to be captured.
    Confirmed,
    /// It is paid.
    Paid,
    /// It is cancelled.
    Cancelled(order::CancelReason),
}

impl Status {
    fn is_end(self) -> bool {
        match self {
            Self::Paid | Self::Cancelled(_) => true,
            Self::Placed | Self::PaymentDue | Self::Authorized | Self::Confirmed => false,
        }
    }
}

/// An order, as its log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// By SKU: the units.
    pub lines: BTreeMap<Arc<str>, i64>,
    /// Lines and charges together, in minor units.
    pub total: i64,
    /// Where it stands.
    pub status: Status,
    /// Whether its stock was allocated to it when it was confirmed.
    pub was_confirmed: bool,
}

/// All orders.
#[derive(Debug, Default)]
pub struct Orders {
    by_id: HashMap<String, Order>,
    /// By shop and reference: the order.
    references: HashMap<(String, String), String>,
    /// Each SKU once: the lines have it from here.
    skus: HashSet<Arc<str>>,
    steps: Findings,
    doubles: Findings,
}

impl Orders {
    pub(super) fn observe(&mut self, place: Place, event: &proto::Event, kind: Option<&Kind>) {
        let id = &event.aggregate_id;
        let status = match kind {
            Some(Kind::Placed(placed)) => return self.place(place, event, placed),
            Some(Kind::PaymentDue(due)) => {
                self.expect_total(place, id, due.amount.as_ref());
                Status::PaymentDue
            }
            Some(Kind::Authorized(_)) => Status::Authorized,
            Some(Kind::Confirmed(confirmed)) => {
                self.expect_total(place, id, confirmed.amount.as_ref());
                Status::Confirmed
            }
            Some(Kind::Paid(paid)) => {
                self.expect_total(place, id, paid.amount.as_ref());
                Status::Paid
            }
            Some(Kind::Cancelled(cancelled)) => Status::Cancelled(cancelled.reason()),
            None => return self.steps.add(format!("{place}: an event without a fact")),
        };
        let Some(order) = self.by_id.get_mut(id) else {
            return self.steps.add(format!("{place}: order {id} was never placed"));
        };
        self.steps.expect(follows(order.status, status), || {
            format!("{place}: order {id} goes from {:?} to {status:?}", order.status)
        });
        order.status = status;
        order.was_confirmed |= status == Status::Confirmed;
    }

    fn place(&mut self, place: Place, event: &proto::Event, placed: &order::Placed) {
        let id = event.aggregate_id.clone();
        let mut lines = BTreeMap::new();
        for line in &placed.lines {
            *lines.entry(self.sku(&line.sku)).or_default() += line.quantity;
        }
        let goods: i64 = placed.lines.iter().map(|line| line.quantity * line.unit_price).sum();
        let charges: i64 = placed.charges.iter().map(|charge| charge.amount).sum();
        let total = placed.total.as_ref().map_or(0, |total| total.minor);
        self.steps.expect(total == goods + charges, || {
            format!("{place}: order {id} says {total} and adds up to {}", goods + charges)
        });
        if !placed.reference.is_empty() {
            let reference = (event.shop.clone(), placed.reference.clone());
            if let Some(first) = self.references.insert(reference, id.clone()) {
                let reference = &placed.reference;
                self.doubles.add(format!("{place}: order {id} is {reference}, as is {first}"));
            }
        }
        let order = Order { lines, total, status: Status::Placed, was_confirmed: false };
        if self.by_id.insert(id.clone(), order).is_some() {
            self.doubles.add(format!("{place}: order {id} is placed again"));
        }
    }

    fn sku(&mut self, sku: &str) -> Arc<str> {
        if let Some(known) = self.skus.get(sku) {
            return known.clone();
        }
        let new: Arc<str> = sku.into();
        self.skus.insert(new.clone());
        new
    }

    fn expect_total(&mut self, place: Place, id: &str, amount: Option<&proto::Money>) {
        let total = self.by_id.get(id).map(|order| order.total);
        let amount = amount.map(|amount| amount.minor);
        self.steps.expect(amount == total, || {
            format!("{place}: {amount:?} for order {id}, which costs {total:?}")
        });
    }

    /// The order of that id.
    pub fn get(&self, id: &str) -> Option<&Order> {
        self.by_id.get(id)
    }

    /// All orders, with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Order)> {
        self.by_id.iter()
    }

    /// Orders that are there twice.
    pub(super) fn references(&self) -> &Findings {
        &self.doubles
    }

    /// Invariant 6.
    pub(super) fn all_ended(&self, stock: &Stock) -> Check {
        let mut findings = self.steps.clone();
        for (id, order) in &self.by_id {
            findings.expect(order.status.is_end(), || {
                format!("order {id} has not ended: it is {:?}", order.status)
            });
        }
        for order in stock.holding() {
            findings.add(format!("units are still held for order {order}, with a deadline"));
        }
        Check {
            looked_at: self.by_id.len() as u64,
            invariant: Some(6),
            claim: "every order ended once, paid or cancelled, and no deadline outlived it",
            evidence: count(self.by_id.len() as u64, "order", "orders"),
            findings,
        }
    }

    /// Invariant 7.
    pub(super) fn acknowledged(&self, outside: &Outside) -> Check {
        let mut findings = Findings::default();
        let get = |id: &OrderId| self.by_id.get(&id.to_string());
        for id in &outside.placed {
            findings.expect(get(id).is_some(), || {
                format!("order {id} was acknowledged and is not in the log")
            });
        }
        for id in &outside.cancelled {
            let status = get(id).map(|order| order.status);
            findings.expect(matches!(status, Some(Status::Cancelled(_))), || {
                format!("order {id} was said to be cancelled; in the log it is {status:?}")
            });
        }
        Check {
            looked_at: (outside.placed.len() + outside.cancelled.len()) as u64,
            invariant: Some(7),
            claim: "everything that was answered with 2xx is in the log",
            evidence: format!(
                "{}, {}",
                count(outside.placed.len() as u64, "order", "orders"),
                count(outside.cancelled.len() as u64, "cancellation", "cancellations")
            ),
            findings,
        }
    }
}

/// Whether the saga has such a step.
fn follows(from: Status, to: Status) -> bool {
    match (from, to) {
        (Status::Placed, Status::PaymentDue)
        | (Status::PaymentDue, Status::Authorized)
        | (Status::Authorized, Status::Confirmed)
        | (Status::Confirmed, Status::Paid)
        | (Status::Placed | Status::PaymentDue | Status::Authorized, Status::Cancelled(_)) => true,
        // Once it is confirmed, only the money can fail.
        (Status::Confirmed, Status::Cancelled(reason)) => {
            reason == order::CancelReason::CaptureFailed
        }
        _ => false,
    }
}
