//! The setups: one nats-server or a cluster of three, `SQLite` or Postgres.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use client::Client;
use engine::{Engine, server::Server};
use node::settings::Settings;
use postgres_server::Programs;
use protocol::{id::Shop, subject};
use serde::Serialize;

use super::{load::Load, memory::Processes, process::ServiceProcess};
use crate::failover::cluster::Cluster;

/// The key of the gateway.
pub(super) const API_KEY: &str = "bench-of-tradewind";

/// Which broker, and which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setup {
    /// One server, `SQLite`
    R1Sqlite,
    /// One server, Postgres
    R1Postgres,
    /// Three servers with three replicas of each stream, `SQLite`
    R3Sqlite,
    /// Three servers with three replicas of each stream, Postgres
    R3Postgres,
}

impl Setup {
    fn is_cluster(self) -> bool {
        matches!(self, Self::R3Sqlite | Self::R3Postgres)
    }

    fn has_postgres(self) -> bool {
        matches!(self, Self::R1Postgres | Self::R3Postgres)
    }

    /// What this machine lacks for it.
    pub(super) fn missing(self) -> Option<String> {
        if !self.has_postgres() {
            return None;
        }
        Programs::find().err().map(|missing| missing.to_string())
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::R1Sqlite => "R1, SQLite",
            Self::R1Postgres => "R1, Postgres",
            Self::R3Sqlite => "R3, SQLite",
            Self::R3Postgres => "R3, Postgres",
        })
    }
}

/// What all installations of a run share.
#[derive(Debug, Clone)]
pub(super) struct Environment {
    /// The program that runs the services.
    pub(super) program: PathBuf,
    /// The folder for all data.
    pub(super) folder: PathBuf,
    /// The settings of this process, of which the number of partitions counts.
    pub(super) settings: Settings,
}

/// The broker.
enum Broker {
    Single(Box<Server>),
    Cluster(Box<Cluster>),
}

impl Broker {
    async fn start(is_cluster: bool, folder: &Path) -> Result<Self> {
        Ok(if is_cluster {
            let cluster = Cluster::start(folder).await.context("start a cluster of NATS")?;
            Self::Cluster(Box::new(cluster))
        } else {
            Self::Single(Box::new(Server::start(&Server::find(), folder, "").await?))
        })
    }

    /// The addresses for clients, and that of the monitor.
    fn urls(&self) -> (String, String) {
        match self {
            Self::Single(server) => (server.url(), server.monitor_url()),
            Self::Cluster(cluster) => (cluster.urls(), cluster.monitor_url()),
        }
    }

    fn pids(&self) -> Vec<u32> {
        match self {
            Self::Single(server) => server.pid().into_iter().collect(),
            Self::Cluster(cluster) => cluster.pids(),
        }
    }
}

/// A broker, a database, and the services in a process of their own.
pub(super) struct Installation {
    pub(super) settings: Settings,
    pub(super) services: ServiceProcess,
    broker: Broker,
    postgres: Option<postgres_server::Server>,
}

impl Installation {
    /// Starts one with all data in a folder of that name; returns when every partition is held.
    /// `flags` are handed to the services beside those of the installation.
    pub(super) async fn start(
        setup: Setup,
        environment: &Environment,
        name: &str,
        flags: &[&str],
    ) -> Result<Self> {
        let folder = environment.folder.join(name);
        std::fs::create_dir_all(&folder).context("make a folder for the installation")?;
        let broker = Broker::start(setup.is_cluster(), &folder.join("nats")).await?;
        let postgres = if setup.has_postgres() {
            Some(postgres_server::Server::start(&folder.join("postgres")).await?)
        } else {
            None
        };
        let (nats_url, monitor_url) = broker.urls();
        let database = match &postgres {
            Some(server) => server.url(),
            None => folder.join("projections").display().to_string(),
        };
        let settings = Settings {
            nats_url,
            nats_monitor_url: Some(monitor_url),
            database,
            replicas: if setup.is_cluster() { 3 } else { 1 },
            integrator_streams: false,
            identity_file: None,
            listen: free_address()?,
            api_key: Some(API_KEY.into()),
            provider_dir: folder.join("provider"),
            person_keys: Some(folder.join("person-keys").display().to_string()),
            ..environment.settings.clone()
        };
        let services = ServiceProcess::start(&environment.program, &settings, flags).await?;
        Ok(Self { settings, services, broker, postgres })
    }

    /// The load of a shop.
    pub(super) async fn load(&self, shop: &str) -> Result<Load> {
        let url = format!("http://{}", self.settings.listen);
        let shop = Shop::parse(shop)?;
        Ok(Load {
            api: Client::new(&url, API_KEY, shop.as_str())?.without_retries(),
            engine: Engine::connect_only(self.settings.engine()).await?,
            partition: subject::partition(&shop, self.settings.partitions),
            shop,
        })
    }

    /// The processes whose memory counts.
    pub(super) fn processes(&self) -> Processes {
        Processes {
            services: self.services.pid(),
            broker: self.broker.pids(),
            postgres: self.postgres.as_ref().and_then(postgres_server::Server::pid),
        }
    }

    /// Stops everything. Each load is to be dropped before: a client that loses its server goes on
    /// looking for it.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.services.stop().await?;
        match self.postgres {
            Some(postgres) => Ok(postgres.stop().await?),
            None => Ok(()),
        }
    }
}

/// An address that nobody listens on now.
pub(super) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr()?)
}
