//! Questions, and what they find.

use std::collections::BTreeMap;

use engine::WireError;
use events::{
    id::{OrderId, PaymentId},
    money::{Currency, Money},
    proto::payment::{
        self, PaymentStatus, PaymentTrouble, TransactionKind, payment_question::Question as Asked,
    },
    questions,
};
use prost::Message;
use protocol::{id::ParseError, time::Timestamp};

use crate::{
    domain::{
        OpenDifference, OperationKind, Payment, PaymentRow, Status, Transaction, TransactionStatus,
        Trouble, TroubleKind,
    },
    provider::{self, Provider},
    query::{Found, Question},
    reconcile::Difference,
    store::{PaymentFilter, PaymentPage, PaymentPlace, Totals},
    wire::facts::{self, encode_stuck_reason},
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
            let trouble = if list.uncertain { TroubleKind::Uncertain } else { TroubleKind::Stuck };
            let limit = list.limit.clamp(1, MAX_PAGE);
            Question::InTrouble { trouble, after: list.after, limit }
        }
        Asked::ListShops(list) => {
            Question::Shops { after: list.after, limit: list.limit.clamp(1, MAX_PAGE) }
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
    let trouble = PaymentTrouble::try_from(list.trouble).ok().map(|trouble| match trouble {
        PaymentTrouble::Unspecified => None,
        PaymentTrouble::Uncertain => Some(TroubleKind::Uncertain),
        PaymentTrouble::Stuck => Some(TroubleKind::Stuck),
    });
    let after = |place: payment::PaymentPlace| {
        let begun_at = Timestamp::parse(place.begun_at.as_ref())?;
        let payment_id = PaymentId::parse(&place.payment_id)?;
        Ok::<_, ParseError>(PaymentPlace { begun_at, payment_id })
    };
    let order_id = Some(&list.order_id).filter(|id| !id.is_empty());
    Ok(PaymentPage {
        filter: PaymentFilter {
            status: status.ok_or(WireError::Missing("status"))?,
            order_id: order_id.map(|id| OrderId::parse(id)).transpose()?,
            provider_reference: list.provider_reference,
            trouble: trouble.ok_or(WireError::Missing("trouble"))?,
            begun_from: Timestamp::parse_optional(list.begun_from.as_ref())?,
            begun_until: Timestamp::parse_optional(list.begun_until.as_ref())?,
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
            until: Some(found.until.into()),
        }
        .encode_to_vec(),
        Found::Shops(names) => payment::Shops { names }.encode_to_vec(),
        Found::Totals { ours, theirs } => encode_totals(&ours, &theirs).encode_to_vec(),
    }
}

/// Both sides, by currency: either may have some that the other has not.
fn encode_totals(ours: &Totals, theirs: &[provider::Totals]) -> payment::Totals {
    let mut currencies: BTreeMap<Currency, payment::CurrencyTotals> = BTreeMap::new();
    let of = |currency: Currency| {
        let nothing: Option<events::proto::Money> = Some(Money { minor: 0, currency }.into());
        payment::CurrencyTotals {
            captured: nothing.clone(),
            refunded: nothing.clone(),
            authorized: nothing.clone(),
            provider_net: nothing.clone(),
            provider_held: nothing,
        }
    };
    for sums in &ours.currencies {
        let currency = sums.captured.currency;
        let totals = currencies.entry(currency).or_insert_with(|| of(currency));
        totals.captured = Some(sums.captured.into());
        totals.refunded = Some(sums.refunded.into());
        totals.authorized = Some(sums.authorized.into());
    }
    for sums in theirs {
        let currency = sums.net.currency;
        let totals = currencies.entry(currency).or_insert_with(|| of(currency));
        totals.provider_net = Some(sums.net.into());
        totals.provider_held = Some(sums.held.into());
    }
    payment::Totals {
        currencies: currencies.into_values().collect(),
        pending: ours.pending,
        stuck: ours.stuck,
    }
}

fn encode_difference(difference: Difference) -> payment::Difference {
    payment::Difference {
        kind: facts::encode_difference_kind(difference.kind).into(),
        mendable: difference.is_mendable(),
        operation_id: difference.operation_id,
        amount: Some(difference.amount.into()),
        provider_reference: difference.provider_reference,
        occurred_at: difference.occurred_at.map(Into::into),
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
    match payment.open_trouble() {
        Some(Trouble::Stuck(reason)) => encode_stuck_reason(reason),
        Some(Trouble::Uncertain) | None => payment::StuckReason::Unspecified,
    }
}

fn encode_payment(shop: String, row: PaymentRow) -> payment::Payment {
    let PaymentRow { revision, payment } = row;
    let transactions = payment.transactions.iter();
    let differences = payment.differences.iter();
    let differences = differences.map(|it| encode_open_difference(&payment, it)).collect();
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
        differences,
    }
}

fn encode_open_difference(
    payment: &Payment,
    difference: &OpenDifference,
) -> payment::OpenDifference {
    let OpenDifference { operation, reason, detail, at_ms } = difference;
    payment::OpenDifference {
        operation_id: operation.id(payment.id),
        reason: encode_stuck_reason(*reason).into(),
        detail: detail.clone(),
        found_at: Some(Timestamp::from_millis(*at_ms).into()),
    }
}

fn encode_transaction(payment: &Payment, transaction: &Transaction) -> payment::Transaction {
    let Transaction { operation, amount, status, detail, at_ms, ended_at_ms: _, refund } =
        transaction;
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
        OperationKind::Charge => TransactionKind::Charge,
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
        Status::ChargePending => PaymentStatus::ChargePending,
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
