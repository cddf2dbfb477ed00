//! The examples of the description are of a real run. `make docs` writes them anew; otherwise what is committed is compared
//! with a run, by the members that it has and their types: the values differ from run to run.

use std::{collections::BTreeSet, env, fs, path::Path, time::Duration};

use axum::{Router, http::StatusCode, routing::post};
use node::settings::WebhookOptions;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually};
use tests::{Gateway, Installation};
use tokio::net::TcpListener;

use super::recorder::{FILTERED, Recorder};

/// What the run does not reach: operations with `request` or a status. What is added to the API belongs into the run.
const NOT_REACHED: [&str; 0] = [];
/// The commands that the run does not repeat: no delivery of it is due, and what depends on a filter.
const NOT_REPEATED: [&str; 3] = ["abort_delivery", FILTERED[0], FILTERED[1]];
/// The operations that the run does not write with: a delivery that was sent cannot be aborted.
const NOT_WRITTEN: [&str; 1] = ["abort_delivery"];
/// A secret that no installation has.
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_those_of_a_run() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |settings| {
        settings.webhooks = WebhookOptions::on_this_machine();
    })
    .await;
    let receiver = receiver().await;
    let mut recorder = Recorder::new(installation.url(), &receiver);
    set_up(&mut recorder).await;
    rejections(&mut recorder).await;
    let order = trade(&mut recorder).await;
    webhooks(&mut recorder, &receiver).await;
    mails(&mut recorder).await;
    keys(&mut recorder).await;
    look_back(&mut recorder, &order).await;
    let key = json!({"description": "reads", "shops": ["acme"], "scopes": ["read"]});
    let of_key = accepted(&installation, "/v1/keys", &key).await;
    let accepted = accepted(&installation, &format!("{order}/release"), &json!({})).await;
    for accepted in [&of_key, &accepted] {
        let url = accepted["command_url"].as_str().expect("where to follow it");
        until(&mut recorder, url, |it| it["status"] == "answered").await;
    }
    assert_eq!(not_written(&recorder), NOT_WRITTEN, "were not looked at");
    let mut examples = recorder.examples();
    examples["accepted"] = recorder.shown(&accepted);
    installation.stop_and_verify().await;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http-examples.json");
    if env::var_os("UPDATE_DOCS").is_some() {
        let mut text = serde_json::to_string_pretty(&examples).expect("is JSON");
        text.push('\n');
        fs::write(&path, text).expect("it can be written");
    }
    let committed = fs::read_to_string(&path).expect("it is committed");
    let committed: Value = serde_json::from_str(&committed).expect("is JSON");
    for (name, example) in examples.as_object().expect("an object") {
        let expected = shape(example);
        assert_eq!(shape(&committed[name]), expected, "{name}: run `make docs` and commit it");
    }
    assert_eq!(missing(&committed), NOT_REACHED, "have no example");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_that_is_repeated_is_answered_as_before() {
    let db = Db::sqlite();
    let installation = Installation::start(&db, |settings| {
        settings.webhooks = WebhookOptions::on_this_machine();
    })
    .await;
    let receiver = receiver().await;
    let mut recorder = Recorder::repeating(installation.url(), &receiver);
    set_up(&mut recorder).await;
    rejections(&mut recorder).await;
    trade(&mut recorder).await;
    webhooks(&mut recorder, &receiver).await;
    mails(&mut recorder).await;
    keys(&mut recorder).await;
    installation.stop_and_verify().await;
    let paths = gateway::openapi_document()["paths"].as_object().expect("there are paths");
    let operations = paths.values().flat_map(|item| [&item["post"], &item["patch"]]);
    let takes_key = |operation: &&Value| {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let mut names = parameters.filter_map(|it| it["$ref"].as_str());
        names.any(|it| it.ends_with("/Idempotency-Key"))
    };
    let expected: BTreeSet<_> = operations
        .filter(takes_key)
        .map(|it| it["operationId"].as_str().expect("is text").to_owned())
        .collect();
    assert!(expected.len() > 25, "{expected:?}");
    let repeated = recorder.repeated();
    let missing: Vec<_> = expected.difference(&repeated).map(String::as_str).collect();
    assert_eq!(missing, NOT_REPEATED);
}

