//! Payments in one step through a whole installation: allocated, charged, confirmed.

use std::time::Duration;

use client::{Client, Response};
use events::shop::Settings;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually, on_both_databases};
use tests::{Installation, SHORT, captured, kinds, order, settle, stock_in};

on_both_databases!(
    an_order_is_charged_once_its_stock_is_allocated,
    a_declined_charge_is_followed_by_another_payment_of_the_stock_that_stays_allocated,
    a_declined_order_gives_its_allocation_back_when_the_hold_would_have_ended,
    a_charge_follows_a_declined_authorisation_once_the_stock_is_allocated,
    a_charge_whose_answer_was_lost_is_found_and_counted_once,
    a_charge_that_is_carried_out_after_the_order_timed_out_is_refunded,
    a_charge_that_lands_after_the_cancel_is_refunded,
    a_charge_that_needs_the_customer_goes_on_when_he_has_done_it,
    a_charge_that_its_customer_left_is_refunded_beside_the_payment_in_its_place,
    a_charge_that_turns_up_in_a_reconciliation_is_refunded,
    a_charge_that_is_never_answered_is_stuck_and_settled_by_an_operator,
);

/// What becomes of a payment in one step that goes well.
const CHARGED: [&str; 2] = ["charge_pending", "captured"];

/// A shop of which these payment methods are taken in one step.
fn one_step(methods: &[&str]) -> Settings {
    let one_step_methods = methods.iter().map(ToString::to_string).collect();
    Settings { one_step_methods, ..Settings::default() }
}

/// An installation with mugs, of which every method that begins with these is taken in one step.
async fn start(
    db: &Db,
    methods: &[&str],
    adjust: impl FnOnce(&mut node::settings::Settings),
) -> (Installation, Client) {
    let installation = Installation::start(db, adjust).await;
    let api = installation.api();
    stock_in(&api, &one_step(methods), "MUG", 5).await;
    (installation, api)
}

async fn post(api: &Client, path: &str, body: &Value) -> Response {
    let request = api.request(Method::POST, path).json(body);
    api.send(request).await.expect("an answer")
}

/// Places an order without waiting for it; returns it, with its path.
async fn place(api: &Client, order: &Value, key: &str) -> (Value, String) {
    let placed = api.place(order, key, None).await.expect("an answer").body;
    let path = format!("orders/{}", placed["id"].as_str().expect("an id"));
    (placed, path)
}

/// Waits until this holds of what is shown at the path.
async fn shows(api: &Client, path: &str, what: &str, holds: impl Fn(&Value) -> bool) {
    eventually(what, async || {
        let shown: Value = api.get(path).await.unwrap_or_default();
        holds(&shown)
    })
    .await;
}

/// The kinds of the events about an order.
async fn steps(installation: &Installation, order: &Value) -> Vec<String> {
    kinds(&installation.server, "ORDER-0", |event| order["id"] == event.aggregate_id).await
}

/// What is allocated, held and available of the mugs.
async fn level(api: &Client) -> [Value; 3] {
    let level: Value = api.get("inventory/MUG").await.expect("the level");
    ["allocated", "held", "available"].map(|name| level[name].clone())
}

/// The totals of payments of which so much was taken and paid back again.
fn refunded(minor: i64) -> Value {
    let mut all = captured(minor);
    let money = &mut all["currencies"][0];
    (money["refunded"], money["provider_net"]) = (json!(minor), json!(0));
    all
}

async fn an_order_is_charged_once_its_stock_is_allocated(db: Db) {
    let (installation, api) = start(&db, &["ideal"], |_| {}).await;
    let paid = settle(&api, &order("MUG", 2, "ideal_bank"), "one").await.body;
    assert_eq!((&paid["status"], &paid["payment_status"]), (&json!("confirmed"), &json!("paid")));
    assert_eq!(installation.settled_payments(&[("captured", 1)]).await, captured(500));
    assert_eq!(installation.payment_steps(&paid).await, CHARGED);
    let expected = ["placed", "authorized", "payment_due", "confirmed", "paid"];
    assert_eq!(steps(&installation, &paid).await, expected);
    assert_eq!(level(&api).await, [json!(2), json!(0), json!(3)]);

    // Any other method is authorised as before.
    let two_steps = settle(&api, &order("MUG", 1, "card"), "two").await.body;
    let expected = ["placed", "payment_due", "authorized", "confirmed", "paid"];
    assert_eq!(steps(&installation, &two_steps).await, expected);

    let payments = format!("orders/{}/payments", paid["id"].as_str().expect("an id"));
    let shown: Value = api.get(&payments).await.expect("the payments");
    let payment = &shown["payments"][0];
    assert_eq!((&payment["status"], &payment["captured"]), (&json!("captured"), &json!(500)));
    let transactions = payment["transactions"].as_array().expect("a list");
    assert_eq!((transactions.len(), &transactions[0]["kind"]), (1, &json!("charge")));
    let refunds = format!("orders/{}/refunds", paid["id"].as_str().expect("an id"));
    let part = json!({"amount": {"minor": 200, "currency": "GBP"}, "reason": "came broken"});
    let request = api.request(Method::POST, &refunds).header("idempotency-key", "r").json(&part);
    let refund = api.send(request).await.expect("an answer");
    assert_eq!(refund.status.as_u16(), 201, "{}", refund.body);
    let path = format!("orders/{}", paid["id"].as_str().expect("an id"));
    shows(&api, &path, "a part is refunded", |it| it["payment_status"] == "partially_refunded")
        .await;
    installation.stop_and_verify().await;
}

