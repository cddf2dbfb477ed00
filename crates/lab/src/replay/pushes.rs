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

/// Pushes lines of NDJSON to a path below the shop until the outcome of each is known.
pub(super) async fn push(client: &Client, path: &str, mut lines: Vec<String>) -> Result<Pushed> {
    let mut pushed = Pushed::default();
    for _ in 0..MAX_PUSHES {
        if lines.is_empty() {
            return Ok(pushed);
        }
        let results = client.push(path, lines.concat()).await?.results;
        let (sent, answered) = (lines.len(), results.len());
        ensure!(sent == answered, "{sent} lines of {path} were answered with {answered} results");
        let results = lines.into_iter().zip(results);
        lines = results.filter_map(|(line, result)| pushed.add(line, &result)).collect();
    }
    bail!("{} lines of {path} are still without an outcome", lines.len())
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
        // Documents are pushed in their order, so a stale one is a failure.
        assert!(!add("stale"));
        assert_eq!((pushed.applied, pushed.known, pushed.refused.count()), (2, 2, 2));
        assert!(pushed.refused.shown()[0].contains("unknown_sku"), "{:?}", pushed.refused);
        assert!(pushed.refused.shown()[1].contains("stale"), "{:?}", pushed.refused);
    }
}
