//! The figures, beside what is expected of a machine with two cores.

use std::{fmt, time::Duration};

use audit::text::number;
use engine::RawLimit;
use serde::Serialize;

use crate::figures::{Latencies, rate, time};

/// What is expected: order sagas a second through the inbox.
const SAGAS_PER_S: f64 = 1_500.0;
/// Orders a second over HTTP.
const ORDERS_PER_S: f64 = 600.0;
/// Milliseconds until 99 of 100 orders are accepted.
const ACCEPTED_P99_MS: f64 = 50.0;
/// Stock lines a second over HTTP.
const LINES_PER_S: f64 = 20_000.0;
/// Events a second when a database is rebuilt.
const EVENTS_PER_S: f64 = 100_000.0;
/// Megabytes at most, of this process and of nats-server together.
const MEMORY_MB: u64 = 400;

/// All figures of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Messages a second: raw atomic batches of 500 messages of 300 bytes, each batch fsynced.
    pub limit_messages_per_s: f64,
    /// Orders through the inbox, without HTTP.
    pub sagas: Throughput,
    /// Orders over HTTP, as fast as possible.
    pub http: Throughput,
    /// Orders over HTTP, at a fixed rate.
    pub latency: Latency,
    /// Stock lines over HTTP.
    pub stock_lines: Throughput,
    /// Databases that were rebuilt from their logs.
    pub rebuilds: Vec<Rebuild>,
    /// The memory that it took.
    pub peak_memory: Memory,
}

/// How many went through in what time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Throughput {
    /// So many.
    pub count: u64,
    /// In this time, in seconds.
    pub seconds: f64,
    /// For each second.
    pub per_s: f64,
    /// The durable messages that it took, for each second.
    pub messages_per_s: f64,
    /// The ratio of these to the limit.
    pub of_limit: f64,
}

impl Throughput {
    /// So many in that time, with so many durable messages.
    pub fn new(count: u64, took: Duration, messages: u64) -> Self {
        Self {
            count,
            seconds: took.as_secs_f64(),
            per_s: rate(count, took),
            messages_per_s: rate(messages, took),
            of_limit: 0.0,
        }
    }

    fn against(self, limit: f64) -> Self {
        Self { of_limit: self.messages_per_s / limit, ..self }
    }

    fn messages_each(&self) -> f64 {
        self.messages_per_s / self.per_s
    }
}

/// How long orders took at a fixed rate, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Orders a second.
    pub rate_per_s: u32,
    /// Orders in all.
    pub count: u64,
    /// Until half of them were accepted.
    pub accepted_p50_ms: f64,
    /// Until 99 of 100 were accepted.
    pub accepted_p99_ms: f64,
    /// Until half of them had ended.
    pub settled_p50_ms: f64,
    /// Until 99 of 100 had ended.
    pub settled_p99_ms: f64,
}

impl Latency {
    /// From what was recorded.
    pub fn new(rate_per_s: u32, accepted: &Latencies, settled: &Latencies) -> Self {
        let millis = |latencies: &Latencies, percentile| {
            latencies.percentile(percentile).as_secs_f64() * 1000.0
        };
        Self {
            rate_per_s,
            count: accepted.len(),
            accepted_p50_ms: millis(accepted, 50.0),
            accepted_p99_ms: millis(accepted, 99.0),
            settled_p50_ms: millis(settled, 50.0),
            settled_p99_ms: millis(settled, 99.0),
        }
    }
}

/// A database that was rebuilt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rebuild {
    /// Whose it is.
    pub service: &'static str,
    /// The events of its log.
    pub events: u64,
    /// For each second.
    pub events_per_s: f64,
}

impl Rebuild {
    /// So many events in that time.
    pub fn new(service: &'static str, events: u64, took: Duration) -> Self {
        Self { service, events, events_per_s: rate(events, took) }
    }
}

/// Peak memory in megabytes; absent where the system does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Of this process: all services and the load.
    pub tradewind_mb: Option<u64>,
    /// Of nats-server.
    pub nats_server_mb: Option<u64>,
}

impl Figures {
    /// Puts the figures together.
    pub fn new(
        limit: RawLimit,
        sagas: Throughput,
        http: Throughput,
        latency: Latency,
        stock_lines: Throughput,
        rebuilds: Vec<Rebuild>,
        peak_memory: Memory,
    ) -> Self {
        let limit = rate(limit.messages, limit.took);
        Self {
            limit_messages_per_s: limit,
            sagas: sagas.against(limit),
            http: http.against(limit),
            latency,
            stock_lines: stock_lines.against(limit),
            rebuilds,
            peak_memory,
        }
    }
}

/// A line of the table.
struct Row {
    name: String,
    measured: String,
    expected: String,
    is_met: bool,
    of_limit: Option<f64>,
}

impl Row {
    fn new(name: impl Into<String>, measured: impl Into<String>) -> Self {
        let (name, measured) = (name.into(), measured.into());
        Self { name, measured, expected: String::new(), is_met: true, of_limit: None }
    }

    /// At least so many a second are expected.
    fn throughput(name: &str, figures: &Throughput, expected: f64) -> Self {
        Self {
            of_limit: Some(figures.of_limit),
            ..Self::new(name, whole(figures.per_s)).at_least(figures.per_s, expected)
        }
    }

