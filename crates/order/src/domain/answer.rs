//! What the sender of a command is answered.

use engine::Recorded;
use events::{
    id::{OrderId, Sku},
    money::Money,
};
use protocol::time::Timestamp;

use super::{Event, Fact, OrderStatus};

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To one that places an order.
    Place(PlaceAnswer),
    /// To one that cancels an order.
    Cancel(CancelAnswer),
}

/// The answer to a command that places an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceAnswer {
    /// The order is placed. With what was asked for, this is all of the order as it stands then.
    Placed {
        /// Its id.
        order_id: OrderId,
        /// Lines and charges together.
        total: Money,
        /// The price of one unit of each line, in minor units of the total's currency.
        unit_prices: Vec<i64>,
        /// When it was placed.
        placed_at: Timestamp,
    },
    /// The order was placed by an earlier command.
    PlacedBefore {
        /// Its id.
        order_id: OrderId,
    },
    /// An order of this shop has this reference already.
    ReferenceTaken {
        /// That order.
        order_id: OrderId,
    },
    /// Some lines cannot be sold.
    Refused {
        /// What is wrong, line by line.
        problems: Vec<LineProblem>,
    },
    /// Lines and charges together are out of the range of a total.
    TotalOutOfRange,
}

/// What is wrong with a line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// The line's index, from 0.
    pub line: usize,
    /// Its SKU.
    pub sku: Sku,
    /// What is wrong with it.
    pub code: LineProblemCode,
}

/// What can be wrong with a line of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineProblemCode {
    /// The catalogue has no such product.
    UnknownSku,
    /// The product is no longer sold.
    Discontinued,
    /// The product's price is in another currency than the order.
    OtherCurrency,
}

/// The answer to a command that cancels an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The order is cancelled, now or before.
    Cancelled,
    /// It is too late: the order stands.
    TooLate {
        /// What has become of it.
        status: OrderStatus,
    },
    /// The shop has no such order.
    NotFound,
}

impl From<PlaceAnswer> for Answer {
    fn from(answer: PlaceAnswer) -> Self {
        Self::Place(answer)
    }
}

impl From<CancelAnswer> for Answer {
    fn from(answer: CancelAnswer) -> Self {
        Self::Cancel(answer)
    }
}

/// The answer that an event says by itself.
pub(super) fn implied(recorded: &Recorded<Event>) -> Option<Answer> {
    let Event { order_id, fact } = &recorded.event;
    match fact {
        Fact::Placed { content, total, .. } => {
            let unit_prices = content.lines.iter().map(|line| line.unit_price).collect();
            let (order_id, placed_at) = (*order_id, recorded.time);
            let total = *total;
            Some(PlaceAnswer::Placed { order_id, total, unit_prices, placed_at }.into())
        }
        Fact::Cancelled(_) => Some(CancelAnswer::Cancelled.into()),
        Fact::PaymentDue { .. }
        | Fact::Authorized { .. }
        | Fact::Confirmed { .. }
        | Fact::Paid { .. } => None,
    }
}
