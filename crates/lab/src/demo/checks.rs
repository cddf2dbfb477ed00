//! What is checked at the end of the day: the auditor reads all logs, and a few things more.

use anyhow::Result;
use audit::{
    Audit, Audited, Check, Findings, Observations, Status,
    text::{count, pounds},
};
use client::{Client, Totals};
use engine::Engine;
use node::services::{NAMES, verify_all};
use protocol::id::Shop;

use super::{erp::Answers, trade::Trade, warehouse::Shipments};

/// Reads every log and compares it with what was seen from outside. Nothing may happen meanwhile.
pub(super) async fn audit(
    engine: &Engine,
    api: &Client,
    shop: &Shop,
    trade: &Trade,
    totals: &Totals,
) -> Result<Audited> {
    let outside = Observations {
        placed: trade.placed.keys().copied().collect(),
        cancelled: trade.cancelled.clone(),
        levels: api.levels().await?,
        provider_net: net_of_provider(totals),
        provider_held: totals.payments.currencies.iter().map(|it| it.provider_held).sum(),
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

/// What was counted and received, less what left, is what is on hand: by the log and by the service.
pub(super) fn ledger(audited: &Audited, totals: &Totals, shipments: &Shipments) -> Check {
    let mut findings = shipments.wrong.clone();
    let day = StockLedger::of(audited);
    let StockLedger { counted, adjusted, shipped, excess, on_hand, .. } = day;
    let StockLedger { sent_and_not_received, incoming, .. } = day;
    let left = shipped + excess + sent_and_not_received;
    findings.expect(counted + adjusted - left == on_hand, || {
        format!("the ledger of the day does not close: {day:?}")
    });
    let Shipments { sent, received, missing_on_the_way, .. } = shipments;
    findings.expect(sent_and_not_received == sent - received, || {
        format!("{sent_and_not_received} left for the quay and did not come: {sent}, {received}")
    });
    findings.expect(incoming == sent - received - missing_on_the_way, || {
        format!("{incoming} are on their way, of {sent} less {received} and {missing_on_the_way}")
    });
    findings.expect(on_hand == totals.inventory.on_hand, || {
        format!("the inventory service has {}, the log {on_hand}", totals.inventory.on_hand)
    });
    Check {
        looked_at: shipped.unsigned_abs(),
        invariant: None,
        claim: "the day's stock is a ledger that closes, counted while goods were on their way",
        evidence: format!(
            "{} shipped, {} counted meanwhile",
            count(shipped.unsigned_abs(), "unit", "units"),
            count(shipments.counted, "SKU", "SKUs")
        ),
        findings,
    }
}

/// The units that came and went on a day.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StockLedger {
    /// What counts found, less what was missing.
    pub(super) counted: i64,
    /// What adjustments added, less what they took.
    pub(super) adjusted: i64,
    /// What left for its orders.
    pub(super) shipped: i64,
    /// What left for orders that did not have it.
    pub(super) excess: i64,
    /// What left for another location and has not come.
    pub(super) sent_and_not_received: i64,
    /// Those of them that are still on their way.
    pub(super) incoming: i64,
    /// What is there at the end.
    pub(super) on_hand: i64,
}

impl StockLedger {
    pub(super) fn of(audited: &Audited) -> Self {
        audited.stock.levels().fold(Self::default(), |sum, (_, level)| Self {
            counted: sum.counted + level.counted,
            adjusted: sum.adjusted + level.adjusted,
            shipped: sum.shipped + level.shipped,
            excess: sum.excess + level.excess,
            sent_and_not_received: sum.sent_and_not_received - level.transferred,
            incoming: sum.incoming + level.incoming,
            on_hand: sum.on_hand + level.on_hand,
        })
    }
}

/// What the provider's ledger kept of the day, in all currencies: the day has one, and so has the log.
pub(super) fn net_of_provider(totals: &Totals) -> i64 {
    totals.payments.currencies.iter().map(|it| it.provider_net).sum()
}

/// What was authorised was captured, voided, or is still held; what was captured and not refunded is
/// what the paid orders cost, less what was refunded of them.
pub(super) fn money(audited: &Audited, totals: &Totals, refunds: i64) -> Check {
    let mut findings = Findings::default();
    let (money, paid) = (&audited.money, paid(audited));
    let (authorized, captured) = (money.authorized(), money.captured());
    let (net, (_, voided), held) = (captured - money.refunded(), money.voided(), money.held());
    findings.expect(authorized == captured + voided + held, || {
        format!("{authorized} were authorised; {captured} captured, {voided} voided, {held} held")
    });
    findings.expect(net == paid - refunds, || {
        format!("{net} were kept; the paid orders cost {paid}, of which {refunds} were refunded")
    });
    let of_provider = net_of_provider(totals);
    findings
        .expect(net == of_provider, || format!("{net} were kept, {of_provider} by the provider"));
    Check {
        looked_at: authorized.unsigned_abs(),
        invariant: None,
        claim: "the day's money is a ledger that closes, for us and for the provider",
        evidence: format!("{} authorised, {} kept", pounds(authorized), pounds(net)),
        findings,
    }
}

/// What the paid orders cost together, by the order log.
pub(super) fn paid(audited: &Audited) -> i64 {
    let outcomes = audited.orders.outcomes();
    outcomes.filter(|(status, ..)| *status == Status::Paid).map(|(.., total)| total).sum()
}

/// Every request and every line of the ERP got the answer that it must get; `pushed` are lines before
/// and after the trade.
pub(super) fn answers(trade: &Trade, pushed: [&Answers; 2], is_settled: bool) -> Check {
    let mut findings = trade.wrong.clone();
    for answers in pushed {
        findings.append(answers.wrong.clone());
    }
    findings.append(trade.erp.wrong.clone());
    findings.expect(is_settled, || "the day was not settled in time".to_owned());
    let requests = trade.placed.len() as u64 + trade.refused;
    let cancellations = trade.cancelled.len() as u64 + trade.too_late;
    let lines = pushed.iter().map(|it| it.lines()).sum::<u64>() + trade.erp.lines();
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
        assert!(answers(&trade, [&opening, &Answers::default()], true).holds());
        assert!(
            !answers(&trade, [&opening, &Answers::default()], false).holds(),
            "the day has no end"
        );
        let (mut trade, opening) = nothing();
        trade.wrong.add("500");
        assert!(!answers(&trade, [&opening, &Answers::default()], true).holds());
        let (mut trade, opening) = nothing();
        trade.erp.wrong.add("stale");
        assert!(!answers(&trade, [&opening, &Answers::default()], true).holds());
        let (trade, mut opening) = nothing();
        opening.wrong.add("applied");
        assert!(!answers(&trade, [&opening, &Answers::default()], true).holds());
        assert!(!answers(&trade, [&Answers::default(), &opening], true).holds());
    }
}
