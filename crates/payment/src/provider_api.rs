//! What the payment provider is asked, and what it answers, whichever provider it is.

use events::money::Money;
use protocol::{id::Shop, time::Timestamp};

/// What the provider is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The idempotency key, and our reference by which the provider can be asked later: the same
    /// key has one effect.
    pub(crate) operation_id: String,
    /// The shop whose money it is.
    pub(crate) shop: Shop,
    /// What it moves.
    pub(crate) amount: Money,
    /// What is to be done.
    pub(crate) task: Task,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// Set the amount aside.
    Authorize {
        /// The provider's token for what the customer pays with.
        payment_method: String,
    },
    /// Take the amount in one step, without setting it aside before.
    Charge {
        /// The provider's token for what the customer pays with.
        payment_method: String,
    },
    /// Take what is set aside.
    Capture {
        /// The provider's name for the authorisation.
        provider_reference: String,
    },
    /// Let go what is set aside.
    Void {
        /// The provider's name for the authorisation.
        provider_reference: String,
    },
    /// Pay back what was taken.
    Refund {
        /// The provider's name for the authorisation, or for the charge.
        provider_reference: String,
    },
}

impl Task {
    /// The task's name, as it is in logs and in the provider's ledger.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Authorize { .. } => "authorize",
            Self::Charge { .. } => "charge",
            Self::Capture { .. } => "capture",
            Self::Void { .. } => "void",
            Self::Refund { .. } => "refund",
        }
    }
}

/// What the provider says became of an operation; it stays so, unless the customer has to do something
/// first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is done.
    Approved {
        /// The provider's name for the authorisation, or for the charge.
        provider_reference: String,
    },
    /// It is refused.
    Declined {
        /// The provider's code.
        code: String,
    },
    /// The customer has to do something before it is authorised or charged.
    ActionRequired {
        /// Where it is done; empty when the client does without.
        url: String,
        /// What the provider's client needs for it; empty for nothing.
        data: String,
        /// Until when.
        expires_at: Timestamp,
    },
}

/// An answer of the provider, with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatedAnswer {
    /// What became of the operation.
    pub(crate) answer: Answer,
    /// When, by the provider's clock: when it was carried out, refused, or the action asked for.
    pub(crate) at: Timestamp,
}

/// What the provider's own ledger says of a shop in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Captured, less what was paid back.
    pub(crate) net: Money,
    /// Authorised and neither captured nor voided.
    pub(crate) held: Money,
}

/// What the provider is to list of its transactions.
#[derive(Debug, Clone)]
pub(crate) struct List {
    /// Of this shop.
    pub(crate) shop: Shop,
    /// Carried out at that time or later.
    pub(crate) from: Timestamp,
    /// Carried out before that time.
    pub(crate) until: Timestamp,
    /// The last one of the page before: when it was carried out, and its key.
    pub(crate) after: Option<(Timestamp, String)>,
    /// How many at most.
    pub(crate) limit: u32,
}

/// What the provider has done, by its own list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    /// The idempotency key.
    pub(crate) operation_id: String,
    /// What was done.
    pub(crate) task: String,
    /// The amount.
    pub(crate) amount: Money,
    /// The provider's name for the authorisation.
    pub(crate) provider_reference: String,
    /// When it was carried out.
    pub(crate) at: Timestamp,
}

/// The provider gave no answer. Only a query can say whether it did what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProviderError {
    /// No connection.
    #[error("the provider cannot be reached")]
    Unreachable,
    /// The answer did not come in time.
    #[error("the provider did not answer in time")]
    Timeout,
    /// It answered that it failed.
    #[error("the provider failed")]
    Failed,
    /// It knows the idempotency key, with other parameters. It did nothing.
    #[error("the provider knows the operation with other parameters")]
    KeyReused,
}
