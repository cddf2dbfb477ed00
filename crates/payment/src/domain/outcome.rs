//! What became of an operation, and the fact that follows from it.

use events::money::Money;
use protocol::time::Timestamp;

use super::{Fact, Operation, OperationKind, Refund, StuckReason, Trouble};

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider did it.
    Approved {
        /// The provider's name for the authorisation, or for the charge.
        provider_reference: String,
    },
    /// The provider refused.
    Declined {
        /// Its code, for example `insufficient_funds`.
        code: String,
    },
    /// The provider could not be brought to do it, and certainly has not.
    Failed {
        /// What was tried and how it failed.
        detail: String,
    },
    /// The customer has to do something first.
    ActionRequired {
        /// Where it is done; empty when the client does without.
        url: String,
        /// What the provider's client needs for it; empty for nothing.
        data: String,
        /// Until when.
        expires_at: Timestamp,
    },
    /// The provider knows the operation with other parameters.
    Conflict,
    /// The provider does not say.
    Silent {
        /// Whether it has not for so long that an operator is needed.
        for_long: bool,
    },
}

/// Whether a payment is in that trouble already.
pub(super) fn is_known(fact: &Fact, trouble: Option<Trouble>) -> bool {
    match fact {
        Fact::Stuck { reason, .. } => trouble == Some(Trouble::Stuck(*reason)),
        _ => trouble.is_some(),
    }
}

/// The fact that an operation has ended.
pub(super) fn settled(
    operation: Operation,
    amount: Money,
    refund: &Refund,
    outcome: &Outcome,
) -> Option<Fact> {
    let fact = match (operation.kind, outcome) {
        (OperationKind::Authorize, Outcome::Approved { provider_reference }) => {
            let provider_reference = provider_reference.clone();
            Fact::Authorized { operation, provider_reference, amount }
        }
        (OperationKind::Authorize | OperationKind::Charge, Outcome::Declined { code }) => {
            Fact::Declined { operation, code: code.clone() }
        }
        (OperationKind::Authorize | OperationKind::Charge, Outcome::Failed { detail }) => {
            Fact::Failed { operation, detail: detail.clone() }
        }
        // Under this key the provider has done something else, and nothing for this payment.
        (OperationKind::Authorize, Outcome::Conflict) => {
            let detail = "the provider knows the operation with other parameters".to_owned();
            Fact::Failed { operation, detail }
        }
        (
            OperationKind::Capture | OperationKind::Charge,
            Outcome::Approved { provider_reference },
        ) => {
            let provider_reference = provider_reference.clone();
            Fact::Captured { operation, amount, provider_reference }
        }
        (OperationKind::Capture, Outcome::Declined { code }) => {
            Fact::CaptureFailed { operation, code: code.clone() }
        }
        (OperationKind::Capture, Outcome::Failed { .. }) => {
            Fact::CaptureFailed { operation, code: "not_carried_out".to_owned() }
        }
        (OperationKind::Void, Outcome::Approved { .. }) => Fact::Voided { operation, amount },
        (OperationKind::Refund, Outcome::Approved { .. }) => {
            Fact::Refunded { operation, amount, refund_id: refund.id.clone() }
        }
        (_, Outcome::Silent { .. } | Outcome::ActionRequired { .. })
        // Under this key the provider may have taken another amount.
        | (OperationKind::Capture | OperationKind::Charge, Outcome::Conflict)
        | (
            OperationKind::Void | OperationKind::Refund,
            Outcome::Declined { .. } | Outcome::Failed { .. } | Outcome::Conflict,
        ) => return None,
    };
    Some(fact)
}

/// The fact that an operation does not end.
pub(super) fn in_trouble(
    operation: Operation,
    since: Timestamp,
    outcome: &Outcome,
) -> Option<Fact> {
    let (reason, detail) = match outcome {
        Outcome::Silent { for_long: false } => return Some(Fact::Uncertain { operation, since }),
        Outcome::Silent { for_long: true } => (StuckReason::NoAnswer, String::new()),
        Outcome::Declined { code } => (StuckReason::Refused, code.clone()),
        Outcome::Failed { detail } => (StuckReason::Refused, detail.clone()),
        Outcome::Conflict => (StuckReason::Conflict, String::new()),
        Outcome::Approved { .. } | Outcome::ActionRequired { .. } => return None,
    };
    Some(Fact::Stuck { operation, reason, detail, since })
}
