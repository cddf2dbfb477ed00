//! A day of a shop: orders are placed, paid, declined, shipped, refunded; the ERP counts and ships.

use std::time::Duration;

use client::{Client, Response};
use events::{
    proto::{
        command::Body,
        payment::{Resolution, SettlePayment},
        shop,
    },
    shop::{Capture, Settings},
};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually};
use tests::{Installation, order, settle, stock, stock_in};

use super::trouble::happened;

pub(super) async fn run(db: &Db) -> Installation {
    let installation = Installation::start(db, |_| {}).await;
    let api = installation.api();
    set_up(&api).await;
    sell(&api).await;
    ship_and_refund(&api).await;
    transfer(&api).await;
    count_below_what_is_promised(&api).await;
    mend(&api).await;
    refuse_to_refund(&installation, &api).await;
    settle(&api, &order("POT", 1, "ideal"), "in-one-step").await;
    let suspend = Body::SuspendShop(shop::SuspendShop {
        reason: Some("closed for stocktaking".into()),
        expected_version: None,
    });
    installation.send("018f0000-0000-7000-8000-000000000001", suspend).await;
    let reason = Some("open again".into());
    let resume = Body::ResumeShop(shop::ResumeShop { reason, expected_version: None });
    installation.send("018f0000-0000-7000-8000-000000000002", resume).await;
    installation
}

/// A shop whose money is captured with each shipment: one follows the other before the provider has
/// answered.
pub(super) async fn paid_when_it_ships(db: &Db) -> Installation {
    // Each capture takes so long that the next shipment comes before its answer.
    let installation = Installation::start(db, |settings| {
        settings.provider_latency = Duration::from_secs(3);
    })
    .await;
    let api = installation.api();
    let settings = Settings { capture: Capture::OnShipment, ..Settings::default() };
    stock_in(&api, &settings, "MUG", 5).await;
    let placed = settle(&api, &order("MUG", 3, "card"), "in-parts").await.body;
    for sequence in 2..5 {
        push(
            &api,
            json!({"type": "goods_issue", "sku": "MUG", "quantity": 1, "order_id": placed["id"],
            "connector": "erp", "document": format!("GI-{sequence}"), "sequence": sequence}),
        )
        .await;
    }
    until(&api, &placed, |order| order["status"] == "completed").await;
    let unshipped = settle(&api, &order("MUG", 1, "card"), "cancelled").await.body;
    cancel(&api, &unshipped).await;
    happened(&installation, "PAYMENT-0", "voided").await;
    installation
}

async fn set_up(api: &Client) {
    stock(api, "MUG", 10).await;
    let one_step_methods = vec!["ideal".into()];
    let settings = Settings { hold_seconds: Some(1_800), one_step_methods, ..Settings::default() };
    api.put_shop(&settings).await.expect("the settings change");
    for priority in [20, 10] {
        let store = json!({"kind": "store", "priority": priority, "country": "GB"});
        send(api, Method::PUT, "locations/london", &store).await;
    }
    let limits = json!({"location": "main", "safety_stock": 1, "backorder_limit": 0});
    send(api, Method::PUT, "inventory/MUG/limits", &limits).await;
    for (title, active) in [("A cup", true), ("A blue cup", true), ("A blue cup", false)] {
        let product = json!({"sku": "CUP", "title": title, "active": active,
            "price": {"minor": 1_250, "currency": "GBP"}});
        let pushed = api.push("products", product.to_string()).await.expect("it is pushed");
        assert_eq!(pushed.rejected, 0, "{pushed:?}");
    }
    show(api).await;
    push(
        api,
        json!({"type": "adjustment", "sku": "MUG", "delta": -1, "connector": "erp",
        "document": "loss", "sequence": 2, "reason": "broken"}),
    )
    .await;
}

/// Categories and a listing come, change and go.
async fn show(api: &Client) {
    let mugs = json!({"title": "Mugs", "parent_key": "kitchen", "place": 1});
    for (key, category) in [
        ("kitchen", json!({"title": "Kitchen"})),
        ("mugs", json!({"title": "Cups"})),
        ("mugs", mugs),
        ("spare", json!({"title": "Spare"})),
    ] {
        send(api, Method::PUT, &format!("categories/{key}"), &category).await;
    }
    send(api, Method::DELETE, "categories/spare", &Value::Null).await;
    let product = json!({"title": "A soup mug", "price": {"minor": 1_200, "currency": "GBP"},
        "listing_key": "soup-mug", "tax_class": "standard", "weight_g": 420,
        "customs": {"country_of_origin": "PT", "hs_code": "691200"}});
    send(api, Method::PUT, "products/SOUP-S", &product).await;
    let variant = json!({"sku": "SOUP-S", "options": [{"name": "size", "value": "S"}]});
    let mut listing = json!({"title": "Soup mug", "text": "A mug for soup.", "variants": [variant],
        "media": [{"url": "https://img.acme.example/soup.jpg", "alternative_text": "A mug of soup"}],
        "attributes": [{"name": "material", "text": "stoneware"}, {"name": "volume_ml", "number": 450}],
        "category_keys": ["mugs"], "translations": [{"language": "de", "title": "Suppentasse"}]});
    send(api, Method::PUT, "listings/soup-mug", &listing).await;
    listing["title"] = json!("Large soup mug");
    send(api, Method::PUT, "listings/soup-mug", &listing).await;
    send(api, Method::DELETE, "listings/soup-mug", &Value::Null).await;
}

