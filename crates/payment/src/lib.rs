//! The payment service: asks a payment provider for the money of orders, and gives it back.
//!
//! - `wire`: bytes to domain and back; the only file that sees protobuf;
//! - `domain`: the rules, without I/O, clock or async; `domain/payment.rs` for a payment as it is;
//! - `store`: how its rows are stored, and the sums over them;
//! - `query`: the questions that it answers;
//! - `operation`: what is asked of the provider, and how its outcome becomes certain;
//! - `metrics`: what is measured: the payments that do not come to an end;
//! - `reconcile`: the provider's own list beside our log; `job` does so now and then;
//! - `provider`: the provider as we see it; `simulator`: the one that there is, and the table of how
//!   a payment method makes it behave.
//!
//! How money flows: the order's `payment_due` becomes `authorization_pending`. Once that is in the
//! log, the engine has the operation that it announces carried out; the outcome comes back as an
//! input and becomes `authorized`, `declined` or `failed`. `confirmed` leads in the same way to
//! `captured`, and `cancelled` to `voided` or `refunded`, whatever it crosses. A `payment_due` in one step, of
//! stock that is allocated, becomes `charge_pending`, and then `captured`, `declined` or `failed`. The aggregate
//! is the payment, of which an order may have several.
//!
//! To ask something new of the provider: a task in `provider_api::Task`, its events in `proto/`, a
//! status and the rules in `domain`; the compiler names the places in between. To add a provider: an
//! arm in `provider`.

mod domain;
mod job;
pub mod metrics;
mod operation;
mod provider;
mod provider_api;
mod query;
mod reconcile;
mod simulator;
mod store;
mod wire;

use std::{path::PathBuf, time::Duration};

use engine::{Definition, Service, Source, Table, metrics::Metric};

pub use self::{job::Reconciling, operation::LookupPolicy};
use self::{provider::Provider, simulator::Simulator};

/// What an installation may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder in which the simulated provider keeps its ledger, `provider.db`.
    pub simulator_folder: PathBuf,
    /// How long the simulated provider takes for each operation.
    pub simulator_latency: Duration,
    /// How long an answer of the provider is waited for, before it is asked what became of the call.
    pub timeout: Duration,
    /// How long the provider is waited for in all.
    pub policy: LookupPolicy,
}

/// The provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger of the simulated provider does not open.
    #[error("the ledger of the simulated provider, {file}, does not open")]
    OpenLedger {
        /// The ledger.
        file: String,
        /// Why.
        source: sqlx::Error,
    },
}

/// Connects to the provider, and yields the payment service, to be run by an engine.
pub async fn service(settings: &Settings) -> Result<Definition<Payments>, Error> {
    Ok(Definition::new(Payments::open(settings).await?).with_effects())
}

/// Payments, as the engine sees them.
#[derive(Debug, Clone)]
pub struct Payments {
    provider: Provider,
    policy: LookupPolicy,
}

impl Payments {
    /// Connects to the provider.
    async fn open(settings: &Settings) -> Result<Self, Error> {
        let file = settings.simulator_folder.join("provider.db");
        let simulator = Simulator::open(&file, settings.simulator_latency).await;
        let simulator = simulator
            .map_err(|source| Error::OpenLedger { file: file.display().to_string(), source })?;
        let provider = Provider::new(simulator, settings.timeout);
        Ok(Self { provider, policy: settings.policy })
    }
}

impl Service for Payments {
    const NAME: &'static str = "payment";
    const SOURCES: &'static [Source] = &[Source {
        service: "order",
        events: &["payment_due", "confirmed", "shipped", "cancelled"],
        replica: false,
    }];
    const TABLES: &'static [Table] = store::TABLES;
    const FORMAT: u32 = 6;
    const METRICS: &'static [Metric] = &metrics::ALL;
}
