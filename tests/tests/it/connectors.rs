//! What an ERP connector sends late, twice, out of order or with wrong numbers, to a whole installation.

use client::Client;
use events::shop;
use protocol::time::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, on_both_databases, system_clock};
use tests::{Installation, order, settle, stock};

on_both_databases!(
    a_goods_receipt_of_many_lines_is_one_document,
    one_wrong_sequence_does_not_silence_a_connector,
    a_count_of_an_hour_ago_keeps_what_a_till_has_sold_since,
    what_another_connector_has_counted_is_not_counted_again,
    an_import_of_what_was_so_before_does_not_undo_a_change,
    an_order_that_was_refused_is_decided_anew_under_the_same_key,
    stock_lines_that_were_rejected_are_decided_anew_under_the_same_key,
);

/// What was answered to stock lines, one after the other.
async fn push(api: &Client, lines: &Value) -> Vec<String> {
    let request = api.request(Method::POST, "inventory").json(&json!({"lines": lines}));
    let answer = api.send(request).await.expect("an answer");
    let results = answer.body["results"].as_array().unwrap_or_else(|| panic!("{}", answer.body));
    results.iter().map(|it| it["result"].as_str().expect("a result").to_owned()).collect()
}

async fn on_hand(api: &Client, sku: &str) -> i64 {
    let level: Value = api.get(&format!("inventory/{sku}")).await.expect("the level");
    level["on_hand"].as_i64().expect("units")
}

/// What is left is sold as ever, and each database equals its log.
async fn sell_and_stop(installation: Installation, sku: &str) {
    let sold = settle(&installation.api(), &order(sku, 1, "card"), "at-the-end").await;
    assert_eq!(sold.body["payment_status"], "paid", "{}", sold.body);
    installation.stop_and_verify().await;
}

fn price(minor: i64) -> Value {
    json!({"minor": minor, "currency": "GBP"})
}

async fn a_goods_receipt_of_many_lines_is_one_document(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    api.create_shop(&shop::Settings::default()).await.expect("the shop is created");
    let skus: Vec<String> = (1..=40).map(|number| format!("PART-{number}")).collect();
    let products: Vec<Value> =
        skus.iter().map(|sku| json!({"sku": sku, "title": sku, "price": price(100)})).collect();
    let request = api.request(Method::POST, "products").json(&json!({"products": products}));
    let body = api.send(request).await.expect("an answer").body;
    let created = body["results"].as_array().expect("results").iter();
    assert_eq!(created.filter(|it| it["result"] == "created").count(), 40, "{body}");

    // One document and one sequence; each line has its own number, and one SKU comes in two of them.
    let line = |number: usize, sku: &str| {
        json!({"type": "adjustment", "sku": sku, "delta": 5, "reason": "received", "connector": "erp",
            "document": "GR-1", "document_line": number.to_string(), "sequence": 1})
    };
    let mut lines: Vec<Value> =
        skus.iter().enumerate().map(|(at, sku)| line(at + 1, sku)).collect();
    lines.push(line(41, "PART-1"));
    let lines = json!(lines);
    assert_eq!(push(&api, &lines).await, vec!["applied"; 41]);
    assert_eq!(push(&api, &lines).await, vec!["duplicate"; 41]);
    assert_eq!((on_hand(&api, "PART-1").await, on_hand(&api, "PART-40").await), (10, 5));
    sell_and_stop(installation, "PART-1").await;
}

async fn one_wrong_sequence_does_not_silence_a_connector(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    let count = |document: &str, quantity: i64, sequence: u64, epoch: u32| {
        json!({"type": "count", "sku": "MUG", "quantity": quantity, "connector": "wms",
            "document": document, "sequence": sequence, "epoch": epoch})
    };
    // A sequence in milliseconds, by mistake: what comes with the right ones is older.
    let wrong = json!([count("C-1", 9, 1_795_179_849_123, 0), count("C-2", 7, 2, 0)]);
    assert_eq!(push(&api, &wrong).await, ["applied", "stale"]);
    let anew = json!([count("C-3", 7, 1, 1), count("C-4", 6, 2, 1), count("C-2", 7, 2, 0)]);
    assert_eq!(push(&api, &anew).await, ["applied", "applied", "stale"]);
    assert_eq!(on_hand(&api, "MUG").await, 6);
    sell_and_stop(installation, "MUG").await;
}

