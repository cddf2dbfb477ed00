//! Deadlines pass and operations are carried out, after the commit, whatever is restarted.

use engine::{Error, Faults, Step};
use protocol::subject::Lane;
use testkit::{Db, eventually};

use crate::{
    ledger::Ledger,
    rig::{Rig, Running, deposit_then, kinds, send, store},
};

testkit::on_both_databases!(
    a_deadline_passes_once,
    a_deadline_that_passed_while_nobody_ran_passes_after_the_restart,
    an_operation_is_carried_out_and_its_outcome_recorded,
    an_operation_is_not_carried_out_before_it_is_in_the_log,
    an_operation_that_was_published_before_a_crash_is_resumed,
    an_operation_that_was_under_way_at_a_crash_is_resumed,
);

async fn a_deadline_passes_once(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let command = deposit_then("A", 1, "promise");
    send(&engine.client(), command.clone()).await;
    // That of B is later by one turn at least: by then A's would have passed a second time.
    await_lapse(&rig, "A").await;
    send(&engine.client(), deposit_then("B", 1, "promise")).await;
    await_lapse(&rig, "B").await;

    let log = rig.check(&engine).await;
    assert_eq!(kinds(&log, "A"), ["deposited", "promised", "lapsed"]);
    let lapsed = log.iter().rfind(|entry| entry.event.aggregate_id == "A").expect("it is there");
    assert_eq!(lapsed.event.correlation_id, command.id);
    let cause = lapsed.event.cause.as_ref().map(|cause| (&*cause.id, &*cause.kind));
    assert_eq!(cause, Some(("", "timer.promise")));
    running.stop().await;
}

async fn a_deadline_that_passed_while_nobody_ran_passes_after_the_restart(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine_with(Faults::when(|_, step| step == Step::AfterProject)).await;
    store(&engine.client(), Lane::Live, deposit_then("A", 1, "promise")).await;
    Running::start(&engine, &Ledger::default()).fails().await;
    let engine = rig.engine().await;
    assert_eq!(kinds(&rig.check(&engine).await, "A"), ["deposited", "promised"]);

    let running = Running::start(&engine, &Ledger::default());
    await_lapse(&rig, "A").await;
    assert_eq!(kinds(&rig.check(&engine).await, "A"), ["deposited", "promised", "lapsed"]);
    running.stop().await;
}

async fn await_lapse(rig: &Rig, account: &str) {
    await_event(rig, account, "lapsed").await;
}

async fn await_event(rig: &Rig, account: &str, kind: &str) {
    eventually(&format!("{account} is {kind}"), async || {
        kinds(&rig.log().await, account).contains(&kind)
    })
    .await;
}

async fn an_operation_is_carried_out_and_its_outcome_recorded(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::default();
    let running = Running::start(&engine, &ledger);
    let command = deposit_then("A", 5, "charge");
    send(&engine.client(), command.clone()).await;
    await_event(&rig, "A", "charged").await;

    assert_eq!(ledger.charges(), [("A".to_owned(), false)]);
    let log = rig.check(&engine).await;
    assert_eq!(kinds(&log, "A"), ["deposited", "charge_pending", "charged"]);
    assert_eq!(log[2].event.correlation_id, command.id);
    running.stop().await;
}

async fn an_operation_is_not_carried_out_before_it_is_in_the_log(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine_with(Faults::when(|_, step| step == Step::BeforePublish)).await;
    let ledger = Ledger::default();
    store(&engine.client(), Lane::Live, deposit_then("A", 5, "charge")).await;
    Running::start(&engine, &ledger).fails().await;
    assert_eq!(ledger.charges(), []);

    let engine = rig.engine().await;
    let running = Running::start(&engine, &ledger);
    await_event(&rig, "A", "charged").await;
    assert_eq!(ledger.charges(), [("A".to_owned(), false)]);
    rig.check(&engine).await;
    running.stop().await;
}

async fn an_operation_that_was_published_before_a_crash_is_resumed(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine_with(Faults::when(|_, step| step == Step::BeforeProject)).await;
    let ledger = Ledger::with_silent_provider();
    store(&engine.client(), Lane::Live, deposit_then("A", 5, "charge")).await;
    let error = Running::start(&engine, &ledger).fails().await;
    assert!(matches!(error, Error::Stopped(Step::BeforeProject)), "{error}");
    // As soon as it is in the log it may be carried out.
    let before = ledger.charges().len();

    let engine = rig.engine().await;
    let running = Running::start(&engine, &ledger);
    eventually("the provider is asked", async || ledger.charges().len() > before).await;
    assert_eq!(ledger.charges()[before..], [("A".to_owned(), true)]);
    ledger.provider.add_permits(2);
    await_event(&rig, "A", "charged").await;
    rig.check(&engine).await;
    running.stop().await;
}

async fn an_operation_that_was_under_way_at_a_crash_is_resumed(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::with_silent_provider();
    let running = Running::start(&engine, &ledger);
    send(&engine.client(), deposit_then("A", 5, "charge")).await;
    eventually("the provider is asked", async || ledger.charges().len() == 1).await;
    running.kill().await;

    let running = Running::start(&engine, &ledger);
    eventually("the provider is asked again", async || ledger.charges().len() == 2).await;
    assert_eq!(ledger.charges(), [("A".to_owned(), false), ("A".to_owned(), true)]);
    ledger.provider.add_permits(2);
    await_event(&rig, "A", "charged").await;
    assert_eq!(kinds(&rig.check(&engine).await, "A"), ["deposited", "charge_pending", "charged"]);
    running.stop().await;
}
