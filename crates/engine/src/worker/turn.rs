//! One turn: the inputs of a batch become events, in memory. Nothing here does I/O.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use async_nats::HeaderMap;
use events::{
    id::{EventId, Shop, hex},
    proto,
    subject::{self, AGGREGATE_HEADER, POSITIONS_HEADER},
    time::Timestamp,
};
use prost::Message;
use uuid::Uuid;

use crate::{
    Cause, Context, Decision, Recorded, Service, envelope,
    jetstream::publish::{FEW, MAX_BATCH, Outgoing},
    projection::positions::Positions,
    projection::store::{AnswerRow, Changes, LOG, ParkedRow},
    worker::inputs::{Command, Content, Input, Redriven, WITHIN},
    worker::reply::Reply,
};

/// Aggregates with something parked: what comes later for them is parked behind it.
pub(crate) type Blocked = HashSet<(Shop, String)>;

/// What deciding on a batch needs to know.
pub(crate) struct Given<'a, S: Service> {
    pub(crate) service: &'a S,
    pub(crate) partition: u32,
    /// The last sequence of the service's own log.
    pub(crate) last: u64,
    pub(crate) now: Timestamp,
    pub(crate) positions: Positions,
    pub(crate) blocked: Blocked,
    /// The commands of the batch that were handled before.
    pub(crate) answered: HashMap<(Shop, String), AnswerRow>,
    /// The inputs, by index, that failed in an earlier try at this batch, and how.
    pub(crate) failed: &'a BTreeMap<usize, String>,
}

/// What a batch leads to.
pub(crate) struct Turn<S: Service> {
    pub(crate) states: HashMap<Shop, S::State>,
    /// The events, in parts that are each published as one.
    pub(crate) parts: Vec<Vec<Outgoing>>,
    /// The last sequence of the log after all of it.
    pub(crate) last: u64,
    pub(crate) positions: Positions,
    pub(crate) blocked: Blocked,
    pub(crate) changes: Changes,
    /// By subject: what to tell whom, after the commit.
    pub(crate) replies: Vec<(String, Reply)>,
    pub(crate) operations: Vec<S::Operation>,
    /// Whether something was redriven: the operations that are pending must be taken up again.
    pub(crate) resumes: bool,
}

/// An input failed: its index, and how.
pub(crate) struct Failure {
    pub(crate) input: usize,
    pub(crate) reason: String,
}

struct Deciding<'a, S: Service> {
    given: Given<'a, S>,
    turn: Turn<S>,
    part: Vec<Outgoing>,
    /// Events of the input at hand.
    current: Vec<Outgoing>,
}

/// Decides on the inputs in order. What follows from a few of them is a part for each: mostly one
/// event, which is sooner in the log by itself. When one fails (a panic in a rule), the whole batch is to be
/// tried again with that one parked, since it may have left the state half changed.
pub(crate) fn decide<S: Service>(
    given: Given<'_, S>,
    inputs: &[Input<S>],
    states: HashMap<Shop, S::State>,
) -> Result<Turn<S>, Failure> {
    let turn = Turn {
        states,
        parts: Vec::new(),
        last: given.last,
        positions: given.positions.clone(),
        blocked: given.blocked.clone(),
        changes: Changes::default(),
        replies: Vec::new(),
        operations: Vec::new(),
        resumes: false,
    };
    let mut deciding = Deciding { given, turn, part: Vec::new(), current: Vec::new() };
    let are_few = inputs.len() <= FEW;
    for (index, input) in inputs.iter().enumerate() {
        let handled = catch_unwind(AssertUnwindSafe(|| deciding.handle(index, input)));
        handled.map_err(|panic| Failure { input: index, reason: panic_text(&panic) })?;
        if deciding.current.len() > MAX_BATCH {
            let reason = format!("leads to {} events at once", deciding.current.len());
            return Err(Failure { input: index, reason });
        }
        deciding.finish_input(input);
        if are_few {
            deciding.close_part();
        }
    }
    deciding.close_part();
    let last = deciding.turn.last;
    deciding.turn.positions.advance(LOG, last);
    Ok(deciding.turn)
}

