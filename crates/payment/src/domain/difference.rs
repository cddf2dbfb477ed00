//! What follows from a difference between the provider's list and our log.

use events::{id::PaymentId, money::Money};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    DONE_ELSEWHERE, Event, Fact, Operation, OperationKind, Payment, PaymentRows, Status,
    StuckReason, TransactionStatus,
};

/// What a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The provider has done what we do not know of.
    UnknownToUs,
    /// The provider does not list what we hold for done.
    UnknownToProvider,
    /// The amounts differ.
    AmountDiffers,
}

/// A difference that an operator has not settled yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDifference {
    /// The operation.
    pub operation: Operation,
    /// What it is.
    pub reason: StuckReason,
    /// What the provider's list says; empty when it says nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// When it was found, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What the provider's list says of an operation, or, when it says nothing, our log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The payment.
    pub payment_id: PaymentId,
    /// The operation.
    pub operation: Operation,
    /// The amount.
    pub amount: Money,
    /// The provider's name for the authorisation, or for the charge; empty when the provider does not list it.
    pub provider_reference: String,
    /// When it was carried out, if the provider lists it.
    pub occurred_at: Option<Timestamp>,
}

impl Operation {
    /// Whether what turns up of it is given back: what was set aside or taken.
    pub(crate) fn is_given_back(self) -> bool {
        match self.kind {
            OperationKind::Authorize | OperationKind::Capture | OperationKind::Charge => true,
            OperationKind::Void | OperationKind::Refund => false,
        }
    }
}

impl StuckReason {
    /// Whether it is a difference between the provider's list and our log: the operation itself has
    /// ended, or is none of ours.
    pub(crate) fn is_difference(self) -> bool {
        match self {
            Self::UnknownToUs | Self::UnknownToProvider | Self::AmountDiffers => true,
            Self::NoAnswer | Self::Refused | Self::Conflict => false,
        }
    }
}

/// The fact that follows, and the payment before it. What is pending is looked up anyway, and a
/// difference that is gone by now, or that an operator has been told of, yields none.
pub(super) fn decide(
    payments: &PaymentRows,
    kind: DifferenceKind,
    listed: &Listed,
    now: Timestamp,
) -> Option<(Payment, Fact)> {
    let Listed { payment_id, operation, amount, provider_reference, .. } = listed;
    let known = payments.get(payment_id).map(|row| &row.payment);
    let transaction = known.and_then(|payment| payment.transaction(*operation));
    let ours = transaction.map(|known| known.status);
    let fact = match kind {
        DifferenceKind::UnknownToUs if !is_unknown(ours) => return None,
        DifferenceKind::UnknownToUs => {
            let is_same_currency =
                known.is_none_or(|payment| payment.amount.currency == amount.currency);
            if operation.is_given_back() && is_same_currency {
                let provider_reference = provider_reference.clone();
                Fact::TurnedUp { operation: *operation, amount: *amount, provider_reference }
            } else {
                stuck(*operation, StuckReason::UnknownToUs, amount.to_string(), now)
            }
        }
        DifferenceKind::UnknownToProvider | DifferenceKind::AmountDiffers => {
            let ours = transaction.filter(|it| it.status == TransactionStatus::Done)?;
            let is_same = known?.money(ours.amount) == *amount;
            match kind {
                DifferenceKind::AmountDiffers if is_same => return None,
                DifferenceKind::AmountDiffers => {
                    stuck(*operation, StuckReason::AmountDiffers, amount.to_string(), now)
                }
                _ if ours.detail == DONE_ELSEWHERE => return None,
                _ => stuck(*operation, StuckReason::UnknownToProvider, String::new(), now),
            }
        }
    };
    let payment = match known {
        Some(payment) => payment.clone(),
        None => Payment::begin(*payment_id, *amount, "", now),
    };
    let is_open = |reason: StuckReason| {
        payment.differences.iter().any(|it| it.operation == *operation && it.reason == reason)
    };
    match fact {
        Fact::Stuck { reason, .. } if is_open(reason) => None,
        fact => Some((payment, fact)),
    }
}

/// Whether our log has nothing of the operation, or that it was not done.
fn is_unknown(ours: Option<TransactionStatus>) -> bool {
    ours.is_none_or(|status| match status {
        TransactionStatus::Refused | TransactionStatus::Failed | TransactionStatus::GivenUp => true,
        TransactionStatus::Pending
        | TransactionStatus::Uncertain
        | TransactionStatus::Stuck
        | TransactionStatus::Done => false,
    })
}

fn stuck(operation: Operation, reason: StuckReason, detail: String, since: Timestamp) -> Fact {
    Fact::Stuck { operation, reason, detail, since }
}

impl Payment {
    /// The payment that a fact about one begins of which our log has nothing: the provider has.
    pub(super) fn unknown(event: &Event, time: Timestamp) -> Option<Self> {
        let (amount, status) = match &event.fact {
            Fact::TurnedUp { amount, .. } => (*amount, Status::Authorized),
            Fact::Stuck { .. } => (event.after.authorized, Status::Failed),
            _ => return None,
        };
        Some(Self { status, ..Self::begin(event.payment_id, amount, "", time) })
    }

    /// The fact that the provider has let go or paid back what an operator had given up, when that is the
    /// difference.
    pub(super) fn done_after_all(&self, difference: &OpenDifference) -> Option<Fact> {
        let OpenDifference { operation, reason, .. } = *difference;
        let known = self.transaction(operation)?;
        if reason != StuckReason::UnknownToUs || known.status != TransactionStatus::GivenUp {
            return None;
        }
        match operation.kind {
            OperationKind::Void => {
                // What was taken since then is not held any more.
                let amount = self.money(known.amount.min(self.given_up_hold));
                Some(Fact::Voided { operation, amount })
            }
            OperationKind::Refund => {
                let (amount, refund_id) = (self.money(known.amount), known.refund.id.clone());
                Some(Fact::Refunded { operation, amount, refund_id })
            }
            OperationKind::Authorize | OperationKind::Capture | OperationKind::Charge => None,
        }
    }
}
