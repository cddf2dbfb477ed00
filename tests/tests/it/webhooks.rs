//! Webhooks as a shop sees them: an endpoint is made over HTTP, and a receiver gets the events of real
//! orders, signed, numbered without a gap.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use client::{
    Client,
    webhooks::{Delivery, SequenceCheck, Verifier},
};
use node::settings::WebhookOptions;
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Db, eventually, on_both_databases};
use tests::{Installation, order, settle, stock};
use tokio::net::TcpListener;

on_both_databases!(
    the_events_of_an_order_are_delivered_and_proved,
    what_an_endpoint_missed_is_replayed,
    a_replay_from_a_time_on_is_cancelled_while_it_runs,
    an_endpoint_is_changed_and_deleted,
    what_no_endpoint_can_be_is_refused,
);

/// A receiver on this machine.
struct Receiver {
    url: String,
    state: Arc<ReceiverState>,
}

#[derive(Default)]
struct ReceiverState {
    /// None until the secret is known, and while the receiver is out of order.
    verifier: Mutex<Option<Verifier>>,
    received: Mutex<Vec<Delivery>>,
    refused: Mutex<Vec<String>>,
}

impl Receiver {
    async fn start() -> Self {
        let state = Arc::new(ReceiverState::default());
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hooks", socket.local_addr().expect("is bound"));
        let routes = Router::new().route("/hooks", post(receive)).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(socket, routes).await });
        Self { url, state }
    }

    fn takes(&self, secret: &Value) {
        let verifier = Verifier::new(secret.as_str().expect("a secret")).expect("is one");
        *self.state.verifier.lock().expect("is free") = Some(verifier);
    }

    fn fails(&self) {
        *self.state.verifier.lock().expect("is free") = None;
    }

    fn received(&self) -> Vec<Delivery> {
        self.state.received.lock().expect("is free").clone()
    }

    fn types(&self) -> Vec<String> {
        self.received().iter().map(|delivery| delivery.event_type.clone()).collect()
    }
}

async fn receive(
    State(state): State<Arc<ReceiverState>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let verified = match &*state.verifier.lock().expect("is free") {
        Some(verifier) => verifier.verify(&headers, &body),
        None => return StatusCode::INTERNAL_SERVER_ERROR,
    };
    match verified {
        Ok(delivery) => {
            state.received.lock().expect("is free").push(delivery);
            StatusCode::NO_CONTENT
        }
        Err(error) => {
            state.refused.lock().expect("is free").push(error.to_string());
            StatusCode::BAD_REQUEST
        }
    }
}

async fn start(db: &Db) -> Installation {
    Installation::start(db, |settings| settings.webhooks = WebhookOptions::on_this_machine()).await
}

async fn send(api: &Client, method: Method, path: &str, body: Value) -> (u16, Value) {
    let answer = api.send(api.request(method, path).json(&body)).await.expect("an answer");
    (answer.status.as_u16(), answer.body)
}

/// Creates an endpoint; its path, and how it is shown.
async fn create(api: &Client, body: Value) -> (String, Value) {
    let (status, endpoint) = send(api, Method::POST, "webhook-endpoints", body).await;
    assert_eq!(status, 201, "{endpoint}");
    (format!("webhook-endpoints/{}", endpoint["id"].as_str().expect("an id")), endpoint)
}

