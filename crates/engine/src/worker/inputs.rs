//! Inputs: what a worker decides on, from wherever it came, and which of it comes next.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_nats::jetstream;
use prost::Message;
use protocol::{
    id::{CommandId, Shop, hex},
    proto,
    subject::Lane,
};
use sha2::{Digest, Sha256};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Cause, Context, Error, InternalInput, Service, Source, WireError,
    error::describe,
    jetstream::{
        reader::{Deliveries, Delivery, Selection, StoredMessage, follow},
        streams,
    },
    projection::{
        fold::panic_text,
        positions::{Positions, parse_header},
    },
    service::{
        MAX_KEY_BYTES,
        envelope::{self, ForeignEvent},
    },
};

/// Inputs in one batch.
pub(crate) const MAX_INPUTS: usize = 500;
/// Lines in one batch that new commands may bring (a bulk command carries many): what follows from a
/// batch, and so the wait of what is behind it, is bounded by it.
const MAX_NEW_WEIGHT: usize = 1000;
/// Of a batch, the most that replicas may take, so that a long log of another service does not hold up the rest.
const MAX_REPLICA_INPUTS: usize = 200;
/// Of a batch, the most that new commands may take while steps of sagas wait: what has begun goes on
/// when more commands come than can be handled.
const MAX_LIVE_INPUTS: usize = 200;
/// Inputs that came from no stream and wait; operations pause beyond that.
pub(crate) const MAX_INTERNAL: usize = 1000;
/// How long a command waits for a replica before it is handled all the same.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(5);

/// The source of an input that came from no stream.
pub(crate) const INTERNAL: &str = "internal";

/// An input with all that the engine knows of it.
pub(crate) struct Input<S: Service> {
    /// The source, as positions name it.
    pub(crate) source: &'static str,
    /// Its sequence there; 0 when it came from no stream.
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
    /// Present when an operator redrives it.
    pub(crate) redriven: Option<Redriven>,
}

/// A parked input that is handled again.
pub(crate) struct Redriven {
    /// The id of the parked event.
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
    /// To be decided on, or to be taken into a replica.
    Decide(S::Input),
    /// Not to be read, for that reason.
    Unreadable(String),
    /// Came from no stream and was parked: what it was about is to be taken up again.
    Resume,
}

/// The inputs of a worker.
pub(crate) struct Inputs<S: Service> {
    streams: Vec<InputStream>,
    /// Deadlines that have passed and outcomes of operations.
    internal: VecDeque<InternalInput<S::Input>>,
    wake: Arc<Notify>,
    waits_for_replica_since: Option<Instant>,
}

/// A stream as an input.
struct InputStream {
    source: &'static str,
    rank: Rank,
    /// For another service's log: the events of it that matter.
    wanted: Option<&'static Source>,
    queue: Deliveries,
    /// Taken from the queue and left for the next batch.
    next: Option<Delivery>,
}

impl InputStream {
    fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.next.is_some())
    }
}

/// What comes first in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    Replica,
    Live,
    Saga,
    Bulk,
}

/// What a worker handles next.
pub(crate) struct Batch<S: Service> {
    pub(crate) inputs: VecDeque<Input<S>>,
    /// Sources that have nothing up to a sequence.
    pub(crate) progress: Vec<(&'static str, u64)>,
    new_weight: usize,
    waits_for_replica: bool,
}

/// The subjects of a source. A replica reads all of the other log, so that its position says how
/// much of it is in: a command can wait for that.
pub(crate) fn filters(source: &Source, partition: u32) -> Vec<String> {
    let service = source.service;
    if source.replica {
        return vec![format!("{service}.{partition}.>")];
    }
    source.events.iter().map(|event| format!("{service}.{partition}.*.{event}")).collect()
}

/// Whether a message of a log is one of those that its reader wants.
pub(crate) fn is_wanted(source: &Source, subject: &str) -> bool {
    subject.rsplit('.').next().is_some_and(|event| source.events.contains(&event))
}

/// Every source of a service, with its stream.
pub(crate) fn sources<S: Service>(partition: u32) -> Vec<(&'static str, String)> {
    let inbox = streams::inbox(partition);
    let logs =
        S::SOURCES.iter().map(|source| (source.service, streams::log(source.service, partition)));
    [("inbox.live", inbox.clone()), ("inbox.bulk", inbox)].into_iter().chain(logs).collect()
}

impl<S: Service> Inputs<S> {
    /// Opens all inputs of a worker at its positions.
    pub(crate) fn open(
        context: &jetstream::Context,
        partition: u32,
        positions: &Positions,
        shutdown: &CancellationToken,
    ) -> Self {
        let wake = Arc::new(Notify::new());
        let start = |source: &'static str, rank, wanted, selection| InputStream {
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
        };
        let lane = |lane: Lane| Selection {
            stream: streams::inbox(partition),
            filters: vec![format!("inbox.{partition}.{}.{}.>", lane.as_str(), S::NAME)],
            starts_at_first: true,
        };
        let mut streams = vec![start("inbox.live", Rank::Live, None, lane(Lane::Live))];
        for source in S::SOURCES {
            let rank = if source.replica { Rank::Replica } else { Rank::Saga };
            let stream = streams::log(source.service, partition);
            let filters = filters(source, partition);
            let selection = Selection { stream, filters, starts_at_first: false };
            streams.push(start(source.service, rank, Some(source), selection));
        }
        streams.push(start("inbox.bulk", Rank::Bulk, None, lane(Lane::Bulk)));
        let internal = VecDeque::new();
        Self { streams, internal, wake, waits_for_replica_since: None }
    }

