//! The benchmark with little to do: every figure is taken, and nothing is lost.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::rig::bare;

/// How long a benchmark may take: it starts several installations, one after the other.
const BENCH_TIMEOUT: Duration = Duration::from_mins(3);

/// Runs the benchmark with few orders and these arguments.
async fn bench(arguments: &str) -> Value {
    let folder = tempfile::tempdir().expect("a private folder");
    let load = "bench --report json --sagas 200 --orders 100 --clients 8 --rates 50,60 --seconds 1 \
                --lines 1000 --rounds 1";
    let arguments: Vec<&str> =
        load.split_whitespace().chain(arguments.split_whitespace()).collect();
    let mut command = bare(&arguments);
    command
        .env("NATS_SERVER", testkit::nats_server())
        .arg("--data")
        .arg(folder.path().join("data"));
    let output = timeout(BENCH_TIMEOUT, command.kill_on_drop(true).output()).await;
    let output = output.expect("it ends in time").expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    serde_json::from_str(&text).expect("it is JSON")
}

#[track_caller]
fn positive(value: &Value, path: &str) {
    let found = value.pointer(path).and_then(Value::as_f64);
    assert!(found.is_some_and(|it| it > 0.0), "{path} is {found:?} in {value:#}");
}

/// Every figure of a setup is there, and they agree with what was asked for.
fn check_setup(figures: &Value) {
    for path in [
        "/limits/batch_messages_per_s",
        "/limits/write_p50_ms",
        "/sagas/per_s",
        "/orders/per_s",
        "/latencies/0/accepted_p50_ms",
        "/latencies/1/settled_p99_ms",
        "/stock_lines/per_s",
        "/goods_issues/per_s",
        "/rebuilds/0/read_per_s",
        "/rebuilds/1/events_per_s",
        "/memory_at_load/services_mb",
        "/memory_at_load/broker_mb",
        "/memory_at_load/total_mb",
        "/memory_of_rebuild/total_mb",
    ] {
        positive(figures, path);
    }
    let count = |path: &str| figures.pointer(path).and_then(Value::as_f64).unwrap_or_default();
    let paths = ["/sagas/count", "/orders/count", "/latencies/0/count", "/stock_lines/count"];
    let counts = paths.map(|path| figures.pointer(path).and_then(Value::as_u64));
    assert_eq!(counts, [Some(200), Some(100), Some(50), Some(1_000)]);
    // At least placed, and one end, for each order; an event for each stock line.
    assert!(count("/sagas/messages_per_s") > 2.0 * count("/sagas/per_s"), "{figures:#}");
    assert!(count("/stock_lines/messages_per_s") >= count("/stock_lines/per_s"), "{figures:#}");
    assert!(count("/goods_issues/messages_per_s") >= count("/goods_issues/per_s"), "{figures:#}");
    assert!(count("/rebuilds/0/events") >= 410.0 * 2.0, "{figures:#}");
    assert!(count("/rebuilds/1/events") >= 1_000.0 + 410.0, "{figures:#}");
}

#[tokio::test]
async fn every_figure_is_taken_on_one_server_and_on_three() {
    let parts = "--only sagas,orders,latency,stock,goods-issues,rebuild";
    let report = bench(&format!("{parts} --on r1-sqlite,r3-sqlite")).await;
    let setups = report["setups"].as_array().expect("there are setups");
    let names: Vec<_> = setups.iter().map(|setup| &setup[0]).collect();
    assert_eq!(names, ["r1-sqlite", "r3-sqlite"]);
    for setup in setups {
        check_setup(&setup[1]["figures"]);
    }
    assert!(report["telemetry"].is_null() && report["fairness"].is_null(), "{report:#}");
}

#[tokio::test]
async fn every_figure_is_taken_on_postgres_where_it_is_installed() {
    let parts = "--only sagas,orders,latency,stock,goods-issues,rebuild";
    let report = bench(&format!("{parts} --on r1-postgres")).await;
    let measured = &report["setups"][0][1];
    if let Some(reason) = measured["absent"].as_str() {
        let required = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        assert!(!required, "Postgres is required where CI is set, but {reason}");
        assert!(reason.contains("not installed"), "{reason}");
        return;
    }
    check_setup(&measured["figures"]);
    positive(&measured["figures"], "/memory_at_load/postgres_mb");
}

#[tokio::test]
async fn the_cost_of_telemetry_and_of_another_shop_is_measured() {
    let report = bench("--only telemetry,fairness").await;
    assert_eq!(report["setups"].as_array().map(Vec::len), Some(0), "{report:#}");
    let telemetry = &report["telemetry"]["figures"];
    for cost in [&telemetry["by_default"], &telemetry["every_trace"]] {
        assert_eq!(cost["throughput_loss"].as_array().map(Vec::len), Some(1), "{telemetry:#}");
    }
    positive(telemetry, "/every_trace/exported_kb");
    let fairness = &report["fairness"]["figures"];
    for path in ["/alone/settled_p99_ms", "/beside_lines/settled_p99_ms", "/lines"] {
        positive(fairness, path);
    }
    positive(fairness, "/beside_orders/accepted_p99_ms");
    positive(fairness, "/orders_accepted");
}

#[tokio::test]
async fn the_sender_of_webhooks_is_measured_alone() {
    let report = bench("--only webhooks-http --deliveries 2000").await;
    assert_eq!(report["setups"].as_array().map(Vec::len), Some(0), "{report:#}");
    let figures = &report["webhooks_http"]["figures"];
    for path in ["/keep_alive/per_s", "/bare/per_s", "/new_connections/per_s"] {
        positive(figures, path);
    }
    assert_eq!(figures["keep_alive"]["count"], 2_000);
}
