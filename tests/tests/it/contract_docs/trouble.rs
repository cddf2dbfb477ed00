//! What goes wrong between us and the payment provider, and when customers are slow.

use std::time::Duration;

use serde_json::Value;
use testkit::{Db, eventually};
use tests::{Installation, SHORT, kinds, order, settle, stock};

/// The provider is slower than we believe: it authorises what we took for failed, and a reconciliation
/// finds it. Another time it cannot be reached for long, and another time it does not capture.
pub(super) async fn late_provider(db: &Db) -> Installation {
    let installation = Installation::start(db, |settings| {
        settings.payment_timeout = Duration::from_secs(1);
        settings.provider_timeout = SHORT;
        settings.provider_lookup_interval = Duration::from_millis(200);
        settings.provider_late_window = Duration::from_secs(1);
        settings.reconciliation_interval = Duration::from_secs(10);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    settle(&api, &order("MUG", 1, "sim:outage:9"), "down").await;
    settle(&api, &order("MUG", 1, "sim:late:8000"), "late").await;
    happened(&installation, "PAYMENT-0", "turned_up").await;
    // Here, and not on the day: whether the order is cancelled before or after the payment gives
    // back by itself what it could not capture, differs from run to run.
    settle(&api, &order("MUG", 1, "sim:capture_decline:expired"), "not-captured").await;
    installation
}

/// A customer pays when the hold has run out, and another has bought the unit.
pub(super) async fn slow_customer(db: &Db) -> Installation {
    let installation = Installation::start(db, |settings| {
        settings.hold_ttl = SHORT;
        settings.provider_lookup_interval = Duration::from_millis(200);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 1).await;
    let slow = api.place(&order("MUG", 1, "sim:action:40"), "slow", None).await.expect("placed");
    happened(&installation, "INVENTORY-0", "released").await;
    settle(&api, &order("MUG", 1, "card"), "quick").await;
    happened(&installation, "INVENTORY-0", "lost").await;
    let path = format!("orders/{}", slow.body["id"].as_str().expect("an id"));
    eventually("the order is cancelled", async || {
        api.get::<Value>(&path).await.expect("the order")["status"] == "cancelled"
    })
    .await;
    installation
}

pub(super) async fn happened(installation: &Installation, stream: &str, kind: &str) {
    eventually("it is in the log", async || {
        kinds(&installation.server, stream, |_| true).await.iter().any(|it| it == kind)
    })
    .await;
}
