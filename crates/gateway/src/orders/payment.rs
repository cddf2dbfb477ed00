//! `POST /orders/{id}/payments`: starts another payment of an order whose last one failed.

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
use serde_json::json;

use super::{pending, read, unknown};
use crate::{
    body::JsonBytes,
    extract::{OrderPath, RequestContext},
    problem::{Code, Problem},
    services::{AnswerError, Reply},
    state::AppState,
    view::{self, ViewError},
};

/// `POST /orders/{id}/payments`.
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
            let payment_id = parsed(PaymentId::parse(&started.payment_id))?;
            let amount = parsed(Money::parse(started.amount.as_ref()))?;
            let due_by = parsed(Timestamp::parse(started.due_by.as_ref()))?;
            let body =
                json!({"id": payment_id, "order_id": id, "amount": amount, "due_by": due_by});
            Ok((StatusCode::CREATED, Json(body)).into_response())
        }
        Outcome::NotDue(not_due) => {
            let detail =
                "a payment can be started when the last one has failed, while the stock is held";
            let status = view::status(not_due.status)?;
            let payment_status = view::payment_status(not_due.payment_status)?;
            Err(Problem::new(Code::PaymentNotDue, detail)
                .with("order_status", status.as_str())
                .with("payment_status", payment_status.as_str()))
        }
        Outcome::NotFound(_) => Err(unknown(id)),
    }
}

/// A value of an answer. A service that writes another one is broken.
fn parsed<T>(value: Result<T, ParseError>) -> Result<T, Problem> {
    value.map_err(|error| ViewError::from(error).into())
}
