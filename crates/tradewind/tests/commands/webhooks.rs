//! `tradewind webhooks`: `listen` verifies, checks the sequence, prints, and passes on; the others manage
//! endpoints and what is delivered to them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use client::Client;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use testkit::{Behaviour, Receiver, eventually};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::Semaphore,
    time::timeout,
};

use crate::rig::{self, Installation, bare, output};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// How a process is started whose endpoints are on this machine.
const SERVE: [&str; 6] = [
    "serve",
    "--webhook-allow-http",
    "--webhook-ports",
    "1-65535",
    "--webhook-networks",
    "127.0.0.0/8",
];

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
        self.answer_to(secret, seq).await.status().as_u16()
    }

    /// Sends a delivery; the answer.
    async fn answer_to(&self, secret: &str, seq: u64) -> reqwest::Response {
        let id = format!("event-{seq}");
        let body = json!({
            "id": id, "type": "order.paid", "timestamp": "2026-11-21T12:00:00Z", "data": {"note": "hello"},
            "meta": {"stream": "order", "position": 7, "endpoint_seq": seq, "tenant": "acme",
                "aggregate": {"type": "order", "id": "o-1", "version": 3}},
        })
        .to_string();
        let signature = Webhook::new(secret).and_then(|it| it.sign(&id, now(), body.as_bytes()));
        let request = rig::http()
            .post(&self.url)
            .header("webhook-id", id)
            .header("webhook-timestamp", now())
            .header("webhook-signature", signature.expect("it signs"))
            .header("x-private", "stays here")
            .body(body);
        request.send().await.expect("it is answered")
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

/// As the sender sees it: it follows no redirect, waits as long as it is asked to, and stops when it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_receiver_behind_answers_goes_back() {
    let receiver = Receiver::start().await;
    let listening = Listening::start(&["--forward", &receiver.url("/mine")]).await;
    receiver.behave(Behaviour::with_header(302, "location", "/elsewhere"));
    assert_eq!(listening.send(SECRET, 1).await, 302);
    assert_eq!(receiver.count(), 1, "the redirect was followed");
    for (status, name, value) in [
        (503, "retry-after", "7"),
        (422, "webhook-delivery", "abort-message"),
        (200, "webhook-delivery", "disable"),
    ] {
        receiver.behave(Behaviour::with_header(status, name, value));
        let answer = listening.answer_to(SECRET, 1).await;
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers().get(name).expect("it goes back"), value);
    }
    listening.stop().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_managed_on_the_command_line() {
    let installation = Installation::new().await;
    let allowed = ["--webhook-allow-http", "--webhook-ports", "1-65535"];
    let networks = ["--webhook-networks", "127.0.0.0/8"];
    let serving = installation.serve(&[&["serve"][..], &allowed, &networks].concat()).await;
    installation.create_shop().await;
    let run = async |arguments: &[&str]| {
        let output =
            installation.run(&[&["webhooks"], arguments, &["--shop", "acme"]].concat()).await;
        assert_eq!(output.code, Some(0), "{arguments:?}: {output:?}");
        output.out
    };
    let json =
        async |arguments: &[&str]| -> Value { run(arguments).await.parse().expect("it is JSON") };

    // Nothing listens there: what is sent fails, and is tried again later.
    let url = "http://127.0.0.1:9/hooks";
    let created =
        json(&["endpoints", "create", url, "--types", "order.*", "--ordering", "per_key"]).await;
    let id = created["id"].as_str().expect("an id");
    assert!(created["secret"].as_str().expect("a secret").starts_with("whsec_"), "{created}");
    assert_eq!(
        (&created["ordering"], &created["event_types"]),
        (&json!("per_key"), &json!(["order.*"]))
    );
    assert_eq!(json(&["endpoints", "list"]).await["endpoints"][0]["id"], id);
    assert_eq!(json(&["endpoints", "test", id]).await["endpoint_seq"], 1);
    eventually("the delivery has failed", async || {
        let failed = json(&["deliveries", id, "--state", "retry_at"]).await;
        failed["deliveries"][0]["endpoint_seq"] == 1
    })
    .await;
    eventually("its attempt is shown", async || {
        let shown = json(&["deliveries", id, "1"]).await;
        let attempt = &shown["attempts"][0];
        (&attempt["number"], &attempt["error"]) == (&json!(1), &json!("connect"))
            && attempt["request_headers"]["webhook-signature"] == "[redacted]"
    })
    .await;
    let proof = json(&["proof", id]).await;
    assert_eq!((&proof["matched"], &proof["delivered"]), (&json!(1), &json!(0)), "{proof}");
    let rotated = json(&["endpoints", "rotate-secret", id, "--keep-old", "1h"]).await;
    assert_ne!(rotated["secret"], created["secret"]);
    assert_eq!(json(&["endpoints", "disable", id]).await["status"], "disabled");
    assert_eq!(json(&["endpoints", "enable", id, "--keep-held"]).await["status"], "active");
    let replay = json(&["replay", id, "--selection", "all", "--from", "1"]).await;
    assert_eq!((&replay["from"], &replay["to"]), (&json!(1), &json!(1)), "{replay}");
    assert_eq!(json(&["endpoints", "show", id]).await["replays"][0]["id"], replay["id"]);
    assert_eq!(run(&["endpoints", "delete", id]).await.trim(), format!("{id}: deleted"));
    let gone = installation.run(&["webhooks", "endpoints", "show", id, "--shop", "acme"]).await;
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.err.contains("the shop has no webhook endpoint"), "{gone:?}");
    serving.stop().await;
}

