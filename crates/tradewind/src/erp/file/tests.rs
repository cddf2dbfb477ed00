//! How the lines of a file are sent, and how rejected ones are written.

use std::{fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    super::{
        mapping::{Mapping, MappingFile},
        rejects::Rejects,
    },
    records::columns,
    *,
};

/// No order has a reference, but for one.
fn orders() -> Orders {
    Orders::new(Box::new(|reference| Ok((reference == "PO-1").then(|| "ID-1".to_owned()))))
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

/// What is sent of a file, with the number of each line.
#[track_caller]
fn sent(name: &str, content: &str, mapping: &Mapping) -> (String, Vec<(u64, String)>) {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join(name);
    fs::write(&file, content).expect("it is written");
    sent_of(&file, mapping)
}

#[track_caller]
fn sent_of(file: &Path, mapping: &Mapping) -> (String, Vec<(u64, String)>) {
    let format = Format::of(file).expect("is known");
    let mut source = Source::open(file, format, mapping, orders()).expect("it is opened");
    let mut lines = Vec::new();
    while let Some(line) = source.next().expect("it is read") {
        lines.push((line.number, String::from_utf8(line.sent).expect("is UTF-8")));
    }
    (String::from_utf8(source.head).expect("is UTF-8"), lines)
}

/// An example that is shipped.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/erp").join(name)
}

/// The mapping of an example.
fn mapping_of(name: &str) -> Mapping {
    let file = MappingFile::read(&example(name)).expect("it is a mapping");
    let format = file.format.expect("it says its format");
    Mapping::new(file, format, (Vec::new(), Vec::new()), None).expect("it is complete")
}

#[test]
fn columns_are_mapped_and_the_others_left_out() {
    let mapping = Mapping {
        columns: pairs(&[("sku", "Artikel"), ("quantity", "Bestand")]),
        constants: pairs(&[("type", "count")]),
        ..Mapping::default()
    };
    let (head, lines) =
        sent("stock.csv", "Bestand;Text;Artikel\n5;\"a; b\";A\n;;\n\"6\";c;\"B,1\"\n", &mapping);
    assert_eq!(head, "sku,quantity,type\n");
    assert_eq!(lines, [(2, "A,5,count\n".to_owned()), (4, "\"B,1\",6,count\n".to_owned())]);
}

/// The gateway counts the columns that it is sent.
#[test]
fn a_record_with_other_columns_than_its_header_is_not_taken_for_one_of_the_sent_columns() {
    let mapping = Mapping {
        columns: pairs(&[("sku", "Item"), ("quantity", "Stock")]),
        constants: pairs(&[("type", "count")]),
        ..Mapping::default()
    };
    let content = "Item,Text,Stock,Place\nA,a mug,5\nB,b\nC,c,7,x,y\n";
    let (head, lines) = sent("stock.csv", content, &mapping);
    assert_eq!(head, "sku,quantity,type\n");
    let expected = [(2, "A,a mug,5,\n"), (3, "B,b\n"), (4, "C,c,7,x,y\n")];
    assert_eq!(lines, expected.map(|(number, text)| (number, text.to_owned())));
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("stock.csv");
    fs::write(&file, content).expect("it is written");
    let mut source = Source::open(&file, Format::Csv, &mapping, orders()).expect("it is opened");
    let note = source.next().expect("it is read").expect("there is one").note;
    let note = note.expect("it says why");
    assert!(note.starts_with("the line has 3 columns, and the header 4: "), "{note}");
}

/// The gateway gives no result for them: results are paired with lines by their order.
#[test]
fn lines_of_which_nothing_is_sent_are_passed_over() {
    let columns = pairs(&[("sku", "Item"), ("price.minor", "Price"), ("price.currency", "Cur")]);
    let mapping = Mapping { columns, ..Mapping::default() };
    let content =
        "Item;Price;Cur;Note\nMUG;950;GBP;\n;;;spring prices\n ;\t;;more\nCUP;7.00;GBP;\n";
    let (_, lines) = sent("prices.csv", content, &mapping);
    assert_eq!(lines, [(2, "MUG,950,GBP\n".to_owned()), (5, "CUP,7.00,GBP\n".to_owned())]);
    // With a constant the gateway sees a line.
    let mapping = Mapping { constants: pairs(&[("active", "true")]), ..mapping };
    assert_eq!(sent("prices.csv", content, &mapping).1.len(), 4);
}

