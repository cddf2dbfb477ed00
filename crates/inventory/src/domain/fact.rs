//! What can happen to a stock, to the reservation of an order and to a location.

use events::id::{Connector, Location, OrderId, TransferId};
use protocol::time::Timestamp;

use super::{
    ConnectorFact, Document, Levels, Limits, Line, Lines, LocationFact, ShortOrders, Shortage,
    StockId,
};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// To a stock.
    Stock(StockId, StockFact),
    /// To the reservation of an order.
    Reservation(OrderId, ReservationFact),
    /// To a location.
    Location(Location, LocationFact),
    /// To lines of a connector as such.
    Connector(Connector, ConnectorFact),
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
        /// The units on hand before it.
        before: i64,
        /// The units after it. On hand are those counted, and what newer adjustments changed since.
        after: Level,
    },
    /// The ERP added units, or took some.
    Adjusted {
        /// Where the adjustment came from.
        document: Document,
        /// The units added.
        delta: i64,
        /// Why, in the connector's words.
        reason: String,
        /// The units after it.
        after: Level,
    },
    /// Units have left for another location.
    Sent {
        /// Where the line came from.
        document: Document,
        /// The transfer.
        transfer: TransferId,
        /// The location that they are for.
        to: Location,
        /// The units that have left.
        quantity: i64,
        /// Whether a count was made without them already: a newer one of the connector, or one of
        /// another as of a later time.
        in_count: bool,
        /// The units after it.
        after: Level,
        /// The units on their way to the target after it.
        incoming: i64,
    },
    /// Units have come from another location.
    Received {
        /// Where the line came from.
        document: Document,
        /// The transfer.
        transfer: TransferId,
        /// The location that they come from.
        from: Location,
        /// The units that have come.
        quantity: i64,
        /// Those of them that were not on their way by the transfer.
        excess: i64,
        /// Those that were on their way by it and will not come.
        missing: i64,
        /// Whether no more will come.
        is_last: bool,
        /// Whether a count was made with them already: a newer one of the connector, or one of
        /// another as of a later time.
        in_count: bool,
        /// The units after it.
        after: Level,
        /// The units on their way to the location after it.
        incoming: i64,
    },
    /// Other units are sold, or not.
    LimitsChanged {
        /// The limits before.
        before: Limits,
        /// The limits now.
        after: Limits,
        /// The units, which are the same before and after it.
        level: Level,
    },
    /// More is promised than there is, because the ERP went below it.
    Short {
        /// The units on hand.
        on_hand: i64,
        /// The units held for, or allocated to, orders.
        promised: i64,
        /// The units that may be promised beyond those on hand.
        backorder_limit: i64,
        /// The orders that cannot be served.
        orders: ShortOrders,
    },
    /// Units have left for an order.
    Shipped {
        /// Where the goods issue came from.
        document: Document,
        /// The order.
        order_id: OrderId,
        /// The order's line, where the connector knows it; otherwise empty.
        line_id: String,
        /// The units that have left.
        quantity: i64,
        /// Those of them that were held for the order or allocated to it, here or elsewhere.
        from_allocation: i64,
        /// Those of the others that were held for it until its hold ran out, here or elsewhere.
        from_expired: i64,
        /// Those that were so at other locations, and are free there again, with the units after it.
        freed: Vec<(Line, Level)>,
        /// Whether a count was made without them already: a newer one of the connector, or one of
        /// another as of a later time.
        in_count: bool,
        /// The units after it.
        after: Level,
    },
}

impl StockFact {
    /// The document that it follows from, where it follows from one.
    pub(crate) fn document(&self) -> Option<&Document> {
        match self {
            Self::Counted { document, .. }
            | Self::Adjusted { document, .. }
            | Self::Sent { document, .. }
            | Self::Received { document, .. }
            | Self::Shipped { document, .. } => Some(document),
            Self::LimitsChanged { .. } | Self::Short { .. } => None,
        }
    }
}

/// The units of a stock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// On hand.
    pub on_hand: i64,
    /// Held for orders that are not yet paid for.
    pub held: i64,
    /// Allocated to orders.
    pub allocated: i64,
}

impl Level {
    /// The units that nobody was promised; below 0 when more is promised than there is.
    pub(crate) fn free(self) -> i64 {
        self.on_hand - self.promised()
    }

    /// The units that are held or allocated.
    pub(crate) fn promised(self) -> i64 {
        self.held + self.allocated
    }
}

/// What happened to the reservation of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReservationFact {
    /// All lines are held.
    Reserved {
        /// What is held.
        lines: Lines,
        /// The units of each stock after it.
        after: Levels,
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
        /// The units of each stock after it.
        after: Levels,
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
        /// The units of each stock after it.
        after: Levels,
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
