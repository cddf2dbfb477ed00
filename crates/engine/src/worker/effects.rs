//! Operations: what is pending is carried out, one attempt at a time.
//!
//! Waiting is an entry with a due time, never a task that sleeps. Attempts that run at the same time
//! are limited in all and for each destination of each shop, and those who wait take turns: what a
//! slow destination holds up is itself.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
};

use futures::FutureExt;
use protocol::{id::Shop, time::Timestamp};
use sqlx::{AnyPool, AssertSqlSafe, Row as _};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::{
    Attempt, Attempted, Clock, Context, Document, Effects, InternalInput, LiveRow, Operation,
    OperationColumn, StoreError,
    projection::{documents::TableChanges, fold::panic_text},
    service::Value,
    worker::spans,
};

/// Attempts that run at the same time, in one partition.
const MAX_RUNNING: usize = 512;
/// Of those, how many may run for one destination of one shop.
const MAX_RUNNING_PER_LANE: usize = 64;
/// How long an operation whose attempt panicked waits for the next one, in milliseconds.
const PANIC_PAUSE_MS: i64 = 60_000;

/// The effects of a service, whatever their type: what the worker calls.
pub(crate) struct EffectsOf<S: crate::Service> {
    pub(crate) column: OperationColumn,
    pub(crate) destination: fn(&S, &Operation) -> String,
    pub(crate) context: fn(&Operation) -> Context,
    #[expect(clippy::type_complexity, reason = "a future behind a function pointer")]
    pub(crate) execute:
        fn(Arc<S>, Operation, Attempt) -> Pin<Box<dyn Future<Output = Attempted<S::Input>> + Send>>,
}

impl<S: crate::Service> Clone for EffectsOf<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: crate::Service> Copy for EffectsOf<S> {}

impl<S: Effects> EffectsOf<S> {
    pub(crate) fn new() -> Self {
        Self {
            column: S::OPERATION,
            destination: S::destination,
            context: S::context,
            execute: |service, operation, attempt| {
                Box::pin(async move { service.execute(&operation, attempt).await })
            },
        }
    }
}

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
    /// What waits for its time.
    due: BTreeSet<(Timestamp, String)>,
    /// What waits for a free slot, by shop and destination; the lanes take turns.
    ready: BTreeMap<Lane, VecDeque<String>>,
    /// The lane that was served last.
    last_lane: Option<Lane>,
    running: HashMap<Lane, usize>,
    attempts: JoinSet<(String, Lane, Finished<S::Input>)>,
    /// By operation: the last retry that is not written down yet.
    unsaved: HashMap<String, (u32, Timestamp)>,
    /// Tells the attempts that the worker stops.
    stopping: CancellationToken,
}

/// A destination of a shop: what waits for it takes turns with the others.
type Lane = (Shop, String);

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
    /// Its outcome is handed in; the event that settles it has yet to be decided.
    Done,
}

/// What a row announces.
struct Announced {
    id: String,
    document: String,
    /// When it is due, where the row says so.
    due: Option<Timestamp>,
}

