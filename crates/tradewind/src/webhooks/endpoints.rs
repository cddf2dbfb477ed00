//! Webhook endpoints and their deliveries, through a gateway.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use client::Client;
use node::{say, settings::Settings};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::gateway::{ShopOptions, print, print_answer};

/// An endpoint.
#[derive(Debug, Args)]
pub(crate) struct Endpoint {
    #[command(flatten)]
    at: ShopOptions,
    /// The endpoint's id
    endpoint: String,
}

/// What is done with endpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum Endpoints {
    /// Create one, and print it with its secret, which is shown this once
    Create {
        #[command(flatten)]
        at: ShopOptions,
        /// Where its deliveries are sent
        url: String,
        /// Types of events between commas, such as order.*,payment.captured
        #[arg(long, default_value = "*")]
        types: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        /// In which order deliveries are sent
        #[arg(long, value_enum, default_value = "parallel")]
        ordering: Ordering,
        /// Send no data, only what identifies an event
        #[arg(long)]
        thin: bool,
    },
    /// List those of a shop
    List(ShopOptions),
    /// Show one, with what became of its deliveries
    Show(Endpoint),
    /// Send it nothing; what comes meanwhile is held
    Disable(Endpoint),
    /// Send to it again
    Enable {
        #[command(flatten)]
        endpoint: Endpoint,
        /// Do not deliver what was held meanwhile: it waits for a replay
        #[arg(long)]
        keep_held: bool,
    },
    /// Give it a new secret, and print it
    RotateSecret {
        #[command(flatten)]
        endpoint: Endpoint,
        /// For how long the secrets before it sign as well
        #[arg(long, value_name = "DURATION", default_value = "24h",
              value_parser = humantime::parse_duration)]
        keep_old: std::time::Duration,
    },
    /// Send it a test delivery
    Test(Endpoint),
    /// Delete it; what waits is not delivered
    Delete(Endpoint),
}

/// In which order deliveries are sent.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Ordering {
    /// Several at a time
    Parallel,
    /// Those of one aggregate one after the other
    PerKey,
    /// All one after the other
    Fifo,
}

/// Which deliveries are sent once more.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Selection {
    /// Those that are held
    Missing,
    /// Those that failed for good
    Failed,
    /// All of them
    All,
}

/// Which deliveries are listed.
#[derive(Debug, Args)]
pub(crate) struct Deliveries {
    #[command(flatten)]
    endpoint: Endpoint,
    /// Only this one, with its attempts
    #[arg(value_name = "ENDPOINT_SEQ", conflicts_with_all = ["state", "event_type", "since", "from", "after"])]
    seq: Option<u64>,
    #[command(flatten)]
    listed: ListedDeliveries,
}

/// What is listed of deliveries.
#[derive(Debug, Args)]
pub(crate) struct ListedDeliveries {
    /// Those in this state: pending, `in_flight`, `retry_at`, delivered, exhausted, held, `held_behind`,
    /// aborted
    #[arg(long)]
    state: Option<String>,
    /// Those of events of this type, such as order.*
    #[arg(long = "type")]
    event_type: Option<String>,
    /// Those that were scheduled at this time (RFC 3339) or later
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The first number
    #[arg(long)]
    from: Option<u64>,
    /// The `next` of the page before, with the same filters
    #[arg(long)]
    after: Option<String>,
    /// The most that are listed
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

impl ListedDeliveries {
    /// The parameters of the request.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let from = self.from.unwrap_or_default().to_string();
        let given = [
            ("state", &self.state),
            ("type", &self.event_type),
            ("since", &self.since),
            ("after", &self.after),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        [("from", from), ("limit", self.limit.to_string())].into_iter().chain(given).collect()
    }
}

/// What is sent once more.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    endpoint: Endpoint,
    /// Which deliveries
    #[arg(long, value_enum)]
    selection: Selection,
    /// Those that were scheduled at this time (RFC 3339) or later
    #[arg(long, value_name = "TIME", conflicts_with = "from")]
    since: Option<String>,
    /// Those from the first on whose event is at this position of its log or behind it: `meta.stream` and
    /// `meta.position` of a delivery, such as order:48123
    #[arg(long, value_name = "STREAM:POSITION", value_parser = log_position, conflicts_with_all = ["from", "since"])]
    from_position: Option<(String, u64)>,
    /// The first `endpoint_seq`
    #[arg(long)]
    from: Option<u64>,
    /// The last `endpoint_seq`
    #[arg(long)]
    to: Option<u64>,
    /// The most that are sent in a second
    #[arg(long, value_name = "COUNT")]
    max_per_second: Option<u32>,
}

/// What a proof is about.
#[derive(Debug, Args)]
pub(crate) struct Proof {
    #[command(flatten)]
    endpoint: Endpoint,
    /// The first `endpoint_seq`
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// The last `endpoint_seq`; the last that there is unless it is given
    #[arg(long, default_value_t = 0)]
    to: u64,
}

