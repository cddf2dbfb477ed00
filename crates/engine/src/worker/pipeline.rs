//! What happens to a plan after it is decided: its events are appended, its senders answered, its
//! rows written. Each step is a task of its own, so that the next batch is decided while this one is
//! on its way: the fence of the log makes that safe, and a failed step ends all of them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use async_nats::Client;
use sqlx::AnyPool;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tracing::Instrument;

use crate::{
    Error, Service,
    jetstream::{
        log::Log,
        publish::{MAX_SINGLES, Outgoing},
        streams,
    },
    metrics::{BatchStep, PartitionMetrics},
    projection::{fold::Changes, merge::MergedChanges, positions::Positions, store},
    worker::{
        faults::{Faults, Step},
        plan::BatchPlan,
        projected::Projected,
        reply,
        spans::BatchSpan,
    },
};

/// Plans that wait to be appended, beside the one that is being appended.
const MAX_WAITING_TO_APPEND: usize = 1;
/// Plans that wait for the database to be free: the log does not wait for it before.
const MAX_WAITING_TO_PROJECT: usize = 16;
/// The least time between two commits, unless somebody waits for one: a row that several batches
/// change meanwhile is written once. After a crash, as much of the log is folded.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Rows that are written at once, whenever the last commit was: the memory that they take is bounded.
const MAX_UNWRITTEN_ROWS: usize = 10_000;

/// What the pipeline is made of.
pub(crate) struct Parts {
    pub(crate) partition: u32,
    pub(crate) client: Client,
    pub(crate) pool: AnyPool,
    pub(crate) faults: Faults,
    pub(crate) log: Log,
    /// Whether several servers store the log.
    pub(crate) is_replicated: bool,
    /// What the database holds.
    pub(crate) durable: Positions,
    /// Says how far the projection is.
    pub(crate) projected: Arc<Projected>,
    pub(crate) metrics: Arc<PartitionMetrics>,
}

/// What has become of a plan.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Its events are in the log.
    Appended { batch: u64 },
    /// Its rows are in the database.
    Projected { batch: u64 },
}

/// The steps behind the worker. Dropped, it stops at once.
pub(crate) struct Pipeline {
    plans: Option<mpsc::Sender<BatchPlan>>,
    progress: mpsc::UnboundedReceiver<Progress>,
    tasks: JoinSet<Result<(), Error>>,
    /// Plans handed in and not yet appended.
    appending: usize,
}

impl Pipeline {
    pub(crate) fn start<S: Service>(parts: Parts) -> Self {
        let (plans, waiting) = mpsc::channel(MAX_WAITING_TO_APPEND);
        let (appended, to_project) = mpsc::channel(MAX_WAITING_TO_PROJECT);
        let (report, progress) = mpsc::unbounded_channel();
        let Parts {
            partition,
            client,
            pool,
            faults,
            log,
            is_replicated,
            durable,
            projected,
            metrics,
        } = parts;
        let mut tasks = JoinSet::new();
        let publisher = Publisher {
            stream: streams::log(S::NAME, partition),
            client,
            faults: faults.clone(),
            log,
            is_replicated,
            projected: projected.clone(),
            report: report.clone(),
            metrics: metrics.clone(),
        };
        tasks.spawn(publisher.run::<S>(waiting, appended));
        let projector = Projector { partition, pool, faults, durable, projected, report, metrics };
        tasks.spawn(projector.run::<S>(to_project));
        Self { plans: Some(plans), progress, tasks, appending: 0 }
    }

    /// How many plans are not yet appended.
    pub(crate) fn appending(&self) -> usize {
        self.appending
    }

    /// Hands a plan in; waits while too many are waiting.
    pub(crate) async fn push(&mut self, plan: BatchPlan) -> Result<(), Error> {
        let closed = match &self.plans {
            Some(plans) => plans.send(plan).await.is_err(),
            None => true,
        };
        if closed {
            return Err(self.failure().await);
        }
        self.appending += 1;
        Ok(())
    }

    /// Waits until something has become of a plan.
    pub(crate) async fn next(&mut self) -> Result<Progress, Error> {
        tokio::select! {
            biased;
            Some(progress) = self.progress.recv() => {
                if let Progress::Appended { .. } = progress {
                    self.appending -= 1;
                }
                Ok(progress)
            }
            Some(ended) = self.tasks.join_next() => Err(self.cause(ended).await),
        }
    }

    /// Finishes what was handed in.
    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        self.plans = None;
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                other => return Err(failed(other)),
            }
        }
        Ok(())
    }

    /// Why a step has ended: the one behind a failed one ends as well, without a reason of its own.
    async fn cause(&mut self, ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Error {
        match ended {
            Ok(Ok(())) => self.failure().await,
            other => failed(other),
        }
    }

    /// The reason of the step that failed.
    async fn failure(&mut self) -> Error {
        while let Some(ended) = self.tasks.join_next().await {
            if !matches!(ended, Ok(Ok(()))) {
                return failed(ended);
            }
        }
        Error::StepEnded("it gave no reason".to_owned())
    }
}

