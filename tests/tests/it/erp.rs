//! Files of ERPs, through a whole installation.

use std::fmt::Write as _;

use async_compression::tokio::write::GzipEncoder;
use client::{
    Client,
    upload::{Answered, LineResult, Upload, UploadEnd},
};
use serde_json::Value;
use testkit::Db;
use tests::{Installation, SHOP, order, settle, stock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The lines of the files.
const LINES: u64 = 1_000;

/// Adjustments of one unit each, on lines 0, 1, ….
fn adjustments(lines: std::ops::Range<u64>) -> String {
    lines.fold(String::new(), |mut text, n| {
        let line = format!(
            r#"{{"type":"adjustment","sku":"MUG","delta":1,"reason":"found","connector":"warehouse",
            "document":"A-{n}","sequence":{n}}}"#
        );
        writeln!(text, "{}", line.replace('\n', "")).expect("text can be written to");
        text
    })
}

async fn on_hand(api: &Client) -> i64 {
    let level: Value = api.get("inventory/MUG").await.expect("a level");
    level["on_hand"].as_i64().expect("a number")
}

async fn upload(api: &Client, upload: Upload<'_>, body: Vec<u8>) -> (Vec<LineResult>, UploadEnd) {
    let mut results = api.upload(upload, body.into()).await.expect("it begins");
    let mut lines = Vec::new();
    loop {
        match results.next().await.expect("it is read").expect("it has an end") {
            Answered::Line(line) => lines.push(line),
            Answered::End(end) => return (lines, end),
        }
    }
}

async fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(text.as_bytes()).await.expect("it is compressed");
    encoder.shutdown().await.expect("it is compressed");
    encoder.into_inner()
}

/// Sends some lines of an upload that does not end, and reads until the result of `last` has come.
async fn begin(installation: &Installation, lines: &str, last: u64) -> String {
    let address = installation.url().trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).await.expect("it connects");
    let head = format!(
        "POST /v1/shops/{SHOP}/inventory HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer secret\r\n\
         content-type: application/x-ndjson\r\naccept: application/x-ndjson\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{lines}\r\n",
        lines.len()
    );
    connection.write_all(head.as_bytes()).await.expect("it is sent");
    let mut received = Vec::new();
    let wanted = format!("\"line\":{last},");
    loop {
        let text = String::from_utf8_lossy(&received).into_owned();
        if text.contains(&wanted) {
            return text;
        }
        let read = connection.read_buf(&mut received).await.expect("results come");
        assert!(read > 0, "the connection ended: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_connection_broke_goes_on_behind_its_last_result() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 0).await;
    let file = adjustments(0..LINES);

    // The results of whole commands come while the upload runs; of line 250 on, no command is full.
    let begun = begin(&installation, &adjustments(0..250), 199).await;
    assert!(begun.contains("HTTP/1.1 200 OK"), "{begun}");
    assert!(!begun.contains("\"status\":"), "{begun}");
    let rest = Upload { from_line: 200, ..Upload::ndjson("inventory") };
    let (lines, end) = upload(&api, rest, file.clone().into()).await;
    assert_eq!(lines.first().map(|line| line.line), Some(200));
    assert_eq!((end.status.as_str(), end.next_line), ("complete", LINES));
    assert_eq!(lines.len() as u64, LINES - 200);
    assert!(lines.iter().all(|line| line.result == "applied"), "{lines:?}");
    assert_eq!(on_hand(&api).await, LINES as i64);

    let (lines, end) = upload(&api, Upload::ndjson("inventory"), file.into()).await;
    assert!(lines.iter().all(|line| line.result == "duplicate"), "{lines:?}");
    assert_eq!((lines.len() as u64, &end.counts["unchanged"]), (LINES, &LINES.into()));
    assert_eq!(on_hand(&api).await, LINES as i64);
    // An order, so that each service has rows to be compared with its log.
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_csv_file_is_taken_line_by_line() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let products = "sku,title,price.minor,price.currency\r\nMUG,\"Mug, \"\"big\"\"\",950,GBP\r\n";
    stock(&api, "CUP", 0).await;
    let of = |upload| Upload { is_gzip: true, ..upload };
    let (lines, _) = upload(&api, of(Upload::csv("products")), gzip(products).await).await;
    assert_eq!((lines[0].line, lines[0].result.as_str()), (1, "created"));
    let product: Value = api.get("products/MUG").await.expect("a product");
    assert_eq!(product["title"], "Mug, \"big\"");

    let mut rows = "type;sku;delta;reason;connector;document;sequence\n".to_owned();
    for n in 1..=LINES {
        let sku = if n % 100 == 0 { "NONE" } else { "MUG" };
        writeln!(rows, "adjustment;{sku};1;found;warehouse;A-{n};{n}")
            .expect("text can be written to");
    }
    rows += "adjustment;MUG;one;found;warehouse;A-0;1\n";
    // Compressed files may be concatenated.
    let middle = rows.len() / 2;
    let body = [gzip(&rows[..middle]).await, gzip(&rows[middle..]).await].concat();
    let (lines, end) = upload(&api, of(Upload::csv("inventory")), body.clone()).await;
    assert_eq!(end.status, "complete");
    assert_eq!((&end.counts["applied"], &end.counts["rejected"]), (&990.into(), &11.into()));
    let rejected: Vec<_> = lines.iter().filter(|line| line.is_rejected()).collect();
    assert_eq!((rejected[0].line, rejected[0].result.as_str()), (100, "unknown_sku"));
    let wrong = rejected.last().expect("there is one");
    assert_eq!(
        (wrong.line, wrong.reason().as_str()),
        (LINES + 1, "delta must be an integer, got \"one\" (column 3)")
    );
    assert_eq!(on_hand(&api).await, 990);

    // What is cut off says from which line to go on, and what follows has no effect twice.
    let begun = &body[..body.len() - 10];
    let (lines, end) = upload(&api, of(Upload::csv("inventory")), begun.to_vec()).await;
    assert_eq!(
        (end.status.as_str(), end.code.as_deref()),
        ("interrupted", Some("malformed_encoding"))
    );
    assert_eq!(lines.last().map(|line| line.line + 1), Some(end.next_line));
    assert!(end.next_line >= 900, "{end:?}");
    let rest = Upload { from_line: end.next_line, ..of(Upload::csv("inventory")) };
    let (_, end) = upload(&api, rest, body).await;
    assert_eq!((end.status.as_str(), end.next_line), ("complete", LINES + 2));
    assert_eq!(on_hand(&api).await, 990);
    // An order, so that each service has rows to be compared with its log.
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}
