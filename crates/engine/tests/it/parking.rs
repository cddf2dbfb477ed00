//! What is too large, too many or refused by a database is parked with its reason; what is parked
//! can be shown and handled again, whatever its size.

use std::sync::atomic::Ordering;

use prost::Message;
use protocol::subject::Lane;
use testkit::{Db, eventually};

use crate::{
    contract::{ACCOUNT, Command, Event},
    ledger::{HUGE_AMOUNT, Ledger, UNLUCKY},
    rig::{
        LIVE, Rig, Running, change_deposit, counted, deposit, deposit_lines, deposit_then,
        deposits, digits, parked, redrive, send, store,
    },
};

testkit::on_both_databases!(
    an_event_that_is_too_large_is_parked_and_the_rest_of_its_batch_handled,
    what_a_database_refuses_is_parked_and_the_rest_of_its_batch_handled,
    a_key_that_is_too_long_is_parked_and_the_rest_of_its_batch_handled,
    a_text_that_is_too_long_for_an_index_is_parked_and_the_rest_of_its_batch_handled,
    what_leads_to_too_many_events_is_parked_and_the_rest_of_its_batch_handled,
    the_largest_message_that_is_parked_can_be_shown_and_redriven,
    the_largest_message_that_the_inbox_takes_can_be_the_edited_one,
    a_long_list_of_what_is_parked_is_paged,
    what_is_redriven_keeps_its_trace,
    a_command_with_the_most_events_can_be_redriven,
);

/// Commands for `count` accounts around one that is parked for `reason`, all in one batch.
async fn check_parked(db: Db, command: Command, reason: &str) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let client = engine.client();
    for amount in 1..=3 {
        store(&client, Lane::Live, deposit("before", amount)).await;
    }
    store(&client, Lane::Live, command).await;
    for amount in 1..=3 {
        store(&client, Lane::Live, deposit("after", amount)).await;
    }
    let running = Running::start(&engine, &Ledger::default());
    send(&client, deposit("after", 4)).await;
    let rows = parked(&client, 1).await;
    assert_eq!(rows[0].reason, reason);
    let log = rig.check(&engine).await;
    assert_eq!(deposits(&log, "before"), [1, 2, 3]);
    assert_eq!(deposits(&log, "after"), [1, 2, 3, 4]);
    running.stop().await;
    engine.rebuild::<Ledger>().await.expect("it can be rebuilt");
    rig.check(&engine).await;
}

async fn an_event_that_is_too_large_is_parked_and_the_rest_of_its_batch_handled(db: Db) {
    let reason = "the event deposited would have 1100";
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let client = engine.client();
    store(&client, Lane::Live, deposit("before", 1)).await;
    store(&client, Lane::Live, deposit_lines("A", &[("any", 1), ("any", HUGE_AMOUNT)])).await;
    store(&client, Lane::Live, deposit("after", 1)).await;
    let running = Running::start(&engine, &Ledger::default());
    send(&client, deposit("after", 2)).await;
    let rows = parked(&client, 1).await;
    assert!(rows[0].reason.starts_with(reason), "{}", rows[0].reason);
    assert!(rows[0].reason.ends_with("bytes, and 1000000 are the most"), "{}", rows[0].reason);
    let log = rig.check(&engine).await;
    assert_eq!(deposits(&log, "A"), [0; 0]);
    assert_eq!((deposits(&log, "before"), deposits(&log, "after")), (vec![1], vec![1, 2]));
    running.stop().await;
}

async fn what_a_database_refuses_is_parked_and_the_rest_of_its_batch_handled(db: Db) {
    let reason = "it holds a NUL character, which no database row may hold";
    check_parked(db, deposit("a\0b", 1), reason).await;
}

async fn a_key_that_is_too_long_is_parked_and_the_rest_of_its_batch_handled(db: Db) {
    let reason = "it leads to a key of more than 1000 bytes, which no database index holds";
    check_parked(db, deposit(&digits(10_000), 1), reason).await;
}

async fn a_text_that_is_too_long_for_an_index_is_parked_and_the_rest_of_its_batch_handled(db: Db) {
    let reason = "it leads to a row of account whose texts take more than 2500 bytes in the index \
                  (shop, note) where note is not null, which no database holds";
    check_parked(db, deposit_then("A", 1, &format!("note:{}", digits(10_000))), reason).await;
}

async fn what_leads_to_too_many_events_is_parked_and_the_rest_of_its_batch_handled(db: Db) {
    let lines = vec![("any", 1); 1_000];
    let reason = "1000 events would follow from it, and 998 are the most";
    check_parked(db, deposit_lines("A", &lines), reason).await;
}

async fn the_largest_message_that_is_parked_can_be_shown_and_redriven(db: Db) {
    /// `max_message_size` of the inbox less what the headers take.
    const LARGEST: usize = 786_432 - 200;
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::default();
    ledger.broken.store(true, Ordering::Relaxed);
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    let payload = deposit_of_size(&deposit_lines("A", &[(UNLUCKY, 5)]), LARGEST);
    rig.write(LIVE, "A", payload.clone()).await;
    let row = parked(&client, 1).await.remove(0);
    let shown = client.parked_input(ACCOUNT, &row.id).await.expect("it can be shown");
    let shown = shown.expect("it is parked");
    assert!(shown.payload == payload, "its bytes are as they came");

    ledger.broken.store(false, Ordering::Relaxed);
    assert_eq!(redrive(&client, &row, None).await.handled, [row.id]);
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5]);
    running.stop().await;
}

