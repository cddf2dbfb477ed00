//! Uploads that do not come to their end: whatever happens, what became of the lines that came to a service is said, and
//! from which line to go on.

use std::{fmt::Write as _, time::Duration};

use async_compression::tokio::write::GzipEncoder;
use client::{
    Client, Response,
    upload::{Answered, LineResult, Upload, UploadEnd},
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use testkit::{Db, eventually};
use tests::{Installation, OwnGateway, SHOP, SHORT, order, settle, stock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The lines of a command.
const CHUNK: u64 = 100;

/// Adjustments of one unit each, on lines 0, 1, ….
fn adjustments(lines: std::ops::Range<u64>) -> String {
    lines.fold(String::new(), |mut text, n| {
        let line = json!({"type": "adjustment", "sku": "MUG", "delta": 1, "reason": "found",
            "connector": "warehouse", "document": format!("A-{n}"), "sequence": n});
        writeln!(text, "{line}").expect("text can be written to");
        text
    })
}

fn ndjson(api: &Client, body: impl Into<reqwest::Body>) -> RequestBuilder {
    let request = api.request(Method::POST, "inventory");
    request.header("content-type", "application/x-ndjson").body(body)
}

/// Uploads lines under a key, for one report.
async fn report(api: &Client, key: &str, lines: String) -> Response {
    api.send(ndjson(api, lines).header("idempotency-key", key)).await.expect("an answer")
}

/// Uploads all lines from one on, for results that come while it runs.
async fn go_on(api: &Client, from_line: u64, lines: String) -> (Vec<LineResult>, UploadEnd) {
    let upload = Upload { from_line, ..Upload::ndjson("inventory") };
    let mut results = api.upload(upload, lines.into()).await.expect("it begins");
    let mut answered = Vec::new();
    loop {
        match results.next().await.expect("it is read").expect("it has an end") {
            Answered::Line(line) => answered.push(line),
            Answered::End(end) => return (answered, end),
        }
    }
}

fn results(report: &Value) -> Vec<(u64, &str)> {
    let results = report["results"].as_array().unwrap_or_else(|| panic!("no results: {report}"));
    let result = |it: &'_ Value| it["line"].as_u64().expect("a number");
    results.iter().map(|it| (result(it), it["result"].as_str().expect("a result"))).collect()
}

/// Expects a report that ended early, behind so many lines that were applied.
#[track_caller]
fn interrupted(report: &Response, code: &str, applied: u64) {
    let body = &report.body;
    let told = (report.status.as_u16(), &body["status"], &body["code"], &body["next_line"]);
    assert_eq!(told, (202, &json!("interrupted"), &json!(code), &json!(applied)), "{body}");
    assert_eq!(body["applied"], applied, "{body}");
    assert_eq!(results(body), (0..applied).map(|line| (line, "applied")).collect::<Vec<_>>());
}

async fn on_hand(api: &Client) -> i64 {
    let level: Value = api.get("inventory/MUG").await.expect("a level");
    level["on_hand"].as_i64().expect("a number")
}

async fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(text.as_bytes()).await.expect("it is compressed");
    encoder.shutdown().await.expect("it is compressed");
    encoder.into_inner()
}

/// An order, so that each service has rows to be compared with its log.
async fn end(installation: Installation) {
    settle(&installation.api(), &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_would_be_too_large_ends_with_the_line_to_go_on_from() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 0).await;
    let file = adjustments(0..250);
    // Too many lines, and too many bytes: the body has no length beforehand, or one that says nothing.
    let lines = format!("{file}{}", "\n".repeat(500_001));
    interrupted(&report(&api, "lines", lines).await, "too_large", 2 * CHUNK);
    assert_eq!(on_hand(&api).await, 200);
    let (lines, end_of_it) = go_on(&api, 2 * CHUNK, file.clone()).await;
    assert_eq!((lines.len(), end_of_it.status.as_str()), (50, "complete"));
    assert_eq!(on_hand(&api).await, 250);

    let bytes = adjustments(1_000..1_250) + &(" ".repeat(1_000) + "\n").repeat(33 << 10);
    let request = ndjson(&api, gzip(&bytes).await).header("content-encoding", "gzip");
    let answer = api.send(request).await.expect("an answer");
    interrupted(&answer, "too_large", 2 * CHUNK);
    assert_eq!(on_hand(&api).await, 450);
    // A length that is too large has no effect.
    let request = ndjson(&api, adjustments(2_000..2_100) + &" ".repeat(33 << 20));
    let refused = api.send(request).await.expect("an answer");
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (413, &json!("too_large")));
    assert_eq!(on_hand(&api).await, 450);
    end(installation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_off_or_stalls_has_the_results_of_what_came() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 0).await;
    let body = gzip(&adjustments(0..1_000)).await;
    let request = ndjson(&api, body[..body.len() - 10].to_vec()).header("content-encoding", "gzip");
    let cut = api.send(request).await.expect("an answer");
    let handled = cut.body["next_line"].as_u64().expect("a line");
    assert!(handled >= 900, "{}", cut.body);
    interrupted(&cut, "malformed_encoding", handled);
    assert_eq!(on_hand(&api).await, handled as i64);
    // Nothing came of it: that is refused, and had no effect.
    let request = ndjson(&api, body[..20].to_vec()).header("content-encoding", "gzip");
    let nothing = api.send(request).await.expect("an answer");
    let told = (nothing.status.as_u16(), &nothing.body["code"]);
    assert_eq!(told, (400, &json!("malformed_encoding")), "{}", nothing.body);

    // No more bytes come, and the connection stays.
    let gateway = OwnGateway::start(&installation, |it| it.limits.body_read_timeout = SHORT).await;
    let lines = adjustments(2_000..2_150);
    let head = format!(
        "POST /v1/shops/{SHOP}/inventory HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer secret\r\n\
         content-type: application/x-ndjson\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{lines}\r\n",
        lines.len()
    );
    let mut connection = TcpStream::connect(gateway.address).await.expect("it connects");
    connection.write_all(head.as_bytes()).await.expect("it is sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("it is answered");
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    for part in ["\"status\":\"interrupted\"", "\"code\":\"incomplete_body\"", "\"next_line\":100,"]
    {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    assert_eq!(on_hand(&api).await, handled as i64 + 100);
    gateway.stop().await;
    end(installation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_file_under_the_same_key_says_which_lines_were_refused() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 0).await;
    let first = report(&api, "file", adjustments(0..250)).await;
    assert_eq!((first.status.as_u16(), &first.body["status"]), (200, &json!("complete")));
    let longer = adjustments(0..600);
    let again = report(&api, "file", longer.clone()).await;
    let told = (again.status.as_u16(), &again.body["status"], &again.body["code"]);
    assert_eq!(told, (202, &json!("interrupted"), &json!("idempotency_key_reused")));
    assert_eq!(again.body["next_line"], 2 * CHUNK, "{}", again.body);
    // Its third command was another one. Others were under way beside it: what became of them is said too.
    let results = results(&again.body);
    let known = |of: &str| results.iter().filter(|(_, it)| *it == of).count() as i64;
    assert_eq!(known("unanswered"), 100);
    assert_eq!(results[200], (200, "unanswered"));
    assert_eq!(results.len() as i64, known("unanswered") + known("applied"));
    assert_eq!(on_hand(&api).await, 250 + known("applied") - 200);
    let (lines, end_of_it) = go_on(&api, 2 * CHUNK, longer).await;
    assert_eq!((lines.len(), end_of_it.status.as_str()), (400, "complete"));
    assert_eq!(on_hand(&api).await, 600);

    // The first command of a file: while it runs, and alone.
    let short = report(&api, "short", adjustments(1_000..1_050)).await;
    assert_eq!((short.status.as_u16(), &short.body["applied"]), (200, &json!(50)));
    // Compressed, it comes at once: all of its commands are under way before the first is answered.
    let request = ndjson(&api, gzip(&adjustments(1_000..1_300)).await);
    let request = request.header("content-encoding", "gzip").header("idempotency-key", "short");
    let streamed =
        request.header("accept", "application/x-ndjson").send().await.expect("an answer");
    assert_eq!(streamed.status().as_u16(), 200);
    let text = streamed.text().await.expect("a body");
    let last = text.lines().last().expect("it has an end");
    let end_of_it: Value = serde_json::from_str(last).expect("is JSON");
    assert_eq!(end_of_it["status"], "interrupted", "{text}");
    assert_eq!(
        (&end_of_it["code"], &end_of_it["next_line"]),
        (&json!("idempotency_key_reused"), &json!(0)),
        "{text}"
    );
    let applied = text.lines().filter(|line| line.contains(r#""result":"applied""#)).count() as i64;
    assert_eq!(on_hand(&api).await, 650 + applied);
    let before = on_hand(&api).await;
    let alone = report(&api, "short", adjustments(1_000..1_060)).await;
    let told = (alone.status.as_u16(), &alone.body["code"]);
    assert_eq!(told, (422, &json!("idempotency_key_reused")), "{}", alone.body);
    assert_eq!(on_hand(&api).await, before);
    end(installation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_left_for_orders_is_uploaded_without_saying_that_it_has() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    let placed = settle(&api, &order("MUG", 6, "card"), "first").await.body;
    let id = placed["id"].as_str().expect("an id");
    // A warehouse may do it.
    let key = json!({"description": "warehouse", "shops": [SHOP], "scopes": ["fulfilment"]});
    let made = api.request_to_api(Method::POST, "keys").expect("a request").json(&key);
    let made = api.send(made).await.expect("an answer").body;
    let secret = made["secret"].as_str().expect("it is shown");
    let warehouse =
        Client::new(installation.url(), secret, SHOP).expect("a client").without_retries();
    let issue = |document: &str, sequence: u32| {
        json!({"sku": "MUG", "quantity": 1, "order_id": id, "connector": "wms",
            "document": document, "sequence": sequence})
    };
    let many = json!({"lines": [issue("GI-1", 1), issue("GI-2", 2)]});
    let csv = format!("sku,quantity,order_id,connector,document,sequence\nMUG,1,{id},wms,GI-3,3\n");
    let bodies = [
        ("application/json", many.to_string(), 2),
        ("application/json", issue("GI-2", 2).to_string(), 0),
        ("text/csv", csv, 1),
        ("application/x-ndjson", issue("GI-4", 4).to_string(), 1),
    ];
    for (media, body, applied) in bodies {
        let request = warehouse.request(Method::POST, "fulfilments").header("content-type", media);
        let answer = warehouse.send(request.body(body)).await.expect("an answer");
        let told = (answer.status.as_u16(), &answer.body["applied"]);
        assert_eq!(told, (200, &json!(applied)), "{media}: {}", answer.body);
    }
    assert_eq!(on_hand(&api).await, 6);
    let mut count = issue("C-1", 5);
    count["type"] = json!("count");
    let refused = warehouse.send(warehouse.request(Method::POST, "fulfilments").json(&count)).await;
    let refused = refused.expect("an answer");
    assert_eq!(
        (refused.status.as_u16(), &refused.body["errors"][0]["pointer"]),
        (422, &json!("#/type")),
        "{}",
        refused.body
    );
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_of_a_line_that_is_pending_says_what_became_of_it() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 0).await;
    let gateway = OwnGateway::start(&installation, |it| it.answer_timeout = Duration::ZERO).await;
    let hasty = Client::new(&format!("http://{}", gateway.address), "secret", SHOP);
    let hasty = hasty.expect("a client").without_retries();
    let line: Value = serde_json::from_str(adjustments(7..8).trim()).expect("is JSON");
    let answer = hasty.send(hasty.request(Method::POST, "inventory").json(&line)).await;
    let answer = answer.expect("an answer");
    let told = (answer.status.as_u16(), &answer.body["status"], &answer.body["next_line"]);
    assert_eq!(told, (202, &json!("pending"), &json!(0)), "{}", answer.body);
    let id = answer.body["results"][0]["command_id"].as_str().expect("it is named");
    let path = format!("commands/{id}");
    eventually("it is answered", async || {
        let command: Value = api.get(&path).await.expect("it is known");
        let results = &command["answer"]["recordStock"]["results"];
        command["status"] == "answered" && *results == json!(["STOCK_RESULT_APPLIED"])
    })
    .await;
    gateway.stop().await;
    end(installation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_a_service_that_is_down_is_answered_in_time() {
    let db = Db::sqlite();
    let installation = Installation::start_without("inventory", &db).await;
    installation.api().create_shop(&events::shop::Settings::default()).await.expect("it is there");
    let limit = Duration::from_secs(5);
    let gateway = OwnGateway::start(&installation, |it| it.limits.request_timeout = limit).await;
    let api = Client::new(&format!("http://{}", gateway.address), "secret", SHOP);
    let api = api.expect("a client").without_retries();
    // As many commands as may be under way are stored, and the rest is not read.
    let many = report(&api, "many", adjustments(0..10_000)).await;
    let told = (many.status.as_u16(), &many.body["status"], &many.body["code"]);
    assert_eq!(told, (202, &json!("interrupted"), &json!("timed_out")), "{}", many.body);
    assert_eq!(many.body["next_line"], 0, "{}", many.body);
    let of_many = results(&many.body);
    assert!((2_000..10_000).contains(&of_many.len()), "{}", of_many.len());
    assert!(of_many.iter().all(|(_, result)| *result == "pending"), "{}", many.body);
    assert_eq!(many.body["pending"], of_many.len(), "{}", many.body);
    // All of a file that is short enough, and a list.
    let few = report(&api, "few", adjustments(20_000..20_150)).await;
    let told = (few.status.as_u16(), &few.body["status"], &few.body["pending"]);
    assert_eq!(told, (202, &json!("pending"), &json!(150)), "{}", few.body);
    // Each line names the command that carries it.
    let few = few.body["results"].as_array().expect("a list");
    let commands: Vec<_> = few.iter().map(|it| it["command_id"].as_str().expect("an id")).collect();
    let of_each: Vec<_> = commands.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
    assert_eq!(of_each, [100, 50]);
    let lines: Vec<Value> = adjustments(30_000..30_150)
        .lines()
        .map(|line| serde_json::from_str(line).expect("is JSON"))
        .collect();
    let list = api.request(Method::POST, "inventory").json(&json!({"lines": lines}));
    let list = api.send(list).await.expect("an answer");
    let told = (list.status.as_u16(), &list.body["status"], &list.body["pending"]);
    assert_eq!(told, (202, &json!("pending"), &json!(150)), "{}", list.body);
    gateway.stop().await;
    installation.stop_and_verify_with(&["shop"]).await;
}
