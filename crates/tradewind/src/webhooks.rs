//! Webhooks, by the command line.

mod endpoints;
mod listen;

use anyhow::Result;
use clap::Subcommand;
use node::settings::Settings;

pub(crate) use self::endpoints::ListedDeliveries;
use self::endpoints::{Deliveries, Endpoints, Proof, Replay};
use crate::gateway::ENVIRONMENT;

/// What is done with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum Webhooks {
    /// Receive deliveries on this machine: verify each, check that none is missing, and print it
    #[command(after_help = listen::ENVIRONMENT)]
    Listen(listen::Options),
    /// Create, list, show, disable, enable and delete endpoints
    #[command(subcommand, after_help = ENVIRONMENT)]
    Endpoints(Endpoints),
    /// List the deliveries to an endpoint
    #[command(after_help = ENVIRONMENT)]
    Deliveries(Deliveries),
    /// Send deliveries once more, with the same ids and bytes
    #[command(after_help = ENVIRONMENT)]
    Replay(Replay),
    /// Say how many events matched an endpoint, were sent and accepted, and which are open
    #[command(after_help = ENVIRONMENT)]
    Proof(Proof),
}

/// Does it.
pub(crate) async fn run(settings: &Settings, what: Webhooks) -> Result<()> {
    match what {
        Webhooks::Listen(options) => listen::listen(options).await,
        Webhooks::Endpoints(what) => endpoints::run(settings, what).await,
        Webhooks::Deliveries(what) => endpoints::deliveries(settings, &what).await,
        Webhooks::Replay(what) => endpoints::replay(settings, &what).await,
        Webhooks::Proof(what) => endpoints::proof(settings, &what).await,
    }
}
