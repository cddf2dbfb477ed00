//! Requests that are sent until they are answered, and pushes of many lines.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    api::{Api, Bulk},
    audit::Findings,
};

/// How often a request is sent that is not answered: for longer than a cluster takes to choose a
/// new leader. What changes something carries a name under which it has one effect.
const TRIES: usize = 20;
/// The pause before it is sent again.
const PAUSE: Duration = Duration::from_secs(1);

/// What the gateway answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Whether it had been answered before this run.
    pub(super) is_known: bool,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).with_context(|| format!("read {self}"))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// What became of lines that were pushed.
#[derive(Debug, Default)]
pub struct Pushed {
    /// Those that changed something.
    pub applied: u64,
    /// Those that had their effect before.
    pub known: u64,
    /// Those that were refused.
    pub refused: Findings,
}

impl Pushed {
    /// Adds those of another push.
    pub(super) fn append(&mut self, other: Self) {
        self.applied += other.applied;
        self.known += other.known;
        self.refused.append(other.refused);
    }
}

/// Sends a request until it is answered.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer> {
    let mut tries = 0;
    loop {
        tries += 1;
        let again = request.try_clone().context("the body of a request is in memory")?;
        let problem = match try_once(again).await {
            Ok(answer) if !is_passing(answer.status) => {
                // Sent before by this run, it is not known from another.
                let is_known = answer.is_known && tries == 1;
                return Ok(Answer { is_known, ..answer });
            }
            Ok(answer) => answer.to_string(),
            Err(error) => format!("{error:#}"),
        };
        if tries == TRIES {
            bail!("no answer to {TRIES} tries: {problem}");
        }
        tracing::warn!(problem, "sends a request again");
        sleep(PAUSE).await;
    }
}

async fn try_once(request: RequestBuilder) -> Result<Answer> {
    let response = request.send().await.context("send a request to the gateway")?;
    let status = response.status();
    let is_known = response.headers().contains_key("idempotency-replayed");
    let body = response.bytes().await.context("read the gateway's answer")?.into();
    Ok(Answer { status, is_known, body })
}

/// Whether the same request may be answered in a moment.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Gets what is at a path below the shop.
pub(super) async fn get<T: DeserializeOwned>(api: &Api, path: &str) -> Result<T> {
    let answer = send(api.request(Method::GET, path)).await?;
    ensure!(answer.status.is_success(), "the gateway answered to {path}: {answer}");
    answer.read()
}

/// Pushes lines of NDJSON to a path below the shop until the fate of each is known.
pub(super) async fn push(api: &Api, path: &str, mut lines: Vec<String>) -> Result<Pushed> {
    let mut pushed = Pushed::default();
    for _ in 0..TRIES {
        if lines.is_empty() {
            return Ok(pushed);
        }
        let request =
            api.request(Method::POST, path).header("content-type", "application/x-ndjson");
        let answer = send(request.body(lines.concat())).await?;
        ensure!(answer.status.is_success(), "the gateway answered to {path}: {answer}");
        let results = answer.read::<Bulk>()?.results;
        let (sent, told) = (lines.len(), results.len());
        ensure!(sent == told, "{sent} lines of {path} were answered with {told} results");
        let results = lines.into_iter().zip(results);
        lines = results.filter_map(|(line, result)| pushed.add(line, &result)).collect();
    }
    bail!("{} lines of {path} are still on their way", lines.len())
}

impl Pushed {
    /// Takes in the result of a line; gives the line back when it has none yet.
    fn add(&mut self, line: String, result: &Value) -> Option<String> {
        match result["result"].as_str().unwrap_or_default() {
            "created" | "updated" | "applied" => self.applied += 1,
            "unchanged" | "duplicate" => self.known += 1,
            "pending" => return Some(line),
            _ => self.refused.add(format!("{} was answered {result}", line.trim_end())),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_result_of_each_line_is_counted_and_what_has_none_comes_again() {
        let mut pushed = Pushed::default();
        let mut add = |result: &str| {
            pushed.add("{}\n".to_owned(), &json!({"line": 0, "result": result})).is_some()
        };
        let again = ["created", "applied", "duplicate", "unchanged", "pending", "unknown_sku"]
            .map(&mut add);
        assert_eq!(again, [false, false, false, false, true, false]);
        // Nothing is pushed out of turn: what is stale has lost its effect.
        assert!(!add("stale"));
        assert_eq!((pushed.applied, pushed.known, pushed.refused.count()), (2, 2, 2));
        assert!(pushed.refused.told()[0].contains("unknown_sku"), "{:?}", pushed.refused);
        assert!(pushed.refused.told()[1].contains("stale"), "{:?}", pushed.refused);
    }
}
