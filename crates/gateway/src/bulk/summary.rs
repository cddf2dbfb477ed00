//! What is said of an upload as a whole: whether all of its lines were handled, and from which line to go on
//! where they were not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::section::{PENDING, Section};
use crate::problem::Problem;

/// What is said of an upload as a whole.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) status: UploadStatus,
    /// The line to go on from: it is known what became of all before it.
    next_line: usize,
    /// How many lines there are of each kind of result.
    #[serde(flatten)]
    counts: BTreeMap<&'static str, usize>,
    /// What is to be sent as `Tradewind-After` by who reads what the lines changed, where no header says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<String>,
    /// Why the upload ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// How far an upload came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum UploadStatus {
    /// All lines were handled.
    Complete,
    /// Some were stored and not answered in time: `next_line` is the first of them.
    Pending,
    /// The upload ended early.
    Interrupted,
}

/// What is known of an upload so far.
#[derive(Debug)]
pub(super) struct Totals {
    counts: BTreeMap<&'static str, usize>,
    /// The line behind the last one that has a result.
    next_line: usize,
    /// The first line of which it is not known what became of it.
    first_open: Option<usize>,
    has_results: bool,
    /// Whether a service has answered lines, or they are stored.
    is_begun: bool,
    /// Whether a command could not be sent, or was refused.
    has_failed: bool,
    problem: Option<Problem>,
}

impl Totals {
    /// Of an upload that begins with the line `from_line`; `counts` are those that are always said.
    pub(super) fn new(counts: &[&'static str], from_line: usize) -> Self {
        Self {
            counts: counts.iter().map(|name| (*name, 0)).collect(),
            next_line: from_line,
            first_open: None,
            has_results: false,
            is_begun: false,
            has_failed: false,
            problem: None,
        }
    }

    /// Adds the results of a batch.
    pub(super) fn add(&mut self, section: &mut Section) {
        for (name, count) in &section.counts {
            *self.counts.entry(*name).or_default() += count;
        }
        self.next_line = self.next_line.max(section.next_line);
        self.first_open = self.first_open.or(section.first_open);
        self.has_results = true;
        self.is_begun |= section.replayed.is_some();
        if let Some(problem) = section.failure.take() {
            self.has_failed = true;
            self.note(problem);
        }
    }

    /// No further lines are read, for that reason.
    pub(super) fn end(&mut self, problem: Problem) {
        self.note(problem);
    }

    /// Of several problems the first is said, unless a later one is of the server: what that is about may have
    /// had its effect.
    fn note(&mut self, problem: Problem) {
        let is_of_server = |it: &Problem| it.code().status().is_server_error();
        if self.problem.as_ref().is_none_or(|it| !is_of_server(it) && is_of_server(&problem)) {
            self.problem = Some(problem);
        }
    }

    /// The problem that is the whole answer, at the end of an upload of which no line came to a service.
    pub(super) fn take_refusal(&mut self) -> Option<Problem> {
        let is_refused = !self.has_results || (self.has_failed && !self.is_begun);
        self.problem.take_if(|_| is_refused)
    }

    /// How many lines have a result.
    pub(super) fn lines(&self) -> usize {
        self.counts.values().sum()
    }

    /// What is said of it in the end.
    pub(super) fn summary(&mut self) -> Summary {
        let (code, detail) = self.problem.as_ref().map(Problem::code_and_detail).unzip();
        let status = match (&self.problem, self.counts.contains_key(PENDING)) {
            (Some(_), _) => UploadStatus::Interrupted,
            (None, true) => UploadStatus::Pending,
            (None, false) => UploadStatus::Complete,
        };
        Summary {
            status,
            next_line: self.first_open.unwrap_or(self.next_line),
            counts: std::mem::take(&mut self.counts),
            position: None,
            code,
            detail,
        }
    }
}
