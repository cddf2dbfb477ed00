//! What an operator does about payments that do not come to an end.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::eventually;

use crate::rig::{Installation, SHOP};

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
