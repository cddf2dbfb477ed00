//! The helpers with a subscriber that records spans, and without.

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn sampled() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// Runs `code` under a subscriber that samples as its callers do, and returns the spans it recorded.
fn recorded(code: impl FnOnce()) -> Vec<SpanData> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, code);
    exporter.get_finished_spans().expect("the exporter is not shut down")
}

#[test]
fn a_traceparent_goes_in_and_its_trace_comes_out() {
    let mut outgoing = None;
    let spans = recorded(|| {
        let span = info_span!("order.decide");
        assert!(attach(&span, &sampled(), "vendor=1"));
        outgoing = traceparent_of(&span);
        assert_eq!(tracestate_of(&span).as_deref(), Some("vendor=1"));
    });
    let [span] = spans.as_slice() else { panic!("{} spans", spans.len()) };
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.parent_span_id.to_string(), PARENT);
    let own = span.span_context.span_id();
    assert_eq!(outgoing, Some(format!("00-{TRACE}-{own}-01")));
}

#[test]
fn a_child_is_of_the_same_trace() {
    let spans = recorded(|| {
        let parent = info_span!("order.batch");
        assert!(attach(&parent, &sampled(), ""));
        parent.in_scope(|| info_span!("order.publish").in_scope(|| {}));
    });
    assert_eq!(spans.len(), 2);
    assert!(spans.iter().all(|span| span.span_context.trace_id().to_string() == TRACE));
}

#[test]
fn what_the_caller_does_not_sample_is_not_recorded_and_passed_on_as_such() {
    let spans = recorded(|| {
        let span = info_span!("order.decide");
        assert!(attach(&span, &format!("00-{TRACE}-{PARENT}-00"), ""));
        let outgoing = traceparent_of(&span).expect("the trace goes on");
        assert!(outgoing.starts_with(&format!("00-{TRACE}-")), "{outgoing}");
        assert!(outgoing.ends_with("-00"), "{outgoing}");
    });
    assert!(spans.is_empty());
}

#[test]
fn a_batch_links_to_each_trace_once_and_to_so_many_at_most() {
    let traceparents: Vec<String> = (1..=40).map(|n| format!("00-{n:032x}-{PARENT}-01")).collect();
    let spans = recorded(|| {
        let span = info_span!("order.batch");
        assert!(attach(&span, &sampled(), ""));
        let few = ["malformed", &sampled(), &sampled()].map(str::to_owned);
        assert_eq!(link(&span, few.iter().map(String::as_str)), 1);
        let many = info_span!("order.batch");
        assert!(attach(&many, &sampled(), ""));
        assert_eq!(link(&many, traceparents.iter().map(String::as_str)), MAX_LINKS);
    });
    let mut links: Vec<usize> = spans.iter().map(|span| span.links.len()).collect();
    links.sort_unstable();
    assert_eq!(links, [1, MAX_LINKS]);
}

#[test]
fn without_a_subscriber_nothing_happens() {
    let span = info_span!("order.decide");
    assert!(!attach(&span, &sampled(), ""));
    assert_eq!(link(&span, [sampled().as_str()]), 0);
    assert_eq!(traceparent_of(&span), None);
}

#[test]
fn only_what_the_recommendation_allows_is_taken() {
    assert!(is_valid(&sampled()));
    assert!(is_sampled(&sampled()));
    assert!(is_valid(&format!("00-{TRACE}-{PARENT}-00")));
    assert!(!is_sampled(&format!("00-{TRACE}-{PARENT}-00")));
    assert!(is_valid(&format!("01-{TRACE}-{PARENT}-01-what-a-later-version-adds")));
    for wrong in [
        String::new(),
        format!("ff-{TRACE}-{PARENT}-01"),
        format!("00-{TRACE}-{PARENT}"),
        format!("00-{TRACE}-{PARENT}-1"),
        format!("00-{TRACE}-{PARENT}-01-more"),
        format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
        format!("00-{}-{PARENT}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("00-{TRACE}0-{PARENT}-01"),
        format!("00-{TRACE}-{PARENT}-01\0"),
    ] {
        assert!(!is_valid(&wrong), "{wrong:?} passed");
    }
}