/// The operations that write, and did not.
fn not_written(recorder: &Recorder) -> Vec<&'static str> {
    let paths = gateway::openapi_document()["paths"].as_object().expect("there are paths");
    let operations = paths.values().flat_map(|it| it.as_object().expect("an item"));
    let writing = operations.filter(|(method, _)| *method != "get");
    let ids = writing.map(|(_, operation)| operation["operationId"].as_str().expect("is text"));
    ids.filter(|id| !recorder.written().contains(*id)).collect()
}

/// The operations without an example of their body or of a successful answer.
fn missing(examples: &Value) -> Vec<String> {
    let paths = gateway::openapi_document()["paths"].as_object().expect("there are paths");
    let operations = paths.values().flat_map(|it| it.as_object().expect("an item").values());
    let mut missing = Vec::new();
    for operation in operations {
        let id = operation["operationId"].as_str().expect("is text");
        let example = &examples[id];
        if operation["requestBody"].is_object() && example["request"].is_null() {
            missing.push(format!("{id} request"));
        }
        let is_json = |it: &Value| it["content"].get("application/json").is_some();
        for (status, response) in operation["responses"].as_object().expect("there are some") {
            let is_shown = ["200", "201"].contains(&status.as_str()) && is_json(response);
            // Its example is the document itself.
            if is_shown && id != "get_openapi" && example["responses"][status].is_null() {
                missing.push(format!("{id} {status}"));
            }
        }
    }
    missing
}

/// The members of a value and their types, as paths.
fn shape(value: &Value) -> BTreeSet<String> {
    fn add(value: &Value, path: &str, shape: &mut BTreeSet<String>) {
        let kind = match value {
            Value::Object(members) => {
                for (name, member) in members {
                    add(member, &format!("{path}.{name}"), shape);
                }
                "object"
            }
            Value::Array(items) => {
                if let Some(first) = items.first() {
                    add(first, &format!("{path}[]"), shape);
                }
                "list"
            }
            Value::String(_) => "text",
            Value::Number(_) => "number",
            Value::Bool(_) => "boolean",
            Value::Null => "null",
        };
        shape.insert(format!("{path}: {kind}"));
    }
    let mut found = BTreeSet::new();
    add(value, "", &mut found);
    found
}

async fn receiver() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hooks", socket.local_addr().expect("is bound"));
    let routes = Router::new().route("/hooks", post(|| async { StatusCode::NO_CONTENT }));
    tokio::spawn(async move { axum::serve(socket, routes).await });
    url
}

/// A shop with products and stock.
async fn set_up(api: &mut Recorder) {
    let settings = json!({"currency": "GBP", "tax_basis": "included", "hold_seconds": 1_800});
    api.put("/v1/shops/acme", settings.clone()).await;
    api.put("/v1/shops/acme", settings).await;
    let reason = json!({"reason": "stock-taking"});
    api.post("/v1/shops/acme/suspend", reason).await;
    let reason = json!({"reason": "the stock is counted"});
    api.post("/v1/shops/acme/resume", reason).await;
    let price = |minor: i64| json!({"minor": minor, "currency": "GBP"});
    let mug = json!({"title": "A mug", "price": price(950)});
    api.put("/v1/shops/acme/products/MUG", mug.clone()).await;
    api.put("/v1/shops/acme/products/MUG", mug).await;
    let products = json!({"products": [
        {"sku": "CUP", "title": "A cup", "price": price(700)},
        {"sku": "JUG", "title": "A jug", "price": price(1_800), "active": false},
    ]});
    api.post("/v1/shops/acme/products", products).await;
    catalogue(api).await;
    let berlin = json!({"kind": "store", "priority": 10, "country": "DE"});
    api.put("/v1/shops/acme/locations/berlin", berlin.clone()).await;
    api.put("/v1/shops/acme/locations/berlin", berlin).await;
    let count = json!({"type": "count", "sku": "MUG", "quantity": 20, "connector": "warehouse",
        "document": "C-1", "sequence": 1});
    api.post("/v1/shops/acme/inventory", count).await;
    let mail = json!({"events": ["order.confirmed"], "sender": {"name": "Acme", "address": "orders@acme.example"}});
    api.put("/v1/shops/acme/mail", mail.clone()).await;
    api.put("/v1/shops/acme/mail", mail).await;
    let limits = json!({"location": "main", "safety_stock": 1, "backorder_limit": 0});
    api.put("/v1/shops/acme/inventory/MUG/limits", limits).await;
}

