//! Webhooks end to end: a real nats-server, real databases, a receiver on this machine.

mod attempts;
mod backlog;
mod bodies;
mod fairness;
mod health;
mod instructions;
mod kills;
mod order;
mod replays;
mod rig;
mod torture;

use std::{collections::BTreeSet, time::Duration};

use events::proto::notify;
use testkit::{Behaviour, Db, Received, eventually};
use webhook_http::Secret;

use crate::rig::{Rig, Running, delivered, seq_of, settings};

testkit::on_both_databases!(
    what_is_published_is_delivered_signed_and_numbered,
    a_failed_delivery_is_tried_again_with_the_same_id_and_body,
    nothing_is_lost_when_the_process_is_gone_in_the_middle,
    a_rebuild_sends_nothing_and_forgets_nothing,
    a_rebuild_while_it_delivers_sends_nothing_twice,
    an_endpoint_that_hangs_delays_no_other,
    what_is_held_while_an_endpoint_is_disabled_is_delivered_when_asked_for,
    an_endpoint_is_sent_what_comes_after_it_and_all_of_that,
    deliveries_of_an_aggregate_stay_in_order_behind_one_that_fails,
    two_processes_deliver_everything,
    a_process_that_stops_sends_nothing_twice,
    every_request_is_signed_while_the_secret_is_rotated,
    what_an_endpoint_has_given_up_holds_up_no_later_event_of_the_aggregate,
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
    rig.receiver.behave(Behaviour::by(|received| {
        Behaviour::status(if seq_of(&received.body) == 2 { 500 } else { 204 })
    }));
    rig.publish(&[("paid", "1"), ("paid", "2")]).await;
    eventually("one is delivered, and one is not", async || {
        let endpoint = running.endpoint("ep").await;
        (endpoint.delivered, endpoint.retrying) == (1, 1)
    })
    .await;
    running.stop().await;
    rig.publish(&[("paid", "3")]).await;
    // What is due by now is not sent by a rebuild either.
    rig.forward(Duration::from_secs(9));
    rig.receiver.behave(Behaviour::status(204));
    rig.engine().await.rebuild::<::notify::Notify>().await.expect("it is rebuilt");
    assert_eq!(rig.receiver.count(), 2, "a rebuild sends nothing");
    let running = Running::start(&rig).await;
    eventually("all are delivered", async || running.endpoint("ep").await.delivered == 3).await;
    let mut seqs = delivered(&rig.receiver, "/ep");
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 2, 3]);
    running.stop().await;
    rig.verify().await;
}

async fn a_rebuild_while_it_delivers_sends_nothing_twice(db: Db) {
    const EVENTS: usize = 300;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&vec![("paid", "1"); EVENTS]).await;
    eventually("some are sent", async || rig.receiver.count() > 20).await;
    rig.engine().await.rebuild::<::notify::Notify>().await.expect("it is rebuilt");
    eventually("all are delivered", async || {
        running.endpoint("ep").await.delivered == EVENTS as u64
    })
    .await;
    assert_eq!(rig.receiver.count(), EVENTS);
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
    assert_eq!(again.count(), 4, "two that were held, and two once more");
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
        (endpoint.delivered, endpoint.retrying, endpoint.held_behind) == (2, 1, 1)
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
    // A duplicate has the id and the body of the first.
    let sent = rig.receiver.received();
    let ids: BTreeSet<_> = sent.iter().map(|it| it.header("webhook-id").to_owned()).collect();
    let bodies: BTreeSet<_> = sent.iter().map(|it| it.body.clone()).collect();
    assert_eq!((ids.len(), bodies.len()), (200, 200));
    second.stop().await;
}

async fn a_process_that_stops_sends_nothing_twice(db: Db) {
    const EVENTS: usize = 300;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&vec![("paid", "1"); EVENTS]).await;
    eventually("some are sent", async || rig.receiver.count() > 20).await;
    running.stop().await;
    let running = Running::start(&rig).await;
    eventually("all are delivered", async || {
        running.endpoint("ep").await.delivered == EVENTS as u64
    })
    .await;
    assert_eq!(rig.receiver.count(), EVENTS);
    running.stop().await;
    rig.verify().await;
}

