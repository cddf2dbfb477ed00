//! Uploads of many lines. Each line is validated by itself; the valid ones are sent in commands of up
//! to 100 lines, several commands at once; the report has the result of every line, in order.

use std::{collections::BTreeMap, marker::PhantomData, pin::pin, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use events::{answers::CommandAnswer, proto};
use futures::{Stream, TryStreamExt, stream};
use protocol::subject::Lane;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    body::{self, MAX_NDJSON_BYTES},
    extract::RequestContext,
    fields::{self, Errors, Fields, Path},
    json::Node,
    limits::RequestClass,
    lines::{self, Chunk, MAX_CHUNK_LINES},
    problem::{FieldError, Problem, RETRY_AFTER_S},
    services::{Reply, mark_replayed},
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
    fn command(lines: Vec<Self::Line>) -> proto::command::Body;
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
}

/// The count of lines that had no effect because of an error.
pub(crate) const REJECTED: &str = "rejected";
const PENDING: &str = "pending";

impl LineOutcome {
    const REJECTED: Self = Self { result: REJECTED, count: REJECTED, detail: None };
    const PENDING: Self = Self {
        result: PENDING,
        count: PENDING,
        detail: Some("stored, and not answered in time: send the request again to see the result"),
    };
}

/// Lines that are sent in one command.
struct Batch<L> {
    /// Its number among the commands of the request; `None` when it is the only one.
    part: Option<usize>,
    /// The part of the body from which the fingerprint is computed.
    bytes: Bytes,
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
    let batches = lines::chunks(frames).map_ok(|chunk| read_chunk::<U>(chunk, &mut invalid));
    send_all::<U>(state, context, Lane::Bulk, batches).await
}

/// Handles the lines of a JSON list. Its size is known only now, so it is counted as an upload here,
/// in addition to the class of its head.
pub(crate) async fn list<U: Upload>(
    state: &AppState,
    context: &RequestContext,
    bytes: Bytes,
    lines: Vec<Result<U::Line, Vec<FieldError>>>,
) -> Result<Response, Problem> {
    let _permit = state.concurrency.try_acquire(RequestClass::Upload, context.shop.as_str())?;
    let mut lines = lines.into_iter().enumerate().peekable();
    let mut batches = Vec::new();
    // The fingerprint of each command is of the whole list: its bytes are not read for each anew.
    let bytes = Bytes::copy_from_slice(&Sha256::digest(&bytes));
    while lines.peek().is_some() {
        let lines = lines.by_ref().take(MAX_CHUNK_LINES).collect();
        batches.push(Ok(Batch { part: Some(batches.len()), bytes: bytes.clone(), lines }));
    }
    send_all::<U>(state, context, Lane::Bulk, stream::iter(batches)).await
}

