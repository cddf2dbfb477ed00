//! Each partition is a task of its own.

use std::sync::{Arc, atomic::Ordering};

use engine::Config;
use protocol::{
    id::Shop,
    subject::{self, Lane},
};
use testkit::{Db, eventually};
use tokio::sync::Semaphore;

use crate::{
    ledger::{Ledger, SLOW_TO_DECIDE},
    rig::{Rig, Running, connect, deposit, deposits, of, send, store},
};

testkit::on_both_databases!(a_partition_whose_rules_take_long_holds_up_no_other);

const PARTITIONS: u32 = 2;

/// A shop of that partition.
fn shop_of(partition: u32) -> String {
    let names = (0..).map(|number| format!("shop-{number}"));
    let shops = names.filter_map(|name| Shop::parse(&name).ok());
    let mut shops = shops.filter(|shop| subject::partition(shop, PARTITIONS) == partition);
    shops.next().expect("there is one").to_string()
}

/// Lets what is decided on go on when the test ends, however it does: its runtime waits for that.
struct Release(Arc<Semaphore>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

async fn a_partition_whose_rules_take_long_holds_up_no_other(db: Db) {
    let rig = Rig::start(db).await;
    let engine = connect(Config { partitions: PARTITIONS, ..rig.config() }).await;
    let client = engine.client();
    let deciding = Arc::new(Semaphore::new(0));
    let release = Release(deciding.clone());
    let ledger = Ledger { deciding, ..Ledger::default() };
    let running = Running::start_claimed(&engine, &ledger);
    let [slow, other] = [0, 1].map(shop_of);
    store(&client, Lane::Live, of(&slow, deposit(SLOW_TO_DECIDE, 1))).await;
    eventually("it is being decided on", async || ledger.decided.load(Ordering::Relaxed) > 0).await;
    for amount in 1..=3 {
        send(&client, of(&other, deposit("A", amount))).await;
    }
    assert_eq!(deposits(&rig.log().await, SLOW_TO_DECIDE), [0; 0], "it is still decided on");
    drop(release);
    send(&client, of(&slow, deposit("A", 4))).await;
    let log = rig.log().await;
    assert_eq!((deposits(&log, SLOW_TO_DECIDE), deposits(&log, "A")), (vec![1], vec![4]));
    running.stop().await;
    let verified = engine.verify::<Ledger>().await.expect("it can be verified");
    assert_eq!((verified.events, verified.mismatches), (5, Vec::new()));
}
