//! A batch of inputs becomes a plan: the messages to append, the rows to write, the answers to
//! send. Everything happens in memory, except that rows which the rules look for are fetched. How an
//! event is written and folded is in `record`.

mod parts;
pub(crate) mod record;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use protocol::{
    id::Shop,
    proto::{self, engine_event::Kind},
    time::Timestamp,
};
use sqlx::AnyPool;
use tracing::{Instrument, Span};

use crate::{
    AfterAppend, Error, Service,
    jetstream::publish::{MAX_BATCH, Outgoing},
    metrics::PartitionMetrics,
    projection::{
        engine_rows::AnswerRow,
        fold::{Changes, Projection, is_replica, panic_text},
    },
    worker::{
        inputs::{Content, Input, merge},
        spans::{self, BatchSpan},
    },
};

/// The most events that may follow from one input: with the event that redrives it and the one that
/// answers it, it is still one atomic batch.
const MAX_EVENTS_PER_INPUT: usize = MAX_BATCH - 2;
/// The bytes of one atomic batch, so that the server need not hold more at once.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// How often rows are fetched for one input before its rules count as never satisfied.
const MAX_FETCHES: u32 = 10_000;
/// Why an input is parked that could be decided on by itself.
const BEHIND_PARKED: &str = "an earlier input of this aggregate is parked";

/// What a batch leads to.
#[derive(Default)]
pub(crate) struct BatchPlan {
    /// The events, in parts that are each appended as one.
    pub(crate) parts: Vec<Vec<Outgoing>>,
    /// What is to be written.
    pub(crate) changes: Changes,
    /// By subject: what to answer whom, once the events are in the log.
    pub(crate) replies: Vec<(String, proto::Reply)>,
    /// The last sequence of the log after all of it.
    pub(crate) last: u64,
    /// The number of the batch, for eviction.
    pub(crate) batch: u64,
    /// The number of inputs.
    pub(crate) inputs: usize,
    /// The aggregates of which something was redriven.
    pub(crate) redriven: Vec<(Shop, String)>,
    /// The events, by kind.
    pub(crate) events: BTreeMap<&'static str, u64>,
    /// What the service does when the events are in the log.
    pub(crate) after_append: Vec<AfterAppend>,
    /// How long rows were fetched.
    pub(crate) loading: Duration,
    pub(crate) span: BatchSpan,
}

/// What became of one input.
enum Handled {
    Done,
    /// A row that a rule looked for is not in memory.
    Missing,
    /// It stands for several, and failed: each is to be handled by itself.
    Failed,
}

/// Plans one batch.
pub(crate) struct Planner<'a, S: Service> {
    service: &'a S,
    projection: &'a mut Projection<S>,
    now: Timestamp,
    plan: BatchPlan,
    part: Vec<Outgoing>,
    part_bytes: usize,
    /// The messages of the input at hand.
    current: Vec<Outgoing>,
    /// What is done when they are in the log.
    after_append: Vec<AfterAppend>,
    /// The kinds of the events of the input at hand.
    kinds: Vec<&'static str>,
    /// Continues the trace of the input at hand.
    traceparent: Option<String>,
    /// The replies of the input at hand.
    replies: Vec<(String, proto::Reply)>,
    /// The inputs, by index, that failed, and how: they are parked.
    failed: HashMap<usize, String>,
    /// Whether the input at hand was redriven and has failed again.
    stays_parked: bool,
    /// Aggregates of which a redriven input has failed again: those behind it stay parked.
    still_parked: HashSet<(Shop, String)>,
    metrics: &'a PartitionMetrics,
}

impl<'a, S: Service> Planner<'a, S> {
    pub(crate) fn new(
        service: &'a S,
        projection: &'a mut Projection<S>,
        now: Timestamp,
        metrics: &'a PartitionMetrics,
    ) -> Self {
        let batch = projection.begin_batch();
        Self {
            service,
            projection,
            now,
            plan: BatchPlan { batch, ..Default::default() },
            part: Vec::new(),
            part_bytes: 0,
            current: Vec::new(),
            after_append: Vec::new(),
            kinds: Vec::new(),
            traceparent: None,
            replies: Vec::new(),
            failed: HashMap::new(),
            stays_parked: false,
            still_parked: HashSet::new(),
            metrics,
        }
    }

