//! The report on a replay: one text for people, one object for machines.

use std::{fmt, time::Duration};

use audit::{
    Audited,
    text::{count, number, pounds},
};
use chrono::NaiveDate;
use engine::Verified;
use serde_json::{Map, Value, json};

use super::{
    checks::{Check, Unit},
    observed::Observed,
    plan::{Figures, Stock},
    trade::{Group, Trade},
};
use crate::figures::{Latencies, rate, time};

/// How a report is laid out: the width of its headings.
const WIDTH: usize = 96;

/// What a replay came to.
#[derive(Debug)]
pub struct Report {
    /// The shop.
    pub shop: String,
    /// How much stock there was.
    pub stock: Stock,
    /// What the files say.
    pub figures: Figures,
    /// The same, as the installation reports it.
    pub reported: Figures,
    /// The first and the last day, and how many there are.
    pub days: Option<(NaiveDate, NaiveDate, usize)>,
    /// What was answered to the shop and the ERP.
    pub trade: Trade,
    /// What the services count in the end.
    pub(super) observed: Observed,
    /// Everything that must agree.
    pub checks: Vec<Check>,
    /// What the auditor found in the logs, where it could read them.
    pub audited: Vec<audit::Check>,
    /// By service: what comparing its database with its log found, where that was done.
    pub verified: Vec<(&'static str, Verified)>,
    /// How long the parts of the replay took.
    pub timing: Timing,
}

/// How long the parts of a replay took that are not part of the trade.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Reading the files.
    pub read: Duration,
    /// The reconciliation.
    pub reconcile: Duration,
    /// Comparing databases with logs, and auditing these.
    pub verify: Duration,
    /// Everything, until now.
    pub elapsed: Duration,
}

impl Report {
    /// Whether everything agrees.
    pub fn is_in_order(&self) -> bool {
        self.broken() == 0
    }

    fn broken(&self) -> usize {
        let checks = self.checks.iter().filter(|check| !check.is_ok()).count();
        checks + self.audited.iter().filter(|check| !check.holds()).count()
    }

