//! Payments through a whole installation, while the provider does not do what it should.

use std::time::Duration;

use client::{Client, Error, Response};
use events::shop::{Capture, Settings};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use testkit::{Db, eventually, on_both_databases};
use tests::{Installation, SHORT, captured, kinds, order, settle, stock, stock_in};

on_both_databases!(
    orders_that_time_out_while_the_provider_is_down_are_never_authorised,
    a_paid_order_is_refunded_in_parts_and_never_more_than_it_paid,
    a_payment_that_needs_the_customer_goes_on_when_he_has_done_it,
    an_order_whose_customer_leaves_his_bank_may_be_paid_by_another_method,
    an_authorisation_that_the_provider_has_forgotten_waits_for_an_operator,
    what_the_provider_does_late_is_found_by_a_reconciliation_and_given_back,
    differences_that_nothing_mends_are_stuck_until_an_operator_settles_them,
    differences_are_only_reported_where_that_is_set,
    a_capture_that_is_never_answered_is_stuck_and_may_be_given_up,
    a_provider_that_does_not_answer_is_no_failure_of_the_server,
);

/// How many orders the provider has no time for.
const ORDERS: usize = 20;

async fn orders_that_time_out_while_the_provider_is_down_are_never_authorised(db: Db) {
    let installation = Installation::start(&db, |settings| {
        settings.payment_timeout = Duration::from_secs(2);
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
        let reason = settled.body["cancellation"]["reason"].as_str();
        // On a slow machine the time of an order has passed before the provider is asked at all.
        let expected = [Some("payment_timeout"), Some("payment_failed")];
        assert!(expected.contains(&reason), "{}", settled.body);
    }
    // The provider is back, and is asked what became of each: nothing, and nothing comes of it.
    assert_eq!(installation.settled_payments(&[("failed", ORDERS)]).await, captured(0));
    let log = kinds(&installation.server, "PAYMENT-0", |_| true).await;
    let expected = ["authorization_pending", "uncertain", "cancel_requested", "failed"];
    assert!(log.iter().all(|kind| expected.contains(&kind.as_str())), "{log:?}");
    installation.stop_and_verify().await;
}

/// Asks for a refund of so many pence.
async fn refund(api: &Client, order: &Value, minor: i64, key: &str) -> Response {
    let path = format!("orders/{}/refunds", order["id"].as_str().expect("an id"));
    let body = json!({"amount": {"minor": minor, "currency": "GBP"}, "reason": "came broken"});
    let request = api.request(Method::POST, &path).header("idempotency-key", key).json(&body);
    api.send(request).await.expect("an answer")
}

async fn a_paid_order_is_refunded_in_parts_and_never_more_than_it_paid(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let paid = settle(&api, &order("MUG", 2, "card"), "buy").await.body;
    assert_eq!(paid["payment_status"], "paid", "{paid}");

    let first = refund(&api, &paid, 200, "broken-1").await;
    assert_eq!(first.status.as_u16(), 201, "{}", first.body);
    let again = refund(&api, &paid, 200, "broken-1").await;
    assert_eq!(again.body["refund_id"], first.body["refund_id"], "the same request again");
    let too_much = refund(&api, &paid, 301, "broken-2").await;
    assert_eq!(too_much.status.as_u16(), 422, "{}", too_much.body);
    assert_eq!(too_much.body["code"], "refund_too_large");
    assert_eq!(too_much.body["refundable"], json!({"minor": 300, "currency": "GBP"}));
    let rest = refund(&api, &paid, 300, "broken-3").await;
    assert_eq!(rest.status.as_u16(), 201, "{}", rest.body);
    let unknown = json!({"id": "018f4e6a-0000-7000-8000-000000000001"});
    let nothing = refund(&api, &unknown, 1, "broken-4").await;
    assert_eq!(nothing.body["code"], "not_found", "{}", nothing.body);

    let mut all = captured(500);
    let money = &mut all["currencies"][0];
    (money["refunded"], money["provider_net"]) = (json!(500), json!(0));
    assert_eq!(installation.settled_payments(&[("refunded", 2)]).await, all);
    let path = format!("orders/{}/payments", paid["id"].as_str().expect("an id"));
    let shown: Value = api.get(&path).await.expect("the payments");
    let transactions = shown["payments"][0]["transactions"].as_array().expect("a list");
    let kinds: Vec<_> = transactions.iter().map(|it| it["kind"].clone()).collect();
    assert_eq!(kinds, ["authorization", "capture", "refund", "refund"]);
    assert_eq!(transactions[2]["refund_id"], first.body["refund_id"]);
    assert_eq!(transactions[2]["reason"], "came broken");
    installation.stop_and_verify().await;
}

async fn a_payment_that_needs_the_customer_goes_on_when_he_has_done_it(db: Db) {
    let installation = Installation::start(&db, |settings| {
        settings.provider_lookup_interval = Duration::from_millis(300);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let placed = api.place(&order("MUG", 2, "sim:action:5"), "bank", None).await.expect("placed");
    let path = format!("payments/{}-1", placed.body["id"].as_str().expect("an id"));
    let mut url = Value::Null;
    eventually("the customer is asked", async || {
        let payment: Value = api.get(&path).await.unwrap_or_default();
        url = payment["action"]["url"].clone();
        payment["status"] == "action_required"
    })
    .await;
    assert!(url.as_str().is_some_and(|url| url.starts_with("https://")), "{url}");
    assert_eq!(installation.settled_payments(&[("captured", 1)]).await, captured(500));
    let steps = ["authorization_pending", "action_required", "authorized"];
    let all = installation.payment_steps(&placed.body).await;
    assert_eq!(all[..3], steps, "{all:?}");
    installation.stop_and_verify().await;
}

async fn an_order_whose_customer_leaves_his_bank_may_be_paid_by_another_method(db: Db) {
    let installation = Installation::start(&db, |settings| {
        settings.provider_lookup_interval = Duration::from_millis(300);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    // The customer comes back late: at the twentieth look-up.
    let waits = settle(&api, &order("MUG", 2, "sim:action:20"), "bank").await.body;
    assert_eq!(
        (&waits["status"], &waits["payment_status"]),
        (&json!("placed"), &json!("action_required"))
    );
    let action = &waits["payments"][0]["action"];
    assert!(action["url"].as_str().is_some_and(|url| url.starts_with("https://")), "{waits}");
    let id = waits["id"].as_str().expect("an id");
    let first: Value = api.get(&format!("payments/{id}-1")).await.expect("the payment");
    assert_eq!(&first["action"], action, "{first}");

    let request = api.request(Method::POST, &format!("orders/{id}/payments"));
    let started =
        api.send(request.json(&json!({"payment_method": "card"}))).await.expect("an answer");
    assert_eq!(started.status.as_u16(), 201, "{}", started.body);
    eventually("it is paid", async || {
        let shown: Value = api.get(&format!("orders/{id}")).await.unwrap_or_default();
        shown["payment_status"] == "paid"
    })
    .await;
    // What the first one is granted after all is given back.
    let all = installation.settled_payments(&[("voided", 1), ("captured", 1)]).await;
    assert_eq!(all, captured(500));
    let shown: Value = api.get(&format!("orders/{id}")).await.expect("the order");
    assert_eq!(shown["payments"][1]["captured"], 500, "{shown}");
    installation.stop_and_verify().await;
}

async fn an_authorisation_that_the_provider_has_forgotten_waits_for_an_operator(db: Db) {
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    let by_shipment = Settings { capture: Capture::OnShipment, ..Settings::default() };
    stock_in(&api, &by_shipment, "MUG", 5).await;
    let placed = settle(&api, &order("MUG", 2, "sim:void_forget"), "forgotten").await.body;
    assert_eq!(placed["payment_status"], "authorized", "{placed}");
    let id = placed["id"].as_str().expect("an id");
    let cancel = api.request(Method::POST, &format!("orders/{id}/cancel")).json(&json!({}));
    assert_eq!(api.send(cancel).await.expect("an answer").status.as_u16(), 200);
    let payment = format!("{id}-1");
    let refused = [(json!(payment), json!("refused"))];
    eventually("the void is stuck", async || stuck(&api).await == refused).await;
    let give_up = json!({"resolution": "give_up", "reason": "it has run out at the bank"});
    let settled = settle_payment(&api, &payment, &give_up, "give-up").await;
    assert_eq!(settled.status.as_u16(), 200, "{}", settled.body);
    assert_eq!(stuck(&api).await, []);
    installation.stop_and_verify().await;
}

async fn what_the_provider_does_late_is_found_by_a_reconciliation_and_given_back(db: Db) {
    let installation = Installation::start(&db, |settings| {
        settings.payment_timeout = SHORT;
        settings.provider_timeout = Duration::from_millis(200);
        settings.provider_lookup_interval = Duration::from_millis(200);
        // The provider is slower than we believe.
        settings.provider_late_window = Duration::from_millis(500);
        // Many of them end before the provider does it, and it was asked long before the one that finds it.
        settings.reconciliation_interval = Duration::from_millis(700);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let settled = settle(&api, &order("MUG", 2, "sim:late:5000"), "late").await.body;
    // The payment has failed, the provider authorises after that, and the job finds it.
    assert_eq!(installation.settled_payments(&[("voided", 1)]).await, captured(0));
    let steps = installation.payment_steps(&settled).await;
    let last = &steps[steps.len() - 4..];
    assert_eq!(last, ["failed", "turned_up", "void_pending", "voided"], "{steps:?}");
    installation.stop_and_verify().await;
}

/// The ledger of the provider, which it changes without our knowledge.
async fn ledger(installation: &Installation) -> SqliteConnection {
    let file = installation.settings.provider_dir.join("provider.db");
    SqliteConnectOptions::new().filename(file).connect().await.expect("the ledger opens")
}

/// From when and until when a reconciliation is about everything.
const ALL_TIME: [(&str, &str); 2] =
    [("from", "2020-01-01T00:00:00Z"), ("until", "2100-01-01T00:00:00Z")];

/// The provider's list beside our log, over all time.
async fn differences(api: &Client) -> Vec<Value> {
    let found = api.query("payments/reconciliation", &ALL_TIME).await;
    let found: Value = found.expect("the reconciliation");
    found["differences"].as_array().expect("a list").clone()
}

async fn settle_payment(api: &Client, payment: &str, body: &Value, key: &str) -> Response {
    let request = api.request(Method::POST, &format!("payments/{payment}/settle"));
    api.send(request.header("idempotency-key", key).json(body)).await.expect("an answer")
}

/// The payments that wait for an operator: id and cause.
async fn stuck(api: &Client) -> Vec<(Value, Value)> {
    let found: Value = api.get("payments/stuck").await.expect("the list");
    let payments = found["payments"].as_array().expect("a list").iter();
    payments.map(|it| (it["id"].clone(), it["stuck"].clone())).collect()
}

async fn differences_that_nothing_mends_are_stuck_until_an_operator_settles_them(db: Db) {
    let installation = Installation::start(&db, |settings| {
        // The job compares what is older than this: not before the ledger is changed.
        settings.provider_late_window = Duration::from_secs(8);
        settings.reconciliation_interval = Duration::from_secs(1);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    let differing = settle(&api, &order("MUG", 2, "card"), "first").await.body;
    let missing = settle(&api, &order("MUG", 1, "card"), "second").await.body;
    let id = |order: &Value| format!("{}-1", order["id"].as_str().expect("an id"));
    let (differing, missing) = (id(&differing), id(&missing));
    assert_eq!(differences(&api).await, Vec::<Value>::new());

    let mut ledger = ledger(&installation).await;
    let changes = [
        (
            "update operation set amount = 499 where task = 'capture' and operation_id like $1 || ':%'",
            &differing,
        ),
        ("delete from operation where operation_id like $1 || ':capture%'", &missing),
    ];
    for (change, payment) in changes {
        let done = sqlx::query(change).bind(payment).execute(&mut ledger).await;
        assert_eq!(done.expect("the ledger changes").rows_affected(), 1, "{change}");
    }
    let found = differences(&api).await;
    let kinds: Vec<_> = found.iter().map(|it| (&it["kind"], &it["mendable"])).collect();
    let no = &json!(false);
    let expected = [(&json!("amount_differs"), no), (&json!("unknown_to_provider"), no)];
    assert_eq!(kinds, expected, "{found:?}");
    assert_eq!(found[0]["amount"], json!({"minor": 499, "currency": "GBP"}));

    let mut expected = vec![
        (json!(differing), json!("amount_differs")),
        (json!(missing), json!("unknown_to_provider")),
    ];
    expected.sort_by_key(|(id, _)| id.to_string());
    eventually("the job has found them", async || stuck(&api).await == expected).await;
    let payment: Value = api.get(&format!("payments/{differing}")).await.expect("the payment");
    assert_eq!(payment["status"], "captured", "the payment is as it was");
    assert_eq!(payment["differences"][0]["detail"], "4.99 GBP", "{payment}");

    let body = json!({"resolution": "give_up", "reason": "case 4711"});
    let refused = settle_payment(&api, &missing, &body, "no").await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["code"]),
        (409, &json!("resolution_not_applicable"))
    );
    let card = json!({"resolution": "done_elsewhere", "reason": "of card 4111111111111111"});
    let refused = settle_payment(&api, &missing, &card, "card").await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["errors"][0]["field"]),
        (422, &json!("reason"))
    );
    let body = json!({"resolution": "done_elsewhere", "reason": "case 4711", "operator": "ann"});
    for payment in [&missing, &differing] {
        let settled = settle_payment(&api, payment, &body, &format!("settle-{payment}")).await;
        assert_eq!(settled.status.as_u16(), 200, "{}", settled.body);
        assert_eq!((&settled.body["id"], &settled.body["stuck"]), (&json!(payment), &Value::Null));
        let again = settle_payment(&api, payment, &body, &format!("settle-{payment}")).await;
        assert_eq!(again.status.as_u16(), 200, "the same request again: {}", again.body);
    }
    assert_eq!(stuck(&api).await, []);
    let nothing = settle_payment(&api, &missing, &body, "again").await;
    assert_eq!((nothing.status.as_u16(), &nothing.body["code"]), (409, &json!("not_stuck")));
    let unknown = "018f4e6a-0000-7000-8000-000000000001-1";
    let nothing = settle_payment(&api, unknown, &body, "unknown").await;
    assert_eq!(nothing.status.as_u16(), 404, "{}", nothing.body);
    let history: Value =
        api.get(&format!("payments/{missing}/history")).await.expect("the history");
    let history = history.to_string();
    assert!(history.contains("case 4711") && history.contains("\"ann\""), "{history}");
    installation.stop_and_verify().await;
}

async fn differences_are_only_reported_where_that_is_set(db: Db) {
    let installation = Installation::start(&db, |settings| {
        settings.payment_timeout = SHORT;
        settings.provider_timeout = Duration::from_millis(200);
        settings.provider_lookup_interval = Duration::from_millis(200);
        settings.provider_late_window = Duration::from_millis(500);
        settings.reconciliation_interval = Duration::from_millis(700);
        settings.reconciliation_reports_only = true;
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    settle(&api, &order("MUG", 2, "sim:late:3000"), "late").await;
    let mut found = vec![];
    eventually("the provider has authorised it", async || {
        found = differences(&api).await;
        !found.is_empty()
    })
    .await;
    assert_eq!((&found[0]["kind"], &found[0]["mendable"]), (&json!("unknown_to_us"), &json!(true)));
    // The job has compared it by now, and has left it as it is.
    let streams = installation.server.jetstream().await;
    let records = async || {
        let stream = streams.get_stream("PAYMENT-RECONCILED-0").await.expect("the stream");
        stream.cached_info().state.last_sequence
    };
    let before = records().await;
    eventually("two more reconciliations", async || records().await >= before + 2).await;
    // It is kept when there was a difference: the next one looks there again.
    let stream = streams.get_stream("PAYMENT-RECONCILED-0").await.expect("the stream");
    let record = stream.get_raw_message(records().await).await.expect("the last record");
    let record = String::from_utf8(record.payload.to_vec()).expect("is text");
    assert_eq!(record.split(' ').count() % 2, 1, "{record}");
    assert!(record.contains(' '), "{record}");
    let log = kinds(&installation.server, "PAYMENT-0", |_| true).await;
    assert!(!log.iter().any(|kind| kind == "turned_up"), "{log:?}");
    let totals: Value = api.get("totals").await.expect("the totals");
    assert_eq!(totals["payments"]["currencies"][0]["provider_held"], 500, "{totals}");
    installation.stop_and_verify().await;
}

async fn a_capture_that_is_never_answered_is_stuck_and_may_be_given_up(db: Db) {
    let installation = Installation::start(&db, |settings| {
        settings.provider_timeout = Duration::from_millis(200);
        settings.provider_lookup_interval = Duration::from_millis(200);
        settings.payment_stuck_after = Duration::from_secs(1);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let silent = order("MUG", 2, "sim:capture_late:600000");
    let placed = api.place(&silent, "silent", None).await.expect("placed").body;
    let payment = format!("{}-1", placed["id"].as_str().expect("an id"));
    let no_answer = [(json!(payment), json!("no_answer"))];
    eventually("the capture is stuck", async || stuck(&api).await == no_answer).await;
    let path = format!("orders/{}", placed["id"].as_str().expect("an id"));
    let shown: Value = api.get(&path).await.expect("the order");
    assert_eq!(shown["status"], "confirmed", "{shown}");
    let listed: Value = api.query("payments", &[("trouble", "stuck")]).await.expect("the list");
    assert_eq!(listed["payments"][0]["id"], json!(payment), "{listed}");
    let listed: Value = api.query("payments", &[("trouble", "uncertain")]).await.expect("the list");
    assert_eq!(listed["payments"], json!([]), "{listed}");

    // It is asked again, is silent again, and is given up.
    let retry = json!({"resolution": "retry", "reason": "the provider is back"});
    let retried = settle_payment(&api, &payment, &retry, "retry").await;
    assert_eq!(retried.status.as_u16(), 200, "{}", retried.body);
    eventually("the capture is stuck again", async || stuck(&api).await == no_answer).await;
    let give_up = json!({"resolution": "give_up", "reason": "written off"});
    let settled = settle_payment(&api, &payment, &give_up, "give-up").await;
    assert_eq!(settled.status.as_u16(), 200, "{}", settled.body);
    eventually("the order is cancelled", async || {
        let shown: Value = api.get(&path).await.unwrap_or_default();
        shown["cancellation"]["reason"] == "capture_failed"
    })
    .await;
    assert_eq!(installation.settled_payments(&[("voided", 1)]).await, captured(0));
    installation.stop_and_verify().await;
}

async fn a_provider_that_does_not_answer_is_no_failure_of_the_server(db: Db) {
    let installation = Installation::start(&db, |settings| {
        settings.provider_timeout = Duration::from_millis(200);
    })
    .await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    settle(&api, &order("MUG", 2, "card"), "first").await;
    let mut ledger = ledger(&installation).await;
    let transaction = ledger.begin_with("begin immediate").await.expect("it is locked");
    for (path, parameters) in [("totals", &[][..]), ("payments/reconciliation", &ALL_TIME)] {
        let refused = api.query::<Value>(path, parameters).await.expect_err("it is locked");
        let Error::Problem(problem) = refused else { panic!("{refused}") };
        let expected = (503, "third_party_unavailable");
        assert_eq!((problem.status, &*problem.code), expected, "{problem:?}");
        assert!(problem.detail.contains("the payment provider simulator"), "{problem:?}");
    }
    transaction.rollback().await.expect("it is unlocked");
    eventually("the provider is back", async || api.get::<Value>("totals").await.is_ok()).await;
    installation.stop_and_verify().await;
}
