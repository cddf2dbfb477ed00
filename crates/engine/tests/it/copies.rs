//! Copies of what other services own: read before what needs them, and never in the way.
//!
//! Each test sends a deposit first: what is written after its answer is read live, not when the
//! worker recovers.

use protocol::subject::Lane;
use testkit::{Db, eventually};

use crate::{
    contract::{ACCOUNT, Body, Command, Price, TARIFF},
    ledger::Ledger,
    rig::{Rig, Running, change_deposit, deposit, deposit_lines, deposits, digits, send, store},
};

testkit::on_both_databases!(
    a_command_waits_for_what_its_sender_has_seen_of_the_tariff,
    a_command_does_not_wait_for_an_event_that_is_of_no_use_here,
    a_copy_that_cannot_be_read_is_passed_over,
    a_copy_that_no_database_holds_is_passed_over,
);

/// What an item costs.
fn price(item: &str, price: i64) -> Price {
    Price { item: item.to_owned(), price }
}

/// A deposit of one unit of `item` at the tariff's price, by somebody who has seen the tariff up to
/// `after`.
fn priced(account: &str, item: &str, after: u64) -> Command {
    let command = change_deposit(deposit_lines(account, &[(item, 0)]), |deposit| {
        deposit.lines[0].price = None;
    });
    let after = (after > 0).then(|| (TARIFF.to_owned(), after));
    Command { after: after.into_iter().collect(), ..command }
}

async fn a_command_waits_for_what_its_sender_has_seen_of_the_tariff(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    send(&client, deposit("it", 1)).await;
    let first = rig.write_event("tea", Body::Priced(price("tea", 5))).await;
    // What is there already comes first, and what is about to come is waited for.
    send(&client, priced("A", "tea", first)).await;
    store(&client, Lane::Live, priced("A", "tea", first + 1)).await;
    rig.write_event("tea", Body::Repriced(price("tea", 7))).await;
    let both = async || deposits(&rig.log().await, "A").len() == 2;
    eventually("both are deposited", both).await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5, 7]);
    running.stop().await;

    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    let running = Running::start(&engine, &Ledger::default());
    send(&client, priced("A", "tea", 0)).await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5, 7, 7]);
    running.stop().await;
}

async fn a_command_does_not_wait_for_an_event_that_is_of_no_use_here(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    send(&client, deposit("it", 1)).await;
    rig.write_event("tea", Body::Priced(price("tea", 5))).await;
    let last = rig.write_event("tea", Body::Dropped(price("tea", 0))).await;
    // It would be handled after a while even so, before the position was recorded.
    send(&client, priced("A", "tea", last)).await;
    eventually("the replica is at the end of the tariff", async || {
        let positions = client.positions(ACCOUNT).await.expect("it is answered");
        positions[0].get(TARIFF) == Some(&last.into())
    })
    .await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5]);
    running.stop().await;
}

async fn a_copy_that_cannot_be_read_is_passed_over(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    send(&client, deposit("it", 1)).await;
    rig.write("tariff.0.acme.priced", "tea", b"\xff\xff".to_vec()).await;
    let after = rig.write_event("tea", Body::Priced(price("tea", 5))).await;
    send(&client, priced("A", "tea", after)).await;
    let page = client.parked(ACCOUNT, 0, None).await.expect("it is answered");
    assert_eq!(page.parked, []);
    // Live as in a rebuild.
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5]);
    running.stop().await;
}

async fn a_copy_that_no_database_holds_is_passed_over(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    send(&client, deposit("it", 1)).await;
    // Keys that Postgres refuses.
    for item in [digits(10_000), "a\0b".to_owned()] {
        rig.write_event("it", Body::Priced(price(&item, 3))).await;
    }
    let after = rig.write_event("tea", Body::Priced(price("tea", 5))).await;
    send(&client, priced("A", "tea", after)).await;
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5]);
    running.stop().await;
    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    rig.check(&engine).await;
}
