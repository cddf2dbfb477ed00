//! `/v1/shops/{shop}/payments` and `/orders/{id}/payments`: shows payments.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{Uri, request::Parts},
};
use events::{
    http::PaymentView,
    id::PaymentId,
    proto::payment::{GetPayment, ListPayments, ListStuckPayments, Payments},
};
use serde_json::{Value, json};

use crate::{
    extract::{OrderPath, RequestContext, page_length, path_parameter, query},
    fields::text,
    problem::Problem,
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

fn shown(payments: Payments) -> Result<Vec<PaymentView>, ViewError> {
    payments.payments.into_iter().map(view::payment).collect()
}
