//! The shop's webhook endpoints: three receivers of which one is flaky and one is slow, and what each of
//! them can prove at the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use audit::{Audited, Check, Deliveries, Findings, text::count};
use client::Client;
use engine::Engine;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::receiver::{Behaviour, Received, Receiver};
use crate::settled::log_ends;

/// The pauses of the flaky endpoint's retries, in seconds: short, so that a day does not take one.
const RETRY_PAUSES_S: [u32; 6] = [5, 5, 5, 10, 30, 60];
/// How long is waited for what is still to be delivered.
const TIMEOUT: Duration = Duration::from_mins(3);
/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(250);
/// Nothing must happen for so many looks.
const QUIET_LOOKS: u32 = 4;

/// An endpoint of the day, and who receives there.
#[derive(Debug)]
pub struct Endpoint {
    /// What it is called in the report.
    pub name: &'static str,
    id: String,
    receiver: Receiver,
}

/// What became of an endpoint, by the log and by its receiver.
#[derive(Debug)]
pub struct Outcome {
    /// What it is called.
    pub name: &'static str,
    /// By the log.
    pub deliveries: Deliveries,
    /// By its receiver.
    pub received: Received,
}

impl Outcome {
    /// What was to come and did not, by the receiver's own count.
    pub fn missing(&self) -> u64 {
        let complete = self.received.sequence.missing().map(|it| it.end() - it.start() + 1);
        let behind = self.deliveries.matched.saturating_sub(self.received.sequence.highest());
        complete.sum::<u64>() + behind
    }
}

/// Makes the endpoints of the day. What is published from here on is delivered.
pub(super) async fn open(api: &Client) -> Result<Vec<Endpoint>> {
    let healthy = json!({"event_types": ["*"]});
    let flaky = json!({"event_types": ["order.*"], "ordering": "per_key",
        "retry_pauses_s": RETRY_PAUSES_S});
    let slow = json!({"event_types": ["order.paid", "order.cancelled", "payment.refunded"]});
    let mut endpoints = Vec::new();
    for (name, behaviour, settings) in [
        ("healthy", Behaviour::Healthy, healthy),
        ("flaky", Behaviour::Flaky, flaky),
        ("slow", Behaviour::Slow, slow),
    ] {
        endpoints.push(create(api, name, behaviour, settings).await?);
    }
    Ok(endpoints)
}

async fn create(
    api: &Client,
    name: &'static str,
    behaviour: Behaviour,
    mut settings: Value,
) -> Result<Endpoint> {
    #[derive(Deserialize)]
    struct Created {
        id: String,
        secret: String,
    }
    let receiver = Receiver::start(behaviour).await?;
    settings["url"] = json!(receiver.url());
    let request = api.request(Method::POST, "webhook-endpoints").json(&settings);
    let answer = api.send(request).await.context("create a webhook endpoint")?;
    ensure!(answer.status == StatusCode::CREATED, "an endpoint is refused: {}", answer.body);
    let Created { id, secret } =
        serde_json::from_value(answer.body).context("read a webhook endpoint")?;
    receiver.take_secret(&secret)?;
    Ok(Endpoint { name, id, receiver })
}

/// Waits until everything is delivered and no log grows any more. False when that does not come about;
/// what is wrong then shows in the checks.
pub(super) async fn until_delivered(
    api: &Client,
    engine: &Engine,
    endpoints: &[Endpoint],
) -> Result<bool> {
    let started = Instant::now();
    let (mut last, mut quiet) = (Vec::new(), 0);
    while started.elapsed() < TIMEOUT {
        let ends = log_ends(engine, |_| true).await?;
        quiet = if ends == last { quiet + 1 } else { 0 };
        last = ends;
        if quiet >= QUIET_LOOKS && are_delivered(api, endpoints).await? {
            return Ok(true);
        }
        sleep(INTERVAL).await;
    }
    Ok(false)
}