    fn at_least(self, measured: f64, expected: f64) -> Self {
        let is_met = measured >= expected;
        Self { expected: format!("≥ {}", whole(expected)), is_met, ..self }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, measured, expected, .. } = self;
        let of_limit = self.of_limit.map_or_else(String::new, |it| format!("{:.0} %", it * 100.0));
        write!(f, "  {name:<52}{measured:>12}{expected:>12}{of_limit:>14}")?;
        if self.is_met { Ok(()) } else { write!(f, "  missed") }
    }
}

impl Figures {
    fn rows(&self) -> Vec<Row> {
        let Latency { accepted_p99_ms, .. } = self.latency;
        let at = format!("at {} orders/s over HTTP", self.latency.rate_per_s);
        let mut rows = vec![
            Row::new(
                "raw batches of 300-byte messages: messages/s",
                whole(self.limit_messages_per_s),
            ),
            Row::throughput("orders through the inbox: sagas/s", &self.sagas, SAGAS_PER_S),
            Row::throughput(
                "orders over HTTP, as fast as possible: orders/s",
                &self.http,
                ORDERS_PER_S,
            ),
            Row::new(format!("{at}: accepted, p50"), millis(self.latency.accepted_p50_ms)),
            Row {
                expected: format!("≤ {}", millis(ACCEPTED_P99_MS)),
                is_met: accepted_p99_ms <= ACCEPTED_P99_MS,
                ..Row::new(format!("{at}: accepted, p99"), millis(accepted_p99_ms))
            },
            Row::new(format!("{at}: settled, p50"), millis(self.latency.settled_p50_ms)),
            Row::new(format!("{at}: settled, p99"), millis(self.latency.settled_p99_ms)),
            Row::throughput("stock lines over HTTP: lines/s", &self.stock_lines, LINES_PER_S),
        ];
        for Rebuild { service, events_per_s, .. } in &self.rebuilds {
            let row = Row::new(format!("rebuild of {service}: events/s"), whole(*events_per_s));
            rows.push(row.at_least(*events_per_s, EVENTS_PER_S));
        }
        rows.extend(self.peak_memory.rows());
        rows
    }
}

impl Memory {
    fn rows(self) -> Vec<Row> {
        let Self { tradewind_mb, nats_server_mb } = self;
        let shown = |megabytes: Option<u64>| match megabytes {
            Some(megabytes) => format!("{} MB", number(megabytes)),
            None => "not known".to_owned(),
        };
        let sum = tradewind_mb.zip(nats_server_mb).map(|(ours, servers)| ours + servers);
        vec![
            Row::new("peak memory: services and load generator", shown(tradewind_mb)),
            Row::new("peak memory: nats-server", shown(nats_server_mb)),
            Row {
                expected: format!("≤ {MEMORY_MB} MB"),
                is_met: sum.is_none_or(|sum| sum <= MEMORY_MB),
                ..Row::new("peak memory: total", shown(sum))
            },
        ]
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nAll on this machine: nats-server (fsync before each acknowledgement), all services"
        )?;
        writeln!(
            f,
            "on SQLite, and the load generator. The expected figures are for two cores.\n"
        )?;
        let (measured, expected, of_limit) = ("measured", "expected", "of limit");
        writeln!(f, "  {:<52}{measured:>12}{expected:>12}{of_limit:>14}", "")?;
        for row in self.rows() {
            writeln!(f, "{row}")?;
        }
        write!(
            f,
            "\n  The limit is the first line. Durable messages: {:.1} per saga, {:.1} per order over HTTP,\n  \
             {:.2} per stock line.",
            self.sagas.messages_each(),
            self.http.messages_each(),
            self.stock_lines.messages_each()
        )
    }
}

fn whole(figure: f64) -> String {
    number(figure.round() as i64)
}

fn millis(millis: f64) -> String {
    time(Duration::from_secs_f64(millis / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_millis(80));
        let second = Duration::from_secs(1);
        Figures::new(
            RawLimit { messages: 40_000, took: second },
            Throughput::new(2_000, second, 20_000),
            Throughput::new(500, second, 5_200),
            Latency::new(300, &latencies, &latencies),
            Throughput::new(50_000, second, 50_100),
            vec![Rebuild::new("order", 300_000, second)],
            Memory { tradewind_mb: Some(150), nats_server_mb: None },
        )
    }

    #[track_caller]
    fn row(name: &str) -> Row {
        let rows = figures().rows().into_iter();
        rows.into_iter().find(|row| row.name.contains(name)).expect("is in the table")
    }

    #[test]
    fn figures_stand_beside_what_is_expected_and_the_limit() {
        assert_eq!(
            row("inbox").to_string(),
            "  orders through the inbox: sagas/s                          2,000     ≥ 1,500          50 %"
        );
        assert!(row("as fast as possible").to_string().ends_with("13 %  missed"));
        assert!(row("accepted, p99").to_string().ends_with("missed"));
        assert!(row("rebuild of order").is_met);
        assert!(row("nats-server").measured.contains("not known"));
    }

    #[test]
    fn the_report_for_machines_has_the_same_figures() {
        let json = serde_json::to_value(figures()).expect("serialises");
        assert_eq!(json["sagas"]["per_s"], 2_000.0);
        assert_eq!(json["sagas"]["of_limit"], 0.5);
        assert_eq!(json["rebuilds"][0]["service"], "order");
        assert!(json["peak_memory"]["nats_server_mb"].is_null());
    }
}
