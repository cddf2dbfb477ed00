//! One function for each route, and sending.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use events::{
    http::{
        AFTER_HEADER, LevelView, OrderSummary, OrderView, POSITION_HEADER, Positions, ShopView,
    },
    id::OrderId,
    shop::Settings,
};
use reqwest::{ClientBuilder, Method, RequestBuilder, StatusCode};
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;

use crate::{
    Error, PushResult, Response, Totals,
    error::is_transient,
    tls::{self, Authorities, unanswered},
};

/// How long one attempt of a request may take: longer than the longest wait of the gateway.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a request is sent again: with the delays below for some 35 s, longer than a cluster
/// takes to elect a leader.
const MAX_RETRIES: usize = 20;
/// The delay before the first retry; each further one is twice as long.
pub(crate) const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
/// The longest delay before a retry.
pub(crate) const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);
/// Stock levels of one page.
const LEVELS_PAGE: usize = 1_000;

/// A client of one shop; cheap to clone. It reads what it wrote, whichever gateway answers: it and its
/// clones carry the positions of the answers that they got.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    tls: ClientConfig,
    /// `http://host:port/v1/shops/<shop>`
    shop: Url,
    api_key: SecretString,
    max_retries: usize,
    seen: Arc<Mutex<Positions>>,
}

impl Client {
    /// A client of `shop` at the gateway `url` (`http://host:port`, or `https://host:port` with a certificate that
    /// the operating system trusts).
    pub fn new(url: &str, api_key: &str, shop: &str) -> Result<Self, Error> {
        Self::with(url, api_key, shop, Authorities::OfSystem)
    }

    /// The same for a gateway whose certificate is signed by an authority of your own: one of those in `pem`.
    ///
    /// # Errors
    ///
    /// As [`Client::new`]; and when there is no certificate in `pem`.
    pub fn trusting(pem: &[u8], url: &str, api_key: &str, shop: &str) -> Result<Self, Error> {
        Self::with(url, api_key, shop, Authorities::Pem(pem))
    }

    fn with(
        url: &str,
        api_key: &str,
        shop: &str,
        authorities: Authorities<'_>,
    ) -> Result<Self, Error> {
        let unusable = |source| Error::Address { url: url.to_owned(), source };
        let mut base = Url::parse(url).map_err(|source| unusable(Some(source)))?;
        base.path_segments_mut()
            .map_err(|()| unusable(None))?
            .pop_if_empty()
            .extend(["v1", "shops", shop]);
        let authorities = match (base.scheme(), authorities) {
            ("http", Authorities::OfSystem) => Authorities::None,
            ("http" | "https", given) => given,
            _ => return Err(unusable(None)),
        };
        let tls = tls::config(authorities)?;
        let http = http(&tls).timeout(REQUEST_TIMEOUT).build().map_err(Error::Setup)?;
        let (api_key, seen) = (api_key.into(), Arc::default());
        Ok(Self { http, tls, shop: base, api_key, max_retries: MAX_RETRIES, seen })
    }

    /// The same client, which sends each request once: for who measures, or handles each answer.
    #[must_use]
    pub fn without_retries(self) -> Self {
        Self { max_retries: 0, ..self }
    }

    /// Creates the shop, unless it is there already: then it keeps its settings.
    pub async fn create_shop(&self, settings: &Settings) -> Result<(), Error> {
        let request = self.to_shop(Method::PUT).header("if-none-match", "*").json(settings);
        let response = self.send_until_answered(request).await?;
        if response.status == StatusCode::PRECONDITION_FAILED {
            return Ok(());
        }
        response.read::<ShopView>().map(|_| ())
    }

    /// Creates the shop, or gives it these settings.
    pub async fn put_shop(&self, settings: &Settings) -> Result<ShopView, Error> {
        let request = self.to_shop(Method::PUT).json(settings);
        self.send_until_answered(request).await?.read()
    }

