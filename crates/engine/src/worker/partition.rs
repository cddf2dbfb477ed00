//! A worker: one service, one partition. It reads, decides, publishes, projects, replies.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::Client;
use events::{id::Shop, time::Timestamp};
use sqlx::{Any, AnyConnection, Connection, Transaction, pool::PoolConnection};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Service,
    jetstream::log::{Log, end, last_sequence},
    jetstream::streams,
    operate::parked::{self, RedriveRequest},
    projection::database::Database,
    projection::fold::{fold_copies, fold_log},
    projection::positions::Positions,
    projection::store::{self, LOG},
    worker::faults::{Faults, Step},
    worker::inputs::{Batch, Content, Input, Inputs, Within},
    worker::reply,
    worker::turn::{Blocked, Given, Turn, decide},
};

/// How often deadlines are looked at.
const DUE_EVERY: Duration = Duration::from_millis(200);
/// Deadlines taken at once.
const MAX_DUE: i64 = 500;
/// How long the log may leave the positions untold: much less than the inbox is kept.
const POSITIONS_TOLD_EVERY: Duration = Duration::from_hours(24);
/// Operations that are carried out at the same time.
const MAX_OPERATIONS: usize = 1024;

/// What a worker is made of.
pub(crate) struct Setup<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) partition: u32,
    pub(crate) client: Client,
    pub(crate) context: async_nats::jetstream::Context,
    pub(crate) database: Database,
    pub(crate) faults: Faults,
    /// Tells the questions how far the projection is.
    pub(crate) projected: watch::Sender<u64>,
}

/// A worker that has recovered and goes on from there.
pub(crate) struct Worker<'a, S: Service> {
    setup: &'a Setup<S>,
    db: PoolConnection<Any>,
    log: Log,
    positions: Positions,
    /// When the log last told the positions.
    told: Timestamp,
    blocked: Blocked,
    inputs: Inputs<S>,
    within: Within<S>,
    operations: JoinSet<()>,
    slots: Arc<Semaphore>,
    reading: CancellationToken,
}

impl<S: Service> Drop for Worker<'_, S> {
    fn drop(&mut self) {
        self.reading.cancel();
    }
}

impl<'a, S: Service> Worker<'a, S> {
    /// Brings the projection up to the log, and opens the inputs where the log has left them.
    pub(crate) async fn recover(setup: &'a Setup<S>) -> Result<Self, Error> {
        let Setup { partition, context, database, .. } = setup;
        let mut db = database.pool.acquire().await?;
        let stream = streams::log(S::NAME, *partition);
        let (last, told) = end(context, &stream).await?;
        let folded = fold_log::<S>(context, &mut db, *partition, last).await?;
        fold_copies::<S>(context, &mut db, *partition, None).await?;
        let positions = Positions(store::positions(&mut db, *partition).await?);
        if positions.get(LOG) > last {
            let (service, position) = (S::NAME, positions.get(LOG));
            let last = last_sequence(context, &stream).await?;
            return Err(if position > last {
                Error::LogLost { service, stream, last, position }
            } else {
                Error::Zombie { service, partition: *partition, expected: last }
            });
        }
        let parked = store::parked(&database.pool, *partition).await?;
        let blocked = parked.into_iter().map(|row| (row.shop, row.aggregate_id)).collect();
        let reading = CancellationToken::new();
        let (inputs, within) = Inputs::open(context, *partition, &positions, &reading);
        let pending = S::pending(&mut db, *partition).await?;
        setup.projected.send_replace(last);
        tracing::info!(
            service = S::NAME,
            partition,
            position = last,
            folded,
            pending = pending.len(),
            "runs"
        );
        let mut worker = Self {
            setup,
            db,
            log: Log::new(context.clone(), stream, last),
            positions,
            told,
            blocked,
            inputs,
            within,
            operations: JoinSet::new(),
            slots: Arc::new(Semaphore::new(MAX_OPERATIONS)),
            reading,
        };
        worker.start_operations(pending, true);
        Ok(worker)
    }

