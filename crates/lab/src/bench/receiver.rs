//! A receiver of webhooks on this machine, in a thread of its own.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::CONNECTION},
    routing::post,
};
use tokio::{net::TcpListener, runtime, time::sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::process::thread_cpu_ticks;

/// How long nothing may be received before what is missing counts as lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// The interval between two looks at what was received. When it came is noted by the receiver.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A receiver that answers 204, and does not at one path: `/hang` never answers. It ends when it is dropped.
pub(super) struct Receiver {
    address: SocketAddr,
    /// Its thread, as the kernel names it; absent where the system does not say.
    thread: Option<String>,
    received: Arc<Mutex<Received>>,
    _stop: DropGuard,
}

/// What was received, once however often it came.
#[derive(Default)]
struct Received {
    /// By number of the endpoint.
    ids: HashSet<(u32, u128)>,
    /// When each event first came, in microseconds since 1970, while that is noted.
    first_us: Option<HashMap<u128, i64>>,
    last: Option<Instant>,
}

impl Receiver {
    pub(super) fn start() -> Result<Self> {
        let stop = CancellationToken::new();
        let received: Arc<Mutex<Received>> = Arc::default();
        let routes = routes(received.clone());
        let (started, has_started) = mpsc::channel();
        let stopping = stop.clone();
        let serve = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                started.send((listener.local_addr()?, thread_name())).ok();
                stopping.run_until_cancelled(axum::serve(listener, routes).into_future()).await;
                anyhow::Ok(())
            })
        };
        let builder = thread::Builder::new().name("receiver".to_owned());
        builder.spawn(serve).context("start a thread for the receiver")?;
        let (address, thread) = has_started.recv().context("listen for webhooks")?;
        Ok(Self { address, thread, received, _stop: stop.drop_guard() })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The time that processors have spent on it so far, in ticks of the kernel.
    pub(super) fn cpu_ticks(&self) -> Option<u64> {
        thread_cpu_ticks(self.thread.as_deref()?)
    }

    /// How many deliveries came, each counted once.
    pub(super) fn count(&self) -> u64 {
        lock(&self.received).ids.len() as u64
    }

    /// Forgets what came.
    pub(super) fn clear(&self) {
        *lock(&self.received) = Received::default();
    }

    /// Notes from now on when each event first comes.
    pub(super) fn note_arrivals(&self) {
        lock(&self.received).first_us = Some(HashMap::new());
    }

    /// When each event first came, in microseconds since 1970, by its id.
    pub(super) fn take_arrivals(&self) -> HashMap<u128, i64> {
        lock(&self.received).first_us.take().unwrap_or_default()
    }

    /// Waits until so many deliveries came; returns when the last one did.
    pub(super) async fn wait_for(&self, count: u64) -> Result<Instant> {
        let (mut seen, mut since) = (self.count(), Instant::now());
        loop {
            let (now, last) = {
                let received = lock(&self.received);
                (received.ids.len() as u64, received.last)
            };
            if now >= count {
                return Ok(last.unwrap_or_else(Instant::now));
            }
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
            let missing = count - now;
            ensure!(
                since.elapsed() < SILENCE_TIMEOUT,
                "{missing} of {count} deliveries are missing, and none came for {SILENCE_TIMEOUT:?}"
            );
            sleep(POLL_INTERVAL).await;
        }
    }
}

fn routes(received: Arc<Mutex<Received>>) -> Router {
    let close = || async { (StatusCode::NO_CONTENT, [(CONNECTION, "close")]) };
    Router::new()
        .route("/open", post(|| async { StatusCode::NO_CONTENT }))
        .route("/close", post(close))
        .route("/hang", post(pending::<StatusCode>))
        .route("/endpoints/{number}", post(receive))
        .with_state(received)
}

async fn receive(
    State(received): State<Arc<Mutex<Received>>>,
    Path(number): Path<u32>,
    headers: HeaderMap,
) -> StatusCode {
    let id = headers.get("webhook-id").and_then(|id| Uuid::try_parse_ascii(id.as_bytes()).ok());
    let Some(id) = id.map(|id| id.as_u128()) else { return StatusCode::BAD_REQUEST };
    let now_us = now_us();
    let mut received = lock(&received);
    received.ids.insert((number, id));
    received.last = Some(Instant::now());
    if let Some(first) = &mut received.first_us {
        first.entry(id).or_insert(now_us);
    }
    StatusCode::NO_CONTENT
}

#[expect(clippy::disallowed_methods, reason = "the edge: when a request comes")]
fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as i64)
}

/// The thread that runs, such as `12/task/13`.
fn thread_name() -> Option<String> {
    let link = std::fs::read_link("/proc/thread-self").ok()?;
    link.to_str().map(str::to_owned)
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use engine::plain_http;

    use super::*;

    #[tokio::test]
    async fn what_comes_twice_counts_once() {
        let receiver = Receiver::start().expect("it starts");
        let http = plain_http().no_proxy().build().expect("a client");
        receiver.note_arrivals();
        let id = Uuid::from_u128(7).to_string();
        for number in [1, 1, 2] {
            let url = receiver.url(&format!("endpoints/{number}"));
            let sent = http.post(url).header("webhook-id", &id).send().await.expect("an answer");
            assert_eq!(sent.status(), 204);
        }
        receiver.wait_for(2).await.expect("they came");
        assert_eq!((receiver.count(), receiver.take_arrivals().len()), (2, 1));
        let unknown = http.post(receiver.url("endpoints/1")).send().await.expect("an answer");
        assert_eq!(unknown.status(), 400);
        receiver.clear();
        assert_eq!(receiver.count(), 0);
    }
}
