//! What is measured of connectors.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use ::metrics::{Gauge, gauge};
use engine::metrics::Metric;

/// How long a connector has been silent. The only metric whose labels name shops: at most
/// [`MAX_CONNECTORS`] a partition are measured, of each shop in turn those that are silent the longest.
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

/// The connectors of each partition that were measured last; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct MeasuredConnectors(Arc<Mutex<HashMap<u32, BTreeSet<ConnectorLabels>>>>);

/// The shop and the name of a connector.
type ConnectorLabels = (String, String);

impl MeasuredConnectors {
    /// Notes which connectors of a partition are measured now, and yields those that are no more.
    pub(crate) fn replace(
        &self,
        partition: u32,
        now: BTreeSet<ConnectorLabels>,
    ) -> BTreeSet<ConnectorLabels> {
        let mut measured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = measured.remove(&partition).unwrap_or_default();
        let gone = &before - &now;
        measured.insert(partition, now);
        gone
    }
}

/// The gauge of a connector.
pub(crate) fn silence(partition: u32, shop: String, connector: String) -> Gauge {
    gauge!(
        CONNECTOR_SILENCE.name,
        "partition" => partition.to_string(),
        "shop" => shop,
        "connector" => connector
    )
}
