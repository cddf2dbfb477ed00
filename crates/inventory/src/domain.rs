//! What the inventory decides. No I/O, no clock, no async.

mod keys;
mod reservation;
mod stock;
#[cfg(test)]
pub(crate) mod tests;

use std::{collections::HashMap, fmt, sync::Arc};

use engine::{Decision, Recorded, Rows};
use events::{
    id::{Connector, DocumentId, Location, OrderId, Sku},
    time::Timestamp,
    view::Shortage,
};

pub(crate) use keys::Keys;
pub(crate) use reservation::{Reservation, Status};
pub(crate) use stock::{MOST_SHORT_ORDERS, Sequences, Stock, Watched};

use crate::Policy;

/// A SKU at a location: what is counted and promised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StockId {
    /// The stock keeping unit.
    pub sku: Sku,
    /// Where the units are.
    pub location: Location,
}

impl fmt::Display for StockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.sku, self.location)
    }
}

/// Units of one stock for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The stock.
    pub stock: StockId,
    /// The units; more than 0.
    pub units: i64,
}

/// The lines of an order, one for each stock, by SKU. Shared by an event and the row it changes.
pub(crate) type Lines = Arc<[Line]>;

/// The name of a document: the same one has one effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// The connector that pushed it.
    pub connector: Connector,
    /// Its id in the connector's system.
    pub id: DocumentId,
}

/// Where a stock line came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub key: DocumentKey,
    /// The connector's own ascending number: what is newer has the larger one.
    pub sequence: i64,
}

/// What a document says about the units on hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// They are this many.
    Counted(i64),
    /// They change by this.
    Added(i64),
}

/// A document that had its effect, without the words that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The stock that it was about.
    pub stock: StockId,
    /// The connector's own ascending number.
    pub sequence: i64,
    /// What it said.
    pub units: Units,
}

/// A product that the catalogue has, sold or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product;

/// The rows of one shop that some inputs touch.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The copy of the catalogue: which SKUs there are.
    pub products: Rows<Sku, Product>,
    /// What there is, and how much of it is promised.
    pub stocks: Rows<StockId, Stock>,
    /// The documents that had their effect.
    pub documents: Rows<DocumentKey, Remembered>,
    /// What was done for each order.
    pub reservations: Rows<OrderId, Reservation>,
    /// How many orders were ever held.
    pub orders_held: u64,
    /// The last of them, since the load: their promises are to be saved.
    pub reserved: Vec<OrderId>,
    /// What deciding on a stock line may need to know, for the stocks that there are lines of.
    /// Never saved.
    pub watched: HashMap<StockId, Watched>,
}

impl State {
    /// The version so far of the aggregate that `event` belongs to.
    pub(crate) fn version(&self, event: &Event) -> u64 {
        match event {
            Event::Stock(id, _) => self.stocks.get(id).map_or(0, |row| row.version),
            Event::Reservation(id, _) => self.reservations.get(id).map_or(0, |row| row.version),
        }
    }
}

/// One stock line of an ERP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockLine {
    /// The stock.
    pub stock: StockId,
    /// Where the line came from.
    pub document: Document,
    /// What it says.
    pub units: Units,
    /// Why, in the connector's words; empty for a count.
    pub reason: String,
}

/// What the inventory decides on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An ERP pushes stock lines, each for itself. A later line is decided on what the earlier
    /// ones leave.
    RecordStock {
        /// The lines.
        lines: Vec<StockLine>,
    },
    /// A customer placed an order.
    Placed {
        /// The order.
        order_id: OrderId,
        /// What is ordered.
        lines: Lines,
    },
    /// The payment of an order is authorised.
    Authorized {
        /// The order.
        order_id: OrderId,
    },
    /// An order is off.
    Cancelled {
        /// The order.
        order_id: OrderId,
    },
    /// The deadline of a hold has passed.
    HoldDue {
        /// The order.
        order_id: OrderId,
    },
    /// The catalogue has a product; feeds the copy, decides nothing.
    ProductKnown {
        /// The stock keeping unit.
        sku: Sku,
    },
}

/// The lines of an order that weigh as much as one stock line: a stock line brings an event and a
/// document to write, a line of an order only a stock row, which many orders share.
const ORDER_LINES_A_WEIGHT: usize = 32;

