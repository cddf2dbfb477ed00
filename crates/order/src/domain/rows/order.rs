//! An order as it is.

use engine::{Context, Revision};
use events::{money::Money, shop::Capture};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::{
    Action, Awaits, CancelReason, Failure, Hold, ON_ACCOUNT, OrderStatus, PaymentStatus, Statuses,
};

/// An order as it is: what each step of the saga looks at and rewrites. Kept small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub(crate) statuses: Statuses,
    pub(crate) awaits: Awaits,
    /// Its version, and where its last event is.
    pub(crate) revision: Revision,
    /// The shop's own number of it.
    pub(crate) number: u64,
    /// Lines and charges together.
    pub(crate) total: Money,
    /// How it is paid: by the last payment, or the next one.
    pub(crate) payment_method: String,
    /// The payments that were started, from the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) payments: Vec<OrderPayment>,
    /// When its money is captured, since its first payment began.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) capture: Capture,
    /// What payment was asked to capture, in minor units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) capture_requested: i64,
    /// Until when the stock is held, or stays allocated without being paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held_until: Option<Timestamp>,
    /// Whether its stock is known to be allocated, though it is not confirmed yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_allocated: bool,
    /// Why it is on hold, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<Hold>,
    /// Why it is cancelled, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<CancelReason>,
    /// When it is cancelled if the awaited answer has not come; none when nothing is awaited in
    /// time.
    pub(crate) deadline: Option<Timestamp>,
    /// What everything that follows from the request has in common, for what a deadline leads to.
    pub(crate) context: Context,
    pub(crate) placed_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A payment of an order; amounts in minor units of its total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderPayment {
    pub(crate) status: PaymentStatus,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) captured: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) refunded: i64,
    /// Why it failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
    /// What the customer must do, while that is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<Action>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_default(capture: &Capture) -> bool {
    *capture == Capture::default()
}

impl Order {
    /// Whether somebody is to be asked for its money: it costs something, and is not on account.
    pub(crate) fn needs_payment(&self) -> bool {
        self.total.minor > 0 && self.payment_method != ON_ACCOUNT
    }

    /// The number of the last payment that was started; 0 when there is none.
    pub(crate) fn last_payment(&self) -> u32 {
        self.payments.len() as u32
    }

    /// Whether the last payment is neither authorised nor failed.
    pub(crate) fn is_payment_open(&self) -> bool {
        let status = self.payments.last().map(|payment| payment.status);
        matches!(status, Some(PaymentStatus::Pending | PaymentStatus::ActionRequired))
    }

    /// Whether the last payment is authorised.
    pub(crate) fn is_payment_authorized(&self) -> bool {
        self.payments.last().is_some_and(|it| it.status == PaymentStatus::Authorized)
    }

    /// Whether the customer is known to be asked for this already.
    pub(crate) fn is_asking_for(&self, action: &Action) -> bool {
        self.payments.last().is_some_and(|payment| payment.action.as_ref() == Some(action))
    }

    /// Why the last payment failed, if it did.
    pub(crate) fn last_failure(&self) -> Option<&Failure> {
        self.payments.last()?.failure.as_ref()
    }

    /// What is captured in all.
    pub(crate) fn captured(&self) -> i64 {
        self.payments.iter().map(|payment| payment.captured).sum()
    }

    /// What is refunded in all.
    pub(crate) fn refunded(&self) -> i64 {
        self.payments.iter().map(|payment| payment.refunded).sum()
    }

    /// Whether its saga has ended: it is cancelled, or confirmed and nothing is awaited but shipments.
    pub(crate) fn is_settled(&self) -> bool {
        match self.statuses.0 {
            OrderStatus::Placed => false,
            OrderStatus::Confirmed => {
                self.awaits == Awaits::Nothing
                    || self.statuses.1 == PaymentStatus::Paid
                    || self.capture == Capture::OnShipment
            }
            OrderStatus::Completed | OrderStatus::Cancelled => true,
        }
    }
}