    /// Decides on the inputs in order.
    ///
    /// When a row is missing, the inputs after that one are tried as well, and undone, so that what
    /// they miss is fetched with the same statements.
    pub(crate) async fn plan(
        mut self,
        inputs: VecDeque<Input<S>>,
        pool: &AnyPool,
    ) -> Result<BatchPlan, Error> {
        let blocked = &self.projection.blocked;
        let merged = merge(inputs, |shop, aggregate| blocked.contains(shop, aggregate));
        let mut inputs = Vec::from(merged);
        self.plan.inputs = inputs.iter().map(Input::messages).sum();
        self.plan.span = BatchSpan::new(self.projection.partition, &inputs);
        let (mut index, mut fetches) = (0, 0);
        let mut span = None;
        while index < inputs.len() {
            let deciding = span.get_or_insert_with(|| Self::span_of(&inputs[index]));
            self.traceparent = trace_context::traceparent_of(deciding);
            match self.handle(index, &inputs[index], false) {
                Handled::Done => {
                    deciding.record("event.count", self.current.len());
                    span = None;
                    self.finish_input(&inputs[index]);
                    (index, fetches) = (index + 1, 0);
                }
                Handled::Failed => {
                    span = None;
                    let parts = inputs.remove(index).split();
                    inputs.splice(index..index, parts);
                }
                Handled::Missing => {
                    fetches += 1;
                    if fetches > MAX_FETCHES {
                        self.failed.insert(index, "its rules always look for more rows".to_owned());
                    }
                    for (ahead, input) in inputs.iter().enumerate().skip(index + 1) {
                        self.handle(ahead, input, true);
                    }
                    let started = Instant::now();
                    let loading = self.plan.span.load::<S>(inputs.len() - index);
                    self.projection.load_missing(pool).instrument(loading).await?;
                    self.plan.loading += started.elapsed();
                }
            }
        }
        self.traceparent = None;
        self.forget_answers();
        self.close_part();
        Ok(self.finish())
    }

    /// The span of an input; what a replica takes in has none.
    fn span_of(input: &Input<S>) -> Span {
        if is_replica::<S>(input.source) { Span::none() } else { spans::decide(input) }
    }

    /// Lets the log carry the positions though nothing follows from the inputs: the database may be
    /// lost, and retention deletes what was handled.
    pub(crate) fn plan_positions(mut self) -> BatchPlan {
        let kind = Kind::Positions(proto::Positions {});
        self.record_unasked(kind, "positions");
        self.close_part();
        self.finish()
    }

    fn finish(mut self) -> BatchPlan {
        self.plan.last = self.projection.last();
        self.plan.changes = self.projection.take_changes();
        self.plan
    }

    /// Handles one input. `ahead`: only to see which rows it looks for; nothing of it stays.
    fn handle(&mut self, index: usize, input: &Input<S>, ahead: bool) -> Handled {
        loop {
            self.projection.begin(&input.shop);
            let failed = self.failed.get(&index).cloned();
            let outcome = self.try_input(input, failed.as_deref());
            let missing = self.projection.is_missing(&input.shop);
            if ahead || (missing && failed.is_none()) {
                self.projection.undo(&input.shop);
                self.drop_current();
                return if missing { Handled::Missing } else { Handled::Done };
            }
            let Err(reason) = outcome else {
                self.projection.keep(&input.shop);
                return Handled::Done;
            };
            self.projection.undo(&input.shop);
            self.drop_current();
            if failed.is_some() {
                tracing::error!(subject = input.subject, reason, "cannot even park an input");
                return Handled::Done;
            }
            if !input.merged.is_empty() {
                return Handled::Failed;
            }
            self.failed.insert(index, reason);
        }
    }

    fn drop_current(&mut self) {
        self.current.clear();
        self.after_append.clear();
        self.kinds.clear();
        self.replies.clear();
        self.stays_parked = false;
    }

