//! Orders through a whole installation: what a customer, a payment and an ERP can do to each other.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use client::{Client, Response};
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
    what_cannot_be_served_is_put_on_hold_until_the_merchant_decides,
    a_declined_order_ends_with_its_hold_and_gives_its_reference_back,
    a_declined_order_is_paid_with_another_card,
    an_order_is_completed_when_all_of_it_has_shipped,
    a_total_that_the_buyer_did_not_see_is_not_charged,
    a_price_as_sold_needs_a_key_that_allows_it,
    an_order_that_costs_nothing_needs_no_provider,
    a_paid_order_that_is_cancelled_is_refunded,
);

/// How long stock is held in a test that has something done meanwhile, and then waits for the end.
const HOLD_TTL: Duration = Duration::from_secs(4);
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
        answers.into_iter().partition(|answer| answer.body["payment_status"] == "paid");
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
    let placed = api.place(&order("MUG", 1, "sim:slow:4000"), "slow", None).await.expect("placed");
    let id = placed.body["id"].as_str().expect("an id").to_owned();
    let path = format!("orders/{id}/cancel");
    // Before it is asked, nothing needs to be voided.
    eventually("the provider has authorised, and has not answered", async || {
        let totals: Value = api.get("totals").await.expect("the totals");
        totals["payments"]["currencies"][0]["provider_held"] == 250
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
    let timeout = SHORT * 5;
    let installation =
        Installation::start(&db, |settings| settings.payment_timeout = timeout).await;
    let api = installation.api();
    stock(&api, "MUG", 1).await;
    let settled = settle(&api, &order("MUG", 1, "sim:slow:5000"), "slow").await;
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
    assert_eq!(quick.body["payment_status"], "paid", "{}", quick.body);
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
    assert_eq!(settled.body["payment_status"], "paid", "{}", settled.body);
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
    assert_eq!(outcomes(&api).await, HashMap::from([(("confirmed".to_owned(), String::new()), 1)]));
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

/// Places an order and waits until it is paid; returns its id.
async fn paid(api: &Client, order: &Value, key: &str) -> String {
    let settled = settle(api, order, key).await;
    assert_eq!(settled.body["payment_status"], "paid", "{}", settled.body);
    settled.body["id"].as_str().expect("an id").to_owned()
}

/// Posts a body to a route of the shop.
async fn post(api: &Client, path: &str, body: &Value) -> Response {
    let request = api.request(reqwest::Method::POST, path).json(body);
    api.send(request).await.expect("an answer")
}

async fn what_cannot_be_served_is_put_on_hold_until_the_merchant_decides(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 6).await;
    let mut ids = Vec::new();
    for number in 1..=3 {
        ids.push(paid(&api, &order("MUG", 2, "card"), &format!("order-{number}")).await);
    }
    let count = json!({"type": "count", "sku": "MUG", "quantity": 3, "connector": "erp",
        "document": "recount", "sequence": 2});
    api.push("inventory", count.to_string()).await.expect("the count is pushed");
    let on_hold = async || {
        let listed: Value = api.query("orders", &[("on_hold", "true")]).await.expect("the list");
        let orders = listed["orders"].as_array().expect("is a list").clone();
        orders.iter().map(|it| it["id"].as_str().unwrap_or("").to_owned()).collect::<HashSet<_>>()
    };
    // Of three units the first order gets two, and the second one too few.
    let newest = HashSet::from([ids[1].clone(), ids[2].clone()]);
    eventually("the newest orders are on hold", async || on_hold().await == newest).await;
    let shown: Value = api.get(&format!("orders/{}", ids[2])).await.expect("the order");
    let hold = json!({"reason": "stock_short", "sku": "MUG", "location": "main"});
    assert_eq!((&shown["hold"], &shown["status"]), (&hold, &json!("confirmed")));

    let released = post(&api, &format!("orders/{}/release", ids[1]), &json!({})).await;
    assert_eq!((released.status.as_u16(), &released.body["hold"]), (200, &Value::Null));
    let cancelled = post(&api, &format!("orders/{}/cancel", ids[2]), &json!({})).await;
    assert_eq!(cancelled.body["status"], "cancelled", "{}", cancelled.body);
    eventually("no order is on hold", async || on_hold().await.is_empty()).await;
    assert_eq!(
        installation.settled_payments(&[("refunded", 1)]).await["currencies"][0]["refunded"],
        500
    );
    installation.stop_and_verify().await;
}

async fn a_declined_order_ends_with_its_hold_and_gives_its_reference_back(db: Db) {
    let installation = Installation::start(&db, |settings| settings.hold_ttl = HOLD_TTL).await;
    let api = installation.api();
    stock(&api, "MUG", 1).await;
    let mut mug = order("MUG", 1, "sim:decline:insufficient_funds");
    mug["reference"] = json!("A-1");
    let waits = settle(&api, &mug, "declined").await.body;
    assert_eq!((&waits["status"], &waits["payment_status"]), (&json!("placed"), &json!("failed")));
    let payment = &waits["payments"][0];
    assert_eq!(payment["failure"]["code"], "insufficient_funds", "{waits}");
    let id = waits["id"].as_str().expect("an id");
    eventually("the order ends with the hold", async || {
        let order: Value = api.get(&format!("orders/{id}")).await.expect("the order");
        order["cancellation"]["reason"] == "payment_declined"
    })
    .await;
    let late = post(&api, &format!("orders/{id}/payments"), &card()).await;
    assert_eq!((late.status.as_u16(), &late.body["code"]), (409, &json!("payment_not_due")));
    mug["payment_method"] = json!("card");
    let again = settle(&api, &mug, "again").await.body;
    assert_eq!(again["payment_status"], "paid", "{again}");
    assert_eq!((&again["reference"], &again["number"]), (&json!("A-1"), &json!(2)));
    installation.stop_and_verify().await;
}

fn card() -> Value {
    json!({"payment_method": "card"})
}

async fn a_declined_order_is_paid_with_another_card(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 1).await;
    let waits = settle(&api, &order("MUG", 1, "sim:decline:expired_card"), "declined").await.body;
    assert_eq!((&waits["status"], &waits["payment_status"]), (&json!("placed"), &json!("failed")));
    let id = waits["id"].as_str().expect("an id");
    let path = format!("orders/{id}/payments");
    let again = post(&api, &path, &json!({"payment_method": "sim:decline:lost_card"})).await;
    assert_eq!((again.status.as_u16(), &again.body["id"]), (201, &json!(format!("{id}-2"))));
    let shown = async || api.get::<Value>(&format!("orders/{id}")).await.expect("the order");
    eventually("the second payment is declined", async || {
        shown().await["payments"][1]["failure"]["code"] == "lost_card"
    })
    .await;
    let third = post(&api, &path, &card()).await;
    assert_eq!(third.body["id"], json!(format!("{id}-3")), "{}", third.body);
    eventually("the order is paid", async || shown().await["payment_status"] == "paid").await;
    let paid = shown().await;
    let statuses: Vec<_> = paid["payments"].as_array().expect("is a list").iter().collect();
    let statuses: Vec<_> = statuses.iter().map(|it| it["status"].as_str()).collect();
    assert_eq!(statuses, ["failed", "failed", "paid"].map(Some));
    let late = post(&api, &path, &card()).await;
    assert_eq!((late.status.as_u16(), &late.body["payment_status"]), (409, &json!("paid")));
    assert_eq!(installation.settled_payments(&[("captured", 1)]).await, captured(250));
    installation.stop_and_verify().await;
}

