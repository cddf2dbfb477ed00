//! X12 and EDIFACT: what is read of files that are whole, of broken ones, and of anything.

use std::{fs, io::Cursor, path::Path};

use serde_json::{Value, json};

use super::{
    super::{
        file::Format,
        mapping::{Mapping, MappingFile},
    },
    tokens::Tokens,
    *,
};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/erp")
}

fn example(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.edi"))).expect("it is there")
}

fn mapping(name: &str) -> Mapping {
    let file = MappingFile::read(&folder().join(format!("{name}.toml"))).expect("it is a mapping");
    Mapping::new(file, Format::Edi, (Vec::new(), Vec::new()), None).expect("it is complete")
}

fn message(name: &str) -> Message {
    mapping(name).elements.expect("it has some").message
}

fn segments(text: &[u8]) -> Result<Vec<Segment>, EdiError> {
    let mut tokens = Tokens::new(Cursor::new(text))?;
    let mut segments = Vec::new();
    while let Some(segment) = tokens.next()? {
        segments.push(segment);
    }
    Ok(segments)
}

/// What is wrong with the example when a part of it is replaced.
#[track_caller]
fn wrong(name: &str, from: &str, to: &str) -> String {
    let text = example(name);
    assert!(text.contains(from), "{name} has no {from:?}");
    let text = text.replacen(from, to, 1);
    let error = check(Cursor::new(text), &message(name), true).expect_err("it is wrong");
    error.to_string()
}

#[test]
fn the_examples_are_whole() {
    for name in
        ["x12-846", "x12-850", "x12-856", "edifact-invrpt", "edifact-orders", "edifact-desadv"]
    {
        let is_strict = name != "x12-850";
        check(Cursor::new(example(name)), &message(name), is_strict).unwrap_or_else(|error| {
            panic!("{name}: {error}");
        });
    }
}

#[test]
fn segments_are_separated_as_the_interchange_says() {
    let text = example("x12-846").replace("~\n", "\u{1c}").replace('*', "|");
    let read = segments(text.as_bytes()).expect("it is read");
    assert_eq!(read.len(), 15);
    assert_eq!((read[0].value(13, 1), read[0].value(16, 1)), ("000000101", ">"));
    assert_eq!((read[3].tag.as_str(), read[3].value(3, 1)), ("BIA", "INV-101"));
    let text = example("edifact-orders");
    let read = segments(text.as_bytes()).expect("it is read");
    let party = read.iter().find(|it| it.tag == "NAD" && it.value(1, 1) == "DP").expect("is there");
    assert_eq!(party.value(4, 1), "O'Neill + Sons");
    let others = text.replace("UNA:+.? '", "UNA|^,\\ ~").replace("?'", "'").replace("?+", "+");
    let others = others.replace("'\n", "~").replace(['+', ':'], "^");
    assert!(segments(others.as_bytes()).is_ok(), "{others}");
    // Without UNA they are those of the standard.
    let without = text.split_once('\n').expect("lines").1;
    let read_without = segments(without.as_bytes()).expect("it is read");
    assert_eq!(read_without.len(), read.len());
}

#[test]
fn text_is_in_the_repertoire_of_the_interchange() {
    let text = |unb: &str, bytes: &[u8]| {
        let mut file = format!("UNB+{unb}:3+A+B+261122:1430+1'NAD+BY+").into_bytes();
        file.extend(bytes);
        file.push(b'\'');
        segments(&file).map(|read| read[1].value(2, 1).to_owned())
    };
    assert_eq!(text("UNOC", b"M\xfcller").expect("it is read"), "Müller");
    assert_eq!(text("UNOY", "Müller".as_bytes()).expect("it is read"), "Müller");
    assert_eq!(text("UNOA", "MULLER".as_bytes()).expect("it is read"), "MULLER");
    let error = text("UNOD", b"A").expect_err("it is not supported").to_string();
    assert!(error.contains("UNOD"), "{error}");
}

