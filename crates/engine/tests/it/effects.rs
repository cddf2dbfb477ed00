//! An operation that fails costs the others nothing, and what is known of it survives a restart.

use std::{sync::atomic::Ordering, time::Duration};

use engine::Engine;
use futures::StreamExt;
use protocol::subject::Lane;
use sqlx::{Executor, Row};
use testkit::{Db, eventually};

use crate::{
    clock::ManualClock,
    contract::ACCOUNT,
    ledger::{Ledger, REFUSED_AMOUNT, UNLUCKY, UNLUCKY_AMOUNT},
    rig::{
        Rig, Running, change_deposit, deposit, deposit_lines, deposit_then, kinds, parked, redrive,
        send, store,
    },
};

testkit::on_both_databases!(
    operations_that_are_refused_again_and_again_cost_the_others_nothing,
    an_attempt_that_panics_is_made_again_later_and_stops_nothing,
    a_redrive_of_one_aggregate_does_not_begin_the_operation_of_another,
    the_attempts_of_an_operation_survive_a_restart_and_a_rebuild,
    an_operation_that_is_announced_again_is_not_attempted_twice_at_a_time,
    what_comes_of_an_attempt_counts_when_its_operation_is_announced_no_more,
);

async fn is_charged(rig: &Rig, account: &str) -> bool {
    kinds(&rig.log().await, account).contains(&"charged")
}

/// The attempts at each pending operation, as they are written down, in no particular order.
async fn attempts(rig: &Rig) -> Vec<i64> {
    let mut db = rig.db.connect(ACCOUNT).await;
    let rows = db.fetch_all("select attempts from engine_attempt").await;
    rows.expect("the table is there").iter().map(|row| row.get(0)).collect()
}

async fn operations_that_are_refused_again_and_again_cost_the_others_nothing(db: Db) {
    const REFUSED: usize = 1_000;
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::default();
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    let refused = (0..REFUSED)
        .map(|number| deposit_then(&format!("refused-{number}"), REFUSED_AMOUNT, "charge"));
    let sent = refused.map(async |command| drop(send(&client, command).await));
    futures::stream::iter(sent).buffer_unordered(200).collect::<Vec<_>>().await;
    eventually("each was tried", async || attempts(&rig).await.len() == REFUSED).await;

    send(&client, deposit_then("A", 5, "charge")).await;
    eventually("A is charged", async || is_charged(&rig, "A").await).await;
    eventually("they are tried again", async || {
        attempts(&rig).await.iter().all(|attempts| *attempts > 2)
    })
    .await;
    send(&client, deposit("B", 1)).await;
    send(&client, deposit_then("B", 5, "charge")).await;
    eventually("B is charged", async || is_charged(&rig, "B").await).await;
    rig.check(&engine).await;
    running.stop().await;
}

async fn an_attempt_that_panics_is_made_again_later_and_stops_nothing(db: Db) {
    let rig = Rig::start(db).await;
    let clock = ManualClock::at_present();
    let engine = clock.engine(&rig).await;
    let ledger = Ledger::default();
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    let unlucky = deposit_lines("A", &[("any", UNLUCKY_AMOUNT - 1), ("any", 1)]);
    let unlucky = change_deposit(unlucky, |deposit| "charge".clone_into(&mut deposit.then));
    send(&client, unlucky).await;
    eventually("the first attempt was made", async || attempts(&rig).await == [1]).await;
    send(&client, deposit_then("B", 5, "charge")).await;
    eventually("B is charged", async || is_charged(&rig, "B").await).await;

    clock.forward(Duration::from_secs(61));
    eventually("the next attempt was made", async || attempts(&rig).await == [2]).await;
    assert!(!is_charged(&rig, "A").await);
    rig.check(&engine).await;
    running.stop().await;
}

