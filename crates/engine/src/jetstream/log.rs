//! A service's own log: one stream, one writer, fenced by the last sequence it has seen.

use std::time::Duration;

use async_nats::jetstream::{Context, stream::RawMessageErrorKind};
use futures::future::join_all;
use prost::Message;
use protocol::{proto, subject::POSITIONS_HEADER, time::Timestamp};
use tokio::time::{Instant, sleep};

use crate::{
    Error,
    jetstream::publish::{Outgoing, PublishError, WRONG_LAST_SEQUENCE, publish, publish_within},
    jetstream::retry::jittered,
};

/// How long an append is tried while its outcome is unknown or the server is not ready: longer
/// than the election of a stream leader, which takes 4 to 9 s.
const APPEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the first try may take; each later one takes half a time longer, so that a server that
/// is only slow is not sent the same events again and again.
const FIRST_TRY_TIMEOUT: Duration = Duration::from_secs(1);
/// The most that one try may take.
const MAX_TRY_TIMEOUT: Duration = Duration::from_secs(2);
/// The first pause between two tries; each later one is twice as long.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause between two tries.
const MAX_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long a log may end without positions: a batch is stored message by message, and a look at
/// the stream can show its beginning.
const BATCH_TIMEOUT: Duration = Duration::from_secs(2);

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
    /// No answer means that nobody knows: then the same events are sent again after the same
    /// sequence, and when that is refused, the log itself is asked whether they are there. So they
    /// are never in the log twice.
    pub(crate) async fn append(
        &mut self,
        messages: &[Outgoing],
        lose_acknowledgement: bool,
    ) -> Result<(), Error> {
        let count = messages.len() as u64;
        let deadline = Instant::now() + APPEND_TIMEOUT;
        let (mut timeout, mut pause) = (FIRST_TRY_TIMEOUT, RETRY_PAUSE);
        let mut lose = lose_acknowledgement;
        loop {
            let client = self.context.client();
            let outcome =
                publish_within(&client, messages.to_vec(), Some(self.last), timeout).await;
            timeout = timeout.mul_f64(1.5).min(MAX_TRY_TIMEOUT);
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
            // Anything else says nothing of the earlier tries. Sent again, the events are stored or
            // refused for what is there already.
            if matches!(error, PublishError::Refused { code: WRONG_LAST_SEQUENCE, .. }) {
                match self.find(messages).await {
                    Ok(Found::Mine) => {
                        tracing::info!(stream = self.stream, "found the events in the log");
                        self.last += count;
                        return Ok(());
                    }
                    Ok(Found::SomebodyElses) => return Err(self.fenced()),
                    // An earlier try may be about to be stored.
                    Ok(Found::Nothing) if self.is_behind_log().await.unwrap_or(false) => {
                        return Err(self.fenced());
                    }
                    Ok(Found::Nothing) | Err(_) => {}
                }
            }
            if Instant::now() >= deadline {
                return Err(Error::jetstream("append to", &self.stream, error));
            }
            tracing::debug!(stream = self.stream, %error, "appends again");
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(MAX_RETRY_PAUSE);
        }
    }

    /// Appends messages that stand each for itself: all are on their way at the same time, each fenced
    /// by the one before it. A crash leaves the first of them in the log, and not the later ones.
    pub(crate) async fn append_each(&mut self, messages: &[Outgoing]) -> Result<(), Error> {
        let client = self.context.client();
        let first = self.last;
        let publishing = messages
            .iter()
            .zip(first..)
            .map(|(message, expected)| publish(&client, vec![message.clone()], Some(expected)));
        let outcomes = join_all(publishing).await;
        let stored = outcomes.iter().zip(first + 1..).take_while(|(outcome, sequence)| {
            outcome.as_ref().is_ok_and(|stored| stored.sequence == *sequence)
        });
        self.last += stored.count() as u64;
        let left = (self.last - first) as usize;
        for message in &messages[left..] {
            self.append(std::slice::from_ref(message), false).await?;
        }
        Ok(())
    }

    fn fenced(&self) -> Error {
        Error::Fenced { stream: self.stream.clone(), expected: self.last }
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
    Ok(inspect(context, stream).await?.0)
}

