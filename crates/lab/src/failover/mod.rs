//! What the loss of a server costs: three nats-servers, all services, orders without a pause; and
//! again and again the server that leads the streams is killed, or hangs.
//!
//! - `cluster`: the three servers, as `nats/cluster.conf` configures them;
//! - `load`: orders over HTTP, and which of them were settled, when;
//! - `report`: how long none was settled, beside the goals.
//!
//! It fails when an order is lost, not for being slow.

pub(crate) mod cluster;
mod load;
mod report;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use client::Client;
use engine::Engine;
use node::{
    data_folder::DataFolder,
    say,
    serve::{self, Component},
    services,
    settings::Settings,
    terminal::interrupted,
};
use protocol::{id::Shop, subject};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    cluster::{Cluster, Server},
    load::{Load, Settled},
    report::{Fault, Report, Round},
};
/// The shop whose orders are placed.
const SHOP: &str = "failover";
/// The copies of each stream: one on each server.
const REPLICAS: u8 = 3;
/// How long orders are settled without a pause before the next fault, and after it.
const STEADY_TIME: Duration = Duration::from_secs(2);
/// The longest pause between two settled orders that counts as none.
const STEADY_PAUSE: Duration = Duration::from_millis(500);
/// How long the cluster may take until it is as before a fault.
const RECOVERY_TIMEOUT: Duration = Duration::from_mins(3);
/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// What a process answers that was interrupted.
const INTERRUPTED: u8 = 130;

/// How much is measured.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How many times the server that leads the streams is killed
    #[arg(long, default_value_t = 100)]
    pub kills: u32,
    /// How many times it hangs (SIGSTOP)
    #[arg(long, default_value_t = 30)]
    pub hangs: u32,
    /// For how many seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub hang_seconds: u64,
    /// The orders that are placed in a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..=1_000))]
    pub rate: u32,
    /// The folder for all data of the run; made if it is missing, emptied at each run
    #[arg(long, value_name = "FOLDER", default_value = ".data/failover")]
    pub data: PathBuf,
}

