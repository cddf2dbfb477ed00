//! The ERP connector: the documents that it pushes, and the answer that each must get.

use std::collections::BTreeMap;

use anyhow::Result;
use audit::Findings;
use client::Client;
use serde_json::{Value, json};

use super::products::{PRODUCTS, RACE_SKU, SHORT_SKU, UNKNOWN_SKU};

/// The second location of the shop: a store, from which orders are served after the warehouse.
pub(super) const QUAY: &str = "quay";
/// One product in so many is there, the best-selling one too.
const QUAY_HAS: u64 = 3;
/// The connector's name.
const CONNECTOR: &str = "warehouse-erp";
/// So many orders are what the opening stock of the products is for.
const OPENING_IS_FOR: i64 = 2_500;
/// The first sequence of the documents that come during the day.
const DAY: u64 = 10_000;

/// A line of a push, and what must be answered to it.
#[derive(Debug, Clone)]
struct Line {
    document: Value,
    answer: &'static str,
}

/// Units of an order that leave, by a line of a document.
#[derive(Debug, Clone)]
pub(super) struct GoodsIssue {
    pub(super) order: String,
    pub(super) line: usize,
    /// The SKU, and the location that it leaves.
    pub(super) stock: (String, String),
    pub(super) units: i64,
    pub(super) document: String,
    pub(super) sequence: u64,
}

/// Units of a SKU that the warehouse sends to the quay.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    pub(super) id: String,
    pub(super) sku: String,
    pub(super) sent: i64,
    /// Those of them that come.
    pub(super) received: i64,
    /// Whether no more will come.
    pub(super) is_complete: bool,
}

impl Transfer {
    /// The units that will not come.
    pub(super) fn missing(&self) -> i64 {
        if self.is_complete { self.sent - self.received } else { 0 }
    }
}

/// Some lines that are pushed together.
#[derive(Debug, Clone, Default)]
pub struct Push(Vec<Line>);

/// What was answered.
#[derive(Debug, Default)]
pub struct Answers {
    /// By answer: how many lines got it.
    pub counts: BTreeMap<String, u64>,
    /// Lines that got another answer than they should.
    pub wrong: Findings,
}

impl Answers {
    /// How many lines were answered.
    pub fn lines(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Adds those of another push.
    pub fn append(&mut self, other: Self) {
        for (answer, count) in other.counts {
            *self.counts.entry(answer).or_default() += count;
        }
        self.wrong.append(other.wrong);
    }
}

impl Push {
    /// The opening stock for a day of so many orders: a count for each product; and what a real
    /// connector does as well: it repeats itself, is late, and knows what nobody else knows.
    pub fn opening(orders: usize, race_units: usize) -> Self {
        let mut lines = Vec::new();
        let sold = PRODUCTS.iter().filter(|product| product.opening > 0);
        for (sequence, product) in (100..).zip(sold) {
            let units = (product.opening * orders as i64).div_euclid(OPENING_IS_FOR).max(2);
            lines.push(applied(count(product.sku, units, sequence)));
            // Some of the products are at the quay as well.
            if sequence % QUAY_HAS == 1 {
                lines.push(applied(at(QUAY, count(product.sku, units / 4 + 2, sequence))));
            }
            // Every eighth document is sent again: it has one effect.
            if sequence % 8 == 0 {
                lines.push(Line {
                    document: count(product.sku, units, sequence),
                    answer: "duplicate",
                });
            }
            // Every tenth product has an older count that comes late: the newer one is valid.
            if sequence % 10 == 0 {
                let late = count(product.sku, units + 50, sequence - 100);
                lines.push(Line { document: late, answer: "stale" });
            }
        }
        // A delivery that was booked after the count, and overtook it: it counts on top.
        lines.push(applied(adjustment(RACE_SKU, 1, "late delivery", 301)));
        lines.push(applied(count(RACE_SKU, race_units as i64 - 1, 300)));
        // The same document id with another content.
        let mut reused = count(RACE_SKU, 999, 300);
        reused["sequence"] = json!(302);
        lines.push(Line { document: reused, answer: "document_reused" });
        let unknown = count(UNKNOWN_SKU, 12, 303);
        lines.push(Line { document: unknown, answer: "unknown_sku" });
        Self(lines)
    }

    /// What comes while customers order, in this order: goods received, breakages, a repetition of
    /// the morning, and a shelf that was found empty.
    pub fn during_the_day(orders: usize) -> Vec<Self> {
        let received =
            (DAY..).zip(PRODUCTS.iter().skip(1).step_by(6).take(12)).map(|(sequence, product)| {
                applied(adjustment(product.sku, 25, "goods received", sequence))
            });
        let broken = (DAY + 100..)
            .zip(PRODUCTS.iter().skip(2).step_by(9).take(6))
            .map(|(sequence, product)| applied(adjustment(product.sku, -1, "broken", sequence)));
        let again = Self::opening(orders, 2)
            .0
            .into_iter()
            .filter(|line| line.answer == "applied" && line.document["sku"] != RACE_SKU);
        let again = again.step_by(7).map(|line| Line { answer: "duplicate", ..line });
        // Less than is promised by then, but for a very quiet day.
        let found_missing = applied(count(SHORT_SKU, 1, DAY + 200));
        vec![
            Self(received.collect()),
            Self(broken.chain(again).collect()),
            Self(vec![found_missing]),
        ]
    }

