//! `/v1/shops/{shop}/payments` and `/orders/{id}/payments`: lists and shows payments, and pays back.

pub(crate) mod list;
pub(crate) mod settle;

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use events::{
    http::PaymentView,
    id::{OrderId, PaymentId},
    money::{Currency, MAX_ORDER_TOTAL},
    proto::{
        self,
        command::Body,
        payment::{
            GetPayment, ListPaymentsOfOrder, ListStuckPayments, Payments, Reconcile, RefundPayment,
            RefundPaymentAnswer, refund_payment_answer::Outcome,
        },
    },
};
use protocol::{
    id::{ParseError, Shop},
    subject::Lane,
    time::Timestamp,
};
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::{
    body::JsonBytes,
    cursors::List,
    extract::{DEFAULT_PAGE_LENGTH, OrderPath, RequestContext, page_length, path_parameter, query},
    fields::{self, Errors, Path, code, integer, object, text, within, words},
    json::Node,
    openapi::bodies::NewRefund,
    orders::require_order,
    problem::{Code, FieldError, Problem},
    services::{Answer, AnswerError, Reply},
    state::AppState,
    view::{self, DifferenceView, ViewError},
};

/// A payment's id in the path.
pub(crate) struct PaymentPath(pub(crate) PaymentId);

impl<S: Send + Sync> FromRequestParts<S> for PaymentPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "payment_id", PaymentId::parse).await.map(Self)
    }
}

/// The payments of an order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PaymentsOfOrder {
    /// All of them, from the first on.
    payments: Vec<PaymentView>,
}

/// A page of the payments that are stuck.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StuckPayments {
    /// The payments, by id.
    payments: Vec<PaymentView>,
    /// The `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// The provider's own list beside our log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reconciliation {
    /// How many transactions of the provider were compared.
    compared: u64,
    /// Where the two differ.
    differences: Vec<DifferenceView>,
    /// Before which time was compared: earlier than asked for when there is more than is compared at once. Ask again
    /// with this as `from`.
    until: Timestamp,
}

/// A refund that will be carried out.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "they are the names of the JSON")]
pub(crate) struct AcceptedRefund {
    /// Its id.
    refund_id: String,
    /// The payment of which it pays back.
    payment_id: String,
    /// The order.
    order_id: OrderId,
}

/// Lists the payments of an order.
#[utoipa::path(
    get,
    path = "/shops/{shop}/orders/{id}/payments",
    operation_id = "list_payments_of_order",
    tag = "Payments",
    responses((status = 200, description = "The payments, from the first on.", body = PaymentsOfOrder)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn of_order(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
) -> Result<Json<PaymentsOfOrder>, Problem> {
    let question = ListPaymentsOfOrder { order_id: id.to_string() };
    let payments = shown(state.services.query_all(&context, question).await?)?;
    if payments.is_empty() {
        require_order(&state, &context, id).await?;
    }
    Ok(Json(PaymentsOfOrder { payments }))
}

/// Shows a payment with its transactions.
#[utoipa::path(
    get,
    path = "/shops/{shop}/payments/{payment_id}",
    operation_id = "get_payment",
    tag = "Payments",
    responses((status = 200, description = "The payment.", body = PaymentView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    PaymentPath(id): PaymentPath,
) -> Result<Json<PaymentView>, Problem> {
    let question = GetPayment { payment_id: id.to_string() };
    let payment = state.services.query(&context, question).await?;
    let payment = payment.map(view::payment).transpose()?;
    payment.map(Json).ok_or_else(|| Problem::not_found("payment", &id.to_string()))
}

/// The part of the stuck payments that a client asks for, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct StuckPage {
    /// The `next` of the page before; without it, the first page.
    after: Option<String>,
    /// The most payments of the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Lists the payments with an operation that an operator has to settle.
#[utoipa::path(
    get,
    path = "/shops/{shop}/payments/stuck",
    operation_id = "list_stuck_payments",
    tag = "Payments",
    params(StuckPage),
    responses((status = 200, description = "A page of the payments, by id.", body = StuckPayments)),
)]
pub(crate) async fn stuck(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<StuckPayments>, Problem> {
    let list = List::of(&context.shop, ListStuckPayments::default());
    let question = query(&uri, |fields| {
        let after = fields.optional("after", code(|text| list.name(text, PaymentId::parse)));
        let limit = fields.optional("limit", text(page_length));
        Some(ListStuckPayments {
            after: after.map(String::from).unwrap_or_default(),
            limit: limit.unwrap_or(DEFAULT_PAGE_LENGTH),
            uncertain: false,
        })
    })?;
    let found = state.services.query_all(&context, question).await?;
    let end = found.payments.last().filter(|_| found.has_more);
    let next = end.map(|end| list.cursor(&end.payment_id));
    let payments = shown(found)?;
    Ok(Json(StuckPayments { payments, next }))
}

/// The time that a reconciliation is about, as it is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is a description")]
struct ReconciledTime {
    /// What was carried out from this time on.
    from: Timestamp,
    /// And before this time.
    until: Timestamp,
}

/// Compares the provider's own list with our log.
///
/// At most 50,000 transactions of each side at once.
#[utoipa::path(
    get,
    path = "/shops/{shop}/payments/reconciliation",
    operation_id = "reconcile_payments",
    tag = "Payments",
    params(ReconciledTime),
    responses((status = 200, description = "How the two differ.", body = Reconciliation)),
    extensions(("x-problems" = json!(["third_party_unavailable"]))),
)]
pub(crate) async fn reconciliation(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<Reconciliation>, Problem> {
    let question = query(&uri, |fields| {
        let from = fields.required("from", text(Timestamp::parse_rfc3339));
        let until = fields.required("until", text(Timestamp::parse_rfc3339));
        Some(Reconcile { from: Some(from?.into()), until: Some(until?.into()) })
    })?;
    let found = state.services.query_all(&context, question).await?;
    let until = Timestamp::parse(found.until.as_ref()).map_err(ViewError::from)?;
    let differences = found.differences.into_iter().map(view::difference).collect();
    Ok(Json(Reconciliation { compared: found.compared, differences, until }))
}

/// Pays an amount back.
///
/// Of the payment that it names; without `payment_id`, of the last payment of the order that has something to be
/// paid back.
#[utoipa::path(
    post,
    path = "/shops/{shop}/orders/{id}/refunds",
    operation_id = "refund_order",
    tag = "Payments",
    request_body = NewRefund,
    responses((status = 201, description = "The refund will be carried out.", body = AcceptedRefund, headers(
        ("Location" = String, description = "Where the payment is."),
    ))),
    extensions(("x-problems" = json!(["not_found", "nothing_to_refund", "refund_too_large"]))),
)]
pub(crate) async fn refund(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let mut refund = read_refund(&bytes)?;
    refund.order_id = id.to_string();
    let mut command = context.command(None, Body::RefundPayment(refund));
    // The same request under the same idempotency key is the same refund.
    let refund_id = command.id.clone();
    if let Some(Body::RefundPayment(refund)) = &mut command.body {
        refund.refund_id.clone_from(&refund_id);
    }
    let reply: Reply<RefundPaymentAnswer> =
        state.services.send(&context, Lane::Live, command, state.answer_timeout).await?;
    match reply {
        Reply::Pending(accepted) => Ok(accepted.of_order(id).of_refund(refund_id).into_response()),
        Reply::Answered(answer) => {
            if let Some(Outcome::NothingToRefund(_)) = answer.body.outcome {
                require_order(&state, &context, id).await?;
            }
            Ok(answer.mark(refunded(&context.shop, id, &refund_id, &answer)))
        }
    }
}

