//! `/v1/shops/{shop}/orders`: places, shows, lists, pays and cancels orders, and takes them off hold.

pub(crate) mod list;
mod new_order;
pub(crate) mod payment;
mod personal;
pub(crate) mod place;
mod read;

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use events::{
    http::OrderView,
    id::OrderId,
    proto::{
        self,
        command::Body,
        order::{
            CancelOrder, CancelOrderAnswer, GetOrder, Note, ReleaseOrder, ReleaseOrderAnswer,
            cancel_order_answer::Outcome, release_order_answer,
        },
    },
};
use prost::Message;
use protocol::{id::Shop, subject::Lane};

use crate::{
    accepted::Accepted,
    body::JsonBytes,
    extract::{OrderPath, RequestContext},
    openapi::bodies::OrderNote,
    problem::{Code, Problem},
    sealing::{Owner, Part},
    services::{Answer, AnswerError, Reply},
    state::AppState,
    view,
};

/// Shows an order.
#[utoipa::path(
    get,
    path = "/shops/{shop}/orders/{id}",
    operation_id = "get_order",
    tag = "Orders",
    responses((status = 200, description = "The order.", body = OrderView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
) -> Result<Json<OrderView>, Problem> {
    let order = find_order(&state, &context, id).await?;
    order.map(Json).ok_or_else(|| unknown(id))
}

/// Cancels an order.
///
/// It can be cancelled until something of it has shipped: its stock is released, and what was paid is refunded.
#[utoipa::path(
    post,
    path = "/shops/{shop}/orders/{id}/cancel",
    operation_id = "cancel_order",
    tag = "Orders",
    request_body = Option<OrderNote>,
    responses((status = 200, description = "The order is cancelled.", body = OrderView)),
    extensions(("x-problems" = json!(["not_found", "too_late", "no_person_keys"]))),
)]
pub(crate) async fn cancel(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let note = read::note_of(&bytes)?;
    let order = CancelOrder { order_id: id.to_string(), note: None };
    let mut command = context.command(None, Body::CancelOrder(order));
    if !note.is_empty() {
        let sealed =
            seal_note(&state, &context, &mut command, id, Part::Cancellation, note).await?;
        if let Some(Body::CancelOrder(order)) = &mut command.body {
            order.note = Some(sealed);
        }
    }
    let command_id = command.id.clone();
    match state.services.send(&context, Lane::Live, command, state.answer_timeout).await? {
        Reply::Pending(accepted) => Ok(pending(id, accepted)),
        Reply::Answered(answer) => {
            Ok(answer.mark(cancelled(&state, &context, id, &answer, &command_id).await))
        }
    }
}

/// Takes an order off hold.
#[utoipa::path(
    post,
    path = "/shops/{shop}/orders/{id}/release",
    operation_id = "release_order",
    tag = "Orders",
    request_body = Option<OrderNote>,
    responses((status = 200, description = "The order is not on hold.", body = OrderView)),
    extensions(("x-problems" = json!(["not_found", "no_person_keys"]))),
)]
pub(crate) async fn release(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    OrderPath(id): OrderPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let note = read::note_of(&bytes)?;
    let order = ReleaseOrder { order_id: id.to_string(), note: None };
    let mut command = context.command(None, Body::ReleaseOrder(order));
    if !note.is_empty() {
        let sealed = seal_note(&state, &context, &mut command, id, Part::Release, note).await?;
        if let Some(Body::ReleaseOrder(order)) = &mut command.body {
            order.note = Some(sealed);
        }
    }
    let command_id = command.id.clone();
    let reply: Reply<ReleaseOrderAnswer> =
        state.services.send(&context, Lane::Live, command, state.answer_timeout).await?;
    let answer = match reply {
        Reply::Pending(accepted) => return Ok(pending(id, accepted)),
        Reply::Answered(answer) => answer,
    };
    let response = match &answer.body.outcome {
        Some(release_order_answer::Outcome::Released(_)) => {
            Ok(shown(&state, &context, id, &command_id).await)
        }
        Some(release_order_answer::Outcome::NotFound(_)) => Err(unknown(id)),
        None => Err(AnswerError::Unknown.into()),
    };
    Ok(answer.mark(response))
}