    /// Adds units that leave for an order.
    pub(super) fn goods_issue(&mut self, issue: &GoodsIssue, answer: &'static str) {
        let GoodsIssue { order, line, stock: (sku, location), units, document, sequence } = issue;
        let document = json!({
            "type": "goods_issue",
            "sku": sku,
            "location": location,
            "quantity": units,
            "order_id": order,
            "connector": CONNECTOR,
            "document": document,
            "document_line": line.to_string(),
            "sequence": sequence,
        });
        self.0.push(Line { document, answer });
    }

    /// Adds the units of a transfer as they leave the warehouse.
    pub(super) fn transfer_out(&mut self, transfer: &Transfer, sequence: u64) {
        let Transfer { id, sku, sent, .. } = transfer;
        self.0.push(applied(json!({
            "type": "transfer_out",
            "sku": sku,
            "quantity": sent,
            "transfer": id,
            "to": QUAY,
            "connector": CONNECTOR,
            "document": format!("{id}-OUT"),
            "sequence": sequence,
        })));
    }

    /// Adds the units of a transfer as they come to the quay.
    pub(super) fn transfer_in(&mut self, transfer: &Transfer, sequence: u64) {
        let Transfer { id, sku, received, is_complete, .. } = transfer;
        let document = json!({
            "type": "transfer_in",
            "sku": sku,
            "location": QUAY,
            "quantity": received,
            "transfer": id,
            "complete": is_complete,
            "connector": CONNECTOR,
            "document": format!("{id}-IN"),
            "sequence": sequence,
        });
        let answer = if transfer.missing() > 0 { "applied_incomplete" } else { "applied" };
        self.0.push(Line { document, answer });
    }

    /// Adds a count of a SKU at a location.
    pub(super) fn count(&mut self, (sku, location): &(String, String), units: i64, sequence: u64) {
        self.0.push(applied(at(location, count(sku, units, sequence))));
    }

    /// Pushes the lines.
    pub async fn send(&self, api: &Client) -> Result<Answers> {
        let lines: Vec<_> = self.0.iter().map(|line| line.document.to_string()).collect();
        let bulk = api.push("inventory", lines.join("\n")).await?;
        let mut answers = Answers::default();
        let got = |index: usize| {
            let result = bulk.results.get(index).and_then(|line| line["result"].as_str());
            result.unwrap_or("nothing")
        };
        for (index, Line { document, answer }) in self.0.iter().enumerate() {
            let got = got(index);
            *answers.counts.entry(got.to_owned()).or_default() += 1;
            answers.wrong.expect(got == *answer, || {
                format!("ERP line {document} was answered {got}, not {answer}")
            });
        }
        Ok(answers)
    }
}

fn applied(document: Value) -> Line {
    Line { document, answer: "applied" }
}

/// The same at another location than the warehouse.
fn at(location: &str, mut document: Value) -> Value {
    document["location"] = json!(location);
    if let Some(id) = document["document"].as_str() {
        document["document"] = json!(format!("{id}-{location}"));
    }
    document
}

fn count(sku: &str, quantity: i64, sequence: u64) -> Value {
    json!({
        "type": "count",
        "sku": sku,
        "quantity": quantity,
        "connector": CONNECTOR,
        "document": format!("CNT-{sku}-{sequence}"),
        "sequence": sequence,
    })
}

fn adjustment(sku: &str, delta: i64, reason: &str, sequence: u64) -> Value {
    json!({
        "type": "adjustment",
        "sku": sku,
        "delta": delta,
        "reason": reason,
        "connector": CONNECTOR,
        "document": format!("ADJ-{sequence}"),
        "sequence": sequence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(push: &Push) -> BTreeMap<&str, usize> {
        push.0.iter().fold(BTreeMap::new(), |mut counts, line| {
            *counts.entry(line.answer).or_default() += 1;
            counts
        })
    }

    #[test]
    fn the_opening_shows_every_answer() {
        let push = Push::opening(2_000, 20);
        let answers = answers(&push);
        let at_quay = push.0.iter().filter(|line| line.document["location"] == QUAY).count();
        assert!(at_quay > PRODUCTS.len() / 4, "{at_quay} at the quay");
        let applied = PRODUCTS.len() - 2 + 2 + at_quay;
        assert_eq!(answers.get("applied"), Some(&applied), "{answers:?}");
        for other in ["duplicate", "stale", "document_reused", "unknown_sku"] {
            assert!(answers.contains_key(other), "{other}: {answers:?}");
        }
        assert!(push.0.len() <= 500, "goes in one command, and so in this order");
    }

    #[test]
    fn what_is_repeated_during_the_day_is_what_came_in_the_morning() {
        let morning = Push::opening(2_000, 20);
        let day = Push::during_the_day(2_000);
        for line in day.iter().flat_map(|push| &push.0).filter(|line| line.answer == "duplicate") {
            assert!(morning.0.iter().any(|first| first.document == line.document), "{line:?}");
        }
    }
}
