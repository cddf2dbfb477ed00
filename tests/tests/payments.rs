//! Payments through a whole installation, while the provider does not do what it should.

use std::time::Duration;

use client::{Client, Response};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually, on_both_databases};
use tests::{Installation, SHORT, captured, kinds, order, settle, stock};

on_both_databases!(
    orders_that_time_out_while_the_provider_is_down_are_never_authorised,
    a_paid_order_is_refunded_in_parts_and_never_more_than_it_paid,
    a_payment_that_needs_the_customer_goes_on_when_he_has_done_it,
    what_the_provider_does_late_is_found_by_a_reconciliation_and_given_back,
);

/// How many orders the provider has no time for.
const ORDERS: usize = 20;

async fn orders_that_time_out_while_the_provider_is_down_are_never_authorised(db: Db) {
    let installation = Installation::start(&db, |settings| {
        settings.payment_timeout = Duration::from_secs(2);
        settings.provider_lookup_interval = Duration::from_millis(200);
        settings.provider_late_window = Duration::from_secs(1);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 100).await;
    // It is down for so many calls that each order has given up long before it is back.
    let clients =
        (0..ORDERS).map(|client| {
            let api = api.clone();
            async move {
                settle(&api, &order("MUG", 1, "sim:outage:9"), &format!("down-{client}")).await
            }
        });
    for settled in join_all(clients).await {
        let reason = settled.body["cancellation"]["reason"].as_str();
        // On a slow machine the time of an order has passed before the provider is asked at all.
        let expected = [Some("payment_timeout"), Some("payment_failed")];
        assert!(expected.contains(&reason), "{}", settled.body);
    }
    // The provider is back, and is asked what became of each: nothing, and nothing comes of it.
    assert_eq!(installation.settled_payments(&[("failed", ORDERS)]).await, captured(0));
    let log = kinds(&installation.server, "PAYMENT-0", |_| true).await;
    let expected = ["authorization_pending", "uncertain", "cancel_requested", "failed"];
    assert!(log.iter().all(|kind| expected.contains(&kind.as_str())), "{log:?}");
    installation.stop_and_verify().await;
}

/// Asks for a refund of so many pence.
async fn refund(api: &Client, order: &Value, minor: i64, key: &str) -> Response {
    let path = format!("orders/{}/refunds", order["id"].as_str().expect("an id"));
    let body = json!({"amount": {"minor": minor, "currency": "GBP"}, "reason": "came broken"});
    let request = api.request(Method::POST, &path).header("idempotency-key", key).json(&body);
    api.send(request).await.expect("an answer")
}

async fn a_paid_order_is_refunded_in_parts_and_never_more_than_it_paid(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let paid = settle(&api, &order("MUG", 2, "card"), "buy").await.body;
    assert_eq!(paid["payment_status"], "paid", "{paid}");

    let first = refund(&api, &paid, 200, "broken-1").await;
    assert_eq!(first.status.as_u16(), 201, "{}", first.body);
    let again = refund(&api, &paid, 200, "broken-1").await;
    assert_eq!(again.body["refund_id"], first.body["refund_id"], "the same request again");
    let too_much = refund(&api, &paid, 301, "broken-2").await;
    assert_eq!(too_much.status.as_u16(), 422, "{}", too_much.body);
    assert_eq!(too_much.body["code"], "refund_too_large");
    assert_eq!(too_much.body["refundable"], json!({"minor": 300, "currency": "GBP"}));
    let rest = refund(&api, &paid, 300, "broken-3").await;
    assert_eq!(rest.status.as_u16(), 201, "{}", rest.body);
    let unknown = json!({"id": "018f4e6a-0000-7000-8000-000000000001"});
    let nothing = refund(&api, &unknown, 1, "broken-4").await;
    assert_eq!(nothing.body["code"], "not_found", "{}", nothing.body);

    let mut all = captured(500);
    (all["refunded"], all["provider_net"]) = (json!(500), json!(0));
    assert_eq!(installation.settled_payments(&[("refunded", 2)]).await, all);
    let path = format!("orders/{}/payments", paid["id"].as_str().expect("an id"));
    let shown: Value = api.get(&path).await.expect("the payments");
    let transactions = shown["payments"][0]["transactions"].as_array().expect("a list");
    let kinds: Vec<_> = transactions.iter().map(|it| it["kind"].clone()).collect();
    assert_eq!(kinds, ["authorization", "capture", "refund", "refund"]);
    assert_eq!(transactions[2]["refund_id"], first.body["refund_id"]);
    assert_eq!(transactions[2]["reason"], "came broken");
    installation.stop_and_verify().await;
}

async fn a_payment_that_needs_the_customer_goes_on_when_he_has_done_it(db: Db) {
    let installation = Installation::start(&db, |settings| {
        settings.provider_lookup_interval = Duration::from_millis(300);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let placed = api.place(&order("MUG", 2, "sim:action:5"), "bank", None).await.expect("placed");
    let path = format!("payments/{}-1", placed.body["id"].as_str().expect("an id"));
    let mut url = Value::Null;
    eventually("the customer is asked", async || {
        let payment: Value = api.get(&path).await.unwrap_or_default();
        url = payment["action"]["url"].clone();
        payment["status"] == "action_required"
    })
    .await;
    assert!(url.as_str().is_some_and(|url| url.starts_with("https://")), "{url}");
    assert_eq!(installation.settled_payments(&[("captured", 1)]).await, captured(500));
    let steps = ["authorization_pending", "action_required", "authorized"];
    let all = installation.payment_steps(&placed.body).await;
    assert_eq!(all[..3], steps, "{all:?}");
    installation.stop_and_verify().await;
}

async fn what_the_provider_does_late_is_found_by_a_reconciliation_and_given_back(db: Db) {
    let installation = Installation::start(&db, |settings| {
        settings.payment_timeout = SHORT;
        settings.provider_timeout = Duration::from_millis(200);
        settings.provider_lookup_interval = Duration::from_millis(200);
        // The provider is slower than we believe.
        settings.provider_late_window = Duration::from_millis(500);
        settings.reconciliation_interval = Duration::from_secs(10);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let settled = settle(&api, &order("MUG", 2, "sim:late:5000"), "late").await.body;
    // The payment has failed, the provider authorises after that, and the job finds it.
    assert_eq!(installation.settled_payments(&[("voided", 1)]).await, captured(0));
    let steps = installation.payment_steps(&settled).await;
    let last = &steps[steps.len() - 4..];
    assert_eq!(last, ["failed", "turned_up", "void_pending", "voided"], "{steps:?}");
    installation.stop_and_verify().await;
}
