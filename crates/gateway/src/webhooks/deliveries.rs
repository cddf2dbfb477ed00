//! What was and is to be delivered to an endpoint: read, sent once more, given up, and counted.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use events::{
    http::webhooks::{DeliveryView, ProofView},
    proto::notify::{self, ChangeWebhooksAnswer, ReplaySelection, change_webhooks::Request},
    webhooks::parse_id,
};
use protocol::{id::ParseError, time::Timestamp};
use serde_json::{Value, json};

use super::{EndpointPath, body, endpoint_id, find, read, respond, send, to_endpoint, view};
use crate::{
    body::JsonBytes,
    extract::{DEFAULT_PAGE_LENGTH, RequestContext, page_length, path_parameter, query},
    fields::{self, integer, object, text, within},
    problem::Problem,
    services::{Answer, Reply},
    state::AppState,
};

/// The states of deliveries, by name.
const STATES: [&str; 7] =
    ["pending", "retry_at", "delivered", "exhausted", "held", "held_behind", "aborted"];

/// Which deliveries a client asks for.
#[derive(Debug)]
pub(crate) struct DeliveryPage {
    from: u64,
    to: u64,
    /// Only those that were scheduled at this time or later.
    since: Option<Timestamp>,
    state: String,
    event_type: String,
    limit: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for DeliveryPage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri, |fields| {
            let from = fields.optional("from", text(seq_text("from")));
            let to = fields.optional("to", text(seq_text("to")));
            let since = fields.optional("since", text(Timestamp::parse_rfc3339));
            let state = fields.optional("state", text(state));
            let event_type = fields.optional("type", text(read::event_type));
            let limit = fields.optional("limit", text(page_length));
            Some(Self {
                from: from.unwrap_or_default(),
                to: to.unwrap_or_default(),
                since,
                state: state.unwrap_or_default(),
                event_type: event_type.unwrap_or_default(),
                limit: limit.unwrap_or(DEFAULT_PAGE_LENGTH),
            })
        })
    }
}

/// The rule of the number of a delivery, as text.
pub(crate) fn seq_text(what: &'static str) -> impl FnOnce(&str) -> Result<u64, ParseError> {
    move |text| text.parse().map_err(|_| ParseError::new(what, "must be an endpoint_seq", text))
}

fn seq(what: &'static str) -> impl FnOnce(i64) -> Result<u64, ParseError> {
    move |number| {
        let rule = "must be an endpoint_seq: 1 or more";
        within(what, rule, 1..=i64::MAX, number).map(|seq| seq as u64)
    }
}

fn state(text: &str) -> Result<String, ParseError> {
    let rule = "must be pending, retry_at, delivered, exhausted, held, held_behind or aborted";
    let error = || ParseError::new("state", rule, text);
    STATES.contains(&text).then(|| text.to_owned()).ok_or_else(error)
}

/// `GET /webhook-endpoints/{endpoint_id}/deliveries`.
pub(crate) async fn list_deliveries(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    wanted: DeliveryPage,
) -> Result<Json<Value>, Problem> {
    let found = page(&state, &context, &id, wanted).await?;
    let found = found.ok_or_else(|| Problem::not_found("webhook endpoint", &id))?;
    let next = (found.next > 0).then_some(found.next);
    let deliveries = found.deliveries.into_iter().map(view::delivery);
    let deliveries: Vec<DeliveryView> = deliveries.collect::<Result<_, _>>()?;
    Ok(Json(json!({"deliveries": deliveries, "next": next})))
}

/// A page of the deliveries to an endpoint; none when there is no such endpoint.
pub(crate) async fn page(
    state: &AppState,
    context: &RequestContext,
    id: &str,
    wanted: DeliveryPage,
) -> Result<Option<notify::Deliveries>, Problem> {
    let since = match wanted.since {
        Some(since) => first_since(state, context, id, since).await?,
        None => 0,
    };
    let question = notify::ListDeliveries {
        endpoint_id: id.to_owned(),
        from: wanted.from.max(since),
        to: wanted.to,
        state: wanted.state,
        event_type: wanted.event_type,
        limit: wanted.limit,
    };
    state.services.query(context, question).await
}

