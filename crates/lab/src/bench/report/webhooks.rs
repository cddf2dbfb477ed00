//! The figures of webhooks as tables.

use std::fmt;

use audit::text::number;

use super::{
    head,
    row::{Cell, Expected, Row, Unit},
};
use crate::bench::figures::{Backlog, Processed, Webhooks, WebhooksHttp};

/// Milliseconds of the processors that a webhook may take.
const DELIVERY_CPU_MS: f64 = 0.15;
/// Deliveries a second from a backlog, to one endpoint and to ten.
const TO_ONE_PER_S: f64 = 10_000.0;
const TO_TEN_PER_S: f64 = 20_000.0;
/// Deliveries a second while as many orders settle.
const BESIDE_ORDERS_PER_S: f64 = 2_500.0;
/// At 500 events a second: milliseconds from an event in its log until half are attempted, and 99 of 100.
const FIRST_ATTEMPT_P50_MS: f64 = 5.0;
const FIRST_ATTEMPT_P99_MS: f64 = 15.0;
/// By how much an endpoint that does not answer may raise the p99 of another.
const HANGING_GROWTH: f64 = 0.1;
/// By how much a backlog of four times the size may raise the memory of the services.
const MEMORY_GROWTH: f64 = 0.1;

impl fmt::Display for WebhooksHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keep_alive, bare, new_connections } = self;
        writeln!(
            f,
            "Webhooks: {} deliveries to one receiver by the sender alone; the same requests by\n\
             an HTTP client that signs and vets nothing; and {} with a new connection each.",
            number(keep_alive.count),
            number(new_connections.count)
        )?;
        writeln!(f, "{}", head(&["sender", "client alone", "connections"]))?;
        let row = |name: &str, unit, expected, value: fn(&Processed) -> Option<f64>| Row {
            name: name.to_owned(),
            unit,
            expected,
            cells: [keep_alive, bare, new_connections].map(|it| Cell::of(value(it))).into(),
        };
        let deliveries = row("deliveries/s", Unit::Count, Expected::Nothing, |it| Some(it.per_s));
        writeln!(f, "{deliveries}")?;
        let mut cpu =
            row("CPU time, each", Unit::Millis, Expected::AtMost(DELIVERY_CPU_MS), |it| it.cpu_ms);
        // What is expected concerns the sender with connections that stay open.
        cpu.cells.truncate(1);
        write!(f, "{cpu}")
    }
}

impl fmt::Display for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, one, some, many, .. } = self;
        let counts = [one.deliveries, some.deliveries, *many].map(|it| number(it.count as i64));
        let [one_count, some_count, many_count] = counts;
        writeln!(
            f,
            "Webhooks through all services: {one_count} deliveries from a backlog to one endpoint, {some_count} to ten,\n\
             and {many_count} to 1,000. Percentages and multiples: of the sender alone in the same run, with {}/s.",
            number(limit.per_s.round() as i64)
        )?;
        writeln!(f, "{}", head(&["one endpoint", "ten", "1,000"]))?;
        for row in self.rows() {
            writeln!(f, "{row}")?;
        }
        let Self { beside_orders, first_attempts, beside_hanging, .. } = self;
        let rate = number(beside_orders.orders_per_s.round() as i64);
        let single = |name: String, unit, expected, value| Row {
            name,
            unit,
            expected,
            cells: vec![Cell::of(Some(value))],
        };
        let beside = single(
            format!("beside {rate} orders/s: deliveries/s"),
            Unit::Count,
            Expected::AtLeast(BESIDE_ORDERS_PER_S),
            beside_orders.deliveries_per_s,
        );
        writeln!(f, "{beside}")?;
        let at = first_attempts.rate_per_s;
        let first = |what: &str, most, value| {
            single(format!("at {at} events/s: {what}"), Unit::Millis, Expected::AtMost(most), value)
        };
        writeln!(f, "{}", first("attempted, p50", FIRST_ATTEMPT_P50_MS, first_attempts.p50_ms))?;
        writeln!(f, "{}", first("attempted, p99", FIRST_ATTEMPT_P99_MS, first_attempts.p99_ms))?;
        let growth = beside_hanging.p99_ms / first_attempts.p99_ms - 1.0;
        let hanging = "  more beside one that hangs".to_owned();
        write!(f, "{}", single(hanging, Unit::Share, Expected::AtMost(HANGING_GROWTH), growth))
    }
}

impl Webhooks {
    /// The rows with a column for each number of endpoints.
    fn rows(&self) -> Vec<Row> {
        let Self { limit, one, some, many, .. } = self;
        let throughput = |it: &Processed| Cell::share(it.per_s, it.per_s / limit.per_s);
        let row = |name: &str, unit, expected, cells: Vec<Cell>| Row {
            name: name.to_owned(),
            unit,
            expected,
            cells,
        };
        let cpu = |it: &Processed| match (it.cpu_ms, limit.cpu_ms) {
            (Some(value), Some(limit)) => Cell::times(value, limit),
            _ => Cell::default(),
        };
        let growth = |it: &Backlog| {
            let memory = it.memory_mb.zip(it.memory_of_quarter_mb);
            Cell::of(memory.map(|(all, quarter)| all as f64 / quarter as f64 - 1.0))
        };
        let memory = |it: &Backlog| Cell::of(it.memory_mb.map(|memory| memory as f64));
        let one_cell = throughput(&one.deliveries);
        let others = vec![Cell::default(), throughput(&some.deliveries), throughput(many)];
        vec![
            row("deliveries/s", Unit::Count, Expected::AtLeast(TO_ONE_PER_S), vec![one_cell]),
            row("deliveries/s", Unit::Count, Expected::AtLeast(TO_TEN_PER_S), others),
            row(
                "CPU time of the services, each",
                Unit::Micros,
                Expected::AtMost(DELIVERY_CPU_MS),
                vec![cpu(&one.deliveries), cpu(&some.deliveries), cpu(many)],
            ),
            row(
                "memory of the services, waiting",
                Unit::Megabytes,
                Expected::Nothing,
                vec![memory(one), memory(some)],
            ),
            row(
                "  more than with a quarter of it",
                Unit::Share,
                Expected::AtMost(MEMORY_GROWTH),
                vec![growth(one), growth(some)],
            ),
        ]
    }
}
