//! Running services in one process: all of them on a laptop, some of them on a cluster.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, bail};
use engine::Engine;
use futures::future::BoxFuture;
use tokio::{sync::oneshot, task::JoinSet, time::sleep};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};

use crate::{
    readiness::{OwnServices, ProcessHealth},
    services::{Component, Service},
    settings::Settings,
};

/// The part of the time for a drain that is the gateway's; the rest is its workers'.
const GATEWAY_SHARE: f64 = 0.75;

/// Runs the components until `shutdown`, and then until they have drained: first the gateway, while
/// the workers go on answering it, and then these. Sends the gateway's address to `bound` as soon as
/// it listens, and `health` how the process is.
pub async fn serve(
    settings: &Settings,
    components: &[Component],
    shutdown: CancellationToken,
    health: ProcessHealth,
    bound: oneshot::Sender<SocketAddr>,
) -> Result<()> {
    let connected = shutdown.run_until_cancelled(Box::pin(connect(settings, components))).await;
    let Some(engine) = connected.transpose()? else { return Ok(()) };
    let services = OwnServices::of(components, engine.config().partitions);
    let drains = components.contains(&Component::Gateway);
    let workers = if drains { CancellationToken::new() } else { shutdown.clone() };
    let mut bound = Some(bound);
    let mut running = JoinSet::new();
    for component in components {
        running.spawn(match *component {
            Component::Gateway => {
                let stops = (shutdown.clone(), workers.clone().drop_guard());
                start_gateway(&engine, settings, stops, services.clone(), bound.take())?
            }
            Component::Service(service) => {
                start_service(service, &engine, settings, workers.clone())
            }
        });
    }
    let measuring = health.measure(engine.clone(), services, shutdown.clone());
    let _measuring = AbortOnDropHandle::new(tokio::spawn(measuring));
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
        sleep(settings.drain_timeout).await;
    };
    tokio::select! {
        outcome = all => outcome,
        () = too_late => bail!("did not stop within {:?} (drain-timeout)", settings.drain_timeout),
    }
}

/// Connects. Services create the streams that are missing; a gateway alone may not, and waits for them.
async fn connect(settings: &Settings, components: &[Component]) -> Result<Engine> {
    let config = engine::Config { start_timeout: settings.start_timeout, ..settings.engine() };
    let engine = if components.iter().all(|component| *component == Component::Gateway) {
        Engine::connect_to_existing(config).await?
    } else {
        Engine::connect(config).await?
    };
    engine.warn_unless_synced().await;
    if engine.is_open_to_all() {
        tracing::warn!(
            "nats-server lets everybody in who reaches it: they can write into every log and read every \
             event; make users and keys with `tradewind init`, and include them in its configuration"
        );
    }
    Ok(engine)
}

/// Runs the gateway until the first of `stops`, and then until what is in flight is answered. The
/// second stops the workers when the gateway has ended, however it did.
fn start_gateway(
    engine: &Engine,
    settings: &Settings,
    stops: (CancellationToken, DropGuard),
    services: OwnServices,
    bound: Option<oneshot::Sender<SocketAddr>>,
) -> Result<BoxFuture<'static, Result<()>>> {
    let engine = engine.clone();
    let person_keys = settings.person_keys().context("prepare the keys of persons")?;
    if person_keys.is_none() {
        tracing::warn!(
            "orders with personal data and webhook endpoints are refused: set person-keys and \
             master-key-file to take them"
        );
    }
    let settings = gateway::Settings {
        listen: settings.listen,
        tls: settings.gateway.tls()?,
        allow_plain_http: settings.gateway.allow_plain_http,
        api_keys: settings.api_keys()?,
        jwt: settings.jwt.read()?,
        answer_timeout: settings.answer_timeout,
        drain_timeout: settings.drain_timeout.mul_f64(GATEWAY_SHARE),
        limits: settings.gateway.limits(settings.listen),
        readiness: {
            let engine = engine.clone();
            Arc::new(move || services.readiness(engine.partitions()))
        },
        person_keys,
        webhooks: settings.webhooks.policy()?,
        cors_origins: settings.cors_origins.clone(),
        clock: engine.config().clock.clone(),
    };
    Ok(Box::pin(async move {
        let (shutdown, _workers) = stops;
        gateway::run(&engine, settings, shutdown, bound).await.context("run the gateway")
    }))
}

fn start_service(
    service: &'static Service,
    engine: &Engine,
    settings: &Settings,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<()>> {
    let (engine, settings) = (engine.clone(), settings.clone());
    Box::pin(async move { service.run(&engine, &settings, shutdown).await })
}
