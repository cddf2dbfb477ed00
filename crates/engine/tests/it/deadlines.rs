//! A deadline passes only when everything that came before it has been handled.

use std::{sync::atomic::Ordering, time::Duration};

use futures::StreamExt;
use protocol::subject::Lane;
use testkit::{Db, eventually};

use crate::{
    clock::ManualClock,
    gate::Gate,
    ledger::{Ledger, UNLUCKY},
    rig::{Rig, Running, deposit, deposit_lines, deposit_then, kinds, send, store},
};

testkit::on_both_databases!(
    what_came_before_a_deadline_counts_after_an_outage,
    what_came_before_a_deadline_counts_behind_a_long_backlog,
    what_waits_in_the_streams_counts_when_the_clock_jumps_forward,
    overdue_deadlines_of_what_is_parked_hold_up_no_other,
    many_deadlines_pass_once_each_after_an_outage,
);

async fn await_lapse(rig: &Rig, account: &str) {
    eventually(&format!("the promise to {account} lapses"), async || {
        kinds(&rig.log().await, account).contains(&"lapsed")
    })
    .await;
}

/// Promises to some accounts, and a deposit into each of them while nobody runs; then the promises
/// are overdue, and the service starts again. Nothing lapses before the deposit.
async fn check_outage(db: Db, accounts: usize, backlog: usize) {
    let rig = Rig::start(db).await;
    let clock = ManualClock::at_present();
    let engine = clock.engine(&rig).await;
    let running = Running::start(&engine, &Ledger::default());
    let names: Vec<_> = (0..accounts).map(|number| format!("account-{number}")).collect();
    for name in &names {
        send(&engine.client(), deposit_then(name, 1, "promise")).await;
    }
    running.stop().await;

    let client = engine.client();
    let others: Vec<_> = (0..backlog).map(|number| format!("other-{}", number % 50)).collect();
    let all = others.iter().chain(&names);
    let stored = all.map(|name| store(&client, Lane::Live, deposit(name, 2)));
    await_all(stored).await;

    clock.forward(Duration::from_hours(48));
    let running = Running::start(&engine, &Ledger::default());
    for name in &names {
        await_lapse(&rig, name).await;
    }
    let log = rig.check(&engine).await;
    for name in &names {
        assert_eq!(kinds(&log, name), ["deposited", "promised", "deposited", "lapsed"], "{name}");
    }
    running.stop().await;
}

/// Runs all of them, as many at a time as a client has in flight.
async fn await_all(all: impl Iterator<Item = impl Future<Output = ()>>) {
    futures::stream::iter(all).buffered(200).collect::<Vec<_>>().await;
}

async fn what_came_before_a_deadline_counts_after_an_outage(db: Db) {
    check_outage(db, 20, 0).await;
}

async fn what_came_before_a_deadline_counts_behind_a_long_backlog(db: Db) {
    check_outage(db, 20, 3_000).await;
}

async fn what_waits_in_the_streams_counts_when_the_clock_jumps_forward(db: Db) {
    /// More than two batches hold, and more new commands than a batch takes before deadlines.
    const OTHERS: usize = 1_200;
    let rig = Rig::start(db).await;
    let clock = ManualClock::at_present();
    let gate = Gate::default();
    let engine = clock.engine_with(&rig, gate.faults()).await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    let names: Vec<_> = (0..20).map(|number| format!("account-{number}")).collect();
    await_all(names.iter().map(|name| async {
        send(&client, deposit_then(name, 1, "promise")).await;
    }))
    .await;

    // The worker goes on deciding while nothing is appended, and no further than two batches.
    let entering = gate.close();
    store(&client, Lane::Live, deposit("gate", 1)).await;
    entering.await.expect("something is about to be appended");
    let others: Vec<_> = (0..OTHERS).map(|number| format!("other-{}", number % 50)).collect();
    let all = others.iter().chain(&names);
    await_all(all.map(|name| store(&client, Lane::Live, deposit(name, 2)))).await;
    clock.forward(Duration::from_hours(1_000));
    let before = clock.looks();
    eventually("the worker looks at the clock", async || clock.looks() > before + 10).await;
    let log = rig.log().await;
    assert!(names.iter().all(|name| kinds(&log, name) == ["deposited", "promised"]));
    gate.open();

    for name in &names {
        await_lapse(&rig, name).await;
    }
    let log = rig.check(&engine).await;
    for name in &names {
        assert_eq!(kinds(&log, name), ["deposited", "promised", "deposited", "lapsed"], "{name}");
    }
    running.stop().await;
}

async fn overdue_deadlines_of_what_is_parked_hold_up_no_other(db: Db) {
    /// More than pass at once.
    const PARKED: usize = 600;
    let rig = Rig::start(db).await;
    let clock = ManualClock::at_present();
    let engine = clock.engine(&rig).await;
    let ledger = Ledger::default();
    ledger.broken.store(true, Ordering::Relaxed);
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    let names: Vec<_> = (0..PARKED).map(|number| format!("account-{number}")).collect();
    await_all(names.iter().map(|name| async {
        send(&client, deposit_then(name, 1, "promise")).await;
    }))
    .await;
    let unlucky = names.iter().map(|name| deposit_lines(name, &[(UNLUCKY, 1)]));
    await_all(unlucky.map(|command| store(&client, Lane::Live, command))).await;
    eventually("all are parked", async || {
        let log = rig.log().await;
        log.iter().filter(|entry| entry.subject.ends_with(".parked")).count() == PARKED
    })
    .await;

    // Theirs are overdue for longer.
    clock.forward(Duration::from_secs(1));
    send(&client, deposit_then("A", 1, "promise")).await;
    clock.forward(Duration::from_hours(48));
    await_lapse(&rig, "A").await;
    assert_eq!(lapsed(&rig).await, 1);
    rig.check(&engine).await;
    running.stop().await;
}

async fn many_deadlines_pass_once_each_after_an_outage(db: Db) {
    const PROMISES: usize = 1_200;
    let rig = Rig::start(db).await;
    let clock = ManualClock::at_present();
    let engine = clock.engine(&rig).await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    let names: Vec<_> = (0..PROMISES).map(|number| format!("account-{number}")).collect();
    let promised = names.iter().map(|name| async {
        send(&client, deposit_then(name, 1, "promise")).await;
    });
    await_all(promised).await;
    running.stop().await;

    clock.forward(Duration::from_hours(48));
    let running = Running::start(&engine, &Ledger::default());
    eventually("all promises lapse", async || lapsed(&rig).await == PROMISES).await;
    let log = rig.check(&engine).await;
    for name in &names {
        assert_eq!(kinds(&log, name), ["deposited", "promised", "lapsed"], "{name}");
    }
    running.stop().await;
}

/// How many promises have lapsed.
async fn lapsed(rig: &Rig) -> usize {
    let log = rig.log().await;
    log.iter().filter(|entry| entry.subject.ends_with(".lapsed")).count()
}
