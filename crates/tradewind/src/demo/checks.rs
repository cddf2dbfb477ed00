//! What is checked at the end of the day: the auditor reads all logs, and a few things more.

use anyhow::{Context, Result};
use engine::{Engine, SERVICES};
use events::view::LevelView;
use serde::Deserialize;

use super::{
    audit::{Audit, Audited, Check, Findings, Outside},
    erp::Answers,
    settle::Totals,
    trade::Trade,
};
use crate::{
    admin::{self, PROJECTED},
    api::Api,
    figures::count,
};

/// Stock levels that are asked for at once.
const LEVELS: usize = 500;

/// Reads every log and compares it with what was seen from outside. Nothing may happen meanwhile.
pub(super) async fn audit(
    engine: &Engine,
    api: &Api,
    trade: &Trade,
    totals: &Totals,
) -> Result<Audited> {
    let mut verified = Vec::new();
    for service in PROJECTED {
        verified.push((service.name(), admin::verify(engine, service).await?));
    }
    let outside = Outside {
        placed: trade.placed.keys().copied().collect(),
        cancelled: trade.cancelled.clone(),
        levels: levels(api).await?,
        provider_net: totals.payments.provider_net,
        provider_held: totals.payments.provider_held,
        verified,
    };
    let mut audit = Audit::default();
    for partition in 0..engine.config().partitions {
        for service in SERVICES.iter().copied() {
            engine
                .read_log(service, partition, |logged| audit.observe(service, partition, &logged))
                .await
                .with_context(|| format!("read the log of {service}"))?;
        }
        engine
            .read_inbox(partition, |_, command| audit.observe_command(&command.shop, &command.id))
            .await
            .context("read the inbox")?;
    }
    Ok(audit.finish(&outside))
}

async fn levels(api: &Api) -> Result<Vec<LevelView>> {
    #[derive(Deserialize)]
    struct Page {
        levels: Vec<LevelView>,
        next: Option<String>,
    }
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page: Page = api.get(&format!("inventory?limit={LEVELS}{after}")).await?;
        all.extend(page.levels);
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(all),
        }
    }
}

/// Exactly the units that there were are sold, and everybody else was told why.
pub(super) fn race(trade: &Trade, racers: usize, units: usize) -> Check {
    let mut findings = Findings::default();
    let Trade { winners, told, .. } = trade;
    findings.expect(*winners == units as u64, || format!("{winners} were sold, of {units}"));
    findings.expect(winners + told == racers as u64, || {
        format!("{} of {racers} racers know what became of their order", winners + told)
    });
    Check {
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
    findings.expect(is_settled, || "the day did not come to its end in time".to_owned());
    let requests = trade.placed.len() as u64 + trade.refused;
    let cancellations = trade.cancelled.len() as u64 + trade.too_late;
    Check {
        invariant: None,
        claim: "every request and every line of the ERP got the answer that it should",
        evidence: format!(
            "{}, {}, {}",
            count(requests, "order", "orders"),
            count(cancellations, "cancellation", "cancellations"),
            count(opening.lines() + trade.erp.lines(), "line", "lines")
        ),
        findings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_race(winners: u64, told: u64, holds: bool) {
        let trade = Trade { winners, told, ..Trade::default() };
        assert_eq!(race(&trade, 200, 20).holds(), holds, "{winners} {told}");
    }

    #[test]
    fn the_race_sells_what_there_is_and_tells_everybody_else() {
        check_race(20, 180, true);
        check_race(21, 179, false);
        check_race(19, 181, false);
        check_race(20, 179, false);
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
