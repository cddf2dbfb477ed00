//! The payment service's log: what was authorised, captured, voided and refunded, order by order.

use std::collections::HashMap;

use events::proto::{self, payment::payment_event::Kind};

use super::{Check, Findings, Outside, Place, orders::Orders, orders::Status, stock::Stock};
use crate::text::{count, pounds};

/// The payment of an order; amounts in minor units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Payment {
    authorized: Option<i64>,
    voided: bool,
    captures: u32,
    captured: i64,
    refunded: i64,
    /// The operation whose outcome is awaited.
    pending: Option<String>,
}

impl Payment {
    /// What is authorised and neither captured nor voided.
    fn held(&self) -> i64 {
        if self.voided || self.captures > 0 { 0 } else { self.authorized.unwrap_or(0) }
    }
}

/// All payments, by order.
#[derive(Debug, Default)]
pub struct Money {
    payments: HashMap<String, Payment>,
    findings: Findings,
}

impl Money {
    pub(super) fn observe(&mut self, place: Place, event: &proto::Event, kind: Option<&Kind>) {
        let id = &event.aggregate_id;
        let payment = self.payments.entry(id.clone()).or_default();
        let findings = &mut self.findings;
        let Some(kind) = kind else {
            return findings.add(format!("{place}: an event without a fact"));
        };
        if let Some(operation) = begun(kind) {
            findings.expect(payment.pending.is_none(), || {
                format!("{place}: {operation} begins while {:?} is open", payment.pending)
            });
            payment.pending = Some(operation.to_owned());
        }
        if let Some(operation) = ended(kind) {
            findings.expect(payment.pending.as_deref() == Some(operation), || {
                format!("{place}: the outcome of {operation}, which was not pending in the log")
            });
            payment.pending = None;
        }
        fold(payment, findings, place, kind);
    }

    /// Captured in all.
    pub fn captured(&self) -> i64 {
        self.payments.values().map(|payment| payment.captured).sum()
    }

    /// Refunded in all.
    pub fn refunded(&self) -> i64 {
        self.payments.values().map(|payment| payment.refunded).sum()
    }

    /// How many authorisations were voided, and their sum.
    pub fn voided(&self) -> (u64, i64) {
        let voided = self.payments.values().filter(|payment| payment.voided);
        voided.fold((0, 0), |(count, sum), payment| {
            (count + 1, sum + payment.authorized.unwrap_or(0))
        })
    }

    /// Invariant 5.
    pub(super) fn accounted(&self, orders: &Orders, stock: &Stock, outside: &Outside) -> Check {
        let mut findings = self.findings.clone();
        for (id, payment) in &self.payments {
            let Some(order) = orders.get(id) else {
                findings.add(format!("a payment of order {id}, which is in no log"));
                continue;
            };
            let net = payment.captured - payment.refunded;
            let wanted = if order.status == Status::Paid { order.total } else { 0 };
            findings.expect(net == wanted, || {
                format!("{net} kept of order {id}, which is {:?}: {wanted} is due", order.status)
            });
            findings.expect(payment.captures == 0 || stock.was_allocated(id), || {
                format!("the money of order {id} was taken without stock allocated to it")
            });
            findings.expect(payment.captures == 0 || order.was_confirmed, || {
                format!("the money of order {id} was taken before it was confirmed")
            });
            findings.expect(payment.held() == 0, || {
                format!("{} are still held for order {id}", payment.held())
            });
            findings.expect(payment.pending.is_none(), || {
                format!("the outcome of {:?} is not known", payment.pending)
            });
        }
        for (id, order) in orders.iter() {
            let is_known = order.status != Status::Paid || self.payments.contains_key(id);
            findings.expect(is_known, || format!("order {id} is paid, and there is no payment"));
        }
        let net = self.captured() - self.refunded();
        findings.expect(net == outside.provider_net, || {
            format!("the log says {net}, the provider's ledger {}", outside.provider_net)
        });
        let held = self.payments.values().map(Payment::held).sum::<i64>();
        findings.expect(held == outside.provider_held, || {
            format!("set aside: {held} by the log, {} by the provider", outside.provider_held)
        });
        Check {
            looked_at: self.payments.len() as u64,
            invariant: Some(5),
            claim: "the money adds up, by our log and by the provider's own ledger",
            evidence: format!(
                "{} of {}, {} kept",
                count(self.payments.len() as u64, "payment", "payments"),
                count(orders.iter().count() as u64, "order", "orders"),
                pounds(net)
            ),
            findings,
        }
    }
}

