//! What a provider can be asked to do, and the name of each request.

use std::fmt;

use events::id::PaymentId;
use protocol::id::ParseError;
use serde::{Deserialize, Serialize};

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
    /// Take an amount in one step, without setting it aside before.
    Charge,
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
    const ALL: [Self; 5] = [Self::Authorize, Self::Capture, Self::Void, Self::Refund, Self::Charge];

    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::Charge => "charge",
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
            OperationKind::Authorize | OperationKind::Void | OperationKind::Charge
                if *number == 1 =>
            {
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