/// Handles a single line.
pub(crate) async fn single<U: Upload>(
    state: &AppState,
    context: &RequestContext,
    bytes: Bytes,
    line: U::Line,
) -> Result<Response, Problem> {
    let batch = Batch { part: None, bytes, lines: vec![(0, Ok(line))] };
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
fn read_chunk<U: Upload>(chunk: Chunk, invalid: &mut usize) -> Batch<U::Line> {
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
    Batch { part: Some(chunk.part), bytes: chunk.bytes.into(), lines }
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

/// The section of a report about the lines of a batch.
#[derive(Debug, Default)]
struct Section {
    /// The results as JSON, separated by commas.
    json: Vec<u8>,
    counts: BTreeMap<&'static str, usize>,
    /// Whether the command had been answered before; `None` when no line was sent.
    replayed: Option<bool>,
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
    let command = context.command(batch.part, &batch.bytes, U::command(valid));
    let timeout = match lane {
        Lane::Live => state.answer_timeout,
        Lane::Bulk => BULK_ANSWER_TIMEOUT,
    };
    match state.services.send::<U::Answer>(context, lane, command, timeout).await? {
        Reply::Answered(answer) => {
            let outcomes = U::outcomes(answer.body).map_err(|error| Problem::internal(&error))?;
            section(&names, &outcomes, Some(answer.replayed))
        }
        Reply::Pending => section(&names, &vec![LineOutcome::PENDING; count], Some(false)),
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
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

/// Pairs the lines that were sent with their outcomes, and the others with their errors.
fn section(
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
        let LineOutcome { result, count, detail } = outcome;
        *section.counts.entry(count).or_default() += 1;
        if !section.json.is_empty() {
            section.json.push(b',');
        }
        let result = LineResult { line: *line, name, result, detail, errors };
        serde_json::to_writer(&mut section.json, &result).map_err(|e| Problem::internal(&e))?;
    }
    Ok(section)
}

/// The response to an upload.
struct Report<U> {
    sections: Vec<Bytes>,
    counts: BTreeMap<&'static str, usize>,
    replayed: Option<bool>,
    upload: PhantomData<U>,
}

impl<U> Default for Report<U> {
    fn default() -> Self {
        Self { sections: Vec::new(), counts: BTreeMap::new(), replayed: None, upload: PhantomData }
    }
}

impl<U: Upload> Report<U> {
    fn add(&mut self, section: Section) {
        if !self.sections.is_empty() {
            self.sections.push(Bytes::from_static(b","));
        }
        self.sections.push(section.json.into());
        for (name, count) in section.counts {
            *self.counts.entry(name).or_default() += count;
        }
        if let Some(replayed) = section.replayed {
            self.replayed = Some(replayed && self.replayed.unwrap_or(true));
        }
    }

    /// The report as JSON, section by section.
    fn json(self) -> impl Iterator<Item = Bytes> {
        let count = |name: &&str| self.counts.get(name).copied().unwrap_or_default();
        let is_reported = |name: &&'static str| *name != PENDING || count(name) > 0;
        let names = U::COUNTS.iter().copied().chain([PENDING]).filter(is_reported);
        let counts: Vec<_> = names.map(|name| format!("\"{name}\":{},", count(&name))).collect();
        let head = Bytes::from(format!("{{{}\"results\":[", counts.concat()));
        [head].into_iter().chain(self.sections).chain([Bytes::from_static(b"]}")])
    }
}

impl<U: Upload> IntoResponse for Report<U> {
    fn into_response(self) -> Response {
        let is_pending = self.counts.contains_key(PENDING);
        let is_replayed = self.replayed == Some(true);
        let sections: Vec<_> = self.json().map(Ok::<_, std::convert::Infallible>).collect();
        let mut response = Body::from_stream(stream::iter(sections)).into_response();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if is_pending {
            *response.status_mut() = StatusCode::ACCEPTED;
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        }
        if is_replayed {
            mark_replayed(&mut response);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// An upload of numbers below 10.
    #[derive(Debug)]
    struct Digits;

    impl Upload for Digits {
        type Line = i64;
        type Answer = proto::catalog::PutProductsAnswer;
        const COUNTS: &'static [&'static str] = &["applied", REJECTED];

        fn read(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<i64> {
            let digit = |value| fields::within("digit", "must be 0 to 9", 0..=9, value);
            fields::integer(digit)(node, path, errors)
        }

        fn name(line: &i64) -> LineName {
            LineName { sku: line.to_string(), document: None, document_line: None }
        }

        fn command(_lines: Vec<i64>) -> proto::command::Body {
            proto::command::Body::PutProducts(proto::catalog::PutProducts::default())
        }

        fn outcomes(answer: Self::Answer) -> Result<Vec<LineOutcome>, UnknownResult> {
            Ok(vec![APPLIED; answer.outcomes.len()])
        }
    }

    const APPLIED: LineOutcome = LineOutcome { result: "applied", count: "applied", detail: None };

    fn named(sku: &str) -> LineName {
        LineName { sku: sku.to_owned(), document: None, document_line: None }
    }

    fn wrong(detail: &str) -> Vec<FieldError> {
        vec![FieldError { field: String::new(), detail: detail.to_owned() }]
    }

    #[track_caller]
    fn check(sections: Vec<Section>, status: StatusCode, replayed: bool, document: &Value) {
        let mut report = Report::<Digits>::default();
        for section in sections {
            report.add(section);
        }
        let response = report.into_response();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().contains_key("idempotency-replayed"), replayed);
        assert_eq!(response.headers().contains_key("retry-after"), status == StatusCode::ACCEPTED);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX);
        let body = futures::executor::block_on(body).expect("is in memory");
        assert_eq!(serde_json::from_slice::<Value>(&body).expect("is JSON"), *document);
    }

    #[test]
    fn results_are_in_the_order_of_the_lines_and_counted() {
        let first = vec![(0, Ok(named("1"))), (1, Err(wrong("bad"))), (3, Ok(named("2")))];
        let second = vec![(4, Ok(named("3")))];
        check(
            vec![
                section(&first, &[APPLIED; 2], Some(true)).expect("fits"),
                section(&second, &[APPLIED], Some(false)).expect("fits"),
            ],
            StatusCode::OK,
            false,
            &json!({
                "applied": 3,
                "rejected": 1,
                "results": [
                    {"line": 0, "sku": "1", "result": "applied"},
                    {"line": 1, "result": "rejected", "errors": [{"field": "", "detail": "bad"}]},
                    {"line": 3, "sku": "2", "result": "applied"},
                    {"line": 4, "sku": "3", "result": "applied"},
                ],
            }),
        );
    }

    #[test]
    fn an_upload_is_replayed_when_all_its_commands_are() {
        let again = || section(&[(0, Ok(named("1")))], &[APPLIED], Some(true)).expect("fits");
        let unsent = section(&[(1, Err(wrong("bad")))], &[], None).expect("fits");
        let results = json!([
            {"line": 0, "sku": "1", "result": "applied"},
            {"line": 1, "result": "rejected", "errors": [{"field": "", "detail": "bad"}]},
        ]);
        let document = json!({"applied": 1, "rejected": 1, "results": results});
        check(vec![again(), unsent], StatusCode::OK, true, &document);
        let nothing = json!({"applied": 0, "rejected": 0, "results": []});
        check(vec![], StatusCode::OK, false, &nothing);
    }

    #[test]
    fn lines_without_an_answer_in_time_are_pending() {
        check(
            vec![
                section(&[(0, Ok(named("1")))], &[LineOutcome::PENDING], Some(false))
                    .expect("fits"),
            ],
            StatusCode::ACCEPTED,
            false,
            &json!({
                "applied": 0,
                "rejected": 0,
                "pending": 1,
                "results": [
                    {"line": 0, "sku": "1", "result": "pending", "detail": LineOutcome::PENDING.detail},
                ],
            }),
        );
    }

    #[test]
    fn an_answer_with_another_number_of_results_is_a_problem() {
        assert!(section(&[(0, Ok(named("1")))], &[], Some(false)).is_err());
        assert!(section(&[(0, Ok(named("1")))], &[APPLIED; 2], Some(false)).is_err());
    }

    #[tokio::test]
    async fn the_lines_of_a_body_become_batches_with_their_numbers() {
        let count = MAX_CHUNK_LINES + 50;
        let numbers: Vec<_> = (0..count).map(|number| (number % 11).to_string()).collect();
        let body = numbers.join("\n");
        let mut invalid = 0;
        let batches = lines::chunks(Body::from(body).into_data_stream());
        let batches: Vec<_> = batches
            .map_ok(|chunk| read_chunk::<Digits>(chunk, &mut invalid))
            .try_collect()
            .await
            .expect("is small");
        let parts: Vec<_> = batches.iter().map(|batch| (batch.part, batch.lines.len())).collect();
        assert_eq!(parts, [(Some(0), MAX_CHUNK_LINES), (Some(1), 50)]);
        let lines = batches.into_iter().flat_map(|batch| batch.lines);
        for (index, (number, line)) in lines.enumerate() {
            assert_eq!(number, index);
            assert_eq!(line.ok(), Some(index as i64 % 11).filter(|digit| *digit < 10));
        }
        assert_eq!(invalid, count / 11, "every eleventh line is invalid");
    }

    #[tokio::test]
    async fn only_the_first_invalid_lines_are_reported_with_their_errors() {
        let mut invalid = MAX_LINES_WITH_ERRORS - 1;
        let chunks: Vec<_> = lines::chunks(Body::from("10\n11").into_data_stream())
            .try_collect()
            .await
            .expect("is small");
        let batches = chunks.into_iter().map(|chunk| read_chunk::<Digits>(chunk, &mut invalid));
        let details: Vec<_> = batches
            .flat_map(|batch| batch.lines)
            .map(|(_, line)| line.expect_err("is wrong")[0].detail.clone())
            .collect();
        assert_eq!(
            details,
            ["digit must be 0 to 9, got \"10\"", "invalid, like 10000 lines before it"]
        );
    }
}
