//! The figures as tables, beside what is expected of a machine with two cores.

mod erp;
mod feed;
mod reads;
mod row;
mod webhooks;

use std::{
    fmt::{self, Write},
    time::Duration,
};

use audit::text::number;

use self::row::{
    Cell, EXPECTED_WIDTH, Expected, MET, MISSED, NAME_WIDTH, RATIO_WIDTH, Row, Unit, VALUE_WIDTH,
};
use super::figures::{
    Cost, Fairness, Figures, Latency, Measured, Memory, SetupFigures, TelemetryCost, Throughput,
};
use crate::figures::time;

/// What is expected: sagas a second through the inbox.
const SAGAS_PER_S: f64 = 4_000.0;
/// The durable messages of these, as a share of the limit.
const SAGAS_OF_LIMIT: f64 = 0.5;
/// Orders a second over HTTP, settled.
const ORDERS_PER_S: f64 = 2_500.0;
/// The rate for which latencies are expected.
const EXPECTED_RATE: u32 = 500;
/// At that rate: milliseconds until half of the orders are accepted, and 99 of 100.
const ACCEPTED_P50_MS: f64 = 8.0;
const ACCEPTED_P99_MS: f64 = 25.0;
/// At that rate: milliseconds until 99 of 100 orders are settled.
const SETTLED_P99_MS: f64 = 150.0;
/// Stock lines a second over HTTP.
const LINES_PER_S: f64 = 60_000.0;
/// Goods issues a second over HTTP.
const ISSUES_PER_S: f64 = 20_000.0;
/// Events a second when the database of the orders is rebuilt.
const REBUILD_PER_S: f64 = 250_000.0;
/// Megabytes of everything together, at the load of the benchmark.
const MEMORY_MB: f64 = 300.0;
/// The throughput that telemetry may cost.
const TELEMETRY_LOSS: f64 = 0.03;
/// By how much the load of one shop may raise the p99 of another.
const FAIRNESS_GROWTH: f64 = 0.2;

/// The rows of the table, from the figures of each setup.
struct Table<'a>(Vec<Option<&'a SetupFigures>>);

impl Table<'_> {
    fn row(
        &self,
        name: impl Into<String>,
        unit: Unit,
        expected: Expected,
        cell: impl Fn(&SetupFigures) -> Option<Cell>,
    ) -> Row {
        let of = |figures: Option<&SetupFigures>| figures.and_then(&cell).unwrap_or_default();
        Row { name: name.into(), unit, expected, cells: self.0.iter().copied().map(of).collect() }
    }

    fn rows(&self) -> Vec<Row> {
        use Expected::{AtLeast, Nothing};
        let mut rows = vec![
            self.row("raw batches: messages/s", Unit::Count, Nothing, |it| {
                Some(Cell::of(Some(it.limits.batch_messages_per_s)))
            }),
            self.row("raw single writes: p50", Unit::Millis, Nothing, |it| {
                Some(Cell::of(Some(it.limits.write_p50_ms)))
            }),
            self.row("raw single writes: p99", Unit::Millis, Nothing, |it| {
                Some(Cell::of(Some(it.limits.write_p99_ms)))
            }),
            self.row("orders through the inbox/s", Unit::Count, AtLeast(SAGAS_PER_S), |it| {
                it.throughput(it.sagas)
            }),
            self.row(
                "  their messages, of the limit",
                Unit::Share,
                AtLeast(SAGAS_OF_LIMIT),
                |it| it.sagas.map(|sagas| Cell::of(Some(it.of_limit(sagas.messages_per_s)))),
            ),
            self.row("orders over HTTP/s, settled", Unit::Count, AtLeast(ORDERS_PER_S), |it| {
                it.throughput(it.orders)
            }),
        ];
        for rate in self.rates() {
            rows.extend(self.latency_rows(rate));
        }
        rows.push(self.row("stock lines over HTTP/s", Unit::Count, AtLeast(LINES_PER_S), |it| {
            it.throughput(it.stock_lines)
        }));
        rows.push(self.row("goods issues over HTTP/s", Unit::Count, AtLeast(ISSUES_PER_S), |it| {
            it.throughput(it.goods_issues)
        }));
        for (service, expected) in [("order", AtLeast(REBUILD_PER_S)), ("inventory", Nothing)] {
            let name = format!("rebuild of {service}: events/s");
            rows.push(self.row(name, Unit::Count, expected, |it| {
                let rebuild = it.rebuilds.iter().find(|rebuild| rebuild.service == service)?;
                let share = rebuild.events_per_s / rebuild.read_per_s;
                Some(Cell::share(rebuild.events_per_s, share))
            }));
        }
        rows.extend(self.memory_rows());
        rows.retain(|row| !row.is_empty());
        rows
    }

    /// The rates that were measured in any setup.
    fn rates(&self) -> Vec<u32> {
        let latencies = self.0.iter().flatten().flat_map(|figures| &figures.latencies);
        let mut rates: Vec<u32> = latencies.map(|latency| latency.rate_per_s).collect();
        rates.sort_unstable();
        rates.dedup();
        rates
    }

    fn latency_rows(&self, rate: u32) -> Vec<Row> {
        let at_most = |most| match rate {
            EXPECTED_RATE => Expected::AtMost(most),
            _ => Expected::Nothing,
        };
        let row = |what: &str, expected, value: fn(&Latency) -> f64| {
            let is_p99 = what.ends_with("p99");
            self.row(format!("at {rate} orders/s: {what}"), Unit::Millis, expected, |it| {
                let latency = it.latencies.iter().find(|latency| latency.rate_per_s == rate)?;
                let limit = if is_p99 { it.limits.write_p99_ms } else { it.limits.write_p50_ms };
                Some(Cell::times(value(latency), limit))
            })
        };
        vec![
            row("accepted, p50", at_most(ACCEPTED_P50_MS), |it| it.accepted_p50_ms),
            row("accepted, p99", at_most(ACCEPTED_P99_MS), |it| it.accepted_p99_ms),
            row("settled, p50", Expected::Nothing, |it| it.settled_p50_ms),
            row("settled, p99", at_most(SETTLED_P99_MS), |it| it.settled_p99_ms),
        ]
    }

    fn memory_rows(&self) -> Vec<Row> {
        let row = |name: &str, expected, megabytes: fn(&Memory) -> u64| {
            self.row(name, Unit::Megabytes, expected, |it| {
                let memory = it.memory_at_load.as_ref().map(megabytes)?;
                (memory > 0).then(|| Cell::of(Some(memory as f64)))
            })
        };
        vec![
            row("memory: services", Expected::Nothing, |it| it.services_mb),
            row("memory: nats-server", Expected::Nothing, |it| it.broker_mb),
            row("memory: Postgres", Expected::Nothing, |it| it.postgres_mb),
            row("memory: load generator", Expected::Nothing, |it| it.bench_mb),
            row("memory: everything together", Expected::AtMost(MEMORY_MB), |it| it.total_mb),
            self.row("memory of a rebuild: everything", Unit::Megabytes, Expected::Nothing, |it| {
                Some(Cell::of(it.memory_of_rebuild.map(|memory| memory.total_mb as f64)))
            }),
        ]
    }
}

