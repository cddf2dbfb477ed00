//! The stock lines that the inventory rejected and keeps: looks at them, tries them again, drops them.

use anyhow::Result;
use clap::{Args, Subcommand};
use client::Client;
use node::{say, settings::Settings};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::gateway::{ShopOptions, print, print_answer};

/// What is done with rejected lines.
#[derive(Debug, Subcommand)]
pub(crate) enum Rejections {
    /// List them: by connector, and in the order in which they were rejected first
    List(List),
    /// Show one of them
    Show(RejectionOptions),
    /// Try one again, or all that are named by what they have in common
    Redrive(Chosen),
    /// Drop one, or all that are named by what they have in common: they are not kept any more
    Drop(Drop),
}

/// Which are listed.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    at: ShopOptions,
    #[command(flatten)]
    filter: Filter,
    /// The `next` of the page before
    #[arg(long)]
    after: Option<String>,
    /// The most of a page: 1 to 1000
    #[arg(long)]
    limit: Option<u32>,
}

/// One of them.
#[derive(Debug, Args)]
pub(crate) struct RejectionOptions {
    #[command(flatten)]
    at: ShopOptions,
    /// Its id
    id: String,
}

/// What rejected lines have in common.
#[derive(Debug, Clone, Args)]
pub(crate) struct Filter {
    /// Those of a connector
    #[arg(long)]
    connector: Option<String>,
    /// Those of a document
    #[arg(long)]
    document: Option<String>,
    /// Those of a SKU
    #[arg(long)]
    sku: Option<String>,
    /// Those that were rejected for this reason, such as `unknown_sku`
    #[arg(long)]
    reason: Option<String>,
}

/// Those that are meant.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    #[command(flatten)]
    at: ShopOptions,
    /// The id of one
    #[arg(conflicts_with_all = ["connector", "document", "sku", "reason", "all"],
        required_unless_present_any = ["connector", "document", "sku", "reason", "all"])]
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// All of the shop
    #[arg(long)]
    all: bool,
}

/// Those that are dropped.
#[derive(Debug, Args)]
pub(crate) struct Drop {
    #[command(flatten)]
    chosen: Chosen,
    /// Why they are dropped, for those who look later
    #[arg(long, value_name = "TEXT")]
    note: String,
}

impl Filter {
    fn parameters(&self) -> Vec<(&'static str, &str)> {
        let Self { connector, document, sku, reason } = self;
        let all =
            [("connector", connector), ("document", document), ("sku", sku), ("reason", reason)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}

/// Does it.
pub(super) async fn run(settings: &Settings, what: Rejections) -> Result<()> {
    match what {
        Rejections::List(List { at, filter, after, limit }) => {
            let limit = limit.map(|limit| limit.to_string());
            let page = [("after", &after), ("limit", &limit)];
            let page = page.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
            let parameters: Vec<_> = filter.parameters().into_iter().chain(page).collect();
            print(&at.client(settings)?.query::<Value>("rejections", &parameters).await?)
        }
        Rejections::Show(RejectionOptions { at, id }) => {
            print(&at.client(settings)?.get::<Value>(&format!("rejections/{id}")).await?)
        }
        Rejections::Redrive(chosen) => handle(settings, &chosen, "redrive", &Map::new()).await,
        Rejections::Drop(Drop { chosen, note }) => {
            let body = Map::from_iter([("reason".to_owned(), note.into())]);
            handle(settings, &chosen, "drop", &body).await
        }
    }
}

/// Handles the one that is chosen, or all that the filter names, a page after the other.
async fn handle(
    settings: &Settings,
    Chosen { at, id, filter, .. }: &Chosen,
    act: &str,
    body: &Map<String, Value>,
) -> Result<()> {
    let api = at.client(settings)?;
    if let Some(id) = id {
        let path = format!("rejections/{id}/{act}");
        return print_answer(&api, Method::POST, &path, &Value::Object(body.clone())).await;
    }
    let filter: Map<_, _> = filter
        .parameters()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let mut body = body.clone();
    body.insert("filter".to_owned(), filter.into());
    handle_all(&api, act, body).await
}

/// Handles all that a filter names, and prints a line for each.
async fn handle_all(api: &Client, act: &str, mut body: Map<String, Value>) -> Result<()> {
    let (path, mut count) = (format!("rejections/{act}"), 0);
    loop {
        let request = api.request(Method::POST, &path).json(&body);
        let answer: Value = api.send(request).await?.read()?;
        for result in answer["results"].as_array().into_iter().flatten() {
            count += 1;
            say!("{result}");
        }
        if answer["next"].is_null() {
            break;
        }
        body.insert("after".to_owned(), answer["next"].clone());
    }
    say!("{}", json!({ "count": count }));
    Ok(())
}
