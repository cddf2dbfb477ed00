//! Inputs that a service decides on at once.

use testkit::{Db, eventually};

use crate::{
    contract::INTAKE,
    gate::Gate,
    ledger::{Ledger, POOL, POOLED, UNLUCKY_AMOUNT},
    rig::{Rig, Running, counted, deposits, parked},
};

testkit::on_both_databases!(
    events_that_come_at_once_are_decided_on_at_once,
    one_that_fails_among_them_is_parked_alone,
    none_among_them_passes_one_that_is_parked_in_the_same_batch,
);

/// So many events come at once that some of them are in one batch.
const EVENTS: i64 = 300;

async fn events_that_come_at_once_are_decided_on_at_once(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    for _ in 0..EVENTS {
        rig.write_event(POOLED, counted(2, 1)).await;
    }
    rig.write_event("alone", counted(7, 1)).await;
    rig.write_event("alone", counted(8, 1)).await;
    let running = Running::start(&engine, &Ledger::default());
    let done = async || deposits(&rig.log().await, "alone").len() == 2;
    eventually("all are handled", done).await;
    let log = rig.check(&engine).await;
    let pooled = deposits(&log, POOLED);
    assert_eq!(pooled.iter().sum::<i64>(), 2 * EVENTS);
    assert!(pooled.len() < 100, "{} decisions", pooled.len());
    assert_eq!(deposits(&log, "alone"), [7, 8]);
    running.stop().await;

    // The position of the last one stands for all of them.
    let running = Running::start(&engine, &Ledger::default());
    rig.write_event(POOLED, counted(5, 1)).await;
    let more = async || deposits(&rig.log().await, POOLED).len() > pooled.len();
    eventually("the next one is handled", more).await;
    let log = rig.check(&engine).await;
    assert_eq!(deposits(&log, POOLED).iter().sum::<i64>(), 2 * EVENTS + 5);
    running.stop().await;
}

async fn one_that_fails_among_them_is_parked_alone(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    for amount in [1, 2, UNLUCKY_AMOUNT, 4] {
        rig.write_event(POOLED, counted(amount, 1)).await;
    }
    rig.write_event("alone", counted(7, 1)).await;
    let running = Running::start(&engine, &Ledger::default());
    // The one after it waits behind it, as it is of the same aggregate.
    let waiting = parked(&engine.client(), 2).await;
    assert_eq!(waiting.iter().map(|input| input.sequence).collect::<Vec<_>>(), [3, 4]);
    let done = async || deposits(&rig.log().await, "alone") == [7];
    eventually("the rest is handled", done).await;
    let log = rig.check(&engine).await;
    assert_eq!(deposits(&log, POOLED).iter().sum::<i64>(), 3);
    running.stop().await;
}

async fn none_among_them_passes_one_that_is_parked_in_the_same_batch(db: Db) {
    let rig = Rig::start(db).await;
    let gate = Gate::default();
    let engine = rig.engine_with(gate.faults()).await;
    // While the first one is about to be appended, the others come: they are in one batch.
    rig.write_event("alone", counted(7, 1)).await;
    let entering = gate.close();
    let running = Running::start(&engine, &Ledger::default());
    entering.await.expect("something is about to be appended");
    // Another shop's is between the one that fails and the next of its account, which would else fail with it.
    rig.write_events([
        ("acme", POOLED, counted(UNLUCKY_AMOUNT, 1)),
        ("other", "alone", counted(8, 1)),
        ("acme", POOLED, counted(2, 1)),
        ("acme", POOL, counted(4, 1)),
    ])
    .await;
    rig.await_read(&format!("{}-0", INTAKE.to_uppercase())).await;
    gate.open();
    let waiting = parked(&engine.client(), 2).await;
    assert_eq!(waiting.iter().map(|input| input.sequence).collect::<Vec<_>>(), [2, 4]);
    eventually("the rest is handled", async || deposits(&rig.log().await, POOL) == [4]).await;
    let log = rig.check(&engine).await;
    assert_eq!(deposits(&log, "alone"), [7, 8]);
    assert!(deposits(&log, POOLED).is_empty());
    running.stop().await;
}
