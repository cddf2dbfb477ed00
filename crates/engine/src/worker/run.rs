//! The engine of a process: the connection, the streams, and the workers of its services.

use std::{sync::Arc, time::Duration};

use async_nats::{Client as Nats, jetstream::Context};
use futures::future::try_join_all;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Client, Error, Faults, Location, Service, Verdict,
    error::describe,
    jetstream::connect::{connect, warn_unless_synced},
    jetstream::lease::Lease,
    jetstream::streams::{self, Difference, Installation},
    operate::parked::RedriveRequest,
    projection::database::Database,
    worker::partition::{Setup, Worker},
    worker::query::Answering,
};

/// The pause before a worker that failed recovers and goes on.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// Redrives that wait for the worker.
const MAX_REDRIVES: usize = 16;

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
    /// Who this process is, for the holder of a lease.
    pub instance: String,
    /// Where tests make a worker stop.
    pub faults: Faults,
}

/// What all services of one process share.
#[derive(Debug, Clone)]
pub struct Engine {
    config: Arc<Config>,
    nats: Nats,
    context: Context,
    client: Client,
}

impl Engine {
    /// Connects, checks the server, and creates the streams that are missing.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let engine = Self::connect_only(config).await?;
        let wanted = streams::wanted(engine.installation())?;
        streams::create_missing(&engine.context, &wanted).await?;
        Ok(engine)
    }

    /// Warns in plain words when the server may lose what it has acknowledged.
    pub async fn warn_unless_synced(&self) {
        let Config { nats_monitor_url, replicas, .. } = &*self.config;
        warn_unless_synced(nats_monitor_url.as_deref(), *replicas).await;
    }

    /// Connects and leaves the streams as they are.
    pub async fn connect_only(config: Config) -> Result<Self, Error> {
        let (nats, context) = connect(&config.nats_url, "tradewind").await?;
        let client = Client::new(nats.clone(), context.clone(), config.partitions);
        Ok(Self { config: Arc::new(config), nats, context, client })
    }

    /// The sender's side: commands, questions.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// How the process takes part.
    pub fn config(&self) -> &Config {
        &self.config
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
        }
    }

    /// Runs a service's workers, one for each partition, until `shutdown`; the batches at hand are
    /// finished first.
    pub async fn run<S: Service>(
        &self,
        service: S,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let service = Arc::new(service);
        let database = self.open_database::<S>().await?;
        let partitions = (0..self.config.partitions)
            .map(|partition| self.run_partition(&service, &database, partition, &shutdown));
        tokio::select! {
            ended = try_join_all(partitions) => ended.map(|_| ()),
            () = database.checkpoint_now_and_then() => Ok(()),
        }
    }

    pub(crate) async fn open_database<S: Service>(&self) -> Result<Database, Error> {
        let Config { database, partitions, .. } = &*self.config;
        Database::open(database, S::NAME, *partitions, S::MIGRATIONS).await
    }

    /// Runs a partition whenever its lease is free, and recovers when something fails.
    async fn run_partition<S: Service>(
        &self,
        service: &Arc<S>,
        database: &Database,
        partition: u32,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        loop {
            let run = self.run_leased(service, database, partition, shutdown);
            match run.await {
                Ok(()) => return Ok(()),
                Err(error) if error.verdict() == Verdict::Stop => return Err(error),
                Err(error) => {
                    tracing::warn!(
                        service = S::NAME,
                        partition,
                        error = describe(&error),
                        "recovers from the log"
                    );
                }
            }
            if shutdown.run_until_cancelled(sleep(RESTART_PAUSE)).await.is_none() {
                return Ok(());
            }
        }
    }

    async fn run_leased<S: Service>(
        &self,
        service: &Arc<S>,
        database: &Database,
        partition: u32,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let acquire =
            Lease::acquire(&self.context, S::NAME, partition, &self.config.instance, None);
        let Some(lease) = shutdown.run_until_cancelled(acquire).await else { return Ok(()) };
        let mut lease = lease?;
        let outcome = tokio::select! {
            lost = lease.keep() => return Err(lost),
            outcome = self.run_worker(service, database, partition, shutdown) => outcome,
        };
        // A worker that a test stopped stands for a killed one: it gives nothing back.
        if !matches!(outcome, Err(Error::Stopped(_))) {
            lease.release().await;
        }
        outcome
    }

    /// Runs a partition without regard to its lease. Two at once waste work and harm nothing.
    pub(crate) async fn run_worker<S: Service>(
        &self,
        service: &Arc<S>,
        database: &Database,
        partition: u32,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let (projected, position) = watch::channel(0);
        let (redrive, mut redrives) = mpsc::channel::<RedriveRequest>(MAX_REDRIVES);
        let setup = Setup {
            service: service.clone(),
            partition,
            client: self.nats.clone(),
            context: self.context.clone(),
            database: database.clone(),
            faults: self.config.faults.clone(),
            projected,
        };
        let Some(worker) = shutdown.run_until_cancelled(Worker::recover(&setup)).await else {
            return Ok(());
        };
        let answering = Answering {
            service: service.clone(),
            partition,
            client: self.nats.clone(),
            pool: database.pool.clone(),
            projected: position,
            redrives: redrive,
        };
        tokio::select! {
            outcome = worker?.run(&mut redrives, shutdown) => outcome,
            outcome = answering.run() => outcome,
        }
    }

    /// Runs a service in one partition without a lease, for the test that two workers at once do
    /// no harm.
    pub async fn run_unleased<S: Service>(
        &self,
        service: S,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let database = self.open_database::<S>().await?;
        let service = Arc::new(service);
        loop {
            match self.run_worker(&service, &database, 0, &shutdown).await {
                Err(error) if error.verdict() == Verdict::Retry => sleep(RESTART_PAUSE).await,
                outcome => return outcome,
            }
        }
    }
}
