//! A whole installation in this process: a private nats-server and all services, in one folder.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result};
use engine::server::Server;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    nats_users,
    readiness::ProcessHealth,
    serve,
    services::Component,
    settings::{GatewayOptions, JwtOptions, Settings, WebhookOptions},
};

/// An installation that stops with [`Embedded::stop`].
#[derive(Debug)]
pub struct Embedded {
    /// Its settings, with the addresses filled in.
    pub settings: Settings,
    /// Its nats-server.
    pub server: Server,
    /// The gateway's address: `http://127.0.0.1:…`.
    pub url: String,
    shutdown: CancellationToken,
    /// The services, until they have stopped.
    running: Option<JoinHandle<Result<()>>>,
}

impl Embedded {
    /// Starts a nats-server and all services on free ports, with all data in `folder`.
    pub async fn start(settings: &Settings, folder: &Path) -> Result<Self> {
        let server = Server::start_with_users(
            &Server::find(),
            &folder.join("nats"),
            "",
            Some(nats_users::for_this_run()),
        )
        .await?;
        Self::on(server, settings, folder).await
    }

    /// Starts all services on a server that runs.
    pub async fn on(server: Server, settings: &Settings, folder: &Path) -> Result<Self> {
        let settings = Settings {
            nats_url: server.url(),
            nats_monitor_url: Some(server.monitor_url()),
            database: folder.join("projections").display().to_string(),
            provider_dir: folder.join("provider"),
            person_keys: Some(folder.join("person-keys").display().to_string()),
            master_key_file: None,
            webhooks: WebhookOptions::on_this_machine(),
            listen: SocketAddr::from(([127, 0, 0, 1], settings.listen.port())),
            gateway: GatewayOptions::default(),
            jwt: JwtOptions::default(),
            api_key: Some(settings.api_key.clone().unwrap_or_else(|| "demo".into())),
            ..settings.clone()
        };
        let shutdown = CancellationToken::new();
        let (bound, address) = oneshot::channel();
        let mut running = tokio::spawn({
            let (settings, shutdown) = (settings.clone(), shutdown.clone());
            async move {
                serve::serve(
                    &settings,
                    &Component::all(),
                    shutdown,
                    ProcessHealth::default(),
                    bound,
                )
                .await
            }
        });
        let address = tokio::select! {
            address = address => address.context("start the gateway")?,
            ended = &mut running => {
                ended.context("start the services")??;
                anyhow::bail!("the services stopped at once");
            }
        };
        Ok(Self {
            settings,
            server,
            url: format!("http://{address}"),
            shutdown,
            running: Some(running),
        })
    }

    /// Stops the services and leaves the server running.
    pub async fn stop_services(&mut self) -> Result<()> {
        self.shutdown.cancel();
        match self.running.take() {
            Some(running) => running.await.context("stop the services")?,
            None => Ok(()),
        }
    }

    /// Stops the services and then the server.
    pub async fn stop(mut self) -> Result<()> {
        let stopped = self.stop_services().await;
        self.server.kill().await;
        stopped
    }

    /// Waits until the services end by themselves, or `until` is over.
    pub async fn wait(&mut self, until: impl Future<Output = ()>) -> Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        tokio::select! {
            ended = &mut *running => {
                self.running = None;
                ended.context("run the services")?
            }
            () = until => Ok(()),
        }
    }
}