async fn an_order_is_completed_when_all_of_it_has_shipped(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 3).await;
    let id = paid(&api, &order("MUG", 3, "card"), "three").await;
    let shown = async || api.get::<Value>(&format!("orders/{id}")).await.expect("the order");
    let ship = async |sequence: u64, units: i64| {
        let issue = json!({"type": "goods_issue", "sku": "MUG", "quantity": units, "order_id": id,
            "connector": "erp", "document": format!("GI-{sequence}"), "sequence": sequence});
        let pushed = api.push("inventory", issue.to_string()).await.expect("it is pushed");
        assert_eq!(pushed.applied, 1, "{:?}", pushed.results);
    };
    ship(10, 1).await;
    eventually("a part has shipped", async || shown().await["fulfilment_status"] == "partial")
        .await;
    let late = post(&api, &format!("orders/{id}/cancel"), &json!({})).await;
    assert_eq!((late.status.as_u16(), &late.body["code"]), (409, &json!("too_late")));
    assert_eq!(late.body["fulfilment_status"], "partial");
    ship(11, 2).await;
    eventually("the order is completed", async || shown().await["status"] == "completed").await;
    let order = shown().await;
    let line = &order["lines"][0];
    assert_eq!((&order["fulfilment_status"], &line["shipped"]), (&json!("fulfilled"), &json!(3)));
    assert_eq!((&line["held"], &line["cancelled"]), (&json!(0), &json!(0)), "{line}");
    installation.stop_and_verify().await;
}

