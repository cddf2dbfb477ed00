//! What a sender that asks later is answered, and for how long.

use std::{collections::HashSet, time::Duration};

use async_nats::HeaderMap;
use prost::Message;
use protocol::{id::EventId, proto, subject::POSITIONS_HEADER, time::Timestamp};
use testkit::{Db, eventually};

use crate::{
    contract::{ACCOUNT, Body, Command, Event},
    ledger::Ledger,
    rig::{ANSWER_TIMEOUT, Rig, Running, close, deposit, deposits, send, shop},
};

testkit::on_both_databases!(
    a_watch_is_told_of_the_event_that_it_waits_for,
    an_answer_is_forgotten_after_eight_days_and_a_later_one_is_kept,
    a_clock_that_jumps_forgets_no_answer,
);

async fn a_watch_is_told_of_the_event_that_it_waits_for(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    let closed = client.watch(ACCOUNT, &["closed"], &shop(), "A").await.expect("it watches");
    // A second watch of other events, and one of another aggregate.
    let placed = client.watch(ACCOUNT, &["deposited"], &shop(), "A").await.expect("it watches");
    let other = client.watch(ACCOUNT, &["deposited"], &shop(), "B").await.expect("it watches");

    let first = send(&client, deposit("A", 1)).await;
    assert_eq!(placed.wait(ANSWER_TIMEOUT).await, Some(first.sequence));
    let second = send(&client, close("A")).await;
    assert_eq!(closed.wait(ANSWER_TIMEOUT).await, Some(second.sequence));
    assert_eq!(other.wait(Duration::ZERO).await, None);
    running.stop().await;
}

/// A log in which a command was answered nine days ago and, when that had been forgotten, again; on
/// each day between, another one was.
async fn an_answer_is_forgotten_after_eight_days_and_a_later_one_is_kept(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let [again, forgotten, refused] = [deposit("A", 1), deposit("A", 1), close("nobody")];
    write_answered(&rig, &again, days_ago(9), "1").await;
    write_answered(&rig, &forgotten, days_ago(9), "2").await;
    write_answered(&rig, &refused, days_ago(9), "4").await;
    for day in (1..9).rev() {
        write_answered(&rig, &deposit("other", 1), days_ago(day), "1").await;
    }
    write_answered(&rig, &again, days_ago(0), "3").await;

    let running = Running::start(&engine, &Ledger::default());
    let answered = send(&engine.client(), again).await;
    assert_eq!((&*answered.body, answered.repeated), (&b"3"[..], true));
    // It may have been answered from the database, before the worker has handled it.
    eventually("the old answers are forgotten", async || {
        rig.log().await.iter().any(|entry| entry.subject.ends_with(".answers_forgotten"))
    })
    .await;
    // What was forgotten is gone from the database as well.
    running.stop().await;
    let running = Running::start(&engine, &Ledger::default());
    let answered = send(&engine.client(), forgotten).await;
    assert_ne!(&*answered.body, b"2", "it is answered anew");
    // Nothing follows from this one, so that its answer is an event of its own, for the second time.
    assert_ne!(&*send(&engine.client(), refused).await.body, b"4", "it is answered anew");
    let log = rig.log().await;
    assert_eq!(deposits(&log, "A"), [1]);
    let mut versions = HashSet::new();
    for entry in &log {
        let version = (&entry.event.aggregate_id, entry.event.aggregate_version);
        assert!(versions.insert(version), "twice in the log: {version:?}");
    }
    running.stop().await;
}

/// A clock that was weeks ahead for a moment does not make the answers of before old.
async fn a_clock_that_jumps_forgets_no_answer(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let early = deposit("A", 1);
    write_answered(&rig, &early, days_ago(40), "1").await;
    write_answered(&rig, &deposit("other", 1), days_ago(0), "1").await;
    write_answered(&rig, &deposit("other", 2), days_ago(40), "1").await;

    let running = Running::start(&engine, &Ledger::default());
    let answered = send(&engine.client(), early).await;
    assert_eq!((&*answered.body, answered.repeated), (&b"1"[..], true));
    running.stop().await;
    rig.check(&engine).await;
}

fn days_ago(days: i64) -> Timestamp {
    Timestamp::from_millis(testkit::system_clock().now().millis() - days * 24 * 3600 * 1000)
}

/// Writes what the engine would have written when it answered without another event.
async fn write_answered(rig: &Rig, command: &Command, time: Timestamp, body: &str) {
    let answered = proto::Answered {
        command_id: command.id.clone(),
        fingerprint: command.fingerprint.clone(),
        body: body.as_bytes().to_owned(),
        has_effect: true,
    };
    let kind = Some(proto::engine_event::Kind::Answered(answered));
    let number = rig.log().await.len() as u128;
    let sequence = number + 1;
    let event = Event {
        id: EventId(uuid::Uuid::from_u128(number)).to_string(),
        shop: shop().to_string(),
        aggregate_id: format!("answered:0-{sequence}"),
        aggregate_version: 1,
        time: Some(time.into()),
        position: sequence as u64,
        body: Some(Body::Engine(proto::EngineEvent { kind })),
        ..Default::default()
    };
    let mut headers = HeaderMap::new();
    headers.insert(POSITIONS_HEADER, "");
    rig.write_with("engine.account.0.answered", headers, event.encode_to_vec()).await;
}
