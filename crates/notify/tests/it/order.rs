//! In which order deliveries are made, of a backlog and behind one that fails; which events are an endpoint's; and
//! what is written for many endpoints.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use engine::Logged;
use events::proto::{
    Event,
    event::Body,
    notify::{self, change_webhooks::Request, notify_event::Kind},
};
use serde_json::Value;
use testkit::{Behaviour, Db, Receiver, eventually};

use crate::rig::{Rig, Running, delivered, seq_of, settings};

/// The aggregate of each delivery at a path with its number, in the order in which they came.
fn delivered_by_aggregate(receiver: &Receiver, path: &str) -> BTreeMap<String, Vec<u64>> {
    let mut by_aggregate: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for request in receiver.received().iter().filter(|request| request.path == path) {
        let body: Value = serde_json::from_slice(&request.body).expect("is JSON");
        let id = body["meta"]["aggregate"]["id"].as_str().expect("it has one").to_owned();
        by_aggregate.entry(id).or_default().push(seq_of(&request.body));
    }
    by_aggregate
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_sent_in_order_and_waits_behind_what_fails() {
    const EVENTS: u64 = 1_000;
    const AGGREGATES: u64 = 50;
    /// Its first attempt fails.
    const FAILING: u64 = 500;
    let rig = Rig::start(Db::sqlite()).await;
    let running = Running::start(&rig).await;
    let has_failed = AtomicBool::new(false);
    rig.receiver.behave(Behaviour::by(move |request| {
        let fails = request.path == "/fifo" && seq_of(&request.body) == FAILING;
        let fails = fails && !has_failed.swap(true, Ordering::Relaxed);
        Behaviour::status(if fails { 500 } else { 204 })
    }));
    for (id, path, ordering) in
        [("fifo", "/fifo", notify::Ordering::Fifo), ("per-key", "/key", notify::Ordering::PerKey)]
    {
        let settings = settings(&rig.receiver, path, &["*"]);
        let ordering = ordering.into();
        running.create(id, notify::EndpointSettings { ordering, ..settings }).await;
        running.ask(id, Request::Disable(notify::DisableEndpoint::default())).await;
    }
    let aggregates: Vec<_> = (0..EVENTS).map(|event| (event % AGGREGATES).to_string()).collect();
    let events: Vec<_> = aggregates.iter().map(|id| ("paid", id.as_str())).collect();
    rig.publish(&events).await;
    for id in ["fifo", "per-key"] {
        eventually("all are held", async || running.endpoint(id).await.held == EVENTS).await;
        running.ask(id, Request::Enable(notify::EnableEndpoint { deliver_held: true })).await;
    }
    eventually("those of each aggregate are delivered", async || {
        running.endpoint("per-key").await.delivered == EVENTS
    })
    .await;
    let by_aggregate = delivered_by_aggregate(&rig.receiver, "/key");
    assert_eq!(by_aggregate.len() as u64, AGGREGATES);
    for (id, seqs) in by_aggregate {
        assert!(seqs.is_sorted(), "{id}: {seqs:?}");
    }
    eventually("one has failed", async || {
        let failing = running.delivery("fifo", FAILING).await.delivery;
        failing.is_some_and(|it| it.state == "retry_at")
    })
    .await;
    let sent = delivered(&rig.receiver, "/fifo");
    assert!(sent.into_iter().eq(1..=FAILING), "nothing overtakes it");
    rig.forward(Duration::from_secs(9));
    eventually("the rest is delivered", async || {
        running.endpoint("fifo").await.delivered == EVENTS
    })
    .await;
    let sent = delivered(&rig.receiver, "/fifo");
    assert!(sent.into_iter().eq((1..=FAILING).chain(FAILING..=EVENTS)));
    running.stop().await;
    rig.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_created_while_events_flow_misses_none_of_those_after_it() {
    const ROUNDS: usize = 40;
    const EVENTS: usize = 50;
    let rig = Rig::start(Db::sqlite()).await;
    let first = Running::start(&rig).await;
    let second = Running::start_elsewhere(&rig).await;
    first.create("early", settings(&rig.other, "/early", &["*"])).await;
    let publish = async |rounds: usize| {
        for _ in 0..rounds {
            rig.publish(&[("paid", "1"); EVENTS]).await;
        }
    };
    publish(ROUNDS / 4).await;
    let creating = second.create("late", settings(&rig.receiver, "/late", &["*"]));
    tokio::join!(publish(ROUNDS / 4), creating);
    let before = (ROUNDS / 2 * EVENTS) as u64;
    publish(ROUNDS / 2).await;
    let all = (ROUNDS * EVENTS) as u64;
    eventually("all are scheduled and delivered", async || {
        let (early, late) = (first.endpoint("early").await, first.endpoint("late").await);
        early.delivered == all && late.delivered == late.last_seq && late.last_seq >= all - before
    })
    .await;
    // The events of the log from one on, each once: none is missing behind it.
    let mut positions: Vec<_> =
        rig.receiver.received().iter().map(|it| position(&it.body)).collect();
    positions.sort_unstable();
    let from = positions[0];
    assert!(from <= before + 1, "what was published after it was created begins at {from}");
    assert!(positions.into_iter().eq(from..=all));
    first.stop().await;
    second.stop().await;
    rig.verify().await;
}

/// Where the event of a delivery is in its log.
fn position(body: &[u8]) -> u64 {
    let body: Value = serde_json::from_slice(body).expect("is JSON");
    body["meta"]["position"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_100_endpoints_is_scheduled_by_one_message() {
    const ENDPOINTS: usize = 100;
    let rig = Rig::start(Db::sqlite()).await;
    let running = Running::start(&rig).await;
    for number in 0..ENDPOINTS {
        let settings = settings(&rig.receiver, &format!("/{number}"), &["order.*"]);
        running.create(&format!("ep-{number}"), settings).await;
    }
    rig.publish(&[("paid", "1")]).await;
    eventually("each has it", async || rig.receiver.count() == ENDPOINTS).await;
    let mut matches = Vec::new();
    let each = |logged: Logged<Event>| {
        if let Some(Body::Notify(event)) = logged.event.body
            && let Some(Kind::Scheduled(scheduled)) = event.kind
        {
            matches.push(scheduled.matches.len());
        }
    };
    rig.engine().await.read_log("notify", 0, each).await.expect("it is read");
    assert_eq!(matches, [ENDPOINTS]);
    running.stop().await;
    rig.verify().await;
}