/// Whether everything that was to be delivered is, by the service.
async fn are_delivered(api: &Client, endpoints: &[Endpoint]) -> Result<bool> {
    #[derive(Deserialize)]
    struct Proof {
        matched: u64,
        delivered: u64,
    }
    for endpoint in endpoints {
        let path = format!("webhook-endpoints/{}/proof", endpoint.id);
        let proof: Proof = api.get(&path).await.context("read a proof")?;
        if proof.delivered < proof.matched {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What became of each endpoint.
pub(super) fn outcomes(endpoints: &[Endpoint], audited: &Audited) -> Vec<Outcome> {
    let outcome = |endpoint: &Endpoint| {
        let of = |it: &&Deliveries| it.endpoint_id == endpoint.id;
        let deliveries = audited.deliveries.iter().find(of).cloned().unwrap_or_default();
        Outcome { name: endpoint.name, deliveries, received: endpoint.receiver.received() }
    };
    endpoints.iter().map(outcome).collect()
}

/// Invariant 8, by those who receive.
pub(super) fn received(outcomes: &[Outcome], is_delivered: bool) -> Check {
    let mut findings = Findings::default();
    findings.expect(is_delivered, || "not everything was delivered in time".to_owned());
    for outcome in outcomes {
        let Outcome { name, deliveries, received } = outcome;
        let missing = outcome.missing();
        findings.expect(missing == 0, || {
            let matched = deliveries.matched;
            format!("{missing} of the {matched} deliveries of the {name} receiver did not come")
        });
        let (requests, verified) = (received.requests, received.verified);
        findings.expect(requests == verified, || {
            format!("{verified} of {requests} requests to the {name} receiver were verified")
        });
        let (highest, matched) = (received.sequence.highest(), deliveries.matched);
        findings.expect(highest <= matched, || {
            format!("the {name} receiver got the delivery {highest}, of {matched} in the log")
        });
        received.wrong.iter().for_each(|it| findings.add(format!("the {name} receiver: {it}")));
    }
    let sum = |of: fn(&Received) -> u64| outcomes.iter().map(|it| of(&it.received)).sum::<u64>();
    let verified = sum(|it| it.verified);
    Check {
        looked_at: verified,
        invariant: Some(8),
        claim: "every receiver has verified what came, and proves by endpoint_seq that nothing is missing",
        evidence: format!(
            "{} verified by {}, {} again",
            count(verified, "request", "requests"),
            count(outcomes.len() as u64, "receiver", "receivers"),
            count(sum(|it| it.repeated), "delivery", "deliveries"),
        ),
        findings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found when two of three deliveries came, or as many as are named.
    #[track_caller]
    fn check(seqs: &[u64], change: impl FnOnce(&mut Outcome), findings: &[&str]) {
        let mut received = Received::default();
        (received.requests, received.verified) = (3, 3);
        for seq in seqs {
            received.sequence.record(*seq);
        }
        let deliveries = Deliveries { matched: 3, delivered: 3, ..Deliveries::default() };
        let mut outcome = Outcome { name: "slow", deliveries, received };
        change(&mut outcome);
        assert_eq!(super::received(&[outcome], true).findings.shown(), findings);
    }

    #[test]
    fn what_a_receiver_misses_is_found() {
        check(&[1, 3, 2], |_| {}, &[]);
        let missing = "1 of the 3 deliveries of the slow receiver did not come";
        check(&[1, 3], |_| {}, &[missing]);
        check(&[2, 1], |_| {}, &[missing]);
        check(&[1, 2, 3, 4], |_| {}, &["the slow receiver got the delivery 4, of 3 in the log"]);
    }

    #[test]
    fn what_a_receiver_cannot_verify_is_found() {
        check(
            &[1, 2, 3],
            |outcome| outcome.received.verified = 2,
            &["2 of 3 requests to the slow receiver were verified"],
        );
        check(
            &[1, 2, 3],
            |outcome| outcome.received.wrong.push("no signature".to_owned()),
            &["the slow receiver: no signature"],
        );
        assert!(!received(&[], false).holds());
    }
}
