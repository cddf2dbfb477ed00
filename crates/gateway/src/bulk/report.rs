//! The report on an upload: the result of every line, in order, and how many there are of each.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;
use serde::Serialize;

use super::summary::{Totals, UploadStatus};
use crate::{
    problem::{FieldError, Problem, RETRY_AFTER_S},
    services::mark_replayed,
};

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
        Some("stored, and not answered in time: send the request again to see the result"),
    );

    pub(super) const UNANSWERED: Self = Self::new(
        UNANSWERED,
        UNANSWERED,
        Some("the code of the answer says why: send the line again to see what became of it"),
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
    fn into_items(mut self) -> Bytes {
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
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    mismatch: Option<Mismatch>,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

/// Pairs the lines that were sent with their outcomes, and the others with their errors.
pub(super) fn section(
    names: &[(usize, Result<LineName, Vec<FieldError>>)],
    outcomes: &[LineOutcome],
    replayed: Option<bool>,
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
        if [PENDING, UNANSWERED].contains(&count) {
            section.first_open.get_or_insert(*line);
        }
        if !section.json.is_empty() {
            section.json.push(b'\n');
        }
        let result = LineResult { line: *line, name, result, detail, mismatch, errors };
        serde_json::to_writer(&mut section.json, &result).map_err(|e| Problem::internal(&e))?;
    }
    Ok(section)
}

/// The response to an upload.
pub(super) struct Report {
    sections: Vec<Bytes>,
    totals: Totals,
    replayed: Option<bool>,
}

/// A report without the results of the lines, for who can be sent no more: how many they are is said.
#[derive(Debug, Clone)]
pub(crate) struct ShortReport(pub(crate) Bytes);

impl Report {
    /// On an upload that begins with the line `from_line`; `counts` are those that are always said.
    pub(super) fn new(counts: &[&'static str], from_line: usize) -> Self {
        Self { sections: Vec::new(), totals: Totals::new(counts, from_line), replayed: None }
    }

    pub(super) fn add(&mut self, mut section: Section) {
        if !self.sections.is_empty() {
            self.sections.push(Bytes::from_static(b","));
        }
        self.totals.add(&mut section);
        if let Some(replayed) = section.replayed {
            self.replayed = Some(replayed && self.replayed.unwrap_or(true));
        }
        self.sections.push(section.into_items());
    }

    /// No further lines are read, for that reason.
    pub(super) fn end(&mut self, problem: Problem) {
        self.totals.end(problem);
    }

    /// The response: the report, or the problem of an upload of which no line came to a service.
    pub(super) fn respond(mut self) -> Result<Response, Problem> {
        if let Some(problem) = self.totals.take_refusal() {
            return Err(problem);
        }
        let lines = self.totals.lines();
        let summary = self.totals.summary();
        let is_complete = summary.status == UploadStatus::Complete;
        let mut head = serde_json::to_vec(&summary).map_err(|e| Problem::internal(&e))?;
        // The results follow as a member of the same object.
        head.pop();
        let short = format!(",\"results\":[],\"results_left_out\":{lines}}}");
        let short = ShortReport([&head, short.as_bytes()].concat().into());
        head.extend_from_slice(b",\"results\":[");
        let parts = [Bytes::from(head)].into_iter().chain(self.sections);
        let parts: Vec<_> = parts.chain([Bytes::from_static(b"]}")]).collect();
        let parts = parts.into_iter().map(Ok::<_, std::convert::Infallible>);
        let mut response = Body::from_stream(stream::iter(parts)).into_response();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response.extensions_mut().insert(short);
        if !is_complete {
            *response.status_mut() = StatusCode::ACCEPTED;
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        }
        if self.replayed == Some(true) {
            mark_replayed(&mut response);
        }
        Ok(response)
    }
}
