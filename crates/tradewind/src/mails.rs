//! Mails to the customers of orders, through a gateway.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use node::settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    gateway::{ENVIRONMENT, ShopOptions, print, print_answer},
    webhooks::ListedDeliveries,
};

/// What is done with mails.
#[derive(Debug, Subcommand)]
pub(crate) enum Mails {
    /// Show which mails a shop sends, and what became of them
    #[command(after_help = ENVIRONMENT)]
    Settings(ShopOptions),
    /// Say which mails a shop sends, and who sends them
    #[command(after_help = ENVIRONMENT)]
    Set(Set),
    /// List the mails of a shop
    #[command(after_help = ENVIRONMENT)]
    List(List),
    /// Show a mail with its attempts
    #[command(after_help = ENVIRONMENT)]
    Show(Mail),
    /// Send a mail once more
    #[command(after_help = ENVIRONMENT)]
    Resend(Mail),
}

/// How a shop sends mails.
#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    at: ShopOptions,
    /// The events of which mails are sent, between commas: order.confirmed, order.cancelled, order.shipped,
    /// order.refunded; none when it is empty
    #[arg(long)]
    events: String,
    /// The name of the sender, as customers see it
    #[arg(long)]
    sender_name: String,
    /// The address of the sender
    #[arg(long)]
    sender_address: String,
    /// The language of the mails
    #[arg(long, default_value = "en")]
    language: String,
    /// A JSON file with templates: a list of objects of event, subject, text and html
    #[arg(long, value_name = "FILE")]
    templates: Option<PathBuf>,
}

/// Which mails are listed.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    at: ShopOptions,
    #[command(flatten)]
    listed: ListedDeliveries,
}

/// A mail.
#[derive(Debug, Args)]
pub(crate) struct Mail {
    #[command(flatten)]
    at: ShopOptions,
    /// Its number
    seq: u64,
}

/// Does it.
pub(crate) async fn run(settings: &Settings, what: Mails) -> Result<()> {
    match what {
        Mails::Settings(at) => print(&at.client(settings)?.get::<Value>("mail").await?),
        Mails::Set(what) => set(settings, &what).await,
        Mails::List(what) => list(settings, &what).await,
        Mails::Show(Mail { at, seq }) => {
            print(&at.client(settings)?.get::<Value>(&format!("mails/{seq}")).await?)
        }
        Mails::Resend(Mail { at, seq }) => {
            let path = format!("mails/{seq}/resend");
            print_answer(&at.client(settings)?, Method::POST, &path, &json!({})).await
        }
    }
}

async fn set(settings: &Settings, what: &Set) -> Result<()> {
    let events = what.events.split(',').map(str::trim).filter(|event| !event.is_empty());
    let templates = match &what.templates {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("read the templates in {}", file.display()))?;
            serde_json::from_str(&text)
                .with_context(|| format!("parse the templates in {}", file.display()))?
        }
        None => json!([]),
    };
    let body = json!({
        "events": events.collect::<Vec<_>>(),
        "sender": {"name": what.sender_name, "address": what.sender_address},
        "language": what.language,
        "templates": templates,
    });
    print_answer(&what.at.client(settings)?, Method::PUT, "mail", &body).await
}

async fn list(settings: &Settings, what: &List) -> Result<()> {
    let parameters = what.listed.parameters();
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, &**value)).collect();
    print(&what.at.client(settings)?.query::<Value>("mails", &parameters).await?)
}
