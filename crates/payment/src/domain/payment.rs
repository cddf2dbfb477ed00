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
    /// When the order is cancelled if the payment has not answered, in milliseconds since 1970: nothing
    /// is authorised after that.
    pub due_by_ms: i64,
    /// When the order was cancelled, in milliseconds since 1970: from then on everything is given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at_ms: Option<i64>,
    /// What an operator has given up to let go, in minor units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub given_up_hold: i64,
    /// What an operator has given up to pay back for the cancelled order, in minor units.
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
    /// Its id, given by who asked for it; empty for what a cancelled order gets back.
    pub id: String,
    /// Why.
    pub reason: String,
}

impl Refund {
    fn is_of_cancellation(&self) -> bool {
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
    /// Which refund it is for.
    #[serde(default, skip_serializing_if = "Refund::is_of_cancellation")]
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
}

/// What an operator decides about an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It was done elsewhere, for example in the provider's own user interface.
    DoneElsewhere,
    /// It is to be tried again.
    Retry,
    /// It will not be done.
    GiveUp,
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
    /// The customer has to do something before the provider authorises.
    ActionRequired,
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
    /// An operator has given up to void or to pay back.
    GivenUp,
}

impl Status {
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
        }
    }
}

impl Trouble {
    /// The kind as it is in the database.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Uncertain => "uncertain",
            Self::Stuck(_) => "stuck",
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
            given_up_refund: 0,
            action: None,
            transactions: vec![],
            wanted: vec![],
            pending: None,
        }
    }

    /// What is authorised and neither captured, let go nor given up, in minor units.
    pub(crate) fn held(&self) -> i64 {
        self.authorized - self.captured - self.given_up_hold
    }

    /// What is taken and neither paid back nor given up, in minor units.
    pub(crate) fn kept(&self) -> i64 {
        self.captured - self.refunded - self.given_up_refund
    }

    /// What can be paid back beside what is being paid back or is to be, in minor units.
    pub(crate) fn refundable(&self) -> i64 {
        let pending = self.pending_transaction();
        let pending = pending.filter(|it| it.operation.kind == OperationKind::Refund);
        let wanted = self.wanted.iter().map(|wanted| match wanted {
            Wanted::Refund { amount, .. } => *amount,
            Wanted::Capture { .. } => 0,
        });
        self.kept() - pending.map_or(0, |pending| pending.amount) - wanted.sum::<i64>()
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
            OperationKind::Authorize => {
                Some(cancelled_at.map_or(self.due_by_ms, |at| at.min(self.due_by_ms)))
            }
            OperationKind::Capture => cancelled_at,
            OperationKind::Void | OperationKind::Refund => None,
        };
        from.map(Timestamp::from_millis)
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

    /// Why the operation whose outcome is not known yet is not simply carried out.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.pending.as_ref()?.trouble
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
                self.wanted.retain(|wanted| match wanted {
                    Wanted::Capture { operation: known, .. } => known != operation,
                    Wanted::Refund { .. } => true,
                });
            }
            Fact::VoidPending { operation, amount } => {
                self.begins(Status::VoidPending, *operation, *amount, time, context);
            }
            Fact::RefundPending { operation, amount, refund } => {
                self.begins(Status::RefundPending, *operation, *amount, time, context);
                if let Some(begun) = self.transactions.last_mut() {
                    begun.refund.clone_from(refund);
                }
                self.wanted.retain(|wanted| match wanted {
                    Wanted::Refund { refund: known, .. } => known.id != refund.id,
                    Wanted::Capture { .. } => true,
                });
            }
            Fact::TurnedUp { operation, amount, provider_reference } => {
                self.turned_up(*operation, *amount, provider_reference, time);
            }
            Fact::CaptureRequested { operation, amount } => {
                let (operation, amount) = (*operation, amount.minor);
                self.wanted.push(Wanted::Capture { operation, amount });
            }
            Fact::RefundRequested { amount, refund } => {
                let (refund, amount) = (refund.clone(), amount.minor);
                self.wanted.push(Wanted::Refund { refund, amount });
            }
            Fact::ActionRequired { url, data, expires_at, .. } => {
                self.status = Status::ActionRequired;
                self.action = Some(Action {
                    url: url.clone(),
                    data: data.clone(),
                    expires_at_ms: expires_at.millis(),
                });
                if let Some(pending) = &mut self.pending {
                    pending.round += 1;
                }
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
            Fact::Refunded { operation, amount, .. } => {
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
            Fact::CancelRequested => {
                self.cancelled_at_ms = Some(time.millis());
                // All of it is given back.
                self.wanted.clear();
            }
            Fact::Uncertain { operation, .. } => {
                self.in_trouble(Trouble::Uncertain);
                self.mark(*operation, TransactionStatus::Uncertain, "");
            }
            Fact::Stuck { operation, reason, detail, .. } => {
                self.in_trouble(Trouble::Stuck(*reason));
                self.mark(*operation, TransactionStatus::Stuck, detail);
            }
            Fact::SettledByOperator { operation, amount, resolution, .. } => {
                self.settled_by_operator(*operation, *amount, *resolution);
            }
        }
    }

    fn turned_up(&mut self, operation: Operation, amount: Money, reference: &str, time: Timestamp) {
        reference.clone_into(&mut self.provider_reference);
        match operation.kind {
            OperationKind::Capture => {
                self.status = Status::Captured;
                self.captured += amount.minor;
            }
            OperationKind::Authorize | OperationKind::Void | OperationKind::Refund => {
                self.status = Status::Authorized;
                self.authorized += amount.minor;
            }
        }
        if self.transaction(operation).is_none() {
            self.transactions.push(Transaction {
                operation,
                amount: amount.minor,
                status: TransactionStatus::Done,
                detail: String::new(),
                at_ms: time.millis(),
                refund: Refund::default(),
            });
        }
        self.mark(operation, TransactionStatus::Done, "turned_up");
        self.cancelled_at_ms.get_or_insert(time.millis());
        self.wanted.clear();
    }

    fn in_trouble(&mut self, trouble: Trouble) {
        if let Some(pending) = &mut self.pending {
            pending.trouble = Some(trouble);
            pending.round += 1;
        }
    }

    /// What follows at once says what becomes of an operation that was done elsewhere, and of a capture
    /// or an authorisation that is given up.
    fn settled_by_operator(&mut self, operation: Operation, amount: Money, how: Resolution) {
        match (how, operation.kind, self.trouble()) {
            (
                Resolution::Retry,
                OperationKind::Void | OperationKind::Refund,
                Some(Trouble::Stuck(StuckReason::Refused | StuckReason::Conflict)),
            ) => {
                // The provider gives the same answer to the same key: another operation follows.
                self.mark(operation, TransactionStatus::Refused, "");
                self.pending = None;
            }
            (Resolution::Retry, ..) => self.in_trouble(Trouble::Uncertain),
            (Resolution::GiveUp, OperationKind::Void, _) => {
                self.given_up_hold += amount.minor;
                self.ends(Status::GivenUp, operation, TransactionStatus::GivenUp, "");
            }
            (Resolution::GiveUp, OperationKind::Refund, _) => {
                if self.is_cancelled() {
                    self.given_up_refund += amount.minor;
                }
                self.ends(Status::GivenUp, operation, TransactionStatus::GivenUp, "");
            }
            (Resolution::DoneElsewhere, ..) => {
                self.mark(operation, TransactionStatus::Stuck, DONE_ELSEWHERE);
            }
            (Resolution::GiveUp, OperationKind::Authorize | OperationKind::Capture, _) => {}
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
            refund: Refund::default(),
        });
        let context = context.clone();
        self.pending = Some(Pending { operation, context, round: 0, trouble: None });
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
        self.action = None;
        self.mark(operation, outcome, detail);
    }

    fn mark(&mut self, operation: Operation, status: TransactionStatus, detail: &str) {
        if let Some(known) = self.transactions.iter_mut().rfind(|it| it.operation == operation) {
            known.status = status;
            if !detail.is_empty() {
                detail.clone_into(&mut known.detail);
            }
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
fn is_zero(value: &i64) -> bool {
    *value == 0
}
