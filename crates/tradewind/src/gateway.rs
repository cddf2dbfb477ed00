//! Commands that speak to a gateway as any client does: of which shop, and through which gateway.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use client::Client;
use node::{say, settings::Settings};
use protocol::id::Shop;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;

/// What the help says of the environment.
pub(crate) const ENVIRONMENT: &str =
    "Environment:\n  TRADEWIND_API_KEY  The API key, unless --api-key-file names a file with it";

/// A shop, and the gateway that is asked.
#[derive(Debug, Args)]
pub(crate) struct ShopOptions {
    /// The shop
    #[arg(long)]
    pub(crate) shop: String,
    #[command(flatten)]
    at: GatewayOptions,
}

impl ShopOptions {
    /// A client of the shop, with the API key of the settings.
    pub(crate) fn client(&self, settings: &Settings) -> Result<Client> {
        self.at.client_of(settings, &self.shop)
    }
}

/// The gateway that is asked.
#[derive(Debug, Args)]
pub(crate) struct GatewayOptions {
    /// The gateway; the one that --listen names unless it is given
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// A file of certificates (PEM) of the authorities that sign the gateway's; those that the operating system trusts
    /// unless it is given
    #[arg(long, env = "TRADEWIND_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl GatewayOptions {
    /// A client for what is of no shop, with the API key of the settings.
    pub(crate) fn client(&self, settings: &Settings) -> Result<Client> {
        self.client_of(settings, Shop::installation().as_str())
    }

    fn client_of(&self, settings: &Settings, shop: &str) -> Result<Client> {
        let key = settings.api_key.as_ref().context("set TRADEWIND_API_KEY or --api-key-file")?;
        let gateway = self.gateway.clone().unwrap_or_else(|| format!("http://{}", settings.listen));
        let key = key.expose_secret();
        let Some(file) = &self.ca_file else { return Ok(Client::new(&gateway, key, shop)?) };
        let pem = fs::read(file).with_context(|| format!("read --ca-file {}", file.display()))?;
        let client = Client::trusting(&pem, &gateway, key, shop);
        client.with_context(|| format!("use --ca-file {}", file.display()))
    }
}

/// Sends a request, and prints what is answered.
pub(crate) async fn print_answer(
    api: &Client,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<()> {
    let answer = api.send(api.request(method, path).json(body)).await?;
    print(&answer.read::<Value>()?)
}

/// Prints JSON for people.
pub(crate) fn print(value: &Value) -> Result<()> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
