//! A service's own log: one stream, one writer, fenced by the last sequence it has seen.

use std::time::Duration;

use async_nats::jetstream::{Context, stream::RawMessageErrorKind};
use events::{proto, time::Timestamp};
use prost::Message;
use tokio::time::{Instant, sleep};

use crate::{
    Error,
    jetstream::publish::{Outgoing, PublishError, WRONG_LAST_SEQUENCE, publish},
};

/// How long an append is tried while its outcome is unknown or the server is not ready: longer
/// than the election of a stream leader, which takes 4 to 9 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The writer's end of a log.
#[derive(Debug)]
pub(crate) struct Log {
    context: Context,
    stream: String,
    last: u64,
}

/// What the log holds where an append of unknown outcome would be.
enum Found {
    Nothing,
    Mine,
    SomebodyElses,
}

impl Log {
    /// The log of a worker that has seen it up to `last`.
    pub(crate) fn new(context: Context, stream: String, last: u64) -> Self {
        Self { context, stream, last }
    }

    /// The last sequence that this worker has seen.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Appends events, all of them right after what this worker has seen, or none.
    ///
    /// No answer means that nobody knows: then the log itself is asked, and the same events are
    /// sent again after the same sequence. So they are never in the log twice.
    pub(crate) async fn append(
        &mut self,
        messages: &[Outgoing],
        lose_acknowledgement: bool,
    ) -> Result<(), Error> {
        let count = messages.len() as u64;
        let deadline = Instant::now() + PATIENCE;
        let mut lose = lose_acknowledgement;
        loop {
            let outcome = publish(&self.context.client(), messages.to_vec(), Some(self.last)).await;
            let outcome = match outcome {
                Ok(_) if std::mem::take(&mut lose) => {
                    Err(PublishError::Unknown("the acknowledgement was lost by a test".into()))
                }
                other => other,
            };
            let error = match outcome {
                Ok(stored) if stored.sequence == self.last + count => {
                    self.last = stored.sequence;
                    return Ok(());
                }
                Ok(stored) => {
                    return Err(Error::jetstream(
                        "append to",
                        &self.stream,
                        format!("stored at {}, expected {}", stored.sequence, self.last + count),
                    ));
                }
                Err(error) => error,
            };
            let fenced =
                matches!(error, PublishError::Refused { code, .. } if code == WRONG_LAST_SEQUENCE);
            match self.find(messages).await {
                Ok(Found::Mine) => {
                    tracing::warn!(stream = self.stream, %error, "found the events in the log");
                    self.last += count;
                    return Ok(());
                }
                Ok(Found::SomebodyElses) => {
                    return Err(Error::Fenced { stream: self.stream.clone(), expected: self.last });
                }
                Ok(Found::Nothing) if fenced && self.is_behind_log().await? => {
                    return Err(Error::Fenced { stream: self.stream.clone(), expected: self.last });
                }
                Ok(Found::Nothing) | Err(_) if Instant::now() < deadline => sleep(PAUSE).await,
                Ok(Found::Nothing) => {
                    return Err(Error::jetstream("append to", &self.stream, error));
                }
                Err(unreachable) => return Err(unreachable),
            }
        }
    }

    /// Looks whether the log holds these events right after what this worker has seen.
    async fn find(&self, messages: &[Outgoing]) -> Result<Found, Error> {
        let stream = self
            .context
            .get_stream_no_info(&self.stream)
            .await
            .map_err(|e| Error::jetstream("find", &self.stream, e))?;
        match stream.get_raw_message(self.last + 1).await {
            Ok(message) => {
                let mine = messages.first().and_then(|first| event_id(&first.payload));
                let found = event_id(&message.payload);
                Ok(if mine.is_some() && mine == found { Found::Mine } else { Found::SomebodyElses })
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(Found::Nothing),
            Err(error) => Err(Error::jetstream("read back", &self.stream, error)),
        }
    }

    /// Whether this worker believes in events that the log does not hold, or lacks some.
    async fn is_behind_log(&self) -> Result<bool, Error> {
        Ok(last_sequence(&self.context, &self.stream).await? != self.last)
    }
}

/// The last sequence of a stream.
pub(crate) async fn last_sequence(context: &Context, stream: &str) -> Result<u64, Error> {
    Ok(end(context, stream).await?.0)
}

/// The last sequence of a stream, and when it was written; when nothing was, the time at which the
/// stream was made.
pub(crate) async fn end(context: &Context, stream: &str) -> Result<(u64, Timestamp), Error> {
    let stream = context
        .get_stream(stream)
        .await
        .map_err(|error| Error::jetstream("inspect", stream, error))?;
    let info = stream.cached_info();
    let written = info.created.max(info.state.last_timestamp).unix_timestamp_nanos();
    Ok((info.state.last_sequence, Timestamp::from_millis((written / 1_000_000) as i64)))
}

fn event_id(payload: &[u8]) -> Option<String> {
    proto::Event::decode(payload).ok().map(|event| event.id)
}
