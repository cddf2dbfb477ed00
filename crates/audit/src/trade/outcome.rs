//! What became of the orders: sums, and the orders that somebody was given an answer about.

use std::collections::HashMap;

use events::id::OrderId;

use super::TradeFindings;
use super::{Status, payment::Payment, step::OrderKey};
use crate::{
    Check, Findings, Observations,
    text::{count, pounds},
};

/// The orders, as their log has them.
#[derive(Debug, Default)]
pub struct Orders {
    count: u64,
    /// By status: how many, and what they cost together in minor units.
    outcomes: HashMap<Status, (u64, i64)>,
    /// By the order's key.
    acknowledged: Vec<Acknowledged>,
}

/// An order that the gateway has given an answer about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledged {
    order: OrderKey,
    /// Whether the gateway said that it is cancelled.
    pub(super) is_cancelled: bool,
    /// As the log has it, if it has it.
    status: Option<Status>,
}

impl Orders {
    pub(super) fn acknowledged_by(outside: &Observations) -> Self {
        let entry = |is_cancelled| {
            move |id: &OrderId| Acknowledged {
                order: OrderKey::of_order(*id),
                is_cancelled,
                status: None,
            }
        };
        let mut acknowledged: Vec<_> = outside.placed.iter().map(entry(false)).collect();
        acknowledged.extend(outside.cancelled.iter().map(entry(true)));
        acknowledged.sort_by_key(|it| (it.order, !it.is_cancelled));
        // Of an order that was placed and cancelled, the cancellation stays.
        acknowledged.dedup_by_key(|it| it.order);
        Self { acknowledged, ..Self::default() }
    }

    /// Adds an order of the log; returns what the gateway said of it.
    pub(super) fn add(
        &mut self,
        order: OrderKey,
        status: Status,
        total: i64,
    ) -> Option<Acknowledged> {
        self.count += 1;
        let outcome = self.outcomes.entry(status).or_default();
        outcome.0 += 1;
        outcome.1 += total;
        let found = self.acknowledged.binary_search_by_key(&order, |it| it.order).ok()?;
        let acknowledged = &mut self.acknowledged[found];
        acknowledged.status = Some(status);
        Some(*acknowledged)
    }

    /// The orders that were acknowledged and are not in the log.
    pub(super) fn unknown(&self) -> Findings {
        let mut findings = Findings::default();
        for Acknowledged { order, .. } in self.acknowledged.iter().filter(|it| it.status.is_none())
        {
            findings.add(format!("order {order} was acknowledged and is not in the log"));
        }
        findings
    }

    /// How many orders there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// By status: how many orders there are, and what they cost together in minor units.
    pub fn outcomes(&self) -> impl Iterator<Item = (Status, u64, i64)> {
        self.outcomes.iter().map(|(status, (orders, total))| (*status, *orders, *total))
    }

    /// The status of an order that was named in [`Observations`]; of others nothing is known.
    pub fn status(&self, id: OrderId) -> Option<Status> {
        let order = OrderKey::of_order(id);
        let found = self.acknowledged.binary_search_by_key(&order, |it| it.order).ok()?;
        self.acknowledged[found].status
    }

    /// Invariant 6.
    pub(crate) fn all_ended(&self, findings: &TradeFindings) -> Check {
        Check {
            looked_at: self.count,
            invariant: Some(6),
            claim: "every order ended once, paid or cancelled, and no deadline outlived it",
            evidence: count(self.count, "order", "orders"),
            findings: findings.progress.clone(),
        }
    }

    /// Invariant 7.
    pub(crate) fn acknowledged(outside: &Observations, findings: &TradeFindings) -> Check {
        Check {
            looked_at: (outside.placed.len() + outside.cancelled.len()) as u64,
            invariant: Some(7),
            claim: "everything that was answered with 2xx is in the log",
            evidence: format!(
                "{}, {}",
                count(outside.placed.len() as u64, "order", "orders"),
                count(outside.cancelled.len() as u64, "cancellation", "cancellations")
            ),
            findings: findings.acknowledged.clone(),
        }
    }
}

/// The payments, as their log has them; amounts in minor units.
#[derive(Debug, Default)]
pub struct Money {
    payments: u64,
    authorized: i64,
    captured: i64,
    refunded: i64,
    voided: (u64, i64),
    /// Authorised and neither captured nor voided.
    held: i64,
    /// Authorised, and given up by an operator: the provider may hold it for some time.
    given_up: i64,
}

impl Money {
    pub(super) fn add(&mut self, payment: &Payment) {
        self.payments += 1;
        self.authorized += payment.authorized.unwrap_or(0);
        self.captured += payment.captured;
        self.refunded += payment.refunded;
        self.held += payment.held();
        self.given_up += payment.given_up_hold;
        if let Some(voided) = payment.voided {
            self.voided.0 += 1;
            self.voided.1 += voided;
        }
    }

    /// Authorised in all.
    pub fn authorized(&self) -> i64 {
        self.authorized
    }

    /// Authorised and neither captured nor voided.
    pub fn held(&self) -> i64 {
        self.held + self.given_up
    }

    /// Captured in all.
    pub fn captured(&self) -> i64 {
        self.captured
    }

    /// Refunded in all.
    pub fn refunded(&self) -> i64 {
        self.refunded
    }

    /// How many authorisations were voided, and their sum.
    pub fn voided(&self) -> (u64, i64) {
        self.voided
    }

    /// Invariant 5.
    pub(crate) fn accounted(
        &self,
        orders: &Orders,
        outside: &Observations,
        findings: &TradeFindings,
    ) -> Check {
        let mut findings = findings.payments.clone();
        let net = self.captured - self.refunded;
        findings.expect(net == outside.provider_net, || {
            format!("the log says {net}, the provider's ledger {}", outside.provider_net)
        });
        let held = self.held + self.given_up;
        findings.expect(held == outside.provider_held, || {
            format!("authorised: {held} by the log, {} by the provider", outside.provider_held)
        });
        Check {
            looked_at: self.payments,
            invariant: Some(5),
            claim: "the money adds up, by our log and by the provider's own ledger",
            evidence: format!(
                "{} of {}, {} kept",
                count(self.payments, "payment", "payments"),
                count(orders.count, "order", "orders"),
                pounds(net)
            ),
            findings,
        }
    }
}
