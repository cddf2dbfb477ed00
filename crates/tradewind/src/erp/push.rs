//! Pushes a file: sends its lines while their results come, and goes on behind the last result where the
//! connection breaks.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    pin::Pin,
    sync::mpsc::{Receiver, TrySendError, sync_channel},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use async_compression::tokio::bufread::GzipEncoder;
use bytes::Bytes;
use client::{
    Client, Error,
    upload::{Answered, Upload},
};
use futures::{Stream, StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use indicatif::{ProgressBar, ProgressStyle};
use node::say;
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle, time::sleep};
use tokio_util::io::{ReaderStream, StreamReader};

use super::{
    file::{FileLine, Format, Orders, Original, Source, Unreadable},
    mapping::Mapping,
    rejects::Rejects,
};

/// The lines that are sent and have no result yet: more than a compressor keeps back.
const MAX_LINES_IN_FLIGHT: usize = 100_000;
/// About how many bytes are sent at once.
const FRAME_BYTES: usize = 64 * 1024;
/// How often it is tried in a row without a result.
const MAX_ATTEMPTS: u32 = 20;
/// The pause after the first attempt that failed; each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// A file that is pushed.
pub(crate) struct Push {
    pub(crate) client: Client,
    /// Where to.
    pub(crate) path: &'static str,
    pub(crate) file: PathBuf,
    pub(crate) format: Format,
    pub(crate) mapping: Mapping,
    pub(crate) is_gzip: bool,
    /// Where rejected lines are written.
    pub(crate) rejects: PathBuf,
}

/// A file that was pushed.
pub(crate) struct Pushed {
    /// Its lines.
    pub(crate) lines: u64,
    /// How many of them were rejected.
    pub(crate) rejected: u64,
}

/// How far it is.
struct Progress {
    /// Lines that have their result.
    answered: u64,
    /// How many there are of each.
    results: BTreeMap<String, u64>,
    rejected: u64,
    rejects: Rejects,
    bar: ProgressBar,
}

/// How an attempt ended.
enum Ended {
    /// All lines have their result.
    Complete,
    /// The rest is to be sent again.
    Interrupted(String),
}

impl Push {
    /// Pushes it to its end, and says what became of its lines.
    pub(crate) async fn push(&self) -> Result<Pushed> {
        // The rejected lines of an earlier run are there until the file can be read.
        let mut source = self.open()?;
        let mut progress = Progress {
            answered: 0,
            results: BTreeMap::new(),
            rejected: 0,
            rejects: Rejects::new(&self.rejects, &self.file, &self.mapping)?,
            bar: progress_bar(),
        };
        let (mut attempts, mut pause) = (0, FIRST_PAUSE);
        loop {
            let before = progress.answered;
            let why = match self.attempt(source, &mut progress).await? {
                Ended::Complete => break,
                Ended::Interrupted(why) => why,
            };
            if progress.answered > before {
                (attempts, pause) = (0, FIRST_PAUSE);
            }
            attempts += 1;
            if attempts == MAX_ATTEMPTS {
                bail!(
                    "{} lines of {} have a result, and no further one came in {attempts} attempts: {why}",
                    progress.answered,
                    self.file.display()
                );
            }
            progress.bar.suspend(|| {
                tracing::warn!(lines = progress.answered, %why, "goes on behind the last result");
            });
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
            source = self.open()?;
        }
        progress.bar.finish_and_clear();
        progress.rejects.finish()?;
        self.report(&progress);
        Ok(Pushed { lines: progress.answered, rejected: progress.rejected })
    }

    fn report(&self, progress: &Progress) {
        let results: Vec<_> =
            progress.results.iter().map(|(result, count)| format!("{count} {result}")).collect();
        let results = if results.is_empty() { "nothing".to_owned() } else { results.join(", ") };
        say!("{}: {} lines: {results}", self.file.display(), progress.answered);
    }

    /// Opens the file at its beginning.
    fn open(&self) -> Result<Source> {
        let source = Source::open(&self.file, self.format, &self.mapping, self.orders());
        source.context(Unreadable)
    }

    /// Sends the lines that have no result yet, and takes their results.
    async fn attempt(&self, source: Source, progress: &mut Progress) -> Result<Ended> {
        let (frames, sent, reading) = read(source, progress.answered);
        let upload = match self.format {
            Format::Ndjson => Upload::ndjson(self.path),
            // What has columns or elements is sent as CSV.
            Format::Csv | Format::Xlsx | Format::Edi => Upload::csv(self.path),
        };
        let upload = Upload { is_gzip: self.is_gzip, ..upload };
        let ended = match self.client.upload(upload, body(frames, self.is_gzip)).await {
            Ok(results) => progress.take(results, sent).await,
            Err(error) => {
                drop(sent);
                interrupted(error).map(Ended::Interrupted)
            }
        };
        // What the file itself has wrong comes first: the connection only ended for it.
        match reading.await.context("read the file")? {
            Err(error) => match error.downcast::<Error>() {
                // An order that a line names could not be looked for.
                Ok(error) => interrupted(error).map(Ended::Interrupted),
                Err(error) => Err(error.context(Unreadable)),
            },
            Ok(()) => ended,
        }
    }

