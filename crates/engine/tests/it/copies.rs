//! Copies of what other services own: read before what needs them, and never in the way.
//!
//! Each test sends a deposit first: what is written after its answer is read live, not when the
//! worker recovers.

use events::{proto, subject::Lane};
use testkit::{Db, eventually};

use crate::{
    ledger::Ledger,
    rig::{Rig, Running, deposit, deposit_lines, deposits, send, store},
};

testkit::on_both_databases!(
    a_command_waits_for_what_its_sender_has_seen_of_the_catalogue,
    a_command_does_not_wait_for_an_event_that_is_of_no_use_here,
    a_copy_that_cannot_be_read_is_passed_over,
);

/// A product with a price.
pub(crate) fn created(sku: &str, price: i64) -> proto::event::Body {
    catalog(proto::catalog_event::Kind::Created(proto::ProductCreated {
        sku: sku.to_owned(),
        price: Some(money(price)),
        ..Default::default()
    }))
}

fn updated(sku: &str, price: i64) -> proto::event::Body {
    catalog(proto::catalog_event::Kind::Updated(proto::ProductUpdated {
        sku: sku.to_owned(),
        price: Some(money(price)),
        ..Default::default()
    }))
}

fn discontinued(sku: &str) -> proto::event::Body {
    catalog(proto::catalog_event::Kind::Discontinued(proto::ProductDiscontinued {
        sku: sku.to_owned(),
        ..Default::default()
    }))
}

fn catalog(kind: proto::catalog_event::Kind) -> proto::event::Body {
    proto::event::Body::Catalog(proto::CatalogEvent { kind: Some(kind) })
}

fn money(minor: i64) -> proto::Money {
    proto::Money { minor, currency: "GBP".to_owned() }
}

/// A deposit of one unit of `sku` at the catalogue's price, by somebody who has seen the catalogue
/// up to `after`.
fn priced(account: &str, sku: &str, after: u64) -> proto::Command {
    let mut command = deposit_lines(account, &[(sku, 0)]);
    if let Some(proto::command::Body::PlaceOrder(deposit)) = &mut command.body {
        deposit.lines[0].unit_price = None;
    }
    let after = (after > 0).then(|| ("catalog".to_owned(), after));
    proto::Command { after: after.into_iter().collect(), ..command }
}

async fn a_command_waits_for_what_its_sender_has_seen_of_the_catalogue(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    send(&client, deposit("it", 1)).await;
    let first = rig.write_event("tea", created("tea", 5)).await;
    // What is there already comes first, and what is about to come is waited for.
    send(&client, priced("A", "tea", first)).await;
    store(&client, Lane::Live, priced("A", "tea", first + 1)).await;
    rig.write_event("tea", updated("tea", 7)).await;
    let both = async || deposits(&rig.server.events("ORDER-0").await, "A").len() == 2;
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
    rig.write_event("tea", created("tea", 5)).await;
    let last = rig.write_event("tea", discontinued("tea")).await;
    // It would be handled after a while even so, before the position was told.
    send(&client, priced("A", "tea", last)).await;
    eventually("the replica is at the end of the catalogue", async || {
        let positions = client.positions("order").await.expect("it is answered");
        positions[0].get("catalog") == Some(&last)
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
    rig.write("catalog.0.acme.created", "tea", b"\xff\xff".to_vec()).await;
    let after = rig.write_event("tea", created("tea", 5)).await;
    send(&client, priced("A", "tea", after)).await;
    let page = client.parked("order", 0, None).await.expect("it is answered");
    assert_eq!(page.parked, []);
    // Live as in a rebuild.
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5]);
    running.stop().await;
}
