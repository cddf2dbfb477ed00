//! What was asked of the provider for a payment, is to be asked, and what has become of it.

use engine::Context;
use serde::{Deserialize, Serialize};

use super::{Operation, payment::is_zero};

/// What is to be asked of the provider when nothing is pending any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// To take an amount.
    Capture {
        /// The operation.
        operation: Operation,
        /// The amount in minor units.
        amount: i64,
    },
    /// To pay an amount back.
    Refund {
        /// The refund.
        refund: Refund,
        /// The amount in minor units.
        amount: i64,
    },
}

/// Which refund an amount is paid back for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Its id, given by who asked for it; empty for what is paid back unasked: what a cancelled order has
    /// paid, and what turned up beside what an order has paid.
    pub id: String,
    /// Why.
    pub reason: String,
}

impl Refund {
    /// Whether nobody asked for it.
    pub(super) fn is_unasked(&self) -> bool {
        self.id.is_empty()
    }
}

/// What was asked of the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Its name.
    pub operation: Operation,
    /// The amount in minor units.
    pub amount: i64,
    /// What has become of it.
    pub status: TransactionStatus,
    /// The provider's code, or how it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// When it was decided, in milliseconds since 1970.
    pub at_ms: i64,
    /// When its outcome became known, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<i64>,
    /// Which refund it is for.
    #[serde(default, skip_serializing_if = "Refund::is_unasked")]
    pub refund: Refund,
}

/// What has become of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionStatus {
    /// Its outcome is not known yet.
    Pending,
    /// The provider does not say what has become of it, and is asked again.
    Uncertain,
    /// It cannot be brought to an end without an operator.
    Stuck,
    /// The provider did it, or an operator did it elsewhere.
    Done,
    /// The provider refused.
    Refused,
    /// The provider certainly did nothing.
    Failed,
    /// An operator has given it up.
    GivenUp,
}

impl TransactionStatus {
    /// Whether the outcome is known.
    pub(super) fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Uncertain | Self::Stuck => false,
            Self::Done | Self::Refused | Self::Failed | Self::GivenUp => true,
        }
    }
}

/// An operation whose outcome is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its name.
    pub operation: Operation,
    /// What it continues.
    pub context: Context,
    /// Counts what has changed about how it is carried out, from 0: see [`Payment::pending_id`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub round: i64,
    /// Why it is not simply carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// The detail of an operation that was done elsewhere, as an operator says.
pub(crate) const DONE_ELSEWHERE: &str = "done_elsewhere";

/// Why an operation is not simply carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The provider does not say what has become of it.
    Uncertain,
    /// It cannot be brought to an end without an operator.
    Stuck(StuckReason),
}

/// Why an operation cannot be brought to an end without an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StuckReason {
    /// The provider has not said for long what has become of it. It is still asked now and then.
    NoAnswer,
    /// The provider refuses what must be done. It is not asked again.
    Refused,
    /// The provider knows the operation with other parameters. It is not asked again.
    Conflict,
    /// The provider's list has the operation as done, our log has not.
    UnknownToUs,
    /// Our log has the operation as done, the provider's list has it not.
    UnknownToProvider,
    /// Both have the operation as done, with different amounts.
    AmountDiffers,
}

/// What an operator decides about an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It was done elsewhere, for example in the provider's own user interface; a difference between the
    /// provider's list and our log was put right there, or is accepted.
    DoneElsewhere,
    /// It is to be tried again.
    Retry,
    /// It will not be done.
    GiveUp,
}

/// The code of an operation that an operator has given up.
pub(crate) const GIVEN_UP: &str = "given_up";

/// What kind of trouble an operation is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// The provider does not say what has become of it.
    Uncertain,
    /// It cannot be brought to an end without an operator.
    Stuck,
}

impl Trouble {
    /// What kind it is.
    pub(crate) fn kind(self) -> TroubleKind {
        match self {
            Self::Uncertain => TroubleKind::Uncertain,
            Self::Stuck(_) => TroubleKind::Stuck,
        }
    }
}

impl TroubleKind {
    /// The kind as it is in the database.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Uncertain => "uncertain",
            Self::Stuck => "stuck",
        }
    }
}
