//! The receivers of docs/webhooks.md, as they stand there: they verify what the sender sends, with the
//! published libraries of Standard Webhooks in Python and JavaScript and without one in Go, and find what
//! is missing.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use client::webhooks::{SequenceCheck, Verifier};
use serde_json::json;
use testkit::{eventually, install_tools};
use webhook_http::{CustomHeaders, Failure, Outcome, Policy, Request, Secret, Sender, parse_url};

#[path = "../../webhook-receivers/receive.rs"]
mod receive;

/// What each receiver must print of what [`Source::send_all`] sends: the type, the number, what is
/// missing then. Of what came twice or is forged, nothing.
const EXPECTED: [&str; 4] =
    ["order.paid1[]", "order.paid2[]", "order.paid5[3,4]", "order.paid4[3]"];
/// The numbers that are sent, in this order.
const SENT: [u64; 6] = [1, 2, 2, 5, 4, 5];

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("webhook-receivers").join(name)
}

/// Installs the libraries; nothing where they cannot be had.
async fn install() -> Option<PathBuf> {
    let listed = Path::new(env!("CARGO_MANIFEST_DIR")).join("webhook-receivers");
    install_tools(&listed, Path::new(env!("CARGO_TARGET_TMPDIR"))).await
}

/// Signs and sends deliveries to one URL.
struct Source {
    sender: Sender,
    policy: Policy,
    secret: Secret,
}

impl Source {
    fn new() -> Self {
        let policy = Policy {
            allow_http: true,
            allowed_ports: "1-65535".parse().expect("ports"),
            allowed_networks: vec!["127.0.0.1/32".parse().expect("a network")],
            ..Policy::default()
        };
        let sender = Sender::new(policy.clone()).expect("the policy can be followed");
        Self { sender, policy, secret: Secret::generate().expect("random") }
    }

    /// Sends what a receiver must believe, and twice what it must not: another's signature, and an
    /// attempt of an hour ago.
    async fn send_all(&self, url: &str) {
        let other = Secret::generate().expect("random");
        for seq in SENT {
            // In a rotation, the receiver's secret is one of two.
            let secrets = [other.clone(), self.secret.clone()];
            assert_eq!(self.send(url, seq, &secrets, now()).await, Outcome::Delivered);
        }
        let refused = Outcome::Failed(Failure::Status);
        assert_eq!(self.send(url, 3, &[other], now()).await, refused);
        let secrets = [self.secret.clone()];
        assert_eq!(self.send(url, 3, &secrets, now() - 3_600).await, refused);
    }

    async fn send(&self, url: &str, seq: u64, secrets: &[Secret], timestamp: i64) -> Outcome {
        let url = parse_url(url, &self.policy).expect("the policy allows it");
        let id = format!("0190b3a1-0000-7000-8000-{seq:012}");
        let body = json!({
            "id": id,
            "type": "order.paid",
            "timestamp": "2026-11-21T12:00:00Z",
            "data": {"note": "Grüße, ☃"},
            "meta": {
                "stream": "order",
                "position": 1_000 + seq,
                "aggregate": {"type": "order", "id": "7", "version": seq},
                "endpoint_seq": seq,
                "tenant": "acme",
            },
        });
        let request = Request {
            url: &url,
            headers: &CustomHeaders::default(),
            secrets,
            id: &id,
            timestamp,
            attempt: 1,
            traceparent: None,
            body: body.to_string().into(),
            replay: false,
        };
        self.sender.send(request).await.outcome
    }
}

#[expect(clippy::disallowed_methods, reason = "the receivers compare with the time of day")]
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    now.as_secs() as i64
}

/// A receiver in a process of its own, ended with the test.
struct Program {
    child: Child,
    port: u16,
}

impl Program {
    async fn start(folder: &Path, program: &str, file: &str, text: &str, secret: &str) -> Self {
        fs::write(folder.join(file), text).expect("the folder can be written");
        Self::run(folder, program, &[file], secret).await
    }