/// Reads what a row announces from its columns: the operation, and when it is due.
fn announced(
    row: &dyn Document,
    column: usize,
    due: Option<usize>,
) -> Result<Option<Announced>, StoreError> {
    let mut columns = row.columns();
    let due = due.and_then(|at| match columns.get(at) {
        Some(Value::Integer(Some(due))) => Some(Timestamp::from_millis(*due)),
        _ => None,
    });
    match columns.get_mut(column) {
        Some(Value::Text(Some(id))) => {
            let id = std::mem::take(id);
            Ok(Some(Announced { id, document: row.to_json()?, due }))
        }
        _ => Ok(None),
    }
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
            due: BTreeSet::new(),
            ready: BTreeMap::new(),
            last_lane: None,
            running: HashMap::new(),
            attempts: JoinSet::new(),
            unsaved: HashMap::new(),
            stopping: CancellationToken::new(),
        };
        operations.load(now).await?;
        Ok(operations)
    }

    async fn load(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let OperationColumn { table, column, due } = self.effects.column;
        let row_due = due.map_or("cast(null as bigint)".to_owned(), |due| format!("t.{due}"));
        let statement = format!(
            "select t.shop as shop, t.key as key, t.document as document, t.{column} as operation, \
             {row_due} as row_due, a.attempts as attempts, a.due_at as due_at from {table} t \
             left join engine_attempt a on a.operation = t.{column} \
             where t.partition = $1 and t.{column} is not null order by t.shop, t.key"
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(i64::from(self.partition))
            .fetch_all(&self.pool)
            .await?;
        // Those of operations that were settled just before the process was gone.
        let forget = format!(
            "delete from engine_attempt where partition = $1 and operation not in \
             (select {column} from {table} where partition = $1 and {column} is not null)"
        );
        sqlx::query(AssertSqlSafe(forget))
            .bind(i64::from(self.partition))
            .execute(&self.pool)
            .await?;
        for row in &rows {
            let shop: String = row.try_get("shop")?;
            let Ok(shop) = Shop::parse(&shop) else { continue };
            let announced = Announced {
                id: row.try_get("operation")?,
                document: row.try_get("document")?,
                due: row.try_get::<Option<i64>, _>("row_due")?.map(Timestamp::from_millis),
            };
            let attempts = row.try_get::<Option<i64>, _>("attempts")?.unwrap_or(0) as u32;
            let retry = row.try_get::<Option<i64>, _>("due_at")?.map(Timestamp::from_millis);
            // A row that says when it is due says it of now; when the last attempt put it off, the row may
            // have been another one.
            let due = announced.due.or(retry).unwrap_or(now);
            self.add((shop, row.try_get("key")?), announced, attempts, true, due, now);
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
            self.due.remove(&(pending.due, id.clone()));
            pending.due = due;
            self.due.insert((due, id));
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
        self.due.insert((due, id));
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
            self.due.insert((now, id));
        }
    }

    /// Starts what is due, as far as there are slots.
    pub(crate) fn start_due(&mut self, now: Timestamp) {
        while let Some((due, _)) = self.due.first()
            && *due <= now
            && let Some((_, id)) = self.due.pop_first()
        {
            if let Some(pending) = self.pending.get_mut(&id) {
                pending.state = PendingState::Ready;
                self.ready.entry(pending.lane.clone()).or_default().push_back(id);
            }
        }
        while self.attempts.len() < MAX_RUNNING
            && let Some(lane) = self.next_lane()
        {
            self.start_one(&lane, now);
            self.last_lane = Some(lane);
        }
    }

    /// The lane whose turn it is: the first with a free slot after the one that was served last.
    fn next_lane(&self) -> Option<Lane> {
        let has_slot = |lane: &Lane| {
            self.running.get(lane).is_none_or(|running| *running < MAX_RUNNING_PER_LANE)
        };
        let after = self.last_lane.as_ref();
        let later = self.ready.keys().filter(|lane| after.is_none_or(|last| *lane > last));
        let first = self.ready.keys();
        later.chain(first).find(|lane| has_slot(lane)).cloned()
    }

    fn start_one(&mut self, lane: &Lane, now: Timestamp) {
        let Some(queue) = self.ready.get_mut(lane) else { return };
        let id = queue.pop_front();
        if queue.is_empty() {
            self.ready.remove(lane);
        }
        let Some(pending) = id.as_ref().and_then(|id| self.pending.get_mut(id)) else { return };
        pending.attempts += 1;
        pending.state = PendingState::Running;
        *self.running.entry(lane.clone()).or_default() += 1;
        let attempt = Attempt {
            number: pending.attempts,
            may_be_known: pending.may_be_known || pending.attempts > 1,
            now,
        };
        let (service, operation) = (self.service.clone(), pending.operation.clone());
        let EffectsOf { execute, context, .. } = self.effects;
        let lane = lane.clone();
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
        self.release(&lane);
        let pending = self.pending.get_mut(&id)?;
        match finished {
            Finished::Attempted(Attempted::Done(outcome)) => {
                pending.state = PendingState::Done;
                Some(outcome)
            }
            Finished::Attempted(Attempted::RetryAt(due)) => {
                self.retry(&id, due);
                None
            }
            Finished::Panicked(reason) => {
                tracing::error!(operation.id = id, reason, "an attempt panicked");
                let due = self.clock.now().millis() + PANIC_PAUSE_MS;
                self.retry(&id, Timestamp::from_millis(due));
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

    fn release(&mut self, lane: &Lane) {
        if let Some(running) = self.running.get_mut(lane) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(lane);
            }
        }
    }

    fn retry(&mut self, id: &str, due: Timestamp) {
        let Some(pending) = self.pending.get_mut(id) else { return };
        pending.state = PendingState::Waiting;
        pending.due = due;
        self.unsaved.insert(id.to_owned(), (pending.attempts, due));
        self.due.insert((due, id.to_owned()));
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
        (self.ready.values().map(VecDeque::len).sum(), self.attempts.len(), self.due.len(), oldest)
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

/// Writes down when operations are tried again, and forgets those that are settled.
pub(crate) async fn save_attempts(
    pool: &AnyPool,
    partition: u32,
    attempts: &[(String, u32, Timestamp)],
) -> Result<(), StoreError> {
    let (settled, retried): (Vec<_>, Vec<_>) =
        attempts.iter().partition(|(_, attempts, _)| *attempts == 0);
    let retried: Vec<_> =
        retried.iter().map(|(id, attempts, due)| (id, partition, attempts, due.millis())).collect();
    let settled: Vec<_> = settled.iter().map(|(id, ..)| [id]).collect();
    if !retried.is_empty() {
        sqlx::query(
            "insert into engine_attempt (operation, partition, attempts, due_at) \
             select value->>0, cast(value->>1 as bigint), cast(value->>2 as bigint), \
             cast(value->>3 as bigint) from jsonb_each($1) where true \
             on conflict (operation) do update set attempts = excluded.attempts, \
             due_at = excluded.due_at",
        )
        .bind(serde_json::to_string(&retried)?)
        .execute(pool)
        .await?;
    }
    if !settled.is_empty() {
        sqlx::query(
            "delete from engine_attempt where operation in \
             (select value->>0 from jsonb_each($1))",
        )
        .bind(serde_json::to_string(&settled)?)
        .execute(pool)
        .await?;
    }
    Ok(())
}
