//! What was measured.

use serde::Serialize;

use super::quantities::millis;
pub use super::{
    erp::{Erp, Uploaded},
    memory::Memory,
    quantities::{Latency, Processed, Throughput},
    setup::Setup,
    telemetry::{Cost, TelemetryCost},
};
use crate::figures::Latencies;

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// Those of each setup.
    pub setups: Vec<(Setup, Measured<SetupFigures>)>,
    /// What traces and metrics cost, if that was measured.
    pub telemetry: Option<Measured<TelemetryCost>>,
    /// What the load of one shop costs another, if that was measured.
    pub fairness: Option<Measured<Fairness>>,
    /// What the sender of webhooks does alone, if that was measured.
    pub webhooks_http: Option<Measured<WebhooksHttp>>,
    /// Webhooks through all services, if that was measured.
    pub webhooks: Option<Measured<Webhooks>>,
    /// The feed of events, if that was measured.
    pub feed: Option<Measured<Feed>>,
    /// Reads over HTTP, if that was measured.
    pub reads: Option<Measured<Reads>>,
    /// The lines of an ERP, if that was measured.
    pub erp: Option<Measured<Erp>>,
    /// How long everything took.
    pub seconds: f64,
}

/// Figures, or why there are none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured<T> {
    /// The figures.
    Figures(T),
    /// This machine lacks something.
    Absent(String),
    /// It failed.
    Failed(String),
}

impl<T> Measured<T> {
    /// The figures, if there are any.
    pub fn figures(&self) -> Option<&T> {
        match self {
            Self::Figures(figures) => Some(figures),
            Self::Absent(_) | Self::Failed(_) => None,
        }
    }

    /// Why there are none.
    pub(super) fn problem(&self) -> Option<&str> {
        match self {
            Self::Figures(_) => None,
            Self::Absent(reason) | Self::Failed(reason) => Some(reason),
        }
    }

    fn has_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

impl Figures {
    /// Whether everything could be measured that this machine is equipped for.
    pub fn is_complete(&self) -> bool {
        !self.setups.iter().any(|(_, measured)| measured.has_failed())
            && !self.telemetry.as_ref().is_some_and(Measured::has_failed)
            && !self.fairness.as_ref().is_some_and(Measured::has_failed)
            && !self.webhooks_http.as_ref().is_some_and(Measured::has_failed)
            && !self.webhooks.as_ref().is_some_and(Measured::has_failed)
            && !self.reads.as_ref().is_some_and(Measured::has_failed)
            && !self.erp.as_ref().is_some_and(Measured::has_failed)
            && !self.feed.as_ref().is_some_and(|feed| {
                feed.has_failed() || feed.figures().is_some_and(|feed| feed.readers.has_failed())
            })
    }
}

/// The figures of one setup; what was not measured is absent.
#[derive(Debug, Default, Serialize)]
pub struct SetupFigures {
    /// What the broker takes at most.
    pub limits: Limits,
    /// Orders through the inbox, without HTTP, until they are settled.
    pub sagas: Option<Throughput>,
    /// Orders over HTTP, as fast as possible, until they are settled.
    pub orders: Option<Throughput>,
    /// Orders over HTTP at fixed rates.
    pub latencies: Vec<Latency>,
    /// Stock lines over HTTP.
    pub stock_lines: Option<Throughput>,
    /// Goods issues of orders over HTTP.
    pub goods_issues: Option<Throughput>,
    /// Databases that were rebuilt from their logs.
    pub rebuilds: Vec<Rebuild>,
    /// The memory under all of the above but the rebuilds.
    pub memory_at_load: Option<Memory>,
    /// The memory during the rebuilds.
    pub memory_of_rebuild: Option<Memory>,
}

/// What the broker takes at most from one writer, fsynced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Messages a second, in atomic batches of 500 messages of 300 bytes.
    pub batch_messages_per_s: f64,
    /// Milliseconds until half of single messages are acknowledged, one after the other.
    pub write_p50_ms: f64,
    /// Until 99 of 100 of them are.
    pub write_p99_ms: f64,
}

impl Limits {
    /// From what was recorded.
    pub(super) fn new(batch_messages_per_s: f64, writes: &Latencies) -> Self {
        Self {
            batch_messages_per_s,
            write_p50_ms: millis(writes, 50.0),
            write_p99_ms: millis(writes, 99.0),
        }
    }
}

