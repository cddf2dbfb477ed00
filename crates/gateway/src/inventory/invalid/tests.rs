//! What is kept of lines that are no stock lines, and what is not.

use super::*;
use crate::{
    fields::{self, Errors, Path},
    json::Node,
};

const KNOWN: &[&str] = &[
    "type",
    "sku",
    "quantity",
    "reason",
    "connector",
    "document",
    "document_line",
    "sequence",
    "epoch",
];

/// What is kept of a line of JSON with an error of each of these fields.
fn of_json(text: &str, wrong: &[&str]) -> InvalidLine {
    let errors: Vec<_> = wrong.iter().map(|field| FieldError::of_member(field, "wrong")).collect();
    invalid_line(7, &SentText::Json(text.as_bytes()), &errors, KNOWN)
}

/// Its name, as far as it can be read.
fn name(line: &InvalidLine) -> String {
    let InvalidLine { connector, document, document_line, sku, .. } = line;
    let sequence = line.sequence.map_or("-".to_owned(), |it| format!("{it}/{}", line.epoch));
    format!("{connector} {document} {document_line} {sku} {sequence}")
}

#[test]
fn a_line_has_the_name_that_can_be_read_of_it() {
    let line = r#"{"type":"count","sku":"A","quantity":"many","connector":"erp","document":"D-1",
        "document_line":"10","sequence":7,"epoch":2}"#;
    let kept = of_json(line, &["quantity"]);
    assert_eq!((name(&kept).as_str(), kept.upload_line), ("erp D-1 10 A 7/2", 7));
    let text = r#"{"type":"count","sku":"A","quantity":"many","connector":"erp","document":"D-1","document_line":"10","sequence":7,"epoch":2}"#;
    assert_eq!(kept.text, text);
    let error = ("quantity", "#/quantity", "wrong");
    let of = |it: &LineError| (it.field.clone(), it.pointer.clone(), it.detail.clone());
    let named = |(field, pointer, detail): (&str, &str, &str)| {
        (field.to_owned(), pointer.to_owned(), detail.to_owned())
    };
    assert_eq!(kept.errors.iter().map(of).collect::<Vec<_>>(), [named(error)]);
    // What is wrong names nothing. A document of which the line is not known is none.
    assert_eq!(name(&of_json(line, &["sku", "sequence"])), "erp D-1 10  -");
    assert_eq!(name(&of_json(line, &["epoch"])), "erp D-1 10 A -");
    assert_eq!(name(&of_json(line, &["document_line"])), "erp   A 7/2");
    assert_eq!(name(&of_json(line, &["connector"])), " D-1 10 A 7/2");
    assert_eq!(name(&of_json("[]", &[""])), "    -");
    // What is no JSON names what can be found in it.
    let broken = r#"{"sku":"A","connector":"erp","document":"D-1","sequence":007,"quantity":}"#;
    let kept = of_json(broken, &[""]);
    assert_eq!(name(&kept), "erp D-1  A 7/0");
    assert_eq!(kept.text, r#"{"sku":"A","connector":"erp","document":"D-1","sequence":"007"}"#);
}

#[test]
fn values_of_a_record_are_kept_as_a_list() {
    let values = SentText::Values(vec![b"count", b" A ", b"\xff", b"4111 1111 1111 1111"]);
    let errors = [FieldError::named("", "the line has 4 columns, and the header 5")];
    let kept = invalid_line(1, &values, &errors, KNOWN);
    assert_eq!(name(&kept), "    -");
    assert_eq!(kept.text, format!("[\"count\",\"A\",\"\u{fffd}\",\"{CARD}\"]"));
    assert_eq!(kept.errors[0].detail, errors[0].detail);
}

/// What is kept of a line, with the errors that it has.
fn kept_of(text: &str) -> InvalidLine {
    let read = |node: &Node<'_>, path: &Path<'_>, errors: &mut Errors| {
        fields::object(node, path, errors, |fields| {
            let reason = fields.optional("reason", fields::text(|it| Ok(it.to_owned())));
            fields.required("quantity", fields::integer(Ok))?;
            reason
        })
    };
    let errors = fields::line(text.as_bytes(), read).expect_err("is wrong");
    invalid_line(0, &SentText::Json(text.as_bytes()), &errors, KNOWN)
}

#[test]
fn neither_card_numbers_nor_what_is_no_field_is_kept() {
    const NUMBERS: [&str; 4] =
        ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "378282246310005"];
    for number in NUMBERS {
        for text in [
            format!(r#"{{"quantity":"{number}"}}"#),
            format!(r#"{{"quantity":"x","reason":"paid by {number}"}}"#),
            format!(r#"{{"quantity":"x","{number}":1}}"#),
            format!(r#"{{"quantity":"x","card":"{number}"}}"#),
            format!(r#"{{"quantity":"x","sku":"{number}"}}"#),
            format!(r#"{{"quantity":"x","{number} of Ann":"{number}"}}"#),
            format!(r#"{{"quantity":{{"{number}":1}},"reason":["{number}"]}}"#),
            format!(r#"{{"quantity":"{number}""#),
            format!(r#""{number}""#),
            number.to_owned(),
        ] {
            let kept = kept_of(&text);
            let shown = format!("{kept:?}");
            let digits: String = number.chars().filter(char::is_ascii_digit).collect();
            for hidden in [number, digits.as_str(), &number.replace(' ', "%20")] {
                let in_sku = kept.sku == hidden;
                assert!(in_sku || !shown.contains(hidden), "{text}: {shown}");
            }
        }
    }
    for text in [
        r#"{"quantity":"x","email":"ann@example.com","name":"Ann Smith"}"#,
        r#"{"quantity":"x","ann@example.com":1,"Ann Smith":2}"#,
        r#"{"email":"ann@example.com","name":"Ann Smith""#,
        r#""Ann Smith, ann@example.com""#,
        r#"["Ann Smith","ann@example.com"]"#,
        "Ann Smith, ann@example.com",
    ] {
        let shown = format!("{:?}", kept_of(text));
        assert!(!shown.contains("Smith") && !shown.contains("ann@"), "{text}: {shown}");
    }
}

#[test]
fn a_hundred_lines_fit_into_a_message_whatever_is_wrong_with_them() {
    let long = "\u{20ac}".repeat(5_000);
    let names: Vec<_> = (0..200).map(|number| format!("\"{number}{long}\":1")).collect();
    let text =
        format!(r#"{{"quantity":"{long}","reason":"{long}","sku":"{long}",{}}}"#, names.join(","));
    let kept = kept_of(&text);
    assert!(kept.text.len() <= MAX_TEXT_BYTES, "{}", kept.text.len());
    assert!(serde_json::from_str::<Value>(&kept.text).is_ok(), "{}", kept.text);
    assert_eq!(kept.errors.len(), MAX_ERRORS);
    let size = prost::Message::encoded_len(&kept);
    assert!(size * 100 < 1_000_000, "{size}");
}
