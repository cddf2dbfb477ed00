//! `/v1/shops/{shop}/webhook-endpoints`: where the events of a shop are delivered to.
//!
//! The secrets of endpoints and the values of their headers are sealed here, with a master key of the
//! configuration, before they enter the inbox.

mod deliveries;
mod event_types;
mod read;
mod view;

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use events::{
    http::webhooks::EndpointView,
    proto::{
        self, command,
        notify::{
            self, ChangeWebhooks, ChangeWebhooksAnswer, EndpointResult, change_webhooks::Request,
        },
    },
    webhooks::{MAX_TEXT_LENGTH, is_mail_endpoint, parse_id, sealing_context},
};
use protocol::{
    id::{ParseError, Shop},
    subject::Lane,
};
use serde_json::{Value, json};
use webhook_http::Secret;

use self::read::{Changes, secret};
pub(crate) use self::{
    deliveries::{
        DeliveryPage, Part, abort, cancel_replay, get_delivery, list_deliveries, list_replays,
        page, proof, replay, resend, seq_text, show_replay, start_replay,
    },
    event_types::list_event_types,
    view::statistics,
};
use crate::{
    body::JsonBytes,
    bulk::UnknownResult,
    extract::{RequestContext, path_parameter},
    fields::{self, flag, integer, object, text, within, words},
    precondition::{Precondition, entity_tag},
    problem::{Code, Problem},
    sealing::Sealing,
    services::{Answer, Reply},
    state::AppState,
};

/// For how long the old secrets of an endpoint sign as well, unless a client says otherwise: a day.
const KEEP_OLD_SECRETS_S: u32 = 86_400;
/// The longest time for which they can: 30 days.
const MAX_KEEP_OLD_SECRETS_S: i64 = 30 * 86_400;

impl Sealing {
    /// Seals a value of an endpoint: it opens for this endpoint alone.
    fn seal_secret(
        &self,
        shop: &Shop,
        id: &str,
        value: &str,
    ) -> Result<notify::SealedValue, Problem> {
        let (key_name, ciphertext) =
            self.seal_value(&sealing_context(shop, id), value.as_bytes())?;
        Ok(notify::SealedValue { key_name, ciphertext })
    }

    fn seal_headers(
        &self,
        shop: &Shop,
        id: &str,
        headers: &[(String, String)],
    ) -> Result<Vec<notify::Header>, Problem> {
        let sealed = headers.iter().map(|(name, value)| {
            let value = Some(self.seal_secret(shop, id, value)?);
            Ok(notify::Header { name: name.clone(), value })
        });
        sealed.collect()
    }
}

/// An endpoint's id in the path.
pub(crate) struct EndpointPath(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for EndpointPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path_parameter(parts, state, "endpoint_id", endpoint_id).await.map(Self)
    }
}

/// The rule of the id of a webhook endpoint: the mails of a shop are none.
fn endpoint_id(text: &str) -> Result<String, ParseError> {
    let id = parse_id("endpoint_id", text)?;
    if is_mail_endpoint(&id) {
        let rule = "must be that of a webhook endpoint; mails are at /mails";
        return Err(ParseError::new("endpoint_id", rule, text));
    }
    Ok(id)
}

/// `GET /webhook-endpoints`.
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
) -> Result<Json<Value>, Problem> {
    let found = state.services.query_all(&context, notify::ListEndpoints {}).await?.endpoints;
    let endpoints = found.into_iter().map(view::endpoint).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(json!({"endpoints": endpoints})))
}

/// `GET /webhook-endpoints/{endpoint_id}`.
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
) -> Result<Response, Problem> {
    let view = view::endpoint(find(&state, &context, &id).await?)?;
    Ok(([entity_tag(view.version)], Json(view)).into_response())
}

async fn find(
    state: &AppState,
    context: &RequestContext,
    id: &str,
) -> Result<notify::Endpoint, Problem> {
    let question = notify::GetEndpoint { endpoint_id: id.to_owned() };
    let found = state.services.query(context, question).await?;
    found.ok_or_else(|| Problem::not_found("webhook endpoint", id))
}

