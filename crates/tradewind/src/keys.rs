//! API keys, by the command line: through a gateway, with the key of an administrator.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use client::Client;
use events::http::keys::{KeyEventView, KeyHistory, KeyList, KeyView, NewKeyView};
use node::{say, settings::Settings};
use protocol::{id::Shop, time::Timestamp};
use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::gateway::{GatewayOptions, print};

/// The longest page of a list.
const PAGE_LENGTH: u32 = 1_000;

/// What is done with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Add a key, and print it: it is shown this once
    Add(NewKey),
    /// List those that the caller's key may see
    List(GatewayOptions),
    /// Show one, with when it was used last
    Show(OneKey),
    /// Give one another secret, and print it: it is shown this once
    Rotate {
        #[command(flatten)]
        key: OneKey,
        /// For how long its old secret is still accepted
        #[arg(long, value_name = "DURATION", default_value = "24h",
              value_parser = humantime::parse_duration)]
        keep_old: Duration,
        #[command(flatten)]
        output: SecretOutput,
    },
    /// Let one be refused from now on, for good
    Revoke {
        #[command(flatten)]
        key: OneKey,
        /// Why, for those who read its history later
        #[arg(long)]
        reason: Option<String>,
    },
    /// Show what happened to one, and who asked for it
    History(OneKey),
}

/// A key that is added.
#[derive(Debug, Args)]
pub(crate) struct NewKey {
    #[command(flatten)]
    at: GatewayOptions,
    /// What it is for
    description: String,
    /// What it allows, between commas: read, orders, prices-as-sold, erp, fulfilment, webhooks, admin
    #[arg(long, required = true, value_delimiter = ',')]
    scopes: Vec<String>,
    /// The shops that it is for, between commas
    #[arg(long, value_delimiter = ',', value_parser = Shop::parse,
          required_unless_present = "all_shops", conflicts_with = "all_shops")]
    shops: Vec<Shop>,
    /// It is for all shops
    #[arg(long)]
    all_shops: bool,
    /// From when on it is refused (RFC 3339) [default: never]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    expires: Option<Timestamp>,
    #[command(flatten)]
    output: SecretOutput,
}

