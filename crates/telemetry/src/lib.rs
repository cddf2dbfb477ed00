//! What a process says of itself: its log, its traces and its metrics. `main` calls [`start`] once,
//! before the first thread that logs.
//!
//! ```text
//! tracing ──► registry ─┬─► logs    what the log filter lets through ──► standard error stream
//!                       └─► traces  spans from `info` on, sampled ──► queue ──► OTLP/HTTP
//! metrics ──► recorder ────► metrics ──► listener `GET /metrics`
//! health of the process ───────────────► listener `GET /healthz`, `GET /readyz`
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | `logs` | the log's filter and its two formats |
//! | `traces` | sampling, the bounded queue, the exporter |
//! | `metrics` | the recorder, and the buckets of each histogram |
//! | `listener` | `GET /metrics`, `/healthz` and `/readyz`, on a thread of its own |
//!
//! The names of spans and metrics are not here: they belong to the crates that record them, and
//! `docs/observability.md` lists all. Neither the engine nor a service depends on this crate.

mod listener;
mod logs;
mod metrics;
mod sampler;
mod traces;

use std::{net::SocketAddr, time::Duration};

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{info, warn};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::{listener::Listener, traces::Endpoint};
pub use crate::{
    listener::{HealthAnswer, HealthSource},
    logs::LogFormat,
    metrics::Metrics,
};

/// How long a process that stops may take to export the spans that still wait for it.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// What a process says of itself, and to whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program: `service.name` of what is exported, unless `OTEL_SERVICE_NAME` says another; and what
    /// the name of each metric begins with.
    pub service: &'static str,
    /// The version of the program.
    pub version: &'static str,
    /// Distinguishes this process from others of the program: `service.instance.id`.
    pub instance: String,
    /// What is logged: a level, or `module=level,…`.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Where a collector takes OTLP over HTTP, such as `http://127.0.0.1:4318`. Without it,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and `OTEL_EXPORTER_OTLP_ENDPOINT` count; without these,
    /// nothing is exported.
    pub otlp_endpoint: Option<String>,
    /// The share of traces begun here that is exported, 0 to 1. What a caller began is exported if
    /// the caller says so.
    pub trace_ratio: f64,
    /// The most of them that begin in a second; 0: all.
    pub traces_per_second: u32,
    /// Whether metrics are recorded.
    pub metrics: bool,
    /// Where `GET /metrics`, `/healthz` and `/readyz` are answered.
    pub metrics_listen: MetricsListen,
}

/// Where `GET /metrics`, `/healthz` and `/readyz` are answered; port 0 takes any that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsListen {
    /// Nowhere.
    Off,
    /// There; that it cannot be listened on is an error.
    At(SocketAddr),
    /// There if it is free, or else nowhere, which the log says.
    AtIfFree(SocketAddr),
}

/// A failure to start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log's filter cannot be read.
    #[error("read the log filter {filter:?}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The address of the collector cannot be used.
    #[error("read the OTLP endpoint {endpoint:?}: it must be http://host:port")]
    Endpoint {
        /// The address.
        endpoint: String,
    },
    /// The exporter refused its settings.
    #[error("build the OTLP exporter")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// The HTTP client of the exporter cannot be made.
    #[error("make the HTTP client of the OTLP exporter")]
    Client(#[source] reqwest::Error),
    /// The thread that makes it panicked.
    #[error("make the HTTP client of the OTLP exporter: its thread panicked")]
    ClientPanicked,
    /// The process has a log already.
    #[error("start the log: the process has one already")]
    Log(#[source] tracing_subscriber::util::TryInitError),
    /// The buckets of the metrics are wrong.
    #[error("start the metrics")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// The process has a recorder of metrics already.
    #[error("start the metrics: the process has a recorder already")]
    HasRecorder,
    /// The address for `/metrics` cannot be listened on.
    #[error("listen on {address} for /metrics; is the port taken?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("start the thread of the metrics")]
    Thread(#[source] std::io::Error),
}

/// What [`start`] started. When it is dropped, the spans that wait are exported, for as long as
/// [`FLUSH_TIMEOUT`], and `/metrics` is no longer answered; the log goes on.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
    listener: Listener,
    traces: Option<SdkTracerProvider>,
}

/// Starts the log, the traces and the metrics of this process. Needs no runtime.
pub fn start(settings: &Settings) -> Result<Telemetry, Error> {
    let log = logs::layer(&settings.log, settings.log_format)?;
    let endpoint =
        Endpoint::find(settings.otlp_endpoint.as_deref(), |name| std::env::var(name).ok())?;
    let traces = endpoint
        .map(|endpoint| traces::provider(settings, &endpoint, FLUSH_TIMEOUT))
        .transpose()?;
    let metrics = metrics::install(settings)?;
    let listener = listener::start(settings.metrics_listen, metrics.clone())?;
    let registry =
        tracing_subscriber::registry().with(traces.as_ref().map(traces::layer)).with(log);
    registry.try_init().map_err(Error::Log)?;
    if let Some(address) = listener.address {
        info!(%address, "metrics are at /metrics, the health of the process at /healthz and /readyz");
    }
    if let Some((address, error)) = &listener.not_free {
        info!(
            %address, %error,
            "nothing is shown at /metrics, /healthz and /readyz of this process: another one has the default \
             address; set metrics-listen to give each its own"
        );
    }
    Ok(Telemetry { metrics, listener, traces })
}

impl Telemetry {
    /// The present metrics, in the text format of Prometheus.
    pub fn render(&self) -> String {
        self.metrics.render()
    }

    /// The same for whoever answers requests while the process runs.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Says what is answered about the health of the process. Counts once; until then there are no such routes.
    pub fn show_health(&self, source: HealthSource) {
        self.listener.health.set(source).ok();
    }

    /// Where `/metrics` is answered, if it is.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.listener.address
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = self.traces.take()
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            warn!(%error, "spans may be lost: the collector did not take them in time");
        }
    }
}
