//! Webhooks end to end: a real nats-server, real databases, a receiver on this machine.

mod rig;

use std::{collections::BTreeSet, time::Duration};

use events::proto::notify;
use testkit::{Behaviour, Db, eventually};

use crate::rig::{Rig, Running, delivered, seq_of, settings};

testkit::on_both_databases!(
    what_is_published_is_delivered_signed_and_numbered,
    a_failed_delivery_is_tried_again_with_the_same_id_and_body,
    nothing_is_lost_when_the_process_is_gone_in_the_middle,
    a_rebuild_sends_nothing_and_forgets_nothing,
    an_endpoint_that_hangs_delays_no_other,
    what_is_held_while_an_endpoint_is_disabled_is_delivered_when_asked_for,
    an_endpoint_is_sent_what_comes_after_it_and_all_of_that,
    deliveries_of_an_aggregate_stay_in_order_behind_one_that_fails,
    two_processes_deliver_everything,
);

async fn what_is_published_is_delivered_signed_and_numbered(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let secret = running.create("ep", settings(&rig.receiver, "/ep", &["order.paid"])).await;
    rig.publish(&[("placed", "1"), ("paid", "1"), ("paid", "2")]).await;
    eventually("all are delivered", async || delivered(&rig.receiver, "/ep").len() == 2).await;
    // Several are sent at a time: in which order they come is open.
    let mut requests = rig.receiver.received();
    requests.sort_by_key(|request| seq_of(&request.body));
    for (seq, received) in (1..).zip(requests) {
        let body: serde_json::Value = serde_json::from_slice(&received.body).expect("is JSON");
        assert_eq!(body["meta"]["endpoint_seq"], seq);
        assert_eq!(
            (&body["type"], &body["meta"]["tenant"]),
            (&"order.paid".into(), &"acme".into())
        );
        assert_eq!(body["id"], received.header("webhook-id"));
        let timestamp = received.header("webhook-timestamp").parse().expect("a time");
        let signed = webhook_http::sign(
            std::slice::from_ref(&secret),
            received.header("webhook-id"),
            timestamp,
            &received.body,
        );
        assert_eq!(received.header("webhook-signature"), signed);
    }
    // What came of it is handed in a moment later.
    eventually("both are noted as delivered", async || {
        let endpoint = running.endpoint("ep").await;
        (endpoint.last_seq, endpoint.pending, endpoint.delivered) == (2, 0, 2)
    })
    .await;
    running.stop().await;
    rig.verify().await;
}

async fn a_failed_delivery_is_tried_again_with_the_same_id_and_body(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["order.*"])).await;
    rig.receiver.behave(Behaviour::status(500));
    rig.publish(&[("paid", "1")]).await;
    eventually("it fails", async || running.endpoint("ep").await.retrying == 1).await;
    let open = running.deliveries("ep", "retry_at").await;
    assert_eq!((open[0].endpoint_seq, open[0].status, open[0].failed_attempts), (1, 500, 1));
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(Duration::from_secs(9));
    eventually("it is delivered", async || running.endpoint("ep").await.delivered == 1).await;
    let [first, second] = &rig.receiver.received()[..] else { panic!("two attempts") };
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!((first.header("webhook-attempt"), second.header("webhook-attempt")), ("1", "2"));
    running.stop().await;
    rig.verify().await;
}

async fn nothing_is_lost_when_the_process_is_gone_in_the_middle(db: Db) {
    const EVENTS: usize = 300;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["order.*"])).await;
    rig.publish(&vec![("paid", "1"); EVENTS]).await;
    eventually("some are sent", async || rig.receiver.received().len() > 20).await;
    // What it has under way is neither awaited nor recorded.
    running.kill().await;
    let running = Running::start(&rig).await;
    eventually("all are delivered", async || {
        running.endpoint("ep").await.delivered == EVENTS as u64
    })
    .await;
    let seqs: BTreeSet<_> = delivered(&rig.receiver, "/ep").into_iter().collect();
    assert!(seqs.iter().copied().eq(1..=EVENTS as u64), "{seqs:?}");
    // A duplicate has the id and the body of the first.
    let sent = rig.receiver.received();
    let ids: BTreeSet<_> = sent.iter().map(|it| it.header("webhook-id").to_owned()).collect();
    let bodies: BTreeSet<_> = sent.iter().map(|it| it.body.clone()).collect();
    assert_eq!((ids.len(), bodies.len()), (EVENTS, EVENTS));
    running.stop().await;
    rig.verify().await;
}

async fn a_rebuild_sends_nothing_and_forgets_nothing(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["order.*"])).await;
    rig.publish(&[("paid", "1"), ("paid", "2")]).await;
    eventually("both are delivered", async || running.endpoint("ep").await.delivered == 2).await;
    running.stop().await;
    rig.publish(&[("paid", "3")]).await;
    rig.engine().await.rebuild::<::notify::Notify>().await.expect("it is rebuilt");
    assert_eq!(rig.receiver.received().len(), 2, "a rebuild sends nothing");
    let running = Running::start(&rig).await;
    eventually("the third is delivered", async || running.endpoint("ep").await.delivered == 3)
        .await;
    let mut seqs = delivered(&rig.receiver, "/ep");
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 3]);
    running.stop().await;
    rig.verify().await;
}

