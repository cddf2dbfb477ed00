//! How an upload becomes lines.

use axum::body::Body;
use futures::TryStreamExt;

use super::*;
use crate::{
    fields,
    problem::{Code, FieldError},
};

const COLUMNS: &[&str] = &["sku", "title", "price.minor", "price.currency", "active"];
const CSV: LineFormat = LineFormat::Csv(COLUMNS);

/// A body that comes in frames of `frame` bytes.
async fn frames(body: &[u8], frame: usize) -> Frames {
    let frames: Vec<_> = body.chunks(frame).map(Bytes::copy_from_slice).collect();
    let frames = stream::iter(frames.into_iter().map(Ok::<_, std::io::Error>));
    let headers = axum::http::HeaderMap::new();
    crate::body::open(&headers, Body::from_stream(frames), usize::MAX).await.expect("is opened")
}

async fn split_from(
    body: &[u8],
    frame: usize,
    (format, from_line): (LineFormat, usize),
) -> Result<Vec<(usize, usize, String)>, Problem> {
    let stop = CancellationToken::new();
    let chunks = chunks(frames(body, frame).await, format, from_line, UploadLimits::REPORTED, stop);
    let chunks: Vec<_> = chunks.try_collect().await?;
    let shown = |_: usize, text: LineText<'_>| match text {
        LineText::Json(text) => String::from_utf8(text.to_vec()).expect("is UTF-8"),
        LineText::Record(node, _) => record(&node),
        LineText::Wrong(detail, _) => format!("wrong: {detail}"),
    };
    let lines = chunks
        .iter()
        .flat_map(|chunk| chunk.read(shown).map(|(number, text)| (chunk.first, number, text)));
    Ok(lines.collect())
}

async fn split(body: &[u8], frame: usize) -> Result<Vec<(usize, usize, String)>, Problem> {
    split_from(body, frame, (LineFormat::Ndjson, 0)).await
}

/// A record as text: `sku=A price.minor=7`.
fn record(node: &Node<'_>) -> String {
    let Node::Object(members) = node else { panic!("{node} is no object") };
    let shown = members.iter().map(|(name, value)| match value {
        Node::Object(_) => record(value).replace(' ', ",") + " in " + name,
        _ => format!("{name}={}", value.text().expect("is a cell")),
    });
    shown.collect::<Vec<_>>().join(" ")
}

async fn csv(body: &str) -> Vec<(usize, String)> {
    let mut of_whole = None;
    for frame in [1, 2, 3, 7, 1000] {
        let lines = split_from(body.as_bytes(), frame, (CSV, 0)).await.expect("is good");
        let lines: Vec<_> = lines.into_iter().map(|(_, number, text)| (number, text)).collect();
        let first = of_whole.get_or_insert_with(|| lines.clone());
        assert_eq!(lines, *first, "frames of {frame} bytes");
    }
    of_whole.expect("it was split")
}

#[tokio::test]
async fn lines_are_the_same_however_the_body_is_framed() {
    let expected =
        [(0, 0, "{\"a\":1}\r".to_owned()), (0, 2, "{}".to_owned()), (0, 4, "7".to_owned())];
    for frame in [1, 2, 3, 7, 100] {
        let lines = split(b"{\"a\":1}\r\n\n{}\n  \n7", frame).await.expect("is small");
        assert_eq!(lines, expected, "frames of {frame} bytes");
    }
    assert_eq!(split(b"", 1).await.expect("is small"), []);
    assert_eq!(split(b"\n\n", 1).await.expect("is small"), []);
}

#[tokio::test]
async fn a_chunk_ends_after_so_many_lines() {
    let body = "1\n".repeat(MAX_CHUNK_LINES * 2 + 1);
    let lines = split(body.as_bytes(), 64).await.expect("is small");
    let of = |first| lines.iter().filter(|(of, ..)| *of == first).count();
    assert_eq!([0, 100, 200].map(of), [MAX_CHUNK_LINES, MAX_CHUNK_LINES, 1]);
    assert!(lines.iter().enumerate().all(|(index, (_, number, _))| index == *number));
}

