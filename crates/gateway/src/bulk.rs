//! Uploads of many lines: each line is read for itself, the good ones travel in commands of up to 500
//! lines, a few commands are on their way at once, and every line gets its result, in its order.

use std::{collections::BTreeMap, marker::PhantomData, pin::pin, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use events::{proto, subject::Lane};
use futures::{Stream, TryStreamExt, stream};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    body::{self, NDJSON_LIMIT},
    door::{Door, Reply, mark_replayed},
    extract::Call,
    fields::{self, Errors, Fields, Path},
    json::Node,
    lines::{self, CHUNK_LINES, Chunk},
    problem::{FieldError, Problem, RETRY_AFTER_S},
};

/// The commands of an upload that are on their way at once.
const IN_FLIGHT: usize = 4;
/// How long the answer to a command of an upload is waited for: what is live goes first.
const BULK_ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// The most lines of a JSON list.
const LIST_LINES: usize = 10_000;
/// The wrong lines of which all errors are told: an answer stays in proportion to its upload.
const TOLD_LINES: usize = 10_000;

/// What an upload is of.
pub(crate) trait Upload {
    /// A line, as it goes into the command.
    type Line: Send;
    /// The answer to the command.
    type Answer: DeserializeOwned + Send;
    /// The counts of the response, in their order.
    const COUNTS: &'static [&'static str];

    /// Reads a line.
    fn read(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<Self::Line>;
    /// Names a line.
    fn name(line: &Self::Line) -> Name;
    /// Makes the command of some lines.
    fn command(lines: Vec<Self::Line>) -> proto::command::Body;
    /// What became of each line of the command.
    fn fates(answer: Self::Answer) -> Vec<Fate>;
}

/// What a line calls itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Name {
    pub(crate) sku: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<String>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) result: &'static str,
    /// What it is counted as.
    pub(crate) count: &'static str,
    pub(crate) detail: Option<&'static str>,
}

/// The count of lines that had no effect because something is wrong with them.
pub(crate) const REJECTED: &str = "rejected";
const PENDING: &str = "pending";

impl Fate {
    const REJECTED: Self = Self { result: REJECTED, count: REJECTED, detail: None };
    const PENDING: Self = Self {
        result: PENDING,
        count: PENDING,
        detail: Some("accepted, and no answer came in time: send the request again to see it"),
    };
}

/// Lines that travel together.
pub(crate) struct Batch<L> {
    /// Its place among the commands of the request; `None` when it is the only one.
    pub(crate) part: Option<usize>,
    /// What its fingerprint is taken of.
    pub(crate) bytes: Bytes,
    /// Each line, or what is wrong with it, with its number.
    pub(crate) lines: Vec<(usize, Result<L, Vec<FieldError>>)>,
}

/// Takes an NDJSON body.
pub(crate) async fn ndjson<U: Upload>(
    door: &Door,
    call: &Call,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let frames = body::open(headers, body, NDJSON_LIMIT).await?;
    let mut told = 0;
    let batches = lines::chunks(frames).map_ok(|chunk| read_chunk::<U>(chunk, &mut told));
    deliver_all::<U>(door, call, Lane::Bulk, batches).await
}

/// Takes the lines of a JSON list.
pub(crate) async fn list<U: Upload>(
    door: &Door,
    call: &Call,
    bytes: Bytes,
    lines: Vec<Result<U::Line, Vec<FieldError>>>,
) -> Result<Response, Problem> {
    let mut lines = lines.into_iter().enumerate().peekable();
    let mut batches = Vec::new();
    while lines.peek().is_some() {
        let lines = lines.by_ref().take(CHUNK_LINES).collect();
        batches.push(Ok(Batch { part: Some(batches.len()), bytes: bytes.clone(), lines }));
    }
    deliver_all::<U>(door, call, Lane::Bulk, stream::iter(batches)).await
}