    /// Handles inputs until `shutdown`; the batch at hand is finished first.
    pub(crate) async fn run(
        mut self,
        redrives: &mut mpsc::Receiver<RedriveRequest>,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let mut due = interval(DUE_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while self.operations.try_join_next().is_some() {}
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                _ = due.tick() => self.handle_due().await?,
                Some(request) = redrives.recv() => self.redrive(request).await?,
                batch = self.inputs.next(&self.positions) => self.handle(batch?).await?,
            }
        }
    }

    /// Handles the deadlines that have passed.
    async fn handle_due(&mut self) -> Result<(), Error> {
        let due = S::due(&mut self.db, self.setup.partition, Timestamp::now(), MAX_DUE).await?;
        if due.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::empty();
        for local in due {
            batch.push(Input::from_within(local));
        }
        self.handle(batch).await
    }

    /// Handles what is parked for an aggregate again, in order.
    async fn redrive(&mut self, request: RedriveRequest) -> Result<(), Error> {
        let parked = store::parked(&self.setup.database.pool, self.setup.partition).await?;
        match parked::inputs::<S>(parked, &request) {
            Ok(inputs) => {
                let Some(first) = inputs.first() else { return Ok(()) };
                let place = (first.shop.clone(), first.aggregate.clone());
                let ids: Vec<_> = inputs
                    .iter()
                    .filter_map(|input| input.redriven.as_ref().map(|r| r.parked_id.clone()))
                    .collect();
                self.blocked.remove(&place);
                let mut batch = Batch::empty();
                for input in inputs {
                    batch.push(input);
                }
                self.handle(batch).await?;
                let left = store::parked(&self.setup.database.pool, self.setup.partition).await?;
                request.answer(Ok(parked::outcome(&ids, &left)));
            }
            Err(problem) => request.answer(Err(problem)),
        }
        Ok(())
    }

    /// Handles a batch: decides, publishes, projects, tells.
    ///
    /// The rows are written while the events are on their way, in a transaction that commits when
    /// they are in the log, and only then. Workers that share a file have only one such
    /// transaction between them, so there each waits for its own log first.
    async fn handle(&mut self, mut batch: Batch<S>) -> Result<(), Error> {
        let started = Instant::now();
        let mut turn = self.decide(batch.inputs.make_contiguous()).await?;
        let decided = started.elapsed();
        // Not before: none of the turn's parts may tell a position behind the inputs of a later one.
        for (source, sequence) in batch.idle {
            turn.positions.advance(source, sequence);
        }
        let Setup { partition, faults, database, .. } = self.setup;
        let now = Timestamp::now();
        if turn.parts.is_empty()
            && turn.positions != self.positions
            && (now >= self.told + POSITIONS_TOLD_EVERY
                || faults.strikes(S::NAME, Step::TellPositions))
        {
            turn.tell_positions(*partition, now);
        }
        if !turn.parts.is_empty() {
            self.told = now;
        }
        let strikes = |step| !turn.parts.is_empty() && faults.strikes(S::NAME, step);
        let publishing = publish::<S>(&mut self.log, faults, &turn);
        let writing = write::<S>(&mut self.db, *partition, &self.positions, &turn);
        let (published, written) = if database.has_one_writer {
            (publishing.await, writing.await)
        } else {
            tokio::join!(publishing, writing)
        };
        published?;
        let written = written?;
        if strikes(Step::BeforeProject) {
            return Err(Error::Stopped(Step::BeforeProject));
        }
        let published = started.elapsed();
        written.commit().await?;
        tracing::debug!(
            service = S::NAME,
            partition,
            inputs = batch.inputs.len(),
            events = turn.parts.iter().map(Vec::len).sum::<usize>(),
            decided_us = decided.as_micros(),
            published_us = published.as_micros(),
            committed_us = started.elapsed().as_micros(),
            "handled a batch"
        );
        if strikes(Step::AfterProject) {
            return Err(Error::Stopped(Step::AfterProject));
        }
        self.setup.projected.send_replace(turn.last);
        reply::send(&self.setup.client, S::NAME, turn.replies).await;
        self.positions = turn.positions;
        self.blocked = turn.blocked;
        if turn.resumes {
            // Those of this turn are among them.
            let pending = S::pending(&mut self.db, self.setup.partition).await?;
            self.start_operations(pending, true);
        } else {
            self.start_operations(turn.operations, false);
        }
        Ok(())
    }

    /// Loads what the batch touches and decides on it. An input on which a rule fails is parked,
    /// and the rest of the batch decided on anew.
    async fn decide(&mut self, inputs: &[Input<S>]) -> Result<Turn<S>, Error> {
        let mut keys: HashMap<Shop, S::Keys> = HashMap::new();
        let mut commands = Vec::new();
        for input in inputs {
            if let Content::Decide(known) | Content::Copy(known) = &input.content {
                S::keys(known, keys.entry(input.shop.clone()).or_default());
            }
            if let Some(command) = &input.command {
                commands.push((input.shop.as_str(), command.id.as_str()));
            }
        }
        let answered = match commands.as_slice() {
            [] => HashMap::new(),
            commands => store::answers(&mut self.db, commands).await?,
        };
        let mut failed = BTreeMap::new();
        loop {
            let states = S::load(&mut self.db, &keys).await?;
            let given = Given {
                service: &*self.setup.service,
                partition: self.setup.partition,
                last: self.log.last(),
                now: Timestamp::now(),
                positions: self.positions.clone(),
                blocked: self.blocked.clone(),
                answered: answered.clone(),
                failed: &failed,
            };
            match decide(given, inputs, states) {
                Ok(turn) => return Ok(turn),
                Err(failure) => failed.insert(failure.input, failure.reason),
            };
        }
    }

    /// Starts to carry out operations; each outcome comes back as an input from within.
    fn start_operations(&mut self, operations: Vec<S::Operation>, resumed: bool) {
        for operation in operations {
            let (service, slots) = (self.setup.service.clone(), self.slots.clone());
            let within = self.within.clone();
            self.operations.spawn(async move {
                let Ok(_slot) = slots.acquire().await else { return };
                let outcome = service.execute(operation, resumed).await;
                within.send(outcome).await;
            });
        }
    }
}