#[tokio::test]
async fn an_upload_goes_on_from_a_line_with_the_same_numbers() {
    let numbers: Vec<_> = (0..250).map(|number| number.to_string()).collect();
    let body = numbers.join("\n");
    let lines = split_from(body.as_bytes(), 64, (LineFormat::Ndjson, 100)).await.expect("is small");
    assert_eq!((lines.len(), &lines[0]), (150, &(100, 100, "100".to_owned())));
    assert_eq!(lines[149], (200, 249, "249".to_owned()));
    let body = "sku\nA\nB\nC\n";
    let lines = split_from(body.as_bytes(), 3, (CSV, 2)).await.expect("is small");
    assert_eq!(lines, [(2, 2, "sku=B".to_owned()), (2, 3, "sku=C".to_owned())]);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_an_error_of_its_own() {
    let long = "x".repeat(MAX_LINE_BYTES + 1);
    let fits = "y".repeat(MAX_LINE_BYTES);
    let lines = split(format!("1\n{long}\n{fits}\n2").as_bytes(), 1000).await.expect("is small");
    let wrong = format!("wrong: {}", too_long());
    let texts: Vec<_> = lines.into_iter().map(|(_, _, text)| text).collect();
    assert_eq!(texts, ["1".to_owned(), wrong.clone(), fits, "2".to_owned()]);
    let lines = csv(&format!("sku,title\nA,{long}\nB,b\n")).await;
    assert_eq!(lines, [(1, wrong), (2, "sku=B title=b".to_owned())]);
}

#[tokio::test]
async fn a_body_that_is_too_large_ends_in_a_problem() {
    assert!(split(&vec![b' '; MAX_NDJSON_BYTES + 1], 1 << 16).await.is_err());
    let max = UploadLimits::REPORTED.lines;
    assert!(split(&vec![b'\n'; max + 1], 1 << 16).await.is_err());
    assert!(split(&vec![b'\n'; max], 1 << 16).await.is_ok());
    let unfinished = [vec![b'\n'; max], b"1\n".to_vec()].concat();
    assert!(split(&unfinished, 1 << 16).await.is_err());
}

#[tokio::test]
async fn a_line_without_an_end_is_not_read_for_ever() {
    let endless = vec![b'x'; MAX_SKIPPED_BYTES + 1];
    assert!(split(&endless, 1 << 16).await.is_err());
    let quote = [b"sku\n\"".as_slice(), &endless].concat();
    assert!(split_from(&quote, 1 << 16, (CSV, 0)).await.is_err());
}

#[tokio::test]
async fn records_have_the_names_of_the_header_and_the_numbers_of_their_lines() {
    let body = "\u{feff}sku,price.minor,title,price.currency\r\n\
                A,7,\"A \"\"big\"\",\r\nmug\",GBP\r\n\r\n,,,\r\n B ,,b,\r\nC,1,c";
    let lines = csv(body).await;
    assert_eq!(
        lines,
        [
            (1, "sku=A minor=7,currency=GBP in price title=A \"big\",\r\nmug".to_owned()),
            (5, "sku=B title=b".to_owned()),
            (
                6,
                "wrong: the line has 3 columns, and the header 4: put values that have the \
                 delimiter in them in double quotes"
                    .to_owned()
            ),
        ]
    );
}

#[tokio::test]
async fn the_header_says_what_the_delimiter_is() {
    for delimiter in [",", ";", "\t"] {
        let body = ["sku,title", "A,a b"].join("\n").replace(',', delimiter);
        assert_eq!(csv(&body).await, [(1, "sku=A title=a b".to_owned())], "{delimiter:?}");
    }
    assert_eq!(csv("sku").await, []);
    assert_eq!(csv("").await, []);
    assert_eq!(csv("\nsku\nA\n").await, [(2, "sku=A".to_owned())]);
}

#[tokio::test]
async fn a_header_whose_line_ends_with_a_carriage_return_alone_is_refused() {
    let long = "B,b\r".repeat(MAX_LINE_BYTES);
    let long = format!("sku,title\r{long}");
    for body in ["sku,title\rA,a\rB,b\r", "sku\r\rA\n", "sku,title\rA,a\nB,b\n", &long] {
        for frame in [1, 7, 1000] {
            let refused = split_from(body.as_bytes(), frame, (CSV, 0)).await;
            let problem = refused.expect_err("is wrong");
            assert_eq!(problem.code(), Code::InvalidFields);
            let detail = &problem.errors()[0].detail;
            assert!(detail.contains("end each line with a line feed"), "{detail}");
        }
    }
    let lines = [(1, "sku=A".to_owned())];
    assert_eq!(csv("sku\r\nA\r\n").await, lines);
    // What a writer makes of CRLF that translates line feeds.
    assert_eq!(csv("sku\r\r\nA\r\r\n").await, lines);
}

#[tokio::test]
async fn a_line_with_a_carriage_return_within_it_is_one_that_is_wrong() {
    let wrong = |number| (number, format!("wrong: {}", csv::CARRIAGE_RETURN));
    let good = |number, sku: &str| (number, format!("sku={sku} title=t"));
    let lines = csv("sku,title\nA,t\rB,t\r\nC,t\r\n\rD,t\nE,\"t\r\"\nF,t\r").await;
    assert_eq!(lines, [wrong(1), good(2, "C"), good(3, "D"), good(4, "E"), good(5, "F")]);
    assert_eq!(csv("sku,title\nA,t\rB,t\rC,t\r").await, [wrong(1)]);
    assert_eq!(csv("sku,title\nA,t\rB,t").await, [wrong(1)]);
}

#[tokio::test]
async fn a_header_with_columns_that_nobody_knows_is_refused() {
    let refused = split_from(b"sku,Qty,title,sku,\nA,1,a,B,\n", 5, (CSV, 0)).await;
    let problem = refused.expect_err("is wrong");
    assert_eq!(problem.code(), Code::InvalidFields);
    let known = "is not known; the columns are sku, title, price.minor, price.currency, active";
    let details: Vec<_> = problem.errors().iter().map(|error| error.detail.as_str()).collect();
    assert_eq!(
        details,
        [
            format!("column 2 of the header, \"Qty\", {known}"),
            "column 4 of the header, \"sku\", is there twice: remove one of them".to_owned(),
            format!("column 5 of the header, \"\", {known}"),
        ]
    );
}

#[tokio::test]
async fn what_there_is_of_a_line_that_is_wrong_is_kept() {
    let wrong = async |body: &[u8], format| {
        let stop = CancellationToken::new();
        let frames = frames(body, 9).await;
        let chunks = chunks(frames, format, 0, UploadLimits::REPORTED, stop);
        let chunks: Vec<_> = chunks.try_collect().await.expect("is small");
        let shown = |_: usize, text: LineText<'_>| match text {
            LineText::Wrong(_, SentText::Values(values)) => {
                let text = |value: &&[u8]| String::from_utf8_lossy(value).into_owned();
                values.iter().map(text).collect::<Vec<_>>().join("|")
            }
            LineText::Wrong(_, SentText::Json(text)) => text.len().to_string(),
            _ => "right".to_owned(),
        };
        chunks[0].read(shown).map(|(_, text)| text).collect::<Vec<_>>()
    };
    let long = "x".repeat(MAX_LINE_BYTES);
    let body = format!("sku,title\nA,B\nA,b,c\nA\n\"{long}\",B\nA,B\n");
    assert_eq!(wrong(body.as_bytes(), CSV).await, ["right", "A|b|c", "A", "", "right"]);
    let body = b"sku,title\nA,\xff\n";
    assert_eq!(wrong(body, CSV).await, ["A|\u{fffd}"]);
    let body = format!("{{\n{long}x\n{{");
    let expected = ["right", "16384", "right"];
    assert_eq!(wrong(body.as_bytes(), LineFormat::Ndjson).await, expected);
}