/// Takes a single line.
pub(crate) async fn single<U: Upload>(
    door: &Door,
    call: &Call,
    bytes: Bytes,
    line: U::Line,
) -> Result<Response, Problem> {
    let batch = Batch { part: None, bytes, lines: vec![(0, Ok(line))] };
    deliver_all::<U>(door, call, Lane::Live, stream::iter([Ok(batch)])).await
}

/// Reads the list that is a member of a JSON body, each item for itself.
pub(crate) fn items<U: Upload>(
    fields: &mut Fields<'_, '_>,
    member: &'static str,
) -> Option<Vec<Result<U::Line, Vec<FieldError>>>> {
    let read = |node: &Node<'_>, _: &Path<'_>, _: &mut Errors| {
        let mut errors = Errors::default();
        let line = U::read(node, &Path::Root("the line"), &mut errors);
        Some(errors.check(line))
    };
    fields.required(member, fields::list(LIST_LINES, read))
}

/// Reads the lines of a chunk. `told` counts the wrong ones.
fn read_chunk<U: Upload>(chunk: Chunk, told: &mut usize) -> Batch<U::Line> {
    let wrong = |detail| vec![FieldError { field: String::new(), detail }];
    let read = |(number, text): (usize, Option<&[u8]>)| {
        let line = match text {
            Some(text) => fields::line(text, U::read),
            None => Err(wrong(lines::too_long())),
        };
        *told += usize::from(line.is_err());
        let is_told = *told <= TOLD_LINES;
        let untold = || wrong(format!("wrong, like {TOLD_LINES} lines before it"));
        (number, line.map_err(|errors| if is_told { errors } else { untold() }))
    };
    let lines = chunk.lines().map(read).collect();
    Batch { part: Some(chunk.part), bytes: chunk.bytes.into(), lines }
}

/// Sends each batch and reports on all of them.
async fn deliver_all<U: Upload>(
    door: &Door,
    call: &Call,
    lane: Lane,
    batches: impl Stream<Item = Result<Batch<U::Line>, Problem>>,
) -> Result<Response, Problem> {
    let pieces = batches.map_ok(|batch| deliver::<U>(door, call, lane, batch));
    let mut pieces = pin!(pieces.try_buffered(IN_FLIGHT));
    let mut report = Report::<U>::default();
    while let Some(piece) = pieces.try_next().await? {
        report.add(piece);
    }
    Ok(report.into_response())
}

/// A part of a report: what became of the lines of a batch.
#[derive(Debug, Default)]
struct Piece {
    /// The results as JSON, separated by commas.
    json: Vec<u8>,
    counts: BTreeMap<&'static str, usize>,
    /// Whether the command had been answered before; `None` when there was none.
    replayed: Option<bool>,
}

async fn deliver<U: Upload>(
    door: &Door,
    call: &Call,
    lane: Lane,
    batch: Batch<U::Line>,
) -> Result<Piece, Problem> {
    let mut good = Vec::with_capacity(batch.lines.len());
    let mut names = Vec::with_capacity(batch.lines.len());
    for (number, line) in batch.lines {
        match line {
            Ok(read) => {
                names.push((number, Ok(U::name(&read))));
                good.push(read);
            }
            Err(errors) => names.push((number, Err(errors))),
        }
    }
    if good.is_empty() {
        return piece(&names, &[], None);
    }

    let count = good.len();
    let command = call.command(batch.part, &batch.bytes, U::command(good));
    let patience = match lane {
        Lane::Live => door.answer_within,
        Lane::Bulk => BULK_ANSWER_WITHIN,
    };
    match door.send::<U::Answer>(lane, command, patience).await? {
        Reply::Answered(answer) => piece(&names, &U::fates(answer.body), Some(answer.replayed)),
        Reply::Pending => piece(&names, &vec![Fate::PENDING; count], Some(false)),
    }
}

/// A service that answers with too few results, or too many.
#[derive(Debug, thiserror::Error)]
#[error("the service answered {lines} lines with {results} results")]
struct Miscounted {
    lines: usize,
    results: usize,
}