impl SetupFigures {
    /// A throughput, and the share of the limit that its messages are.
    fn throughput(&self, throughput: Option<Throughput>) -> Option<Cell> {
        let Throughput { per_s, messages_per_s, .. } = throughput?;
        Some(Cell::share(per_s, self.of_limit(messages_per_s)))
    }

    /// Messages a second, as a share of the limit.
    fn of_limit(&self, messages_per_s: f64) -> f64 {
        messages_per_s / self.limits.batch_messages_per_s
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nAll on this machine: nats-server (fsync before each acknowledgement), the services, and \
             the load\ngenerator. The expected figures are for two cores: {MET} met, {MISSED} missed."
        )?;
        if !self.setups.is_empty() {
            self.write_setups(f)?;
        }
        if let Some(telemetry) = &self.telemetry {
            write_measured(f, "Telemetry", telemetry)?;
        }
        if let Some(fairness) = &self.fairness {
            write_measured(f, "Fairness", fairness)?;
        }
        if let Some(webhooks) = &self.webhooks_http {
            write_measured(f, "Webhooks by the sender alone", webhooks)?;
        }
        if let Some(webhooks) = &self.webhooks {
            write_measured(f, "Webhooks", webhooks)?;
        }
        if let Some(feed) = &self.feed {
            write_measured(f, "Feed", feed)?;
        }
        if let Some(reads) = &self.reads {
            write_measured(f, "Reads", reads)?;
        }
        if let Some(erp) = &self.erp {
            write_measured(f, "ERP", erp)?;
        }
        write!(f, "\n{} in total.", time(Duration::from_secs_f64(self.seconds)))
    }
}

impl Figures {
    fn write_setups(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = "expected";
        let mut head = format!("\n  {:<NAME_WIDTH$}{expected:>EXPECTED_WIDTH$}", "");
        for (setup, _) in &self.setups {
            let width = VALUE_WIDTH + RATIO_WIDTH;
            write!(head, "{:>width$}  ", setup.to_string())?;
        }
        writeln!(f, "{}", head.trim_end())?;
        let figures = self.setups.iter().map(|(_, measured)| measured.figures());
        for row in Table(figures.collect()).rows() {
            writeln!(f, "{row}")?;
        }
        for (setup, measured) in &self.setups {
            if let Some(problem) = measured.problem() {
                writeln!(f, "  {setup}: not measured: {problem}")?;
            }
        }
        writeln!(
            f,
            "\n  R1: one nats-server. R3: three, with three replicas of each stream. Percentages: of throughput, the\n  \
             share of raw batches that its durable messages are; of a rebuild, the share of reading the log alone.\n  \
             Multiples of a latency: of a raw single write at the same percentile."
        )
    }
}