    /// Takes in what the auditor found, and comparing databases with logs.
    pub(super) fn add_audited(
        &mut self,
        audited: Audited,
        verified: Vec<(&'static str, Verified)>,
        took: Duration,
    ) {
        self.audited = audited.checks;
        self.verified = verified;
        self.timing.verify = took;
    }

    /// The orders that were not there before, in a second.
    fn orders_per_second(&self) -> f64 {
        rate(self.figures.orders.saturating_sub(self.trade.known), self.trade.traded_in)
    }

    /// One object: the figures of the files by their own names, as the installation reports them, and
    /// what else was found.
    pub fn json(&self) -> Value {
        let Value::Object(mut object) = json!(self.reported) else { return Value::Null };
        object.extend(self.json_of_the_run());
        Value::Object(object)
    }

    fn json_of_the_run(&self) -> Map<String, Value> {
        let Trade { catalogue, opening, documents, shipments, .. } = &self.trade;
        let pushed = [
            ("products", catalogue),
            ("opening", opening),
            ("documents", documents),
            ("shipments", shipments),
        ];
        let pushed = pushed.map(|(name, pushed)| {
            let refused = pushed.refused.count();
            let counts =
                json!({"applied": pushed.applied, "known": pushed.known, "refused": refused});
            (name.to_owned(), counts)
        });
        let group = |group: &Group| json!({"orders": group.orders, "total_pence": group.total});
        let outcome = json!({
            "known": self.trade.known,
            "paid": group(&self.trade.paid),
            "out_of_stock": group(&self.trade.out_of_stock),
            "cancelled_otherwise": group(&self.trade.otherwise),
            "open": self.trade.open,
        });
        let checks: Vec<_> = self.checks.iter().map(check_json).collect();
        let mut object: Map<_, _> = [
            ("shop".to_owned(), json!(self.shop)),
            ("stock".to_owned(), json!(stock_name(self.stock))),
            ("files".to_owned(), json!(self.figures)),
            ("days".to_owned(), json!(self.days.map_or(0, |(.., days)| days))),
            ("pushed".to_owned(), Value::Object(pushed.into_iter().collect())),
            ("outcome".to_owned(), outcome),
            ("reconciliation".to_owned(), json!(checks)),
            ("timing".to_owned(), self.timing_json()),
        ]
        .into_iter()
        .collect();
        if !self.verified.is_empty() {
            let (rows, events) = self.verified_counts();
            let mismatches = differing(&self.verified);
            let verify = json!({"rows": rows, "events": events, "mismatches": mismatches});
            object.insert("verify".to_owned(), verify);
            let audited: Vec<_> = self.audited.iter().map(audited_json).collect();
            object.insert("audit".to_owned(), json!(audited));
        }
        object
    }

    fn timing_json(&self) -> Value {
        let Trade { accepted, settled, days, prepared_in, traded_in, .. } = &self.trade;
        let Timing { read, reconcile, verify, elapsed } = self.timing;
        json!({
            "read_s": seconds(read),
            "prepare_s": seconds(*prepared_in),
            "trade_s": seconds(*traded_in),
            "reconcile_s": seconds(reconcile),
            "verify_s": seconds(verify),
            "elapsed_s": seconds(elapsed),
            "orders_per_second": self.orders_per_second().round(),
            "accepted": latencies_json(accepted),
            "settled": latencies_json(settled),
            "day": latencies_json(days),
        })
    }

    fn verified_counts(&self) -> (u64, u64) {
        let all = self.verified.iter();
        all.fold((0, 0), |(rows, events), (_, it)| (rows + it.rows, events + it.events))
    }

    fn write_files(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.figures;
        let days = self.days.map_or_else(String::new, |(first, last, days)| {
            format!(": {}, {first} to {last}", count(days as u64, "day", "days"))
        });
        heading(f, &format!("In the files{days}"))?;
        let rows = (number(it.rows), number(it.invoices));
        writeln!(f, "  {:<44}{:>12} in {} invoices", "rows", rows.0, rows.1)?;
        let who =
            format!("of {} customers and {} guests", number(it.customers), number(it.guest_orders));
        let (orders, total) = (number(it.orders), pounds(it.order_total_pence));
        writeln!(f, "  {:<44}{orders:>12}{total:>18} {who}", "orders")?;
        let (lines, units) = (number(it.order_lines), number(it.order_units));
        let skus = number(it.skus);
        writeln!(f, "  {:<44}{lines:>12} of {units} units, {skus} SKUs", "lines")?;
        let (charges, total) = (number(it.charge_lines), pounds(it.charge_total_pence));
        writeln!(f, "  {:<44}{charges:>12}{total:>18}", "charges: postage, fees")?;
        let lines = [
            ("lines of the ERP: damaged, lost, found", it.adjustment_lines, it.adjustment_invoices),
            ("lines of returns", it.return_lines, it.return_invoices),
        ];
        for (name, lines, invoices) in lines {
            let (lines, invoices) = (number(lines), number(invoices));
            writeln!(f, "  {name:<44}{lines:>12} in {invoices} invoices")?;
        }
        let (dropped, ignored) = (number(it.order_lines_dropped), number(it.ignored_invoices));
        writeln!(f, "  {:<44}{dropped:>12} lines, {ignored} invoices", "left out")
    }

    fn write_orders(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(f, "Orders")?;
        let Trade { paid, out_of_stock, otherwise, .. } = self.trade;
        let short = match self.trade.wrong_shortages.count() {
            0 => "cancelled: out of stock, shortages named",
            _ => "cancelled: out of stock",
        };
        let groups =
            [("paid", paid), (short, out_of_stock), ("cancelled for another reason", otherwise)];
        for (name, Group { orders, total }) in groups {
            writeln!(f, "  {name:<44}{:>12}{:>18}", number(orders), pounds(total))?;
        }
        if self.trade.open > 0 {
            writeln!(f, "  {:<44}{:>12}", "not settled", number(self.trade.open))?;
        }
        let known = self.trade.known;
        let remark = match known {
            0 => "",
            _ if known == self.figures.orders => ": all of them were replayed before",
            _ => "",
        };
        writeln!(f, "  {:<44}{:>12}{remark}", "of these, known from an earlier run", number(known))
    }

    fn write_stock(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trade { catalogue, opening, documents, shipments, .. } = &self.trade;
        heading(f, &format!("Catalogue and stock ({})", stock_name(self.stock)))?;
        let lines = [
            ("products", catalogue),
            ("opening counts", opening),
            ("adjustments and returns", documents),
            ("lines shipped", shipments),
        ];
        for (name, pushed) in lines {
            let (applied, known) = (number(pushed.applied), number(pushed.known));
            write!(f, "  {name:<44}{applied:>12} new, {known} known")?;
            match pushed.refused.count() {
                0 => writeln!(f)?,
                refused => writeln!(f, ", {} refused", number(refused))?,
            }
        }
        Ok(())
    }

    fn write_speed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(f, "Speed")?;
        let Trade { accepted, settled, days, prepared_in, traded_in, .. } = &self.trade;
        writeln!(f, "  {:<44}{:>12}{:>12}{:>12}", "", "p50", "p99", "max")?;
        for (name, latencies) in [
            ("until accepted (one order in ten)", accepted),
            ("until settled", settled),
            ("a day", days),
        ] {
            if latencies.is_empty() {
                continue;
            }
            let (p50, p99) = (latencies.percentile(50.0), latencies.percentile(99.0));
            let (p50, p99, longest) = (time(p50), time(p99), time(latencies.max()));
            writeln!(f, "  {name:<44}{p50:>12}{p99:>12}{longest:>12}")?;
        }
        if self.trade.known < self.figures.orders {
            let speed = number(self.orders_per_second() as u64);
            writeln!(f, "  {:<44}{speed:>12} orders/s", "throughput")?;
        }
        let Timing { read, reconcile, verify, elapsed } = self.timing;
        let mut parts = vec![
            format!("files {}", time(read)),
            format!("catalogue and opening stock {}", time(*prepared_in)),
            format!("trade {}", time(*traded_in)),
            format!("reconciliation {}", time(reconcile)),
        ];
        if !self.verified.is_empty() {
            parts.push(format!("verification and audit {}", time(verify)));
        }
        writeln!(f, "  {}; {} in total", parts.join(", "), time(elapsed))
    }

