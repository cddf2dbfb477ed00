//! `/v1/shops/{shop}/payments` and `/orders/{id}/payments`: shows payments, and pays back.

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
            GetPayment, ListPayments, ListStuckPayments, Payments, Reconcile, RefundPayment,
            RefundPaymentAnswer, refund_payment_answer::Outcome,
        },
    },
};
use protocol::{
    id::{ParseError, Shop},
    subject::Lane,
    time::Timestamp,
};
use serde_json::{Value, json};

use crate::{
    body::JsonBytes,
    extract::{OrderPath, RequestContext, page_length, path_parameter, query},
    fields::{self, Errors, Path, integer, object, text, within, words},
    json::Node,
    problem::{Code, FieldError, Problem},
    services::{Answer, AnswerError, Reply},
    state::AppState,
    view::{self, ViewError},
};

/// The length of a page when the client names none.
const DEFAULT_PAGE_LENGTH: u32 = 100;

/// A payment's id in the path.
pub(crate) struct PaymentPath(pub(crate) PaymentId);

impl<S: Send + Sync> FromRequestParts<S> for PaymentPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "payment_id", PaymentId::parse).await.map(Self)
    }
}

/// `GET /orders/{id}/payments`: the payments of an order, from the first on.
pub(crate) async fn of_order(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
) -> Result<Json<Value>, Problem> {
    let question = ListPayments { order_id: id.to_string() };
    let payments = state.services.query_all(&context, question).await?;
    Ok(Json(json!({"payments": shown(payments)?})))
}

/// `GET /payments/{payment_id}`: a payment with its transactions.
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

/// `GET /payments/stuck`: the payments with an operation that an operator has to settle.
pub(crate) async fn stuck(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let question = query(&uri, |fields| {
        let after = fields.optional("after", text(PaymentId::parse));
        let limit = fields.optional("limit", text(page_length));
        Some(ListStuckPayments {
            after: after.map(String::from).unwrap_or_default(),
            limit: limit.unwrap_or(DEFAULT_PAGE_LENGTH),
        })
    })?;
    let limit = question.limit as usize;
    let payments = shown(state.services.query_all(&context, question).await?)?;
    let next = payments.last().filter(|_| payments.len() >= limit).map(|last| last.id);
    Ok(Json(json!({"payments": payments, "next": next})))
}

/// `GET /payments/reconciliation?from=T&until=T`: the provider's own list beside our log.
pub(crate) async fn reconciliation(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let question = query(&uri, |fields| {
        let from = fields.required("from", text(time));
        let until = fields.required("until", text(time));
        Some(Reconcile { from: Some(from?.into()), until: Some(until?.into()) })
    })?;
    let found = state.services.query_all(&context, question).await?;
    let differences: Vec<_> = found.differences.iter().map(view::difference).collect();
    Ok(Json(json!({"compared": found.compared, "differences": differences})))
}

fn time(value: &str) -> Result<Timestamp, ParseError> {
    let error = || ParseError::new("time", "must be RFC 3339, such as 2026-11-20T15:28:14Z", value);
    serde_json::from_value(Value::from(value)).map_err(|_| error())
}

/// `POST /orders/{id}/refunds`: pays an amount back.
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
    match state.services.send(&context, Lane::Live, command, state.answer_timeout).await? {
        Reply::Pending(accepted) => {
            Ok(accepted.respond(json!({"refund_id": refund_id, "order_id": id})))
        }
        Reply::Answered(answer) => {
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
            let body = json!({"refund_id": refund_id, "payment_id": payment_id,
                "order_id": order_id});
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
            let error = FieldError { field: "amount".to_owned(), detail: detail.clone() };
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
