//! Splits an upload into lines and chunks of lines while it arrives, so that only the chunks that are
//! being sent are in memory.
//!
//! - `ndjson`: a JSON value on each line; `csv`: records below a header.

mod csv;
mod ndjson;

use std::{collections::VecDeque, mem, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{
    csv::{CsvSplitter, Header},
    ndjson::NdjsonSplitter,
};
use crate::{
    body::{BodyError, Frames, MAX_NDJSON_BYTES, discard},
    json::Node,
    problem::{Code, Problem},
};

/// The most lines of a chunk. A chunk becomes one command, which a service handles at once: other
/// shops wait for that long.
pub(crate) const MAX_CHUNK_LINES: usize = 100;
/// The longest line, in bytes: far more than any valid one has.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// The bytes after which the end of a line is no longer looked for: what is compressed well, or a quote
/// that nobody closes, would otherwise be read for as long as it is sent.
const MAX_SKIPPED_BYTES: usize = 1024 * 1024;
/// The frames of a body that are read ahead.
const MAX_FRAMES_AHEAD: usize = 1;

/// How the lines of an upload are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineFormat {
    /// A JSON object on each line.
    Ndjson,
    /// Comma-separated values below a header, whose columns are some of these.
    Csv(&'static [&'static str]),
}

/// How much an upload may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadLimits {
    /// The most bytes, inflated.
    pub(crate) bytes: usize,
    /// The most lines.
    pub(crate) lines: usize,
}

impl UploadLimits {
    /// Of an upload that is answered with one report, which is in memory.
    pub(crate) const REPORTED: Self = Self { bytes: MAX_NDJSON_BYTES, lines: 500_000 };
    /// Of an upload whose results are sent while it runs. Nothing grows with it: these are what nobody
    /// sends on purpose.
    pub(crate) const STREAMED: Self = Self { bytes: 32 << 30, lines: 100_000_000 };
}

/// Lines that are sent in one command.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// The number of its first line.
    pub(crate) first: usize,
    /// The text of the lines, concatenated.
    bytes: Vec<u8>,
    /// Where the values of records end in their text.
    ends: Vec<usize>,
    lines: Vec<Line>,
    /// The header of records.
    header: Option<Arc<Header>>,
}

#[derive(Debug)]
struct Line {
    number: usize,
    content: LineContent,
}

#[derive(Debug)]
enum LineContent {
    /// JSON.
    Json(Range<usize>),
    /// The text of a record, and which `ends` are those of its values.
    Record(Range<usize>, Range<usize>),
    /// What is wrong with the line as a whole, and what there is of it.
    Wrong(String, WrongContent),
}

#[derive(Debug)]
enum WrongContent {
    /// What should be JSON, or the beginning of it.
    Json(Range<usize>),
    /// The text of a record, and which `ends` are those of its values.
    Values(Range<usize>, Range<usize>),
}

impl Chunk {
    /// Each line with its number in the upload: what `read` makes of it.
    pub(crate) fn read<'c, T>(
        &'c self,
        read: impl Fn(usize, LineText<'c>) -> T + 'c,
    ) -> impl Iterator<Item = (usize, T)> + 'c {
        self.lines.iter().map(move |Line { number, content }| {
            let text = match content {
                LineContent::Json(text) => LineText::Json(&self.bytes[text.clone()]),
                LineContent::Wrong(detail, WrongContent::Json(text)) => {
                    LineText::Wrong(detail, SentText::Json(&self.bytes[text.clone()]))
                }
                LineContent::Wrong(detail, WrongContent::Values(text, ends)) => {
                    LineText::Wrong(detail, SentText::Values(self.values(text, ends)))
                }
                LineContent::Record(text, ends) => {
                    let record = (&self.bytes[text.clone()], &self.ends[ends.clone()]);
                    let header = self.header.as_deref().unwrap_or(Header::NONE);
                    match header.node(record) {
                        Ok(node) => LineText::Record(node, header),
                        Err(detail) => {
                            LineText::Wrong(detail, SentText::Values(self.values(text, ends)))
                        }
                    }
                }
            };
            (*number, read(*number, text))
        })
    }

    /// The values of a record.
    fn values(&self, text: &Range<usize>, ends: &Range<usize>) -> Vec<&[u8]> {
        let (text, mut begin) = (&self.bytes[text.clone()], 0);
        let value = |end: &usize| text.get(mem::replace(&mut begin, *end)..*end);
        self.ends[ends.clone()].iter().filter_map(value).collect()
    }

    /// Keeps text of a line; where it is.
    fn keep(&mut self, text: &[u8]) -> Range<usize> {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(text);
        begin..self.bytes.len()
    }

    /// Keeps a record; where its text is, and the ends of its values.
    fn keep_record(&mut self, text: &[u8], ends: &[usize]) -> (Range<usize>, Range<usize>) {
        let first = self.ends.len();
        self.ends.extend_from_slice(ends);
        (self.keep(text), first..self.ends.len())
    }

    /// How many lines it has.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.lines.len()
    }
}

/// The text of a line.
pub(crate) enum LineText<'a> {
    /// JSON.
    Json(&'a [u8]),
    /// The values of a record by the names of their fields.
    Record(Node<'a>, &'a Header),
    /// What is wrong with the line as a whole, and what there is of it.
    Wrong(&'a str, SentText<'a>),
}