impl<S: Service> Deciding<'_, S> {
    fn handle(&mut self, index: usize, input: &Input<S>) {
        let place = (input.shop.clone(), input.aggregate.clone());
        if let Some(reason) = self.given.failed.get(&index) {
            self.park(input, reason);
        } else if !is_copy::<S>(input.source) && self.turn.blocked.contains(&place) {
            self.park(input, "an earlier input of this aggregate is parked");
        } else {
            match &input.content {
                Content::Unreadable(reason) => self.park(input, reason),
                Content::Copy(copy) => {
                    S::copy(self.turn.states.entry(input.shop.clone()).or_default(), copy);
                }
                Content::Decide(decidable) => self.decide_one(input, decidable),
                Content::Resume => self.record_redriven(input),
            }
        }
    }

    fn decide_one(&mut self, input: &Input<S>, decidable: &S::Input) {
        if let Some(command) = &input.command
            && let Some(known) = self.given.answered.get(&(input.shop.clone(), command.id.clone()))
        {
            let reply = Reply::repeated(known);
            self.record_redriven(input);
            self.reply(command, reply);
            return;
        }
        self.record_redriven(input);
        let state = self.turn.states.entry(input.shop.clone()).or_default();
        let Decision { events, answer } =
            self.given.service.decide(state, decidable, self.given.now);
        let answer = input.command.as_ref().map(|command| proto::Answer {
            command_id: command.id.clone(),
            fingerprint: command.fingerprint.clone(),
            body: answer.unwrap_or_else(|| "null".to_owned()),
        });
        let count = events.len();
        let mut pending_answer = answer.clone();
        for (index, event) in events.into_iter().enumerate() {
            let answer = if index + 1 == count { pending_answer.take() } else { None };
            self.record(input, event, answer);
        }
        if let (Some(command), Some(answer)) = (&input.command, answer) {
            if count == 0 {
                let kind = proto::engine_event::Kind::Answered(proto::Answered {});
                let aggregate = format!("command:{}", command.id);
                self.record_engine(input, kind, aggregate, 1, Some(answer.clone()));
            }
            self.remember(input, command, answer);
        }
    }

    /// Puts an event of the service into the log and folds it into the state.
    fn record(&mut self, input: &Input<S>, event: S::Event, answer: Option<proto::Answer>) {
        let state = self.turn.states.entry(input.shop.clone()).or_default();
        let recorded = Recorded {
            id: new_event_id(),
            shop: input.shop.clone(),
            version: S::version(state, &event) + 1,
            time: self.given.now,
            cause: input.cause.clone(),
            context: input.context.clone(),
            event,
        };
        S::apply(state, &recorded);
        self.turn.operations.extend(S::operation(&recorded));
        let body = S::encode(&recorded.event);
        let aggregate = S::aggregate(&recorded.event);
        self.push(&recorded, aggregate, body, answer);
    }

    /// Puts an event of the engine into the log.
    fn record_engine(
        &mut self,
        input: &Input<S>,
        kind: proto::engine_event::Kind,
        aggregate: String,
        version: u64,
        answer: Option<proto::Answer>,
    ) -> Recorded<()> {
        let recorded = Recorded {
            id: new_event_id(),
            shop: input.shop.clone(),
            version,
            time: self.given.now,
            cause: input.cause.clone(),
            context: input.context.clone(),
            event: (),
        };
        let body = proto::event::Body::Engine(proto::EngineEvent { kind: Some(kind) });
        self.push(&recorded, aggregate, body, answer);
        recorded
    }

    fn push<E>(
        &mut self,
        recorded: &Recorded<E>,
        aggregate: String,
        body: proto::event::Body,
        answer: Option<proto::Answer>,
    ) {
        let partition = self.given.partition;
        self.current.push(outgoing::<S, E>(partition, recorded, aggregate, body, answer));
        self.turn.last += 1;
    }

    /// Remembers that a command is handled, and tells its sender.
    fn remember(&mut self, input: &Input<S>, command: &Command, answer: proto::Answer) {
        let row = AnswerRow {
            shop: input.shop.clone(),
            command_id: answer.command_id,
            fingerprint: answer.fingerprint,
            body: answer.body,
            sequence: self.turn.last,
            answered_at: self.given.now,
        };
        self.reply(command, Reply::first(&row));
        self.turn.changes.time = self.given.now;
        self.given.answered.insert((row.shop.clone(), row.command_id.clone()), row.clone());
        self.turn.changes.answers.push(row);
    }

    fn reply(&mut self, command: &Command, reply: Reply) {
        if let Some(subject) = &command.reply {
            self.turn.replies.push((subject.clone(), reply));
        }
    }

    /// Sets an input aside, and with it what comes later for its aggregate.
    fn park(&mut self, input: &Input<S>, reason: &str) {
        let place = (input.shop.clone(), input.aggregate.clone());
        if is_copy::<S>(input.source) {
            // The other service's log keeps it; a rebuild that can read it takes it in.
            tracing::error!(subject = input.subject, reason, "cannot take an event into a copy");
            return;
        }
        // What is redriven stays parked. What comes from within comes again: a deadline by itself,
        // an operation's outcome when its aggregate is redriven.
        let again = input.source == WITHIN && self.turn.blocked.contains(&place);
        if input.redriven.is_some() || again {
            self.turn.blocked.insert(place);
            return;
        }
        tracing::error!(
            subject = input.subject,
            shop = %input.shop,
            aggregate = input.aggregate,
            reason,
            "parked an input"
        );
        let parked = proto::Parked {
            source: input.source.to_owned(),
            sequence: input.sequence,
            subject: input.subject.clone(),
            payload: input.payload.to_vec(),
            reason: reason.to_owned(),
            aggregate_id: input.aggregate.clone(),
        };
        let aggregate = format!("parked:{}-{}", self.given.partition, self.turn.last + 1);
        let kind = proto::engine_event::Kind::Parked(parked);
        let recorded = self.record_engine(input, kind, aggregate, 1, None);
        self.turn.changes.parked.push(ParkedRow {
            id: recorded.id.to_string(),
            partition: self.given.partition,
            shop: input.shop.clone(),
            aggregate_id: input.aggregate.clone(),
            source: input.source.to_owned(),
            sequence: input.sequence,
            subject: input.subject.clone(),
            payload: hex(&input.payload),
            reason: reason.to_owned(),
            parked_at: self.given.now,
            log_sequence: self.turn.last,
        });
        self.turn.blocked.insert(place);
    }

    fn record_redriven(&mut self, input: &Input<S>) {
        let Some(Redriven { parked_id, edited }) = &input.redriven else { return };
        self.turn.changes.redriven.push(parked_id.clone());
        // Outcomes that came while the aggregate was parked were not taken.
        self.turn.resumes = true;
        let aggregate = format!("redriven:{parked_id}");
        let redriven = proto::Redriven { parked_id: parked_id.clone(), payload: edited.clone() };
        let kind = proto::engine_event::Kind::Redriven(redriven);
        self.record_engine(input, kind, aggregate, 1, None);
    }

    /// The input's events go into the part at hand, or into the next one when they do not fit:
    /// a part ends where an input ends.
    fn finish_input(&mut self, input: &Input<S>) {
        if self.part.len() + self.current.len() > MAX_BATCH {
            self.close_part();
        }
        self.part.append(&mut self.current);
        if input.source != WITHIN && input.redriven.is_none() {
            self.turn.positions.advance(input.source, input.sequence);
        }
    }

    fn close_part(&mut self) {
        let Some(last) = self.part.last_mut() else { return };
        tell_positions::<S>(last, &self.turn.positions);
        self.turn.parts.push(std::mem::take(&mut self.part));
    }
}

