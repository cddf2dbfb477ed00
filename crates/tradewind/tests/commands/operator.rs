//! What an operator runs: verify, rebuild, streams, parked.

use events::json;
use serde_json::{Value, json};
use testkit::eventually;

use crate::rig::{CommandOutput, Installation, KEY, SETTLE_TIMEOUT, SHOP, http};

#[track_caller]
pub(crate) fn check(output: &CommandOutput, code: i32, out: &[&str], err: &[&str]) {
    assert_eq!(output.code, Some(code), "{output:?}");
    for expected in out {
        assert!(output.out.contains(expected), "{expected:?} is not printed: {output:?}");
    }
    for expected in err {
        assert!(output.err.contains(expected), "{expected:?} is not in {output:?}");
    }
}

/// An order that another writer got wrong: nobody orders less than a unit.
fn wrong_order() -> (String, Vec<u8>) {
    let subject = format!("inbox.0.live.order.{SHOP}.place_order");
    let command = json!({
        "id": "01a1f992-9272-720c-82e9-ef07a878d94f",
        "shop": SHOP,
        "fingerprint": "f",
        "placeOrder": {
            "orderId": "01a1f992-9272-720c-82e9-ef07a878d950",
            "reference": "R-17",
            "currency": "GBP",
            "taxBasis": "TAX_BASIS_INCLUDED",
            "lines": [{"sku": "MUG", "quantity": "-2"}],
            "paymentMethod": "card",
        },
    });
    let bytes = json::from_json(json::message_of(&subject), &command).expect("it is a command");
    (subject, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_compared_and_changed() {
    let installation = Installation::new().await;
    check(
        &installation.run(&["streams", "diff"]).await,
        1,
        &["ORDER-0: missing"],
        &["10 streams differ"],
    );
    check(
        &installation.run(&["streams", "apply"]).await,
        0,
        &["created", "10 streams changed"],
        &[],
    );
    let defined = &["all streams are as defined"];
    check(&installation.run(&["streams", "diff"]).await, 0, defined, &[]);

    let context = installation.server.jetstream().await;
    let inbox = context.get_stream("INBOX-0").await.expect("it is there");
    let mut changed = inbox.cached_info().config.clone();
    changed.max_age /= 7;
    context.update_stream(changed).await.expect("it can be changed");
    let difference = "INBOX-0: max_age: is 86400s, should be 604800s";
    check(&installation.run(&["streams", "diff"]).await, 1, &[difference], &["1 stream differs"]);
    let error = "error: stream INBOX-0 differs from its definition: max_age: is 86400s, should be 604800s; \
                 `tradewind streams diff` shows it, `tradewind streams apply` changes the stream\n";
    check(&installation.run(&["serve"]).await, 1, &[], &[error]);
    check(
        &installation.run(&["streams", "apply"]).await,
        0,
        &[difference, "1 stream changed"],
        &[],
    );
    check(&installation.run(&["streams", "diff"]).await, 0, defined, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_a_card_is_in_no_reason() {
    let installation = Installation::new().await;
    let reason = ["--reason", "card 4111 1111 1111 1111"];
    for command in
        [["log", "void", "order", "0", "1"], ["positions", "reset", "order", "0", "shop"]]
    {
        let refused = installation.run(&[&command[..], &reason].concat()).await;
        check(&refused, 1, &[], &["--reason must not hold the number of a payment card"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_creates_no_stream_and_names_those_that_are_missing() {
    let installation = Installation::new().await;
    let missing = "no stream SHOP-0, CATALOG-0, INVENTORY-0, ORDER-0, PAYMENT-0";
    check(&installation.run(&["verify"]).await, 1, &[], &[missing]);
    check(&installation.run(&["verify", "order"]).await, 1, &[], &["no stream ORDER-0"]);
    check(
        &installation.run(&["streams", "diff"]).await,
        1,
        &["ORDER-0: missing"],
        &["10 streams differ"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_are_verified_and_rebuilt() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.stock("MUG", 5).await;
    let order = json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 2}]});
    let placed = installation
        .api()
        .place(&order, "key-1", Some(SETTLE_TIMEOUT))
        .await
        .expect("it is answered");
    assert_eq!(placed.body["payment_status"], "paid", "{}", placed.body);
    let verified = installation.run(&["verify"]).await;
    check(&verified, 0, &["shop", "catalog", "inventory", "order", "payment", "notify"], &[]);
    assert_eq!(verified.out.matches(": equal").count(), 6, "{}", verified.out);
    check(&installation.run(&["rebuild", "order"]).await, 0, &["order: rebuilt in"], &[]);
    serving.stop().await;

    let tamper = "update product set document = replace(document, 'MUG', 'null')";
    installation.db.tamper("catalog", tamper).await;
    let different = installation.run(&["verify", "catalog"]).await;
    check(&different, 1, &["DIFFERENT", "null", "MUG"], &["1 rows differ"]);
    check(&installation.run(&["rebuild", "catalog"]).await, 0, &["catalog: 1 events in"], &[]);
    check(&installation.run(&["rebuild", "order"]).await, 0, &["order: 5 events in"], &[]);
    let verified = installation.run(&["verify"]).await;
    assert_eq!(verified.out.matches(": equal").count(), 6, "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_input_is_listed_shown_mended_and_redriven() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.stock("MUG", 5).await;
    check(&installation.run(&["parked", "list"]).await, 0, &["0 parked"], &[]);

    let (subject, bytes) = wrong_order();
    installation.server.write(&subject, "01a1f992-9272-720c-82e9-ef07a878d950", bytes).await;
    let mut listed = installation.run(&["parked", "list"]).await;
    eventually("it is parked", async || {
        listed = installation.run(&["parked", "list"]).await;
        listed.out.contains("1 parked")
    })
    .await;
    check(&listed, 0, &[&subject, "quantity must be 1 to 1000000000, got \"-2\""], &[]);
    let id = listed.out.split(' ').next().expect("it has an id").to_owned();

    let shown = installation.run(&["parked", "show", &id]).await;
    check(&shown, 0, &["\"quantity\": \"-2\""], &[]);
    let still = installation.run(&["parked", "redrive", &id]).await;
    check(&still, 1, &["0 handled, 1 still parked"], &["failed again"]);

    let mut view: Value = serde_json::from_str(&shown.out).expect("it is JSON");
    view["message"]["placeOrder"]["lines"][0]["quantity"] = json!("2");
    let file = installation.folder.path().join("message.json");
    std::fs::write(&file, view["message"].to_string()).expect("it can be written");
    let file = file.display().to_string();
    let done = installation.run(&["parked", "redrive", &id, "--edited", &file]).await;
    check(&done, 0, &["1 handled, 0 still parked"], &[]);
    check(&installation.run(&["parked", "list"]).await, 0, &["0 parked"], &[]);
    check(&installation.run(&["parked", "show", &id]).await, 1, &[], &["nothing is parked under"]);
    let found = installation.api().order_by_reference("R-17").await.expect("it is answered");
    assert_eq!(found.expect("it is there").lines[0].quantity.get(), 2);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_input_is_dropped_and_who_sent_it_sees_why() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    installation.create_shop().await;
    let (subject, bytes) = wrong_order();
    installation.server.write(&subject, "01a1f992-9272-720c-82e9-ef07a878d950", bytes).await;
    let mut listed = installation.run(&["parked", "list", "order"]).await;
    eventually("it is parked", async || {
        listed = installation.run(&["parked", "list", "order"]).await;
        listed.out.contains("1 parked")
    })
    .await;
    let id = listed.out.split(' ').next().expect("it has an id").to_owned();
    let drop = async |reason: &[&str]| {
        installation.run(&[&["parked", "drop", &id][..], reason].concat()).await
    };
    check(&drop(&[]).await, 2, &[], &["--reason <REASON>"]);
    let refused = drop(&["--reason", "card 4111 1111 1111 1111"]).await;
    check(&refused, 1, &[], &["--reason must not hold the number of a payment card"]);
    let refused = drop(&["--reason", ""]).await;
    check(&refused, 1, &[], &["order: the reason must have 1 to 1000 characters"]);

    let dropped = drop(&["--reason", "sent by mistake"]).await;
    check(&dropped, 0, &[&format!("dropped {id}; 0 handled behind it, 0 still parked")], &[]);
    check(&installation.run(&["parked", "list", "order"]).await, 0, &["0 parked"], &[]);
    check(&drop(&["--reason", "again"]).await, 1, &[], &["nothing is parked under"]);
    let command = format!(
        "http://{}/v1/shops/{SHOP}/commands/01a1f992-9272-720c-82e9-ef07a878d94f",
        installation.listen
    );
    let shown = http().get(command).bearer_auth(KEY).send().await.expect("it is answered");
    let shown: Value = shown.json().await.expect("it is JSON");
    assert_eq!([&shown["status"], &shown["reason"]], ["dropped", "sent by mistake"], "{shown}");
    check(&installation.run(&["verify", "order"]).await, 0, &[": equal"], &[]);
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_is_named_and_the_others_are_listed() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve", "order", "gateway"]).await;
    let subject = format!("inbox.0.live.order.{SHOP}.place_order");
    installation.server.write(&subject, "A", b"\xff\xff".to_vec()).await;
    let mut listed = installation.run(&["parked", "list", "order"]).await;
    eventually("it is parked", async || {
        listed = installation.run(&["parked", "list", "order"]).await;
        listed.out.contains("1 parked")
    })
    .await;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let id = listed.out.split(' ').next().expect("it has an id").to_owned();
    let silent = "no answer from shop, catalog, inventory, payment";
    let silent_partitions = "no answer from shop-0, catalog-0, inventory-0, payment-0";
    check(
        &installation.run(&["parked", "list"]).await,
        1,
        &[&id, "1 parked"],
        &[silent_partitions],
    );
    check(&installation.run(&["parked", "show", &id]).await, 0, &["\"payload\": \"ffff\""], &[]);
    check(&installation.run(&["parked", "show", "other"]).await, 1, &[], &[silent]);
    serving.stop().await;
}
