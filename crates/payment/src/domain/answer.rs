//! What the sender of a command is answered.

use events::id::PaymentId;

use super::Operation;

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To an operator's settlement.
    Settle(SettleAnswer),
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
