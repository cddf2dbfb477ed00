//! Running services in one process: all of them on a laptop, some of them on a cluster.

use std::{future::Future, net::SocketAddr, pin::Pin};

use anyhow::{Context, Result, bail};
use engine::Engine;
use tokio::{sync::oneshot, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{cli::Service, settings::Settings};

/// All services.
pub const ALL: [Service; 5] =
    [Service::Catalog, Service::Inventory, Service::Order, Service::Payment, Service::Gateway];

type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Runs the services until `shutdown`, and then until they have drained. Tells the gateway's
/// address as soon as it listens.
pub async fn serve(
    settings: &Settings,
    services: &[Service],
    shutdown: CancellationToken,
    bound: oneshot::Sender<SocketAddr>,
) -> Result<()> {
    let engine = Engine::connect(settings.engine()).await?;
    engine.warn_unless_synced().await;
    let mut bound = Some(bound);
    let mut running = JoinSet::new();
    for service in services {
        let bound = bound.take_if(|_| *service == Service::Gateway);
        running.spawn(start(*service, &engine, settings, shutdown.clone(), bound)?);
    }
    let all = async {
        let mut outcome = Ok(());
        while let Some(ended) = running.join_next().await {
            // The first that ends stops the others: half an installation is none.
            shutdown.cancel();
            outcome = outcome.and(ended.context("run a service").flatten());
        }
        outcome
    };
    let too_late = async {
        shutdown.cancelled().await;
        sleep(settings.drain_within).await;
    };
    tokio::select! {
        outcome = all => outcome,
        () = too_late => bail!("did not stop within {:?} (drain-within)", settings.drain_within),
    }
}

fn start(
    service: Service,
    engine: &Engine,
    settings: &Settings,
    shutdown: CancellationToken,
    bound: Option<oneshot::Sender<SocketAddr>>,
) -> Result<Running> {
    let engine = engine.clone();
    Ok(match service {
        Service::Catalog => {
            Box::pin(
                async move { catalog::run(&engine, shutdown).await.context("run the catalogue") },
            )
        }
        Service::Inventory => {
            let policy = inventory::Policy { hold_ttl: settings.hold_ttl };
            Box::pin(async move {
                inventory::run(&engine, policy, shutdown).await.context("run the inventory")
            })
        }
        Service::Order => {
            let policy = order::Policy {
                reserve_within: settings.reserve_within,
                pay_within: settings.pay_within,
                allocate_within: settings.allocate_within,
            };
            Box::pin(async move {
                order::run(&engine, policy, shutdown).await.context("run the order service")
            })
        }
        Service::Payment => {
            let settings = payment::Settings {
                simulator_folder: settings.provider_dir.clone(),
                simulator_latency: settings.provider_latency,
                timeout: settings.provider_timeout,
            };
            Box::pin(async move {
                payment::run(&engine, &settings, shutdown).await.context("run the payments")
            })
        }
        Service::Gateway => {
            let api_key = settings.api_key.clone().context(
                "the gateway needs an API key: set --api-key, TRADEWIND_API_KEY or `api-key` in \
                 the file",
            )?;
            let settings = gateway::Settings {
                listen: settings.listen,
                api_key,
                answer_within: settings.answer_within,
            };
            Box::pin(async move {
                gateway::run(&engine, settings, shutdown, bound).await.context("run the gateway")
            })
        }
    })
}
