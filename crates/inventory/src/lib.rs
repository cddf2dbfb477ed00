//! The inventory: what there is, and which order it is promised to.
//!
//! - `wire`: bytes to domain and back; the only file that sees protobuf;
//! - `domain`: the rules, without I/O, clock or async; `domain/stock.rs` for what ERPs record,
//!   `domain/goods_issues.rs` and `domain/transfers.rs` for what leaves and comes,
//!   `domain/adjustments.rs` for what a late count needs, `domain/locations.rs` for the locations and
//!   which of them serve an order, `domain/reservation.rs` for what orders ask, `domain/orders.rs` for
//!   which orders have units of a stock, `domain/short.rs` for those that cannot be served, `domain/connectors.rs` for what has come from each connector and
//!   which lines were rejected, `domain/invalid.rs` for those that are no stock lines, `domain/settings.rs` for what the shop says;
//! - `store`: the rows that it keeps, and the SQL of its lists;
//! - `query`: the questions that it answers from its projection;
//! - `metrics`: what is measured.
//!
//! `RecordStock` comes in from ERP connectors: counts, adjustments, goods issues and transfers, each for
//! itself. `counted`, `adjusted`, `shipped`, `transfer_sent`, `transfer_received` and `short` go out; their
//! aggregate is the stock, `<sku>@<location>`. From the order service come `placed`, `authorized` and `cancelled`; `reserved` or `refused`, `allocated` or
//! `lost`, and `released` go out; their aggregate is the order. Both kinds change the same stock
//! rows, and everything of a shop is decided by one worker: so nothing is promised twice. From the
//! catalogue comes which SKUs there are, and from the shop service how the shop works.
//!
//! Lines that were rejected are kept: `lines_rejected`, `lines_repeated` and `rejections_closed` (of the
//! connector) go out, and `RedriveRejections` and `DropRejections` come in.
//!
//! `PutLocation` and `SetStockLimits` come in from the merchant; `location_created`,
//! `location_changed` (of the location) and `limits_changed` (of the stock) go out.
//!
//! To add a fact: add it to `proto/` and to `domain::StockFact` or `domain::ReservationFact`; the
//! compiler names what else has to know it. To add a field to a row: add it to its struct, and
//! raise [`Service::FORMAT`].

mod domain;
pub mod metrics;
mod query;
mod store;
mod wire;

use engine::{Clock, Definition, Service, Source, Table, Timer, metrics::Metric};

use self::metrics::MeasuredConnectors;
pub use domain::Policy;

/// The inventory, as a process registers it.
pub fn service(policy: Policy, clock: Clock) -> Definition<Inventory> {
    Definition::new(Inventory::new(policy, clock))
}

/// The inventory, as the engine sees it.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// What this installation chose.
    pub policy: Policy,
    /// The present, for what is measured; a rule gets the time of its batch.
    pub clock: Clock,
    measured: MeasuredConnectors,
}

impl Inventory {
    fn new(policy: Policy, clock: Clock) -> Self {
        Self { policy, clock, measured: MeasuredConnectors::default() }
    }
}

impl Service for Inventory {
    const NAME: &'static str = "inventory";
    const SOURCES: &'static [Source] = &[
        Source { service: "order", events: &["placed", "authorized", "cancelled"], replica: false },
        Source { service: "catalog", events: &["created", "updated", "archived"], replica: true },
        Source { service: "shop", events: &["created", "changed"], replica: true },
    ];
    const TABLES: &'static [Table] = store::TABLES;
    const FORMAT: u32 = 8;
    const METRICS: &'static [Metric] = &metrics::ALL;
    const TIMERS: &'static [Timer<domain::Input>] = &[store::HOLD_DEADLINE, store::SHORT_DEADLINE];
}
