//! The routes over HTTP, of one process that runs everything.

use client::{Client, Response};
use reqwest::Method;
use serde_json::{Value, json};

use crate::rig::{self, Installation, SETTLE_TIMEOUT};

async fn find(api: &Client, path: &str, parameter: (&str, &str)) -> Value {
    api.query(path, &[parameter]).await.expect("it is answered")
}

async fn send(api: &Client, method: Method, path: &str, body: &Value) -> Response {
    let request = api.request(method, path);
    let request = if body.is_null() { request } else { request.json(body) };
    api.send(request).await.expect("it is answered")
}

async fn get(api: &Client, path: &str) -> Response {
    send(api, Method::GET, path, &Value::Null).await
}

#[track_caller]
fn check(response: &Response, status: u16, code: &str, fields: &[&str]) {
    let Response { status: got, body, .. } = response;
    assert_eq!((got.as_u16(), &body["code"]), (status, &json!(code)), "{body}");
    assert_eq!(body["type"], format!("urn:tradewind:problem:{code}"));
    let errors = body["errors"].as_array().into_iter().flatten();
    let named: Vec<_> = errors.filter_map(|error| error["field"].as_str()).collect();
    assert_eq!(named, fields, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    let api = installation.api();
    for (path, status) in [("healthz", "up"), ("readyz", "ready")] {
        let url = format!("http://{}/{path}", installation.listen);
        let answer = rig::get(&url).await.expect("it answers");
        let body: Value = answer.json().await.expect("it has a body");
        assert_eq!(body["status"], status);
    }
    check(&get(&api, "totals").await, 404, "unknown_shop", &[]);
    installation.create_shop().await;
    products(&api).await;
    installation.stock("LAMP", 5).await;
    let level = get(&api, "inventory/LAMP").await.body;
    assert_eq!((&level["on_hand"], &level["available"]), (&json!(5), &json!(5)), "{level}");
    orders(&api).await;
    keys(&api).await;
    refusals(&api).await;
    serving.stop().await;
}

async fn products(api: &Client) {
    let mug = json!({"title": "A mug",
        "price": {"minor": 950, "currency": "GBP", "tax_basis": "excluded"}});
    for (body, status, result) in [
        (mug.clone(), 201, "created"),
        (mug.clone(), 200, "unchanged"),
        (json!({"title": "The mug", "price": mug["price"]}), 200, "updated"),
    ] {
        let put = send(api, Method::PUT, "products/MUG", &body).await;
        assert_eq!((put.status.as_u16(), &put.body["result"]), (status, &json!(result)));
        assert_eq!((&put.body["sku"], &put.body["title"]), (&json!("MUG"), &body["title"]));
    }
    let product = get(api, "products/MUG").await;
    assert_eq!(product.status.as_u16(), 200);
    // That it was put as it was is an event, too: what is older does not undo it.
    assert_eq!(
        product.body,
        json!({"sku": "MUG", "title": "The mug", "price": mug["price"], "active": true,
            "version": 3})
    );
    check(&get(api, "products/CUP").await, 404, "not_found", &[]);
    let page = find(api, "products", ("limit", "1")).await;
    assert_eq!(page["products"][0]["sku"], "MUG");
}

async fn orders(api: &Client) {
    let order = json!({"reference": "R-1", "currency": "GBP",
        "lines": [{"sku": "LAMP", "quantity": 2}]});
    let placed = api.place(&order, "key-1", Some(SETTLE_TIMEOUT)).await.expect("it is answered");
    assert_eq!((placed.status.as_u16(), &placed.body["payment_status"]), (201, &json!("paid")));
    let id = placed.body["id"].as_str().expect("it has an id").to_owned();
    assert!(api.place(&order, "key-1", None).await.expect("it is answered").replayed);

    let found = find(api, "orders", ("reference", "R-1")).await;
    assert_eq!(found["orders"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(found["orders"][0]["id"], json!(id));
    assert_eq!(
        find(api, "orders", ("reference", "R-2")).await,
        json!({"orders": [], "next": null})
    );
    assert_eq!(get(api, &format!("orders/{id}")).await.body["total"], 500);

    let history = get(api, &format!("orders/{id}/history")).await.body;
    let events = history["events"].as_array().expect("there are events");
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap_or("")).collect();
    let expected = ["paid", "confirmed", "authorized", "payment_due", "placed"];
    assert_eq!(kinds, expected.map(|kind| format!("order.{kind}")));
    let versions: Vec<_> = events.iter().map(|event| event["aggregateversion"].as_str()).collect();
    assert_eq!(versions, ["5", "4", "3", "2", "1"].map(Some));
    assert_eq!(history["next"], Value::Null);
    let path = format!("orders/{id}/history");
    let page = find(api, &path, ("limit", "2")).await;
    assert_eq!(page["events"].as_array().map(Vec::as_slice), Some(&events[..2]));
    let next = page["next"].as_str().expect("there is another page");
    let rest = find(api, &path, ("after", next)).await;
    assert_eq!(rest["events"].as_array().map(Vec::as_slice), Some(&events[2..]));
    let of_others = [
        ("payments", format!("payments/{id}-1/history"), "payment.captured"),
        ("reservation", format!("orders/{id}/reservation/history"), "inventory.allocated"),
        ("stock", "inventory/LAMP/history".to_owned(), "inventory.counted"),
        ("product", "products/LAMP/history".to_owned(), "catalog."),
        ("shop", "history".to_owned(), "shop."),
    ];
    for (of, path, newest) in of_others {
        let found = get(api, &path).await.body;
        let kind = found["events"][0]["type"].as_str().unwrap_or("");
        assert!(kind.starts_with(newest), "{of}: {found}");
    }

    let cancel = send(api, Method::POST, &format!("orders/{id}/cancel"), &json!({})).await;
    assert_eq!((cancel.status.as_u16(), &cancel.body["status"]), (200, &json!("cancelled")));
    assert_eq!(cancel.body["cancellation"]["reason"], "requested", "{}", cancel.body);
}

/// A request under a key that came before.
async fn under_key(api: &Client, method: Method, path: &str, key: &str, body: &str) -> Response {
    let request = api.request(method, path).header("idempotency-key", key);
    let request = request.header("content-type", "application/json").body(body.to_owned());
    api.send(request).await.expect("it is answered")
}

async fn keys(api: &Client) {
    let written = [
        r#"{"reference":"R-9","currency":"GBP","lines":[{"sku":"LAMP","quantity":1}]}"#,
        r#"{ "lines": [ {"quantity":1, "sku":"\u004cAMP"} ], "currency":"GBP", "reference":"R-9" }"#,
        r#"{"reference":"R-9","currency":"GBP","lines":[{"sku":"LAMP","quantity":1,"unit_price":null}],
            "charges":[],"payment_method":"card"}"#,
    ];
    for (body, replayed) in written.into_iter().zip([false, true, true]) {
        let placed = under_key(api, Method::POST, "orders", "key-9", body).await;
        assert_eq!((placed.status.as_u16(), placed.replayed), (201, replayed), "{}", placed.body);
    }
    let other = written[0].replace("\"quantity\":1", "\"quantity\":2");
    let other = under_key(api, Method::POST, "orders", "key-9", &other).await;
    check(&other, 422, "idempotency_key_reused", &[]);

    // The parts of a request have ids of their own.
    let products =
        r#"{"products":[{"sku":"JUG","title":"A jug","price":{"minor":1,"currency":"GBP"}}]}"#;
    let put = under_key(api, Method::POST, "products", "bulk", products).await;
    assert_eq!((put.status.as_u16(), put.replayed), (200, false), "{}", put.body);
    for key in ["bulk/0", "bulk-0"] {
        let pot = r#"{"title":"A pot","price":{"minor":1,"currency":"GBP"}}"#;
        let put = under_key(api, Method::PUT, "products/POT", key, pot).await;
        assert!(put.status.is_success() && !put.replayed, "{key}: {}", put.body);
    }
}

async fn refusals(api: &Client) {
    let order = |reference: &str, price: i64| {
        json!({"reference": reference, "currency": "GBP",
            "lines": [{"sku": "LAMP", "quantity": 1_000_000_000, "unit_price": price}]})
    };
    let post = async |order: Value| send(api, Method::POST, "orders", &order).await;
    check(&post(order("R-9", 1)).await, 409, "reference_taken", &["reference"]);
    let out_of_range = post(order("R-3", 1_000_000_000)).await;
    check(&out_of_range, 422, "total_out_of_range", &["lines", "charges"]);
    let nobody = "orders/01a1f992-9272-720c-82e9-ef07a878d94f";
    for path in [nobody, &format!("{nobody}/history")] {
        check(&get(api, path).await, 404, "not_found", &[]);
    }
}