/// A deposit that has so many bytes, or a few less.
fn deposit_of_size(deposit: &Command, bytes: usize) -> Vec<u8> {
    let with = |length| change_deposit(deposit.clone(), |it| it.then = "x".repeat(length));
    let excess = with(bytes).encoded_len() - bytes;
    let payload = with(bytes - excess).encode_to_vec();
    assert!(payload.len() > bytes - 100 && payload.len() <= bytes, "{}", payload.len());
    payload
}

async fn the_largest_message_that_the_inbox_takes_can_be_the_edited_one(db: Db) {
    /// `max_message_size` of the inbox.
    const LARGEST: usize = 786_432;
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    rig.write(LIVE, "A", vec![0xff; LARGEST - 200]).await;
    let id = parked(&client, 1).await.remove(0).id;
    let redrive = async |edited: Vec<u8>| client.redrive(ACCOUNT, 0, &id, Some(&edited)).await;
    let refused = redrive(vec![0; LARGEST + 1]).await.expect_err("it is too large");
    assert!(refused.is_refused(), "{refused:?}");
    let limit = "the edited message has 786433 bytes, and 786432 are the most";
    assert!(refused.to_string().contains(limit), "{refused}");

    let redriven = redrive(deposit_of_size(&deposit("A", 5), LARGEST)).await;
    assert_eq!(redriven.expect("it can be redriven").handled, std::slice::from_ref(&id));
    assert_eq!(deposits(&rig.check(&engine).await, "A"), [5]);
    running.stop().await;
}

async fn a_long_list_of_what_is_parked_is_paged(db: Db) {
    const PARKED: usize = 500;
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    for number in 0..PARKED {
        rig.write(LIVE, &format!("account-{number}"), vec![0xff; 1_000]).await;
    }
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    send(&client, deposit("A", 1)).await;
    eventually("all are listed", async || {
        let page = client.parked(ACCOUNT, 0, Some(PARKED as u64 - 1)).await;
        page.is_ok_and(|page| !page.parked.is_empty())
    })
    .await;
    let (mut after, mut found, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = client.parked(ACCOUNT, 0, after).await.expect("it is answered");
        assert!(page.parked.iter().all(|row| row.payload.is_empty()), "a list carries no bytes");
        found.extend(page.parked.into_iter().map(|row| row.aggregate_id));
        pages += 1;
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    let all: Vec<_> = (0..PARKED).map(|number| format!("account-{number}")).collect();
    assert_eq!(found, all);
    assert!(pages > 2, "{pages}");
    rig.check(&engine).await;
    running.stop().await;
}

async fn what_is_redriven_keeps_its_trace(db: Db) {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::default();
    ledger.broken.store(true, Ordering::Relaxed);
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    for account in ["A", "B"] {
        let mut command = deposit_lines(account, &[(UNLUCKY, 5)]);
        TRACE.clone_into(&mut command.traceparent);
        store(&client, Lane::Live, command).await;
    }
    let event = Event {
        shop: "acme".to_owned(),
        aggregate_id: "A".to_owned(),
        traceparent: TRACE.to_owned(),
        correlation_id: "the first command".to_owned(),
        body: Some(counted(1, 1)),
        ..Default::default()
    };
    parked(&client, 2).await;
    rig.write("intake.0.acme.counted", "A", event.encode_to_vec()).await;
    let rows = parked(&client, 3).await;
    assert!(rows.iter().all(|row| row.traceparent == TRACE), "{rows:?}");

    ledger.broken.store(false, Ordering::Relaxed);
    // As it came, and edited by somebody who knows nothing of traces.
    redrive(&client, &rows[0], None).await;
    redrive(&client, &rows[1], Some(deposit("B", 6).encode_to_vec())).await;
    let log = rig.check(&engine).await;
    assert_eq!((deposits(&log, "A"), deposits(&log, "B")), (vec![5, 1], vec![6]));
    for entry in &log {
        assert_eq!(entry.event.traceparent, TRACE, "{entry:?}");
    }
    running.stop().await;
}

async fn a_command_with_the_most_events_can_be_redriven(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let ledger = Ledger::default();
    ledger.broken.store(true, Ordering::Relaxed);
    let running = Running::start(&engine, &ledger);
    let client = engine.client();
    let mut lines = vec![("any", 1); 997];
    lines.push((UNLUCKY, 1));
    store(&client, Lane::Live, deposit_lines("A", &lines)).await;
    let row = parked(&client, 1).await.remove(0);
    ledger.broken.store(false, Ordering::Relaxed);
    assert_eq!(redrive(&client, &row, None).await.handled, [row.id]);
    assert_eq!(deposits(&rig.check(&engine).await, "A").len(), 998);
    running.stop().await;
}