impl<S: Service> Turn<S> {
    /// Lets the log tell the positions though nothing follows from the inputs: the database may be
    /// lost, and retention deletes what was handled.
    pub(crate) fn tell_positions(&mut self, partition: u32, now: Timestamp) {
        let recorded = Recorded {
            id: new_event_id(),
            shop: Shop::unknown(),
            version: 1,
            time: now,
            cause: Cause::default(),
            context: Context::default(),
            event: (),
        };
        self.last += 1;
        let kind = proto::engine_event::Kind::Positions(proto::Positions {});
        let body = proto::event::Body::Engine(proto::EngineEvent { kind: Some(kind) });
        let aggregate = format!("positions:{partition}-{}", self.last);
        let mut message = outgoing::<S, ()>(partition, &recorded, aggregate, body, None);
        tell_positions::<S>(&mut message, &self.positions);
        self.positions.advance(LOG, self.last);
        self.parts.push(vec![message]);
    }
}

/// An event as it goes into the log.
fn outgoing<S: Service, E>(
    partition: u32,
    recorded: &Recorded<E>,
    aggregate: String,
    body: proto::event::Body,
    answer: Option<proto::Answer>,
) -> Outgoing {
    let kind = subject::event_kind(&body).unwrap_or("unknown");
    let mut headers = HeaderMap::new();
    if aggregate.bytes().all(|byte| byte.is_ascii_graphic()) {
        headers.insert(AGGREGATE_HEADER, aggregate.as_str());
    }
    let subject = subject::event(S::NAME, partition, &recorded.shop, kind);
    let payload = envelope::seal(recorded, aggregate, body, answer).encode_to_vec().into();
    Outgoing { subject, headers, payload }
}

/// Lets a message tell how far the inputs have been handled with it.
fn tell_positions<S: Service>(message: &mut Outgoing, positions: &Positions) {
    let header = positions.to_header(|source| is_copy::<S>(source) || source == LOG);
    if !header.is_empty() {
        message.headers.insert(POSITIONS_HEADER, header);
    }
}

impl Cause {
    /// What an operator caused by redriving.
    pub(crate) fn redrive(parked_id: &str) -> Self {
        Self { id: parked_id.to_owned(), kind: "operator.redrive".to_owned() }
    }
}

/// Whether a source only feeds a copy.
fn is_copy<S: Service>(source: &str) -> bool {
    S::SOURCES.iter().any(|known| known.copy && known.service == source)
}

#[expect(clippy::disallowed_methods, reason = "the edge at which events get their ids")]
fn new_event_id() -> EventId {
    EventId(Uuid::now_v7())
}

fn panic_text(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("deciding on it panicked: {}", text.unwrap_or_else(|| "without a message".to_owned()))
}