/// The end of a log: the last sequence, and when it was written; when nothing was, the time at
/// which the stream was made.
///
/// Never one in the middle of a batch: the last event of a batch carries the positions of the
/// inputs, and no recovery may go on without them. A log whose last message is not of the engine
/// ends there all the same, after a while in which no batch was completed.
pub(crate) async fn end(context: &Context, stream: &str) -> Result<(u64, Timestamp), Error> {
    let deadline = Instant::now() + BATCH_TIMEOUT;
    loop {
        let (last, written) = inspect(context, stream).await?;
        if last == 0 || ends_batch(context, stream, last).await? {
            return Ok((last, written));
        }
        if Instant::now() >= deadline {
            tracing::warn!(stream, last, "the last message of the log carries no positions");
            return Ok((last, written));
        }
        sleep(jittered(RETRY_PAUSE)).await;
    }
}

/// Whether the message carries positions. The server answers this only when no batch is being
/// stored, so the answer may be that of a log that has grown meanwhile.
async fn ends_batch(context: &Context, stream: &str, sequence: u64) -> Result<bool, Error> {
    let failed = |error: String| Error::jetstream("read the end of", stream, error);
    let found = context.get_stream_no_info(stream).await.map_err(|e| failed(e.to_string()))?;
    match found.get_raw_message(sequence).await {
        Ok(message) => Ok(message.headers.get(POSITIONS_HEADER).is_some()),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The last sequence of a stream, as its leader's summary has it, and when it was written.
async fn inspect(context: &Context, stream: &str) -> Result<(u64, Timestamp), Error> {
    let stream = context
        .get_stream(stream)
        .await
        .map_err(|error| Error::jetstream("inspect", stream, error))?;
    let info = stream.cached_info();
    let written = info.created.max(info.state.last_timestamp).unix_timestamp_nanos();
    Ok((info.state.last_sequence, Timestamp::from_millis((written / 1_000_000) as i64)))
}

fn event_id(payload: &[u8]) -> Option<String> {
    proto::Envelope::decode(payload).ok().map(|event| event.id)
}

#[cfg(test)]
mod tests {
    use async_nats::{HeaderMap, jetstream::stream::Config};
    use testkit::TestServer;
    use tokio::time::timeout;

    use super::*;

    const STREAM: &str = "LOG";

    async fn log(server: &TestServer) -> Context {
        let context = server.jetstream().await;
        let config = Config {
            name: STREAM.to_owned(),
            subjects: vec!["log.>".to_owned()],
            ..Default::default()
        };
        context.create_stream(config).await.expect("it is created");
        context
    }

    async fn write(context: &Context, positions: Option<&str>) {
        let mut headers = HeaderMap::new();
        if let Some(positions) = positions {
            headers.insert(POSITIONS_HEADER, positions);
        }
        let published = context.publish_with_headers("log.event", headers, "event".into()).await;
        published.expect("it is published").await.expect("it is stored");
    }

    #[tokio::test]
    async fn a_log_never_ends_in_the_middle_of_a_batch() {
        let server = TestServer::start().await;
        let context = log(&server).await;
        assert_eq!(end(&context, STREAM).await.expect("it is empty").0, 0);
        write(&context, Some("live=1")).await;
        assert_eq!(end(&context, STREAM).await.expect("it ends").0, 1);

        write(&context, None).await;
        let mut ending = std::pin::pin!(end(&context, STREAM));
        let early = timeout(BATCH_TIMEOUT / 8, &mut ending).await;
        assert!(early.is_err(), "it ended without positions: {early:?}");
        write(&context, Some("live=2")).await;
        assert_eq!(ending.await.expect("it ends").0, 3);
    }

    #[tokio::test]
    async fn a_log_whose_last_message_is_not_of_the_engine_ends_there() {
        let server = TestServer::start().await;
        let context = log(&server).await;
        write(&context, Some("live=1")).await;
        write(&context, None).await;
        assert_eq!(end(&context, STREAM).await.expect("it ends").0, 2);
    }
}
