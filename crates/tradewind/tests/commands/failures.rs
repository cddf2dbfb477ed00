//! A partition that cannot go on: where it is named, what goes on beside it, and what resolves it.

use std::{fs, net::SocketAddr};

use engine::Location;
use protocol::{id::Shop, subject};
use serde_json::{Value, json};
use testkit::eventually;

use crate::{
    operator::check,
    rig::{
        Installation, KEY, SETTLE_TIMEOUT, SHOP, await_ready, free_address, get, http, readiness,
    },
};

/// The services but for `order`, and the gateway.
const ALL_BUT_ORDER: [&str; 7] =
    ["serve", "shop", "catalog", "inventory", "payment", "notify", "gateway"];

fn order() -> Value {
    json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 1}]})
}

/// Places an order and waits until it is paid. A partition that has just gone on may not answer in time at first.
async fn settle(installation: &Installation, shop: &str, key: &str) {
    eventually("the order is paid", async || {
        let placed = installation.api_of(shop).place(&order(), key, Some(SETTLE_TIMEOUT)).await;
        placed.is_ok_and(|placed| placed.body["payment_status"] == "paid")
    })
    .await;
}

/// Publishes what is no event, as any client of NATS could; returns its sequence.
async fn publish_garbage(installation: &Installation, partition: u32) -> u64 {
    let subject = format!("order.{partition}.{SHOP}.paid");
    installation.server.write(&subject, "garbage", b"no event".to_vec()).await
}

/// The partitions that fail in a process: service, number, and why.
fn failing(document: &Value) -> Vec<(String, u64, String)> {
    let partitions = document["partitions"].as_array().into_iter().flatten();
    let failing = partitions.filter(|it| it["state"] == "failing");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let shown = |it: &Value| {
        let number = it["partition"].as_u64().expect("a number");
        (text(&it["service"]), number, text(&it["error"]))
    };
    failing.map(shown).collect()
}

/// Waits until a process names a partition of `order` as the only one that fails, with that message and the
/// command that voids it; returns the status of its readiness.
async fn await_unreadable(address: SocketAddr, partition: u32, sequence: u64) -> u16 {
    let message =
        format!("ORDER-{partition} holds a message at {sequence} that this version cannot read");
    let command = format!("`tradewind log void order {partition} {sequence}`");
    let mut found = 0;
    eventually("the partition is named", async || {
        let Some((status, document)) = readiness(address).await else { return false };
        found = status;
        let failing = failing(&document);
        let [(service, number, error)] = failing.as_slice() else { return false };
        (service.as_str(), *number) == ("order", partition.into())
            && error.contains(&message)
            && error.contains(&command)
    })
    .await;
    found
}

