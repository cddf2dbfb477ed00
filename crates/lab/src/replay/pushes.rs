//! Pushes of many lines, until the outcome of each is known.

use anyhow::{Result, bail, ensure};
use audit::Findings;
use client::Client;
use serde_json::Value;

/// How often lines are pushed that the gateway has stored and their service has not answered yet.
const MAX_PUSHES: usize = 20;

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

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineOutcome {
    /// It changed something.
    Applied,
    /// It had its effect before.
    Known,
    /// Its name was used for something else.
    Reused,
    /// It was refused for another reason.
    Refused,
}

/// Pushes lines of NDJSON to a path below the shop until the outcome of each is known, and reports
/// it to `each`, with what the line is about.
pub(super) async fn push<T>(
    client: &Client,
    path: &str,
    mut lines: Vec<(T, String)>,
    mut each: impl FnMut(&T, LineOutcome),
) -> Result<Pushed> {
    let mut pushed = Pushed::default();
    for _ in 0..MAX_PUSHES {
        if lines.is_empty() {
            return Ok(pushed);
        }
        let body = lines.iter().map(|(_, line)| line.as_str()).collect();
        let results = client.push(path, body).await?.results;
        let (sent, answered) = (lines.len(), results.len());
        ensure!(sent >= answered, "{sent} lines of {path} were answered with {answered} results");
        let mut pending = Vec::new();
        // The lines behind the last result were not handled.
        let results = results.iter().chain(std::iter::repeat(&Value::Null));
        for ((about, line), result) in lines.into_iter().zip(results) {
            match pushed.add(&line, result) {
                Some(outcome) => each(&about, outcome),
                None => pending.push((about, line)),
            }
        }
        lines = pending;
    }
    bail!("{} lines of {path} are still without an outcome", lines.len())
}

impl Pushed {
    /// Takes in the result of a line; nothing when it has none yet.
    fn add(&mut self, line: &str, result: &Value) -> Option<LineOutcome> {
        match result["result"].as_str().unwrap_or("pending") {
            "created" | "updated" | "applied" => {
                self.applied += 1;
                return Some(LineOutcome::Applied);
            }
            "unchanged" | "duplicate" => {
                self.known += 1;
                return Some(LineOutcome::Known);
            }
            "pending" | "unanswered" => return None,
            _ => self.refused.add(format!("{} was answered {result}", line.trim_end())),
        }
        let is_reused = result["result"] == "document_reused";
        Some(if is_reused { LineOutcome::Reused } else { LineOutcome::Refused })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_result_of_each_line_is_counted_and_what_has_none_comes_again() {
        use LineOutcome::{Applied, Known, Refused, Reused};
        let mut pushed = Pushed::default();
        let mut add = |result: &str| pushed.add("{}\n", &json!({"line": 0, "result": result}));
        let outcomes = ["created", "applied", "duplicate", "unchanged", "pending", "unknown_sku"]
            .map(&mut add);
        let expected = [Applied, Applied, Known, Known];
        assert_eq!(outcomes[..4], expected.map(Some));
        assert_eq!(outcomes[4..], [None, Some(Refused)]);
        // Documents are pushed in their order, so a stale one is a failure.
        assert_eq!(add("stale"), Some(Refused));
        assert_eq!(add("document_reused"), Some(Reused));
        assert_eq!((pushed.applied, pushed.known, pushed.refused.count()), (2, 2, 3));
        assert!(pushed.refused.shown()[0].contains("unknown_sku"), "{:?}", pushed.refused);
        assert!(pushed.refused.shown()[1].contains("stale"), "{:?}", pushed.refused);
    }
}
