//! A function of a service that panics parks its input, or stops its partition: never more.

use std::sync::atomic::Ordering;

use engine::{Client, Config, Engine, PartitionState};
use prost::Message;
use protocol::{
    id::{EventId, Shop},
    subject::{self, Lane},
};
use testkit::{Db, Entry, eventually};

use crate::{
    contract::{ACCOUNT, Amount, Body, Command, Price, TARIFF},
    ledger::{Ledger, UNLUCKY, UNLUCKY_AMOUNT, UNLUCKY_BALANCE, account_that_panics_in},
    rig::{Rig, Running, connect, counted, deposit, deposit_then, deposits, kinds, send, store},
};

testkit::on_both_databases!(
    a_function_that_panics_parks_its_input_and_nothing_else,
    a_replica_passes_over_an_event_that_makes_it_panic,
    a_panic_while_a_log_is_folded_stops_its_partition_alone,
    a_row_that_panics_is_never_published,
    what_is_not_needed_for_a_decision_may_panic,
    a_row_that_cannot_be_written_stops_its_partition_alone,
    a_row_that_cannot_be_read_stops_its_partition_alone,
    a_deadline_that_cannot_be_read_stops_its_partition_alone,
);

/// Each parked input: its aggregate and the reason.
async fn parked(client: &Client) -> Vec<(String, String)> {
    let page = client.parked(ACCOUNT, 0, None).await.expect("it is answered");
    page.parked.into_iter().map(|row| (row.aggregate_id, row.reason)).collect()
}

async fn a_function_that_panics_parks_its_input_and_nothing_else(db: Db) {
    const PARKING: &[&str] = &["command", "decide", "revision", "aggregate", "encode", "decode"];
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    let mut expected = Vec::new();
    for function in PARKING {
        let account = account_that_panics_in(function);
        store(&client, Lane::Live, deposit(&account, 1)).await;
        expected.push((account, format!("a rule panicked: an unlucky {function}")));
    }
    store(&client, Lane::Live, deposit("panics-in-apply", UNLUCKY_AMOUNT)).await;
    let reason = "a rule panicked: an unlucky amount".to_owned();
    expected.push(("panics-in-apply".to_owned(), reason));
    store(&client, Lane::Live, deposit("panics-in-answer", UNLUCKY_BALANCE)).await;
    let reason = "a rule panicked: an unlucky balance".to_owned();
    expected.push(("panics-in-answer".to_owned(), reason));
    let weighed = account_that_panics_in("weight");
    send(&client, deposit(&weighed, 7)).await;
    let foreign = account_that_panics_in("foreign");
    rig.write_event(&foreign, counted(1, 1)).await;
    rig.write_event("A", counted(3, 1)).await;
    expected.push((foreign, "a rule panicked: an unlucky foreign".to_owned()));
    eventually("they are parked", async || parked(&client).await.len() == expected.len()).await;
    let mut found = parked(&client).await;
    found.sort();
    expected.sort();
    assert_eq!(found, expected);

    send(&client, deposit("A", 4)).await;
    running.stop().await;
    let running = Running::start(&engine, &Ledger::default());
    send(&client, deposit("A", 5)).await;
    let log = rig.check(&engine).await;
    assert_eq!((deposits(&log, "A"), deposits(&log, &weighed)), (vec![3, 4, 5], vec![7]));
    running.stop().await;
}

async fn a_replica_passes_over_an_event_that_makes_it_panic(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let priced = |item: &str, price| Body::Priced(Price { item: item.to_owned(), price });
    rig.write_event(UNLUCKY, priced(UNLUCKY, 1)).await;
    rig.write_event("tea", priced("tea", 2)).await;
    // Once in the fold at the start, and once live.
    let running = Running::start(&engine, &Ledger::default());
    rig.write_event(UNLUCKY, priced(UNLUCKY, 3)).await;
    let end = rig.write_event("coffee", priced("coffee", 4)).await;
    eventually("the replica has read all", async || {
        let positions = engine.client().positions(ACCOUNT).await;
        positions.is_ok_and(|all| all[0].get(TARIFF) == Some(&end.into()))
    })
    .await;
    send(&engine.client(), deposit("A", 1)).await;
    rig.check(&engine).await;
    running.stop().await;
}

/// Two shops, in the two partitions.
fn shops() -> [Shop; 2] {
    [0, 1].map(|partition| {
        let mut names = (0..).map(|number| Shop::parse(&format!("shop-{number}")));
        names
            .find_map(|shop| shop.ok().filter(|shop| subject::partition(shop, 2) == partition))
            .expect("there is one")
    })
}

async fn deposit_into(engine: &Engine, shop: &Shop, amount: i64) {
    let mut command = deposit("A", amount);
    command.shop = shop.to_string();
    send(&engine.client(), command).await;
}

