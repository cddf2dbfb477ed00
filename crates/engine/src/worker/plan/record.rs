//! Records events: seals each in its envelope, and folds it as it will stand in the log.

use async_nats::HeaderMap;
use protocol::{
    actor::{ActorKind, COMMAND_LINE},
    proto::{self, engine_event::Kind},
    subject,
};

use crate::{
    Aggregate, Cause, Context, Recorded, Service,
    jetstream::{publish::Outgoing, streams::MAX_INPUT_BYTES},
    projection::{
        engine_rows::AnswerRow,
        fold::{FoldError, implied_answer, is_replica, panic_text},
    },
    service::envelope::{self, Contents, new_event_id},
    worker::{
        inputs::{Command, INTERNAL, Input, Redriven},
        plan::Planner,
        reply,
    },
};

/// The largest event, in bytes: below the server's `max_payload` of 1 MiB, with space for headers.
const MAX_EVENT_BYTES: usize = 1_000_000;
/// The most characters of a text that is kept with a parked input.
const MAX_PARKED_TEXT_CHARS: usize = 1_000;

impl<S: Service> Planner<'_, S> {
    /// Folds what follows from a command, and its answer.
    pub(super) fn record_answered(
        &mut self,
        input: &Input<S>,
        command: &Command,
        events: Vec<S::Event>,
        answered: proto::Answered,
    ) -> Result<(), String> {
        let is_implied = events.len() == 1 && self.implies(input, &events[0], &answered)?;
        let fingerprint = if is_implied { command.fingerprint.as_str() } else { "" };
        events.into_iter().try_for_each(|event| self.record(input, event, fingerprint))?;
        if !is_implied {
            // Not the command's id: it may be answered anew when the answer has been forgotten.
            let sequence = self.sequence() + 1;
            let aggregate = format!("answered:{}-{sequence}", self.projection.partition);
            self.record_engine(input, Kind::Answered(answered.clone()), aggregate)?;
        }
        let row = AnswerRow::from((answered, self.sequence()));
        self.reply(input, command, &row, false);
        Ok(())
    }

    /// Whether the event says by itself what the sender of the command is answered.
    fn implies(
        &mut self,
        input: &Input<S>,
        event: &S::Event,
        answered: &proto::Answered,
    ) -> Result<bool, String> {
        if answered.fingerprint.is_empty() || !answered.has_effect {
            return Ok(false);
        }
        let recorded = self.recorded(input, 1, event.clone());
        let implied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            implied_answer::<S>(&recorded) == answered.body
        }));
        implied.map_err(|panic| panic_text(&*panic))
    }

    /// The sequence of the last message of the input at hand.
    pub(super) fn sequence(&self) -> u64 {
        self.projection.last() + self.current.len() as u64
    }

    /// Folds an event of the service, as it will stand in the log. `fingerprint` is that of the
    /// command which it answers by itself; empty when it answers none.
    pub(super) fn record(
        &mut self,
        input: &Input<S>,
        event: S::Event,
        fingerprint: &str,
    ) -> Result<(), String> {
        let state = &self.projection.state(&input.shop).service;
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let after_append = S::after_append(state, &event, self.now);
            (S::revision(state, &event), S::aggregate(&event), S::encode(&event), after_append)
        }));
        let (revision, aggregate, encoded, after_append) =
            made.map_err(|panic| panic_text(&*panic))?;
        let recorded = self.recorded(input, revision.version + 1, event);
        let (name, is_public) = (encoded.name, encoded.is_public);
        let contents = Contents {
            aggregate,
            engine: None,
            event: Some(encoded),
            fingerprint: fingerprint.to_owned(),
            previous_position: revision.position,
        };
        let partition = self.projection.partition;
        let subject = if is_public {
            subject::event(S::NAME, partition, &input.shop, name)
        } else {
            subject::engine_event(S::NAME, partition, name)
        };
        self.fold(subject, name, envelope::seal(&recorded, contents))?;
        self.after_append.extend(after_append);
        Ok(())
    }

    /// Folds an event of the engine.
    fn record_engine(
        &mut self,
        input: &Input<S>,
        kind: Kind,
        aggregate: String,
    ) -> Result<(), String> {
        self.fold_engine(&self.recorded(input, 1, ()), kind, aggregate)
    }

    fn fold_engine(
        &mut self,
        recorded: &Recorded<()>,
        kind: Kind,
        aggregate: String,
    ) -> Result<(), String> {
        let name = kind.name();
        let aggregate = Aggregate { kind: "", id: aggregate };
        let contents = Contents { aggregate, engine: Some(kind), ..Contents::default() };
        let subject = subject::engine_event(S::NAME, self.projection.partition, name);
        self.fold(subject, name, envelope::seal(recorded, contents))
    }

    fn recorded<E>(&self, input: &Input<S>, version: u64, event: E) -> Recorded<E> {
        Recorded {
            id: new_event_id(),
            shop: input.shop.clone(),
            version,
            position: self.sequence() + 1,
            time: self.now,
            actor: match &input.command {
                Some(command) => command.actor.clone(),
                // Nobody asked: it follows from a fact, a deadline or an outcome.
                None => Some(ActorKind::Service.actor(S::NAME)),
            },
            cause: input.cause.clone(),
            context: self.context(input),
            event,
        }
    }

    /// The context of what follows from an input: it continues the span of the decision.
    fn context(&self, input: &Input<S>) -> Context {
        let mut context = input.context.clone();
        if let Some(traceparent) = &self.traceparent {
            context.traceparent.clone_from(traceparent);
        }
        context
    }

    fn fold(
        &mut self,
        subject: String,
        name: &'static str,
        payload: Vec<u8>,
    ) -> Result<(), String> {
        if payload.len() > MAX_EVENT_BYTES {
            return Err(format!(
                "the event {name} would have {} bytes, and {MAX_EVENT_BYTES} are the most",
                payload.len()
            ));
        }
        let sequence = self.sequence() + 1;
        self.projection.fold_current(sequence, &payload).map_err(|error| match error {
            FoldError::Panicked(text) => text,
            FoldError::Unreadable(error) => format!("the event {name} does not read back: {error}"),
            FoldError::Version { aggregate, version, next } => {
                format!("version {next} of {aggregate} would follow version {version}")
            }
        })?;
        let headers = HeaderMap::new();
        self.current.push(Outgoing { subject, headers, payload: payload.into() });
        self.kinds.push(name);
        Ok(())
    }

    pub(super) fn reply(
        &mut self,
        input: &Input<S>,
        command: &Command,
        row: &AnswerRow,
        is_repeated: bool,
    ) {
        if let Some(subject) = &command.reply {
            let reply = reply::reply(S::NAME, &input.shop, &command.id, row, is_repeated);
            self.replies.push((subject.clone(), reply));
        }
    }

    /// Sets an input aside, and with it what comes later for its aggregate.
    pub(super) fn park(&mut self, input: &Input<S>, reason: &str) -> Result<(), String> {
        if is_replica::<S>(input.source) || input.redriven.is_some() {
            // A replica reads its log again; what was redriven stays parked as it is.
            self.stays_parked = input.redriven.is_some();
            return Ok(());
        }
        // A deadline comes again by itself, an operation's outcome when its aggregate is redriven.
        let is_blocked = self.projection.blocked.contains(&input.shop, &input.aggregate);
        if input.source == INTERNAL && is_blocked {
            return Ok(());
        }
        tracing::error!(
            subject = input.subject,
            shop = %input.shop,
            aggregate = input.aggregate,
            reason,
            "parked an input"
        );
        let is_in_source = input.payload.len() > MAX_INPUT_BYTES;
        let parked = proto::Parked {
            source: input.source.to_owned(),
            sequence: input.sequence,
            subject: input.subject.clone(),
            payload: if is_in_source { Vec::new() } else { input.payload.to_vec() },
            reason: shortened(reason),
            aggregate_id: without_nul(&input.aggregate),
            is_in_source,
            cause_id: shortened(&input.cause.id),
        };
        let mut recorded = self.recorded(input, 1, ());
        recorded.cause.id = shortened(&recorded.cause.id);
        recorded.context.correlation_id = shortened(&recorded.context.correlation_id);
        recorded.context.traceparent = shortened(&recorded.context.traceparent);
        let sequence = self.sequence() + 1;
        let aggregate = format!("parked:{}-{sequence}", self.projection.partition);
        self.fold_engine(&recorded, Kind::Parked(parked), aggregate)
    }

    pub(super) fn record_redriven(&mut self, input: &Input<S>) -> Result<(), String> {
        let Some(redriven) = &input.redriven else { return Ok(()) };
        let kind = Kind::Redriven(proto::Redriven {
            parked_id: redriven.parked_id.clone(),
            payload: redriven.edited.clone(),
        });
        self.record_engine(input, kind, format!("redriven:{}", redriven.parked_id))
    }

    /// Records that an operator drops a parked input. The sender of a command is told, unless one of the same
    /// id was handled.
    pub(super) fn record_dropped(
        &mut self,
        input: &Input<S>,
        reason: &str,
        command_id: &str,
    ) -> Result<(), String> {
        let Some(Redriven { parked_id, .. }) = &input.redriven else { return Ok(()) };
        let is_handled =
            !command_id.is_empty() && self.settled_answer(&input.shop, command_id).is_some();
        let kind = Kind::Dropped(proto::Dropped {
            parked_id: parked_id.clone(),
            reason: reason.to_owned(),
            command_id: if is_handled { String::new() } else { command_id.to_owned() },
        });
        let mut recorded = self.recorded(input, 1, ());
        recorded.actor = Some(ActorKind::Operator.actor(COMMAND_LINE));
        self.fold_engine(&recorded, kind, format!("dropped:{parked_id}"))
    }

    /// Puts an event of the engine into the log that no input asked for.
    pub(super) fn record_unasked(&mut self, kind: Kind, what: &str) {
        let input = Input::unasked();
        let aggregate = format!("{what}:{}-{}", self.projection.partition, self.sequence() + 1);
        self.projection.begin(&input.shop);
        match self.record_engine(&input, kind, aggregate) {
            Ok(()) => {
                self.projection.keep(&input.shop);
                self.finish_input(&input);
            }
            Err(reason) => {
                self.projection.undo(&input.shop);
                self.drop_current();
                tracing::error!(service = S::NAME, reason, "cannot record {what}");
            }
        }
    }
}

/// A text beside a parked input. Those of a message that is one are short; whatever another holds,
/// the parked event stays below the largest.
fn shortened(text: &str) -> String {
    without_nul(text).chars().take(MAX_PARKED_TEXT_CHARS).collect()
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Cause {
    /// What an operator caused by redriving.
    pub(crate) fn redrive(parked_id: &str) -> Self {
        Self { id: parked_id.to_owned(), kind: "operator.redrive".to_owned() }
    }

    /// What an operator caused by dropping.
    pub(crate) fn drop(parked_id: &str) -> Self {
        Self { id: parked_id.to_owned(), kind: "operator.drop".to_owned() }
    }
}
