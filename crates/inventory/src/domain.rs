//! What the inventory decides. No I/O, no clock, no async.

mod adjustments;
mod answer;
mod arrivals;
mod connectors;
mod document;
mod effect;
mod fact;
mod goods_issues;
mod invalid;
mod limits;
mod locations;
mod orders;
mod redrive;
mod rejections;
mod reservation;
mod settings;
mod short;
mod stock;
mod stock_id;
#[cfg(test)]
pub(crate) mod tests;
mod transfers;

use std::{sync::Arc, time::Duration};

use engine::{Aggregate, Decision, Recorded, Revision, Rows, Rules};
use events::id::{Connector, Location, OrderId, Sku};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use adjustments::{Adjustments, AdjustmentsKey, Chunk, ChunkKey};
pub(crate) use answer::{Answer, LimitsResult, StockResult};
pub(crate) use arrivals::{Arrivals, SequenceRun};
pub(crate) use connectors::{ConnectorFact, ConnectorRow, RejectionOutcome};
pub(crate) use document::{AppliedDocument, Document, DocumentKey, Sequence, Units};
pub(crate) use fact::{Event, Level, ReleaseReason, ReservationFact, StockFact};
pub(crate) use invalid::{InvalidLine, LineError};
pub(crate) use limits::Limits;
pub(crate) use locations::{
    LocationDetails, LocationFact, LocationKind, LocationResult, LocationRow, Locations,
    LocationsKey, Wanted,
};
pub(crate) use orders::{BlockKey, Counters, CountersKey, OrderBlock};
pub(crate) use rejections::{
    Rejected, RejectedKey, RejectedLine, RejectedNumber, Rejection, RejectionKey,
};
pub(crate) use reservation::{Reservation, Shortage};
pub(crate) use settings::{SettingsKey, ShopSettings};
pub(crate) use short::{ShortList, ShortOrders};
pub(crate) use stock::Stock;
pub(crate) use stock_id::StockId;
pub(crate) use transfers::{Transfer, TransferKey};

use crate::Inventory;

/// What an installation may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long units are held for an order whose payment is not authorised yet, unless its shop
    /// says otherwise.
    pub hold_ttl: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { hold_ttl: Duration::from_mins(15) }
    }
}

/// Units of one stock for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The stock.
    pub stock: StockId,
    /// The units; more than 0.
    pub units: i64,
}

/// The lines of an order, one for each stock. Shared by an event and the row it changes.
pub(crate) type Lines = Arc<[Line]>;

/// The units of the stocks of some lines, in the order of the lines.
pub(crate) type Levels = Arc<[Level]>;

/// A product that the catalogue has, sold or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {}

/// The rows of one shop that are in memory.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The replica of the catalogue: which SKUs there are.
    pub products: Rows<Sku, Product>,
    /// The locations.
    pub locations: Rows<LocationsKey, Locations>,
    /// The replica of the shop's settings, as far as stock depends on them.
    pub settings: Rows<SettingsKey, ShopSettings>,
    /// What there is, and how much of it is promised.
    pub stocks: Rows<StockId, Stock>,
    /// The goods on their way between locations.
    pub transfers: Rows<TransferKey, Transfer>,
    /// The documents that had their effect.
    pub documents: Rows<DocumentKey, AppliedDocument>,
    /// The last adjustments of each stock.
    pub adjustments: Rows<AdjustmentsKey, Adjustments>,
    /// The adjustments before those.
    pub chunks: Rows<ChunkKey, Chunk>,
    /// What was done for each order.
    pub reservations: Rows<OrderId, Reservation>,
    /// Which orders have units of each stock.
    pub order_blocks: Rows<BlockKey, OrderBlock>,
    /// The stocks of which orders that cannot be served are still to be named.
    pub short_lists: Rows<StockId, ShortList>,
    /// What is counted for the shop.
    pub counters: Rows<CountersKey, Counters>,
    /// What has come from each connector.
    pub connectors: Rows<Connector, ConnectorRow>,
    /// The lines that were rejected.
    pub rejections: Rows<RejectionKey, Rejection>,
    /// The number of the rejection of each of them.
    pub rejected: Rows<RejectedKey, RejectedNumber>,
}

/// One stock line of an ERP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockLine {
    /// The stock.
    pub stock: StockId,
    /// Where the line came from.
    pub document: Document,
    /// What it says.
    pub units: Units,
    /// The units on hand that the connector expects before it; where there are others, nothing changes.
    pub expected: Option<i64>,
    /// Why an adjustment is made, in the connector's words; otherwise empty.
    pub reason: String,
    /// The order's line that a goods issue is for, where the connector knows it; otherwise empty.
    pub line_id: String,
}

