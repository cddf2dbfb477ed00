//! What payment decides. No I/O, no clock, no async.
//!
//! | the payment | payment due | confirmed | cancelled |
//! |---|---|---|---|
//! | has not begun | `authorization_pending`; in one step `charge_pending` | – | – |
//! | has an operation pending | – | – | `cancel_requested`; after its outcome as below |
//! | holds money that is set aside | – | `capture_pending` | `cancel_requested`, `void_pending` |
//! | has taken money | – | – | `cancel_requested`, `refund_pending` |
//! | anything else | – | – | – |
//!
//! One operation of a payment is pending at a time: what is to be captured or refunded meanwhile is
//! requested, and begins when nothing is pending any more. An earlier payment of an order is cancelled
//! when a later one begins, unless it has taken money that the order counts: what was taken by one that waited for its
//! customer, and that the order has abandoned, it does not.
//!
//! An operation whose outcome does not become known is `uncertain`, never failed, and is looked up on;
//! one that cannot be brought to an end is `stuck`, until an operator settles it.
//!
//! A difference between the provider's list and our log that giving back does not mend is stuck as well.
//!
//! `decide` has the rules, `difference` those of a reconciliation, `outcome` what follows from an answer of the provider, `payment` a payment as
//! it is with its `transaction`s, and `fold` how facts change it.

mod answer;
mod decide;
mod difference;
mod fold;
mod operation;
mod outcome;
mod payment;
#[cfg(test)]
mod tests;
mod transaction;

use engine::{Aggregate, Decision, Recorded, Revision, Rows, Rules};
use events::{
    id::{OrderId, PaymentId},
    money::Money,
};
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    answer::{Answer, RefundAnswer, SettleAnswer},
    difference::{DifferenceKind, Listed, OpenDifference},
    operation::{Operation, OperationKind},
    outcome::Outcome,
    payment::{Action, Payment, Status},
    transaction::{
        DONE_ELSEWHERE, GIVEN_UP, Pending, Refund, Resolution, StuckReason, Transaction,
        TransactionStatus, Trouble, TroubleKind, Wanted,
    },
};
use crate::Payments;

/// The most refunds of a payment that can be asked for: each stays in its row, and in what is shown of it.
pub(crate) const MAX_REFUNDS: usize = 100;

/// What payment decides on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The stock of an order is held: its total is to be authorised; or allocated: it is to be charged.
    PaymentDue {
        /// The payment that begins.
        payment_id: PaymentId,
        /// The amount to authorise or to charge.
        amount: Money,
        /// The payment provider's token.
        payment_method: String,
        /// Until when it must be authorised or charged.
        due_by: Timestamp,
        /// In which steps the money is taken.
        steps: Steps,
        /// The payment that it takes the place of while that one waits for its customer: whatever it takes is given
        /// back.
        abandoned: Option<PaymentId>,
    },
    /// What is authorised is to be captured, or a part of it.
    Capture {
        /// The payment.
        payment_id: PaymentId,
        /// Tells the captures of a payment apart: the version of the order that asks for it.
        number: u32,
        /// The amount to capture.
        amount: Money,
    },
    /// An order is confirmed or ships, and nothing is to be captured for it.
    NothingToCapture,
    /// An order is cancelled: what was taken or set aside for it is to be given back.
    OrderCancelled {
        /// The order.
        order_id: OrderId,
    },
    /// Something is known of an operation.
    Settled {
        /// The payment.
        payment_id: PaymentId,
        /// The operation.
        operation: Operation,
        /// What became of it.
        outcome: Outcome,
        /// When, by the provider's clock, if it has answered.
        occurred_at: Option<Timestamp>,
    },
    /// An amount is to be paid back.
    Refund {
        /// The order.
        order_id: OrderId,
        /// The payment; the last one with money to be paid back when none is named.
        payment_id: Option<PaymentId>,
        /// The amount.
        amount: Money,
        /// Its id and the reason.
        refund: Refund,
    },
    /// The provider's list and our log differ: what the provider has set aside or taken and we do not know
    /// of is given back, anything else becomes stuck.
    Differs {
        /// What the difference is.
        kind: DifferenceKind,
        /// What the provider's list says, or our log.
        listed: Listed,
    },
    /// An operator settles an operation that is uncertain or stuck.
    SettledByOperator {
        /// The payment.
        payment_id: PaymentId,
        /// What is done about it.
        resolution: Resolution,
        /// Why.
        reason: String,
        /// Who decides; empty when it is the sender, who is in the envelope.
        operator: String,
    },
}

/// In which steps the money of a payment is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// It is authorised, and captured when the order asks for it.
    Authorize,
    /// It is authorised, and so much of it captured as soon as it is; the rest when the order asks for it.
    AuthorizeAndCapture(Money),
    /// It is charged, without being authorised before.
    Charge,
}

