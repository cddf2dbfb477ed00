//! Traces: which are sampled, the bounded queue in which their spans wait, and the exporter.
//!
//! Nobody waits for the exporter: a thread of its own takes spans from the queue, and what does not
//! fit is dropped and counted in the log.

use std::time::Duration;

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};
use reqwest::blocking::Client;
use rustls::crypto::ring;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::{
    Layer,
    filter::{Filtered, Targets},
    registry::LookupSpan,
};

use crate::{Error, Settings, sampler::sampler};

/// The most spans that wait for export: about 32 MB of them.
const MAX_QUEUE_SPANS: usize = 32_768;

/// The most spans in one request to the collector.
const MAX_EXPORT_SPANS: usize = 2_048;

/// How often what waits is exported, if it is not a full request before.
const EXPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The most events of the log in one span; the others are in the log only.
const MAX_SPAN_EVENTS: u32 = 32;

/// The most links of one span to other traces.
const MAX_SPAN_LINKS: u32 = 32;

/// Where OTLP takes traces, below the endpoint.
const TRACES_PATH: &str = "/v1/traces";

/// The variables of the specification of OpenTelemetry. The first is taken unchanged.
const TRACES_ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SERVICE_NAME_VARIABLE: &str = "OTEL_SERVICE_NAME";

/// Where the collector takes traces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

impl Endpoint {
    /// The endpoint by the setting, or else by the variables; none if nothing is to be exported.
    pub(crate) fn find(
        setting: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Error> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let base = |base: &str| format!("{}{TRACES_PATH}", base.trim_end_matches('/'));
        let url = setting
            .map(base)
            .or_else(|| variable(TRACES_ENDPOINT_VARIABLE))
            .or_else(|| variable(ENDPOINT_VARIABLE).map(|url| base(&url)));
        let Some(url) = url else { return Ok(None) };
        // Without TLS: a collector beside the process encrypts and authenticates on the way out.
        if url.strip_prefix("http://").is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(Error::Endpoint { endpoint: url });
        }
        Ok(Some(Self(url)))
    }
}

/// Starts the queue and the thread that exports from it.
pub(crate) fn provider(
    settings: &Settings,
    endpoint: &Endpoint,
    timeout: Duration,
) -> Result<SdkTracerProvider, Error> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client(timeout)?)
        .with_endpoint(&endpoint.0)
        .with_timeout(timeout)
        .build()
        .map_err(Error::Exporter)?;
    let queue = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_QUEUE_SPANS)
        .with_max_export_batch_size(MAX_EXPORT_SPANS)
        .with_scheduled_delay(EXPORT_INTERVAL)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(queue).build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(sampler(settings.trace_ratio, settings.traces_per_second))
        .with_resource(resource(settings))
        .with_max_events_per_span(MAX_SPAN_EVENTS)
        .with_max_links_per_span(MAX_SPAN_LINKS)
        .build())
}

/// What sends the spans. It speaks without TLS and trusts nobody, so it needs no certificates on the machine, though
/// reqwest wants to know how it would encrypt.
fn client(timeout: Duration) -> Result<Client, Error> {
    ring::default_provider().install_default().ok();
    let build = move || Client::builder().timeout(timeout).tls_certs_only([]).build();
    // It may not be made where a runtime is.
    let client = std::thread::spawn(build).join();
    client.map_err(|_| Error::ClientPanicked)?.map_err(Error::Client)
}

fn resource(settings: &Settings) -> Resource {
    // The builder reads OTEL_RESOURCE_ATTRIBUTES by itself; a name that is set there or here last wins.
    let resource = Resource::builder().with_attributes([
        KeyValue::new("service.version", settings.version),
        KeyValue::new("service.instance.id", settings.instance.clone()),
    ]);
    if std::env::var_os(SERVICE_NAME_VARIABLE).is_some_and(|name| !name.is_empty()) {
        return resource.build();
    }
    resource.with_service_name(settings.service).build()
}

/// Hands spans to the exporter: ours from `info` on, whatever the log's filter says, and none of the
/// libraries that talk HTTP, of which the exporter is one.
pub(crate) fn layer<S>(
    provider: &SdkTracerProvider,
) -> Filtered<OpenTelemetryLayer<S, SdkTracer>, Targets, S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let quiet = ["h2", "hyper", "hyper_util", "opentelemetry", "reqwest", "rustls"];
    let targets = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_targets(quiet.map(|target| (target, LevelFilter::OFF)));
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("tradewind"))
        // A span starts when it is exported or asked for its context, not when it is entered, and
        // says nothing of the source code: a span costs a microsecond less.
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(setting: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let endpoint = Endpoint::find(setting, variable).expect("the endpoint is valid");
        endpoint.map(|endpoint| endpoint.0)
    }

    #[test]
    fn the_setting_goes_before_the_variables_and_nothing_means_no_export() {
        let all = [(TRACES_ENDPOINT_VARIABLE, "http://b/own"), (ENDPOINT_VARIABLE, "http://c:1/")];
        assert_eq!(found(None, &[]), None);
        assert_eq!(found(None, &[(ENDPOINT_VARIABLE, "")]), None);
        assert_eq!(found(Some("http://a:4318"), &all).as_deref(), Some("http://a:4318/v1/traces"));
        assert_eq!(found(None, &all).as_deref(), Some("http://b/own"));
        assert_eq!(found(None, &all[1..]).as_deref(), Some("http://c:1/v1/traces"));
    }

    #[test]
    fn an_endpoint_that_is_not_plain_http_is_refused() {
        for wrong in ["", "collector:4318", "https://collector", "http://", "grpc://collector"] {
            assert!(Endpoint::find(Some(wrong), |_| None).is_err(), "{wrong:?} passed");
        }
    }
}
