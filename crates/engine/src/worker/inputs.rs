//! Inputs: what a worker decides on, from wherever it came, and which of it comes next.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::jetstream;
use events::{
    id::{CommandId, Shop},
    proto,
    subject::Lane,
};
use prost::Message;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    Cause, Context, Error, Local, Service, Source, WireError,
    error::describe,
    jetstream::reader::{Arrived, Fed, Selection, follow},
    jetstream::streams,
    projection::fold::cause_kind,
    projection::positions::Positions,
};

/// Inputs in one batch.
const MAX_INPUTS: usize = 500;
/// Of those, how many commands go before the steps of sagas that are under way, so that neither
/// can starve the other.
const MAX_LIVE_FIRST: usize = 250;
/// Lines in one batch (a bulk command carries many): what the events of a batch, and so the wait
/// of a checkout behind it, are bounded by.
const MAX_WEIGHT: usize = 1000;
/// Outcomes of operations that wait for the worker; the operations pause beyond that.
const MAX_WITHIN: usize = 1000;
/// How soon after a batch began the next one begins when no command waits: steps of sagas that come
/// one by one then share a batch. A batch takes the server some milliseconds however small it is,
/// and as long as everybody's small ones queue there, the commands behind them wait.
const PACE: Duration = Duration::from_millis(5);
/// How long a command waits for a position in the catalogue before it is handled all the same.
const AFTER_PATIENCE: Duration = Duration::from_secs(5);

/// Where an input came from when it came from no stream.
pub(crate) const WITHIN: &str = "within";

/// An input with all that the engine knows of it.
pub(crate) struct Input<S: Service> {
    /// The source, as positions name it.
    pub(crate) source: &'static str,
    /// Its sequence there; 0 when it came from within.
    pub(crate) sequence: u64,
    pub(crate) shop: Shop,
    pub(crate) aggregate: String,
    pub(crate) cause: Cause,
    pub(crate) context: Context,
    /// Present when it is a command: its sender wants an answer.
    pub(crate) command: Option<Command>,
    pub(crate) content: Content<S>,
    /// The message as it came, for parking.
    pub(crate) subject: String,
    pub(crate) payload: bytes::Bytes,
    /// Present when an operator redrives it: the id of the parked event.
    pub(crate) redriven: Option<Redriven>,
}

/// A parked input that is handled again.
pub(crate) struct Redriven {
    pub(crate) parked_id: String,
    /// The bytes as the operator edited them; empty when left as they came.
    pub(crate) edited: Vec<u8>,
}

/// What the engine knows of a command.
pub(crate) struct Command {
    pub(crate) id: String,
    pub(crate) fingerprint: String,
    pub(crate) reply: Option<String>,
}

/// What an input says.
pub(crate) enum Content<S: Service> {
    /// To be decided on.
    Decide(S::Input),
    /// To be taken into a copy.
    Copy(S::Input),
    /// Not to be read, for that reason.
    Unreadable(String),
    /// Came from within and was parked: what it was about is to be taken up again.
    Resume,
}

/// The inputs of a worker.
pub(crate) struct Inputs<S: Service> {
    streams: Vec<Stream<S>>,
    within: mpsc::Receiver<Local<S::Input>>,
    wake: Arc<Notify>,
    blocked_since: Option<Instant>,
    /// When the last batch began.
    began: Instant,
}

/// Where inputs from within are handed in.
pub(crate) struct Within<S: Service> {
    queue: mpsc::Sender<Local<S::Input>>,
    wake: Arc<Notify>,
}

impl<S: Service> Clone for Within<S> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), wake: self.wake.clone() }
    }
}

impl<S: Service> Within<S> {
    /// Hands in an input; waits while too many are waiting.
    pub(crate) async fn send(&self, local: Local<S::Input>) {
        self.queue.send(local).await.ok();
        self.wake.notify_one();
    }
}

struct Stream<S: Service> {
    source: &'static str,
    rank: Rank,
    /// For another service's log: the events of it that matter.
    wanted: Option<&'static Source>,
    queue: mpsc::Receiver<Fed>,
    /// Taken from the queue and left for the next batch.
    next: Option<Fed>,
    _service: std::marker::PhantomData<fn() -> S>,
}

/// What comes first in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    Copy,
    Live,
    Saga,
    Bulk,
}

