//! Payments, as the JSON of the API.

use events::{
    http::{
        CurrencyTotals, OpenDifferenceView, PaymentAction, PaymentSummary, PaymentTotals,
        PaymentView, TransactionView,
    },
    id::{OrderId, PaymentId},
    money::Money,
    proto::{self, payment},
};
use protocol::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::ViewError;

/// A payment.
pub(crate) fn payment(payment: payment::Payment) -> Result<PaymentView, ViewError> {
    let amount = Money::parse(payment.amount.as_ref())?;
    let minor = |money: Option<&proto::Money>| money.map_or(0, |money| money.minor);
    Ok(PaymentView {
        id: PaymentId::parse(&payment.payment_id)?,
        order_id: OrderId::parse(&payment.order_id)?,
        status: name(payment.status().as_str_name(), "PAYMENT_STATUS_", payment.status),
        amount: amount.minor,
        currency: amount.currency,
        authorized: minor(payment.authorized.as_ref()),
        captured: minor(payment.captured.as_ref()),
        refunded: minor(payment.refunded.as_ref()),
        stuck: stuck(payment.stuck_reason(), payment.stuck_reason),
        provider: payment.provider,
        provider_reference: payment.provider_reference,
        action: payment.action.map(action).transpose()?,
        transactions: payment
            .transactions
            .into_iter()
            .map(transaction)
            .collect::<Result<_, _>>()?,
        differences: payment
            .differences
            .into_iter()
            .map(open_difference)
            .collect::<Result<_, _>>()?,
        version: payment.version,
    })
}

/// A payment in a list.
pub(crate) fn payment_summary(
    payment: payment::ListedPayment,
) -> Result<PaymentSummary, ViewError> {
    let amount = Money::parse(payment.amount.as_ref())?;
    let minor = |money: Option<&proto::Money>| money.map_or(0, |money| money.minor);
    let status = name(payment.status().as_str_name(), "PAYMENT_STATUS_", payment.status);
    Ok(PaymentSummary {
        id: PaymentId::parse(&payment.payment_id)?,
        order_id: OrderId::parse(&payment.order_id)?,
        status,
        amount: amount.minor,
        currency: amount.currency,
        authorized: minor(payment.authorized.as_ref()),
        captured: minor(payment.captured.as_ref()),
        refunded: minor(payment.refunded.as_ref()),
        stuck: stuck(payment.stuck_reason(), payment.stuck_reason),
        provider: payment.provider,
        provider_reference: payment.provider_reference,
        begun_at: Timestamp::parse(payment.begun_at.as_ref())?,
        version: payment.version,
        position: payment.position,
    })
}

/// Why an operation cannot be brought to an end without an operator, if one cannot.
fn stuck(reason: payment::StuckReason, number: i32) -> Option<String> {
    (reason != payment::StuckReason::Unspecified)
        .then(|| name(reason.as_str_name(), "STUCK_REASON_", number))
}

/// A difference between the provider's list and our log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DifferenceView {
    /// `unknown_to_us`, `unknown_to_provider` or `amount_differs`.
    kind: String,
    /// Our reference at the provider.
    operation_id: String,
    /// The amount by the provider's list; by our log when the provider does not list it.
    amount: DifferenceAmount,
    /// The provider's name for the authorisation; empty when the provider does not list it.
    provider_reference: String,
    /// Whether it is mended by voiding or paying back what the provider holds.
    mendable: bool,
}

/// An amount as a provider lists it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DifferenceAmount {
    /// In minor units.
    minor: i64,
    /// The currency; empty when the provider names none.
    currency: String,
}

/// A difference between the provider's list and our log.
pub(crate) fn difference(difference: payment::Difference) -> DifferenceView {
    let kind = name(difference.kind().as_str_name(), "DIFFERENCE_KIND_", difference.kind);
    let proto::Money { minor, currency } = difference.amount.unwrap_or_default();
    DifferenceView {
        kind,
        operation_id: difference.operation_id,
        amount: DifferenceAmount { minor, currency },
        provider_reference: difference.provider_reference,
        mendable: difference.mendable,
    }
}

fn action(action: payment::Action) -> Result<PaymentAction, ViewError> {
    let expires_at = Timestamp::parse(action.expires_at.as_ref())?;
    Ok(PaymentAction { url: action.url, data: action.data, expires_at: Some(expires_at) })
}

fn open_difference(difference: payment::OpenDifference) -> Result<OpenDifferenceView, ViewError> {
    Ok(OpenDifferenceView {
        reason: name(difference.reason().as_str_name(), "STUCK_REASON_", difference.reason),
        operation_id: difference.operation_id,
        detail: difference.detail,
        found_at: Timestamp::parse(difference.found_at.as_ref())?,
    })
}

fn transaction(transaction: payment::Transaction) -> Result<TransactionView, ViewError> {
    let (kind, status) = (transaction.kind(), transaction.status());
    Ok(TransactionView {
        kind: name(kind.as_str_name(), "TRANSACTION_KIND_", transaction.kind),
        amount: transaction.amount.as_ref().map_or(0, |amount| amount.minor),
        status: name(status.as_str_name(), "TRANSACTION_STATUS_", transaction.status),
        operation_id: transaction.operation_id,
        detail: transaction.detail,
        refund_id: transaction.refund_id,
        reason: transaction.reason,
        time: Timestamp::parse(transaction.time.as_ref())?,
    })
}

/// A value of an enumeration by its name; one that a newer version has added by its number.
fn name(name: &str, prefix: &str, number: i32) -> String {
    match name.strip_prefix(prefix) {
        Some("UNSPECIFIED") | None => number.to_string(),
        Some(name) => name.to_lowercase(),
    }
}

/// The money in sums.
pub(crate) fn payment_totals(totals: payment::Totals) -> Result<PaymentTotals, ViewError> {
    let payment::Totals { currencies, pending, stuck } = totals;
    let currencies = currencies.iter().map(currency_totals).collect::<Result<_, _>>()?;
    Ok(PaymentTotals { currencies, pending, stuck })
}

fn currency_totals(totals: &payment::CurrencyTotals) -> Result<CurrencyTotals, ViewError> {
    let captured = Money::parse(totals.captured.as_ref())?;
    let minor = |money: &Option<proto::Money>| money.as_ref().map_or(0, |money| money.minor);
    Ok(CurrencyTotals {
        currency: captured.currency,
        captured: captured.minor,
        refunded: minor(&totals.refunded),
        authorized: minor(&totals.authorized),
        provider_net: minor(&totals.provider_net),
        provider_held: minor(&totals.provider_held),
    })
}
