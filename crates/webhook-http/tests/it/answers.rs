//! What is sent, and what comes of an answer.

use std::time::Duration;

use bytes::Bytes;
use testkit::{Behaviour, Receiver};
use webhook_http::{CustomHeaders, Failure, Instruction, MAX_EXCERPT_BYTES, Outcome, Secret};

use crate::rig::{BODY, ID, Rig, SECRET, TIMESTAMP, local};

#[tokio::test]
async fn a_request_has_the_headers_of_standard_webhooks() {
    let receiver = Receiver::start().await;
    let mut rig = Rig::new(local());
    rig.headers = CustomHeaders::parse([("authorization", "Bearer s3cret")]).expect("a header");
    let exchange = rig.send(&receiver.url("/hooks?a=b")).await;
    assert_eq!((exchange.outcome, exchange.status), (Outcome::Delivered, Some(204)));

    let request = receiver.received().remove(0);
    assert_eq!(request.path, "/hooks?a=b");
    assert_eq!(request.body, BODY);
    let version = env!("CARGO_PKG_VERSION");
    for (name, value) in [
        ("content-type", "application/json"),
        ("user-agent", &format!("Tradewind/{version}")),
        ("webhook-id", ID),
        ("webhook-timestamp", &TIMESTAMP.to_string()),
        ("webhook-attempt", "3"),
        ("webhook-replay", ""),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("authorization", "Bearer s3cret"),
        ("host", &receiver.address().to_string()),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
    let independent = standardwebhooks::Webhook::new(SECRET).expect("a secret");
    let signature = independent.sign(ID, TIMESTAMP, BODY.as_bytes()).expect("it signs");
    assert_eq!(request.header("webhook-signature"), signature);

    rig.replay = true;
    rig.send(&receiver.url("/")).await;
    assert_eq!(receiver.received()[1].header("webhook-replay"), "1");
}

#[tokio::test]
async fn during_a_rotation_a_receiver_verifies_with_the_old_secret_and_with_the_new_one() {
    let receiver = Receiver::start().await;
    let mut rig = Rig::new(local());
    let new = Secret::generate().expect("random");
    rig.secrets.insert(0, new.clone());
    rig.send(&receiver.url("/")).await;

    let request = receiver.received().remove(0);
    let signed = request.header("webhook-signature").to_owned();
    for secret in [new.expose(), SECRET] {
        let verifier = standardwebhooks::Webhook::new(secret).expect("a secret");
        let expected = verifier.sign(ID, TIMESTAMP, &request.body).expect("it signs");
        assert!(signed.split(' ').any(|it| it == expected), "{signed}");
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_never_followed() {
    let receiver = Receiver::start().await;
    let rig = Rig::new(local());
    for status in [301, 302, 303, 307, 308] {
        for location in ["http://169.254.169.254/latest/meta-data/", "/elsewhere"] {
            receiver.behave(Behaviour::with_header(status, "location", location));
            let exchange = rig.send(&receiver.url("/hooks")).await;
            assert_eq!(exchange.outcome, Outcome::Failed(Failure::Redirect));
            assert_eq!(exchange.status, Some(status));
        }
    }
    let paths: Vec<_> = receiver.received().into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["/hooks"; 10]);
}

#[tokio::test]
async fn the_status_the_delay_and_the_instruction_are_those_of_the_answer() {
    let receiver = Receiver::start().await;
    let rig = Rig::new(local());
    let with = Behaviour::with_header;
    let minutes = |minutes| Some(Duration::from_mins(minutes));
    let (failed, throttled) =
        (Outcome::Failed(Failure::Status), Outcome::Throttled(Failure::Status));
    for (behaviour, outcome, retry_after, instruction) in [
        (Behaviour::status(410), Outcome::Gone, None, None),
        (with(429, "retry-after", "120"), throttled, minutes(2), None),
        (with(503, "retry-after", "Sat, 21 Nov 2026 12:10:00 GMT"), failed, minutes(10), None),
        (with(503, "retry-after", "9999999"), failed, minutes(24 * 60), None),
        (Behaviour::status(404), failed, None, None),
        (Behaviour::status(500), failed, None, None),
        (Behaviour::status(502), throttled, None, None),
        (
            with(400, "webhook-delivery", "abort-message"),
            failed,
            None,
            Some(Instruction::AbortMessage),
        ),
        (
            with(200, "webhook-delivery", "disable"),
            Outcome::Delivered,
            None,
            Some(Instruction::Disable),
        ),
    ] {
        receiver.behave(behaviour);
        let exchange = rig.send(&receiver.url("/")).await;
        assert_eq!(
            (exchange.outcome, exchange.retry_after, exchange.instruction),
            (outcome, retry_after, instruction),
            "{:?}",
            exchange.status
        );
    }
}

#[tokio::test]
async fn what_is_kept_of_an_answer_is_its_beginning_without_secrets() {
    let receiver = Receiver::start().await;
    let mut rig = Rig::new(local());
    rig.headers = CustomHeaders::parse([("x-key", "k3y-of-the-shop")]).expect("a header");
    // Some frameworks show all of a request on the page of an error.
    receiver.behave(Behaviour::by(|request| {
        let seen = ["x-key", "webhook-signature", "webhook-id"].map(|name| request.header(name));
        Behaviour::Answer(
            500,
            Vec::new(),
            format!("{seen:?} ann@example.org {}", "x".repeat(9_000)),
        )
    }));
    let excerpt = rig.send(&receiver.url("/")).await.response_excerpt;
    assert_eq!(excerpt.len(), MAX_EXCERPT_BYTES);
    assert!(
        excerpt.starts_with(&format!(r#"["[redacted]", "[redacted]", "{ID}"] [redacted] xx"#)),
        "{excerpt}"
    );
}

#[tokio::test]
async fn a_body_of_any_size_is_sent_and_signed() {
    let receiver = Receiver::start().await;
    let rig = Rig::new(local());
    for size in [0, 1, 256 * 1_024] {
        let body = Bytes::from("x".repeat(size));
        let exchange = rig.send_body(&receiver.url("/"), body.clone()).await;
        assert_eq!(exchange.outcome, Outcome::Delivered);
        assert_eq!(receiver.received().pop().expect("it came").body, body);
    }
}
