//! How the lines of a file are sent, and how rejected ones are written.

use std::fs;

use tempfile::TempDir;

use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

/// What is sent of a file, with the number of each line.
#[track_caller]
fn sent(name: &str, content: &str, mapping: &Mapping) -> (String, Vec<(u64, String)>) {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join(name);
    fs::write(&file, content).expect("it is written");
    let mut source =
        Source::open(&file, Format::of(&file).expect("is known"), mapping).expect("it is opened");
    let mut lines = Vec::new();
    while let Some(line) = source.next().expect("it is read") {
        lines.push((line.number, String::from_utf8(line.sent).expect("is UTF-8")));
    }
    (String::from_utf8(source.head).expect("is UTF-8"), lines)
}

#[test]
fn columns_are_mapped_and_the_others_left_out() {
    let mapping = Mapping {
        columns: pairs(&[("sku", "Artikel"), ("quantity", "Bestand")]),
        constants: pairs(&[("type", "count")]),
    };
    let (head, lines) =
        sent("stock.csv", "Bestand;Text;Artikel\n5;\"a; b\";A\n;;\n\"6\";c;\"B,1\"\n", &mapping);
    assert_eq!(head, "sku,quantity,type\n");
    assert_eq!(lines, [(2, "A,5,count\n".to_owned()), (4, "\"B,1\",6,count\n".to_owned())]);
}

#[test]
fn without_a_mapping_all_columns_are_sent_but_the_reason() {
    let mapping = Mapping { constants: pairs(&[("connector", "erp")]), ..Mapping::default() };
    let content = "sku,reject_reason,connector\nA,line 2: unknown,old\nB\n";
    let (head, lines) = sent("stock.csv", content, &mapping);
    assert_eq!(head, "sku,connector\n");
    // A record that has lost columns is sent as it is: the gateway says so.
    assert_eq!(lines, [(2, "A,erp\n".to_owned()), (3, "B\n".to_owned())]);
}

#[test]
fn members_are_mapped_and_what_is_no_object_is_sent_as_it_is() {
    let mapping = Mapping {
        columns: pairs(&[("sku", "item"), ("price.minor", "cents")]),
        constants: pairs(&[("price.currency", "GBP"), ("sequence", "7"), ("document", "007")]),
    };
    let content = "{\"item\":\"A\",\"cents\":5,\"reject_reason\":\"x\"}\r\n\n{\n";
    let (head, lines) = sent("p.ndjson", content, &mapping);
    assert_eq!(head, "");
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].0, 1);
    let first: Value = lines[0].1.parse().expect("is JSON");
    let price = serde_json::json!({"minor": 5, "currency": "GBP"});
    let expected =
        serde_json::json!({"sku": "A", "price": price, "sequence": 7, "document": "007"});
    assert_eq!(first, expected);
    assert_eq!(lines[1], (3, "{\n".to_owned()));
}

#[test]
fn a_column_that_is_mapped_and_not_there_is_an_error() {
    let mapping = Mapping { columns: pairs(&[("sku", "Item")]), ..Mapping::default() };
    let error = columns(&["SKU", "Qty"], &mapping).expect_err("it is not there");
    assert_eq!(error.to_string(), "there is no column \"Item\"; the columns are SKU, Qty");
}

#[test]
fn rejected_lines_are_written_as_they_were_with_the_reason() {
    let folder = TempDir::new().expect("a temporary folder");
    for (name, content, expected) in [
        ("a.csv", "sku;qty\n\"A;1\";x\n", "sku;qty;reject_reason\n\"A;1\";x;wrong\n"),
        ("b.csv", "sku,reject_reason\nA,old\n", "sku,reject_reason\nA,wrong\n"),
        ("c.ndjson", "{\"sku\":\"A\"}\n", "{\"reject_reason\":\"wrong\",\"sku\":\"A\"}\n"),
        ("d.ndjson", "oops\n", "{\"reject_line\":\"oops\",\"reject_reason\":\"wrong\"}\n"),
    ] {
        let (file, rejects) = (folder.path().join(name), folder.path().join("rejects"));
        fs::write(&file, content).expect("it is written");
        fs::write(&rejects, "of an earlier run").expect("it is written");
        let format = Format::of(&file).expect("is known");
        let mut source = Source::open(&file, format, &Mapping::default()).expect("is opened");
        let line = source.next().expect("it is read").expect("there is one");
        let mut written = Rejects::new(&rejects, &file).expect("it is empty");
        assert!(!rejects.exists(), "{name}: without a rejected line there is no file");
        written.add(&line, "wrong").expect("it is written");
        written.finish().expect("it is written");
        assert_eq!(fs::read_to_string(&rejects).expect("it is there"), expected, "{name}");
    }
}
