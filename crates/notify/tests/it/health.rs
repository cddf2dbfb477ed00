//! An endpoint that fails: it is left alone, then disabled, then tried again with one delivery.

use std::{sync::Arc, time::Duration};

use events::proto::notify::{self, change_webhooks::Request};
use protocol::time::Timestamp;
use testkit::{Behaviour, Db, eventually};
use tokio::sync::Semaphore;
use webhook_http::Policy;

use crate::rig::{Rig, Running, delivered, policy, settings};

testkit::on_both_databases!(
    an_endpoint_at_which_most_fails_is_left_alone_and_then_tried_with_one,
    an_endpoint_that_asks_to_wait_is_waited_for,
    an_endpoint_that_is_gone_is_disabled_and_what_matches_it_is_held,
    an_endpoint_that_fails_for_five_days_is_disabled,
    an_endpoint_that_is_enabled_again_gets_one_delivery_at_first,
    an_endpoint_that_still_fails_when_it_is_enabled_again_gets_no_more_than_one,
    what_is_under_way_when_an_endpoint_is_disabled_is_sent_once,
    what_may_not_be_sent_any_more_fails_as_refused,
    what_became_of_an_endpoint_is_delivered_to_the_others_that_want_it,
);

fn hours(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

/// The name of why the endpoint is disabled.
fn disabled(endpoint: &notify::Endpoint) -> &'static str {
    endpoint.disabled().as_str_name()
}

async fn an_endpoint_at_which_most_fails_is_left_alone_and_then_tried_with_one(db: Db) {
    const EVENTS: u64 = 200;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::status(500));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&vec![("paid", "1"); EVENTS as usize]).await;
    running.await_open_breaker(&rig, "ep", EVENTS).await;
    // As many as open it, and those that were under way with them.
    let tried = rig.receiver.count();
    assert!((10..=30).contains(&tried), "{tried}");
    let endpoint = running.endpoint("ep").await;
    assert_eq!((endpoint.retrying, endpoint.pending), (tried as u64, EVENTS - tried as u64));

    // One request that fails keeps it open, and so on.
    let pause = async || running.endpoint("ep").await.paused_until.map_or(0, |it| it.seconds);
    let before = pause().await;
    rig.forward(Duration::from_secs(31));
    eventually("one is let through", async || rig.receiver.count() > tried).await;
    eventually("it is left alone again", async || pause().await > before).await;
    assert_eq!(rig.receiver.count(), tried + 1);

    // What was not tried has used none of its attempts.
    rig.receiver.behave(Behaviour::status(204));
    eventually("all are delivered", async || {
        rig.forward(Duration::from_mins(6));
        running.endpoint("ep").await.delivered == EVENTS
    })
    .await;
    assert_eq!(running.endpoint("ep").await.paused_until, None);
    let requests = rig.receiver.received();
    let again = requests.iter().filter(|request| request.header("webhook-attempt") != "1");
    assert_eq!(again.count(), tried + 1, "those alone that were tried are tried again");
    running.stop().await;
    rig.verify().await;
}

async fn an_endpoint_that_asks_to_wait_is_waited_for(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::with_header(503, "retry-after", "7200"));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&[("paid", "1")]).await;
    eventually("it fails", async || running.endpoint("ep").await.retrying == 1).await;
    let open = running.deliveries("ep", "retry_at").await.remove(0);
    let due = Timestamp::parse(open.due_at.as_ref()).expect("it is due");
    let pause = due.millis() - rig.now().millis();
    assert!((7_190_000..7_261_000).contains(&pause), "{pause} ms");
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(hours(1));
    rig.publish(&[("paid", "2")]).await;
    eventually("another one is delivered", async || running.endpoint("ep").await.delivered == 1)
        .await;
    assert_eq!(delivered(&rig.receiver, "/ep"), [1, 2], "the first still waits");
    rig.forward(hours(1) + Duration::from_mins(1));
    eventually("it is delivered", async || running.endpoint("ep").await.delivered == 2).await;
    running.stop().await;
    rig.verify().await;
}

