//! A position beyond the end of its stream is named with both numbers, and an operator resolves it.

use async_nats::HeaderMap;
use engine::{Engine, Error, Operator, PartitionState, Remedy};
use prost::Message;
use protocol::{
    id::{CommandId, Shop},
    proto::{self, engine_event::Kind},
    subject::{Lane, POSITIONS_HEADER},
};
use sqlx::{Executor, Row};
use testkit::{Db, eventually};

use crate::{
    contract::{ACCOUNT, Body, Event, Price, TARIFF},
    ledger::Ledger,
    rig::{Rig, Running, deposit, deposits, send, shop, store},
};

testkit::on_both_databases!(
    an_inbox_that_was_created_anew_while_nobody_ran_is_named_until_its_position_is_reset,
    an_inbox_that_is_created_anew_while_the_service_runs_is_named_until_its_position_is_reset,
    an_inbox_that_was_created_anew_and_has_passed_the_position_is_named_until_that_is_reset,
    an_inbox_that_is_created_anew_and_passes_the_position_while_the_service_runs_is_named,
    a_position_in_a_stream_that_nobody_reads_cannot_be_reset,
    the_position_of_a_replica_is_not_reset,
    a_replica_of_a_log_that_was_created_anew_is_read_anew_by_a_rebuild,
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

/// Waits until the rows have those prices of items.
async fn await_prices(rig: &Rig, items: &[&str]) {
    eventually("the prices are known", async || {
        let mut connection = rig.db.connect(ACCOUNT).await;
        let rows = connection.fetch_all("select key from price order by key").await;
        let keys = rows.expect("the table is there");
        keys.iter().map(|row| row.get::<String, _>("key")).collect::<Vec<_>>() == items
    })
    .await;
}

fn priced(item: &str, price: i64) -> Body {
    Body::Priced(Price { item: item.to_owned(), price })
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

async fn the_position_of_a_replica_is_not_reset(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    // As soon as it answers, the tables are there.
    send(&engine.client(), deposit("A", 1)).await;
    rig.write_event("tea", priced("tea", 5)).await;
    let last = rig.write_event("milk", priced("milk", 2)).await;
    await_prices(&rig, &["milk", "tea"]).await;
    let refused = OPERATOR.reset_position(&engine, 0, TARIFF, last, "a mistake").await;
    let Err(error @ Error::ReplicaPosition { .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(error.remedy(), Some(Remedy::RebuildReplica { service: ACCOUNT }));
    assert_eq!(rig.log().await.len(), 1);
    running.stop().await;

    // An older version recorded it all the same.
    let reset = Kind::PositionReset(proto::PositionReset {
        source: TARIFF.to_owned(),
        sequence: last,
        reason: "a mistake".to_owned(),
    });
    let event = Event {
        id: CommandId::from_key(&shop(), "reset").to_string(),
        shop: Shop::unknown().to_string(),
        aggregate_id: "position_reset:0-2".to_owned(),
        aggregate_version: 1,
        position: 2,
        time: Some(prost_types::Timestamp::default()),
        body: Some(Body::Engine(proto::EngineEvent { kind: Some(reset) })),
        ..Default::default()
    };
    let mut headers = HeaderMap::new();
    headers.insert(POSITIONS_HEADER, "");
    let subject = "engine.account.0.position_reset";
    rig.write_with(subject, headers, event.encode_to_vec()).await;
    OPERATOR.rebuild(&engine).await.expect("it can be rebuilt");
    await_prices(&rig, &["milk", "tea"]).await;
    rig.check(&engine).await;
}

async fn a_replica_of_a_log_that_was_created_anew_is_read_anew_by_a_rebuild(db: Db) {
    const REMEDY: &str = "RebuildReplica { service: \"account\" }";
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&engine.client(), deposit("A", 1)).await;
    rig.write_event("tea", priced("tea", 5)).await;
    await_prices(&rig, &["tea"]).await;
    rig.create_anew("TARIFF-0").await;
    eventually("the partition is named, with the way on", async || {
        engine.partitions().iter().any(|status| {
            matches!(&status.state, PartitionState::Failing { reason, .. }
                if reason.starts_with("TARIFF-0 ends at 0") && reason.ends_with(REMEDY))
        })
    })
    .await;
    let error = OPERATOR.verify(&engine).await.expect_err("the position is beyond the end");
    assert_eq!(error.remedy(), Some(Remedy::RebuildReplica { service: ACCOUNT }), "{error}");
    let operators = rig.engine().await;
    // A busy machine may answer later than an operator waits.
    eventually("it is rebuilt", async || OPERATOR.rebuild(&operators).await.is_ok()).await;
    await_prices(&rig, &[]).await;
    send(&engine.client(), deposit("A", 2)).await;
    running.stop().await;
    rig.check(&engine).await;
}

async fn verify_creates_no_stream_that_is_missing(db: Db) {
    let rig = Rig::start(db).await;
    let engine = Engine::connect_only(rig.config()).await.expect("it connects");
    OPERATOR.verify(&engine).await.expect_err("there is no log");
    let missing = engine.diff_streams().await.expect("they can be compared");
    assert_eq!(missing.len(), 4 + 1 + 1, "{missing:?}");
}