    /// The shop.
    pub async fn shop(&self) -> Result<ShopView, Error> {
        self.send_until_answered(self.to_shop(Method::GET)).await?.read()
    }

    /// Pushes lines of NDJSON to `products` or `inventory`. Lines that were pushed before have no
    /// further effect, so this is retried without an idempotency key.
    pub async fn push(&self, path: &str, lines: String) -> Result<PushResult, Error> {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/x-ndjson")
            .body(lines);
        self.send_until_answered(request).await?.read()
    }

    /// Places an order under an idempotency key; with `wait`, answered when the order is paid or
    /// cancelled, or that time is over. The answer to the order is an [`OrderView`] (201), or
    /// nothing yet (202).
    pub async fn place(
        &self,
        order: &(impl Serialize + Sync + ?Sized),
        idempotency_key: &str,
        wait: Option<Duration>,
    ) -> Result<Response, Error> {
        let mut request = self
            .request(Method::POST, "orders")
            .header("idempotency-key", idempotency_key)
            .json(order);
        if let Some(wait) = wait {
            request = request.header("prefer", format!("wait={}", wait.as_secs()));
        }
        self.send_until_answered(request).await
    }

    /// Cancels an order. Refused with the code `too_late` once something of it has shipped.
    pub async fn cancel(&self, order: OrderId, note: &str) -> Result<OrderView, Error> {
        let path = format!("orders/{order}/cancel");
        // Cancelled again, an order stays as it is.
        let request = self.request(Method::POST, &path).json(&json!({"note": note}));
        self.send_until_answered(request).await?.read()
    }

    /// The order of that id.
    pub async fn order(&self, id: OrderId) -> Result<Option<OrderView>, Error> {
        match self.get(&format!("orders/{id}")).await {
            Ok(order) => Ok(Some(order)),
            Err(error) if error.problem().is_some_and(|it| it.status == StatusCode::NOT_FOUND) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The order of that reference: of several, because others were cancelled, the newest.
    pub async fn order_by_reference(&self, reference: &str) -> Result<Option<OrderView>, Error> {
        #[derive(Deserialize)]
        struct Found {
            orders: Vec<OrderSummary>,
        }
        let parameters = [("reference", reference), ("limit", "1")];
        let found: Found = self.query("orders", &parameters).await?;
        match found.orders.first() {
            Some(found) => self.order(found.id).await,
            None => Ok(None),
        }
    }

    /// What the services count over the shop.
    pub async fn totals(&self) -> Result<Totals, Error> {
        self.get("totals").await
    }

    /// The stock level of each SKU.
    pub async fn levels(&self) -> Result<Vec<LevelView>, Error> {
        #[derive(Deserialize)]
        struct Page {
            levels: Vec<LevelView>,
            next: Option<String>,
        }
        let limit = LEVELS_PAGE.to_string();
        let mut levels = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut parameters = vec![("limit", limit.as_str())];
            parameters.extend(after.as_deref().map(|after| ("after", after)));
            let page: Page = self.query("inventory", &parameters).await?;
            levels.extend(page.levels);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(levels),
            }
        }
    }

