//! Splits a body into lines and chunks of lines while it arrives, so that only the chunks that are
//! being sent are in memory.

use std::{collections::VecDeque, mem, ops::Range};

use axum::body::BodyDataStream;
use futures::{Stream, StreamExt, stream};

use crate::{
    body::{MAX_NDJSON_BYTES, discard, incomplete},
    problem::{Code, Problem},
};

/// The most lines of a chunk. A chunk becomes one command, which a service handles at once: other
/// shops wait for that long.
pub(crate) const MAX_CHUNK_LINES: usize = 100;
/// The longest line, in bytes: far more than any valid one has.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// The most lines of a body.
const MAX_LINES: usize = 500_000;

/// Lines that are sent in one command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// The number of the chunk in its body, from 0.
    pub(crate) part: usize,
    /// The text of the lines, concatenated.
    pub(crate) bytes: Vec<u8>,
    lines: Vec<Line>,
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    text: Range<usize>,
    is_whole: bool,
}

impl Chunk {
    /// Each line with its number in the body; `None` for a line that is too long.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, Option<&[u8]>)> {
        self.lines.iter().map(|line| {
            let text = line.is_whole.then(|| &self.bytes[line.text.clone()]);
            (line.number, text)
        })
    }
}

/// Splits bytes that arrive frame by frame.
#[derive(Debug, Default)]
struct Splitter {
    ready: VecDeque<Chunk>,
    chunk: Chunk,
    /// Where the current line begins in the chunk.
    begin: usize,
    /// Whether the current line is longer than what is kept of it.
    is_cut: bool,
    /// The number of the current line.
    number: usize,
}

impl Splitter {
    fn feed(&mut self, frame: &[u8]) {
        for piece in frame.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(text) => {
                    self.extend(text);
                    self.end_line();
                }
                None => self.extend(piece),
            }
        }
    }

    fn finish(&mut self) {
        if self.chunk.bytes.len() > self.begin {
            self.end_line();
        }
        self.end_chunk();
    }

    fn extend(&mut self, text: &[u8]) {
        let free = MAX_LINE_BYTES - (self.chunk.bytes.len() - self.begin);
        self.is_cut |= text.len() > free;
        self.chunk.bytes.extend_from_slice(&text[..text.len().min(free)]);
    }

    /// Ends a line. A blank one has a number and is not kept.
    fn end_line(&mut self) {
        let text = self.begin..self.chunk.bytes.len();
        if self.chunk.bytes[text.clone()].trim_ascii().is_empty() && !self.is_cut {
            self.chunk.bytes.truncate(self.begin);
        } else {
            self.begin = text.end;
            self.chunk.lines.push(Line { number: self.number, text, is_whole: !self.is_cut });
        }
        self.is_cut = false;
        self.number += 1;
        if self.chunk.lines.len() == MAX_CHUNK_LINES {
            self.end_chunk();
        }
    }

    fn end_chunk(&mut self) {
        if self.chunk.lines.is_empty() {
            return;
        }
        let next = Chunk { part: self.chunk.part + 1, ..Chunk::default() };
        self.ready.push_back(mem::replace(&mut self.chunk, next));
        self.begin = 0;
    }
}

/// A body that is being split.
struct Chunks {
    /// The rest of the body; `None` at its end.
    frames: Option<BodyDataStream>,
    splitter: Splitter,
    bytes: usize,
}

/// The chunks of a body, as they arrive.
pub(crate) fn chunks(frames: BodyDataStream) -> impl Stream<Item = Result<Chunk, Problem>> {
    let chunks = Chunks { frames: Some(frames), splitter: Splitter::default(), bytes: 0 };
    stream::try_unfold(chunks, |mut chunks| async move {
        Ok(chunks.next().await?.map(|chunk| (chunk, chunks)))
    })
}