/// A database that was rebuilt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rebuild {
    /// Whose it is.
    pub service: &'static str,
    /// The events of its log.
    pub events: u64,
    /// Events a second.
    pub events_per_s: f64,
    /// Events a second when the log is read and not folded: the limit.
    pub read_per_s: f64,
}

/// What a shop with few orders experiences, alone and beside a shop with much load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fairness {
    /// Nobody else is there.
    pub alone: Latency,
    /// Another shop pushes stock lines.
    pub beside_lines: Latency,
    /// The lines that it pushed meanwhile.
    pub lines: u64,
    /// Another shop pushes stock lines in another installation on the same machine.
    pub lines_apart: Latency,
    /// Another shop places orders.
    pub beside_orders: Latency,
    /// The orders that it placed a second.
    pub orders_per_s: u32,
    /// Those of them that were accepted, in all; the others were refused for overload.
    pub orders_accepted: u64,
    /// Another shop places orders in another installation on the same machine.
    pub orders_apart: Latency,
}

/// What the sender of webhooks does alone, to a receiver in a thread of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WebhooksHttp {
    /// Over connections that stay open.
    pub keep_alive: Processed,
    /// The same requests by an HTTP client that signs and vets nothing.
    pub bare: Processed,
    /// With a new connection for each delivery.
    pub new_connections: Processed,
}

/// Webhooks through all services, to a receiver in a thread of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Webhooks {
    /// What the sender does alone: the limit.
    pub limit: Processed,
    /// A backlog to one endpoint.
    pub one: Backlog,
    /// A backlog to ten endpoints.
    pub some: Backlog,
    /// One event of each order, while orders are placed as fast as possible.
    pub beside_orders: BesideOrders,
    /// At a fixed rate, to one endpoint.
    pub first_attempts: FirstAttempts,
    /// The same, while another endpoint of the shop does not answer.
    pub beside_hanging: FirstAttempts,
    /// 100 events to each of 1,000 endpoints.
    pub many: Processed,
}

/// Deliveries from a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Backlog {
    /// From when the endpoints take them until the last was received.
    pub deliveries: Processed,
    /// The memory of the services when a quarter of the backlog was there.
    pub memory_of_quarter_mb: Option<u64>,
    /// The memory of the services when all of it was there.
    pub memory_mb: Option<u64>,
}

/// Deliveries beside orders.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BesideOrders {
    /// Orders that were settled, a second.
    pub orders_per_s: f64,
    /// Deliveries a second.
    pub deliveries_per_s: f64,
}

/// The time from an event in its log to its first attempt, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FirstAttempts {
    /// Events a second.
    pub rate_per_s: u32,
    /// Until half of them were attempted.
    pub p50_ms: f64,
    /// Until 99 of 100 were.
    pub p99_ms: f64,
}

impl FirstAttempts {
    /// From what was recorded.
    pub(super) fn new(rate_per_s: u32, latencies: &Latencies) -> Self {
        Self { rate_per_s, p50_ms: millis(latencies, 50.0), p99_ms: millis(latencies, 99.0) }
    }
}

/// Reads over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Reads {
    /// A path that is no route and needs no key: what the HTTP server does alone.
    pub nothing: Processed,
    /// A path that is no route, of those that need a key.
    pub with_key: Processed,
    /// One product.
    pub product: Processed,
    /// One order.
    pub order: Processed,
    /// Lists of a hundred products.
    pub products: Processed,
    /// Lists of a hundred orders.
    pub orders: Processed,
}

/// The feed of events.
#[derive(Debug, Serialize)]
pub struct Feed {
    /// The log, read without the gateway: the limit.
    pub limit: Processed,
    /// One reader of pages.
    pub pages: Processed,
    /// One reader of Server-Sent Events.
    pub stream: Processed,
    /// Many readers of Server-Sent Events that wait for what is published.
    pub readers: Measured<FeedReaders>,
}

/// Readers that wait for events.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FeedReaders {
    /// So many.
    pub readers: u32,
    /// The events a second that are published for each of them.
    pub rate_per_s: u32,
    /// What all of them read, from the first event that was published.
    pub read: Processed,
    /// Seconds from when the last event was to be published until all readers had it.
    pub lag_s: f64,
    /// The memory of the services.
    pub memory_mb: Option<u64>,
}