async fn a_redrive_of_one_aggregate_does_not_begin_the_operation_of_another(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::with_silent_provider();
    ledger.broken.store(true, Ordering::Relaxed);
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    send(&client, deposit_then("A", 5, "charge")).await;
    send(&client, deposit_then("C", 5, "charge")).await;
    store(&client, Lane::Live, deposit_lines("B", &[(UNLUCKY, 2)])).await;
    store(&client, Lane::Live, deposit_lines("C", &[(UNLUCKY, 2)])).await;
    eventually("the provider is asked", async || ledger.charges().len() == 2).await;
    let rows = parked(&client, 2).await;

    ledger.broken.store(false, Ordering::Relaxed);
    for row in rows {
        assert_eq!(redrive(&client, &row, None).await.handled, [row.id]);
    }
    ledger.provider.add_permits(2);
    for account in ["A", "C"] {
        eventually("it is charged", async || is_charged(&rig, account).await).await;
    }
    let mut charges = ledger.charges();
    charges.sort();
    assert_eq!(charges, [("A".to_owned(), false), ("C".to_owned(), false)]);
    rig.check(&engine).await;
    running.stop().await;
}

async fn the_attempts_of_an_operation_survive_a_restart_and_a_rebuild(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::with_silent_provider();
    let running = Running::start(&engine, &ledger);
    send(&engine.client(), deposit_then("A", REFUSED_AMOUNT, "charge")).await;
    let tried = async |at_least: i64| {
        eventually("it was tried", async || {
            attempts(&rig).await.first().is_some_and(|attempts| *attempts >= at_least)
        })
        .await;
        attempts(&rig).await[0]
    };
    tried(3).await;
    running.stop().await;
    let before = attempts(&rig).await[0];

    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    assert_eq!(attempts(&rig).await, [before]);
    let running = Running::start(&engine, &ledger);
    assert!(tried(before + 1).await > before, "it counts on");
    send(&engine.client(), deposit_then("B", 5, "charge")).await;
    eventually("B is asked", async || ledger.charges().len() == 1).await;
    running.stop().await;

    // The provider may have heard of B before.
    let running = Running::start(&engine, &ledger);
    eventually("B is asked again", async || ledger.charges().len() == 2).await;
    assert_eq!(ledger.charges(), [("B".to_owned(), false), ("B".to_owned(), true)]);
    ledger.provider.add_permits(1);
    eventually("B is charged", async || is_charged(&rig, "B").await).await;
    eventually("nothing is kept of B", async || attempts(&rig).await.len() == 1).await;
    rig.check(&engine).await;
    running.stop().await;
}

/// A provider that is asked to charge A and does not answer, while the row of A announces the charge no more.
async fn charge_that_is_announced_no_more(db: Db) -> (Rig, Engine, Ledger, Running) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::with_silent_provider();
    let running = Running::start(&engine, &ledger);
    send(&engine.client(), deposit_then("A", 5, "charge")).await;
    eventually("A is asked", async || ledger.charges().len() == 1).await;
    send(&engine.client(), deposit("A", -5)).await;
    (rig, engine, ledger, running)
}

async fn what_comes_of_an_attempt_counts_when_its_operation_is_announced_no_more(db: Db) {
    let (rig, engine, ledger, running) = charge_that_is_announced_no_more(db).await;
    ledger.provider.add_permits(1);
    eventually("A is charged", async || is_charged(&rig, "A").await).await;
    rig.check(&engine).await;
    running.stop().await;
}

async fn an_operation_that_is_announced_again_is_not_attempted_twice_at_a_time(db: Db) {
    let (rig, engine, ledger, running) = charge_that_is_announced_no_more(db).await;
    let client = engine.client();
    // Its row announces the same again.
    send(&client, deposit("A", 5)).await;
    send(&client, deposit_then("B", 5, "charge")).await;
    eventually("B is asked", async || ledger.charges().len() >= 2).await;
    assert_eq!(ledger.charges(), [("A".to_owned(), false), ("B".to_owned(), false)]);

    // What came of the attempt counts.
    ledger.provider.add_permits(2);
    for account in ["A", "B"] {
        eventually("it is charged", async || is_charged(&rig, account).await).await;
    }
    assert_eq!(ledger.charges().len(), 2);
    let log = rig.check(&engine).await;
    assert_eq!(
        kinds(&log, "A"),
        ["deposited", "charge_pending", "deposited", "deposited", "charged"]
    );
    running.stop().await;
}