    fn write_checks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        heading(f, "Reconciled with the installation")?;
        for check in &self.checks {
            let show = |amount| match check.unit {
                Unit::Number => number(amount),
                Unit::Money => pounds(amount),
            };
            let (verdict, actual) = (if check.is_ok() { '✓' } else { '✗' }, show(check.actual));
            write!(f, "  {verdict} {:<68}{actual:>18}", check.claim)?;
            if check.is_ok() {
                writeln!(f)?;
                continue;
            }
            writeln!(f, "  instead of {}", show(check.expected))?;
            check.findings.write(f, 6)?;
        }
        if !self.verified.is_empty() {
            let (rows, events) = self.verified_counts();
            let (rows, events) = (number(rows), number(events));
            let text =
                format!("Audited: {events} events read back from the logs, {rows} rows compared");
            heading(f, &text)?;
            self.audited.iter().try_for_each(|check| write!(f, "{check}"))?;
        }
        writeln!(f)?;
        match self.broken() {
            0 => write!(f, "Every order, every unit and every penny is accounted for."),
            broken => {
                let all = self.checks.len() + self.audited.len();
                write!(f, "{broken} of {all} checks failed.")
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_files(f)?;
        self.write_orders(f)?;
        self.write_stock(f)?;
        self.write_speed(f)?;
        self.write_checks(f)
    }
}

fn heading(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    writeln!(f, "\n{text} {}", "─".repeat(WIDTH.saturating_sub(text.chars().count() + 1)))
}

fn stock_name(stock: Stock) -> &'static str {
    match stock {
        Stock::Ample => "ample",
        Stock::Tight => "tight",
    }
}

fn check_json(check: &Check) -> Value {
    let Check { claim, unit: _, expected, actual, findings } = check;
    let mut object =
        json!({"check": claim, "expected": expected, "actual": actual, "ok": check.is_ok()});
    if findings.count() > 0 {
        object["examples"] = json!(findings.shown());
    }
    object
}

fn audited_json(check: &audit::Check) -> Value {
    let audit::Check { invariant, claim, evidence, looked_at, findings } = check;
    let mut object = json!({"invariant": invariant, "check": claim, "evidence": evidence,
        "looked_at": looked_at, "ok": check.holds()});
    if findings.count() > 0 {
        object["examples"] = json!(findings.shown());
    }
    object
}

fn latencies_json(latencies: &Latencies) -> Value {
    let ms = |time: Duration| (time.as_secs_f64() * 1e5).round() / 100.0;
    json!({
        "count": latencies.len(),
        "p50_ms": ms(latencies.percentile(50.0)),
        "p99_ms": ms(latencies.percentile(99.0)),
        "max_ms": ms(latencies.max()),
    })
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

fn differing(verified: &[(&str, Verified)]) -> usize {
    verified.iter().map(|(_, it)| it.mismatches.len()).sum()
}
