//! `/v1/shops/{shop}/orders`: places, shows, finds and cancels orders.

mod place;
mod read;

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use events::{
    http::OrderView,
    id::{OrderId, Reference},
    proto::{
        command::Body,
        order::{
            CancelOrderAnswer, GetHistory, GetOrder, GetOrderByReference,
            cancel_order_answer::Outcome,
        },
    },
};
use protocol::{id::Shop, subject::Lane};
use serde_json::{Value, json};

use crate::{
    body::JsonBytes,
    extract::{OrderPath, RequestContext, query},
    fields::text,
    problem::{Code, Problem, RETRY_AFTER_S},
    services::{Answer, AnswerError, Reply},
    state::AppState,
    view,
};

pub(crate) use place::post;

/// `GET /orders/{id}`.
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
) -> Result<Json<OrderView>, Problem> {
    let order = find_order(&state, &context, id).await?;
    order.map(Json).ok_or_else(|| unknown(id))
}

/// `GET /orders/{id}/history`.
pub(crate) async fn history(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
) -> Result<Json<Value>, Problem> {
    let question = GetHistory { order_id: id.to_string() };
    match state.services.query(&context, question).await? {
        Some(history) => Ok(Json(json!({"steps": view::history(history)?}))),
        None => Err(unknown(id)),
    }
}

/// `GET /orders?reference=R`: the one order with that reference, or none.
pub(crate) async fn find(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let reference = query(&uri, |fields| fields.required("reference", text(Reference::parse)))?;
    let question = GetOrderByReference { reference: reference.into() };
    let order = state.services.query(&context, question).await?;
    let order = order.map(view::order).transpose()?;
    Ok(Json(json!({"orders": Vec::from_iter(order)})))
}

/// `POST /orders/{id}/cancel`.
pub(crate) async fn cancel(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let mut order = read::cancel_order(&bytes)?;
    order.order_id = id.to_string();
    let command = context.command(None, &bytes, Body::CancelOrder(order));
    let command_id = command.id.clone();
    match state.services.send(&context, Lane::Live, command, state.answer_timeout).await? {
        Reply::Pending => Ok(pending(&context.shop, id, &command_id)),
        Reply::Answered(answer) => {
            Ok(answer.mark(cancelled(&state, &context, id, &answer, &command_id).await))
        }
    }
}

async fn cancelled(
    state: &AppState,
    context: &RequestContext,
    id: OrderId,
    answer: &Answer<CancelOrderAnswer>,
    command_id: &str,
) -> Result<Response, Problem> {
    match &answer.body.outcome {
        Some(Outcome::Cancelled(_)) => Ok(match find_order(state, context, id).await? {
            Some(order) => Json(order).into_response(),
            None => pending(&context.shop, id, command_id),
        }),
        Some(Outcome::TooLate(too_late)) => {
            let detail = "the payment of the order is confirmed: it can no longer be cancelled";
            let status = view::status(too_late.status)?;
            Err(Problem::new(Code::TooLate, detail).with("order_status", status.as_str()))
        }
        Some(Outcome::NotFound(_)) => Err(unknown(id)),
        None => Err(AnswerError::Unknown.into()),
    }
}

/// The order, by a projection that reflects the log of the order service at least up to `at_least`.
async fn find_order(
    state: &AppState,
    context: &RequestContext,
    id: OrderId,
) -> Result<Option<OrderView>, Problem> {
    let question = GetOrder { order_id: id.to_string() };
    let order = state.services.query(context, question).await?;
    Ok(order.map(view::order).transpose()?)
}

fn unknown(id: OrderId) -> Problem {
    Problem::not_found("order", &id.to_string())
}

fn location(shop: &Shop, id: OrderId) -> String {
    format!("/v1/shops/{shop}/orders/{id}")
}

/// The response for a command that is stored and not yet answered: the outcome will be at the order.
fn pending(shop: &Shop, id: OrderId, command_id: &str) -> Response {
    let retry_after = RETRY_AFTER_S.to_string();
    let headers = [(header::LOCATION, location(shop, id)), (header::RETRY_AFTER, retry_after)];
    let body = Json(json!({"command_id": command_id, "order_id": id}));
    (StatusCode::ACCEPTED, headers, body).into_response()
}
