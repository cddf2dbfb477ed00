//! Uploads of many lines. Each line is validated by itself; the valid ones are sent in commands of up
//! to 100 lines, several commands at once (`sending`). The results of all lines, in order, are `section`s of one `report`, or are
//! sent while the upload runs (`results`), so that nothing grows with it. Once a line has come to a service, the answer
//! has the results so far, whatever happens, and says from which line to go on (`summary`).

mod options;
mod report;
mod results;
mod section;
mod sending;
mod summary;

use std::{pin::pin, sync::Arc};

use axum::{body::Body, http::HeaderMap, response::Response};
use events::{answers::CommandAnswer, proto};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use protocol::subject::Lane;
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    options::{MaybeUpload, Results, UploadOptions},
    report::ShortReport,
    section::{LineName, LineOutcome, Mismatch, REJECTED},
    sending::{ReadLine, Refused, report_deadline},
};
use self::{
    report::Report,
    section::Section,
    sending::{Batch, send_all},
};
use crate::{
    body::{self, MAX_NDJSON_BYTES},
    extract::RequestContext,
    fields::{self, Errors, Fields, Path},
    json::Node,
    limits::RequestClass,
    lines::{self, Chunk, LineFormat, LineText, MAX_CHUNK_LINES, SentText, UploadLimits},
    problem::{FieldError, Problem},
    state::AppState,
};

/// The most lines of a JSON list.
const MAX_LIST_LINES: usize = 10_000;
/// The most invalid lines that are reported with all their errors: the size of a report stays in
/// proportion to its upload.
const MAX_LINES_WITH_ERRORS: usize = 10_000;

