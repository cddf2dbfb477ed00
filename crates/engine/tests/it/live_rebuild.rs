//! A rebuild takes place beside a service that runs: writes and reads go on meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Connection, Executor};
use testkit::Db;
use tokio::time::sleep;

use crate::{
    contract::ACCOUNT,
    ledger::Ledger,
    rig::{Rig, Running, account, deposit, deposit_then, deposits, send},
};

testkit::on_both_databases!(
    questions_are_answered_while_the_rows_are_replaced,
    writes_and_reads_go_on_while_a_service_is_rebuilt,
);

async fn writes_and_reads_go_on_while_a_service_is_rebuilt(db: Db) {
    const REBUILDS: usize = 3;
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::with_silent_provider());
    let client = engine.client();
    for number in 0..200 {
        send(&client, deposit(&format!("account-{number}"), 1)).await;
    }
    send(&client, deposit_then("charged", 5, "charge")).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicI64::new(0));
    let writing = tokio::spawn({
        let (client, is_over, written) = (client.clone(), is_over.clone(), written.clone());
        async move {
            while !is_over.load(Ordering::SeqCst) {
                let amount = written.load(Ordering::SeqCst) + 1;
                let answered = send(&client, deposit("A", amount)).await;
                written.store(amount, Ordering::SeqCst);
                // It reads what it has written.
                let sequence = answered.sequence;
                let read = account(&client, "A", sequence).await;
                assert_eq!(read.expect("there is such an account").deposits, amount);
            }
        }
    });
    for _ in 0..REBUILDS {
        let before = written.load(Ordering::SeqCst);
        engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
        // The next one begins when writing has gone on.
        testkit::eventually("writing goes on", async || written.load(Ordering::SeqCst) > before)
            .await;
    }
    is_over.store(true, Ordering::SeqCst);
    writing.await.expect("every write and every read is answered");
    let log = rig.check(&engine).await;
    let all: Vec<_> = (1..=written.load(Ordering::SeqCst)).collect();
    assert_eq!(deposits(&log, "A"), all);
    running.stop().await;
    rig.check(&engine).await;
}

async fn questions_are_answered_while_the_rows_are_replaced(db: Db) {
    /// A rebuild first tries for 2 s to claim the partition. What is left is longer than the 5 s that an
    /// asker waits for an answer, and shorter than the 10 s that `SQLite` waits for a lock.
    const HELD_UP: Duration = Duration::from_secs(9);
    const PAUSE: Duration = Duration::from_millis(100);
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start_claimed(&engine, &Ledger::default());
    let client = engine.client();
    let written = send(&client, deposit("A", 1)).await.sequence;
    account(&client, "A", written).await.expect("it is in the database");

    // The worker has nothing to write, so this holds up nothing but the replacement.
    let mut other = rig.db.connect(ACCOUNT).await;
    let mut holding = other.begin().await.expect("a transaction begins");
    let held = holding.execute("update engine_position set sequence = sequence").await;
    held.expect("nobody else writes");
    let started = Instant::now();
    let rebuilding = async {
        let rebuilt = engine.rebuild::<Ledger>().await;
        (rebuilt, started.elapsed())
    };
    let asking = async {
        while started.elapsed() < HELD_UP {
            let read = account(&client, "A", written).await;
            assert_eq!(read.expect("the old row is there").deposits, 1);
            sleep(PAUSE).await;
        }
        holding.rollback().await.expect("the transaction ends");
    };
    let ((rebuilt, took), ()) = tokio::join!(rebuilding, asking);
    rebuilt.expect("it is rebuilt");
    assert!(took >= HELD_UP, "the replacement was not held up: {took:?}");
    rig.check(&engine).await;
    running.stop().await;
}
