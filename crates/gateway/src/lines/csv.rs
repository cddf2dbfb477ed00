//! Splits CSV (RFC 4180) below a header that names the fields: `price.minor` is the member `minor` of
//! `price`.
//!
//! The delimiter is the first comma, semicolon or tab of the header. An empty value is as if the field
//! were not there. The line of a record is the one in which it begins: values in quotes may have several.
//!
//! Lines end with a line feed, with carriage returns before it or not. A carriage return alone, as old
//! spreadsheets write it, ends none: such records would all have one number. A header with one is refused,
//! and a line with one is wrong as a whole.

use std::{fmt::Write, mem, sync::Arc};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{
    Collector, LineContent, MAX_LINE_BYTES, MAX_SKIPPED_BYTES, WrongContent, endless, too_long,
};
use crate::{
    json::Node,
    problem::{FieldError, Problem},
};

/// What spreadsheets write before the first byte of a file in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The most columns of a record that are told apart.
const MAX_COLUMNS: usize = 128;
const DELIMITERS: &[u8] = b",;\t";
/// The error of a header or a line in which a carriage return outside quotes has no line feed behind it.
pub(super) const CARRIAGE_RETURN: &str = "there is a carriage return within the line: end each line with \
     a line feed, and put values that have a carriage return in them in double quotes";

/// The columns of an upload.
#[derive(Debug)]
pub(crate) struct Header {
    /// The name of the field of each column.
    columns: Vec<&'static str>,
}

impl Header {
    pub(super) const NONE: &'static Self = &Self { columns: Vec::new() };

    /// Reads the names of the columns; `known` are those that there may be.
    fn parse(names: &[&str], known: &[&'static str]) -> Result<Self, Problem> {
        let mut columns = Vec::with_capacity(names.len());
        let mut errors = Vec::new();
        for (index, name) in names.iter().map(|name| name.trim()).enumerate() {
            let number = index + 1;
            let mut wrong = |rest: &str| {
                let detail = format!("column {number} of the header, {name:?}, {rest}");
                errors.push(FieldError::named(name, detail));
            };
            match known.iter().find(|known| **known == name) {
                Some(column) if columns.contains(column) => {
                    wrong("is there twice: remove one of them");
                }
                Some(column) => columns.push(*column),
                None => wrong(&format!("is not known; the columns are {}", known.join(", "))),
            }
        }
        if errors.is_empty() { Ok(Self { columns }) } else { Err(Problem::fields(errors)) }
    }

    /// A record as an object: `text` and where its values end in it.
    pub(super) fn node<'a>(
        &self,
        (text, ends): (&'a [u8], &[usize]),
    ) -> Result<Node<'a>, &'static str> {
        let text = str::from_utf8(text)
            .map_err(|_| "the line is not UTF-8: save the file in the encoding UTF-8")?;
        let mut members: Vec<(std::borrow::Cow<'a, str>, Node<'a>)> =
            Vec::with_capacity(ends.len());
        let mut begin = 0;
        for (column, end) in self.columns.iter().zip(ends) {
            let value = text.get(mem::replace(&mut begin, *end)..*end).unwrap_or_default().trim();
            if value.is_empty() {
                continue;
            }
            let value = Node::Cell(value);
            let Some((parent, name)) = column.split_once('.') else {
                members.push(((*column).into(), value));
                continue;
            };
            let of_parent = members.iter_mut().find(|(member, _)| member == parent);
            if let Some((_, Node::Object(inner))) = of_parent {
                inner.push((name.into(), value));
            } else {
                members.push((parent.into(), Node::Object(vec![(name.into(), value)])));
            }
        }
        Ok(Node::Object(members))
    }

    /// Says in which column an error is.
    pub(crate) fn locate(&self, mut error: FieldError) -> FieldError {
        let field = error.field.as_str();
        let mut columns = self.columns.iter();
        let written = match columns.position(|column| *column == field) {
            Some(index) => write!(error.detail, " (column {})", index + 1),
            None => write!(error.detail, " (the header has no column {field})"),
        };
        // Writing to text does not fail.
        written.ok();
        error
    }
}

/// Splits bytes into records.
pub(super) struct CsvSplitter {
    known: &'static [&'static str],
    /// Reads records; none before the header is whole.
    reader: Option<Reader>,
    /// The header, before it is whole.
    head: Vec<u8>,
    header: Arc<Header>,
    record: Record,
    /// The number of the line that is being read.
    number: usize,
}

