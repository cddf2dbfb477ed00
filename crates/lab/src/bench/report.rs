//! The figures as tables, beside what is expected of a machine with two cores.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use audit::text::number;

use super::figures::{
    Fairness, Figures, Latency, Measured, Memory, SetupFigures, TelemetryCost, Throughput,
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

/// The columns: name, expectation, and one for each setup.
const NAME_WIDTH: usize = 34;
const EXPECTED_WIDTH: usize = 10;
const VALUE_WIDTH: usize = 10;
const RATIO_WIDTH: usize = 7;
/// Shown behind a figure that has an expectation.
const MET: &str = "✓";
const MISSED: &str = "✗";

/// How a figure is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Count,
    Share,
    Millis,
    Megabytes,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Count => number(value.round() as i64),
            Self::Share => format!("{:.1} %", value * 100.0),
            Self::Millis => time(Duration::from_secs_f64(value.max(0.0) / 1000.0)),
            Self::Megabytes => format!("{} MB", number(value.round() as i64)),
        }
    }
}

/// What is expected of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    Nothing,
    AtLeast(f64),
    AtMost(f64),
}

impl Expected {
    fn show(self, unit: Unit) -> String {
        // As short as they were set: 50 %, and not 50.0 %.
        let show = |value: f64| unit.show(value).replace(".0 ", " ");
        match self {
            Self::Nothing => String::new(),
            Self::AtLeast(least) => format!("≥ {}", show(least)),
            Self::AtMost(most) => format!("≤ {}", show(most)),
        }
    }

    /// The mark behind a figure.
    fn mark(self, value: f64) -> &'static str {
        let is_met = match self {
            Self::Nothing => return "",
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        };
        if is_met { MET } else { MISSED }
    }
}

/// A figure, and its ratio to the limit that was measured in the same run.
#[derive(Debug, Clone, Default, PartialEq)]
struct Cell {
    value: Option<f64>,
    ratio: String,
}

impl Cell {
    fn of(value: Option<f64>) -> Self {
        Self { value, ratio: String::new() }
    }

    /// A throughput as a share of the limit.
    fn share(value: f64, share: f64) -> Self {
        Self { value: Some(value), ratio: format!("{:.0} %", share * 100.0) }
    }

    /// A time as a multiple of the limit.
    fn times(value: f64, limit: f64) -> Self {
        Self { value: Some(value), ratio: format!("{:.1} ×", value / limit) }
    }
}

/// A line of the table, with a cell for each setup.
#[derive(Debug)]
struct Row {
    name: String,
    unit: Unit,
    expected: Expected,
    cells: Vec<Cell>,
}

impl Row {
    /// Whether nobody measured it.
    fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| cell.value.is_none())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, expected, cells } = self;
        let mut line = format!("  {name:<NAME_WIDTH$}{:>EXPECTED_WIDTH$}", expected.show(*unit));
        for Cell { value, ratio } in cells {
            let shown = value.map_or_else(|| "–".to_owned(), |value| unit.show(value));
            let mark = value.map_or("", |value| expected.mark(value));
            write!(line, "{shown:>VALUE_WIDTH$}{ratio:>RATIO_WIDTH$}{mark:>2}")?;
        }
        f.write_str(line.trim_end())
    }
}

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
        let expected = Expected::AtMost(TELEMETRY_LOSS);
        let (median, low, high) = (self.loss(50.0), self.loss(25.0), self.loss(75.0));
        writeln!(
            f,
            "Telemetry: a trace of every request and all metrics, against none; {} pairs of {} orders, {} kB of\n\
             spans exported.",
            self.throughput_loss.len(),
            number(self.orders),
            number(self.exported_kb)
        )?;
        let row = |name: &str, expected, value| Row {
            name: name.to_owned(),
            unit: Unit::Share,
            expected,
            cells: vec![Cell::of(value)],
        };
        let loss = row("loss of orders/s: median of pairs", expected, Some(median));
        let quartiles = format!("(quartiles {:.1} % and {:.1} %)", low * 100.0, high * 100.0);
        writeln!(f, "{loss}  {quartiles}")?;
        let growth = row("more CPU time of the services", Expected::Nothing, self.cpu_growth);
        write!(f, "{growth}")
    }
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
        let names = ["alone", "beside lines", "beside orders"];
        let mut head = format!("  {:<NAME_WIDTH$}{:>EXPECTED_WIDTH$}", "", "expected");
        for name in names {
            let width = VALUE_WIDTH + RATIO_WIDTH;
            write!(head, "{name:>width$}  ")?;
        }
        writeln!(f, "{}", head.trim_end())?;
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
mod tests {
    use super::*;
    use crate::{
        bench::figures::{Limits, Rebuild, Setup},
        figures::Latencies,
    };

