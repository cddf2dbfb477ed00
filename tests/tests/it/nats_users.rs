//! nats-server lets in who has a user, and each user may do its own and nothing else.

use futures::StreamExt;
use node::{
    nats_users::{self, Identity, NatsUser},
    readiness::ProcessHealth,
    serve,
    services::Component,
    services::NAMES,
    settings::Settings,
};
use protocol::id::Shop;
use serde_json::Value;
use testkit::{Db, Intruder, TestServer};
use tests::{Installation, SHOP, order, settings, settle, stock, verify_all};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_a_user() {
    let server = TestServer::start_with_users(nats_users::for_this_run()).await;
    assert!(Intruder::connect(&server.url_of("stranger")).await.is_none(), "one without a user");
    let port = server.url().rsplit_once(':').expect("a port").1.to_owned();
    let wrong = format!("nats://tradewind:wrong@127.0.0.1:{port}");
    assert!(Intruder::connect(&wrong).await.is_none(), "one with a wrong password");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_writes_its_own_log_and_no_gateway_writes_any() {
    let server = TestServer::start_with_users(nats_users::for_this_run()).await;
    let mut gateway = Intruder::connect(&server.url_of("gateway")).await.expect("it is let in");
    assert!(gateway.may_publish(&format!("inbox.0.live.order.{SHOP}.place_order")).await);
    for service in NAMES {
        let mut user = Intruder::connect(&server.url_of(service)).await.expect("it is let in");
        for log in NAMES {
            let is_own = log == service;
            for subject in [format!("{log}.0.{SHOP}.paid"), format!("engine.{log}.0.voided")] {
                assert_eq!(user.may_publish(&subject).await, is_own, "{service}: {subject}");
                assert!(!gateway.may_publish(&subject).await, "gateway: {subject}");
            }
            let command = format!("inbox.0.live.{log}.{SHOP}.do");
            assert_eq!(user.may_publish(&command).await, is_own, "{service}: {command}");
        }
        for subject in ["$JS.API.STREAM.DELETE.ORDER-0", "$JS.API.STREAM.PURGE.INBOX-0"] {
            assert!(!user.may_publish(subject).await, "{service}: {subject}");
            assert!(!gateway.may_publish(subject).await, "gateway: {subject}");
        }
    }
}

/// What a process of an installation may be allowed to do.
struct Tried {
    subject: String,
    /// The users that may publish there beside the operator.
    publishers: Vec<&'static str>,
    /// The users that may subscribe to it beside the operator.
    subscribers: Vec<&'static str>,
}

impl Tried {
    fn new(subject: &str, publishers: &[&'static str], subscribers: &[&'static str]) -> Self {
        let (publishers, subscribers) = (publishers.to_vec(), subscribers.to_vec());
        Self { subject: subject.to_owned(), publishers, subscribers }
    }

    /// What is of a service.
    fn of_service(service: &'static str) -> Vec<Self> {
        let own = [service, "tradewind"];
        let asking: &[&str] = match service {
            // Mails show orders as they are.
            "order" => &["order", "notify", "gateway", "tradewind"],
            _ => &[service, "gateway", "tradewind"],
        };
        let of = |kind: &str| format!("{kind}.{service}.0.{SHOP}.x");
        vec![
            Self::new(&format!("{service}.0.{SHOP}.paid"), &own, &["gateway", "tradewind"]),
            Self::new(&format!("engine.{service}.0.voided"), &own, &[]),
            Self::new(&of("attempts"), &own, &[]),
            Self::new(&format!("lease.{service}.0"), &own, &[]),
            Self::new(&format!("query.{service}.0"), asking, &own),
            Self::new(
                &format!("inbox.0.live.{service}.{SHOP}.do"),
                &[service, "gateway", "tradewind"],
                &[],
            ),
        ]
    }

    /// What is of no service.
    fn of_all() -> Vec<Self> {
        let services: Vec<_> = NAMES.iter().copied().chain(["tradewind"]).collect();
        let everybody: Vec<_> = services.iter().copied().chain(["gateway"]).collect();
        vec![
            Self::new("lease.member.somebody", &services, &[]),
            Self::new("reply.1.x", &services, &everybody),
            Self::new("$JS.API.STREAM.INFO.ORDER-0", &everybody, &[]),
            Self::new("$JS.API.STREAM.CREATE.OTHER-0", &services, &[]),
            Self::new("$JS.API.STREAM.UPDATE.ORDER-0", &[], &[]),
            Self::new("$JS.API.STREAM.PURGE.ORDER-0", &[], &[]),
            Self::new("$JS.API.STREAM.DELETE.ORDER-0", &[], &[]),
            Self::new("$JS.API.STREAM.MSG.DELETE.ORDER-0", &[], &[]),
            Self::new("$SYS.REQ.SERVER.PING", &[], &[]),
            Self::new("erp.v1.acme.stock", &[], &["gateway", "tradewind"]),
            Self::new("erp.reply.warehouse.1", &["gateway", "tradewind"], &[]),
            Self::new("anything", &[], &[]),
            Self::new(">", &[], &[]),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_of_an_installation_may_do_its_own_and_nothing_else() {
    let server = TestServer::start_with_users(nats_users::for_this_run()).await;
    let operator = NatsUser::of_operator().name;
    let of_services = NAMES.into_iter().flat_map(Tried::of_service);
    let all: Vec<_> = of_services.chain(Tried::of_all()).collect();
    for NatsUser { name, .. } in NatsUser::of_installation() {
        let mut user = Intruder::connect(&server.url_of(&name)).await.expect("it is let in");
        for Tried { subject, publishers, subscribers } in &all {
            let may = |users: &[&str]| name == operator || users.contains(&&*name);
            if !subject.contains('>') {
                let found = user.may_publish(subject).await;
                assert_eq!(found, may(publishers), "{name} publishes to {subject}");
            }
            let found = user.subscribe(subject).await.is_some();
            assert_eq!(found, may(subscribers), "{name} subscribes to {subject}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integrator_reads_public_events_of_its_shop_and_nothing_else() {
    let shop = Shop::parse(SHOP).expect("a name");
    let mut users = nats_users::for_this_run();
    let reports = NatsUser::of_integrator("reports", Some(&shop));
    // As `tradewind integrator add` extends the file.
    let alone = nats_users::configuration(&[(reports, Identity::Password("word".to_owned()))]);
    let added = alone.split_once("users: [\n").expect("it has users").1;
    let before = users.configuration.strip_suffix("  ]\n}\n").expect("it ends so").to_owned();
    users.configuration = before + added;
    users.passwords.push(("reports".to_owned(), "word".to_owned()));

    let db = Db::sqlite();
    let server = TestServer::start_with_users(users).await;
    let url = server.url_of("reports");
    let installation = Installation::start_on(server, &db).await;
    let mut reader = Intruder::connect(&url).await.expect("it is let in");
    let subject = format!("order.*.{SHOP}.paid");
    let mut paid = reader.subscribe(&subject).await.expect("it may");
    for subject in [
        ">".to_owned(),
        "order.>".to_owned(),
        "order.*.beta.paid".to_owned(),
        format!("inbox.*.*.*.{SHOP}.*"),
        format!("notify.*.{SHOP}.*"),
        "engine.>".to_owned(),
        "_INBOX.>".to_owned(),
        "reply.>".to_owned(),
    ] {
        assert!(reader.subscribe(&subject).await.is_none(), "{subject}");
    }
    for subject in [
        format!("order.0.{SHOP}.paid"),
        format!("inbox.0.live.order.{SHOP}.place_order"),
        "query.order.0".to_owned(),
        "$JS.API.STREAM.INFO.ORDER-0".to_owned(),
        "$JS.API.DIRECT.GET.ORDER-0".to_owned(),
        "anything".to_owned(),
    ] {
        assert!(!reader.may_publish(&subject).await, "{subject}");
    }

    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let placed = settle(&api, &order("MUG", 1, "card"), "k").await.body;
    let event = paid.next().await.expect("it is delivered");
    let event = events::json::to_json("tradewind.events.v1.Event", &event.payload);
    let event: Value = event.expect("it is an event");
    assert_eq!(event["aggregateId"], placed["id"], "{event}");
    installation.stop_and_verify().await;
}

/// Each service and the gateway in a process of its own with its own user: nothing is missing of what they
/// need.
#[tokio::test(flavor = "multi_thread")]
async fn an_installation_runs_with_a_user_for_each_component() {
    let (db, folder) = (Db::sqlite(), tempfile::tempdir().expect("a folder"));
    let server = TestServer::start_with_users(nats_users::for_this_run()).await;
    let all = settings(&server, &db, &folder);
    let stop = CancellationToken::new();
    let (bound, address) = oneshot::channel();
    let mut bound = Some(bound);
    let mut running = Vec::new();
    for component in Component::all() {
        let url = server.url_of(component.name());
        let settings = Settings { nats_url: url, ..all.clone() };
        let bound = match component {
            Component::Gateway => bound.take().expect("there is one gateway"),
            Component::Service(_) => oneshot::channel().0,
        };
        let stop = stop.clone();
        running.push(tokio::spawn(async move {
            serve::serve(&settings, &[component], stop, ProcessHealth::default(), bound).await
        }));
    }
    let url = format!("http://{}", address.await.expect("the gateway listens"));
    let api = client::Client::new(&url, "secret", SHOP).expect("a client").without_retries();
    stock(&api, "MUG", 5).await;
    let placed = settle(&api, &order("MUG", 2, "card"), "k").await.body;
    assert_eq!(placed["status"], "confirmed", "{placed}");
    let page: Value = api.get("events").await.expect("the feed is read");
    assert!(page["events"].as_array().is_some_and(|events| !events.is_empty()), "{page}");
    stop.cancel();
    for process in running {
        process.await.expect("no panic").expect("it stops cleanly");
    }
    verify_all(&all).await;
}
