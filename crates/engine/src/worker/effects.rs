//! Operations: what is pending is carried out, one attempt at a time.
//!
//! Waiting is an entry with a due time, never a task that sleeps. Attempts that run at the same time
//! are limited in all, for each shop and for each of its destinations, and those who wait take turns: what
//! a slow destination holds up is itself, and what a shop does with many of them is its own affair.

mod of_service;
mod rows;
mod schedule;

use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures::FutureExt;
use protocol::{id::Shop, time::Timestamp};
use sqlx::AnyPool;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::{
    Attempt, Attempted, Clock, InternalInput, LiveRow, Operation, OperationColumn, StoreError,
    projection::{documents::TableChanges, fold::panic_text, in_time::in_time},
    worker::spans,
};

pub(crate) use self::{of_service::EffectsOf, rows::save_attempts};
use self::{
    rows::{Announced, announced},
    schedule::{Lane, Schedule},
};

/// How long an operation whose attempt panicked waits for the next one, in milliseconds.
const PANIC_PAUSE_MS: i64 = 60_000;

/// The operations of a partition.
pub(crate) struct Operations<S: crate::Service> {
    service: Arc<S>,
    effects: EffectsOf<S>,
    partition: u32,
    pool: AnyPool,
    clock: Clock,
    pending: HashMap<String, Pending>,
    /// By shop and key: the operation that its row announces.
    by_row: HashMap<(Shop, String), String>,
    schedule: Schedule,
    attempts: JoinSet<(String, Lane, Finished<S::Input>)>,
    /// The operations that are being attempted, also those that no row announces any more.
    attempted: HashSet<String>,
    /// By operation: the last retry that is not written down yet.
    unsaved: HashMap<String, (u32, Timestamp)>,
    /// Tells the attempts that the worker stops.
    stopping: CancellationToken,
}

struct Pending {
    operation: Operation,
    /// Tells an attempt that runs how the row changes.
    documents: watch::Sender<String>,
    /// When it is due, while it waits.
    due: Timestamp,
    lane: Lane,
    attempts: u32,
    may_be_known: bool,
    state: PendingState,
    since: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PendingState {
    Waiting,
    Ready,
    Running,
    /// It was let go and announced again, and the attempt that was being made then is not over.
    Blocked,
    /// Its outcome is handed in; the event that settles it has yet to be decided.
    Done,
}

enum Finished<I> {
    Attempted(Attempted<I>),
    Panicked(String),
}

impl<S: crate::Service> Operations<S> {
    /// Takes up what is pending in the database: in a process that is gone it may have been begun.
    pub(crate) async fn recover(
        service: Arc<S>,
        effects: EffectsOf<S>,
        partition: u32,
        pool: AnyPool,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let now = clock.now();
        let mut operations = Self {
            service,
            effects,
            partition,
            pool,
            clock,
            pending: HashMap::new(),
            by_row: HashMap::new(),
            schedule: Schedule::default(),
            attempts: JoinSet::new(),
            attempted: HashSet::new(),
            unsaved: HashMap::new(),
            stopping: CancellationToken::new(),
        };
        operations.load(now).await?;
        Ok(operations)
    }

    async fn load(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let pending = rows::pending(&self.pool, self.partition, self.effects.column);
        for pending in in_time(pending).await? {
            let rows::Pending { row, announced, attempts, retry } = pending;
            // A row that says when it is due says it of now; when the last attempt put it off, the row may
            // have been another one.
            let due = announced.due.or(retry).unwrap_or(now);
            self.add(row, announced, attempts, true, due, now);
        }
        Ok(())
    }

    /// Takes up what the rows of a batch announce, and lets go what they have settled.
    pub(crate) fn follow(
        &mut self,
        changes: &[TableChanges],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let OperationColumn { table, column, due } = self.effects.column;
        for changed in changes.iter().filter(|changes| changes.table.name == table) {
            let index = |name| changed.table.columns.iter().position(|known| known.name == name);
            let Some(at) = index(column) else { continue };
            let due_at = due.and_then(index);
            for (shop, row) in &changed.rows {
                let announced = match &row.row {
                    Some(row) => announced(&**row, at, due_at)?,
                    None => None,
                };
                self.follow_row(shop, &row.key, announced, now);
            }
        }
        Ok(())
    }

