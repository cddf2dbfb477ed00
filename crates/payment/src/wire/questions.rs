//! Questions, and what they find.

use engine::WireError;
use events::{
    id::{OrderId, PaymentId},
    proto::payment::{self, PaymentStatus, TransactionKind, payment_question::Question as Asked},
    questions,
};
use prost::Message;
use protocol::{id::ParseError, time::Timestamp};

use crate::{
    domain::{OperationKind, Payment, Status, Transaction, TransactionStatus, Trouble},
    provider::Provider,
    query::{Found, Question},
    reconcile::{Difference, DifferenceKind},
    store::{PaymentFilter, PaymentPage, PaymentPlace, PaymentRow},
    wire::facts::encode_stuck_reason,
};

/// The most payments of one page.
const MAX_PAGE: u32 = 1_000;

pub(super) fn decode(payload: &[u8]) -> Result<Question, WireError> {
    let asked = payment::PaymentQuestion::decode(payload)?.question;
    Ok(match asked.ok_or(WireError::Missing("question"))? {
        Asked::GetPayment(get) => Question::Payment(PaymentId::parse(&get.payment_id)?),
        Asked::ListPaymentsOfOrder(list) => Question::PaymentsOf(OrderId::parse(&list.order_id)?),
        Asked::ListPayments(list) => Question::Payments(page(list)?),
        Asked::ListStuckPayments(list) => {
            Question::Stuck { after: list.after, limit: list.limit.clamp(1, MAX_PAGE) }
        }
        Asked::GetTotals(payment::GetTotals {}) => Question::Totals,
        Asked::Reconcile(reconcile) => Question::Reconcile {
            from: Timestamp::parse(reconcile.from.as_ref())?,
            until: Timestamp::parse(reconcile.until.as_ref())?,
        },
    })
}

fn page(list: payment::ListPayments) -> Result<PaymentPage, WireError> {
    let status = PaymentStatus::try_from(list.status).ok().map(decode_status);
    let after = |place: payment::PaymentPlace| {
        let begun_at = Timestamp::parse(place.begun_at.as_ref())?;
        let payment_id = PaymentId::parse(&place.payment_id)?;
        Ok::<_, ParseError>(PaymentPlace { begun_at, payment_id })
    };
    let time = |time: Option<_>| time.map(|time| Timestamp::parse(Some(&time))).transpose();
    let order_id = Some(&list.order_id).filter(|id| !id.is_empty());
    Ok(PaymentPage {
        filter: PaymentFilter {
            status: status.ok_or(WireError::Missing("status"))?,
            order_id: order_id.map(|id| OrderId::parse(id)).transpose()?,
            provider_reference: list.provider_reference,
            begun_from: time(list.begun_from)?,
            begun_until: time(list.begun_until)?,
        },
        oldest_first: list.oldest_first,
        after: list.after.map(after).transpose()?,
        limit: list.limit.clamp(1, MAX_PAGE),
    })
}

pub(super) fn encode(found: Found) -> Vec<u8> {
    match found {
        Found::Payment(shop, row) => encode_payment(shop, *row).encode_to_vec(),
        Found::Payments { payments, has_more } => {
            let payments = payments.into_iter().map(|(shop, row)| encode_payment(shop, row));
            let (payments, has_more) = questions::page(payments, has_more);
            payment::Payments { payments, has_more }.encode_to_vec()
        }
        Found::Listed { payments, has_more } => {
            let payments = payments.into_iter().map(encode_listed);
            let (payments, has_more) = questions::page(payments, has_more);
            payment::ListedPayments { payments, has_more }.encode_to_vec()
        }
        Found::Reconciled(found) => payment::Reconciliation {
            compared: found.compared,
            differences: found.differences.into_iter().map(encode_difference).collect(),
        }
        .encode_to_vec(),
        Found::Totals { ours, theirs } => payment::Totals {
            captured: ours.captured,
            refunded: ours.refunded,
            authorized: ours.authorized,
            pending: ours.pending,
            stuck: ours.stuck,
            provider_net: theirs.net,
            provider_held: theirs.held,
        }
        .encode_to_vec(),
    }
}

fn encode_difference(difference: Difference) -> payment::Difference {
    let kind = match difference.kind {
        DifferenceKind::UnknownToUs => payment::DifferenceKind::UnknownToUs,
        DifferenceKind::UnknownToProvider => payment::DifferenceKind::UnknownToProvider,
        DifferenceKind::AmountDiffers => payment::DifferenceKind::AmountDiffers,
    };
    payment::Difference {
        kind: kind.into(),
        mendable: difference.mendable().is_some(),
        operation_id: difference.operation_id,
        amount: Some(difference.amount.into()),
        provider_reference: difference.provider_reference,
    }
}

