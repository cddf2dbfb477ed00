//! The event feed, by the command line.

use std::process::Stdio;

use serde_json::{Value, json};
use testkit::eventually;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::mpsc,
};

use crate::rig::{Installation, SETTLE_TIMEOUT, Serving};

#[tokio::test(flavor = "multi_thread")]
async fn events_are_replayed_and_found_by_their_ids() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.create_shop().await;
    installation.stock("LAMP", 5).await;
    let order = json!({"currency": "GBP", "lines": [{"sku": "LAMP", "quantity": 2}]});
    let placed = installation.api().place(&order, "key-1", Some(SETTLE_TIMEOUT)).await;
    let placed = placed.expect("it is answered");
    assert_eq!(placed.body["payment_status"], "paid", "{}", placed.body);

    let replayed = installation.run(&["events", "replay", "--shop", "acme"]).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    let events: Vec<Value> =
        replayed.out.lines().map(|line| line.parse().expect("each line is JSON")).collect();
    let types: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(types[0], "shop.created", "{types:?}");
    let of_order: Vec<_> = types.iter().copied().filter(|it| it.starts_with("order.")).collect();
    let expected =
        ["order.placed", "order.payment_due", "order.authorized", "order.confirmed", "order.paid"];
    assert_eq!(of_order, expected);

    let some =
        installation.run(&["events", "replay", "--shop", "acme", "--types", "order.*"]).await;
    assert_eq!(some.out.lines().count(), expected.len(), "{some:?}");

    let paid = events.iter().find(|event| event["type"] == "order.paid").expect("it is paid");
    let id = paid["id"].as_str().expect("it has an id");
    let found = installation.run(&["events", "get", "--shop", "acme", id]).await;
    assert_eq!(found.out.parse::<Value>().ok().as_ref(), Some(paid), "{found:?}");
    let unknown = installation.run(&["events", "get", "--shop", "acme", "unknown"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    let wrong = installation.run(&["events", "replay", "--shop", "acme", "--types", "x"]).await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.err.contains("types"), "{wrong:?}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_printed_as_it_happens() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.stock("LAMP", 5).await;
    let mut tail =
        installation.command(&["events", "tail", "--shop", "acme", "--types", "catalog.*"]);
    let mut tail = tail.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let mut lines = BufReader::new(tail.stdout.take().expect("it is piped")).lines();
    let (printed, mut events) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            printed.send(line).ok();
        }
    });
    // It prints what happens after it has begun: something happens until it has.
    let (mut changes, mut seen) = (0, Vec::new());
    eventually("an event is printed", async || {
        changes += 1;
        let price = json!({"minor": 250, "currency": "GBP"});
        let lamp = json!({"sku": "LAMP", "title": format!("Lamp {changes}"), "price": price});
        installation.api().push("products", lamp.to_string()).await.expect("it is pushed");
        seen.extend(events.try_recv());
        !seen.is_empty()
    })
    .await;
    let event: Value = seen[0].parse().expect("a line is an event");
    assert!(event["type"].as_str().is_some_and(|it| it.starts_with("catalog.")), "{event}");
    // It follows the installation, and ends when it is told to.
    let mut tail = Serving::of(tail);
    tail.terminate().await;
    assert_eq!(tail.ends().await.code(), Some(0));
    serving.stop().await;
}