#[tokio::test]
async fn an_error_names_its_column() {
    let body = b"active,sku,price.minor\nyes,A,1.5\nTRUE,,\n";
    let stop = CancellationToken::new();
    let chunks = chunks(frames(body, 9).await, CSV, 0, UploadLimits::REPORTED, stop);
    let chunks: Vec<_> = chunks.try_collect().await.expect("is good");
    let read = |_: usize, text: LineText<'_>| {
        let LineText::Record(node, header) = text else { panic!("is a record") };
        let read = fields::record(&node, |node, path, errors| {
            fields::object(node, path, errors, |fields| {
                let sku = fields.required("sku", fields::code(events::id::Sku::parse));
                fields.required("active", fields::flag);
                fields.required("title", fields::code(events::id::Sku::parse));
                fields.optional("price", |node, path, errors| {
                    fields::object(node, path, errors, |fields| {
                        fields.required("minor", fields::integer(fields::unit_price))
                    })
                });
                sku
            })
        });
        let details = |errors: Vec<FieldError>| {
            errors.into_iter().map(|error| header.locate(error).detail).collect::<Vec<_>>()
        };
        read.map_err(details)
    };
    let lines: Vec<_> = chunks[0].read(read).collect();
    let details: Vec<Vec<_>> =
        lines.into_iter().map(|(_, line)| line.expect_err("is wrong")).collect();
    assert_eq!(
        details,
        [
            vec![
                "active must be true or false, got \"yes\" (column 1)",
                "title is missing (the header has no column title)",
                "minor must be an integer, got \"1.5\" (column 3)",
            ],
            vec!["sku is missing (column 2)", "title is missing (the header has no column title)",],
        ]
    );
}

#[tokio::test]
async fn an_upload_that_is_stopped_says_so_behind_what_was_split() {
    let (sender, frames) = futures::channel::mpsc::unbounded();
    let lines = "1\n".repeat(MAX_CHUNK_LINES);
    sender.unbounded_send(Ok(Bytes::from(lines))).expect("it is read");
    let stop = CancellationToken::new();
    let format = LineFormat::Ndjson;
    let chunks = chunks(Box::pin(frames), format, 0, UploadLimits::STREAMED, stop.clone());
    let mut chunks = std::pin::pin!(chunks);
    let first = chunks.next().await.expect("there is one").expect("is good");
    assert_eq!(first.len(), MAX_CHUNK_LINES);
    stop.cancel();
    let ended = chunks.next().await.expect("says why it ends").expect_err("it is stopped");
    assert_eq!(ended.code(), Code::NotReady);
    assert!(chunks.next().await.is_none());
}