async fn an_endpoint_that_is_gone_is_disabled_and_what_matches_it_is_held(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::status(410));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    running.create("witness", settings(&rig.other, "/witness", &["order.*"])).await;
    rig.publish(&[("paid", "1")]).await;
    eventually("it is disabled", async || {
        disabled(&running.endpoint("ep").await) == "DISABLED_REASON_GONE"
    })
    .await;
    rig.publish(&[("paid", "2"), ("paid", "3")]).await;
    rig.forward(hours(30));
    eventually("the other has all", async || running.endpoint("witness").await.delivered == 3)
        .await;
    assert_eq!(rig.receiver.count(), 1);
    let endpoint = running.endpoint("ep").await;
    assert_eq!((endpoint.held, endpoint.retrying, endpoint.last_seq), (2, 1, 3));
    assert_eq!(running.deliveries("ep", "held").await.len(), 2);

    rig.receiver.behave(Behaviour::status(204));
    running.ask("ep", Request::Enable(notify::EnableEndpoint { deliver_held: true })).await;
    eventually("all are delivered", async || running.endpoint("ep").await.delivered == 3).await;
    running.stop().await;
    rig.verify().await;
}

async fn an_endpoint_that_fails_for_five_days_is_disabled(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::status(500));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    running.create("watch", settings(&rig.other, "/watch", &["webhook.*"])).await;
    let news = async |count: usize| {
        eventually("the other has it", async || rig.other.count() == count).await;
        let body = &rig.other.received()[count - 1].body;
        let body: serde_json::Value = serde_json::from_slice(body).expect("is JSON");
        body["type"].as_str().expect("a text").to_owned()
    };
    rig.publish(&[("paid", "1"), ("paid", "2")]).await;
    eventually("both fail", async || running.endpoint("ep").await.retrying == 2).await;
    rig.forward(hours(61));
    assert_eq!(news(1).await, "webhook.endpoint_failing");
    rig.publish(&[("paid", "3")]).await;
    eventually("a third message fails", async || running.endpoint("ep").await.retrying == 3).await;
    assert_eq!(disabled(&running.endpoint("ep").await), "DISABLED_REASON_UNSPECIFIED");
    rig.forward(hours(60));
    assert_eq!(news(2).await, "webhook.endpoint_disabled");
    assert_eq!(disabled(&running.endpoint("ep").await), "DISABLED_REASON_FAILING");
    let count = rig.receiver.count();
    rig.publish(&[("paid", "4")]).await;
    eventually("the next is held", async || running.endpoint("ep").await.held == 1).await;
    assert_eq!(rig.receiver.count(), count);
    running.stop().await;
    rig.verify().await;
}

async fn an_endpoint_that_is_enabled_again_gets_one_delivery_at_first(db: Db) {
    const EVENTS: u64 = 40;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    running.create("witness", settings(&rig.other, "/witness", &["order.*"])).await;
    running.ask("ep", Request::Disable(notify::DisableEndpoint::default())).await;
    rig.publish(&vec![("paid", "1"); EVENTS as usize]).await;
    eventually("all are held", async || running.endpoint("ep").await.held == EVENTS).await;
    let permits = Arc::new(Semaphore::new(0));
    rig.receiver.behave(Behaviour::Permitted(permits.clone()));
    running.ask("ep", Request::Enable(notify::EnableEndpoint { deliver_held: true })).await;
    eventually("the probe is under way", async || rig.receiver.count() == 1).await;
    rig.publish(&[("paid", "2")]).await;
    eventually("others are sent", async || running.endpoint("witness").await.delivered > EVENTS)
        .await;
    assert_eq!(rig.receiver.count(), 1, "one at a time, until it has succeeded");
    permits.add_permits(1_000);
    eventually("all are delivered", async || running.endpoint("ep").await.delivered > EVENTS).await;
    running.stop().await;
    rig.verify().await;
}

async fn an_endpoint_that_still_fails_when_it_is_enabled_again_gets_no_more_than_one(db: Db) {
    const EVENTS: u64 = 40;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::status(500));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    running.create("witness", settings(&rig.other, "/witness", &["order.*"])).await;
    running.ask("ep", Request::Disable(notify::DisableEndpoint::default())).await;
    rig.publish(&vec![("paid", "1"); EVENTS as usize]).await;
    eventually("all are held", async || running.endpoint("ep").await.held == EVENTS).await;
    running.ask("ep", Request::Enable(notify::EnableEndpoint { deliver_held: true })).await;
    // At first, and then after each pause.
    for probes in 1..=2 {
        eventually("the probe has failed", async || {
            let endpoint = running.endpoint("ep").await;
            rig.receiver.count() == probes
                && endpoint
                    .paused_until
                    .is_some_and(|until| until.seconds * 1_000 > rig.now().millis())
        })
        .await;
        rig.publish(&[("paid", "2")]).await;
        eventually("others are sent", async || {
            running.endpoint("witness").await.delivered == EVENTS + probes as u64
        })
        .await;
        assert_eq!(rig.receiver.count(), probes, "no more until one has succeeded");
        if probes == 1 {
            rig.forward(Duration::from_secs(31));
        }
    }
    rig.receiver.behave(Behaviour::status(204));
    // What has failed twice is tried again after five minutes.
    rig.forward(hours(1));
    eventually("all are delivered", async || running.endpoint("ep").await.delivered == EVENTS + 2)
        .await;
    running.stop().await;
    rig.verify().await;
}