    async fn run(folder: &Path, program: &str, arguments: &[&str], secret: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let child = Command::new(folder.join(program))
            .args(arguments)
            .current_dir(folder)
            .env("WEBHOOK_SECRET", secret)
            .env("PORT", port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let receiver = Self { child, port };
        eventually("it listens", async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        receiver
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// What it printed, without spaces.
    fn printed(mut self) -> Vec<String> {
        self.child.kill().expect("it runs");
        let output = self.child.stdout.take().expect("it is piped");
        let lines = BufReader::new(output).lines().map(|line| line.expect("it is text"));
        lines.map(|line| line.replace(' ', "")).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a receiver with a library, and compares what it printed.
async fn check(program: &str, file: &str, library: &str) {
    let Some(folder) = install().await else { return };
    let text = fs::read_to_string(here(file)).expect("it is there");
    let text = text.replace("standardwebhooks", library);
    let source = Source::new();
    let file = format!("{library}-{file}");
    let receiver = Program::start(&folder, program, &file, &text, source.secret.expose()).await;
    source.send_all(&receiver.url()).await;
    assert_eq!(receiver.printed(), EXPECTED);
}

/// Signs each test vector with the published libraries of Python and JavaScript, which know shared secrets alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_published_libraries_sign_the_test_vectors_as_they_say() {
    let Some(folder) = install().await else { return };
    let node = node();
    for (program, file) in [("python/bin/python", "vectors.py"), (&*node, "vectors.mjs")] {
        fs::copy(here(file), folder.join(file)).expect("the folder can be written");
        let output = Command::new(folder.join(program))
            .arg(file)
            .arg(here("vectors.json"))
            .current_dir(&folder)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "2 vectors");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_verifies_with_standardwebhooks() {
    check("python/bin/python", "receive.py", "standardwebhooks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_verifies_with_svix() {
    check("python/bin/python", "receive.py", "svix").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_verifies_with_standardwebhooks() {
    check(&node(), "receive.mjs", "standardwebhooks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_verifies_with_svix() {
    check(&node(), "receive.mjs", "svix").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go_verifies_without_a_library() {
    let Some(folder) = install().await else { return };
    let output = Command::new(folder.join("python/bin/go"))
        .args(["build", "-o", "receive-go"])
        .arg(here("receive.go"))
        .current_dir(&folder)
        .env("GOCACHE", folder.join("go-cache"))
        .env("GOTOOLCHAIN", "local")
        .output()
        .expect("go runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let source = Source::new();
    let receiver = Program::run(&folder, "receive-go", &[], source.secret.expose()).await;
    source.send_all(&receiver.url()).await;
    assert_eq!(receiver.printed(), EXPECTED);
}

/// Where Node.js is; a name alone would be looked for in the folder.
fn node() -> String {
    let paths = env::var_os("PATH").expect("there is one");
    let found = env::split_paths(&paths).map(|path| path.join("node")).find(|path| path.is_file());
    found.map_or_else(|| "node".to_owned(), |path| path.display().to_string())
}

#[tokio::test]
async fn rust_verifies_with_the_client() {
    let source = Source::new();
    let receiver = testkit::Receiver::start().await;
    let verifier = Verifier::new(source.secret.expose()).expect("a secret");
    let verdicts = verifier.clone();
    receiver.behave(testkit::Behaviour::by(move |request| {
        let verdict = verdicts.verify(&request.headers, &request.body);
        testkit::Behaviour::status(if verdict.is_ok() { 204 } else { 400 })
    }));
    source.send_all(&receiver.url("/")).await;

    let mut check = SequenceCheck::new();
    let mut new = Vec::new();
    for request in receiver.received() {
        let delivery = receive::receive(&verifier, &mut check, &request.headers, &request.body);
        if let Ok(Some(delivery)) = delivery {
            assert_eq!(delivery.data["note"], "Grüße, ☃");
            new.push(delivery.meta.endpoint_seq);
        }
    }
    assert_eq!(new, [1, 2, 5, 4]);
    assert_eq!(check.missing().collect::<Vec<_>>(), [3..=3]);
}

#[test]
fn the_page_shows_the_receivers_that_are_run() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/webhooks.md");
    let page = fs::read_to_string(page).expect("it is there");
    for (language, file) in [
        ("rust", "receive.rs"),
        ("python", "receive.py"),
        ("javascript", "receive.mjs"),
        ("go", "receive.go"),
    ] {
        let text = fs::read_to_string(here(file)).expect("it is there");
        let block = format!("```{language}\n{text}```\n");
        assert!(page.contains(&block), "docs/webhooks.md shows another {file}");
    }
}
