//! What the sender of a command is answered.

use engine::Recorded;
use events::{
    id::{OrderId, PaymentId, Sku},
    money::{Currency, Money},
};
use protocol::time::Timestamp;

use super::{Event, Fact, Statuses};

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To one that places an order.
    Place(PlaceAnswer),
    /// To one that cancels an order.
    Cancel(CancelAnswer),
    /// To one that starts a payment.
    StartPayment(StartPaymentAnswer),
    /// To one that takes an order off hold.
    Release(ReleaseAnswer),
}

/// The answer to a command that places an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceAnswer {
    /// The order is placed. With what was asked for, this is all of the order as it stands then.
    Placed {
        /// Its id.
        order_id: OrderId,
        /// The shop's own number of it.
        number: u64,
        /// Lines and charges together.
        total: Money,
        /// The price of one unit of each line, in minor units of the total's currency.
        unit_prices: Vec<i64>,
        /// The title of each line.
        titles: Vec<String>,
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
    /// The order costs something else than was expected.
    TotalMismatch {
        /// What was expected.
        expected: Money,
        /// What it costs.
        total: Money,
    },
    /// The shop sells nothing on account.
    OnAccountRefused,
    /// The shop sells in another currency.
    CurrencyRefused {
        /// The one that it sells in.
        currency: Currency,
    },
    /// The shop does not sell to the order's country.
    CountryRefused,
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
    /// Tax is in the product's price and not in those of the order, or the other way round.
    OtherTaxBasis,
    /// Its discounts are more than it costs.
    DiscountTooLarge,
    /// Its tax does not follow from its rate.
    TaxMismatch,
}

/// The answer to a command that cancels an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The order is cancelled, now or before.
    Cancelled,
    /// It is too late, since a part of the order has shipped: the order stands.
    TooLate {
        /// What has become of it.
        statuses: Statuses,
    },
    /// The shop has no such order.
    NotFound,
}

/// The answer to a command that starts a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPaymentAnswer {
    /// It is started.
    Started {
        /// Its id.
        payment_id: PaymentId,
        /// What is to be authorised.
        amount: Money,
        /// When the order is cancelled if the payment has not answered.
        due_by: Timestamp,
    },
    /// None is due: the last payment has not failed, or the stock is no longer held; or it was to be on
    /// account, by which nothing is taken; or the order has [`MAX_PAYMENTS`](super::MAX_PAYMENTS).
    NotDue {
        /// What has become of the order.
        statuses: Statuses,
    },
    /// The shop has no such order.
    NotFound,
}

/// The answer to a command that takes an order off hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseAnswer {
    /// It is not on hold, since now or before.
    Released,
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

impl From<StartPaymentAnswer> for Answer {
    fn from(answer: StartPaymentAnswer) -> Self {
        Self::StartPayment(answer)
    }
}

impl From<ReleaseAnswer> for Answer {
    fn from(answer: ReleaseAnswer) -> Self {
        Self::Release(answer)
    }
}

/// The answer that an event says by itself, when a command led to it.
pub(super) fn implied(recorded: &Recorded<Event>) -> Option<Answer> {
    let Event { order_id, summary, fact } = &recorded.event;
    let order_id = *order_id;
    match fact {
        Fact::Placed { lines, .. } => {
            let placed = PlaceAnswer::Placed {
                order_id,
                number: summary.number,
                total: summary.total,
                unit_prices: lines.iter().map(|line| line.unit_price).collect(),
                titles: lines.iter().map(|line| line.title.clone()).collect(),
                placed_at: recorded.time,
            };
            Some(placed.into())
        }
        Fact::PaymentDue { payment, amount, due_by, .. } => {
            let payment_id = PaymentId { order_id, number: *payment };
            let (amount, due_by) = (*amount, *due_by);
            Some(StartPaymentAnswer::Started { payment_id, amount, due_by }.into())
        }
        Fact::TakenOffHold { .. } => Some(ReleaseAnswer::Released.into()),
        Fact::Cancelled { .. } => Some(CancelAnswer::Cancelled.into()),
        Fact::PaymentFailed { .. }
        | Fact::ActionRequired { .. }
        | Fact::Authorized { .. }
        | Fact::Confirmed { .. }
        | Fact::PartCaptured { .. }
        | Fact::Paid { .. }
        | Fact::Shipped { .. }
        | Fact::Completed
        | Fact::Refunded { .. }
        | Fact::PutOnHold(_) => None,
    }
}
