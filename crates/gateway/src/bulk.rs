//! Uploads of many lines. Each line is validated by itself; the valid ones are sent in commands of up
//! to 100 lines, several commands at once; the `report` has the result of every line, in order.

mod report;

use std::{pin::pin, time::Duration};

use axum::{
    body::Body,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use events::{answers::CommandAnswer, proto};
use futures::{Stream, TryStreamExt, stream};
use protocol::subject::Lane;

pub(crate) use self::report::{LineName, LineOutcome, Mismatch, REJECTED};
use self::report::{Report, Section, section};
use crate::{
    body::{self, MAX_NDJSON_BYTES},
    extract::RequestContext,
    fields::{self, Errors, Fields, Path},
    json::Node,
    limits::RequestClass,
    lines::{self, Chunk, MAX_CHUNK_LINES},
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
pub(crate) trait Upload {
    /// A line, as it is in the command.
    type Line: Send;
    /// The answer to the command.
    type Answer: CommandAnswer + Send;
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
    /// Its number among the commands of the request; `None` when it is the only one.
    part: Option<usize>,
    /// The number of each line, and the line or its errors.
    lines: Vec<(usize, Result<L, Vec<FieldError>>)>,
}

/// Handles an NDJSON body.
pub(crate) async fn ndjson<U: Upload>(
    state: &AppState,
    context: &RequestContext,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let frames = body::open(headers, body, MAX_NDJSON_BYTES).await?;
    let mut invalid = 0;
    let batches = lines::chunks(frames).map_ok(|chunk| read_chunk::<U>(&chunk, &mut invalid));
    send_all::<U>(state, context, Lane::Bulk, batches).await
}

/// Handles the lines of a JSON list. Its size is known only now, so it is counted as an upload here,
/// in addition to the class of its head.
pub(crate) async fn list<U: Upload>(
    state: &AppState,
    context: &RequestContext,
    lines: Vec<Result<U::Line, Vec<FieldError>>>,
) -> Result<Response, Problem> {
    let _permit = state.concurrency.try_acquire(RequestClass::Upload, context.shop.as_str())?;
    let mut lines = lines.into_iter().enumerate().peekable();
    let mut batches = Vec::new();
    while lines.peek().is_some() {
        let lines = lines.by_ref().take(MAX_CHUNK_LINES).collect();
        batches.push(Ok(Batch { part: Some(batches.len()), lines }));
    }
    send_all::<U>(state, context, Lane::Bulk, stream::iter(batches)).await
}

/// Handles a single line.
pub(crate) async fn single<U: Upload>(
    state: &AppState,
    context: &RequestContext,
    line: U::Line,
) -> Result<Response, Problem> {
    let batch = Batch { part: None, lines: vec![(0, Ok(line))] };
    send_all::<U>(state, context, Lane::Live, stream::iter([Ok(batch)])).await
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

/// Reads the lines of a chunk. `invalid` counts the invalid ones of the whole body.
fn read_chunk<U: Upload>(chunk: &Chunk, invalid: &mut usize) -> Batch<U::Line> {
    let error = |detail| vec![FieldError { field: String::new(), detail }];
    let read = |(number, text): (usize, Option<&[u8]>)| {
        let line = match text {
            Some(text) => fields::line(text, U::read),
            None => Err(error(lines::too_long())),
        };
        *invalid += usize::from(line.is_err());
        let is_reported = *invalid <= MAX_LINES_WITH_ERRORS;
        let summary = || error(format!("invalid, like {MAX_LINES_WITH_ERRORS} lines before it"));
        (number, line.map_err(|errors| if is_reported { errors } else { summary() }))
    };
    let lines = chunk.lines().map(read).collect();
    Batch { part: Some(chunk.part), lines }
}

/// Sends each batch and reports on all of them.
async fn send_all<U: Upload>(
    state: &AppState,
    context: &RequestContext,
    lane: Lane,
    batches: impl Stream<Item = Result<Batch<U::Line>, Problem>>,
) -> Result<Response, Problem> {
    let sections = batches.map_ok(|batch| send_batch::<U>(state, context, lane, batch));
    let mut sections = pin!(sections.try_buffered(MAX_COMMANDS_IN_FLIGHT));
    let mut report = Report::<U>::default();
    while let Some(section) = sections.try_next().await? {
        report.add(section);
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
