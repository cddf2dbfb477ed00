//! A position beyond the end of its stream is named with both numbers, and an operator resolves it.

use engine::{Engine, Error, Operator, PartitionState};
use protocol::subject::Lane;
use testkit::{Db, eventually};

use crate::{
    ledger::Ledger,
    rig::{Rig, Running, deposit, deposits, send, store},
};

testkit::on_both_databases!(
    an_inbox_that_was_created_anew_while_nobody_ran_is_named_until_its_position_is_reset,
    an_inbox_that_is_created_anew_while_the_service_runs_is_named_until_its_position_is_reset,
    an_inbox_that_was_created_anew_and_has_passed_the_position_is_named_until_that_is_reset,
    an_inbox_that_is_created_anew_and_passes_the_position_while_the_service_runs_is_named,
    a_position_in_a_stream_that_nobody_reads_cannot_be_reset,
    verify_creates_no_stream_that_is_missing,
);

const OPERATOR: Operator = Operator::of::<Ledger>();
const INBOX: &str = "INBOX-0";
/// Commands in the inbox that is lost.
const HANDLED: i64 = 5;

const BEYOND_END: &str = "INBOX-0 ends at 0, but account has handled it up to 5";
const REPLACED: &str = "INBOX-0 was created anew since account handled it up to 5";

async fn await_failing(engine: &Engine, why: &str) {
    eventually("the partition is named", async || {
        engine.partitions().iter().any(|status| {
            matches!(&status.state, PartitionState::Failing { reason, .. }
                if reason.starts_with(why))
        })
    })
    .await;
}

async fn reset(engine: &Engine) {
    for source in ["inbox.live", "inbox.bulk"] {
        let reset = OPERATOR.reset_position(engine, 0, source, 0, "the inbox was lost").await;
        reset.expect("it can be reset");
    }
}

async fn resolve(rig: &Rig, engine: &Engine) {
    let error = OPERATOR.verify(engine).await.expect_err("the position is beyond the end");
    assert!(matches!(error, Error::PositionBeyondEnd { position: 5, last: 0, .. }), "{error:?}");
    reset(engine).await;
    store(&engine.client(), Lane::Live, deposit("A", 7)).await;
    eventually("it is handled", async || deposits(&rig.log().await, "A").last() == Some(&7)).await;
    send(&engine.client(), deposit("A", 8)).await;
    let log = rig.check(engine).await;
    assert_eq!(deposits(&log, "A"), [1, 2, 3, 4, 5, 7, 8]);
}

async fn an_inbox_that_was_created_anew_while_nobody_ran_is_named_until_its_position_is_reset(
    db: Db,
) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    for amount in 1..=HANDLED {
        send(&engine.client(), deposit("A", amount)).await;
    }
    running.stop().await;
    rig.create_anew(INBOX).await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    await_failing(&engine, BEYOND_END).await;
    resolve(&rig, &engine).await;
    running.stop().await;
    OPERATOR.rebuild(&engine).await.expect("it can be rebuilt");
    rig.check(&engine).await;
}

async fn an_inbox_that_is_created_anew_while_the_service_runs_is_named_until_its_position_is_reset(
    db: Db,
) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    for amount in 1..=HANDLED {
        send(&engine.client(), deposit("A", amount)).await;
    }
    rig.create_anew(INBOX).await;
    await_failing(&engine, BEYOND_END).await;
    resolve(&rig, &engine).await;
    running.stop().await;
}

/// Puts more commands into an inbox that was created anew than were handled of the one before it.
async fn pass_position(engine: &Engine) {
    for amount in HANDLED + 1..=2 * HANDLED + 2 {
        store(&engine.client(), Lane::Live, deposit("A", amount)).await;
    }
}

async fn resolve_replaced(rig: &Rig, engine: &Engine) {
    let error = OPERATOR.verify(engine).await.expect_err("the stream is another one");
    assert!(matches!(error, Error::StreamReplaced { .. }), "{error:?}");
    reset(engine).await;
    let all: Vec<_> = (1..=2 * HANDLED + 2).collect();
    eventually("all is handled", async || deposits(&rig.log().await, "A") == all).await;
    rig.check(engine).await;
}

async fn an_inbox_that_was_created_anew_and_has_passed_the_position_is_named_until_that_is_reset(
    db: Db,
) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    for amount in 1..=HANDLED {
        send(&engine.client(), deposit("A", amount)).await;
    }
    running.stop().await;
    rig.create_anew(INBOX).await;
    pass_position(&engine).await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    await_failing(&engine, REPLACED).await;
    resolve_replaced(&rig, &engine).await;
    running.stop().await;
    // What was reset is not in doubt again.
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 100)).await;
    running.stop().await;
}

async fn an_inbox_that_is_created_anew_and_passes_the_position_while_the_service_runs_is_named(
    db: Db,
) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    for amount in 1..=HANDLED {
        send(&engine.client(), deposit("A", amount)).await;
    }
    rig.create_anew(INBOX).await;
    pass_position(&engine).await;
    await_failing(&engine, REPLACED).await;
    resolve_replaced(&rig, &engine).await;
    running.stop().await;
}

async fn a_position_in_a_stream_that_nobody_reads_cannot_be_reset(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let refused = OPERATOR.reset_position(&engine, 0, "stranger", 0, "a mistake").await;
    let Err(Error::Refused(problem)) = refused else { panic!("{refused:?}") };
    assert_eq!(
        problem,
        "account reads no \"stranger\"; it reads inbox.live, inbox.bulk, intake, tariff"
    );
    assert_eq!(rig.log().await.len(), 0);
}

async fn verify_creates_no_stream_that_is_missing(db: Db) {
    let rig = Rig::start(db).await;
    let engine = Engine::connect_only(rig.config()).await.expect("it connects");
    OPERATOR.verify(&engine).await.expect_err("there is no log");
    let missing = engine.diff_streams().await.expect("they can be compared");
    assert_eq!(missing.len(), 4 + 1 + 1, "{missing:?}");
}
