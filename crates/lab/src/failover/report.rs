//! How long no order was settled, beside the goals.

use std::{fmt, time::Duration};

use audit::text::count;

use crate::figures::{Latencies, time};

/// What happened to the server that led the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was killed, and started again when the orders went on.
    Kill,
    /// It was stopped for a while, and went on.
    Hang,
}

/// One fault, and what it cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) fault: Fault,
    /// The longest time in which no order was settled.
    pub(super) pause: Duration,
    /// How long it took until every stream had another leader.
    pub(super) elected: Duration,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Kill => "killed",
            Fault::Hang => "stopped",
        };
        let (pause, elected) = (time(self.pause), time(self.elected));
        write!(f, "{fault:<8} no order settled for {pause:>7}, leaders elected after {elected:>7}")
    }
}

/// What all faults cost.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Orders that were accepted, all of them settled once.
    pub(super) orders: usize,
    kills: Costs,
    hangs: Costs,
}

#[derive(Debug, Default)]
struct Costs {
    pauses: Latencies,
    elections: Latencies,
}

impl Report {
    pub(super) fn add(&mut self, round: Round) {
        let costs = match round.fault {
            Fault::Kill => &mut self.kills,
            Fault::Hang => &mut self.hangs,
        };
        costs.pauses.record(round.pause);
        costs.elections.record(round.elected);
    }
}

/// The goals: of kills, p50 and p99; of hangs, p99.
const KILL_P50: Duration = Duration::from_secs(6);
const KILL_P99: Duration = Duration::from_secs(10);
const HANG_P99: Duration = Duration::from_secs(12);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "p50", "p90", "p99", "max", "goal"];
        row(f, &head.map(str::to_owned))?;
        if !self.kills.pauses.is_empty() {
            let name = count(self.kills.pauses.len(), "kill", "kills");
            let goals = [(50.0, KILL_P50), (99.0, KILL_P99)];
            costs(f, &name, &self.kills, &goals)?;
        }
        if !self.hangs.pauses.is_empty() {
            let name = count(self.hangs.pauses.len(), "hang", "hangs");
            costs(f, &name, &self.hangs, &[(99.0, HANG_P99)])?;
        }
        let orders = count(self.orders as u64, "order was", "orders were");
        write!(f, "{orders} accepted, and each of them settled once.")
    }
}

fn costs(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    costs: &Costs,
    goals: &[(f64, Duration)],
) -> fmt::Result {
    let shown = |(percentile, goal): &(f64, Duration)| {
        let verdict = if costs.pauses.percentile(*percentile) <= *goal { "met" } else { "missed" };
        format!("p{percentile} ≤ {}: {verdict}", time(*goal))
    };
    let goals = goals.iter().map(shown).collect::<Vec<_>>().join(", ");
    percentiles(f, format!("{name}: no order settled"), &costs.pauses, goals)?;
    percentiles(f, format!("{name}: leaders elected"), &costs.elections, String::new())
}

fn percentiles(
    f: &mut fmt::Formatter<'_>,
    name: String,
    of: &Latencies,
    goal: String,
) -> fmt::Result {
    let at = |percentile| time(of.percentile(percentile));
    row(f, &[name, at(50.0), at(90.0), at(99.0), time(of.max()), goal])
}

fn row(f: &mut fmt::Formatter<'_>, [name, p50, p90, p99, max, goal]: &[String; 6]) -> fmt::Result {
    writeln!(f, "{name:<28} {p50:>8} {p90:>8} {p99:>8} {max:>8}  {goal}")
}
