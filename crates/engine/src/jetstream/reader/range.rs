//! Reading a part of a stream, in chunks: recovery, rebuild, verification.

use std::time::Duration;

use async_nats::jetstream::Context;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{Selection, StoredMessage, consumer::Report, cursor::Cursor};
use crate::Error;

/// Chunks that wait to be taken, beside the one that is being filled.
const MAX_QUEUED_CHUNKS: usize = 2;
/// Bytes after which a chunk is full, however few messages it has.
const MAX_CHUNK_BYTES: usize = 8 * 1024 * 1024;
/// How long nothing at all may be read before it is an error.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// A part of a stream that is being read.
pub(crate) struct Chunks {
    stream: String,
    queue: mpsc::Receiver<Result<Vec<StoredMessage>, Error>>,
    reading: Option<JoinHandle<()>>,
}

impl Chunks {
    /// Waits for the next chunk. `None` when a consumer has delivered or passed the end, and not
    /// before: what could not be read is an error, and the last thing that comes, also when the task
    /// that reads has ended early.
    pub(crate) async fn recv(&mut self) -> Option<Result<Vec<StoredMessage>, Error>> {
        if let Some(chunk) = self.queue.recv().await {
            return Some(chunk);
        }
        let ended = self.reading.take()?.await;
        ended.err().map(|error| Err(Error::jetstream("read all of", &self.stream, error)))
    }
}

/// Starts a task that reads all messages after `position` up to `end`, in chunks of up to `chunk`
/// messages.
pub(crate) fn read_range(
    context: Context,
    selection: Selection,
    position: u64,
    end: u64,
    service: &'static str,
    chunk: usize,
) -> Chunks {
    let (sender, queue) = mpsc::channel(MAX_QUEUED_CHUNKS);
    let stream = selection.stream.clone();
    let mut cursor = Cursor::new(context, selection, position, end, service);
    let reading = tokio::spawn(async move {
        if let Err(error) = read(&mut cursor, end, chunk, &sender).await {
            sender.send(Err(error)).await.ok();
        }
        cursor.close().await;
    });
    Chunks { stream, queue, reading: Some(reading) }
}

/// Reads messages after `position` up to `end`, until there are `max_messages`, or more than
/// `max_bytes`. Returns them, and up to where all were read.
pub(crate) async fn read_some(
    context: Context,
    selection: Selection,
    position: u64,
    end: u64,
    service: &'static str,
    (max_messages, max_bytes): (usize, usize),
) -> Result<(Vec<StoredMessage>, u64), Error> {
    let mut cursor = Cursor::new(context, selection, position, end, service);
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while cursor.position() < end && messages.len() < max_messages && bytes < max_bytes {
        if let Report::Message(message) = cursor.next().await?
            && message.sequence <= end
        {
            bytes += message.size();
            messages.push(message);
        }
    }
    let reached = cursor.position();
    cursor.close().await;
    Ok((messages, reached.min(end)))
}

/// Reads up to `end`, or until nobody listens.
async fn read(
    cursor: &mut Cursor,
    end: u64,
    max_messages: usize,
    queue: &mpsc::Sender<Result<Vec<StoredMessage>, Error>>,
) -> Result<(), Error> {
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    let mut progressed = Instant::now();
    while cursor.position() < end {
        let before = cursor.position();
        let Ok(report) = timeout_at(progressed + PROGRESS_TIMEOUT, cursor.next()).await else {
            let problem = format!(
                "nothing after {before} within {PROGRESS_TIMEOUT:?}, and it is to be read up to \
                 {end}: {}",
                cursor.cause()
            );
            return Err(Error::jetstream("read", cursor.stream(), problem));
        };
        if let Report::Message(message) = report?
            && message.sequence <= end
        {
            bytes += message.size();
            chunk.push(message);
        }
        let is_full = chunk.len() >= max_messages || bytes >= MAX_CHUNK_BYTES;
        if is_full || (!chunk.is_empty() && cursor.position() >= end) {
            bytes = 0;
            if queue.send(Ok(std::mem::take(&mut chunk))).await.is_err() {
                return Ok(());
            }
        }
        if cursor.position() > before {
            progressed = Instant::now();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_ends_early_does_not_pass_for_a_stream_that_has() {
        let (sender, queue) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let reading = tokio::spawn(async move {
            sender.send(Ok(Vec::new())).await.expect("somebody listens");
            panic!("it cannot go on");
        });
        let mut chunks = Chunks { stream: "S".to_owned(), queue, reading: Some(reading) };
        assert!(matches!(chunks.recv().await, Some(Ok(_))), "what was read is delivered");
        let ended = chunks.recv().await.expect("it has not read all");
        assert!(matches!(ended, Err(Error::JetStream { .. })), "{ended:?}");
        assert!(chunks.recv().await.is_none());
    }
}
