//! What the sender of a command is answered.

use events::{id::PaymentId, money::Money};

use super::Operation;

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To a refund.
    Refund(RefundAnswer),
    /// To an operator's settlement.
    Settle(SettleAnswer),
}

/// The answer to a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundAnswer {
    /// The amount is paid back, or will be when nothing else is pending.
    Accepted {
        /// The payment.
        payment_id: PaymentId,
    },
    /// The order has no such payment, or none with money to be paid back.
    NotFound,
    /// Less can be paid back, or the amount is not above 0. The payment is in that currency. Nothing can be of
    /// one that has [`MAX_REFUNDS`](super::MAX_REFUNDS).
    TooLarge {
        /// The payment.
        payment_id: PaymentId,
        /// What can be paid back.
        refundable: Money,
    },
}

impl From<RefundAnswer> for Answer {
    fn from(answer: RefundAnswer) -> Self {
        Self::Refund(answer)
    }
}

/// The answer to an operator's settlement of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleAnswer {
    /// The operation is settled.
    Settled {
        /// The payment.
        payment_id: PaymentId,
        /// The operation.
        operation: Operation,
    },
    /// There is no such payment.
    NotFound,
    /// No operation of the payment is uncertain or stuck.
    NotStuck,
    /// What was done elsewhere must be known by the provider's name: an authorisation can be tried again
    /// or given up.
    NotApplicable,
}

impl From<SettleAnswer> for Answer {
    fn from(answer: SettleAnswer) -> Self {
        Self::Settle(answer)
    }
}