/// Categories and listings.
async fn catalogue(api: &mut Recorder) {
    let shop = "/v1/shops/acme";
    let kitchen = json!({"title": "Kitchen"});
    api.put(&format!("{shop}/categories/kitchen"), kitchen).await;
    let mugs = json!({"title": "Mugs", "parent_key": "kitchen", "place": 1});
    api.put(&format!("{shop}/categories/mugs"), mugs.clone()).await;
    api.put(&format!("{shop}/categories/mugs"), mugs).await;
    api.put(&format!("{shop}/categories/spare"), json!({"title": "Spare"})).await;
    api.send(Method::DELETE, &format!("{shop}/categories/spare"), None).await;
    api.get(&format!("{shop}/categories")).await;
    api.get(&format!("{shop}/categories/mugs")).await;
    api.get(&format!("{shop}/categories/mugs/history")).await;
    let product = |sku: &str, title: &str| {
        json!({"sku": sku, "title": title, "price": {"minor": 1_200, "currency": "GBP"},
            "listing_key": "soup-mug"})
    };
    let small = product("SOUP-S", "A soup mug, small");
    let large = product("SOUP-L", "A soup mug, large");
    api.post(&format!("{shop}/products"), json!({"products": [small, large]})).await;
    let variant =
        |sku: &str, size: &str| json!({"sku": sku, "options": [{"name": "size", "value": size}]});
    let listing = json!({"title": "Soup mug", "text": "A mug for soup.\nWith a lid.",
        "variants": [variant("SOUP-S", "S"), variant("SOUP-L", "L")],
        "media": [{"url": "https://img.acme.example/soup.jpg", "alternative_text": "A mug of soup"}],
        "attributes": [{"name": "material", "text": "stoneware"}],
        "category_keys": ["mugs"],
        "translations": [{"language": "de", "title": "Suppentasse"}]});
    let path = format!("{shop}/listings/soup-mug");
    api.put(&path, listing.clone()).await;
    api.put(&path, listing.clone()).await;
    api.get(&format!("{shop}/listings")).await;
    api.get(&path).await;
    api.send(Method::DELETE, &path, None).await;
    api.get(&format!("{path}/history")).await;
}

/// Stock lines that are rejected, what becomes of them, and what their connector has sent.
async fn rejections(api: &mut Recorder) {
    let shop = "/v1/shops/acme";
    for (sku, sequence) in [("CAP", 2), ("BAG", 3), ("PEN", 4), ("TOY", 5)] {
        let count = json!({"type": "count", "sku": sku, "quantity": 5, "connector": "warehouse",
            "document": format!("C-{sequence}"), "sequence": sequence});
        api.post(&format!("{shop}/inventory"), count).await;
    }
    let rejections = format!("{shop}/rejections");
    api.get(&rejections).await;
    api.get(&format!("{rejections}/warehouse.1")).await;
    api.send(Method::POST, &format!("{rejections}/warehouse.1/redrive"), None).await;
    let drop = json!({"reason": "we do not sell bags"});
    api.post(&format!("{rejections}/warehouse.2/drop"), drop).await;
    let redrive = json!({"filter": {"reason": "unknown_sku"}});
    api.post(&format!("{rejections}/redrive"), redrive).await;
    let drop = json!({"filter": {"document": "C-4"}, "reason": "sent by mistake"});
    api.post(&format!("{rejections}/drop"), drop).await;
    api.get(&format!("{shop}/connectors")).await;
    api.get(&format!("{shop}/connectors/warehouse")).await;
}