/// Whether the copies that the turn changes are still where `from` has them. A batch that only
/// copies leaves the position in the own log where it is, so that one does not tell.
async fn are_copies_unmoved<S: Service>(
    db: &mut AnyConnection,
    partition: u32,
    from: &Positions,
    turn: &Turn<S>,
) -> Result<bool, Error> {
    let unmoved = |to: &Positions| {
        let mut copies = S::SOURCES.iter().filter(|source| source.copy);
        copies.all(|source| to.get(source.service) == from.get(source.service))
    };
    if unmoved(&turn.positions) {
        return Ok(true);
    }
    Ok(unmoved(&Positions(store::positions(db, partition).await?)))
}

/// Appends the events, part by part.
async fn publish<S: Service>(log: &mut Log, faults: &Faults, turn: &Turn<S>) -> Result<(), Error> {
    for part in &turn.parts {
        if faults.strikes(S::NAME, Step::BeforePublish) {
            return Err(Error::Stopped(Step::BeforePublish));
        }
        let lose = faults.strikes(S::NAME, Step::LoseAcknowledgement);
        log.append(part, lose).await?;
    }
    Ok(())
}

/// Writes the changed rows and the positions in one transaction, which is left open: dropped, it
/// has written nothing.
async fn write<'db, S: Service>(
    db: &'db mut AnyConnection,
    partition: u32,
    positions: &Positions,
    turn: &Turn<S>,
) -> Result<Transaction<'db, Any>, Error> {
    let from = positions.get(LOG);
    let mut tx = db.begin().await?;
    if !store::advance(&mut tx, partition, from, turn.last).await?
        || !are_copies_unmoved(&mut tx, partition, positions, turn).await?
    {
        return Err(Error::Zombie { service: S::NAME, partition, expected: from });
    }
    S::save(&mut tx, partition, &turn.states).await?;
    store::save(&mut tx, partition, &turn.changes).await?;
    store::save_positions(&mut tx, partition, &turn.positions.0).await?;
    Ok(tx)
}
