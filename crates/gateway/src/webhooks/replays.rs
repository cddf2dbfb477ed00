//! Deliveries that are sent once more: one, or many in a replay.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use events::{
    http::webhooks::ReplayView,
    proto::notify::{self, ChangeWebhooksAnswer, ReplaySelection, change_webhooks::Request},
    webhooks::parse_id,
};
use protocol::{id::ParseError, time::Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    EndpointPath,
    answers::{body, respond, send, to_endpoint},
    endpoint_id, find, read,
    since::{Since, first_since},
    view,
};
use crate::{
    body::JsonBytes,
    extract::{RequestContext, path_parameter},
    fields::{self, integer, object, text, within},
    openapi::bodies::NewReplay,
    problem::Problem,
    services::{Answer, Reply},
    state::AppState,
};

/// The replays of an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayList {
    /// Those that are under way, and the last ones that have ended.
    replays: Vec<ReplayView>,
}

/// A replay that is under way.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum StartedReplay {
    /// As it is now.
    Shown(ReplayView),
    /// It has ended long ago: the request was answered before.
    Ended(EndedReplay),
}

/// A replay that has ended, and is not listed any more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndedReplay {
    /// Its id.
    id: String,
    /// `ended`.
    state: EndedState,
}

/// The state of a replay that is not listed any more.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EndedState {
    /// It was done or cancelled.
    Ended,
}

fn seq(what: &'static str) -> impl FnOnce(i64) -> Result<u64, ParseError> {
    move |number| {
        let rule = "must be an endpoint_seq: 1 or more";
        within(what, rule, 1..=i64::MAX, number).map(|seq| seq as u64)
    }
}

/// Which deliveries are sent once more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// 0: the first that there is.
    pub(crate) from: u64,
    /// 0: the last that there is.
    pub(crate) to: u64,
    pub(crate) selection: ReplaySelection,
    /// `None`: as many as the endpoint takes.
    pub(crate) max_per_second: Option<u32>,
}

/// Sends many deliveries once more.
#[utoipa::path(
    post,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/replays",
    operation_id = "start_replay",
    tag = "Webhooks",
    request_body = NewReplay,
    responses((status = 202, description = "They will be sent.", body = StartedReplay, headers(
        ("Location" = String, description = "Where the replay is."),
    ))),
    extensions(("x-problems" = json!(["not_found", "endpoint_disabled", "too_many_webhooks"]))),
)]
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
            let time = fields.optional("since", text(Timestamp::parse_rfc3339)).map(Since::Time);
            let position = fields.optional("from_position", Since::position);
            if usize::from(from > 0) + time.iter().count() + position.iter().count() > 1 {
                let name = if position.is_some() { "from_position" } else { "since" };
                let rule = "say from where with one of from, since and from_position";
                fields.wrong(name, rule);
            }
            let since = time.or(position);
            let max_per_second = fields.optional("max_per_second", integer(read::max_per_second));
            Some((Part { from, to, selection: selection?, max_per_second }, since))
        })
    })?;
    if let Some(since) = since {
        let (first, last) = first_since(&state, &context, &id, &since).await?;
        part.from = first;
        if first > last || (part.to > 0 && first > part.to) {
            // Nothing was scheduled since then: it ends before it begins.
            part.to = first - 1;
        }
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

/// Starts a replay, and responds with it.
pub(super) async fn start(
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
    Part { from, to, selection, max_per_second }: Part,
) -> Result<(Reply<ChangeWebhooksAnswer>, String), Problem> {
    let start = |replay_id| {
        let selection = selection.into();
        let start = notify::StartReplay { replay_id, from, to, selection, max_per_second };
        Request::StartReplay(start)
    };
    let mut command = to_endpoint(context, endpoint_id.to_owned(), start(String::new()));
    // Sent again under the same idempotency key, the request is about the same replay.
    let replay_id = format!("wr_{}", command.id.replace('-', ""));
    command.body = Some(body(endpoint_id.to_owned(), start(replay_id.clone()), None));
    Ok((send(state, context, command).await?, replay_id))
}

/// The replay as the answer to its command shows it.
fn of_answer(
    answer: &Answer<notify::ChangeWebhooksAnswer>,
    replay_id: &str,
) -> Result<StartedReplay, Problem> {
    let replays = answer.body.endpoint.iter().flat_map(|endpoint| &endpoint.replays);
    match replays.into_iter().find(|replay| replay.id == replay_id) {
        Some(replay) => Ok(StartedReplay::Shown(view::replay(replay.clone())?)),
        None => Ok(StartedReplay::Ended(EndedReplay {
            id: replay_id.to_owned(),
            state: EndedState::Ended,
        })),
    }
}

/// Lists the replays of an endpoint.
#[utoipa::path(
    get,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/replays",
    operation_id = "list_replays",
    tag = "Webhooks",
    responses((status = 200, description = "Those that are under way, and the last ones that have ended.", body = ReplayList)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
pub(crate) async fn list_replays(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
) -> Result<Json<ReplayList>, Problem> {
    let replays = find(&state, &context, &id).await?.replays;
    let replays = replays.into_iter().map(view::replay).collect::<Result<_, _>>()?;
    Ok(Json(ReplayList { replays }))
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

/// Shows how far a replay is.
#[utoipa::path(
    get,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/replays/{replay_id}",
    operation_id = "get_replay",
    tag = "Webhooks",
    responses((status = 200, description = "The replay.", body = ReplayView)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
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

/// Ends a replay.
#[utoipa::path(
    post,
    path = "/shops/{shop}/webhook-endpoints/{endpoint_id}/replays/{replay_id}/cancel",
    operation_id = "cancel_replay",
    tag = "Webhooks",
    responses((status = 200, description = "The replay as it is now.", body = StartedReplay)),
    extensions(("x-problems" = json!(["not_found"]))),
)]
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
