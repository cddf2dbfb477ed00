//! Thousands of damaged inputs: each is read or refused, and none of them ends the program or takes it for
//! ever. What is damaged is the same in every run.

use std::{
    fs,
    io::Cursor,
    panic,
    path::{Path, PathBuf},
};

use super::{
    edi::{Documents, Found, OrderLines, check},
    file::{Format, Orders, Source, mutations as formats},
    mapping::{Mapping, MappingFile},
};

/// How often each input is damaged.
const ROUNDS: u64 = 3_000;
/// How often a workbook is, which takes longer to read.
const WORKBOOK_ROUNDS: u64 = 300;
/// The most damages of one input.
const MAX_DAMAGES: u64 = 8;

/// Numbers that look like chance: `SplitMix64` of a seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }

    /// The input with some damages: bytes that are changed, lost, repeated or taken from elsewhere in it.
    fn damaged(&mut self, input: &[u8]) -> Vec<u8> {
        const SPECIAL: &[u8] = b"'+:?*~>^,;\"\n\r\t {}[]\\\0\xff0-9.UNAISA";
        let mut bytes = input.to_vec();
        for _ in 0..=self.next(MAX_DAMAGES) {
            let length = bytes.len() as u64;
            let at = self.next(length + 1) as usize;
            let end = (at + self.next(20) as usize).min(bytes.len());
            match self.next(6) {
                0 if at < bytes.len() => bytes[at] = self.next(256) as u8,
                1 if at < bytes.len() => {
                    bytes[at] = SPECIAL[self.next(SPECIAL.len() as u64) as usize];
                }
                2 => drop(bytes.drain(at..end)),
                3 => bytes.truncate(at),
                4 => {
                    let part = bytes[at..end].to_vec();
                    let to = self.next(bytes.len() as u64 + 1) as usize;
                    bytes.splice(to..to, part);
                }
                _ => bytes.insert(at, SPECIAL[self.next(SPECIAL.len() as u64) as usize]),
            }
        }
        bytes
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/erp")
}

fn mapping(name: &str) -> Mapping {
    let file = MappingFile::read(&folder().join(name)).expect("it is a mapping");
    let format = file.format.expect("it says its format");
    Mapping::new(file, format, (Vec::new(), Vec::new()), None).expect("it is complete")
}

/// Reads many damaged forms of an input; says which one it was that could not be.
fn read_damaged(
    name: &str,
    input: &[u8],
    rounds: u64,
    read: impl Fn(&[u8]) + panic::RefUnwindSafe,
) {
    let mut numbers = Numbers(input.len() as u64);
    for round in 0..rounds {
        let damaged = numbers.damaged(input);
        let result = panic::catch_unwind(|| read(&damaged));
        assert!(result.is_ok(), "{name}, round {round}: {:?}", String::from_utf8_lossy(&damaged));
    }
}

#[test]
fn damaged_interchanges_are_read_or_refused() {
    for name in
        ["x12-846", "x12-850", "x12-856", "edifact-invrpt", "edifact-orders", "edifact-desadv"]
    {
        let input = fs::read(folder().join(format!("{name}.edi"))).expect("it is there");
        let mapping = mapping(&format!("{name}.toml"));
        let elements = mapping.elements.as_ref().expect("it has some");
        read_damaged(name, &input, ROUNDS, |damaged| {
            let is_whole = check(Cursor::new(damaged), &elements.message, true).is_ok();
            let Ok(mut documents) = Documents::open(Cursor::new(damaged), &elements.message) else {
                assert!(!is_whole, "what was checked can be read");
                return;
            };
            let mut lines = OrderLines::default();
            loop {
                match documents.next() {
                    Ok(Some(Found::Line(line))) => {
                        lines.add(&documents, &line, (&mapping, elements));
                    }
                    Ok(Some(Found::End(_))) => {
                        drop(std::mem::take(&mut lines).order(&documents, (&mapping, elements)));
                    }
                    Ok(None) => break,
                    Err(_) => {
                        assert!(!is_whole, "what was checked can be read");
                        break;
                    }
                }
            }
        });
    }
}

#[test]
fn damaged_lines_are_read_or_refused() {
    let csv =
        "sku;quantity;as_of;order_reference\n\"A;1\";5;20261122;PO-1\nB;6,0;2026-11-22;\n\n;;;\n";
    let ndjson =
        "{\"sku\":\"A\",\"price\":{\"minor\":5},\"order_reference\":\"PO-1\"}\n\n[1,2]\n{\"sku\"";
    let mapping = mapping("stock.toml");
    for mapping in [&Mapping::default(), &Mapping { columns: Vec::new(), ..mapping }] {
        read_damaged("csv", csv.as_bytes(), ROUNDS, |damaged| formats::read_csv(damaged, mapping));
        read_damaged("ndjson", ndjson.as_bytes(), ROUNDS, |damaged| {
            formats::read_ndjson(damaged, mapping);
        });
    }
}

#[test]
fn damaged_workbooks_are_read_or_refused() {
    let input = fs::read(folder().join("stock.xlsx")).expect("it is there");
    let mapping = mapping("stock.toml");
    let made = tempfile::tempdir().expect("a temporary folder");
    let file = made.path().join("stock.xlsx");
    read_damaged("xlsx", &input, WORKBOOK_ROUNDS, |damaged| {
        fs::write(&file, damaged).expect("it is written");
        let orders = Orders::new(Box::new(|_| Ok(None)));
        let Ok(mut source) = Source::open(&file, Format::Xlsx, &mapping, orders) else { return };
        while let Ok(Some(_)) = source.next() {}
    });
}