#[test]
fn rows_of_which_nothing_is_sent_are_passed_over() {
    // Of three rows of movements, one has a reason.
    let columns = pairs(&[("reason", "Why")]);
    let mapping = Mapping { columns, sheet: Some("Stock".to_owned()), ..Mapping::default() };
    let (_, lines) = sent_of(&example("stock.xlsx"), &mapping);
    assert_eq!(lines, [(3, "broken\n".to_owned())]);
}

#[test]
fn segments_of_which_nothing_is_sent_are_passed_over() {
    let mut mapping = mapping_of("x12-846.toml");
    mapping.constants.clear();
    let elements = mapping.elements.as_mut().expect("it has some");
    elements.fields.retain(|(field, _)| field == "sku");
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("stock.edi");
    let text = fs::read_to_string(example("x12-846.edi")).expect("it is there");
    assert!(text.contains("*CUP~"));
    fs::write(&file, text.replace("*CUP~", "*~")).expect("it is written");
    let (_, lines) = sent_of(&file, &mapping);
    assert_eq!(lines, [(5, "MUG\n".to_owned()), (10, "PLATE\n".to_owned())]);
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
        ..Mapping::default()
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
fn a_line_with_a_member_twice_is_sent_as_it_is() {
    let mapping = Mapping { constants: pairs(&[("connector", "erp")]), ..Mapping::default() };
    for line in [
        "{\"sku\":\"A\",\"quantity\":5,\"quantity\":6}",
        "{\"price\":{\"minor\":5,\"minor\":6}}",
        "{\"lines\":[{\"sku\":\"A\",\"s\\u006bu\":\"B\"}]}",
    ] {
        assert_eq!(sent("l.ndjson", line, &mapping).1, [(1, format!("{line}\n"))]);
    }
    // The same member of two objects is none of them.
    let line = "{\"a\":[{\"b\":null},{\"b\":-1.5}],\"b\":true}";
    let expected = "{\"a\":[{\"b\":null},{\"b\":-1.5}],\"b\":true,\"connector\":\"erp\"}\n";
    assert_eq!(sent("l.ndjson", line, &mapping).1, [(1, expected.to_owned())]);
}

#[test]
fn members_that_are_mapped_to_the_names_of_each_other_keep_their_values() {
    let check = |columns: &[(&str, &str)], line: &str, expected: &str| {
        let mapping = Mapping { columns: pairs(columns), ..Mapping::default() };
        assert_eq!(
            sent("l.ndjson", line, &mapping).1,
            [(1, format!("{expected}\n"))],
            "{columns:?}"
        );
    };
    let line = "{\"site\":\"a\",\"location\":\"b\"}";
    let moved = "{\"location\":\"a\",\"to\":\"b\"}";
    check(&[("location", "site"), ("to", "location")], line, moved);
    check(&[("to", "location"), ("location", "site")], line, moved);
    let swapped = "{\"location\":\"a\",\"site\":\"b\"}";
    check(&[("location", "site"), ("site", "location")], line, swapped);
    check(
        &[("sku", "item"), ("title", "item")],
        "{\"item\":\"A\"}",
        "{\"sku\":\"A\",\"title\":\"A\"}",
    );
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
        (
            "e.ndjson",
            "{\"a\":1,\"a\":2}\n",
            "{\"reject_line\":\"{\\\"a\\\":1,\\\"a\\\":2}\",\"reject_reason\":\"wrong\"}\n",
        ),
        ("d.ndjson", "oops\n", "{\"reject_line\":\"oops\",\"reject_reason\":\"wrong\"}\n"),
    ] {
        let (file, rejects) = (folder.path().join(name), folder.path().join("rejects"));
        fs::write(&file, content).expect("it is written");
        fs::write(&rejects, "of an earlier run").expect("it is written");
        let format = Format::of(&file).expect("is known");
        let mapping = Mapping::default();
        let mut source = Source::open(&file, format, &mapping, orders()).expect("is opened");
        let line = source.next().expect("it is read").expect("there is one");
        let mut written = Rejects::new(&rejects, &file, &mapping).expect("it is empty");
        assert!(!rejects.exists(), "{name}: without a rejected line there is no file");
        written.add(&line, "wrong").expect("it is written");
        written.finish().expect("it is written");
        assert_eq!(fs::read_to_string(&rejects).expect("it is there"), expected, "{name}");
    }
}

