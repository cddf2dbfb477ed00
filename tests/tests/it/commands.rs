//! A command can be followed: one that was not answered in time, and one whose response was lost.

use std::time::Duration;

use client::Client;
use node::settings::Settings;
use protocol::id::{CommandId, Shop};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually, on_both_databases};
use tests::{Gateway, Installation, OwnGateway, SHOP, order, settle, stock};

on_both_databases!(
    a_command_that_waits_is_stored_and_then_answered,
    a_command_whose_response_was_lost_is_found_by_its_key,
    a_command_is_found_though_another_service_is_not_run,
    a_key_that_was_used_at_two_services_names_a_command_of_each,
);

/// How long a gateway waits for answers that is not to get one.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);

async fn a_command_that_waits_is_stored_and_then_answered(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let impatient = Settings { answer_timeout: ANSWER_TIMEOUT, ..installation.settings.clone() };
    let impatient = Gateway::start(&impatient).await;
    stock(&api, "MUG", 5).await;
    let mug = json!({"title": "A mug", "price": {"minor": 300, "currency": "GBP"}});
    let put =
        api.send(api.request(Method::PUT, "products/MUG").json(&mug)).await.expect("a response");
    let catalogue = put.position.iter().find(|(service, ..)| *service == "catalog");
    let (.., last) = catalogue.expect("a position of the catalogue");
    let next = format!("catalog.0={}", last + 1);

    // The order waits for an event of the catalogue that there is not yet.
    let other = impatient.api();
    let request = other.request(Method::POST, "orders").header("tradewind-after", &next);
    let accepted = other.send(request.json(&order("MUG", 1, "card"))).await.expect("a response");
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let id = accepted.body["command_id"].as_str().expect("it has an id");
    let url = format!("/v1/shops/{SHOP}/commands/{id}?service=order");
    assert_eq!(accepted.body["command_url"], url, "{}", accepted.body);
    let found = command(&api, id).await;
    assert_eq!(found, json!({"command_id": id, "service": "order", "status": "stored"}));

    // Until it is there.
    let put =
        api.send(api.request(Method::PUT, "products/CUP").json(&mug)).await.expect("a response");
    assert!(put.status.is_success(), "{}", put.body);
    eventually("the command is answered", async || command(&api, id).await["status"] == "answered")
        .await;
    let answer = command(&api, id).await["answer"]["placeOrder"]["placed"].clone();
    assert_eq!(answer["orderId"], accepted.body["order_id"], "{answer}");
    let path = format!("orders/{}", answer["orderId"].as_str().expect("an id"));
    eventually("the order is paid", async || {
        api.get::<Value>(&path).await.expect("the order")["payment_status"] == "paid"
    })
    .await;
    impatient.stop().await;
    installation.stop_and_verify().await;
}

async fn a_command_whose_response_was_lost_is_found_by_its_key(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let shop = Shop::parse(SHOP).expect("a name");
    let placed = settle(&api, &order("MUG", 1, "card"), "lost").await.body;
    let found = command(&api, &CommandId::from_key(&shop, "lost").to_string()).await;
    assert_eq!(found["status"], "answered", "{found}");
    assert_eq!(found["answer"]["placeOrder"]["placed"]["orderId"], placed["id"], "{found}");

    let path = "orders/00000000-0000-4000-8000-000000000000/cancel";
    let request = api.request(Method::POST, path).header("idempotency-key", "in-vain");
    let refused = api.send(request.json(&json!({}))).await.expect("a response");
    assert_eq!(refused.status, 404, "{}", refused.body);
    let found = command(&api, &CommandId::from_key(&shop, "in-vain").to_string()).await;
    assert_eq!(found["status"], "refused", "{found}");
    assert_eq!(found["answer"], json!({"cancelOrder": {"notFound": {}}}));

    for (id, code) in [("00000000-0000-4000-8000-000000000000", 404), ("MUG", 422)] {
        let error = api.get::<Value>(&format!("commands/{id}")).await.expect_err("is refused");
        assert_eq!(error.problem().expect("a problem").status, code, "{id}");
    }
    installation.stop_and_verify().await;
}

async fn a_command_is_found_though_another_service_is_not_run(db: Db) {
    let installation = Installation::start_without("notify", &db).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let shop = Shop::parse(SHOP).expect("a name");
    settle(&api, &order("MUG", 1, "card"), "first").await;
    let found = command(&api, &CommandId::from_key(&shop, "first").to_string()).await;
    assert_eq!(found["status"], "answered", "{found}");
    // Of a command that nobody else knows, the one that is not run may know.
    let unknown = CommandId::from_key(&shop, "second");
    let error = api.get::<Value>(&format!("commands/{unknown}")).await.expect_err("is refused");
    assert_eq!(error.problem().expect("a problem").status, 503);
    installation.stop_and_verify().await;
}

async fn a_key_that_was_used_at_two_services_names_a_command_of_each(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let hasty = OwnGateway::start(&installation, |settings| {
        settings.answer_timeout = Duration::ZERO;
        settings.person_keys = installation.settings.person_keys().expect("they are there");
    })
    .await;
    let shop = Shop::parse(SHOP).expect("a name");
    let id = CommandId::from_key(&shop, "R-17");
    let path = format!("commands/{id}");
    let paid = settle(&api, &order("MUG", 2, "card"), "R-17").await.body;
    assert_eq!(paid["payment_status"], "paid", "{paid}");

    // Only one service knows it so far.
    let found: Value = api.get(&path).await.expect("the command is known");
    assert_eq!(found["service"], "order", "{found}");
    let url = format!("http://{}", hasty.address);
    let other = Client::new(&url, "secret", SHOP).expect("a client").without_retries();
    let refunds = format!("orders/{}/refunds", paid["id"].as_str().expect("an id"));
    let body = json!({"amount": {"minor": 200, "currency": "GBP"}, "reason": "came broken"});
    let refund = other.request(Method::POST, &refunds).header("idempotency-key", "R-17");
    let refund = other.send(refund.json(&body)).await.expect("a response");
    assert_eq!(refund.status, 202, "{}", refund.body);
    let url = format!("/v1/shops/{SHOP}/{path}?service=payment");
    assert_eq!(refund.body["command_url"], url, "{}", refund.body);

    let of = async |service: &str| api.query::<Value>(&path, &[("service", service)]).await;
    eventually("the refund is answered", async || {
        of("payment").await.is_ok_and(|found| found["status"] == "answered")
    })
    .await;
    let found = of("payment").await.expect("the refund");
    assert_eq!(found["service"], "payment", "{found}");
    assert!(found["answer"].get("refundPayment").is_some(), "{found}");
    let found = of("order").await.expect("the order");
    assert_eq!(found["answer"]["placeOrder"]["placed"]["orderId"], paid["id"], "{found}");
    for (refused, status) in [
        (of("catalog").await, 404),
        (of("nobody").await, 422),
        (api.get::<Value>(&path).await, 422),
    ] {
        let refused = refused.expect_err("is refused");
        assert_eq!(refused.problem().expect("a problem").status, status, "{refused}");
    }
    hasty.stop().await;
    installation.stop_and_verify().await;
}

async fn command(api: &Client, id: &str) -> Value {
    api.get(&format!("commands/{id}")).await.expect("the command is known")
}
