//! What the sender of webhooks does alone: no log, no schedule, one receiver on this machine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use engine::plain_http;
use futures::future::try_join_all;
use reqwest::StatusCode;
use webhook_http::{
    CustomHeaders, Outcome, Policy, Request, Secret, Sender, WebhookUrl, parse_url,
};

use super::{
    Options,
    figures::{Processed, WebhooksHttp},
    process::{own_cpu_ticks, ticks_as_time},
    receiver::Receiver,
};

/// The deliveries that are on their way at a time.
const CONCURRENCY: u32 = 64;
/// The size of a body, about that of the event of an order with a few lines.
const BODY_BYTES: usize = 1_500;
/// The share of the deliveries that is sent with a connection each: each leaves a port behind that
/// cannot be used for a minute.
const CLOSING_DIVISOR: u32 = 20;

/// Measures deliveries to one receiver: with connections that stay open, with a new one for each, and
/// beside both the same requests by an HTTP client that signs and vets nothing.
pub(super) async fn measure(options: &Options) -> Result<WebhooksHttp> {
    let receiver = Receiver::start()?;
    let deliveries = options.deliveries;
    let progress = |what: &str| options.progress("webhooks", what);
    let source = Source::new(&receiver)?;
    // So that the connections are there.
    source.send(&receiver, &source.open, deliveries / CLOSING_DIVISOR).await?;
    progress("deliveries over connections that stay open");
    let keep_alive = source.send(&receiver, &source.open, deliveries).await?;
    progress("the same by an HTTP client alone");
    let bare = bare(&receiver, deliveries).await?;
    progress("deliveries with a new connection each");
    let new_connections =
        source.send(&receiver, &source.close, deliveries / CLOSING_DIVISOR).await?;
    Ok(WebhooksHttp { keep_alive, bare, new_connections })
}

/// What the sender does alone over connections that stay open: the limit of what deliveries can be.
pub(super) async fn alone(receiver: &Receiver, deliveries: u32) -> Result<Processed> {
    let source = Source::new(receiver)?;
    source.send(receiver, &source.open, deliveries / CLOSING_DIVISOR).await?;
    source.send(receiver, &source.open, deliveries).await
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
            open: parse_url(&receiver.url("open"), &policy)?,
            close: parse_url(&receiver.url("close"), &policy)?,
            sender: Sender::new(policy)?,
            secrets: [Secret::generate()?],
            timestamp: now.as_secs() as i64,
        })
    }

    async fn send(&self, receiver: &Receiver, url: &WebhookUrl, count: u32) -> Result<Processed> {
        timed(receiver, count, async |number| {
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
async fn bare(receiver: &Receiver, count: u32) -> Result<Processed> {
    let client = plain_http().no_proxy().build()?;
    let url = receiver.url("open");
    timed(receiver, count, async |_| {
        let response = client.post(&url).body(body()).send().await?;
        ensure!(response.status() == StatusCode::NO_CONTENT, "answered {}", response.status());
        Ok(())
    })
    .await
}

fn body() -> Vec<u8> {
    vec![b'x'; BODY_BYTES]
}

/// Does something so many times, [`CONCURRENCY`] at a time.
async fn timed(
    receiver: &Receiver,
    count: u32,
    act: impl AsyncFn(u32) -> Result<()>,
) -> Result<Processed> {
    let cpu_ticks = || Some(own_cpu_ticks()? - receiver.cpu_ticks()?);
    let (cpu, started) = (cpu_ticks(), Instant::now());
    let act = &act;
    let workers = (0..CONCURRENCY.min(count)).map(|first| async move {
        for number in (first..count).step_by(CONCURRENCY as usize) {
            act(number).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(workers).await?;
    let took = started.elapsed();
    let cpu = cpu_ticks().zip(cpu).map(|(after, before)| after.saturating_sub(before));
    Ok(Processed::new(count.into(), took, cpu.map(ticks_as_time)))
}