    fn figures() -> Figures {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_millis(80));
        let mut raw = Latencies::default();
        raw.record(Duration::from_millis(2));
        let second = Duration::from_secs(1);
        let measured = SetupFigures {
            limits: Limits::new(40_000.0, &raw),
            sagas: Some(Throughput::new(5_000, second, 20_000)),
            orders: Some(Throughput::new(500, second, 5_200)),
            latencies: vec![
                Latency::new(300, &latencies, &latencies),
                Latency::new(500, &latencies, &latencies),
            ],
            rebuilds: vec![Rebuild {
                service: "order",
                events: 300_000,
                events_per_s: 300_000.0,
                read_per_s: 600_000.0,
            }],
            memory_at_load: Some(Memory { total_mb: 250, services_mb: 250, ..Memory::default() }),
            ..SetupFigures::default()
        };
        let absent = Measured::Absent("Postgres is not installed".to_owned());
        Figures {
            setups: vec![
                (Setup::R1Sqlite, Measured::Figures(measured)),
                (Setup::R1Postgres, absent),
            ],
            seconds: 60.0,
            ..Figures::default()
        }
    }

    #[track_caller]
    fn line(figures: &Figures, name: &str) -> String {
        let text = figures.to_string();
        let line = text.lines().find(|line| line.contains(name));
        line.unwrap_or_else(|| panic!("{name} is not in {text}")).to_owned()
    }

    #[test]
    fn figures_stand_beside_what_is_expected_and_the_limit() {
        let figures = figures();
        assert_eq!(
            line(&figures, "orders through the inbox"),
            "  orders through the inbox/s           ≥ 4,000     5,000   50 % ✓         –"
        );
        assert!(line(&figures, "of the limit").contains("≥ 50 %    50.0 %        ✓"));
        assert!(line(&figures, "orders over HTTP").contains("500   13 % ✗"));
        assert!(line(&figures, "at 500 orders/s: accepted, p99").contains("80 ms 40.0 × ✗"));
        assert!(line(&figures, "at 500 orders/s: settled, p99").contains('✓'));
        assert!(!line(&figures, "at 300 orders/s: accepted, p99").contains('✗'));
        assert!(line(&figures, "rebuild of order").contains("300,000   50 % ✓"));
        assert!(line(&figures, "everything together").contains("250 MB        ✓"));
    }

    #[test]
    fn what_was_not_measured_is_said_and_has_no_row() {
        let figures = figures();
        assert!(figures.is_complete());
        assert!(line(&figures, "R1, Postgres: not").ends_with("Postgres is not installed"));
        let text = figures.to_string();
        assert!(!text.contains("stock lines"), "{text}");
        assert!(!text.contains("memory: Postgres"), "{text}");
        let failed = Figures { fairness: Some(Measured::Failed("lost".to_owned())), ..figures };
        assert!(!failed.is_complete());
        assert_eq!(line(&failed, "Fairness"), "Fairness: not measured: lost");
    }

    #[test]
    fn the_cost_of_telemetry_is_the_median_of_its_pairs() {
        let cost = TelemetryCost {
            throughput_loss: vec![0.01, 0.05, 0.02],
            cpu_growth: Some(0.04),
            orders: 2_000,
            exported_kb: 10,
        };
        let text = cost.to_string();
        assert!(text.contains("≤ 3 %     2.0 %        ✓  (quartiles 1.5 % and 3.5 %)"), "{text}");
    }

    #[test]
    fn a_shop_that_slows_another_down_is_shown() {
        let latency = |millis| {
            let mut latencies = Latencies::default();
            latencies.record(Duration::from_millis(millis));
            Latency::new(100, &latencies, &latencies)
        };
        let fairness = Fairness {
            alone: latency(100),
            beside_lines: latency(110),
            lines: 5_000,
            lines_apart: latency(105),
            beside_orders: latency(130),
            orders_per_s: 1_000,
            orders_accepted: 900,
            orders_apart: latency(120),
        };
        let text = fairness.to_string();
        let growth = text.lines().find(|line| line.contains("more than alone"));
        let growth = growth.expect("there is such a line");
        assert!(growth.contains("10.0 %        ✓    30.0 %        ✗"), "{growth}");
        let apart = text.lines().find(|line| line.contains("with the load elsewhere"));
        let apart = apart.expect("there is such a line");
        assert!(apart.contains("5.0 %") && apart.contains("20.0 %"), "{apart}");
    }
}
