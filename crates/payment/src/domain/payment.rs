//! A payment as it is.

use events::{id::PaymentId, money::Money};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    After, OpenDifference, Operation, OperationKind, Pending, StuckReason, Transaction,
    TransactionStatus, Trouble, Wanted,
};

/// A payment of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the contract's word for the provider's token")]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// Its status.
    pub status: Status,
    /// What the order asks for.
    pub amount: Money,
    /// The payment provider's token.
    pub payment_method: String,
    /// The provider's name for the authorisation, or for the charge; empty before it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider_reference: String,
    /// What was authorised or charged, less what was voided, in minor units.
    pub authorized: i64,
    /// What was taken, in minor units.
    pub captured: i64,
    /// What was paid back, in minor units.
    pub refunded: i64,
    /// When the order is cancelled if the payment has not answered, in milliseconds since 1970: nothing
    /// is authorised or charged after that.
    pub due_by_ms: i64,
    /// When the order was cancelled, in milliseconds since 1970: from then on everything is given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at_ms: Option<i64>,
    /// What an operator has given up to let go, in minor units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub given_up_hold: i64,
    /// What turned up beside what the order has paid and is to be paid back when nothing else is asked for,
    /// in minor units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub surplus: i64,
    /// What an operator has given up to pay back unasked, in minor units: what the cancelled order has paid,
    /// or what turned up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub given_up_refund: i64,
    /// What the customer has to do before the payment goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// What was asked of the provider, in order.
    pub transactions: Vec<Transaction>,
    /// What is to be asked of the provider when nothing is pending any more, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<Wanted>,
    /// The operation whose outcome is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// The differences between the provider's list and our log that an operator has to settle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<OpenDifference>,
    /// When the last fact happened to it, in milliseconds since 1970.
    pub changed_at_ms: i64,
}

/// What the customer has to do, for example at a bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Where it is done; empty when the client does without.
    pub url: String,
    /// What the provider's client needs for it; empty for nothing.
    pub data: String,
    /// Until when, in milliseconds since 1970.
    pub expires_at_ms: i64,
}

/// The status of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The provider is asked to authorise.
    AuthorizationPending,
    /// The customer has to do something before the provider authorises or charges.
    ActionRequired,
    /// The amount is set aside, not yet taken.
    Authorized,
    /// The provider declined to authorise or to charge.
    Declined,
    /// The provider could not be brought to authorise or to charge, and has certainly not charged.
    Failed,
    /// The provider is asked to take an amount.
    CapturePending,
    /// An amount is taken.
    Captured,
    /// The provider refused to take an amount, which is still set aside.
    CaptureFailed,
    /// The provider is asked to let the amount go.
    VoidPending,
    /// The amount is let go.
    Voided,
    /// The provider is asked to pay back.
    RefundPending,
    /// An amount is paid back.
    Refunded,
    /// An operator has given up to void or to pay back.
    GivenUp,
    /// The provider is asked to take the amount in one step.
    ChargePending,
}

impl Status {
    /// Every status.
    pub(crate) const ALL: [Self; 14] = [
        Self::AuthorizationPending,
        Self::ActionRequired,
        Self::Authorized,
        Self::Declined,
        Self::Failed,
        Self::CapturePending,
        Self::Captured,
        Self::CaptureFailed,
        Self::VoidPending,
        Self::Voided,
        Self::RefundPending,
        Self::Refunded,
        Self::GivenUp,
        Self::ChargePending,
    ];

    /// The status as it is in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationPending => "authorization_pending",
            Self::ActionRequired => "action_required",
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
            Self::GivenUp => "given_up",
            Self::ChargePending => "charge_pending",
        }
    }
}

impl Payment {
    /// A payment that has just begun.
    pub(super) fn begin(
        id: PaymentId,
        amount: Money,
        payment_method: &str,
        due_by: Timestamp,
    ) -> Self {
        Self {
            id,
            status: Status::AuthorizationPending,
            amount,
            payment_method: payment_method.to_owned(),
            provider_reference: String::new(),
            authorized: 0,
            captured: 0,
            refunded: 0,
            due_by_ms: due_by.millis(),
            cancelled_at_ms: None,
            given_up_hold: 0,
            surplus: 0,
            given_up_refund: 0,
            action: None,
            transactions: vec![],
            wanted: vec![],
            pending: None,
            differences: vec![],
            changed_at_ms: due_by.millis(),
        }
    }

    /// When it was begun: its first transaction.
    pub(crate) fn begun_at(&self) -> Timestamp {
        Timestamp::from_millis(self.transactions.first().map_or(self.due_by_ms, |it| it.at_ms))
    }

    /// What is authorised and neither captured, let go nor given up, in minor units. Nothing of what was charged.
    pub(crate) fn held(&self) -> i64 {
        self.authorized - self.captured - self.given_up_hold
    }

    /// What is taken and neither paid back nor given up, in minor units.
    pub(crate) fn kept(&self) -> i64 {
        self.captured - self.refunded - self.given_up_refund
    }

    /// What can be paid back beside what is being paid back or is to be, in minor units; 0 as well where
    /// more was paid back than taken.
    pub(crate) fn refundable(&self) -> i64 {
        let pending = self.pending_transaction();
        let pending = pending.filter(|it| it.operation.kind == OperationKind::Refund);
        let wanted = self.wanted.iter().map(|wanted| match wanted {
            Wanted::Refund { amount, .. } => *amount,
            Wanted::Capture { .. } => 0,
        });
        let pending = pending.map_or(0, |pending| pending.amount);
        (self.kept() - self.surplus - pending - wanted.sum::<i64>()).max(0)
    }

