//! What can be changed has an `ETag`, and is changed on condition that it still has it.

use client::{Client, Response};
use events::shop::Settings;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, on_both_databases};
use tests::Installation;

on_both_databases!(what_is_put_has_the_version_that_the_client_names_or_stays);

async fn put(api: &Client, path: &str, body: &Value, condition: Option<(&str, &str)>) -> Response {
    let mut request = api.request(Method::PUT, path).json(body);
    if let Some((name, value)) = condition {
        request = request.header(name, value);
    }
    api.send(request).await.expect("it is answered")
}

/// The tag of what is read at that path.
async fn tag(api: &Client, path: &str) -> String {
    let request = api.request(Method::GET, path);
    let response = request.send().await.expect("it is answered");
    let tag = response.headers().get("etag").expect("it has a tag");
    tag.to_str().expect("text").to_owned()
}

async fn what_is_put_has_the_version_that_the_client_names_or_stays(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    api.create_shop(&Settings::default()).await.expect("the shop");
    let product = |title: &str| json!({"title": title, "price": {"minor": 950, "currency": "GBP"}});
    let location = |priority: u32| json!({"priority": priority});
    let mail = |language: &str| {
        json!({"events": ["order.confirmed"], "language": language,
            "sender": {"name": "Acme", "address": "orders@acme.example"}})
    };
    let resources = [
        ("products/MUG", product("A mug"), product("A blue mug")),
        ("locations/berlin", location(1), location(2)),
        ("categories/mugs", json!({"title": "Mugs"}), json!({"title": "Cups"})),
        ("listings/mug", json!({"title": "A mug"}), json!({"title": "A blue mug"})),
        ("mail", mail("en"), mail("de")),
    ];
    for (path, first, second) in &resources {
        let refused = |response: Response, version: u64| {
            let found = (response.status.as_u16(), &response.body["code"]);
            assert_eq!(found, (412, &json!("precondition_failed")), "{path}: {}", response.body);
            assert_eq!(response.body["version"], version, "{path}: {}", response.body);
        };
        refused(put(&api, path, first, Some(("if-match", "\"1\""))).await, 0);
        for _ in 0..2 {
            let request = api.request(Method::PUT, path).json(first);
            let request = request.header("if-none-match", "*").header("idempotency-key", *path);
            let made = api.send(request).await.expect("it is answered");
            assert_eq!((made.status.as_u16(), &made.body["version"]), (201, &json!(1)), "{path}");
        }
        refused(put(&api, path, first, Some(("if-none-match", "*"))).await, 1);
        refused(put(&api, path, second, Some(("if-none-match", "*"))).await, 1);
        let known = tag(&api, path).await;
        assert_eq!(known, "\"1\"", "{path}");
        let changed = put(&api, path, second, Some(("if-match", &known))).await;
        let found = (changed.status.as_u16(), &changed.body["version"]);
        assert_eq!(found, (200, &json!(2)), "{path}: {}", changed.body);
        refused(put(&api, path, first, Some(("if-match", &known))).await, 2);
        assert_eq!(tag(&api, path).await, "\"2\"", "{path}: what is refused changes nothing");
        for wrong in ["*", "2", "W/\"2\""] {
            let response = put(&api, path, first, Some(("if-match", wrong))).await;
            assert_eq!(response.status.as_u16(), 400, "{path}, {wrong}: {}", response.body);
        }
    }
    let mut named = product("A red mug");
    named["expected_version"] = json!(2);
    let both = put(&api, "products/MUG", &named, Some(("if-match", "\"2\""))).await;
    assert_eq!(both.body["errors"][0]["field"], "expected_version", "{}", both.body);
    installation.stop_and_verify_with(&["catalog", "inventory", "notify", "shop"]).await;
}
