//! What is not there for a while: a service, another process, the database.

use std::{fs, time::Duration};

use async_nats::jetstream::stream::StorageType;
use events::proto::Event;
use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Db, TestServer, eventually, system_clock};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    process::Command,
};
use url::Url;

use crate::{
    operator::check,
    rig::{
        Installation, SETTLE_TIMEOUT, Serving, await_ready, bare, free_address, output, readiness,
    },
};

/// The services but for `order`, and the gateway. The payment provider takes its time, so that a process
/// can be killed while it is asked.
const ALL_BUT_ORDER: [&str; 9] = [
    "serve",
    "shop",
    "catalog",
    "inventory",
    "payment",
    "notify",
    "gateway",
    "--provider-latency",
    "2s",
];

/// How long an order waits for its payment.
const PAYMENT_TIMEOUT: Duration = Duration::from_secs(8);

fn order() -> Value {
    json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 1}]})
}

/// When the first event of that kind was decided, if there is one.
async fn time_of(installation: &Installation, stream: &str, kind: &str) -> Option<i64> {
    let log = installation.server.events::<Event>(stream).await;
    let of_kind = |subject: &str| subject.rsplit('.').next() == Some(kind);
    let time = log.into_iter().find(|entry| of_kind(&entry.subject))?.event.time?;
    Some(time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_authorised_in_time_counts_after_an_outage_beyond_the_deadline() {
    let installation = Installation::new().await;
    let timeout = format!("{}s", PAYMENT_TIMEOUT.as_secs());
    let orders = || installation.start(&["serve", "order", "--payment-timeout", &timeout]);
    let process = orders();
    let others = installation.serve(&ALL_BUT_ORDER).await;
    installation.stock("MUG", 5).await;
    let placed = installation.api().place(&order(), "outage", None).await.expect("it is answered");
    assert_eq!(placed.status.as_u16(), 201, "{}", placed.body);
    eventually("the payment is due", async || {
        time_of(&installation, "ORDER-0", "payment_due").await.is_some()
    })
    .await;
    process.kill().await;
    assert_eq!(
        time_of(&installation, "ORDER-0", "authorized").await,
        None,
        "the kill was too late"
    );

    let due = time_of(&installation, "ORDER-0", "payment_due").await.expect("it is there");
    let deadline = due + PAYMENT_TIMEOUT.as_millis() as i64;
    let mut authorized = None;
    eventually("the payment is authorised", async || {
        authorized = time_of(&installation, "PAYMENT-0", "authorized").await;
        authorized.is_some()
    })
    .await;
    assert!(authorized < Some(deadline), "{authorized:?} is not before {deadline}");
    eventually("the deadline has passed", async || system_clock().now().millis() > deadline).await;

    let process = orders();
    eventually("the order has come to its end", async || {
        let ends = ["paid", "cancelled"];
        for end in ends {
            if time_of(&installation, "ORDER-0", end).await.is_some() {
                return true;
            }
        }
        false
    })
    .await;
    assert_eq!(time_of(&installation, "ORDER-0", "cancelled").await, None);
    let placed = installation.api().place(&order(), "outage", Some(SETTLE_TIMEOUT)).await;
    let placed = placed.expect("it is answered").body;
    assert_eq!([&placed["status"], &placed["payment_status"]], ["confirmed", "paid"], "{placed}");
    process.stop().await;
    others.stop().await;
}

/// The claims of a process that was killed run out; those of one that stops are released. The log of the
/// claims tells the two apart, however long either takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_releases_its_partitions_and_another_one_takes_them() {
    let installation = Installation::new().await;
    let others = installation.serve(&ALL_BUT_ORDER).await;
    let mut processes = Vec::new();
    for state in ["held", "waiting"] {
        let address = free_address();
        let listen = address.to_string();
        processes.push(installation.start(&["serve", "order", "--metrics-listen", &listen]));
        eventually(&format!("the partition is {state}"), async || {
            let found = readiness(address).await;
            found.is_some_and(|(_, document)| document["partitions"][0]["state"] == state)
        })
        .await;
    }
    let (second, first) = (processes.pop().expect("it runs"), processes.pop().expect("it runs"));
    let client = installation.server.jetstream().await.client();
    let mut claims = client.subscribe("lease.order.0").await.expect("it is followed");
    client.flush().await.expect("it is followed");
    first.stop().await;
    let next = claims.next().await.expect("the stream goes on");
    assert_eq!(next.payload, "", "the partition is released before anybody claims it");
    let next = claims.next().await.expect("the stream goes on");
    assert_ne!(next.payload, "", "it is claimed by the other process");
    installation.stock("MUG", 5).await;
    let placed = installation.api().place(&order(), "after", Some(SETTLE_TIMEOUT)).await;
    assert_eq!(placed.expect("it is answered").body["payment_status"], "paid");
    second.stop().await;
    others.stop().await;
}

/// Starts a process that logs to a file.
fn start_logged(mut command: Command, log: &std::path::Path) -> Serving {
    let log = fs::File::create(log).expect("it is made");
    let process = command.args(["--log", "info"]).stderr(log).kill_on_drop(true).spawn();
    Serving::of(process.expect("the process starts"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_streams_waits_and_says_what_creates_them() {
    let server = TestServer::start().await;
    let (nats, listen) = (server.url(), free_address().to_string());
    let mut command = bare(&["serve", "gateway", "--start-timeout", "60s"]);
    command
        .args(["--nats-url", &nats, "--listen", &listen])
        .env("TRADEWIND_API_KEY", "a-key-of-these-tests");
    let folder = TempDir::new().expect("a temporary folder");
    let log = folder.path().join("log");
    let process = start_logged(command, &log);
    let waits = ": there is none; start a service, or run `tradewind streams apply`";
    eventually("it says so", async || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains(waits))
    })
    .await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_are_written_to_a_stream_in_memory() {
    let installation = Installation::new().await;
    let serving = installation.serve(&["serve"]).await;
    let context = installation.server.jetstream().await;
    let mut leases = context.get_stream("LEASES").await.expect("it is there");
    let found = leases.cached_info();
    let (storage, before) = (found.config.storage, found.state.last_sequence);
    assert_eq!(storage, StorageType::Memory);
    eventually("the process renews its membership there", async || {
        let found = leases.info().await.expect("it is described");
        found.state.last_sequence > before + 2
    })
    .await;
    for stream in ["INBOX-0", "ORDER-0"] {
        let stream = context.get_stream(stream).await.expect("it is there");
        assert_eq!(stream.cached_info().config.storage, StorageType::File, "{stream:?}");
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_before_nats_waits_for_it_and_says_so() {
    let mut installation = Installation::new().await;
    installation.server.kill().await;
    let address = free_address();
    let listen = address.to_string();
    let command = ["serve", "order", "--start-timeout", "60s", "--metrics-listen", &listen];
    let log = installation.folder.path().join("log");
    let process = start_logged(installation.command(&command), &log);
    let waits = format!("cannot connect to NATS at {}", installation.server.url());
    eventually("the process says what it waits for", async || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.contains("waits for NATS, for ") && log.contains(&waits)
    })
    .await;
    let (status, document) = readiness(address).await.expect("it answers");
    assert_eq!(status, 503, "{document}");
    assert_eq!(document["broker_error"], "the process is not connected to NATS yet", "{document}");
    installation.server.start_again().await;
    await_ready(address).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_has_waited_for_a_server_in_vain_ends_and_says_for_which() {
    let server = TestServer::start().await;
    let nobody = free_address().to_string();
    let serve = async |nats: &str, database: &str| {
        let serve = ["serve", "order", "--start-timeout", "1s", "--nats-url", nats];
        let mut command = bare(&serve);
        command.env("TRADEWIND_DATABASE", database);
        output(command).await
    };
    let folder = TempDir::new().expect("a temporary folder");
    let sqlite = folder.path().display().to_string();
    let ended = serve(&format!("nats://{nobody}"), &sqlite).await;
    let error =
        format!("error: cannot connect to NATS at nats://{nobody}; is nats-server running there?");
    check(&ended, 1, &[], &["waits for NATS, for 1 more seconds at most", &error]);

    let postgres = format!("postgres://me:secret@{nobody}/none");
    let ended = serve(&server.url(), &postgres).await;
    let error = format!("cannot open the database of order at postgres://…@{nobody}/none");
    check(
        &ended,
        1,
        &[],
        &["waits for the database, for 1 more seconds at most", "error: ", &error],
    );
    assert!(!ended.err.contains("secret"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_before_postgres_waits_for_it_and_says_so() {
    let Some(db) = Db::postgres().await else { return };
    let installation = Installation::new().await;
    let server_url = installation.server.url();
    let mut database: Url = db.setting().parse().expect("a URL");
    let server = database.socket_addrs(|| None).expect("an address")[0];
    let (late, address) = (free_address(), free_address());
    database.set_port(Some(late.port())).expect("it has a port");
    let mut command = bare(&["serve", "order", "--start-timeout", "60s"]);
    command
        .args(["--nats-url", &server_url, "--metrics-listen", &address.to_string()])
        .args(["--database", database.as_str()]);
    let log = installation.folder.path().join("log");
    let process = start_logged(command, &log);
    eventually("the process says what it waits for", async || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("waits for the database"))
    })
    .await;
    eventually("its readiness says so", async || {
        let Some((status, document)) = readiness(address).await else { return false };
        (status, &document["partitions"][0]["state"]) == (503, &json!("starting"))
    })
    .await;

    // From now on there is a Postgres at this address.
    let listener = TcpListener::bind(late).await.expect("the port is free");
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.expect("it listens");
                copy_bidirectional(&mut connection, &mut server).await.ok();
            });
        }
    });
    await_ready(address).await;
    process.stop().await;
}