async fn post(api: &Client, path: &str, body: Value) -> Value {
    let answer = api.send(api.request(reqwest::Method::POST, path).json(&body)).await;
    let answer = answer.expect("an answer");
    assert!(answer.status.is_success(), "{}", answer.body);
    answer.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_delivery_is_verified_and_printed_with_its_link() {
    let mut listening = Listening::start(&["--data"]).await;
    let installation = Installation::new().await;
    let serving = installation.serve(&SERVE).await;
    installation.create_shop().await;
    let api = installation.api();
    let endpoint = json!({"url": listening.url, "event_types": ["order.*"], "payload": "thin", "secret": SECRET});
    let endpoint = post(&api, "webhook-endpoints", endpoint).await;
    let id = endpoint["id"].as_str().expect("an id");
    post(&api, &format!("webhook-endpoints/{id}/test"), json!({})).await;
    let line = listening.line().await;
    assert!(line.contains("webhook.test") && line.ends_with("acme"), "{line}");
    let shown = listening.line().await;
    let path = shown.strip_prefix("at /v1/shops/acme/").expect("a link in place of the data");
    let found = api.get::<Value>(path).await.expect("the link can be read");
    assert_eq!((&found["id"], &found["payload"]), (&json!(id), &json!("thin")));
    assert_eq!(listening.stop().await, "delivered up to 1, missing: none");
    serving.stop().await;
}

/// A proxy resolves names by itself, so what is sent through it is not what was vetted.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_is_not_used() {
    let nowhere = "http://127.0.0.1:9";
    let variables = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"]
        .map(|name| (name, nowhere));
    let mut listening = Listening::start(&[]).await;
    let installation = Installation::new().await;
    let serving = installation.serve_in(&SERVE, &variables).await;
    installation.create_shop().await;
    let api = installation.api();
    let endpoint = json!({"url": listening.url, "event_types": ["order.*"], "secret": SECRET});
    let endpoint = post(&api, "webhook-endpoints", endpoint).await;
    let id = endpoint["id"].as_str().expect("an id");
    post(&api, &format!("webhook-endpoints/{id}/test"), json!({})).await;
    assert!(listening.line().await.contains("webhook.test"));
    listening.stop().await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_shows_its_public_key_by_which_deliveries_verify() {
    let vectors = include_str!("../../../../tests/webhook-receivers/vectors.json");
    let vectors: Vec<Value> = serde_json::from_str(vectors).expect("is JSON");
    let pair = vectors.iter().find(|it| it["name"] == "a private key").expect("there is one");
    let receiver = Receiver::start().await;
    let installation = Installation::new().await;
    let serving = installation.serve(&SERVE).await;
    installation.create_shop().await;
    let api = installation.api();
    let endpoint = json!({"url": receiver.url("/hooks"), "event_types": ["order.*"], "secret": pair["secret"]});
    let endpoint = post(&api, "webhook-endpoints", endpoint).await;
    assert_eq!(endpoint["public_key"], pair["verified_with"]);
    let path = format!("webhook-endpoints/{}", endpoint["id"].as_str().expect("an id"));
    let shown: Value = api.get(&path).await.expect("it is shown");
    assert_eq!((&shown["public_key"], &shown["secret"]), (&pair["verified_with"], &Value::Null));
    post(&api, &format!("{path}/test"), json!({})).await;
    eventually("it is delivered", async || receiver.count() == 1).await;
    let request = receiver.received().remove(0);
    let public_key = shown["public_key"].as_str().expect("a key");
    let verifier = client::webhooks::Verifier::new(public_key).expect("a key");
    let delivery = verifier.verify(&request.headers, &request.body).expect("it verifies");
    assert_eq!(delivery.event_type, "webhook.test");

    // A shared secret has none.
    let rotated = post(&api, &format!("{path}/rotate-secret"), json!({"keep_old_s": 0})).await;
    assert_eq!(rotated["public_key"], Value::Null, "{rotated}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_verify_after_the_master_key_was_rotated_and_the_old_one_removed() {
    let installation = Installation::new().await;
    let masters = installation.folder.path().join("person-keys/master-keys");
    let receiver = Receiver::start().await;
    let serving = installation.serve(&SERVE).await;
    installation.create_shop().await;
    let api = installation.api();
    let post = async |path: &str, body: Value| post(&api, path, body).await;
    let endpoint = json!({"url": receiver.url("/hooks"), "event_types": ["order.*"],
        "headers": {"authorization": "Bearer hush"}});
    let endpoint = post("webhook-endpoints", endpoint).await;
    let path = format!("webhook-endpoints/{}", endpoint["id"].as_str().expect("an id"));
    let rotated = post(&format!("{path}/rotate-secret"), json!({"keep_old_s": 86400})).await;
    let secrets = [&endpoint["secret"], &rotated["secret"]]
        .map(|secret| Webhook::new(secret.as_str().expect("a secret")).expect("is one"));
    let deliver = async |count: usize| {
        post(&format!("{path}/test"), json!({})).await;
        eventually("it is delivered", async || receiver.count() == count).await;
        let request = receiver.received().remove(count - 1);
        assert_eq!(request.header("authorization"), "Bearer hush");
        for secret in &secrets {
            secret.verify(&request.body, &request.headers).expect("both secrets sign");
        }
    };
    deliver(1).await;

    let old = std::fs::read_to_string(&masters).expect("there is a master key");
    let new = "new:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
    std::fs::write(&masters, format!("{new}{old}")).expect("it is written");
    let rotate = async || {
        let output = installation.run(&["persons", "rotate-master-key"]).await;
        assert_eq!(output.code, Some(0), "{output:?}");
        output.out
    };
    assert!(rotate().await.contains("3 values of webhook endpoints"), "two secrets and a header");
    deliver(2).await;
    assert!(rotate().await.contains("0 values of webhook endpoints"), "all are done");
    std::fs::write(&masters, new).expect("it is written");
    serving.stop().await;
    let serving = installation.serve(&SERVE).await;
    deliver(3).await;
    serving.stop().await;
}

/// After a kill: how soon what was in flight is sent again, from when the process that comes after it
/// runs the partition.
const RESEND_TIMEOUT: Duration = Duration::from_secs(5);

/// How often each delivery came, by the path of the endpoint and `endpoint_seq`.
fn arrivals(receiver: &Receiver) -> BTreeMap<(String, u64), usize> {
    let mut arrivals = BTreeMap::new();
    for request in receiver.received() {
        let body: Value = serde_json::from_slice(&request.body).expect("it is JSON");
        let seq = body["meta"]["endpoint_seq"].as_u64().expect("a number");
        *arrivals.entry((request.path, seq)).or_default() += 1;
    }
    arrivals
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_flight_when_the_process_was_killed_is_sent_again_and_nothing_else() {
    let mut installation = Installation::new().await;
    let receiver = Receiver::start().await;
    let listen = rig::free_address().to_string();
    let serve = [&SERVE[..], &["--metrics-listen", &listen]].concat();
    let serving = installation.serve(&serve).await;
    installation.create_shop().await;
    let api = installation.api();
    let post = async |path: &str, body: Value| post(&api, path, body).await;
    let create = async |path: &str, ordering: &str| -> String {
        let endpoint = json!({"url": receiver.url(path), "event_types": ["order.*"],
            "ordering": ordering});
        let endpoint = post("webhook-endpoints", endpoint).await;
        format!("webhook-endpoints/{}", endpoint["id"].as_str().expect("an id"))
    };
    let (parallel, fifo) = (create("/parallel", "parallel").await, create("/fifo", "fifo").await);
    let deliver = async |endpoint: &str| post(&format!("{endpoint}/test"), json!({})).await;
    let delivered = async |endpoint: &str, count: u64| {
        let shown: Value = api.get(endpoint).await.unwrap_or_default();
        shown["statistics"]["delivered"] == count
    };
    let came = |path: &str, seq| arrivals(&receiver).get(&(path.to_owned(), seq)).copied();

    // After: it is delivered, and that is in the log.
    deliver(&parallel).await;
    eventually("it is delivered", async || delivered(&parallel, 1).await).await;
    let permits = Arc::new(Semaphore::new(0));
    let permitted = permits.clone();
    receiver.behave(Behaviour::by(move |request| match &*request.path {
        "/parallel" => Behaviour::Permitted(permitted.clone()),
        _ => Behaviour::Hang,
    }));
    // During: it came, and is not answered. Before: the next one waits for it.
    deliver(&fifo).await;
    deliver(&fifo).await;
    // Answered, and not in the log: by then the broker is gone.
    deliver(&parallel).await;
    eventually("both requests came", async || {
        (came("/parallel", 2), came("/fifo", 1)) == (Some(1), Some(1))
    })
    .await;
    installation.server.kill().await;
    permits.add_permits(1);
    let metrics = format!("http://{listen}/metrics");
    eventually("the process has the answer", async || {
        let answer = rig::get(&metrics).await.expect("it is answered");
        let text = answer.text().await.expect("it is text");
        text.contains("tradewind_webhook_attempts_total{outcome=\"delivered\"} 2")
    })
    .await;
    serving.kill().await;
    installation.server.start_again().await;
    receiver.behave(Behaviour::status(204));

    let serving = installation.serve(&SERVE).await;
    let ready = format!("http://{}/readyz", installation.listen);
    eventually("the process runs the partition", async || {
        let answer = rig::get(&ready).await.expect("it is answered");
        let shown: Value = answer.json().await.expect("it is JSON");
        let partitions = shown["partitions"].as_array().cloned().unwrap_or_default();
        let mut notify = partitions.iter().filter(|it| it["service"] == "notify");
        notify.all(|it| it["state"] == "held")
    })
    .await;
    let again = eventually("what was in flight came again", async || {
        (came("/parallel", 2), came("/fifo", 1)) == (Some(2), Some(2))
    });
    timeout(RESEND_TIMEOUT, again).await.expect("it is sent again at once");
    eventually("all are delivered", async || {
        delivered(&parallel, 2).await && delivered(&fifo, 2).await
    })
    .await;
    let came = [("/fifo", 1, 2), ("/fifo", 2, 1), ("/parallel", 1, 1), ("/parallel", 2, 2)];
    let came = came.map(|(path, seq, count)| ((path.to_owned(), seq), count));
    assert_eq!(arrivals(&receiver), BTreeMap::from(came), "nothing else was sent again");
    serving.stop().await;
    let verified = installation.run(&["verify"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
}
