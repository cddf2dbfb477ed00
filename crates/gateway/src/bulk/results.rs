//! The results of an upload, sent while it runs: a line of NDJSON for each of its lines, in order, and a
//! last one that says whether all were handled, and from which line to go on where they were not.

use std::{collections::BTreeMap, convert::Infallible, pin::Pin, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::time::timeout;

use super::{
    Upload,
    report::{PENDING, Section},
};
use crate::{position::SeenPositions, problem::Problem};

/// How long the response is held back for the first results. When the upload fails before, it is
/// answered with a problem, as other requests are.
const FIRST_RESULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The last line of the results.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    status: UploadStatus,
    /// The line to go on from: all before it have their result.
    next_line: usize,
    /// How many lines there are of each kind of result.
    #[serde(flatten)]
    counts: BTreeMap<&'static str, usize>,
    /// What is to be sent as `Tradewind-After` by who reads what the lines changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// Why the upload ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum UploadStatus {
    /// All lines were handled.
    Complete,
    /// Some were stored and not answered in time: `next_line` is the first of them.
    Pending,
    /// The upload ended early.
    Interrupted,
}

type Sections = Pin<Box<dyn Stream<Item = Result<Section, Problem>> + Send>>;

/// Results that are being sent.
struct Sending {
    /// `None` at the end.
    sections: Option<Sections>,
    counts: BTreeMap<&'static str, usize>,
    next_line: usize,
    first_pending: Option<usize>,
    seen: SeenPositions,
}

/// Responds with the results of `sections` while they come.
pub(super) async fn respond<U: Upload>(
    sections: impl Stream<Item = Result<Section, Problem>> + Send + 'static,
    from_line: usize,
    seen: SeenPositions,
) -> Result<Response, Problem> {
    let mut sections: Sections = Box::pin(sections);
    match timeout(FIRST_RESULT_TIMEOUT, sections.next()).await {
        Ok(Some(Err(problem))) => return Err(problem),
        Ok(first) => sections = Box::pin(stream::iter(first).chain(sections)),
        // A client that sends slowly.
        Err(_) => {}
    }
    let counts = U::COUNTS.iter().map(|name| (*name, 0)).collect();
    let sending = Sending {
        sections: Some(sections),
        counts,
        next_line: from_line,
        first_pending: None,
        seen,
    };
    let body = stream::unfold(sending, |mut sending| async move {
        let bytes = sending.next().await?;
        Some((Ok::<_, Infallible>(bytes), sending))
    });
    let mut response = Body::from_stream(body).into_response();
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
    // A proxy that collects the response would keep the results back.
    let buffering = HeaderValue::from_static("no");
    response.headers_mut().insert("x-accel-buffering", buffering);
    Ok(response)
}

impl Sending {
    async fn next(&mut self) -> Option<Bytes> {
        match self.sections.as_mut()?.next().await {
            Some(Ok(section)) => {
                self.next_line = section.next_line;
                self.first_pending = self.first_pending.or(section.first_pending);
                for (name, count) in &section.counts {
                    *self.counts.entry(*name).or_default() += count;
                }
                Some(section.into_lines())
            }
            Some(Err(problem)) => Some(self.summary(Some(&problem))),
            None => Some(self.summary(None)),
        }
    }

    fn summary(&mut self, problem: Option<&Problem>) -> Bytes {
        self.sections = None;
        let (code, detail) = problem.map(Problem::code_and_detail).unzip();
        let status = match (problem, self.counts.contains_key(PENDING)) {
            (Some(_), _) => UploadStatus::Interrupted,
            (None, true) => UploadStatus::Pending,
            (None, false) => UploadStatus::Complete,
        };
        let summary = Summary {
            status,
            next_line: self.first_pending.unwrap_or(self.next_line),
            counts: std::mem::take(&mut self.counts),
            position: self.seen.to_header(),
            code,
            detail,
        };
        // Numbers, names and text: nothing that cannot be written.
        let mut line = serde_json::to_vec(&summary).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }
}