async fn the_events_of_an_order_are_delivered_and_proved(db: Db) {
    let installation = start(&db).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    let receiver = Receiver::start().await;
    let (path, endpoint) =
        create(&api, json!({"url": receiver.url, "event_types": ["order.*", "payment.captured"]}))
            .await;
    receiver.takes(&endpoint["secret"]);
    let paid = settle(&api, &order("MUG", 2, "card"), "first").await.body;
    assert_eq!(paid["status"], "confirmed", "{paid}");
    eventually("what happened to the order is delivered", async || {
        let types = receiver.types();
        ["order.placed", "order.confirmed", "order.paid", "payment.captured"]
            .iter()
            .all(|wanted| types.iter().any(|it| it == wanted))
    })
    .await;
    assert!(receiver.types().iter().all(|it| it.starts_with("order.") || it == "payment.captured"));
    let mut check = SequenceCheck::new();
    for delivery in receiver.received() {
        check.record(delivery.meta.endpoint_seq);
    }
    assert!(check.is_complete(), "missing: {:?}", check.missing().collect::<Vec<_>>());
    let highest = check.highest();
    eventually("the proof says that everything was delivered", async || {
        let proof: Value = api.get(&format!("{path}/proof")).await.expect("a proof");
        proof["matched"] == highest && proof["delivered"] == highest && proof["open"] == json!([])
    })
    .await;

    let (status, tested) = send(&api, Method::POST, &format!("{path}/test"), json!({})).await;
    assert_eq!((status, &tested["endpoint_seq"]), (202, &json!(highest + 1)));
    eventually("the test delivery came", async || {
        receiver.types().iter().any(|it| it == "webhook.test")
    })
    .await;

    // The secret that comes after signs at once; the one before as well, for a while.
    let rotate = format!("{path}/rotate-secret");
    let (_, rotated) = send(&api, Method::POST, &rotate, json!({"keep_old_s": 60})).await;
    assert_ne!(rotated["secret"], endpoint["secret"]);
    assert_eq!(rotated["secrets"], 2);
    let shown: Value = api.get(&path).await.expect("the endpoint");
    assert_eq!(shown.get("secret"), None, "a secret is shown once");
    receiver.takes(&rotated["secret"]);
    send(&api, Method::POST, &format!("{path}/test"), json!({})).await;
    eventually("what is signed with the new secret came", async || {
        receiver.received().iter().any(|it| it.meta.endpoint_seq == highest + 2)
    })
    .await;
    assert_eq!(*receiver.state.refused.lock().expect("is free"), Vec::<String>::new());
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_shown_anew_when_something_was_delivered() {
    let db = Db::sqlite();
    let installation = start(&db).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    let receiver = Receiver::start().await;
    let (path, endpoint) =
        create(&api, json!({"url": receiver.url, "event_types": ["order.placed"]})).await;
    receiver.takes(&endpoint["secret"]);
    let get = async |tag: &str| {
        let request = api.request(Method::GET, &path).header("if-none-match", tag);
        let response = request.send().await.expect("it is answered");
        assert_eq!(response.status().as_u16(), 200);
        let tag = response.headers()["etag"].to_str().expect("text").to_owned();
        (tag, response.json::<Value>().await.expect("it is JSON"))
    };
    let (tag, shown) = get("\"0\"").await;
    assert_eq!((tag.as_str(), &shown["statistics"]["delivered"]), ("\"1\"", &json!(0)));
    settle(&api, &order("MUG", 1, "card"), "first").await;
    eventually("the delivery is counted", async || {
        let (same, shown) = get(&tag).await;
        assert_eq!(same, tag);
        shown["statistics"]["delivered"] == 1
    })
    .await;
    installation.stop_and_verify().await;
}

async fn what_an_endpoint_missed_is_replayed(db: Db) {
    let installation = start(&db).await;
    let api = installation.api();
    stock(&api, "MUG", 10).await;
    let receiver = Receiver::start().await;
    let (path, endpoint) =
        create(&api, json!({"url": receiver.url, "event_types": ["order.placed"]})).await;
    let (status, disabled) =
        send(&api, Method::POST, &format!("{path}/disable"), json!({"note": "moving"})).await;
    assert_eq!((status, &disabled["status"]), (200, &json!("disabled")));
    assert_eq!(disabled["disabled_reason"], "requested");
    let (status, problem) = send(&api, Method::POST, &format!("{path}/test"), json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("endpoint_disabled")));
    settle(&api, &order("MUG", 1, "card"), "held").await;
    let held = format!("{path}/deliveries");
    eventually("the event is held", async || {
        let wanted = [("state", "held"), ("type", "order.placed")];
        let listed: Value = api.query(&held, &wanted).await.expect("deliveries");
        listed["deliveries"].as_array().is_some_and(|it| it.len() == 1)
    })
    .await;

    receiver.takes(&endpoint["secret"]);
    let enable = json!({"deliver_held": false});
    send(&api, Method::POST, &format!("{path}/enable"), enable).await;
    let (status, replay) =
        send(&api, Method::POST, &format!("{path}/replays"), json!({"selection": "missing"})).await;
    assert_eq!(status, 202, "{replay}");
    eventually("what was missed is delivered", async || receiver.received().len() == 1).await;
    let replay = format!("{path}/replays/{}", replay["id"].as_str().expect("an id"));
    eventually("the replay is done", async || {
        let shown: Value = api.get(&replay).await.expect("the replay");
        shown["state"] == "done" && shown["sent"] == 1
    })
    .await;

    let first = receiver.received().remove(0);
    let (status, _) =
        send(&api, Method::POST, &format!("{path}/deliveries/1/resend"), json!({})).await;
    assert_eq!(status, 202);
    eventually("it came once more", async || receiver.received().len() == 2).await;
    let again = receiver.received().remove(1);
    assert_eq!((again.id, again.meta.endpoint_seq), (first.id, first.meta.endpoint_seq));

    // One that fails is tried again, until somebody gives it up.
    receiver.fails();
    settle(&api, &order("MUG", 1, "card"), "failing").await;
    let second = format!("{path}/deliveries/2");
    eventually("the delivery has failed", async || {
        let shown: Value = api.get(&second).await.unwrap_or_default();
        shown["state"] == "retry_at" && shown["last_status"] == 500
    })
    .await;
    // How it went is beside the log, a moment later.
    eventually("the attempt is shown", async || {
        let shown: Value = api.get(&second).await.expect("the delivery");
        let attempt = &shown["attempts"][0];
        (&attempt["number"], &attempt["status"], &attempt["error"])
            == (&json!(1), &json!(500), &json!("status"))
    })
    .await;
    let (status, _) = send(&api, Method::POST, &format!("{second}/abort"), json!({})).await;
    assert_eq!(status, 204);
    eventually("it is given up", async || {
        let shown: Value = api.get(&second).await.expect("the delivery");
        shown["state"] == "aborted"
    })
    .await;
    installation.stop_and_verify().await;
}