#[test]
fn of_a_repeated_element_the_first_value_is_read() {
    let text =
        example("x12-846").replace("*U*00401*", "*^*00501*").replace("*SK*MUG~", "*SK*MUG^JUG~");
    let read = segments(text.as_bytes()).expect("it is read");
    assert_eq!(read[4].value(3, 1), "MUG");
    // Of EDIFACT the version of the syntax says whether there are repetitions, and UNA how they are written.
    for (una, version, value) in [
        ("", 4, "MUG"),
        ("", 3, "MUG*JUG"),
        ("UNA:+.? '", 4, "MUG*JUG"),
        ("UNA:+.?*'", 4, "MUG"),
        ("UNA:+.?^'", 4, "MUG*JUG"),
    ] {
        let text = format!("{una}UNB+UNOC:{version}+A+B+261122:1430+1'PIA+MUG*JUG+?*'UNZ+0+1'");
        let read = segments(text.as_bytes()).expect("it is read");
        assert_eq!((read[1].value(1, 1), read[1].value(2, 1)), (value, "*"), "{una} {version}");
    }
    // What one interchange says does not hold for the next.
    let one = |version| format!("UNB+UNOC:{version}+A+B+261122:1430+1'PIA+MUG*JUG'UNZ+0+1'");
    let read = segments((one(4) + &one(3)).as_bytes()).expect("it is read");
    assert_eq!((read[1].value(1, 1), read[4].value(1, 1)), ("MUG", "MUG*JUG"));
}

#[test]
fn a_file_that_lost_a_part_is_refused_with_the_segment() {
    for (name, from, to, error) in [
        ("x12-846", "QTY*17*74*EA~\n", "", "segment 12: SE says \"11\", and it is 10"),
        (
            "x12-846",
            "SE*11*0001~",
            "SE*11*0002~",
            "segment 13: SE says \"0002\", and it is \"0001\"",
        ),
        ("x12-846", "GE*1*101~", "GE*2*101~", "segment 14: GE says \"2\", and it is 1"),
        ("x12-846", "IEA*1*000000101~\n", "", "ISA began in segment 1: IEA is missing"),
        ("x12-846", "SE*11*0001~\n", "", "GE is not expected here, SE is"),
        ("x12-846", "ST*846*0001~\n", "", "BIA is not expected here, GE or ST is"),
        ("x12-846", "*P*>~", "*P>~", "ISA must have 106 characters"),
        ("x12-846", "IEA*1*000000101~\n", "IEA*1*000000", "the file ends before the segment does"),
        ("x12-846", "ISA*", "isa*", "begins with neither"),
        ("x12-846", "ST*846*", "ST*997*", "the document is a 997, and the mapping reads 846"),
        ("x12-846", "BIA*00*", "BIA*05*", "BIA.1 is \"05\", and the mapping reads 00 alone"),
        ("edifact-invrpt", "QTY+145:117:PCE'\n", "", "UNT says \"10\", and it is 9"),
        ("edifact-invrpt", "UNT+10+1'", "UNT+10+2'", "UNT says \"2\", and it is \"1\""),
        ("edifact-invrpt", "UNZ+1+301'", "UNZ+1+302'", "UNZ says \"302\", and it is \"301\""),
        ("edifact-invrpt", "UNZ+1+301'\n", "", "UNB began in segment 2: UNZ is missing"),
        ("edifact-invrpt", "INVRPT:D", "ORDERS:D", "the document is a ORDERS"),
        ("edifact-invrpt", "UNA:+.? '", "UNA++.? '", "separators of UNA must differ"),
        ("edifact-invrpt", "+INV-301+9'", "+INV-301+5'", "BGM.3 is \"5\""),
    ] {
        let found = wrong(name, from, to);
        assert!(found.contains(error), "{name} {from:?}: {found}");
    }
}

