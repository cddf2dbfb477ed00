//! Sending: what is due to an endpoint, by HTTP or by mail, is sent, several deliveries at a time, and what came of many is
//! handed in at once.
//!
//! An endpoint announces an operation for as long as something waits for it. An attempt at that
//! operation sends what is due, follows the row of the endpoint meanwhile, so that what is scheduled
//! now goes out now, and ends with the outcomes of some deliveries. Requests that take longer stay
//! under way in the memory of this process, in the `lane` of their endpoint; the next attempt collects
//! them. So one request that hangs delays no other, and what hangs holds no slot of the engine for long.

mod lane;
mod lanes;
mod mailing;
mod rate;
mod ready;
mod recorder;
mod reply;
mod select;
mod sent;
mod slots;
mod target;
mod turns;
mod under_way;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use engine::{
    Attempt, Attempted, Cause, Client, Clock, Context, Effects, InternalInput, Operation,
    OperationColumn, Row,
};
use mail::Mailer;
use person_keys::PersonKeys;
use protocol::{id::Shop, time::Timestamp};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use webhook_http::{Policy, Sender};

use self::{
    lane::{Lane, MAX_ROUND},
    lanes::Lanes,
    ready::Ready,
    select::SelectError,
    sent::{RequestRecord, Sent},
    slots::Slots,
    target::Target,
    under_way::UnderWay,
};
use crate::{
    Notify, Settings, SetupError,
    domain::{
        Endpoint, Input, Rendering,
        rows::EndpointRow,
        schedule::{max_attempts, pauses},
    },
};

/// How long outcomes are collected before they are handed in.
const COLLECT_INTERVAL: Duration = Duration::from_millis(100);
/// How long an attempt waits for the first outcome, before it lets others have its slot.
const FIRST_OUTCOME_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an attempt waits for what is under way when the process stops.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// The pause after which what could not be sent is looked at again.
const RECHECK_INTERVAL: Duration = Duration::from_millis(200);
/// The pause after what only an operator can settle.
const OPERATOR_PAUSE: Duration = Duration::from_mins(10);
/// The pause after which is looked whether one more may be sent in this second.
const LOOK_FOR_TOKEN: Duration = Duration::from_millis(20);
/// The most requests of this process that are under way at the same time.
const MAX_REQUESTS: usize = 1_024;

/// What deliveries are sent with.
#[derive(Clone)]
pub(crate) struct DeliveryContext {
    pub(crate) sender: Sender,
    pub(crate) policy: Policy,
    pub(crate) keys: Option<PersonKeys>,
    /// Sends mails; absent where there is no mail server.
    pub(crate) mailer: Option<Mailer>,
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    user_agent: Arc<str>,
    lanes: Arc<Lanes>,
    slots: Arc<Slots>,
    /// Which deliveries have a request under way.
    pub(crate) under_way: Arc<UnderWay>,
}

impl std::fmt::Debug for DeliveryContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveryContext").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl DeliveryContext {
    pub(crate) fn new(
        settings: Settings,
        client: Client,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        let Settings { policy, keys, mail_server, retry_pauses_s: _ } = settings;
        Ok(Self {
            sender: Sender::new(policy.clone())?,
            mailer: mail_server.map(Mailer::new).transpose()?,
            user_agent: policy.user_agent.as_str().into(),
            slots: Slots::new(MAX_REQUESTS),
            lanes: Arc::default(),
            under_way: Arc::default(),
            policy,
            keys,
            client,
            clock,
        })
    }

    /// How many lanes there are for a partition, and how many of its endpoints cannot be sent to. Lanes
    /// that are idle are dropped first.
    pub(crate) fn count(&self, partition: u32) -> (u64, u64) {
        self.lanes.sweep(Instant::now());
        let (lanes, problems) = self.lanes.count(partition);
        (lanes, problems.values().sum())
    }

    /// Why endpoints of a partition cannot be sent to.
    pub(crate) fn problems(&self, partition: u32) -> Vec<String> {
        let (_, problems) = self.lanes.count(partition);
        let mut problems: Vec<_> = problems
            .into_iter()
            .map(|(problem, count)| format!("endpoints not sent to: {count}: {problem}"))
            .collect();
        problems.sort();
        problems
    }
}

impl Effects for Notify {
    const OPERATION: OperationColumn = OperationColumn {
        table: EndpointRow::TABLE.name,
        column: "operation",
        due: Some("due_at"),
    };

    fn destination(&self, operation: &Operation) -> String {
        operation.key.clone()
    }

    async fn execute(&self, operation: &Operation, attempt: Attempt) -> Attempted<Input> {
        let row = serde_json::from_str::<EndpointRow>(&operation.document);
        let (Some(outside), Ok(row)) = (&self.outside, row) else {
            tracing::error!(operation.id = operation.id, "an endpoint cannot be sent to");
            return Attempted::RetryAt(attempt.now + OPERATOR_PAUSE);
        };
        let partition = outside.client.partition(&operation.shop);
        let lane = outside.lanes.open(&operation.shop, &row.id, partition);
        let mut lane = lane.lock().await;
        lane.confirm(&row.endpoint.ledger);
        let sending = Sending {
            notify: self,
            outside,
            operation,
            endpoint: row.endpoint,
            target: None,
            id: row.id,
        };
        sending.run(&mut lane).await
    }
}

