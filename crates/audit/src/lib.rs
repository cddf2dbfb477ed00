//! An auditor of the logs: folds every event of every service with rules of its own, and says
//! which invariants do not hold. No code of a service takes part.
//!
//! - `logs`: reads them, an event at a time;
//! - `history`: sequences, versions, answers, causes: what is so in every log;
//! - `catalogue`: the log of the catalogue, shop by shop;
//! - `stock`: the inventory's log, stock by stock;
//! - `trade`: the logs of orders, payments and reservations, order by order;
//! - `webhooks`: the log of deliveries, beside the public events of all others;
//! - `scratch`, `queue`, `record`: the temporary files in which they wait until everything is read;
//! - `runs`: sets of numbers that follow each other.
//!
//! A log may hold ten million events and more, so that nothing that grows with it stays in memory: each
//! check writes what it needs of an event to a temporary file, by the key by which it compares, and
//! [`Audit::finish`] reads a 256th of the keys at a time. Nothing is dropped on the way: a fact that
//! comes long after an order has ended is checked like any other. What stays in memory are the names of
//! SKUs, the tree of categories and which listings are in it, the orders for which units are held at the moment, and those that [`Observations`] names.
//!
//! To add a check: write what it needs in `observe`, compare at the end, and add what is wrong to a
//! [`Findings`].

mod catalogue;
mod findings;
mod history;
mod logs;
mod queue;
mod record;
mod runs;
mod scratch;
mod stock;
#[cfg(test)]
mod tests;
pub mod text;
mod trade;
mod webhooks;

use std::fmt;

use engine::{Logged, Verified};
use events::{
    http::LevelView,
    id::OrderId,
    proto::{self, event::Body},
};

use self::{
    catalogue::Catalogue,
    history::History,
    stock::StockLog,
    trade::{Trade, Traded},
    webhooks::Webhooks,
};
pub use self::{
    findings::Findings,
    stock::{Level, Stock, StockId},
    trade::{Money, Orders, Status},
    webhooks::Deliveries,
};
use crate::text::count;

/// Something that must hold, and whether it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The number of the invariant in the architecture; none for a check of this run alone.
    pub invariant: Option<u8>,
    /// What must hold.
    pub claim: &'static str,
    /// What was looked at.
    pub evidence: String,
    /// How many things that is; where there are none, the check says nothing.
    pub looked_at: u64,
    /// Where it does not hold.
    pub findings: Findings,
}

impl Check {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.findings.count() == 0
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, claim, evidence, looked_at: _, findings } = self;
        let verdict = if self.holds() { "ok    " } else { "BROKEN" };
        let invariant = invariant.map_or_else(String::new, |it| it.to_string());
        writeln!(f, "  {verdict} {invariant:>2}  {claim}")?;
        writeln!(f, "             {evidence}")?;
        findings.write(f, 13)
    }
}

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPosition {
    service: &'static str,
    partition: u32,
    sequence: u64,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{} at {}", self.service.to_uppercase(), self.partition, self.sequence)
    }
}

/// What was seen of the system from outside, to be found in the logs.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    /// The orders that the gateway said are placed.
    pub placed: Vec<OrderId>,
    /// The orders that the gateway said are cancelled.
    pub cancelled: Vec<OrderId>,
    /// The stock levels that the gateway reports.
    pub levels: Vec<LevelView>,
    /// What the provider's own ledger holds captured and not refunded, in minor units.
    pub provider_net: i64,
    /// What it holds authorised and neither captured nor voided, in minor units.
    pub provider_held: i64,
    /// By service: what the comparison of its projection with its log found.
    pub verified: Vec<(&'static str, Verified)>,
}

/// The auditor, while it reads.
#[derive(Debug, Default)]
pub struct Audit {
    events: u64,
    /// The shop whose trade is audited; all of them when none is named.
    shop: Option<String>,
    history: History,
    catalogue: Catalogue,
    stock: StockLog,
    trade: Trade,
    webhooks: Webhooks,
}