async fn a_panic_while_a_log_is_folded_stops_its_partition_alone(db: Db) {
    let rig = Rig::start(db).await;
    let engine = connect(Config { partitions: 2, ..rig.config() }).await;
    let [first, second] = shops();
    let running = Running::start_claimed(&engine, &Ledger::default());
    deposit_into(&engine, &first, 1).await;
    deposit_into(&engine, &second, 1).await;
    running.stop().await;

    // What the last version of the rules could apply, and this one cannot.
    let Entry { mut event, .. } = rig.log().await.remove(0);
    event.id =
        EventId::parse("01890a5d-ac96-774b-bcce-b302099a8057").expect("it is one").to_string();
    "unlucky".clone_into(&mut event.aggregate_id);
    event.cause = None;
    event.body = Some(Body::Deposited(Amount { amount: UNLUCKY_AMOUNT, ..Default::default() }));
    let subject = subject::event(ACCOUNT, 0, &first, "deposited");
    let sequence = rig.write(&subject, "unlucky", event.encode_to_vec()).await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    let expected =
        format!("folding ACCOUNT-0 at {sequence} failed: a rule panicked: an unlucky amount");
    eventually("the partition is named", async || {
        engine.partitions().iter().any(|status| {
            matches!(&status.state, PartitionState::Failing { reason, failures }
                if status.partition == 0 && *reason == expected && *failures >= 2)
        })
    })
    .await;
    deposit_into(&engine, &second, 2).await;
    let partitions = engine.partitions();
    assert!(
        partitions
            .iter()
            .any(|status| status.partition == 1 && status.state == PartitionState::Held),
        "{partitions:?}"
    );
    running.stop().await;
}

async fn a_row_that_panics_is_never_published(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    let note = format!("note:{}", account_that_panics_in("columns"));
    store(&client, Lane::Live, deposit_then("A", 1, &note)).await;
    send(&client, deposit("B", 2)).await;
    let reason = "a rule panicked: an unlucky columns".to_owned();
    eventually("it is parked", async || !parked(&client).await.is_empty()).await;
    assert_eq!(parked(&client).await, [("A".to_owned(), reason)]);
    let log = rig.check(&engine).await;
    assert_eq!((deposits(&log, "A"), deposits(&log, "B")), (Vec::new(), vec![2]));
    running.stop().await;
}

async fn what_is_not_needed_for_a_decision_may_panic(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let merged = account_that_panics_in("merge");
    // All are there before the first batch is taken.
    rig.write_events((0..50).map(|number| ("acme", merged.as_str(), counted(number, 1)))).await;
    let ledger = Ledger::default();
    ledger.miscounts.store(true, Ordering::SeqCst);
    let running = Running::start_claimed(&engine, &ledger);
    let client = engine.client();
    let charged = ["destination", "context"].map(account_that_panics_in);
    for account in &charged {
        send(&client, deposit_then(account, 5, "charge")).await;
    }
    eventually("both are charged, and all is counted again", async || {
        let failing = engine
            .partitions()
            .into_iter()
            .find(|status| matches!(status.state, PartitionState::Failing { .. }));
        assert_eq!(failing, None);
        let log = rig.log().await;
        let is_charged = |account: &String| kinds(&log, account).contains(&"charged");
        charged.iter().all(is_charged) && ledger.counted.load(Ordering::SeqCst) >= 2
    })
    .await;
    assert_eq!(parked(&client).await, []);
    let log = rig.check(&engine).await;
    assert_eq!(deposits(&log, &merged), (0..50).collect::<Vec<_>>());
    running.stop().await;
}

/// A function of the service panics because of the last command to the first partition: that stops it,
/// while it runs and when it starts again, and not the second.
async fn check_stops_alone(db: Db, function: &str, account: &str, then: &str, is_restarted: bool) {
    let rig = Rig::start(db).await;
    let engine = connect(Config { partitions: 2, ..rig.config() }).await;
    let client = engine.client();
    let [first, second] = shops();
    let of = |shop: &Shop, command: Command| Command { shop: shop.to_string(), ..command };
    let mut running = Running::start_claimed(&engine, &Ledger::default());
    store(&client, Lane::Live, of(&first, deposit_then(account, 1, then))).await;
    if is_restarted {
        let client = engine.client();
        eventually("its rows are written", async || {
            let positions = client.positions(ACCOUNT).await;
            positions.is_ok_and(|all| all[0].get("log").is_some_and(|log| log.sequence >= 2))
        })
        .await;
        running.stop().await;
        running = Running::start_claimed(&engine, &Ledger::default());
        store(&client, Lane::Live, of(&first, deposit(account, 2))).await;
    }
    let expected = format!("an unlucky {function}");
    eventually("the partition is named", async || {
        engine.partitions().iter().any(|status| {
            matches!(&status.state, PartitionState::Failing { reason, failures }
                if status.partition == 0 && reason.contains(&expected) && *failures >= 2)
        })
    })
    .await;
    deposit_into(&engine, &second, 2).await;
    let partitions = engine.partitions();
    let is_second_held = partitions
        .iter()
        .any(|status| status.partition == 1 && status.state == PartitionState::Held);
    assert!(is_second_held, "{partitions:?}");
    running.stop().await;
}

async fn a_row_that_cannot_be_written_stops_its_partition_alone(db: Db) {
    let note = format!("note:{}", account_that_panics_in("serialize"));
    check_stops_alone(db, "serialize", "A", &note, false).await;
}

async fn a_row_that_cannot_be_read_stops_its_partition_alone(db: Db) {
    let note = format!("note:{}", account_that_panics_in("deserialize"));
    check_stops_alone(db, "deserialize", "A", &note, true).await;
}

async fn a_deadline_that_cannot_be_read_stops_its_partition_alone(db: Db) {
    check_stops_alone(db, "timer", &account_that_panics_in("timer"), "promise", false).await;
}
