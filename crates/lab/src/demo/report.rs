//! The report on the day, for people.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::{Duration, Instant},
};

use audit::{
    Audited, Check, Deliveries, Status,
    text::{count, number, pounds},
};
use client::Totals;
use events::proto::order;

use super::{
    checks::{StockLedger, net_of_provider, paid},
    erp::Answers,
    plan::Kind,
    refunds::Refunds,
    trade::Trade,
    warehouse::Shipments,
    webhooks::Outcome,
};
use crate::figures::{Latencies, rate, time};

/// How a report is laid out: the width of its headings.
const WIDTH: usize = 96;

/// What the day came to.
#[derive(Debug)]
pub struct Report {
    /// The orders of the day.
    pub sent: usize,
    /// Racers, and the units that they raced for.
    pub race: (usize, usize),
    /// What the customers saw.
    pub trade: Trade,
    /// What the ERP was answered before the shop opened.
    pub opening: Answers,
    /// What the warehouse shipped.
    pub shipments: Shipments,
    /// What was refunded of paid orders.
    pub refunds: Refunds,
    /// What became of the webhook endpoints.
    pub webhooks: Vec<Outcome>,
    /// By order: when it was settled, by the log.
    pub settled_at: HashMap<String, Instant>,
    /// What the gateway counts at the end.
    pub totals: Totals,
    /// What the auditor found in the logs.
    pub audited: Audited,
    /// Everything that was checked.
    pub checks: Vec<Check>,
}

/// The orders of one kind.
#[derive(Debug, Default)]
struct Group {
    orders: u64,
    paid: u64,
    cancelled: u64,
    settled: Latencies,
}

impl Report {
    /// Whether everything holds that was checked.
    pub fn is_in_order(&self) -> bool {
        self.checks.iter().all(Check::holds)
    }

    fn groups(&self) -> BTreeMap<Kind, Group> {
        let mut groups: BTreeMap<Kind, Group> = BTreeMap::new();
        for (id, placed) in &self.trade.placed {
            let group = groups.entry(placed.kind).or_default();
            group.orders += 1;
            let (id, status) = (id.to_string(), self.audited.orders.status(*id));
            match status {
                Some(Status::Paid) => group.paid += 1,
                Some(Status::Cancelled(_)) => group.cancelled += 1,
                _ => {}
            }
            if let Some(end) = self.settled_at.get(&id) {
                group.settled.record(end.saturating_duration_since(placed.sent));
            }
        }
        groups
    }

