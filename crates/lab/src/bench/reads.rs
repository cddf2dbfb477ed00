//! Reads over HTTP: one product, one order, lists of a hundred; beside a route that does nothing, and what it
//! costs to check who asks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use engine::plain_http;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::{
    Options,
    figures::{Processed, Reads},
    process::ticks_as_time,
    setup::{API_KEY, Environment, Installation, Setup},
    shop,
};

/// The shop of the benchmark.
const SHOP: &str = "reads";
/// The orders that are read, in turn.
const ORDERS: u32 = 1_000;
/// The name of the orders.
const ORDERS_NAME: &str = "read";
/// The rows of a list.
const PAGE_LENGTH: usize = 100;
/// A list is asked for that many times less often than one row.
const LIST_DIVISOR: u32 = 10;

/// Measures reads in an installation of its own.
pub(super) async fn measure(environment: &Environment, options: &Options) -> Result<Reads> {
    let progress = |what: &str| options.progress("reads", what);
    progress("starting");
    let installation = Installation::start(Setup::R1Sqlite, environment, "reads", &[]).await?;
    let load = installation.load(SHOP).await?;
    load.open().await?;
    // Through the inbox: so their ids are known.
    load.sagas(ORDERS_NAME, ORDERS).await?;
    load.quiet().await?;
    let bench = Bench {
        installation: &installation,
        http: plain_http().no_proxy().build()?,
        gateway: format!("http://{}", installation.settings.listen),
        clients: options.clients,
    };
    let shop = format!("/v1/shops/{SHOP}");

    progress("a route that does nothing");
    let nothing = bench.ask(options.reads, StatusCode::NOT_FOUND, |_| "/nothing".to_owned());
    let nothing = nothing.await?;
    progress("the same behind an API key");
    let with_key = bench.ask(options.reads, StatusCode::NOT_FOUND, |_| "/v1/nothing".to_owned());
    let with_key = with_key.await?;
    progress("one product");
    let path = shop.clone();
    let product = move |number| format!("{path}/products/{}", shop::read_product(number));
    let product = bench.ask(options.reads, StatusCode::OK, product).await?;
    progress("one order");
    let (path, orders) = (shop.clone(), load.shop.clone());
    let order = move |number: u64| {
        let key = shop::key(ORDERS_NAME, (number % u64::from(ORDERS)) as u32);
        format!("{path}/orders/{}", shop::order_id(&orders, &key))
    };
    let order = bench.ask(options.reads, StatusCode::OK, order).await?;
    progress("a hundred products");
    let lists = options.reads / LIST_DIVISOR;
    let pages = bench.pages(&format!("{shop}/products?limit={PAGE_LENGTH}")).await?;
    let products = move |number: u64| pages[number as usize % pages.len()].clone();
    let products = bench.ask(lists, StatusCode::OK, products).await?;
    progress("a hundred orders");
    let orders = move |_| format!("{shop}/orders?limit={PAGE_LENGTH}");
    let orders = bench.ask(lists, StatusCode::OK, orders).await?;
    drop(bench);
    drop(load);
    installation.stop().await?;
    Ok(Reads { nothing, with_key, product, order, products, orders })
}

struct Bench<'a> {
    installation: &'a Installation,
    http: Client,
    gateway: String,
    clients: u16,
}

/// A page of a list, as far as it leads to the next one.
#[derive(Deserialize)]
struct Page {
    next: Option<String>,
}

impl Bench<'_> {
    /// The paths of all pages of a list.
    async fn pages(&self, first: &str) -> Result<Arc<[String]>> {
        let mut pages = vec![first.to_owned()];
        loop {
            let url = format!("{}{}", self.gateway, pages[pages.len() - 1]);
            let response = self.http.get(&url).bearer_auth(API_KEY).send().await?;
            let page: Page = response.error_for_status()?.json().await?;
            match page.next {
                Some(next) => pages.push(format!("{first}&after={next}")),
                None => return Ok(pages.into()),
            }
        }
    }

    /// Sends that many requests, each client one after the other; all must have that status.
    async fn ask(
        &self,
        count: u32,
        expected: StatusCode,
        path: impl Fn(u64) -> String + Clone + Send + 'static,
    ) -> Result<Processed> {
        let next = Arc::new(AtomicU64::new(0));
        let (cpu, started) = (self.installation.services.cpu_ticks(), Instant::now());
        let mut asking = JoinSet::new();
        for _ in 0..self.clients {
            let (next, path) = (next.clone(), path.clone());
            let (http, gateway) = (self.http.clone(), self.gateway.clone());
            asking.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= u64::from(count) {
                        return anyhow::Ok(());
                    }
                    let url = format!("{gateway}{}", path(number));
                    let response = http.get(&url).bearer_auth(API_KEY).send().await?;
                    let status = response.status();
                    response.bytes().await?;
                    ensure!(status == expected, "GET {url} was answered {status}");
                }
            });
        }
        while let Some(ended) = asking.join_next().await {
            ended.context("be a client")??;
        }
        let took = started.elapsed();
        let after = self.installation.services.cpu_ticks();
        let cpu = after.zip(cpu).map(|(after, before)| ticks_as_time(after - before));
        Ok(Processed::new(count.into(), took, cpu))
    }
}