impl Endpoint {
    fn path(&self, below: &str) -> String {
        format!("webhook-endpoints/{}{below}", self.endpoint)
    }

    async fn post(&self, settings: &Settings, below: &str, body: &Value) -> Result<()> {
        let api = self.at.client(settings)?;
        print_answer(&api, Method::POST, &self.path(below), body).await
    }

    async fn get(
        &self,
        settings: &Settings,
        below: &str,
        parameters: &[(&str, &str)],
    ) -> Result<()> {
        let api = self.at.client(settings)?;
        print(&api.query::<Value>(&self.path(below), parameters).await?)
    }
}

/// `tradewind webhooks endpoints …`.
pub(super) async fn run(settings: &Settings, what: Endpoints) -> Result<()> {
    match what {
        Endpoints::Create { at, url, types, description, ordering, thin } => {
            let types: Vec<_> = types.split(',').map(str::trim).collect();
            let ordering = match ordering {
                Ordering::Parallel => "parallel",
                Ordering::PerKey => "per_key",
                Ordering::Fifo => "fifo",
            };
            let payload = if thin { "thin" } else { "full" };
            let body = json!({"url": url, "event_types": types, "description": description,
                "ordering": ordering, "payload": payload});
            print_answer(&at.client(settings)?, Method::POST, "webhook-endpoints", &body).await
        }
        Endpoints::List(at) => print(&json!({"endpoints": all(&at.client(settings)?).await?})),
        Endpoints::Show(endpoint) => endpoint.get(settings, "", &[]).await,
        Endpoints::Disable(endpoint) => endpoint.post(settings, "/disable", &json!({})).await,
        Endpoints::Enable { endpoint, keep_held } => {
            endpoint.post(settings, "/enable", &json!({"deliver_held": !keep_held})).await
        }
        Endpoints::RotateSecret { endpoint, keep_old } => {
            let body = json!({"keep_old_s": keep_old.as_secs()});
            endpoint.post(settings, "/rotate-secret", &body).await
        }
        Endpoints::Test(endpoint) => endpoint.post(settings, "/test", &json!({})).await,
        Endpoints::Delete(endpoint) => {
            let api = endpoint.at.client(settings)?;
            let deleted = api.send(api.request(Method::DELETE, &endpoint.path(""))).await?;
            if !deleted.status.is_success() {
                deleted.read::<Value>()?;
            }
            say!("{}: deleted", endpoint.endpoint);
            Ok(())
        }
    }
}

/// All endpoints of the shop, read a page after the other.
async fn all(api: &Client) -> Result<Vec<Value>> {
    #[derive(Deserialize)]
    struct Page {
        endpoints: Vec<Value>,
        next: Option<String>,
    }
    let mut endpoints = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let parameters: Vec<_> =
            after.as_deref().map(|after| ("after", after)).into_iter().collect();
        let page: Page = api.query("webhook-endpoints", &parameters).await?;
        endpoints.extend(page.endpoints);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(endpoints),
        }
    }
}

/// `tradewind webhooks deliveries`.
pub(super) async fn deliveries(settings: &Settings, what: &Deliveries) -> Result<()> {
    if let Some(seq) = what.seq {
        return what.endpoint.get(settings, &format!("/deliveries/{seq}"), &[]).await;
    }
    let parameters = what.listed.parameters();
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, &**value)).collect();
    what.endpoint.get(settings, "/deliveries", &parameters).await
}

/// Reads a position in a log.
fn log_position(text: &str) -> Result<(String, u64), String> {
    let (stream, position) = text.split_once(':').ok_or("must be like order:48123")?;
    let position = position.parse().map_err(|_| "must end with a position, like order:48123")?;
    Ok((stream.to_owned(), position))
}

/// `tradewind webhooks replay`.
pub(super) async fn replay(settings: &Settings, what: &Replay) -> Result<()> {
    let selection = match what.selection {
        Selection::Missing => "missing",
        Selection::Failed => "failed",
        Selection::All => "all",
    };
    let mut body = Map::from_iter([("selection".to_owned(), json!(selection))]);
    body.extend(what.since.iter().map(|since| ("since".to_owned(), json!(since))));
    body.extend(what.from_position.iter().map(|(stream, position)| {
        ("from_position".to_owned(), json!({"stream": stream, "position": position}))
    }));
    body.extend(what.from.iter().map(|from| ("from".to_owned(), json!(from))));
    body.extend(what.to.iter().map(|to| ("to".to_owned(), json!(to))));
    let rate = what.max_per_second.iter();
    body.extend(rate.map(|rate| ("max_per_second".to_owned(), json!(rate))));
    what.endpoint.post(settings, "/replays", &Value::Object(body)).await
}

/// `tradewind webhooks proof`.
pub(super) async fn proof(settings: &Settings, what: &Proof) -> Result<()> {
    let (from, to) = (what.from.to_string(), what.to.to_string());
    what.endpoint.get(settings, "/proof", &[("from", &from), ("to", &to)]).await
}
