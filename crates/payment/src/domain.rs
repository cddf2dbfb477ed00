//! What payment decides. No I/O, no clock, no async.
//!
//! | the payment is | payment due | confirmed | cancelled |
//! |---|---|---|---|
//! | not begun | `authorization_pending` | – | `abandoned` |
//! | being authorised | – | – | `cancel_requested`; once authorised, `void_pending` |
//! | authorised | – | `capture_pending` | `void_pending` |
//! | being captured | – | – | `cancel_requested`; once captured, `refund_pending` |
//! | captured | – | – | `refund_pending` |
//! | not captured, since refused | – | – | `void_pending` |
//! | anything else | – | – | – |

mod charge;
#[cfg(test)]
mod tests;

use std::convert::Infallible;

use engine::{Aggregate, Context, Decision, Recorded, Rules};
use events::{id::OrderId, money::Money};
use protocol::time::Timestamp;

pub(crate) use self::charge::{Charge, Payment, Pending, Status};
use crate::{
    Payments,
    store::{self, PaymentRow},
};

/// What payment decides on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The order that it concerns.
    pub order_id: OrderId,
    /// What came.
    pub signal: Signal,
}

/// What can come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The stock of the order is held: its total is to be authorised.
    PaymentDue {
        /// The amount to authorise.
        amount: Money,
        /// The payment provider's token.
        payment_method: String,
    },
    /// The order is confirmed: what is authorised is to be captured.
    Confirmed {
        /// The amount to capture.
        amount: Money,
    },
    /// The order is cancelled: what was taken or set aside is to be given back.
    Cancelled,
    /// What became of an operation is certain.
    Settled {
        /// The operation.
        operation_id: String,
        /// What became of it.
        outcome: Outcome,
    },
}

/// What became of an operation, for certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider did it.
    Approved {
        /// The provider's name for the authorisation.
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
}

/// A fact about the payment of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The order.
    pub order_id: OrderId,
    /// What happened.
    pub fact: Fact,
}

/// What can happen to a payment. `operation_id` names the operation at the provider,
/// `provider_reference` is the provider's name for the authorisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The provider is about to be asked to authorise.
    AuthorizationPending { operation_id: String, amount: Money, payment_method: String },
    /// The provider authorised the amount.
    Authorized { operation_id: String, provider_reference: String, amount: Money },
    /// The provider declined to authorise.
    Declined { operation_id: String, code: String },
    /// The provider could not be brought to authorise, and has certainly not charged.
    Failed { operation_id: String, detail: String },
    /// The provider is about to be asked to take the authorised amount.
    CapturePending { operation_id: String, amount: Money, provider_reference: String },
    /// The provider took the amount.
    Captured { operation_id: String, amount: Money },
    /// The provider refused to take the amount.
    CaptureFailed { operation_id: String, code: String },
    /// The provider is about to be asked to let the authorised amount go.
    VoidPending { operation_id: String, provider_reference: String, amount: Money },
    /// The provider let the amount go.
    Voided { operation_id: String },
    /// The provider is about to be asked to pay back.
    RefundPending { operation_id: String, provider_reference: String, amount: Money },
    /// The provider paid back.
    Refunded { operation_id: String, amount: Money },
    /// The order was cancelled while the provider was being asked; what it grants is given back.
    CancelRequested,
    /// The order was cancelled before its payment began; none will.
    Abandoned,
}

impl Rules for Payments {
    type State = store::Payments;

    fn aggregate(event: &Event) -> Aggregate {
        Aggregate::new("payment", event.order_id)
    }

    fn version(payments: &Self::State, event: &Event) -> u64 {
        payments.get(&event.order_id).map_or(0, |row| row.version)
    }

    fn decide(
        &self,
        payments: &Self::State,
        input: &Input,
        _now: Timestamp,
    ) -> Decision<Event, Infallible> {
        Decision::events(decide(payments, input))
    }

    fn apply(payments: &mut Self::State, recorded: &Recorded<Event>) {
        apply(payments, recorded);
    }
}

/// Decides which facts follow from `input`.
///
/// An input whose effect already holds yields none, so each may come any number of times.
fn decide(payments: &store::Payments, input: &Input) -> Vec<Event> {
    let order_id = input.order_id;
    let payment = payments.get(&order_id).map(|row| &row.payment);
    let facts = match &input.signal {
        Signal::PaymentDue { amount, payment_method } => match payment {
            None => vec![authorize(order_id, *amount, payment_method)],
            Some(Payment::Abandoned | Payment::Begun(_)) => vec![],
        },
        Signal::Confirmed { amount } => match payment {
            Some(Payment::Begun(charge)) => confirmed(order_id, charge, *amount),
            None | Some(Payment::Abandoned) => vec![],
        },
        Signal::Cancelled => match payment {
            None => vec![Fact::Abandoned],
            Some(Payment::Begun(charge)) => cancelled(order_id, charge),
            Some(Payment::Abandoned) => vec![],
        },
        Signal::Settled { operation_id, outcome } => match payment {
            Some(Payment::Begun(charge)) => settled(order_id, charge, operation_id, outcome),
            None | Some(Payment::Abandoned) => vec![],
        },
    };
    facts.into_iter().map(|fact| Event { order_id, fact }).collect()
}

fn confirmed(order_id: OrderId, charge: &Charge, amount: Money) -> Vec<Fact> {
    match charge.status {
        Status::Authorized => vec![capture(order_id, charge, amount)],
        // The order confirms only what is authorised. So it is known already, or the order was
        // cancelled as well, which wins.
        Status::AuthorizationPending
        | Status::Declined
        | Status::Failed
        | Status::CapturePending
        | Status::Captured
        | Status::CaptureFailed
        | Status::VoidPending
        | Status::Voided
        | Status::RefundPending
        | Status::Refunded => vec![],
    }
}