/// Where a secret goes.
#[derive(Debug, Args)]
pub(crate) struct SecretOutput {
    /// Write the key to this new file, which only its owner may read, and do not print it
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// A key.
#[derive(Debug, Args)]
pub(crate) struct OneKey {
    #[command(flatten)]
    at: GatewayOptions,
    /// Its id: what stands between `tw_` and the next `_`
    id: String,
}

/// Does it.
pub(crate) async fn run(settings: &Settings, what: Keys) -> Result<()> {
    match what {
        Keys::Add(new) => add(settings, new).await,
        Keys::List(at) => list(&at.client(settings)?).await,
        Keys::Show(key) => {
            let shown: Value = read(&key.at.client(settings)?, &format!("keys/{}", key.id)).await?;
            print(&shown)
        }
        Keys::Rotate { key, keep_old, output } => {
            let body = json!({"keep_old_s": keep_old.as_secs()});
            let path = format!("keys/{}/rotate", key.id);
            output.write(|api| post(api, &path, &body), &key.at.client(settings)?).await
        }
        Keys::Revoke { key, reason } => {
            let mut body = Map::new();
            body.extend(reason.map(|reason| ("reason".to_owned(), json!(reason))));
            let path = format!("keys/{}/revoke", key.id);
            let api = key.at.client(settings)?;
            let revoked: KeyView = post(&api, &path, &Value::Object(body)).await?;
            say!("{}: revoked; gateways refuse it within 5 seconds", revoked.id);
            Ok(())
        }
        Keys::History(key) => history(&key.at.client(settings)?, &key.id).await,
    }
}

async fn add(settings: &Settings, new: NewKey) -> Result<()> {
    let NewKey { at, description, scopes, shops, all_shops, expires, output } = new;
    let mut body = json!({"description": description, "scopes": scopes});
    if all_shops {
        body["all_shops"] = json!(true);
    } else {
        body["shops"] = json!(shops);
    }
    if let Some(expires) = expires {
        body["expires_at"] = json!(expires);
    }
    output.write(|api| post(api, "keys", &body), &at.client(settings)?).await
}

impl SecretOutput {
    /// Makes a key, and writes what is shown of it once. The file is made before the key is: where there is
    /// no place for it, there is none.
    async fn write<'a, F: Future<Output = Result<NewKeyView>>>(
        &self,
        make: impl FnOnce(&'a Client) -> F,
        api: &'a Client,
    ) -> Result<()> {
        let file = self.secret_file.as_deref().map(create_private).transpose()?;
        let shown = match make(api).await {
            Ok(shown) => shown,
            Err(error) => {
                if let Some(empty) = &self.secret_file {
                    fs::remove_file(empty).ok();
                }
                return Err(error);
            }
        };
        let secret = shown.secret.as_deref().context("the gateway shows no secret")?;
        if let Some((mut file, name)) = file.zip(self.secret_file.as_deref()) {
            writeln!(file, "{secret}").and_then(|()| file.sync_all()).with_context(|| {
                format!("write the key to {}; rotate {}", name.display(), shown.key.id)
            })?;
            say!("{}: the key is in {}", shown.key.id, name.display());
        } else {
            say!("{}: {}", shown.key.id, shown.notice);
            say!("{secret}");
        }
        if let Some(until) = shown.key.old_secret_valid_until {
            say!("its old secret is accepted until {until}");
        }
        Ok(())
    }
}

fn create_private(file: &Path) -> Result<fs::File> {
    let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    created.with_context(|| format!("create the file {}", file.display()))
}

async fn list(api: &Client) -> Result<()> {
    let mut after = None;
    let mut count = 0;
    loop {
        let from = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let page: KeyList = read(api, &format!("keys?limit={PAGE_LENGTH}{from}")).await?;
        for key in &page.keys {
            print_key(key);
        }
        count += page.keys.len();
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    say!("{count} keys");
    Ok(())
}

fn print_key(key: &KeyView) {
    let state = &key.status;
    let shops: Vec<_> = key.shops.iter().map(Shop::as_str).collect();
    let shops = if key.all_shops { "all shops".to_owned() } else { shops.join(",") };
    let used = key.last_used_at.map_or("never used".to_owned(), |at| format!("used {at}"));
    say!("{} {state:<7} {} ({shops}), {used}: {}", key.id, key.scopes.join(","), key.description);
}

async fn history(api: &Client, id: &str) -> Result<()> {
    let mut after = None;
    loop {
        let from = after.map(|after| format!("?after={after}")).unwrap_or_default();
        let page: KeyHistory = read(api, &format!("keys/{id}/history{from}")).await?;
        for event in &page.events {
            print_event(event);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

fn print_event(event: &KeyEventView) {
    let KeyEventView { time, kind, actor_kind, actor_id, .. } = event;
    let old = event.old_secret_valid_until.map(|until| format!(", the old secret until {until}"));
    let reason = event.reason.as_ref().map(|reason| format!(": {reason}"));
    let used = event.used_at.map(|at| format!(" at {at}"));
    let more: String = [old, reason, used].into_iter().flatten().collect();
    say!("{time} {kind} by {actor_kind} {actor_id}{more}");
}

async fn read<T: serde::de::DeserializeOwned>(api: &Client, path: &str) -> Result<T> {
    let request = api.request_to_api(Method::GET, path)?;
    Ok(api.send_until_answered(request).await?.read()?)
}

/// Sends a request under an idempotency key of its own: what is sent again has one effect.
#[expect(clippy::disallowed_methods, reason = "the edge: the request gets its id here")]
async fn post<T: serde::de::DeserializeOwned>(api: &Client, path: &str, body: &Value) -> Result<T> {
    let key = Uuid::new_v4().to_string();
    let request = api.request_to_api(Method::POST, path)?.header("idempotency-key", key);
    Ok(api.send(request.json(body)).await?.read()?)
}
