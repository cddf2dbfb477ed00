//! The engine of a process: the connection, the streams, and the workers of its services.

use std::{
    panic::AssertUnwindSafe,
    path::PathBuf,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_nats::{Client as Nats, jetstream::Context};
use futures::FutureExt;
use metrics::Gauge;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Client, Clock, Definition, Error, Faults, Location, PartitionState, PartitionStatus, Service,
    error::describe,
    jetstream::{
        connect::{connect, warn_unless_synced},
        log::watch_end,
        membership::{ClaimLost, Membership},
        monitor::Monitor,
        retry::{jittered, until_started},
        streams::{self, Difference, Installation},
    },
    metrics::PartitionMetrics,
    operate::parked::RedriveRequest,
    projection::{
        database::{Database, Format},
        fold::panic_text,
    },
    worker::{
        partition::{Setup, Worker},
        projected::Projected,
        query::Answering,
        status::Statuses,
    },
};

/// The pause before a worker that failed recovers and goes on; each further failure doubles it.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const MAX_RESTART_PAUSE: Duration = Duration::from_secs(15);
/// A worker that ran as long has not failed again, but for the first time.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// How long the streams are looked for at least, once NATS is connected: as long as the election of
/// a leader may take.
const STREAMS_TIMEOUT: Duration = Duration::from_secs(10);
/// Redrives that wait for the worker.
const MAX_REDRIVES: usize = 16;

/// How often what a projection holds is counted.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

/// How a process takes part in an installation.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where NATS is: `nats://host:port`.
    pub nats_url: String,
    /// Where nats-server's monitor is: `http://host:port`; absent when it cannot be asked.
    pub nats_monitor_url: Option<String>,
    /// Where the projections are.
    pub database: Location,
    /// The number of partitions: fixed for good when the installation is made.
    pub partitions: u32,
    /// The number of copies of each stream: 1 on one server, 3 on a cluster of three.
    pub replicas: usize,
    /// Whether the streams for integrators are kept: each event is then stored a second time.
    pub integrator_streams: bool,
    /// How this process is called where others see which partitions it runs.
    pub instance: String,
    /// The file with the identity of this process, which the next process that uses the file has
    /// as well: it need not wait for what a killed one has claimed. Absent: a fresh identity.
    pub identity_file: Option<PathBuf>,
    /// How long a start waits for servers that are not reachable yet.
    pub start_timeout: Duration,
    /// The services that own events, each with a log of its own.
    pub services: &'static [&'static str],
    /// Tells the present.
    pub clock: Clock,
    /// Where tests make a worker stop.
    pub faults: Faults,
}

/// What all services of one process share.
#[derive(Debug, Clone)]
pub struct Engine {
    config: Arc<Config>,
    nats: Nats,
    context: Context,
    monitor: Monitor,
    client: Client,
    /// From the first service that is run on.
    membership: Arc<OnceLock<Membership>>,
    statuses: Statuses,
}

