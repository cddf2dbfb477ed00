//! What has come from the ERP connectors of a shop.

use anyhow::Result;
use clap::{Args, Subcommand};
use node::settings::Settings;
use serde_json::Value;

use crate::gateway::{ShopOptions, print};

/// What is done with connectors.
#[derive(Debug, Subcommand)]
pub(crate) enum Connectors {
    /// List them by name, each with what has come from it
    List(List),
    /// Show what has come from one, and what is missing in between
    Show(ConnectorOptions),
}

/// Which are listed.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    at: ShopOptions,
    /// The `next` of the page before
    #[arg(long)]
    after: Option<String>,
    /// The most of a page: 1 to 1000
    #[arg(long)]
    limit: Option<u32>,
}

/// One of them.
#[derive(Debug, Args)]
pub(crate) struct ConnectorOptions {
    #[command(flatten)]
    at: ShopOptions,
    /// Its name, as its lines have it in `connector`
    connector: String,
}

/// Does it.
pub(super) async fn run(settings: &Settings, what: Connectors) -> Result<()> {
    match what {
        Connectors::List(List { at, after, limit }) => {
            let limit = limit.map(|limit| limit.to_string());
            let page = [("after", &after), ("limit", &limit)];
            let page = page.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
            let page: Vec<_> = page.collect();
            print(&at.client(settings)?.query::<Value>("connectors", &page).await?)
        }
        Connectors::Show(ConnectorOptions { at, connector }) => {
            print(&at.client(settings)?.get::<Value>(&format!("connectors/{connector}")).await?)
        }
    }
}
