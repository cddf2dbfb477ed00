//! A service's own log: one stream, one writer, fenced by the last sequence it has seen.

use std::time::Duration;

use async_nats::jetstream::{
    Context,
    stream::{Info, RawMessageErrorKind},
};
use prost::Message;
use protocol::{proto, subject::POSITIONS_HEADER, time::Timestamp};
use tokio::time::{Instant, sleep};

use crate::{
    Error,
    jetstream::monitor::Monitor,
    jetstream::publish::{
        Outgoing, PublishError, WRONG_LAST_SEQUENCE, is_storage_refusal, publish_within,
    },
    jetstream::retry::{jittered, repeated},
};

/// How long an append is tried while its outcome is unknown or the server is not ready: longer
/// than the election of a stream leader, which takes 4 to 9 s.
const APPEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an append is tried before the server's monitor is asked.
const MONITOR_DELAY: Duration = Duration::from_secs(3);
/// How long one try may take. A server that hangs keeps what was sent to it, and an append goes on
/// when it is sent again after the election: short. A server that is only slow refuses the same
/// events, and is asked for them then.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);
/// The first pause between two tries; each later one is twice as long.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause between two tries.
const MAX_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How often the end of a log is looked at whose worker appends nothing.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// How long a log may end in the middle of a batch: it is stored message by message, and a look at
/// the stream can show its beginning. A server whose disk stalls takes seconds.
const BATCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The writer's end of a log.
#[derive(Debug)]
pub(crate) struct Log {
    context: Context,
    stream: String,
    last: u64,
    monitor: Monitor,
}

/// What the log holds where an append of unknown outcome would be.
enum Found {
    Nothing,
    Mine,
    SomebodyElses,
}

impl Log {
    /// The log of a worker that has seen it up to `last`. The monitor is asked when the server
    /// acknowledges nothing.
    pub(crate) fn new(context: Context, stream: String, last: u64, monitor: Monitor) -> Self {
        Self { context, stream, last, monitor }
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
        let began = Instant::now();
        let mut pause = RETRY_PAUSE;
        let mut lose = lose_acknowledgement;
        loop {
            let client = self.context.client();
            let outcome =
                publish_within(&client, messages.to_vec(), Some(self.last), TRY_TIMEOUT).await;
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
            if let Some(error) = self.not_stored(&error, began.elapsed()).await {
                return Err(error);
            }
            if began.elapsed() >= APPEND_TIMEOUT {
                return Err(Error::jetstream("append to", &self.stream, error));
            }
            tracing::debug!(stream = self.stream, %error, "appends again");
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(MAX_RETRY_PAUSE);
        }
    }