/// `tradewind failover`.
pub async fn run(settings: &Settings, options: Options) -> Result<ExitCode> {
    let folder = DataFolder::take(&options.data)?;
    tokio::select! {
        outcome = measure(settings, &options, &folder) => {
            say!("\n{}", outcome?);
            Ok(ExitCode::SUCCESS)
        }
        () = interrupted() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

async fn measure(settings: &Settings, options: &Options, folder: &DataFolder) -> Result<Report> {
    say!("starting three servers and all services …");
    let mut cluster = Cluster::start(folder.path()).await?;
    let settings = settings_for(settings, &cluster, folder);
    let (services, url) = Services::start(&settings).await?;
    let engine = Engine::connect_only(settings.engine()).await?;
    let shop = Shop::parse(SHOP)?;
    let partition = subject::partition(&shop, settings.partitions);
    let key = settings.api_key.as_deref().unwrap_or_default();
    let client = Client::new(&url, key, SHOP)?.without_retries();
    load::stock(&client).await?;
    let settled = Settled::follow(&engine, partition).await?;
    let load = Load::start(client, shop, options.rate);
    let mut measuring = Measuring { cluster: &mut cluster, settled: &settled, partition };
    let mut report = Report::default();
    for _ in 0..options.kills {
        report.add(measuring.round(Fault::Kill, Duration::ZERO).await.context("kill a server")?);
    }
    let hang_time = Duration::from_secs(options.hang_seconds);
    for _ in 0..options.hangs {
        report.add(measuring.round(Fault::Hang, hang_time).await.context("stop a server")?);
    }
    let accepted = load.stop().await?;
    report.orders = accepted.len();
    settled.wait_for(&accepted).await?;
    let logged = load::read_settled(&engine, partition).await?;
    let lost = accepted.iter().filter(|order| logged.get(*order) != Some(&1)).count();
    ensure!(lost == 0, "{lost} of {} orders are not settled exactly once", accepted.len());
    services.stop().await?;
    for (service, verified) in services::verify_all(&engine).await? {
        ensure!(verified.mismatched == 0, "{service} differs from its log");
    }
    Ok(report)
}

fn settings_for(settings: &Settings, cluster: &Cluster, folder: &DataFolder) -> Settings {
    let mut settings = Settings {
        nats_url: cluster.urls(),
        nats_monitor_url: Some(cluster.monitor_url()),
        database: folder.path().join("projections").display().to_string(),
        identity_file: None,
        provider_dir: folder.path().join("provider"),
        replicas: REPLICAS,
        api_key: Some("failover".to_owned()),
        ..settings.clone()
    };
    settings.listen.set_port(0);
    settings
}

/// All services, in a task of their own.
struct Services {
    shutdown: CancellationToken,
    running: JoinHandle<Result<()>>,
}

impl Services {
    /// Starts them; returns the gateway's address as well.
    async fn start(settings: &Settings) -> Result<(Self, String)> {
        let shutdown = CancellationToken::new();
        let (bound, address) = oneshot::channel();
        let (settings, stop) = (settings.clone(), shutdown.clone());
        let mut running = tokio::spawn(async move {
            serve::serve(&settings, &Component::all(), stop, None, bound).await
        });
        tokio::select! {
            address = address => {
                let url = format!("http://{}", address.context("start the gateway")?);
                Ok((Self { shutdown, running }, url))
            }
            ended = &mut running => {
                ended.context("start the services")??;
                bail!("the services stopped at once")
            }
        }
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        self.running.await.context("stop the services")?
    }
}

struct Measuring<'a> {
    cluster: &'a mut Cluster,
    settled: &'a Settled,
    partition: u32,
}

impl Measuring<'_> {
    /// Waits until all is well, lets the leader of the streams fail, and waits until all is well
    /// again.
    async fn round(&mut self, fault: Fault, lasts: Duration) -> Result<Round> {
        self.is_well().await.context("wait until all is well")?;
        let log = format!("ORDER-{}", self.partition);
        let leader = self.cluster.leader(&log).await?;
        let began = Instant::now();
        match fault {
            Fault::Kill => self.cluster.kill(leader).await,
            Fault::Hang => self.cluster.signal(leader, "STOP").await?,
        }
        let elected = self.is_elected(leader, began);
        let elected = timeout(RECOVERY_TIMEOUT, elected).await.context("wait for the elections")?;
        self.is_steady(Instant::now()).await?;
        if let Some(left) = lasts.checked_sub(began.elapsed()) {
            sleep(left).await;
        }
        match fault {
            Fault::Kill => self.cluster.restart(leader)?,
            Fault::Hang => self.cluster.signal(leader, "CONT").await?,
        }
        self.is_well().await.context("wait until all is well again")?;
        let pause = self.settled.longest_pause(began, Instant::now());
        let round = Round { fault, pause, elected };
        say!("{round}");
        Ok(round)
    }

    /// Waits until every stream has a leader that is not `failed`; returns how long after `began`.
    async fn is_elected(&self, failed: Server, began: Instant) -> Duration {
        while !self.cluster.has_leaders_without(failed).await {
            sleep(LOOK_PAUSE).await;
        }
        began.elapsed()
    }

    /// Waits until all servers are healthy and orders are settled without a pause.
    async fn is_well(&self) -> Result<()> {
        let healthy = async {
            while !self.cluster.is_healthy().await {
                sleep(LOOK_PAUSE).await;
            }
        };
        timeout(RECOVERY_TIMEOUT, healthy).await.context("the servers are not healthy")?;
        self.is_steady(Instant::now()).await
    }

    /// Waits until orders have been settled for a while after `since` without a pause.
    async fn is_steady(&self, since: Instant) -> Result<()> {
        let steady = async {
            let mut from = since;
            loop {
                sleep(LOOK_PAUSE).await;
                let now = Instant::now();
                if self.settled.longest_pause(from, now) > STEADY_PAUSE {
                    from = now;
                } else if now.duration_since(from) >= STEADY_TIME {
                    return;
                }
            }
        };
        timeout(RECOVERY_TIMEOUT, steady).await.context("orders are not settled")
    }
}
