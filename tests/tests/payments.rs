//! Payments through a whole installation, while the provider does not do what it should.

use std::time::Duration;

use futures::future::join_all;
use testkit::{Db, on_both_databases};
use tests::{Installation, SHORT, captured, kinds, order, settle, stock};

on_both_databases!(orders_that_time_out_while_the_provider_is_down_are_never_authorised,);

/// How many orders the provider has no time for.
const ORDERS: usize = 20;

async fn orders_that_time_out_while_the_provider_is_down_are_never_authorised(db: Db) {
    let installation = Installation::start(&db, |settings| {
        settings.payment_timeout = SHORT;
        settings.provider_lookup_interval = Duration::from_millis(200);
        settings.provider_late_window = Duration::from_secs(1);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 100).await;
    // It is down for so many calls that each order has given up long before it is back.
    let clients =
        (0..ORDERS).map(|client| {
            let api = api.clone();
            async move {
                settle(&api, &order("MUG", 1, "sim:outage:9"), &format!("down-{client}")).await
            }
        });
    for settled in join_all(clients).await {
        let reason = &settled.body["cancellation"]["reason"];
        assert_eq!(reason, "payment_timeout", "{}", settled.body);
    }
    // The provider is back, and is asked what became of each: nothing, and nothing comes of it.
    assert_eq!(installation.settled_payments(&[("failed", ORDERS)]).await, captured(0));
    let log = kinds(&installation.server, "PAYMENT-0", |_| true).await;
    for kind in ["authorization_pending", "uncertain", "cancel_requested", "failed"] {
        assert_eq!(log.iter().filter(|it| *it == kind).count(), ORDERS, "{kind}");
    }
    assert_eq!(log.len(), 4 * ORDERS, "nothing else: {log:?}");
    installation.stop_and_verify().await;
}