/// What the auditor found.
#[derive(Debug)]
pub struct Audited {
    /// How many events it read.
    pub events: u64,
    /// The invariants, by number.
    pub checks: Vec<Check>,
    /// The orders, as the log has them.
    pub orders: Orders,
    /// The stock, as the log has it.
    pub stock: Stock,
    /// The payments, as the log has them.
    pub money: Money,
    /// The webhook endpoints, as the log has them.
    pub deliveries: Vec<Deliveries>,
}

impl Audit {
    /// Takes in the next event of a service's log. That of deliveries comes after those of the events that it
    /// schedules.
    pub fn observe(
        &mut self,
        service: &'static str,
        partition: u32,
        logged: &Logged<proto::Event>,
    ) {
        self.events += 1;
        let position = LogPosition { service, partition, sequence: logged.sequence };
        self.history.observe(position, logged);
        // It takes its place in the log, and says nothing.
        if logged.is_voided {
            return;
        }
        let event = &logged.event;
        if self.shop.as_ref().is_none_or(|shop| *shop == event.shop) {
            self.observe_event(position, event);
        }
        self.webhooks.observe_positions(position, logged);
    }

    fn observe_event(&mut self, position: LogPosition, event: &proto::Event) {
        self.webhooks.observe(position, event);
        match &event.body {
            Some(Body::Catalog(body)) => {
                self.catalogue.observe(position, event, body.kind.as_ref());
            }
            Some(Body::Inventory(body)) => {
                self.stock.observe(position, event, body.kind.as_ref());
                if let Some(kind) = &body.kind {
                    self.trade.observe_inventory(position, event, kind);
                }
            }
            Some(Body::Order(body)) => {
                let (summary, kind) = (body.summary.as_ref(), body.kind.as_ref());
                self.trade.observe_order(position, event, summary, kind);
            }
            Some(Body::Payment(body)) => {
                self.trade.observe_payment(position, event, body.kind.as_ref());
            }
            Some(Body::ShopEvent(_) | Body::Engine(_) | Body::Notify(_) | Body::Key(_)) | None => {}
        }
    }

    /// Takes in a command of the inbox.
    pub fn observe_command(&mut self, partition: u32, sequence: u64, shop: &str, id: &str) {
        self.history.observe_command(partition, sequence, shop, id);
    }

    /// Compares what the logs say with each other and with what was seen from outside.
    pub fn finish(self, outside: &Observations) -> Audited {
        let Self { events, shop: _, mut history, catalogue, stock, trade, webhooks } = self;
        // One after the other, so that the memory of each is free before the next.
        history.compare();
        let stock = stock.compare();
        let Traded { orders, money, sold, findings } = trade.compare(outside);
        let (delivered, deliveries) = webhooks.finish();
        let doubles = [stock.doubles().clone(), findings.doubles.clone()];
        let mut checks = vec![
            history.contiguous(),
            history.handled_once(stock.document_count(), doubles),
            projected(&outside.verified),
            stock.never_oversold(&findings.reservations),
            money.accounted(&orders, outside, &findings),
            orders.all_ended(&findings),
            Orders::acknowledged(outside, &findings),
            delivered,
            history.in_order(),
            stock.reconciled(&sold, &findings.lines, outside),
        ];
        checks.extend(catalogue.check());
        Audited { events, checks, orders, stock, money, deliveries }
    }
}

/// Invariant 3, which the engine checks by folding into a scratch database.
fn projected(verified: &[(&'static str, Verified)]) -> Check {
    let mut findings = Findings::default();
    let (mut events, mut rows) = (0, 0);
    for (service, verified) in verified {
        events += verified.events;
        rows += verified.rows;
        for mismatch in &verified.mismatches {
            findings.add(format!(
                "{service}, table {}: the database has {}, the log {}",
                mismatch.table,
                mismatch.live.as_deref().unwrap_or("no such row"),
                mismatch.folded.as_deref().unwrap_or("no such row")
            ));
        }
    }
    findings.expect(!verified.is_empty(), || "no projection was compared".to_owned());
    Check {
        looked_at: rows,
        invariant: Some(3),
        claim: "every database equals its log, folded anew, row for row",
        evidence: format!(
            "{} in {} from {}",
            count(rows, "row", "rows"),
            count(verified.len() as u64, "database", "databases"),
            count(events, "event", "events")
        ),
        findings,
    }
}
