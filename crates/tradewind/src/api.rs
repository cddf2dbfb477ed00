//! A client of the gateway's HTTP API, for one shop.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use events::view::{LevelView, OrderTotals, PaymentTotals};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Stock levels that are asked for at once.
const LEVELS: usize = 1_000;

/// A client of one shop; cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    url: String,
    key: String,
    shop: String,
}

/// What the gateway answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Whether it answered this before, to the same idempotency key.
    pub replayed: bool,
    /// The body.
    pub body: Value,
}

/// What became of a bulk request.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Bulk {
    /// Lines that were taken.
    #[serde(alias = "accepted")]
    pub applied: u64,
    /// Lines that changed nothing.
    #[serde(default)]
    pub unchanged: u64,
    /// Lines that were refused.
    pub rejected: u64,
    /// One for each line, or for each line that needs one.
    pub results: Vec<Value>,
}

/// What the services count over the shop.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Totals {
    /// Orders, by status and reason.
    pub orders: OrderTotals,
    /// Money, by the payment service and by the provider.
    pub payments: PaymentTotals,
    /// Stock.
    pub inventory: StockTotals,
}

/// What the inventory counts.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct StockTotals {
    /// Units on hand.
    pub on_hand: i64,
    /// Units held.
    pub held: i64,
    /// Units allocated.
    pub allocated: i64,
}

impl Totals {
    /// Money that is neither taken nor let go, and operations whose outcome is not known.
    pub fn on_its_way(&self) -> i64 {
        let PaymentTotals { authorized, pending, provider_held, .. } = self.payments;
        authorized + pending + provider_held
    }

    /// Whether there are so many orders, and of none of them anything is on its way any more.
    pub fn are_settled(&self, orders: u64) -> bool {
        let groups = &self.orders.groups;
        let ended = groups.iter().map(|group| group.orders).sum::<i64>();
        groups.iter().all(|group| group.status.is_final())
            && ended >= orders as i64
            && self.on_its_way() == 0
            && self.inventory.held == 0
    }
}

impl Api {
    /// A client of `shop` at the gateway `url` (`http://host:port`).
    pub fn new(url: &str, key: &str, shop: &str) -> Result<Self> {
        let http =
            reqwest::Client::builder().timeout(TIMEOUT).build().context("make an HTTP client")?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { http, url, key: key.to_owned(), shop: shop.to_owned() })
    }

    /// A request to a path below the shop.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/v1/shops/{}/{path}", self.url, self.shop);
        self.http.request(method, url).bearer_auth(&self.key)
    }

    /// Sends a request and reads the JSON of the answer, whatever its status.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.context("send a request to the gateway")?;
        let status = response.status();
        let replayed = response.headers().contains_key("idempotency-replayed");
        let body = response.bytes().await.context("read the gateway's answer")?;
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        Ok(Response { status, replayed, body })
    }

    /// Gets what is at a path below the shop.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = self.send(self.request(Method::GET, path)).await?;
        expect_success(&response, path)?;
        serde_json::from_value(response.body).with_context(|| format!("read {path}"))
    }

    /// What the services count over the shop.
    pub async fn totals(&self) -> Result<Totals> {
        self.get("totals").await
    }

    /// The level of each SKU.
    pub async fn levels(&self) -> Result<Vec<LevelView>> {
        #[derive(Deserialize)]
        struct Page {
            levels: Vec<LevelView>,
            next: Option<String>,
        }
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page: Page = self.get(&format!("inventory?limit={LEVELS}{after}")).await?;
            all.extend(page.levels);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(all),
            }
        }
    }

    /// Pushes lines of NDJSON to a path below the shop.
    pub async fn push(&self, path: &str, lines: String) -> Result<Bulk> {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/x-ndjson")
            .body(lines);
        let response = self.send(request).await?;
        expect_success(&response, path)?;
        serde_json::from_value(response.body).with_context(|| format!("read the results of {path}"))
    }

    /// Places an order under an idempotency key; with `wait`, until the saga's outcome.
    pub async fn place(&self, order: &Value, key: &str, wait: Option<u64>) -> Result<Response> {
        let mut request =
            self.request(Method::POST, "orders").header("idempotency-key", key).json(order);
        if let Some(seconds) = wait {
            request = request.header("prefer", format!("wait={seconds}"));
        }
        self.send(request).await
    }
}

/// An error that tells what the gateway said, unless it said 2xx.
pub fn expect_success(response: &Response, what: &str) -> Result<()> {
    if response.status.is_success() {
        return Ok(());
    }
    bail!("the gateway answered {} to {what}: {}", response.status, response.body)
}
