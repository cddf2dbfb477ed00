//! Much waits for an endpoint that is dead, beside one that is healthy.

use testkit::{Behaviour, Db, eventually};

use crate::rig::{Rig, Running, delivered, settings};

/// The events that wait for the dead endpoint.
const BACKLOG: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_endpoint_is_not_delayed_by_100_000_events_for_a_dead_one() {
    let rig = Rig::start(Db::sqlite()).await;
    let running = Running::start(&rig).await;
    rig.receiver.behave(Behaviour::status(500));
    running.create("dead", settings(&rig.receiver, "/dead", &["order.paid"])).await;
    running.create("healthy", settings(&rig.other, "/healthy", &["order.placed"])).await;
    rig.publish(&vec![("paid", "1"); BACKLOG]).await;
    for part in 1..=10 {
        let most = (BACKLOG / 10 * part) as u64;
        eventually("they wait", async || running.endpoint("dead").await.last_seq >= most).await;
    }
    let tried = rig.receiver.count();
    rig.publish(&[("placed", "1")]).await;
    eventually("the healthy one has its event", async || {
        running.endpoint("healthy").await.delivered == 1
    })
    .await;
    // It waited for nothing that is sent to the dead one.
    assert_eq!(delivered(&rig.other, "/healthy"), [1]);
    let dead = running.endpoint("dead").await;
    assert_eq!((dead.delivered, dead.last_seq), (0, BACKLOG as u64));
    assert!(tried < 100, "the breaker is open: {tried}");
    running.stop().await;
    rig.verify().await;
}
