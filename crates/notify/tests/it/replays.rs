//! What replays send: also of deliveries of which the database does not say yet what became of them.

use std::{sync::Arc, time::Duration};

use engine::{Engine, Logged};
use events::proto::{
    Event,
    event::Body,
    notify::{self, EndpointResult, ReplaySelection, change_webhooks::Request, notify_event::Kind},
};
use testkit::{Behaviour, Db, eventually};
use tokio::sync::Semaphore;

use crate::rig::{Rig, Running, delivered, seq_of, settings};

testkit::on_both_databases!(
    what_was_delivered_a_moment_ago_is_sent_again,
    what_was_aborted_a_moment_ago_is_sent_again,
    what_was_aborted_is_sent_again_when_the_request_under_way_has_ended,
    the_attempts_at_what_is_tried_again_are_counted_on_in_a_replay,
    a_retry_of_what_a_replay_has_sent_says_that_it_was_asked_for_again,
    what_was_delivered_holds_up_nothing_when_it_fails_in_a_replay,
);

/// Starts a replay of one delivery, as somebody does who asks for it again.
async fn resend(running: &Running, seq: u64, selection: ReplaySelection) {
    let replay = notify::StartReplay {
        replay_id: "r".to_owned(),
        from: seq,
        to: seq,
        selection: selection.into(),
        ..Default::default()
    };
    let answer = running.ask("ep", Request::StartReplay(replay)).await;
    assert_eq!(answer.result(), EndpointResult::Changed);
}

/// Gives up a delivery.
async fn abort(running: &Running, seq: u64) {
    let abort = notify::AbortDelivery { endpoint_seq: seq };
    let answer = running.ask("ep", Request::AbortDelivery(abort)).await;
    assert_eq!(answer.result(), EndpointResult::Changed);
}

/// Waits until replays have come to their end; yields how many deliveries they have sent.
async fn sent_by_replays(running: &Running) -> u64 {
    eventually("the replays are done", async || {
        running.endpoint("ep").await.replays.iter().all(|replay| replay.state == "done")
    })
    .await;
    running.endpoint("ep").await.replays.iter().map(|replay| replay.sent).sum()
}

/// How many attempts are in the log. A question to the service would have its rows written to the database.
async fn logged_attempts(engine: &Engine) -> u64 {
    let mut attempts = 0;
    let each = |logged: Logged<Event>| {
        if let Some(Body::Notify(event)) = logged.event.body
            && let Some(Kind::Attempted(round)) = event.kind
        {
            let delivered: u64 = round.delivered.chunks(2).map(|run| run[1]).sum();
            attempts += delivered + round.failures.len() as u64;
        }
    };
    engine.read_log("notify", 0, each).await.expect("it is read");
    attempts
}

/// How many attempts at a delivery have failed, as far as it is not delivered again since.
async fn failed_attempts(running: &Running, seq: u64) -> u32 {
    running.delivery("ep", seq).await.delivery.map_or(0, |delivery| delivery.failed_attempts)
}

async fn what_was_delivered_a_moment_ago_is_sent_again(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let engine = rig.engine().await;
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&[("paid", "1")]).await;
    eventually("the first is delivered", async || running.endpoint("ep").await.delivered == 1)
        .await;
    rig.publish(&[("paid", "2")]).await;
    eventually("so is the second", async || logged_attempts(&engine).await == 2).await;
    resend(&running, 2, ReplaySelection::All).await;
    eventually("it is sent again", async || rig.receiver.count() == 3).await;
    assert_eq!(delivered(&rig.receiver, "/ep"), [1, 2, 2]);
    assert_eq!(sent_by_replays(&running).await, 1);
    running.stop().await;
    rig.verify().await;
}

async fn what_was_aborted_a_moment_ago_is_sent_again(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::status(500));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&[("paid", "1")]).await;
    eventually("it fails", async || running.deliveries("ep", "retry_at").await.len() == 1).await;
    rig.receiver.behave(Behaviour::status(204));
    abort(&running, 1).await;
    resend(&running, 1, ReplaySelection::Failed).await;
    eventually("it is sent again", async || rig.receiver.count() == 2).await;
    assert_eq!(rig.receiver.received()[1].header("webhook-replay"), "1");
    assert_eq!(sent_by_replays(&running).await, 1);
    eventually("it is delivered", async || running.endpoint("ep").await.delivered == 1).await;
    running.stop().await;
    rig.verify().await;
}

