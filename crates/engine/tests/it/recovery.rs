//! A recovery that fails is made again and again, and leaves nothing behind.

use engine::PartitionState;
use futures::TryStreamExt;
use protocol::subject::Lane;
use testkit::{Db, eventually};

use crate::{
    contract::ACCOUNT,
    ledger::Ledger,
    rig::{Rig, Running, deposit, deposits, send, store},
};

testkit::on_both_databases!(a_recovery_that_fails_leaves_no_reader_behind);

/// The names of the consumers of a stream.
async fn consumers(rig: &Rig, stream: &str) -> Vec<String> {
    let found = rig.server.jetstream().await.get_stream(stream).await.expect("it is there");
    let names: Result<Vec<_>, _> = found.consumer_names().try_collect().await;
    names.expect("they are listed")
}

async fn a_recovery_that_fails_leaves_no_reader_behind(db: Db) {
    const FAILURES: u32 = 5;
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let client = engine.client();
    let running = Running::start_claimed(&engine, &Ledger::default());
    send(&client, deposit("A", 1)).await;
    rig.await_read("INBOX-0").await;
    let before = consumers(&rig, "INBOX-0").await;

    // Another process writes its log, and the deadlines cannot be read when it recovers.
    rig.db.tamper(ACCOUNT, "alter table account rename to account_taken_away").await;
    let operator = engine::Operator::of::<Ledger>();
    let reset = operator.reset_position(&engine, 0, "inbox.bulk", 0, "a recovery").await;
    reset.expect("it can be reset");
    store(&client, Lane::Live, deposit("A", 2)).await;
    eventually("it has failed several times", async || {
        engine.partitions().iter().any(|status| {
            matches!(&status.state, PartitionState::Failing { failures, .. }
                if *failures >= FAILURES)
        })
    })
    .await;
    let mut left = consumers(&rig, "INBOX-0").await;
    left.retain(|name| !before.contains(name));
    assert!(left.is_empty(), "{} consumers of workers that never ran", left.len());

    rig.db.tamper(ACCOUNT, "alter table account_taken_away rename to account").await;
    eventually("it goes on", async || deposits(&rig.log().await, "A") == [1, 2]).await;
    running.stop().await;
    let verified = engine.verify::<Ledger>().await.expect("it can be verified");
    assert_eq!(verified.mismatches, []);
}