/// What a worker does next.
pub(crate) struct Batch<S: Service> {
    pub(crate) inputs: VecDeque<Input<S>>,
    /// Sources that have nothing up to a sequence.
    pub(crate) idle: Vec<(&'static str, u64)>,
    weight: usize,
    /// Whether a command waits for a position in the catalogue.
    blocked: bool,
}

/// The subjects of a source. A copy reads all of the other log, so that its position tells how much
/// of it is in: a command can wait for that.
pub(crate) fn filters(source: &Source, partition: u32) -> Vec<String> {
    let service = source.service;
    if source.copy {
        return vec![format!("{service}.{partition}.>")];
    }
    source.events.iter().map(|event| format!("{service}.{partition}.*.{event}")).collect()
}

/// Whether a message of a log is one of those that its reader wants.
pub(crate) fn is_wanted(source: &Source, subject: &str) -> bool {
    subject.rsplit('.').next().is_some_and(|event| source.events.contains(&event))
}

impl<S: Service> Inputs<S> {
    /// Opens all inputs of a worker at its positions.
    pub(crate) fn open(
        context: &jetstream::Context,
        partition: u32,
        positions: &Positions,
        shutdown: &CancellationToken,
    ) -> (Self, Within<S>) {
        let wake = Arc::new(Notify::new());
        let (queue, within) = mpsc::channel(MAX_WITHIN);
        let start = |source: &'static str, rank, wanted, selection| Stream {
            source,
            rank,
            wanted,
            queue: follow(
                context.clone(),
                selection,
                positions.get(source),
                S::NAME,
                wake.clone(),
                shutdown.clone(),
            ),
            next: None,
            _service: std::marker::PhantomData,
        };
        let lane = |lane: Lane| Selection {
            stream: streams::inbox(partition),
            filters: vec![format!("inbox.{partition}.{}.{}.>", lane.as_str(), S::NAME)],
            forgets: true,
        };
        let mut streams = vec![start("inbox.live", Rank::Live, None, lane(Lane::Live))];
        for source in S::SOURCES {
            let rank = if source.copy { Rank::Copy } else { Rank::Saga };
            let stream = streams::log(source.service, partition);
            let filters = filters(source, partition);
            let selection = Selection { stream, filters, forgets: false };
            streams.push(start(source.service, rank, Some(source), selection));
        }
        streams.push(start("inbox.bulk", Rank::Bulk, None, lane(Lane::Bulk)));
        let began = Instant::now();
        let inputs = Self { streams, within, wake: wake.clone(), blocked_since: None, began };
        (inputs, Within { queue, wake })
    }

    /// Waits until something is there; yields all of it that fits into one batch: copies first,
    /// then what is live, the steps of sagas, and what is left of the batch for bulk.
    pub(crate) async fn next(&mut self, positions: &Positions) -> Result<Batch<S>, Error> {
        loop {
            let rest = PACE.saturating_sub(self.began.elapsed());
            if !rest.is_zero() && !self.has_command() {
                tokio::time::timeout(rest, self.wake.notified()).await.ok();
                continue;
            }
            let batch = self.take(positions)?;
            if !batch.inputs.is_empty() || !batch.idle.is_empty() {
                self.began = Instant::now();
                return Ok(batch);
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(AFTER_PATIENCE), if self.blocked_since.is_some() => {}
            }
        }
    }

    /// Whether somebody who sent a command waits.
    fn has_command(&self) -> bool {
        let mut inbox = self.streams.iter().filter(|s| matches!(s.rank, Rank::Live | Rank::Bulk));
        inbox.any(|stream| stream.next.is_some() || !stream.queue.is_empty())
    }

    fn take(&mut self, positions: &Positions) -> Result<Batch<S>, Error> {
        let mut batch = Batch::empty();
        let mut seen = positions.clone();
        self.take_ranked(Rank::Copy, MAX_INPUTS, &mut batch, &mut seen)?;
        self.take_ranked(Rank::Live, MAX_LIVE_FIRST, &mut batch, &mut seen)?;
        while batch.has_room(MAX_INPUTS)
            && let Ok(local) = self.within.try_recv()
        {
            batch.push(Input::from_within(local));
        }
        self.take_ranked(Rank::Saga, MAX_INPUTS, &mut batch, &mut seen)?;
        self.take_ranked(Rank::Live, MAX_INPUTS, &mut batch, &mut seen)?;
        self.take_ranked(Rank::Bulk, MAX_INPUTS, &mut batch, &mut seen)?;
        self.blocked_since =
            if batch.blocked { self.blocked_since.or_else(|| Some(Instant::now())) } else { None };
        Ok(batch)
    }

