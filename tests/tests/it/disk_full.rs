//! A broker that stores nothing any more: it is named, and when there is space again, everything goes
//! on and nothing is lost.

use std::time::Duration;

use client::Client;
use serde_json::Value;
use testkit::{Db, TestServer, eventually};
use tests::{Installation, order, settle, stock};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;

/// The size of the disk: the streams need about 1 MB.
const DISK_MEGABYTES: u32 = 16;
/// The pause between two orders.
const ORDER_INTERVAL: Duration = Duration::from_millis(50);
/// The pause before an order is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_all_goes_on_when_the_server_is_restarted_with_space() {
    let Some(server) = TestServer::start_on_small_disk(DISK_MEGABYTES).await else { return };
    let db = Db::sqlite();
    let mut installation = Installation::start_on(server, &db).await;
    let api = installation.api();
    stock(&api, "MUG", 1_000_000).await;
    let orders = Orders::start(&api);
    eventually("some orders are paid", async || paid(&api).await > 20).await;

    installation.server.disk().fill();
    let mut ready = Value::Null;
    eventually("readiness says that the disk is full", async || {
        ready = readiness(&installation).await;
        is_named(&ready["broker_error"], "no space left on device")
    })
    .await;
    assert_eq!((&ready["status"], &ready["broker"]), (&503.into(), &"unavailable".into()));
    eventually("a partition says it too", async || {
        let partitions = readiness(&installation).await["partitions"].clone();
        let mut partitions = partitions.as_array().expect("partitions").iter();
        partitions.any(|partition| {
            partition["state"] == "failing"
                && is_named(&partition["error"], "no space left on device")
        })
    })
    .await;

    installation.server.disk().free();
    // Space alone does not help: the server never writes that stream again.
    let health = format!("{}/healthz", installation.server.monitor_url());
    let health = reqwest::get(health).await.expect("the monitor answers").text().await;
    let health = health.expect("it is text");
    assert!(health.contains("no space left on device"), "{health}");
    installation.server.kill().await;
    installation.server.start_again().await;
    expect_all_go_on(&installation, orders).await;
    installation.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_server_is_named_and_all_goes_on_below_it() {
    let server = TestServer::start_with("max_file: 4MB").await;
    let db = Db::sqlite();
    let installation = Installation::start_on(server, &db).await;
    let api = installation.api();
    stock(&api, "MUG", 1_000_000).await;
    let orders = Orders::start(&api);
    eventually("some orders are paid", async || paid(&api).await > 20).await;

    installation.server.fill_to_limit("BALLAST").await;
    let limit = "insufficient resources (10023)";
    eventually("readiness says that the limit is reached", async || {
        is_named(&readiness(&installation).await["broker_error"], limit)
    })
    .await;
    installation.server.delete_stream("BALLAST").await;
    expect_all_go_on(&installation, orders).await;
    installation.stop_and_verify().await;
}

/// Waits until the process is ready and every order is paid that was accepted or is now.
async fn expect_all_go_on(installation: &Installation, orders: Orders) {
    eventually("it is ready again", async || readiness(installation).await["status"] == "ready")
        .await;
    let accepted = orders.stop().await;
    let api = installation.api();
    eventually("every accepted order is paid", async || paid(&api).await == accepted).await;
    settle(&api, &order("MUG", 1, "card"), "afterwards").await;
}

/// What `/readyz` answers.
async fn readiness(installation: &Installation) -> Value {
    let url = format!("{}/readyz", installation.url());
    let answer = reqwest::get(url).await.expect("the gateway answers");
    answer.json().await.expect("it is JSON")
}

/// Whether an error gives that reason, and says what to do.
fn is_named(error: &Value, reason: &str) -> bool {
    let error = error.as_str().unwrap_or_default();
    error.contains(reason) && error.contains("then restart nats-server")
}

async fn paid(api: &Client) -> u64 {
    let totals: Value = api.get("totals").await.unwrap_or_default();
    let groups = totals["orders"]["groups"].as_array().into_iter().flatten();
    let paid = groups.filter(|group| group["payment_status"] == "paid");
    paid.map(|group| group["orders"].as_u64().unwrap_or(0)).sum()
}

/// Orders that are placed until they are stopped, each sent until it is accepted.
struct Orders {
    stopping: CancellationToken,
    placing: JoinHandle<u64>,
}

impl Orders {
    fn start(api: &Client) -> Self {
        let stopping = CancellationToken::new();
        let placing = tokio::spawn(place_all(api.clone(), stopping.clone()));
        Self { stopping, placing }
    }

    /// Returns how many were accepted.
    async fn stop(self) -> u64 {
        self.stopping.cancel();
        self.placing.await.expect("all orders are accepted")
    }
}

async fn place_all(api: Client, stopping: CancellationToken) -> u64 {
    let mut placing = JoinSet::new();
    let mut tick = interval(ORDER_INTERVAL);
    while stopping.run_until_cancelled(tick.tick()).await.is_some() {
        let (api, key) = (api.clone(), format!("order-{}", placing.len()));
        placing.spawn(async move {
            while !api
                .place(&order("MUG", 1, "card"), &key, None)
                .await
                .is_ok_and(|placed| placed.status.is_success())
            {
                sleep(RETRY_PAUSE).await;
            }
        });
    }
    placing.join_all().await.len() as u64
}