/// `POST /webhook-endpoints`.
pub(crate) async fn post(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let policy = &state.webhooks;
    let (changes, chosen) = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            let chosen = fields.optional("secret", secret);
            Some((Changes::read_new(fields, policy)?, chosen))
        })
    })?;
    let settings = changes.apply(notify::EndpointSettings::default());
    let secret = chosen_or_new(chosen.as_deref())?;
    let create = |settings, secret| {
        Request::Create(notify::CreateEndpoint { settings: Some(settings), secret })
    };
    let mut command = to_endpoint(&context, String::new(), create(settings.clone(), None));
    // What is sealed looks different each time; whether a request is repeated does not follow from it.
    let hidden = changes.hidden(chosen.as_deref());
    if !hidden.is_empty() {
        state.sealing.fingerprint(&mut command, &hidden).await?;
    }
    // Sent again under the same idempotency key, the request is about the same endpoint.
    let id = format!("we_{}", command.id.replace('-', ""));
    let (sealing, shop) = (&state.sealing, &context.shop);
    let headers =
        sealing.seal_headers(shop, &id, changes.headers.as_deref().unwrap_or_default())?;
    let sealed = sealing.seal_secret(shop, &id, secret.expose())?;
    let request = create(notify::EndpointSettings { headers, ..settings }, Some(sealed));
    command.body = Some(body(id.clone(), request));
    let reply = send(&state, &context, command).await?;
    respond(reply, &id, |answer| {
        let mut view = view::endpoint(answer.body.endpoint.clone().unwrap_or_default())?;
        // The secret of a repeated request is another one.
        view.secret = (!answer.replayed).then(|| secret.expose().to_owned());
        let location = format!("/v1/shops/{}/webhook-endpoints/{id}", context.shop);
        let headers = [(header::LOCATION, location), entity_tag(view.version)];
        Ok((StatusCode::CREATED, headers, Json(view)).into_response())
    })
}

/// `PATCH /webhook-endpoints/{endpoint_id}`: what the body does not name stays as it is.
pub(crate) async fn patch(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let expected = Precondition::version(&headers)?;
    let changes = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| Some(Changes::read(fields, &state.webhooks)))
    })?;
    let known = find(&state, &context, &id).await?;
    let settings = changes.apply(known.settings.unwrap_or_default());
    let change = |settings| {
        // Without a condition of the client, it is that nobody else changes it meanwhile.
        let expected_version = Some(expected.unwrap_or(known.version));
        let settings = Some(settings);
        Request::Change(notify::ChangeEndpoint { settings, expected_version })
    };
    let mut command = to_endpoint(&context, id.clone(), change(settings.clone()));
    let hidden = changes.hidden(None);
    if !hidden.is_empty() {
        state.sealing.fingerprint(&mut command, &hidden).await?;
    }
    if let Some(headers) = &changes.headers {
        let headers = state.sealing.seal_headers(&context.shop, &id, headers)?;
        let request = change(notify::EndpointSettings { headers, ..settings });
        command.body = Some(body(id.clone(), request));
    }
    respond(send(&state, &context, command).await?, &id, shown)
}

/// `DELETE /webhook-endpoints/{endpoint_id}`.
pub(crate) async fn delete(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
) -> Result<Response, Problem> {
    let request = Request::Delete(notify::DeleteEndpoint {});
    let command = to_endpoint(&context, id.clone(), request);
    let reply = send(&state, &context, command).await?;
    respond(reply, &id, |_| Ok(StatusCode::NO_CONTENT.into_response()))
}

/// `POST /webhook-endpoints/{endpoint_id}/disable`.
pub(crate) async fn disable(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let rule = "must be 1 to 500 characters without control characters";
    let note = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            Some(fields.optional("note", text(|note| words("note", rule, MAX_TEXT_LENGTH, note))))
        })
    })?;
    let request = Request::Disable(notify::DisableEndpoint { note: note.unwrap_or_default() });
    let command = to_endpoint(&context, id.clone(), request);
    respond(send(&state, &context, command).await?, &id, shown)
}

/// `POST /webhook-endpoints/{endpoint_id}/enable`.
pub(crate) async fn enable(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let deliver_held = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| Some(fields.optional("deliver_held", flag)))
    })?;
    let enable = notify::EnableEndpoint { deliver_held: deliver_held.unwrap_or(true) };
    let command = to_endpoint(&context, id.clone(), Request::Enable(enable));
    respond(send(&state, &context, command).await?, &id, shown)
}

/// `POST /webhook-endpoints/{endpoint_id}/rotate-secret`.
pub(crate) async fn rotate_secret(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let (chosen, keep_old_s) = fields::body(&bytes, |node, path, errors| {
        object(node, path, errors, |fields| {
            let chosen = fields.optional("secret", secret);
            Some((chosen, fields.optional("keep_old_s", integer(keep_old_s))))
        })
    })?;
    let keep_old_s = keep_old_s.unwrap_or(KEEP_OLD_SECRETS_S);
    let secret = chosen_or_new(chosen.as_deref())?;
    let rotate = |secret| Request::RotateSecret(notify::RotateSecret { secret, keep_old_s });
    let mut command = to_endpoint(&context, id.clone(), rotate(None));
    if let Some(chosen) = &chosen {
        state.sealing.fingerprint(&mut command, chosen.expose().as_bytes()).await?;
    }
    let sealed = state.sealing.seal_secret(&context.shop, &id, secret.expose())?;
    command.body = Some(body(id.clone(), rotate(Some(sealed))));
    respond(send(&state, &context, command).await?, &id, |answer| {
        let mut view = view::endpoint(answer.body.endpoint.clone().unwrap_or_default())?;
        view.secret = (!answer.replayed).then(|| secret.expose().to_owned());
        Ok(Json(view).into_response())
    })
}

