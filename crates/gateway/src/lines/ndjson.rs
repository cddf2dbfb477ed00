//! Splits NDJSON.

use super::{
    Collector, LineContent, MAX_LINE_BYTES, MAX_SKIPPED_BYTES, WrongContent, endless, too_long,
};
use crate::problem::Problem;

/// Splits bytes into lines.
#[derive(Debug, Default)]
pub(super) struct NdjsonSplitter {
    /// The text of the current line, as far as it is kept.
    text: Vec<u8>,
    /// The bytes of the current line.
    length: usize,
    /// The number of the current line.
    number: usize,
}

impl NdjsonSplitter {
    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn feed(&mut self, frame: &[u8], collector: &mut Collector) -> Result<(), Problem> {
        for piece in frame.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(text) => {
                    self.extend(text);
                    self.end_line(collector);
                }
                None => self.extend(piece),
            }
            if self.length > MAX_SKIPPED_BYTES {
                return Err(endless(self.number, "end each line with a line feed"));
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, collector: &mut Collector) {
        if self.length > 0 {
            self.end_line(collector);
        }
    }

    fn extend(&mut self, text: &[u8]) {
        let free = MAX_LINE_BYTES - self.text.len();
        self.text.extend_from_slice(&text[..text.len().min(free)]);
        self.length += text.len();
    }

    /// Ends a line. A blank one has a number and is not kept.
    fn end_line(&mut self, collector: &mut Collector) {
        let is_whole = self.length == self.text.len();
        let is_blank = is_whole && self.text.trim_ascii().is_empty();
        if !is_blank && self.number >= collector.from_line {
            let text = collector.chunk.keep(&self.text);
            let content = if is_whole {
                LineContent::Json(text)
            } else {
                LineContent::Wrong(too_long(), WrongContent::Json(text))
            };
            collector.push(self.number, content);
        }
        self.text.clear();
        self.length = 0;
        self.number += 1;
    }
}
