//! A process that is gone at once, without finishing anything: each state of a delivery outlives it.

use std::time::Duration;

use events::proto::notify::{self, change_webhooks::Request};
use testkit::{Behaviour, Db, eventually};

use crate::rig::{Rig, Running, delivered, settings};

testkit::on_both_databases!(
    each_state_of_a_delivery_outlives_the_process,
    an_open_breaker_outlives_the_process,
    a_replay_goes_on_where_it_was,
);

/// The endpoints, each of which gets the two events of one order.
const ENDPOINTS: [&str; 6] = ["delivered", "held", "behind", "exhausted", "aborted", "hangs"];

/// What became of the deliveries to an endpoint, by their numbers.
async fn states(running: &Running, id: &str) -> Vec<String> {
    let mut deliveries = running.deliveries(id, "").await;
    deliveries.sort_by_key(|delivery| delivery.endpoint_seq);
    deliveries.into_iter().map(|delivery| delivery.state).collect()
}

/// Whether the deliveries to each endpoint are in the states that its name says.
async fn are_reached(running: &Running) -> bool {
    let expected = [
        ("delivered", ["delivered", "delivered"]),
        ("held", ["held", "held"]),
        ("behind", ["retry_at", "held_behind"]),
        ("exhausted", ["exhausted", "exhausted"]),
        ("aborted", ["aborted", "aborted"]),
        ("hangs", ["in_flight", "pending"]),
    ];
    for (id, expected) in expected {
        if states(running, id).await != expected {
            return false;
        }
    }
    true
}

/// How many requests came for each endpoint.
fn requests(rig: &Rig) -> [usize; 6] {
    ENDPOINTS.map(|id| delivered(&rig.receiver, &format!("/{id}")).len())
}

async fn each_state_of_a_delivery_outlives_the_process(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::by(|request| match &*request.path {
        "/behind" | "/exhausted" => Behaviour::status(500),
        "/aborted" => Behaviour::with_header(500, "webhook-delivery", "abort-message"),
        "/hangs" => Behaviour::Hang,
        _ => Behaviour::status(204),
    }));
    for id in ENDPOINTS {
        let settings = settings(&rig.receiver, &format!("/{id}"), &["*"]);
        let settings = match id {
            "behind" => notify::EndpointSettings {
                ordering: notify::Ordering::PerKey.into(),
                retry_pauses_s: vec![7_200],
                ..settings
            },
            "exhausted" => notify::EndpointSettings { retry_pauses_s: vec![5], ..settings },
            "hangs" => notify::EndpointSettings { max_in_flight: Some(1), ..settings },
            _ => settings,
        };
        running.create(id, settings).await;
    }
    running.ask("held", Request::Disable(notify::DisableEndpoint::default())).await;
    rig.publish(&[("placed", "1"), ("paid", "1")]).await;
    eventually("both fail", async || running.endpoint("exhausted").await.retrying == 2).await;
    rig.forward(Duration::from_secs(9));
    eventually("each state is reached", async || are_reached(&running).await).await;
    assert_eq!(requests(&rig), [2, 0, 1, 4, 2, 1]);

    running.kill().await;
    let running = Running::start(&rig).await;
    eventually("what was under way is sent again", async || requests(&rig)[5] == 2).await;
    assert!(are_reached(&running).await, "no state is lost");
    assert_eq!(requests(&rig), [2, 0, 1, 4, 2, 2], "nothing else is sent again");

    running.kill().await;
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(Duration::from_hours(3));
    let running = Running::start(&rig).await;
    running.ask("held", Request::Enable(notify::EnableEndpoint { deliver_held: true })).await;
    let replay = notify::StartReplay {
        replay_id: "r".to_owned(),
        selection: notify::ReplaySelection::Failed.into(),
        ..Default::default()
    };
    running.ask("exhausted", Request::StartReplay(replay)).await;
    for id in ["delivered", "held", "behind", "exhausted", "hangs"] {
        eventually("all are delivered", async || running.endpoint(id).await.delivered == 2).await;
    }
    assert_eq!(states(&running, "aborted").await, ["aborted", "aborted"]);
    assert_eq!(requests(&rig), [2, 2, 3, 6, 2, 4]);
    assert_eq!(delivered(&rig.receiver, "/behind"), [1, 1, 2], "in their order");
    running.stop().await;
    rig.verify().await;
}

async fn an_open_breaker_outlives_the_process(db: Db) {
    const EVENTS: u64 = 100;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::status(500));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    running.create("witness", settings(&rig.other, "/witness", &["*"])).await;
    rig.publish(&vec![("paid", "1"); EVENTS as usize]).await;
    running.await_open_breaker(&rig, "ep", EVENTS).await;
    let (before, tried) = (running.endpoint("ep").await, rig.receiver.count());

    running.kill().await;
    let running = Running::start(&rig).await;
    rig.publish(&[("paid", "2")]).await;
    eventually("the other one gets what is new", async || {
        running.endpoint("witness").await.delivered > EVENTS
    })
    .await;
    let after = running.endpoint("ep").await;
    assert_eq!((after.paused_until, after.retrying), (before.paused_until, before.retrying));
    assert_eq!(rig.receiver.count(), tried, "it is left alone");

    rig.receiver.behave(Behaviour::status(204));
    eventually("all are delivered", async || {
        rig.forward(Duration::from_mins(6));
        running.endpoint("ep").await.delivered > EVENTS
    })
    .await;
    running.stop().await;
    rig.verify().await;
}

async fn a_replay_goes_on_where_it_was(db: Db) {
    const HELD: u64 = 40;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    running.ask("ep", Request::Disable(notify::DisableEndpoint::default())).await;
    rig.publish(&vec![("paid", "1"); HELD as usize]).await;
    eventually("all are held", async || running.endpoint("ep").await.held == HELD).await;
    running.ask("ep", Request::Enable(notify::EnableEndpoint { deliver_held: false })).await;
    let replay = notify::StartReplay {
        replay_id: "r".to_owned(),
        selection: notify::ReplaySelection::Missing.into(),
        max_per_second: Some(20),
        ..Default::default()
    };
    running.ask("ep", Request::StartReplay(replay)).await;
    eventually("some are noted as delivered", async || running.endpoint("ep").await.delivered >= 5)
        .await;
    let before = running.endpoint("ep").await;
    assert_eq!(before.replays[0].state, "running");
    assert!(before.delivered < HELD, "{before:?}");

    running.kill().await;
    let sent_before = rig.receiver.count();
    let running = Running::start(&rig).await;
    eventually("the replay is done", async || {
        let endpoint = running.endpoint("ep").await;
        (endpoint.delivered, endpoint.replays[0].state.as_str()) == (HELD, "done")
    })
    .await;
    let again = rig.receiver.received().split_off(sent_before);
    let noted = before.delivered as usize;
    assert!(
        again.len() + noted <= HELD as usize,
        "what was noted is not sent again: {}",
        again.len()
    );
    assert!(again.iter().all(|request| request.header("webhook-replay") == "1"));
    let mut seqs = delivered(&rig.receiver, "/ep");
    seqs.sort_unstable();
    seqs.dedup();
    assert!(seqs.into_iter().eq(1..=HELD), "none is missing");
    running.stop().await;
    rig.verify().await;
}
