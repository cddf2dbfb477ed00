//! How long no order was settled, beside the goals.

use std::{fmt, time::Duration};

use audit::text::count;

use crate::figures::{Latencies, time};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server that led the streams was killed, and started again when the orders went on.
    Kill,
    /// The server that led the streams was stopped for a while, and went on.
    Hang,
    /// The process with all services was killed, and started again at once.
    Restart,
    /// The process that ran the partitions was killed, and another one ran.
    Takeover,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Kill, Self::Hang, Self::Restart, Self::Takeover];

    fn count(self, faults: u64) -> String {
        match self {
            Self::Kill => count(faults, "kill", "kills"),
            Self::Hang => count(faults, "hang", "hangs"),
            Self::Restart => count(faults, "restart", "restarts"),
            Self::Takeover => count(faults, "takeover", "takeovers"),
        }
    }

    /// The goals: a percentile, and the seconds that it should not exceed.
    fn goals(self) -> &'static [(f64, u64)] {
        match self {
            Self::Kill => &[(50.0, 6), (99.0, 10)],
            Self::Hang => &[(99.0, 12)],
            Self::Restart => &[],
            Self::Takeover => &[(99.0, 2)],
        }
    }
}

/// The elections after a fault of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elections {
    /// The groups that orders need and that had lost their leader.
    pub(super) groups: usize,
    /// From the fault until each of them had another leader.
    pub(super) took: Duration,
    /// From then on until an order was settled.
    pub(super) after: Duration,
}

/// One fault, and what it cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) fault: Fault,
    /// The longest time in which no order was settled.
    pub(super) pause: Duration,
    pub(super) elections: Option<Elections>,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.fault.count(1);
        write!(f, "{fault:<11} no order settled for {:>7}", time(self.pause))?;
        if let Some(Elections { groups, took, after }) = self.elections {
            let (took, after) = (time(took), time(after));
            let groups = count(groups as u64, "election", "elections");
            write!(f, ": {groups} took {took:>7}, the rest {after:>7}")?;
        }
        Ok(())
    }
}

/// What all faults cost.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Orders that were accepted, all of them settled once.
    pub(super) orders: usize,
    costs: [Costs; Fault::ALL.len()],
}

#[derive(Debug, Default)]
struct Costs {
    pauses: Latencies,
    elections: Latencies,
    after: Latencies,
    groups: usize,
}

impl Report {
    pub(super) fn add(&mut self, round: Round) {
        let costs = &mut self.costs[round.fault as usize];
        costs.pauses.record(round.pause);
        if let Some(Elections { groups, took, after }) = round.elections {
            costs.elections.record(took);
            costs.after.record(after);
            costs.groups += groups;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "p50", "p90", "p99", "max", "goal"];
        row(f, &head.map(str::to_owned))?;
        for (fault, costs) in Fault::ALL.into_iter().zip(&self.costs) {
            if !costs.pauses.is_empty() {
                show(f, fault, costs)?;
            }
        }
        let orders = count(self.orders as u64, "order was", "orders were");
        write!(f, "{orders} accepted, and each of them settled once.")
    }
}

fn show(f: &mut fmt::Formatter<'_>, fault: Fault, costs: &Costs) -> fmt::Result {
    let faults = costs.pauses.len();
    let verdict = |(percentile, seconds): &(f64, u64)| {
        let is_met = costs.pauses.percentile(*percentile) <= Duration::from_secs(*seconds);
        format!("p{percentile} ≤ {seconds} s: {}", if is_met { "met" } else { "missed" })
    };
    let goals = fault.goals().iter().map(verdict).collect::<Vec<_>>().join(", ");
    percentiles(f, format!("{}: no order settled", fault.count(faults)), &costs.pauses, goals)?;
    if costs.elections.is_empty() {
        return Ok(());
    }
    let groups = format!("{:.1} groups on average", costs.groups as f64 / faults as f64);
    percentiles(f, "  until leaders were elected".to_owned(), &costs.elections, groups)?;
    percentiles(f, "  and from then on".to_owned(), &costs.after, String::new())
}

fn percentiles(
    f: &mut fmt::Formatter<'_>,
    name: String,
    of: &Latencies,
    remark: String,
) -> fmt::Result {
    let at = |percentile| time(of.percentile(percentile));
    row(f, &[name, at(50.0), at(90.0), at(99.0), time(of.max()), remark])
}

fn row(
    f: &mut fmt::Formatter<'_>,
    [name, p50, p90, p99, max, remark]: &[String; 6],
) -> fmt::Result {
    writeln!(f, "{name:<30} {p50:>8} {p90:>8} {p99:>8} {max:>8}  {remark}")
}
