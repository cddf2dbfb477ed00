//! What the sender of webhooks does alone: no log, no schedule, one receiver on this machine.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    http::{StatusCode, header::CONNECTION},
    routing::post,
};
use futures::future::try_join_all;
use tokio::{net::TcpListener, task::JoinHandle};
use webhook_http::{
    CustomHeaders, Outcome, Policy, Request, Secret, Sender, WebhookUrl, parse_url,
};

use super::{
    Options,
    figures::{Deliveries, WebhooksHttp},
    process::own_cpu_ticks,
};

/// The deliveries that are on their way at a time.
const CONCURRENCY: u32 = 64;
/// The size of a body, about that of the event of an order with a few lines.
const BODY_BYTES: usize = 1_500;
/// The share of the deliveries that is sent with a connection each: each leaves a port behind that
/// cannot be used for a minute.
const CLOSING_DIVISOR: u32 = 20;
/// The kernel's ticks in a second, on every system that has /proc.
const TICKS_PER_S: f64 = 100.0;

/// Measures deliveries to one receiver: with connections that stay open, with a new one for each, and
/// beside both the same requests by an HTTP client that signs and vets nothing.
pub(super) async fn measure(options: &Options) -> Result<WebhooksHttp> {
    let receiver = Receiver::start().await?;
    let deliveries = options.deliveries;
    let progress = |what: &str| options.progress("webhooks", what);
    let source = Source::new(&receiver)?;
    // So that the connections are there.
    source.send(&source.open, deliveries / CLOSING_DIVISOR).await?;
    progress("deliveries over connections that stay open");
    let keep_alive = source.send(&source.open, deliveries).await?;
    progress("the same by an HTTP client alone");
    let bare = bare(&receiver.url("/open"), deliveries).await?;
    progress("deliveries with a new connection each");
    let new_connections = source.send(&source.close, deliveries / CLOSING_DIVISOR).await?;
    Ok(WebhooksHttp { keep_alive, bare, new_connections })
}

/// Sends deliveries.
struct Source {
    sender: Sender,
    secrets: [Secret; 1],
    open: WebhookUrl,
    close: WebhookUrl,
    timestamp: i64,
}

impl Source {
    fn new(receiver: &Receiver) -> Result<Self> {
        let policy = Policy {
            allow_http: true,
            allowed_ports: "1-65535".parse()?,
            allowed_networks: vec!["127.0.0.1/32".parse()?],
            ..Policy::default()
        };
        #[expect(clippy::disallowed_methods, reason = "the edge: when the benchmark is run")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(Self {
            open: parse_url(&receiver.url("/open"), &policy)?,
            close: parse_url(&receiver.url("/close"), &policy)?,
            sender: Sender::new(policy)?,
            secrets: [Secret::generate()?],
            timestamp: now.as_secs() as i64,
        })
    }

    async fn send(&self, url: &WebhookUrl, count: u32) -> Result<Deliveries> {
        timed(count, async |number| {
            let exchange = self
                .sender
                .send(Request {
                    url,
                    headers: &CustomHeaders::default(),
                    secrets: &self.secrets,
                    id: &format!("event-{number}"),
                    timestamp: self.timestamp,
                    attempt: 1,
                    traceparent: None,
                    body: body().into(),
                    replay: false,
                })
                .await;
            ensure!(exchange.outcome == Outcome::Delivered, "not delivered: {exchange:?}");
            Ok(())
        })
        .await
    }
}

/// The same requests by an HTTP client, without signatures and without vetting.
async fn bare(url: &str, count: u32) -> Result<Deliveries> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    timed(count, async |_| {
        let response = client.post(url).body(body()).send().await?;
        ensure!(response.status() == StatusCode::NO_CONTENT, "answered {}", response.status());
        Ok(())
    })
    .await
}

fn body() -> Vec<u8> {
    vec![b'x'; BODY_BYTES]
}

/// Does something so many times, [`CONCURRENCY`] at a time.
async fn timed(count: u32, act: impl AsyncFn(u32) -> Result<()>) -> Result<Deliveries> {
    let (cpu, started) = (own_cpu_ticks(), Instant::now());
    let act = &act;
    let workers = (0..CONCURRENCY.min(count)).map(|first| async move {
        for number in (first..count).step_by(CONCURRENCY as usize) {
            act(number).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(workers).await?;
    let took = started.elapsed();
    let cpu = own_cpu_ticks().zip(cpu).map(|(after, before)| after - before);
    let cpu = cpu.map(|ticks| Duration::from_secs_f64(ticks as f64 / TICKS_PER_S));
    Ok(Deliveries::new(count.into(), took, cpu))
}

/// Answers 204 to everything; closes the connection at the path `/close`.
struct Receiver {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Receiver {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for webhooks")?;
        let address = listener.local_addr()?;
        let close = || async { (StatusCode::NO_CONTENT, [(CONNECTION, "close")]) };
        let app = Router::new()
            .route("/open", post(|| async { StatusCode::NO_CONTENT }))
            .route("/close", post(close));
        // It ends with the benchmark.
        let serving = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { address, serving })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