    fn follow_row(&mut self, shop: &Shop, key: &str, announced: Option<Announced>, now: Timestamp) {
        let row = (shop.clone(), key.to_owned());
        let known = self.by_row.get(&row).cloned();
        match announced {
            Some(announced) if known.as_ref() == Some(&announced.id) => self.change(announced),
            Some(announced) => {
                if let Some(id) = known {
                    self.remove(&id);
                }
                let due = announced.due.unwrap_or(now);
                self.add(row, announced, 0, false, due, now);
            }
            None => {
                if let Some(id) = known {
                    self.remove(&id);
                }
            }
        }
    }

    /// Takes over how a row has changed that announces the same operation as before.
    fn change(&mut self, announced: Announced) {
        let Announced { id, document, due } = announced;
        let Some(pending) = self.pending.get_mut(&id) else { return };
        pending.documents.send_replace(document.clone());
        pending.operation.document = document;
        if let Some(due) = due
            && pending.state == PendingState::Waiting
            && due != pending.due
        {
            self.schedule.cancel(pending.due, id.clone());
            pending.due = due;
            self.schedule.wait(due, id);
        }
    }

    fn add(
        &mut self,
        (shop, key): (Shop, String),
        announced: Announced,
        attempts: u32,
        may_be_known: bool,
        due: Timestamp,
        now: Timestamp,
    ) {
        let Announced { id, document, .. } = announced;
        let (documents, following) = watch::channel(document.clone());
        let live = LiveRow::new(following, self.pool.clone(), self.stopping.clone());
        let operation = Operation { id, shop, key, document, live };
        let destination = catch_unwind(AssertUnwindSafe(|| {
            (self.effects.destination)(&self.service, &operation)
        }));
        let lane = (operation.shop.clone(), destination.unwrap_or_default());
        let id = operation.id.clone();
        self.by_row.insert((operation.shop.clone(), operation.key.clone()), id.clone());
        let state = PendingState::Waiting;
        let since = now;
        let pending =
            Pending { operation, documents, due, lane, attempts, may_be_known, state, since };
        self.pending.insert(id.clone(), pending);
        self.schedule.wait(due, id);
    }

    fn remove(&mut self, id: &str) {
        if let Some(pending) = self.pending.remove(id) {
            self.by_row.remove(&(pending.operation.shop, pending.operation.key));
            if pending.attempts > 0 {
                // Settled: nobody looks for it again.
                self.unsaved.insert(id.to_owned(), (0, Timestamp::from_millis(0)));
            }
        }
    }

    /// Takes up the operation of an aggregate again whose outcome could not be handled.
    pub(crate) fn resume(&mut self, shop: &Shop, key: &str, now: Timestamp) {
        let Some(id) = self.by_row.get(&(shop.clone(), key.to_owned())).cloned() else { return };
        if let Some(pending) = self.pending.get_mut(&id)
            && pending.state == PendingState::Done
        {
            pending.state = PendingState::Waiting;
            pending.may_be_known = true;
            pending.due = now;
            self.schedule.wait(now, id);
        }
    }

    /// Starts what is due, as far as there are slots.
    pub(crate) fn start_due(&mut self, now: Timestamp) {
        while let Some(id) = self.schedule.next_due(now) {
            // One that was let go and announced again may be in the schedule twice.
            if let Some(pending) = self.pending.get_mut(&id)
                && pending.state == PendingState::Waiting
            {
                pending.state = PendingState::Ready;
                self.schedule.ready(pending.lane.clone(), id);
            }
        }
        while let Some((lane, id)) = self.schedule.next_ready() {
            self.start(lane, &id, now);
        }
    }

    /// Starts an attempt, which occupies a slot of its lane.
    fn start(&mut self, lane: Lane, id: &str, now: Timestamp) {
        let pending = self.pending.get_mut(id);
        let Some(pending) = pending.filter(|pending| pending.state == PendingState::Ready) else {
            // Settled while it waited.
            return self.schedule.release(&lane);
        };
        if !self.attempted.insert(id.to_owned()) {
            pending.state = PendingState::Blocked;
            return self.schedule.release(&lane);
        }
        pending.attempts += 1;
        pending.state = PendingState::Running;
        let attempt = Attempt {
            number: pending.attempts,
            may_be_known: pending.may_be_known || pending.attempts > 1,
            now,
        };
        let (service, operation) = (self.service.clone(), pending.operation.clone());
        let EffectsOf { execute, context, .. } = self.effects;
        self.attempts.spawn(async move {
            let id = operation.id.clone();
            let context = catch_unwind(AssertUnwindSafe(|| context(&operation)));
            let traceparent = context.unwrap_or_default().traceparent;
            let span = spans::effect::<S>(&operation, attempt, &traceparent);
            let attempted = AssertUnwindSafe(async { execute(service, operation, attempt).await });
            let attempted = attempted.catch_unwind().instrument(span.clone()).await;
            (id, lane, finished(attempted, &span))
        });
    }

