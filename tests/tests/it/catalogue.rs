//! What a shop shows: products with what belongs to them, categories, listings; and what others read of it.

use client::{Client, Response};
use events::shop::Settings;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, on_both_databases};
use tests::Installation;

on_both_databases!(what_a_line_does_not_say_of_a_product_stays, a_listing_is_shown_in_a_tree);

async fn send(api: &Client, method: Method, path: &str, body: &Value) -> Response {
    let request = api.request(method, path);
    let request = if body.is_null() { request } else { request.json(body) };
    api.send(request).await.expect("it is answered")
}

/// Sends what must be answered with that status.
#[track_caller]
fn expect(response: &Response, status: u16) {
    assert_eq!(response.status.as_u16(), status, "{}", response.body);
}

/// The code of a refusal, and the pointers of its errors.
fn refusal(response: &Response) -> (u16, &str, Vec<&str>) {
    let errors = response.body["errors"].as_array().into_iter().flatten();
    let pointers = errors.filter_map(|error| error["pointer"].as_str()).collect();
    (response.status.as_u16(), response.body["code"].as_str().unwrap_or_default(), pointers)
}

/// The types and the data of the catalogue's events in a feed, in order.
async fn happened(api: &Client, types: &str) -> Vec<(String, Value)> {
    let page: Value = api.query("events", &[("types", types)]).await.expect("a page");
    let events = page["events"].as_array().expect("events").iter();
    let of =
        |event: &Value| (event["type"].as_str().expect("a type").to_owned(), event["data"].clone());
    events.map(of).collect()
}

async fn start(db: &Db) -> Installation {
    let installation = Installation::start(db, |_| {}).await;
    installation.api().create_shop(&Settings::default()).await.expect("the shop");
    installation
}

async fn what_a_line_does_not_say_of_a_product_stays(db: Db) {
    let installation = start(&db).await;
    let api = installation.api();
    let whole = json!({"title": "A mug", "price": {"minor": 950, "currency": "GBP"},
        "listing_key": "mug", "tax_class": "reduced", "weight_g": 350,
        "customs": {"country_of_origin": "DE", "hs_code": "691200"}});
    expect(&send(&api, Method::PUT, "products/MUG", &whole).await, 201);
    let details = async || {
        let shown: Value = api.get("products/MUG").await.expect("the product");
        ["listing_key", "tax_class", "weight_g", "customs"].map(|name| shown[name].clone())
    };
    let customs = json!({"country_of_origin": "DE", "hs_code": "691200"});
    let all = [json!("mug"), json!("reduced"), json!(350), customs];
    assert_eq!(details().await, all);
    // An older file does not know them.
    let csv = "sku,title,price.minor,price.currency,weight_g\nMUG,A blue mug,990,GBP,\n";
    let request = api.request(Method::POST, "products").header("content-type", "text/csv");
    expect(&api.send(request.body(csv)).await.expect("an answer"), 200);
    assert_eq!(details().await, all);
    let line = json!({"sku": "MUG", "title": "A blue mug", "price": {"minor": 990, "currency": "GBP"},
        "tax_class": null, "customs": {"hs_code": null}});
    let pushed = api.push("products", line.to_string()).await.expect("it is pushed");
    assert_eq!(pushed.results[0]["result"], "updated", "{pushed:?}");
    let customs = json!({"country_of_origin": "DE"});
    assert_eq!(details().await, [json!("mug"), Value::Null, json!(350), customs]);
    let bare = json!({"title": "A blue mug", "price": {"minor": 990, "currency": "GBP"}});
    expect(&send(&api, Method::PUT, "products/MUG", &bare).await, 200);
    assert_eq!(details().await, [Value::Null, Value::Null, Value::Null, Value::Null]);

    let changed: Vec<_> = happened(&api, "catalog.updated").await;
    let changed: Vec<_> = changed.iter().map(|(_, data)| &data["changed"]).collect();
    let last = json!(["listing_key", "weight_g", "customs"]);
    assert_eq!(changed, [&json!(["title", "price"]), &json!(["tax_class", "customs"]), &last]);
    installation.stop_and_verify_with(&["catalog", "shop"]).await;
}

