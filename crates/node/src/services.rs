//! The one list of services. What is run, rebuilt and verified, and what the command line takes,
//! follows from it.
//!
//! To register a service: an entry of [`SERVICES`], with the function that runs it.

use std::fmt;

use anyhow::{Context, Result};
use engine::{Engine, Operator, Rebuilt, Verified, metrics::Metric};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::{job, settings::Settings};

/// All services, in the order in which they are run and shown.
pub static SERVICES: [Service; 6] = [
    Service::new::<shop::Shops>("Shops and their settings", |engine, _, shutdown| {
        Box::pin(async move { Ok(engine.run(shop::service(), shutdown).await?) })
    }),
    Service::new::<catalog::Catalog>("Products and prices", |engine, _, shutdown| {
        Box::pin(async move { Ok(engine.run(catalog::service(), shutdown).await?) })
    }),
    Service::new::<inventory::Inventory>("Stock", |engine, settings, shutdown| {
        let policy = inventory::Policy { hold_ttl: settings.hold_ttl };
        Box::pin(async move {
            let clock = engine.config().clock.clone();
            Ok(engine.run(inventory::service(policy, clock), shutdown).await?)
        })
    }),
    Service::new::<order::Orders>("Orders: the saga", |engine, settings, shutdown| {
        let policy = order::Policy {
            reservation_timeout: settings.reservation_timeout,
            payment_timeout: settings.payment_timeout,
            allocation_timeout: settings.allocation_timeout,
        };
        Box::pin(async move { Ok(engine.run(order::service(policy), shutdown).await?) })
    }),
    Service::new::<payment::Payments>("Payments", |engine, settings, shutdown| {
        let reconciling = payment::Reconciling {
            interval: settings.reconciliation_interval,
            settling: settings.provider_late_window,
            mends: !settings.reconciliation_reports_only,
        };
        let settings = payment::Settings {
            simulator_folder: settings.provider_dir.clone(),
            simulator_latency: settings.provider_latency,
            timeout: settings.provider_timeout,
            policy: payment::LookupPolicy {
                lookup_interval: settings.provider_lookup_interval,
                late_window: settings.provider_late_window,
                stuck_after: settings.payment_stuck_after,
            },
        };
        Box::pin(async move {
            let payments = payment::service(&settings).await?;
            let (client, clock) = (engine.client(), engine.config().clock.clone());
            let reconciler = payments.service().clone();
            let reconcile =
                || reconciler.clone().reconcile(client.clone(), clock.clone(), reconciling);
            tokio::select! {
                ended = engine.run(payments, shutdown) => Ok(ended?),
                () = job::keep_up("the reconciliation of payments", reconcile) => Ok(()),
            }
        })
    }),
    Service::new::<notify::Notify>("Webhooks and mails", |engine, settings, shutdown| {
        let (policy, keys) = (settings.webhooks.policy(), settings.person_keys());
        let mail_server = settings.mail.server();
        let retry_pauses_s = settings.webhooks.retry_pauses_s.clone();
        Box::pin(async move {
            let (policy, keys, mail_server) = (policy?, keys?, mail_server?);
            let retry_pauses_s = retry_pauses_s.map(|pauses| pauses.0).unwrap_or_default();
            let settings = notify::Settings { policy, keys, mail_server, retry_pauses_s };
            let (client, clock) = (engine.client(), engine.config().clock.clone());
            Ok(engine.run(notify::service(settings, client, clock)?, shutdown).await?)
        })
    }),
];

/// The names of all services.
pub static NAMES: [&str; SERVICES.len()] = {
    let mut names = [""; SERVICES.len()];
    let mut index = 0;
    while index < SERVICES.len() {
        names[index] = SERVICES[index].name;
        index += 1;
    }
    names
};

/// What a process can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The workers of a service.
    Service(&'static Service),
    /// The HTTP API.
    Gateway,
}

impl Component {
    /// All of them; the gateway is the last.
    pub fn all() -> Vec<Self> {
        SERVICES.iter().map(Self::Service).chain([Self::Gateway]).collect()
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service(service) => service.name,
            Self::Gateway => "gateway",
        }
    }

    /// What it does, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Service(service) => service.about,
            Self::Gateway => "The HTTP API",
        }
    }
}

/// A service: a log, a database that follows from it, and the workers that write both.
pub struct Service {
    /// Its name, in streams, subjects and on the command line.
    pub name: &'static str,
    /// What it keeps, in a few words.
    pub about: &'static str,
    /// The metrics that it records beside the engine's own.
    pub metrics: &'static [Metric],
    run: fn(Engine, &Settings, CancellationToken) -> BoxFuture<'static, Result<()>>,
    /// What an operator does with it.
    pub operator: Operator,
}

impl Service {
    const fn new<S: engine::Service>(
        about: &'static str,
        run: fn(Engine, &Settings, CancellationToken) -> BoxFuture<'static, Result<()>>,
    ) -> Self {
        Self { name: S::NAME, about, metrics: S::METRICS, run, operator: Operator::of::<S>() }
    }

    /// The service of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SERVICES.iter().find(|service| service.name == name)
    }

    /// Runs its workers until `shutdown`; the batches at hand are finished first.
    pub async fn run(
        &self,
        engine: &Engine,
        settings: &Settings,
        shutdown: CancellationToken,
    ) -> Result<()> {
        let running = (self.run)(engine.clone(), settings, shutdown);
        running.await.with_context(|| format!("run the service {}", self.name))
    }

    /// Folds its log anew and lets the result take the place of its database.
    pub async fn rebuild(&self, engine: &Engine) -> Result<Rebuilt> {
        self.operator.rebuild(engine).await.with_context(|| format!("rebuild {}", self.name))
    }

    /// Compares its database with its log.
    pub async fn verify(&self, engine: &Engine) -> Result<Verified> {
        self.operator.verify(engine).await.with_context(|| format!("verify {}", self.name))
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Service").field(&self.name).finish()
    }
}

impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Service {}

/// Compares each database with its log, by service.
pub async fn verify_all(engine: &Engine) -> Result<Vec<(&'static str, Verified)>> {
    let mut verified = Vec::new();
    for service in &SERVICES {
        verified.push((service.name, service.verify(engine).await?));
    }
    Ok(verified)
}
