//! Stock of a whole installation: what an ERP says of it, and what orders have of it.

use client::Client;
use events::proto::{Event, event::Body};
use serde_json::{Value, json};
use testkit::{Db, on_both_databases};
use tests::{Installation, order, settle, stock};

on_both_databases!(what_an_erp_ships_is_counted_once,);

/// What was answered to stock lines, one after the other.
async fn push(api: &Client, lines: Value) -> Vec<String> {
    let request = api.request(reqwest::Method::POST, "inventory").json(&json!({"lines": lines}));
    let answer = api.send(request).await.expect("an answer");
    let results = answer.body["results"].as_array().unwrap_or_else(|| panic!("{}", answer.body));
    results.iter().map(|it| it["result"].as_str().expect("a result").to_owned()).collect()
}

/// On hand, held, allocated and available.
async fn units(api: &Client, sku: &str) -> [i64; 4] {
    let level: Value = api.get(&format!("inventory/{sku}")).await.expect("the level");
    ["on_hand", "held", "allocated", "available"].map(|it| level[it].as_i64().expect("units"))
}

async fn what_an_erp_ships_is_counted_once(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    let paid = settle(&api, &order("MUG", 4, "card"), "first").await;
    assert_eq!(paid.body["payment_status"], "paid", "{}", paid.body);
    assert_eq!(units(&api, "MUG").await, [10, 0, 4, 6]);

    let line = |line: &str, sequence: u64, order_id: &Value, quantity: i64| {
        json!({"type": "goods_issue", "sku": "MUG", "quantity": quantity, "order_id": order_id,
            "connector": "erp", "document": "GI-1", "document_line": line, "sequence": sequence})
    };
    let id = &paid.body["id"];
    let parts = json!([line("1", 101, id, 1), line("2", 102, id, 3), line("2", 102, id, 3)]);
    assert_eq!(push(&api, parts).await, ["applied", "applied", "duplicate"]);
    assert_eq!(units(&api, "MUG").await, [6, 0, 0, 6]);

    // The ERP counts what is left: nothing is short.
    let count = json!({"type": "count", "sku": "MUG", "quantity": 6, "connector": "erp",
        "document": "C-2", "sequence": 103});
    assert_eq!(push(&api, json!([count])).await, ["applied"]);
    assert_eq!(units(&api, "MUG").await, [6, 0, 0, 6]);

    let unknown = json!("018f0000-0000-7000-8000-000000000001");
    let more = json!([line("3", 104, id, 1), line("4", 105, &unknown, 1)]);
    assert_eq!(push(&api, more).await, ["applied_in_excess", "unknown_order"]);
    assert_eq!(units(&api, "MUG").await, [5, 0, 0, 5]);

    let is_fact = |event: &Event| matches!(event.body, Some(Body::Inventory(_)));
    let events = tests::kinds(&installation.server, "INVENTORY-0", is_fact).await;
    let stock = ["counted", "reserved", "allocated", "shipped", "shipped", "counted", "shipped"];
    assert_eq!(events, stock);
    installation.stop_and_verify().await;
}
