//! What nats-server's monitor says of its store.
//!
//! JetStream itself is silent about a full disk (nats-server 2.15.1, tried out): a stream whose
//! write failed acknowledges nothing any more and refuses nothing, atomic batches are refused as
//! incomplete (10176), and a server of a cluster switches JetStream off. Reading and consumers go
//! on meanwhile, and so do the streams that have not yet met a full block. After space was freed it
//! stays so until the server is restarted. Only its monitor says why. A limit of the server itself
//! is refused with a code: [`is_storage_refusal`](super::publish::is_storage_refusal).

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use crate::plain_http;

/// How long the monitor may take for an answer.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer is good for.
const ANSWER_TTL: Duration = Duration::from_secs(2);
/// What the server answers when a stream or the cluster's own log could not be written.
const WRITE_ERROR: &str = "write error: ";
/// What it answers when it has switched JetStream off.
const SWITCHED_OFF: &str = "JetStream not enabled (10076)";

/// The monitor of nats-server, if its address is known; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Monitor(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    health: String,
    last: Mutex<Option<(Instant, Option<String>)>>,
}

impl Monitor {
    pub(crate) fn new(url: Option<&str>) -> Self {
        let http = plain_http().timeout(MONITOR_TIMEOUT).build();
        let inner = url.zip(http.ok()).map(|(url, http)| {
            let health = format!("{}/healthz", url.trim_end_matches('/'));
            Arc::new(Inner { http, health, last: Mutex::default() })
        });
        Self(inner)
    }

    /// Why the server cannot store, in its own words; `None` when it can, or does not answer.
    pub(crate) async fn store_failure(&self) -> Option<String> {
        let Inner { http, health, last } = &**self.0.as_ref()?;
        // Held while the server is asked: who asks meanwhile shares the answer.
        let mut last = last.lock().await;
        if let Some((at, failure)) = &*last
            && at.elapsed() < ANSWER_TTL
        {
            return failure.clone();
        }
        let asked = async { http.get(health).send().await?.bytes().await };
        let failure = asked.await.ok().and_then(|answer| read_failure(&answer));
        *last = Some((Instant::now(), failure.clone()));
        failure
    }
}

/// Takes a failure of the store out of the answer to `/healthz`, which names other failures too.
fn read_failure(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Health {
        error: Option<String>,
    }
    let error = serde_json::from_slice::<Health>(answer).ok()?.error?;
    if error.contains(WRITE_ERROR) {
        return Some(error);
    }
    let cause = "it has switched JetStream off, as it does when its disk is full";
    (error == SWITCHED_OFF).then(|| cause.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_store_is_told_from_others() {
        let full = r#"{"status":"unavailable","error":"JetStream stream '$G > LOG-0' write error: write /n/jetstream/$G/streams/LOG-0/msgs/1.blk: no space left on device"}"#;
        let failure = read_failure(full.as_bytes()).expect("it is one");
        assert!(failure.ends_with("no space left on device"), "{failure}");
        let off = br#"{"status":"unavailable","error":"JetStream not enabled (10076)"}"#;
        assert!(read_failure(off).expect("it is one").contains("switched JetStream off"));
        for other in [
            r#"{"status":"ok"}"#,
            r#"{"status":"unavailable","error":"JetStream has not established contact with a meta leader"}"#,
            r#"{"status":"unavailable","error":"JetStream stream '$G > LOG-0' is not current"}"#,
            "not found",
        ] {
            assert_eq!(read_failure(other.as_bytes()), None, "{other}");
        }
    }

    #[tokio::test]
    async fn without_an_answer_nothing_is_said() {
        assert_eq!(Monitor::default().store_failure().await, None);
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = silent.local_addr().expect("it has an address");
        let monitor = Monitor::new(Some(&format!("http://{address}")));
        assert_eq!(monitor.store_failure().await, None);
    }
}
