//! A receiver of webhooks for those who write one: it verifies each delivery, checks that none is missing,
//! prints it, and passes it on.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use clap::Args;
use client::webhooks::{Arrival, Delivery, SequenceCheck, Verifier};
use engine::plain_http;
use node::{say, terminal::interrupted};
use reqwest::{Url, redirect::Policy};
use tokio::net::TcpListener;

/// What the help says of the environment.
pub(super) const ENVIRONMENT: &str = "Environment:\n  TRADEWIND_WEBHOOK_SECRET  The endpoint's secret, \
                                      unless --secret-file names a file with it";
/// The variable with the secret.
const SECRET: &str = "TRADEWIND_WEBHOOK_SECRET";
/// How long the receiver that a delivery is passed on to may take: as long as the sender waits.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(14);
/// The headers of a delivery that are passed on.
const FORWARDED: [&str; 8] = [
    "content-type",
    "traceparent",
    "user-agent",
    "webhook-attempt",
    "webhook-id",
    "webhook-replay",
    "webhook-signature",
    "webhook-timestamp",
];

/// The headers of the answer that go back: how the sender is asked to wait, or to send no more.
const ANSWERED: [&str; 2] = ["retry-after", "webhook-delivery"];

/// How deliveries are received.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The address to listen on; every path is an endpoint
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8400")]
    address: SocketAddr,
    /// Pass each verified delivery on to this URL, and answer what it answers
    #[arg(long, value_name = "URL")]
    forward: Option<Url>,
    /// A file with the endpoint's secret (whsec_…)
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Print the data of each delivery as well
    #[arg(long)]
    data: bool,
}

/// What one delivery needs.
struct Listener {
    verifier: Verifier,
    forward: Option<(reqwest::Client, Url)>,
    data: bool,
    seen: Mutex<Option<Seen>>,
}

/// What has come since the first delivery that was seen here.
struct Seen {
    /// The last number before that one: what is up to there is not missed.
    before: u64,
    check: SequenceCheck,
    /// What has come of those before.
    earlier: SequenceCheck,
}

impl Seen {
    fn since(first: u64) -> Self {
        let before = first.saturating_sub(1);
        Self { before, check: SequenceCheck::after(before), earlier: SequenceCheck::new() }
    }

    /// Notes that a delivery has come.
    fn record(&mut self, seq: u64) -> Arrival {
        if seq > self.before {
            return self.check.record(seq);
        }
        match self.earlier.record(seq) {
            Arrival::Duplicate => Arrival::Duplicate,
            Arrival::Next | Arrival::Ahead | Arrival::Late => Arrival::Late,
        }
    }
}

/// Receives deliveries until it is interrupted.
pub(super) async fn listen(options: Options) -> Result<()> {
    let verifier = Verifier::new(&secret(options.secret_file.as_deref())?)?;
    // The sender follows no redirect either.
    let client = plain_http().timeout(FORWARD_TIMEOUT).redirect(Policy::none()).no_proxy();
    let forward = options.forward.map(|url| client.build().map(|client| (client, url)));
    let forward = forward.transpose().context("set up the HTTP client")?;
    let listener = Listener { verifier, forward, data: options.data, seen: Mutex::new(None) };
    let listener = Arc::new(listener);
    let socket = TcpListener::bind(options.address)
        .await
        .with_context(|| format!("listen on {}: give another --address", options.address))?;
    say!("listening on http://{}, to be stopped with Ctrl-C", socket.local_addr()?);
    let app = Router::new().fallback_service(post(receive).with_state(Arc::clone(&listener)));
    axum::serve(socket, app).with_graceful_shutdown(interrupted()).await?;
    say!("{}", listener.summary());
    Ok(())
}

/// The endpoint's secret: never an argument, which other users of the machine would see.
fn secret(file: Option<&Path>) -> Result<String> {
    let text = match file {
        Some(file) => fs::read_to_string(file)
            .with_context(|| format!("read the secret from {}", file.display()))?,
        None => env::var(SECRET)
            .with_context(|| format!("no secret: set {SECRET}, or give --secret-file"))?,
    };
    Ok(text.trim().to_owned())
}