async fn a_total_that_the_buyer_did_not_see_is_not_charged(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 1).await;
    let mut mug = order("MUG", 1, "card");
    mug["expected_total"] = json!(249);
    let refused = api.place(&mug, "unseen", None).await.expect("an answer");
    assert_eq!(refused.status.as_u16(), 409, "{}", refused.body);
    let both = (&refused.body["expected_total"], &refused.body["total"]);
    assert_eq!(
        (&refused.body["code"], both),
        (&json!("total_mismatch"), (&json!(249), &json!(250)))
    );
    assert_eq!(outcomes(&api).await, HashMap::new());
    mug["expected_total"] = json!(250);
    paid(&api, &mug, "seen").await;
    installation.stop_and_verify().await;
}

async fn an_order_that_costs_nothing_needs_no_provider(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 2).await;
    let mut mug = order("MUG", 1, "card");
    paid(&api, &mug, "with-a-payment").await;
    mug["charges"] = json!([{"code": "GIFT", "amount": -250}]);
    let id = paid(&api, &mug, "gift").await;
    let shown: Value = api.get(&format!("orders/{id}")).await.expect("the order");
    assert_eq!((&shown["total"], &shown["payments"]), (&json!(0), &Value::Null));
    assert_eq!(shown["status"], "confirmed");
    let log = kinds(&installation.server, "PAYMENT-0", |_| true).await;
    assert_eq!(log, PAID, "nothing but the other order's payment");
    installation.stop_and_verify().await;
}

async fn a_paid_order_that_is_cancelled_is_refunded(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 1).await;
    let id = paid(&api, &order("MUG", 1, "card"), "paid").await;
    let cancelled = post(&api, &format!("orders/{id}/cancel"), &json!({})).await;
    assert_eq!(cancelled.body["status"], "cancelled", "{}", cancelled.body);
    eventually("the money is refunded", async || {
        let order: Value = api.get(&format!("orders/{id}")).await.expect("the order");
        order["payment_status"] == "refunded"
    })
    .await;
    let level: Value = api.get("inventory/MUG").await.expect("the level");
    assert_eq!((&level["allocated"], &level["available"]), (&json!(0), &json!(1)));
    installation.stop_and_verify().await;
}

async fn a_price_as_sold_needs_a_key_that_allows_it(db: Db) {
    let folder = tempfile::tempdir().expect("a private folder");
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "web web-key read orders\ntill till-key read orders prices-as-sold\n")
        .expect("is written");
    let installation = Installation::start(&db, |settings| {
        settings.api_keys_file = Some(keys.clone());
    })
    .await;
    stock(&installation.api(), "MUG", 10).await;
    let with = |key: &str| {
        Client::new(installation.url(), key, tests::SHOP).expect("a client").without_retries()
    };
    let as_sold = |currency: &str| json!({"currency": currency, "lines": [{"sku": "MUG", "quantity": 2, "unit_price": 199}]});
    let web = with("web-key");
    let refused = web.place(&as_sold("GBP"), "web-1", None).await.expect("an answer");
    assert_eq!(refused.status.as_u16(), 403, "{}", refused.body);
    assert_eq!(refused.body["scope"], "prices-as-sold");
    let paid = settle(&web, &order("MUG", 2, "card"), "web-2").await.body;
    assert_eq!(paid["total"], 500, "{paid}");
    let till = with("till-key");
    let paid = settle(&till, &as_sold("GBP"), "till-1").await.body;
    assert_eq!(paid["total"], 398, "{paid}");
    let in_euros = till.place(&as_sold("EUR"), "till-2", None).await.expect("an answer");
    assert_eq!(in_euros.body["code"], "lines_refused", "{}", in_euros.body);
    // Who asked is in the log.
    let log = installation.server.events::<events::proto::Event>("ORDER-0").await;
    let actors = log.iter().filter(|entry| entry.subject.ends_with(".placed"));
    let ids: Vec<_> =
        actors.map(|it| it.event.actor.as_ref().map_or("", |it| it.id.as_str())).collect();
    assert_eq!(ids, ["web", "till"]);
    installation.stop_and_verify().await;
}