async fn a_replay_from_a_time_on_is_cancelled_while_it_runs(db: Db) {
    const LATER: usize = 10;
    let installation = start(&db).await;
    let api = installation.api();
    stock(&api, "MUG", 20).await;
    let receiver = Receiver::start().await;
    let (path, endpoint) =
        create(&api, json!({"url": receiver.url, "event_types": ["order.placed"]})).await;
    receiver.takes(&endpoint["secret"]);
    send(&api, Method::POST, &format!("{path}/disable"), json!({})).await;
    let are_held = async |count: usize| {
        eventually("the events are held", async || {
            let shown: Value = api.get(&path).await.expect("the endpoint");
            shown["statistics"]["held"] == count
        })
        .await;
    };
    settle(&api, &order("MUG", 1, "card"), "before").await;
    are_held(1).await;
    for number in 0..LATER {
        settle(&api, &order("MUG", 1, "card"), &format!("later-{number}")).await;
    }
    are_held(1 + LATER).await;
    let second: Value = api.get(&format!("{path}/deliveries/2")).await.expect("the delivery");
    send(&api, Method::POST, &format!("{path}/enable"), json!({"deliver_held": false})).await;

    let replays = format!("{path}/replays");
    let wanted =
        json!({"selection": "missing", "since": second["scheduled_at"], "max_per_second": 1});
    let (status, replay) = send(&api, Method::POST, &replays, wanted).await;
    assert_eq!((status, &replay["state"]), (202, &json!("running")), "{replay}");
    assert_eq!((&replay["from"], &replay["to"]), (&json!(2), &json!(1 + LATER)), "{replay}");
    let replay = format!("{replays}/{}", replay["id"].as_str().expect("an id"));
    eventually("the first came", async || !receiver.received().is_empty()).await;
    let (status, cancelled) =
        send(&api, Method::POST, &format!("{replay}/cancel"), json!({})).await;
    assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")), "{cancelled}");
    let shown: Value = api.get(&replay).await.expect("the replay");
    assert_eq!(shown["state"], "cancelled");
    // The same from the position of its event.
    let position = json!({"stream": second["stream"], "position": second["position"]});
    let wanted = json!({"selection": "failed", "from_position": position, "max_per_second": 1});
    let (status, from) = send(&api, Method::POST, &replays, wanted).await;
    assert_eq!((status, &from["from"]), (202, &json!(2)), "{from}");
    let unknown = json!({"stream": "orders", "position": 1});
    for (name, wanted) in [
        ("#/from_position/stream", json!({"selection": "all", "from_position": unknown})),
        ("#/from_position", json!({"selection": "all", "from_position": position, "from": 1})),
    ] {
        let (status, refused) = send(&api, Method::POST, &replays, wanted).await;
        assert_eq!((status, &refused["errors"][0]["pointer"]), (422, &json!(name)), "{refused}");
    }
    // Since then nothing was scheduled.
    for to in [1, 100] {
        let wanted = json!({"selection": "failed", "since": "2100-01-01T00:00:00Z", "to": to});
        let (status, nothing) = send(&api, Method::POST, &replays, wanted).await;
        let ended = (&nothing["state"], &nothing["sent"]);
        assert_eq!((status, ended), (202, (&json!("done"), &json!(0))), "{nothing}");
    }

    // What comes next is delivered, and shows that nothing else of the replay was.
    let (_, tested) = send(&api, Method::POST, &format!("{path}/test"), json!({})).await;
    let came =
        || -> BTreeSet<_> { receiver.received().iter().map(|it| it.meta.endpoint_seq).collect() };
    eventually("the test delivery came", async || {
        came().iter().any(|seq| tested["endpoint_seq"] == *seq)
    })
    .await;
    eventually("all that did not come is held", async || {
        let shown: Value = api.get(&path).await.expect("the endpoint");
        shown["statistics"]["held"] == 1 + LATER - (came().len() - 1)
    })
    .await;
    assert!(came().len() <= LATER && !came().contains(&1), "{:?}", came());
    installation.stop_and_verify().await;
}