#[test]
fn the_sheet_of_the_example_is_read_as_an_erp_means_it() {
    let (head, lines) = sent_of(&example("stock.xlsx"), &mapping_of("stock.toml"));
    assert_eq!(head, "as_of,delta,document,quantity,reason,sequence,sku,type,connector\n");
    let expected = [
        (2, "2026-01-05T18:30:00+01:00,,D-1,116,,1,TRAY,count,depot\n"),
        (3, ",-2,D-2,,broken,2,CUP,adjustment,depot\n"),
        (5, "2026-01-05T00:00:00+01:00,,D-3,12,,3,4711,count,depot\n"),
    ];
    assert_eq!(lines, expected.map(|(number, text)| (number, text.to_owned())));
}

#[test]
fn a_sheet_is_the_first_unless_it_is_named() {
    let file = example("stock.xlsx");
    let workbook = Workbook::open(&file, None).expect("it is opened");
    assert_eq!(workbook.sheet, "Notes");
    let error = Workbook::open(&file, Some("Stocks")).err().expect("it is not there");
    assert!(format!("{error:#}").contains("the sheets are Notes, Stock"), "{error:#}");
}

#[test]
fn rejected_rows_are_a_workbook_that_is_read_in_the_same_way() {
    let folder = TempDir::new().expect("a temporary folder");
    let (file, rejects) = (example("stock.xlsx"), folder.path().join("stock.rejects.xlsx"));
    let mapping = mapping_of("stock.toml");
    let mut source = Source::open(&file, Format::Xlsx, &mapping, orders()).expect("is opened");
    let mut written = Rejects::new(&rejects, &file, &mapping).expect("it is empty");
    while let Some(line) = source.next().expect("it is read") {
        written.add(&line, "unknown").expect("it is written");
    }
    written.finish().expect("it is written");
    let of_source: Vec<_> = sent_of(&file, &mapping).1.into_iter().map(|(_, line)| line).collect();
    let of_rejects: Vec<_> =
        sent_of(&rejects, &mapping).1.into_iter().map(|(_, line)| line).collect();
    assert_eq!(of_rejects, of_source);
    let mut workbook = Workbook::open(&rejects, Some("Stock")).expect("it is opened");
    assert_eq!(workbook.header.last().map(workbook::text).as_deref(), Some(REASON));
    let row = workbook.next().expect("it is read").expect("there is one").1;
    assert_eq!(row.last().map(workbook::text).as_deref(), Some("unknown"));
    // Its own rejected rows have the reason in the same column.
    let again = folder.path().join("again.xlsx");
    let mut source = Source::open(&rejects, Format::Xlsx, &mapping, orders()).expect("is opened");
    let mut written = Rejects::new(&again, &rejects, &mapping).expect("it is empty");
    let line = source.next().expect("it is read").expect("there is one");
    written.add(&line, "still unknown").expect("it is written");
    written.finish().expect("it is written");
    let header = Workbook::open(&again, Some("Stock")).expect("it is opened").header;
    assert_eq!(header.iter().map(workbook::text).filter(|name| name == REASON).count(), 1);
}