    /// Reads what is at a path below the shop.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.query(path, &[]).await
    }

    /// Reads what is at a path below the shop, with parameters of any content.
    pub async fn query<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, Error> {
        let mut url = self.url(path);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let request = self.with_headers(self.http.request(Method::GET, url));
        self.send_until_answered(request).await?.read()
    }

    /// A request to the shop itself.
    pub fn to_shop(&self, method: Method) -> RequestBuilder {
        self.http.request(method, self.shop.clone()).bearer_auth(self.api_key.expose_secret())
    }

    /// A request to a path below the shop.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.with_headers(self.http.request(method, self.url(path)))
    }

    /// A request to a path of the API that is of no shop, such as `keys?limit=10`.
    pub fn request_to_api(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let unusable = |source| Error::Address { url: path.to_owned(), source: Some(source) };
        // The shop is at `/v1/shops/<shop>`.
        let url = self.shop.join(&format!("../{path}")).map_err(unusable)?;
        Ok(self.http.request(method, url).bearer_auth(self.api_key.expose_secret()))
    }

    /// Begins another HTTP client of the same gateway.
    pub(crate) fn http(&self) -> ClientBuilder {
        http(&self.tls)
    }

    pub(crate) fn with_headers(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.bearer_auth(self.api_key.expose_secret());
        let seen = self.seen();
        if seen.is_empty() { request } else { request.header(AFTER_HEADER, seen.to_string()) }
    }

    fn seen(&self) -> MutexGuard<'_, Positions> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what it has seen.
    pub(crate) fn note(&self, positions: &Positions) {
        self.seen().add_all(positions);
    }

    /// The address of a path below the shop; what is in the path is encoded where it must be.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.shop.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path.split('/'));
        }
        url
    }

    /// Sends a request once and reads the answer, whatever its status.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        let replayed = response.headers().contains_key("idempotency-replayed");
        let position = response.headers().get(POSITION_HEADER);
        let position = position.and_then(|value| value.to_str().ok()?.parse().ok());
        let position: Positions = position.unwrap_or_default();
        self.seen().add_all(&position);
        let body = response.bytes().await.map_err(unanswered)?;
        let body = match serde_json::from_slice(&body) {
            Ok(body) => body,
            Err(_) if body.is_empty() => Value::Null,
            // A proxy in between may answer anything.
            Err(_) if !status.is_success() => String::from_utf8_lossy(&body).into(),
            Err(source) => return Err(Error::Unreadable { status, source }),
        };
        Ok(Response { status, replayed, position, attempts: 1, body })
    }

    /// Sends a request until the gateway answers it; returns the answer, whatever its status is
    /// besides those that are retried. Only for what has one effect however often it is sent.
    pub async fn send_until_answered(&self, request: RequestBuilder) -> Result<Response, Error> {
        let attempts = AtomicU32::new(0);
        let attempt = || async {
            attempts.fetch_add(1, Ordering::Relaxed);
            let again = request.try_clone().ok_or(Error::Streamed)?;
            let response = self.send(again).await?;
            if is_transient(response.status) { response.succeeded() } else { Ok(response) }
        };
        let delays = ExponentialBuilder::default()
            .with_min_delay(MIN_RETRY_DELAY)
            .with_max_delay(MAX_RETRY_DELAY)
            .with_max_times(self.max_retries)
            .with_jitter();
        let response = attempt
            .retry(delays)
            .when(Error::is_transient)
            .notify(|error, delay| tracing::warn!(%error, ?delay, "sends a request again"))
            .await?;
        Ok(Response { attempts: attempts.into_inner(), ..response })
    }
}

fn http(tls: &ClientConfig) -> ClientBuilder {
    reqwest::Client::builder().tls_backend_preconfigured(tls.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_path_or_a_query_is_encoded() {
        let client = Client::new("http://127.0.0.1:1/", "key", "acme").expect("an address");
        assert_eq!(client.url("orders/7").as_str(), "http://127.0.0.1:1/v1/shops/acme/orders/7");
        assert_eq!(client.url("products/A B?").path(), "/v1/shops/acme/products/A%20B%3F");
        let of_api = client.request_to_api(Method::GET, "keys?limit=7").expect("an address");
        let of_api = of_api.build().expect("a request");
        assert_eq!(of_api.url().as_str(), "http://127.0.0.1:1/v1/keys?limit=7");
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_what_was_given() {
        for url in ["", "127.0.0.1:80", "mailto:acme@example.org"] {
            let error = Client::new(url, "key", "acme").expect_err("is no address");
            assert!(error.to_string().contains(&format!("{url:?}")), "{error}");
        }
    }

    #[test]
    fn the_api_key_is_not_shown() {
        let client = Client::new("http://127.0.0.1:1", "s3cret", "acme").expect("an address");
        assert!(!format!("{client:?}").contains("s3cret"));
    }
}
