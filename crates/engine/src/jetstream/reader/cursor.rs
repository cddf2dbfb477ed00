//! A position in a stream that moves on, whatever happens to the consumers that read for it.

use std::time::Duration;

use async_nats::{
    datetime::DateTime,
    jetstream::{Context, context::ContextBuilder, stream::Info},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Selection,
    consumer::{Consumer, Interruption, Report},
};
use crate::{Error, error::describe, jetstream::log::last_sequence};

/// How long the server may take to create a consumer. Short: just after a server was killed, the
/// others still give consumers to it, and the next try draws another server.
const CREATE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long after [`MAX_SHORT_TRIES`] tries: the servers are slow, not gone.
const LONG_CREATE_TIMEOUT: Duration = Duration::from_secs(5);
/// Tries with the short timeout.
const MAX_SHORT_TRIES: u32 = 5;
/// How often a consumer is created, at most, to have one on another server.
const MAX_DRAWS: u32 = 4;
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a consumer may report nothing new although the stream holds more: its replica lags, and
/// another one may not.
const LAG_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the leader is asked for the end of a stream in which nothing moves; each time half as
/// often as before, down to [`MAX_LOOK_INTERVAL`].
const MIN_LOOK_INTERVAL: Duration = Duration::from_secs(5);
const MAX_LOOK_INTERVAL: Duration = Duration::from_mins(1);
/// How long a stream must be seen to end before the position until that is an error: a server that
/// no longer leads the stream may answer for it for a moment.
const BEYOND_END_TIMEOUT: Duration = Duration::from_secs(3);
/// How often it must have been seen in that time.
const MIN_BEYOND_END_TRIES: u32 = 3;

/// Reads a stream in order, without a gap.
#[derive(Debug)]
pub(super) struct Cursor {
    context: Context,
    selection: Selection,
    service: &'static str,
    /// The first sequence that was neither delivered nor passed.
    next: u64,
    consumer: Option<Consumer>,
    /// The server whose consumer brought nothing: another one may.
    avoided: Option<String>,
    /// When the stream was created, as the first consumer found it.
    created: Option<DateTime>,
    /// Interruptions since a consumer last reported.
    interruptions: u32,
    cause: String,
    /// The stream holds messages up to this sequence, as far as is known. It is what the reader
    /// should reach, never what it has reached.
    known_end: u64,
    /// When the position moved last, or a consumer was created since.
    moved: Instant,
    /// How long after that it is checked whether the replica lags.
    look_after: Duration,
    /// Since when the stream is seen to end before the position, and how often it was seen.
    beyond_end: Option<(Instant, u32)>,
}

impl Cursor {
    /// A cursor after `position`, in a stream that is known to hold messages up to `known_end`.
    pub(super) fn new(
        context: Context,
        selection: Selection,
        position: u64,
        known_end: u64,
        service: &'static str,
    ) -> Self {
        Self {
            context,
            selection,
            service,
            next: position + 1,
            consumer: None,
            avoided: None,
            created: None,
            interruptions: 0,
            cause: "nothing arrived".to_owned(),
            known_end,
            moved: Instant::now(),
            look_after: MIN_LOOK_INTERVAL,
            beyond_end: None,
        }
    }

    /// All up to this sequence was delivered, or is not for this reader.
    pub(super) fn position(&self) -> u64 {
        self.next - 1
    }

    pub(super) fn stream(&self) -> &str {
        &self.selection.stream
    }

    /// What interrupted the reading last.
    pub(super) fn cause(&self) -> &str {
        &self.cause
    }