async fn an_endpoint_that_hangs_delays_no_other(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::by(|received| match &*received.path {
        "/hangs" => Behaviour::Hang,
        _ => Behaviour::status(204),
    }));
    running.create("hangs", settings(&rig.receiver, "/hangs", &["*"])).await;
    running.create("healthy", settings(&rig.receiver, "/healthy", &["*"])).await;
    rig.publish(&vec![("paid", "1"); 100]).await;
    eventually("the healthy one has all", async || {
        running.endpoint("healthy").await.delivered == 100
    })
    .await;
    let hanging = running.endpoint("hangs").await;
    assert_eq!((hanging.delivered, hanging.last_seq), (0, 100));
    assert!(delivered(&rig.receiver, "/hangs").len() <= 8, "so many are under way at a time");
    running.stop().await;
    rig.verify().await;
}

async fn what_is_held_while_an_endpoint_is_disabled_is_delivered_when_asked_for(db: Db) {
    use notify::change_webhooks::Request;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    running.ask("ep", Request::Disable(notify::DisableEndpoint::default())).await;
    rig.publish(&[("paid", "1"), ("paid", "2")]).await;
    eventually("they are held", async || running.endpoint("ep").await.held == 2).await;
    running.ask("ep", Request::Enable(notify::EnableEndpoint { deliver_held: false })).await;
    rig.publish(&[("paid", "3")]).await;
    eventually("the third is delivered", async || running.endpoint("ep").await.delivered == 1)
        .await;
    assert_eq!(delivered(&rig.receiver, "/ep"), [3]);
    let replay = notify::StartReplay {
        replay_id: "r".to_owned(),
        selection: notify::ReplaySelection::Missing.into(),
        ..Default::default()
    };
    running.ask("ep", Request::StartReplay(replay)).await;
    eventually("all are delivered", async || running.endpoint("ep").await.delivered == 3).await;
    let replay = notify::StartReplay {
        replay_id: "again".to_owned(),
        from: 2,
        selection: notify::ReplaySelection::All.into(),
        ..Default::default()
    };
    running.ask("ep", Request::StartReplay(replay)).await;
    eventually("the replay is done", async || {
        running.endpoint("ep").await.replays.iter().all(|replay| replay.state == "done")
    })
    .await;
    let again = rig.receiver.received().into_iter().filter(|it| it.header("webhook-replay") == "1");
    assert_eq!(again.count(), 2);
    running.stop().await;
    rig.verify().await;
}

async fn an_endpoint_is_sent_what_comes_after_it_and_all_of_that(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.publish(&[("paid", "1"), ("paid", "2")]).await;
    running.create("first", settings(&rig.receiver, "/first", &["*"])).await;
    rig.publish(&vec![("paid", "3"); 50]).await;
    eventually("the first has all", async || running.endpoint("first").await.delivered >= 50).await;
    running.create("second", settings(&rig.receiver, "/second", &["*"])).await;
    rig.publish(&vec![("paid", "4"); 50]).await;
    eventually("the second has all", async || running.endpoint("second").await.delivered == 50)
        .await;
    let mut seqs = delivered(&rig.receiver, "/second");
    seqs.sort_unstable();
    assert!(seqs.into_iter().eq(1..=50));
    running.stop().await;
    rig.verify().await;
}

async fn deliveries_of_an_aggregate_stay_in_order_behind_one_that_fails(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let settings = settings(&rig.receiver, "/ep", &["*"]);
    let ordering = notify::Ordering::PerKey.into();
    running.create("ep", notify::EndpointSettings { ordering, ..settings }).await;
    rig.receiver.behave(Behaviour::by(|received| {
        let body: serde_json::Value = serde_json::from_slice(&received.body).expect("is JSON");
        let is_first = body["meta"]["aggregate"]["id"] == "bad";
        Behaviour::status(if is_first { 500 } else { 204 })
    }));
    rig.publish(&[("placed", "bad"), ("paid", "bad"), ("placed", "good"), ("paid", "good")]).await;
    eventually("the good one is delivered", async || {
        let endpoint = running.endpoint("ep").await;
        (endpoint.delivered, endpoint.retrying) == (2, 2)
    })
    .await;
    assert_eq!(running.deliveries("ep", "held_behind").await[0].endpoint_seq, 2);
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(Duration::from_secs(9));
    eventually("all are delivered", async || running.endpoint("ep").await.delivered == 4).await;
    let bad = rig.receiver.received().into_iter().filter_map(|received| {
        let body: serde_json::Value = serde_json::from_slice(&received.body).expect("is JSON");
        let is_bad = body["meta"]["aggregate"]["id"] == "bad";
        is_bad.then(|| body["meta"]["endpoint_seq"].as_u64().expect("a number"))
    });
    assert_eq!(bad.collect::<Vec<_>>(), [1, 1, 2]);
    running.stop().await;
    rig.verify().await;
}

async fn two_processes_deliver_everything(db: Db) {
    let rig = Rig::start(db).await;
    let first = Running::start(&rig).await;
    first.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    let second = Running::start_elsewhere(&rig).await;
    rig.publish(&vec![("paid", "1"); 100]).await;
    eventually("some are sent", async || !rig.receiver.received().is_empty()).await;
    first.kill().await;
    rig.publish(&vec![("paid", "2"); 100]).await;
    eventually("all are delivered", async || second.endpoint("ep").await.delivered == 200).await;
    let seqs: BTreeSet<_> = delivered(&rig.receiver, "/ep").into_iter().collect();
    assert!(seqs.into_iter().eq(1..=200));
    second.stop().await;
}
