//! What is reported on an upload, and how its lines become commands.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{section::section, *};
use crate::{body::BodyError, position::SeenPositions, problem::Code};

/// An upload of numbers below 10.
#[derive(Debug)]
struct Digits;

impl Upload for Digits {
    type Line = i64;
    type Invalid = usize;
    type Answer = proto::catalog::PutProductsAnswer;
    const COLUMNS: &'static [&'static str] = &["digit"];
    const COUNTS: &'static [&'static str] = &["applied", REJECTED];

    fn read(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<i64> {
        let digit = |value| fields::within("digit", "must be 0 to 9", 0..=9, value);
        fields::integer(digit)(node, path, errors)
    }

    fn name(line: &i64) -> LineName {
        LineName { sku: line.to_string(), document: None, document_line: None }
    }

    fn invalid(line: usize, _sent: &SentText<'_>, errors: &[FieldError]) -> Option<usize> {
        Some(line).filter(|_| !errors.is_empty())
    }

    fn command(
        _context: &RequestContext,
        _lines: Vec<i64>,
        _invalid: Vec<(usize, usize)>,
    ) -> proto::command::Body {
        proto::command::Body::PutProducts(proto::catalog::PutProducts::default())
    }

    fn outcomes(answer: Self::Answer) -> Result<Vec<LineOutcome>, UnknownResult> {
        Ok(vec![APPLIED; answer.outcomes.len()])
    }
}

const APPLIED: LineOutcome = LineOutcome::new("applied", "applied", None);

fn named(sku: &str) -> LineName {
    LineName { sku: sku.to_owned(), document: None, document_line: None }
}

fn wrong(detail: &str) -> Vec<FieldError> {
    vec![FieldError::named("", detail)]
}