    /// Waits for the next report; creates consumers as long as it takes. Fails only where no
    /// consumer can help: inputs are lost, or the position is beyond the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Report, Error> {
        loop {
            let Some(consumer) = &mut self.consumer else {
                match self.create().await {
                    Ok(consumer) => {
                        self.consumer = Some(consumer);
                        self.moved = Instant::now();
                        self.look_after = MIN_LOOK_INTERVAL;
                    }
                    Err(error) if is_final(&error) => return Err(error),
                    Err(error) => self.pause(describe(&error)).await,
                }
                continue;
            };
            match consumer.next().await {
                Ok(report) => {
                    if self.note(&report) || !self.lags().await {
                        return Ok(report);
                    }
                    self.interrupt(&Interruption::Lagging(LAG_TIMEOUT)).await;
                }
                Err(interruption) => self.interrupt(&interruption).await,
            }
        }
    }

    /// Gives the consumer up; the next one begins at the first message not seen.
    async fn interrupt(&mut self, interruption: &Interruption) {
        if let Interruption::Lagging(_) | Interruption::Silence(_) = interruption {
            let server = self.consumer.as_ref().and_then(Consumer::server);
            self.avoided = server.map(str::to_owned);
        }
        self.close().await;
        self.pause(describe(interruption)).await;
    }

    pub(super) async fn close(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            consumer.close().await;
        }
    }

    /// Takes note of a report; returns whether the position moves.
    fn note(&mut self, report: &Report) -> bool {
        let reached = match report {
            Report::Message(message) => message.sequence,
            Report::Passed(sequence) => *sequence,
        };
        let moves = reached >= self.next;
        if moves {
            self.next = reached + 1;
            self.moved = Instant::now();
            self.look_after = MIN_LOOK_INTERVAL;
        }
        if self.interruptions > 0 {
            tracing::info!(service = self.service, stream = self.stream(), "reads again");
            self.interruptions = 0;
        }
        moves
    }

    /// Whether the replica with the consumer lacks for long what the stream is known to hold. Asks
    /// the leader for the end, seldom, when nothing moves.
    async fn lags(&mut self) -> bool {
        if self.moved.elapsed() < self.look_after {
            return false;
        }
        if self.known_end > self.position() {
            return true;
        }
        let asked = timeout(CREATE_TIMEOUT, last_sequence(&self.context, self.stream())).await;
        if let Ok(Ok(end)) = asked {
            self.known_end = end;
        }
        let interval = (self.look_after * 2).min(MAX_LOOK_INTERVAL);
        let is_behind = self.known_end > self.position();
        self.look_after = self.moved.elapsed() + if is_behind { LAG_TIMEOUT } else { interval };
        false
    }

    /// Logs what happened, less and less often while it goes on, and waits a little.
    async fn pause(&mut self, cause: String) {
        self.interruptions += 1;
        self.cause = cause;
        if self.interruptions.is_power_of_two() {
            tracing::warn!(
                service = self.service,
                stream = self.selection.stream,
                position = self.position(),
                interruptions = self.interruptions,
                cause = self.cause,
                "reads anew"
            );
        }
        sleep(PAUSE).await;
    }

    /// Creates a consumer, if possible on another server than the one that is avoided. Where it is
    /// created, chance decides.
    async fn create(&mut self) -> Result<Consumer, Error> {
        for _ in 1..MAX_DRAWS {
            let consumer = self.create_anywhere().await?;
            if self.avoided.is_none() || consumer.server() != self.avoided.as_deref() {
                return Ok(consumer);
            }
            consumer.close().await;
        }
        self.create_anywhere().await
    }

    async fn create_anywhere(&mut self) -> Result<Consumer, Error> {
        let is_short = self.interruptions < MAX_SHORT_TRIES;
        let limit = if is_short { CREATE_TIMEOUT } else { LONG_CREATE_TIMEOUT };
        let context = ContextBuilder::new().timeout(limit).build(self.context.client());
        let created = Consumer::create(&context, &self.selection, self.next);
        let Ok(created) = timeout(limit, created).await else {
            let problem = format!("no answer within {limit:?}");
            return Err(Error::jetstream("create a consumer on", self.stream(), problem));
        };
        let (consumer, info) = created?;
        if let Err(error) = self.compare(&info).await {
            consumer.close().await;
            return Err(error);
        }
        Ok(consumer)
    }

    /// Compares the position with the stream, as its leader describes it.
    async fn compare(&mut self, info: &Info) -> Result<(), Error> {
        let state = &info.state;
        let (service, stream) = (self.service, self.selection.stream.clone());
        let (position, first, last) = (self.position(), state.first_sequence, state.last_sequence);
        if self.selection.starts_at_first && self.next == 1 && first > 1 {
            tracing::warn!(service, stream, first, "begins after what retention has deleted");
            self.next = first;
            return Ok(());
        }
        if self.next < first {
            return Err(Error::InputsLost { service, stream, position, first });
        }
        if position <= last {
            self.beyond_end = None;
            return self.compare_origin(info.created).await;
        }
        let (since, tries) = self.beyond_end.get_or_insert((Instant::now(), 0));
        *tries += 1;
        if *tries >= MIN_BEYOND_END_TRIES && since.elapsed() >= BEYOND_END_TIMEOUT {
            let is_replica = false;
            return Err(Error::PositionBeyondEnd { service, stream, position, last, is_replica });
        }
        let seen = format!("it ends at {last}, the position is {position}; looks again");
        Err(Error::jetstream("read on in", &stream, seen))
    }

    /// Compares the stream with the one in which the position was reached.
    async fn compare_origin(&mut self, created: DateTime) -> Result<(), Error> {
        let (service, position) = (self.service, self.position());
        let is_replaced = match (self.created, &self.selection.recorded) {
            _ if position == 0 => false,
            (Some(known), _) => known != created,
            (None, Some(recorded)) => recorded.is_older_than(&self.context, created).await?,
            (None, None) => false,
        };
        if is_replaced {
            let stream = self.selection.stream.clone();
            return Err(Error::StreamReplaced { service, stream, position, is_replica: false });
        }
        self.created = Some(created);
        Ok(())
    }
}

fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::InputsLost { .. } | Error::PositionBeyondEnd { .. } | Error::StreamReplaced { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use async_nats::jetstream::stream::Config;
    use testkit::{ConfiguredServer, TestServer, eventually};

    use super::*;

    /// What is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        /// The lines with that message.
        fn lines(&self, message: &str) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().expect("nobody panics with it").clone());
            let text = text.expect("it is a text");
            text.lines().filter(|line| line.contains(message)).map(str::to_owned).collect()
        }
    }

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics with it").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_interrupts_a_reader_is_logged_with_its_cause() {
        let server = TestServer::start().await;
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let context = server.jetstream().await;
        let mut cursor = Cursor::new(context, Selection::new("S", Vec::new()), 7, 0, "reader");
        let logged = async || !log.lines("reads anew").is_empty();
        tokio::select! {
            read = cursor.next() => panic!("there is no such stream: {read:?}"),
            () = eventually("it is logged", logged) => {}
        }
        let line = log.lines("reads anew").remove(0);
        for expected in [
            "WARN",
            "service=\"reader\" stream=\"S\" position=7 interruptions=1 cause=\"cannot ",
            "stream not found",
        ] {
            assert!(line.contains(expected), "{expected}: {line}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_goes_to_another_server_than_the_one_that_brought_nothing() {
        const CREATED: usize = 40;
        let servers = ConfiguredServer::cluster().await;
        let context = ConfiguredServer::jetstream(&servers).await;
        let config = Config {
            name: "S".to_owned(),
            subjects: vec!["s".to_owned()],
            num_replicas: 3,
            ..Default::default()
        };
        eventually("the stream is created", async || {
            context.create_stream(config.clone()).await.is_ok()
        })
        .await;
        let selection = Selection::new("S", Vec::new());
        let mut cursor = Cursor::new(context, selection, 0, 0, "reader");
        let mut avoided = None;
        eventually("there is a consumer", async || {
            let created = cursor.create().await.ok();
            avoided = created.and_then(|consumer| consumer.server().map(str::to_owned));
            avoided.is_some()
        })
        .await;
        cursor.avoided = avoided;
        let mut there = 0;
        for _ in 0..CREATED {
            let consumer = cursor.create().await.expect("it is created");
            there += usize::from(consumer.server() == cursor.avoided.as_deref());
            consumer.close().await;
        }
        // One of 81 draws each time; without the draws it would be one of three.
        assert!(there <= CREATED / 8, "{there} of {CREATED}");
    }
}