    fn try_input(&mut self, input: &Input<S>, failed: Option<&str>) -> Result<(), String> {
        if let Some(reason) = failed {
            return self.park(input, reason);
        }
        if is_replica::<S>(input.source) {
            self.replicate(input);
            return Ok(());
        }
        let blocked = &self.projection.blocked;
        let is_behind = |input: &Input<S>| blocked.contains(&input.shop, &input.aggregate);
        // What was parked since they were merged may be of any of their aggregates.
        if !input.merged.is_empty() && (is_behind(input) || input.merged.iter().any(is_behind)) {
            return Err(BEHIND_PARKED.to_owned());
        }
        if is_behind(input) && input.redriven.is_none() {
            return self.park(input, BEHIND_PARKED);
        }
        let aggregate = (input.shop.clone(), input.aggregate.clone());
        if input.redriven.is_some() && self.still_parked.contains(&aggregate) {
            return Ok(());
        }
        match &input.content {
            Content::Unreadable(reason) if !input.merged.is_empty() => Err(reason.clone()),
            Content::Unreadable(reason) => self.park(input, reason),
            Content::Resume => self.record_redriven(input),
            Content::Drop { reason, command_id } => self.record_dropped(input, reason, command_id),
            Content::Decide(decidable) => self.decide(input, decidable),
        }?;
        // Before anything is published: what is in the log and in no database stops the partition.
        let may_hold_nul = self.holds_nul();
        self.projection.refusal(&input.shop, may_hold_nul).map_or(Ok(()), Err)
    }

    /// Whether a byte of the events is zero, as it is in every text with a NUL character.
    fn holds_nul(&self) -> bool {
        self.current.iter().any(|message| message.payload.contains(&0))
    }

    /// Takes an event of another service into the replica. One that cannot be read is passed over:
    /// the other service's log keeps it, and a rebuild by a version that can read it takes it in.
    fn replicate(&mut self, input: &Input<S>) {
        let failure = match &input.content {
            Content::Unreadable(reason) => reason.clone(),
            Content::Resume | Content::Drop { .. } => return,
            Content::Decide(fact) => {
                let may_hold_nul = input.payload.contains(&0);
                match self.projection.replicate(&input.shop, fact, may_hold_nul) {
                    None => return,
                    Some(failure) => failure,
                }
            }
        };
        if self.projection.is_missing(&input.shop) {
            return;
        }
        self.metrics.replica_error(input.source);
        tracing::error!(
            subject = input.subject,
            sequence = input.sequence,
            reason = failure,
            "cannot take an event into a replica"
        );
    }

    fn decide(&mut self, input: &Input<S>, decidable: &S::Input) -> Result<(), String> {
        self.record_redriven(input)?;
        if let Some(command) = &input.command
            && let Some(known) = self.settled_answer(&input.shop, &command.id)
        {
            self.reply(input, command, &known, true);
            return Ok(());
        }
        let (service, now) = (self.service, self.now);
        let state = &self.projection.state(&input.shop).service;
        let decided = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let decision = service.decide(state, decidable, now);
            let has_effect = decision.has_effect();
            (decision.events, decision.answer.as_ref().map(S::encode_answer), has_effect)
        }));
        let (events, answer, has_effect) = decided.map_err(|panic| panic_text(&*panic))?;
        if self.projection.is_missing(&input.shop) {
            return Ok(());
        }
        if events.len() > MAX_EVENTS_PER_INPUT {
            let events = events.len();
            return Err(format!(
                "{events} events would follow from it, and {MAX_EVENTS_PER_INPUT} are the most"
            ));
        }
        match &input.command {
            None => events.into_iter().try_for_each(|event| self.record(input, event, "")),
            Some(command) => {
                let answered = proto::Answered {
                    command_id: command.id.clone(),
                    fingerprint: command.fingerprint.clone(),
                    body: answer.unwrap_or_default(),
                    has_effect,
                };
                self.record_answered(input, command, events, answered)
            }
        }
    }

    /// What was answered to a command that is not decided anew.
    fn settled_answer(&mut self, shop: &Shop, command_id: &str) -> Option<AnswerRow> {
        let known = self.projection.state(shop).answers.get(&command_id.to_owned()).cloned();
        known.filter(|row| row.has_effect && self.projection.is_remembered(row.sequence))
    }

    /// Records that old answers are forgotten, when events of enough days have followed.
    fn forget_answers(&mut self) {
        if let Some(before) = self.projection.forgettable() {
            let kind = Kind::AnswersForgotten(proto::AnswersForgotten { before });
            self.record_unasked(kind, "forgotten");
        }
    }
}