    /// The orders of the shop, by their references.
    fn orders(&self) -> Orders {
        let (client, runtime) = (self.client.clone(), Handle::current());
        Orders::new(Box::new(move |reference| {
            match runtime.block_on(client.order_by_reference(reference)) {
                Ok(order) => Ok(order.map(|order| order.id.to_string())),
                // What cannot be a reference is that of no order.
                Err(Error::Problem(problem)) if problem.status == 422 => Ok(None),
                Err(error) => Err(error.into()),
            }
        }))
    }
}

/// Reads a file in a thread of its own, from a line on. Yields what is to be sent, and the lines of which it
/// consists.
fn read(
    mut source: Source,
    skipped: u64,
) -> (mpsc::Receiver<io::Result<Bytes>>, Receiver<FileLine>, JoinHandle<Result<()>>) {
    let (frames, frames_out) = mpsc::channel(2);
    let (lines, lines_out) = sync_channel(MAX_LINES_IN_FLIGHT);
    let reading = tokio::task::spawn_blocking(move || {
        let mut frame = std::mem::take(&mut source.head);
        let flush =
            |frame: &mut Vec<u8>| frames.blocking_send(Ok(std::mem::take(frame).into())).is_ok();
        let mut number = 0;
        while let Some(mut line) = source.next().context("read the file")? {
            number += 1;
            if number <= skipped {
                continue;
            }
            let text = std::mem::take(&mut line.sent);
            // A line is known before it is sent, and thus before its result comes.
            if let Err(error) = lines.try_send(line) {
                let TrySendError::Full(line) = error else { return Ok(()) };
                // The results of those under way make room: for these, they must be sent.
                if !flush(&mut frame) || lines.send(line).is_err() {
                    return Ok(());
                }
            }
            frame.extend(text);
            if frame.len() >= FRAME_BYTES && !flush(&mut frame) {
                return Ok(());
            }
        }
        flush(&mut frame);
        Ok(())
    });
    (frames_out, lines_out, reading)
}

impl Progress {
    /// Takes the results of the lines that are sent.
    async fn take(
        &mut self,
        mut results: client::upload::Results,
        sent: Receiver<FileLine>,
    ) -> Result<Ended> {
        loop {
            let line = match results.next().await {
                Ok(Some(Answered::Line(line))) => line,
                Ok(Some(Answered::End(end))) if end.status == "complete" => {
                    return check_answered(&sent).map(|()| Ended::Complete);
                }
                Ok(Some(Answered::End(end))) => {
                    return Ok(Ended::Interrupted(end.detail.unwrap_or(end.status)));
                }
                Ok(None) => return Ok(Ended::Interrupted("the connection ended".to_owned())),
                Err(error) => return interrupted(error).map(Ended::Interrupted),
            };
            if line.is_pending() {
                return Ok(Ended::Interrupted(line.reason()));
            }
            let original = sent.try_recv().context("a result of a line that was not sent")?;
            if line.is_rejected() {
                self.rejected += 1;
                let reason = original.note.clone().unwrap_or_else(|| line.reason());
                let reason = match original.original {
                    // Their list has the segment beside the reason.
                    Original::Segment(_) => reason,
                    _ => format!("line {}: {reason}", original.number),
                };
                self.rejects.add(&original, &reason)?;
            }
            self.answered += 1;
            match self.results.get_mut(&line.result) {
                Some(count) => *count += 1,
                None => drop(self.results.insert(line.result, 1)),
            }
            self.bar.set_position(self.answered);
        }
    }
}

/// Says which line has no result where all of them should have one: the results are paired with the lines by
/// their order, so that some may have been booked to the wrong ones.
fn check_answered(sent: &Receiver<FileLine>) -> Result<()> {
    let Ok(line) = sent.try_recv() else { return Ok(()) };
    let without = 1 + sent.try_iter().count();
    bail!(
        "the upload is complete, but {without} lines have no result, and results may be those of other \
         lines: the first without one is line {}",
        line.number
    );
}

/// Why the rest is sent again; or the error, where that would not help.
fn interrupted(error: Error) -> Result<String> {
    let is_temporary = match error.problem() {
        None => matches!(error, Error::Unanswered(_)),
        Some(problem) => {
            matches!(problem.status, 429 | 502 | 503 | 504) || problem.code == "incomplete_body"
        }
    };
    if is_temporary {
        return Ok(format!("{:#}", anyhow::Error::from(error)));
    }
    Err(error.into())
}

type Body = Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send + Sync>>;

/// The body of a request: what is read of a file, compressed or not.
fn body(frames: mpsc::Receiver<io::Result<Bytes>>, is_gzip: bool) -> reqwest::Body {
    let frames =
        stream::unfold(frames, |mut frames| async move { Some((frames.recv().await?, frames)) });
    let body: Body = if is_gzip {
        let encoder = GzipEncoder::new(StreamReader::new(Box::pin(frames)));
        Box::pin(ReaderStream::with_capacity(encoder, FRAME_BYTES).map(framed))
    } else {
        Box::pin(frames.map(framed))
    };
    reqwest::Body::wrap(StreamBody::new(body))
}

fn framed(bytes: io::Result<Bytes>) -> io::Result<Frame<Bytes>> {
    bytes.map(Frame::data)
}

/// Shows on a terminal how many lines have their result.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{human_pos} lines, {per_sec}, {elapsed}");
    let bar = ProgressBar::new_spinner();
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests;
