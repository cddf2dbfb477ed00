//! One event to endpoints that misbehave in every way, at the same time: what is recorded of each attempt, and
//! what follows from it.

use std::time::Duration;

use events::proto::notify::{self, DisabledReason};
use testkit::{Authority, Behaviour, Db, RawBehaviour, RawReceiver, Receiver, eventually};
use webhook_http::Policy;

use crate::rig::{Rig, Running, policy, settings};

testkit::on_both_databases!(each_attempt_ends_as_its_endpoint_deserves);

/// So short that a test waits for it, and long enough for what is to succeed within it.
const SHORT: Duration = Duration::from_secs(2);

/// An endpoint, what it does, and what is recorded of the attempt.
struct Case {
    id: &'static str,
    url: String,
    /// The HTTP status, and the class of the error.
    expected: (u32, &'static str),
    state: &'static str,
    /// The least pause before the next attempt.
    pause: Duration,
}

fn case(id: &'static str, url: String, status: u32, error: &'static str) -> Case {
    let state = if error.is_empty() { "delivered" } else { "retry_at" };
    Case { id, url, expected: (status, error), state, pause: Duration::from_secs(5) }
}

/// What a receiver that speaks HTTP does at each path.
fn behaviour(path: &str) -> Behaviour {
    match path {
        "/accepts" => Behaviour::status(200),
        "/redirects" => {
            Behaviour::with_header(302, "location", "http://169.254.169.254/latest/meta-data/")
        }
        "/is-gone" => Behaviour::status(410),
        "/is-busy" => Behaviour::with_header(429, "retry-after", "7200"),
        "/is-down" => Behaviour::with_header(503, "retry-after", "3600"),
        "/refuses" => Behaviour::status(400),
        "/fails" => Behaviour::status(500),
        "/hangs" => Behaviour::Hang,
        "/trickles" => Behaviour::Trickle(200),
        "/is-endless" => Behaviour::Huge(202),
        "/closes" => Behaviour::Close,
        other => panic!("{other}"),
    }
}

async fn each_attempt_ends_as_its_endpoint_deserves(db: Db) {
    let rig = Rig::start(db).await;
    rig.receiver.behave(Behaviour::by(|request| behaviour(&request.path)));
    let resets = RawReceiver::start(RawBehaviour::Reset).await;
    let garbage = RawReceiver::start(RawBehaviour::Garbage).await;
    let silent = RawReceiver::start(RawBehaviour::Silent).await;
    let stranger = Receiver::start_with_tls(Authority::new().server(&["127.0.0.1"])).await;
    let hours = |hours| Duration::from_hours(hours);
    let at = |path: &str| rig.receiver.url(path);
    let cases = [
        case("accepts", at("/accepts"), 200, ""),
        case("redirects", at("/redirects"), 302, "redirect"),
        case("is-gone", at("/is-gone"), 410, "status"),
        Case { pause: hours(2), ..case("is-busy", at("/is-busy"), 429, "status") },
        Case { pause: hours(1), ..case("is-down", at("/is-down"), 503, "status") },
        case("refuses", at("/refuses"), 400, "status"),
        case("fails", at("/fails"), 500, "status"),
        Case { pause: Duration::from_mins(1), ..case("hangs", at("/hangs"), 0, "timeout") },
        case("trickles", at("/trickles"), 200, ""),
        case("is-endless", at("/is-endless"), 202, ""),
        case("closes", at("/closes"), 0, "closed"),
        case("resets", format!("http://{}/", resets.address()), 0, "closed"),
        case("garbage", format!("http://{}/", garbage.address()), 0, "protocol"),
        Case {
            pause: Duration::from_mins(1),
            ..case("silent", format!("https://{}/", silent.address()), 0, "connect_timeout")
        },
        case("stranger", format!("https://{}/", stranger.address()), 0, "tls"),
    ];
    let impatient = Policy { exchange_timeout: SHORT, connect_timeout: SHORT / 2, ..policy() };
    let running = Running::with_policy(&rig, impatient).await;
    for Case { id, url, .. } in &cases {
        let of_case = settings(&rig.receiver, "/", &["order.paid"]);
        running.create(id, notify::EndpointSettings { url: url.clone(), ..of_case }).await;
    }
    let before = rig.now();
    rig.publish(&[("paid", "1")]).await;
    for case in &cases {
        check(&running, case, before.millis()).await;
    }
    let gone = running.endpoint("is-gone").await;
    assert_eq!(gone.disabled(), DisabledReason::Gone);
    let asked: Vec<_> = rig.receiver.received().iter().map(|it| it.path.clone()).collect();
    let mut once = asked.clone();
    once.sort();
    once.dedup();
    assert_eq!((asked.len(), once.len()), (11, 11), "each attempt is one request: {asked:?}");
    assert_eq!((resets.connections(), garbage.connections(), silent.connections()), (1, 1, 1));
    assert_eq!((stranger.connections(), stranger.count()), (1, 0), "nothing is sent to a stranger");
    running.stop().await;
    rig.verify().await;
}

async fn check(running: &Running, case: &Case, before_ms: i64) {
    let Case { id, expected, state, pause, .. } = case;
    eventually("there is one attempt, recorded and in the log", async || {
        let shown = running.delivery(id, 1).await;
        shown.attempts.len() == 1 && shown.delivery.is_some_and(|it| it.state != "pending")
    })
    .await;
    let shown = running.delivery(id, 1).await;
    let (delivery, attempt) = (shown.delivery.expect("it is shown"), &shown.attempts[0]);
    assert_eq!((attempt.status, &*attempt.error_class), *expected, "{id}");
    assert_eq!(attempt.number, 1, "{id}");
    assert!(attempt.response_excerpt.len() <= 4_096, "{id}");
    if *id == "is-gone" {
        return;
    }
    assert_eq!(delivery.state, *state, "{id}");
    let due = delivery.due_at.map(|due| due.seconds * 1_000);
    assert_eq!(due.is_some(), !expected.1.is_empty(), "{id}");
    if let Some(due) = due {
        let least = before_ms + pause.as_millis() as i64;
        assert!(due >= least - 1_000, "{id} is tried again {} ms early", least - due);
    }
}
