//! The results of an upload, sent while it runs: a line of NDJSON for each of its lines, in order, and a
//! last one that says whether all were handled, and from which line to go on where they were not.

use std::{collections::VecDeque, convert::Infallible, pin::Pin, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::time::timeout;

use super::{Upload, section::Section, summary::Totals};
use crate::{position::SeenPositions, problem::Problem};

/// How long the response is held back for the first results. When the upload fails before, it is
/// answered with a problem, as other requests are.
const FIRST_RESULT_TIMEOUT: Duration = Duration::from_secs(10);

type Sections = Pin<Box<dyn Stream<Item = Result<Section, Problem>> + Send>>;

/// Results that are being sent.
struct Sending {
    /// What is held back until the response begins.
    held: VecDeque<Bytes>,
    /// `None` at the end.
    sections: Option<Sections>,
    totals: Totals,
    seen: SeenPositions,
    /// Whether the last line is sent.
    is_over: bool,
}

/// Responds with the results of `sections` while they come.
pub(super) async fn respond<U: Upload>(
    sections: impl Stream<Item = Result<Section, Problem>> + Send + 'static,
    from_line: usize,
    seen: SeenPositions,
) -> Result<Response, Problem> {
    let mut sending = Sending {
        held: VecDeque::new(),
        sections: Some(Box::pin(sections)),
        totals: Totals::new(U::COUNTS, from_line),
        seen,
        is_over: false,
    };
    // It takes longer when a client sends slowly, or a service is down.
    timeout(FIRST_RESULT_TIMEOUT, sending.begin()).await.ok();
    if sending.sections.is_none()
        && let Some(problem) = sending.totals.take_refusal()
    {
        return Err(problem);
    }
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
    /// Holds back what comes, up to the first batch that was sent, or the end.
    async fn begin(&mut self) {
        while let Some(section) = self.next_section().await {
            let is_sent = section.failure.is_none();
            let lines = self.lines(section);
            self.held.push_back(lines);
            if is_sent {
                return;
            }
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        if let Some(held) = self.held.pop_front() {
            return Some(held);
        }
        if let Some(section) = self.next_section().await {
            return Some(self.lines(section));
        }
        let is_last = !std::mem::replace(&mut self.is_over, true);
        is_last.then(|| self.summary())
    }

    async fn next_section(&mut self) -> Option<Section> {
        match self.sections.as_mut()?.next().await {
            Some(Ok(section)) => return Some(section),
            Some(Err(problem)) => self.totals.end(problem),
            None => {}
        }
        self.sections = None;
        None
    }

    fn lines(&mut self, mut section: Section) -> Bytes {
        self.totals.add(&mut section);
        section.into_lines()
    }

    fn summary(&mut self) -> Bytes {
        let mut summary = self.totals.summary();
        summary.position = self.seen.to_header();
        // Numbers, names and text: nothing that cannot be written.
        let mut line = serde_json::to_vec(&summary).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }
}
