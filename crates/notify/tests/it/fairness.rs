//! What is sent first: what is new, what is tried again, and what a replay asks for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use events::proto::notify::{self, change_webhooks::Request};
use testkit::{Behaviour, Db, Receiver, eventually};

use crate::rig::{Rig, Running, delivered, seq_of, settings};

testkit::on_both_databases!(
    retries_that_hang_hold_up_nothing_new,
    endpoints_of_one_shop_that_hang_delay_no_other_shop,
    an_endpoint_is_sent_no_more_in_a_second_than_it_takes,
    a_replay_goes_on_beside_what_is_new_and_no_faster_than_asked_for,
);

async fn retries_that_hang_hold_up_nothing_new(db: Db) {
    const LIMIT: u64 = 8;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    // Fewer failures than open the breaker.
    rig.receiver.behave(Behaviour::status(500));
    rig.publish(&vec![("paid", "1"); LIMIT as usize]).await;
    eventually("they fail", async || running.endpoint("ep").await.retrying == LIMIT).await;
    rig.receiver.behave(Behaviour::by(|request| match seq_of(&request.body) {
        1..=LIMIT => Behaviour::Hang,
        _ => Behaviour::status(204),
    }));
    rig.forward(Duration::from_secs(9));
    eventually("retries are under way", async || rig.receiver.count() as u64 == 2 * LIMIT - 1)
        .await;
    for round in 1..=10 {
        rig.publish(&[("paid", "2"); 5]).await;
        eventually("what is new is delivered", async || {
            running.endpoint("ep").await.delivered == round * 5
        })
        .await;
    }
    let again = delivered(&rig.receiver, "/ep").into_iter().filter(|seq| *seq <= LIMIT).count();
    assert_eq!(again as u64, 2 * LIMIT - 1, "one request is never a retry");
    running.kill().await;
}

async fn endpoints_of_one_shop_that_hang_delay_no_other_shop(db: Db) {
    const ENDPOINTS: usize = 30;
    const EVENTS: usize = 100;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let hanging = running.of("hanging");
    rig.receiver.behave(Behaviour::Hang);
    for number in 0..ENDPOINTS {
        let at_receiver = settings(&rig.receiver, "/hangs", &["*"]);
        hanging.create(&format!("ep{number}"), at_receiver).await;
    }
    running.create("healthy", settings(&rig.other, "/healthy", &["*"])).await;
    rig.publish_of("hanging", &vec![("paid", "1"); EVENTS]).await;
    eventually("each endpoint has requests under way", async || {
        rig.receiver.count() >= 8 * ENDPOINTS
    })
    .await;
    // No request of these ends before the test does: what comes now is not sent because one has made way.
    for round in 1..=3 {
        rig.publish_of("hanging", &vec![("paid", "1"); EVENTS]).await;
        rig.publish(&vec![("paid", "2"); EVENTS]).await;
        eventually("the other shop has all", async || {
            running.endpoint("healthy").await.delivered == round * EVENTS as u64
        })
        .await;
    }
    let healthy = delivered(&rig.other, "/healthy");
    assert_eq!(healthy.len(), 3 * EVENTS, "each came once");
    eventually("all of the first one is scheduled", async || {
        hanging.endpoint("ep0").await.last_seq == 4 * EVENTS as u64
    })
    .await;
    assert_eq!(hanging.endpoint("ep0").await.delivered, 0);
    assert_eq!(rig.receiver.count(), 8 * ENDPOINTS, "so many are under way, and none has ended");
    running.kill().await;
}

async fn an_endpoint_is_sent_no_more_in_a_second_than_it_takes(db: Db) {
    const EVENTS: u64 = 31;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let limited = notify::EndpointSettings {
        max_per_second: Some(20),
        ..settings(&rig.receiver, "/ep", &["*"])
    };
    running.create("ep", limited).await;
    let start = Instant::now();
    rig.publish(&vec![("paid", "1"); EVENTS as usize]).await;
    eventually("all are delivered", async || running.endpoint("ep").await.delivered == EVENTS)
        .await;
    // One goes at once, and 30 more in a second and a half.
    assert!(start.elapsed() >= Duration::from_millis(1_450), "{:?}", start.elapsed());
    assert_eq!(rig.receiver.count() as u64, EVENTS);
    running.stop().await;
}

async fn a_replay_goes_on_beside_what_is_new_and_no_faster_than_asked_for(db: Db) {
    const HELD: u64 = 21;
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    running.ask("ep", Request::Disable(notify::DisableEndpoint::default())).await;
    rig.publish(&vec![("paid", "1"); HELD as usize]).await;
    eventually("they are held", async || running.endpoint("ep").await.held == HELD).await;
    running.ask("ep", Request::Enable(notify::EnableEndpoint { deliver_held: false })).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let publish = async {
        // There is always something new.
        let mut sent = 0;
        while !is_over.load(Ordering::Relaxed) {
            rig.publish(&vec![("paid", "2"); 20]).await;
            sent += 20;
            let is_near = async || running.endpoint("ep").await.pending < 40;
            eventually("it keeps up", is_near).await;
        }
        sent
    };
    let replay = async {
        let start = Instant::now();
        let replay = notify::StartReplay {
            replay_id: "r".to_owned(),
            selection: notify::ReplaySelection::Missing.into(),
            max_per_second: Some(10),
            ..Default::default()
        };
        running.ask("ep", Request::StartReplay(replay)).await;
        eventually("the replay is done", async || {
            running.endpoint("ep").await.replays.iter().all(|replay| replay.state == "done")
        })
        .await;
        is_over.store(true, Ordering::Relaxed);
        start.elapsed()
    };
    let (sent, took) = tokio::join!(publish, replay);
    assert!(took >= Duration::from_millis(1_950), "{took:?}");
    eventually("all are delivered", async || running.endpoint("ep").await.delivered == HELD + sent)
        .await;
    let marked = |receiver: &Receiver| -> Vec<u64> {
        let marked =
            receiver.received().into_iter().filter(|it| it.header("webhook-replay") == "1");
        let mut marked: Vec<_> = marked.map(|request| seq_of(&request.body)).collect();
        marked.sort_unstable();
        marked
    };
    assert!(marked(&rig.receiver).into_iter().eq(1..=HELD), "those of the replay, each once");
    assert_eq!(rig.receiver.count() as u64, HELD + sent);
    running.stop().await;
    rig.verify().await;
}