    /// Waits until an attempt is over; yields its outcome, when there is one. Never returns while
    /// nothing runs.
    pub(crate) async fn finished(&mut self) -> Option<InternalInput<S::Input>> {
        let Some(Ok((id, lane, finished))) = self.attempts.join_next().await else {
            return std::future::pending().await;
        };
        // Whatever has become of the operation meanwhile, its slot is free.
        self.schedule.release(&lane);
        self.attempted.remove(&id);
        let Some(pending) = self.pending.get_mut(&id) else {
            // No row announces it any more. What has happened has happened: the rules decide what follows.
            let Finished::Attempted(Attempted::Done(outcome)) = finished else { return None };
            return Some(outcome);
        };
        match finished {
            Finished::Attempted(Attempted::Done(outcome)) => {
                if pending.state == PendingState::Waiting {
                    self.schedule.cancel(pending.due, id);
                }
                pending.state = PendingState::Done;
                Some(outcome)
            }
            Finished::Attempted(Attempted::RetryAt(due)) => {
                match pending.state {
                    PendingState::Running => self.retry(&id, due),
                    // What put it off was how things were before it was announced again.
                    PendingState::Blocked => self.retry(&id, self.clock.now()),
                    PendingState::Waiting | PendingState::Ready | PendingState::Done => {}
                }
                None
            }
            Finished::Panicked(reason) => {
                tracing::error!(operation.id = id, reason, "an attempt panicked");
                if let PendingState::Running | PendingState::Blocked = pending.state {
                    let due = self.clock.now().millis() + PANIC_PAUSE_MS;
                    self.retry(&id, Timestamp::from_millis(due));
                }
                None
            }
        }
    }

    /// Tells the attempts that the worker stops.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    /// Whether an attempt is being made.
    pub(crate) fn is_running(&self) -> bool {
        !self.attempts.is_empty()
    }

    fn retry(&mut self, id: &str, due: Timestamp) {
        let Some(pending) = self.pending.get_mut(id) else { return };
        pending.state = PendingState::Waiting;
        pending.due = due;
        self.unsaved.insert(id.to_owned(), (pending.attempts, due));
        self.schedule.wait(due, id.to_owned());
    }

    /// Takes the retries that are not written down yet: operation, attempts (0 when it is settled),
    /// and when it is due.
    pub(crate) fn take_unsaved(&mut self) -> Vec<(String, u32, Timestamp)> {
        self.unsaved.drain().map(|(id, (attempts, due))| (id, attempts, due)).collect()
    }

    /// How many operations are pending, running and waiting for a later time, and since when the
    /// oldest is pending.
    pub(crate) fn counts(&self) -> (usize, usize, usize, Option<Timestamp>) {
        let oldest = self.pending.values().map(|pending| pending.since).min();
        (self.schedule.ready_len(), self.attempts.len(), self.schedule.waiting_len(), oldest)
    }
}

/// What came of an attempt. What follows from its outcome continues the span of the attempt.
fn finished<I>(attempted: std::thread::Result<Attempted<I>>, span: &Span) -> Finished<I> {
    match attempted {
        Ok(Attempted::Done(mut outcome)) => {
            span.record("operation.kind", outcome.cause.kind.as_str());
            span.record("operation.outcome", "done");
            if let Some(traceparent) = trace_context::traceparent_of(span) {
                outcome.context.traceparent = traceparent;
            }
            Finished::Attempted(Attempted::Done(outcome))
        }
        Ok(retry @ Attempted::RetryAt(_)) => {
            span.record("operation.outcome", "retry");
            Finished::Attempted(retry)
        }
        Err(panic) => {
            span.record("operation.outcome", "panicked");
            Finished::Panicked(panic_text(&*panic))
        }
    }
}