    /// Hands in an input that came from no stream.
    pub(crate) fn push(&mut self, input: InternalInput<S::Input>) {
        self.internal.push_back(input);
        self.wake.notify_one();
    }

    /// Inputs that came from no stream and wait.
    pub(crate) fn internal(&self) -> usize {
        self.internal.len()
    }

    /// Waits until at least `enough` messages wait. What waits for a replica counts only when
    /// something else has come.
    pub(crate) async fn wait_for(&self, enough: usize) {
        let waits = self.waits_for_replica_since.is_some();
        let mut is_woken = false;
        loop {
            let is_held = |stream: &&InputStream| waits && !is_woken && stream.next.is_some();
            let free = self.streams.iter().filter(|stream| !is_held(stream));
            let waiting: usize = free.map(InputStream::waiting).sum();
            if waiting + self.internal.len() >= enough {
                return;
            }
            let timeout = tokio::time::sleep(REPLICA_TIMEOUT);
            tokio::select! {
                () = self.wake.notified() => {}
                () = timeout, if waits => is_woken = true,
            }
        }
    }

    /// By source: the messages that are not yet handled, and when the oldest of them was stored, in
    /// milliseconds since 1970.
    pub(crate) fn lags(&mut self) -> impl Iterator<Item = (&'static str, u64, Option<i64>)> {
        self.streams.iter_mut().map(|stream| {
            let messages = stream.waiting() as u64 + stream.queue.pending();
            let oldest = match &stream.next {
                None => stream.queue.peek(),
                next => next.as_ref(),
            };
            let Some(Delivery::Message(message)) = oldest else {
                return (stream.source, messages, None);
            };
            (stream.source, messages, message.stored_at)
        })
    }

    /// Takes all that fits into one batch: what replicas read, then new commands, the steps of
    /// sagas, and what is left of the batch for bulk. `None` when nothing can be taken now.
    pub(crate) fn take_batch(&mut self, positions: &Positions) -> Result<Option<Batch<S>>, Error> {
        let batch = self.take(positions)?;
        let is_empty = batch.inputs.is_empty() && batch.progress.is_empty();
        Ok((!is_empty).then_some(batch))
    }

    fn take(&mut self, positions: &Positions) -> Result<Batch<S>, Error> {
        let mut batch = Batch::empty();
        let mut seen = positions.clone();
        self.take_ranked(Rank::Replica, MAX_REPLICA_INPUTS, &mut batch, &mut seen)?;
        let limit = batch.inputs.len() + MAX_LIVE_INPUTS;
        self.take_ranked(Rank::Live, limit, &mut batch, &mut seen)?;
        while batch.inputs.len() < MAX_INPUTS
            && let Some(input) = self.internal.pop_front()
        {
            batch.push(Input::internal(input), 0);
        }
        self.take_ranked(Rank::Saga, MAX_INPUTS, &mut batch, &mut seen)?;
        self.take_ranked(Rank::Live, MAX_INPUTS, &mut batch, &mut seen)?;
        self.take_ranked(Rank::Bulk, MAX_INPUTS, &mut batch, &mut seen)?;
        self.waits_for_replica_since = if batch.waits_for_replica {
            self.waits_for_replica_since.or_else(|| Some(Instant::now()))
        } else {
            None
        };
        Ok(batch)
    }