#[derive(Serialize)]
struct LineResult<'a> {
    line: usize,
    #[serde(flatten)]
    name: Option<&'a Name>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

/// Puts results to the lines that went into the command, and errors to those that did not.
fn piece(
    names: &[(usize, Result<Name, Vec<FieldError>>)],
    fates: &[Fate],
    replayed: Option<bool>,
) -> Result<Piece, Problem> {
    let sent = names.iter().filter(|(_, name)| name.is_ok()).count();
    if sent != fates.len() {
        return Err(Problem::internal(&Miscounted { lines: sent, results: fates.len() }));
    }
    let mut piece = Piece { replayed, ..Piece::default() };
    let mut fates = fates.iter().copied();
    for (line, name) in names {
        let (name, errors, fate) = match name {
            Ok(name) => (Some(name), [].as_slice(), fates.next().unwrap_or(Fate::PENDING)),
            Err(errors) => (None, errors.as_slice(), Fate::REJECTED),
        };
        let Fate { result, count, detail } = fate;
        *piece.counts.entry(count).or_default() += 1;
        if !piece.json.is_empty() {
            piece.json.push(b',');
        }
        let result = LineResult { line: *line, name, result, detail, errors };
        serde_json::to_writer(&mut piece.json, &result).map_err(|e| Problem::internal(&e))?;
    }
    Ok(piece)
}

/// What became of an upload.
struct Report<U> {
    pieces: Vec<Bytes>,
    counts: BTreeMap<&'static str, usize>,
    replayed: Option<bool>,
    upload: PhantomData<U>,
}

impl<U> Default for Report<U> {
    fn default() -> Self {
        Self { pieces: Vec::new(), counts: BTreeMap::new(), replayed: None, upload: PhantomData }
    }
}

impl<U: Upload> Report<U> {
    fn add(&mut self, piece: Piece) {
        if !self.pieces.is_empty() {
            self.pieces.push(Bytes::from_static(b","));
        }
        self.pieces.push(piece.json.into());
        for (name, count) in piece.counts {
            *self.counts.entry(name).or_default() += count;
        }
        if let Some(replayed) = piece.replayed {
            self.replayed = Some(replayed && self.replayed.unwrap_or(true));
        }
    }

    /// The report as JSON, in the pieces that it was made of.
    fn json(self) -> impl Iterator<Item = Bytes> {
        let count = |name: &&str| self.counts.get(name).copied().unwrap_or_default();
        let is_told = |name: &&'static str| *name != PENDING || count(name) > 0;
        let names = U::COUNTS.iter().copied().chain([PENDING]).filter(is_told);
        let counts: Vec<_> = names.map(|name| format!("\"{name}\":{},", count(&name))).collect();
        let head = Bytes::from(format!("{{{}\"results\":[", counts.concat()));
        [head].into_iter().chain(self.pieces).chain([Bytes::from_static(b"]}")])
    }
}

impl<U: Upload> IntoResponse for Report<U> {
    fn into_response(self) -> Response {
        let is_pending = self.counts.contains_key(PENDING);
        let is_replayed = self.replayed == Some(true);
        let pieces: Vec<_> = self.json().map(Ok::<_, std::convert::Infallible>).collect();
        let mut response = Body::from_stream(stream::iter(pieces)).into_response();
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
        type Answer = Vec<i64>;
        const COUNTS: &'static [&'static str] = &["applied", REJECTED];

        fn read(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<i64> {
            let digit = |value| fields::within("digit", "must be 0 to 9", 0..=9, value);
            fields::integer(digit)(node, path, errors)
        }

        fn name(line: &i64) -> Name {
            Name { sku: line.to_string(), document: None }
        }

        fn command(_lines: Vec<i64>) -> proto::command::Body {
            proto::command::Body::PutProducts(proto::PutProducts::default())
        }

        fn fates(answer: Vec<i64>) -> Vec<Fate> {
            vec![APPLIED; answer.len()]
        }
    }