async fn a_declined_charge_is_followed_by_another_payment_of_the_stock_that_stays_allocated(
    db: Db,
) {
    let (installation, api) = start(&db, &["sim:charge", "ideal"], |_| {}).await;
    let declined = order("MUG", 2, "sim:charge_decline:insufficient_funds");
    let waits = settle(&api, &declined, "declined").await.body;
    assert_eq!((&waits["status"], &waits["payment_status"]), (&json!("placed"), &json!("failed")));
    assert_eq!(waits["payments"][0]["failure"]["code"], "insufficient_funds", "{waits}");
    assert_eq!(level(&api).await, [json!(2), json!(0), json!(3)]);
    let path = format!("orders/{}", waits["id"].as_str().expect("an id"));
    let again = post(&api, &format!("{path}/payments"), &json!({"payment_method": "ideal"})).await;
    assert_eq!(again.status.as_u16(), 201, "{}", again.body);
    shows(&api, &path, "the order is paid", |it| it["payment_status"] == "paid").await;
    let expected = [
        "placed",
        "authorized",
        "payment_due",
        "payment_failed",
        "payment_due",
        "confirmed",
        "paid",
    ];
    assert_eq!(steps(&installation, &waits).await, expected);
    assert_eq!(level(&api).await, [json!(2), json!(0), json!(3)]);

    // The second payment may be in two steps as well: the stock is allocated once.
    let waits = settle(&api, &declined, "declined-too").await.body;
    let path = format!("orders/{}", waits["id"].as_str().expect("an id"));
    post(&api, &format!("{path}/payments"), &json!({"payment_method": "card"})).await;
    shows(&api, &path, "the order is paid", |it| it["payment_status"] == "paid").await;
    assert_eq!(level(&api).await, [json!(4), json!(0), json!(1)]);
    assert_eq!(installation.settled_payments(&[("captured", 2)]).await, captured(1_000));
    installation.stop_and_verify().await;
}

async fn a_declined_order_gives_its_allocation_back_when_the_hold_would_have_ended(db: Db) {
    let (installation, api) =
        start(&db, &["sim:charge"], |settings| settings.hold_ttl = SHORT).await;
    let declined = order("MUG", 2, "sim:charge_decline:insufficient_funds");
    let (_, path) = place(&api, &declined, "declined").await;
    shows(&api, &path, "the order ends with the hold", |it| {
        it["cancellation"]["reason"] == "payment_declined"
    })
    .await;
    let free = [json!(0), json!(0), json!(5)];
    eventually("the units are free", async || level(&api).await == free).await;
    let late = post(&api, &format!("{path}/payments"), &json!({"payment_method": "card"})).await;
    assert_eq!((late.status.as_u16(), &late.body["code"]), (409, &json!("payment_not_due")));
    installation.stop_and_verify().await;
}

async fn a_charge_follows_a_declined_authorisation_once_the_stock_is_allocated(db: Db) {
    let (installation, api) = start(&db, &["ideal"], |_| {}).await;
    let declined = order("MUG", 2, "sim:decline:expired_card");
    let waits = settle(&api, &declined, "declined").await.body;
    assert_eq!(level(&api).await, [json!(0), json!(2), json!(3)]);
    let path = format!("orders/{}", waits["id"].as_str().expect("an id"));
    let again = post(&api, &format!("{path}/payments"), &json!({"payment_method": "ideal"})).await;
    let second = format!("{}-2", waits["id"].as_str().expect("an id"));
    assert_eq!((again.status.as_u16(), &again.body["id"]), (201, &json!(second)));
    assert_eq!(again.body["amount"]["minor"], 500, "{}", again.body);
    shows(&api, &path, "the order is paid", |it| it["payment_status"] == "paid").await;
    let expected = [
        "placed",
        "payment_due",
        "payment_failed",
        "authorized",
        "payment_due",
        "confirmed",
        "paid",
    ];
    assert_eq!(steps(&installation, &waits).await, expected);
    assert_eq!(installation.settled_payments(&[("captured", 1)]).await, captured(500));
    installation.stop_and_verify().await;
}