impl std::fmt::Debug for CsvSplitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvSplitter").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A record that is being read.
#[derive(Debug)]
struct Record {
    text: Vec<u8>,
    /// How much of the text is written.
    length: usize,
    ends: Vec<usize>,
    /// How many values have ended.
    count: usize,
    /// The bytes that were read of it.
    bytes: usize,
    /// The line in which it begins.
    number: usize,
    is_too_long: bool,
    /// Whether the reader takes it to have ended, by a carriage return: what is behind that, perhaps in the
    /// next frame, says whether the line has ended.
    is_returned: bool,
    /// Whether there was more in the line behind such an end.
    is_split: bool,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            text: vec![0; MAX_LINE_BYTES],
            length: 0,
            ends: vec![0; MAX_COLUMNS],
            count: 0,
            bytes: 0,
            number: 0,
            is_too_long: false,
            is_returned: false,
            is_split: false,
        }
    }
}

impl CsvSplitter {
    pub(super) fn new(known: &'static [&'static str]) -> Self {
        Self {
            known,
            reader: None,
            head: Vec::new(),
            header: Arc::new(Header { columns: Vec::new() }),
            record: Record::default(),
            number: 0,
        }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn feed(
        &mut self,
        mut frame: &[u8],
        collector: &mut Collector,
    ) -> Result<(), Problem> {
        while self.reader.is_none() {
            let Some(end) = frame.iter().position(|byte| *byte == b'\n') else {
                self.head.extend_from_slice(frame);
                return self.check_head();
            };
            self.head.extend_from_slice(&frame[..=end]);
            frame = &frame[end + 1..];
            self.check_head()?;
            self.read_header(collector)?;
            self.number += 1;
        }
        self.read_records(frame, collector)
    }

    pub(super) fn finish(&mut self, collector: &mut Collector) -> Result<(), Problem> {
        if self.reader.is_none() {
            self.read_header(collector)?;
        }
        // No more bytes: that ends the last record.
        if self.record.is_returned {
            self.end_record(collector);
        } else if self.record.bytes > 0 {
            self.step(&[], collector)?;
        }
        Ok(())
    }

    fn check_head(&self) -> Result<(), Problem> {
        if self.head.len() <= MAX_LINE_BYTES {
            return Ok(());
        }
        // A file whose lines all end with a carriage return is one line.
        let is_split = self.head.trim_ascii_end().contains(&b'\r');
        let detail = if is_split { CARRIAGE_RETURN.to_owned() } else { too_long() };
        Err(Problem::fields(vec![FieldError::named("", detail)]))
    }

    /// Reads the header, unless its line is blank.
    fn read_header(&mut self, collector: &mut Collector) -> Result<(), Problem> {
        let head = mem::take(&mut self.head);
        let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&head);
        if head.trim_ascii().is_empty() {
            return Ok(());
        }
        let delimiter = head.iter().find(|byte| DELIMITERS.contains(byte)).unwrap_or(&b',');
        let mut reader = ReaderBuilder::new().delimiter(*delimiter).build();
        let (result, read, length, count) =
            reader.read_record(head, &mut self.record.text, &mut self.record.ends);
        let is_record = matches!(result, ReadRecordResult::Record);
        if is_record && !head[read..].trim_ascii().is_empty() {
            return Err(Problem::fields(vec![FieldError::named("", CARRIAGE_RETURN.to_owned())]));
        }
        // Without a line feed behind it, the header ends with the body.
        let (_, _, rest, last) = reader.read_record(
            &[],
            &mut self.record.text[length..],
            &mut self.record.ends[count..],
        );
        let text = String::from_utf8_lossy(&self.record.text[..length + rest]);
        let mut begin = 0;
        let ends = &self.record.ends[..count + last];
        let names: Vec<_> = ends
            .iter()
            .map(|end| text.get(mem::replace(&mut begin, *end)..*end).unwrap_or_default())
            .collect();
        self.header = Arc::new(Header::parse(&names, self.known)?);
        collector.chunk.header = Some(self.header.clone());
        self.reader = Some(ReaderBuilder::new().delimiter(*delimiter).build());
        Ok(())
    }

    fn read_records(&mut self, mut frame: &[u8], collector: &mut Collector) -> Result<(), Problem> {
        while let Some(byte) = frame.first() {
            if self.record.is_returned {
                match byte {
                    b'\r' => frame = &frame[1..],
                    b'\n' => self.end_record(collector),
                    _ => (self.record.is_returned, self.record.is_split) = (false, true),
                }
                continue;
            }
            if self.record.bytes == 0 {
                // Blank lines are no records, but they have numbers.
                let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
                let blank = frame.iter().take_while(|byte| is_end(byte)).count();
                self.count_lines(&frame[..blank]);
                frame = &frame[blank..];
                if frame.is_empty() {
                    break;
                }
                self.record.number = self.number;
            }
            let read = self.step(frame, collector)?;
            frame = &frame[read..];
        }
        Ok(())
    }

    fn count_lines(&mut self, bytes: &[u8]) {
        self.number += bytes.iter().map(|byte| usize::from(*byte == b'\n')).sum::<usize>();
    }

    /// Reads on in the record, up to its end at most. Returns how many bytes were read.
    fn step(&mut self, input: &[u8], collector: &mut Collector) -> Result<usize, Problem> {
        let Some(reader) = &mut self.reader else { return Ok(input.len()) };
        let record = &mut self.record;
        let (result, read, written, ended) = reader.read_record(
            input,
            &mut record.text[record.length..],
            &mut record.ends[record.count..],
        );
        record.length += written;
        record.count += ended;
        record.bytes += read;
        self.count_lines(&input[..read]);
        let record = &mut self.record;
        match result {
            ReadRecordResult::InputEmpty => {}
            // What does not fit is read, and not kept.
            ReadRecordResult::OutputFull => {
                record.is_too_long = true;
                record.length = 0;
            }
            ReadRecordResult::OutputEndsFull => {
                record.is_too_long = true;
                record.count = 0;
            }
            ReadRecordResult::Record if input[..read].ends_with(b"\r") => record.is_returned = true,
            ReadRecordResult::Record | ReadRecordResult::End => self.end_record(collector),
        }
        if self.record.bytes > MAX_SKIPPED_BYTES {
            let fix = if self.record.is_split {
                "end each line with a line feed"
            } else {
                "is there a quote that is not closed?"
            };
            return Err(endless(self.record.number, fix));
        }
        Ok(read)
    }

    fn end_record(&mut self, collector: &mut Collector) {
        let Record { text, length, ends, count, number, is_too_long, is_split, .. } = &self.record;
        let (text, ends, columns) = (&text[..*length], &ends[..*count], self.header.columns.len());
        // Spreadsheets write rows of delimiters alone below a table.
        let is_blank = !is_too_long && !is_split && text.trim_ascii().is_empty();
        if !is_blank && *number >= collector.from_line {
            let count = ends.len();
            // Of one that is too long, there may be values without their ends.
            let ends = if *is_too_long { &[] } else { ends };
            let (text, ends) = collector.chunk.keep_record(text, ends);
            let wrong = if *is_split {
                Some(CARRIAGE_RETURN.to_owned())
            } else if *is_too_long {
                Some(too_long())
            } else if count != columns {
                Some(format!(
                    "the line has {count} columns, and the header {columns}: put values that have the \
                     delimiter in them in double quotes"
                ))
            } else {
                None
            };
            let content = match wrong {
                Some(detail) => LineContent::Wrong(detail, WrongContent::Values(text, ends)),
                None => LineContent::Record(text, ends),
            };
            collector.push(*number, content);
        }
        let record = &mut self.record;
        (record.length, record.count, record.bytes, record.is_too_long) = (0, 0, 0, false);
        (record.is_returned, record.is_split) = (false, false);
    }
}