impl Input {
    /// How much of a batch it takes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::RecordStock { lines } => lines.len(),
            Self::Placed { lines, .. } => lines.len().div_ceil(ORDER_LINES_A_WEIGHT).max(1),
            Self::Authorized { .. }
            | Self::Cancelled { .. }
            | Self::HoldDue { .. }
            | Self::ProductKnown { .. } => 1,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// To a stock.
    Stock(StockId, StockFact),
    /// To the reservation of an order.
    Reservation(OrderId, ReservationFact),
}

impl Event {
    /// The aggregate that it belongs to.
    pub(crate) fn aggregate(&self) -> String {
        match self {
            Self::Stock(id, _) => id.to_string(),
            Self::Reservation(id, _) => id.to_string(),
        }
    }
}

/// What happened to a stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StockFact {
    /// The ERP counted the units on hand.
    Counted {
        /// Where the count came from.
        document: Document,
        /// The units counted.
        quantity: i64,
        /// The units on hand after it: those counted, and what newer adjustments changed since.
        on_hand: i64,
    },
    /// The ERP added units, or took some.
    Adjusted {
        /// Where the adjustment came from.
        document: Document,
        /// The units added.
        delta: i64,
        /// Why, in the connector's words.
        reason: String,
        /// The units on hand after it.
        on_hand: i64,
    },
    /// More is promised than there is, because the ERP went below it.
    Short {
        /// The units on hand.
        on_hand: i64,
        /// The units held for, or allocated to, orders.
        promised: i64,
        /// The orders that have them, the newest first, at most [`MOST_SHORT_ORDERS`].
        order_ids: Vec<OrderId>,
    },
}

/// What happened to the reservation of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReservationFact {
    /// All lines are held.
    Reserved {
        /// What is held.
        lines: Lines,
        /// When the hold runs out.
        expires_at: Timestamp,
    },
    /// The order cannot be held: nothing of it is.
    Refused {
        /// Each SKU that there is too little of.
        shortages: Vec<Shortage>,
    },
    /// The units belong to the order.
    Allocated {
        /// What is allocated.
        lines: Lines,
    },
    /// The hold had run out, and the units are gone.
    Lost {
        /// Each SKU that there is too little of.
        shortages: Vec<Shortage>,
    },
    /// The units are free again.
    Released {
        /// What is free again.
        lines: Lines,
        /// Why.
        reason: ReleaseReason,
    },
}

/// Why units are free again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseReason {
    /// The order was cancelled.
    Cancelled,
    /// The hold ran out.
    Expired,
}

/// Decides which facts follow from `input`, and what its sender is told.
pub(crate) fn decide(
    state: &State,
    policy: Policy,
    input: &Input,
    now: Timestamp,
) -> Decision<Event> {
    let (order_id, fact) = match input {
        Input::RecordStock { lines } => return stock::record(state, lines),
        Input::ProductKnown { .. } => return Decision::nothing(),
        Input::Placed { order_id, lines } => {
            (order_id, reservation::hold(state, *order_id, lines, now + policy.hold_ttl))
        }
        Input::Authorized { order_id } => (order_id, reservation::allocate(state, *order_id)),
        Input::Cancelled { order_id } => (order_id, reservation::cancel(state, *order_id)),
        Input::HoldDue { order_id } => (order_id, reservation::expire(state, *order_id, now)),
    };
    Decision::events(fact.map(|fact| Event::Reservation(*order_id, fact)).into_iter().collect())
}

/// Folds a fact into the state.
pub(crate) fn apply(state: &mut State, recorded: &Recorded<Event>) {
    match &recorded.event {
        Event::Stock(id, fact) => stock::apply(state, id, fact, recorded.version),
        Event::Reservation(id, fact) => {
            reservation::apply(state, *id, fact, recorded.version, &recorded.context);
        }
    }
}

/// Folds a fact of the catalogue into the copy of it.
pub(crate) fn copy(state: &mut State, input: &Input) {
    match input {
        Input::ProductKnown { sku } => {
            if state.products.get(sku).is_none() {
                state.products.put(sku.clone(), Product);
            }
        }
        // The engine gives only the catalogue's events to `copy`.
        Input::RecordStock { .. }
        | Input::Placed { .. }
        | Input::Authorized { .. }
        | Input::Cancelled { .. }
        | Input::HoldDue { .. } => {}
    }
}