fn cancelled(order_id: OrderId, charge: &Charge) -> Vec<Fact> {
    match charge.status {
        // What the provider will answer is open. The wish is in the log, to be met then.
        Status::AuthorizationPending | Status::CapturePending => {
            if charge.cancel_requested {
                vec![]
            } else {
                vec![Fact::CancelRequested]
            }
        }
        Status::Authorized | Status::CaptureFailed => vec![void(order_id, charge)],
        Status::Captured => vec![refund(order_id, charge)],
        // Nothing is taken or set aside, or giving it back is under way.
        Status::Declined
        | Status::Failed
        | Status::VoidPending
        | Status::Voided
        | Status::RefundPending
        | Status::Refunded => vec![],
    }
}

fn settled(order_id: OrderId, charge: &Charge, id: &str, outcome: &Outcome) -> Vec<Fact> {
    let Some(pending) = charge.pending.as_ref().filter(|pending| pending.operation_id == id) else {
        return vec![];
    };
    let operation_id = id.to_owned();
    let amount = pending.amount;
    let mut facts = match (charge.status, outcome) {
        (Status::AuthorizationPending, Outcome::Approved { provider_reference }) => {
            let provider_reference = provider_reference.clone();
            vec![Fact::Authorized { operation_id, provider_reference, amount }]
        }
        (Status::AuthorizationPending, Outcome::Declined { code }) => {
            vec![Fact::Declined { operation_id, code: code.clone() }]
        }
        (Status::AuthorizationPending, Outcome::Failed { detail }) => {
            vec![Fact::Failed { operation_id, detail: detail.clone() }]
        }
        (Status::CapturePending, Outcome::Approved { .. }) => {
            vec![Fact::Captured { operation_id, amount }]
        }
        (Status::CapturePending, Outcome::Declined { code }) => {
            vec![Fact::CaptureFailed { operation_id, code: code.clone() }]
        }
        (Status::VoidPending, Outcome::Approved { .. }) => vec![Fact::Voided { operation_id }],
        (Status::RefundPending, Outcome::Approved { .. }) => {
            vec![Fact::Refunded { operation_id, amount }]
        }
        // These operations are tried until they are done, and nothing else is ever pending.
        (
            Status::CapturePending
            | Status::VoidPending
            | Status::RefundPending
            | Status::Authorized
            | Status::Declined
            | Status::Failed
            | Status::Captured
            | Status::CaptureFailed
            | Status::Voided
            | Status::Refunded,
            Outcome::Approved { .. } | Outcome::Declined { .. } | Outcome::Failed { .. },
        ) => vec![],
    };
    if charge.cancel_requested {
        // The cancellation came first: what the provider has now granted is given back at once.
        let mut granted = charge.clone();
        for fact in &facts {
            granted.fold(fact, &Context::default());
        }
        facts.extend(cancelled(order_id, &granted));
    }
    facts
}

/// The operation of an order: what is done once to an order has one name for good.
fn operation_id(order_id: OrderId, task: &str) -> String {
    format!("{order_id}:{task}")
}

fn authorize(order_id: OrderId, amount: Money, payment_method: &str) -> Fact {
    Fact::AuthorizationPending {
        operation_id: operation_id(order_id, "authorize"),
        amount,
        payment_method: payment_method.to_owned(),
    }
}

fn capture(order_id: OrderId, charge: &Charge, amount: Money) -> Fact {
    Fact::CapturePending {
        operation_id: operation_id(order_id, "capture"),
        amount,
        provider_reference: charge.provider_reference.clone(),
    }
}

fn void(order_id: OrderId, charge: &Charge) -> Fact {
    Fact::VoidPending {
        operation_id: operation_id(order_id, "void"),
        provider_reference: charge.provider_reference.clone(),
        amount: charge.amount,
    }
}

fn refund(order_id: OrderId, charge: &Charge) -> Fact {
    Fact::RefundPending {
        operation_id: operation_id(order_id, "refund"),
        provider_reference: charge.provider_reference.clone(),
        amount: Money { minor: charge.captured - charge.refunded, ..charge.amount },
    }
}

/// Folds a fact into the payments.
fn apply(payments: &mut store::Payments, recorded: &Recorded<Event>) {
    let Event { order_id, fact } = &recorded.event;
    let version = recorded.version;
    match fact {
        Fact::AuthorizationPending { operation_id, amount, payment_method } => {
            let pending = Pending::new(operation_id, *amount, &recorded.context);
            let charge = Charge::begin(pending, payment_method);
            payments.put(*order_id, PaymentRow { version, payment: Payment::Begun(charge) });
        }
        Fact::Abandoned => {
            payments.put(*order_id, PaymentRow { version, payment: Payment::Abandoned });
        }
        Fact::Authorized { .. }
        | Fact::Declined { .. }
        | Fact::Failed { .. }
        | Fact::CapturePending { .. }
        | Fact::Captured { .. }
        | Fact::CaptureFailed { .. }
        | Fact::VoidPending { .. }
        | Fact::Voided { .. }
        | Fact::RefundPending { .. }
        | Fact::Refunded { .. }
        | Fact::CancelRequested => {
            if let Some(row) = payments.change(order_id) {
                row.version = version;
                if let Payment::Begun(charge) = &mut row.payment {
                    charge.fold(fact, &recorded.context);
                }
            }
        }
    }
}