/// Orders, payments, and what is refused; the path of an order that was paid.
async fn trade(api: &mut Recorder) -> String {
    let order = json!({"reference": "R-17", "customer_id": "C-1", "currency": "GBP",
        "lines": [{"sku": "MUG", "quantity": 2}], "charges": [{"code": "POST", "amount": 350}],
        "personal": {"email": "ann@example.com", "shipping_address": {"name": "Ann Smith",
            "lines": ["1 Mill Lane"], "postcode": "OX1 1AA", "city": "Oxford", "country": "GB"}}});
    let paid = api.post("/v1/shops/acme/orders", order).await;
    let path = format!("/v1/shops/acme/orders/{}", paid["id"].as_str().expect("an id"));
    until(api, &path, |order| order["payment_status"] == "paid").await;
    api.get("/v1/shops/acme/orders?reference=R-17").await;
    let wrong = json!({"currency": "gbp", "lines": [{"sku": "MUG", "quantity": 0}]});
    api.post("/v1/shops/acme/orders", wrong).await;

    let issue = json!({"sku": "MUG", "quantity": 1, "order_id": paid["id"], "connector": "warehouse",
        "document": "GI-1", "sequence": 6});
    api.post("/v1/shops/acme/fulfilments", issue).await;
    let refund = json!({"amount": {"minor": 300, "currency": "GBP"}, "reason": "came broken"});
    api.post(&format!("{path}/refunds"), refund).await;
    until(api, &path, |order| order["payments"][0]["refunded"] == 300).await;
    api.get(&format!("{path}/payments")).await;
    let payment = paid["id"].as_str().expect("an id");
    let payment = format!("/v1/shops/acme/payments/{payment}-1");
    api.get(&payment).await;
    settle(api).await;

    let declined = json!({"currency": "GBP", "payment_method": "sim:decline",
        "lines": [{"sku": "MUG", "quantity": 1}]});
    let failed = api.post("/v1/shops/acme/orders", declined).await;
    let failed = format!("/v1/shops/acme/orders/{}", failed["id"].as_str().expect("an id"));
    api.post(&format!("{failed}/payments"), json!({"payment_method": "card"})).await;
    until(api, &failed, |order| order["payment_status"] == "paid").await;
    api.post(&format!("{failed}/release"), json!({"note": "the units were found"})).await;
    api.post(&format!("{failed}/cancel"), json!({"note": "changed my mind"})).await;
    path
}

/// The provider does not pay back, until an operator settles it.
async fn settle(api: &mut Recorder) {
    let order = json!({"currency": "GBP", "payment_method": "sim:refund_decline:account_closed",
        "lines": [{"sku": "MUG", "quantity": 1}]});
    let order = api.post("/v1/shops/acme/orders", order).await;
    let path = format!("/v1/shops/acme/orders/{}", order["id"].as_str().expect("an id"));
    until(api, &path, |order| order["payment_status"] == "paid").await;
    api.post(&format!("{path}/cancel"), json!({})).await;
    let stuck = "/v1/shops/acme/payments?trouble=stuck";
    until(api, stuck, |it| it["payments"][0].is_object()).await;
    let settlement = json!({"resolution": "done_elsewhere", "reason": "paid back by bank transfer",
        "operator": "ann"});
    let payment = format!("/v1/shops/acme/payments/{}-1", order["id"].as_str().expect("an id"));
    api.post(&format!("{payment}/settle"), settlement).await;
}

/// An endpoint, and what is delivered to it.
async fn webhooks(api: &mut Recorder, receiver: &str) {
    let endpoints = "/v1/shops/acme/webhook-endpoints";
    let body = json!({"url": receiver, "event_types": ["order.*"], "secret": SECRET});
    let endpoint = api.post(endpoints, body).await;
    let path = format!("{endpoints}/{}", endpoint["id"].as_str().expect("an id"));
    api.send(Method::PATCH, &path, Some(json!({"ordering": "per_key", "max_per_second": 50})))
        .await;
    api.send(Method::POST, &format!("{path}/test"), None).await;
    let delivery = format!("{path}/deliveries/1");
    until(api, &delivery, |it| it["state"] == "delivered").await;
    // Whether one is under way at this moment is chance, and shows in both.
    let proof = format!("{path}/proof");
    until(api, &proof, |it| it["delivered"] == it["matched"]).await;
    api.get(&format!("{path}/deliveries")).await;
    let replay = api.post(&format!("{path}/replays"), json!({"selection": "all", "from": 1})).await;
    let replay = format!("{path}/replays/{}", replay["id"].as_str().expect("an id"));
    until(api, &replay, |it| it["state"] == "done").await;
    api.send(Method::POST, &format!("{replay}/cancel"), None).await;
    api.get(&format!("{path}/replays")).await;
    api.send(Method::POST, &format!("{delivery}/resend"), None).await;
    api.post(&format!("{path}/disable"), json!({"note": "we are moving"})).await;
    api.post(&format!("{path}/enable"), json!({"deliver_held": true})).await;
    let rotation = json!({"secret": SECRET.replace("AAEC", "AQEC"), "keep_old_s": 86_400});
    api.post(&format!("{path}/rotate-secret"), rotation).await;
    api.get(&path).await;
    api.get(endpoints).await;
    let body = json!({"url": receiver, "event_types": ["payment.*"], "secret": SECRET});
    let other = api.post(endpoints, body).await;
    let path = format!("{endpoints}/{}", other["id"].as_str().expect("an id"));
    api.send(Method::DELETE, &path, None).await;
}