async fn what_was_aborted_is_sent_again_when_the_request_under_way_has_ended(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let permits = Arc::new(Semaphore::new(0));
    let hangs = Behaviour::Permitted(permits.clone());
    rig.receiver.behave(Behaviour::by(move |request| match seq_of(&request.body) {
        1 => hangs.clone(),
        _ => Behaviour::status(204),
    }));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&[("paid", "1")]).await;
    eventually("a request is under way", async || rig.receiver.count() == 1).await;
    abort(&running, 1).await;
    resend(&running, 1, ReplaySelection::All).await;
    // Meanwhile the replay is looked at again and again.
    for count in 1..=10 {
        rig.publish(&[("paid", "2")]).await;
        eventually("others are delivered", async || {
            running.endpoint("ep").await.delivered == count
        })
        .await;
    }
    assert_eq!(running.endpoint("ep").await.replays[0].state, "running");
    permits.add_permits(2);
    eventually("it is sent again", async || {
        let requests = rig.receiver.received();
        let mut of_it = requests.iter().filter(|request| seq_of(&request.body) == 1);
        of_it.any(|request| request.header("webhook-replay") == "1")
    })
    .await;
    assert_eq!(sent_by_replays(&running).await, 1);
    eventually("it is delivered", async || running.endpoint("ep").await.delivered == 11).await;
    running.stop().await;
    rig.verify().await;
}

async fn the_attempts_at_what_is_tried_again_are_counted_on_in_a_replay(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::status(500));
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&[("paid", "1")]).await;
    eventually("it fails", async || running.endpoint("ep").await.retrying == 1).await;
    resend(&running, 1, ReplaySelection::All).await;
    eventually("it fails again", async || {
        running.deliveries("ep", "retry_at").await.iter().any(|it| it.failed_attempts == 2)
    })
    .await;
    let requests = rig.receiver.received();
    let numbers: Vec<_> = requests.iter().map(|it| it.header("webhook-attempt")).collect();
    assert_eq!(numbers, ["1", "2"]);
    assert_eq!(sent_by_replays(&running).await, 1);
    running.stop().await;
    rig.verify().await;
}

async fn a_retry_of_what_a_replay_has_sent_says_that_it_was_asked_for_again(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    rig.publish(&[("paid", "1")]).await;
    eventually("it is delivered", async || running.endpoint("ep").await.delivered == 1).await;
    rig.receiver.behave(Behaviour::status(500));
    resend(&running, 1, ReplaySelection::All).await;
    eventually("it fails", async || failed_attempts(&running, 1).await == 1).await;
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(Duration::from_secs(9));
    eventually("it is delivered again", async || failed_attempts(&running, 1).await == 0).await;
    let requests = rig.receiver.received();
    let hints = |name: &str| requests.iter().map(|it| it.header(name)).collect::<Vec<_>>();
    assert_eq!(hints("webhook-replay"), ["", "1", "1"]);
    assert_eq!(hints("webhook-attempt"), ["1", "1", "2"]);
    assert_eq!(sent_by_replays(&running).await, 1);
    running.stop().await;
    rig.verify().await;
}

async fn what_was_delivered_holds_up_nothing_when_it_fails_in_a_replay(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let settings = settings(&rig.receiver, "/ep", &["*"]);
    let ordering = notify::Ordering::Fifo.into();
    running.create("ep", notify::EndpointSettings { ordering, ..settings }).await;
    rig.publish(&[("paid", "1")]).await;
    eventually("it is delivered", async || running.endpoint("ep").await.delivered == 1).await;
    rig.receiver.behave(Behaviour::by(|request| {
        Behaviour::status(if request.header("webhook-replay") == "1" { 500 } else { 204 })
    }));
    resend(&running, 1, ReplaySelection::All).await;
    eventually("it fails", async || failed_attempts(&running, 1).await == 1).await;
    rig.publish(&[("paid", "2")]).await;
    eventually("the next is delivered", async || running.endpoint("ep").await.delivered == 2).await;
    let shown = running.delivery("ep", 1).await.delivery.expect("it is shown");
    assert_eq!((&*shown.state, shown.status, shown.due_at.is_some()), ("delivered", 500, true));
    assert_eq!(running.deliveries("ep", "retry_at").await, []);
    let proof = running.proof("ep").await;
    assert_eq!((proof.matched, proof.delivered, proof.open.len()), (2, 2, 0));
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(Duration::from_secs(9));
    eventually("it is delivered again", async || failed_attempts(&running, 1).await == 0).await;
    assert_eq!(delivered(&rig.receiver, "/ep"), [1, 1, 2, 1]);
    running.stop().await;
    rig.verify().await;
}
