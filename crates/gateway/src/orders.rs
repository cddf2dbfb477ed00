//! `/v1/shops/{shop}/orders`: orders are placed, shown, found and cancelled.

mod place;
mod read;

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use events::{
    answer::CancelOrderAnswer,
    id::{OrderId, Reference, Shop},
    proto::command::Body,
    subject::Lane,
};
use serde_json::{Value, json};

use crate::{
    body::JsonBytes,
    door::{Answer, Door, Reply},
    extract::{Call, OrderPath, query},
    fields::text,
    problem::{Code, Problem, RETRY_AFTER_S},
};

pub(crate) use place::post;

static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// `GET /orders/{id}`.
pub(crate) async fn get(
    State(door): State<Arc<Door>>,
    call: Call,
    OrderPath(id): OrderPath,
) -> Result<Json<Value>, Problem> {
    let order = view(&door, &call.shop, id, 0).await?;
    order.map(Json).ok_or_else(|| unknown(id))
}

/// `GET /orders/{id}/history`.
pub(crate) async fn history(
    State(door): State<Arc<Door>>,
    call: Call,
    OrderPath(id): OrderPath,
) -> Result<Json<Value>, Problem> {
    let steps = door.ask("order", &call.shop, "history", json!({"id": id}), 0).await?;
    steps.map(|steps| Json(json!({"steps": steps}))).ok_or_else(|| unknown(id))
}

/// `GET /orders?reference=R`: the one order with that reference, or none.
pub(crate) async fn find(
    State(door): State<Arc<Door>>,
    call: Call,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let reference = query(&uri, |fields| fields.required("reference", text(Reference::parse)))?;
    let parameters = json!({"reference": reference});
    let order = door.ask("order", &call.shop, "by_reference", parameters, 0).await?;
    Ok(Json(json!({"orders": Vec::from_iter(order)})))
}

/// `POST /orders/{id}/cancel`.
pub(crate) async fn cancel(
    State(door): State<Arc<Door>>,
    call: Call,
    OrderPath(id): OrderPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let mut order = read::cancel_order(&bytes)?;
    order.order_id = id.to_string();
    let command = call.command(None, &bytes, Body::CancelOrder(order));
    let command_id = command.id.clone();
    match door.send::<CancelOrderAnswer>(Lane::Live, command, door.answer_within).await? {
        Reply::Pending => Ok(pending(&call.shop, id, &command_id)),
        Reply::Answered(answer) => {
            Ok(answer.mark(cancelled(&door, &call, id, &answer, &command_id).await))
        }
    }
}

async fn cancelled(
    door: &Door,
    call: &Call,
    id: OrderId,
    answer: &Answer<CancelOrderAnswer>,
    command_id: &str,
) -> Result<Response, Problem> {
    match &answer.body {
        CancelOrderAnswer::Cancelled => {
            Ok(match view(door, &call.shop, id, answer.sequence).await? {
                Some(order) => (StatusCode::OK, preference(call), Json(order)).into_response(),
                None => pending(&call.shop, id, command_id),
            })
        }
        CancelOrderAnswer::TooLate { status } => {
            let detail = "the order stands: book a return once it has arrived";
            Err(Problem::new(Code::TooLate, detail).with("order_status", status.as_str()))
        }
        CancelOrderAnswer::NotFound => Err(unknown(id)),
    }
}

/// The order as it stands, at least as far as `at_least` in the log of the order service.
async fn view(
    door: &Door,
    shop: &Shop,
    id: OrderId,
    at_least: u64,
) -> Result<Option<Value>, Problem> {
    door.ask("order", shop, "order", json!({"id": id}), at_least).await
}

fn unknown(id: OrderId) -> Problem {
    Problem::not_found("order", &id.to_string())
}

fn location(shop: &Shop, id: OrderId) -> String {
    format!("/v1/shops/{shop}/orders/{id}")
}

/// The command is taken for good; its order will be there, and how it went can be seen there.
fn pending(shop: &Shop, id: OrderId, command_id: &str) -> Response {
    let retry_after = RETRY_AFTER_S.to_string();
    let headers = [(header::LOCATION, location(shop, id)), (header::RETRY_AFTER, retry_after)];
    let body = Json(json!({"command_id": command_id, "order_id": id}));
    (StatusCode::ACCEPTED, headers, body).into_response()
}

/// Says how long was waited at most, where the caller asked for it.
fn preference(call: &Call) -> Option<[(HeaderName, HeaderValue); 1]> {
    let applied = format!("wait={}", call.wait?.as_secs());
    Some([(PREFERENCE_APPLIED.clone(), HeaderValue::from_str(&applied).ok()?)])
}
