//! Two workers on one partition, as when a lease was lost and its holder does not know it yet.

use std::sync::atomic::Ordering::SeqCst;

use engine::Engine;
use futures::future::join_all;
use testkit::{Db, eventually};

use crate::{
    contract::{Body, Price},
    ledger::Ledger,
    rig::{Rig, Running, deposit, deposits, send},
};

testkit::on_both_databases!(two_workers_on_one_partition_lose_and_double_nothing);

/// On Postgres they share the projection, too; on `SQLite` each has its own.
async fn two_workers_on_one_partition_lose_and_double_nothing(db: Db) {
    const CLIENTS: i64 = 8;
    const AT_LEAST: i64 = 25;
    let rig = Rig::start(db).await;
    let (one, two) = (rig.engine().await, rig.engine_elsewhere().await);
    let ledgers = [Ledger::default(), Ledger::default()];
    let running = [Running::start(&one, &ledgers[0]), Running::start(&two, &ledgers[1])];
    let prices = async {
        for price in 1..=CLIENTS * AT_LEAST {
            rig.write_event("tea", Body::Priced(Price { item: "tea".to_owned(), price })).await;
        }
    };
    let work = join_all((0..CLIENTS).map(|number| {
        let client = if number % 2 == 0 { one.client() } else { two.client() };
        let ledgers = &ledgers;
        async move {
            let mut sent = 0;
            // A worker that always comes second takes a while to get hold of a batch.
            while sent < AT_LEAST || ledgers.iter().any(is_idle) {
                sent += 1;
                send(&client, deposit(&number.to_string(), sent)).await;
            }
            sent
        }
    }));
    let ((), sent) = futures::join!(prices, work);

    let end = rig.log().await.len() as u64;
    for engine in [&one, &two] {
        eventually("the projection is at the end of the log", async || at(engine).await == end)
            .await;
    }
    let log = rig.check(&one).await;
    rig.check(&two).await;
    for (number, sent) in sent.into_iter().enumerate() {
        let in_order: Vec<_> = (1..=sent).collect();
        assert_eq!(deposits(&log, &number.to_string()), in_order);
    }
    for running in running {
        running.stop().await;
    }
}

fn is_idle(ledger: &Ledger) -> bool {
    ledger.decided.load(SeqCst) == 0
}

/// How many events a projection holds, read from the database: a question might be answered by
/// the other worker.
async fn at(engine: &Engine) -> u64 {
    let verified = engine.verify::<Ledger>().await.expect("it can be verified");
    assert_eq!(verified.mismatches, []);
    verified.events
}
