//! What a whole installation says of one order: its trace at a collector, and the metrics.

use std::{collections::BTreeSet, time::Duration};

use engine::metrics::Metric;
use events::shop;
use opentelemetry_proto::tonic::{common::v1::any_value::Value, trace::v1::Span};
use reqwest::Method;
use serde_json::json;
use telemetry::{LogFormat, MetricsListen, Settings, Telemetry};
use testkit::{Collector, Db, eventually};
use tests::{Installation, SHOP, order, settle, stock, stock_in};
use tokio::time::{Instant, sleep};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// The spans that an order leads to when all goes well, from its request to the event that it is
/// paid: each with the kind of its input, where it has one.
const SPANS: [(&str, &str); 12] = [
    ("gateway.request", ""),
    ("gateway.inbox", ""),
    ("order.decide", "command.place_order"),
    ("inventory.decide", "order.placed"),
    ("order.decide", "inventory.reserved"),
    ("payment.decide", "order.payment_due"),
    ("payment.effect", ""),
    ("order.decide", "payment.authorized"),
    ("inventory.decide", "order.authorized"),
    ("order.decide", "inventory.allocated"),
    ("payment.decide", "order.confirmed"),
    ("order.decide", "payment.captured"),
];

/// Spans of batches, which are part of the trace as long as all their inputs are.
const SPANS_OF_BATCHES: [&str; 3] = ["batch", "publish", "project"];

/// Metrics that have a series only when something goes wrong, or after the first reconciliation.
const OF_FAILURES: [&str; 3] = [
    engine::metrics::REPLICA_ERRORS.name,
    engine::metrics::PARTITION_RESTARTS.name,
    payment::metrics::DIFFERENCES.name,
];

/// How long spans may take to the collector.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The spans of the trace.
fn spans_of_trace(collector: &Collector) -> Vec<Span> {
    collector.spans().into_iter().filter(|span| hex(&span.trace_id) == TRACE).collect()
}

fn hex(id: &[u8]) -> String {
    protocol::id::hex(id)
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|found| found.value.as_ref()?.value.clone()) {
        Some(Value::StringValue(text)) => text,
        _ => String::new(),
    }
}

/// Which of the spans of an order are not there.
fn missing(spans: &[Span]) -> Vec<String> {
    let there: BTreeSet<(String, String)> =
        spans.iter().map(|span| (span.name.clone(), attribute(span, "input.kind"))).collect();
    let of_services = ["order", "inventory", "payment"].into_iter();
    let of_batches = of_services.flat_map(|service| {
        SPANS_OF_BATCHES.map(|step| (format!("{service}.{step}"), String::new()))
    });
    let of_inputs = SPANS.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    let expected = of_inputs.into_iter().chain(of_batches);
    expected.filter(|it| !there.contains(it)).map(|(name, kind)| format!("{name} {kind}")).collect()
}

fn start_telemetry(collector: &Collector) -> Telemetry {
    let telemetry = telemetry::start(&Settings {
        service: "tradewind",
        version: "1.2.3",
        instance: "test".to_owned(),
        log: "error".to_owned(),
        log_format: LogFormat::Json,
        otlp_endpoint: Some(collector.url()),
        trace_ratio: 0.0,
        traces_per_second: 0,
        metrics: true,
        metrics_listen: MetricsListen::Off,
    });
    node::describe_metrics();
    telemetry.expect("it starts")
}

/// One test, because a process has one telemetry.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_and_a_scrape_has_every_metric() {
    let collector = Collector::start().await;
    let telemetry = start_telemetry(&collector);
    let metrics = telemetry.metrics();
    let db = Db::sqlite();
    let installation = Installation::start(&db, |_| {}).await;
    let api = installation.api();
    stock(&api, "MUG", 5).await;
    let url = format!("{}/v1/shops/{SHOP}/orders", installation.url());
    let placed = reqwest::Client::new()
        .post(url)
        .bearer_auth("secret")
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .header("idempotency-key", "traced")
        .header("prefer", "wait=30")
        .json(&order("MUG", 1, "card"))
        .send()
        .await
        .expect("it answers");
    let placed: serde_json::Value = placed.json().await.expect("is JSON");
    assert_eq!(placed["payment_status"], "paid", "{placed}");

    let deadline = Instant::now() + EXPORT_TIMEOUT;
    // A span may be exported before the one that it is a part of.
    let is_complete = |spans: &[Span]| missing(spans).is_empty() && orphan(spans).is_none();
    while !is_complete(&spans_of_trace(&collector)) && Instant::now() < deadline {
        sleep(Duration::from_millis(100)).await;
    }
    let spans = spans_of_trace(&collector);
    let names: Vec<_> = spans
        .iter()
        .map(|span| format!("{} {}", span.name, attribute(span, "input.kind")))
        .collect();
    assert_eq!(missing(&spans), [""; 0], "among {names:#?}");
    assert_eq!(orphan(&spans), None, "a span has no parent");
    eventually("every metric has a series", async || {
        let text = metrics.render();
        unmeasured(&text).is_empty() && text.contains("tradewind_sagas_total{outcome=\"paid\"} 1\n")
    })
    .await;
    is_counted_as_unpaid(&installation, &telemetry.metrics()).await;
    installation.stop_and_verify().await;
}

/// An order that has shipped, and whose money was refused, is counted until another payment of it is captured.
async fn is_counted_as_unpaid(installation: &Installation, metrics: &telemetry::Metrics) {
    let api = installation.api_of("unpaid");
    let settings = shop::Settings { capture: shop::Capture::OnShipment, ..Default::default() };
    stock_in(&api, &settings, "MUG", 5).await;
    let refused = order("MUG", 1, "sim:capture_decline:expired");
    let placed = settle(&api, &refused, "unpaid").await.body;
    let issue = json!({"type": "goods_issue", "sku": "MUG", "quantity": 1, "order_id": placed["id"],
        "connector": "erp", "document": "GI-1", "sequence": 2});
    let pushed = api.push("inventory", issue.to_string()).await.expect("it is pushed");
    assert_eq!(pushed.applied, 1, "{pushed:?}");
    let unpaid = || {
        let text = metrics.render();
        let series = text.lines().filter(|line| line.starts_with("tradewind_orders_unpaid{"));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    eventually("the order is counted", async || unpaid() == 1).await;
    let path = format!("orders/{}/payments", placed["id"].as_str().expect("an id"));
    let another = api.request(Method::POST, &path).json(&json!({"payment_method": "card"}));
    assert_eq!(api.send(another).await.expect("an answer").status.as_u16(), 201);
    eventually("the order is paid", async || unpaid() == 0).await;
}

/// A span whose parent is neither among the spans nor the request's own.
fn orphan(spans: &[Span]) -> Option<&Span> {
    let ids: BTreeSet<&[u8]> = spans.iter().map(|span| &*span.span_id).collect();
    spans.iter().find(|span| {
        let is_request = span.name == "gateway.request" && hex(&span.parent_span_id) == PARENT;
        !is_request && !ids.contains(&*span.parent_span_id)
    })
}

/// The metrics without a series, of those that an order that is paid must have.
fn unmeasured(text: &str) -> Vec<&'static str> {
    let of_webhooks =
        |metric: &&Metric| notify::metrics::ALL.iter().any(|it| it.name == metric.name);
    let all = node::metrics().filter(|metric| !of_webhooks(metric));
    let names = all.map(|metric| metric.name).filter(|name| !OF_FAILURES.contains(name));
    names.filter(|name| !text.contains(&format!("# TYPE tradewind_{name} "))).collect()
}
