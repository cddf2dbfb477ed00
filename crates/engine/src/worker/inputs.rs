//! Inputs: what a worker decides on, from wherever it came.

use std::collections::{HashSet, VecDeque};

use prost::Message;
use protocol::{
    id::{CommandId, Shop, hex},
    proto,
};
use sha2::{Digest, Sha256};

use crate::{
    Cause, Context, InternalInput, Service, Source, WireError,
    error::describe,
    jetstream::{reader::StoredMessage, streams},
    projection::{fold::panic_text, positions::Position},
    service::{
        MAX_KEY_BYTES,
        envelope::{self, ForeignEvent},
    },
};

/// The source of an input that came from no stream.
pub(crate) const INTERNAL: &str = "internal";

/// An input with all that the engine knows of it.
pub(crate) struct Input<S: Service> {
    /// The source, as positions name it.
    pub(crate) source: &'static str,
    /// Its sequence there; 0 when it came from no stream.
    pub(crate) sequence: u64,
    /// How far the source is handled with it; absent when it does not come from the source now.
    pub(crate) position: Option<Position>,
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
    /// Present when an operator redrives or drops it.
    pub(crate) redriven: Option<Redriven>,
    /// The inputs before this one that are decided on together with it, in order.
    pub(crate) merged: Vec<Input<S>>,
}

/// A parked input that is handled again, or dropped.
pub(crate) struct Redriven {
    /// The id of the parked event.
    pub(crate) parked_id: String,
    /// The bytes as the operator edited them; empty when left as they came.
    pub(crate) edited: Vec<u8>,
}

/// What the engine knows of a command.
pub(crate) struct Command {
    pub(crate) id: String,
    pub(crate) actor: Option<proto::Actor>,
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
    /// Was parked, and an operator drops it.
    Drop {
        /// Why, in the operator's words.
        reason: String,
        /// The command that it was; empty when it was none.
        command_id: String,
    },
}

/// The subjects of a source. A replica reads all of the other log, so that its position says how
/// much of it is in: a command can wait for that.
pub(crate) fn filters(source: &Source, partition: u32) -> Vec<String> {
    let service = source.service;
    if source.replica {
        return vec![format!("{service}.{partition}.>"), format!("engine.{service}.{partition}.>")];
    }
    if source.events.is_empty() {
        return vec![format!("{service}.{partition}.>")];
    }
    source.events.iter().map(|event| format!("{service}.{partition}.*.{event}")).collect()
}

/// Whether a message of a log is one of those that its reader wants.
pub(crate) fn is_wanted(source: &Source, subject: &str) -> bool {
    let event = subject.rsplit('.').next().filter(|_| !is_of_engine(subject));
    event.is_some_and(|event| source.events.is_empty() || source.events.contains(&event))
}

/// Whether the engine itself recorded what is on the subject.
fn is_of_engine(subject: &str) -> bool {
    subject.starts_with("engine.")
}

/// Every source of a service, with its stream.
pub(crate) fn sources<S: Service>(partition: u32) -> Vec<(&'static str, String)> {
    let inbox = streams::inbox(partition);
    let logs =
        S::SOURCES.iter().map(|source| (source.service, streams::log(source.service, partition)));
    [("inbox.live", inbox.clone()), ("inbox.bulk", inbox)].into_iter().chain(logs).collect()
}

/// The shop that a subject names, or that of none. The subject names one if something follows it:
/// otherwise no filter for the shop matches it.
pub(crate) fn shop_of(subject: &str) -> Shop {
    let before = if subject.starts_with("inbox.") { 4 } else { 2 };
    let mut tokens = subject.split('.').skip(before);
    let shop = tokens.next().filter(|_| tokens.next().is_some() && !is_of_engine(subject));
    shop.and_then(|shop| Shop::parse(shop).ok()).unwrap_or_else(Shop::unknown)
}

impl<S: Service> Input<S> {
    /// Stands for no input at all, where the engine records something by itself.
    pub(crate) fn unasked() -> Self {
        Self {
            source: INTERNAL,
            sequence: 0,
            position: None,
            shop: Shop::unknown(),
            aggregate: String::new(),
            cause: Cause::default(),
            context: Context::default(),
            command: None,
            content: Content::Resume,
            subject: String::new(),
            payload: bytes::Bytes::new(),
            redriven: None,
            merged: Vec::new(),
        }
    }