/// The mails to the customers; without a mail server they wait.
async fn mails(api: &mut Recorder) {
    let shop = "/v1/shops/acme";
    until(api, &format!("{shop}/mails"), |it| it["mails"][0].is_object()).await;
    api.get(&format!("{shop}/mails/1")).await;
    api.send(Method::POST, &format!("{shop}/mails/1/resend"), None).await;
    api.get(&format!("{shop}/mail")).await;
}

/// A key, from its making to its end.
async fn keys(api: &mut Recorder) {
    let key =
        json!({"description": "reads the orders of Acme", "shops": ["acme"], "scopes": ["read"]});
    let made = api.post("/v1/keys", key).await;
    let path = format!("/v1/keys/{}", made["id"].as_str().expect("an id"));
    api.post(&format!("{path}/rotate"), json!({"keep_old_s": 3_600})).await;
    api.get("/v1/keys").await;
    api.get(&path).await;
    api.post(&format!("{path}/revoke"), json!({"reason": "it got out"})).await;
    api.get(&format!("{path}/history")).await;
}

/// Lists, histories, and what is about the gateway.
async fn look_back(api: &mut Recorder, order: &str) {
    let shop = "/v1/shops/acme";
    for path in [
        "/healthz",
        "/readyz",
        "/v1/event-types",
        "/v1/shops",
        shop,
        &format!("{shop}/history"),
        &format!("{shop}/products"),
        &format!("{shop}/products/MUG"),
        &format!("{shop}/products/MUG/history"),
        &format!("{shop}/inventory"),
        &format!("{shop}/inventory/MUG"),
        &format!("{shop}/inventory/MUG/history"),
        &format!("{shop}/inventory/MUG/movements"),
        &format!("{shop}/fulfilments"),
        &format!("{shop}/locations"),
        &format!("{shop}/locations/berlin"),
        &format!("{shop}/locations/berlin/history"),
        order,
        &format!("{order}/history"),
        &format!("{order}/reservation/history"),
        &format!("{shop}/payments/{}-1/history", order.rsplit('/').next().expect("an id")),
        &format!("{shop}/payments?order_id={}", order.rsplit('/').next().expect("an id")),
        &format!("{shop}/payments/stuck"),
        &format!(
            "{shop}/payments/reconciliation?from=2026-01-01T00:00:00Z&until=2046-01-01T00:00:00Z"
        ),
        &format!("{shop}/events?limit=2"),
        &format!("{shop}/totals"),
    ] {
        api.get(path).await;
    }
}

/// What a request is answered that is not answered in time.
async fn accepted(installation: &Installation, path: &str, body: &Value) -> Value {
    let mut settings = installation.settings.clone();
    settings.answer_timeout = Duration::ZERO;
    let hasty = Gateway::start(&settings).await;
    let mut recorder = Recorder::new(hasty.url(), "-");
    let mut accepted = Value::Null;
    // The answer may be quicker than a gateway that does not wait for it.
    eventually("an answer was not waited for", async || {
        accepted = recorder.post(path, body.clone()).await;
        accepted["command_id"].is_string()
    })
    .await;
    hasty.stop().await;
    accepted
}

async fn until(api: &mut Recorder, path: &str, holds: impl Fn(&Value) -> bool) {
    let api = tokio::sync::Mutex::new(api);
    eventually("it is so", async || holds(&api.lock().await.get(path).await)).await;
}