fn write_measured<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    measured: &Measured<T>,
) -> fmt::Result {
    match measured {
        Measured::Figures(figures) => writeln!(f, "\n{figures}"),
        Measured::Absent(problem) | Measured::Failed(problem) => {
            writeln!(f, "\n{title}: not measured: {problem}")
        }
    }
}

impl fmt::Display for TelemetryCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { orders, by_default, every_trace } = self;
        writeln!(
            f,
            "Telemetry: all metrics, with the default share of traces and with a trace of every request, against\n\
             none; {} rounds of {} orders each.",
            by_default.throughput_loss.len(),
            number(*orders)
        )?;
        writeln!(f, "{}", head(&["default", "every trace"]))?;
        let row = |name: &str, unit, expected, value: &dyn Fn(&Cost) -> Option<f64>| Row {
            name: name.to_owned(),
            unit,
            expected,
            cells: [by_default, every_trace].map(|cost| Cell::of(value(cost))).into(),
        };
        let loss = |name: &str, expected, percentile| {
            row(name, Unit::Share, expected, &move |cost| Some(cost.loss(percentile)))
        };
        let none = Expected::Nothing;
        writeln!(
            f,
            "{}",
            loss("loss of orders/s: median", Expected::AtMost(TELEMETRY_LOSS), 50.0)
        )?;
        writeln!(f, "{}", loss("  first quartile", none, 25.0))?;
        writeln!(f, "{}", loss("  third quartile", none, 75.0))?;
        let growth = row("more CPU time of the services", Unit::Share, none, &|it| it.cpu_growth);
        writeln!(f, "{growth}")?;
        let exported = |cost: &Cost| Some(cost.exported_kb as f64 / 1000.0);
        write!(f, "{}", row("spans exported", Unit::Megabytes, none, &exported))
    }
}

/// The first line of a table with these columns.
fn head(columns: &[&str]) -> String {
    let width = VALUE_WIDTH + RATIO_WIDTH;
    let mut head = format!("  {:<NAME_WIDTH$}{:>EXPECTED_WIDTH$}", "", "expected");
    for name in columns {
        head.extend([format!("{name:>width$}"), "  ".to_owned()]);
    }
    head.trim_end().to_owned()
}

impl fmt::Display for Fairness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { alone, beside_lines, beside_orders, .. } = self;
        writeln!(
            f,
            "Fairness: {} orders/s of one shop, alone; beside a shop that pushed {} stock lines; and beside one\n\
             that placed {} orders/s, of which {} were accepted. Elsewhere: with that load in another installation\n\
             on the same machine.",
            alone.rate_per_s,
            number(self.lines),
            number(self.orders_per_s),
            number(self.orders_accepted)
        )?;
        writeln!(f, "{}", head(&["alone", "beside lines", "beside orders"]))?;
        let with = [alone, beside_lines, beside_orders];
        let row = |name: &str, value: fn(&Latency) -> f64| Row {
            name: name.to_owned(),
            unit: Unit::Millis,
            expected: Expected::Nothing,
            cells: with.map(|it| Cell::of(Some(value(it)))).into(),
        };
        writeln!(f, "{}", row("accepted, p50", |it| it.accepted_p50_ms))?;
        writeln!(f, "{}", row("accepted, p99", |it| it.accepted_p99_ms))?;
        self.write_growth(f, |it| it.accepted_p99_ms)?;
        writeln!(f)?;
        writeln!(f, "{}", row("settled, p50", |it| it.settled_p50_ms))?;
        writeln!(f, "{}", row("settled, p99", |it| it.settled_p99_ms))?;
        self.write_growth(f, |it| it.settled_p99_ms)
    }
}

impl Fairness {
    /// By how much a figure is larger than alone, with the load beside and elsewhere.
    fn write_growth(&self, f: &mut fmt::Formatter<'_>, value: fn(&Latency) -> f64) -> fmt::Result {
        let growth = |it: &Latency| Cell::of(Some(value(it) / value(&self.alone) - 1.0));
        let row = |name: &str, expected, lines, orders| Row {
            name: name.to_owned(),
            unit: Unit::Share,
            expected,
            cells: vec![Cell::default(), growth(lines), growth(orders)],
        };
        let limit = Expected::AtMost(FAIRNESS_GROWTH);
        let beside = row("  more than alone", limit, &self.beside_lines, &self.beside_orders);
        let (lines, orders) = (&self.lines_apart, &self.orders_apart);
        let apart = row("  with the load elsewhere", Expected::Nothing, lines, orders);
        write!(f, "{beside}\n{apart}")
    }
}

#[cfg(test)]
mod tests;