#[track_caller]
fn check(sections: Vec<Section>, status: StatusCode, replayed: bool, document: &Value) {
    let mut report = Report::new(Digits::COUNTS, 0);
    for section in sections {
        report.add(section);
    }
    let response = report.respond().expect("is a report");
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
            section(&first, &[APPLIED; 2], (Some(true), None)).expect("fits"),
            section(&second, &[APPLIED], (Some(false), None)).expect("fits"),
        ],
        StatusCode::OK,
        false,
        &json!({
            "applied": 3,
            "rejected": 1,
            "status": "complete",
            "next_line": 5,
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
    let again = || section(&[(0, Ok(named("1")))], &[APPLIED], (Some(true), None)).expect("fits");
    let unsent = section(&[(1, Err(wrong("bad")))], &[], (None, None)).expect("fits");
    let results = json!([
        {"line": 0, "sku": "1", "result": "applied"},
        {"line": 1, "result": "rejected", "errors": [{"field": "", "detail": "bad"}]},
    ]);
    let document = json!({"applied": 1, "rejected": 1, "status": "complete", "next_line": 2,
        "results": results});
    check(vec![again(), unsent], StatusCode::OK, true, &document);
    let nothing = json!({"applied": 0, "rejected": 0, "status": "complete", "next_line": 0,
        "results": []});
    check(vec![], StatusCode::OK, false, &nothing);
}

#[test]
fn lines_without_an_answer_in_time_are_pending_and_name_their_command() {
    let lines = [(0, Ok(named("1"))), (1, Err(wrong("bad")))];
    check(
        vec![section(&lines, &[LineOutcome::PENDING], (Some(false), Some("c-1"))).expect("fits")],
        StatusCode::ACCEPTED,
        false,
        &json!({
            "applied": 0,
            "rejected": 1,
            "pending": 1,
            "status": "pending",
            "next_line": 0,
            "results": [
                {"line": 0, "sku": "1", "result": "pending", "detail": LineOutcome::PENDING.detail,
                    "command_id": "c-1"},
                {"line": 1, "result": "rejected", "errors": [{"field": "", "detail": "bad"}]},
            ],
        }),
    );
}

#[test]
fn an_answer_with_another_number_of_results_is_a_problem() {
    assert!(section(&[(0, Ok(named("1")))], &[], (Some(false), None)).is_err());
    assert!(section(&[(0, Ok(named("1")))], &[APPLIED; 2], (Some(false), None)).is_err());
}

/// The response to an upload of these sections, from line 5 on.
async fn reported(sections: Vec<Result<Section, Problem>>) -> Result<(StatusCode, Value), Problem> {
    let response = report::<Digits>(stream::iter(sections), 5).await?;
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    Ok((status, serde_json::from_slice(&body.expect("is in memory")).expect("is JSON")))
}

fn refused(lines: std::ops::Range<usize>, code: Code) -> Result<Section, Problem> {
    let names: Vec<_> = lines.map(|line| (line, Ok(named("1")))).collect();
    let mut section = section(&names, &vec![LineOutcome::UNANSWERED; names.len()], (None, None))?;
    section.failure = Some(Problem::new(code, "why"));
    Ok(section)
}

#[tokio::test]
async fn a_report_that_ends_early_has_the_results_so_far_and_the_line_to_go_on_from() {
    let cut = || Err(BodyError::Incomplete.into());
    let (status, body) = reported(vec![of_lines(5..7, APPLIED), cut()]).await.expect("is a report");
    assert_eq!(status, StatusCode::ACCEPTED);
    let told = (&body["status"], &body["code"], &body["next_line"], &body["applied"]);
    assert_eq!(told, (&json!("interrupted"), &json!("incomplete_body"), &json!(7), &json!(2)));
    assert_eq!(body["results"].as_array().map(Vec::len), Some(2), "{body}");

    // Others were sent beside one that was refused: all that became of them is said.
    let reused = refused(5..7, Code::IdempotencyKeyReused);
    let (status, body) =
        reported(vec![reused, of_lines(7..9, APPLIED)]).await.expect("is a report");
    assert_eq!(status, StatusCode::ACCEPTED);
    let told = (&body["status"], &body["code"], &body["next_line"], &body["unanswered"]);
    assert_eq!(
        told,
        (&json!("interrupted"), &json!("idempotency_key_reused"), &json!(5), &json!(2))
    );
    let results = body["results"].as_array().expect("a list");
    let results: Vec<_> = results.iter().map(|it| (&it["line"], &it["result"])).collect();
    let result = |line: i32, result: &str| (json!(line), json!(result));
    let expected = [
        result(5, "unanswered"),
        result(6, "unanswered"),
        result(7, "applied"),
        result(8, "applied"),
    ];
    assert_eq!(results, expected.each_ref().map(|(line, result)| (line, result)));
}

#[tokio::test]
async fn an_upload_of_which_nothing_came_to_a_service_is_refused_as_a_whole() {
    use Code::{IdempotencyKeyReused, IncompleteBody, Unavailable};
    let (reused, down) = (IdempotencyKeyReused, Unavailable);
    let cut = vec![Err(BodyError::Incomplete.into())];
    assert_eq!(reported(cut).await.expect_err("is refused").code(), IncompleteBody);
    let one = vec![refused(5..7, reused)];
    assert_eq!(reported(one).await.expect_err("is refused").code(), reused);
    // What may be stored says so.
    for some in [[reused, down], [down, reused]] {
        let some = some.into_iter().map(|code| refused(5..7, code)).collect();
        assert_eq!(reported(some).await.expect_err("is refused").code(), down);
    }
    let streamed = sent(vec![refused(5..7, reused), refused(7..8, down)]).await;
    assert_eq!(streamed.expect_err("is refused").code(), down);
}

#[tokio::test]
async fn results_go_on_behind_what_was_refused() {
    let sections = vec![refused(5..7, Code::IdempotencyKeyReused), of_lines(7..8, APPLIED)];
    let sent = sent(sections).await.expect("it begins");
    let results: Vec<_> = sent.iter().map(|it| it["result"].as_str().unwrap_or_default()).collect();
    assert_eq!(results, ["unanswered", "unanswered", "applied", ""]);
    let end = &sent[3];
    let told = (&end["status"], &end["code"], &end["next_line"]);
    assert_eq!(told, (&json!("interrupted"), &json!("idempotency_key_reused"), &json!(5)));
}

async fn chunks(body: Body) -> impl Stream<Item = Result<Chunk, Problem>> {
    let frames = body::open(&HeaderMap::new(), body, usize::MAX).await.expect("is opened");
    let (limits, stop) = (UploadLimits::REPORTED, CancellationToken::new());
    lines::chunks(frames, LineFormat::Ndjson, 0, limits, stop)
}

#[tokio::test]
async fn the_lines_of_a_body_become_batches_with_their_numbers() {
    let count = MAX_CHUNK_LINES + 50;
    let numbers: Vec<_> = (0..count).map(|number| (number % 11).to_string()).collect();
    let body = numbers.join("\n");
    let mut invalid = 0;
    let batches = chunks(body.into()).await;
    let batches: Vec<_> = batches
        .map_ok(|chunk| read_chunk::<Digits>(&chunk, &mut invalid, MAX_LINES_WITH_ERRORS))
        .try_collect()
        .await
        .expect("is small");
    let parts: Vec<_> = batches.iter().map(|batch| (batch.part, batch.lines.len())).collect();
    assert_eq!(parts, [(Some(0), MAX_CHUNK_LINES), (Some(MAX_CHUNK_LINES), 50)]);
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
    let chunks: Vec<_> = chunks("10\n11".into()).await.try_collect().await.expect("is small");
    let batches = chunks
        .into_iter()
        .map(|chunk| read_chunk::<Digits>(&chunk, &mut invalid, MAX_LINES_WITH_ERRORS));
    let details: Vec<_> = batches
        .flat_map(|batch| batch.lines)
        .map(|(_, line)| line.expect_err("is wrong").errors[0].detail.clone())
        .collect();
    assert_eq!(
        details,
        ["digit must be 0 to 9, got \"10\"", "invalid, like 10000 lines before it"]
    );
}

/// What is sent as results of these sections.
async fn sent(sections: Vec<Result<Section, Problem>>) -> Result<Vec<Value>, Problem> {
    let sections = stream::iter(sections);
    let response = results::respond::<Digits>(sections, 5, SeenPositions::default()).await?;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    let body = String::from_utf8(body.expect("is in memory").to_vec()).expect("is UTF-8");
    Ok(body.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect())
}

fn of_lines(lines: std::ops::Range<usize>, outcome: LineOutcome) -> Result<Section, Problem> {
    let names: Vec<_> = lines.map(|line| (line, Ok(named("1")))).collect();
    section(&names, &vec![outcome; names.len()], (Some(false), None))
}

#[tokio::test]
async fn results_end_with_the_line_to_go_on_from() {
    let applied = |lines| of_lines(lines, APPLIED);
    let all = sent(vec![applied(5..7), applied(7..8)]).await.expect("it begins");
    let result = |line| json!({"line": line, "sku": "1", "result": "applied"});
    assert_eq!(all[..3], [result(5), result(6), result(7)]);
    assert_eq!(
        all[3..],
        [json!({"status": "complete", "next_line": 8, "applied": 3, "rejected": 0})]
    );
    let nothing = sent(vec![]).await.expect("it begins");
    assert_eq!(
        nothing,
        [json!({"status": "complete", "next_line": 5, "applied": 0, "rejected": 0})]
    );
}

#[tokio::test]
async fn an_upload_that_is_cut_off_keeps_its_results() {
    let cut = || Err(BodyError::Incomplete.into());
    let begun = sent(vec![of_lines(5..7, APPLIED), cut(), of_lines(7..9, APPLIED)]).await;
    let begun = begun.expect("it begins");
    assert_eq!((begun.len(), &begun[2]["status"]), (3, &json!("interrupted")));
    let Value::Object(end) = &begun[2] else { panic!("is an object") };
    assert_eq!((&end["next_line"], &end["code"]), (&json!(7), &json!("incomplete_body")));
    // Nothing was handled: then it is a problem, as with any request.
    let refused = sent(vec![cut()]).await.expect_err("there is no result");
    assert_eq!(refused.code(), Code::IncompleteBody);
}

#[tokio::test]
async fn an_upload_with_lines_that_wait_goes_on_from_the_first_of_them() {
    let sections = vec![
        of_lines(5..6, APPLIED),
        of_lines(6..7, LineOutcome::PENDING),
        of_lines(7..9, APPLIED),
    ];
    let sent = sent(sections).await.expect("it begins");
    let end = sent.last().expect("there is one");
    assert_eq!((&end["status"], &end["next_line"]), (&json!("pending"), &json!(6)));
    assert_eq!((&end["pending"], &end["applied"]), (&json!(1), &json!(3)));
}
