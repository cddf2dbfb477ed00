//! Webhooks, by the command line.

mod listen;

use anyhow::Result;
use clap::Subcommand;

/// What is done with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum Webhooks {
    /// Receive deliveries on this machine: verify each, check that none is missing, and print it
    #[command(after_help = listen::ENVIRONMENT)]
    Listen(listen::Options),
}

/// Does it.
pub(crate) async fn run(what: Webhooks) -> Result<()> {
    match what {
        Webhooks::Listen(options) => listen::listen(options).await,
    }
}
