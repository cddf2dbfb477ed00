//! What became of the lines of a batch: a section of the report.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::problem::{FieldError, Problem};

/// What identifies a line in the report, besides its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LineName {
    pub(crate) sku: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document_line: Option<String>,
}

/// The outcome of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineOutcome {
    pub(crate) result: &'static str,
    /// The count that it adds to.
    pub(crate) count: &'static str,
    pub(crate) detail: Option<&'static str>,
    /// The units on hand that the line expected, and those that there are, where they differ.
    pub(crate) mismatch: Option<Mismatch>,
}

/// Other units on hand than a line expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Mismatch {
    pub(crate) expected: i64,
    pub(crate) on_hand: i64,
}

/// The count of lines that had no effect because of an error.
pub(crate) const REJECTED: &str = "rejected";
/// The count of lines that were stored and not answered in time.
pub(super) const PENDING: &str = "pending";
/// The count of lines of which it is not known what became of them.
const UNANSWERED: &str = "unanswered";

impl LineOutcome {
    const REJECTED: Self = Self::new(REJECTED, REJECTED, None);
    pub(super) const PENDING: Self = Self::new(
        PENDING,
        PENDING,
        Some(
            "stored, and not answered in time: ask for the command command_id, or send the request again, to see \
             the result",
        ),
    );

    pub(super) const UNANSWERED: Self = Self::new(
        UNANSWERED,
        UNANSWERED,
        Some(
            "the code of the answer says why: ask for the command command_id, or send the line again, to see what \
             became of it",
        ),
    );

    /// An outcome that says no values.
    pub(crate) const fn new(
        result: &'static str,
        count: &'static str,
        detail: Option<&'static str>,
    ) -> Self {
        Self { result, count, detail, mismatch: None }
    }
}

/// The section of a report about the lines of a batch.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// The results as JSON, separated by line feeds.
    json: Vec<u8>,
    pub(super) counts: BTreeMap<&'static str, usize>,
    /// The number of the line behind the last one.
    pub(super) next_line: usize,
    /// The first line that was not answered.
    pub(super) first_open: Option<usize>,
    /// Whether the command had been answered before; `None` when none is stored.
    pub(super) replayed: Option<bool>,
    /// Why the command was not answered.
    pub(super) failure: Option<Problem>,
}

impl Section {
    /// The results, each on a line.
    pub(super) fn into_lines(mut self) -> Bytes {
        if !self.json.is_empty() {
            self.json.push(b'\n');
        }
        self.json.into()
    }

    /// The results as the items of a list. JSON that was written has no line feeds of its own.
    pub(super) fn into_items(mut self) -> Bytes {
        for byte in &mut self.json {
            if *byte == b'\n' {
                *byte = b',';
            }
        }
        self.json.into()
    }
}

/// A service answered with too few results, or too many.
#[derive(Debug, thiserror::Error)]
#[error("the service answered {lines} lines with {results} results")]
struct ResultCountMismatch {
    lines: usize,
    results: usize,
}

#[derive(Serialize)]
struct LineResult<'a> {
    line: usize,
    #[serde(flatten)]
    name: Option<&'a LineName>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    /// The command that carries the line, where it is not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    command_id: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    mismatch: Option<Mismatch>,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

/// Pairs the lines that were sent with their outcomes, and the others with their errors. Of their command it is said
/// whether it had been answered before, and its id; nothing where none is stored.
pub(super) fn section(
    names: &[(usize, Result<LineName, Vec<FieldError>>)],
    outcomes: &[LineOutcome],
    (replayed, command_id): (Option<bool>, Option<&str>),
) -> Result<Section, Problem> {
    let sent = names.iter().filter(|(_, name)| name.is_ok()).count();
    if sent != outcomes.len() {
        return Err(Problem::internal(&ResultCountMismatch {
            lines: sent,
            results: outcomes.len(),
        }));
    }
    let mut section = Section { replayed, ..Section::default() };
    let mut outcomes = outcomes.iter().copied();
    for (line, name) in names {
        let (name, errors, outcome) = match name {
            Ok(name) => {
                (Some(name), [].as_slice(), outcomes.next().unwrap_or(LineOutcome::PENDING))
            }
            Err(errors) => (None, errors.as_slice(), LineOutcome::REJECTED),
        };
        let LineOutcome { result, count, detail, mismatch } = outcome;
        *section.counts.entry(count).or_default() += 1;
        section.next_line = line + 1;
        let is_open = [PENDING, UNANSWERED].contains(&count);
        if is_open {
            section.first_open.get_or_insert(*line);
        }
        let command_id = command_id.filter(|_| is_open);
        if !section.json.is_empty() {
            section.json.push(b'\n');
        }
        let result = LineResult { line: *line, name, result, detail, command_id, mismatch, errors };
        serde_json::to_writer(&mut section.json, &result).map_err(|e| Problem::internal(&e))?;
    }
    Ok(section)
}