/// Puts a tree of two categories, in which some changes are refused.
async fn plant(api: &Client) {
    let put = async |key: &str, body: Value| {
        send(api, Method::PUT, &format!("categories/{key}"), &body).await
    };
    expect(&put("kitchen", json!({"title": "Kitchen"})).await, 201);
    let mugs = json!({"title": "Mugs", "parent_key": "kitchen", "place": 2});
    expect(&put("mugs", mugs.clone()).await, 201);
    assert_eq!(put("mugs", mugs).await.body["result"], "unchanged");
    let parent = vec!["#/parent_key"];
    let refused = put("kitchen", json!({"title": "Kitchen", "parent_key": "mugs"})).await;
    assert_eq!(refusal(&refused), (422, "category_cycle", parent.clone()));
    let refused = put("cups", json!({"title": "Cups", "parent_key": "none"})).await;
    assert_eq!(refusal(&refused), (422, "unknown_category", parent));
    let refused = send(api, Method::DELETE, "categories/kitchen", &Value::Null).await;
    assert_eq!(refusal(&refused), (409, "category_has_children", vec![]));
    let page: Value = api.query("categories", &[("limit", "1")]).await.expect("a page");
    assert_eq!(page["categories"][0]["children"], 1, "{page}");
    let next = page["next"].as_str().expect("another page");
    let page: Value = api.query("categories", &[("after", next)]).await.expect("a page");
    assert_eq!((&page["categories"][0]["key"], &page["next"]), (&json!("mugs"), &Value::Null));
}

async fn a_listing_is_shown_in_a_tree(db: Db) {
    let installation = start(&db).await;
    let api = installation.api();
    plant(&api).await;
    let listing = json!({"title": "A mug", "category_keys": ["mugs", "gifts"],
        "variants": [{"sku": "MUG-S", "options": [{"name": "size", "value": "S"}]},
            {"sku": "MUG-L", "options": [{"name": "size", "value": "L"}]}],
        "attributes": [{"name": "volume_ml", "number": 350.5}]});
    let put = async |listing: &Value| send(&api, Method::PUT, "listings/mug", listing).await;
    let refused = put(&listing).await;
    let pointers = vec!["#/category_keys/1", "#/variants/0/sku", "#/variants/1/sku"];
    assert_eq!(refusal(&refused), (422, "unknown_category", pointers));
    for (sku, key) in [("MUG-S", "mug"), ("MUG-L", "other")] {
        let product = json!({"title": sku, "price": {"minor": 950, "currency": "GBP"},
            "listing_key": key});
        expect(&send(&api, Method::PUT, &format!("products/{sku}"), &product).await, 201);
    }
    expect(&send(&api, Method::PUT, "categories/gifts", &json!({"title": "Gifts"})).await, 201);
    let refused = put(&listing).await;
    assert_eq!(refusal(&refused), (422, "sku_of_other_listing", vec!["#/variants/1/sku"]));
    let product = json!({"title": "MUG-L", "price": {"minor": 950, "currency": "GBP"},
        "listing_key": "mug"});
    expect(&send(&api, Method::PUT, "products/MUG-L", &product).await, 200);
    expect(&put(&listing).await, 201);
    let shown: Value = api.get("listings/mug").await.expect("the listing");
    assert_eq!(shown["variants"][1]["options"][0]["value"], "L", "{shown}");
    assert_eq!(shown["attributes"], listing["attributes"], "{shown}");

    let refused = send(&api, Method::DELETE, "categories/gifts", &Value::Null).await;
    assert_eq!(refusal(&refused), (409, "category_has_listings", vec![]));
    let archived = send(&api, Method::DELETE, "listings/mug", &Value::Null).await;
    assert_eq!(
        (archived.body["result"].clone(), archived.body["version"].clone()),
        (json!("archived"), json!(2))
    );
    let page: Value = api.get("listings").await.expect("a page");
    assert_eq!(page["listings"], json!([]), "it is not shown any more");
    let page: Value = api.query("listings", &[("archived", "true")]).await.expect("a page");
    assert_eq!(page["listings"][0]["archived"], true, "{page}");
    expect(&send(&api, Method::DELETE, "categories/gifts", &Value::Null).await, 204);
    let refused = put(&listing).await;
    assert_eq!(refusal(&refused), (422, "unknown_category", vec!["#/category_keys/1"]));
    let mut again = listing.clone();
    again["category_keys"] = json!(["mugs"]);
    expect(&put(&again).await, 200);
    check_events(&api).await;
    installation.stop_and_verify_with(&["catalog", "shop"]).await;
}

/// The events are in the feed, and each aggregate's in its history.
async fn check_events(api: &Client) {
    let events = happened(api, "catalog.*").await;
    let types: Vec<_> =
        events.iter().map(|(name, _)| name.trim_start_matches("catalog.")).collect();
    assert_eq!(
        types,
        [
            "category_created",
            "category_created",
            "created",
            "created",
            "category_created",
            "updated",
            "listing_created",
            "listing_archived",
            "category_deleted",
            "listing_updated",
        ]
    );
    let (_, updated) = events.last().expect("some");
    assert_eq!(updated["changed"], json!(["category_keys", "archived"]), "{updated}");
    assert_eq!(updated["after"]["categoryKeys"], json!(["mugs"]), "{updated}");
    for (path, count) in [("listings/mug", 3), ("categories/gifts", 2)] {
        let history: Value = api.get(&format!("{path}/history")).await.expect("a history");
        assert_eq!(history["events"].as_array().map(Vec::len), Some(count), "{path}: {history}");
    }
}