async fn what_is_under_way_when_an_endpoint_is_disabled_is_sent_once(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let permits = Arc::new(Semaphore::new(0));
    rig.receiver.behave(Behaviour::Permitted(permits.clone()));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&[("paid", "1"), ("paid", "2")]).await;
    eventually("both are under way", async || rig.receiver.count() == 2).await;
    running.ask("ep", Request::Disable(notify::DisableEndpoint::default())).await;
    rig.publish(&[("paid", "3")]).await;
    eventually("the third is held", async || running.endpoint("ep").await.last_seq == 3).await;
    permits.add_permits(1_000);
    running.ask("ep", Request::Enable(notify::EnableEndpoint { deliver_held: true })).await;
    eventually("all are delivered", async || running.endpoint("ep").await.delivered == 3).await;
    let mut seqs = delivered(&rig.receiver, "/ep");
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 3]);
    running.stop().await;
    rig.verify().await;
}

async fn what_may_not_be_sent_any_more_fails_as_refused(db: Db) {
    const EVENTS: u64 = 20;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    running.stop().await;
    let strict = Policy { allow_http: false, ..policy() };
    let running = Running::with_policy(&rig, strict).await;
    rig.publish(&vec![("paid", "1"); EVENTS as usize]).await;
    eventually("the breaker is open", async || {
        let endpoint = running.endpoint("ep").await;
        endpoint.paused_until.is_some() && endpoint.last_seq == EVENTS
    })
    .await;
    let open = running.deliveries("ep", "retry_at").await;
    assert!((10..EVENTS as usize).contains(&open.len()), "{}", open.len());
    assert!(open.iter().all(|it| it.error_class == "refused" && it.failed_attempts == 1));
    let seq = open[0].endpoint_seq;
    eventually("the attempt is recorded", async || {
        running.delivery("ep", seq).await.attempts.iter().any(|it| it.error_class == "refused")
    })
    .await;
    assert_eq!((running.proof("ep").await.sent, rig.receiver.count()), (0, 0));
    running.stop().await;
    let running = Running::start(&rig).await;
    rig.forward(Duration::from_secs(31));
    eventually("all are delivered", async || running.endpoint("ep").await.delivered == EVENTS)
        .await;
    running.stop().await;
    rig.verify().await;
}

async fn what_became_of_an_endpoint_is_delivered_to_the_others_that_want_it(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::status(410));
    // Both want it, and both answer 410: each is disabled once, and the second holds what came of the first.
    running
        .create("first", settings(&rig.receiver, "/first", &["order.placed", "webhook.*"]))
        .await;
    running.create("second", settings(&rig.receiver, "/second", &["webhook.*"])).await;
    running.create("watch", settings(&rig.other, "/watch", &["webhook.*"])).await;
    running.create("orders", settings(&rig.other, "/orders", &["order.*"])).await;
    rig.publish(&[("placed", "1")]).await;
    eventually("both are disabled", async || {
        disabled(&running.endpoint("first").await) == "DISABLED_REASON_GONE"
            && disabled(&running.endpoint("second").await) == "DISABLED_REASON_GONE"
    })
    .await;
    eventually("the others have all", async || {
        let (watch, orders) = (running.endpoint("watch").await, running.endpoint("orders").await);
        (watch.delivered, orders.delivered) == (2, 1)
    })
    .await;
    let mut bodies: Vec<serde_json::Value> = (rig.other.received().iter())
        .filter(|request| request.path == "/watch")
        .map(|request| serde_json::from_slice(&request.body).expect("is JSON"))
        .collect();
    bodies.sort_by_key(|body| body["meta"]["endpoint_seq"].as_u64());
    for (body, about) in bodies.iter().zip(["first", "second"]) {
        assert_eq!(body["type"], "webhook.endpoint_disabled");
        let data = serde_json::json!({"endpointId": about, "reason": "DISABLED_REASON_GONE"});
        assert_eq!((&body["data"], &body["meta"]["stream"]), (&data, &"notify".into()));
    }
    // Its own end it was not sent, and that of the second it holds.
    let first = running.endpoint("first").await;
    assert_eq!((first.last_seq, first.held, first.retrying), (2, 1, 1));
    assert_eq!(delivered(&rig.receiver, "/second"), [1]);
    running.stop().await;
    rig.verify().await;
}
