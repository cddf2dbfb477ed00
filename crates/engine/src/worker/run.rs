//! The engine of a process: the connection, the streams, and the workers of its services.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_nats::{Client as Nats, jetstream::Context};
use tokio::{sync::OnceCell, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    Client, Clock, Definition, Error, Faults, Location, PartitionStatus, Program, Service,
    jetstream::{
        connect::{NatsSecurity, connect, warn_unless_synced},
        membership::Membership,
        monitor::Monitor,
        retry::until_started,
        streams::{self, Difference, Installation},
    },
    projection::database::{Database, Format},
    worker::{status::Statuses, supervisor::Supervisor},
};

/// How long the streams are looked for at least, once NATS is connected: as long as the election of
/// a leader may take.
const STREAMS_TIMEOUT: Duration = Duration::from_secs(10);

/// How a process takes part in an installation.
#[derive(Debug, Clone)]
pub struct Config {
    /// The program that takes part.
    pub program: &'static Program,
    /// Where NATS is: `nats://host:port`.
    pub nats_url: String,
    /// How this process proves to NATS who it is.
    pub nats_security: NatsSecurity,
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
        let create = || streams::create_missing(&engine.context, &wanted);
        until_started(engine.config.program, timeout, "JetStream", create).await?;
        Ok(engine)
    }

    /// The same for a process that creates no streams: it waits until others have.
    pub async fn connect_to_existing(config: Config) -> Result<Self, Error> {
        let engine = Self::connect_only(config).await?;
        let wanted = streams::wanted(engine.installation())?;
        let timeout = engine.config.start_timeout.max(STREAMS_TIMEOUT);
        let require = || streams::require(&engine.context, &wanted);
        until_started(engine.config.program, timeout, "streams", require).await?;
        Ok(engine)
    }

    /// Warns in plain words when the server may lose what it has acknowledged.
    pub async fn warn_unless_synced(&self) {
        let Config { nats_monitor_url, replicas, .. } = &*self.config;
        warn_unless_synced(nats_monitor_url.as_deref(), *replicas).await;
    }

    /// Whether the server lets in who has no user: everybody can write every log then.
    pub fn is_open_to_all(&self) -> bool {
        !self.nats.server_info().auth_required
    }

    /// Connects and leaves the streams as they are.
    pub async fn connect_only(config: Config) -> Result<Self, Error> {
        let program = config.program;
        let connecting = || connect(&config.nats_url, &config.nats_security, program.name);
        let (nats, context) =
            until_started(program, config.start_timeout, "NATS", connecting).await?;
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

    pub(crate) fn nats(&self) -> &Nats {
        &self.nats
    }

    pub(crate) fn statuses(&self) -> &Statuses {
        &self.statuses
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
            definitions: self.config.program.streams,
        }
    }

    /// Runs a service's workers, one for each partition, until `shutdown`; what is decided by then
    /// is finished first. A partition that cannot go on tries again alone: see [`Self::partitions`].
    ///
    /// # Errors
    ///
    /// When the database cannot be opened, unless it is damaged: then the partitions fail, each by itself,
    /// until somebody has put it right.
    pub async fn run<S: Service>(
        &self,
        definition: Definition<S>,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let Some(opened) = shutdown.run_until_cancelled(self.open_database::<S>()).await else {
            return Ok(());
        };
        let database = match opened {
            Ok(database) => OnceCell::new_with(Some(database)),
            Err(error) if error.is_damaged_database() => OnceCell::new(),
            Err(error) => return Err(error),
        };
        let database = Arc::new(database);
        let mut participation = self.membership()?.participate(Some(S::NAME)).await;
        // Each is a task of its own, so that they use all cores. They end with this set.
        let mut running = JoinSet::new();
        for partition in 0..self.config.partitions {
            let supervisor = Supervisor::new(self, &definition, &database, partition);
            let shutdown = shutdown.clone();
            running.spawn(async move { supervisor.run(&shutdown).await });
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
            () = Database::checkpoint_now_and_then(&database) => false,
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
        let Config { program, database, partitions, start_timeout, .. } = &*self.config;
        let format = live_format::<S>();
        let open = || Database::open(database, S::NAME, *partitions, &format);
        until_started(program, *start_timeout, "the database", open).await
    }

    /// Opens the database of a service that is there, and changes nothing.
    pub(crate) async fn open_database_to_read<S: Service>(&self) -> Result<Database, Error> {
        let format = live_format::<S>();
        let Config { program, database, start_timeout, .. } = &*self.config;
        let open = || Database::open_to_read(database, S::NAME, &format);
        until_started(program, *start_timeout, "the database", open).await
    }

    /// Runs a service in one partition without a claim, for the test that two workers at once do
    /// no harm. A failure that only an operator can mend is returned.
    pub async fn run_unclaimed<S: Service>(
        &self,
        definition: Definition<S>,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let database = Arc::new(OnceCell::new_with(Some(self.open_database::<S>().await?)));
        Supervisor::new(self, &definition, &database, 0).run_unclaimed(&shutdown).await
    }
}

fn live_format<S: Service>() -> Format {
    Format { tables: S::TABLES, version: S::FORMAT, is_scratch: false }
}