async fn a_count_of_an_hour_ago_keeps_what_a_till_has_sold_since(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    api.create_shop(&shop::Settings::default()).await.expect("the shop is created");
    let mug = json!({"products": [{"sku": "MUG", "title": "A mug", "price": price(300)}]});
    api.send(api.request(Method::POST, "products").json(&mug)).await.expect("an answer");
    let now = system_clock().now();
    let ago = |minutes: i64| Timestamp::from_millis(now.millis() - minutes * 60_000).to_string();
    let sold = |document: &str, sequence: u64, minutes: i64| {
        json!({"type": "adjustment", "sku": "MUG", "delta": -1, "reason": "sold", "connector": "till",
            "document": document, "sequence": sequence, "occurred_at": ago(minutes)})
    };
    let count = |quantity: i64, sequence: u64, minutes: i64| {
        json!({"type": "count", "sku": "MUG", "quantity": quantity, "connector": "wms",
            "document": format!("C-{sequence}"), "sequence": sequence, "as_of": ago(minutes)})
    };
    // The count of an hour ago has the first of the two sales in it, and not the second.
    let lines =
        json!([count(10, 1, 120), sold("T-1", 1, 90), sold("T-2", 2, 30), count(20, 2, 60)]);
    assert_eq!(push(&api, &lines).await, ["applied"; 4]);
    assert_eq!(on_hand(&api, "MUG").await, 19);
    sell_and_stop(installation, "MUG").await;
}

async fn what_another_connector_has_counted_is_not_counted_again(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    api.create_shop(&shop::Settings::default()).await.expect("the shop is created");
    let mug = json!({"products": [{"sku": "MUG", "title": "A mug", "price": price(250)}]});
    api.send(api.request(Method::POST, "products").json(&mug)).await.expect("an answer");
    let now = testkit::system_clock().now();
    let ago = |minutes: i64| Timestamp::from_millis(now.millis() - minutes * 60_000).to_string();
    let count = |quantity: i64, sequence: u64, minutes: i64| {
        json!([{"type": "count", "sku": "MUG", "quantity": quantity, "connector": "wms",
            "document": format!("C-{sequence}"), "sequence": sequence, "as_of": ago(minutes)}])
    };
    assert_eq!(push(&api, &count(10, 1, 120)).await, ["applied"]);
    let ordered = settle(&api, &order("MUG", 4, "card"), "first").await.body;
    assert_eq!(ordered["payment_status"], "paid", "{ordered}");
    // An hour ago the warehouse counted without what the till had sold, and what had left, before.
    assert_eq!(push(&api, &count(20, 2, 60)).await, ["applied"]);
    let sold = |sequence: u64, minutes: i64| {
        json!({"type": "adjustment", "sku": "MUG", "delta": -1, "reason": "sold", "connector": "till",
            "document": format!("T-{sequence}"), "sequence": sequence, "occurred_at": ago(minutes)})
    };
    let left = |sequence: u64, minutes: i64| {
        json!({"type": "goods_issue", "sku": "MUG", "quantity": 2, "order_id": ordered["id"],
            "connector": "till", "document": format!("GI-{sequence}"), "sequence": sequence,
            "occurred_at": ago(minutes)})
    };
    let late = json!([sold(1, 90), left(2, 80), sold(3, 30), left(4, 20)]);
    assert_eq!(push(&api, &late).await, ["stale", "applied", "applied", "applied"]);
    let level: Value = api.get("inventory/MUG").await.expect("the level");
    assert_eq!((&level["on_hand"], &level["allocated"]), (&json!(17), &json!(0)), "{level}");
    assert_eq!(push(&api, &late).await, ["stale", "duplicate", "duplicate", "duplicate"]);
    sell_and_stop(installation, "MUG").await;
}

