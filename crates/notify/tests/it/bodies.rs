//! What a receiver can compare with what it has: the same bytes under the same id, and the ids of what is open.

use std::time::Duration;

use events::proto::notify::{self, change_webhooks::Request};
use serde_json::Value;
use testkit::{Behaviour, Db, Receiver, eventually};

use crate::rig::{Rig, Running, seq_of, settings};

testkit::on_both_databases!(
    a_retry_and_a_replay_have_the_bytes_of_the_first_attempt_whatever_the_settings_are,
    a_proof_names_what_is_open_and_counts_what_was_on_its_way,
    an_endpoint_shows_how_fast_it_is_sent_to,
);

/// The bodies of the requests with that number, in order.
fn bodies(receiver: &Receiver, seq: u64) -> Vec<bytes::Bytes> {
    let bodies = receiver.received().into_iter().map(|request| request.body);
    bodies.filter(|body| seq_of(body) == seq).collect()
}

async fn a_retry_and_a_replay_have_the_bytes_of_the_first_attempt_whatever_the_settings_are(
    db: Db,
) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let full = settings(&rig.receiver, "/ep", &["order.*"]);
    running.create("ep", full.clone()).await;
    rig.receiver.behave(Behaviour::status(500));
    rig.publish(&[("paid", "1")]).await;
    eventually("it fails", async || running.endpoint("ep").await.retrying == 1).await;
    let thin = notify::EndpointSettings { payload: notify::Payload::Thin.into(), ..full };
    let change = notify::ChangeEndpoint { settings: Some(thin), expected_version: None };
    let changed = running.ask("ep", Request::Change(change)).await;
    assert_eq!(changed.result(), notify::EndpointResult::Changed);
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(Duration::from_secs(9));
    eventually("it is delivered", async || running.endpoint("ep").await.delivered == 1).await;

    // The events of the second are not in the memory of this process.
    running.stop().await;
    let running = Running::start(&rig).await;
    let replay = notify::StartReplay {
        replay_id: "r".to_owned(),
        selection: notify::ReplaySelection::All.into(),
        ..Default::default()
    };
    running.ask("ep", Request::StartReplay(replay)).await;
    eventually("it is sent once more", async || rig.receiver.count() == 3).await;
    let same = bodies(&rig.receiver, 1);
    assert!(same.len() == 3 && same.iter().all(|body| *body == same[0]), "{same:?}");
    let shown: Value = serde_json::from_slice(&same[0]).expect("is JSON");
    assert!(shown["data"].is_object() && shown["link"].is_null(), "{shown}");

    rig.publish(&[("paid", "2")]).await;
    eventually("the next one is sent", async || rig.receiver.count() == 4).await;
    let next: Value = serde_json::from_slice(&bodies(&rig.receiver, 2)[0]).expect("is JSON");
    assert_eq!(
        (&next["data"], &next["link"]),
        (&Value::Null, &"/v1/shops/acme/orders/2/history".into())
    );
    running.stop().await;
    rig.verify().await;
}

async fn a_proof_names_what_is_open_and_counts_what_was_on_its_way(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let one_at_a_time = notify::EndpointSettings {
        max_in_flight: Some(1),
        ..settings(&rig.receiver, "/ep", &["*"])
    };
    running.create("ep", one_at_a_time).await;
    rig.receiver.behave(Behaviour::Hang);
    rig.publish(&[("paid", "1"), ("paid", "2"), ("paid", "3")]).await;
    eventually("the first is under way", async || rig.receiver.count() == 1).await;
    let abort = notify::AbortDelivery { endpoint_seq: 2 };
    let aborted = running.ask("ep", Request::AbortDelivery(abort)).await;
    assert_eq!(aborted.result(), notify::EndpointResult::Changed);
    let proof = running.proof("ep").await;
    assert_eq!(
        (proof.matched, proof.sent, proof.delivered),
        (3, 0, 0),
        "the second was never sent"
    );
    let states: Vec<_> = proof.open.iter().map(|it| (it.endpoint_seq, it.state.as_str())).collect();
    assert_eq!(states, [(1, "in_flight"), (2, "aborted"), (3, "pending")]);

    // A process that knows no event from memory reads the ids from the log.
    running.kill().await;
    rig.receiver.behave(Behaviour::status(500));
    let running = Running::start(&rig).await;
    eventually("both have failed", async || running.endpoint("ep").await.retrying == 2).await;
    let proof = running.proof("ep").await;
    assert_eq!((proof.matched, proof.sent, proof.delivered), (3, 2, 0));
    for request in rig.receiver.received() {
        let seq = seq_of(&request.body);
        let open = proof.open.iter().find(|open| open.endpoint_seq == seq).expect("it is open");
        assert_eq!(open.event_id, request.header("webhook-id"));
    }
    let ids: Vec<_> = proof.open.iter().map(|open| open.event_id.clone()).collect();
    let listed = running.deliveries("ep", "").await.into_iter().map(|it| it.event_id);
    assert!(listed.eq(ids.iter().cloned()), "{ids:?}");
    assert_eq!(running.delivery("ep", 2).await.delivery.expect("is shown").event_id, ids[1]);
    running.stop().await;
    rig.verify().await;
}

async fn an_endpoint_shows_how_fast_it_is_sent_to(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let one_at_a_time = notify::EndpointSettings {
        max_in_flight: Some(1),
        ..settings(&rig.receiver, "/ep", &["*"])
    };
    running.create("ep", one_at_a_time).await;
    assert_eq!(running.endpoint("ep").await.lag_ms, None);
    rig.receiver.behave(Behaviour::by(|request| {
        Behaviour::status(if seq_of(&request.body) == 1 { 500 } else { 204 })
    }));
    rig.publish(&[("paid", "1"), ("paid", "2"), ("paid", "3"), ("paid", "4")]).await;
    eventually("three are delivered", async || running.endpoint("ep").await.delivered == 3).await;
    let endpoint = running.endpoint("ep").await;
    assert_eq!(endpoint.recent, Some(notify::RecentAttempts { accepted: 3, failed: 1 }));
    assert_eq!(endpoint.lag_ms, None, "nothing waits for its first attempt");
    rig.forward(Duration::from_hours(2));
    rig.receiver.behave(Behaviour::Hang);
    rig.publish(&[("paid", "5"), ("paid", "6")]).await;
    eventually("they wait", async || running.endpoint("ep").await.pending == 2).await;
    rig.forward(Duration::from_secs(5));
    let endpoint = running.endpoint("ep").await;
    assert_eq!(endpoint.recent, Some(notify::RecentAttempts::default()));
    assert!((5_000..60_000).contains(&endpoint.lag_ms.expect("they wait")), "{endpoint:?}");
    running.kill().await;
}