/// The order after a command that had its effect; if it cannot be read, its location.
async fn shown(
    state: &AppState,
    context: &RequestContext,
    id: OrderId,
    command_id: &str,
) -> Response {
    match find_order(state, context, id).await {
        Ok(Some(order)) => Json(order).into_response(),
        Ok(None) | Err(_) => {
            pending(id, Accepted::new(&context.shop, "order", command_id.to_owned()))
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
        Some(Outcome::Cancelled(_)) => Ok(shown(state, context, id, command_id).await),
        Some(Outcome::TooLate(too_late)) => {
            let detail = "a part of the order has shipped: it can no longer be cancelled";
            let status = view::status(too_late.status);
            let fulfilment_status = view::fulfilment_status(too_late.fulfilment_status);
            Err(Problem::new(Code::TooLate, detail)
                .with("order_status", status.to_string())
                .with("fulfilment_status", fulfilment_status.to_string()))
        }
        Some(Outcome::NotFound(_)) => Err(unknown(id)),
        None => Err(AnswerError::Unknown.into()),
    }
}

/// The order with what is personal in it, by a projection that reflects the log of the order service at
/// least as far as the client has seen it.
async fn find_order(
    state: &AppState,
    context: &RequestContext,
    id: OrderId,
) -> Result<Option<OrderView>, Problem> {
    let question = GetOrder { order_id: id.to_string() };
    let Some(mut order) = state.services.query(context, question).await? else { return Ok(None) };
    let sealed = order.personal.take();
    let note = order.cancellation.as_mut().and_then(|cancellation| cancellation.note.take());
    let mut shown = view::order(order)?;
    let (sealing, shop) = (&state.sealing, &context.shop);
    if let Some(sealed) = sealed {
        let opened = sealing.open(shop, id, Part::Personal, sealed).await;
        let view = |data| personal::view(data, &shown.country, &shown.billing_country);
        shown.personal = Some(opened.map(view));
    }
    if let (Some(sealed), Some(cancellation)) = (note, &mut shown.cancellation) {
        let opened = sealing.open(shop, id, Part::Cancellation, sealed).await;
        cancellation.note = Some(opened.map(personal::note_view));
    }
    Ok(Some(shown))
}

/// Refuses what is about an order that the shop does not have.
pub(crate) async fn require_order(
    state: &AppState,
    context: &RequestContext,
    id: OrderId,
) -> Result<(), Problem> {
    let question = GetOrder { order_id: id.to_string() };
    let order = state.services.query(context, question).await?;
    order.map(|_| ()).ok_or_else(|| unknown(id))
}

/// Whose data is in an order that was placed.
async fn find_owner(
    state: &AppState,
    context: &RequestContext,
    id: OrderId,
) -> Result<Option<Owner>, Problem> {
    let question = GetOrder { order_id: id.to_string() };
    let Some(order) = state.services.query(context, question).await? else { return Ok(None) };
    let order = view::order(order)?;
    let placed_at = Some(order.placed_at);
    Ok(Some(Owner { order_id: id, customer_id: order.customer_id, placed_at }))
}

/// Seals the note of a command about an order, which gets a fingerprint with it.
async fn seal_note(
    state: &AppState,
    context: &RequestContext,
    command: &mut proto::Command,
    id: OrderId,
    part: Part,
    note: String,
) -> Result<proto::Sealed, Problem> {
    let owner = find_owner(state, context, id).await?.ok_or_else(|| unknown(id))?;
    let plaintext = Note { text: note }.encode_to_vec();
    state.sealing.fingerprint(command, &plaintext).await?;
    state.sealing.seal(&context.shop, &owner, part, &plaintext).await
}

fn unknown(id: OrderId) -> Problem {
    Problem::not_found("order", &id.to_string())
}

fn location(shop: &Shop, id: OrderId) -> String {
    format!("/v1/shops/{shop}/orders/{id}")
}

/// The response for a command about an order that is stored and not yet answered.
fn pending(id: OrderId, accepted: Accepted) -> Response {
    accepted.of_order(id).into_response()
}
