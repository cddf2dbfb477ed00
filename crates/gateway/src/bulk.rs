//! Uploads of many lines. Each line is validated by itself; the valid ones are sent in commands of up
//! to 100 lines, several commands at once. The results of all lines, in order, are one `report`, or are
//! sent while the upload runs (`results`), so that nothing grows with it.

mod options;
mod report;
mod results;

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use events::{answers::CommandAnswer, proto};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use protocol::subject::Lane;
use tokio_util::sync::CancellationToken;

use self::report::{Report, Section, section};
pub(crate) use self::{
    options::{MaybeUpload, Results, UploadOptions},
    report::{LineName, LineOutcome, Mismatch, REJECTED},
};
use crate::{
    body::{self, MAX_NDJSON_BYTES},
    extract::RequestContext,
    fields::{self, Errors, Fields, Path},
    json::Node,
    limits::RequestClass,
    lines::{self, Chunk, LineFormat, LineText, MAX_CHUNK_LINES, UploadLimits},
    problem::{FieldError, Problem},
    services::Reply,
    state::AppState,
};

/// The most commands of an upload that are sent and not yet answered: together as many lines as a
/// service handles in two batches.
const MAX_COMMANDS_IN_FLIGHT: usize = 20;
/// How long the answer to a command of an upload is waited for. Longer than for other commands,
/// which are handled first.
const BULK_ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// The most lines of a JSON list.
const MAX_LIST_LINES: usize = 10_000;
/// The most invalid lines that are reported with all their errors: the size of a report stays in
/// proportion to its upload.
const MAX_LINES_WITH_ERRORS: usize = 10_000;

/// A kind of upload.
pub(crate) trait Upload: Send + 'static {
    /// A line, as it is in the command.
    type Line: Send + 'static;
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
    /// The command for some lines.
    fn command(context: &RequestContext, lines: Vec<Self::Line>) -> proto::command::Body;
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

/// Lines that are sent in one command.
struct Batch<L> {
    /// The number of its first line, which tells the commands of a request apart; `None` when it is the
    /// only one. The same file has the same commands, also when it is sent from a later line on.
    part: Option<usize>,
    /// The number of each line, and the line or its errors.
    lines: Vec<(usize, Result<L, Vec<FieldError>>)>,
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
    let seen = context.seen.clone();
    let sections = send_all::<U>(state, context, Lane::Bulk, batches);
    match options.results {
        Results::Report => report::<U>(sections).await,
        Results::Ndjson => results::respond::<U>(sections, options.from_line, seen).await,
    }
}

/// Handles the lines of a JSON list. Its size is known only now, so it is counted as an upload here,
/// in addition to the class of its head.
pub(crate) async fn list<U: Upload>(
    state: Arc<AppState>,
    context: RequestContext,
    lines: Vec<Result<U::Line, Vec<FieldError>>>,
) -> Result<Response, Problem> {
    let permit = state.concurrency.try_acquire(RequestClass::Upload, context.shop.as_str())?;
    let mut lines = lines.into_iter().enumerate().peekable();
    let mut batches = Vec::new();
    while let Some((first, _)) = lines.peek() {
        let part = Some(*first);
        let lines = lines.by_ref().take(MAX_CHUNK_LINES).collect();
        batches.push(Ok(Batch { part, lines }));
    }
    let response =
        report::<U>(send_all::<U>(state, context, Lane::Bulk, stream::iter(batches))).await;
    drop(permit);
    response
}

/// Handles a single line.
pub(crate) async fn single<U: Upload>(
    state: Arc<AppState>,
    context: RequestContext,
    line: U::Line,
) -> Result<Response, Problem> {
    let batch = Batch { part: None, lines: vec![(0, Ok(line))] };
    report::<U>(send_all::<U>(state, context, Lane::Live, stream::iter([Ok(batch)]))).await
}