/// The first delivery that was scheduled at that time or later; what would be the next one if there is
/// none. Deliveries are numbered in the order in which they are scheduled, so it is found by halving.
async fn first_since(
    state: &AppState,
    context: &RequestContext,
    id: &str,
    since: Timestamp,
) -> Result<u64, Problem> {
    let last = find(state, context, id).await?.last_seq;
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low.midpoint(high);
        match one(state, context, id, middle).await? {
            Some(delivery) if delivery.scheduled_at < since => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// A delivery; none when the endpoint has none of that number.
async fn one(
    state: &AppState,
    context: &RequestContext,
    id: &str,
    seq: u64,
) -> Result<Option<DeliveryView>, Problem> {
    let question = notify::ListDeliveries {
        endpoint_id: id.to_owned(),
        from: seq,
        to: seq,
        limit: 1,
        ..Default::default()
    };
    let found = state.services.query(context, question).await?;
    let found = found.ok_or_else(|| Problem::not_found("webhook endpoint", id))?;
    Ok(found.deliveries.into_iter().next().map(view::delivery).transpose()?)
}

/// An endpoint and one of its deliveries, in the path.
pub(crate) struct DeliveryPath {
    endpoint_id: String,
    seq: u64,
}

impl<S: Send + Sync> FromRequestParts<S> for DeliveryPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let endpoint_id = path_parameter(parts, state, "endpoint_id", endpoint_id).await?;
        let seq = path_parameter(parts, state, "seq", seq_text("seq")).await?;
        Ok(Self { endpoint_id, seq })
    }
}

/// `GET /webhook-endpoints/{endpoint_id}/deliveries/{seq}`.
pub(crate) async fn get_delivery(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    DeliveryPath { endpoint_id, seq }: DeliveryPath,
) -> Result<Json<DeliveryView>, Problem> {
    let question = notify::GetDelivery { endpoint_id, endpoint_seq: seq };
    let found = state.services.query(&context, question).await?.unwrap_or_default();
    let unknown = || Problem::not_found("delivery of this endpoint", &seq.to_string());
    view::delivery_with_attempts(found)?.map(Json).ok_or_else(unknown)
}

/// `POST /webhook-endpoints/{endpoint_id}/deliveries/{seq}/resend`.
pub(crate) async fn resend(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    DeliveryPath { endpoint_id, seq }: DeliveryPath,
) -> Result<Response, Problem> {
    let part = Part { from: seq, to: seq, selection: ReplaySelection::All };
    start(&state, &context, endpoint_id, part).await
}

/// `POST /webhook-endpoints/{endpoint_id}/deliveries/{seq}/abort`.
pub(crate) async fn abort(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    DeliveryPath { endpoint_id, seq }: DeliveryPath,
) -> Result<Response, Problem> {
    let request = Request::AbortDelivery(notify::AbortDelivery { endpoint_seq: seq });
    let command = to_endpoint(&context, endpoint_id.clone(), request);
    respond(send(&state, &context, command).await?, &endpoint_id, |_| {
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

/// Which deliveries are sent once more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// 0: the first that there is.
    pub(crate) from: u64,
    /// 0: the last that there is.
    pub(crate) to: u64,
    pub(crate) selection: ReplaySelection,
}

/// `POST /webhook-endpoints/{endpoint_id}/replays`.
pub(crate) async fn replay(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let (mut part, since) = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            let selection = fields.required("selection", text(selection));
            let from = fields.optional("from", integer(seq("from"))).unwrap_or_default();
            let to = fields.optional("to", integer(seq("to"))).unwrap_or_default();
            let since = fields.optional("since", text(Timestamp::parse_rfc3339));
            if since.is_some() && from > 0 {
                fields.wrong("since", "say from where with from or with since, not with both");
            }
            Some((Part { from, to, selection: selection? }, since))
        })
    })?;
    if let Some(since) = since {
        part.from = first_since(&state, &context, &id, since).await?;
    }
    start(&state, &context, id, part).await
}

fn selection(text: &str) -> Result<ReplaySelection, ParseError> {
    match text {
        "missing" => Ok(ReplaySelection::Missing),
        "failed" => Ok(ReplaySelection::Failed),
        "all" => Ok(ReplaySelection::All),
        _ => Err(ParseError::new("selection", "must be missing, failed or all", text)),
    }
}

async fn start(
    state: &AppState,
    context: &RequestContext,
    endpoint_id: String,
    part: Part,
) -> Result<Response, Problem> {
    let (reply, replay_id) = start_replay(state, context, &endpoint_id, part).await?;
    respond(reply, &endpoint_id, |answer| {
        let location = format!(
            "/v1/shops/{}/webhook-endpoints/{endpoint_id}/replays/{replay_id}",
            context.shop
        );
        let shown = Json(of_answer(answer, &replay_id)?);
        Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], shown).into_response())
    })
}