    /// Whether the server does not store what it was sent for so long: as it says itself, or because
    /// it answers and acknowledges nothing.
    async fn not_stored(&self, error: &PublishError, tried: Duration) -> Option<Error> {
        let reason = match error {
            PublishError::Refused { code, .. } if is_storage_refusal(*code) => error.to_string(),
            _ if tried < MONITOR_DELAY => return None,
            _ => match self.monitor.store_failure().await {
                Some(failure) => failure,
                None if tried < APPEND_TIMEOUT => return None,
                None => {
                    inspect(&self.context, &self.stream).await.ok()?;
                    format!(
                        "it answers, and has acknowledged nothing for {APPEND_TIMEOUT:?} ({error})"
                    )
                }
            },
        };
        Some(Error::NotStored { stream: self.stream.clone(), reason })
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
        match repeated(|| stream.get_raw_message(self.last + 1)).await {
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

/// Watches a log whose worker has appended up to `appended`. Ends when the log ends elsewhere though
/// the worker has appended nothing for a while: somebody else has written it, or it was lost, and
/// the worker, which has nothing to append, would not notice.
pub(crate) async fn watch_end(
    context: &Context,
    stream: &str,
    appended: impl Fn() -> u64,
) -> Error {
    // What the worker had appended when the log was last seen to end elsewhere.
    let mut before = None;
    loop {
        sleep(jittered(WATCH_INTERVAL)).await;
        let expected = appended();
        let end = last_sequence(context, stream).await.ok();
        // While it appends, it notices by itself.
        let differs = end.is_some_and(|end| end != expected) && appended() == expected;
        // The first time it may be an append whose acknowledgement is on its way, or the answer of
        // a server that no longer leads the stream.
        if differs && before == Some(expected) {
            return Error::Fenced { stream: stream.to_owned(), expected };
        }
        before = differs.then_some(expected);
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
/// inputs, and no recovery may go on without them. An error when none is completed for a while. A log
/// whose last message is not of the engine ends there: nothing follows from that one.
pub(crate) async fn end(context: &Context, stream: &str) -> Result<(u64, Timestamp), Error> {
    let deadline = Instant::now() + BATCH_TIMEOUT;
    loop {
        let (last, written) = inspect(context, stream).await?;
        if last == 0 || ends_batch(context, stream, last).await? {
            return Ok((last, written));
        }
        if Instant::now() >= deadline {
            let problem = format!(
                "{last} is in the middle of a batch, and nothing has followed for {BATCH_TIMEOUT:?}"
            );
            return Err(Error::jetstream("find the end of", stream, problem));
        }
        sleep(jittered(RETRY_PAUSE)).await;
    }
}

/// Whether a log may end with the message: it carries positions, or is not of the engine, which gives
/// each event its place in the log. The server answers this only when no batch is being stored, so the
/// answer may be that of a log that has grown meanwhile.
async fn ends_batch(context: &Context, stream: &str, sequence: u64) -> Result<bool, Error> {
    let failed = |error: String| Error::jetstream("read the end of", stream, error);
    let found = context.get_stream_no_info(stream).await.map_err(|e| failed(e.to_string()))?;
    match repeated(|| found.get_raw_message(sequence)).await {
        Ok(message) => {
            let position = proto::Envelope::decode(message.payload).map(|event| event.position);
            let is_of_engine = position == Ok(sequence);
            Ok(message.headers.get(POSITIONS_HEADER).is_some() || !is_of_engine)
        }
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A stream, as its leader describes it.
pub(crate) async fn info(context: &Context, stream: &str) -> Result<Info, Error> {
    let found = repeated(|| context.get_stream(stream)).await;
    let found = found.map_err(|error| Error::jetstream("inspect", stream, error))?;
    Ok(found.cached_info().clone())
}

/// The last sequence of a stream, as its leader's summary has it, and when it was written.
async fn inspect(context: &Context, stream: &str) -> Result<(u64, Timestamp), Error> {
    let info = info(context, stream).await?;
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
    use crate::error::describe;

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

    async fn write(context: &Context, payload: Vec<u8>, positions: Option<&str>) {
        let mut headers = HeaderMap::new();
        if let Some(positions) = positions {
            headers.insert(POSITIONS_HEADER, positions);
        }
        let published = context.publish_with_headers("log.event", headers, payload.into()).await;
        published.expect("it is published").await.expect("it is stored");
    }

    /// An event of the engine, as it is at that sequence.
    fn event(position: u64) -> Vec<u8> {
        proto::Envelope { position, ..Default::default() }.encode_to_vec()
    }

    #[tokio::test]
    async fn a_log_never_ends_in_the_middle_of_a_batch() {
        let server = TestServer::start().await;
        let context = log(&server).await;
        assert_eq!(end(&context, STREAM).await.expect("it is empty").0, 0);
        write(&context, event(1), Some("live=1")).await;
        assert_eq!(end(&context, STREAM).await.expect("it ends").0, 1);

        // The store of a server may stall for long in the middle of a batch.
        write(&context, event(2), None).await;
        let failed = end(&context, STREAM).await.expect_err("the batch is not complete");
        assert!(describe(&failed).contains("2 is in the middle of a batch"), "{failed:?}");

        let mut ending = std::pin::pin!(end(&context, STREAM));
        let early = timeout(BATCH_TIMEOUT / 10, &mut ending).await;
        assert!(early.is_err(), "it ended without positions: {early:?}");
        write(&context, event(3), Some("live=2")).await;
        assert_eq!(ending.await.expect("it ends").0, 3);
    }

    #[tokio::test]
    async fn a_log_may_end_with_a_message_that_is_not_of_the_engine() {
        let server = TestServer::start().await;
        let context = log(&server).await;
        // Bytes that are no event, and a copy of an event.
        for (payload, sequence) in [(b"event".to_vec(), 1), (event(1), 2)] {
            write(&context, payload, None).await;
            assert_eq!(end(&context, STREAM).await.expect("it ends").0, sequence);
        }
    }

    #[tokio::test]
    async fn a_server_that_answers_and_acknowledges_nothing_does_not_store() {
        let server = TestServer::start().await;
        let context = log(&server).await;
        let silence = PublishError::Unknown("timed out".into());
        let full = PublishError::Refused { code: 10_023, description: "full".to_owned() };
        let log = |stream: &str| {
            Log::new(
                context.clone(),
                stream.to_owned(),
                0,
                Monitor::new(Some(&server.monitor_url())),
            )
        };
        assert!(log(STREAM).not_stored(&silence, APPEND_TIMEOUT / 2).await.is_none());
        let error = log(STREAM).not_stored(&silence, APPEND_TIMEOUT).await;
        assert!(matches!(error, Some(Error::NotStored { .. })), "{error:?}");
        let error = log(STREAM).not_stored(&full, Duration::ZERO).await.expect("it is one");
        assert!(error.to_string().contains("full (10023)"), "{error}");
        // Without an answer, it may be an election.
        assert!(log("OTHER").not_stored(&silence, APPEND_TIMEOUT).await.is_none());
    }
}
