//! The client against a gateway of a later version: what it does not know is no error.

use axum::{Router, http::Uri, routing::any};
use client::{Client, Totals};
use events::{
    http::{Open, OrderStatus, PaymentStatus},
    id::OrderId,
    money::TaxBasis,
    shop::{Capture, ShortRule},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const ORDER: &str = "018f0000-0000-7000-8000-000000000001";

/// A client of a gateway that answers whatever is asked with this.
async fn client(answer: Value) -> Client {
    let answer = move |_: Uri| async move { axum::Json(answer) };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(any(answer))).await.expect("serves");
    });
    Client::new(&format!("http://{address}"), "key", "acme").expect("an address")
}

#[tokio::test]
async fn an_order_is_read_with_values_and_fields_of_a_later_version() {
    let api = client(json!({
        "id": ORDER, "number": 1, "status": "archived", "payment_status": "charged_back",
        "fulfilment_status": "unfulfilled", "tax_basis": "exempt", "channel": "kiosk",
        "lines": [{"line_id": "1", "sku": "MUG", "title": "A mug", "quantity": 2, "unit_price": 950,
            "shipped": 0, "gift": true,
            "discounts": [{"code": "SUMMER", "amount": 50, "campaign": "c-1"}],
            "tax": {"rate_ppm": 190_000, "amount": 5, "jurisdiction": "DE"}}],
        "charges": [{"code": "POST", "amount": 390, "tax": null, "carrier": "x"}],
        "total": 2240, "currency": "GBP",
        "cancellation": {"reason": "fraud", "score": 7},
        "personal": {"status": "archived", "since": "2026-11-23"},
        "placed_at": "2026-11-23T10:00:00.000Z", "updated_at": "2026-11-23T10:00:00.000Z",
        "version": 4,
    }))
    .await;
    let id = OrderId::parse(ORDER).expect("an id");
    let order = api.order(id).await.expect("it is read").expect("there is one");
    assert_eq!(order.status, Open::Other("archived".to_owned()));
    assert_eq!(order.payment_status.to_string(), "charged_back");
    assert_eq!(order.fulfilment_status.to_string(), "unfulfilled");
    assert_eq!(order.tax_basis, Open::<TaxBasis>::Other("exempt".to_owned()));
    assert_eq!(order.lines[0].discounts[0].amount, 50);
    assert!(!order.is_settled());
    assert_eq!(order.cancellation.map(|it| it.reason.to_string()).as_deref(), Some("fraud"));
}

#[tokio::test]
async fn sums_and_settings_are_read_with_values_of_a_later_version() {
    let api = client(json!({
        "orders": {"groups": [{"status": "archived", "payment_status": "paid",
            "fulfilment_status": "lost", "reason": null, "orders": 3,
            "total": {"minor": 100, "currency": "GBP"}}]},
        "payments": {"currencies": [{"currency": "GBP", "captured": 1, "refunded": 0, "authorized": 0,
            "provider_net": 1, "provider_held": 0, "disputed": 2}], "pending": 0, "stuck": 0},
        "inventory": {"on_hand": 1, "held": 0, "allocated": 0, "skus": 1, "oversold_skus": 0},
    }))
    .await;
    let totals: Totals = api.totals().await.expect("they are read");
    let group = &totals.orders.groups[0];
    assert_eq!(group.status, Open::<OrderStatus>::Other("archived".to_owned()));
    assert!(group.payment_status == PaymentStatus::Paid && group.is_settled());

    let api = client(json!({
        "name": "acme", "suspended": false, "version": 1, "plan": "large",
        "created_at": "2026-11-23T10:00:00.000Z", "updated_at": "2026-11-23T10:00:00.000Z",
        "settings": {"currency": "GBP", "countries": [], "tax_basis": "exempt",
            "capture": "on_delivery", "split_shipments": false, "hold_seconds": null,
            "payment_seconds": null, "default_location": "main", "short_rule": "split",
            "on_account": true, "language": "en"},
    }))
    .await;
    // What this version does not know is taken for the default, as services take it.
    let settings = api.shop().await.expect("it is read").settings;
    assert_eq!(settings.capture, Capture::OnConfirmation);
    assert_eq!((settings.short_rule, settings.tax_basis), (ShortRule::Hold, TaxBasis::Included));
    assert!(settings.on_account);
}