/// Whether the metrics of a process say that a partition of `order` fails.
async fn is_measured_as_failing(address: SocketAddr, partition: u32) -> bool {
    let answer = get(&format!("http://{address}/metrics")).await.expect("it answers");
    let text = answer.text().await.expect("it is a text");
    let labels = [
        "service=\"order\"".to_owned(),
        format!("partition=\"{partition}\""),
        "state=\"failing\"".into(),
    ];
    text.lines().any(|line| {
        line.starts_with("tradewind_partition_state{")
            && line.ends_with(" 1")
            && labels.iter().all(|label| line.contains(label))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_a_log_stop_their_partition_alone_until_they_are_voided() {
    const PARTITIONS: [&str; 2] = ["--partitions", "2"];
    let partition_of = |name: &str| subject::partition(&Shop::parse(name).expect("a name"), 2);
    let partition = partition_of(SHOP);
    let mut others = (0..).map(|number| format!("shop-{number}"));
    let other = others.find(|name| partition_of(name) != partition).expect("there is one");
    let installation = Installation::new().await;
    let metrics = free_address();
    let serve = ["serve", "--partitions", "2", "--answer-timeout", "500ms", "--metrics-listen"];
    let serving = installation.serve(&[&serve[..], &[&metrics.to_string()]].concat()).await;
    for shop in [SHOP, &other] {
        installation.stock_in(shop, "MUG", 5).await;
        settle(&installation, shop, "before").await;
    }

    let sequence = publish_garbage(&installation, partition).await;
    let status = await_unreadable(installation.listen, partition, sequence).await;
    assert_eq!(status, 200, "the other partition of the service goes on");
    assert!(is_measured_as_failing(metrics, partition).await);
    settle(&installation, &other, "meanwhile").await;
    let product =
        json!({"sku": "CUP", "title": "A cup", "price": {"minor": 200, "currency": "GBP"}});
    eventually("the other services of the partition go on", async || {
        let pushed = installation.api().push("products", product.to_string()).await;
        pushed.is_ok_and(|pushed| pushed.applied + pushed.unchanged == 1)
    })
    .await;
    let kept = installation.api().place(&order(), "kept", None).await.expect("it is answered");
    assert_eq!(kept.status.as_u16(), 202, "{}", kept.body);

    let (partition, sequence) = (partition.to_string(), sequence.to_string());
    let void = ["log", "void", "order", &partition, &sequence, "--reason", "by hand"];
    let voided = installation.run(&[&void[..], &PARTITIONS].concat()).await;
    let said = format!("voided the message {sequence} of ORDER-{partition} (SHA-256 ");
    check(&voided, 0, &[&said], &[]);
    settle(&installation, SHOP, "kept").await;
    eventually("the partition is shown as running", async || {
        let (status, document) = readiness(installation.listen).await.expect("it answers");
        (status, failing(&document)) == (200, vec![])
    })
    .await;
    let verified = installation.run(&[&["verify", "order"][..], &PARTITIONS].concat()).await;
    check(&verified, 0, &[": equal", "voided messages of the log: 1"], &[]);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_a_gateway_names_its_own_partitions_that_fail() {
    let installation = Installation::new().await;
    let address = free_address();
    let listen = address.to_string();
    let worker = installation.start(&["serve", "order", "--metrics-listen", &listen]);
    let gateway = installation.serve(&ALL_BUT_ORDER).await;
    await_ready(address).await;
    installation.stock("MUG", 5).await;
    settle(&installation, SHOP, "before").await;

    let sequence = publish_garbage(&installation, 0).await;
    let status = await_unreadable(address, 0, sequence).await;
    assert_eq!(status, 503, "nothing of the service can be handled here");
    assert!(is_measured_as_failing(address, 0).await);
    let health = get(&format!("http://{address}/healthz")).await.expect("it answers");
    assert_eq!(health.status().as_u16(), 200);
    assert_eq!(health.json::<Value>().await.expect("it is JSON"), json!({"status": "up"}));
    let (status, document) = readiness(installation.listen).await.expect("it answers");
    assert_eq!((status, failing(&document)), (200, vec![]), "it does not run the service");

    let voided = installation.run(&["log", "void", "order", "0", &sequence.to_string()]).await;
    check(&voided, 0, &["voided the message"], &[]);
    await_ready(address).await;
    settle(&installation, SHOP, "after").await;
    worker.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_beyond_the_end_is_named_until_it_is_reset() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.stock("MUG", 5).await;
    settle(&installation, SHOP, "before").await;
    let shown = installation.run(&["positions", "show", "order"]).await;
    check(&shown, 0, &["order        0  inbox.live"], &[]);
    serving.stop().await;

    installation.server.delete_stream("INBOX-0").await;
    let serving = installation.start(&["serve"]);
    eventually("the position is named with the end", async || {
        let Some((status, document)) = readiness(installation.listen).await else { return false };
        let is_named = |(service, _, error): &(String, u64, String)| {
            let named = "INBOX-0 ends at 0, but order has handled it up to ";
            let position = error.split_once(named).and_then(|(_, rest)| rest.split_once(':'));
            service == "order"
                && position
                    .is_some_and(|(position, _)| position.parse().is_ok_and(|it: u64| it > 0))
                && error.contains("`tradewind positions reset order")
        };
        status == 503 && failing(&document).iter().any(is_named)
    })
    .await;
    let services = ["shop", "catalog", "inventory", "order", "payment", "notify"];
    for service in services {
        for lane in ["inbox.live", "inbox.bulk"] {
            let reset = ["positions", "reset", service, "0", lane, "--reason", "a new stream"];
            let reset = installation.run(&reset).await;
            check(&reset, 0, &[&format!("{service}-0 reads {lane} anew from 1 on")], &[]);
        }
    }
    await_ready(installation.listen).await;
    settle(&installation, SHOP, "after").await;
    serving.stop().await;
    let verified = installation.run(&["verify"]).await;
    assert_eq!(verified.out.matches(": equal").count(), services.len(), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_stops_its_service_alone_until_it_is_moved_away() {
    let installation = Installation::new().await;
    let Location::Folder(folder) = installation.db.location() else { panic!("it is a folder") };
    let file = folder.join("order.db");
    fs::create_dir_all(&folder).expect("it can be made");
    fs::write(&file, "no database ".repeat(1_000)).expect("it can be written");
    let metrics = free_address();
    let serving = installation.start(&["serve", "--metrics-listen", &metrics.to_string()]);
    eventually("the service is named, with what to do", async || {
        let Some((status, document)) = readiness(installation.listen).await else { return false };
        let failing = failing(&document);
        let [(service, 0, error)] = failing.as_slice() else { return false };
        (status, service.as_str()) == (503, "order")
            && error.contains("file is not a database; move that file, and those beside it")
    })
    .await;
    assert!(is_measured_as_failing(metrics, 0).await);
    installation.stock("MUG", 5).await;
    let api = installation.api();
    let kept = api.place(&order(), "kept", None).await.expect("it is answered");
    assert_eq!(kept.status.as_u16(), 202, "{}", kept.body);
    let orders = format!("http://{}/v1/shops/{SHOP}/orders", installation.listen);
    let read = http().get(orders).bearer_auth(KEY).send().await.expect("it is answered");
    assert_eq!(read.status().as_u16(), 503);

    fs::rename(&file, folder.join("order.db.damaged")).expect("it can be moved");
    settle(&installation, SHOP, "kept").await;
    await_ready(installation.listen).await;
    serving.stop().await;
}
