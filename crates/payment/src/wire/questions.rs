//! Questions, and what they find.

use engine::WireError;
use events::{
    id::OrderId,
    proto::payment::{self, PaymentStatus, payment_question::Question as Asked},
};
use prost::Message;

use crate::{
    domain::{Charge, Payment, Status},
    query::{Found, Question},
    store::PaymentRow,
};

pub(super) fn decode(payload: &[u8]) -> Result<Question, WireError> {
    let asked = payment::PaymentQuestion::decode(payload)?.question;
    Ok(match asked.ok_or(WireError::Missing("question"))? {
        Asked::GetPayment(get) => Question::Payment(OrderId::parse(&get.order_id)?),
        Asked::GetTotals(payment::GetTotals {}) => Question::Totals,
    })
}

pub(super) fn encode(found: Found) -> Vec<u8> {
    match found {
        Found::Payment { order_id, row } => encode_payment(order_id, row).encode_to_vec(),
        Found::Totals { ours, theirs } => payment::Totals {
            captured: ours.captured,
            refunded: ours.refunded,
            authorized: ours.authorized,
            pending: ours.pending,
            provider_net: theirs.net,
            provider_held: theirs.held,
        }
        .encode_to_vec(),
    }
}

fn encode_payment(order_id: OrderId, row: PaymentRow) -> payment::Payment {
    let PaymentRow { version, payment } = row;
    let order_id = order_id.to_string();
    match payment {
        Payment::Abandoned => payment::Payment {
            order_id,
            status: PaymentStatus::Abandoned.into(),
            version,
            ..Default::default()
        },
        Payment::Begun(charge) => {
            let Charge { status, amount, provider_reference, captured, refunded, .. } = charge;
            payment::Payment {
                order_id,
                status: encode_status(status).into(),
                amount: Some(amount.into()),
                provider_reference,
                captured,
                refunded,
                version,
            }
        }
    }
}

fn encode_status(status: Status) -> PaymentStatus {
    match status {
        Status::AuthorizationPending => PaymentStatus::AuthorizationPending,
        Status::Authorized => PaymentStatus::Authorized,
        Status::Declined => PaymentStatus::Declined,
        Status::Failed => PaymentStatus::Failed,
        Status::CapturePending => PaymentStatus::CapturePending,
        Status::Captured => PaymentStatus::Captured,
        Status::CaptureFailed => PaymentStatus::CaptureFailed,
        Status::VoidPending => PaymentStatus::VoidPending,
        Status::Voided => PaymentStatus::Voided,
        Status::RefundPending => PaymentStatus::RefundPending,
        Status::Refunded => PaymentStatus::Refunded,
    }
}
