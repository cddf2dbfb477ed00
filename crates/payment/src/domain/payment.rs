//! A payment as it is, and how each fact changes it.

use std::fmt;

use engine::Context;
use events::{id::PaymentId, money::Money};
use protocol::{id::ParseError, time::Timestamp};
use serde::{Deserialize, Serialize};

use super::{After, Fact};

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
    /// The provider's name for the authorisation; empty before it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider_reference: String,
    /// What was authorised, less what was voided, in minor units.
    pub authorized: i64,
    /// What was taken, in minor units.
    pub captured: i64,
    /// What was paid back, in minor units.
    pub refunded: i64,
    /// Whether everything is to be given back, since the order is cancelled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_cancelled: bool,
    /// What was asked of the provider, in order.
    pub transactions: Vec<Transaction>,
    /// The operation whose outcome is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
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
}

/// What has become of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionStatus {
    /// Its outcome is not known yet.
    Pending,
    /// The provider did it.
    Done,
    /// The provider refused.
    Refused,
    /// The provider certainly did nothing.
    Failed,
}

/// An operation whose outcome is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its name.
    pub operation: Operation,
    /// What it continues.
    pub context: Context,
}

/// The name of an operation within its payment, for example `authorize` or `capture-4`. With the id of
/// the payment before it, it is the idempotency key and our reference at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Operation {
    /// What the provider is asked to do.
    pub kind: OperationKind,
    /// Tells the operations of one kind apart. The first of its kind has no number in its text, but for
    /// captures and refunds, of which there may be several.
    pub number: u32,
}

/// What a provider can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationKind {
    /// Set an amount aside.
    Authorize,
    /// Take what is set aside, or a part of it.
    Capture,
    /// Let go what is set aside.
    Void,
    /// Pay back what was taken, or a part of it.
    Refund,
}

/// The status of a payment.
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
    /// A payment that has just begun.
    pub(super) fn begin(id: PaymentId, amount: Money, payment_method: &str) -> Self {
        Self {
            id,
            status: Status::AuthorizationPending,
            amount,
            payment_method: payment_method.to_owned(),
            provider_reference: String::new(),
            authorized: 0,
            captured: 0,
            refunded: 0,
            is_cancelled: false,
            transactions: vec![],
            pending: None,
        }
    }

    /// What is authorised and neither captured nor let go, in minor units.
    pub(crate) fn held(&self) -> i64 {
        self.authorized - self.captured
    }

    /// What is taken and not paid back, in minor units.
    pub(crate) fn kept(&self) -> i64 {
        self.captured - self.refunded
    }

    /// An amount in the currency of the payment.
    pub(crate) fn money(&self, minor: i64) -> Money {
        Money { minor, ..self.amount }
    }

    /// The idempotency key of the operation whose outcome is not known yet.
    pub(crate) fn pending_id(&self) -> Option<String> {
        self.pending.as_ref().map(|pending| pending.operation.id(self.id))
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

    /// Folds a fact into the payment that it happened to.
    pub(super) fn fold(&mut self, fact: &Fact, time: Timestamp, context: &Context) {
        match fact {
            Fact::AuthorizationPending { operation, amount, .. } => {
                self.begins(Status::AuthorizationPending, *operation, *amount, time, context);
            }
            Fact::CapturePending { operation, amount } => {
                self.begins(Status::CapturePending, *operation, *amount, time, context);
            }
            Fact::VoidPending { operation, amount } => {
                self.begins(Status::VoidPending, *operation, *amount, time, context);
            }
            Fact::RefundPending { operation, amount } => {
                self.begins(Status::RefundPending, *operation, *amount, time, context);
            }
            Fact::Authorized { operation, provider_reference, amount } => {
                self.ends(Status::Authorized, *operation, TransactionStatus::Done, "");
                self.provider_reference.clone_from(provider_reference);
                self.authorized += amount.minor;
            }
            Fact::Captured { operation, amount } => {
                self.ends(Status::Captured, *operation, TransactionStatus::Done, "");
                self.captured += amount.minor;
            }
            Fact::Voided { operation, amount } => {
                self.ends(Status::Voided, *operation, TransactionStatus::Done, "");
                self.authorized -= amount.minor;
            }
            Fact::Refunded { operation, amount } => {
                self.ends(Status::Refunded, *operation, TransactionStatus::Done, "");
                self.refunded += amount.minor;
            }
            Fact::Declined { operation, code } => {
                self.ends(Status::Declined, *operation, TransactionStatus::Refused, code);
            }
            Fact::Failed { operation, detail } => {
                self.ends(Status::Failed, *operation, TransactionStatus::Failed, detail);
            }
            Fact::CaptureFailed { operation, code } => {
                self.ends(Status::CaptureFailed, *operation, TransactionStatus::Refused, code);
            }
            Fact::CancelRequested => self.is_cancelled = true,
        }
    }

    fn begins(
        &mut self,
        status: Status,
        operation: Operation,
        amount: Money,
        time: Timestamp,
        context: &Context,
    ) {
        self.status = status;
        self.transactions.push(Transaction {
            operation,
            amount: amount.minor,
            status: TransactionStatus::Pending,
            detail: String::new(),
            at_ms: time.millis(),
        });
        self.pending = Some(Pending { operation, context: context.clone() });
    }

    fn ends(
        &mut self,
        status: Status,
        operation: Operation,
        outcome: TransactionStatus,
        detail: &str,
    ) {
        self.status = status;
        self.pending = None;
        if let Some(known) = self.transactions.iter_mut().rfind(|it| it.operation == operation) {
            known.status = outcome;
            detail.clone_into(&mut known.detail);
        }
    }
}

impl Operation {
    /// The first operation of a kind.
    pub(crate) const fn first(kind: OperationKind) -> Self {
        Self { kind, number: 1 }
    }

    /// The idempotency key, and our reference at the provider.
    pub(crate) fn id(self, payment_id: PaymentId) -> String {
        format!("{payment_id}:{self}")
    }

    /// Takes an idempotency key apart.
    pub(crate) fn parse_id(id: &str) -> Result<(PaymentId, Self), ParseError> {
        let error = || ParseError::new("operation id", "must be <payment id>:<operation>", id);
        let (payment_id, operation) = id.split_once(':').ok_or_else(error)?;
        Ok((PaymentId::parse(payment_id)?, Self::parse(operation)?))
    }

    /// Takes a name such as `authorize` or `capture-4`.
    pub(crate) fn parse(name: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("operation", "must be one such as capture-1", name);
        let (kind, number) = name.split_once('-').unwrap_or((name, "1"));
        let kind = OperationKind::parse(kind).ok_or_else(error)?;
        let operation = Self { kind, number: number.parse().map_err(|_| error())? };
        // Each operation has one name.
        if operation.to_string() == name { Ok(operation) } else { Err(error()) }
    }
}

impl OperationKind {
    const ALL: [Self; 4] = [Self::Authorize, Self::Capture, Self::Void, Self::Refund];

    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, number } = self;
        match kind {
            OperationKind::Authorize | OperationKind::Void if *number == 1 => {
                f.write_str(kind.as_str())
            }
            _ => write!(f, "{}-{number}", kind.as_str()),
        }
    }
}

impl TryFrom<String> for Operation {
    type Error = ParseError;

    fn try_from(name: String) -> Result<Self, ParseError> {
        Self::parse(&name)
    }
}

impl From<Operation> for String {
    fn from(operation: Operation) -> String {
        operation.to_string()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "called by serde")]
fn is_false(value: &bool) -> bool {
    !value
}
