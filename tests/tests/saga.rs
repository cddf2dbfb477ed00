//! Orders through a whole installation: what a customer, a payment and an ERP can do to each other.

use std::collections::HashMap;

use client::Client;
use futures::future::join_all;
use serde_json::{Value, json};
use testkit::{Db, eventually, on_both_databases};
use tests::{Installation, SHORT, captured, kinds, order, settle, stock};

on_both_databases!(
    the_last_units_are_sold_once,
    an_authorisation_that_arrives_after_the_cancel_is_voided,
    an_order_that_is_not_paid_in_time_is_cancelled_and_voided,
    a_hold_that_runs_out_frees_the_units_and_the_late_payer_loses,
    a_charge_whose_answer_was_lost_is_found_and_counted_once,
    an_order_sent_again_is_the_same_order,
    an_erp_that_counts_below_what_is_promised_is_told_which_orders_it_hits,
);

/// What becomes of a payment that goes well.
const PAID: [&str; 4] = ["authorization_pending", "authorized", "capture_pending", "captured"];
/// What becomes of one whose order is off before the provider has answered.
const LET_GO: [&str; 5] =
    ["authorization_pending", "cancel_requested", "authorized", "void_pending", "voided"];

/// How many orders ended how, and why.
async fn outcomes(api: &Client) -> HashMap<(String, String), i64> {
    let totals: Value = api.get("totals").await.expect("the totals");
    let groups = totals["orders"]["groups"].as_array().expect("groups").clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    groups
        .iter()
        .map(|group| {
            let orders = group["orders"].as_i64().expect("a number");
            ((text(&group["status"]), text(&group["reason"])), orders)
        })
        .collect()
}

async fn the_last_units_are_sold_once(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "LAST", 50).await;
    let clients = (0..500).map(|client| {
        let api = api.clone();
        async move { settle(&api, &order("LAST", 1, "card"), &format!("race-{client}")).await }
    });
    let answers = join_all(clients).await;
    let (paid, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.body["status"] == "paid");
    assert_eq!((paid.len(), refused.len()), (50, 450));
    for answer in &refused {
        let cancellation = &answer.body["cancellation"];
        assert_eq!(cancellation["reason"], "out_of_stock", "{}", answer.body);
        assert_eq!(cancellation["shortages"][0]["sku"], "LAST");
        assert_eq!(cancellation["shortages"][0]["requested"], 1);
        assert_eq!(cancellation["shortages"][0]["available"], 0);
    }
    let level: Value = api.get("inventory/LAST").await.expect("the level");
    assert_eq!(
        (&level["allocated"], &level["held"], &level["available"]),
        (&json!(50), &json!(0), &json!(0))
    );
    assert_eq!(installation.settled_payments(&[("captured", 50)]).await, captured(12_500));
    // Nobody who got nothing was asked for money.
    let log = kinds(&installation.server, "PAYMENT-0", |_| true).await;
    assert_eq!(log.len(), 50 * PAID.len());
    installation.stop_and_verify().await;
}

async fn an_authorisation_that_arrives_after_the_cancel_is_voided(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 1).await;
    let placed = api.place(&order("MUG", 1, "sim:slow:1500"), "slow", None).await.expect("placed");
    let id = placed.body["id"].as_str().expect("an id").to_owned();
    let path = format!("orders/{id}/cancel");
    eventually("the payment is due", async || {
        let order: Value = api.get(&format!("orders/{id}")).await.expect("the order");
        order["status"] == "payment_due"
    })
    .await;
    let cancelled = api.send(api.request(reqwest::Method::POST, &path)).await.expect("an answer");
    assert_eq!(cancelled.body["status"], "cancelled", "{}", cancelled.body);
    assert_eq!(cancelled.body["cancellation"]["reason"], "requested");
    assert_eq!(installation.settled_payments(&[("voided", 1)]).await, captured(0));
    assert_eq!(installation.payment_steps(&placed.body).await, LET_GO);
    let level: Value = api.get("inventory/MUG").await.expect("the level");
    assert_eq!(level["available"], 1);
    installation.stop_and_verify().await;
}

async fn an_order_that_is_not_paid_in_time_is_cancelled_and_voided(db: Db) {
    let installation = Installation::start(&db, |settings| settings.payment_timeout = SHORT).await;
    let api = installation.api();
    stock(&api, "MUG", 1).await;
    let settled = settle(&api, &order("MUG", 1, "sim:slow:2000"), "slow").await;
    assert_eq!(settled.body["cancellation"]["reason"], "payment_timeout", "{}", settled.body);
    assert_eq!(installation.settled_payments(&[("voided", 1)]).await, captured(0));
    assert_eq!(installation.payment_steps(&settled.body).await, LET_GO);
    installation.stop_and_verify().await;
}