fn encode_listed(row: PaymentRow) -> payment::ListedPayment {
    let PaymentRow { revision, payment } = row;
    payment::ListedPayment {
        payment_id: payment.id.to_string(),
        order_id: payment.id.order_id.to_string(),
        status: encode_status(payment.status).into(),
        amount: Some(payment.amount.into()),
        provider: Provider::NAME.to_owned(),
        authorized: Some(payment.money(payment.authorized).into()),
        captured: Some(payment.money(payment.captured).into()),
        refunded: Some(payment.money(payment.refunded).into()),
        stuck_reason: encode_trouble(&payment).into(),
        begun_at: Some(payment.begun_at().into()),
        provider_reference: payment.provider_reference,
        version: revision.version,
        position: revision.position,
    }
}

/// Why its operation is stuck, if it is.
fn encode_trouble(payment: &Payment) -> payment::StuckReason {
    match payment.trouble() {
        Some(Trouble::Stuck(reason)) => encode_stuck_reason(reason),
        Some(Trouble::Uncertain) | None => payment::StuckReason::Unspecified,
    }
}

fn encode_payment(shop: String, row: PaymentRow) -> payment::Payment {
    let PaymentRow { revision, payment } = row;
    let transactions = payment.transactions.iter();
    let action = payment.action.as_ref().map(|action| payment::Action {
        url: action.url.clone(),
        data: action.data.clone(),
        expires_at: Some(Timestamp::from_millis(action.expires_at_ms).into()),
    });
    payment::Payment {
        shop,
        payment_id: payment.id.to_string(),
        order_id: payment.id.order_id.to_string(),
        status: encode_status(payment.status).into(),
        amount: Some(payment.amount.into()),
        provider: Provider::NAME.to_owned(),
        authorized: Some(payment.money(payment.authorized).into()),
        captured: Some(payment.money(payment.captured).into()),
        refunded: Some(payment.money(payment.refunded).into()),
        transactions: transactions.map(|it| encode_transaction(&payment, it)).collect(),
        stuck_reason: encode_trouble(&payment).into(),
        provider_reference: payment.provider_reference,
        action,
        version: revision.version,
    }
}

fn encode_transaction(payment: &Payment, transaction: &Transaction) -> payment::Transaction {
    let Transaction { operation, amount, status, detail, at_ms, refund } = transaction;
    payment::Transaction {
        operation_id: operation.id(payment.id),
        kind: encode_kind(operation.kind).into(),
        amount: Some(payment.money(*amount).into()),
        status: encode_transaction_status(*status).into(),
        detail: detail.clone(),
        time: Some(Timestamp::from_millis(*at_ms).into()),
        refund_id: refund.id.clone(),
        reason: refund.reason.clone(),
    }
}

fn encode_kind(kind: OperationKind) -> TransactionKind {
    match kind {
        OperationKind::Authorize => TransactionKind::Authorization,
        OperationKind::Capture => TransactionKind::Capture,
        OperationKind::Void => TransactionKind::Void,
        OperationKind::Refund => TransactionKind::Refund,
    }
}

fn encode_transaction_status(status: TransactionStatus) -> payment::TransactionStatus {
    match status {
        TransactionStatus::Pending => payment::TransactionStatus::Pending,
        TransactionStatus::Uncertain => payment::TransactionStatus::Uncertain,
        TransactionStatus::Stuck => payment::TransactionStatus::Stuck,
        TransactionStatus::GivenUp => payment::TransactionStatus::GivenUp,
        TransactionStatus::Done => payment::TransactionStatus::Done,
        TransactionStatus::Refused => payment::TransactionStatus::Refused,
        TransactionStatus::Failed => payment::TransactionStatus::Failed,
    }
}

fn encode_status(status: Status) -> PaymentStatus {
    match status {
        Status::AuthorizationPending => PaymentStatus::AuthorizationPending,
        Status::ActionRequired => PaymentStatus::ActionRequired,
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
        Status::GivenUp => PaymentStatus::GivenUp,
    }
}

/// A status that is looked for; none when it is not given.
fn decode_status(status: PaymentStatus) -> Option<Status> {
    Status::ALL.into_iter().find(|known| encode_status(*known) == status)
}
