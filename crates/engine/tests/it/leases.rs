//! One process at a time runs a partition, and another takes over.

use std::sync::atomic::Ordering;

use engine::Error;
use testkit::Db;

use crate::{
    ledger::Ledger,
    rig::{Rig, Running, deposit, deposits, send},
};

testkit::on_both_databases!(
    another_process_takes_over_when_the_first_is_stopped,
    another_process_takes_over_when_the_first_is_killed,
    a_rebuild_is_refused_while_somebody_runs_the_service,
);

async fn another_process_takes_over_when_the_first_is_stopped(db: Db) {
    takes_over(db, async |first| first.stop().await).await;
}

async fn another_process_takes_over_when_the_first_is_killed(db: Db) {
    takes_over(db, async |first| first.kill().await).await;
}

async fn takes_over(db: Db, end: impl AsyncFnOnce(Running)) {
    let rig = Rig::start(db).await;
    let (here, elsewhere) = (rig.engine().await, rig.engine_elsewhere().await);
    let (first, second) = (Ledger::default(), Ledger::default());
    let running = Running::start_leased(&here, &first);
    send(&here.client(), deposit("A", 1)).await;
    let waiting = Running::start_leased(&elsewhere, &second);
    send(&here.client(), deposit("A", 2)).await;
    assert_eq!(decided(&first, &second), (2, 0));

    end(running).await;
    send(&here.client(), deposit("A", 3)).await;
    assert_eq!(decided(&first, &second), (2, 1));
    rig.check(&here).await;
    assert_eq!(deposits(&rig.check(&elsewhere).await, "A"), [1, 2, 3]);
    waiting.stop().await;
}

fn decided(first: &Ledger, second: &Ledger) -> (u64, u64) {
    (first.decided.load(Ordering::SeqCst), second.decided.load(Ordering::SeqCst))
}

async fn a_rebuild_is_refused_while_somebody_runs_the_service(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start_leased(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 1)).await;
    let error = rig.engine_elsewhere().await.rebuild::<Ledger>().await.expect_err("it is run");
    assert!(matches!(error, Error::LeaseHeld { partition: 0, .. }), "{error}");
    assert_eq!(error.to_string(), "order-0 is being run by test; stop it first");
    running.stop().await;
    engine.rebuild::<Ledger>().await.expect("it can be rebuilt now");
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [1]);
}
