//! What a service's log holds of one shop, read in parts. Each part says up to where it looked.
//!
//! | step | request | why |
//! |---|---|---|
//! | where the log ends | the leader's description of the stream | a part never says that it looked further |
//! | the next event | `STREAM.MSG.GET`, answered by the leader | a batch that is being stored is complete when it answers; and it alone can say that there is none |
//! | the events from there on | `DIRECT.GET`, a batch, answered by any replica | no consumer is created: a reader that waits costs the server nothing |
//!
//! A replica may lag, and messages to a client can be lost. So each message of a batch names the one
//! before it, what breaks that chain is not used, and that nothing follows is believed of the leader
//! alone.

use std::time::Duration;

use async_nats::{
    HeaderMap, StatusCode, Subscriber, header,
    jetstream::stream::{RawMessageErrorKind, Stream},
};
use bytes::Bytes;
use futures::StreamExt;
use protocol::id::Shop;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    Client, Error,
    jetstream::{log, retry::repeated, streams},
};

/// How long the end of a log, or a part of it, may take to be read.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the next message of a batch may take.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);
/// The server's status at the end of a batch.
const END_OF_BATCH: u16 = 204;

/// The end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    /// The position of its last event; 0 when it has none.
    pub last: u64,
    /// When the log was created, in milliseconds since 1970: another time is another log.
    pub created_ms: i64,
}

/// Events of a shop in the log of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPart {
    /// The events with their positions, in the order of the log, as they are there.
    pub events: Vec<(u64, Bytes)>,
    /// All events of the shop up to this position are among them, or before the part.
    pub to: u64,
}

/// How much of a log is read at once.
#[derive(Debug, Clone, Copy)]
pub struct PartLimits {
    /// The most events.
    pub events: usize,
    /// The bytes after which no more are read; one event is read whatever its size.
    pub bytes: usize,
}

impl Client {
    /// Where the log of a service ends that holds a shop, whatever shop its last event is of.
    pub async fn log_end(&self, service: &str, shop: &Shop) -> Result<LogEnd, Error> {
        self.stream_end(&streams::log(service, self.partition(shop))).await
    }

    /// Where a stream ends.
    pub(super) async fn stream_end(&self, stream: &str) -> Result<LogEnd, Error> {
        let info = timeout(READ_TIMEOUT, log::info(&self.0.context, stream)).await;
        let info = info.map_err(|_| timed_out("inspect", stream))??;
        Ok(LogEnd {
            last: info.state.last_sequence,
            created_ms: (info.created.unix_timestamp_nanos() / 1_000_000) as i64,
        })
    }

    /// Reads events of a shop from the log of a service: those after `after`, up to `end`, which must
    /// not be beyond the end of the log. When there are some, at least one is read.
    pub async fn log_part(
        &self,
        service: &str,
        shop: &Shop,
        (after, end): (u64, u64),
        limits: PartLimits,
    ) -> Result<LogPart, Error> {
        let partition = self.partition(shop);
        let log = streams::log(service, partition);
        let filter = format!("{service}.{partition}.{shop}.>");
        self.stream_part(&log, &filter, (after, end), limits).await
    }

    /// Reads messages of a stream whose subjects match a filter, as [`Client::log_part`] does.
    pub(super) async fn stream_part(
        &self,
        stream: &str,
        filter: &str,
        range: (u64, u64),
        limits: PartLimits,
    ) -> Result<LogPart, Error> {
        let reading = self.read_part(stream, filter, range, limits);
        timeout(READ_TIMEOUT, reading).await.map_err(|_| timed_out("read", stream))?
    }

    async fn read_part(
        &self,
        log: &str,
        filter: &str,
        (after, end): (u64, u64),
        limits: PartLimits,
    ) -> Result<LogPart, Error> {
        let stream = self.0.context.get_stream_no_info(log).await;
        let stream = stream.map_err(|error| Error::jetstream("find", log, error))?;
        let Some(first) = next_event(&stream, log, filter, (after, end)).await? else {
            return Ok(LogPart { events: Vec::new(), to: end });
        };
        let mut events = self.batch(log, filter, first.0, end, limits).await?;
        // The replica that answered may not have it yet.
        if events.first().is_none_or(|(sequence, _)| *sequence != first.0) {
            events = vec![first];
        }
        let bytes: usize = events.iter().map(|(_, payload)| payload.len()).sum();
        let to = events.last().map_or(after, |(sequence, _)| *sequence);
        if events.len() >= limits.events || bytes >= limits.bytes {
            return Ok(LogPart { events, to });
        }
        // Fewer than asked for: only the leader knows whether that is all.
        let follows = next_event(&stream, log, filter, (to, end)).await?;
        Ok(LogPart { events, to: if follows.is_some() { to } else { end } })
    }

    /// Reads a batch of events, from that at `first` on, as far as nothing is missing between them.
    async fn batch(
        &self,
        log: &str,
        filter: &str,
        first: u64,
        end: u64,
        limits: PartLimits,
    ) -> Result<Vec<(u64, Bytes)>, Error> {
        let failed = |error: &str| Error::jetstream("read a batch of", log, error.to_owned());
        let (nats, inbox) = (&self.0.nats, self.0.nats.new_inbox());
        let mut messages =
            nats.subscribe(inbox.clone()).await.map_err(|error| failed(&error.to_string()))?;
        let request = json!({"seq": first, "next_by_subj": filter, "batch": limits.events,
            "max_bytes": limits.bytes});
        let subject = format!("$JS.API.DIRECT.GET.{log}");
        let sent = nats.publish_with_reply(subject, inbox, request.to_string().into()).await;
        sent.map_err(|error| failed(&error.to_string()))?;
        let mut events: Vec<(u64, Bytes)> = Vec::new();
        while let Some((before, sequence, payload)) = next_of_batch(&mut messages).await {
            // The first names none.
            let is_next = before == events.last().map_or(0, |(last, _)| *last);
            if !is_next || sequence > end {
                break;
            }
            events.push((sequence, payload));
        }
        Ok(events)
    }
}

/// The first event behind `after` and up to `end`, as the leader has it.
async fn next_event(
    stream: &Stream<()>,
    log: &str,
    filter: &str,
    (after, end): (u64, u64),
) -> Result<Option<(u64, Bytes)>, Error> {
    if after >= end {
        return Ok(None);
    }
    match repeated(|| stream.get_first_raw_message_by_subject(filter, after + 1)).await {
        Ok(message) if message.sequence <= end => Ok(Some((message.sequence, message.payload))),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(Error::jetstream("read", log, error)),
    }
}

/// The next message of a batch, with the sequence of the one before it; `None` at the end of the batch,
/// or when no more comes.
async fn next_of_batch(messages: &mut Subscriber) -> Option<(u64, u64, Bytes)> {
    let message = timeout(MESSAGE_TIMEOUT, messages.next()).await.ok()??;
    if message.status.is_some_and(|status| status != StatusCode::OK) {
        let is_end = message.status.map(|status| status.as_u16()) == Some(END_OF_BATCH);
        if !is_end {
            tracing::debug!(status = ?message.status, "a batch was not read to its end");
        }
        return None;
    }
    let headers = message.headers.as_ref()?;
    let before = number(headers, header::NATS_LAST_SEQUENCE)?;
    Some((before, number(headers, header::NATS_SEQUENCE)?, message.payload))
}

fn number(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}

fn timed_out(action: &'static str, log: &str) -> Error {
    Error::jetstream(action, log, format!("no answer within {READ_TIMEOUT:?}"))
}
