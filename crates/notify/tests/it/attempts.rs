//! How attempts went, as people look them up.

use std::{sync::Arc, time::Duration};

use events::proto::{self, notify};
use prost::Message as _;
use testkit::{Behaviour, Db, DnsServer, eventually};
use tokio::sync::Semaphore;
use webhook_http::Policy;

use crate::rig::{Rig, Running, policy, sealed, seq_of, settings};

testkit::on_both_databases!(
    each_attempt_is_recorded_beside_the_log,
    what_is_not_recorded_is_delivered_all_the_same,
    what_a_private_name_resolves_to_is_in_no_record,
    a_delivery_whose_request_is_under_way_is_in_flight,
);

/// The records of attempts, as they are stored.
async fn stored(rig: &Rig) -> Vec<Vec<u8>> {
    let records = rig.server.events::<notify::Attempts>("NOTIFY-ATTEMPTS-0").await;
    records.iter().map(|record| record.event.encode_to_vec()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

async fn each_attempt_is_recorded_beside_the_log(db: Db) {
    const HUSH: &str = "Bearer hush-hush";
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    let header =
        notify::Header { name: "authorization".to_owned(), value: Some(sealed("ep", HUSH)) };
    let headers = vec![header];
    let of_ep = settings(&rig.receiver, "/ep", &["order.*"]);
    running.create("ep", notify::EndpointSettings { headers, ..of_ep }).await;
    // What it echoes is secret; what it says besides is kept.
    rig.receiver.behave(Behaviour::by(|request| {
        let echoed = request.header("authorization");
        Behaviour::Answer(503, Vec::new(), format!("too busy for {echoed}"))
    }));
    rig.publish(&[("paid", "1")]).await;
    eventually("it fails", async || running.endpoint("ep").await.retrying == 1).await;
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(Duration::from_secs(9));
    eventually("it is delivered", async || running.endpoint("ep").await.delivered == 1).await;
    eventually("both attempts are recorded", async || {
        running.delivery("ep", 1).await.attempts.len() == 2
    })
    .await;
    running.stop().await;

    // The records are neither in the log nor in the database: a process without either finds them.
    let running = Running::start_elsewhere(&rig).await;
    let shown = running.delivery("ep", 1).await;
    assert_eq!(shown.delivery.expect("it is shown").state, "delivered");
    let [first, second] = &shown.attempts[..] else { panic!("{:?}", shown.attempts) };
    let requests = rig.receiver.received();
    for (attempt, request) in shown.attempts.iter().zip(&requests) {
        assert_eq!(attempt.message_id, request.header("webhook-id"));
        assert_eq!(attempt.number.to_string(), request.header("webhook-attempt"));
        let at = attempt.at.as_ref().expect("a time").seconds;
        assert_eq!(at.to_string(), request.header("webhook-timestamp"));
        assert_eq!(attempt.user_agent, request.header("user-agent"));
        assert_eq!(attempt.own_headers, ["authorization"]);
        assert!(attempt.latency_us > 0 && !attempt.is_replay);
    }
    assert_eq!((first.status, &*first.error_class), (503, "status"));
    assert_eq!(first.response_excerpt, "too busy for [redacted] [redacted]");
    assert_eq!((second.status, &*second.error_class), (204, ""));
    assert!(stored(&rig).await.iter().all(|record| !holds(record, HUSH)), "it is secret");
    let log = rig.server.events::<proto::Event>("NOTIFY-0").await;
    assert!(log.iter().all(|entry| !holds(&entry.event.encode_to_vec(), "too busy")));
    running.stop().await;
    rig.verify().await;
}

async fn what_is_not_recorded_is_delivered_all_the_same(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["order.*"])).await;
    rig.server.delete_stream("NOTIFY-ATTEMPTS-0").await;
    rig.receiver.behave(Behaviour::status(500));
    rig.publish(&[("paid", "1"), ("paid", "2")]).await;
    eventually("both fail", async || running.endpoint("ep").await.retrying == 2).await;
    rig.engine().await.apply_streams().await.expect("the stream is there again");
    rig.receiver.behave(Behaviour::status(204));
    rig.forward(Duration::from_secs(9));
    eventually("both are delivered", async || running.endpoint("ep").await.delivered == 2).await;
    for seq in [1, 2] {
        eventually("the second attempt is recorded, and seen not to be the first", async || {
            let attempts = running.delivery("ep", seq).await.attempts;
            attempts.iter().map(|attempt| attempt.number).eq([2])
        })
        .await;
    }
    assert_eq!(rig.receiver.count(), 4, "nothing is repeated");
    running.stop().await;
    rig.verify().await;
}

async fn what_a_private_name_resolves_to_is_in_no_record(db: Db) {
    const PRIVATE: &str = "10.11.12.13";
    let (rig, dns) = (Rig::start(db).await, DnsServer::start().await);
    dns.set("inside.example.com", &[PRIVATE]);
    let running =
        Running::with_policy(&rig, Policy { dns_servers: vec![dns.address()], ..policy() }).await;
    for (id, host) in [("private", "inside"), ("unknown", "nowhere")] {
        let url = format!("http://{host}.example.com:8080/");
        let of_ep = settings(&rig.receiver, "/", &["order.*"]);
        running.create(id, notify::EndpointSettings { url, ..of_ep }).await;
    }
    rig.publish(&[("paid", "1")]).await;
    let attempt = async |id: &str| {
        eventually("the attempt is recorded", async || {
            running.delivery(id, 1).await.attempts.len() == 1
        })
        .await;
        running.delivery(id, 1).await.attempts.remove(0)
    };
    let (private, unknown) = (attempt("private").await, attempt("unknown").await);
    assert_eq!((&*private.error_class, private.latency_us), ("unresolved", 0));
    let same = notify::Attempt { at: private.at, ..unknown };
    assert_eq!(private, same, "a private name looks like one that does not exist");
    for record in stored(&rig).await {
        assert!(!holds(&record, PRIVATE));
    }
    running.stop().await;
}

async fn a_delivery_whose_request_is_under_way_is_in_flight(db: Db) {
    let rig = Rig::start(db).await;
    let running = Running::start(&rig).await;
    running.create("ep", settings(&rig.receiver, "/ep", &["*"])).await;
    let permits = Arc::new(Semaphore::new(0));
    let hangs = permits.clone();
    rig.receiver.behave(Behaviour::by(move |request| match seq_of(&request.body) {
        2 => Behaviour::Permitted(hangs.clone()),
        _ => Behaviour::status(204),
    }));
    rig.publish(&[("paid", "1"), ("paid", "2"), ("paid", "3")]).await;
    let in_flight = async |running: &Running| {
        let deliveries = running.deliveries("ep", "in_flight").await;
        deliveries.iter().map(|delivery| delivery.endpoint_seq).collect::<Vec<_>>()
    };
    eventually("the others are delivered", async || running.endpoint("ep").await.delivered == 2)
        .await;
    assert_eq!(in_flight(&running).await, [2]);
    let state = running.delivery("ep", 2).await.delivery.expect("it is shown").state;
    assert_eq!(
        (&*state, running.proof("ep").await.open[0].state.as_str()),
        ("in_flight", "in_flight")
    );
    assert_eq!(running.endpoint("ep").await.pending, 1);
    // Another process makes the request once more.
    running.kill().await;
    let running = Running::start(&rig).await;
    eventually("it is under way again", async || in_flight(&running).await == [2]).await;
    permits.add_permits(2);
    eventually("it is delivered", async || running.endpoint("ep").await.delivered == 3).await;
    assert!(in_flight(&running).await.is_empty());
    running.stop().await;
    rig.verify().await;
}