/// A kind of upload.
pub(crate) trait Upload: Send + 'static {
    /// A line, as it is in the command.
    type Line: Send + 'static;
    /// What is kept of a line that is invalid; nothing can be of most kinds.
    type Invalid: Send + 'static;
    /// The answer to the command.
    type Answer: CommandAnswer + Send;
    /// The columns of a CSV file: the names of the fields, those of a member with a dot.
    const COLUMNS: &'static [&'static str];
    /// The counts of the report, in order.
    const COUNTS: &'static [&'static str];

    /// Reads a line.
    fn read(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Self::Line>;
    /// Names a line.
    fn name(line: &Self::Line) -> LineName;
    /// What is kept of the invalid line with that number.
    fn invalid(line: usize, sent: &SentText<'_>, errors: &[FieldError]) -> Option<Self::Invalid>;
    /// The command for some lines, and for what is kept of those among them that are invalid, each with how many of
    /// the lines stand before it.
    fn command(
        context: &RequestContext,
        lines: Vec<Self::Line>,
        invalid: Vec<(usize, Self::Invalid)>,
    ) -> proto::command::Body;
    /// The outcome of each line of the command.
    fn outcomes(answer: Self::Answer) -> Result<Vec<LineOutcome>, UnknownResult>;
}

/// A service answered with a result that this version of the gateway does not know.
#[derive(Debug, thiserror::Error)]
#[error("the service answered with a result that this version does not know")]
pub(crate) struct UnknownResult;

impl From<UnknownResult> for Problem {
    fn from(error: UnknownResult) -> Self {
        Self::internal(&error)
    }
}

/// Handles an upload: NDJSON or CSV.
pub(crate) async fn upload<U: Upload>(
    state: Arc<AppState>,
    context: RequestContext,
    (headers, options): (&HeaderMap, UploadOptions),
    body: Body,
) -> Result<Response, Problem> {
    let format = if options.is_csv { LineFormat::Csv(U::COLUMNS) } else { LineFormat::Ndjson };
    let (limits, max_length, max_reported, stop) = match options.results {
        Results::Report => (
            UploadLimits::REPORTED,
            MAX_NDJSON_BYTES,
            MAX_LINES_WITH_ERRORS,
            CancellationToken::new(),
        ),
        Results::Ndjson => (UploadLimits::STREAMED, usize::MAX, usize::MAX, state.shutdown.clone()),
    };
    let frames = body::open(headers, body, max_length).await?;
    let mut invalid = 0;
    let batches = lines::chunks(frames, format, options.from_line, limits, stop)
        .map_ok(move |chunk| read_chunk::<U>(&chunk, &mut invalid, max_reported));
    let from_line = options.from_line;
    match options.results {
        Results::Report => {
            let deadline = Some(report_deadline(&state, &context));
            let sections = send_all::<U>(state, context, (Lane::Bulk, deadline), batches);
            report::<U>(sections, from_line).await
        }
        Results::Ndjson => {
            let seen = context.seen.clone();
            let sections = send_all::<U>(state, context, (Lane::Bulk, None), batches);
            results::respond::<U>(sections, from_line, seen).await
        }
    }
}

/// Handles the lines of a JSON list. Its size is known only now, so it is counted as an upload here,
/// in addition to the class of its head.
pub(crate) async fn list<U: Upload>(
    state: Arc<AppState>,
    context: RequestContext,
    lines: Vec<ReadLine<U>>,
) -> Result<Response, Problem> {
    let permit = state.concurrency.try_acquire(RequestClass::Upload, context.shop.as_str())?;
    let mut lines = lines.into_iter().enumerate().peekable();
    let mut batches = Vec::new();
    while let Some((first, _)) = lines.peek() {
        let part = Some(*first);
        let lines = lines.by_ref().take(MAX_CHUNK_LINES).collect();
        batches.push(Ok(Batch { part, lines }));
    }
    let deadline = Some(report_deadline(&state, &context));
    let sections = send_all::<U>(state, context, (Lane::Bulk, deadline), stream::iter(batches));
    let response = report::<U>(sections, 0).await;
    drop(permit);
    response
}

/// Handles a single line.
pub(crate) async fn single<U: Upload>(
    state: Arc<AppState>,
    context: RequestContext,
    line: U::Line,
) -> Result<Response, Problem> {
    let batch = Ok(Batch { part: None, lines: vec![(0, Ok(line))] });
    let deadline = Some(report_deadline(&state, &context));
    let sections = send_all::<U>(state, context, (Lane::Live, deadline), stream::iter([batch]));
    report::<U>(sections, 0).await
}

/// Reads a list that is a member of a JSON body; each item has its own errors.
pub(crate) fn items<U: Upload>(
    fields: &mut Fields<'_, '_>,
    member: &'static str,
) -> Option<Vec<ReadLine<U>>> {
    let read = |node: &Node<'_>, path: &Path<'_>, _: &mut Errors| {
        let number = if let Path::Item(_, index) = path { *index } else { 0 };
        let mut errors = Errors::default();
        let line = U::read(node, &Path::Line(path), &mut errors);
        let sent = SentText::Fields(node);
        Some(errors.check(line).map_err(|errors| refused::<U>(number, &sent, errors)))
    };
    fields.required(member, fields::list(MAX_LIST_LINES, read))
}

/// Reads the lines of a chunk. `invalid` counts the invalid ones of the whole body, of which at most
/// `max_reported` are reported with all their errors.
fn read_chunk<U: Upload>(chunk: &Chunk, invalid: &mut usize, max_reported: usize) -> Batch<U> {
    let error = |detail: String| vec![FieldError::named("", detail)];
    let read = |number: usize, text: LineText<'_>| match text {
        LineText::Json(text) => fields::line(text, U::read)
            .map_err(|errors| refused::<U>(number, &SentText::Json(text), errors)),
        LineText::Record(node, header) => fields::record(&node, U::read).map_err(|errors| {
            let errors = errors.into_iter().map(|error| header.locate(error)).collect();
            refused::<U>(number, &SentText::Fields(&node), errors)
        }),
        LineText::Wrong(detail, sent) => Err(refused::<U>(number, &sent, error(detail.to_owned()))),
    };
    let limit = |(number, mut line): (usize, ReadLine<U>)| {
        if let Err(refused) = &mut line {
            *invalid += 1;
            if *invalid > max_reported {
                refused.errors = error(format!("invalid, like {max_reported} lines before it"));
            }
        }
        (number, line)
    };
    Batch { part: Some(chunk.first), lines: chunk.read(read).map(limit).collect() }
}

/// An invalid line, with what is kept of it.
fn refused<U: Upload>(
    number: usize,
    sent: &SentText<'_>,
    errors: Vec<FieldError>,
) -> Refused<U::Invalid> {
    let kept = U::invalid(number, sent, &errors);
    Refused { errors, kept }
}

/// One report on all lines, of which the first is `from_line`.
async fn report<U: Upload>(
    sections: impl Stream<Item = Result<Section, Problem>>,
    from_line: usize,
) -> Result<Response, Problem> {
    let mut sections = pin!(sections);
    let mut report = Report::new(U::COUNTS, from_line);
    while let Some(section) = sections.next().await {
        match section {
            Ok(section) => report.add(section),
            Err(problem) => report.end(problem),
        }
    }
    report.respond()
}

#[cfg(test)]
mod tests;
