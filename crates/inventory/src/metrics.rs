//! What is measured of connectors.

use ::metrics::{Gauge, gauge};
use engine::metrics::Metric;

/// How long a connector has been silent. The only metric whose labels name shops: at most
/// [`MAX_CONNECTORS`] a partition are measured, those that are silent the longest.
pub const CONNECTOR_SILENCE: Metric = Metric::gauge_seconds(
    "connector_silent_seconds",
    &["partition", "shop", "connector"],
    "Time since a line of an ERP connector came last; 0 from a week on: it was taken out of use.",
);

/// All metrics of the service.
pub const ALL: [Metric; 1] = [CONNECTOR_SILENCE];

/// The most connectors of a partition that are measured.
pub(crate) const MAX_CONNECTORS: i64 = 1_000;
/// The silence from which on a connector is out of use, in milliseconds.
pub(crate) const OUT_OF_USE_MS: i64 = 7 * 24 * 3_600_000;

/// The gauge of a connector.
pub(crate) fn silence(partition: u32, shop: String, connector: String) -> Gauge {
    gauge!(
        CONNECTOR_SILENCE.name,
        "partition" => partition.to_string(),
        "shop" => shop,
        "connector" => connector
    )
}
