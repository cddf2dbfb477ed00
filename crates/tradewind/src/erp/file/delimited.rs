//! The lines of a CSV file.

use std::io::{BufRead, Read};

use anyhow::{Context, Result};
use csv::ByteRecord;

use super::{
    super::mapping::Mapping,
    FileLine, Original, buffered,
    records::{Orders, Records, Sent, columns, is_blank, written},
};

const DELIMITERS: &[u8] = b",;\t";
/// The most bytes of a header.
const MAX_HEADER_BYTES: u64 = 1024 * 1024;

/// A CSV file that is being read.
pub(super) struct Delimited<R> {
    reader: csv::Reader<R>,
    records: Records,
    /// The columns that are sent.
    indexes: Vec<usize>,
    /// The columns of the file.
    count: usize,
}

impl<R: Read> Delimited<R> {
    /// Of a file; and the header that is sent.
    pub(super) fn new(
        input: R,
        delimiter: u8,
        mapping: &Mapping,
        orders: Orders,
    ) -> Result<(Self, Vec<u8>)> {
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(input);
        let header = reader.headers().context("read the header")?.clone();
        let names: Vec<_> = header.iter().map(str::trim).collect();
        let (indexes, fields) = columns(&names, mapping)?;
        let (records, head) = Records::new(fields, mapping, orders)?;
        Ok((Self { reader, records, indexes, count: header.len() }, head))
    }

    pub(super) fn next(&mut self) -> Result<Option<FileLine>> {
        loop {
            let mut record = ByteRecord::new();
            if !self.reader.read_byte_record(&mut record)? {
                return Ok(None);
            }
            // The gateway passes over such records as well.
            if is_blank(record.iter()) {
                continue;
            }
            let number = record.position().map_or(0, csv::Position::line);
            let sent = if record.len() == self.count {
                let values = self.indexes.iter().map(|index| record.get(*index));
                self.records.sent(values.map(Option::unwrap_or_default))?
            } else {
                Some(self.mismatched(&record)?)
            };
            let Some((sent, note)) = sent else { continue };
            return Ok(Some(FileLine { number, original: Original::Record(record), sent, note }));
        }
    }

    /// What is sent of a record with another number of columns than the header of the file: itself, so that
    /// the gateway rejects it. Where it has as many as are sent, the gateway would take its values for those
    /// of other fields: it gets one more.
    fn mismatched(&self, record: &ByteRecord) -> Result<Sent> {
        let extra = (record.len() == self.records.count()).then_some(b"".as_slice());
        let note = format!(
            "the line has {} columns, and the header {}: put values that have the delimiter in them in \
             double quotes",
            record.len(),
            self.count
        );
        Ok((written(record.iter().chain(extra))?, Some(note)))
    }
}

/// The delimiter of a CSV file: the first of them in its header.
pub(crate) fn delimiter(input: impl Read) -> Result<u8> {
    let mut head = Vec::new();
    let mut input = buffered(input.take(MAX_HEADER_BYTES));
    input.read_until(b'\n', &mut head).context("read the header")?;
    Ok(head.into_iter().find(|byte| DELIMITERS.contains(byte)).unwrap_or(b','))
}
