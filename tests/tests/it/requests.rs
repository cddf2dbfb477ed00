//! What a request means, however it is written and whenever it is handled.

use std::sync::atomic::Ordering;

use client::{Client, Response};
use node::settings::WebhookOptions;
use protocol::time::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::Db;
use tests::{Installation, OwnGateway, SHOP, order, settable_clock, settle, stock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A number with the check digit of a payment card.
const CARD: &str = "4111 1111 1111 1111";

/// Sends a body as it stands, under a key.
async fn send(api: &Client, method: Method, path: &str, key: &str, body: String) -> Response {
    let request = api.request(method, path).header("idempotency-key", key);
    let request = request.header("content-type", "application/json").body(body);
    api.send(request).await.expect("an answer")
}

async fn post(api: &Client, path: &str, key: &str, body: &Value) -> Response {
    send(api, Method::POST, path, key, body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_json_written_otherwise_is_the_same_request() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    let place = async |body: &str| send(&api, Method::POST, "orders", "one", body.to_owned()).await;
    let placed =
        place(r#"{"currency":"GBP","lines":[{"sku":"MUG","quantity":2}],"reference":"R-1"}"#).await;
    assert_eq!((placed.status.as_u16(), placed.replayed), (201, false), "{}", placed.body);
    let otherwise = r#"{ "reference": "R-\u0031", "customer_id": null,
        "lines": [ {"quantity": 2, "sku": "MUG"} ], "currency": "GBP" }"#;
    let again = place(otherwise).await;
    assert_eq!((again.status.as_u16(), again.replayed), (201, true), "{}", again.body);
    assert_eq!(again.body["id"], placed.body["id"]);
    let other =
        place(r#"{"currency":"GBP","lines":[{"sku":"MUG","quantity":3}],"reference":"R-1"}"#);
    let other = other.await;
    let told = (other.status.as_u16(), &other.body["code"]);
    assert_eq!(told, (422, &json!("idempotency_key_reused")), "{}", other.body);
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_of_a_caller_is_that_of_a_part_of_an_upload() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 0).await;
    let line = |n: u32| {
        json!({"type": "adjustment", "sku": "MUG", "delta": 1, "reason": "found",
            "connector": "warehouse", "document": format!("A-{n}"), "sequence": n})
    };
    let lines: Vec<_> = (0..250).map(line).collect();
    let uploaded = post(&api, "inventory", "k", &json!({"lines": lines})).await;
    assert_eq!((uploaded.status.as_u16(), &uploaded.body["applied"]), (200, &json!(250)));
    // The parts of the upload are numbered by their first lines: 0, 100 and 200.
    for (n, key) in (1_000..).zip(["k/0", "k/1", "k/100", "k/200", "k-100", "k100", "k:100"]) {
        let single = post(&api, "inventory", key, &line(n)).await;
        let told = (single.status.as_u16(), &single.body["applied"], single.replayed);
        assert_eq!(told, (200, &json!(1), false), "{key}: {}", single.body);
    }
    let again = post(&api, "inventory", "k", &json!({"lines": lines})).await;
    assert_eq!((&again.body["applied"], again.replayed), (&json!(250), true), "{}", again.body);
    let level: Value = api.get("inventory/MUG").await.expect("a level");
    assert_eq!(level["on_hand"], 257);
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_a_card_is_refused_wherever_people_write() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    let placed = settle(&api, &order("MUG", 1, "card"), "first").await.body;
    let of_order = |path: &str| format!("orders/{}/{path}", placed["id"].as_str().expect("an id"));
    let personal = |personal: Value| {
        let mut order = order("MUG", 1, "card");
        order["personal"] = personal;
        order
    };
    let address = |field: &str, value: Value| {
        let mut address = json!({"name": "Ann Smith", "lines": ["1 Mill Lane"], "postcode": "OX1 1AA",
            "city": "Oxford", "country": "GB"});
        address[field] = value;
        personal(json!({"shipping_address": address}))
    };
    let amount = json!({"minor": 1, "currency": "GBP"});
    let refused = [
        (
            "orders".to_owned(),
            address("lines", json!(["1 Mill Lane", CARD])),
            "#/personal/shipping_address/lines/1",
        ),
        ("orders".to_owned(), address("name", json!(CARD)), "#/personal/shipping_address/name"),
        (of_order("cancel"), json!({"note": format!("paid with {CARD}")}), "#/note"),
        (of_order("release"), json!({"note": CARD.replace(' ', "-")}), "#/note"),
        (
            of_order("refunds"),
            json!({"amount": amount, "reason": CARD.replace(' ', "")}),
            "#/reason",
        ),
    ];
    for (path, body, pointer) in refused {
        let answer = api.send(api.request(Method::POST, &path).json(&body)).await;
        let answer = answer.expect("an answer");
        let told = (answer.status.as_u16(), &answer.body["code"]);
        assert_eq!(told, (422, &json!("invalid_fields")), "{path}: {}", answer.body);
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{path}: {}", answer.body);
        assert!(!answer.body.to_string().contains("1111"), "{path}: {}", answer.body);
    }
    let listed: Value = api.get("orders").await.expect("the orders");
    assert_eq!(listed["orders"].as_array().map(Vec::len), Some(1), "{listed}");
    installation.stop_and_verify().await;
}

/// Sends the head of an upload of products, and waits until it is read.
async fn begin_upload(gateway: &OwnGateway) -> TcpStream {
    let head = format!(
        "POST /v1/shops/{SHOP}/products HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer secret\r\n\
         content-type: application/x-ndjson\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         expect: 100-continue\r\n\r\n"
    );
    let mut connection = TcpStream::connect(gateway.address).await.expect("it connects");
    connection.write_all(head.as_bytes()).await.expect("it is sent");
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        assert_ne!(connection.read_buf(&mut received).await.expect("its head is read"), 0);
    }
    assert!(received.starts_with(b"HTTP/1.1 100 "));
    connection
}

/// Sends the only line of an upload, and gives its answer.
async fn end_upload(connection: &mut TcpStream, line: &Value) -> String {
    let line = format!("{line}\n");
    let body = format!("{:x}\r\n{line}\r\n0\r\n\r\n", line.len());
    connection.write_all(body.as_bytes()).await.expect("it is sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("it is answered");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_products_is_as_old_as_its_first_byte() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 5).await;
    let start = testkit::system_clock().now().millis();
    let (now, clock) = settable_clock(start);
    let gateway = OwnGateway::start(&installation, |settings| {
        settings.clock = clock;
    })
    .await;
    let api = Client::new(&format!("http://{}", gateway.address), "secret", SHOP);
    let api = api.expect("a client").without_retries();

    let mut connection = begin_upload(&gateway).await;
    // Five seconds later somebody puts a price.
    now.store(start + 5_000, Ordering::Relaxed);
    let price =
        |minor: i64| json!({"title": "A mug", "price": {"minor": minor, "currency": "GBP"}});
    let put = send(&api, Method::PUT, "products/MUG", "put", price(300).to_string()).await;
    assert_eq!(
        (put.status.as_u16(), &put.body["result"]),
        (200, &json!("updated")),
        "{}",
        put.body
    );
    let mut line = price(200);
    line["sku"] = json!("MUG");
    let answer = end_upload(&mut connection, &line).await;
    assert!(answer.contains("\"result\":\"stale\""), "{answer}");
    let product: Value = api.get("products/MUG").await.expect("a product");
    assert_eq!(product["price"]["minor"], 300, "{product}");
    gateway.stop().await;
    settle(&installation.api(), &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_a_file_of_products_is_as_old_as_it_says() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    stock(&installation.api(), "MUG", 5).await;
    // A minute ago, so that nothing here is in the future.
    let start = testkit::system_clock().now().millis() - 60_000;
    let (now, clock) = settable_clock(start);
    let gateway = OwnGateway::start(&installation, |settings| {
        settings.clock = clock;
    })
    .await;
    let api = Client::new(&format!("http://{}", gateway.address), "secret", SHOP);
    let api = api.expect("a client").without_retries();
    let cup = |minor: i64| json!({"title": "A cup", "price": {"minor": minor, "currency": "GBP"}});
    let put = async |key: &str, body: &Value| {
        send(&api, Method::PUT, "products/CUP", key, body.to_string()).await.body
    };
    assert_eq!(put("create", &cup(100)).await["result"], "created");

    let mut connection = begin_upload(&gateway).await;
    now.store(start + 5_000, Ordering::Relaxed);
    assert_eq!(put("put", &cup(300)).await["result"], "updated");
    let as_of = |millis: i64| json!(Timestamp::from_millis(start + millis).to_string());
    let mut line = cup(200);
    line["sku"] = json!("CUP");
    line["as_of"] = as_of(6_000);
    let answer = end_upload(&mut connection, &line).await;
    assert!(answer.contains("\"result\":\"updated\""), "{answer}");

    now.store(start + 10_000, Ordering::Relaxed);
    let mut older = cup(400);
    older["as_of"] = as_of(5_500);
    assert_eq!(put("older", &older).await["code"], "stale");
    gateway.stop().await;
    settle(&installation.api(), &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_an_endpoint_that_is_repeated_is_answered_as_before() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |settings| {
        settings.webhooks = WebhookOptions::on_this_machine();
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let wanted = json!({"url": "http://127.0.0.1:1/", "event_types": ["payment.*"]});
    let made = post(&api, "webhook-endpoints", "made", &wanted).await;
    let endpoint = format!("webhook-endpoints/{}", made.body["id"].as_str().expect("an id"));
    let patch = async |key: &str, body: Value| {
        send(&api, Method::PATCH, &endpoint, key, body.to_string()).await
    };
    let change = json!({"max_per_second": 5, "headers": {"x-token": "one"}});
    let first = patch("a", change.clone()).await;
    assert_eq!((first.status.as_u16(), &first.body["max_per_second"]), (200, &json!(5)));
    patch("b", json!({"description": "ours"})).await;
    // Its own success has changed the endpoint, and so has somebody else.
    let again = patch("a", change).await;
    assert_eq!((again.status.as_u16(), again.replayed), (200, true), "{}", again.body);
    assert_eq!(again.body, first.body);
    let known: Value = api.get(&endpoint).await.expect("the endpoint");
    assert_eq!((&known["description"], &known["version"]), (&json!("ours"), &json!(3)), "{known}");
    for other in [
        json!({"max_per_second": 5, "headers": {"x-token": "two"}}),
        json!({"max_per_second": null, "headers": {"x-token": "one"}}),
        json!({"max_per_second": 5}),
    ] {
        let other = patch("a", other).await;
        let told = (other.status.as_u16(), &other.body["code"]);
        assert_eq!(told, (422, &json!("idempotency_key_reused")), "{}", other.body);
    }
    settle(&api, &order("MUG", 1, "card"), "last").await;
    installation.stop_and_verify().await;
}