/// `POST /webhook-endpoints/{endpoint_id}/test`.
pub(crate) async fn test(
    State(state): State<Arc<AppState>>,
    context: RequestContext,
    EndpointPath(id): EndpointPath,
) -> Result<Response, Problem> {
    let command = to_endpoint(&context, id.clone(), Request::SendTest(notify::SendTest {}));
    respond(send(&state, &context, command).await?, &id, |answer| {
        let scheduled = json!({"endpoint_seq": answer.body.endpoint_seq});
        Ok((StatusCode::ACCEPTED, Json(scheduled)).into_response())
    })
}

fn chosen_or_new(chosen: Option<&Secret>) -> Result<Secret, Problem> {
    match chosen {
        Some(chosen) => Ok(chosen.clone()),
        None => Secret::generate().map_err(|error| Problem::internal(&error)),
    }
}

fn keep_old_s(seconds: i64) -> Result<u32, ParseError> {
    let rule = "must be 0 to 2592000 seconds; 0 revokes the old secrets now";
    within("keep_old_s", rule, 0..=MAX_KEEP_OLD_SECRETS_S, seconds).map(|it| it as u32)
}

impl Changes {
    /// What of a request is not in its command in the clear, for its fingerprint.
    fn hidden(&self, secret: Option<&Secret>) -> Vec<u8> {
        let mut hidden = secret.map(|it| it.expose().as_bytes().to_vec()).unwrap_or_default();
        for (name, value) in self.headers.iter().flatten() {
            // Neither can hold a line break.
            hidden.extend(format!("\n{name}:{value}").bytes());
        }
        hidden
    }
}

fn body(endpoint_id: String, request: Request) -> command::Body {
    command::Body::ChangeWebhooks(ChangeWebhooks { endpoint_id, request: Some(request) })
}

/// A command to an endpoint.
pub(crate) fn to_endpoint(
    context: &RequestContext,
    id: String,
    request: Request,
) -> proto::Command {
    context.command(None, body(id, request))
}

/// Sends a command to an endpoint, and waits for its answer.
pub(crate) async fn send(
    state: &AppState,
    context: &RequestContext,
    command: proto::Command,
) -> Result<Reply<ChangeWebhooksAnswer>, Problem> {
    state.services.send(context, Lane::Live, command, state.answer_timeout).await
}

/// Responds to a command: by `shown` when it was done or was so already, and else as `refused` says.
pub(crate) fn respond_or(
    reply: Reply<ChangeWebhooksAnswer>,
    refused: impl FnOnce(&ChangeWebhooksAnswer) -> Problem,
    shown: impl FnOnce(&Answer<ChangeWebhooksAnswer>) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    let answer = match reply {
        Reply::Answered(answer) => answer,
        Reply::Pending(accepted) => return Ok(accepted.into_response()),
    };
    match answer.body.result() {
        EndpointResult::Created | EndpointResult::Changed | EndpointResult::Unchanged => {
            let response = shown(&answer)?;
            Ok(answer.mark(response))
        }
        _ => Err(refused(&answer.body)),
    }
}

fn respond(
    reply: Reply<ChangeWebhooksAnswer>,
    id: &str,
    shown: impl FnOnce(&Answer<ChangeWebhooksAnswer>) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    respond_or(reply, |answer| refusal(answer, id), shown)
}

fn refusal(answer: &ChangeWebhooksAnswer, id: &str) -> Problem {
    match answer.result() {
        EndpointResult::Unknown if answer.endpoint.is_some() => {
            Problem::new(Code::NotFound, "the endpoint has no such replay or delivery")
        }
        EndpointResult::Unknown => Problem::not_found("webhook endpoint", id),
        EndpointResult::OtherVersion => {
            let version = answer.endpoint.as_ref().map_or(0, |endpoint| endpoint.version);
            let detail = "the endpoint was changed meanwhile: read it and send the change again";
            Problem::new(Code::PreconditionFailed, detail).with("version", version)
        }
        EndpointResult::TooMany => {
            let detail = "a shop has 1,000 endpoints at most, and an endpoint 10 secrets and 10 \
                replays that are under way";
            Problem::new(Code::TooManyWebhooks, detail)
        }
        EndpointResult::Disabled => {
            let detail = "nothing is sent to the endpoint while it is disabled: enable it first";
            Problem::new(Code::EndpointDisabled, detail)
        }
        EndpointResult::Created
        | EndpointResult::Changed
        | EndpointResult::Unchanged
        | EndpointResult::Exists
        | EndpointResult::Unspecified => UnknownResult.into(),
    }
}

/// The endpoint as it is after a command.
fn shown(answer: &Answer<ChangeWebhooksAnswer>) -> Result<Response, Problem> {
    let view: EndpointView = view::endpoint(answer.body.endpoint.clone().unwrap_or_default())?;
    Ok(([entity_tag(view.version)], Json(view)).into_response())
}