/// What the inventory decides on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An ERP pushes stock lines, each for itself. A later line is decided on what the earlier
    /// ones leave.
    RecordStock {
        /// The lines.
        lines: Vec<StockLine>,
        /// The indexes of those that name no location: they are of the shop's default location.
        unlocated: Vec<usize>,
        /// What came with them and is no stock line, each with how many of them stood before it.
        invalid: Vec<(usize, InvalidLine)>,
    },
    /// Rejected lines are tried again.
    Redrive {
        /// The connector.
        connector: Connector,
        /// The numbers of the rejections.
        numbers: Vec<u64>,
    },
    /// Rejected lines are dropped.
    DropRejections {
        /// The connector.
        connector: Connector,
        /// The numbers of the rejections.
        numbers: Vec<u64>,
        /// Why.
        reason: String,
    },
    /// A location is created, or brought into a state.
    PutLocation {
        /// Its code.
        code: Location,
        /// What it is to be.
        details: LocationDetails,
        /// The only version at which it is put; `None`: at any.
        expected_version: Option<u64>,
    },
    /// The limits of a stock are set.
    SetLimits {
        /// The stock.
        stock: StockId,
        /// The limits.
        limits: Limits,
        /// The only limits in whose place they are set; `None`: whatever they are.
        expected: Option<Limits>,
    },
    /// A customer placed an order.
    Placed {
        /// The order.
        order_id: OrderId,
        /// What is ordered.
        wanted: Wanted,
    },
    /// The payment of an order is authorised.
    Authorized {
        /// The order.
        order_id: OrderId,
    },
    /// An order is cancelled.
    Cancelled {
        /// The order.
        order_id: OrderId,
    },
    /// The deadline of a hold has passed.
    HoldDue {
        /// The order.
        order_id: OrderId,
    },
    /// Orders that cannot be served are still to be named.
    ShortDue {
        /// The stock.
        stock: StockId,
    },
    /// The catalogue has a product; feeds the replica, decides nothing.
    ProductKnown {
        /// The stock keeping unit.
        sku: Sku,
    },
    /// How the shop works from now on; feeds the replica, decides nothing.
    SettingsKnown(ShopSettings),
}

/// The lines of an order that weigh as much as one stock line: a stock line brings an event and a
/// document to write, a line of an order only a stock row, which many orders share.
const ORDER_LINES_PER_WEIGHT: usize = 32;

impl Rules for Inventory {
    type State = State;

    fn aggregate(event: &Event) -> Aggregate {
        match event {
            Event::Stock(id, _) => Aggregate::new("stock", id),
            Event::Reservation(id, _) => Aggregate::new("reservation", id),
            Event::Location(code, _) => Aggregate::new("location", code),
            Event::Connector(connector, _) => Aggregate::new("connector", connector),
        }
    }

    fn revision(state: &State, event: &Event) -> Revision {
        let revision = match event {
            Event::Stock(id, _) => state.stocks.get(id).map(|row| row.revision),
            Event::Reservation(id, _) => state.reservations.get(id).map(|row| row.revision),
            Event::Location(code, _) => locations::revision(state, code),
            Event::Connector(connector, _) => {
                state.connectors.get(connector).map(|row| row.revision)
            }
        };
        revision.unwrap_or_default()
    }

    fn weight(input: &Input) -> usize {
        match input {
            Input::RecordStock { lines, invalid, .. } => lines.len() + invalid.len(),
            Input::Redrive { numbers, .. } => numbers.len(),
            Input::Placed { wanted, .. } => wanted.len().div_ceil(ORDER_LINES_PER_WEIGHT).max(1),
            Input::PutLocation { .. }
            | Input::DropRejections { .. }
            | Input::SetLimits { .. }
            | Input::Authorized { .. }
            | Input::Cancelled { .. }
            | Input::HoldDue { .. }
            | Input::ShortDue { .. }
            | Input::ProductKnown { .. }
            | Input::SettingsKnown(_) => 1,
        }
    }

    fn decide(&self, state: &State, input: &Input, now: Timestamp) -> Decision<Event, Answer> {
        decide(self.policy, state, input, now)
    }

