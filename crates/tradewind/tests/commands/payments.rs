//! What an operator does about payments that do not come to an end.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::eventually;

use crate::{
    operator::check,
    rig::{Installation, SETTLE_TIMEOUT, SHOP, free_address, get},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stuck_is_listed_and_settled_by_an_operator() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve", "--provider-latency", "1s"]).await;
    installation.stock("MUG", 5).await;
    let api = installation.api();
    let order = json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 2}],
        "payment_method": "sim:void_decline:unknown_authorization"});
    let placed = api.place(&order, "key-1", None).await.expect("it is answered");
    let id = placed.body["id"].as_str().expect("an id").to_owned();
    eventually("the payment is due", async || {
        let order: Value = api.get(&format!("orders/{id}")).await.expect("the order");
        order["payments"].as_array().is_some_and(|payments| !payments.is_empty())
    })
    .await;
    let cancel = api.request(Method::POST, &format!("orders/{id}/cancel"));
    let cancelled = api.send(cancel).await.expect("it is answered");
    assert_eq!(cancelled.body["status"], "cancelled", "{}", cancelled.body);

    // The provider has forgotten what it authorised: only an operator can say what is to be done.
    let operation = format!("{id}-1:void");
    eventually("the void is stuck", async || {
        let stuck: Value = api.get("payments/stuck").await.expect("the list");
        stuck["payments"][0]["stuck"] == "refused"
    })
    .await;
    let stuck = installation.run(&["payments", "stuck"]).await;
    let line = format!("{SHOP}  {operation}");
    assert!(stuck.out.contains(&line) && stuck.out.contains("unknown_authorization"), "{stuck:?}");
    assert!(stuck.out.contains("5.00 GBP") && stuck.out.contains("1 stuck"), "{stuck:?}");
    let of_another = installation.run(&["payments", "stuck", "--shop", "another"]).await;
    assert_eq!(of_another.out, "0 stuck\n");

    let payment = format!("{id}-1");
    let settle =
        ["payments", "settle", &payment, "--operator", "ann", "--reason", "voided by phone"];
    let without_choice = installation.run(&settle).await;
    assert_eq!(without_choice.code, Some(2), "{without_choice:?}");
    let settle = [&settle[..], &["--done-elsewhere"]].concat();
    let card = "4111 1111 1111 1111";
    for (option, replaced) in [("--reason", "voided by phone"), ("--operator", "ann")] {
        let with_card = settle.iter().map(|it| if *it == replaced { card } else { *it });
        let refused = installation.run(&with_card.collect::<Vec<_>>()).await;
        let error = format!("{option} must not hold the number of a payment card");
        check(&refused, 1, &[], &[&error]);
    }
    let stuck = installation.run(&["payments", "stuck"]).await;
    assert!(stuck.out.ends_with("1 stuck\n"), "nothing was settled: {stuck:?}");
    let settled = installation.run(&settle).await;
    assert_eq!((settled.code, settled.out), (Some(0), format!("settled {operation}\n")));
    assert_eq!(installation.run(&["payments", "stuck"]).await.out, "0 stuck\n");

    let payment: Value = api.get(&format!("payments/{payment}")).await.expect("the payment");
    assert_eq!((&payment["status"], &payment["authorized"]), (&json!("voided"), &json!(0)));
    let statuses: Vec<_> = payment["transactions"].as_array().expect("a list").iter().collect();
    assert_eq!(statuses.iter().map(|it| &it["status"]).collect::<Vec<_>>(), ["done", "done"]);
    let of_order: Value = api.get(&format!("orders/{id}/payments")).await.expect("the payments");
    assert_eq!(of_order["payments"], json!([payment]));
    let log = installation.server.events::<events::proto::Event>("PAYMENT-0").await;
    let by_operator = log.iter().find(|it| it.subject.ends_with(".settled_by_operator"));
    let actor = by_operator.and_then(|it| it.event.actor.clone()).expect("who settled it");
    assert_eq!((actor.kind.as_str(), actor.id.as_str()), ("operator", "ann"));
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_without_an_answer_is_tried_again_and_given_up_by_an_operator() {
    let installation = Installation::new().await;
    let listen = free_address().to_string();
    let arguments = [
        "serve",
        "--provider-timeout",
        "200ms",
        "--payment-stuck-after",
        "1s",
        "--metrics-listen",
        &listen,
    ];
    let serving = installation.serve(&arguments).await;
    installation.stock("MUG", 5).await;
    let api = installation.api();
    let order = json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 2}],
        "payment_method": "sim:capture_late:600000"});
    let placed = api.place(&order, "key-1", None).await.expect("it is answered");
    let id = placed.body["id"].as_str().expect("an id").to_owned();
    let is_stuck = async || {
        let stuck: Value = api.get("payments/stuck").await.expect("the list");
        stuck["payments"][0]["stuck"] == "no_answer"
    };
    eventually("the capture is stuck", async || is_stuck().await).await;
    let metrics = format!("http://{listen}/metrics");
    eventually("the gauge rises", async || {
        let shown = get(&metrics).await.expect("the metrics").text().await.expect("a text");
        let of_stuck = |line: &&str| line.starts_with("tradewind_payments_stuck{");
        shown.lines().filter(of_stuck).any(|line| line.ends_with(" 1"))
    })
    .await;
    let at_gateway = get(&format!("http://{}/metrics", installation.listen)).await;
    assert_eq!(at_gateway.expect("it is answered").status(), 404, "they name every shop");
    let shown = installation.run(&["payments", "stuck"]).await;
    assert!(shown.out.contains(":capture-") && shown.out.contains("no_answer"), "{shown:?}");

    let payment = format!("{id}-1");
    let settle = ["payments", "settle", &payment, "--reason", "called them"];
    let retried = installation.run(&[&settle[..], &["--retry"]].concat()).await;
    let out = retried.out.trim_end().to_owned();
    assert_eq!(retried.code, Some(0), "{retried:?}");
    assert!(out.starts_with(&format!("settled {payment}:capture-")), "{out}");
    eventually("the capture is stuck again", async || is_stuck().await).await;
    let given_up = installation.run(&[&settle[..], &["--give-up"]].concat()).await;
    assert_eq!((given_up.code, given_up.out.trim_end()), (Some(0), &*out), "{}", given_up.err);
    eventually("its order is cancelled, and the money let go", async || {
        let order: Value = api.get(&format!("orders/{id}")).await.expect("the order");
        let payment: Value = api.get(&format!("payments/{payment}")).await.expect("the payment");
        order["cancellation"]["reason"] == "capture_failed" && payment["status"] == "voided"
    })
    .await;
    let nothing = installation.run(&[&settle[..], &["--retry"]].concat()).await;
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
    assert!(nothing.err.contains("is uncertain or stuck"), "{nothing:?}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_what_is_uncertain_and_what_differs() {
    let installation = Installation::new().await;
    let arguments = [
        "serve",
        "--reconciliation-reports-only",
        "--payment-timeout",
        "18s",
        "--provider-timeout",
        "20ms",
        "--provider-lookup-interval",
        "1s",
        "--provider-late-window",
        "1s",
    ];
    let serving = installation.serve(&arguments).await;
    installation.stock("MUG", 5).await;
    let api = installation.api();
    // On a busy machine, the provider may need longer than it is given here.
    eventually("the two agree", async || {
        let agrees = installation.run(&["payments", "reconcile", SHOP]).await;
        (agrees.code, &*agrees.out) == (Some(0), "0 compared, 0 differ\n")
    })
    .await;
    let order = json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 2}],
        "payment_method": "sim:late:30000"});
    let placed = api.place(&order, "key-1", None).await.expect("it is answered");
    let operation = format!("{}-1:authorize", placed.body["id"].as_str().expect("an id"));
    eventually("the payment is uncertain", async || {
        let found: Value =
            api.query("payments", &[("trouble", "uncertain")]).await.expect("the list");
        found["payments"].as_array().is_some_and(|found| found.len() == 1)
    })
    .await;
    let listed = installation.run(&["payments", "stuck", "--uncertain"]).await;
    assert!(listed.out.contains(&operation), "{listed:?}");
    assert!(listed.out.ends_with("1 uncertain\n"), "{listed:?}");
    assert_eq!(installation.run(&["payments", "stuck"]).await.out, "0 stuck\n");

    // The payment has failed, and the provider authorises it after all.
    let mut differs = None;
    eventually("the two differ", async || {
        let found = installation.run(&["payments", "reconcile", SHOP]).await;
        let is_found = found.code == Some(1) && found.out.ends_with("1 compared, 1 differ\n");
        differs = Some(found);
        is_found
    })
    .await;
    let differs = differs.expect("it ran");
    assert!(differs.out.contains(&format!("unknown_to_us  {operation}  5.00 GBP")), "{differs:?}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_does_while_the_job_is_down_is_found_when_it_runs_again() {
    let installation = Installation::new().await;
    let interval = Duration::from_secs(1);
    let late = Duration::from_secs(6);
    let arguments = [
        "serve",
        "--reconciliation-interval",
        "1s",
        "--payment-timeout",
        "1s",
        "--provider-timeout",
        "200ms",
        "--provider-lookup-interval",
        "200ms",
        "--provider-late-window",
        "500ms",
    ];
    let serving = installation.serve(&arguments).await;
    installation.stock("MUG", 5).await;
    let api = installation.api();
    // A payment that ends as it should, so that the shop has been compared.
    let paid = json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 1}],
        "payment_method": "card"});
    api.place(&paid, "key-1", Some(SETTLE_TIMEOUT)).await.expect("it is answered");
    let streams = installation.server.jetstream().await;
    eventually("the shop is compared", async || {
        let stream = streams.get_stream("PAYMENT-RECONCILED-0").await.expect("the stream");
        stream.cached_info().state.messages == 1
    })
    .await;
    let order = json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 2}],
        "payment_method": format!("sim:late:{}", late.as_millis())});
    let placed = api.place(&order, "key-2", None).await.expect("it is answered");
    let asked_by = Instant::now();
    let path = format!("payments/{}-1", placed.body["id"].as_str().expect("an id"));
    eventually("the payment has failed", async || {
        let payment: Value = api.get(&path).await.unwrap_or_default();
        payment["status"] == "failed"
    })
    .await;
    serving.stop().await;

    eventually("the provider has authorised it, and the job was down for long", async || {
        asked_by.elapsed() > late + 3 * interval
    })
    .await;
    let serving = installation.serve(&arguments).await;
    eventually("it is found and let go", async || {
        let payment: Value = api.get(&path).await.unwrap_or_default();
        payment["status"] == "voided"
    })
    .await;
    serving.stop().await;
}
