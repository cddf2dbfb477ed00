//! The report on an upload, as one document: the result of every line, in order, and how many there are of each.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;

use super::{
    section::Section,
    summary::{Totals, UploadStatus},
};
use crate::{
    problem::{Problem, RETRY_AFTER_S},
    services::mark_replayed,
};

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