async fn a_hold_that_runs_out_frees_the_units_and_the_late_payer_loses(db: Db) {
    let installation = Installation::start(&db, |settings| settings.hold_ttl = SHORT).await;
    let api = installation.api();
    stock(&api, "MUG", 1).await;
    let late = api.place(&order("MUG", 1, "sim:slow:3000"), "late", None).await.expect("placed");
    let id = late.body["id"].as_str().expect("an id").to_owned();
    eventually("the late payer's hold has run out", async || {
        let log = installation.server.events::<events::proto::Event>("INVENTORY-0").await;
        log.iter().any(|entry| entry.subject.rsplit('.').next() == Some("released"))
    })
    .await;
    let quick = settle(&api, &order("MUG", 1, "card"), "quick").await;
    assert_eq!(quick.body["status"], "paid", "{}", quick.body);
    eventually("the late payer is answered", async || {
        let order: Value = api.get(&format!("orders/{id}")).await.expect("the order");
        order["cancellation"]["reason"] == "stock_lost"
    })
    .await;
    let ends = [("captured", 1), ("voided", 1)];
    assert_eq!(installation.settled_payments(&ends).await, captured(250));
    assert_eq!(installation.payment_steps(&quick.body).await, PAID);
    // The provider had set the money aside in time; it was the stock that was gone.
    let lost =
        ["authorization_pending", "authorized", "cancel_requested", "void_pending", "voided"];
    assert_eq!(installation.payment_steps(&late.body).await, lost);
    installation.stop_and_verify().await;
}

async fn a_charge_whose_answer_was_lost_is_found_and_counted_once(db: Db) {
    let installation = Installation::start(&db, |settings| settings.provider_timeout = SHORT).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let settled = settle(&api, &order("MUG", 2, "sim:lost"), "lost").await;
    assert_eq!(settled.body["status"], "paid", "{}", settled.body);
    assert_eq!(installation.settled_payments(&[("captured", 1)]).await, captured(500));
    assert_eq!(installation.payment_steps(&settled.body).await, PAID);
    installation.stop_and_verify().await;
}

async fn an_order_sent_again_is_the_same_order(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let mut mug = order("MUG", 1, "card");
    mug["reference"] = json!("A-1");
    let first = settle(&api, &mug, "key").await;
    let again = settle(&api, &mug, "key").await;
    assert!(again.replayed && !first.replayed);
    assert_eq!(first.body["id"], again.body["id"]);
    let other = api.place(&mug, "another-key", None).await.expect("an answer");
    assert_eq!(other.status.as_u16(), 409, "{}", other.body);
    assert_eq!(
        (&other.body["code"], &other.body["order_id"]),
        (&json!("reference_taken"), &first.body["id"])
    );
    let reused = api.place(&order("MUG", 2, "card"), "key", None).await.expect("an answer");
    assert_eq!(reused.status.as_u16(), 422, "{}", reused.body);
    assert_eq!(reused.body["code"], "idempotency_key_reused");
    assert_eq!(outcomes(&api).await, HashMap::from([(("paid".to_owned(), String::new()), 1)]));
    installation.stop_and_verify().await;
}

async fn an_erp_that_counts_below_what_is_promised_is_told_which_orders_it_hits(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let paid = settle(&api, &order("MUG", 4, "card"), "four").await;
    let count = json!({"type": "count", "sku": "MUG", "quantity": 3, "connector": "erp",
        "document": "recount", "sequence": 2});
    api.push("inventory", count.to_string()).await.expect("the count is pushed");
    let log = installation.server.events::<events::proto::Event>("INVENTORY-0").await;
    let short = log
        .iter()
        .find(|entry| entry.subject.rsplit('.').next() == Some("short"))
        .expect("it is short");
    let text = format!("{:?}", short.event.body);
    assert!(text.contains(paid.body["id"].as_str().expect("an id")), "{text}");
    let late = json!({"type": "count", "sku": "MUG", "quantity": 9, "connector": "erp",
        "document": "late", "sequence": 1});
    let pushed = api.push("inventory", late.to_string()).await.expect("the count is pushed");
    assert_eq!((pushed.unchanged, &pushed.results[0]["result"]), (1, &json!("stale")));
    let level: Value = api.get("inventory/MUG").await.expect("the level");
    assert_eq!((&level["on_hand"], &level["available"]), (&json!(3), &json!(0)));
    installation.stop_and_verify().await;
}
