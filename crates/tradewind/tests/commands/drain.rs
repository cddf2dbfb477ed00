//! SIGTERM: what is in flight is answered, and then the process ends, in time and without an error.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::rig::{KEY, Place, SHOP, bare};

/// A request of which the gateway has begun to read the body.
struct InFlight {
    connection: TcpStream,
    body: String,
}

impl InFlight {
    /// Begins to place an order. The gateway asks for the body as soon as it wants to read it, so
    /// from then on the request is in flight.
    async fn begin(place: &Place, order: &Value, header: &str) -> Self {
        let body = order.to_string();
        let mut connection = TcpStream::connect(place.listen).await.expect("it listens");
        let head = format!(
            "POST /v1/shops/{SHOP}/orders HTTP/1.1\r\nhost: gateway\r\nexpect: 100-continue\r\n\
             authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n{header}\
             content-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).await.expect("it is sent");
        let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut told = vec![0; go_on.len()];
        connection.read_exact(&mut told).await.expect("it is answered");
        assert_eq!(told, go_on, "{}", String::from_utf8_lossy(&told));
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

async fn refuses_connections(place: &Place) {
    eventually("nothing more is taken", async || TcpStream::connect(place.listen).await.is_err())
        .await;
}

fn order(payment_method: &str) -> Value {
    json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 1}],
        "payment_method": payment_method})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_answered_while_the_workers_still_run() {
    const LIMIT: Duration = Duration::from_secs(10);
    let place = Place::make().await;
    let mut serving = place.serve(&["serve"]).await;
    place.stock("MUG", 100).await;

    let (mut unread, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        unread.push(InFlight::begin(&place, &order("card"), "").await);
        // These wait for an end that takes longer than the process may.
        let slow = order("sim:slow:60000");
        let mut request = InFlight::begin(&place, &slow, "prefer: wait=60\r\n").await;
        request.send_body().await;
        waiting.push(request);
    }
    let told = Instant::now();
    serving.terminate().await;
    refuses_connections(&place).await;
    for request in &mut unread {
        request.send_body().await;
    }
    for request in unread.into_iter().chain(waiting) {
        let (status, order) = request.answer().await;
        assert_eq!(status, 201, "{order}");
    }
    assert_eq!(serving.ends().await.code(), Some(0));
    assert!(told.elapsed() < LIMIT, "it took {:?}", told.elapsed());

    let placed = place.server.events::<events::proto::Event>("ORDER-0").await;
    let placed = placed.iter().filter(|entry| entry.subject.ends_with(".placed")).count();
    assert_eq!(placed, 16);
    let verified = place.run(&["verify"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_worker_answers_is_stored_and_said_to_be_pending() {
    const LIMIT: Duration = Duration::from_secs(4);
    let place = Place::make().await;
    let arguments = ["serve", "gateway", "--answer-within", "60s", "--drain-within", "4s"];
    let mut serving = place.serve(&arguments).await;
    let mut sent = InFlight::begin(&place, &order("card"), "").await;
    sent.send_body().await;
    let mut unread = InFlight::begin(&place, &order("card"), "").await;

    let told = Instant::now();
    serving.terminate().await;
    refuses_connections(&place).await;
    unread.send_body().await;
    for request in [sent, unread] {
        let (status, body) = request.answer().await;
        assert_eq!(status, 202, "{body}");
    }
    assert_eq!(serving.ends().await.code(), Some(0));
    assert!(told.elapsed() < LIMIT, "it took {:?}", told.elapsed());

    let inbox = place.server.jetstream().await.get_stream("INBOX-0").await.expect("it is there");
    assert_eq!(inbox.cached_info().state.messages, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_still_connects_stops_at_once() {
    // It takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("nats://{}", silent.local_addr().expect("it has an address"));
    let mut command = bare(&["serve", "--api-key", KEY, "--nats-url", &url]);
    let mut child = command.kill_on_drop(true).spawn().expect("it starts");
    let _connection = silent.accept().await.expect("it connects");

    let told = Instant::now();
    let id = child.id().expect("it runs").to_string();
    let sent = tokio::process::Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(sent.expect("kill runs").success());
    assert_eq!(child.wait().await.expect("it ends").code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(3), "it took {:?}", told.elapsed());
}