async fn every_request_is_signed_while_the_secret_is_rotated(db: Db) {
    const ROUND: u64 = 60;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let first = running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    let has_all = async |rounds: u64| {
        eventually("all are delivered", async || {
            running.endpoint("ep").await.delivered == rounds * ROUND
        })
        .await;
    };
    let round = vec![("paid", "1"); ROUND as usize];
    let ((), second) = tokio::join!(rig.publish(&round), running.rotate("ep", 3_600));
    rig.publish(&round).await;
    has_all(2).await;
    // Both sign for an hour.
    let requests = rig.receiver.received();
    assert!(requests.iter().all(|request| is_signed_by(request, &first)));
    let by_both = requests.iter().filter(|request| is_signed_by(request, &second)).count() as u64;
    assert!(by_both >= ROUND, "{by_both}");
    let header = requests[requests.len() - 1].header("webhook-signature").to_owned();
    assert_eq!(header.split(' ').count(), 2, "{header}");
    assert_eq!(running.endpoint("ep").await.secrets, 2);
    rig.forward(Duration::from_hours(2));
    assert_eq!(running.endpoint("ep").await.secrets, 1, "one has expired");
    let description = "rotated".to_owned();
    let after = notify::EndpointSettings { description, ..settings(&rig.receiver, "/ep", &["*"]) };
    let change = notify::ChangeEndpoint { settings: Some(after), expected_version: None };
    let answer = running.ask("ep", notify::change_webhooks::Request::Change(change)).await;
    assert_eq!(answer.endpoint.expect("it is there").secrets, 1, "one has expired");
    rig.publish(&round).await;
    has_all(3).await;
    let requests = rig.receiver.received().split_off(2 * ROUND as usize);
    assert!(requests.iter().all(|request| is_signed_by(request, &second)));
    assert!(!requests.iter().any(|request| is_signed_by(request, &first)), "it has expired");

    // A retry is signed with what is valid then.
    rig.receiver.behave(Behaviour::status(500));
    rig.publish(&[("paid", "2")]).await;
    eventually("it fails", async || running.endpoint("ep").await.retrying == 1).await;
    let third = running.rotate("ep", 0).await;
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(Duration::from_secs(9));
    eventually("it is delivered", async || running.endpoint("ep").await.retrying == 0).await;
    let requests = rig.receiver.received().split_off(3 * ROUND as usize);
    let by: Vec<_> = requests
        .iter()
        .map(|request| (is_signed_by(request, &second), is_signed_by(request, &third)))
        .collect();
    assert_eq!(by, [(true, false), (false, true)]);
    running.stop().await;
}

fn is_signed_by(request: &Received, secret: &Secret) -> bool {
    let timestamp = request.header("webhook-timestamp").parse().expect("a time");
    let id = request.header("webhook-id");
    let signature = webhook_http::sign(std::slice::from_ref(secret), id, timestamp, &request.body);
    request.header("webhook-signature").split(' ').any(|it| it == signature)
}

async fn what_an_endpoint_has_given_up_holds_up_no_later_event_of_the_aggregate(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let settings = notify::EndpointSettings {
        ordering: notify::Ordering::PerKey.into(),
        retry_pauses_s: vec![5],
        ..settings(&rig.receiver, "/ep", &["*"])
    };
    running.create("ep", settings).await;
    rig.receiver.behave(Behaviour::by(|received| {
        Behaviour::status(if seq_of(&received.body) == 1 { 500 } else { 204 })
    }));
    rig.publish(&[("placed", "a"), ("paid", "a"), ("paid", "a")]).await;
    eventually("two wait behind the first", async || {
        running.deliveries("ep", "held_behind").await.len() == 2
    })
    .await;
    rig.forward(Duration::from_secs(9));
    eventually("the first is given up, and the others go", async || {
        let endpoint = running.endpoint("ep").await;
        (endpoint.exhausted, endpoint.delivered) == (1, 2)
    })
    .await;
    assert_eq!(delivered(&rig.receiver, "/ep"), [1, 1, 2, 3]);
    // What comes next waits for nothing: it is delivered with its first attempt.
    rig.publish(&[("paid", "a")]).await;
    eventually("it is delivered", async || running.endpoint("ep").await.delivered == 3).await;

    // What was given up is sent again on request, and its attempts are counted anew.
    let replay = notify::StartReplay {
        replay_id: "r".to_owned(),
        selection: notify::ReplaySelection::Failed.into(),
        ..Default::default()
    };
    running.ask("ep", notify::change_webhooks::Request::StartReplay(replay)).await;
    eventually("it fails once more", async || running.endpoint("ep").await.retrying == 1).await;
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(Duration::from_secs(9));
    eventually("all are delivered", async || running.endpoint("ep").await.delivered == 4).await;
    assert_eq!(delivered(&rig.receiver, "/ep"), [1, 1, 2, 3, 4, 1, 1]);
    running.stop().await;
    rig.verify().await;
}