/// Units go from one location to the other, and one of them does not come.
async fn transfer(api: &Client) {
    let line = |kind: &str, location: &str, quantity: i64, sequence: u64| {
        json!({"type": kind, "sku": "MUG", "location": location, "quantity": quantity,
            "transfer": "T-1", "connector": "carrier", "document": format!("T-1-{sequence}"),
            "sequence": sequence})
    };
    let mut out = line("transfer_out", "main", 2, 1);
    out["to"] = json!("london");
    push(api, out).await;
    let mut into = line("transfer_in", "london", 1, 2);
    into["complete"] = json!(true);
    push(api, into).await;
}

async fn sell(api: &Client) {
    settle(api, &order("MUG", 2, "card"), "paid").await;
    settle(api, &order("MUG", 900, "card"), "out-of-stock").await;
    let declined =
        settle(api, &order("MUG", 1, "sim:decline:insufficient_funds"), "declined").await;
    cancel(api, &declined.body).await;
    settle(api, &order("MUG", 1, "sim:action:1"), "at-the-bank").await;
}

/// Ships an order, as an ERP books it, and refunds two parts of it, the second while the first is pending.
async fn ship_and_refund(api: &Client) {
    let paid = settle(api, &order("MUG", 2, "sim:refund_slow:2000"), "shipped").await.body;
    push(
        api,
        json!({"type": "goods_issue", "sku": "MUG", "quantity": 2, "order_id": paid["id"],
        "connector": "erp", "document": "GI-1", "document_line": "1", "sequence": 3}),
    )
    .await;
    until(api, &paid, |order| order["status"] == "completed").await;
    for (minor, reason) in [(100, "came broken"), (50, "came late")] {
        let refund = json!({"amount": {"minor": minor, "currency": "GBP"}, "reason": reason});
        send(api, Method::POST, &path(&paid, "/refunds"), &refund).await;
    }
    until(api, &paid, |order| order["payments"][0]["refunded"] == 150).await;
}

async fn count_below_what_is_promised(api: &Client) {
    stock(api, "POT", 2).await;
    let paid = settle(api, &order("POT", 2, "card"), "pots").await.body;
    push(
        api,
        json!({"type": "count", "sku": "POT", "quantity": 1, "connector": "erp",
        "document": "recount", "sequence": 4}),
    )
    .await;
    until(api, &paid, |order| !order["hold"].is_null()).await;
    send(api, Method::POST, &path(&paid, "/release"), &json!({"note": "found"})).await;
    cancel(api, &paid).await;
    until(api, &paid, |order| order["payment_status"] == "refunded").await;
}

/// Lines of an ERP are rejected: one is tried again when its product is there, the other one is dropped.
async fn mend(api: &Client) {
    let count = |sku: &str, sequence: u64| {
        json!({"type": "count", "sku": sku, "quantity": 6, "connector": "erp",
            "document": format!("C-{sequence}"), "document_line": "10", "sequence": sequence})
    };
    for (line, result) in [(count("BOWL", 7), "unknown_sku"), (count("BOWLE", 8), "unknown_sku")] {
        let pushed = api.push("inventory", line.to_string()).await.expect("it is pushed");
        assert_eq!(pushed.results[0]["result"], result, "{pushed:?}");
    }
    let bowl = json!({"title": "A bowl", "price": {"minor": 1_500, "currency": "GBP"}});
    send(api, Method::PUT, "products/BOWL", &bowl).await;
    let all = json!({"filter": {"sku": "BOWL"}});
    let redriven = send(api, Method::POST, "rejections/redrive", &all).await;
    assert_eq!(redriven.body["results"][0]["result"], "applied", "{redriven:?}");
    let drop = json!({"reason": "there is no such product: it is a typing error"});
    send(api, Method::POST, "rejections/erp.2/drop", &drop).await;
    let again = api.push("inventory", count("BOWL", 7).to_string()).await.expect("it is pushed");
    assert_eq!(again.unchanged, 1, "{again:?}");
}

/// The provider does not pay back, until an operator settles it.
async fn refuse_to_refund(installation: &Installation, api: &Client) {
    let method = "sim:refund_decline:account_closed";
    let paid = settle(api, &order("MUG", 1, method), "closed").await.body;
    cancel(api, &paid).await;
    happened(installation, "PAYMENT-0", "stuck").await;
    let settle = Body::SettlePayment(SettlePayment {
        payment_id: format!("{}-1", paid["id"].as_str().expect("an id")),
        resolution: Resolution::DoneElsewhere.into(),
        reason: "paid back by bank transfer".into(),
        operator: "ann".into(),
    });
    installation.send("018f0000-0000-7000-8000-000000000003", settle).await;
}

async fn cancel(api: &Client, order: &Value) {
    send(api, Method::POST, &path(order, "/cancel"), &json!({})).await;
}

async fn until(api: &Client, order: &Value, holds: impl Fn(&Value) -> bool) {
    let path = path(order, "");
    eventually("the order has gone on", async || {
        holds(&api.get::<Value>(&path).await.expect("the order"))
    })
    .await;
}

fn path(order: &Value, rest: &str) -> String {
    format!("orders/{}{rest}", order["id"].as_str().expect("an id"))
}

async fn send(api: &Client, method: Method, path: &str, body: &Value) -> Response {
    let answer = api.send(api.request(method, path).json(body)).await.expect("an answer");
    assert!(answer.status.is_success(), "{path}: {}", answer.body);
    answer
}

async fn push(api: &Client, line: Value) {
    let pushed = api.push("inventory", line.to_string()).await.expect("it is pushed");
    assert_eq!((pushed.applied, pushed.rejected), (1, 0), "{pushed:?}");
}
