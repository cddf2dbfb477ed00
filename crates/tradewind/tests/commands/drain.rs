//! SIGTERM: what is in flight is answered, and then the process ends, in time and without an error.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::rig::{Installation, KEY, SHOP, bare};

/// A request of which the gateway has begun to read the body.
struct InFlight {
    connection: TcpStream,
    body: String,
}

impl InFlight {
    /// Begins to place an order. The gateway asks for the body as soon as it wants to read it, so
    /// from then on the request is in flight.
    async fn begin(installation: &Installation, order: &Value, header: &str) -> Self {
        let body = order.to_string();
        let mut connection = TcpStream::connect(installation.listen).await.expect("it listens");
        let head = format!(
            "POST /v1/shops/{SHOP}/orders HTTP/1.1\r\nhost: gateway\r\nexpect: 100-continue\r\n\
             authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n{header}\
             content-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).await.expect("it is sent");
        let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut received = vec![0; go_on.len()];
        connection.read_exact(&mut received).await.expect("it is answered");
        assert_eq!(received, go_on, "{}", String::from_utf8_lossy(&received));
        Self { connection, body }
    }

    async fn send_body(&mut self) {
        self.connection.write_all(self.body.as_bytes()).await.expect("it is sent");
    }

    /// The status and the body of the answer.
    async fn answer(mut self) -> (u16, Value) {
        let mut answer = String::new();
        self.connection.read_to_string(&mut answer).await.expect("it is answered");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").expect("it has a body");
        (status.expect("it has a status"), serde_json::from_str(body).expect("it is JSON"))
    }
}

async fn refuses_connections(installation: &Installation) {
    eventually("nothing more is taken", async || {
        TcpStream::connect(installation.listen).await.is_err()
    })
    .await;
}

fn order(payment_method: &str) -> Value {
    json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 1}],
        "payment_method": payment_method})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_answered_while_the_workers_still_run() {
    const LIMIT: Duration = Duration::from_secs(10);
    let installation = Installation::new().await;
    let mut serving = installation.serve(&["serve"]).await;
    installation.stock("MUG", 100).await;

    let (mut unread, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        unread.push(InFlight::begin(&installation, &order("card"), "").await);
        // These wait for an end that takes longer than the process may.
        let slow = order("sim:slow:60000");
        let mut request = InFlight::begin(&installation, &slow, "prefer: wait=60\r\n").await;
        request.send_body().await;
        waiting.push(request);
    }
    let started = Instant::now();
    serving.terminate().await;
    refuses_connections(&installation).await;
    for request in &mut unread {
        request.send_body().await;
    }
    for request in unread.into_iter().chain(waiting) {
        let (status, order) = request.answer().await;
        assert_eq!(status, 201, "{order}");
    }
    assert_eq!(serving.ends().await.code(), Some(0));
    assert!(started.elapsed() < LIMIT, "it took {:?}", started.elapsed());

    let placed = installation.server.events::<events::proto::Event>("ORDER-0").await;
    let placed = placed.iter().filter(|entry| entry.subject.ends_with(".placed")).count();
    assert_eq!(placed, 16);
    let verified = installation.run(&["verify"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_worker_answers_is_stored_and_reported_as_pending() {
    const LIMIT: Duration = Duration::from_secs(4);
    let installation = Installation::new().await;
    let arguments =
        ["serve", "shop", "gateway", "--answer-timeout", "60s", "--drain-timeout", "4s"];
    let mut serving = installation.serve(&arguments).await;
    installation.create_shop().await;
    let mut sent = InFlight::begin(&installation, &order("card"), "").await;
    sent.send_body().await;
    let mut unread = InFlight::begin(&installation, &order("card"), "").await;

    let started = Instant::now();
    serving.terminate().await;
    refuses_connections(&installation).await;
    unread.send_body().await;
    for request in [sent, unread] {
        let (status, body) = request.answer().await;
        assert_eq!(status, 202, "{body}");
    }
    assert_eq!(serving.ends().await.code(), Some(0));
    assert!(started.elapsed() < LIMIT, "it took {:?}", started.elapsed());

    let inbox =
        installation.server.jetstream().await.get_stream("INBOX-0").await.expect("it is there");
    assert_eq!(inbox.cached_info().state.messages, 3, "the shop, and the orders");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_still_connects_stops_at_once() {
    // It takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("nats://{}", silent.local_addr().expect("it has an address"));
    let mut command = bare(&["serve", "--nats-url", &url]);
    command.env("TRADEWIND_API_KEY", KEY);
    let mut child = command.kill_on_drop(true).spawn().expect("it starts");
    let _connection = silent.accept().await.expect("it connects");

    let started = Instant::now();
    let id = child.id().expect("it runs").to_string();
    let sent = tokio::process::Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(sent.expect("kill runs").success());
    assert_eq!(child.wait().await.expect("it ends").code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(3), "it took {:?}", started.elapsed());
}