fn failed(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Error {
    match ended {
        Ok(Ok(())) => Error::StepEnded("it was not asked to".to_owned()),
        Ok(Err(error)) => error,
        Err(panic) => Error::StepEnded(panic.to_string()),
    }
}

/// Appends the events of plans and answers the senders.
struct Publisher {
    stream: String,
    client: Client,
    faults: Faults,
    log: Log,
    is_replicated: bool,
    projected: Arc<Projected>,
    report: mpsc::UnboundedSender<Progress>,
    metrics: Arc<PartitionMetrics>,
}

impl Publisher {
    async fn run<S: Service>(
        mut self,
        mut plans: mpsc::Receiver<BatchPlan>,
        appended: mpsc::Sender<BatchPlan>,
    ) -> Result<(), Error> {
        while let Some(mut plan) = plans.recv().await {
            self.publish::<S>(&mut plan).await?;
            self.projected.append(plan.last);
            // The events are in the log, so the answers hold, whatever becomes of the database.
            let strikes = !plan.parts.is_empty() && self.faults.strikes(S::NAME, Step::BeforeReply);
            if strikes {
                return Err(Error::Stopped(Step::BeforeReply));
            }
            reply::send(&self.client, std::mem::take(&mut plan.replies)).await;
            self.report.send(Progress::Appended { batch: plan.batch }).ok();
            if appended.send(plan).await.is_err() {
                // The projector has failed, and says why. `plans` must close: the worker may be
                // handing in the next one, and looks for a reason only when that fails.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Appends the events of a plan, and counts them.
    async fn publish<S: Service>(&mut self, plan: &mut BatchPlan) -> Result<(), Error> {
        if plan.parts.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let events = plan.parts.iter().map(Vec::len).sum();
        let span = plan.span.publish::<S>(&self.stream, events);
        self.append::<S>(plan).instrument(span).await?;
        self.metrics.step(BatchStep::Publish, started.elapsed());
        for (event, count) in std::mem::take(&mut plan.events) {
            self.metrics.events(event, count);
        }
        for after_append in plan.after_append.drain(..) {
            if catch_unwind(AssertUnwindSafe(after_append)).is_err() {
                tracing::error!(service = S::NAME, "what follows an append panicked");
            }
        }
        Ok(())
    }

    async fn append<S: Service>(&mut self, plan: &BatchPlan) -> Result<(), Error> {
        let are_singles = plan.parts.iter().all(|part| part.len() == 1);
        if are_singles && plan.parts.len() <= MAX_SINGLES && self.is_replicated {
            // Several servers keep a batch in memory until it is complete: it takes as long as one message.
            return self.append_part::<S>(&plan.parts.concat()).await;
        }
        // One after the other, also single messages. If they were on their way at the same time, each
        // fenced by the sequence before it, and another writer came in between with one message, then the
        // first would be refused, and the second be stored behind that message as if nothing had happened.
        for part in &plan.parts {
            self.append_part::<S>(part).await?;
        }
        Ok(())
    }

    async fn append_part<S: Service>(&mut self, part: &[Outgoing]) -> Result<(), Error> {
        if self.faults.strikes(S::NAME, Step::BeforePublish) {
            return Err(Error::Stopped(Step::BeforePublish));
        }
        let lose = self.faults.strikes(S::NAME, Step::LoseAcknowledgement);
        self.log.append(part, lose).await
    }
}

/// Writes the rows of plans whose events are in the log.
struct Projector {
    partition: u32,
    pool: AnyPool,
    faults: Faults,
    durable: Positions,
    projected: Arc<Projected>,
    report: mpsc::UnboundedSender<Progress>,
    metrics: Arc<PartitionMetrics>,
}

/// Plans whose rows are written together.
#[derive(Default)]
struct Gathered {
    changes: MergedChanges,
    has_events: bool,
    /// Of the last plan: the number of its batch, and the last sequence of the log after it.
    batch: u64,
    last: u64,
    span: BatchSpan,
}

impl Gathered {
    fn push(&mut self, plan: BatchPlan) {
        self.has_events |= !plan.parts.is_empty();
        self.changes.push(plan.changes);
        (self.batch, self.last) = (plan.batch, plan.last);
        self.span = std::mem::take(&mut self.span).or(plan.span);
    }
}

impl Projector {
    async fn run<S: Service>(mut self, mut plans: mpsc::Receiver<BatchPlan>) -> Result<(), Error> {
        let mut next_commit = Instant::now();
        while let Some(gathered) = self.gather(&mut plans, next_commit).await {
            let Gathered { changes, has_events, batch, last, span } = gathered;
            let started = Instant::now();
            next_commit = started + COMMIT_INTERVAL;
            if has_events && self.faults.strikes(S::NAME, Step::BeforeProject) {
                return Err(Error::Stopped(Step::BeforeProject));
            }
            let span = span.project::<S>(changes.rows());
            self.commit::<S>(changes.into_changes()).instrument(span).await?;
            if has_events && self.faults.strikes(S::NAME, Step::AfterProject) {
                return Err(Error::Stopped(Step::AfterProject));
            }
            self.projected.reach(last);
            self.metrics.step(BatchStep::Project, started.elapsed());
            self.report.send(Progress::Projected { batch }).ok();
        }
        Ok(())
    }

    /// The plans to be written next; `None` when there will be none. Waits for one, and then until
    /// `next_commit`, until there is enough, or until somebody waits for what is there.
    async fn gather(
        &self,
        plans: &mut mpsc::Receiver<BatchPlan>,
        next_commit: Instant,
    ) -> Option<Gathered> {
        let mut gathered = Gathered::default();
        gathered.push(plans.recv().await?);
        while gathered.changes.rows() < MAX_UNWRITTEN_ROWS {
            let next = tokio::select! {
                biased;
                next = timeout_at(next_commit, plans.recv()) => next,
                () = self.projected.is_wanted(gathered.last) => break,
            };
            match next {
                Ok(Some(plan)) => gathered.push(plan),
                Ok(None) | Err(_) => break,
            }
        }
        Some(gathered)
    }

    async fn commit<S: Service>(&mut self, changes: Changes) -> Result<(), Error> {
        if changes.positions == self.durable && changes.tables.is_empty() {
            return Ok(());
        }
        store::commit::<S>(&self.pool, self.partition, &self.durable, &changes).await?;
        self.durable = changes.positions;
        Ok(())
    }
}