/// A fact about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The payment.
    pub payment_id: PaymentId,
    /// What happened.
    pub fact: Fact,
    /// The payment after it.
    pub after: After,
    /// When it happened by the provider's clock, if the provider said it.
    pub occurred_at: Option<Timestamp>,
}

/// A payment after a fact, as its event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// The provider's name for the authorisation, or for the charge; empty before it.
    pub provider_reference: String,
    /// What was authorised or charged, less what was voided.
    pub authorized: Money,
    /// What was taken.
    pub captured: Money,
    /// What was paid back.
    pub refunded: Money,
}

/// What can happen to a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The provider is about to be asked to authorise.
    AuthorizationPending {
        operation: Operation,
        amount: Money,
        payment_method: String,
        due_by: Timestamp,
    },
    /// The provider is about to be asked to take an amount in one step.
    ChargePending { operation: Operation, amount: Money, payment_method: String, due_by: Timestamp },
    /// The customer has to do something before the provider authorises or charges.
    ActionRequired { operation: Operation, url: String, data: String, expires_at: Timestamp },
    /// The provider authorised the amount.
    Authorized { operation: Operation, provider_reference: String, amount: Money },
    /// The provider declined to authorise or to charge.
    Declined { operation: Operation, code: String },
    /// The provider could not be brought to authorise or to charge, and has certainly not charged.
    Failed { operation: Operation, detail: String },
    /// The provider is about to be asked to take an authorised amount.
    CapturePending { operation: Operation, amount: Money },
    /// The provider took the amount.
    Captured { operation: Operation, amount: Money, provider_reference: String },
    /// The provider refused to take the amount.
    CaptureFailed { operation: Operation, code: String },
    /// The provider is about to be asked to let go what is set aside.
    VoidPending { operation: Operation, amount: Money },
    /// The provider let the amount go.
    Voided { operation: Operation, amount: Money },
    /// The provider is about to be asked to pay back.
    RefundPending { operation: Operation, amount: Money, refund: Refund },
    /// The provider paid back. `refund_id` is empty for what nobody asked for: see [`Refund`].
    Refunded { operation: Operation, amount: Money, refund_id: String },
    /// An amount is to be taken when nothing is pending any more.
    CaptureRequested { operation: Operation, amount: Money },
    /// The provider has set aside or taken what we did not know of.
    TurnedUp { operation: Operation, amount: Money, provider_reference: String },
    /// An amount is to be paid back when nothing is pending any more.
    RefundRequested { amount: Money, refund: Refund },
    /// The order is cancelled: everything is to be given back.
    CancelRequested,
    /// The provider does not say what has become of an operation that was begun at `since`.
    Uncertain { operation: Operation, since: Timestamp },
    /// An operation that was begun at `since` cannot be brought to an end without an operator.
    Stuck { operation: Operation, reason: StuckReason, detail: String, since: Timestamp },
    /// An operator has settled an operation that was uncertain or stuck.
    SettledByOperator {
        operation: Operation,
        amount: Money,
        resolution: Resolution,
        reason: String,
        operator: String,
    },
}

/// The payments of one shop.
pub(crate) type PaymentRows = Rows<PaymentId, PaymentRow>;

/// A payment, as the last event about it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRow {
    /// Its version, and where its last event is.
    pub revision: Revision,
    /// The payment as it is.
    pub payment: Payment,
}

impl Rules for Payments {
    type State = PaymentRows;

    fn aggregate(event: &Event) -> Aggregate {
        Aggregate::new("payment", event.payment_id)
    }

    fn revision(payments: &Self::State, event: &Event) -> Revision {
        payments.get(&event.payment_id).map(|row| row.revision).unwrap_or_default()
    }

    fn decide(
        &self,
        payments: &Self::State,
        input: &Input,
        now: Timestamp,
    ) -> Decision<Event, Answer> {
        decide::decide(payments, input, now)
    }

    fn apply(payments: &mut Self::State, recorded: &Recorded<Event>) {
        let Recorded { event, time, context, .. } = recorded;
        let Event { payment_id, fact, .. } = event;
        if let Fact::AuthorizationPending { amount, payment_method, due_by, .. }
        | Fact::ChargePending { amount, payment_method, due_by, .. } = fact
        {
            let payment = Payment::begin(*payment_id, *amount, payment_method, *due_by);
            payments.put(*payment_id, PaymentRow { revision: Revision::default(), payment });
        }
        if payments.get(payment_id).is_none()
            && let Some(payment) = Payment::unknown(event, *time)
        {
            payments.put(*payment_id, PaymentRow { revision: Revision::default(), payment });
        }
        if let Some(row) = payments.change(payment_id) {
            row.revision = recorded.revision();
            row.payment.fold(fact, *time, context);
        }
    }
}