    fn implied_answer(recorded: &Recorded<Event>) -> Option<Answer> {
        match &recorded.event {
            Event::Stock(
                _,
                StockFact::Counted { .. } | StockFact::Adjusted { .. } | StockFact::Sent { .. },
            ) => Some(Answer::Stock(vec![StockResult::Applied])),
            Event::Stock(_, StockFact::Received { excess, missing, .. }) => {
                Some(Answer::Stock(vec![transfers::result_of_receipt(*excess, *missing)]))
            }
            Event::Stock(_, StockFact::Shipped { quantity, from_allocation, freed, .. }) => {
                let units = (*quantity, *from_allocation);
                Some(Answer::Stock(vec![goods_issues::result(units, !freed.is_empty())]))
            }
            Event::Stock(_, StockFact::LimitsChanged { .. }) => {
                Some(Answer::Limits(LimitsResult::Changed))
            }
            Event::Location(_, LocationFact::Created(_)) => {
                Some(Answer::Location(LocationResult::Created, recorded.version))
            }
            Event::Location(_, LocationFact::Changed { .. }) => {
                Some(Answer::Location(LocationResult::Changed, recorded.version))
            }
            Event::Stock(_, StockFact::Short { .. })
            | Event::Reservation(..)
            | Event::Connector(..) => None,
        }
    }

    fn apply(state: &mut State, recorded: &Recorded<Event>) {
        let revision = recorded.revision();
        match &recorded.event {
            Event::Stock(id, fact) => {
                stock::apply(state, id, fact, revision, recorded.time);
                if let Some(document) = fact.document() {
                    connectors::note_applied(state, document, recorded.time);
                }
                if let StockFact::Short { orders, .. } = fact {
                    short::apply(state, id, orders, recorded);
                }
            }
            Event::Reservation(id, fact) => {
                reservation::apply(state, *id, fact, revision, &recorded.context);
            }
            Event::Location(code, fact) => locations::apply(state, code, fact, revision),
            Event::Connector(connector, fact) => {
                connectors::apply(state, connector, fact, revision, recorded.time);
            }
        }
    }

    fn replicate(state: &mut State, input: &Input) {
        match input {
            Input::ProductKnown { sku } => {
                if state.products.get(sku).is_none() {
                    state.products.put(sku.clone(), Product {});
                }
            }
            Input::SettingsKnown(settings) => state.settings.put(SettingsKey, settings.clone()),
            // The engine gives only the events of the catalogue and of the shop to `replicate`.
            Input::RecordStock { .. }
            | Input::Redrive { .. }
            | Input::DropRejections { .. }
            | Input::PutLocation { .. }
            | Input::SetLimits { .. }
            | Input::Placed { .. }
            | Input::Authorized { .. }
            | Input::Cancelled { .. }
            | Input::HoldDue { .. }
            | Input::ShortDue { .. } => {}
        }
    }
}

/// Decides which facts follow from `input`, and the answer to its sender.
fn decide(policy: Policy, state: &State, input: &Input, now: Timestamp) -> Decision<Event, Answer> {
    let (order_id, fact) = match input {
        Input::RecordStock { lines, unlocated, invalid } => {
            let lines = settings::located(state, lines, unlocated);
            let lines = (&*lines, &**invalid);
            let (events, results) = stock::record(state, lines, now, RejectionOutcome::Resent);
            // Lines that had their effect are duplicates then, so those that had none can be tried again.
            let is_any_rejected = results.iter().any(|result| result.is_rejected());
            return Decision::answered(events, Answer::Stock(results)).provisional(is_any_rejected);
        }
        Input::Redrive { connector, numbers } => {
            return redrive::redrive(state, connector, numbers, now);
        }
        Input::DropRejections { connector, numbers, reason } => {
            return redrive::drop(state, connector, numbers, reason);
        }
        Input::PutLocation { code, details, expected_version } => {
            return locations::put(state, code, details, *expected_version);
        }
        Input::SetLimits { stock, limits, expected } => {
            return limits::set(state, stock, *limits, *expected);
        }
        Input::ShortDue { stock } => {
            return Decision::events(short::go_on(state, stock).into_iter().collect());
        }
        Input::ProductKnown { .. } | Input::SettingsKnown(_) => return Decision::nothing(),
        Input::Placed { order_id, wanted } => {
            let terms = settings::hold_terms(policy, state);
            (order_id, reservation::hold(state, *order_id, wanted, terms, now))
        }
        Input::Authorized { order_id } => (order_id, reservation::allocate(state, *order_id)),
        Input::Cancelled { order_id } => (order_id, reservation::cancel(state, *order_id)),
        Input::HoldDue { order_id } => (order_id, reservation::expire(state, *order_id, now)),
    };
    Decision::events(fact.map(|fact| Event::Reservation(*order_id, fact)).into_iter().collect())
}
