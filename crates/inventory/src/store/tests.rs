//! Questions and deadlines, against a private `SQLite` database, gone when its only connection is.

use engine::{Context, Queries as _, Rules};
use protocol::time::Timestamp;
use serde_json::json;
use sqlx::any::AnyPoolOptions;

use super::*;
use crate::{Inventory, Policy};

/// The database of one test; its only connection keeps it.
async fn database(stocks: &[(&str, Stock)]) -> AnyPool {
    sqlx::any::install_default_drivers();
    let pool = AnyPoolOptions::new().max_connections(1).connect("sqlite::memory:").await;
    let pool = pool.expect("opens");
    let mut db = pool.acquire().await.expect("connects");
    documents::create_tables(&mut db, TABLES).await.expect("creates");
    let rows = stocks.iter().map(|(key, stock)| ((*key).to_owned(), stock.clone()));
    documents::put(&mut db, &shop("acme"), rows).await.expect("writes");
    drop(db);
    pool
}

fn shop(name: &str) -> Shop {
    Shop::parse(name).expect("valid")
}

fn stock(on_hand: i64, held: i64, allocated: i64) -> Stock {
    Stock { on_hand, held, allocated, version: 1, ..Stock::default() }
}

async fn ask_of(
    shop: &Shop,
    db: &AnyPool,
    name: &str,
    parameters: serde_json::Value,
) -> Option<serde_json::Value> {
    let inventory = Inventory { policy: Policy::default() };
    inventory.query(db, shop, name, parameters).await.expect("answers")
}

async fn ask(db: &AnyPool, name: &str, parameters: serde_json::Value) -> Option<serde_json::Value> {
    ask_of(&shop("acme"), db, name, parameters).await
}

#[tokio::test]
async fn questions_are_answered_from_the_shops_own_rows() {
    let db = database(&[
        ("B@main", stock(4, 5, 0)),
        ("A@main", stock(9, 2, 3)),
        ("A@attic", stock(100, 0, 0)),
    ])
    .await;
    let a = json!({ "sku": "A", "location": "main", "on_hand": 9, "held": 2, "allocated": 3,
                    "available": 4, "version": 1 });
    let b = json!({ "sku": "B", "location": "main", "on_hand": 4, "held": 5, "allocated": 0,
                    "available": 0, "version": 1 });
    assert_eq!(ask(&db, "level", json!({ "sku": "A" })).await, Some(a.clone()));
    assert_eq!(ask(&db, "level", json!({ "sku": "C" })).await, None);
    assert_eq!(ask(&db, "levels", json!({})).await, Some(json!([a, b])));
    assert_eq!(ask(&db, "levels", json!({ "after": "", "limit": 1 })).await, Some(json!([a])));
    assert_eq!(ask(&db, "levels", json!({ "after": "A" })).await, Some(json!([b])));
    let totals =
        json!({ "on_hand": 113, "held": 7, "allocated": 3, "skus": 2, "oversold_skus": 1 });
    assert_eq!(ask(&db, "totals", json!({})).await, Some(totals));
    assert_eq!(ask_of(&shop("other"), &db, "levels", json!({})).await, Some(json!([])));
    assert_eq!(ask_of(&shop("other"), &db, "level", json!({ "sku": "A" })).await, None);
}

#[tokio::test]
async fn levels_are_in_the_order_of_their_skus_whatever_those_contain() {
    let skus = ["A", "A!", "A-1", "A1", "A@", "A@@", "A@B", "A@b", "AB", "a-1"];
    let keys = skus.map(|sku| format!("{sku}@main"));
    let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), stock(1, 0, 0))).collect();
    let db = database(&rows).await;
    let (mut listed, mut after) = (Vec::new(), String::new());
    while let Some(page) = ask(&db, "levels", json!({ "after": after, "limit": 3 })).await {
        let page: Vec<LevelView> = serde_json::from_value(page).expect("reads");
        let Some(last) = page.last() else { break };
        after = last.sku.to_string();
        listed.extend(page.into_iter().map(|level| level.sku.to_string()));
    }
    assert_eq!(listed, skus);
    let totals = ask(&db, "totals", json!({})).await.expect("answers");
    assert_eq!(totals["skus"], skus.len());
}

#[tokio::test]
async fn a_shop_without_stock_has_totals_of_zero() {
    let db = database(&[]).await;
    let totals = json!({ "on_hand": 0, "held": 0, "allocated": 0, "skus": 0, "oversold_skus": 0 });
    assert_eq!(ask(&db, "totals", json!({})).await, Some(totals));
}

#[tokio::test]
async fn a_question_that_is_not_one_is_refused_by_name() {
    let db = database(&[]).await;
    let inventory = Inventory { policy: Policy::default() };
    let error = inventory.query(&db, &shop("acme"), "prices", json!({})).await;
    let error = error.expect_err("is no question").to_string();
    assert_eq!(error, "inventory has no question \"prices\"");
}

#[test]
fn a_passed_deadline_is_an_input_that_continues_the_request() {
    let key = "018f0000-0000-7000-8000-000000000001";
    let order_id = OrderId::parse(key).expect("valid");
    let context = Context { correlation_id: "request".into(), traceparent: "trace".into() };
    let row = json!({ "status": "held", "version": 1, "lines": [], "block": 0,
                      "deadline": "1970-01-01T00:15:00.000Z", "context": context });
    let due = (HOLD_DEADLINE.input)(key, &row.to_string()).expect("reads");
    assert_eq!((due.kind, &due.context), ("timer.hold_deadline", &context));
    assert_eq!(due.input, Input::HoldDue { order_id });
    assert!((HOLD_DEADLINE.input)("odd", &row.to_string()).is_err());

    let row: Reservation = serde_json::from_value(row).expect("reads");
    assert_eq!(row.columns(), [Value::Integer(Some(900_000))]);
    let now = Timestamp::from_millis(900_000);
    let mut state = State::default();
    state.reservations.put(order_id, row);
    let inventory = Inventory { policy: Policy::default() };
    assert_eq!(inventory.decide(&state, &due.input, now).events.len(), 1);
}