fn fold(payment: &mut Payment, findings: &mut Findings, place: Place, kind: &Kind) {
    match kind {
        Kind::AuthorizationPending(_) => findings.expect(payment.authorized.is_none(), || {
            format!("{place}: asks to authorise what is authorised")
        }),
        Kind::Authorized(authorized) => {
            payment.authorized = Some(minor(authorized.amount.as_ref()));
        }
        Kind::CapturePending(_) => {
            findings.expect(payment.held() > 0 || payment.authorized == Some(0), || {
                format!("{place}: asks to take what is not set aside")
            });
        }
        Kind::Captured(captured) => {
            payment.captures += 1;
            findings.expect(payment.captures == 1, || {
                format!("{place}: money is taken for the {}. time", payment.captures)
            });
            payment.captured += minor(captured.amount.as_ref());
            let (captured, authorized) = (payment.captured, payment.authorized.unwrap_or(0));
            findings.expect(captured <= authorized && !payment.voided, || {
                format!("{place}: {captured} taken, {authorized} was authorised")
            });
        }
        Kind::VoidPending(_) => findings
            .expect(payment.captures == 0, || format!("{place}: asks to void what is captured")),
        Kind::Voided(_) => payment.voided = true,
        Kind::Refunded(refunded) => {
            payment.refunded += minor(refunded.amount.as_ref());
            findings.expect(payment.refunded <= payment.captured, || {
                format!("{place}: {} paid back of {}", payment.refunded, payment.captured)
            });
        }
        Kind::Declined(_)
        | Kind::Failed(_)
        | Kind::CaptureFailed(_)
        | Kind::RefundPending(_)
        | Kind::Abandoned(_)
        | Kind::CancelRequested(_) => {}
    }
}

fn minor(amount: Option<&proto::Money>) -> i64 {
    amount.map_or(0, |amount| amount.minor)
}

/// The operation that the provider is about to be asked for.
fn begun(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::AuthorizationPending(pending) => Some(&pending.operation_id),
        Kind::CapturePending(pending) => Some(&pending.operation_id),
        Kind::VoidPending(pending) => Some(&pending.operation_id),
        Kind::RefundPending(pending) => Some(&pending.operation_id),
        Kind::Authorized(_)
        | Kind::Declined(_)
        | Kind::Failed(_)
        | Kind::Captured(_)
        | Kind::CaptureFailed(_)
        | Kind::Voided(_)
        | Kind::Refunded(_)
        | Kind::Abandoned(_)
        | Kind::CancelRequested(_) => None,
    }
}

/// The operation whose outcome is known now.
fn ended(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Authorized(ended) => Some(&ended.operation_id),
        Kind::Declined(ended) => Some(&ended.operation_id),
        Kind::Failed(ended) => Some(&ended.operation_id),
        Kind::Captured(ended) => Some(&ended.operation_id),
        Kind::CaptureFailed(ended) => Some(&ended.operation_id),
        Kind::Voided(ended) => Some(&ended.operation_id),
        Kind::Refunded(ended) => Some(&ended.operation_id),
        Kind::AuthorizationPending(_)
        | Kind::CapturePending(_)
        | Kind::VoidPending(_)
        | Kind::RefundPending(_)
        | Kind::Abandoned(_)
        | Kind::CancelRequested(_) => None,
    }
}