async fn a_charge_whose_answer_was_lost_is_found_and_counted_once(db: Db) {
    let (installation, api) =
        start(&db, &["sim:charge"], |settings| settings.provider_timeout = SHORT).await;
    let settled = settle(&api, &order("MUG", 2, "sim:charge_lost"), "lost").await.body;
    assert_eq!(settled["payment_status"], "paid", "{settled}");
    assert_eq!(installation.settled_payments(&[("captured", 1)]).await, captured(500));
    assert_eq!(installation.payment_steps(&settled).await, CHARGED);
    installation.stop_and_verify().await;
}

async fn a_charge_that_is_carried_out_after_the_order_timed_out_is_refunded(db: Db) {
    let (installation, api) = start(&db, &["sim:charge"], |settings| {
        settings.payment_timeout = SHORT * 2;
        settings.provider_timeout = Duration::from_millis(200);
        settings.provider_lookup_interval = Duration::from_millis(200);
    })
    .await;
    let settled = settle(&api, &order("MUG", 2, "sim:charge_late:4000"), "late").await.body;
    assert_eq!(settled["cancellation"]["reason"], "payment_timeout", "{settled}");
    let free = [json!(0), json!(0), json!(5)];
    eventually("the units are free", async || level(&api).await == free).await;
    assert_eq!(installation.settled_payments(&[("refunded", 1)]).await, refunded(500));
    let path = format!("orders/{}", settled["id"].as_str().expect("an id"));
    shows(&api, &path, "the order says so", |it| it["payment_status"] == "refunded").await;
    let steps = installation.payment_steps(&settled).await;
    assert_eq!(steps[steps.len() - 3..], ["captured", "refund_pending", "refunded"], "{steps:?}");
    installation.stop_and_verify().await;
}

async fn a_charge_that_lands_after_the_cancel_is_refunded(db: Db) {
    let (installation, api) = start(&db, &["sim:"], |_| {}).await;
    let (placed, path) = place(&api, &order("MUG", 2, "sim:slow:4000"), "slow").await;
    // Before it is asked, nothing needs to be paid back.
    eventually("the provider has charged, and has not answered", async || {
        let totals: Value = api.get("totals").await.expect("the totals");
        totals["payments"]["currencies"][0]["provider_net"] == 500
    })
    .await;
    let cancelled = post(&api, &format!("{path}/cancel"), &json!({})).await;
    assert_eq!(cancelled.body["cancellation"]["reason"], "requested", "{}", cancelled.body);
    assert_eq!(installation.settled_payments(&[("refunded", 1)]).await, refunded(500));
    let expected = ["charge_pending", "cancel_requested", "captured", "refund_pending", "refunded"];
    assert_eq!(installation.payment_steps(&placed).await, expected);
    shows(&api, &path, "the order says so", |it| it["payment_status"] == "refunded").await;
    assert_eq!(level(&api).await, [json!(0), json!(0), json!(5)]);
    installation.stop_and_verify().await;
}

async fn a_charge_that_needs_the_customer_goes_on_when_he_has_done_it(db: Db) {
    let (installation, api) = start(&db, &["sim:charge"], |settings| {
        settings.provider_lookup_interval = Duration::from_millis(300);
    })
    .await;
    let (placed, path) = place(&api, &order("MUG", 2, "sim:charge_action:5"), "bank").await;
    shows(&api, &path, "the customer is asked", |it| {
        it["payment_status"] == "action_required" && it["status"] == "placed"
    })
    .await;
    assert_eq!(installation.settled_payments(&[("captured", 1)]).await, captured(500));
    let expected = ["charge_pending", "action_required", "captured"];
    assert_eq!(installation.payment_steps(&placed).await, expected);
    shows(&api, &path, "the order is paid", |it| it["payment_status"] == "paid").await;
    installation.stop_and_verify().await;
}

