//! A client reads what it wrote, also through another gateway.

use client::{Client, Response};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, on_both_databases};
use tests::{Gateway, Installation, stock};

on_both_databases!(what_was_written_through_one_gateway_is_read_through_another);

/// Products of an import: so many that the order service has not read them all when it is answered.
const IMPORTED: usize = 3_000;

/// Sends a body, as a client that has seen `after`.
async fn send(api: &Client, (method, path): (Method, &str), after: &str, body: &Value) -> Response {
    let mut request = api.request(method, path);
    if !body.is_null() {
        request = request.json(body);
    }
    if !after.is_empty() {
        request = request.header("tradewind-after", after);
    }
    api.send(request).await.expect("it is answered")
}

fn product(sku: &str, minor: usize) -> Value {
    json!({"sku": sku, "title": sku, "price": {"minor": minor, "currency": "GBP"}})
}

async fn what_was_written_through_one_gateway_is_read_through_another(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let other = Gateway::start(&installation.settings).await;
    // Clients of their own for each request: they have seen nothing but what the header says.
    let (one, two) = (|| installation.api(), || other.api());
    stock(&one(), "MUG", 100).await;
    let mut after = String::new();
    for round in 1..=3_usize {
        // The order service has much to read before the price that counts.
        let import: Vec<_> =
            (0..IMPORTED).map(|number| product(&format!("SKU-{number}"), round)).collect();
        let import = json!({"products": import});
        let imported = send(&one(), (Method::POST, "products"), "", &import).await;
        assert_eq!(imported.status, 200);
        let mug = json!({"title": "A mug", "price": {"minor": 100 * round, "currency": "GBP"}});
        let put = send(&one(), (Method::PUT, "products/MUG"), &after, &mug).await;
        assert!(put.status.is_success(), "{}", put.body);
        after = put.position.to_string();

        let order = json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 2}]});
        let placed = send(&two(), (Method::POST, "orders"), &after, &order).await;
        assert_eq!(placed.status, 201, "{}", placed.body);
        assert_eq!(placed.body["total"], json!(200 * round), "{}", placed.body);
        after = placed.position.to_string();
        assert!(after.contains("catalog.0=") && after.contains("order.0="), "{after}");

        let path = format!("orders/{}", placed.body["id"].as_str().expect("an id"));
        let read = send(&one(), (Method::GET, &path), &after, &Value::Null).await;
        assert_eq!(read.body["id"], placed.body["id"], "{}", read.body);
        let read = send(&two(), (Method::GET, "products/MUG"), &after, &Value::Null).await;
        assert_eq!(read.body["price"]["minor"], json!(100 * round), "{}", read.body);
    }
    check_refused(&two(), "catalog.7=1").await;
    for wrong in ["soon", "catalog.0", "catalog.0=-1"] {
        check_refused(&one(), wrong).await;
    }
    other.stop().await;
    installation.stop_and_verify().await;
}

/// Whatever is sent with it, a header that cannot be used is refused and named.
async fn check_refused(api: &Client, after: &str) {
    let mug = json!({"title": "A mug", "price": {"minor": 1, "currency": "GBP"}});
    for (method, body) in [(Method::GET, Value::Null), (Method::PUT, mug)] {
        let refused = send(api, (method, "products/MUG"), after, &body).await;
        assert_eq!(refused.status, 400, "{after}: {}", refused.body);
        assert_eq!(refused.body["code"], "invalid_header");
        assert_eq!(refused.body["errors"][0]["field"], "Tradewind-After");
    }
}
