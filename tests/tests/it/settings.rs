//! The settings of a shop, as every service that they concern reads them.

use client::Client;
use events::{
    id::Location,
    money::{Currency, TaxBasis},
    shop::{Capture, Settings, ShortRule},
};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually, on_both_databases};
use tests::{Installation, captured, kinds, order, settle, stock_in};

on_both_databases!(
    money_is_captured_with_each_shipment,
    what_cannot_be_captured_with_a_shipment_is_let_go,
    an_order_on_account_ships_without_a_payment,
    an_order_is_split_over_two_locations,
    the_newest_order_is_cancelled_when_stock_is_short,
    an_order_that_the_settings_exclude_is_refused_and_a_change_counts_at_once,
    prices_that_do_not_say_whether_tax_is_in_them_are_as_the_shop_says,
);

/// The answer to a request with a body.
async fn send(api: &Client, method: Method, path: &str, body: Value) -> (u16, Value) {
    let answer = api.send(api.request(method, path).json(&body)).await.expect("an answer");
    (answer.status.as_u16(), answer.body)
}

/// What was answered to one line of an ERP.
async fn push(api: &Client, line: Value) -> String {
    let (_, answer) = send(api, Method::POST, "inventory", line).await;
    answer["results"][0]["result"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// A goods issue of the warehouse.
fn issue(order: &Value, units: i64, sequence: u64) -> Value {
    json!({"type": "goods_issue", "sku": "MUG", "quantity": units, "order_id": order["id"],
        "connector": "erp", "document": format!("GI-{sequence}"), "sequence": sequence})
}

/// Waits until the order is as it is expected: its three statuses.
async fn has_statuses(api: &Client, order: &Value, expected: [&str; 3]) {
    let path = format!("orders/{}", order["id"].as_str().expect("an id"));
    eventually("the order has its statuses", async || {
        let shown: Value = api.get(&path).await.unwrap_or_default();
        ["status", "payment_status", "fulfilment_status"].map(|it| shown[it].clone()) == expected
    })
    .await;
}

/// What was asked of the provider for the first payment of an order: kind, status, amount.
async fn amounts(installation: &Installation, order: &Value) -> Vec<(Value, Value, i64)> {
    let path = format!("orders/{}/payments", order["id"].as_str().expect("an id"));
    let shown: Value = installation.api().get(&path).await.expect("the payments");
    let transactions = shown["payments"][0]["transactions"].as_array().expect("a list").iter();
    let amount = |it: &Value| it["amount"].as_i64().expect("an amount");
    transactions.map(|it| (it["kind"].clone(), it["status"].clone(), amount(it))).collect()
}

fn by_shipment() -> Settings {
    Settings { capture: Capture::OnShipment, ..Settings::default() }
}

async fn money_is_captured_with_each_shipment(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock_in(&api, &by_shipment(), "MUG", 10).await;
    let placed = settle(&api, &order("MUG", 4, "card"), "first").await.body;
    has_statuses(&api, &placed, ["confirmed", "authorized", "unfulfilled"]).await;

    assert_eq!(push(&api, issue(&placed, 1, 101)).await, "applied");
    has_statuses(&api, &placed, ["confirmed", "authorized", "partial"]).await;
    assert_eq!(push(&api, issue(&placed, 3, 102)).await, "applied");
    has_statuses(&api, &placed, ["completed", "paid", "fulfilled"]).await;
    assert_eq!(installation.settled_payments(&[("captured", 2)]).await, captured(1000));
    let done = json!("done");
    assert_eq!(
        amounts(&installation, &placed).await,
        [
            (json!("authorization"), done.clone(), 1000),
            (json!("capture"), done.clone(), 250),
            (json!("capture"), done, 750),
        ]
    );
    installation.stop_and_verify().await;
}

async fn what_cannot_be_captured_with_a_shipment_is_let_go(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock_in(&api, &by_shipment(), "MUG", 10).await;
    let refused = order("MUG", 4, "sim:capture_decline:expired");
    let placed = settle(&api, &refused, "first").await.body;
    assert_eq!(push(&api, issue(&placed, 1, 101)).await, "applied");
    has_statuses(&api, &placed, ["confirmed", "failed", "partial"]).await;
    // Nothing is left set aside at the provider.
    assert_eq!(installation.settled_payments(&[("voided", 1)]).await, captured(0));
    let steps = installation.payment_steps(&placed).await;
    let expected = [
        "authorization_pending",
        "authorized",
        "capture_pending",
        "capture_failed",
        "void_pending",
        "voided",
    ];
    assert_eq!(steps, expected);

    // The merchant has another payment made: all is authorised, and what has shipped is captured at once.
    let path = format!("orders/{}/payments", placed["id"].as_str().expect("an id"));
    let another = json!({"payment_method": "card"});
    let (status, started) = send(&api, Method::POST, &path, another.clone()).await;
    assert_eq!((status, &started["amount"]["minor"]), (201, &json!(1000)), "{started}");
    has_statuses(&api, &placed, ["confirmed", "authorized", "partial"]).await;
    let totals: Value = api.get("totals").await.expect("the totals");
    let money = &totals["payments"]["currencies"][0];
    assert_eq!((&money["captured"], &money["authorized"]), (&json!(250), &json!(750)), "{totals}");
    let (status, refused) = send(&api, Method::POST, &path, another).await;
    assert_eq!((status, &refused["code"]), (409, &json!("payment_not_due")), "{refused}");
    assert_eq!(push(&api, issue(&placed, 3, 102)).await, "applied");
    has_statuses(&api, &placed, ["completed", "paid", "fulfilled"]).await;
    assert_eq!(installation.settled_payments(&[("captured", 2)]).await, captured(1000));
    installation.stop_and_verify().await;
}

async fn an_order_on_account_ships_without_a_payment(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let settings = Settings { on_account: true, ..Settings::default() };
    stock_in(&api, &settings, "MUG", 10).await;
    let placed = settle(&api, &order("MUG", 4, "on_account"), "first").await.body;
    has_statuses(&api, &placed, ["confirmed", "pending", "unfulfilled"]).await;
    assert_eq!(push(&api, issue(&placed, 4, 101)).await, "applied");
    has_statuses(&api, &placed, ["completed", "pending", "fulfilled"]).await;
    assert_eq!(kinds(&installation.server, "PAYMENT-0", |_| true).await, Vec::<String>::new());
    settle(&api, &order("MUG", 1, "card"), "second").await;
    installation.stop_and_verify().await;
}

async fn an_order_is_split_over_two_locations(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let berlin = Location::parse("berlin").expect("valid");
    let settings =
        Settings { split_shipments: true, default_location: berlin, ..Settings::default() };
    api.create_shop(&settings).await.expect("the shop is created");
    let (status, body) = send(&api, Method::PUT, "locations/berlin", json!({"priority": 10})).await;
    assert_eq!(status, 201, "{body}");
    // The opening count names no location.
    stock_in(&api, &settings, "MUG", 3).await;
    let count = json!({"type": "count", "sku": "MUG", "location": "main", "quantity": 2,
        "connector": "erp", "document": "C-1", "sequence": 1});
    assert_eq!(push(&api, count).await, "applied");

    let paid = settle(&api, &order("MUG", 4, "card"), "first").await.body;
    assert_eq!(paid["payment_status"], "paid", "{paid}");
    let level: Value = api.get("inventory/MUG").await.expect("the level");
    let shown = |at: usize| {
        let row = &level["locations"][at];
        ["location", "on_hand", "allocated"].map(|name| row[name].clone())
    };
    assert_eq!(shown(0), [json!("berlin"), json!(3), json!(3)], "{level}");
    assert_eq!(shown(1), [json!("main"), json!(2), json!(1)], "{level}");

    assert_eq!(push(&api, issue(&paid, 3, 101)).await, "applied");
    has_statuses(&api, &paid, ["confirmed", "paid", "partial"]).await;
    let mut from_main = issue(&paid, 1, 102);
    from_main["location"] = json!("main");
    assert_eq!(push(&api, from_main).await, "applied");
    has_statuses(&api, &paid, ["completed", "paid", "fulfilled"]).await;
    installation.stop_and_verify().await;
}

async fn the_newest_order_is_cancelled_when_stock_is_short(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let settings = Settings { short_rule: ShortRule::Cancel, ..Settings::default() };
    stock_in(&api, &settings, "MUG", 6).await;
    let first = settle(&api, &order("MUG", 3, "card"), "first").await.body;
    let newest = settle(&api, &order("MUG", 3, "card"), "newest").await.body;
    let count = json!({"type": "count", "sku": "MUG", "quantity": 4, "connector": "erp",
        "document": "C-2", "sequence": 2});
    assert_eq!(push(&api, count).await, "applied");
    has_statuses(&api, &newest, ["cancelled", "refunded", "unfulfilled"]).await;
    has_statuses(&api, &first, ["confirmed", "paid", "unfulfilled"]).await;
    let path = format!("orders/{}", newest["id"].as_str().expect("an id"));
    let shown: Value = api.get(&path).await.expect("the order");
    assert_eq!(shown["cancellation"]["reason"], "stock_short", "{shown}");
    installation.stop_and_verify().await;
}

async fn an_order_that_the_settings_exclude_is_refused_and_a_change_counts_at_once(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let in_france = Settings {
        currency: Currency::parse("GBP").ok(),
        countries: vec!["France".into()],
        ..Settings::default()
    };
    stock_in(&api, &in_france, "MUG", 6).await;
    let to_spain = |payment_method: &str| {
        let mut order = order("MUG", 1, payment_method);
        order["country"] = json!("Spain");
        order
    };
    let refusal = async |order: Value| {
        let (status, body) = send(&api, Method::POST, "orders", order).await;
        (status, body["code"].clone())
    };
    assert_eq!(refusal(to_spain("card")).await, (422, json!("country_refused")));
    let mut in_euros = to_spain("card");
    in_euros["currency"] = json!("EUR");
    assert_eq!(refusal(in_euros).await, (422, json!("currency_refused")));

    // The client has seen the answer to each change, so what it sends next is decided after it.
    for round in 0..5 {
        let countries = vec!["France".into(), "Spain".into()];
        let changed = Settings { countries, on_account: true, ..in_france.clone() };
        api.put_shop(&changed).await.expect("the shop is changed");
        let key = format!("round-{round}");
        let placed = api.place(&to_spain("on_account"), &key, None).await.expect("an answer");
        assert_eq!(placed.status.as_u16(), 201, "{}", placed.body);
        api.put_shop(&in_france).await.expect("the shop is changed");
        assert_eq!(refusal(to_spain("on_account")).await, (422, json!("country_refused")));
    }
    let mut to_france = order("MUG", 1, "card");
    to_france["country"] = json!("France");
    settle(&api, &to_france, "last").await;
    installation.stop_and_verify().await;
}

async fn prices_that_do_not_say_whether_tax_is_in_them_are_as_the_shop_says(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let settings = Settings { tax_basis: TaxBasis::Excluded, ..Settings::default() };
    stock_in(&api, &settings, "MUG", 6).await;
    let product: Value = api.get("products/MUG").await.expect("the product");
    assert_eq!(product["price"]["tax_basis"], "excluded", "{product}");
    let put = json!({"title": "A cup", "price": {"minor": 100, "currency": "GBP"}});
    let (_, put) = send(&api, Method::PUT, "products/CUP", put).await;
    assert_eq!(put["price"]["tax_basis"], "excluded", "{put}");
    let mut taxed = order("MUG", 2, "card");
    taxed["lines"][0]["tax"] = json!({"rate_ppm": 200_000, "amount": 100});
    let paid = settle(&api, &taxed, "first").await.body;
    assert_eq!((&paid["tax_basis"], &paid["total"]), (&json!("excluded"), &json!(600)), "{paid}");
    let mut included = order("MUG", 2, "card");
    included["tax_basis"] = json!("included");
    let (status, refused) = send(&api, Method::POST, "orders", included).await;
    assert_eq!((status, &refused["code"]), (422, &json!("lines_refused")), "{refused}");
    installation.stop_and_verify().await;
}