async fn a_charge_that_its_customer_left_is_refunded_beside_the_payment_in_its_place(db: Db) {
    let (installation, api) = start(&db, &["sim:charge"], |settings| {
        settings.provider_lookup_interval = Duration::from_millis(300);
    })
    .await;
    // The customer comes back late: at the twentieth look-up.
    let (placed, path) = place(&api, &order("MUG", 2, "sim:charge_action:20"), "left").await;
    shows(&api, &path, "the customer is asked", |it| it["payment_status"] == "action_required")
        .await;
    let payments = format!("{path}/payments");
    let again = post(&api, &payments, &json!({"payment_method": "card"})).await;
    assert_eq!(again.status.as_u16(), 201, "{}", again.body);
    shows(&api, &path, "the order is paid", |it| it["payment_status"] == "paid").await;
    let shown: Value = api.get(&path).await.expect("the order");
    let left = &shown["payments"][0];
    assert_eq!((&left["status"], &left["action"]), (&json!("failed"), &Value::Null), "{shown}");
    assert_eq!(left["failure"]["detail"], "another payment was started", "{shown}");

    // Both have taken money, and that of the first is given back; the order is paid once.
    let all = installation.settled_payments(&[("captured", 2), ("refunded", 1)]).await;
    let mut expected = captured(1_000);
    let money = &mut expected["currencies"][0];
    (money["refunded"], money["provider_net"]) = (json!(500), json!(500));
    assert_eq!(all, expected);
    let steps = installation.payment_steps(&placed).await;
    let expected = [
        "charge_pending",
        "action_required",
        "cancel_requested",
        "captured",
        "refund_pending",
        "refunded",
    ];
    assert_eq!(steps, expected);
    let shown: Value = api.get(&path).await.expect("the order");
    assert_eq!((&shown["payment_status"], &shown["status"]), (&json!("paid"), &json!("confirmed")));
    assert_eq!(level(&api).await, [json!(2), json!(0), json!(3)]);
    installation.stop_and_verify().await;
}

async fn a_charge_that_turns_up_in_a_reconciliation_is_refunded(db: Db) {
    let (installation, api) = start(&db, &["sim:charge"], |settings| {
        settings.payment_timeout = SHORT;
        settings.provider_timeout = Duration::from_millis(200);
        settings.provider_lookup_interval = Duration::from_millis(200);
        // The provider is slower than we believe.
        settings.provider_late_window = Duration::from_millis(500);
        settings.reconciliation_interval = Duration::from_millis(700);
    })
    .await;
    let settled = settle(&api, &order("MUG", 2, "sim:charge_late:5000"), "late").await.body;
    assert_eq!(installation.settled_payments(&[("refunded", 1)]).await, refunded(500));
    let steps = installation.payment_steps(&settled).await;
    let last = &steps[steps.len() - 4..];
    assert_eq!(last, ["failed", "turned_up", "refund_pending", "refunded"], "{steps:?}");
    installation.stop_and_verify().await;
}

async fn a_charge_that_is_never_answered_is_stuck_and_settled_by_an_operator(db: Db) {
    let (installation, api) = start(&db, &["sim:charge"], |settings| {
        settings.provider_timeout = Duration::from_millis(200);
        settings.provider_lookup_interval = Duration::from_millis(200);
        settings.payment_stuck_after = Duration::from_secs(1);
    })
    .await;
    let silent = order("MUG", 2, "sim:charge_late:600000");
    let (given_up, given_up_path) = place(&api, &silent, "given-up").await;
    let (done, done_path) = place(&api, &silent, "done").await;
    let stuck = async |order: &Value| {
        let payment = format!("{}-1", order["id"].as_str().expect("an id"));
        let path = format!("payments/{payment}");
        shows(&api, &path, "the charge is stuck", |it| it["stuck"] == "no_answer").await;
        path
    };
    let settle = async |path: &str, resolution: &str| {
        let body = json!({"resolution": resolution, "reason": "the provider's page says so"});
        let settled = post(&api, &format!("{path}/settle"), &body).await;
        assert_eq!(settled.status.as_u16(), 200, "{}", settled.body);
    };
    let payment = stuck(&given_up).await;
    settle(&payment, "give_up").await;
    // It counts as failed: the customer may pay by another method.
    shows(&api, &given_up_path, "the payment has failed", |it| it["payment_status"] == "failed")
        .await;
    post(&api, &format!("{given_up_path}/payments"), &json!({"payment_method": "card"})).await;
    shows(&api, &given_up_path, "the order is paid", |it| it["payment_status"] == "paid").await;

    let payment = stuck(&done).await;
    settle(&payment, "done_elsewhere").await;
    shows(&api, &done_path, "the order is paid", |it| {
        it["payment_status"] == "paid" && it["status"] == "confirmed"
    })
    .await;
    installation.stop_and_verify().await;
}