    /// How many refunds were begun or are wanted.
    pub(super) fn refund_count(&self) -> usize {
        let begun = self.transactions.iter().map(|it| it.operation.kind == OperationKind::Refund);
        let wanted = self.wanted.iter().map(|it| matches!(it, Wanted::Refund { .. }));
        begun.chain(wanted).filter(|is_refund| *is_refund).count()
    }

    /// Whether that refund was asked for.
    pub(super) fn knows_refund(&self, id: &str) -> bool {
        let is_wanted = |wanted: &Wanted| match wanted {
            Wanted::Refund { refund, .. } => refund.id == id,
            Wanted::Capture { .. } => false,
        };
        self.transactions.iter().any(|known| known.refund.id == id)
            || self.wanted.iter().any(is_wanted)
    }

    /// Whether that capture was asked for.
    pub(super) fn knows_capture(&self, capture: Operation) -> bool {
        let is_wanted = |wanted: &Wanted| match wanted {
            Wanted::Capture { operation, .. } => *operation == capture,
            Wanted::Refund { .. } => false,
        };
        self.transaction(capture).is_some() || self.wanted.iter().any(is_wanted)
    }

    /// Whether the order is cancelled, and everything is given back.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled_at_ms.is_some()
    }

    /// From when on the pending operation is no longer asked for, but only looked up: what the order
    /// has no use for any more is not begun.
    pub(crate) fn look_up_only_from(&self) -> Option<Timestamp> {
        let cancelled_at = self.cancelled_at_ms;
        let from = match self.pending.as_ref()?.operation.kind {
            OperationKind::Authorize | OperationKind::Charge => {
                Some(cancelled_at.map_or(self.due_by_ms, |at| at.min(self.due_by_ms)))
            }
            OperationKind::Capture => cancelled_at,
            OperationKind::Void | OperationKind::Refund => None,
        };
        from.map(Timestamp::from_millis)
    }

    /// Whether the provider is asked to authorise.
    pub(super) fn is_authorizing(&self) -> bool {
        self.pending.as_ref().is_some_and(|it| it.operation.kind == OperationKind::Authorize)
    }

    /// Whether the provider is asked to let go what is set aside.
    pub(super) fn is_being_let_go(&self) -> bool {
        self.pending.as_ref().is_some_and(|it| it.operation.kind == OperationKind::Void)
    }

    /// Whether the provider has refused to take something.
    pub(super) fn is_capture_refused(&self) -> bool {
        let is_refused = |known: &Transaction| {
            known.operation.kind == OperationKind::Capture
                && known.status == TransactionStatus::Refused
        };
        self.transactions.iter().any(is_refused)
    }

    /// An amount in the currency of the payment.
    pub(crate) fn money(&self, minor: i64) -> Money {
        Money { minor, ..self.amount }
    }

    /// By which name the operation whose outcome is not known yet is carried out: its idempotency key,
    /// and after the first round a number, so that each round has attempts and pauses of its own. `None`
    /// as well when it waits for an operator.
    pub(crate) fn pending_id(&self) -> Option<String> {
        let Pending { operation, round, trouble, .. } = self.pending.as_ref()?;
        let id = operation.id(self.id);
        match trouble {
            Some(Trouble::Stuck(StuckReason::Refused | StuckReason::Conflict)) => None,
            _ if *round == 0 => Some(id),
            _ => Some(format!("{id}~{round}")),
        }
    }

    /// Whether the outcome of that operation is not known yet.
    pub(super) fn is_pending(&self, operation: Operation) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.operation == operation)
    }

    /// Why the operation whose outcome is not known yet is not simply carried out.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.pending.as_ref()?.trouble
    }

    /// Why an operator, or the provider, has to do something about the payment: a difference between the
    /// provider's list and our log counts as well.
    pub(crate) fn open_trouble(&self) -> Option<Trouble> {
        let difference = self.differences.first().map(|it| Trouble::Stuck(it.reason));
        match self.trouble() {
            Some(Trouble::Stuck(reason)) => Some(Trouble::Stuck(reason)),
            uncertain => difference.or(uncertain),
        }
    }

    /// The transaction whose outcome is not known yet.
    pub(crate) fn pending_transaction(&self) -> Option<&Transaction> {
        self.transaction(self.pending.as_ref()?.operation)
    }

    /// The transaction of that name.
    pub(crate) fn transaction(&self, operation: Operation) -> Option<&Transaction> {
        self.transactions.iter().rfind(|known| known.operation == operation)
    }

    /// The next operation of a kind.
    pub(super) fn next_operation(&self, kind: OperationKind) -> Operation {
        let known = self.transactions.iter().filter(|known| known.operation.kind == kind);
        Operation { kind, number: known.count() as u32 + 1 }
    }

    /// What an event says of the payment beside its fact.
    pub(super) fn after(&self) -> After {
        After {
            provider_reference: self.provider_reference.clone(),
            authorized: self.money(self.authorized),
            captured: self.money(self.captured),
            refunded: self.money(self.refunded),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "called by serde")]
pub(super) fn is_zero(value: &i64) -> bool {
    *value == 0
}
