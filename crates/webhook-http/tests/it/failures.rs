//! Receivers that do not answer, or never stop.

use testkit::{Behaviour, RawBehaviour, RawReceiver, Receiver};
use tokio::time::Instant;
use webhook_http::{Failure, Outcome, Policy};

use crate::rig::{Rig, SHORT, local};

/// A policy whose timeout of an exchange is short, and a rig with it.
fn impatient() -> Rig {
    Rig::new(Policy { exchange_timeout: SHORT, connect_timeout: SHORT / 2, ..local() })
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_times_out() {
    let receiver = Receiver::start().await;
    receiver.behave(Behaviour::Hang);
    let exchange = impatient().send(&receiver.url("/")).await;
    assert_eq!(exchange.outcome, Outcome::Throttled(Failure::Timeout));
    assert_eq!((exchange.status, receiver.count()), (None, 1));
    assert!(exchange.latency >= SHORT, "{exchange:?}");
}

#[tokio::test]
async fn a_success_whose_body_trickles_is_a_success() {
    let receiver = Receiver::start().await;
    let mut policy = local();
    policy.body_timeout = SHORT;
    let rig = Rig::new(policy);
    for (status, outcome) in
        [(200, Outcome::Delivered), (500, Outcome::Failed(Failure::Status)), (410, Outcome::Gone)]
    {
        receiver.behave(Behaviour::Trickle(status));
        let started = Instant::now();
        let exchange = rig.send(&receiver.url("/")).await;
        assert_eq!((exchange.outcome, exchange.status), (outcome, Some(status)));
        assert!(exchange.response_excerpt.starts_with('.'), "{exchange:?}");
        // The status was known before the body was awaited.
        assert!(exchange.latency + SHORT <= started.elapsed(), "{exchange:?}");
    }
    assert_eq!(receiver.count(), 3, "nothing was sent twice");
}

#[tokio::test]
async fn a_body_does_not_outlast_the_timeout_of_the_exchange() {
    let receiver = Receiver::start().await;
    receiver.behave(Behaviour::Trickle(200));
    let rig = Rig::new(Policy { exchange_timeout: SHORT, ..local() });
    let started = Instant::now();
    let exchange = rig.send(&receiver.url("/")).await;
    assert_eq!(exchange.outcome, Outcome::Delivered);
    assert!(started.elapsed() >= SHORT, "it waited for the body");
}

#[tokio::test]
async fn a_body_of_a_gigabyte_is_not_read() {
    let receiver = Receiver::start().await;
    receiver.behave(Behaviour::Huge(200));
    let rig = Rig::new(local());
    for connections in [1, 2] {
        let exchange = rig.send(&receiver.url("/")).await;
        assert_eq!(exchange.outcome, Outcome::Delivered);
        assert_eq!(exchange.response_excerpt, "x".repeat(4_096));
        // The rest of the body is not read, so the connection cannot be used again.
        assert_eq!(receiver.connections(), connections);
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_without_an_answer_is_one_failed_attempt() {
    let receiver = Receiver::start().await;
    let rig = Rig::new(local());
    // On a new connection, and on one that was used before.
    for (sent, behaviour, outcome) in [
        (1, Behaviour::Close, Outcome::Failed(Failure::Closed)),
        (2, Behaviour::status(204), Outcome::Delivered),
        (3, Behaviour::Close, Outcome::Failed(Failure::Closed)),
        (4, Behaviour::status(204), Outcome::Delivered),
    ] {
        receiver.behave(behaviour);
        assert_eq!(rig.send(&receiver.url("/")).await.outcome, outcome);
        assert_eq!(receiver.count(), sent, "each attempt is one request");
    }
    assert_eq!(receiver.received()[2].connection, receiver.received()[1].connection);
}

#[tokio::test]
async fn a_reset_and_an_answer_that_is_not_http_are_failures_of_one_attempt() {
    let rig = Rig::new(local());
    for (behaviour, failure) in
        [(RawBehaviour::Reset, Failure::Closed), (RawBehaviour::Garbage, Failure::Protocol)]
    {
        let receiver = RawReceiver::start(behaviour).await;
        let exchange = rig.send(&format!("http://{}/", receiver.address())).await;
        assert_eq!(exchange.outcome, Outcome::Failed(failure));
        assert_eq!(receiver.connections(), 1);
    }
}

#[tokio::test]
async fn where_nobody_listens_there_is_no_connection() {
    let receiver = Receiver::start().await;
    let url = receiver.url("/");
    let rig = Rig::new(local());
    drop(receiver);
    testkit::eventually("the port is closed", async || {
        rig.send(&url).await.outcome == Outcome::Failed(Failure::Connect)
    })
    .await;
}

#[tokio::test]
async fn tls_that_never_begins_is_a_connection_that_takes_too_long() {
    let receiver = RawReceiver::start(RawBehaviour::Silent).await;
    let rig = impatient();
    let exchange = rig.send(&format!("https://{}/", receiver.address())).await;
    assert_eq!(exchange.outcome, Outcome::Throttled(Failure::ConnectTimeout));
}

#[tokio::test]
async fn an_id_that_cannot_be_signed_is_not_sent() {
    let receiver = Receiver::start().await;
    let rig = Rig::new(local());
    let url = rig.url(&receiver.url("/"));
    for id in ["a.b", "a\nb"] {
        let request = webhook_http::Request {
            url: &url,
            headers: &rig.headers,
            secrets: &rig.secrets,
            id,
            timestamp: 1,
            attempt: 1,
            traceparent: None,
            body: bytes::Bytes::new(),
            replay: false,
        };
        let exchange = rig.sender.send(request).await;
        assert_eq!(exchange.outcome, Outcome::Failed(Failure::Refused));
    }
    assert_eq!(receiver.connections(), 0);
}
