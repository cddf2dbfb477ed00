//! A file of lines: reads it, and brings its lines into the form of the API.
//!
//! - `delimited`: CSV;
//! - `ndjson`: JSON objects;
//! - `workbook`: XLSX;
//! - `interchange`: X12 and EDIFACT;
//! - `records`: what is sent of a line of values.

mod delimited;
pub(super) mod format;
mod interchange;
mod ndjson;
mod records;
mod workbook;

use std::{
    fmt,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use anyhow::{Context, Result};
use calamine::Data;
use csv::ByteRecord;

use self::{delimited::Delimited, interchange::Interchange, ndjson::Ndjson, workbook::Sheet};
pub(super) use self::{
    delimited::delimiter, format::Format, ndjson::object, records::Orders, workbook::Workbook,
};
use super::mapping::Mapping;

/// The column, or member, with the reason in a file of rejected lines. It is not sent.
pub(super) const REASON: &str = "reject_reason";
/// The most bytes of a line that are kept while its end is looked for: the gateway reads no longer ones.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// A file cannot be read: pushed again, it could not be either.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file cannot be read")
    }
}

/// A line of a file.
#[derive(Debug, PartialEq)]
pub(crate) struct FileLine {
    /// Its number in the file, from 1, as editors count; of EDI, the number of its first segment.
    pub(crate) number: u64,
    /// As it is in the file.
    pub(crate) original: Original,
    /// As it is sent.
    pub(crate) sent: Vec<u8>,
    /// Why it will be rejected, where that is known better here.
    pub(crate) note: Option<String>,
}

/// A line as it is in its file.
#[derive(Debug, PartialEq)]
pub(crate) enum Original {
    Record(ByteRecord),
    Json(Vec<u8>),
    /// The cells of a row, from the first column on.
    Row(Vec<Data>),
    Segment(DocumentLine),
}

/// A line of a document of an EDI file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DocumentLine {
    /// The type and the control reference of the document.
    pub(crate) document: String,
    /// Its first segment.
    pub(crate) segment: String,
}

/// A file that is being read.
pub(crate) struct Source {
    lines: Lines,
    /// The header as it is sent; empty where there is none.
    pub(crate) head: Vec<u8>,
}

enum Lines {
    Csv(Box<Delimited<File>>),
    Ndjson(Box<Ndjson<File>>),
    Xlsx(Box<Sheet>),
    Edi(Box<Interchange>),
}

impl Source {
    /// Opens a file. `orders` finds the orders that lines name by their references.
    pub(crate) fn open(
        file: &Path,
        format: Format,
        mapping: &Mapping,
        orders: Orders,
    ) -> Result<Self> {
        let opened = || File::open(file).with_context(|| format!("open {}", file.display()));
        let (lines, head) = match format {
            Format::Ndjson => {
                let lines = Ndjson::new(opened()?, mapping, orders);
                (Lines::Ndjson(Box::new(lines)), Vec::new())
            }
            Format::Csv => {
                let delimiter = delimiter(opened()?)?;
                let (lines, head) = Delimited::new(opened()?, delimiter, mapping, orders)?;
                (Lines::Csv(Box::new(lines)), head)
            }
            Format::Xlsx => {
                let (lines, head) = Sheet::open(file, mapping, orders)?;
                (Lines::Xlsx(Box::new(lines)), head)
            }
            Format::Edi => {
                let (lines, head) = Interchange::open(file, mapping, orders)?;
                (Lines::Edi(Box::new(lines)), head)
            }
        };
        Ok(Self { lines, head })
    }

    /// The next line that is not blank.
    pub(crate) fn next(&mut self) -> Result<Option<FileLine>> {
        match &mut self.lines {
            Lines::Csv(lines) => lines.next(),
            Lines::Ndjson(lines) => lines.next(),
            Lines::Xlsx(lines) => lines.next(),
            Lines::Edi(lines) => lines.next(),
        }
    }
}

/// A reader of a file that is read in small pieces.
fn buffered<R: Read>(input: R) -> BufReader<R> {
    BufReader::with_capacity(64 * 1024, input)
}

#[cfg(test)]
pub(super) mod mutations;
#[cfg(test)]
mod tests;