fn refunded(
    shop: &Shop,
    order_id: OrderId,
    refund_id: &str,
    answer: &Answer<RefundPaymentAnswer>,
) -> Result<Response, Problem> {
    match answer.body.outcome.as_ref().ok_or(AnswerError::Unknown)? {
        Outcome::Accepted(accepted) => {
            let payment_id = &accepted.payment_id;
            let location = format!("/v1/shops/{shop}/payments/{payment_id}");
            let body = AcceptedRefund {
                refund_id: refund_id.to_owned(),
                payment_id: payment_id.clone(),
                order_id,
            };
            Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response())
        }
        Outcome::NothingToRefund(_) => {
            let detail = "the order has no such payment, or none of which anything is captured";
            Err(Problem::new(Code::NothingToRefund, detail))
        }
        Outcome::TooLarge(too_large) => {
            let refundable = too_large.refundable.clone().unwrap_or_default();
            let detail = format!(
                "at most {} {} in minor units can be paid back of this payment",
                refundable.minor, refundable.currency
            );
            let error = FieldError::of_member("amount", &*detail);
            let refundable = json!({"minor": refundable.minor, "currency": refundable.currency});
            Err(Problem::new(Code::RefundTooLarge, detail)
                .naming(vec![error])
                .with("payment_id", too_large.payment_id.clone())
                .with("refundable", refundable))
        }
    }
}

/// Reads a refund. The order and the refund's id are left empty.
fn read_refund(bytes: &[u8]) -> Result<RefundPayment, Problem> {
    fields::body(bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            let amount = fields.required("amount", money);
            let reason = fields.required("reason", text(reason));
            let payment_id = fields.optional("payment_id", text(PaymentId::parse));
            Some(RefundPayment {
                amount: Some(amount?),
                reason: reason?,
                payment_id: payment_id.map(String::from).unwrap_or_default(),
                ..Default::default()
            })
        })
    })
}

fn money(node: &Node<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<proto::Money> {
    object(node, path, errors, |fields| {
        let minor = fields.required("minor", integer(refund_amount));
        let currency = fields.required("currency", text(Currency::parse_current));
        Some(proto::Money { minor: minor?, currency: currency?.into() })
    })
}

/// The rule of an amount that is paid back, in minor units.
fn refund_amount(minor: i64) -> Result<i64, ParseError> {
    within("a refund", "must be 1 to 1000000000000000", 1..=MAX_ORDER_TOTAL, minor)
}

fn reason(value: &str) -> Result<String, ParseError> {
    words("reason", "must be 1 to 200 characters without control characters", 200, value)
}

fn shown(payments: Payments) -> Result<Vec<PaymentView>, ViewError> {
    payments.payments.into_iter().map(view::payment).collect()
}
