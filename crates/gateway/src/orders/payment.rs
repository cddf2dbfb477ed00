//! `POST /orders/{id}/payments`: starts another payment of an order whose last one failed or waits for its customer.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use events::{
    id::{OrderId, PaymentId},
    money::Money,
    proto::{
        command::Body,
        order::{StartPayment, StartPaymentAnswer, start_payment_answer::Outcome},
    },
};
use protocol::{id::ParseError, subject::Lane, time::Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::{pending, read, unknown};
use crate::{
    body::JsonBytes,
    extract::{OrderPath, RequestContext},
    openapi::bodies::NewPayment,
    problem::{Code, Problem},
    services::{AnswerError, Reply},
    state::AppState,
    view::{self, ViewError},
};

/// A payment that was started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StartedPayment {
    /// Its id.
    id: PaymentId,
    /// The order that is to be paid.
    order_id: OrderId,
    /// What is to be paid.
    amount: Money,
    /// Until when it must be authorised.
    due_by: Timestamp,
}

/// Starts another payment of an order, after one that failed or that waits for its customer.
///
/// While the stock is held, it is for the total. When the order is confirmed and what was to be captured for a shipment
/// could not be, it is for the rest: what has shipped is captured as soon as it is authorised, and what ships later then.
/// What the one that its customer left is granted or takes after all is given back.
#[utoipa::path(
    post,
    path = "/shops/{shop}/orders/{id}/payments",
    operation_id = "start_payment",
    tag = "Payments",
    request_body = NewPayment,
    responses((status = 201, description = "The payment has begun.", body = StartedPayment)),
    extensions(("x-problems" = json!(["not_found", "payment_not_due"]))),
)]
pub(crate) async fn start(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let payment_method = read::payment(&bytes)?;
    let payment = StartPayment { order_id: id.to_string(), payment_method };
    let command = context.command(None, Body::StartPayment(payment));
    match state.services.send(&context, Lane::Live, command, state.answer_timeout).await? {
        Reply::Pending(accepted) => Ok(pending(id, accepted)),
        Reply::Answered(answer) => Ok(answer.mark(respond(id, &answer.body))),
    }
}

fn respond(id: OrderId, answer: &StartPaymentAnswer) -> Result<Response, Problem> {
    match answer.outcome.as_ref().ok_or(AnswerError::Unknown)? {
        Outcome::Started(started) => {
            let body = StartedPayment {
                id: parsed(PaymentId::parse(&started.payment_id))?,
                order_id: id,
                amount: parsed(Money::parse(started.amount.as_ref()))?,
                due_by: parsed(Timestamp::parse(started.due_by.as_ref()))?,
            };
            Ok((StatusCode::CREATED, Json(body)).into_response())
        }
        Outcome::NotDue(not_due) => {
            let detail = "a payment can be started when the last one has failed or waits for its customer, \
                 while the stock is held or when the order is confirmed; on a provider, not on account, and 20 \
                 times at most";
            let status = view::status(not_due.status);
            let payment_status = view::payment_status(not_due.payment_status);
            Err(Problem::new(Code::PaymentNotDue, detail)
                .with("order_status", status.to_string())
                .with("payment_status", payment_status.to_string()))
        }
        Outcome::NotFound(_) => Err(unknown(id)),
    }
}

/// A value of an answer. A service that writes another one is broken.
fn parsed<T>(value: Result<T, ParseError>) -> Result<T, Problem> {
    value.map_err(|error| ViewError::from(error).into())
}
