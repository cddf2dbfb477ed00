//! What a receiver may ask for by the header `webhook-delivery` of its answer.

use std::time::Duration;

use events::proto::notify::DisabledReason;
use testkit::{Behaviour, Db, eventually};

use crate::rig::{Rig, Running, delivered, settings};

testkit::on_both_databases!(a_receiver_stops_a_message, a_receiver_stops_all_messages);

async fn a_receiver_stops_a_message(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::with_header(500, "webhook-delivery", "abort-message"));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&[("paid", "1")]).await;
    eventually("it is aborted", async || {
        running.delivery("ep", 1).await.delivery.is_some_and(|it| it.state == "aborted")
    })
    .await;
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(Duration::from_hours(1));
    rig.publish(&[("paid", "2")]).await;
    eventually("the next one is delivered", async || running.endpoint("ep").await.delivered == 1)
        .await;
    assert_eq!(delivered(&rig.receiver, "/ep"), [1, 2], "the first is not tried again");
    let attempts = running.delivery("ep", 1).await.attempts;
    let said: Vec<_> = attempts.iter().map(|it| (it.status, it.instruction.as_str())).collect();
    assert_eq!(said, [(500, "abort-message")]);
    eventually("the next attempt is recorded", async || {
        running.delivery("ep", 2).await.attempts.iter().any(|it| it.instruction.is_empty())
    })
    .await;
    running.stop().await;
    rig.verify().await;
}

async fn a_receiver_stops_all_messages(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::with_header(500, "webhook-delivery", "disable"));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&[("paid", "1")]).await;
    eventually("it is disabled", async || {
        running.endpoint("ep").await.disabled() == DisabledReason::Instructed
    })
    .await;
    rig.publish(&[("paid", "2")]).await;
    eventually("the next one is held", async || running.endpoint("ep").await.last_seq == 2).await;
    rig.forward(Duration::from_hours(1));
    assert_eq!(delivered(&rig.receiver, "/ep"), [1]);
    let attempts = running.delivery("ep", 1).await.attempts;
    assert_eq!(attempts.iter().map(|it| it.instruction.as_str()).collect::<Vec<_>>(), ["disable"]);
    assert_eq!(running.endpoint("ep").await.delivered, 0);
    running.stop().await;
    rig.verify().await;
}
