//! A client of the gateway's HTTP API, for one shop.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(90);

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
