//! `tradewind webhooks listen`: verifies, checks the sequence, prints, and passes on.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use standardwebhooks::Webhook;
use testkit::{Behaviour, Receiver};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::rig::{bare, output};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// The command while it listens.
struct Listening {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Listening {
    async fn start(arguments: &[&str]) -> Self {
        let listen = ["webhooks", "listen", "--address", "127.0.0.1:0"];
        let mut command = bare(&[&listen, arguments].concat());
        command.env("TRADEWIND_WEBHOOK_SECRET", SECRET).kill_on_drop(true);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let first = lines.next_line().await.expect("it prints").expect("it listens");
        let url = first.split(['\u{20}', ',']).find(|word| word.starts_with("http://"));
        let url = format!("{}/hooks", url.expect("it says where it listens"));
        Self { child, lines, url }
    }

    /// Sends a delivery; the status of the answer.
    async fn send(&self, secret: &str, seq: u64) -> u16 {
        let id = format!("event-{seq}");
        let body = json!({
            "id": id, "type": "order.paid", "timestamp": "2026-11-21T12:00:00Z", "data": {"note": "hello"},
            "meta": {"stream": "order", "position": 7, "endpoint_seq": seq, "tenant": "acme",
                "aggregate": {"type": "order", "id": "o-1", "version": 3}},
        })
        .to_string();
        let signature = Webhook::new(secret).and_then(|it| it.sign(&id, now(), body.as_bytes()));
        let request = reqwest::Client::new()
            .post(&self.url)
            .header("webhook-id", id)
            .header("webhook-timestamp", now())
            .header("webhook-signature", signature.expect("it signs"))
            .header("x-private", "stays here")
            .body(body);
        request.send().await.expect("it is answered").status().as_u16()
    }

    async fn line(&mut self) -> String {
        self.lines.next_line().await.expect("it prints").expect("there is another line")
    }

    /// Stops it; what it printed last.
    async fn stop(mut self) -> String {
        let id = self.child.id().expect("it runs").to_string();
        assert!(
            Command::new("kill").args(["-INT", &id]).status().await.expect("kill runs").success()
        );
        let last = self.line().await;
        assert_eq!(self.child.wait().await.expect("it ends").code(), Some(0));
        last
    }
}

#[expect(clippy::disallowed_methods, reason = "the command compares with the time of day")]
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    now.as_secs() as i64
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_verified_and_printed_with_what_is_missing() {
    let mut listening = Listening::start(&["--data"]).await;
    for (seq, end) in [
        (41, "acme"),
        (42, "acme"),
        (42, "duplicate"),
        (46, "missing: 43-45"),
        (44, "late, missing: 43, 45"),
    ] {
        assert_eq!(listening.send(SECRET, seq).await, 204);
        let line = listening.line().await;
        assert!(line.trim_start().starts_with(&seq.to_string()), "{line}");
        assert!(line.contains("order.paid") && line.contains("order o-1 v3"), "{line}");
        assert!(line.ends_with(end), "{line}");
        assert_eq!(
            [listening.line().await, listening.line().await, listening.line().await],
            ["{", "  \"note\": \"hello\"", "}"]
        );
    }
    assert_eq!(listening.send(OTHER, 43).await, 400);
    let line = listening.line().await;
    assert!(line.starts_with("refused: no signature"), "{line}");
    assert_eq!(listening.stop().await, "delivered up to 46, missing: 43, 45");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_verified_is_passed_on_as_it_came() {
    let receiver = Receiver::start().await;
    let mut listening = Listening::start(&["--forward", &receiver.url("/mine?a=b")]).await;
    receiver.behave(Behaviour::status(503));
    assert_eq!(listening.send(SECRET, 1).await, 503);
    assert_eq!(listening.line().await, "order.paid event-1: answered 503 Service Unavailable");
    receiver.behave(Behaviour::status(201));
    assert_eq!(listening.send(SECRET, 1).await, 201);
    assert!(listening.line().await.ends_with("acme"), "the first attempt counts for nothing");
    assert_eq!(listening.send(OTHER, 2).await, 400);
    let requests = receiver.received();
    assert_eq!(requests.len(), 2, "what is forged is not passed on");
    let request = &requests[1];
    assert_eq!((request.path.as_str(), request.header("webhook-id")), ("/mine?a=b", "event-1"));
    assert_eq!(request.header("x-private"), "", "only what belongs to the delivery");
    let verifier = client::webhooks::Verifier::new(SECRET).expect("a secret");
    verifier.verify(&request.headers, &request.body).expect("it can be verified again");
    drop(receiver);
    testkit::eventually("nobody is behind", async || listening.send(SECRET, 2).await == 502).await;
}

#[tokio::test]
async fn without_a_secret_it_says_where_to_put_it() {
    let refused = output(bare(&["webhooks", "listen", "--address", "127.0.0.1:0"])).await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("set TRADEWIND_WEBHOOK_SECRET, or give --secret-file"),
        "{}",
        refused.err
    );
}