    fn write_outcomes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(f, "Orders")?;
        let mut outcomes: BTreeMap<(bool, &str), (u64, i64)> = BTreeMap::new();
        for (status, orders, total) in self.audited.orders.outcomes() {
            let outcome = outcomes.entry(outcome(status)).or_default();
            outcome.0 += orders;
            outcome.1 += total;
        }
        for ((_, name), (orders, total)) in &outcomes {
            writeln!(f, "  {name:<44}{:>10}{:>18}", number(*orders), pounds(*total))?;
        }
        let refused = number(self.trade.refused);
        writeln!(f, "  {:<44}{refused:>10}", "rejected: no longer sold")?;
        writeln!(f, "  {:<44}{:>10}", "sent", number(self.sent as u64))
    }

    fn write_kinds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(f, "What the customers did, and how their orders ended")?;
        let names = ("orders", "paid", "cancelled", "settled: p50", "max");
        let (orders, paid, cancelled, median, max) = names;
        writeln!(f, "  {:<44}{orders:>8}{paid:>8}{cancelled:>11}{median:>14}{max:>9}", "")?;
        for (kind, group) in self.groups() {
            writeln!(
                f,
                "  {:<44}{:>8}{:>8}{:>11}{:>14}{:>9}",
                kind.label(),
                number(group.orders),
                number(group.paid),
                number(group.cancelled),
                time(group.settled.percentile(50.0)),
                time(group.settled.max())
            )?;
        }
        let Trade { cancelled, too_late, replayed, .. } = &self.trade;
        let Trade { second_payments, second_payments_too_late, .. } = &self.trade;
        writeln!(
            f,
            "  {} accepted, {} too late; {} answered from the first",
            count(cancelled.len(), "cancellation", "cancellations"),
            number(*too_late),
            count(*replayed, "repeated request", "repeated requests")
        )?;
        writeln!(
            f,
            "  {} tried again by another card, {} too late",
            count(*second_payments, "declined payment", "declined payments"),
            number(*second_payments_too_late)
        )
    }

    fn write_race(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(f, "The race")?;
        let (racers, units) = self.race;
        writeln!(
            f,
            "  {} at once for the last {}: {} sold, {} refused: out of stock{}",
            count(racers as u64, "customer", "customers"),
            count(units as u64, "storm lamp", "storm lamps"),
            number(self.trade.winners),
            number(self.trade.refused_racers),
            match self.trade.slow {
                0 => String::new(),
                slow => format!(", {} timed out", number(slow)),
            }
        )
    }

    fn write_speed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(f, "Speed")?;
        let (mut accepted, mut card, mut all) =
            (Latencies::default(), Latencies::default(), Latencies::default());
        let mut during = 0;
        let placed = &self.trade.placed;
        let first = placed.values().map(|placed| placed.sent).min();
        let closing = first.map(|first| first + self.trade.took);
        for (id, placed) in placed {
            // A racer asked to be answered late.
            if placed.kind != Kind::Racer {
                accepted.record(placed.answered_after);
            }
            let Some(end) = self.settled_at.get(&id.to_string()) else { continue };
            let settled = end.saturating_duration_since(placed.sent);
            all.record(settled);
            if placed.kind == Kind::Card {
                card.record(settled);
            }
            during += u64::from(closing.is_some_and(|closing| *end <= closing));
        }
        let line = |f: &mut fmt::Formatter<'_>, name: &str, latencies: &Latencies| {
            let (p50, p99) = (latencies.percentile(50.0), latencies.percentile(99.0));
            let (p50, p99, max) = (time(p50), time(p99), time(latencies.max()));
            writeln!(f, "  {name:<44}{p50:>10}{p99:>12}{max:>12}")
        };
        writeln!(f, "  {:<44}{:>10}{:>12}{:>12}", "", "p50", "p99", "max")?;
        line(f, "until accepted (201, in the log, fsynced)", &accepted)?;
        line(f, "until settled, paid by card", &card)?;
        line(f, "until settled, all orders", &all)?;
        writeln!(
            f,
            "  {} settled during the {} of trade: {} sagas/s",
            count(during, "order", "orders"),
            time(self.trade.took),
            number(rate(during, self.trade.took) as u64)
        )
    }

    fn write_stock(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(f, "Stock")?;
        let counts = |answers: &Answers| {
            let counts = answers.counts.iter();
            let counts =
                counts.map(|(answer, lines)| format!("{} {}", number(*lines), in_words(answer)));
            counts.collect::<Vec<_>>().join(", ")
        };
        writeln!(f, "  ERP before opening   {}", counts(&self.opening))?;
        writeln!(f, "  ERP during the day   {}", counts(&self.trade.erp))?;
        writeln!(f, "  ERP in the evening   {}", counts(&self.shipments.answers))?;
        self.write_ledger(f)?;
        let (mut on_hand, mut held, mut allocated) = (0, 0, 0);
        for (_, level) in self.audited.stock.levels() {
            on_hand += level.on_hand;
            held += level.held;
            allocated += level.allocated;
        }
        let reported = &self.totals.inventory;
        units(f, "", ["on hand", "held", "allocated"].map(str::to_owned))?;
        units(f, "by the log", [on_hand, held, allocated].map(number))?;
        let reported = [reported.on_hand, reported.held, reported.allocated];
        units(f, "by the inventory service", reported.map(number))?;
        match self.audited.stock.shorts() {
            0 => Ok(()),
            shorts => writeln!(
                f,
                "  {} of the ERP took stock below what is reserved: reported, with the orders affected",
                count(shorts, "document", "documents")
            ),
        }
    }

    /// The units of the day: what came, what left, and what is left of it.
    fn write_ledger(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = StockLedger::of(&self.audited);
        let StockLedger { counted, adjusted, shipped, excess, on_hand, incoming, .. } = day;
        for (name, units) in [
            ("counted", counted),
            ("received, less what broke", adjusted),
            ("shipped for orders", -shipped),
            ("shipped in excess", -excess),
            ("on their way to another location", -incoming),
            ("missing on the way", incoming - day.sent_and_not_received),
            ("on hand, which is the sum", on_hand),
        ] {
            writeln!(f, "  {name:<44}{:>10}", number(units))?;
        }
        let Shipments { orders, in_parts, tomorrow, missing, counted, booked_late, .. } =
            &self.shipments;
        writeln!(
            f,
            "  {} left, {} of them in two parts; {} tomorrow, {} not there",
            count(*orders, "order", "orders"),
            number(*in_parts),
            number(*tomorrow),
            count(*missing, "line", "lines")
        )?;
        for (location, units) in &self.shipments.units {
            writeln!(f, "  {:<44}{:>10}", format!("left {location}"), number(*units))?;
        }
        let Shipments { sent, received, missing_on_the_way, .. } = &self.shipments;
        writeln!(
            f,
            "  {} sent to the quay: {} received, {} missing",
            count(sent.unsigned_abs(), "unit", "units"),
            number(*received),
            number(*missing_on_the_way)
        )?;
        writeln!(
            f,
            "  {} counted while goods were on their way: {} booked after the count",
            count(*counted, "SKU", "SKUs"),
            count(booked_late.unsigned_abs(), "unit", "units")
        )
    }

    fn write_money(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(f, "Money")?;
        let money = &self.audited.money;
        let line = |f: &mut fmt::Formatter<'_>, name: &str, amount: i64| {
            writeln!(f, "  {name:<44}{:>18}", pounds(amount))
        };
        let (voided, sum) = money.voided();
        line(f, "authorised, by the payment log", money.authorized())?;
        line(f, "voided, because their orders were cancelled", -sum)?;
        line(f, "still held", -money.held())?;
        line(f, "captured, which is the sum", money.captured())?;
        line(f, "refunded", -money.refunded())?;
        line(f, "kept, which is the sum", money.captured() - money.refunded())?;
        line(f, "paid orders, by the order log", paid(&self.audited))?;
        line(f, "refunded of them", -self.refunds.amount)?;
        line(f, "net, by the provider's own ledger", net_of_provider(&self.totals))?;
        writeln!(
            f,
            "  {} voided; {} of paid orders",
            count(voided, "authorisation", "authorisations"),
            count(self.refunds.orders, "refund", "refunds")
        )
    }

    fn write_webhooks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(f, "Webhooks")?;
        let columns = |f: &mut fmt::Formatter<'_>, name: &str, columns: [String; 7]| {
            write!(f, "  {name:<18}")?;
            columns.iter().try_for_each(|column| write!(f, "{column:>11}"))?;
            writeln!(f)
        };
        let names =
            ["matched", "delivered", "attempts", "retries", "repeated", "missing", "verified"];
        columns(f, "", names.map(str::to_owned))?;
        for outcome in &self.webhooks {
            let Outcome { name, deliveries, received } = outcome;
            let Deliveries { matched, delivered, attempts, retries, .. } = *deliveries;
            let (repeated, verified) = (received.repeated, received.verified);
            let figures =
                [matched, delivered, attempts, retries, repeated, outcome.missing(), verified];
            columns(f, name, figures.map(number))?;
        }
        Ok(())
    }

    fn write_checks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = count(self.audited.events, "event", "events");
        heading(f, &format!("Checked against {events} read back from the logs"))?;
        for check in &self.checks {
            write!(f, "{check}")?;
        }
        let broken = self.checks.iter().filter(|check| !check.holds()).count();
        writeln!(f)?;
        match broken {
            0 => write!(f, "Every order, every unit and every penny is accounted for."),
            broken => write!(f, "{} of {} checks failed.", broken, self.checks.len()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_outcomes(f)?;
        self.write_kinds(f)?;
        self.write_race(f)?;
        self.write_speed(f)?;
        self.write_stock(f)?;
        self.write_money(f)?;
        self.write_webhooks(f)?;
        self.write_checks(f)
    }
}