impl Engine {
    /// Connects, checks the server, and creates the streams that are missing. Waits for servers
    /// that are not reachable yet, for the configured time.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let engine = Self::connect_only(config).await?;
        let wanted = streams::wanted(engine.installation())?;
        let timeout = engine.config.start_timeout.max(STREAMS_TIMEOUT);
        until_started(timeout, "JetStream", || streams::create_missing(&engine.context, &wanted))
            .await?;
        Ok(engine)
    }

    /// Warns in plain words when the server may lose what it has acknowledged.
    pub async fn warn_unless_synced(&self) {
        let Config { nats_monitor_url, replicas, .. } = &*self.config;
        warn_unless_synced(nats_monitor_url.as_deref(), *replicas).await;
    }

    /// Connects and leaves the streams as they are.
    pub async fn connect_only(config: Config) -> Result<Self, Error> {
        let connecting = || connect(&config.nats_url, "tradewind");
        let (nats, context) = until_started(config.start_timeout, "NATS", connecting).await?;
        let monitor = Monitor::new(config.nats_monitor_url.as_deref());
        let (to_nats, to_monitor) = (nats.clone(), monitor.clone());
        let client = Client::new(to_nats, context.clone(), to_monitor, config.partitions);
        let membership = Arc::default();
        let statuses = Statuses::default();
        let config = Arc::new(config);
        Ok(Self { config, nats, context, monitor, client, membership, statuses })
    }

    /// The sender's side: commands, questions.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// How the process takes part.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// This process among all that share the partitions; it joins when it first needs to.
    pub(crate) fn membership(&self) -> Result<&Membership, Error> {
        if let Some(membership) = self.membership.get() {
            return Ok(membership);
        }
        let Config { instance, identity_file, .. } = &*self.config;
        let stream = streams::members(self.installation())?;
        let join = || Membership::join(&self.context, stream, instance, identity_file.as_deref());
        Ok(self.membership.get_or_init(join))
    }

    pub(crate) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// What is missing of the streams, or differs from their definitions.
    pub async fn diff_streams(&self) -> Result<Vec<Difference>, Error> {
        streams::diff(&self.context, &streams::wanted(self.installation())?).await
    }

    /// Creates the streams that are missing and changes those that differ; returns what it did.
    pub async fn apply_streams(&self) -> Result<Vec<Difference>, Error> {
        streams::apply(&self.context, &streams::wanted(self.installation())?).await
    }

    fn installation(&self) -> Installation {
        Installation {
            partitions: self.config.partitions,
            replicas: self.config.replicas,
            integrator_streams: self.config.integrator_streams,
            services: self.config.services,
        }
    }

    /// Runs a service's workers, one for each partition, until `shutdown`; what is decided by then
    /// is finished first. A partition that cannot go on tries again alone: see [`Self::partitions`].
    ///
    /// # Errors
    ///
    /// When the database cannot be opened.
    pub async fn run<S: Service>(
        &self,
        definition: Definition<S>,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let Some(database) = shutdown.run_until_cancelled(self.open_database::<S>()).await else {
            return Ok(());
        };
        let database = database?;
        let mut participation = self.membership()?.participate(Some(S::NAME)).await;
        // Each is a task of its own, so that they use all cores. They end with this set.
        let mut running = JoinSet::new();
        for partition in 0..self.config.partitions {
            let (engine, shutdown) = (self.clone(), shutdown.clone());
            let (definition, database) = (definition.clone(), database.clone());
            running.spawn(async move {
                engine.run_partition(&definition, &database, partition, &shutdown).await
            });
        }
        let ended = async {
            let mut was_stopped = false;
            while let Some(ended) = running.join_next().await {
                was_stopped |= matches!(ended, Ok(Some(Error::Stopped(_))));
            }
            was_stopped
        };
        let withdrawing = async {
            shutdown.cancelled().await;
            participation.withdraw().await;
            std::future::pending::<()>().await;
        };
        let was_stopped = tokio::select! {
            was_stopped = ended => was_stopped,
            () = withdrawing => false,
            () = database.checkpoint_now_and_then() => false,
        };
        running.shutdown().await;
        self.statuses.remove(S::NAME);
        // A worker that a test stopped stands for a killed process: it says nothing.
        if !was_stopped {
            participation.leave().await;
        }
        Ok(())
    }

    /// How the partitions are that this process takes part in.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        self.statuses.all()
    }

    pub(crate) async fn open_database<S: Service>(&self) -> Result<Database, Error> {
        let Config { database, partitions, .. } = &*self.config;
        let format = Format { tables: S::TABLES, version: S::FORMAT, is_scratch: false };
        let open = || Database::open(database, S::NAME, *partitions, &format);
        until_started(self.config.start_timeout, "the database", open).await
    }

    /// Runs a partition whenever this process has claimed it. When something fails, it recovers
    /// from the log, again and again, with pauses that become longer. Returns on shutdown, or with
    /// the fault by which a test stopped it.
    async fn run_partition<S: Service>(
        &self,
        definition: &Definition<S>,
        database: &Database,
        partition: u32,
        shutdown: &CancellationToken,
    ) -> Option<Error> {
        let metrics = Arc::new(PartitionMetrics::new(S::NAME, partition));
        let mut failures = 0;
        loop {
            self.statuses.set(S::NAME, partition, PartitionState::Waiting, &metrics);
            let started = Instant::now();
            let run = self.run_claimed(definition, database, partition, &metrics, shutdown);
            let outcome = AssertUnwindSafe(run).catch_unwind().await;
            let error = match outcome {
                Ok(Ok(())) if shutdown.is_cancelled() => return None,
                // The partition was handed over; it may come back.
                Ok(Ok(())) => continue,
                Ok(Err(error @ Error::Stopped(_))) => return Some(error),
                Ok(Err(error)) => error,
                Err(panic) => Error::StepEnded(panic_text(&*panic)),
            };
            failures = if started.elapsed() > STABLE_AFTER { 1 } else { failures + 1 };
            self.report_failure::<S>(partition, &error, failures, &metrics);
            let pause = jittered(RESTART_PAUSE.saturating_mul(1 << (failures - 1).min(16)));
            let pause = pause.min(MAX_RESTART_PAUSE);
            shutdown.run_until_cancelled(sleep(pause)).await?;
        }
    }

    fn report_failure<S: Service>(
        &self,
        partition: u32,
        error: &Error,
        failures: u32,
        metrics: &PartitionMetrics,
    ) {
        let service = S::NAME;
        let reason = describe(error);
        metrics.restarted(error.cause());
        if error.is_expected() && failures == 1 {
            tracing::warn!(service, partition, error = reason, "recovers from the log");
        } else {
            tracing::error!(
                service,
                partition,
                failures,
                error = reason,
                "the partition cannot go on, and tries again"
            );
        }
        let state = PartitionState::Failing { reason, failures };
        self.statuses.set(service, partition, state, metrics);
    }

    /// Claims a partition and runs it until `shutdown`, or until it is handed over.
    async fn run_claimed<S: Service>(
        &self,
        definition: &Definition<S>,
        database: &Database,
        partition: u32,
        metrics: &Arc<PartitionMetrics>,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let claim = self.membership()?.claim(S::NAME, partition, self.config.partitions);
        let Some(claim) = shutdown.run_until_cancelled(claim).await else { return Ok(()) };
        let stop = shutdown.child_token();
        let mut worker = Box::pin(self.run_worker(definition, database, partition, metrics, &stop));
        let outcome = tokio::select! {
            outcome = &mut worker => outcome,
            outcome = measure(&*definition.service, database, partition) => outcome,
            lost = claim.lost() => match lost {
                ClaimLost::TakenOver => return Err(claim.taken_over()),
                ClaimLost::HandOver => {
                    tracing::info!(service = S::NAME, partition, "hands over to another process");
                    stop.cancel();
                    worker.await
                }
            },
        };
        match &outcome {
            // A worker that a test stopped stands for a killed one: it gives nothing back. One that
            // failed tries again here: another process would fail in the same way.
            Err(_) => {}
            Ok(()) => claim.release().await,
        }
        outcome
    }

    /// Runs a partition without a claim, and rebuilds it when an operator asks. Two at once waste
    /// work and harm nothing.
    async fn run_worker<S: Service>(
        &self,
        definition: &Definition<S>,
        database: &Database,
        partition: u32,
        metrics: &Arc<PartitionMetrics>,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let stream = streams::log(S::NAME, partition);
        let projected = Arc::new(Projected::default());
        let (redrive, mut redrives) = mpsc::channel::<RedriveRequest>(MAX_REDRIVES);
        let (rebuild, mut rebuilds) = mpsc::channel(1);
        let (rebuilding_is, is_rebuilding) = watch::channel(false);
        let setup = Setup {
            service: definition.service.clone(),
            effects: definition.effects,
            partition,
            client: self.nats.clone(),
            context: self.context.clone(),
            monitor: self.monitor.clone(),
            database: database.clone(),
            faults: self.config.faults.clone(),
            clock: self.config.clock.clone(),
            projected: projected.clone(),
            metrics: metrics.clone(),
        };
        let answering = Answering {
            service: definition.service.clone(),
            partition,
            client: self.nats.clone(),
            pool: database.pool.clone(),
            projected: projected.clone(),
            redrives: redrive,
            rebuilds: rebuild,
            is_rebuilding,
        };
        let mut answering = pin!(answering.run());
        loop {
            self.statuses.set(S::NAME, partition, PartitionState::Recovering, metrics);
            let recovering = shutdown.run_until_cancelled(Worker::recover(&setup));
            let worker = tokio::select! {
                worker = recovering => worker,
                outcome = &mut answering => return outcome,
            };
            let Some(worker) = worker else { return Ok(()) };
            let worker = worker?;
            self.statuses.set(S::NAME, partition, PartitionState::Held, metrics);
            let stop = shutdown.child_token();
            let rebuilding = async {
                let Some(()) = rebuilds.recv().await else { return std::future::pending().await };
                rebuilding_is.send_replace(true);
                let built = self.build_beside::<S>(partition).await;
                stop.cancel();
                built
            };
            let running = async {
                let outcome = worker.run(&mut redrives, &stop).await;
                // However it ended, nobody waits for a rebuild any more.
                stop.cancel();
                outcome
            };
            let both = async { tokio::join!(running, stop.run_until_cancelled(rebuilding)) };
            let (outcome, built) = tokio::select! {
                ended = both => ended,
                outcome = &mut answering => return outcome,
                foreign = watch_end(&self.context, &stream, || projected.appended()) => {
                    return Err(foreign);
                }
            };
            outcome?;
            match built {
                Some(Ok(scratch)) if !shutdown.is_cancelled() => {
                    self.swap_in::<S>(database, scratch, partition).await?;
                }
                Some(Err(error)) => {
                    let (service, error) = (S::NAME, describe(&error));
                    tracing::error!(service, partition, error, "could not rebuild the partition");
                }
                _ => {}
            }
            rebuilding_is.send_replace(false);
            if shutdown.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Runs a service in one partition without a claim, for the test that two workers at once do
    /// no harm. A failure that only an operator can mend is returned.
    pub async fn run_unclaimed<S: Service>(
        &self,
        definition: Definition<S>,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let database = self.open_database::<S>().await?;
        let metrics = Arc::new(PartitionMetrics::new(S::NAME, 0));
        loop {
            let running = self.run_worker(&definition, &database, 0, &metrics, &shutdown);
            match Box::pin(running).await {
                Err(error) if error.is_expected() => sleep(RESTART_PAUSE).await,
                outcome => return outcome,
            }
        }
    }
}

/// Gauges of a service, which go to 0 when the process gives the partition up.
#[derive(Default)]
struct Measured(Vec<Gauge>);

impl Drop for Measured {
    fn drop(&mut self) {
        self.0.iter().for_each(|gauge| gauge.set(0.0));
    }
}

/// Counts what the projection of a partition holds, again and again.
async fn measure<S: Service>(
    service: &S,
    database: &Database,
    partition: u32,
) -> Result<(), Error> {
    let mut measured = Measured::default();
    loop {
        match service.count(&database.pool, partition).await {
            Ok(counts) => {
                for (gauge, count) in &counts {
                    gauge.set(*count as f64);
                }
                measured.0 = counts.into_iter().map(|(gauge, _)| gauge).collect();
            }
            Err(error) => tracing::debug!(service = S::NAME, partition, %error, "cannot count"),
        }
        sleep(MEASURE_INTERVAL).await;
    }
}