/// What there is of a line that is wrong.
#[derive(Debug)]
pub(crate) enum SentText<'a> {
    /// What should be JSON, or the beginning of it.
    Json(&'a [u8]),
    /// Values by the names of their fields.
    Fields(&'a Node<'a>),
    /// The values of a record that has others than its header.
    Values(Vec<&'a [u8]>),
}

/// The lines that are ready to be sent, and the chunk that is being filled.
#[derive(Debug, Default)]
struct Collector {
    ready: VecDeque<Chunk>,
    chunk: Chunk,
    /// The lines before this one are passed over.
    from_line: usize,
}

impl Collector {
    /// Adds a line to the chunk.
    fn push(&mut self, number: usize, content: LineContent) {
        if self.chunk.lines.is_empty() {
            self.chunk.first = number;
        }
        self.chunk.lines.push(Line { number, content });
        if self.chunk.lines.len() == MAX_CHUNK_LINES {
            self.end_chunk();
        }
    }

    fn end_chunk(&mut self) {
        if self.chunk.lines.is_empty() {
            return;
        }
        let next = Chunk { header: self.chunk.header.clone(), ..Chunk::default() };
        self.ready.push_back(mem::replace(&mut self.chunk, next));
    }
}

/// Splits bytes that arrive frame by frame.
#[derive(Debug)]
enum Splitter {
    Ndjson(NdjsonSplitter),
    Csv(Box<CsvSplitter>),
}

impl Splitter {
    fn feed(&mut self, frame: &[u8], collector: &mut Collector) -> Result<(), Problem> {
        match self {
            Self::Ndjson(splitter) => splitter.feed(frame, collector),
            Self::Csv(splitter) => splitter.feed(frame, collector),
        }
    }

    fn finish(&mut self, collector: &mut Collector) -> Result<(), Problem> {
        match self {
            Self::Ndjson(splitter) => splitter.finish(collector),
            Self::Csv(splitter) => splitter.finish(collector)?,
        }
        collector.end_chunk();
        Ok(())
    }

    /// How many lines there have been.
    fn lines(&self) -> usize {
        match self {
            Self::Ndjson(splitter) => splitter.number(),
            Self::Csv(splitter) => splitter.number(),
        }
    }
}

/// An upload that is being split.
struct Chunks {
    /// The rest of the body; `None` at its end.
    frames: Option<mpsc::Receiver<Result<Bytes, BodyError>>>,
    splitter: Splitter,
    collector: Collector,
    limits: UploadLimits,
    bytes: usize,
    /// Ends the upload before its end.
    stop: CancellationToken,
}

/// The chunks of an upload, as they arrive, from a line on. Those before it are passed over. Once `stop`
/// is cancelled, no more are read.
pub(crate) fn chunks(
    frames: Frames,
    format: LineFormat,
    from_line: usize,
    limits: UploadLimits,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Chunk, Problem>> + Send {
    let splitter = match format {
        LineFormat::Ndjson => Splitter::Ndjson(NdjsonSplitter::default()),
        LineFormat::Csv(columns) => Splitter::Csv(Box::new(CsvSplitter::new(columns))),
    };
    let collector = Collector { from_line, ..Collector::default() };
    let frames = Some(read_ahead(frames, limits.bytes));
    let chunks = Chunks { frames, splitter, collector, limits, bytes: 0, stop };
    stream::unfold(Some(chunks), |chunks| async move {
        let mut chunks = chunks?;
        match chunks.next().await.transpose()? {
            Ok(chunk) => Some((Ok(chunk), Some(chunks))),
            Err(problem) => Some((Err(problem), None)),
        }
    })
}

/// Reads a body in a task of its own. The time in which the next bytes must come counts from the last
/// time that the body was asked for them: here it is asked at once, also while commands are waited for.
/// The rest of an upload that is refused is read too: most clients read the response only then.
fn read_ahead(mut frames: Frames, limit: usize) -> mpsc::Receiver<Result<Bytes, BodyError>> {
    let (sender, receiver) = mpsc::channel(MAX_FRAMES_AHEAD);
    tokio::spawn(async move {
        let mut bytes = 0;
        while let Some(frame) = frames.next().await {
            bytes += frame.as_ref().map_or(0, Bytes::len);
            let is_last = frame.is_err() || bytes > limit;
            if sender.send(frame).await.is_err() || is_last {
                break;
            }
        }
        drop(sender);
        discard(&mut frames).await;
    });
    receiver
}

impl Chunks {
    async fn next(&mut self) -> Result<Option<Chunk>, Problem> {
        loop {
            if let Some(chunk) = self.collector.ready.pop_front() {
                return Ok(Some(chunk));
            }
            let Some(frames) = &mut self.frames else { return Ok(None) };
            let stop = self.stop.clone();
            let Some(frame) = stop.run_until_cancelled(frames.recv()).await else {
                let detail = "the gateway stops: go on from next_line, in a moment";
                return Err(Problem::new(Code::NotReady, detail));
            };
            if let Some(frame) = frame {
                let frame = frame?;
                self.bytes += frame.len();
                self.splitter.feed(&frame, &mut self.collector)?;
            } else {
                self.frames = None;
                self.splitter.finish(&mut self.collector)?;
            }
            let UploadLimits { bytes, lines } = self.limits;
            if self.bytes > bytes || self.splitter.lines() > lines {
                let detail = format!(
                    "the upload must be at most {bytes} bytes in {lines} lines: go on from next_line in \
                     another request, or send it with `Accept: application/x-ndjson`"
                );
                return Err(Problem::new(Code::TooLarge, detail));
            }
        }
    }
}

/// The error of a line that is too long.
fn too_long() -> String {
    format!("the line must be at most {MAX_LINE_BYTES} bytes")
}

/// The problem of a line whose end is not looked for any more.
fn endless(number: usize, fix: &str) -> Problem {
    let detail = format!("line {number} does not end within {MAX_SKIPPED_BYTES} bytes: {fix}");
    Problem::new(Code::TooLarge, detail)
}

#[cfg(test)]
mod tests;
