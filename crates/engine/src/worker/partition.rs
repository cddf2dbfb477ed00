//! The worker of one partition of a service: it reads, decides, and hands its plans to the pipeline.

mod redrives;
mod report;
mod stop;

use std::{collections::BTreeMap, future::ready, sync::Arc, time::Duration};

use async_nats::Client;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, Span};

use self::redrives::Redriving;
use crate::{
    Clock, Error, Service,
    jetstream::{
        log::{Log, end, last_sequence},
        monitor::Monitor,
        streams,
    },
    metrics::{BatchStep, PartitionMetrics, SourceMetrics},
    operate::parked::RedriveRequest,
    projection::{
        database::Database, documents::TableChanges, fold::Projection, in_time::in_time,
        positions::LOG, recover,
    },
    worker::{
        batch::{Batch, Inputs, MAX_INPUTS, MAX_INTERNAL},
        effects::{EffectsOf, Operations, save_attempts},
        faults::{Faults, Step},
        inputs,
        pipeline::{Parts, Pipeline, Progress},
        plan::{BatchPlan, Planner},
        projected::Projected,
        spans,
        timers::Timers,
    },
};

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long positions that have moved may stay out of the log: much less than the inbox is kept.
const POSITIONS_INTERVAL: Duration = Duration::from_mins(1);
/// Rows in memory; beyond that, those that were not used lately leave it.
const MAX_ROWS: usize = 60_000;
/// How many batches ago a row must have been used to stay when there are too many.
const KEPT_BATCHES: u64 = 64;

/// What a worker is made of.
pub(crate) struct Setup<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) effects: Option<EffectsOf<S>>,
    pub(crate) partition: u32,
    pub(crate) client: Client,
    pub(crate) context: async_nats::jetstream::Context,
    pub(crate) monitor: Monitor,
    /// Whether several servers store the log.
    pub(crate) is_replicated: bool,
    pub(crate) database: Database,
    pub(crate) faults: Faults,
    pub(crate) clock: Clock,
    /// Says how far the projection is.
    pub(crate) projected: Arc<Projected>,
    pub(crate) metrics: Arc<PartitionMetrics>,
}

/// A worker that has recovered and goes on from there.
pub(crate) struct Worker<'a, S: Service> {
    setup: &'a Setup<S>,
    projection: Projection<S>,
    inputs: Inputs<S>,
    timers: Timers<S>,
    operations: Option<Operations<S>>,
    pipeline: Pipeline,
    /// Changes whose operations start when their events are in the log.
    announced: Vec<(u64, Vec<TableChanges>)>,
    /// The redrive under way; others wait for it.
    redriving: Option<Redriving>,
    /// When the log was last appended to.
    recorded: Instant,
    planned: u64,
    projected: u64,
    /// Ends the readers of the inputs when it is dropped.
    reading: DropGuard,
    sources: BTreeMap<&'static str, SourceMetrics>,
}

impl<'a, S: Service> Worker<'a, S> {
    /// Brings the projection up to the log, and opens the inputs where the log has left them.
    pub(crate) async fn recover(setup: &'a Setup<S>) -> Result<Self, Error> {
        let span = spans::recover::<S>(setup.partition);
        Self::recover_within(setup, &span).instrument(span.clone()).await
    }

    async fn recover_within(setup: &'a Setup<S>, span: &Span) -> Result<Self, Error> {
        let Setup { partition, context, database, clock, .. } = setup;
        let pool = &database.pool;
        let stream = streams::log(S::NAME, *partition);
        let (last, _) = end(context, &stream).await?;
        let mut projection = in_time(recover::open::<S>(pool, *partition)).await?;
        if recover::is_beyond(&projection, last) {
            let position = projection.positions.sequence(LOG);
            return Err(beyond_end::<S>(context, stream, *partition, position).await?);
        }
        let folded = recover::fold_log(context, pool, &mut projection, last).await?;
        span.record("event.count", folded);
        let ends = recover::replica_ends::<S>(context, *partition).await?;
        recover::fold_replicas(context, pool, &mut projection, &ends).await?;
        let timers = Timers::recover(*partition, pool.clone()).await?;
        let operations = match setup.effects {
            None => None,
            Some(effects) => {
                let service = setup.service.clone();
                let recovered =
                    Operations::recover(service, effects, *partition, pool.clone(), clock.clone());
                Some(recovered.await?)
            }
        };
        setup.projected.reach(last);
        tracing::info!(
            service = S::NAME,
            partition,
            position = last,
            folded,
            parked = projection.blocked.len(),
            "the partition runs"
        );
        let pipeline = Pipeline::start::<S>(Parts {
            partition: *partition,
            client: setup.client.clone(),
            pool: pool.clone(),
            faults: setup.faults.clone(),
            log: Log::new(context.clone(), stream, last, setup.monitor.clone()),
            is_replicated: setup.is_replicated,
            durable: projection.positions.clone(),
            projected: setup.projected.clone(),
            metrics: setup.metrics.clone(),
        });
        // Last: each input has a consumer and a window of its own, and what fails before would leave
        // them behind at every try.
        let reading = CancellationToken::new();
        let inputs = Inputs::open(context, *partition, &projection.positions, &reading);
        let reading = reading.drop_guard();
        let sources = inputs::sources::<S>(*partition);
        let sources = sources.into_iter().map(|(source, _)| source).chain([inputs::INTERNAL]);
        let sources = sources.map(|source| (source, setup.metrics.source(source))).collect();
        Ok(Self {
            setup,
            projection,
            inputs,
            timers,
            operations,
            pipeline,
            announced: Vec::new(),
            redriving: None,
            recorded: Instant::now(),
            planned: 0,
            projected: 0,
            reading,
            sources,
        })
    }