/// Whether a text is in the inbox or in the log of webhooks.
async fn is_stored(installation: &Installation, text: &str) -> bool {
    let commands = installation.server.events::<events::proto::Command>("INBOX-0").await;
    let facts = installation.server.events::<events::proto::Event>("NOTIFY-0").await;
    assert!(!commands.is_empty() && !facts.is_empty(), "there is something to be searched");
    let commands = commands.iter().map(|entry| entry.event.encode_to_vec());
    let all = commands.chain(facts.iter().map(|entry| entry.event.encode_to_vec()));
    all.into_iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}

async fn an_endpoint_is_changed_and_deleted(db: Db) {
    let installation = start(&db).await;
    let api = installation.api();
    stock(&api, "MUG", 1).await;
    let body = json!({"url": "http://127.0.0.1:9/a", "event_types": ["*"], "max_per_second": 5,
        "headers": {"authorization": "Bearer hush"}, "description": "ours"});
    let keyed = || api.request(Method::POST, "webhook-endpoints").header("idempotency-key", "k");
    let made = api.send(keyed().json(&body)).await.expect("an answer");
    let again = api.send(keyed().json(&body)).await.expect("an answer");
    assert_eq!((made.status.as_u16(), again.status.as_u16()), (201, 201));
    assert_eq!(made.body["id"], again.body["id"], "one endpoint");
    assert_eq!(again.body.get("secret"), None, "a secret is shown once");
    let mut other = body.clone();
    other["headers"]["authorization"] = json!("Bearer other");
    let other = api.send(keyed().json(&other)).await.expect("an answer");
    assert_eq!(other.body["code"], "idempotency_key_reused", "another header is another request");

    let path = format!("webhook-endpoints/{}", made.body["id"].as_str().expect("an id"));
    let change = json!({"max_per_second": null, "ordering": "fifo", "payload": "thin"});
    let (status, changed) = send(&api, Method::PATCH, &path, change).await;
    assert_eq!(status, 200, "{changed}");
    let shown: Value = api.get(&path).await.expect("the endpoint");
    // It is sent to meanwhile, and nobody listens there.
    let lasting = |endpoint: &Value| {
        let mut endpoint = endpoint.as_object().expect("an object").clone();
        for member in ["statistics", "failing_since", "paused_until"] {
            endpoint.remove(member);
        }
        endpoint
    };
    assert_eq!(lasting(&shown), lasting(&changed));
    assert_eq!(shown["max_per_second"], Value::Null);
    assert_eq!((&shown["ordering"], &shown["payload"]), (&json!("fifo"), &json!("thin")));
    assert_eq!(
        (&shown["headers"], &shown["description"]),
        (&json!(["authorization"]), &json!("ours"))
    );
    assert!(!shown.to_string().contains("hush"));
    let stale = api.request(Method::PATCH, &path).header("if-match", "\"1\"");
    let stale = api.send(stale.json(&json!({"description": "late"}))).await.expect("an answer");
    assert_eq!(stale.status.as_u16(), 412, "{}", stale.body);

    let secret = made.body["secret"].as_str().expect("a secret");
    for hidden in ["hush", secret, secret.trim_start_matches("whsec_")] {
        assert!(!is_stored(&installation, hidden).await, "{hidden} is in a log in the clear");
    }
    assert!(is_stored(&installation, "authorization").await, "the search finds what is there");

    let (status, _) = send(&api, Method::DELETE, &path, json!({})).await;
    assert_eq!(status, 204);
    let listed: Value = api.get("webhook-endpoints").await.expect("the list");
    assert_eq!(listed, json!({"endpoints": [], "next": null}));
    let (status, problem) = send(&api, Method::GET, &path, json!({})).await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
}

async fn what_no_endpoint_can_be_is_refused(db: Db) {
    // Nothing private may be sent to here.
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 1).await;
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://[::ffff:169.254.169.254]/latest/meta-data",
        "https://2130706433/",
        "https://me:secret@example.com/",
        "https://example.com:22/",
        "https://localhost/",
    ] {
        let wanted = json!({"url": url, "event_types": ["order.payd"]});
        let (status, problem) = send(&api, Method::POST, "webhook-endpoints", wanted).await;
        let fields: Vec<_> = problem["errors"].as_array().expect("errors").iter().collect();
        let named = fields.iter().map(|it| it["field"].as_str().unwrap_or_default());
        assert_eq!(status, 422, "{url}: {problem}");
        assert_eq!(named.collect::<Vec<_>>(), ["url", "event_types[0]"], "{url}: {problem}");
    }
    let (status, problem) =
        send(&api, Method::POST, "webhook-endpoints/none/replays", json!({"selection": "all"}))
            .await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{problem}");
}