/// An attempt to send what is due to an endpoint.
struct Sending<'a> {
    notify: &'a Notify,
    outside: &'a DeliveryContext,
    operation: &'a Operation,
    id: String,
    endpoint: Endpoint,
    /// Where its deliveries go, at a revision of the endpoint.
    target: Option<(u64, Arc<Target>)>,
}

impl Sending<'_> {
    async fn run(mut self, lane: &mut Lane) -> Attempted<Input> {
        let mut live = self.operation.live.clone();
        let started = Instant::now();
        loop {
            if self.operation.live.is_stopping() {
                return self.last_outcome(lane).await;
            }
            let now = self.outside.clock.now();
            // What it knows of the endpoint is of before, once nothing is to be sent any more: it may be disabled.
            let is_over = self.operation.live.is_over();
            let look_at = if is_over { None } else { self.start_due(lane, now).await };
            let is_idle = lane.in_flight.is_empty();
            // What is under way belongs to it: when nothing may be sent for a while, nobody collects it.
            let is_urgent = lane.is_urgent() && is_idle;
            let is_full = lane.finished.len() >= MAX_ROUND || is_urgent;
            let collected = lane.finished_since.is_some_and(|it| it.elapsed() >= COLLECT_INTERVAL);
            if is_full || collected || (is_idle && lane.has_outcome() && lane.finished.is_empty()) {
                return Attempted::Done(self.outcome(lane).await);
            }
            if is_idle && !lane.has_outcome() {
                let at = look_at.or(self.endpoint.due()).unwrap_or(now);
                return Attempted::RetryAt(at.max(now + RECHECK_INTERVAL));
            }
            let collect_until = lane.finished_since.map(|since| since + COLLECT_INTERVAL);
            let give_up_at = started + FIRST_OUTCOME_TIMEOUT;
            let pause = look_at.map_or(FIRST_OUTCOME_TIMEOUT, |at| {
                Duration::from_millis((at.millis() - now.millis()).max(1) as u64)
            });
            tokio::select! {
                Some(sent) = lane.in_flight.join_next(), if !is_idle => match sent {
                    Ok(sent) => lane.finish(sent),
                    Err(error) => {
                        // It is not known which: all that is under way is sent anew.
                        tracing::error!(endpoint.id = self.id, %error, "a delivery was not sent");
                        *lane = Lane::default();
                        lane.confirm(&self.endpoint.ledger);
                    }
                },
                document = live.changed() => self.follow(&document, lane),
                () = self.operation.live.stopping() => {}
                () = sleep_until(collect_until.unwrap_or(give_up_at)), if collect_until.is_some() => {}
                () = sleep(pause), if look_at.is_some() => {}
                () = sleep_until(give_up_at), if collect_until.is_none() => {
                    // What hangs is collected later.
                    return Attempted::RetryAt(self.outside.clock.now() + FIRST_OUTCOME_TIMEOUT);
                }
            }
        }
    }

    /// Starts nothing any more, and waits a moment for what is under way: so that it is not sent again
    /// after the next start.
    async fn last_outcome(&self, lane: &mut Lane) -> Attempted<Input> {
        let end = Instant::now() + STOP_TIMEOUT;
        while let Ok(Some(Ok(sent))) = timeout_at(end, lane.in_flight.join_next()).await {
            lane.finish(sent);
        }
        let has_outcome = lane.has_outcome();
        let outcome = if has_outcome { Some(self.outcome(lane).await) } else { None };
        recorder::finish(lane).await;
        match outcome {
            Some(outcome) => Attempted::Done(outcome),
            None => Attempted::RetryAt(self.outside.clock.now() + FIRST_OUTCOME_TIMEOUT),
        }
    }

    /// Takes over how the endpoint has changed meanwhile.
    fn follow(&mut self, document: &str, lane: &mut Lane) {
        match serde_json::from_str::<EndpointRow>(document) {
            Ok(row) => {
                self.endpoint = row.endpoint;
                lane.drop_what_is_over(&self.endpoint.ledger);
            }
            Err(error) => tracing::error!(endpoint.id = self.id, %error, "a row does not read"),
        }
    }

    /// The outcome of some deliveries, as an input.
    async fn outcome(&self, lane: &mut Lane) -> InternalInput<Input> {
        let round = lane.take_round();
        recorder::record(self.outside, &self.operation.shop, &self.id, lane).await;
        InternalInput {
            shop: self.operation.shop.clone(),
            aggregate: self.id.clone(),
            cause: Cause { id: self.operation.id.clone(), kind: "operation.deliver".to_owned() },
            context: Context::default(),
            input: Input::Attempted { endpoint_id: self.id.clone(), round },
        }
    }

    /// Starts what is due, as far as the endpoint takes it; says when to look again, if nothing else
    /// happens before.
    async fn start_due(&mut self, lane: &mut Lane, now: Timestamp) -> Option<Timestamp> {
        if !self.endpoint.is_active() {
            return None;
        }
        let target = match self.target(now) {
            Ok(target) => target,
            Err(error) => {
                let problem = Some(error.to_string());
                self.outside.lanes.note(&self.operation.shop, &self.id, problem);
                tracing::error!(endpoint.id = self.id, %error, "an endpoint cannot be sent to");
                return Some(now + OPERATOR_PAUSE);
            }
        };
        let health = &self.endpoint.ledger.health;
        if let Some(paused) = health.paused_until.filter(|paused| now < *paused) {
            return Some(paused);
        }
        if !lane.order_as(self.endpoint.settings.ordering) {
            return None;
        }
        let limit = if health.is_probed() { 1 } else { health.limit as usize };
        let is_full = lane.finished.len() >= MAX_ROUND || lane.is_urgent();
        if lane.in_flight.len() >= limit || is_full {
            return None;
        }
        if let Err(error) = self.select(lane, now).await {
            self.note_unread("what is due", &error);
            return Some(now + RECHECK_INTERVAL);
        }
        self.start_replays(lane).await;
        let rate = self.endpoint.settings.max_per_second;
        while lane.in_flight.len() < limit && (lane.finished.is_empty() || !health.is_probed()) {
            let at = Instant::now();
            if rate.is_some_and(|rate| !lane.bucket.has_token(rate, at)) {
                return Some(now + LOOK_FOR_TOKEN);
            }
            let Some(ready) = turns::next(lane, &self.endpoint, limit, at) else { break };
            if rate.is_some() {
                lane.bucket.take();
            }
            self.start(lane, &target, ready, now);
        }
        let limited = lane.ready.is_replay_limited.then(|| now + LOOK_FOR_TOKEN);
        limited.or(lane.replay_waits_since.map(|_| now + RECHECK_INTERVAL))
    }

    /// Makes ready what replays send next. One that has to wait holds up nothing else.
    async fn start_replays(&self, lane: &mut Lane) {
        if lane.replay_waits_since.is_some_and(|since| since.elapsed() < RECHECK_INTERVAL) {
            return;
        }
        lane.replay_waits_since = None;
        if let Err(error) = self.select_replays(lane).await {
            lane.replay_waits_since = Some(Instant::now());
            self.note_unread("what is replayed", &error);
        }
    }

    /// Logs why something cannot be sent yet. That the database is behind for a moment is as it should be.
    fn note_unread(&self, what: &str, error: &SelectError) {
        let id = &self.id;
        match error {
            SelectError::Behind(_) | SelectError::UnderWay(_) => {
                tracing::debug!(endpoint.id = id, %error, "{what} waits");
            }
            SelectError::Store(_) | SelectError::Log(_) => {
                tracing::warn!(endpoint.id = id, %error, "{what} cannot be read yet");
            }
        }
    }

    fn start(&self, lane: &mut Lane, target: &Arc<Target>, ready: Ready, now: Timestamp) {
        let (kind, begins_anew) = (ready.kind(), ready.begins_anew());
        let Ready { seq, service, event, rendering, key, attempts, is_open, was_delivered, .. } =
            ready;
        let replay = ready.replay.map(|(id, _)| id);
        let asked_by = replay.clone().or(ready.retry_of);
        let pauses_s = pauses(&self.endpoint.settings.retry_pauses_s, &self.notify.retry_pauses_s);
        let is_last = attempts + 1 >= max_attempts(pauses_s);
        lane.flying.insert(seq, (kind, replay.clone()));
        if is_open {
            lane.retried.insert(seq, attempts);
        } else if replay.is_some() {
            // If it fails, its attempts are counted anew.
            lane.retried.remove(&seq);
        }
        if !key.is_empty() {
            lane.busy.insert(key.clone());
        }
        let (outside, target) = (self.outside.clone(), target.clone());
        let settings_version = self.endpoint.settings_version;
        let shop = self.operation.shop.clone();
        let endpoint_id = self.id.clone();
        let delivery =
            Delivery { shop, endpoint_id, seq, service, event, rendering, attempts, asked_by };
        let mut made = RequestRecord {
            number: attempts + 1,
            at: now,
            message_id: String::new(),
            traceparent: String::new(),
            own_headers: [].into(),
            is_recorded: false,
        };
        lane.in_flight.spawn(async move {
            let answer = target.send(&outside, &delivery, &mut made).await;
            Sent {
                asked_by: delivery.asked_by,
                reply: answer,
                seq,
                key,
                is_open,
                was_delivered,
                is_last,
                begins_anew,
                replay,
                settings_version,
                made,
            }
        });
    }
}

/// A delivery that is sent.
struct Delivery {
    shop: Shop,
    endpoint_id: String,
    seq: u64,
    service: Arc<str>,
    event: Bytes,
    rendering: Rendering,
    /// The attempts that are in the log.
    attempts: u32,
    /// The replay that asks for it, now or in an attempt that is tried again.
    asked_by: Option<Arc<str>>,
}

impl Delivery {
    /// Whether nobody has tried to send it before.
    fn is_first(&self) -> bool {
        self.attempts == 0 && self.asked_by.is_none()
    }
}