async fn receive(
    State(listener): State<Arc<Listener>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    let answer = |status, text: String| (status, HeaderMap::new(), text);
    let delivery = match listener.verifier.verify(&headers, &body) {
        Ok(delivery) => delivery,
        Err(error) => {
            say!("refused: {error}");
            return answer(StatusCode::BAD_REQUEST, error.to_string());
        }
    };
    let (status, answered) = match listener.pass_on(&headers, body).await {
        Ok(answered) => answered,
        Err(error) => {
            say!("not passed on: {error:#}");
            let problem = "the receiver behind does not answer".to_owned();
            return answer(StatusCode::BAD_GATEWAY, problem);
        }
    };
    // What the receiver behind refuses comes again, and is no duplicate then.
    if status.is_success() {
        let (arrival, missing) = listener.record(delivery.meta.endpoint_seq);
        listener.print(&delivery, arrival, &missing);
    } else {
        say!("{} {}: answered {status}", delivery.event_type, delivery.id);
    }
    (status, answered, String::new())
}

impl Listener {
    /// Passes a delivery on as it came; what of the answer goes back.
    async fn pass_on(
        &self,
        headers: &HeaderMap,
        body: Bytes,
    ) -> reqwest::Result<(StatusCode, HeaderMap)> {
        let mut answered = HeaderMap::new();
        let Some((client, url)) = &self.forward else {
            return Ok((StatusCode::NO_CONTENT, answered));
        };
        let mut request = client.post(url.clone()).body(body);
        for name in FORWARDED {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await?;
        for name in ANSWERED {
            if let Some(value) = answer.headers().get(name) {
                answered.insert(name, value.clone());
            }
        }
        Ok((answer.status(), answered))
    }

    /// Notes that a delivery has come.
    fn record(&self, seq: u64) -> (Arrival, String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.get_or_insert_with(|| Seen::since(seq));
        (seen.record(seq), missing(&seen.check))
    }

    fn print(&self, delivery: &Delivery, arrival: Arrival, missing: &str) {
        let meta = &delivery.meta;
        let arrival = match arrival {
            Arrival::Next => String::new(),
            Arrival::Duplicate => "  duplicate".to_owned(),
            Arrival::Late => format!("  late, missing: {missing}"),
            Arrival::Ahead => format!("  missing: {missing}"),
        };
        let aggregate = &meta.aggregate;
        say!(
            "{:>6}  {}  {:<24}  {} {} v{}  {}{arrival}",
            meta.endpoint_seq,
            delivery.timestamp,
            delivery.event_type,
            aggregate.aggregate_type,
            aggregate.id,
            aggregate.version,
            meta.tenant,
        );
        if self.data {
            match &delivery.link {
                Some(link) => say!("at {link}"),
                None => say!("{:#}", delivery.data),
            }
        }
    }

    fn summary(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.as_ref() {
            None => "nothing was delivered".to_owned(),
            Some(Seen { check, .. }) => {
                format!("delivered up to {}, missing: {}", check.highest(), missing(check))
            }
        }
    }
}

/// What has not come, such as `3, 7-9`.
fn missing(check: &SequenceCheck) -> String {
    if check.is_complete() {
        return "none".to_owned();
    }
    let ranges = check.missing().map(|range| match range.into_inner() {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    });
    ranges.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_at_the_start_is_no_duplicate() {
        use Arrival::{Ahead, Duplicate, Late, Next};
        let mut seen = Seen::since(3);
        let arrivals = [3, 1, 2, 1, 3, 4, 6, 2, 5].map(|seq| seen.record(seq));
        assert_eq!(
            arrivals,
            [Next, Late, Late, Duplicate, Duplicate, Next, Ahead, Duplicate, Late]
        );
        assert!(seen.check.is_complete());
        // What came before the first is not missed.
        assert!(Seen::since(100).check.is_complete());
    }
}
