//! The client against a gateway that fails: what it sends again, and what it does not.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, Uri},
    routing::any,
};
use client::{
    Client, NewOrder,
    feed::{Feed, FeedPosition},
};
use tokio::{net::TcpListener, time::Instant};

/// A gateway that answers with these statuses in turn, and the last of them from then on.
struct Gateway {
    client: Client,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// The path of a request, and its idempotency key.
type Request = (String, Option<String>);

async fn gateway(answers: Vec<(u16, &'static str)>) -> Gateway {
    let requests: Arc<Mutex<Vec<_>>> = Arc::default();
    let (seen, next) = (requests.clone(), Arc::new(AtomicUsize::new(0)));
    let answer = move |uri: Uri, headers: HeaderMap| {
        let key = headers.get("idempotency-key").map(|key| key.to_str().expect("ASCII").to_owned());
        seen.lock().expect("no panic").push((uri.to_string(), key));
        let number = next.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let (status, body) = answers[number];
        async move { (StatusCode::from_u16(status).expect("a status"), body) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(any(answer))).await.expect("serves");
    });
    let client = Client::new(&format!("http://{address}"), "key", "acme").expect("an address");
    Gateway { client, requests }
}

impl Gateway {
    fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

const UNAVAILABLE: (u16, &str) = (503, r#"{"status":503,"code":"overloaded"}"#);

#[tokio::test]
async fn an_order_is_sent_again_under_its_key_until_the_gateway_takes_it() {
    let gateway = gateway(vec![UNAVAILABLE, (504, ""), (201, "{}")]).await;
    let order = NewOrder::in_currency("GBP");
    let placed = gateway.client.place(&order, "checkout-17", None).await.expect("is answered");
    assert_eq!((placed.status.as_u16(), placed.attempts), (201, 3));
    let request = ("/v1/shops/acme/orders".to_owned(), Some("checkout-17".to_owned()));
    assert_eq!(gateway.requests(), [request.clone(), request.clone(), request]);
}

#[tokio::test]
async fn a_refusal_is_not_sent_again_and_names_its_code() {
    let refusal = r#"{"type":"t","status":409,"code":"reference_taken","title":"T","detail":"d",
        "order_id":"7"}"#;
    let gateway = gateway(vec![(409, refusal)]).await;
    let order = NewOrder::in_currency("GBP");
    let answer = gateway.client.place(&order, "checkout-17", None).await.expect("is answered");
    let error = answer.succeeded().expect_err("is refused");
    let problem = error.problem().expect("is a problem document");
    assert_eq!((problem.status, problem.code.as_str()), (409, "reference_taken"));
    assert_eq!(problem.members["order_id"], "7");
    assert_eq!(gateway.requests().len(), 1);
}

#[tokio::test]
async fn without_retries_each_request_is_sent_once() {
    let gateway = gateway(vec![UNAVAILABLE]).await;
    let once = gateway.client.clone().without_retries();
    let error = once.totals().await.expect_err("is refused");
    assert_eq!(error.problem().expect("is a problem document").code, "overloaded");
    assert_eq!(gateway.requests().len(), 1);
}

#[tokio::test]
async fn a_feed_pauses_before_it_asks_again_whatever_the_client_retries() {
    let page = r#"{"events":[{"id":"1"}],"next":"a","at_end":true,"logs":{}}"#;
    let gateway = gateway(vec![UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, (200, page)]).await;
    let once = gateway.client.clone().without_retries();
    let started = Instant::now();
    let events = Feed::new(once, FeedPosition::default()).next().await.expect("it is read on");
    assert_eq!((events.len(), gateway.requests().len()), (1, 4));
    // 100, 200 and 400 ms.
    assert!(started.elapsed() >= Duration::from_millis(700), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_answer_of_a_proxy_in_between_is_shown_as_it_is() {
    let gateway = gateway(vec![(404, "<title>nginx</title>")]).await;
    let error = gateway.client.totals().await.expect_err("is refused");
    assert!(error.to_string().contains("nginx"), "{error}");
}

#[tokio::test]
async fn the_next_page_begins_after_any_sku() {
    let page = r#"{"levels":[],"next":"A&B #1+2"}"#;
    let gateway = gateway(vec![(200, page), (200, r#"{"levels":[],"next":null}"#)]).await;
    assert_eq!(gateway.client.levels().await.expect("are read"), []);
    let asked: Vec<_> = gateway.requests().into_iter().map(|(path, _)| path).collect();
    let levels = "/v1/shops/acme/inventory?limit=1000";
    assert_eq!(asked, [levels.to_owned(), format!("{levels}&after=A%26B+%231%2B2")]);
}
