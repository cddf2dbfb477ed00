//! What is checked at the end of the day: the auditor reads all logs, and a few things more.

use anyhow::Result;
use audit::{Audit, Audited, Check, Findings, Outside, text::count};
use client::{Client, Totals};
use engine::Engine;
use node::services::{NAMES, verify_all};
use protocol::id::Shop;

use super::{erp::Answers, trade::Trade};

/// Reads every log and compares it with what was seen from outside. Nothing may happen meanwhile.
pub(super) async fn audit(
    engine: &Engine,
    api: &Client,
    shop: &Shop,
    trade: &Trade,
    totals: &Totals,
) -> Result<Audited> {
    let outside = Outside {
        placed: trade.placed.keys().copied().collect(),
        cancelled: trade.cancelled.clone(),
        levels: api.levels().await?,
        provider_net: totals.payments.provider_net,
        provider_held: totals.payments.provider_held,
        verified: verify_all(engine).await?,
    };
    Ok(Audit::read(engine, &NAMES, shop).await?.finish(&outside))
}

/// Exactly the units that there were are sold, and everybody else was refused with the reason. Where the machine
/// was too slow for a racer's deadline, a unit may be left over.
pub(super) fn race(trade: &Trade, racers: usize, units: usize) -> Check {
    let mut findings = Findings::default();
    let Trade { winners, refused_racers, slow, .. } = trade;
    let is_sold = *winners <= units as u64 && winners + slow >= units as u64;
    findings.expect(is_sold, || format!("{winners} were sold, of {units}"));
    findings.expect(winners + refused_racers + slow == racers as u64, || {
        format!(
            "{} of {racers} racers know the outcome of their order",
            winners + refused_racers + slow
        )
    });
    Check {
        looked_at: winners + refused_racers,
        invariant: None,
        claim: "the race sold exactly the units that there were",
        evidence: format!("{winners} of {units} to {}", count(racers, "customer", "customers")),
        findings,
    }
}

/// Every request and every line of the ERP got the answer that it must get.
pub(super) fn answers(trade: &Trade, opening: &Answers, is_settled: bool) -> Check {
    let mut findings = trade.wrong.clone();
    findings.append(opening.wrong.clone());
    findings.append(trade.erp.wrong.clone());
    findings.expect(is_settled, || "the day was not settled in time".to_owned());
    let requests = trade.placed.len() as u64 + trade.refused;
    let cancellations = trade.cancelled.len() as u64 + trade.too_late;
    let lines = opening.lines() + trade.erp.lines();
    Check {
        looked_at: requests + cancellations + lines,
        invariant: None,
        claim: "every request and every line of the ERP got the answer that it should",
        evidence: format!(
            "{}, {}, {}",
            count(requests, "order", "orders"),
            count(cancellations, "cancellation", "cancellations"),
            count(lines, "line", "lines")
        ),
        findings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_race(winners: u64, refused_racers: u64, slow: u64, holds: bool) {
        let trade = Trade { winners, refused_racers, slow, ..Trade::default() };
        assert_eq!(race(&trade, 200, 20).holds(), holds, "{winners} {refused_racers} {slow}");
    }

    #[test]
    fn the_race_sells_what_there_is_and_tells_everybody_else() {
        check_race(20, 180, 0, true);
        check_race(21, 179, 0, false);
        check_race(19, 181, 0, false);
        check_race(20, 179, 0, false);
    }

    #[test]
    fn a_racer_whose_deadline_passed_explains_a_unit_that_is_left_over() {
        check_race(19, 180, 1, true);
        check_race(20, 179, 1, true);
        check_race(18, 181, 1, false);
        check_race(21, 178, 1, false);
    }

    #[test]
    fn a_wrong_answer_is_found_wherever_it_was_given() {
        let nothing = || (Trade::default(), Answers::default());
        let (trade, opening) = nothing();
        assert!(answers(&trade, &opening, true).holds());
        assert!(!answers(&trade, &opening, false).holds(), "the day has no end");
        let (mut trade, opening) = nothing();
        trade.wrong.add("500");
        assert!(!answers(&trade, &opening, true).holds());
        let (mut trade, opening) = nothing();
        trade.erp.wrong.add("stale");
        assert!(!answers(&trade, &opening, true).holds());
        let (trade, mut opening) = nothing();
        opening.wrong.add("applied");
        assert!(!answers(&trade, &opening, true).holds());
    }
}