fn heading(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    writeln!(f, "\n{text} {}", "─".repeat(WIDTH.saturating_sub(text.chars().count() + 1)))
}

fn units(f: &mut fmt::Formatter<'_>, name: &str, units: [String; 3]) -> fmt::Result {
    let [on_hand, held, allocated] = units;
    writeln!(f, "  {name:<44}{on_hand:>10}{held:>10}{allocated:>12}")
}

/// The answer to a line of the ERP, in words.
fn in_words(answer: &str) -> String {
    match answer {
        "unknown_sku" => "with an unknown SKU".to_owned(),
        "unknown_order" => "for an unknown order".to_owned(),
        "document_reused" => "with a reused document id".to_owned(),
        other => other.replace('_', " "),
    }
}

/// What an order came to, in words; what is paid comes first.
fn outcome(status: Status) -> (bool, &'static str) {
    let words = match status {
        Status::Paid => return (false, "paid"),
        Status::AwaitsShipment => return (false, "confirmed"),
        Status::Placed
        | Status::PaymentDue
        | Status::PaymentFailed
        | Status::Authorized
        | Status::Confirmed => "not settled",
        Status::Cancelled(reason) => match reason {
            order::CancelReason::Unspecified => "cancelled: no reason given",
            order::CancelReason::Requested => "cancelled: by the customer",
            order::CancelReason::OutOfStock => "cancelled: out of stock",
            order::CancelReason::StockTimeout => "cancelled: stock timeout",
            order::CancelReason::PaymentDeclined => "cancelled: payment declined",
            order::CancelReason::PaymentFailed => "cancelled: payment failed",
            order::CancelReason::PaymentTimeout => "cancelled: payment timeout",
            order::CancelReason::StockLost => "cancelled: hold expired",
            order::CancelReason::CaptureFailed => "cancelled: capture failed",
            order::CancelReason::StockShort => "cancelled: stock short",
        },
    };
    (true, words)
}

/// How long a phase took, at the end of its line.
pub fn phase(name: &str, what: &str, took: Duration) -> String {
    format!("  {name:<12}{what:<70}{:>12}", time(took))
}