    const APPLIED: Fate = Fate { result: "applied", count: "applied", detail: None };

    fn named(sku: &str) -> Name {
        Name { sku: sku.to_owned(), document: None }
    }

    fn wrong(detail: &str) -> Vec<FieldError> {
        vec![FieldError { field: String::new(), detail: detail.to_owned() }]
    }

    #[track_caller]
    fn check(pieces: Vec<Piece>, status: StatusCode, replayed: bool, document: &Value) {
        let mut report = Report::<Digits>::default();
        for piece in pieces {
            report.add(piece);
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
    fn results_stand_in_the_order_of_the_lines_and_are_counted() {
        let first = vec![(0, Ok(named("1"))), (1, Err(wrong("bad"))), (3, Ok(named("2")))];
        let second = vec![(4, Ok(named("3")))];
        check(
            vec![
                piece(&first, &[APPLIED; 2], Some(true)).expect("fits"),
                piece(&second, &[APPLIED], Some(false)).expect("fits"),
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
    fn an_upload_is_a_replay_when_all_that_was_sent_of_it_is() {
        let again = || piece(&[(0, Ok(named("1")))], &[APPLIED], Some(true)).expect("fits");
        let unsent = piece(&[(1, Err(wrong("bad")))], &[], None).expect("fits");
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
    fn what_is_not_answered_in_time_is_accepted_and_said_to_be_pending() {
        check(
            vec![piece(&[(0, Ok(named("1")))], &[Fate::PENDING], Some(false)).expect("fits")],
            StatusCode::ACCEPTED,
            false,
            &json!({
                "applied": 0,
                "rejected": 0,
                "pending": 1,
                "results": [
                    {"line": 0, "sku": "1", "result": "pending", "detail": Fate::PENDING.detail},
                ],
            }),
        );
    }

    #[test]
    fn an_answer_that_does_not_fit_its_lines_is_a_problem() {
        assert!(piece(&[(0, Ok(named("1")))], &[], Some(false)).is_err());
        assert!(piece(&[(0, Ok(named("1")))], &[APPLIED; 2], Some(false)).is_err());
    }

    #[tokio::test]
    async fn the_lines_of_a_body_become_batches_with_their_numbers() {
        let numbers: Vec<_> = (0..600).map(|number| (number % 11).to_string()).collect();
        let body = numbers.join("\n");
        let mut told = 0;
        let batches = lines::chunks(Body::from(body).into_data_stream());
        let batches: Vec<_> = batches
            .map_ok(|chunk| read_chunk::<Digits>(chunk, &mut told))
            .try_collect()
            .await
            .expect("is small");
        let parts: Vec<_> = batches.iter().map(|batch| (batch.part, batch.lines.len())).collect();
        assert_eq!(parts, [(Some(0), 500), (Some(1), 100)]);
        let lines = batches.into_iter().flat_map(|batch| batch.lines);
        for (index, (number, line)) in lines.enumerate() {
            assert_eq!(number, index);
            assert_eq!(line.ok(), Some(index as i64 % 11).filter(|digit| *digit < 10));
        }
        assert_eq!(told, 54, "every eleventh line is wrong");
    }

    #[tokio::test]
    async fn only_the_first_wrong_lines_are_told_in_full() {
        let mut told = TOLD_LINES - 1;
        let chunks: Vec<_> = lines::chunks(Body::from("10\n11").into_data_stream())
            .try_collect()
            .await
            .expect("is small");
        let batches = chunks.into_iter().map(|chunk| read_chunk::<Digits>(chunk, &mut told));
        let details: Vec<_> = batches
            .flat_map(|batch| batch.lines)
            .map(|(_, line)| line.expect_err("is wrong")[0].detail.clone())
            .collect();
        assert_eq!(
            details,
            ["digit must be 0 to 9, got \"10\"", "wrong, like 10000 lines before it"]
        );
    }
}
