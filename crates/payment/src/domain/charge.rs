//! A payment as it is, and how each fact changes it.

use engine::Context;
use events::money::Money;
use serde::{Deserialize, Serialize};

use super::Fact;

/// The payment of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payment {
    /// The order was cancelled before the payment began; it never will.
    Abandoned,
    /// The provider was asked, or is about to be.
    Begun(Charge),
}

/// A payment that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Its status.
    pub status: Status,
    /// What the order owes.
    pub amount: Money,
    /// The payment provider's token.
    pub payment_method: String,
    /// The provider's name for the authorisation; empty before it.
    pub provider_reference: String,
    /// What was taken, in minor units.
    pub captured: i64,
    /// What was paid back, in minor units.
    pub refunded: i64,
    /// Whether the order was cancelled while the provider was being asked.
    pub cancel_requested: bool,
    /// The operation whose outcome is not known yet.
    pub pending: Option<Pending>,
}

/// An operation whose outcome is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its id: the idempotency key and our reference at the provider.
    pub operation_id: String,
    /// What it moves.
    pub amount: Money,
    /// What it continues.
    pub context: Context,
}

/// The status of a payment that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The provider is asked to authorise.
    AuthorizationPending,
    /// The amount is set aside, not yet taken.
    Authorized,
    /// The provider declined to authorise.
    Declined,
    /// The provider could not be brought to authorise, and has certainly not charged.
    Failed,
    /// The provider is asked to take the amount.
    CapturePending,
    /// The amount is taken.
    Captured,
    /// The provider refused to take the amount, which is still set aside.
    CaptureFailed,
    /// The provider is asked to let the amount go.
    VoidPending,
    /// The amount is let go.
    Voided,
    /// The provider is asked to pay back.
    RefundPending,
    /// The amount is paid back.
    Refunded,
}

impl Status {
    /// The status as it is in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationPending => "authorization_pending",
            Self::Authorized => "authorized",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::CapturePending => "capture_pending",
            Self::Captured => "captured",
            Self::CaptureFailed => "capture_failed",
            Self::VoidPending => "void_pending",
            Self::Voided => "voided",
            Self::RefundPending => "refund_pending",
            Self::Refunded => "refunded",
        }
    }
}

impl Payment {
    /// The status as it is in JSON and in the database.
    pub(crate) fn status(&self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Begun(charge) => charge.status.as_str(),
        }
    }
}

impl Charge {
    /// What is authorised and neither captured nor given back, in minor units.
    pub(crate) fn held(&self) -> i64 {
        match self.status {
            Status::Authorized
            | Status::CapturePending
            | Status::CaptureFailed
            | Status::VoidPending => self.amount.minor,
            Status::AuthorizationPending
            | Status::Declined
            | Status::Failed
            | Status::Captured
            | Status::Voided
            | Status::RefundPending
            | Status::Refunded => 0,
        }
    }

    /// A payment that has just begun.
    pub(super) fn begin(pending: Pending, payment_method: &str) -> Self {
        Self {
            status: Status::AuthorizationPending,
            amount: pending.amount,
            payment_method: payment_method.to_owned(),
            provider_reference: String::new(),
            captured: 0,
            refunded: 0,
            cancel_requested: false,
            pending: Some(pending),
        }
    }

    /// Folds a fact into the payment that it happened to.
    pub(super) fn fold(&mut self, fact: &Fact, context: &Context) {
        match fact {
            Fact::CapturePending { operation_id, amount, .. } => {
                self.ask(Status::CapturePending, Pending::new(operation_id, *amount, context));
            }
            Fact::VoidPending { operation_id, amount, .. } => {
                self.ask(Status::VoidPending, Pending::new(operation_id, *amount, context));
            }
            Fact::RefundPending { operation_id, amount, .. } => {
                self.ask(Status::RefundPending, Pending::new(operation_id, *amount, context));
            }
            Fact::Authorized { provider_reference, .. } => {
                self.settle(Status::Authorized);
                self.provider_reference.clone_from(provider_reference);
            }
            Fact::Captured { amount, .. } => {
                self.settle(Status::Captured);
                self.captured += amount.minor;
            }
            Fact::Refunded { amount, .. } => {
                self.settle(Status::Refunded);
                self.refunded += amount.minor;
            }
            Fact::Declined { .. } => self.settle(Status::Declined),
            Fact::Failed { .. } => self.settle(Status::Failed),
            Fact::CaptureFailed { .. } => self.settle(Status::CaptureFailed),
            Fact::Voided { .. } => self.settle(Status::Voided),
            Fact::CancelRequested => self.cancel_requested = true,
            // With these a payment begins; they do not happen to one that has begun.
            Fact::AuthorizationPending { .. } | Fact::Abandoned => {}
        }
    }

    fn ask(&mut self, status: Status, pending: Pending) {
        self.status = status;
        self.pending = Some(pending);
    }

    fn settle(&mut self, status: Status) {
        self.status = status;
        self.pending = None;
    }
}

impl Pending {
    pub(super) fn new(operation_id: &str, amount: Money, context: &Context) -> Self {
        Self { operation_id: operation_id.to_owned(), amount, context: context.clone() }
    }
}
