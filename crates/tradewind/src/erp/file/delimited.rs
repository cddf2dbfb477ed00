//! The lines of a CSV file.

use std::io::{self, BufRead, Read};

use anyhow::{Context, Result};
use csv::ByteRecord;

use super::{
    super::mapping::Mapping,
    FileLine, MAX_LINE_BYTES, Original, buffered,
    records::{Orders, Records, Sent, columns, is_blank, written},
};

const DELIMITERS: &[u8] = b",;\t";

/// A CSV file that is being read.
pub(super) struct Delimited<R> {
    reader: csv::Reader<Limited<R>>,
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
        let input = Limited { input, left: MAX_LINE_BYTES };
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
            self.reader.get_mut().left = MAX_LINE_BYTES;
            let is_read = self.reader.read_byte_record(&mut record);
            let number = record.position().map_or(0, csv::Position::line);
            if !is_read.with_context(|| format!("read line {number}"))? {
                return Ok(None);
            }
            // The gateway passes over such records as well.
            if is_blank(record.iter()) {
                continue;
            }
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

/// An input that fails when more is read of it than a record may have: the reader of records keeps all of one.
struct Limited<R> {
    input: R,
    /// How many bytes of the record may still be read.
    left: usize,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.left);
        if length == 0 && !buffer.is_empty() {
            let reason = format!(
                "it does not end within {MAX_LINE_BYTES} bytes: is there a quote that is not closed?"
            );
            return Err(io::Error::other(reason));
        }
        let read = self.input.read(&mut buffer[..length])?;
        self.left -= read;
        Ok(read)
    }
}

/// The delimiter of a CSV file: the first of them in its header.
pub(crate) fn delimiter(input: impl Read) -> Result<u8> {
    let mut head = Vec::new();
    let mut input = buffered(input.take(MAX_LINE_BYTES as u64));
    // The reader of records passes over lines that are empty as well.
    while head.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        head.clear();
        if input.read_until(b'\n', &mut head).context("read the header")? == 0 {
            break;
        }
    }
    Ok(head.into_iter().find(|byte| DELIMITERS.contains(byte)).unwrap_or(b','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_that_of_the_first_line_that_is_not_empty() {
        for (text, expected) in [
            ("Item;Stock\nA,1;5\n", b';'),
            ("\n\r\n\nItem;Stock\nA,1;5\n", b';'),
            ("\nItem\tStock", b'\t'),
            ("\n\n", b','),
            ("", b','),
        ] {
            assert_eq!(delimiter(text.as_bytes()).expect("it is read"), expected, "{text:?}");
        }
        let orders = Orders::new(Box::new(|_| Ok(None)));
        let input = "\n\nsku;quantity\nA;5\n".as_bytes();
        let (mut lines, head) =
            Delimited::new(input, b';', &Mapping::default(), orders).expect("its header is read");
        assert_eq!(head, b"sku,quantity\n");
        let line = lines.next().expect("it is read").expect("there is one");
        assert_eq!((line.number, &*line.sent), (4, b"A,5\n".as_slice()));
    }

    #[test]
    fn a_quote_that_is_not_closed_is_named_before_the_rest_is_read() {
        let lines = |text: &'static str| {
            let orders = Orders::new(Box::new(|_| Ok(None)));
            let rest = io::repeat(b'x').take(16 * MAX_LINE_BYTES as u64);
            let input = text.as_bytes().chain(rest);
            Delimited::new(input, b',', &Mapping::default(), orders).map(|(lines, _)| lines)
        };
        let reason = "it does not end within 1048576 bytes: is there a quote that is not closed?";
        let mut of_line = lines("sku,quantity\nA,5\n\"B,6\n").expect("its header is read");
        assert_eq!(of_line.next().expect("it is read").expect("there is one").number, 2);
        let error = of_line.next().expect_err("it has no end");
        assert_eq!(format!("{error:#}"), format!("read line 3: {reason}"));
        let error = lines("sku,\"quantity\nA,5\n").err().expect("its header has no end");
        assert_eq!(format!("{error:#}"), format!("read the header: {reason}"));
    }
}
