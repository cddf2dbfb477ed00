//! What becomes of orders when an ERP takes what they were promised.

use client::Client;
use events::{
    id::Location,
    shop::{Settings, ShortRule},
};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually, on_both_databases};
use tests::{Installation, kinds, order, settle, stock_in};

on_both_databases!(
    a_shop_that_wants_nothing_done_keeps_its_orders,
    all_orders_are_put_on_hold_however_many_there_are,
    a_split_order_counts_with_what_it_has_at_the_location_that_is_short,
    what_leaves_for_a_cancelled_order_is_taken_from_the_others,
);

/// What was answered to one line of an ERP.
async fn push(api: &Client, line: Value) -> String {
    let request = api.request(Method::POST, "inventory").json(&line);
    let answer = api.send(request).await.expect("an answer").body;
    answer["results"][0]["result"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn count(units: i64, sequence: u64) -> Value {
    json!({"type": "count", "sku": "MUG", "quantity": units, "connector": "erp",
        "document": format!("C-{sequence}"), "sequence": sequence})
}

fn issue(order: &Value, units: i64, sequence: u64) -> Value {
    json!({"type": "goods_issue", "sku": "MUG", "quantity": units, "order_id": order["id"],
        "connector": "erp", "document": format!("GI-{sequence}"), "sequence": sequence})
}

async fn shown(api: &Client, order: &Value) -> Value {
    let path = format!("orders/{}", order["id"].as_str().expect("an id"));
    api.get(&path).await.expect("the order")
}

/// What became of the units of an order's one line: held, shipped and cancelled.
async fn units(api: &Client, order: &Value) -> [i64; 3] {
    let order = shown(api, order).await;
    ["held", "shipped", "cancelled"].map(|it| order["lines"][0][it].as_i64().expect("units"))
}

async fn is_on_hold(api: &Client, order: &Value) -> bool {
    shown(api, order).await["hold"]["reason"] == "stock_short"
}

async fn a_shop_that_wants_nothing_done_keeps_its_orders(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let settings = Settings { short_rule: ShortRule::Nothing, ..Settings::default() };
    stock_in(&api, &settings, "MUG", 6).await;
    let first = settle(&api, &order("MUG", 3, "card"), "first").await.body;
    let newest = settle(&api, &order("MUG", 3, "card"), "newest").await.body;
    assert_eq!(push(&api, count(4, 2)).await, "applied");
    // What the order service reads behind `short` is done.
    assert_eq!(push(&api, issue(&first, 3, 3)).await, "applied");
    eventually("the first order has shipped", async || {
        shown(&api, &first).await["status"] == "completed"
    })
    .await;
    let kept = shown(&api, &newest).await;
    assert_eq!((&kept["status"], &kept["payment_status"]), (&json!("confirmed"), &json!("paid")));
    assert_eq!(kept["hold"], Value::Null, "{kept}");
    let stock = kinds(&installation.server, "INVENTORY-0", |_| true).await;
    assert_eq!(stock.iter().filter(|kind| *kind == "short").count(), 1, "{stock:?}");
    let orders = kinds(&installation.server, "ORDER-0", |_| true).await;
    let done = ["put_on_hold", "cancelled"];
    assert!(!orders.iter().any(|kind| done.contains(&kind.as_str())), "{orders:?}");
    assert_eq!(units(&api, &first).await, [0, 3, 0]);
    assert_eq!(units(&api, &newest).await, [3, 0, 0]);
    installation.stop_and_verify().await;
}

async fn all_orders_are_put_on_hold_however_many_there_are(db: Db) {
    // One more than `short` names at once.
    const ORDERS: i64 = 251;
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let settings = Settings { on_account: true, ..Settings::default() };
    stock_in(&api, &settings, "MUG", ORDERS).await;
    let oldest = settle(&api, &order("MUG", 1, "card"), "order-1").await.body;
    for number in 2..=ORDERS {
        let key = format!("order-{number}");
        let placed = api.place(&order("MUG", 1, "on_account"), &key, None).await;
        assert_eq!(placed.expect("an answer").status, 201);
    }
    eventually("all orders have their unit", async || {
        let level: Value = api.get("inventory/MUG").await.expect("the level");
        level["allocated"] == ORDERS
    })
    .await;
    assert_eq!(push(&api, count(0, 2)).await, "applied");
    let said = async |stream: &str, kind: &str| {
        let kinds = kinds(&installation.server, stream, |_| true).await;
        kinds.iter().filter(|it| *it == kind).count() as i64
    };
    eventually("all orders are on hold", async || said("ORDER-0", "put_on_hold").await == ORDERS)
        .await;
    assert_eq!(said("INVENTORY-0", "short").await, 2);
    assert!(is_on_hold(&api, &oldest).await);
    installation.stop_and_verify().await;
}

async fn a_split_order_counts_with_what_it_has_at_the_location_that_is_short(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let berlin = Location::parse("berlin").expect("valid");
    let settings =
        Settings { split_shipments: true, default_location: berlin, ..Settings::default() };
    api.create_shop(&settings).await.expect("the shop is created");
    let request = api.request(Method::PUT, "locations/berlin").json(&json!({"priority": 10}));
    assert_eq!(api.send(request).await.expect("an answer").status, 201);
    // The opening count names no location.
    stock_in(&api, &settings, "MUG", 3).await;
    let mut at_main = count(3, 2);
    at_main["location"] = json!("main");
    assert_eq!(push(&api, at_main).await, "applied");
    let first = settle(&api, &order("MUG", 2, "card"), "first").await.body;
    let split = settle(&api, &order("MUG", 4, "card"), "split").await.body;
    // Of the three in Berlin one is left. The newest order has but one there, so the first one cannot be
    // served either.
    assert_eq!(push(&api, count(1, 3)).await, "applied");
    for order in [&split, &first] {
        eventually("the order is on hold", async || is_on_hold(&api, order).await).await;
    }
    installation.stop_and_verify().await;
}

async fn what_leaves_for_a_cancelled_order_is_taken_from_the_others(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock_in(&api, &Settings::default(), "MUG", 10).await;
    let cancelled = settle(&api, &order("MUG", 4, "card"), "cancelled").await.body;
    let path = format!("orders/{}/cancel", cancelled["id"].as_str().expect("an id"));
    let answer = api.send(api.request(Method::POST, &path).json(&json!({}))).await;
    assert_eq!(answer.expect("an answer").body["status"], "cancelled");
    let level = async || api.get::<Value>("inventory/MUG").await.expect("the level");
    eventually("its units are free", async || level().await["available"] == 10).await;
    let other = settle(&api, &order("MUG", 8, "card"), "other").await.body;

    // The parcel had left all the same.
    assert_eq!(push(&api, issue(&cancelled, 4, 2)).await, "applied_in_excess");
    let after = level().await;
    let after = ["on_hand", "allocated", "available"].map(|it| after[it].clone());
    assert_eq!(after, [json!(6), json!(8), json!(0)]);
    eventually("the other order is on hold", async || is_on_hold(&api, &other).await).await;
    // It says that they have left, stays cancelled, and takes no money.
    eventually("its units have shipped", async || {
        shown(&api, &cancelled).await["fulfilment_status"] == "fulfilled"
    })
    .await;
    let order = shown(&api, &cancelled).await;
    let statuses = ["status", "payment_status"].map(|it| order[it].clone());
    assert_eq!(statuses, [json!("cancelled"), json!("refunded")], "{order}");
    assert_eq!(units(&api, &cancelled).await, [0, 4, 0]);
    assert_eq!(units(&api, &other).await, [8, 0, 0]);
    assert_eq!(push(&api, issue(&cancelled, 4, 2)).await, "duplicate");
    installation.stop_and_verify().await;
}
