//! A process that starts its telemetry, records, and stops: seen by a collector and by a scrape.

use std::{net::SocketAddr, time::Duration};

use data_encoding::HEXLOWER;
use metrics::{counter, describe_counter};
use opentelemetry_proto::tonic::trace::v1::Span;
use telemetry::{HealthAnswer, HealthSource, LogFormat, MetricsListen, Settings};
use testkit::Collector;
use tokio::task::spawn_blocking;
use tracing::info_span;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn settings() -> Settings {
    Settings {
        service: "tradewind",
        version: "1.2.3",
        instance: "process 1".to_owned(),
        log: "error".to_owned(),
        log_format: LogFormat::Json,
        otlp_endpoint: None,
        trace_ratio: 0.0,
        traces_per_second: 0,
        metrics: true,
        metrics_listen: MetricsListen::At(SocketAddr::from(([127, 0, 0, 1], 0))),
    }
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no span {name} among {spans:?}"))
}

/// One test, because a process has one telemetry.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_spans_of_a_trace_and_a_scrape_the_metrics() {
    let collector = Collector::start().await;
    let settings = Settings { otlp_endpoint: Some(collector.url()), ..settings() };
    let telemetry = telemetry::start(&settings).expect("it starts");
    assert!(telemetry::start(&settings).is_err(), "a process has one telemetry");

    record_spans();
    describe_counter!("inputs_total", "Inputs handled.");
    counter!("inputs_total", "service" => "order").increment(2);

    let metrics = telemetry.metrics_address().expect("it listens");
    scrape(metrics, &telemetry.render()).await;
    telemetry.show_health(HealthSource {
        healthz: Box::new(|| answer_of(200, "{}")),
        readyz: Box::new(|| answer_of(503, "not yet")),
    });
    ask_for_health(metrics).await;

    // Stopping exports what waits.
    spawn_blocking(move || drop(telemetry)).await.expect("it stops");
    let spans = collector.spans();
    let mut names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["order.batch", "order.decide", "order.publish"]);
    let decide = named(&spans, "order.decide");
    assert_eq!(HEXLOWER.encode(&decide.parent_span_id), PARENT);
    assert_eq!(named(&spans, "order.publish").parent_span_id, decide.span_id);
    for span in [decide, named(&spans, "order.publish"), named(&spans, "order.batch")] {
        assert_eq!(HEXLOWER.encode(&span.trace_id), TRACE);
    }
    assert_eq!(named(&spans, "order.batch").links.len(), 1);
    assert!(format!("{:?}", decide.attributes).contains("order-7"));
    for part in ["service.name", "tradewind", "service.instance.id", "process 1", "1.2.3"] {
        assert!(collector.resource().contains(part), "{part} is not in {}", collector.resource());
    }
}

/// Records a trace that a caller began and samples, and one that it does not sample; what begins here
/// is not sampled by these settings.
fn record_spans() {
    let sampled = format!("00-{TRACE}-{PARENT}-01");
    let decide = info_span!("order.decide", order.id = "order-7");
    assert!(trace_context::attach(&decide, &sampled, ""));
    decide.in_scope(|| info_span!("order.publish").in_scope(|| tracing::debug!("not exported")));
    let outgoing = trace_context::traceparent_of(&decide).expect("it is exported");
    assert!(outgoing.starts_with(&format!("00-{TRACE}-")), "{outgoing}");

    let batch = info_span!("order.batch");
    assert!(trace_context::attach(&batch, &outgoing, ""));
    assert_eq!(trace_context::link(&batch, [outgoing.as_str()]), 1);

    let unsampled = info_span!("order.unsampled");
    assert!(trace_context::attach(&unsampled, &format!("00-{TRACE}-{PARENT}-00"), ""));
    unsampled.in_scope(|| info_span!("order.unsampled").in_scope(|| {}));
    info_span!("order.begun_here").in_scope(|| {});
}

fn answer_of(status: u16, body: &str) -> HealthAnswer {
    HealthAnswer { status, content_type: "application/json", body: body.to_owned() }
}

async fn ask_for_health(address: SocketAddr) {
    for (path, expected) in [("healthz", (200, "{}")), ("readyz", (503, "not yet"))] {
        let answer = reqwest::get(format!("http://{address}/{path}")).await.expect("it answers");
        assert_eq!(answer.headers()["content-type"], "application/json");
        let status = answer.status().as_u16();
        let body = answer.text().await.expect("it is a text");
        assert_eq!((status, body.as_str()), expected);
    }
}

async fn scrape(address: SocketAddr, rendered: &str) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build();
    let client = client.expect("the client is valid");
    let get = |path: &str| client.get(format!("http://{address}{path}")).send();
    let response = get("/metrics").await.expect("it answers");
    assert_eq!(response.status(), 200);
    let content = &response.headers()["content-type"];
    assert!(content.to_str().is_ok_and(|text| text.starts_with("text/plain; version=0.0.4")));
    let text = response.text().await.expect("it is a text");
    for line in [
        "# HELP tradewind_inputs_total Inputs handled.",
        "# TYPE tradewind_inputs_total counter",
        "tradewind_inputs_total{service=\"order\"} 2",
        "tradewind_build_info{version=\"1.2.3\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
        assert!(rendered.contains(line), "{line} is not in:\n{rendered}");
    }
    for path in ["/", "/readyz"] {
        assert_eq!(get(path).await.expect("it answers").status(), 404, "{path}");
    }
    let posted = client.post(format!("http://{address}/metrics")).send().await;
    assert_eq!(posted.expect("it answers").status(), 405);
}