#[test]
fn rejected_rows_are_written_when_a_push_fails() {
    let folder = TempDir::new().expect("a temporary folder");
    let (file, rejects) = (example("stock.xlsx"), folder.path().join("stock.rejects.xlsx"));
    let mapping = mapping_of("stock.toml");
    let mut source = Source::open(&file, Format::Xlsx, &mapping, orders()).expect("is opened");
    let line = source.next().expect("it is read").expect("there is one");
    let mut written = Rejects::new(&rejects, &file, &mapping).expect("it is empty");
    written.add(&line, "unknown").expect("it is written");
    // Nobody finishes it.
    drop(written);
    let mut workbook = Workbook::open(&rejects, Some("Stock")).expect("it is opened");
    let row = workbook.next().expect("it is read").expect("there is one").1;
    assert_eq!(row.last().map(workbook::text).as_deref(), Some("unknown"));
    assert!(workbook.next().expect("it is read").is_none());
}

#[test]
fn numbers_of_cells_are_as_they_are_shown() {
    for (number, shown) in [
        (12.0, "12"),
        (-3.0, "-3"),
        (9.5, "9.5"),
        (0.1 + 0.2, "0.3"),
        (-0.0, "0"),
        (123_456_789_012.0, "123456789012"),
    ] {
        assert_eq!(workbook::text(&Data::Float(number)), shown);
    }
    assert_eq!(workbook::text(&Data::Bool(true)), "true");
}

#[test]
fn what_is_no_workbook_is_unreadable() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("stock.xlsx");
    fs::write(&file, "sku,quantity").expect("it is written");
    let error = Source::open(&file, Format::Xlsx, &Mapping::default(), orders());
    let error = format!("{:#}", error.err().expect("it is none"));
    assert!(error.contains("read the workbook"), "{error}");
}

#[test]
fn the_examples_of_edi_are_lines_of_stock() {
    for (name, head, expected) in [
        (
            "x12-846",
            "document,document_line,quantity,sequence,sku,connector,type",
            [
                (5, "INV-101,1,118,101,MUG,north,count"),
                (7, "INV-101,2,74,101,CUP,north,count"),
                (10, "INV-101,3,12,101,PLATE,north,count"),
            ]
            .as_slice(),
        ),
        (
            "x12-856",
            "document,document_line,order_id,quantity,sequence,sku,connector,type",
            &[
                (8, "SHP-88,3,PO-4711,2,103,MUG,north,goods_issue"),
                (11, "SHP-88,4,PO-4711,1,103,CUP,north,goods_issue"),
            ],
        ),
        (
            "edifact-invrpt",
            "document,document_line,quantity,sequence,sku,connector,type",
            &[(7, "INV-301,1,117,301,MUG,south,count"), (9, "INV-301,2,73,301,CUP,south,count")],
        ),
        (
            "edifact-desadv",
            "document,document_line,order_id,quantity,sequence,sku,connector,type",
            &[
                (8, "DES-88,1,PO-4712,2,303,MUG,south,goods_issue"),
                (10, "DES-88,2,PO-4712,1,303,CUP,south,goods_issue"),
            ],
        ),
    ] {
        let mapping = mapping_of(&format!("{name}.toml"));
        let (sent_head, lines) = sent_of(&example(&format!("{name}.edi")), &mapping);
        assert_eq!(sent_head, format!("{head}\n"), "{name}");
        let expected: Vec<_> =
            expected.iter().map(|(number, text)| (*number, format!("{text}\n"))).collect();
        assert_eq!(lines, expected, "{name}");
    }
}