    /// Handles inputs until `shutdown`; what is decided by then is finished first.
    pub(crate) async fn run(
        mut self,
        redrives: &mut mpsc::Receiver<RedriveRequest>,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // While a plan is being appended, the next one is decided as soon as it is a large one:
            // small ones would only wait for each other.
            let appending = self.pipeline.appending();
            let enough = if appending == 0 { 1 } else { MAX_INPUTS / 2 };
            let has_room = self.inputs.internal() < MAX_INTERNAL;
            let may_redrive = self.may_redrive();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                progress = self.pipeline.next() => self.note_progress(progress?).await?,
                outcome = finished(self.operations.as_mut()), if has_room => {
                    if let Some(outcome) = outcome {
                        self.inputs.push(outcome);
                    }
                    self.start_operations();
                }
                noted = self.timers.ends_noted() => {
                    if let Err(error) = noted {
                        let service = S::NAME;
                        tracing::debug!(service, %error, "deadlines wait for the ends of the inputs");
                    }
                }
                _ = tick.tick() => {
                    self.look_at_clock().await?;
                    // From now on, not from when it began: the inputs come last here, and would
                    // never have their turn when this takes as long as the time between two ticks.
                    tick.reset();
                }
                Some(request) = redrives.recv(), if self.redriving.is_none() => {
                    self.begin_redriving(request);
                }
                () = self.inputs.wait_for(enough), if appending <= 1 => {
                    if let Some(batch) = self.inputs.take_batch(&self.projection.positions)? {
                        self.handle(batch).await?;
                    }
                    // In turn with other inputs, however many there are of either.
                    if self.may_redrive() {
                        self.redrive().await?;
                    }
                }
                () = ready(()), if may_redrive && appending <= 1 => self.redrive().await?,
            }
        }
        self.take_last_outcomes().await?;
        let Self { pipeline, reading, .. } = self;
        drop(reading);
        pipeline.finish().await
    }

    /// Decides on a batch and hands the plan on.
    async fn handle(&mut self, batch: Batch<S>) -> Result<(), Error> {
        let started = Instant::now();
        let now = self.setup.clock.now();
        let pool = &self.setup.database.pool;
        let Setup { service, metrics, .. } = self.setup;
        let planner = Planner::new(&**service, &mut self.projection, now, metrics);
        let sources: Vec<_> = batch.inputs.iter().map(|input| input.source).collect();
        let plan = planner.plan(batch.inputs, pool).await?;
        // Not before: no event of the batch may carry a position behind the inputs of a later one.
        for (source, position) in batch.positions {
            self.projection.positions.set(source, position);
        }
        metrics.batch(plan.inputs);
        metrics.step(BatchStep::Load, plan.loading);
        metrics.step(BatchStep::Decide, started.elapsed().saturating_sub(plan.loading));
        for source in sources {
            if let Some(source) = self.sources.get(source) {
                source.handled(1);
            }
        }
        self.push(plan).await
    }

    /// Hands a plan to the pipeline.
    async fn push(&mut self, plan: BatchPlan) -> Result<(), Error> {
        let batch = plan.batch;
        self.planned = batch;
        let events = plan.parts.iter().map(Vec::len).sum::<usize>();
        if events > 0 {
            self.recorded = Instant::now();
        }
        self.timers.follow(batch, &plan.changes.tables);
        if self.inputs.internal() == 0 {
            self.timers.note_planned(batch);
        }
        if let Some(effects) = &self.setup.effects {
            let of_operations =
                |changes: &&TableChanges| changes.table.name == effects.column.table;
            let announced: Vec<_> =
                plan.changes.tables.iter().filter(of_operations).cloned().collect();
            self.announced.push((batch, announced));
        }
        let now = self.setup.clock.now();
        for (shop, aggregate) in &plan.redriven {
            self.timers.look_again(batch, now);
            if let Some(operations) = &mut self.operations {
                operations.resume(shop, aggregate, now);
            }
        }
        self.pipeline.push(plan).await
    }

    async fn note_progress(&mut self, progress: Progress) -> Result<(), Error> {
        match progress {
            Progress::Appended { batch } => {
                let now = self.setup.clock.now();
                while self.announced.first().is_some_and(|(of, _)| *of <= batch) {
                    let (_, changes) = self.announced.remove(0);
                    if let Some(operations) = &mut self.operations {
                        operations.follow(&changes, now)?;
                    }
                }
                self.start_operations();
            }
            Progress::Projected { batch } => {
                self.projected = batch;
                self.timers.note_projected(batch).await?;
                if self.projection.rows_in_memory() > MAX_ROWS {
                    // What has changed since the last batch that is in the database must stay.
                    let oldest = (batch + 1).min(self.planned.saturating_sub(KEPT_BATCHES) + 1);
                    self.projection.evict(oldest);
                    if self.projection.rows_in_memory() > MAX_ROWS {
                        self.projection.evict(batch + 1);
                    }
                }
            }
        }
        Ok(())
    }

    fn start_operations(&mut self) {
        let now = self.setup.clock.now();
        if let Some(operations) = &mut self.operations {
            operations.start_due(now);
        }
    }

    /// Lets deadlines pass, starts operations that are due, and records positions.
    async fn look_at_clock(&mut self) -> Result<(), Error> {
        let now = self.setup.clock.now();
        self.start_operations();
        self.save_attempts().await?;
        if self.timers.is_due(now) {
            self.timers.ask_for_ends(&self.setup.context, now);
        }
        if self.timers.waits_for_rows() {
            self.setup.projected.want(self.projection.last());
        }
        let by_shop = || self.inputs.by_shop();
        if self.timers.is_ready(by_shop, self.planned, self.projected) {
            for due in self.timers.take_due().await? {
                self.inputs.push(due);
            }
            if self.inputs.internal() == 0 {
                self.timers.note_planned(self.planned);
                self.timers.note_projected(self.projected).await?;
            }
        }
        // Also after events: a batch passes what is for others as well, and its events do not say so.
        if !self.projection.is_fenced() {
            let is_forced = self.setup.faults.strikes(S::NAME, Step::RecordPositions);
            if is_forced || self.recorded.elapsed() >= POSITIONS_INTERVAL {
                self.record_positions().await?;
            }
        }
        self.report(now);
        Ok(())
    }

    async fn record_positions(&mut self) -> Result<(), Error> {
        let now = self.setup.clock.now();
        let Setup { service, metrics, .. } = self.setup;
        let planner = Planner::new(&**service, &mut self.projection, now, metrics);
        let plan = planner.plan_positions();
        self.push(plan).await
    }

    async fn save_attempts(&mut self) -> Result<(), Error> {
        let Some(operations) = &mut self.operations else { return Ok(()) };
        let attempts = operations.take_unsaved();
        if !attempts.is_empty() {
            let Setup { partition, database, .. } = self.setup;
            in_time(save_attempts(&database.pool, *partition, &attempts)).await?;
        }
        Ok(())
    }
}

/// Waits for the outcome of an operation; for ever where there are none.
async fn finished<S: Service>(
    operations: Option<&mut Operations<S>>,
) -> Option<crate::InternalInput<S::Input>> {
    match operations {
        Some(operations) => operations.finished().await,
        None => std::future::pending().await,
    }
}

/// Why the projection can be further than the log: another worker has just appended, or the log has
/// lost its end.
async fn beyond_end<S: Service>(
    context: &async_nats::jetstream::Context,
    stream: String,
    partition: u32,
    position: u64,
) -> Result<Error, Error> {
    let service = S::NAME;
    let last = last_sequence(context, &stream).await?;
    Ok(if position > last {
        Error::LogLost { service, stream, last, position }
    } else {
        Error::Superseded { service, partition, expected: last }
    })
}