/// Starts to send deliveries once more; what is answered, and the id of the replay.
pub(crate) async fn start_replay(
    state: &AppState,
    context: &RequestContext,
    endpoint_id: &str,
    Part { from, to, selection }: Part,
) -> Result<(Reply<ChangeWebhooksAnswer>, String), Problem> {
    let start = |replay_id| {
        let selection = selection.into();
        Request::StartReplay(notify::StartReplay { replay_id, from, to, selection })
    };
    let mut command = to_endpoint(context, endpoint_id.to_owned(), start(String::new()));
    // Sent again under the same idempotency key, the request is about the same replay.
    let replay_id = format!("wr_{}", command.id.replace('-', ""));
    command.body = Some(body(endpoint_id.to_owned(), start(replay_id.clone())));
    Ok((send(state, context, command).await?, replay_id))
}

/// The replay as the answer to its command shows it.
fn of_answer(
    answer: &Answer<notify::ChangeWebhooksAnswer>,
    replay_id: &str,
) -> Result<Value, Problem> {
    let replays = answer.body.endpoint.iter().flat_map(|endpoint| &endpoint.replays);
    match replays.into_iter().find(|replay| replay.id == replay_id) {
        Some(replay) => Ok(json!(view::replay(replay.clone())?)),
        None => Ok(json!({"id": replay_id})),
    }
}

/// `GET /webhook-endpoints/{endpoint_id}/replays`.
pub(crate) async fn list_replays(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
) -> Result<Json<Value>, Problem> {
    let replays = find(&state, &context, &id).await?.replays;
    let replays = replays.into_iter().map(view::replay).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(json!({"replays": replays})))
}

/// An endpoint and one of its replays, in the path.
pub(crate) struct ReplayPath {
    endpoint_id: String,
    replay_id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for ReplayPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let endpoint_id = path_parameter(parts, state, "endpoint_id", endpoint_id).await?;
        let replay_id =
            path_parameter(parts, state, "replay_id", |text| parse_id("replay_id", text)).await?;
        Ok(Self { endpoint_id, replay_id })
    }
}

/// `GET /webhook-endpoints/{endpoint_id}/replays/{replay_id}`.
pub(crate) async fn show_replay(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    ReplayPath { endpoint_id, replay_id }: ReplayPath,
) -> Result<Response, Problem> {
    let replays = find(&state, &context, &endpoint_id).await?.replays;
    let found = replays.into_iter().find(|replay| replay.id == replay_id);
    let found = found.ok_or_else(|| Problem::not_found("replay of this endpoint", &replay_id))?;
    Ok(Json(view::replay(found)?).into_response())
}

/// `POST /webhook-endpoints/{endpoint_id}/replays/{replay_id}/cancel`.
pub(crate) async fn cancel_replay(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    ReplayPath { endpoint_id, replay_id }: ReplayPath,
) -> Result<Response, Problem> {
    let cancel = Request::CancelReplay(notify::CancelReplay { replay_id: replay_id.clone() });
    let command = to_endpoint(&context, endpoint_id.clone(), cancel);
    respond(send(&state, &context, command).await?, &endpoint_id, |answer| {
        Ok(Json(of_answer(answer, &replay_id)?).into_response())
    })
}

/// The deliveries that a proof is about.
#[derive(Debug)]
pub(crate) struct ProofRange {
    from: u64,
    to: u64,
}

impl<S: Send + Sync> FromRequestParts<S> for ProofRange {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        query(&parts.uri, |fields| {
            let from = fields.optional("from", text(seq_text("from")));
            let to = fields.optional("to", text(seq_text("to")));
            Some(Self { from: from.unwrap_or_default(), to: to.unwrap_or_default() })
        })
    }
}

/// `GET /webhook-endpoints/{endpoint_id}/proof?from=&to=`.
pub(crate) async fn proof(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    ProofRange { from, to }: ProofRange,
) -> Result<Json<ProofView>, Problem> {
    let question = notify::GetProof { endpoint_id: id.clone(), from, to };
    let found = state.services.query(&context, question).await?;
    let found = found.ok_or_else(|| Problem::not_found("webhook endpoint", &id))?;
    Ok(Json(view::proof(found)?))
}