/// Reads a list that is a member of a JSON body; each item has its own errors.
pub(crate) fn items<U: Upload>(
    fields: &mut Fields<'_, '_>,
    member: &'static str,
) -> Option<Vec<Result<U::Line, Vec<FieldError>>>> {
    let read = |node: &Node<'_>, _: &Path<'_>, _: &mut Errors| {
        let mut errors = Errors::default();
        let line = U::read(node, &Path::Root("the line"), &mut errors);
        Some(errors.check(line))
    };
    fields.required(member, fields::list(MAX_LIST_LINES, read))
}

/// Reads the lines of a chunk. `invalid` counts the invalid ones of the whole body, of which at most
/// `max_reported` are reported with all their errors.
fn read_chunk<U: Upload>(
    chunk: &Chunk,
    invalid: &mut usize,
    max_reported: usize,
) -> Batch<U::Line> {
    let error = |detail| vec![FieldError { field: String::new(), detail }];
    let read = |text: Result<LineText<'_>, &str>| match text {
        Ok(LineText::Json(text)) => fields::line(text, U::read),
        Ok(LineText::Record(node, header)) => fields::record(&node, U::read)
            .map_err(|errors| errors.into_iter().map(|error| header.locate(error)).collect()),
        Err(detail) => Err(error(detail.to_owned())),
    };
    let limit = |(number, line): (usize, Result<U::Line, Vec<FieldError>>)| {
        *invalid += usize::from(line.is_err());
        let is_reported = *invalid <= max_reported;
        let summary = || error(format!("invalid, like {max_reported} lines before it"));
        (number, line.map_err(|errors| if is_reported { errors } else { summary() }))
    };
    Batch { part: Some(chunk.first), lines: chunk.read(read).map(limit).collect() }
}

/// Sends each batch, several at once. The results come in order, up to the first failure.
fn send_all<U: Upload>(
    state: Arc<AppState>,
    context: RequestContext,
    lane: Lane,
    batches: impl Stream<Item = Result<Batch<U::Line>, Problem>> + Send + 'static,
) -> impl Stream<Item = Result<Section, Problem>> + Send + 'static {
    let context = Arc::new(context);
    // A failure to read takes its turn behind the commands that are under way, whose lines have results.
    let sections = batches.map(move |batch| {
        let (state, context) = (state.clone(), context.clone());
        async move { send_batch::<U>(&state, &context, lane, batch?).await }
    });
    sections.buffered(MAX_COMMANDS_IN_FLIGHT)
}

/// One report on all lines.
async fn report<U: Upload>(
    sections: impl Stream<Item = Result<Section, Problem>>,
) -> Result<Response, Problem> {
    let mut sections = std::pin::pin!(sections);
    let mut report = Report::<U>::default();
    while let Some(section) = sections.next().await {
        let section = section.map_err(|problem| match report.next_line() {
            0 => problem,
            // What is before that line was handled, and need not be sent again.
            next_line => problem.with("next_line", next_line),
        });
        report.add(section?);
    }
    Ok(report.into_response())
}

async fn send_batch<U: Upload>(
    state: &AppState,
    context: &RequestContext,
    lane: Lane,
    batch: Batch<U::Line>,
) -> Result<Section, Problem> {
    let mut valid = Vec::with_capacity(batch.lines.len());
    let mut names = Vec::with_capacity(batch.lines.len());
    for (number, line) in batch.lines {
        match line {
            Ok(read) => {
                names.push((number, Ok(U::name(&read))));
                valid.push(read);
            }
            Err(errors) => names.push((number, Err(errors))),
        }
    }
    if valid.is_empty() {
        return section(&names, &[], None);
    }

    let count = valid.len();
    let command = context.command(batch.part, U::command(context, valid));
    let timeout = match lane {
        Lane::Live => state.answer_timeout,
        Lane::Bulk => BULK_ANSWER_TIMEOUT,
    };
    match state.services.send::<U::Answer>(context, lane, command, timeout).await? {
        Reply::Answered(answer) => {
            let outcomes = U::outcomes(answer.body).map_err(|error| Problem::internal(&error))?;
            section(&names, &outcomes, Some(answer.replayed))
        }
        Reply::Pending(_) => section(&names, &vec![LineOutcome::PENDING; count], Some(false)),
    }
}

#[cfg(test)]
mod tests;