    fn take_ranked(
        &mut self,
        rank: Rank,
        limit: usize,
        batch: &mut Batch<S>,
        seen: &mut Positions,
    ) -> Result<(), Error> {
        for stream in self.streams.iter_mut().filter(|stream| stream.rank == rank) {
            // An import always gets on, by one command a batch at least.
            let mut first = rank == Rank::Bulk;
            while batch.has_room(limit) || first {
                let Some(fed) = stream.next.take().or_else(|| stream.queue.try_recv().ok()) else {
                    break;
                };
                match fed {
                    Fed::Failed(error) => return Err(error),
                    Fed::Idle(sequence) => batch.idle.push((stream.source, sequence)),
                    Fed::Message(message) => {
                        let waits = message.after > seen.get("catalog")
                            && S::SOURCES.iter().any(|s| s.copy && s.service == "catalog");
                        let patient =
                            self.blocked_since.is_none_or(|since| since.elapsed() < AFTER_PATIENCE);
                        if waits && patient {
                            batch.blocked = true;
                            stream.next = Some(Fed::Message(message));
                            break;
                        }
                        seen.advance(stream.source, message.sequence);
                        if stream.wanted.is_some_and(|s| !is_wanted(s, &message.subject)) {
                            batch.idle.push((stream.source, message.sequence));
                            continue;
                        }
                        batch.push(Input::read(stream.source, rank == Rank::Copy, message));
                        first = false;
                    }
                }
            }
        }
        Ok(())
    }
}

impl<S: Service> Batch<S> {
    pub(crate) fn empty() -> Self {
        Self { inputs: VecDeque::new(), idle: Vec::new(), weight: 0, blocked: false }
    }

    fn has_room(&self, limit: usize) -> bool {
        self.inputs.len() < limit && self.weight < MAX_WEIGHT
    }

    pub(crate) fn push(&mut self, input: Input<S>) {
        self.weight += match &input.content {
            Content::Decide(input) | Content::Copy(input) => S::weight(input),
            Content::Unreadable(_) | Content::Resume => 1,
        };
        self.inputs.push_back(input);
    }
}

impl<S: Service> Input<S> {
    /// Reads a message. One that cannot be read is an input, too: it will be parked.
    pub(crate) fn read(source: &'static str, copy: bool, message: Arrived) -> Self {
        let is_command = message.subject.starts_with("inbox.");
        let token = message.subject.split('.').nth(if is_command { 4 } else { 2 });
        let shop = token.and_then(|token| Shop::parse(token).ok());
        let mut input = Self {
            source,
            sequence: message.sequence,
            shop: shop.clone().unwrap_or_else(Shop::unknown),
            aggregate: message.aggregate.unwrap_or_default(),
            cause: Cause { id: String::new(), kind: cause_kind(&message.subject) },
            context: Context::default(),
            command: None,
            content: Content::Unreadable("the subject names no shop".to_owned()),
            subject: message.subject,
            payload: message.payload,
            redriven: None,
        };
        if shop.is_some() {
            let read =
                if is_command { input.read_command(message.reply) } else { input.read_event(copy) };
            if let Err(error) = read {
                input.content = Content::Unreadable(describe(&error));
            }
        }
        if input.aggregate.is_empty() {
            input.aggregate = format!("{source}-{}", input.sequence);
        }
        input
    }

    fn read_command(&mut self, reply: Option<String>) -> Result<(), WireError> {
        let command = proto::Command::decode(self.payload.clone())?;
        CommandId::parse(&command.id)?;
        self.cause.id.clone_from(&command.id);
        self.context = Context {
            correlation_id: command.id.clone(),
            traceparent: command.traceparent.clone(),
        };
        self.command = Some(Command {
            id: command.id.clone(),
            fingerprint: command.fingerprint.clone(),
            reply,
        });
        self.content = Content::Decide(S::command(command)?);
        Ok(())
    }

    fn read_event(&mut self, copy: bool) -> Result<(), WireError> {
        let event = proto::Event::decode(self.payload.clone())?;
        self.cause.id.clone_from(&event.id);
        self.context = Context {
            correlation_id: event.correlation_id.clone(),
            traceparent: event.traceparent.clone(),
        };
        let input = S::foreign(event)?;
        self.content = if copy { Content::Copy(input) } else { Content::Decide(input) };
        Ok(())
    }

    pub(crate) fn from_within(local: Local<S::Input>) -> Self {
        Self {
            source: WITHIN,
            sequence: 0,
            shop: local.shop,
            aggregate: local.aggregate,
            subject: local.cause.kind.clone(),
            cause: local.cause,
            context: local.context,
            command: None,
            content: Content::Decide(local.input),
            payload: bytes::Bytes::new(),
            redriven: None,
        }
    }
}
