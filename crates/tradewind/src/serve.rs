//! Running services in one process: all of them on a laptop, some of them on a cluster.

use std::{future::Future, net::SocketAddr, pin::Pin};

use anyhow::{Context, Result, bail};
use engine::Engine;
use tokio::{sync::oneshot, task::JoinSet, time::sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{cli::Service, settings::Settings};

/// All services.
pub const ALL: [Service; 5] =
    [Service::Catalog, Service::Inventory, Service::Order, Service::Payment, Service::Gateway];

/// The part of the time for a drain that is the gateway's; the rest is its workers'.
const GATEWAY_SHARE: f64 = 0.75;

type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Runs the services until `shutdown`, and then until they have drained: first the gateway, while
/// the workers go on answering it, and then these. Tells the gateway's address as soon as it
/// listens.
pub async fn serve(
    settings: &Settings,
    services: &[Service],
    shutdown: CancellationToken,
    bound: oneshot::Sender<SocketAddr>,
) -> Result<()> {
    let connected = shutdown.run_until_cancelled(connect(settings)).await;
    let Some(engine) = connected.transpose()? else { return Ok(()) };
    let drains = services.contains(&Service::Gateway);
    let workers = if drains { CancellationToken::new() } else { shutdown.clone() };
    let mut bound = Some(bound);
    let mut running = JoinSet::new();
    for service in services {
        running.spawn(match service {
            Service::Gateway => {
                let stops = (shutdown.clone(), workers.clone().drop_guard());
                start_gateway(&engine, settings, stops, bound.take())?
            }
            Service::Catalog => start_catalog(&engine, workers.clone()),
            Service::Inventory => start_inventory(&engine, settings, workers.clone()),
            Service::Order => start_order(&engine, settings, workers.clone()),
            Service::Payment => start_payment(&engine, settings, workers.clone()),
        });
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

async fn connect(settings: &Settings) -> Result<Engine> {
    let engine = Engine::connect(settings.engine()).await?;
    engine.warn_unless_synced().await;
    Ok(engine)
}

/// Runs the gateway until the first of `stops`, and then until what is in flight is answered. The
/// second stops the workers when the gateway has ended, however it did.
fn start_gateway(
    engine: &Engine,
    settings: &Settings,
    stops: (CancellationToken, DropGuard),
    bound: Option<oneshot::Sender<SocketAddr>>,
) -> Result<Running> {
    let engine = engine.clone();
    let api_key = settings.api_key.clone().context(
        "the gateway needs an API key: set --api-key, TRADEWIND_API_KEY or `api-key` in the file",
    )?;
    let settings = gateway::Settings {
        listen: settings.listen,
        api_key,
        answer_within: settings.answer_within,
        drain_within: settings.drain_within.mul_f64(GATEWAY_SHARE),
    };
    Ok(Box::pin(async move {
        let (shutdown, _workers) = stops;
        gateway::run(&engine, settings, shutdown, bound).await.context("run the gateway")
    }))
}

fn start_catalog(engine: &Engine, shutdown: CancellationToken) -> Running {
    let engine = engine.clone();
    Box::pin(async move { catalog::run(&engine, shutdown).await.context("run the catalogue") })
}

fn start_inventory(engine: &Engine, settings: &Settings, shutdown: CancellationToken) -> Running {
    let engine = engine.clone();
    let policy = inventory::Policy { hold_ttl: settings.hold_ttl };
    Box::pin(
        async move { inventory::run(&engine, policy, shutdown).await.context("run the inventory") },
    )
}

fn start_order(engine: &Engine, settings: &Settings, shutdown: CancellationToken) -> Running {
    let engine = engine.clone();
    let policy = order::Policy {
        reserve_within: settings.reserve_within,
        pay_within: settings.pay_within,
        allocate_within: settings.allocate_within,
    };
    Box::pin(
        async move { order::run(&engine, policy, shutdown).await.context("run the order service") },
    )
}

fn start_payment(engine: &Engine, settings: &Settings, shutdown: CancellationToken) -> Running {
    let engine = engine.clone();
    let settings = payment::Settings {
        simulator_folder: settings.provider_dir.clone(),
        simulator_latency: settings.provider_latency,
        timeout: settings.provider_timeout,
    };
    Box::pin(
        async move { payment::run(&engine, &settings, shutdown).await.context("run the payments") },
    )
}