    /// Reads a message. One that cannot be read is an input, too: it will be parked.
    pub(crate) fn read(source: &'static str, message: StoredMessage) -> Self {
        let is_command = message.subject.starts_with("inbox.");
        let token = message.subject.split('.').nth(if is_command { 4 } else { 2 });
        let shop = token.and_then(|token| Shop::parse_or_unknown(token).ok());
        let mut input = Self {
            source,
            sequence: message.sequence,
            position: None,
            shop: shop.clone().unwrap_or_else(Shop::unknown),
            aggregate: message.aggregate.unwrap_or_default(),
            cause: Cause { id: String::new(), kind: cause_kind(&message.subject) },
            context: Context::default(),
            command: None,
            content: Content::Unreadable("the subject names no shop".to_owned()),
            subject: message.subject,
            payload: message.payload,
            redriven: None,
            merged: Vec::new(),
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
        let proto::CommandEnvelope { id, fingerprint, traceparent, tracestate, actor, .. } = header;
        CommandId::parse(&id)?;
        self.cause.id.clone_from(&id);
        self.context = Context { correlation_id: id.clone(), traceparent, tracestate };
        self.command = Some(Command { id, actor, fingerprint, reply });
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
            position: None,
            shop: input.shop,
            aggregate: input.aggregate,
            subject: input.cause.kind.clone(),
            cause: input.cause,
            context: input.context,
            command: None,
            content: Content::Decide(input.input),
            payload: bytes::Bytes::new(),
            redriven: None,
            merged: Vec::new(),
        }
    }

    /// How many messages it stands for.
    pub(crate) fn messages(&self) -> usize {
        self.merged.len() + 1
    }

    /// Takes the next input in, when the service decides on both at once; hands it back otherwise.
    fn merge(&mut self, mut next: Self) -> Option<Self> {
        let may = self.source == next.source
            && self.source != INTERNAL
            && self.shop == next.shop
            && self.command.is_none()
            && next.command.is_none();
        let (Content::Decide(input), Content::Decide(following)) =
            (&mut self.content, &next.content)
        else {
            return Some(next);
        };
        if !may {
            return Some(next);
        }
        let merge = std::panic::AssertUnwindSafe(|| S::merge(input, following));
        match std::panic::catch_unwind(merge) {
            Ok(true) => {}
            Ok(false) => return Some(next),
            Err(panic) if self.merged.is_empty() => {
                tracing::error!(
                    subject = self.subject,
                    reason = panic_text(&*panic),
                    "cannot merge"
                );
                self.read_again();
                return Some(next);
            }
            // It is handled by its parts.
            Err(panic) => {
                self.content = Content::Unreadable(panic_text(&*panic));
                return Some(next);
            }
        }
        // The next one stands for all: what is handled with it is handled up to there.
        std::mem::swap(&mut self.content, &mut next.content);
        let merged = std::mem::take(&mut self.merged);
        let before = std::mem::replace(self, next);
        self.merged = merged;
        self.merged.push(Self { content: Content::Resume, ..before });
        None
    }

    /// The inputs that were merged, each by itself again.
    pub(crate) fn split(mut self) -> Vec<Self> {
        let mut parts = std::mem::take(&mut self.merged);
        parts.push(self);
        parts.iter_mut().for_each(Self::read_again);
        parts
    }

    fn read_again(&mut self) {
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.read_event()));
        match read {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.content = Content::Unreadable(describe(&error)),
            Err(panic) => self.content = Content::Unreadable(panic_text(&*panic)),
        }
    }

    /// How many lines it has.
    pub(crate) fn weight(&self) -> usize {
        match &self.content {
            Content::Decide(input) => {
                let weight = std::panic::AssertUnwindSafe(|| S::weight(input));
                std::panic::catch_unwind(weight).unwrap_or(1)
            }
            Content::Unreadable(_) | Content::Resume | Content::Drop { .. } => 1,
        }
    }
}

/// Merges inputs that follow each other and that the service decides on at once. A shop of which
/// something is parked, or will be, is left alone: what follows is parked behind that, one by one.
pub(crate) fn merge<S: Service>(
    inputs: VecDeque<Input<S>>,
    is_blocked: impl Fn(&Shop, &str) -> bool,
) -> VecDeque<Input<S>> {
    let parks = |input: &Input<S>| {
        !matches!(input.content, Content::Decide(_)) || is_blocked(&input.shop, &input.aggregate)
    };
    let left_alone: HashSet<Shop> =
        inputs.iter().filter(|input| parks(input)).map(|input| input.shop.clone()).collect();
    let mut merged: VecDeque<Input<S>> = VecDeque::with_capacity(inputs.len());
    for input in inputs {
        let last = merged.back_mut().filter(|_| !left_alone.contains(&input.shop));
        let alone = match last {
            Some(last) => last.merge(input),
            None => Some(input),
        };
        merged.extend(alone);
    }
    merged
}

/// The name of the message on a subject, as causes name it: `<service>.<event>`.
pub(crate) fn cause_kind(subject: &str) -> String {
    let mut tokens = subject.split('.');
    let first = tokens.next().unwrap_or_default();
    let last = tokens.next_back().unwrap_or_default();
    if first == "inbox" { format!("command.{last}") } else { format!("{first}.{last}") }
}