async fn an_import_of_what_was_so_before_does_not_undo_a_change(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    api.create_shop(&shop::Settings::default()).await.expect("the shop is created");
    let put = async |product: Value| {
        let request = api.request(Method::PUT, "products/MUG").json(&product);
        let answer = api.send(request).await.expect("an answer");
        (answer.status.as_u16(), answer.body)
    };
    let exported_at = system_clock().now().to_string();
    assert_eq!(put(json!({"title": "A mug", "price": price(300)})).await.0, 201);
    assert_eq!(put(json!({"title": "A blue mug", "price": price(400)})).await.0, 200);
    let import = json!({"products": [
        {"sku": "MUG", "title": "A mug", "price": price(250), "as_of": exported_at},
        {"sku": "CUP", "title": "A cup", "price": price(200), "as_of": exported_at},
    ]});
    let request = api.request(Method::POST, "products").json(&import);
    let results = api.send(request).await.expect("an answer").body["results"].clone();
    assert_eq!(
        (&results[0]["result"], &results[1]["result"]),
        (&json!("stale"), &json!("created"))
    );
    let product: Value = api.get("products/MUG").await.expect("the product");
    assert_eq!((&product["title"], &product["version"]), (&json!("A blue mug"), &json!(2)));

    // A change that expects the version before is refused, and says which there is.
    let (status, body) =
        put(json!({"title": "A red mug", "price": price(500), "expected_version": 1})).await;
    assert_eq!((status, &body["code"]), (409, &json!("version_mismatch")), "{body}");
    stock(&api, "CUP", 1).await;
    sell_and_stop(installation, "CUP").await;
}

async fn an_order_that_was_refused_is_decided_anew_under_the_same_key(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "CUP", 1).await;
    let wanted = order("MUG", 1, "card");
    let place = async || {
        let request = api.request(Method::POST, "orders").header("idempotency-key", "again");
        api.send(request.json(&wanted)).await.expect("an answer")
    };
    let refused = place().await;
    assert_eq!(refused.body["code"], "lines_refused", "{}", refused.body);
    stock(&api, "MUG", 1).await;
    let placed = place().await;
    assert_eq!(placed.status, 201, "{}", placed.body);
    let settled = settle(&api, &wanted, "again").await;
    assert_eq!(settled.body["id"], placed.body["id"], "{}", settled.body);
    assert_eq!(settled.body["payment_status"], "paid", "{}", settled.body);
    installation.stop_and_verify().await;
}

async fn stock_lines_that_were_rejected_are_decided_anew_under_the_same_key(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "CUP", 1).await;
    let line = |sku: &str, document: &str, sequence: u64| {
        json!({"type": "count", "sku": sku, "quantity": 7, "connector": "wms",
            "document": document, "sequence": sequence})
    };
    let keyed = async |path: &str, key: &str, body: &Value| {
        let request = api.request(Method::POST, path).header("idempotency-key", key);
        let answer = api.send(request.json(body)).await.expect("an answer");
        let results =
            answer.body["results"].as_array().unwrap_or_else(|| panic!("{}", answer.body));
        results.iter().map(|it| it["result"].as_str().expect("a result").to_owned()).collect()
    };
    let sell = async |sku: &str| {
        let product = json!({"title": sku, "price": price(100)});
        let put = api.request(Method::PUT, &format!("products/{sku}")).json(&product);
        assert_eq!(api.send(put).await.expect("an answer").status, 201);
    };
    let lines = json!({"lines": [line("MUG", "C-1", 1), line("CUP", "C-2", 2)]});
    let results: Vec<String> = keyed("inventory", "again", &lines).await;
    assert_eq!(results, ["unknown_sku", "applied"]);
    sell("MUG").await;
    let results: Vec<String> = keyed("inventory", "again", &lines).await;
    assert_eq!(results, ["applied", "duplicate"]);
    // Nothing is left to be tried again: that is the answer from now on.
    let results: Vec<String> = keyed("inventory", "again", &lines).await;
    assert_eq!(results, ["applied", "duplicate"]);
    assert_eq!((on_hand(&api, "MUG").await, on_hand(&api, "CUP").await), (7, 7));

    assert_eq!(push(&api, &json!([line("BOWL", "C-3", 3)])).await, ["unknown_sku"]);
    let all = json!({"filter": {"sku": "BOWL"}});
    let results: Vec<String> = keyed("rejections/redrive", "redrive", &all).await;
    assert_eq!(results, ["unknown_sku"]);
    sell("BOWL").await;
    let results: Vec<String> = keyed("rejections/redrive", "redrive", &all).await;
    assert_eq!(results, ["applied"]);
    sell_and_stop(installation, "BOWL").await;
}