    fn take_ranked(
        &mut self,
        rank: Rank,
        limit: usize,
        batch: &mut Batch<S>,
        seen: &mut Positions,
    ) -> Result<(), Error> {
        let is_patient =
            self.waits_for_replica_since.is_none_or(|since| since.elapsed() < REPLICA_TIMEOUT);
        for stream in self.streams.iter_mut().filter(|stream| stream.rank == rank) {
            // An import always gets on, by one command a batch at least.
            let mut is_first = rank == Rank::Bulk;
            while is_first || batch.has_room(rank, limit) {
                let Some(delivery) = stream.next.take().or_else(|| stream.queue.try_recv()) else {
                    break;
                };
                match delivery {
                    Delivery::Failed(error) => return Err(error),
                    Delivery::Progress(sequence) => batch.progress.push((stream.source, sequence)),
                    Delivery::Message(message) => {
                        if is_patient && waits_for_replica::<S>(&message, seen) {
                            batch.waits_for_replica = true;
                            stream.next = Some(Delivery::Message(message));
                            break;
                        }
                        seen.advance(stream.source, message.sequence);
                        if stream.wanted.is_some_and(|s| !is_wanted(s, &message.subject)) {
                            batch.progress.push((stream.source, message.sequence));
                            continue;
                        }
                        let input = Input::read(stream.source, message);
                        let weight = input.weight();
                        let is_new = matches!(rank, Rank::Live | Rank::Bulk);
                        batch.push(input, if is_new { weight } else { 0 });
                        is_first = false;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether the sender of a command had seen more of another service's log than the replica holds.
fn waits_for_replica<S: Service>(message: &StoredMessage, seen: &Positions) -> bool {
    let Some(header) = &message.after else { return false };
    parse_header(header).any(|(service, sequence)| {
        sequence > seen.get(service)
            && S::SOURCES.iter().any(|source| source.replica && source.service == service)
    })
}

impl<S: Service> Batch<S> {
    pub(crate) fn empty() -> Self {
        Self {
            inputs: VecDeque::new(),
            progress: Vec::new(),
            new_weight: 0,
            waits_for_replica: false,
        }
    }

    fn has_room(&self, rank: Rank, limit: usize) -> bool {
        let is_new = matches!(rank, Rank::Live | Rank::Bulk);
        self.inputs.len() < limit && (!is_new || self.new_weight < MAX_NEW_WEIGHT)
    }

    /// Adds an input; `new_weight` is what it takes of the limit for new commands.
    pub(crate) fn push(&mut self, input: Input<S>, new_weight: usize) {
        self.new_weight += new_weight;
        self.inputs.push_back(input);
    }
}

impl<S: Service> Input<S> {
    /// Reads a message. One that cannot be read is an input, too: it will be parked.
    pub(crate) fn read(source: &'static str, message: StoredMessage) -> Self {
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
            let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                if is_command { input.read_command(message.reply) } else { input.read_event() }
            }));
            match read {
                Ok(Ok(())) => {}
                Ok(Err(error)) => input.content = Content::Unreadable(describe(&error)),
                Err(panic) => input.content = Content::Unreadable(panic_text(&*panic)),
            }
        }
        if input.aggregate.is_empty() {
            input.aggregate = format!("{source}-{}", input.sequence);
        }
        if input.aggregate.len() > MAX_KEY_BYTES {
            input.aggregate = format!("sha256:{}", hex(&Sha256::digest(&input.aggregate)));
        }
        input
    }

    fn read_command(&mut self, reply: Option<String>) -> Result<(), WireError> {
        let header = proto::CommandEnvelope::decode(self.payload.clone())?;
        CommandId::parse(&header.id)?;
        self.cause.id.clone_from(&header.id);
        self.context =
            Context { correlation_id: header.id.clone(), traceparent: header.traceparent };
        self.command = Some(Command { id: header.id, fingerprint: header.fingerprint, reply });
        self.content = Content::Decide(S::command(&self.payload)?);
        Ok(())
    }

    fn read_event(&mut self) -> Result<(), WireError> {
        let ForeignEvent { id, shop, aggregate, context } = envelope::open_foreign(&self.payload)?;
        if !aggregate.is_empty() {
            self.aggregate = aggregate;
        }
        if shop != self.shop {
            return Err(WireError::Unexpected("a shop that differs from that of the subject"));
        }
        self.cause.id = id;
        self.context = context;
        self.content = Content::Decide(S::foreign(&self.payload)?);
        Ok(())
    }

    pub(crate) fn internal(input: InternalInput<S::Input>) -> Self {
        Self {
            source: INTERNAL,
            sequence: 0,
            shop: input.shop,
            aggregate: input.aggregate,
            subject: input.cause.kind.clone(),
            cause: input.cause,
            context: input.context,
            command: None,
            content: Content::Decide(input.input),
            payload: bytes::Bytes::new(),
            redriven: None,
        }
    }

    fn weight(&self) -> usize {
        match &self.content {
            Content::Decide(input) => {
                let weight = std::panic::AssertUnwindSafe(|| S::weight(input));
                std::panic::catch_unwind(weight).unwrap_or(1)
            }
            Content::Unreadable(_) | Content::Resume => 1,
        }
    }
}

/// The name of the message on a subject, as causes name it: `<service>.<event>`.
pub(crate) fn cause_kind(subject: &str) -> String {
    let mut tokens = subject.split('.');
    let first = tokens.next().unwrap_or_default();
    let last = tokens.next_back().unwrap_or_default();
    if first == "inbox" { format!("command.{last}") } else { format!("{first}.{last}") }
}
