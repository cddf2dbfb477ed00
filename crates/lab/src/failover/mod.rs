//! What the loss of a server or a process costs: three nats-servers, all services, orders without a
//! pause; and again and again the server that leads the streams is killed, or hangs, or the process
//! with the services is killed.
//!
//! - `cluster`: the three servers, as `nats/cluster.conf` configures them;
//! - `instances`: the processes with the services;
//! - `load`: orders over HTTP, and which of them were settled, when;
//! - `rounds`: one fault after the other;
//! - `report`: how long none was settled, beside the goals.
//!
//! It fails when an order is lost, not for being slow.

pub(crate) mod cluster;
mod instances;
mod load;
mod report;
mod rounds;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use client::Client;
use engine::Engine;
use node::{
    data_folder::DataFolder, readiness::ProcessHealth, say, serve, services, services::Component,
    settings::Settings, terminal::interrupted,
};
use protocol::id::Shop;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{
    cluster::Cluster,
    instances::{Instance, Instances},
    load::{Load, Settled},
    report::{Fault, Report},
    rounds::Rounds,
};

/// The shop whose orders are placed.
const SHOP: &str = "failover";
/// The one partition.
const PARTITION: u32 = 0;
/// The two processes with the services.
const FIRST: Instance = Instance(0);
const SECOND: Instance = Instance(1);
/// The copies of each stream: one on each server.
const REPLICAS: u8 = 3;
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
    /// How many times the process with the services is killed and started again at once
    #[arg(long, default_value_t = 20)]
    pub restarts: u32,
    /// How many times it is killed while another one runs, which takes over
    #[arg(long, default_value_t = 20)]
    pub takeovers: u32,
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
    let cluster = Cluster::start(folder.path()).await?;
    let settings = settings_for(settings, &cluster, folder);
    let (gateway, url) = Gateway::start(&settings).await?;
    let engine = Engine::connect_only(settings.engine()).await?;
    let mut instances = Instances::new(&settings, folder.path());
    instances.start(FIRST)?;
    let client = Client::new(&url, settings.exposed_api_key(), SHOP)?;
    load::stock(&client).await?;
    let settled = Settled::follow(&engine, PARTITION).await?;
    let load = Load::start(client.without_retries(), Shop::parse(SHOP)?, options.rate);
    let (active, spare) = (FIRST, SECOND);
    let mut rounds = Rounds { cluster, instances, active, spare, settled: &settled };
    let mut report = Report::default();
    all_rounds(&mut rounds, options, &mut report).await?;
    let accepted = load.stop().await?;
    report.orders = accepted.len();
    settled.wait_for(&accepted).await?;
    let logged = load::read_settled(&engine, PARTITION).await?;
    let lost = accepted.iter().filter(|order| logged.get(*order) != Some(&1)).count();
    ensure!(lost == 0, "{lost} of {} orders are not settled exactly once", accepted.len());
    rounds.instances.stop().await?;
    gateway.stop().await?;
    for (service, verified) in services::verify_all(&engine).await? {
        ensure!(verified.mismatched == 0, "{service} differs from its log");
    }
    Ok(report)
}

async fn all_rounds(rounds: &mut Rounds<'_>, options: &Options, report: &mut Report) -> Result<()> {
    let mut note = |round| {
        say!("{round}");
        report.add(round);
    };
    for _ in 0..options.kills {
        note(rounds.server_fails(Fault::Kill, Duration::ZERO).await.context("kill a server")?);
    }
    let hang_time = Duration::from_secs(options.hang_seconds);
    for _ in 0..options.hangs {
        note(rounds.server_fails(Fault::Hang, hang_time).await.context("stop a server")?);
    }
    for _ in 0..options.restarts {
        note(rounds.process_restarts().await.context("restart the services")?);
    }
    if options.takeovers > 0 {
        rounds.instances.start(rounds.spare)?;
    }
    for _ in 0..options.takeovers {
        note(rounds.process_is_replaced().await.context("kill the services")?);
    }
    Ok(())
}

fn settings_for(settings: &Settings, cluster: &Cluster, folder: &DataFolder) -> Settings {
    let mut settings = Settings {
        nats_url: cluster.urls(),
        nats_monitor_url: Some(cluster.monitor_url()),
        database: folder.path().join("projections").display().to_string(),
        identity_file: None,
        provider_dir: folder.path().join("provider"),
        person_keys: Some(folder.path().join("person-keys").display().to_string()),
        partitions: PARTITION + 1,
        replicas: REPLICAS,
        api_key: Some("failover".into()),
        ..settings.clone()
    };
    settings.listen.set_port(0);
    settings
}

/// The gateway, in a task of its own.
struct Gateway {
    shutdown: CancellationToken,
    running: JoinHandle<Result<()>>,
}

impl Gateway {
    /// Starts it; returns its address as well.
    async fn start(settings: &Settings) -> Result<(Self, String)> {
        let shutdown = CancellationToken::new();
        let (bound, address) = oneshot::channel();
        let (settings, stop) = (settings.clone(), shutdown.clone());
        let mut running = tokio::spawn(async move {
            serve::serve(&settings, &[Component::Gateway], stop, ProcessHealth::default(), bound)
                .await
        });
        tokio::select! {
            address = address => {
                let url = format!("http://{}", address.context("start the gateway")?);
                Ok((Self { shutdown, running }, url))
            }
            ended = &mut running => {
                ended.context("start the gateway")??;
                bail!("the gateway stopped at once")
            }
        }
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        self.running.await.context("stop the gateway")?
    }
}
