//! What the sender's side is told later, and for how long.

use std::time::Duration;

use events::{id::EventId, proto, time::Timestamp};
use prost::Message;
use testkit::Db;

use crate::{
    ledger::Ledger,
    rig::{PATIENCE, Rig, Running, close, deposit, deposits, send, shop},
};

testkit::on_both_databases!(
    a_watch_is_told_of_the_event_that_it_waits_for,
    an_answer_is_forgotten_after_a_week_and_a_later_one_is_kept,
);

async fn a_watch_is_told_of_the_event_that_it_waits_for(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let running = Running::start(&engine, &Ledger::default());
    let client = engine.client();
    let closed = client.watch("order", &["cancelled"], &shop(), "A").await.expect("it watches");
    // A second watch of other events, and one of another aggregate.
    let placed = client.watch("order", &["placed"], &shop(), "A").await.expect("it watches");
    let other = client.watch("order", &["placed"], &shop(), "B").await.expect("it watches");

    let first = send(&client, deposit("A", 1)).await;
    assert_eq!(placed.wait(PATIENCE).await, Some(first.sequence));
    let second = send(&client, close("A")).await;
    assert_eq!(closed.wait(PATIENCE).await, Some(second.sequence));
    assert_eq!(other.wait(Duration::ZERO).await, None);
    running.stop().await;
}

/// A log in which a command was answered eight days ago and, when that had been forgotten, again.
async fn an_answer_is_forgotten_after_a_week_and_a_later_one_is_kept(db: Db) {
    let rig = Rig::start(db).await;
    let engine = rig.engine().await;
    let [again, forgotten] = [deposit("A", 1), deposit("A", 1)];
    let now = Timestamp::now();
    let eight_days_ago = Timestamp::from_millis(now.millis() - 8 * 24 * 3600 * 1000);
    for (command, time, body) in
        [(&again, eight_days_ago, "1"), (&forgotten, eight_days_ago, "2"), (&again, now, "3")]
    {
        write_answered(&rig, command, time, body).await;
    }

    let running = Running::start(&engine, &Ledger::default());
    let answered = send(&engine.client(), again).await;
    assert_eq!((answered.body.as_str(), answered.repeated), ("3", true));
    let answered = send(&engine.client(), forgotten).await;
    assert!(!answered.repeated);
    assert_eq!(deposits(&rig.server.events("ORDER-0").await, "A"), [1]);
    running.stop().await;
}

/// Writes what the engine would have written when it answered without another event.
async fn write_answered(rig: &Rig, command: &proto::Command, time: Timestamp, body: &str) {
    let kind = Some(proto::engine_event::Kind::Answered(proto::Answered {}));
    let number = rig.server.events("ORDER-0").await.len() as u128;
    let event = proto::Event {
        id: EventId(uuid::Uuid::from_u128(number)).to_string(),
        shop: shop().to_string(),
        aggregate_id: format!("command:{}", command.id),
        aggregate_version: 1,
        time: Some(time.into()),
        answer: Some(proto::Answer {
            command_id: command.id.clone(),
            fingerprint: command.fingerprint.clone(),
            body: body.to_owned(),
        }),
        body: Some(proto::event::Body::Engine(proto::EngineEvent { kind })),
        ..Default::default()
    };
    rig.write("order.0.acme.answered", &event.aggregate_id, event.encode_to_vec()).await;
}