#[test]
fn an_element_is_named_by_its_place() {
    let read = |text: &str| text.parse::<Reference>();
    for text in ["BIA.3", "QTY.1.2[1.1=145]", "N1[1=ST] > N4.3", "PO1.7[6=SK][2=3]"] {
        assert!(read(text).is_ok(), "{text}");
    }
    for text in
        ["", "BIA", "BIA03", "bia.3", "BIA.0", "BIA.3.4.5", "BIA.3[1]", "BIA.3[1=2", "> N4.1"]
    {
        assert!(read(text).is_err(), "{text}");
    }
    let segments = segments(example("x12-850").as_bytes()).expect("it is read");
    let find = |text: &str| read(text).expect("it is one").find(&segments).map(str::to_owned);
    assert_eq!(find("N1.2[1=ST]").as_deref(), Some("Blue Door Oxford"));
    assert_eq!(find("N1[1=ST] > N4.3").as_deref(), Some("OX1 1AA"));
    assert_eq!(find("N1[1=BY] > N4.3"), None, "the address is of the other party");
    assert_eq!(find("PO1.9[8=SK]").as_deref(), Some("CUP"));
}

/// The orders of a file.
fn orders(name: &str, text: String) -> Vec<Result<Order, String>> {
    let mapping = mapping(name);
    let elements = mapping.elements.as_ref().expect("it has some");
    let mut documents =
        Documents::open(Cursor::new(text), &elements.message).expect("it is opened");
    let (mut lines, mut orders) = (OrderLines::default(), Vec::new());
    while let Some(found) = documents.next().expect("it is read") {
        match found {
            Found::Line(line) => lines.add(&documents, &line, (&mapping, elements)),
            Found::End(_) => {
                let lines = std::mem::take(&mut lines);
                orders.push(lines.order(&documents, (&mapping, elements)));
            }
        }
    }
    orders
}

#[test]
fn the_examples_of_purchase_orders_are_orders() {
    let mut of_x12 = orders("x12-850", example("x12-850"));
    let change = of_x12.pop().expect("there are two").expect_err("it is a change");
    assert_eq!(change, "BEG.1 is \"04\", and the mapping reads 00 alone");
    let order = of_x12.pop().expect("there is one").expect("it is read");
    assert_eq!(order.idempotency_key, "850/BLUEDOOR/PO-4711");
    let lines = json!([
        {"line_id": "1", "sku": "MUG", "quantity": 2}, {"line_id": "2", "sku": "CUP", "quantity": 1}
    ]);
    let address = |name: &str, lines: Value, postcode: &str| json!({"name": name, "lines": lines, "city": "Oxford", "postcode": postcode, "country": "GB"});
    let body = |reference: &str, address: Value| {
        json!({"reference": reference, "currency": "GBP", "payment_method": "on_account",
            "lines": lines, "personal": {"shipping_address": address}})
    };
    let address_of_x12 = address("Blue Door Oxford", json!(["1 Mill Lane", "Unit 4"]), "OX1 1AA");
    assert_eq!(order.body, body("PO-4711", address_of_x12));
    let mut of_edifact = orders("edifact-orders", example("edifact-orders"));
    let order = of_edifact.pop().expect("there is one").expect("it is read");
    assert_eq!(order.idempotency_key, "ORDERS/BLUEDOOR/PO-4712");
    let address_of_edifact = address("O'Neill + Sons", json!(["2 Mill Lane"]), "OX1 1AB");
    assert_eq!(order.body, body("PO-4712", address_of_edifact));
}

#[test]
fn an_order_without_its_number_or_with_too_many_lines_is_rejected() {
    let text = example("edifact-orders").replace("+PO-4712+", "++");
    let mut read = orders("edifact-orders", text);
    assert_eq!(read.pop(), Some(Err("BGM.2 is empty, and names the order".to_owned())));
    let many = "LIN+9++MUG:SA'\nQTY+21:1:PCE'\n".repeat(2_001);
    let text = example("edifact-orders").replace("UNS+S'\n", &format!("{many}UNS+S'\n"));
    let text = text.replace("UNT+15+1'", "UNT+4017+1'");
    let mut read = orders("edifact-orders", text);
    let error = "it has 2003 lines, and an order at most 2000".to_owned();
    assert_eq!(read.pop(), Some(Err(error)));
}