impl Chunks {
    async fn next(&mut self) -> Result<Option<Chunk>, Problem> {
        loop {
            if let Some(chunk) = self.splitter.ready.pop_front() {
                return Ok(Some(chunk));
            }
            let Some(frames) = &mut self.frames else { return Ok(None) };
            if let Some(frame) = frames.next().await {
                let frame = frame.map_err(|_| incomplete())?;
                self.bytes += frame.len();
                self.splitter.feed(&frame);
            } else {
                self.frames = None;
                self.splitter.finish();
            }
            if self.bytes > MAX_NDJSON_BYTES || self.splitter.number > MAX_LINES {
                return Err(self.refuse_rest().await);
            }
        }
    }

    async fn refuse_rest(&mut self) -> Problem {
        if let Some(frames) = &mut self.frames {
            discard(frames).await;
        }
        let detail = format!(
            "the body must be at most {MAX_NDJSON_BYTES} bytes in {MAX_LINES} lines; lines before that \
             may have had their effect: send it in several requests"
        );
        Problem::new(Code::TooLarge, detail)
    }
}

/// The error of a line that is too long.
pub(crate) fn too_long() -> String {
    format!("the line must be at most {MAX_LINE_BYTES} bytes")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use bytes::Bytes;
    use futures::TryStreamExt;

    use super::*;

    /// Splits a body that comes in frames of `frame` bytes into `(part, number, text)`.
    async fn split(body: &[u8], frame: usize) -> Result<Vec<(usize, usize, String)>, Problem> {
        let frames: Vec<_> = body.chunks(frame).map(Bytes::copy_from_slice).collect();
        let frames = stream::iter(frames.into_iter().map(Ok::<_, std::io::Error>));
        let chunks: Vec<_> =
            chunks(Body::from_stream(frames).into_data_stream()).try_collect().await?;
        let lines = chunks.iter().flat_map(|chunk| {
            chunk.lines().map(|(number, text)| {
                let text = text.map_or("too long".into(), |text| {
                    String::from_utf8(text.to_vec()).expect("is UTF-8")
                });
                (chunk.part, number, text)
            })
        });
        Ok(lines.collect())
    }

    #[tokio::test]
    async fn lines_are_the_same_however_the_body_is_framed() {
        let expected =
            [(0, 0, "{\"a\":1}\r".to_owned()), (0, 2, "{}".to_owned()), (0, 4, "7".to_owned())];
        for frame in [1, 2, 3, 7, 100] {
            let lines = split(b"{\"a\":1}\r\n\n{}\n  \n7", frame).await.expect("is small");
            assert_eq!(lines, expected, "frames of {frame} bytes");
        }
        assert_eq!(split(b"", 1).await.expect("is small"), []);
        assert_eq!(split(b"\n\n", 1).await.expect("is small"), []);
    }

    #[tokio::test]
    async fn a_chunk_ends_after_so_many_lines() {
        let body = "1\n".repeat(MAX_CHUNK_LINES * 2 + 1);
        let lines = split(body.as_bytes(), 64).await.expect("is small");
        let parts: Vec<_> =
            (0..3).map(|part| lines.iter().filter(|(of, ..)| *of == part).count()).collect();
        assert_eq!(parts, [MAX_CHUNK_LINES, MAX_CHUNK_LINES, 1]);
        assert!(lines.iter().enumerate().all(|(index, (_, number, _))| index == *number));
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_an_error_of_its_own() {
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        let fits = "y".repeat(MAX_LINE_BYTES);
        let lines =
            split(format!("1\n{long}\n{fits}\n2").as_bytes(), 1000).await.expect("is small");
        assert_eq!(
            lines,
            [
                (0, 0, "1".to_owned()),
                (0, 1, "too long".to_owned()),
                (0, 2, fits),
                (0, 3, "2".to_owned())
            ]
        );
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_ends_in_a_problem() {
        assert!(split(&vec![b' '; MAX_NDJSON_BYTES + 1], 1 << 16).await.is_err());
        assert!(split(&vec![b'\n'; MAX_LINES + 1], 1 << 16).await.is_err());
        assert!(split(&vec![b'\n'; MAX_LINES], 1 << 16).await.is_ok());
        let unfinished = [vec![b'\n'; MAX_LINES], b"1".to_vec()].concat();
        assert!(split(&unfinished, 1 << 16).await.is_err());
    }
}
