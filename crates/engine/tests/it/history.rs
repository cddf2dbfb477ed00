//! The events of an aggregate, read from the log backwards.

use engine::{Aggregate, Client};
use prost::Message;
use testkit::Db;

use crate::{
    contract::{ACCOUNT, Event},
    ledger::Ledger,
    rig::{Rig, Running, deposit, deposit_lines, of, send, shop},
};

testkit::on_both_databases!(
    a_history_has_the_events_of_its_aggregate_alone_the_newest_first,
    a_history_can_be_read_after_a_rebuild,
);

/// The versions of a page, and where the next one begins; `None` when there is no such account.
async fn page(client: &Client, account: &str, before: u64, limit: u32) -> Option<(Vec<u64>, u64)> {
    let aggregate = Aggregate::new("account", account);
    let found = client.history(ACCOUNT, &shop(), &aggregate, (before, limit), 0).await;
    let (events, next) = found.expect("it is answered")?;
    let events = events.iter().map(|event| Event::decode(&**event).expect("an event"));
    let version = |event: Event| {
        assert_eq!((&*event.shop, &*event.aggregate_id), (shop().as_str(), account));
        event.aggregate_version
    };
    Some((events.map(version).collect(), next))
}

async fn a_history_has_the_events_of_its_aggregate_alone_the_newest_first(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    send(&client, deposit_lines("A", &[("x", 5), ("y", 7)])).await;
    for amount in 1..=3 {
        send(&client, deposit("B", amount)).await;
        send(&client, of("another", deposit("A", amount))).await;
        send(&client, deposit("A", amount)).await;
    }
    assert_eq!(page(&client, "A", 0, 0).await, Some((vec![5, 4, 3, 2, 1], 0)));
    assert_eq!(page(&client, "B", 0, 0).await, Some((vec![3, 2, 1], 0)));
    assert_eq!(page(&client, "C", 0, 0).await, None);

    let (newest, next) = page(&client, "A", 0, 2).await.expect("there is one");
    assert_eq!(newest, [5, 4]);
    let (older, next) = page(&client, "A", next, 2).await.expect("there is one");
    assert_eq!(older, [3, 2]);
    assert_eq!(page(&client, "A", next, 2).await, Some((vec![1], 0)));

    // A position of another account, or of none, leads nowhere.
    let of_b = rig.log().await.into_iter().find(|it| it.event.aggregate_id == "B");
    let of_b = of_b.expect("it is in the log").sequence;
    assert_eq!(page(&client, "A", of_b, 2).await, Some((vec![], 0)));
    assert_eq!(page(&client, "A", 9_999, 2).await, Some((vec![], 0)));
    rig.check(&engine).await;
    running.stop().await;
}

async fn a_history_can_be_read_after_a_rebuild(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    for amount in 1..=3 {
        send(&client, deposit("A", amount)).await;
    }
    running.stop().await;
    engine.rebuild::<Ledger>().await.expect("it is rebuilt");
    let running = Running::start(&engine, &Ledger::default());
    assert_eq!(page(&client, "A", 0, 0).await, Some((vec![3, 2, 1], 0)));
    send(&client, deposit("A", 4)).await;
    assert_eq!(page(&client, "A", 0, 0).await, Some((vec![4, 3, 2, 1], 0)));
    rig.check(&engine).await;
    running.stop().await;
}
