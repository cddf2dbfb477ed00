//! The facts about an order, and the statuses that each leads to.

use events::{
    id::Location,
    money::{Money, TaxBasis},
    sealed::Sealed,
    shop::Capture,
};
use protocol::time::Timestamp;

use super::{
    Action, Cancellation, Charge, Failure, FulfilmentStatus, Hold, Lines, OrderStatus,
    PaymentStatus, ShippedLine, Statuses,
};
use crate::{
    domain::rows::{Order, OrderContent},
    metrics::Outcome,
};

/// The most lines that an event repeats.
const MAX_REPEATED_LINES: usize = 500;

/// What can happen to an order. A `payment` is the number of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A customer placed it.
    Placed {
        country: String,
        billing_country: String,
        tax_basis: TaxBasis,
        lines: Lines,
        charges: Vec<Charge>,
        payment_method: String,
        reserve_by: Timestamp,
        personal: Option<Sealed>,
    },
    /// A payment is to be made. Its stock is held until then, or stays allocated; without a time, the order is
    /// confirmed, and the payment takes the place of one that could not be captured: so much of it is captured at once
    /// when it is authorised, and the rest with what ships later. In one step it is not authorised: its stock is
    /// allocated by then, and all of it is taken. The payment that it abandons waits for its customer: whatever that
    /// one is granted or takes after all is given back.
    PaymentDue {
        payment: u32,
        amount: Money,
        payment_method: String,
        due_by: Timestamp,
        held_until: Option<Timestamp>,
        capture: Capture,
        capture_at_once: Option<Money>,
        one_step: bool,
        abandons: Option<u32>,
    },
    /// The payment failed. Until then another one may be started; never when it failed to be captured.
    PaymentFailed { payment: u32, failure: Failure, retry_until: Option<Timestamp> },
    /// The customer must do something before the payment goes on.
    ActionRequired { payment: u32, action: Action },
    /// Its payment is authorised, or none is needed, or one is made in one step once the stock is allocated.
    Authorized { payment: Option<u32>, allocate_by: Timestamp, one_step: Option<OneStep> },
    /// Its stock is allocated.
    Confirmed { payment: Option<u32>, capture: Option<Money> },
    /// A part of its money is captured.
    PartCaptured { payment: u32, amount: Money, captured: Money },
    /// It is paid.
    Paid { payment: Option<u32>, amount: Money, listed: ListedLines },
    /// Units have left a location.
    Shipped {
        lines: Vec<ShippedLine>,
        location: Location,
        capture: Option<(u32, Money)>,
        fulfilment: FulfilmentStatus,
        /// When they left, as the goods issue says.
        occurred_at: Option<Timestamp>,
    },
    /// All has shipped and is paid.
    Completed,
    /// Money is refunded; the sums are those of the order.
    Refunded { payment: u32, refund_id: String, amount: Money, captured: Money, refunded: Money },
    /// It is not to be shipped for now.
    PutOnHold(Hold),
    /// It may be shipped again.
    TakenOffHold { note: Option<Sealed> },
    /// It is cancelled, with so many payments.
    Cancelled { cancellation: Cancellation, listed: ListedLines, payments: u32 },
}

/// A payment in one step that is due once the stock is allocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OneStep {
    pub(crate) payment_method: String,
    /// Until when the stock stays allocated without being paid.
    pub(crate) held_until: Timestamp,
}

/// The lines of an order as an event repeats them: none when there are more than
/// [`MAX_REPEATED_LINES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedLines {
    pub(crate) lines: Lines,
    pub(crate) count: u32,
    /// Whether tax is in their prices.
    pub(crate) basis: TaxBasis,
    /// The position of `placed`, which has all of them, in the log.
    pub(crate) placed_position: u64,
}

impl ListedLines {
    pub(crate) fn of(content: &OrderContent) -> Self {
        let all = &content.lines;
        let lines = if all.len() > MAX_REPEATED_LINES { Lines::default() } else { all.clone() };
        // The basis of no price is read back as the default one.
        let basis = if lines.is_empty() { TaxBasis::default() } else { content.tax_basis };
        let placed_position = content.placed_position;
        Self { lines, count: all.len() as u32, basis, placed_position }
    }
}

impl Fact {
    /// The statuses that it leads to. `order` is as it was before the facts that are decided with it.
    pub(crate) fn statuses(&self, before: Statuses, order: &Order) -> Statuses {
        match self {
            Self::Placed { lines, .. } => Statuses::placed(lines),
            Self::PaymentDue { .. } => before.with_payment(PaymentStatus::Pending),
            Self::PaymentFailed { .. } => before.with_payment(PaymentStatus::Failed),
            Self::ActionRequired { .. } => before.with_payment(PaymentStatus::ActionRequired),
            Self::Authorized { payment: Some(_), .. } => {
                before.with_payment(PaymentStatus::Authorized)
            }
            // Another one may have failed before.
            Self::Authorized { one_step: Some(_), .. } => {
                before.with_payment(PaymentStatus::Pending)
            }
            // It takes the place of one that failed; of any other it is known that it is authorised.
            Self::PartCaptured { payment, .. }
                if *payment == order.last_payment() && order.is_payment_open() =>
            {
                before.with_payment(PaymentStatus::Authorized)
            }
            Self::Confirmed { .. } => before.with_order(OrderStatus::Confirmed),
            Self::Paid { amount, .. } => {
                before.with_payment(PaymentStatus::of_paid(amount.minor, order.refunded()))
            }
            Self::Shipped { fulfilment, .. } => before.with_fulfilment(*fulfilment),
            Self::Completed => before.with_order(OrderStatus::Completed),
            // While money is still to be captured, that is what the status says.
            Self::Refunded { captured, refunded, .. }
                if before.1.is_paid() || before.0 == OrderStatus::Cancelled =>
            {
                before.with_payment(PaymentStatus::of_paid(captured.minor, refunded.minor))
            }
            Self::Cancelled { .. } => before.with_order(OrderStatus::Cancelled),
            Self::Authorized { payment: None, one_step: None, .. }
            | Self::PartCaptured { .. }
            | Self::Refunded { .. }
            | Self::PutOnHold(_)
            | Self::TakenOffHold { .. } => before,
        }
    }

    /// How the saga of the order ends with it, if it does. It ends once: where money is captured by
    /// shipment, when the order is confirmed.
    pub(super) fn outcome(&self, before: &Order) -> Option<Outcome> {
        if before.is_settled() {
            return None;
        }
        match self {
            Self::Paid { .. } => Some(Outcome::Paid),
            Self::Cancelled { .. } => Some(Outcome::Cancelled),
            Self::Confirmed { capture, .. } => {
                let is_paid_later = capture.is_none() || before.capture == Capture::OnShipment;
                is_paid_later.then_some(Outcome::Confirmed)
            }
            Self::Placed { .. }
            | Self::PaymentDue { .. }
            | Self::PaymentFailed { .. }
            | Self::ActionRequired { .. }
            | Self::Authorized { .. }
            | Self::PartCaptured { .. }
            | Self::Shipped { .. }
            | Self::Completed
            | Self::Refunded { .. }
            | Self::PutOnHold(_)
            | Self::TakenOffHold { .. } => None,
        }
    }
}
