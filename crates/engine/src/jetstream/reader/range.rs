//! Reading a part of a stream, in chunks: recovery, rebuild, verification.

use std::time::Duration;

use async_nats::jetstream::Context;
use tokio::{
    sync::mpsc,
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

/// Starts a task that reads all messages after `position` up to `end`, in chunks of up to `chunk`
/// messages. The queue closes when a consumer has delivered or passed `end`, and not before: what
/// could not be read is an error, and the last thing in the queue.
pub(crate) fn read_range(
    context: Context,
    selection: Selection,
    position: u64,
    end: u64,
    service: &'static str,
    chunk: usize,
) -> mpsc::Receiver<Result<Vec<StoredMessage>, Error>> {
    let (queue, chunks) = mpsc::channel(MAX_QUEUED_CHUNKS);
    let mut cursor = Cursor::new(context, selection, position, end, service);
    tokio::spawn(async move {
        if let Err(error) = read(&mut cursor, end, chunk, &queue).await {
            queue.send(Err(error)).await.ok();
        }
        cursor.close().await;
    });
    chunks
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