#[test]
fn an_order_is_named_by_its_reference() {
    let content = "order_reference,sku\nPO-1,A\nPO-2,B\n,C\n";
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("issues.csv");
    fs::write(&file, content).expect("it is written");
    let source = Source::open(&file, Format::Csv, &Mapping::default(), orders());
    let mut source = source.expect("it is opened");
    assert_eq!(source.head, b"order_id,sku\n");
    let mut next = || source.next().expect("it is read").expect("there is one");
    let (known, unknown, without) = (next(), next(), next());
    assert_eq!((known.sent.as_slice(), known.note), (b"ID-1,A\n".as_slice(), None));
    assert_eq!(unknown.sent, b"PO-2,B\n");
    let reason = "there is no order with the reference \"PO-2\"";
    assert_eq!(unknown.note.as_deref(), Some(reason));
    assert_eq!((without.sent.as_slice(), without.note), (b",C\n".as_slice(), None));
    let mapping = Mapping::default();
    let (_, lines) = sent("i.ndjson", "{\"order_reference\":\"PO-1\"}\n", &mapping);
    assert_eq!(lines[0].1, "{\"order_id\":\"ID-1\"}\n");
}

/// The lines of a file of JSON objects, and why each will be rejected.
#[track_caller]
fn noted(content: &str, mapping: &Mapping) -> Vec<(Value, Option<String>)> {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("l.ndjson");
    fs::write(&file, content).expect("it is written");
    let source = Source::open(&file, Format::Ndjson, mapping, orders());
    let mut source = source.expect("it is opened");
    let mut lines = Vec::new();
    while let Some(line) = source.next().expect("it is read") {
        lines.push((serde_json::from_slice(&line.sent).expect("is JSON"), line.note));
    }
    lines
}

#[test]
fn a_reference_of_an_order_is_text_or_a_whole_number_and_is_never_left_out() {
    let line = |reference: &str| format!("{{\"order_reference\":{reference}}}");
    let lines = ["\"PO-1\"", "4711", "1.5", "[\"PO-1\"]", "true", "null"].map(line).join("\n");
    let lines = noted(&lines, &Mapping::default());
    let wrong =
        |got: &str| Some(format!("order_reference must be text or a whole number, got {got}"));
    let unknown = "there is no order with the reference \"4711\"".to_owned();
    let expected = [
        (serde_json::json!({"order_id": "ID-1"}), None),
        (serde_json::json!({"order_id": "4711"}), Some(unknown)),
        (serde_json::json!({"order_id": 1.5}), wrong("1.5")),
        (serde_json::json!({"order_id": ["PO-1"]}), wrong("[\"PO-1\"]")),
        (serde_json::json!({"order_id": true}), wrong("true")),
        (serde_json::json!({}), None),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_member_of_what_is_no_object_is_named() {
    let mapping = Mapping {
        columns: pairs(&[("price.minor", "cents")]),
        constants: pairs(&[("price.currency", "GBP")]),
        ..Mapping::default()
    };
    let content =
        "{\"cents\":5,\"price\":950}\n{\"cents\":5,\"price\":null}\n{\"price\":{\"minor\":7}}";
    let reason = "price.minor cannot be set to 5: price must be an object, got 950";
    let price = |minor: u64| serde_json::json!({"price": {"minor": minor, "currency": "GBP"}});
    let expected = [
        (serde_json::json!({"price": 950}), Some(reason.to_owned())),
        (price(5), None),
        (price(7), None),
    ];
    assert_eq!(noted(content, &mapping), expected);
}

#[test]
fn the_list_of_rejected_lines_of_edi_names_their_segments() {
    let folder = TempDir::new().expect("a temporary folder");
    let (file, rejects) = (example("edifact-invrpt.edi"), folder.path().join("list.csv"));
    let mapping = mapping_of("edifact-invrpt.toml");
    let mut source = Source::open(&file, Format::Edi, &mapping, orders()).expect("is opened");
    let line = source.next().expect("it is read").expect("there is one");
    let mut written = Rejects::new(&rejects, &file, &mapping).expect("it is empty");
    written.add(&line, "unknown").expect("it is written");
    written.finish().expect("it is written");
    assert_eq!(
        fs::read_to_string(&rejects).expect("it is there"),
        "document,segment,text,reject_reason\nINVRPT 1,7,LIN+1++MUG:SA,unknown\n"
    );
}
